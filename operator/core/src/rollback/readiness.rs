//! What keeps a bad release from being undone, and the condition that says so beforehand.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::memory::MAX_ACTS;
use super::rollout::stable_fails;
use super::state::State;
use super::step::{Observation, Target};
use crate::Millis;
use crate::condition::{Condition, ConditionType, Holds};
use crate::release::{Ledger, NoTarget, Role};
use crate::spec::Mode;

/// Who may act on a target that several SLOs judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lock {
    /// This SLO.
    Mine,
    /// Another SLO, `namespace/name`.
    HeldBy(String),
}

/// What keeps a bad release from being undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hold {
    /// `rollback.mode: Off`.
    Off,
    /// `rollback.mode: DryRun`.
    DryRun,
    /// There is no such target.
    TargetNotFound,
    /// The operator may not read or patch the target.
    Forbidden,
    /// The API server or an admission webhook refused the patch.
    PatchRejected,
    /// The target is being deleted.
    TargetDeleting,
    /// The target is paused.
    TargetPaused,
    /// The template says `shoalwatch.dev/rollback: never`.
    RollbackNever,
    /// Another SLO acts on this target.
    TargetSharedWith,
    /// No release is known to be good.
    NoKnownGood,
    /// The known-good release's `ReplicaSet` is gone.
    NoHistory,
    /// Pods are ready and no worker reports any.
    NoWorkerReports,
    /// The new release does not come up, and the stable one fails too.
    StableFailsToo,
    /// The undo did not help.
    Failed,
    /// Somebody keeps applying the release.
    Contested,
}

impl Hold {
    /// The reason of the condition and of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::DryRun => "DryRun",
            Self::TargetNotFound => "TargetNotFound",
            Self::Forbidden => "Forbidden",
            Self::PatchRejected => "PatchRejected",
            Self::TargetDeleting => "TargetDeleting",
            Self::TargetPaused => "TargetPaused",
            Self::RollbackNever => "RollbackNever",
            Self::TargetSharedWith => "TargetSharedWith",
            Self::NoKnownGood => "NoKnownGood",
            Self::NoHistory => "NoHistory",
            Self::NoWorkerReports => "NoWorkerReports",
            Self::StableFailsToo => "StableFailsToo",
            Self::Failed => "RollbackFailed",
            Self::Contested => "Contested",
        }
    }

    /// What it means and what to do.
    pub(super) fn sentence(self, lock: &Lock) -> String {
        let fixed = match self {
            Self::Off => "rollback.mode is Off: set it to DryRun or Enforce",
            Self::DryRun => "rollback.mode is DryRun: set it to Enforce to act",
            Self::TargetNotFound => "the target does not exist: create it or correct spec.targetRef",
            Self::Forbidden => {
                "the operator may not read or patch the target: add its namespace to rollback.namespaces"
            }
            Self::PatchRejected => "the API server refused the last patch: see the event",
            Self::TargetDeleting => "the target is being deleted",
            Self::TargetPaused => "the target is paused: resume it with kubectl rollout resume",
            Self::RollbackNever => "the template is annotated shoalwatch.dev/rollback: never",
            Self::TargetSharedWith => {
                let Lock::HeldBy(other) = lock else {
                    return "another SLO acts on this target".to_owned();
                };
                return format!("{other} judges this target too and is the one that acts");
            }
            Self::NoKnownGood => {
                "no release is known to be good: let one serve promoteAfter, or accept one by annotation"
            }
            Self::NoHistory => "the known-good release's ReplicaSet is gone: raise spec.revisionHistoryLimit",
            Self::NoWorkerReports => "pods are ready and no worker reports any: see the worker's pods on their nodes",
            Self::StableFailsToo => "the stable release fails too: look for what both depend on",
            Self::Failed => "the last undo did not bring the good release back: see the timeline",
            Self::Contested => "the undone release was applied again after two undos: apply another one, or accept it",
        };
        fixed.to_owned()
    }
}

impl From<NoTarget> for Hold {
    fn from(none: NoTarget) -> Self {
        match none {
            NoTarget::NoKnownGood => Self::NoKnownGood,
            NoTarget::NoHistory => Self::NoHistory,
        }
    }
}

/// Which of the SLOs that want to act on one target may: the oldest, then by name. `claims`: {created, `namespace/name`} of
/// every SLO on the target whose mode is `Enforce`.
#[must_use]
pub fn lock_holder<'a>(claims: impl IntoIterator<Item = (Millis, &'a str)>) -> Option<&'a str> {
    claims.into_iter().min().map(|(_, name)| name)
}

/// The condition `RollbackReady`: whether a bad release would be undone now.
#[must_use]
pub fn readiness(machine: &Machine, observation: &Observation<'_>, now: Millis) -> Condition {
    let hold = standing(machine, observation, now);
    let (status, reason, message) = match hold {
        None => ready(observation),
        Some(Hold::DryRun) => {
            let so_far = machine
                .dry_run()
                .sentence()
                .map_or_else(String::new, |so_far| format!("; it {so_far} so far"));
            let sentence = Hold::DryRun.sentence(observation.lock);
            (Holds::False, Hold::DryRun.as_str(), format!("{sentence}{so_far}"))
        }
        Some(hold) => (Holds::False, hold.as_str(), hold.sentence(observation.lock)),
    };
    Condition {
        kind: ConditionType::RollbackReady,
        status,
        reason,
        message,
    }
}

fn ready(observation: &Observation<'_>) -> (Holds, &'static str, String) {
    let gitops = match observation.target {
        Target::Found(target) => target.gitops.as_ref(),
        _ => None,
    };
    let Some(gitops) = gitops else {
        return (Holds::True, "Ready", "a bad release would be undone".to_owned());
    };
    let message = format!(
        "a bad release would be undone at most twice: {} applies the target from Git and may apply it again; it stays \
         undone once Git says so too",
        gitops.sentence()
    );
    (Holds::True, "ManagedByGitOps", message)
}

/// What would keep the current release from being undone, whether it is bad or not.
fn standing(machine: &Machine, observation: &Observation<'_>, now: Millis) -> Option<Hold> {
    if observation.spec.rule().mode == Mode::Off {
        return Some(Hold::Off);
    }
    let state = match machine.state() {
        State::Failed { .. } => Some(Hold::Failed),
        State::Contested { .. } => Some(Hold::Contested),
        _ => None,
    };
    let on_target = match observation.target {
        Target::Found(target) => {
            // A release that is good already is not what an undo would be about: the next one is.
            let known_good = observation.ledger.role(&target.release) == Role::KnownGood;
            let return_to = if known_good {
                (target.revision_history_limit == 0).then_some(Hold::NoHistory)
            } else {
                observation
                    .ledger
                    .return_target(target, &target.release)
                    .err()
                    .map(Hold::from)
            };
            obstacle(machine, observation, now, true).or(return_to)
        }
        _ => obstacle(machine, observation, now, true),
    };
    let dry_run = (observation.spec.rule().mode == Mode::DryRun).then_some(Hold::DryRun);
    on_target.or(state).or(dry_run)
}

/// What keeps any release of this target from being undone, apart from mode and memory. `by_counts`: for its answers, so
/// somebody must have seen them.
fn obstacle(machine: &Machine, observation: &Observation<'_>, now: Millis, by_counts: bool) -> Option<Hold> {
    let target = match observation.target {
        Target::Found(target) => target,
        Target::NotFound => return Some(Hold::TargetNotFound),
        Target::Forbidden => return Some(Hold::Forbidden),
    };
    let held = [
        (target.deleting, Hold::TargetDeleting),
        (target.paused, Hold::TargetPaused),
        (target.never, Hold::RollbackNever),
        (*observation.lock != Lock::Mine, Hold::TargetSharedWith),
        (
            by_counts && observation.verdict.coverage.is_blind(),
            Hold::NoWorkerReports,
        ),
    ];
    let standing = held.into_iter().find_map(|(holds, hold)| holds.then_some(hold));
    standing.or_else(|| machine.blocked(now))
}

/// What keeps this very release from being undone; `by_counts`: for its answers.
pub(super) fn refusal(machine: &Machine, observation: &Observation<'_>, now: Millis, by_counts: bool) -> Option<Hold> {
    let ledger: &Ledger = observation.ledger;
    let Target::Found(target) = observation.target else {
        return obstacle(machine, observation, now, by_counts);
    };
    if observation.spec.rule().mode == Mode::Off {
        return Some(Hold::Off);
    }
    let remembered = machine.undone(&target.release).and_then(|undone| match undone {
        undone if undone.failed => Some(Hold::Failed),
        undone if undone.record.count >= MAX_ACTS => Some(Hold::Contested),
        _ => None,
    });
    let no_return = || ledger.return_target(target, &target.release).err().map(Hold::from);
    let stable_fails = (!by_counts && stable_fails(observation, target)).then_some(Hold::StableFailsToo);
    let standing = obstacle(machine, observation, now, by_counts).or(stable_fails);
    standing.or(remembered).or_else(no_return)
}
