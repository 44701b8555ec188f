//! Whether to act now, and what became of it.

use std::time::Duration;

use super::effect::EventSeverity::{Info, Page, Warning};
use super::effect::{Effect, EventReason, Patch};
use super::machine::{Blocked, Breached};
use super::readiness::{Hold, refusal};
use super::state::{Act, RollbackRecord, State, Step};
use super::step::{Observation, PatchOutcome, Run};
use super::{rollout, settle};
use crate::Millis;
use crate::judge::{Breach, Decision};
use crate::release::{Role, TargetSnapshot};
use crate::spec::{AlsoOn, Mode, SloSpec};

/// How long a refused patch is not sent again.
const BLOCKED: Duration = Duration::from_mins(1);

/// Why a release is to be undone.
struct Reason {
    /// The numbers, for a person.
    text: String,
    /// It is about answers, so workers must see the target.
    by_counts: bool,
}

/// Looks for a reason to act, then for reasons not to.
pub(super) fn consider(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    note_breach(run, observation, target);
    let failure = rollout::failure(observation, target);
    if let Some((failure, sentence)) = &failure {
        note_failure(run, target, *failure, sentence);
    }
    let Some(Reason { text, by_counts }) = reason_to_act(run, observation, target, failure) else {
        return;
    };
    match refusal(&run.machine, observation, run.now, by_counts) {
        Some(Hold::Off) => {}
        Some(Hold::Contested) => contest(run, target),
        Some(hold) => hold_back(run, observation, target, hold, &text),
        None if observation.spec.rule().mode == Mode::DryRun => say_what_would_be(run, observation, target, &text),
        None => act(run, observation, target, text),
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

/// Once per appearance of a release: a ratio that wavers around the threshold is one breach.
fn note_breach(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    let Decision::Undo(breach) = &observation.verdict.decision else {
        return;
    };
    if !breaches(run, target) {
        return;
    }
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

/// The same of one that does not come up.
fn note_failure(run: &mut Run, target: &TargetSnapshot, failure: AlsoOn, sentence: &str) {
    if breaches(run, target) {
        let message = format!("release {} does not come up: {sentence}", target.release);
        run.milestone(failure.into(), Warning, message);
    }
}

/// Whether this is the first that is said against the current release; from now on it is not.
fn breaches(run: &mut Run, target: &TargetSnapshot) -> bool {
    let known = run.machine.breached.as_ref();
    if known.is_some_and(|breached| breached.release == target.release) {
        return false;
    }
    run.machine.breached = Some(Breached {
        release: target.release.clone(),
        at: run.now,
    });
    true
}

/// The counts fill the rule, it does not come up, or it was undone a short while ago and is back.
fn reason_to_act(
    run: &Run,
    observation: &Observation<'_>,
    target: &TargetSnapshot,
    failure: Option<(AlsoOn, String)>,
) -> Option<Reason> {
    if observation.ledger.role(&target.release) != Role::Probation {
        return None;
    }
    if let Decision::Undo(Breach { reason, .. }) = &observation.verdict.decision {
        let text = reason.clone();
        return Some(Reason { text, by_counts: true });
    }
    if let Some((failure, sentence)) = failure {
        let text = format!("{}: {sentence}", failure.as_str());
        return Some(Reason { text, by_counts: false });
    }
    let undone = run.machine.undone(&target.release)?;
    let latched = undone.is_latched(observation.spec.rule().cooldown, run.now);
    latched.then(|| Reason {
        text: "it was undone before and is applied again".to_owned(),
        by_counts: true,
    })
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
    run.machine.report.would_undo(&target.release, reason, run.now);
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
