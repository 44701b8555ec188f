//! Reasons to undo a release that are no answers: it does not come up.
//!
//! A new release whose pods crash, or whose rollout made no progress within its deadline, may never be asked anything, so its
//! counts say nothing. Kubernetes itself leaves such a rollout where it is. It is undone under the same conditions as one that
//! answers badly: in probation, with a known-good release to return to, not while paused. Two things differ: no worker's report
//! is needed, and while the stable release fails too nothing is done, for then the reason is likely to be outside of both.

use super::step::Observation;
use crate::counts::float;
use crate::release::{Role, TargetSnapshot};
use crate::spec::AlsoOn;
use crate::stats::{LOOK_EVIDENCE, evidence_above};

/// How the current release fails to come up, if that is a reason to undo it, and the numbers for a person.
pub(crate) fn failure(observation: &Observation<'_>, target: &TargetSnapshot) -> Option<(AlsoOn, String)> {
    if observation.ledger.role(&target.release) != Role::Probation {
        return None;
    }
    let wanted = &observation.spec.rule().also_on;
    let crash_loop = || {
        wanted
            .contains(&AlsoOn::CrashLoop)
            .then(|| crash_loop(target))
            .flatten()
    };
    let stalled = || (wanted.contains(&AlsoOn::ProgressDeadlineExceeded) && target.stalled).then(|| stall(target));
    crash_loop().or_else(stalled)
}

fn crash_loop(target: &TargetSnapshot) -> Option<(AlsoOn, String)> {
    let found = target
        .revisions_of(&target.release)
        .into_iter()
        .filter_map(|each| each.crashing);
    let worst = found
        .filter(|each| each.is_looping())
        .max_by_key(|each| each.crashing)?;
    let sentence = format!(
        "{} of {} pods crash again and again, up to {} restarts",
        worst.crashing, worst.pods, worst.restarts
    );
    Some((AlsoOn::CrashLoop, sentence))
}

fn stall(target: &TargetSnapshot) -> (AlsoOn, String) {
    let sentence = format!(
        "no progress within progressDeadlineSeconds, {} of {} pods are ready",
        target.ready_pods(&target.release),
        target.replicas
    );
    (AlsoOn::ProgressDeadlineExceeded, sentence)
}

/// Whether the stable release fails too: its answers are bad, or its pods crash.
pub(super) fn stable_fails(observation: &Observation<'_>, target: &TargetSnapshot) -> bool {
    let threshold = observation.spec.bad_threshold();
    let answers = observation.evidence.current.as_ref().is_some_and(|current| {
        let stable = current.stable;
        evidence_above(float(stable.bad), float(stable.total()), threshold) > LOOK_EVIDENCE
    });
    let known_good = |release| observation.ledger.role(release) == Role::KnownGood;
    let crashes = target.revisions.iter().filter(|each| known_good(&each.release));
    answers || crashes.filter_map(|each| each.crashing).any(|each| each.crashing > 0)
}
