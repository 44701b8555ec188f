//! One SLO as it is judged: validated, with every default filled in.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::burn::{Alerts, Objective, TierError, TierSpec};
use crate::calendar::Calendar;
use crate::stats::Bets;
use crate::time::written;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The bounds of the rolling window; [`crate::history`] holds as much.
const WINDOW: (Duration, Duration) = (HOUR, Duration::from_hours(90 * 24));

/// The time over which a promise holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// It ends now and is so long: 1 h to 90 d.
    Rolling(Duration),
    /// From the begin of the period at hand: the budget is whole again with each.
    Calendar(Calendar),
}

impl Window {
    /// Its length, a calendar's [in round days](crate::calendar::Unit::nominal).
    #[must_use]
    pub fn nominal(&self) -> Duration {
        match self {
            Self::Rolling(span) => *span,
            Self::Calendar(calendar) => calendar.unit.nominal(),
        }
    }

    /// When it began.
    #[must_use]
    pub fn began(&self, now: Millis) -> Millis {
        match self {
            Self::Rolling(span) => now.minus(*span),
            Self::Calendar(calendar) => calendar.period(now).begin,
        }
    }

    /// The share of the budget's time that has passed, of what was seen of it: 1 for a rolling window. What was before `known`
    /// counts as time in which nothing was bad.
    #[must_use]
    pub fn passed(&self, known: Option<Millis>, now: Millis) -> f64 {
        let Self::Calendar(calendar) = self else {
            return 1.0;
        };
        let period = calendar.period(now);
        let seen = now.since(known.map_or(period.begin, |known| known.max(period.begin)));
        let whole = period.end.since(period.begin).as_secs_f64();
        (seen.as_secs_f64() / whole.max(1.0)).clamp(0.0, 1.0)
    }
}

impl From<Duration> for Window {
    fn from(rolling: Duration) -> Self {
        Self::Rolling(rolling)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(span) => formatter.write_str(&written(*span)),
            Self::Calendar(calendar) => calendar.fmt(formatter),
        }
    }
}

/// What may be done about a bad release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// Everything but the patch: events and timeline say what would have been done.
    DryRun,
    /// It is undone.
    Enforce,
}

/// A way in which a release fails without answering badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlsoOn {
    /// The Deployment made no progress within its `progressDeadlineSeconds`.
    ProgressDeadlineExceeded,
    /// Its pods crash again and again: see [`Crashing`](crate::release::Crashing).
    CrashLoop,
}

impl AlsoOn {
    /// As the spec, the timeline and events spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::CrashLoop => "CrashLoop",
        }
    }
}

/// When a release becomes one to return to: both must be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromoteAfter {
    /// Since its first ready pod.
    pub duration: Duration,
    /// Good answers since its first request.
    pub good_events: u64,
}

/// `spec.rollback`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRule {
    /// What may be done.
    pub mode: Mode,
    /// Burn rate that a release must exceed.
    pub burn: f64,
    /// Upper limit of the bad ratio a release may have, whatever the objective; above 0, at most 1.
    pub max_bad_ratio: f64,
    /// The shorter window in which a failure is sought; 1 s to 10 m.
    pub short: Duration,
    /// The longer window in which a failure is sought; longer than `short`, at most 1 h.
    pub long: Duration,
    /// Bad answers since the release's first request.
    pub min_bad_events: u64,
    /// How long after its first ready pod and its first request a release's answers do not count; shorter than `probation`.
    #[serde(default)]
    pub warmup: Duration,
    /// How long after its first ready pod a release may be undone.
    pub probation: Duration,
    /// When a release becomes one to return to.
    pub promote_after: PromoteAfter,
    /// How long after an act the release it undid is undone again on sight, and the act counts.
    pub cooldown: Duration,
    /// What a release in probation is undone for besides bad answers.
    #[serde(default = "both")]
    pub also_on: BTreeSet<AlsoOn>,
    /// How long the good release may take to be ready and healthy again.
    pub verify_within: Duration,
}

impl Default for RollbackRule {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            burn: 14.4,
            max_bad_ratio: 0.05,
            short: Duration::from_secs(10),
            long: MINUTE,
            min_bad_events: 10,
            warmup: Duration::ZERO,
            probation: 30 * MINUTE,
            promote_after: PromoteAfter {
                duration: 10 * MINUTE,
                good_events: 100,
            },
            cooldown: 10 * MINUTE,
            also_on: both(),
            verify_within: 2 * MINUTE,
        }
    }
}

fn both() -> BTreeSet<AlsoOn> {
    [AlsoOn::ProgressDeadlineExceeded, AlsoOn::CrashLoop].into()
}

/// Why an SLO cannot be judged. The text begins with the field's path and says what to write.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// A tier is refused.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The rolling window is out of bounds.
    #[error("spec.window.rolling: {} is out of range: write 1h to 90d", written(*.0))]
    Window(Duration),
    /// A member of `spec.rollback` is out of bounds.
    #[error("spec.rollback.{field}: {value} is out of range: write {wanted}")]
    Rollback {
        /// The member's path below `spec.rollback`.
        field: &'static str,
        /// What was written.
        value: String,
        /// What may be written.
        wanted: &'static str,
    },
}

impl SpecError {
    /// A bounded word for metrics and condition reasons.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Tier(_) => "InvalidAlert",
            Self::Window(_) => "InvalidWindow",
            Self::Rollback { .. } => "InvalidRollback",
        }
    }
}

/// One SLO, valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct SloSpec {
    name: String,
    objective: Objective,
    window: Window,
    alerts: Alerts,
    rule: RollbackRule,
    bets: Bets,
}

impl SloSpec {
    /// `name` is `namespace/name` and appears in annotations and sentences. `alerts`: `None` for the defaults.
    pub fn new(
        name: impl Into<String>,
        objective: Objective,
        window: impl Into<Window>,
        alerts: Option<&[TierSpec]>,
        rule: RollbackRule,
    ) -> Result<Self, SpecError> {
        let window = window.into();
        if let Window::Rolling(span) = window
            && !(WINDOW.0..=WINDOW.1).contains(&span)
        {
            return Err(SpecError::Window(span));
        }
        rule.check()?;
        let alerts = match alerts {
            Some(specs) => Alerts::explicit(specs, objective, window.nominal())?,
            None => Alerts::defaults(objective, window.nominal()),
        };
        Ok(Self {
            name: name.into(),
            objective,
            window,
            alerts,
            bets: Bets::against(rule.bad_threshold(objective)),
            rule,
        })
    }

    /// `namespace/name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The promised share of good requests.
    #[must_use]
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The window of the error budget.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Tiers that can fire, and the default ones that were dropped.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The rollback rule.
    #[must_use]
    pub fn rule(&self) -> &RollbackRule {
        &self.rule
    }

    /// The bad ratio beyond which a release is bad: `min(burn × (1 − objective), maxBadRatio)`.
    #[must_use]
    pub fn bad_threshold(&self) -> f64 {
        self.rule.bad_threshold(self.objective)
    }

    /// Bets against [`SloSpec::bad_threshold`].
    pub(crate) fn bets(&self) -> &Bets {
        &self.bets
    }

    /// The shortest alert window (5 m without tiers): no request in it is `NoData`, a loss in it is never good.
    #[must_use]
    pub fn data_window(&self) -> Duration {
        self.alerts
            .tiers
            .iter()
            .map(|tier| tier.short)
            .min()
            .unwrap_or(5 * MINUTE)
    }
}

impl RollbackRule {
    /// How long verification may take: `verifyWithin`, but at least two short windows, since it needs a whole one.
    #[must_use]
    pub fn verification(&self) -> Duration {
        self.verify_within.max(self.short * 2)
    }

    fn bad_threshold(&self, objective: Objective) -> f64 {
        (self.burn * objective.error_budget()).min(self.max_bad_ratio)
    }

    fn check(&self) -> Result<(), SpecError> {
        let number = |field, value: f64, holds: bool, wanted| {
            if holds {
                Ok(())
            } else {
                Err(SpecError::Rollback {
                    field,
                    value: value.to_string(),
                    wanted,
                })
            }
        };
        number(
            "burn",
            self.burn,
            self.burn > 0.0 && self.burn.is_finite(),
            "a number above 0, such as \"14.4\"",
        )?;
        let ratio = self.max_bad_ratio;
        number(
            "maxBadRatio",
            ratio,
            ratio > 0.0 && ratio <= 1.0,
            "a ratio above 0, at most 1, such as \"0.05\"",
        )?;
        if self.min_bad_events == 0 {
            return Err(SpecError::Rollback {
                field: "minBadEvents",
                value: "0".to_owned(),
                wanted: "1 or more",
            });
        }
        self.check_spans()
    }

    fn check_spans(&self) -> Result<(), SpecError> {
        let span = |field, value: Duration, from: Duration, to: Duration, wanted| {
            if value >= from && value <= to {
                Ok(())
            } else {
                Err(SpecError::Rollback {
                    field,
                    value: written(value),
                    wanted,
                })
            }
        };
        let second = Duration::from_secs(1);
        span("windows.short", self.short, second, 10 * MINUTE, "1s to 10m")?;
        span(
            "windows.long",
            self.long,
            self.short + second,
            HOUR,
            "longer than windows.short, at most 1h",
        )?;
        span("probation", self.probation, second, DAY, "1s to 1d")?;
        span(
            "warmup",
            self.warmup,
            Duration::ZERO,
            self.probation.saturating_sub(second),
            "0s or more, shorter than probation",
        )?;
        span(
            "promoteAfter.duration",
            self.promote_after.duration,
            Duration::ZERO,
            DAY,
            "0s to 1d",
        )?;
        span("cooldown", self.cooldown, second, 7 * DAY, "1s to 7d")?;
        span("verifyWithin", self.verify_within, second, DAY, "1s to 1d")
    }
}
