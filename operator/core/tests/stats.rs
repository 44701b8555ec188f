//! The bounds hold exactly, not only in the limit: checked against the binomial distribution itself.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shoalwatch_core::stats::{
    Bets, Glance, LOOK_EVIDENCE, Pair, UNIT_MOST, divergence, evidence_above, evidence_worse,
};

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

/// The exact probability that a release whose only request of each second is bad with probability `p` ever looks worse than `threshold`
/// with 1e-4: over all ways of having had so many bad seconds of so many.
fn ever(p: f64, threshold: f64, seconds: usize) -> f64 {
    let bets = Bets::against(threshold);
    let mut alive = vec![1.0];
    let mut crossed = 0.0;
    for second in 1..=seconds {
        let mut next = vec![0.0; second + 1];
        for (bad, weight) in alive.iter().enumerate() {
            next[bad] += weight * (1.0 - p);
            next[bad + 1] += weight * p;
        }
        for (bad, weight) in next.iter_mut().enumerate() {
            let shares = (0..second).map(|place| if place < bad { 1.0 } else { 0.0 });
            if *weight > 0.0 && bets.evidence(shares) > LOOK_EVIDENCE {
                crossed += std::mem::take(weight);
            }
        }
        alive = next;
    }
    crossed
}

#[test]
fn a_release_at_the_threshold_is_ever_called_bad_with_probability_below_1e_4() {
    for threshold in [0.001_44, 0.0144, 0.05, 0.3] {
        let error = ever(threshold, threshold, 120);
        assert!(error <= 1e-4, "threshold {threshold}: {error}");
        assert!(
            error >= 1e-9,
            "threshold {threshold}: {error}, so the bound would be idle"
        );
        assert!(ever(threshold / 14.4, threshold, 120) < 1e-7);
    }
    assert!(ever(0.5, 0.0144, 60) > 0.999);
}

/// The same of two releases that answer one request a second each, bad with probability `p` and `q`: are they ever told apart?
fn ever_worse(p: f64, q: f64, seconds: u32) -> f64 {
    // What a second can show: {bad of the new, bad of the stable one}, and how likely.
    let kinds = [(1.0, 0.0, p * (1.0 - q)), (0.0, 1.0, q * (1.0 - p)), (1.0, 1.0, p * q)];
    let calm = (1.0 - p) * (1.0 - q);
    let evidence = |seen: &[u32; 3]| {
        let kinds = kinds.iter().zip(seen);
        let units = kinds.flat_map(|(&(new, stable, _), &times)| {
            let pair = Pair {
                new: (new, 1.0),
                stable: (stable, 1.0),
            };
            (0..times).map(move |_| pair)
        });
        evidence_worse(units)
    };
    let mut alive = BTreeMap::from([([0; 3], 1.0)]);
    let mut crossed = 0.0;
    for _ in 0..seconds {
        let mut next = BTreeMap::new();
        for (seen, weight) in alive {
            *next.entry(seen).or_insert(0.0) += weight * calm;
            for (place, (_, _, chance)) in kinds.iter().enumerate() {
                let mut seen = seen;
                seen[place] += 1;
                *next.entry(seen).or_insert(0.0) += weight * chance;
            }
        }
        next.retain(|seen, weight| {
            let told_apart = evidence(seen) > 1e3_f64.ln();
            if told_apart {
                crossed += *weight;
            }
            !told_apart
        });
        alive = next;
    }
    crossed
}

#[test]
fn two_equal_releases_are_ever_told_apart_with_probability_below_1e_3() {
    for p in [0.01, 0.1, 0.5, 0.9] {
        let error = ever_worse(p, p, 40);
        assert!(error <= 1e-3, "at {p}: {error}");
        assert!(ever_worse(p / 2.0, p, 40) <= error);
    }
    assert!(ever_worse(0.8, 0.01, 40) > 0.99);
}

#[test]
fn a_second_weighs_what_it_weighs_however_many_answers_it_has() {
    let bets = Bets::against(0.000_1);
    let outage = |seconds: usize| bets.evidence(std::iter::repeat_n(1.0, seconds));
    assert!(outage(1) <= UNIT_MOST.ln() && outage(2) <= 2.0 * UNIT_MOST.ln());
    assert!(
        outage(2) < LOOK_EVIDENCE && outage(3) > LOOK_EVIDENCE,
        "three are needed"
    );
    let worse = |answers: f64| {
        let pair = Pair {
            new: (answers, answers),
            stable: (0.0, answers),
        };
        evidence_worse([pair].into_iter())
    };
    assert!(worse(1e9) <= UNIT_MOST.ln() + 1e-9);
}

#[test]
fn a_threshold_that_nothing_can_exceed_is_not_exceeded() {
    for threshold in [0.0, 1.0, 1.5, f64::NAN] {
        let evidence = Bets::against(threshold).evidence(std::iter::repeat_n(1.0, 100));
        assert!(evidence <= 0.0, "{threshold}: {evidence}");
    }
}

#[test]
fn what_serves_nothing_is_not_compared() {
    let pair = |new, stable| evidence_worse([Pair { new, stable }].into_iter());
    assert!(pair((5.0, 5.0), (0.0, 0.0)) <= 0.0);
    assert!(pair((0.0, 0.0), (0.0, 5.0)) <= 0.0);
    assert!(pair((5.0, 5.0), (0.0, 5.0)) > 0.0);
}

#[test]
fn the_constant_is_what_it_is_said_to_be() {
    assert!((LOOK_EVIDENCE - 1e4_f64.ln()).abs() < 1e-12);
    assert!(divergence(0.3, 0.3).abs() < 1e-12 && (divergence(1.0, 0.5) - 2_f64.ln()).abs() < 1e-12);
}

proptest! {
    #[test]
    fn evidence_rises_with_bad_and_falls_with_good(bad in 0_u32..500, good in 0_u32..500, p in 0.0001_f64..0.99) {
        let evidence = |bad: u32, good: u32| evidence_above(f64::from(bad), f64::from(bad + good), p);
        prop_assert!(evidence(bad + 1, good) >= evidence(bad, good) - 1e-9);
        prop_assert!(evidence(bad, good + 1) <= evidence(bad, good) + 1e-9);
    }

    #[test]
    fn a_glance_never_sees_less_than_a_look(
        shares in prop::collection::vec(prop_oneof![2 => Just(0.0), 1 => 0.0_f64..0.02, 1 => 0.0_f64..=1.0], 0..200),
        threshold in 0.000_1_f64..0.99,
    ) {
        let bets = Bets::against(threshold);
        let mut glance = Glance::default();
        for share in &shares {
            glance.add(*share);
        }
        prop_assert!(bets.evidence(shares.into_iter()) <= bets.at_most(&glance));
    }

    /// Those above the threshold prove most.
    #[test]
    fn no_choice_of_units_proves_more_than_a_glance_at_all_allows(
        units in prop::collection::vec((prop_oneof![2 => Just(1.0), 1 => 0.0_f64..2.0], any::<bool>()), 0..60),
        magnitude in -4.0_f64..-0.005, often in prop_oneof![1.0_f64..6.0, 1.0_f64..10_000.0],
    ) {
        let threshold = 10_f64.powf(magnitude);
        let share = |part: f64| (part * often * threshold).min(1.0);
        let shares: Vec<(f64, bool)> = units.into_iter().map(|(part, chosen)| (share(part), chosen)).collect();
        let bets = Bets::against(threshold);
        let mut glance = Glance::default();
        for (share, _) in &shares {
            glance.add(*share);
        }
        let most = bets.of_any_at_most(&glance);
        for (least, any) in [(threshold, true), (0.0, false)] {
            let chosen = shares.iter().filter(|(share, chosen)| *share > least && (any || *chosen));
            prop_assert!(bets.evidence(chosen.map(|(share, _)| *share)) <= most);
        }
    }

    #[test]
    fn evidence_of_a_ratio_rises_with_each_share(
        shares in prop::collection::vec(0.0_f64..1.0, 1..60), place in any::<prop::sample::Index>(), more in 0.0_f64..1.0,
        threshold in 0.000_1_f64..0.99,
    ) {
        let bets = Bets::against(threshold);
        let mut worse = shares.clone();
        let place = place.index(shares.len());
        worse[place] = (worse[place] + more).min(1.0);
        prop_assert!(bets.evidence(worse.into_iter()) >= bets.evidence(shares.into_iter()) - 1e-9);
    }

    #[test]
    fn evidence_of_being_worse_rises_with_answers_that_turn_bad(
        units in prop::collection::vec((0_u32..50, 0_u32..50, 0_u32..50, 0_u32..50), 1..20), place in any::<prop::sample::Index>(),
    ) {
        let pair = |&(bad, good, other_bad, other_good): &(u32, u32, u32, u32)| Pair {
            new: (bad.into(), (bad + good).into()),
            stable: (other_bad.into(), (other_bad + other_good).into()),
        };
        let now = evidence_worse(units.iter().map(pair));
        let place = place.index(units.len());
        let (mut worse, mut eased) = (units.clone(), units.clone());
        if worse[place].1 > 0 {
            (worse[place].0, worse[place].1) = (worse[place].0 + 1, worse[place].1 - 1);
            prop_assert!(evidence_worse(worse.iter().map(pair)) >= now - 1e-9);
        }
        eased[place].1 += 1;
        prop_assert!(evidence_worse(eased.iter().map(pair)) <= now + 1e-9);
    }
}
