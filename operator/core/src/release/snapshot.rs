//! The target as it is seen now.

use serde::{Deserialize, Serialize};

use crate::rollback::RollbackRecord;
use crate::{Millis, ReleaseId, Revision};

/// A Deployment and its `ReplicaSets`, as observed.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the object, not a state"
)]
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
    /// Its condition `Progressing` is False with the reason `ProgressDeadlineExceeded`, and is about the current template.
    pub stalled: bool,
    /// What applies it from Git, and would apply an undone release again.
    pub gitops: Option<GitOps>,
}

/// A tool that applies objects from Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitOps {
    /// Which.
    pub tool: GitOpsTool,
    /// The object that applies the target, such as an Application, as the tool's marks on the target name it.
    pub owner: String,
}

/// Tools whose marks are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GitOpsTool {
    /// Argo CD: an Application.
    ArgoCd,
    /// Flux: a Kustomization.
    FluxKustomization,
    /// Flux: a `HelmRelease`.
    FluxHelmRelease,
}

/// Pods of a `ReplicaSet` that do not stay up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashing {
    /// Its pods.
    pub pods: u32,
    /// Of these, pods of which a container waits in `CrashLoopBackOff` after at least 3 restarts.
    pub crashing: u32,
    /// Restarts of the container that was restarted most.
    pub restarts: u32,
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
    /// Its pods that crash; `None`: nobody looked lately, for they are all ready.
    pub crashing: Option<Crashing>,
}

impl GitOps {
    /// As a person would call it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (tool, kind) = match self.tool {
            GitOpsTool::ArgoCd => ("Argo CD", "Application"),
            GitOpsTool::FluxKustomization => ("Flux", "Kustomization"),
            GitOpsTool::FluxHelmRelease => ("Flux", "HelmRelease"),
        };
        format!("{tool} ({kind} {})", self.owner)
    }
}

impl Crashing {
    /// At least two pods crash, or all there are: one of several may be a bad node.
    #[must_use]
    pub fn is_looping(self) -> bool {
        self.crashing >= 2 || (self.crashing > 0 && self.crashing >= self.pods)
    }
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
        let revisions = self.revisions.iter().filter(|each| each.release == *release);
        revisions.fold(0, |sum, each| sum.saturating_add(each.ready_pods))
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
