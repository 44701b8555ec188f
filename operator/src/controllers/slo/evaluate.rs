//! Judges every SLO and says what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use shoalwatch_core::Millis;
use shoalwatch_core::burn;
use shoalwatch_core::rollback::{Effect, EventReason, PatchOutcome, State, Step, Target};
use shoalwatch_core::spec::Mode;

use super::observe::{Known, Slos};
use super::text::spoken;
use crate::controllers::world::{Name, World};
use crate::distribution::Fleet;
use crate::rollback::access::Answers;

/// An act or a fresh look that has not come back after this is given up; every request has a timeout far below.
const LOST_AFTER: Duration = Duration::from_mins(1);

/// How often workers report of an SLO whose release is in probation no more.
const CALM: Duration = Duration::from_secs(10);

/// What SLOs are judged in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// Targets.
    pub(crate) world: &'a World,
    /// Workers.
    pub(crate) fleet: &'a Fleet,
    /// Rights.
    pub(crate) access: &'a Answers,
    /// The operator's own namespace.
    pub(crate) home: &'a str,
    /// Why nothing survives a restart.
    pub(crate) unsaved: Option<&'a str>,
}

/// What is to be done for one SLO, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Todo {
    pub(crate) slo: Name,
    pub(crate) uid: String,
    /// `None`: there is none, and nothing can be done to it.
    pub(crate) target: Option<Name>,
    pub(crate) target_uid: Option<String>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) alerts: Vec<AlertChange>,
}

impl Todo {
    /// Whether a patch is among it.
    pub(crate) fn acts(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Patch(_)))
    }
}

/// A tier that began or ceased to fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertChange {
    pub(crate) firing: bool,
    pub(crate) message: String,
}

impl Slos {
    /// Judges the named SLOs. One whose act is under way is left alone.
    pub(crate) fn evaluate<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n Name>,
        around: &Surroundings<'_>,
        now: Millis,
    ) -> Vec<Todo> {
        if !around.world.workloads_synced() {
            return Vec::new();
        }
        names
            .into_iter()
            .filter_map(|name| self.evaluate_one(name, around, now))
            .collect()
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.known.keys().cloned().collect()
    }

    /// SLOs that time may have moved: every one that waits for a verdict or is about one of `targets`, and of the others so many,
    /// in turn.
    pub(crate) fn due<'n>(&mut self, calm: usize, targets: impl IntoIterator<Item = &'n Name>) -> Vec<Name> {
        if self.known.len() <= calm {
            return self.names();
        }
        let begin = self.judged_last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.known.range((begin.clone(), Bound::Unbounded));
        let start = self.known.range((Bound::Unbounded, end_of(begin)));
        let turn: Vec<Name> = rest.chain(start).take(calm).map(|(name, _)| name.clone()).collect();
        self.judged_last = turn.last().cloned();
        let hurried = self.known.iter().filter(|(_, known)| known.is_hurried());
        let moved = targets.into_iter().flat_map(|target| self.of_target(target));
        let hurried = hurried.chain(moved).map(|(name, _)| name.clone());
        let due: BTreeSet<Name> = hurried.chain(turn).collect();
        due.into_iter().collect()
    }

    fn evaluate_one(&mut self, name: &Name, around: &Surroundings<'_>, now: Millis) -> Option<Todo> {
        let known = self.known.get(name)?;
        if known.busy.is_some_and(|since| now.since(since) < LOST_AFTER) {
            return None;
        }
        let (_, valid) = known.good.as_ref()?;
        let Some(workload) = &valid.target else {
            return self.known.get_mut(name)?.evaluate_polled(name, now);
        };
        let target = self.target(known, workload, around.world, around.fleet, now);
        let lock = self.lock(name, workload);
        let term = self.term;
        let known = self.known.get_mut(name)?;
        // Before anything new happens that they have to be told.
        if known.meet_receivers() {
            known.decided(term);
        }
        let (_, valid) = known.good.as_ref()?;
        let evaluation = known
            .record
            .state
            .evaluate(&valid.spec, &mut known.history, &target, &lock, now);
        if evaluation.effects.contains(&Effect::Persist) {
            known.decided(term);
        }
        self.slis_changed |= known.report_interval != evaluation.report_interval;
        known.report_interval = evaluation.report_interval;
        known.target = match target {
            Target::Found(target) => Some(*target),
            Target::NotFound | Target::Forbidden => None,
        };
        let effects = evaluation.effects.clone();
        known.evaluation = Some(evaluation);
        let alerts = known.follow_alerts(now);
        known.note_busy(&effects, now);
        let todo = known.todo(name, effects, alerts);
        (!todo.effects.is_empty() || !todo.alerts.is_empty()).then_some(todo)
    }

    /// Takes in what became of a patch.
    pub(crate) fn acted(&mut self, name: &Name, uid: &str, outcome: PatchOutcome, now: Millis) -> Option<Todo> {
        let term = self.term;
        let known = self.known.get_mut(name).filter(|known| known.uid == uid)?;
        known.busy = None;
        known.decided(term);
        let spec = known.good.as_ref()?.1.spec.clone();
        let effects = known.record.state.patch_outcome(&spec, outcome, now);
        known.note_busy(&effects, now);
        Some(known.todo(name, effects, Vec::new()))
    }

    /// A fresh look at a target has come in.
    pub(crate) fn looked(&mut self, name: &Name, uid: &str) {
        if let Some(known) = self.known.get_mut(name).filter(|known| known.uid == uid) {
            known.busy = None;
        }
    }

    /// Whether an act on this target is under way.
    pub(crate) fn is_acting_on(&self, target: &Name) -> bool {
        self.of_target(target).any(|(_, known)| known.busy.is_some())
    }

    /// Nothing is under way any more: the Lease is lost, and with it every task.
    pub(crate) fn stand_down(&mut self) {
        for known in self.known.values_mut() {
            known.busy = None;
            known.rules.stand_down();
            known.lines.clear();
        }
    }
}

impl Known {
    /// What is known was decided by the leader of `term`, and is to be saved.
    pub(super) fn decided(&mut self, term: u64) {
        let (_, before) = self.record.age;
        self.record.age = (term, before + 1);
        self.dirty = true;
    }

    fn note_busy(&mut self, effects: &[Effect], now: Millis) {
        let waits = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Patch(_) | Effect::Reobserve));
        self.busy = waits.then_some(now);
    }

    pub(super) fn todo(&self, name: &Name, effects: Vec<Effect>, alerts: Vec<AlertChange>) -> Todo {
        let effects = effects.into_iter().map(|effect| self.spoken(effect)).collect();
        Todo {
            slo: name.clone(),
            uid: self.uid.clone(),
            target: self.of().cloned(),
            target_uid: self.target.as_ref().map(|target| target.uid.clone()),
            effects,
            alerts,
        }
    }

    fn spoken(&self, effect: Effect) -> Effect {
        match effect {
            Effect::Event {
                severity,
                reason,
                message,
            } => Effect::Event {
                severity,
                reason,
                message: self.told(reason, &message),
            },
            other => other,
        }
    }

    /// A sentence for an Event: with what would keep the release undone, where Git has to know of it.
    pub(super) fn told(&self, reason: EventReason, message: &str) -> String {
        let message = spoken(message, self.target.as_ref());
        let undone = [Step::Patched, Step::Contested, Step::WouldHavePatched].map(EventReason::Step);
        match self.what_sticks().filter(|_| undone.contains(&reason)) {
            Some(sticks) => format!("{message}; {sticks}"),
            None => message,
        }
    }

    /// Keeps the list of firing alerts; says what changed.
    pub(super) fn follow_alerts(&mut self, now: Millis) -> Vec<AlertChange> {
        let Some(evaluation) = &self.evaluation else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        let mut firing = BTreeMap::new();
        for alert in &evaluation.verdict.alerts {
            let since = self.firing.get(&alert.tier.name);
            if alert.firing {
                firing.insert(alert.tier.name.clone(), since.copied().unwrap_or(now));
            }
            if alert.firing != since.is_some() {
                let message = describe(&alert.tier, alert.firing);
                changes.push(AlertChange {
                    firing: alert.firing,
                    message,
                });
            }
        }
        self.firing = firing;
        changes
    }

    /// A release is in probation, an alert fires, or something was begun: each look counts.
    fn is_hurried(&self) -> bool {
        let idle = *self.record.state.machine.state() == State::Idle;
        self.report_interval < CALM || !self.firing.is_empty() || !idle || self.evaluation.is_none()
    }

    /// Whether a rollback is expected of this SLO.
    pub(super) fn enforces(&self) -> bool {
        self.mode() == Some(Mode::Enforce)
    }
}

/// What comes before and at a place in the order, after what comes behind it.
fn end_of(begin: Bound<Name>) -> Bound<Name> {
    match begin {
        Bound::Excluded(name) => Bound::Included(name),
        _ => Bound::Excluded(Name {
            namespace: String::new(),
            name: String::new(),
        }),
    }
}

pub(super) fn describe(tier: &burn::Tier, firing: bool) -> String {
    let severity = match tier.severity {
        burn::Severity::Page => "page",
        burn::Severity::Ticket => "ticket",
    };
    let (short, long) = (
        shoalwatch_core::time::written(tier.short),
        shoalwatch_core::time::written(tier.long),
    );
    let state = if firing { "above" } else { "no longer above" };
    format!(
        "{severity} {}: the budget burns {state} {:.2} times too fast over {long} and {short}",
        tier.name, tier.burn
    )
}
