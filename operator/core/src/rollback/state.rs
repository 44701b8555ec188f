//! Where a rollback stands.

use serde::{Deserialize, Serialize};

use crate::spec::AlsoOn;
use crate::{Millis, ReleaseId, Revision};

/// What the annotation `shoalwatch.dev/rollback` on the target says: proof that an act happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// The release that was undone.
    pub from: ReleaseId,
    /// The release returned to.
    pub to: ReleaseId,
    /// `namespace/name` of the SLO that judged.
    pub slo: String,
    /// When.
    pub time: Millis,
    /// How many times `from` was undone, this one included.
    pub count: u8,
}

/// One act, planned or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// What the annotation says.
    pub record: RollbackRecord,
    /// The revision whose template is restored.
    pub to_revision: Revision,
    /// The state of the target the decision was made on.
    pub resource_version: String,
    /// The numbers, for a person.
    pub reason: String,
}

/// Where the machine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum State {
    /// Nothing was undone, or it is over.
    #[default]
    Idle,
    /// The patch is on its way, or nobody knows whether it arrived.
    Acting {
        /// The act.
        act: Act,
        /// When it was sent last.
        #[serde(default)]
        sent: Millis,
    },
    /// The good release is coming back.
    Verifying {
        /// The act.
        act: Act,
        /// Until then.
        deadline: Millis,
    },
    /// Undone and verified; the bad release is undone again on sight.
    Latched {
        /// The act.
        act: Act,
        /// Until then.
        until: Millis,
    },
    /// Undone a second time and verified; too soon for a third act: applied again, the bad release is contested.
    CoolingDown {
        /// The act.
        act: Act,
        /// Until then.
        until: Millis,
    },
    /// The good release did not come back.
    Failed {
        /// The act.
        act: Act,
        /// Why.
        why: String,
    },
    /// Somebody keeps applying the bad release.
    Contested {
        /// The bad release.
        release: ReleaseId,
        /// Who wrote the template, as managedFields name it.
        writer: String,
    },
}

/// A milestone of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A new release is judged from now on.
    ProbationStarted,
    /// Its first bad answer.
    FirstBadAnswer,
    /// Its counts filled the rule.
    Breached,
    /// It made no progress within its deadline.
    ProgressDeadlineExceeded,
    /// Its pods crash again and again.
    CrashLoop,
    /// The patch would have been sent, were the mode Enforce.
    WouldHavePatched,
    /// The target was changed between decision and patch; it is judged afresh.
    Conflict,
    /// The API server accepted the patch.
    Patched,
    /// The good release serves again.
    Verified,
    /// The good release did not come back in time.
    Failed,
    /// The undone release was applied again.
    Reapplied,
    /// The undone release was applied once too often.
    Contested,
    /// The latch ended.
    Released,
    /// Another release took over.
    Superseded,
    /// An act was found on the target that this machine did not remember.
    Recovered,
    /// Somebody accepted the release.
    Accepted,
    /// The release is known to be good.
    Promoted,
    /// The target was deleted and made again.
    TargetReplaced,
}

/// One row of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// When.
    pub at: Millis,
    /// What.
    pub step: Step,
    /// A sentence.
    pub message: String,
    /// When the act was decided that it tells of: the same for whoever finds that act on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Millis>,
}

impl State {
    /// As the status spells it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Acting { .. } => "Acting",
            Self::Verifying { .. } => "Verifying",
            Self::Latched { .. } => "Latched",
            Self::CoolingDown { .. } => "CoolingDown",
            Self::Failed { .. } => "Failed",
            Self::Contested { .. } => "Contested",
        }
    }

    /// The act it is about.
    #[must_use]
    pub fn act(&self) -> Option<&Act> {
        match self {
            Self::Acting { act, .. }
            | Self::Verifying { act, .. }
            | Self::Latched { act, .. }
            | Self::CoolingDown { act, .. }
            | Self::Failed { act, .. } => Some(act),
            Self::Idle | Self::Contested { .. } => None,
        }
    }

    /// Whether an act is under way: the target is changing because of it.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Acting { .. } | Self::Verifying { .. })
    }
}

impl From<AlsoOn> for Step {
    fn from(failure: AlsoOn) -> Self {
        match failure {
            AlsoOn::ProgressDeadlineExceeded => Self::ProgressDeadlineExceeded,
            AlsoOn::CrashLoop => Self::CrashLoop,
        }
    }
}

impl Step {
    /// As the status and events spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProbationStarted => "ProbationStarted",
            Self::FirstBadAnswer => "FirstBadAnswer",
            Self::Breached => "Breached",
            Self::ProgressDeadlineExceeded => AlsoOn::ProgressDeadlineExceeded.as_str(),
            Self::CrashLoop => AlsoOn::CrashLoop.as_str(),
            Self::WouldHavePatched => "WouldHavePatched",
            Self::Conflict => "Conflict",
            Self::Patched => "Patched",
            Self::Verified => "Verified",
            Self::Failed => "Failed",
            Self::Reapplied => "Reapplied",
            Self::Contested => "Contested",
            Self::Released => "Released",
            Self::Superseded => "Superseded",
            Self::Recovered => "Recovered",
            Self::Accepted => "Accepted",
            Self::Promoted => "Promoted",
            Self::TargetReplaced => "TargetReplaced",
        }
    }
}
