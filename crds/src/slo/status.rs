use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Severity, WrittenRules};
use crate::{schema, text};

/// What an `SLO` found and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SloStatus {
    /// `Accepted`: the spec makes sense. `Evaluated`: there is something to judge. `BudgetHistory`: the history covers the
    /// window. `RollbackReady`: a bad release could be undone now. `RulesRendered`: the rules for Prometheus are written.
    /// `NotificationsDelivered`: receivers took what they were told last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub observed_generation: Option<i64>,

    /// `Healthy`: no alert fires. `Burning`: a ticket fires. `Breached`: a page fires, a release is bad, or the budget is
    /// spent. `NoData`: nothing was measured. `Inconclusive`: too little was measured to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Phase")]
    pub phase: Option<Phase>,

    /// The indicator in short, such as "http 5xx,Aborted".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 128))]
    pub indicator: Option<String>,

    /// Burn rates of the aggregate over the alert windows, two significant digits. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SloStatus::BURN_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["window".into()]))]
    pub burn: Vec<Burn>,

    /// The error budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Budget")]
    pub budget: Option<Budget>,

    /// How many of the target's pods are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Coverage")]
    pub coverage: Option<Coverage>,

    /// Alerts that fire now. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub alerts: Vec<FiringAlert>,

    /// The object with the rules for Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WrittenRules")]
    pub rules: Option<WrittenRules>,

    /// Releases of the target that are known. At most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SloStatus::REVISIONS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["revision".into()]))]
    pub revisions: Vec<Revision>,

    /// Where the rollback stands. Absent while its mode is `"Off"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RollbackStatus")]
    pub rollback: Option<RollbackStatus>,

    /// What happened, oldest first. The last 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SloStatus::TIMELINE_MAX))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub timeline: Vec<TimelineEntry>,
}

impl SloStatus {
    /// Most entries of [`SloStatus::burn`].
    pub const BURN_MAX: usize = 16;
    /// Most entries of [`SloStatus::revisions`].
    pub const REVISIONS_MAX: usize = 4;
    /// Most entries of [`SloStatus::timeline`].
    pub const TIMELINE_MAX: usize = 20;

    /// Appends to the timeline; the oldest entries make room, and the detail is cut at [`TimelineEntry::DETAIL_MAX`].
    pub fn record(&mut self, mut entry: TimelineEntry) {
        entry.detail = entry.detail.map(|detail| text::cut(&detail, TimelineEntry::DETAIL_MAX));
        self.timeline.push(entry);
        let surplus = self.timeline.len().saturating_sub(Self::TIMELINE_MAX);
        self.timeline.drain(..surplus);
    }
}

/// What an SLO says of its target.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum Phase {
    /// No alert fires.
    Healthy,
    /// A ticket fires.
    Burning,
    /// A page fires, a release in probation is bad, or the budget is spent.
    Breached,
    /// Nothing was measured: neither good nor bad.
    NoData,
    /// Too little was measured to say.
    Inconclusive,
}

/// How fast the budget was spent over one window.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Burn {
    /// Length of the window, such as 1h.
    #[schemars(length(max = 32))]
    pub window: String,

    /// Burn rate: 1 spends the budget exactly over the SLO's window.
    #[schemars(length(max = 32))]
    pub rate: String,
}

/// The error budget.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Share of the budget that is left, two significant digits: "100%" is all, "0%" is none, "-170%" is overspent by 1.7 times
    /// the whole.
    #[schemars(length(max = 32))]
    pub remaining: String,
}

/// How many of the target's pods are measured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Pods whose answers are reported.
    #[serde(default)]
    pub reporting: u32,

    /// Pods that are ready to answer.
    #[serde(default)]
    pub ready: u32,
}

/// An alert that fires.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FiringAlert {
    /// Name of the tier.
    #[schemars(length(max = 63))]
    pub name: String,

    /// Page or Ticket.
    pub severity: Severity,

    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub since: Option<Time>,
}

/// One release of the target.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The pod template hash.
    #[schemars(length(max = 63))]
    pub revision: String,

    /// `KnownGood`: a bad release is replaced by it. `Probation`: being judged, and undone if it is bad. `Other`: neither; it can
    /// only raise alerts.
    pub role: RevisionRole,

    /// Since when it has this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub since: Option<Time>,

    /// Share of its answers that was bad, two significant digits, such as "21%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 32))]
    pub bad: Option<String>,
}

/// What a release is to the rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum RevisionRole {
    /// A bad release is replaced by it.
    KnownGood,
    /// It is being judged, and undone if it is bad.
    Probation,
    /// Neither: it can only raise alerts.
    Other,
}

/// Where the rollback stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// `Idle`: nothing to undo. `Acting`: the patch is being sent. `Verifying`: the good release is coming up. `Latched`: it
    /// serves, and the bad one is undone again if it is applied again. `CoolingDown`: the same after the second time, and too
    /// soon for a third. `Failed`: it did not come up. `Contested`:
    /// somebody keeps applying the bad release.
    pub state: RollbackState,

    /// The release that was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 63))]
    pub from: Option<String>,

    /// The release that was put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 63))]
    pub to: Option<String>,

    /// Why, with the numbers that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = RollbackStatus::REASON_MAX))]
    pub reason: Option<String>,

    /// With mode `DryRun`: what would have become of the releases so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DryRunReport")]
    pub dry_run: Option<DryRunReport>,
}

/// What would have become of the releases so far.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DryRunReport {
    /// In one sentence, such as "would have undone 1 of 4 releases".
    #[schemars(length(max = 128))]
    pub summary: String,

    /// The last releases, oldest first. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub releases: Vec<DryRunRelease>,
}

/// One release of a dry run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DryRunRelease {
    /// The pod template hash, or the release's own hash where its `ReplicaSet` is gone.
    #[schemars(length(max = 63))]
    pub release: String,

    /// When it came.
    pub since: Time,

    /// What became of it.
    pub outcome: DryRunOutcome,

    /// Why, with the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = DryRunRelease::WHY_MAX))]
    pub why: Option<String>,
}

impl DryRunRelease {
    /// Longest [`DryRunRelease::why`], in characters; the API server refuses more.
    pub const WHY_MAX: usize = 256;
}

/// What became of a release in a dry run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum DryRunOutcome {
    /// It is being judged.
    InProbation,
    /// It would have been undone.
    WouldHaveUndone,
    /// It is the known good one now.
    Promoted,
    /// Its probation ended, and it served too little to be the known good one.
    ProbationOver,
    /// Another release came before the end.
    Replaced,
}

impl RollbackStatus {
    /// Longest [`RollbackStatus::reason`], in characters; the API server refuses more.
    pub const REASON_MAX: usize = 1024;
}

/// State of the rollback of one target.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum RollbackState {
    /// Nothing to undo.
    #[default]
    Idle,
    /// The patch is being sent.
    Acting,
    /// The good release is coming up.
    Verifying,
    /// It serves; the bad one is undone again if it is applied again.
    Latched,
    /// It serves; the bad one was undone twice, and it is too soon for a third time.
    CoolingDown,
    /// The good release did not come up.
    Failed,
    /// Somebody keeps applying the bad release.
    Contested,
}

/// One step of what happened.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: MicroTime,

    /// What.
    pub step: TimelineStep,

    /// More about it, such as the release or the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = TimelineEntry::DETAIL_MAX))]
    pub detail: Option<String>,
}

impl TimelineEntry {
    /// Longest [`TimelineEntry::detail`], in characters; the API server refuses more.
    pub const DETAIL_MAX: usize = 512;
}

/// What happened at one point of the timeline.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum TimelineStep {
    /// A new release is judged from now on.
    ProbationStarted,
    /// The release gave its first bad answer.
    FirstBadAnswer,
    /// The release was found bad.
    Breached,
    /// The release made no progress within its deadline.
    ProgressDeadlineExceeded,
    /// The release's pods crash again and again.
    CrashLoop,
    /// With mode `DryRun`: the target would have been patched now.
    WouldHavePatched,
    /// The target was changed between decision and patch; it is judged afresh.
    Conflict,
    /// The target was patched back to the good release.
    Patched,
    /// The good release serves again.
    Verified,
    /// The good release did not come up in time.
    Failed,
    /// The undone release was applied again.
    Reapplied,
    /// The undone release was applied once too often; the operator stopped.
    Contested,
    /// The latch ended: the undone release may try again.
    Released,
    /// Another release took over.
    Superseded,
    /// A rollback was found on the target that the operator did not remember.
    Recovered,
    /// A user accepted the release that had been undone.
    Accepted,
    /// The release was promoted to the known good one.
    Promoted,
    /// The target was deleted and made again.
    TargetReplaced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_keeps_the_newest_entries() {
        let mut status = SloStatus::default();
        for second in 0..SloStatus::TIMELINE_MAX + 3 {
            status.record(TimelineEntry {
                at: MicroTime(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()),
                step: TimelineStep::Patched,
                detail: Some(second.to_string()),
            });
        }
        assert_eq!(status.timeline.len(), SloStatus::TIMELINE_MAX);
        assert_eq!(status.timeline[0].detail.as_deref(), Some("3"));
    }

    #[test]
    fn a_detail_is_cut_where_the_schema_would_refuse_it() {
        let mut status = SloStatus::default();
        status.record(TimelineEntry {
            at: MicroTime("2026-01-01T00:00:00Z".parse().unwrap()),
            step: TimelineStep::Failed,
            detail: Some("x".repeat(TimelineEntry::DETAIL_MAX + 1)),
        });
        let detail = status.timeline[0].detail.as_deref().unwrap();
        assert_eq!(detail.chars().count(), TimelineEntry::DETAIL_MAX);
        assert!(detail.ends_with('…'));
    }
}
