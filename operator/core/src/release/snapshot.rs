//! The target as it is seen now.

use serde::{Deserialize, Serialize};

use crate::rollback::RollbackRecord;
use crate::{Millis, ReleaseId, Revision};

/// A Deployment and its `ReplicaSets`, as observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSnapshot {
    /// `metadata.uid`: a target deleted and made again is another one.
    pub uid: String,
    /// `metadata.resourceVersion`: the precondition of a patch.
    pub resource_version: String,
    /// `spec.paused`.
    pub paused: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.revisionHistoryLimit`: at 0 an old `ReplicaSet` is gone as soon as its last pod is.
    pub revision_history_limit: u32,
    /// The release of the current pod template.
    pub release: ReleaseId,
    /// `ReplicaSets` it owns.
    pub revisions: Vec<RevisionSnapshot>,
    /// The annotation `shoalwatch.dev/rollback`, if it can be read.
    pub rollback: Option<RollbackRecord>,
    /// The annotation `shoalwatch.dev/accept`: a release id, or one of its revisions.
    pub accept: Option<String>,
    /// The current template carries `shoalwatch.dev/rollback: never`.
    pub never: bool,
    /// Who wrote the template last (`managedFields[].manager`).
    pub writer: Option<String>,
}

/// One `ReplicaSet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSnapshot {
    /// Its `pod-template-hash`.
    pub revision: Revision,
    /// Its release.
    pub release: ReleaseId,
    /// `metadata.creationTimestamp`.
    pub created: Millis,
    /// Ready pods. Leave out a pod for its first seconds of readiness, until a worker had time to find it (2 s).
    pub ready_pods: u32,
    /// Of these, pods that a connected worker has under observation.
    pub reporting_pods: u32,
    /// The first time one of its pods was ready, if that is known.
    pub first_ready_at: Option<Millis>,
}

impl TargetSnapshot {
    /// Its revisions of one release, newest first.
    #[must_use]
    pub fn revisions_of(&self, release: &ReleaseId) -> Vec<&RevisionSnapshot> {
        let mut revisions: Vec<_> = self.revisions.iter().filter(|each| each.release == *release).collect();
        revisions.sort_by(|one, other| (other.created, &other.revision).cmp(&(one.created, &one.revision)));
        revisions
    }

    /// Ready pods of one release.
    #[must_use]
    pub fn ready_pods(&self, release: &ReleaseId) -> u32 {
        self.revisions_of(release)
            .iter()
            .fold(0, |sum, each| sum.saturating_add(each.ready_pods))
    }

    /// Whether the accept annotation names this release, by its id or by one of its revisions.
    #[must_use]
    pub fn accepts(&self, release: &ReleaseId) -> bool {
        self.accept.as_ref().is_some_and(|accepted| {
            accepted == release.as_str()
                || self
                    .revisions_of(release)
                    .iter()
                    .any(|each| each.revision.as_str() == accepted)
        })
    }
}
