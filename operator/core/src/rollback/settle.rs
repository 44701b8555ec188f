//! What an observation says about an act that was made.

use std::time::Duration;

use super::effect::EventSeverity::{Info, Page, Warning};
use super::machine::Machine;
use super::memory::MAX_ACTS;
use super::state::{Act, RollbackRecord, State, Step};
use super::step::{Observation, Run};
use crate::counts::float;
use crate::release::{Role, TargetSnapshot};
use crate::spec::SloSpec;
use crate::stats::{LOOK_EVIDENCE, evidence_above};
use crate::time::written;
use crate::{Counts, Millis, Revision};

/// How long after a patch that nobody answered the same patch may be sent again.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Takes over an act that the target proves and the machine does not know of.
pub(super) fn adopt(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    let Some(record) = &target.rollback else { return };
    if let State::Acting { act, .. } = &run.machine.state
        && act.record == *record
    {
        let act = act.clone();
        return applied(run, observation.spec, act);
    }
    let rule = observation.spec.rule();
    let over = run.now >= record.time.plus(rule.cooldown);
    if over || observation.ledger.role(&record.from) == Role::KnownGood || !run.machine.memory.learn(record) {
        return;
    }
    if record.slo == observation.spec.name() {
        run.machine.state = State::Verifying {
            act: found(record, target),
            deadline: record.time.plus(rule.verification()),
        };
        run.milestone(
            Step::Recovered,
            Info,
            format!("found that release {} was undone", record.from),
        );
    }
}

/// The API server accepted the patch.
pub(super) fn applied(run: &mut Run, spec: &SloSpec, act: Act) {
    run.machine.memory.learn(&act.record);
    let RollbackRecord { from, to, .. } = &act.record;
    run.milestone(
        Step::Patched,
        Warning,
        format!("release {from} was undone, back to {to}: {}", act.reason),
    );
    run.machine.state = State::Verifying {
        act,
        deadline: run.now.plus(spec.rule().verification()),
    };
}

/// Lets go of what was accepted or lies too far back.
pub(super) fn forget(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    let good: Vec<_> = run
        .machine
        .memory
        .all()
        .iter()
        .map(|undone| undone.record.from.clone())
        .collect();
    for release in good.iter().filter(|id| observation.ledger.role(id) == Role::KnownGood) {
        run.machine.memory.forget(release);
        if concerns(&run.machine.state, release) {
            run.machine.state = State::Idle;
        }
    }
    let Machine { memory, state, .. } = &mut run.machine;
    let moving = state.act().filter(|_| state.is_moving()).map(|act| &act.record.from);
    memory.expire(observation.spec.rule(), run.now, |release| {
        *release == target.release || Some(release) == moving
    });
}

fn concerns(state: &State, release: &crate::ReleaseId) -> bool {
    match state {
        State::Contested { release: contested, .. } => contested == release,
        other => other.act().is_some_and(|act| act.record.from == *release),
    }
}

/// Moves the state on by what is seen.
pub(super) fn settle(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot) {
    match run.machine.state.clone() {
        State::Idle => {}
        State::Acting { act, sent } => unanswered(run, act, sent, target),
        State::Verifying { act, .. } if act.resource_version == target.resource_version => {}
        State::Verifying { act, deadline } => {
            if still_ours(run, &act, target) {
                verify(run, observation, target, act, deadline);
            }
        }
        State::Latched { act, until } | State::CoolingDown { act, until } => {
            if still_ours(run, &act, target) && run.now >= until {
                run.milestone(
                    Step::Released,
                    Info,
                    format!("release {} is forgotten", act.record.from),
                );
                run.machine.state = State::Idle;
            }
        }
        State::Failed { act, .. } => leave_failed(run, &act, target),
        State::Contested { release, .. } => {
            if target.release != release {
                superseded(run, target);
            }
        }
    }
}

/// A patch without an answer, or one that nobody lived to send: its record does not show (see [`adopt`]). Where the target
/// moved on it is void. Else it is judged afresh and, if there is still reason, sent again as it was: under the same
/// precondition only one of the two can land, and whichever does carries the same record.
fn unanswered(run: &mut Run, act: Act, sent: Millis, target: &TargetSnapshot) {
    if target.resource_version != act.resource_version {
        run.milestone(
            Step::Conflict,
            Info,
            "the patch did not arrive; the target is judged afresh".to_owned(),
        );
        run.machine.state = State::Idle;
    } else if run.now >= sent.plus(UNANSWERED) {
        run.machine.state = State::Idle;
        run.unanswered = Some(act);
    }
}

/// The patch that nobody answered is not sent again: what called for it is over.
pub(super) fn give_up(run: &mut Run) {
    if run.unanswered.take().is_some() {
        let message = "the patch did not arrive, and there is no reason for it any more";
        run.milestone(Step::Conflict, Info, message.to_owned());
    }
}

/// Whether the target still runs what the act restored; if not, the machine is Idle again.
fn still_ours(run: &mut Run, act: &Act, target: &TargetSnapshot) -> bool {
    let RollbackRecord { from, to, .. } = &act.record;
    if target.release == *to {
        return true;
    }
    if target.release == *from {
        let writer = target.writer.as_deref().unwrap_or("somebody");
        run.milestone(
            Step::Reapplied,
            Warning,
            format!("{writer} applied release {from} again"),
        );
        run.machine.state = State::Idle;
    } else {
        superseded(run, target);
    }
    false
}

fn superseded(run: &mut Run, target: &TargetSnapshot) {
    run.milestone(Step::Superseded, Info, format!("release {} took over", target.release));
    run.machine.state = State::Idle;
}

fn leave_failed(run: &mut Run, act: &Act, target: &TargetSnapshot) {
    let involved = target.release == act.record.from || target.release == act.record.to;
    if !involved {
        superseded(run, target);
    } else if run.machine.undone(&act.record.from).is_none() {
        run.machine.state = State::Idle;
    }
}

fn verify(run: &mut Run, observation: &Observation<'_>, target: &TargetSnapshot, act: Act, deadline: Millis) {
    let short = observation
        .evidence
        .current
        .as_ref()
        .map_or_else(Counts::default, |current| current.short);
    let threshold = observation.spec.bad_threshold();
    let ready = target.ready_pods(&act.record.to) >= target.replicas;
    // Only once the short window holds nothing from before the act: a good past proves no recovery.
    let whole = run.now.since(act.record.time) >= observation.spec.rule().short;
    let served_well = short.bad_ratio().is_some_and(|ratio| ratio <= threshold);
    if ready && whole && served_well {
        return verified(run, observation.spec, act, "serves again");
    }
    if run.now < deadline {
        return;
    }
    // No traffic proves nothing either way, and a few bad answers do not prove it bad.
    let bad = evidence_above(float(short.bad), float(short.total()), threshold) > LOOK_EVIDENCE;
    match (ready, bad) {
        (true, false) => verified(run, observation.spec, act, "is ready, too few requests to say more"),
        (true, true) => failed(run, observation.spec, act, "it answers badly too".to_owned()),
        (false, _) => {
            let pods = target.ready_pods(&act.record.to);
            let paused = if target.paused { ", the target is paused" } else { "" };
            failed(
                run,
                observation.spec,
                act,
                format!("{pods} of {} pods are ready{paused}", target.replicas),
            );
        }
    }
}

fn verified(run: &mut Run, spec: &SloSpec, act: Act, how: &str) {
    run.milestone(Step::Verified, Info, format!("release {} {how}", act.record.to));
    let until = act.record.time.plus(spec.rule().cooldown);
    run.machine.state = if act.record.count < MAX_ACTS {
        State::Latched { act, until }
    } else {
        State::CoolingDown { act, until }
    };
}

fn failed(run: &mut Run, spec: &SloSpec, act: Act, why: String) {
    let (to, within) = (&act.record.to, written(spec.rule().verification()));
    run.milestone(
        Step::Failed,
        Page,
        format!("release {to} did not come back within {within}: {why}"),
    );
    run.machine.memory.mark_failed(&act.record.from);
    run.machine.state = State::Failed { act, why };
}

fn found(record: &RollbackRecord, target: &TargetSnapshot) -> Act {
    let revision = target
        .revisions_of(&record.to)
        .first()
        .map(|each| each.revision.clone());
    Act {
        record: record.clone(),
        to_revision: revision.unwrap_or_else(|| Revision::from("")),
        // Matches no version: every view counts.
        resource_version: String::new(),
        reason: "found on the target".to_owned(),
    }
}
