//! What the caller is told to do.

use serde::{Deserialize, Serialize};

use super::readiness::Hold;
use super::state::{RollbackRecord, Step};
use crate::{ReleaseId, Revision};

/// Something to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the machine (and ledger) to storage before what follows.
    Persist,
    /// Undo the release; feed the outcome back.
    Patch(Patch),
    /// Publish an event on the SLO and on the target.
    Event {
        /// How loud.
        severity: EventSeverity,
        /// Its reason.
        reason: EventReason,
        /// A sentence for a person.
        message: String,
    },
    /// Read the target from the API server, not from a cache, and step again.
    Reobserve,
}

/// One JSON patch: `test` resourceVersion, replace the pod template by that of `to_revision`, set the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// `metadata.uid` the target must have.
    pub target_uid: String,
    /// `metadata.resourceVersion` the target must have.
    pub resource_version: String,
    /// The bad release.
    pub from: ReleaseId,
    /// The revision whose template is restored.
    pub to_revision: Revision,
    /// The annotation to set.
    pub record: RollbackRecord,
}

/// How loud an event is. Kubernetes knows two types: `Info` is Normal, the others are Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventSeverity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Somebody has to act now.
    Page,
}

/// The reason of an event: a milestone, or what holds an act back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventReason {
    /// A row of the timeline.
    Step(Step),
    /// A release is bad, and this keeps it from being undone.
    Held(Hold),
}

impl EventReason {
    /// The event's `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step(step) => step.as_str(),
            Self::Held(hold) => hold.as_str(),
        }
    }
}
