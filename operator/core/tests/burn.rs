//! Alert tiers against the Workbook's numbers and formula.

use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::Counts;
use shoalwatch_core::burn::{Alerts, Objective, Severity, TierError, TierSpec, budget_remaining, default_tiers, rate};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn objective(percent: &str) -> Objective {
    percent.parse().expect("a valid objective")
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-12 * other.abs().max(1.0)
}

fn tier(budget_percent: f64, long: Duration, short: Duration) -> TierSpec {
    TierSpec {
        name: "t".to_owned(),
        severity: Severity::Page,
        budget_percent,
        long,
        short,
    }
}

#[test]
fn defaults_over_thirty_days_are_the_workbooks() {
    let alerts = Alerts::defaults(objective("99.9"), 30 * DAY);
    let burns: Vec<f64> = alerts.tiers.iter().map(|tier| tier.burn).collect();
    for (burn, expected) in burns.iter().zip([14.4, 6.0, 3.0, 1.0]) {
        assert!(near(*burn, expected), "{burns:?}");
    }
    assert!(near(alerts.tiers[0].threshold, 0.0144));
    assert!(alerts.dropped.is_empty());
}

#[test]
fn a_default_tier_that_cannot_fire_is_dropped_and_named() {
    let alerts = Alerts::defaults(objective("90"), 30 * DAY);
    let names: Vec<&str> = alerts.dropped.iter().map(|dropped| dropped.name.as_str()).collect();
    assert_eq!(names, ["fast-page"]);
    assert_eq!(alerts.tiers.len(), 3);
    assert!(
        alerts.dropped[0].why.contains("burn 14.400"),
        "{}",
        alerts.dropped[0].why
    );
}

#[test]
fn a_default_tier_longer_than_the_window_is_dropped() {
    let alerts = Alerts::defaults(objective("99.9"), DAY);
    let names: Vec<&str> = alerts.dropped.iter().map(|dropped| dropped.name.as_str()).collect();
    assert_eq!(names, ["slow-ticket"]);
}

#[test]
fn an_explicit_tier_that_cannot_fire_is_refused_with_its_path() {
    let spec = tier(2.0, HOUR, HOUR / 12);
    let error = Alerts::explicit(std::slice::from_ref(&spec), objective("90"), 30 * DAY).unwrap_err();
    assert!(matches!(error, TierError::Unreachable { .. }));
    assert!(error.to_string().starts_with("spec.alerts[t]"), "{error}");
    // Just above and just below 1 − 1/14.4 = 93.0556 %.
    assert!(Alerts::explicit(std::slice::from_ref(&spec), objective("93.06"), 30 * DAY).is_ok());
    assert!(Alerts::explicit(&[spec], objective("93.05"), 30 * DAY).is_err());
}

#[test]
fn a_threshold_of_exactly_one_is_unreachable() {
    // burn = 0.1 × 30 d / 72 h = 1, and an objective cannot be 0, so take burn 2 at 50 %.
    let spec = tier(2.0 / 30.0 * 100.0, DAY, HOUR);
    assert!(Alerts::explicit(std::slice::from_ref(&spec), objective("50"), 30 * DAY).is_err());
    assert!(Alerts::explicit(&[spec], objective("50.0000001"), 30 * DAY).is_ok());
}

#[test]
fn tiers_out_of_bounds_are_refused() {
    let refused = |spec: TierSpec| Alerts::explicit(&[spec], objective("99.9"), 30 * DAY).unwrap_err();
    assert!(matches!(
        refused(tier(0.0, HOUR, HOUR / 12)),
        TierError::BudgetPercent { .. }
    ));
    assert!(matches!(
        refused(tier(f64::NAN, HOUR, HOUR / 12)),
        TierError::BudgetPercent { .. }
    ));
    assert!(matches!(
        refused(tier(100.1, HOUR, HOUR / 12)),
        TierError::BudgetPercent { .. }
    ));
    assert!(matches!(refused(tier(2.0, HOUR, HOUR)), TierError::Windows { .. }));
    assert!(matches!(
        refused(tier(2.0, HOUR, Duration::ZERO)),
        TierError::Windows { .. }
    ));
    assert!(matches!(refused(tier(2.0, 31 * DAY, HOUR)), TierError::Windows { .. }));
    let twice = [tier(2.0, HOUR, HOUR / 12), tier(5.0, 6 * HOUR, HOUR)];
    let error = Alerts::explicit(&twice, objective("99.9"), 30 * DAY).unwrap_err();
    assert_eq!(error, TierError::Duplicate("t".to_owned()));
}

#[test]
fn a_tier_fires_only_while_both_windows_exceed() {
    let alerts = Alerts::defaults(objective("99.9"), 30 * DAY);
    let page = &alerts.tiers[0];
    assert!(page.fires(Some(0.0145), Some(0.0145)));
    assert!(
        !page.fires(Some(0.0145), Some(0.0144)),
        "the short window is at the threshold"
    );
    assert!(!page.fires(Some(0.0143), Some(1.0)), "the long window is below");
    assert!(!page.fires(Some(1.0), None), "no request is not bad");
}

#[test]
fn objectives_are_exact_and_bounded() {
    assert!(near(objective("99.9").error_budget(), 0.001));
    assert!(near(objective("99.999").error_budget(), 0.000_01));
    assert_eq!(objective("99.90").to_string(), "99.9");
    for text in ["", "abc", "-1", "1e2", "99.", ".9", "99,9", "99.99999999", "+99", " 99"] {
        assert!(text.parse::<Objective>().is_err(), "{text:?}");
    }
    for text in ["0", "100", "100.0", "250"] {
        let error = text.parse::<Objective>().unwrap_err().to_string();
        assert!(error.contains("write a percentage"), "{error}");
    }
}

#[test]
fn the_budget_is_what_is_left_of_the_allowed_bad_requests() {
    let objective = objective("99");
    assert_eq!(budget_remaining(Counts::default(), objective), None);
    let left = |bad| budget_remaining(Counts::new(1_000 - bad, bad), objective).unwrap();
    assert!(near(left(0), 1.0));
    assert!(near(left(5), 0.5));
    assert!(near(left(10), 0.0));
    assert!(near(left(30), -2.0));
}

#[test]
fn no_request_has_no_burn_rate() {
    assert_eq!(
        rate(
            Counts {
                incomplete: 9,
                ..Counts::default()
            },
            objective("99.9")
        ),
        None
    );
    assert!(near(rate(Counts::new(999, 1), objective("99.9")).unwrap(), 1.0));
}

proptest! {
    /// Spending at exactly the burn rate for the long window spends exactly the tier's share of the budget.
    #[test]
    fn burning_at_the_rate_for_the_long_window_spends_the_share(
        share in 0.1_f64..100.0, long_hours in 1_u32..720, period_days in 30_u32..90, bad in 1_u32..50_000,
    ) {
        let (long, period) = (long_hours * HOUR, period_days * DAY);
        let spec = tier(share, long, Duration::from_mins(1));
        let error_budget = f64::from(bad) / 1e6;
        let bad_ratio = spec.burn(period) * error_budget;
        let spent = bad_ratio * long.as_secs_f64() / (error_budget * period.as_secs_f64());
        prop_assert!((spent * 100.0 - share).abs() < 1e-9 * share.max(1.0));
    }

    /// Of the defaults exactly those survive that a total outage can fire.
    #[test]
    fn a_default_tier_survives_exactly_if_an_outage_can_fire_it(decimals in 1_u32..9_999, days in 3_u32..90) {
        let objective = objective(&format!("{}.{:02}", decimals / 100, decimals % 100));
        let alerts = Alerts::defaults(objective, days * DAY);
        for spec in default_tiers() {
            let threshold = spec.budget_percent / 100.0 * f64::from(days) * 24.0 / (spec.long.as_secs_f64() / 3_600.0)
                * (1.0 - objective.ratio());
            let kept = alerts.tiers.iter().find(|tier| tier.name == spec.name);
            if (threshold - 1.0).abs() > 1e-9 {
                prop_assert_eq!(kept.is_some(), threshold < 1.0);
            }
            if let Some(tier) = kept {
                prop_assert!(tier.fires(Some(1.0), Some(1.0)));
            }
        }
    }

    #[test]
    fn an_objective_reads_back_as_written(units in 1_u64..1_000_000_000) {
        let text = format!("{}.{:07}", units / 10_000_000, units % 10_000_000);
        let objective = objective(&text);
        prop_assert_eq!(objective.to_string().parse::<Objective>(), Ok(objective));
        let expected = f64::from(u32::try_from(units).unwrap()) / 1e9;
        prop_assert!((objective.ratio() - expected).abs() < 1e-15);
    }
}
