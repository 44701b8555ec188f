//! Conditions as Kubernetes knows them, without its types.

use serde::Serialize;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// It cannot be said.
    Unknown,
}

impl Holds {
    /// As metav1.Condition spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions this crate decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ConditionType {
    /// The indicator is being measured and judged.
    Evaluated,
    /// History covers the SLO's window.
    BudgetHistory,
    /// A bad release would be undone.
    RollbackReady,
}

impl ConditionType {
    /// The condition's `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evaluated => "Evaluated",
            Self::BudgetHistory => "BudgetHistory",
            Self::RollbackReady => "RollbackReady",
        }
    }
}

/// One condition; the caller adds observedGeneration and lastTransitionTime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Its status.
    pub status: Holds,
    /// A `CamelCase` word from a bounded set.
    pub reason: &'static str,
    /// A sentence for a person.
    pub message: String,
}
