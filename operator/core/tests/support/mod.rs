//! Targets to judge, for tests and the simulator.

use shoalwatch_core::Millis;
use shoalwatch_core::release::{RevisionSnapshot, TargetSnapshot};

/// Pods of every target and of each of its revisions, all ready and all seen.
pub(crate) const PODS: u32 = 2;

/// A target that runs `current`, with nothing else to be said of it.
pub(crate) fn target(current: &str, revisions: Vec<RevisionSnapshot>) -> TargetSnapshot {
    TargetSnapshot {
        uid: "uid".to_owned(),
        resource_version: "1".to_owned(),
        paused: false,
        deleting: false,
        replicas: PODS,
        revision_history_limit: 10,
        release: current.into(),
        revisions,
        rollback: None,
        accept: None,
        never: false,
        writer: None,
        stalled: false,
        gitops: None,
    }
}

/// An appearance of a release.
pub(crate) fn revision(release: &str, name: &str, created: Millis) -> RevisionSnapshot {
    RevisionSnapshot {
        revision: name.into(),
        release: release.into(),
        created,
        ready_pods: PODS,
        reporting_pods: PODS,
        first_ready_at: None,
        crashing: None,
    }
}
