//! The bounds hold exactly, not only in the limit: checked against the binomial distribution itself.

use proptest::prelude::*;
use shoalwatch_core::stats::{LOOK_EVIDENCE, WORSE_EVIDENCE, divergence, evidence_above, evidence_worse, lower_bound};

/// P(k of n) for k = 0..=n.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let mut log_choose = 0.0;
    let mut weights = Vec::new();
    for k in 0..=n {
        weights.push((log_choose + f64::from(k) * p.ln() + f64::from(n - k) * (1.0 - p).ln()).exp());
        log_choose += (f64::from(n - k) / f64::from(k + 1)).ln();
    }
    weights
}

#[test]
fn a_release_at_the_threshold_looks_worse_with_probability_below_1e_4() {
    for n in [1, 2, 5, 10, 50, 151, 500, 3_000] {
        for threshold in [0.000_144, 0.001, 0.0144, 0.05, 0.3, 0.9] {
            let tail: f64 = binomial(n, threshold)
                .iter()
                .zip(0_u32..)
                .filter(|(_, bad)| evidence_above(f64::from(*bad), f64::from(n), threshold) > LOOK_EVIDENCE)
                .map(|(weight, _)| weight)
                .sum();
            assert!(tail <= 1e-4, "n {n} threshold {threshold}: {tail}");
        }
    }
}

#[test]
fn two_equal_releases_look_different_with_probability_below_1e_3() {
    for (n1, n2) in [(10, 10), (3, 200), (200, 3), (50, 150), (120, 40)] {
        for p in [0.001, 0.02, 0.2, 0.5, 0.95] {
            let (first, second) = (binomial(n1, p), binomial(n2, p));
            let mut tail = 0.0;
            for (weight1, bad1) in first.iter().zip(0_u32..) {
                for (weight2, bad2) in second.iter().zip(0_u32..) {
                    let pair = |bad, total| (f64::from(bad), f64::from(total));
                    if evidence_worse(pair(bad1, n1), pair(bad2, n2)) > WORSE_EVIDENCE {
                        tail += weight1 * weight2;
                    }
                }
            }
            assert!(tail <= 1e-3, "{n1} and {n2} at {p}: {tail}");
        }
    }
}

#[test]
fn the_constants_are_what_they_are_said_to_be() {
    assert!((LOOK_EVIDENCE - 1e4_f64.ln()).abs() < 1e-12);
    assert!(((1.0 + WORSE_EVIDENCE) * (-WORSE_EVIDENCE).exp() - 1e-3).abs() < 1e-12);
}

#[test]
fn a_total_outage_of_ten_requests_is_beyond_doubt_and_of_two_is_not() {
    // All bad: KL(1 ‖ p) = ln(1/p), so the bound is exp(−ln(1e4) ÷ n).
    assert!((lower_bound(10.0, 10.0, LOOK_EVIDENCE) - 1e4_f64.powf(-0.1)).abs() < 1e-9);
    assert!(lower_bound(2.0, 2.0, LOOK_EVIDENCE) < 0.0144);
    assert!(lower_bound(3.0, 3.0, LOOK_EVIDENCE) > 0.0144);
}

proptest! {
    #[test]
    fn the_bound_is_where_the_evidence_ends(bad in 1_u32..2_000, good in 0_u32..2_000) {
        let (bad, total) = (f64::from(bad), f64::from(bad + good));
        let bound = lower_bound(bad, total, LOOK_EVIDENCE);
        prop_assert!(bound > 0.0 && bound <= bad / total);
        prop_assert!((total * divergence(bad / total, bound) - LOOK_EVIDENCE).abs() < 1e-6);
    }

    #[test]
    fn evidence_rises_with_bad_and_falls_with_good(bad in 0_u32..500, good in 0_u32..500, p in 0.0001_f64..0.99) {
        let evidence = |bad: u32, good: u32| evidence_above(f64::from(bad), f64::from(bad + good), p);
        prop_assert!(evidence(bad + 1, good) >= evidence(bad, good) - 1e-9);
        prop_assert!(evidence(bad, good + 1) <= evidence(bad, good) + 1e-9);
    }

    #[test]
    fn evidence_of_being_worse_rises_with_own_bad_and_falls_with_the_others(
        bad1 in 0_u32..200, good1 in 0_u32..200, bad2 in 0_u32..200, good2 in 0_u32..200,
    ) {
        let evidence = |bad1: u32, good1: u32, bad2: u32, good2: u32| {
            let pair = |bad: u32, good: u32| (f64::from(bad), f64::from(bad + good));
            evidence_worse(pair(bad1, good1), pair(bad2, good2))
        };
        let now = evidence(bad1, good1, bad2, good2);
        prop_assert!(evidence(bad1 + 1, good1, bad2, good2) >= now - 1e-9);
        prop_assert!(evidence(bad1, good1 + 1, bad2, good2) <= now + 1e-9);
        if bad2 + good2 > 0 {
            prop_assert!(evidence(bad1, good1, bad2 + 1, good2) <= now + 1e-9);
            prop_assert!(evidence(bad1, good1, bad2, good2 + 1) >= now - 1e-9);
        }
    }
}
