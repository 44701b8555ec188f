//! Burn rates and alert tiers.
//!
//! The burn rate is how many times faster than allowed the error budget is being spent: bad ratio ÷ (1 − objective). A tier
//! says which share of the budget may go in its long window before somebody is told, and so
//!
//! ```text
//! burn = budgetPercent ÷ 100 × period ÷ long
//! ```
//!
//! It fires while the bad ratio exceeds `burn × (1 − objective)` in the long *and* in the short window; the short one lets it
//! reset soon after the failure ends. Source: *The Site Reliability Workbook*, chapter 5, "Alerting on SLOs", approach 6
//! (multiwindow, multi-burn-rate alerts), tables 5-2 to 5-8. The defaults are its parameters over 30 days: 14.4, 6, 3 and 1.

mod objective;
mod tiers;
mod timing;

pub use objective::{Objective, ObjectiveError};
pub use tiers::{Alerts, Dropped, MAX_TIERS, Severity, Tier, TierError, TierSpec, default_tiers};

use crate::Counts;
use crate::counts::float;

/// How many times faster than allowed the budget is spent; `None` without judged requests.
#[must_use]
pub fn rate(counts: Counts, objective: Objective) -> Option<f64> {
    counts.bad_ratio().map(|ratio| ratio / objective.error_budget())
}

/// The share of the error budget that is left over the period `counts` covers: 1 when nothing was bad, 0 when it is spent,
/// negative beyond. The budget is occurrence based: `(good + bad) × (1 − objective)`. `None` without judged requests.
#[must_use]
pub fn budget_remaining(counts: Counts, objective: Objective) -> Option<f64> {
    let allowed = float(counts.total()) * objective.error_budget();
    (counts.total() > 0).then(|| 1.0 - float(counts.bad) / allowed)
}

/// The share of a whole period's budget that is left when the share `passed` of its time is over (0 to 1), `counts` being the
/// period's so far. The budget is taken for the whole period, at the traffic so far:
///
/// ```text
/// allowed = (good + bad) ÷ passed × (1 − objective)
/// ```
///
/// So a period begins with all of its budget, a burn rate of 1 spends it exactly by its end, and an alert's budgetPercent is a
/// share of the same. Were requests so far alone to allow, the first bad one of a month would overspend its budget a
/// thousandfold. At the period's end both are the same.
#[must_use]
pub fn budget_remaining_of_period(counts: Counts, objective: Objective, passed: f64) -> Option<f64> {
    budget_remaining(counts, objective).map(|left| 1.0 - (1.0 - left) * passed)
}
