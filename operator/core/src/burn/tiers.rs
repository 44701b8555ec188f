//! Alert tiers: what is written, what it comes to, and which ones can fire at all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Objective;
use crate::time::written;

/// Most tiers of one SLO.
pub const MAX_TIERS: usize = 8;
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Somebody is woken.
    Page,
    /// Somebody looks in working hours.
    Ticket,
}

/// A tier as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierSpec {
    /// Unique within the SLO.
    pub name: String,
    /// Who is told.
    pub severity: Severity,
    /// Percent of the budget that the long window may spend, above 0, at most 100.
    pub budget_percent: f64,
    /// The window that gives weight.
    pub long: Duration,
    /// The window that lets the alert reset, shorter than `long`.
    pub short: Duration,
}

/// A tier that can fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// As in [`TierSpec`].
    pub name: String,
    /// As in [`TierSpec`].
    pub severity: Severity,
    /// `budgetPercent ÷ 100 × period ÷ long`.
    pub burn: f64,
    /// `burn × (1 − objective)`, below 1: the bad ratio that both windows must exceed.
    pub threshold: f64,
    /// As in [`TierSpec`].
    pub long: Duration,
    /// As in [`TierSpec`].
    pub short: Duration,
}

/// A default tier that this objective or period makes meaningless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The tier.
    pub name: String,
    /// Why, as a sentence.
    pub why: String,
}

/// The tiers of one SLO.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// Tiers that can fire, in the order they were written.
    pub tiers: Vec<Tier>,
    /// Default tiers that were left out, for a condition.
    pub dropped: Vec<Dropped>,
}

/// Why a tier is refused. The text begins with the field's path.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TierError {
    /// Even with every request bad it would stay silent.
    #[error(
        "spec.alerts[{name}]: can never fire: burn {burn:.3} × (1 − objective) = {threshold:.3} is not below 1; lower \
         budgetPercent, lengthen `long`, or raise the objective"
    )]
    Unreachable {
        /// The tier.
        name: String,
        /// Its burn rate.
        burn: f64,
        /// The bad ratio it would need.
        threshold: f64,
    },
    /// A share outside (0, 100].
    #[error("spec.alerts[{name}].budgetPercent: {value} is out of range: write a percentage above 0, at most 100")]
    BudgetPercent {
        /// The tier.
        name: String,
        /// What was written.
        value: f64,
    },
    /// `short` must be positive and shorter than `long`, `long` at most the SLO's window.
    #[error("spec.alerts[{name}]: windows {short} and {long} do not fit: write short < long ≤ {period}", short = written(*.short), long = written(*.long), period = written(*.period))]
    Windows {
        /// The tier.
        name: String,
        /// The short window.
        short: Duration,
        /// The long window.
        long: Duration,
        /// The SLO's window.
        period: Duration,
    },
    /// Two tiers of one name.
    #[error("spec.alerts[{0}]: the name is used twice: give each tier its own")]
    Duplicate(String),
    /// More than [`MAX_TIERS`].
    #[error("spec.alerts: {0} tiers are too many: write at most 8")]
    TooMany(usize),
}

/// The tiers of the SRE Workbook.
#[must_use]
pub fn default_tiers() -> Vec<TierSpec> {
    let tier = |name: &str, severity, budget_percent, long, short| TierSpec {
        name: name.to_owned(),
        severity,
        budget_percent,
        long,
        short,
    };
    vec![
        tier("fast-page", Severity::Page, 2.0, HOUR, 5 * MINUTE),
        tier("slow-page", Severity::Page, 5.0, 6 * HOUR, 30 * MINUTE),
        tier("fast-ticket", Severity::Ticket, 10.0, 24 * HOUR, 2 * HOUR),
        tier("slow-ticket", Severity::Ticket, 10.0, 72 * HOUR, 6 * HOUR),
    ]
}

impl Alerts {
    /// The default tiers, without those that cannot fire under this objective and period.
    #[must_use]
    pub fn defaults(objective: Objective, period: Duration) -> Self {
        let mut alerts = Self::default();
        for spec in default_tiers() {
            match spec.compile(objective, period) {
                Ok(tier) => alerts.tiers.push(tier),
                Err(error) => alerts.dropped.push(Dropped {
                    name: spec.name,
                    why: error.to_string(),
                }),
            }
        }
        alerts
    }

    /// Tiers that somebody wrote: each must be able to fire.
    pub fn explicit(specs: &[TierSpec], objective: Objective, period: Duration) -> Result<Self, TierError> {
        if specs.len() > MAX_TIERS {
            return Err(TierError::TooMany(specs.len()));
        }
        let mut tiers: Vec<Tier> = Vec::with_capacity(specs.len());
        for spec in specs {
            if tiers.iter().any(|tier| tier.name == spec.name) {
                return Err(TierError::Duplicate(spec.name.clone()));
            }
            tiers.push(spec.compile(objective, period)?);
        }
        Ok(Self {
            tiers,
            dropped: Vec::new(),
        })
    }
}

impl TierSpec {
    /// `budgetPercent ÷ 100 × period ÷ long`.
    #[must_use]
    pub fn burn(&self, period: Duration) -> f64 {
        self.budget_percent / 100.0 * period.as_secs_f64() / self.long.as_secs_f64()
    }

    fn compile(&self, objective: Objective, period: Duration) -> Result<Tier, TierError> {
        self.check_bounds(period)?;
        let burn = self.burn(period);
        let threshold = burn * objective.error_budget();
        if threshold >= 1.0 {
            return Err(TierError::Unreachable {
                name: self.name.clone(),
                burn,
                threshold,
            });
        }
        Ok(Tier {
            name: self.name.clone(),
            severity: self.severity,
            burn,
            threshold,
            long: self.long,
            short: self.short,
        })
    }

    fn check_bounds(&self, period: Duration) -> Result<(), TierError> {
        let share = self.budget_percent;
        if !(share > 0.0 && share <= 100.0) {
            return Err(TierError::BudgetPercent {
                name: self.name.clone(),
                value: share,
            });
        }
        if self.short.is_zero() || self.short >= self.long || self.long > period {
            return Err(TierError::Windows {
                name: self.name.clone(),
                short: self.short,
                long: self.long,
                period,
            });
        }
        Ok(())
    }
}

impl Tier {
    /// Whether both bad ratios exceed the threshold; a window without judged requests exceeds nothing.
    #[must_use]
    pub fn fires(&self, long: Option<f64>, short: Option<f64>) -> bool {
        [long, short]
            .iter()
            .all(|ratio| ratio.is_some_and(|ratio| ratio > self.threshold))
    }
}
