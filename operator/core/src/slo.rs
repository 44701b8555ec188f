//! One look at one SLO, from counts to what is to be done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::history::History;
use crate::judge::{Decision, Evidence, Memory, Phase, Verdict, gather, judge, may_promote};
use crate::release::{Change, Ledger, Role, TargetSnapshot};
use crate::rollback::{
    Effect, Input, Lock, Machine, Observation, PatchOutcome, Target, readiness, rollout_failure, step,
};
use crate::spec::SloSpec;
use crate::{Millis, Revision};

/// Most revisions in a status.
const MAX_SHOWN: usize = 4;
/// How often workers report while something is being watched closely, and otherwise.
const REPORT_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What is remembered of one SLO besides its history. Persisted as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SloState {
    /// The target's releases.
    pub ledger: Ledger,
    /// The rollback.
    pub machine: Machine,
    /// Of the judge, between looks.
    #[serde(skip)]
    memory: Memory,
}

/// A revision, as the status shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Its `pod-template-hash`.
    pub revision: Revision,
    /// What its release is taken for.
    pub role: Role,
    /// When its probation began: its first ready pod.
    pub since: Option<Millis>,
    /// Its bad ratio over `windows.long`; `None` without requests.
    pub bad_ratio: Option<f64>,
}

/// What one look came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The verdict.
    pub verdict: Verdict,
    /// What is to be done, in order.
    pub effects: Vec<Effect>,
    /// `Evaluated`, `BudgetHistory`, `RollbackReady`.
    pub conditions: Vec<Condition>,
    /// Live and recent revisions, newest first; at most 4.
    pub revisions: Vec<RevisionStatus>,
    /// How often workers have to report this indicator.
    pub report_interval: Duration,
}

impl SloState {
    /// Looks at an SLO: takes in the target, judges, promotes, steps the machine. `history` holds every difference up to now.
    pub fn evaluate(
        &mut self,
        spec: &SloSpec,
        history: &mut History,
        target: &Target,
        lock: &Lock,
        now: Millis,
    ) -> Evaluation {
        let found: Option<&TargetSnapshot> = match target {
            Target::Found(found) => Some(found),
            Target::NotFound | Target::Forbidden => None,
        };
        let ledger_before = self.ledger.clone();
        let mut changes = found.map_or_else(Vec::new, |found| self.ledger.observe(found, spec.rule().probation, now));
        restart_returned(history, found, &changes);
        history.keep_for(spec.window(), now);
        let evidence = gather(spec, history, &self.ledger, found, &mut self.memory, now);
        let verdict = judge(spec, &evidence, now);
        let seen = Seen {
            spec,
            target,
            evidence: &evidence,
            verdict: &verdict,
            lock,
        };
        changes.extend(self.promote(&seen, found, now));
        let observation = seen.observation(&self.ledger, &changes);
        let (machine, mut effects) = step(&self.machine, &Input::Observed(observation), now);
        if self.ledger != ledger_before && effects.first() != Some(&Effect::Persist) {
            effects.insert(0, Effect::Persist);
        }
        self.machine = machine;
        let ready = readiness(&self.machine, &observation, now);
        let conditions = verdict.conditions.iter().cloned().chain([ready]).collect();
        let revisions = found.map_or_else(Vec::new, |found| self.revisions(spec, history, found, now));
        Evaluation {
            report_interval: self.report_interval(found),
            verdict,
            effects,
            conditions,
            revisions,
        }
    }

    /// Feeds back what became of the last [`Effect::Patch`].
    pub fn patch_outcome(&mut self, spec: &SloSpec, outcome: PatchOutcome, now: Millis) -> Vec<Effect> {
        let (machine, effects) = step(&self.machine, &Input::Outcome { spec, outcome }, now);
        self.machine = machine;
        effects
    }

    fn promote(&mut self, seen: &Seen<'_>, target: Option<&TargetSnapshot>, now: Millis) -> Option<Change> {
        let (verdict, current) = (seen.verdict, seen.evidence.current.as_ref()?);
        let known = !matches!(verdict.phase, Phase::NoData | Phase::Inconclusive);
        let clean = verdict.decision == Decision::Nothing && self.machine.undone(&current.case.release).is_none();
        let comes_up = rollout_failure(&seen.observation(&self.ledger, &[]), target?).is_none();
        if known && clean && comes_up && may_promote(seen.spec, current, now) {
            return self.ledger.promote(&current.case.release);
        }
        None
    }

    fn revisions(
        &self,
        spec: &SloSpec,
        history: &History,
        target: &TargetSnapshot,
        now: Millis,
    ) -> Vec<RevisionStatus> {
        let mut shown: Vec<_> = target.revisions.iter().collect();
        shown.sort_by_key(|each| (each.ready_pods == 0, std::cmp::Reverse(each.created)));
        shown.truncate(MAX_SHOWN);
        shown.sort_by_key(|each| std::cmp::Reverse(each.created));
        let status = |each: &&crate::release::RevisionSnapshot| RevisionStatus {
            revision: each.revision.clone(),
            role: self.ledger.role(&each.release),
            since: self
                .ledger
                .get(&each.release)
                .and_then(|release| release.first_ready_at),
            bad_ratio: history.of([&each.revision]).window(spec.rule().long, now).bad_ratio(),
        };
        shown.iter().map(status).collect()
    }

    fn report_interval(&self, target: Option<&TargetSnapshot>) -> Duration {
        let judged = target.is_some_and(|target| self.ledger.role(&target.release) == Role::Probation);
        if judged || self.machine.state().is_moving() {
            REPORT_INTERVALS.0
        } else {
            REPORT_INTERVALS.1
        }
    }
}

/// What one look rests on, before what it changes.
struct Seen<'a> {
    spec: &'a SloSpec,
    target: &'a Target,
    evidence: &'a Evidence,
    verdict: &'a Verdict,
    lock: &'a Lock,
}

impl<'a> Seen<'a> {
    fn observation(&self, ledger: &'a Ledger, changes: &'a [Change]) -> Observation<'a> {
        Observation {
            spec: self.spec,
            target: self.target,
            ledger,
            changes,
            evidence: self.evidence,
            verdict: self.verdict,
            lock: self.lock,
        }
    }
}

fn restart_returned(history: &mut History, target: Option<&TargetSnapshot>, changes: &[Change]) {
    for change in changes {
        if let (Change::Returned(release), Some(target)) = (change, target) {
            for revision in Ledger::revisions(target, release) {
                history.restart(revision);
            }
        }
    }
}
