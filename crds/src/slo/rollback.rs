use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{BurnRateString, DurationString, RatioString, TimeSpan};

const SECOND: TimeSpan = TimeSpan::from_secs(1);
const DAY: TimeSpan = TimeSpan::from_hours(24);

/// Whether and when a release in probation is undone. Later the SLO alerts, but never acts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = promoted_within_probation(), validation = warm_before_the_end())]
pub struct Rollback {
    /// `"Off"`: never. `DryRun`: only say what would be done. `Enforce`: put the last good release back. Write `"Off"` in
    /// quotes: YAML takes it for a boolean. Default: `"Off"`.
    #[serde(default)]
    pub mode: RollbackMode,

    /// A release is bad from this burn rate on: its share of bad answers is this many times 1 − objective. Default: "14.4".
    #[serde(default = "defaults::burn")]
    pub burn: BurnRateString,

    /// A release is bad at this share of bad answers at the latest, whatever the burn rate says: a decimal above "0" and up to "1",
    /// in quotes. Default: "0.05".
    #[serde(default = "defaults::max_bad_ratio")]
    #[x_kube(validation = ("!self.matches('^0([.]0*)?$')", "write a ratio above \"0\", such as \"0.05\""))]
    pub max_bad_ratio: RatioString,

    /// Windows in which a failure is sought, beside the whole time since the release's first request.
    #[serde(default)]
    pub windows: RollbackWindows,

    /// Fewest bad answers, since the release's first request, on which to act, from 1 to 1000000. Default: 10.
    #[serde(default = "defaults::min_bad_events")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_bad_events: u32,

    /// How long the answers of a release do not count, from its first ready pod and its first request on: caches are cold then. A
    /// new pod that comes later has no warm-up of its own, so cover the rollout. Up to 1d, shorter than probation, rounded up to
    /// whole ten seconds. Default: 0s.
    #[serde(default = "defaults::warmup")]
    #[x_kube(validation = schema::between(TimeSpan::ZERO, DAY, "30s"))]
    pub warmup: DurationString,

    /// How long a release is judged, from its first ready pod on: 1s to 1d. Default: 30m.
    #[serde(default = "defaults::probation")]
    #[x_kube(validation = schema::between(SECOND, DAY, "30m"))]
    pub probation: DurationString,

    /// When a release becomes the known good one, to which a later one is put back.
    #[serde(default)]
    pub promote_after: PromoteAfter,

    /// How long after it was undone a release that is applied again is undone on sight; the third time it is left alone and
    /// its writer is named. After that it is forgotten. 1s to 7d. Default: 10m.
    #[serde(default = "defaults::cooldown")]
    #[x_kube(validation = schema::between(SECOND, TimeSpan::from_hours(7 * 24), "10m"))]
    pub cooldown: DurationString,

    /// What a release in probation is undone for besides bad answers. `ProgressDeadlineExceeded`: its Deployment made no
    /// progress within `progressDeadlineSeconds`. `CrashLoop`: two of its pods, or all there are, wait in `CrashLoopBackOff`
    /// after 3 restarts. An empty list: nothing. Default: both.
    #[serde(default = "defaults::also_on")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub also_on: Vec<AlsoOn>,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            mode: RollbackMode::Off,
            burn: defaults::burn(),
            max_bad_ratio: defaults::max_bad_ratio(),
            windows: RollbackWindows::default(),
            min_bad_events: defaults::min_bad_events(),
            warmup: defaults::warmup(),
            probation: defaults::probation(),
            promote_after: PromoteAfter::default(),
            cooldown: defaults::cooldown(),
            also_on: defaults::also_on(),
        }
    }
}

fn promoted_within_probation() -> kube::core::Rule {
    schema::ordered(
        "promoteAfter.duration",
        true,
        "probation",
        "write a promoteAfter.duration that is not longer than probation: a release is promoted while it is judged",
    )
}

fn warm_before_the_end() -> kube::core::Rule {
    schema::ordered(
        "warmup",
        false,
        "probation",
        "write a warmup that is shorter than probation: a release is judged after it",
    )
}

/// What is done about a bad release: Off, `DryRun` or Enforce.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum RollbackMode {
    /// Nothing.
    #[default]
    Off,
    /// Say what would be done.
    DryRun,
    /// Put the last good release back.
    Enforce,
}

/// A way in which a release fails without answering badly.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum AlsoOn {
    /// The Deployment made no progress within its deadline.
    ProgressDeadlineExceeded,
    /// Its pods crash again and again.
    CrashLoop,
}

/// Windows in which a failure is sought, beside the whole time since the release's first request: one that begins late is found in
/// them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = schema::ordered("short", false, "long", "write a short window that is shorter than the long one"))]
pub struct RollbackWindows {
    /// The longer one, over which a revision's share of bad answers is shown too, up to 1h. Default: 1m.
    #[serde(default = "defaults::long_window")]
    #[x_kube(validation = schema::between(SECOND, TimeSpan::from_hours(1), "1m"))]
    pub long: DurationString,

    /// The shorter one: 1s to 10m, shorter than the long one. Default: 10s.
    #[serde(default = "defaults::short_window")]
    #[x_kube(validation = schema::between(SECOND, TimeSpan::from_mins(10), "10s"))]
    pub short: DurationString,
}

impl Default for RollbackWindows {
    fn default() -> Self {
        Self {
            long: defaults::long_window(),
            short: defaults::short_window(),
        }
    }
}

/// When a release in probation becomes the known good one: after both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PromoteAfter {
    /// Time since its first ready pod, up to 1d and at most as long as the probation. Default: 10m.
    #[serde(default = "defaults::promote_after")]
    #[x_kube(validation = schema::between(TimeSpan::ZERO, DAY, "10m"))]
    pub duration: DurationString,

    /// Good answers, from 1 to 1000000. Default: 100.
    #[serde(default = "defaults::good_events")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub good_events: u32,
}

impl Default for PromoteAfter {
    fn default() -> Self {
        Self {
            duration: defaults::promote_after(),
            good_events: defaults::good_events(),
        }
    }
}

/// Defaults, once for serde, the schema and [`Default`].
mod defaults {
    use super::AlsoOn;
    use crate::values::{BurnRateString, DurationString, RatioString};

    pub(super) fn burn() -> BurnRateString {
        BurnRateString::new("14.4")
    }

    pub(super) fn max_bad_ratio() -> RatioString {
        RatioString::new("0.05")
    }

    pub(super) const fn min_bad_events() -> u32 {
        10
    }

    pub(super) fn warmup() -> DurationString {
        DurationString::new("0s")
    }

    pub(super) fn probation() -> DurationString {
        DurationString::new("30m")
    }

    pub(super) fn cooldown() -> DurationString {
        DurationString::new("10m")
    }

    pub(super) fn also_on() -> Vec<AlsoOn> {
        vec![AlsoOn::ProgressDeadlineExceeded, AlsoOn::CrashLoop]
    }

    pub(super) fn long_window() -> DurationString {
        DurationString::new("1m")
    }

    pub(super) fn short_window() -> DurationString {
        DurationString::new("10s")
    }

    pub(super) fn promote_after() -> DurationString {
        DurationString::new("10m")
    }

    pub(super) const fn good_events() -> u32 {
        100
    }
}
