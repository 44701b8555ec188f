//! A target, its traffic, and an operator that can be killed between any two steps.

use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::history::History;
use shoalwatch_core::release::{RevisionSnapshot, TargetSnapshot};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::rollback::{Effect, EventReason, Lock, Patch, PatchOutcome, State, Step, Target};
use shoalwatch_core::slo::{Evaluation, SloState};
use shoalwatch_core::spec::{Mode, RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis, ReleaseId};

use crate::support::{revision, target};

pub(crate) const START: Millis = Millis(1_800_000_000_000);

/// What goes wrong with the next patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Somebody else changes the target between decision and patch.
    ChangedMeanwhile,
    /// The answer is lost; the patch landed.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// No right to patch.
    Forbidden,
    /// An admission webhook says no.
    Rejected,
}

/// An accepted patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) at: Millis,
    pub(crate) patch: Patch,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that can go wrong by itself"
)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) spec: SloSpec,
    pub(crate) lock: Lock,
    /// The API server's truth. Every change counts `resource_version` up.
    pub(crate) target: TargetSnapshot,
    pub(crate) exists: bool,
    /// Releases that answer badly, all of the time.
    pub(crate) bad: BTreeSet<ReleaseId>,
    /// Requests a second to every pod.
    pub(crate) rate: u64,
    /// Workers report nothing and see no pod.
    pub(crate) blind: bool,
    /// New pods do not become ready, and so old ones stay.
    pub(crate) stuck: bool,
    pub(crate) fault: Option<Fault>,
    /// The operator dies at the first place after so many.
    pub(crate) crash_after: Option<usize>,
    /// Places passed so far at which it could have died.
    pub(crate) points: usize,
    /// As the operator does it: what changed is saved at once before a patch, else every other second.
    pub(crate) saves_late: bool,
    pub(crate) history: History,
    pub(crate) state: SloState,
    stored: Vec<u8>,
    /// What a lagging cache shows instead of the truth.
    pub(crate) stale: Option<TargetSnapshot>,
    pub(crate) reobserved: usize,
    pub(crate) applied: Vec<Applied>,
    pub(crate) refused: Vec<Patch>,
    pub(crate) events: Vec<(EventReason, String)>,
    pub(crate) last: Option<Evaluation>,
}

impl World {
    /// `v1` serves with two pods, seen for the first time.
    pub(crate) fn new(mode: Mode) -> Self {
        let mut world = Self {
            now: START,
            spec: spec(RollbackRule {
                mode,
                ..RollbackRule::default()
            }),
            lock: Lock::Mine,
            target: target("v1", Vec::new()),
            exists: true,
            bad: BTreeSet::new(),
            rate: 25,
            blind: false,
            stuck: false,
            fault: None,
            crash_after: None,
            points: 0,
            saves_late: false,
            history: History::default(),
            state: SloState::default(),
            stored: serde_json::to_vec(&SloState::default()).expect("a state is JSON"),
            stale: None,
            reobserved: 0,
            applied: Vec::new(),
            refused: Vec::new(),
            events: Vec::new(),
            last: None,
        };
        world.apply("v1", "kubectl");
        world.seconds(20);
        world
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.set_rule(|rule| rule.mode = mode);
    }

    pub(crate) fn set_rule(&mut self, change: impl FnOnce(&mut RollbackRule)) {
        let mut rule = self.spec.rule().clone();
        change(&mut rule);
        self.spec = spec(rule);
    }

    /// Somebody applies a release.
    pub(crate) fn apply(&mut self, release: &str, writer: &str) {
        self.change(&release.into(), writer);
    }

    fn change(&mut self, release: &ReleaseId, writer: &str) {
        if self.target.release != *release || self.target.revisions.is_empty() {
            self.target.release = release.clone();
            self.target.writer = Some(writer.to_owned());
            self.target.never = false;
            if !self.target.revisions.iter().any(|each| each.release == *release) {
                let name = format!("{release}-rs");
                self.target.revisions.push(RevisionSnapshot {
                    ready_pods: 0,
                    reporting_pods: 0,
                    ..revision(release.as_str(), &name, self.now)
                });
            }
        }
        self.bump();
    }

    pub(crate) fn bump(&mut self) {
        let version: u64 = self.target.resource_version.parse().expect("a number");
        self.target.resource_version = (version + 1).to_string();
    }

    /// Time passes: pods follow the template, requests are answered, the operator looks every second.
    pub(crate) fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            self.roll();
            self.answer();
            self.look();
        }
    }

    /// Time passes without traffic and with a look a minute.
    pub(crate) fn idle_minutes(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.now = self.now.plus(Duration::from_mins(1));
            self.roll();
            self.look();
        }
    }

    fn roll(&mut self) {
        let moves = !self.target.paused && !self.stuck;
        let current = self.target.release.clone();
        for each in &mut self.target.revisions {
            if moves {
                each.ready_pods = if each.release == current {
                    self.target.replicas
                } else {
                    0
                };
            }
            if each.ready_pods > 0 && each.first_ready_at.is_none() {
                each.first_ready_at = Some(self.now);
            }
            each.reporting_pods = if self.blind { 0 } else { each.ready_pods };
        }
    }

    fn answer(&mut self) {
        if self.blind {
            return;
        }
        for each in self.target.revisions.iter().filter(|each| each.ready_pods > 0) {
            let requests = self.rate * u64::from(each.ready_pods);
            let bad = if self.bad.contains(&each.release) {
                requests / 2
            } else {
                0
            };
            let difference = Difference {
                sli: "slo".into(),
                revision: each.revision.clone(),
                worker: "node".into(),
                counts: Counts::new(requests - bad, bad),
                bad_pods: if bad > 0 { each.ready_pods } else { 0 },
                placement: Placement::At(self.now),
            };
            self.history.record(&difference, self.now);
        }
    }

    /// One look, and everything it causes; or less, if the operator dies over it.
    pub(crate) fn look(&mut self) {
        let seen = self.stale.as_ref().unwrap_or(&self.target);
        let target = if self.exists {
            Target::Found(Box::new(seen.clone()))
        } else {
            Target::NotFound
        };
        let evaluation = self
            .state
            .evaluate(&self.spec, &mut self.history, &target, &self.lock, self.now);
        let effects = evaluation.effects.clone();
        self.last = Some(evaluation);
        if !self.execute(effects) {
            return;
        }
        if self.saves_late && self.now.0 % 2_000 == 0 && !self.dies() {
            self.save();
        }
    }

    /// One place at which the operator can die; it does if its time has come.
    fn dies(&mut self) -> bool {
        self.points += 1;
        let left = self.crash_after;
        self.crash_after = left.and_then(|left| left.checked_sub(1));
        if left == Some(0) {
            self.restart();
        }
        left == Some(0)
    }

    fn save(&mut self) {
        self.stored = serde_json::to_vec(&self.state).expect("a state is JSON");
    }

    /// False if the operator died over it: between any two effects, and between a patch and what is made of its answer.
    fn execute(&mut self, effects: Vec<Effect>) -> bool {
        for effect in effects {
            if self.dies() {
                return false;
            }
            match effect {
                Effect::Persist if self.saves_late => {}
                Effect::Persist => self.save(),
                Effect::Event { reason, message, .. } => self.events.push((reason, message)),
                Effect::Reobserve => self.reobserved += 1,
                Effect::Patch(patch) => {
                    if self.saves_late {
                        self.save();
                        if self.dies() {
                            return false;
                        }
                    }
                    let outcome = self.patch(patch);
                    if self.dies() {
                        return false;
                    }
                    let effects = self.state.patch_outcome(&self.spec, outcome, self.now);
                    if !self.execute(effects) {
                        return false;
                    }
                }
            }
        }
        !self.dies()
    }

    /// The operator is killed and starts from what it stored.
    pub(crate) fn restart(&mut self) {
        self.state = serde_json::from_slice(&self.stored).expect("the stored state reads back");
    }

    /// The API server's part.
    fn patch(&mut self, patch: Patch) -> PatchOutcome {
        match self.fault.take() {
            Some(Fault::Forbidden) => return self.refuse(patch, PatchOutcome::Forbidden("no right".to_owned())),
            Some(Fault::Rejected) => return self.refuse(patch, PatchOutcome::Rejected("a webhook says no".to_owned())),
            Some(Fault::RequestLost) => return self.refuse(patch, PatchOutcome::Unknown("timeout".to_owned())),
            Some(Fault::ChangedMeanwhile) => self.bump(),
            Some(Fault::AnswerLost) => {
                self.land(patch);
                return PatchOutcome::Unknown("timeout".to_owned());
            }
            None => {}
        }
        if self.target.rollback.as_ref() == Some(&patch.record) {
            // The conflict is looked into.
            return PatchOutcome::Applied;
        }
        if patch.resource_version != self.target.resource_version || patch.target_uid != self.target.uid {
            return self.refuse(patch, PatchOutcome::Conflict);
        }
        self.land(patch);
        PatchOutcome::Applied
    }

    fn refuse(&mut self, patch: Patch, outcome: PatchOutcome) -> PatchOutcome {
        self.refused.push(patch);
        outcome
    }

    fn land(&mut self, patch: Patch) {
        let to = patch.record.to.clone();
        self.target.rollback = Some(patch.record.clone());
        self.change(&to, "shoalwatch");
        self.applied.push(Applied { at: self.now, patch });
    }

    pub(crate) fn state(&self) -> &State {
        self.state.machine.state()
    }

    pub(crate) fn state_name(&self) -> &'static str {
        self.state().as_str()
    }

    pub(crate) fn acts(&self) -> usize {
        self.applied.len()
    }

    /// Steps of the timeline, oldest first.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.state.machine.timeline().iter().map(|row| row.step).collect()
    }

    pub(crate) fn said(&self, reason: EventReason) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(each, _)| *each == reason)
            .map(|(_, message)| message.as_str())
            .collect()
    }

    /// Reason of the condition `RollbackReady` at the last look.
    pub(crate) fn ready_reason(&self) -> &'static str {
        let last = self.last.as_ref().expect("a look");
        last.conditions.last().expect("conditions").reason
    }
}

fn spec(rule: RollbackRule) -> SloSpec {
    let objective = "99.9".parse().expect("an objective");
    SloSpec::new("shop/checkout", objective, Duration::from_hours(720), None, rule).expect("a valid SLO")
}
