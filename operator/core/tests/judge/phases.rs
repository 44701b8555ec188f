//! Phases, conditions, promotion and the bounds of the spec.

use std::time::Duration;

use shoalwatch_core::Counts;
use shoalwatch_core::burn::Severity;
use shoalwatch_core::condition::{ConditionType, Holds};
use shoalwatch_core::judge::{Coverage, Evidence, Phase, PhaseReason, ReleaseEvidence, judge, may_promote};
use shoalwatch_core::release::Role;
use shoalwatch_core::spec::{RollbackRule, SloSpec, SpecError};

use crate::given::*;

/// A quiet SLO: nothing in probation, everything seen.
fn quiet() -> Evidence {
    evidence(release(Role::KnownGood, Counts::new(1_000, 0)))
}

fn phase_of(evidence: &Evidence) -> (Phase, PhaseReason) {
    let verdict = judge(&spec("99.9"), evidence, NOW);
    (verdict.phase, verdict.reason)
}

/// All windows up to `until` with this bad ratio, in percent.
fn burning(until: Duration, percent: u64) -> Vec<(Duration, Counts)> {
    let minutes = [5_u64, 30, 60, 120, 360, 1_440, 4_320];
    let counts = |window| {
        if window <= until {
            Counts::new(100 - percent, percent)
        } else {
            Counts::new(1_000_000, 0)
        }
    };
    minutes
        .iter()
        .map(|&minutes| Duration::from_mins(minutes))
        .map(|window| (window, counts(window)))
        .collect()
}

#[test]
fn phases_say_what_holds() {
    assert_eq!(phase_of(&quiet()), (Phase::Healthy, PhaseReason::WithinObjective));
    let page = Evidence {
        windows: burning(Duration::from_hours(1), 2),
        ..quiet()
    };
    assert_eq!(phase_of(&page), (Phase::Breached, PhaseReason::PageAlert));
    let spent = Evidence {
        period: Counts::new(999_000, 1_000),
        ..quiet()
    };
    assert_eq!(phase_of(&spent), (Phase::Breached, PhaseReason::BudgetSpent));
    let silent = Evidence {
        recent: Counts::default(),
        ..quiet()
    };
    assert_eq!(phase_of(&silent), (Phase::NoData, PhaseReason::NoRequests));
    assert_eq!(
        phase_of(&bad_release().evidence()),
        (Phase::Breached, PhaseReason::BadRelease)
    );
}

#[test]
fn a_ticket_tier_burns() {
    // 0.4 % in 2 h and 24 h: above burn 3, below 6 and 14.4.
    let mut windows = burning(Duration::ZERO, 0);
    for (_, counts) in &mut windows {
        *counts = Counts::new(996, 4);
    }
    let verdict = judge(&spec("99.9"), &Evidence { windows, ..quiet() }, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Burning, PhaseReason::TicketAlert)
    );
    let firing: Vec<&str> = verdict
        .alerts
        .iter()
        .filter(|alert| alert.firing)
        .map(|alert| alert.tier.name.as_str())
        .collect();
    assert_eq!(firing, ["fast-ticket", "slow-ticket"]);
    assert!(
        verdict
            .alerts
            .iter()
            .all(|alert| !alert.firing || alert.tier.severity == Severity::Ticket)
    );
    assert!((verdict.burn[0].rate.unwrap() - 4.0).abs() < 1e-9);
}

#[test]
fn what_is_not_wholly_seen_is_never_healthy() {
    let lossy = Evidence {
        recent: Counts {
            incomplete: 1,
            ..Counts::new(1_000_000, 0)
        },
        ..quiet()
    };
    assert_eq!(phase_of(&lossy), (Phase::Inconclusive, PhaseReason::LostRequests));
    let uncovered = Evidence {
        coverage: Coverage { reporting: 5, ready: 6 },
        ..quiet()
    };
    assert_eq!(phase_of(&uncovered), (Phase::Inconclusive, PhaseReason::MissingWorkers));
    let only_losses = Evidence {
        recent: Counts {
            incomplete: 1,
            ..Counts::default()
        },
        ..quiet()
    };
    assert_eq!(phase_of(&only_losses), (Phase::Inconclusive, PhaseReason::LostRequests));
}

#[test]
fn a_page_is_not_hidden_by_losses() {
    let recent = Counts {
        incomplete: 9,
        ..Counts::new(98, 2)
    };
    let evidence = Evidence {
        windows: burning(Duration::from_hours(6), 2),
        recent,
        ..quiet()
    };
    assert_eq!(phase_of(&evidence), (Phase::Breached, PhaseReason::PageAlert));
}

#[test]
fn conditions_say_whether_it_is_evaluated_and_how_much_history_there_is() {
    let verdict = judge(&spec("99.9"), &quiet(), NOW);
    let condition = |kind| {
        verdict
            .conditions
            .iter()
            .find(|condition| condition.kind == kind)
            .unwrap()
    };
    assert_eq!(condition(ConditionType::Evaluated).status, Holds::True);
    let history = condition(ConditionType::BudgetHistory);
    assert_eq!((history.status, history.reason), (Holds::False, "Growing"));
    assert_eq!(history.message, "history covers 1d of 30d");
    let blind = Evidence {
        coverage: Coverage { reporting: 0, ready: 1 },
        ..quiet()
    };
    assert_eq!(judge(&spec("99.9"), &blind, NOW).conditions[0].status, Holds::Unknown);
}

#[test]
fn promotion_needs_time_good_answers_and_full_sight() {
    let good = || release(Role::Probation, Counts::new(100, 0));
    let promoted = |current: &ReleaseEvidence| may_promote(&spec("99.9"), current, NOW);
    let covered = |coverage| {
        let mut release = good();
        release.case.coverage = coverage;
        release
    };
    assert!(promoted(&good()));
    assert!(
        !promoted(&release(Role::Probation, Counts::new(99, 0))),
        "too few good answers"
    );
    let young = NOW.minus(Duration::from_mins(10)).plus(Duration::from_millis(1));
    assert!(
        !promoted(&ReleaseEvidence {
            first_ready_at: Some(young),
            ..good()
        }),
        "too young"
    );
    assert!(
        !promoted(&ReleaseEvidence {
            first_ready_at: None,
            ..good()
        }),
        "never ready"
    );
    let lossy = Counts {
        incomplete: 1,
        ..Counts::new(1_000, 0)
    };
    assert!(
        !promoted(&ReleaseEvidence { trial: lossy, ..good() }),
        "losses are never good"
    );
    let uncovered = Coverage { reporting: 1, ready: 2 };
    assert!(!promoted(&covered(uncovered)), "not wholly seen");
    assert!(
        !promoted(&ReleaseEvidence {
            trial: Counts::new(98, 2),
            ..good()
        }),
        "bad"
    );
    assert!(
        !promoted(&ReleaseEvidence {
            short: Counts::new(98, 2),
            ..good()
        }),
        "bad now"
    );
    assert!(
        promoted(&ReleaseEvidence {
            short: Counts::default(),
            ..good()
        }),
        "silent now"
    );
    assert!(
        !promoted(&ReleaseEvidence {
            trial: Counts::default(),
            ..good()
        }),
        "silent"
    );
    assert!(!promoted(&covered(Coverage::default())), "gone");
}

#[test]
fn members_out_of_bounds_are_refused_with_their_path() {
    let refused = |change: fn(&mut RollbackRule)| {
        let mut rule = RollbackRule::default();
        change(&mut rule);
        SloSpec::new("a/b", "99".parse().unwrap(), 30 * DAY, None, rule)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(|rule| rule.burn = 0.0).starts_with("spec.rollback.burn"));
    assert!(refused(|rule| rule.burn = f64::NAN).starts_with("spec.rollback.burn"));
    assert!(refused(|rule| rule.max_bad_ratio = 1.01).starts_with("spec.rollback.maxBadRatio"));
    assert!(refused(|rule| rule.min_bad_events = 0).starts_with("spec.rollback.minBadEvents"));
    assert!(refused(|rule| rule.short = Duration::from_mins(11)).starts_with("spec.rollback.windows.short"));
    assert!(refused(|rule| rule.long = rule.short).starts_with("spec.rollback.windows.long"));
    assert!(refused(|rule| rule.probation = Duration::ZERO).starts_with("spec.rollback.probation"));
    assert!(refused(|rule| rule.warmup = rule.probation).starts_with("spec.rollback.warmup"));
    assert!(refused(|rule| rule.cooldown = Duration::ZERO).starts_with("spec.rollback.cooldown"));
    assert!(refused(|rule| rule.verify_within = Duration::ZERO).starts_with("spec.rollback.verifyWithin"));
    let window = SloSpec::new("a/b", "99".parse().unwrap(), 91 * DAY, None, RollbackRule::default()).unwrap_err();
    assert!(matches!(window, SpecError::Window(_)));
    assert_eq!(
        window.to_string(),
        "spec.window.rolling: 91d is out of range: write 1h to 90d"
    );
}
