//! Whether to act now, and what became of it.

use std::time::Duration;

use super::effect::EventSeverity::{Info, Page, Warning};
use super::effect::{Effect, EventReason, Patch};
use super::machine::{Blocked, Breached};
use super::readiness::{Hold, refusal};
use super::settle;
use super::state::{Act, RollbackRecord, State, Step};
use super::step::{Observation, PatchOutcome, Run};
use crate::Millis;
use crate::judge::{Breach, Decision};
use crate::release::{Role, TargetSnapshot};
use crate::spec::{Mode, SloSpec};

/// How long a refused patch is not sent again.
const BLOCKED: Duration = Duration::from_mins(1);

/// Looks for a reason to act, then for reasons not to.
pub(super) fn consider(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    note_breach(run, observation, target);
    let Some(reason) = reason_to_act(run, observation, target) else {
        return;
    };
    match refusal(&run.machine, observation, observation.ledger, run.now) {
        Some(Hold::Off) => {}
        Some(Hold::Contested) => contest(run, target),
        Some(hold) => hold_back(run, observation, target, hold, &reason),
        None if observation.spec.rule().mode == Mode::DryRun => say_what_would_be(run, observation, target, &reason),
        None => act(run, observation, target, reason),
    }
}

/// Feeds back what became of the patch.
pub(super) fn outcome(run: &mut Run, spec: &SloSpec, outcome: &PatchOutcome) {
    let State::Acting { act, .. } = &run.machine.state else {
        return;
    };
    let act = act.clone();
    match outcome {
        PatchOutcome::Applied => settle::applied(run, spec, act),
        PatchOutcome::Unknown(_) => run.effects.push(Effect::Reobserve),
        PatchOutcome::Conflict => {
            run.milestone(
                Step::Conflict,
                Info,
                "the target was changed meanwhile; it is judged afresh".to_owned(),
            );
            run.machine.state = State::Idle;
            run.effects.push(Effect::Reobserve);
        }
        PatchOutcome::NotFound => {
            run.machine.state = State::Idle;
            run.effects.push(Effect::Reobserve);
        }
        PatchOutcome::Forbidden(message) => blocked(run, &act, Hold::Forbidden, message),
        PatchOutcome::Rejected(message) => blocked(run, &act, Hold::PatchRejected, message),
    }
}

fn note_breach(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    let known = run
        .machine
        .breached
        .as_ref()
        .is_some_and(|breached| breached.release == target.release);
    match &observation.verdict.decision {
        // Once per appearance of a release: a ratio that wavers around the threshold is one breach.
        Decision::Undo(breach) if !known => {
            run.machine.breached = Some(Breached {
                release: breach.from.clone(),
                at: run.now,
            });
            if let Some(at) = breach.first_bad_at {
                let message = format!("the first bad answer of release {}", breach.from);
                run.machine.note(at, Step::FirstBadAnswer, message);
            }
            run.milestone(
                Step::Breached,
                Warning,
                format!("release {} is bad: {}", breach.from, breach.reason),
            );
        }
        _ => {}
    }
}

/// The counts fill the rule, or the release was undone a short while ago and is back.
fn reason_to_act(run: &Run, observation: &Observation<'_>, target: &TargetSnapshot) -> Option<String> {
    if observation.ledger.role(&target.release) != Role::Probation {
        return None;
    }
    if let Decision::Undo(Breach { reason, .. }) = &observation.verdict.decision {
        return Some(reason.clone());
    }
    let undone = run.machine.undone(&target.release)?;
    let latched = undone.is_latched(observation.spec.rule().cooldown, run.now);
    latched.then(|| "it was undone before and is applied again".to_owned())
}

fn act(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot, reason: String) {
    let from = &target.release;
    let Ok((to, revision)) = observation.ledger.return_target(target, from) else {
        return;
    };
    let again = run.unanswered.take().map(|act| act.record);
    let again = again.filter(|record| record.from == *from && record.to == to);
    let record = again.unwrap_or_else(|| RollbackRecord {
        from: from.clone(),
        to,
        slo: observation.spec.name().to_owned(),
        time: after_last_act(run, target),
        count: run.machine.memory.acts(from).saturating_add(1),
    });
    let patch = Patch {
        target_uid: target.uid.clone(),
        resource_version: target.resource_version.clone(),
        from: from.clone(),
        to_revision: revision.revision.clone(),
        record: record.clone(),
    };
    // Before the events: every millisecond of a bad release counts, and publishing can wait.
    run.effects.insert(0, Effect::Patch(patch));
    let to_revision = revision.revision.clone();
    let resource_version = target.resource_version.clone();
    run.machine.said = None;
    run.machine.state = State::Acting {
        act: Act {
            record,
            to_revision,
            resource_version,
            reason,
        },
        sent: run.now,
    };
}

/// Now, but later than the last act even if the clock was set back: records are told apart by their time.
fn after_last_act(run: &Run, target: &TargetSnapshot) -> Millis {
    let last = run.machine.undone(&target.release).map(|undone| undone.record.time);
    last.map_or(run.now, |last| run.now.max(Millis(last.0.saturating_add(1))))
}

fn contest(run: &mut Run, target: &TargetSnapshot) {
    if matches!(run.machine.state, State::Contested { .. }) {
        return;
    }
    let release = target.release.clone();
    let writer = target.writer.clone().unwrap_or_else(|| "an unknown writer".to_owned());
    let message = format!(
        "{writer} applied release {release} again after two undos; nothing more is done until another release is \
         applied or this one is accepted (shoalwatch.dev/accept: {release})"
    );
    run.milestone(Step::Contested, Page, message);
    run.machine.state = State::Contested { release, writer };
}

fn hold_back(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot, hold: Hold, reason: &str) {
    if !once(run, target, hold) {
        return;
    }
    let why = hold.sentence(observation.lock);
    run.event(
        EventReason::Held(hold),
        Warning,
        format!("release {} is not undone ({reason}): {why}", target.release),
    );
}

fn say_what_would_be(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot, reason: &str) {
    if !once(run, target, Hold::DryRun) {
        return;
    }
    let to = observation
        .ledger
        .return_target(target, &target.release)
        .map(|(to, _)| to);
    let to = to.map_or_else(|_| "the good one".to_owned(), |to| to.to_string());
    let message = format!("would have undone release {}, back to {to}: {reason}", target.release);
    run.milestone(Step::WouldHavePatched, Warning, message);
}

/// Whether this was not said already of this release.
fn once(run: &mut Run, target: &TargetSnapshot, hold: Hold) -> bool {
    let saying = Some((target.release.clone(), hold));
    let new = run.machine.said != saying;
    run.machine.said = saying;
    new
}

fn blocked(run: &mut Run, act: &Act, hold: Hold, message: &str) {
    let text = format!("release {} could not be undone: {message}", act.record.from);
    run.event(EventReason::Held(hold), Page, text);
    run.machine.said = Some((act.record.from.clone(), hold));
    run.machine.blocked = Some(Blocked {
        hold,
        until: run.now.plus(BLOCKED),
    });
    run.machine.state = State::Idle;
}
