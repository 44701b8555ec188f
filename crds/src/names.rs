//! Names that the parts of Shoalwatch, its users and the Kubernetes API agree on.

/// API group of every kind.
pub const GROUP: &str = "shoalwatch.dev";

/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Field manager under which the operator applies status and patches targets.
pub const FIELD_MANAGER: &str = "shoalwatch-operator";

/// Annotation on a rolled-back target: JSON `{from, to, slo, time}`, written by the operator in the same patch.
/// On a pod template, with the value [`ROLLBACK_NEVER`], it is written by the user and forbids an automatic rollback
/// of that release.
pub const ROLLBACK_ANNOTATION: &str = "shoalwatch.dev/rollback";

/// Value of [`ROLLBACK_ANNOTATION`] on a pod template that must never be undone automatically.
pub const ROLLBACK_NEVER: &str = "never";

/// Annotation by which a user accepts a release that was rolled back; its value is the release to let through.
pub const ACCEPT_ANNOTATION: &str = "shoalwatch.dev/accept";

/// Type of the condition that says whether the spec makes sense (both kinds).
pub const CONDITION_ACCEPTED: &str = "Accepted";

/// Type of the condition that says whether every node samples as the policy says (`SamplingPolicy`).
pub const CONDITION_PROGRAMMED: &str = "Programmed";

/// Type of the condition that says whether there are measurements to judge (`SLO`).
pub const CONDITION_EVALUATED: &str = "Evaluated";

/// Type of the condition that says whether the history covers the whole budget window (`SLO`).
pub const CONDITION_BUDGET_HISTORY: &str = "BudgetHistory";

/// Type of the condition that says whether a bad release could be undone now (`SLO`).
pub const CONDITION_ROLLBACK_READY: &str = "RollbackReady";

/// Type of the condition that says whether the rules for Prometheus are written (`SLO`).
pub const CONDITION_RULES_RENDERED: &str = "RulesRendered";

/// Type of the condition that says whether receivers of notifications took what they were told last (`SLO`).
pub const CONDITION_NOTIFICATIONS_DELIVERED: &str = "NotificationsDelivered";
