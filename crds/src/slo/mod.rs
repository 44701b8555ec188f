//! `SLO`: what a workload promises, when to alert, and whether to undo a bad release.

mod alerts;
mod indicator;
mod notifications;
mod rollback;
mod rules;
mod status;
mod window;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::ObjectiveString;

pub use alerts::{AlertTier, Severity, default_alerts};
pub use indicator::{HttpIndicator, Indicator, LatencyIndicator, PrometheusIndicator, Requests};
pub use notifications::{Notification, NotifiedEvent, SecretKeyRef, Webhook};
pub use rollback::{AlsoOn, PromoteAfter, Rollback, RollbackMode, RollbackWindows};
pub use rules::{Rules, RulesKind, RulesObject, WrittenRules};
pub use status::{
    Budget, Burn, Coverage, DryRunOutcome, DryRunRelease, DryRunReport, FiringAlert, Phase, Revision, RevisionRole,
    RollbackState, RollbackStatus, SloStatus, TimelineEntry, TimelineStep,
};
pub use window::{CalendarUnit, CalendarWindow, Window};

/// What a workload promises, when to alert, and whether to undo a release that breaks the promise.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "shoalwatch.dev",
    version = "v1alpha1",
    kind = "SLO",
    root = "Slo",
    singular = "slo",
    plural = "slos",
    category = "shoalwatch",
    namespaced,
    status = "SloStatus",
    derive = "PartialEq",
    doc = "An SLO says which share of a workload's answers must be good, alerts when the error budget burns too fast, and can undo a release that burns it.",
    printcolumn(name = "Objective", type_ = "string", json_path = ".spec.objective"),
    printcolumn(name = "Indicator", type_ = "string", json_path = ".status.indicator"),
    printcolumn(
        name = "Burn(1h)",
        type_ = "string",
        json_path = ".status.burn[?(@.window==\"1h\")].rate",
        description = "How many times too fast the error budget was spent in the last hour"
    ),
    printcolumn(
        name = "Budget",
        type_ = "string",
        json_path = ".status.budget.remaining",
        description = "Share of the error budget that is left in the window; below 0% it is overspent"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Rollback", type_ = "string", json_path = ".status.rollback.state"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "has(self.targetRef) != has(self.indicator.prometheus)",
        "write targetRef, the workload; with indicator.prometheus write none: its queries say what is measured"
    ),
    validation = (
        "has(self.targetRef) == has(oldSelf.targetRef)",
        "an SLO does not turn into one of a Prometheus, nor back: create another SLO"
    ),
    validation = (
        "!has(self.indicator.prometheus) || !has(self.rollback) || self.rollback.mode == 'Off'",
        "with indicator.prometheus nothing can be undone, for its queries do not tell releases apart: leave rollback out"
    ),
    validation = (
        "!has(self.indicator.prometheus) || !has(self.rules)",
        "rules are written over what node workers export: with indicator.prometheus leave them out, and alert on shoalwatch_slo_alert_active"
    )
)]
pub struct SloSpec {
    /// The workload that makes the promise. Cannot be changed. Required, but absent with indicator.prometheus, whose queries say what
    /// is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TargetRef")]
    #[x_kube(validation = ("self == oldSelf", "the target of an SLO cannot change: create another SLO for the other target"))]
    pub target_ref: Option<TargetRef>,

    /// Share of good answers that is promised: a percentage above "0" and below "100", in quotes, such as "99.9".
    pub objective: ObjectiveString,

    /// Time over which the promise holds. Default: the last 30 days.
    #[serde(default)]
    pub window: Window,

    /// What is measured, and what counts as bad.
    pub indicator: Indicator,

    /// Alert tiers. At most 8. Default: the four of the SRE workbook, fast-page, slow-page, fast-ticket and slow-ticket.
    #[serde(default = "default_alerts")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub alerts: Vec<AlertTier>,

    /// Where the alerts are also written as rules for Prometheus. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rules")]
    pub rules: Option<Rules>,

    /// Who is told when an alert fires or ceases to, and when a release is undone. At most 4. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SloSpec::NOTIFICATIONS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub notifications: Vec<Notification>,

    /// Whether and when a bad release is undone. Default: never (mode "Off").
    #[serde(default)]
    pub rollback: Rollback,
}

impl SloSpec {
    /// Most entries of [`SloSpec::notifications`].
    pub const NOTIFICATIONS_MAX: usize = 4;

    /// The alert tiers that somebody asked for; nothing if they are [`default_alerts`], which the API server writes into
    /// every object that names none.
    #[must_use]
    pub fn explicit_alerts(&self) -> Option<&[AlertTier]> {
        (self.alerts != default_alerts()).then_some(&*self.alerts)
    }
}

/// A workload in the SLO's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// API group of the workload: apps. Default: apps.
    #[serde(default)]
    pub group: TargetGroup,

    /// Kind of the workload: Deployment. Default: Deployment.
    #[serde(default)]
    pub kind: TargetKind,

    /// Name of the workload.
    #[schemars(schema_with = "schema::workload_name")]
    pub name: String,
}

/// API group of a target.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum TargetGroup {
    /// Kubernetes' own workloads.
    #[default]
    #[serde(rename = "apps")]
    Apps,
}

/// Kind of a target.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum TargetKind {
    /// A Deployment.
    #[default]
    Deployment,
}
