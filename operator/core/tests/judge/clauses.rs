//! Every clause of the decision on a release.

use std::time::Duration;

use shoalwatch_core::Counts;
use shoalwatch_core::judge::{
    Coverage, Decision, Doubt, Evidence, Phase, PhaseReason, ReleaseEvidence, judge, new_release,
};
use shoalwatch_core::release::Role;

use crate::given::*;

#[test]
fn the_reason_is_a_sentence_with_the_numbers() {
    let evidence = evidence(bad_release(), Some(stable(Counts::new(33_332, 1))));
    let Decision::Undo(breach) = new_release(&spec("99.9"), &evidence) else {
        panic!("not undone")
    };
    assert_eq!(
        breach.reason,
        "31 bad of 151 in 10s on 2 pods; stable 0.003 %; bound 9.05 % > 1.44 %"
    );
    assert_eq!(breach.from.as_str(), "v2");
}

#[test]
fn only_a_release_in_probation_is_undone() {
    assert!(is_undo(&evidence(bad_release(), None)));
    for role in [Role::KnownGood, Role::Other] {
        let current = ReleaseEvidence { role, ..bad_release() };
        assert_eq!(new_release(&spec("99.9"), &evidence(current, None)), Decision::Nothing);
    }
}

#[test]
fn a_failure_that_is_over_is_not_acted_on() {
    let current = ReleaseEvidence {
        short: Counts::new(151, 0),
        ..bad_release()
    };
    assert!(!is_undo(&evidence(current, None)));
}

#[test]
fn a_short_burst_without_weight_is_not_acted_on() {
    let diluted = Counts::new(100_000, 31);
    let current = ReleaseEvidence {
        long: diluted,
        totals: totals(diluted, 2, Duration::from_secs(8)),
        ..bad_release()
    };
    assert!(!is_undo(&evidence(current, None)));
}

#[test]
fn weight_in_the_long_window_or_since_the_first_request_is_enough() {
    let diluted = Counts::new(100_000, 31);
    let in_long = ReleaseEvidence {
        totals: totals(diluted, 2, Duration::from_secs(8)),
        ..bad_release()
    };
    assert!(is_undo(&evidence(in_long, None)));
    let since_first = ReleaseEvidence {
        long: diluted,
        ..bad_release()
    };
    assert!(is_undo(&evidence(since_first, None)));
}

#[test]
fn fewer_than_min_bad_events_are_not_acted_on() {
    let outage = |bad| release(Role::Probation, Counts::new(0, bad));
    assert!(is_undo(&evidence(outage(10), None)));
    assert!(!is_undo(&evidence(outage(9), None)));
}

#[test]
fn bad_answers_must_come_from_two_pods_or_over_two_seconds() {
    let counts = Counts::new(120, 31);
    let spread = |pods, millis| {
        let totals = totals(counts, pods, Duration::from_millis(millis));
        is_undo(&evidence(
            ReleaseEvidence {
                totals,
                ..bad_release()
            },
            None,
        ))
    };
    assert!(!spread(1, 1_999));
    assert!(spread(1, 2_000));
    assert!(spread(2, 0));
}

#[test]
fn one_percent_bad_is_within_an_objective_of_99() {
    // min(14.4 × 1 %, 5 %) = 5 %.
    let current = release(Role::Probation, Counts::new(99_000, 1_000));
    assert_eq!(
        new_release(&spec("99"), &evidence(current.clone(), None)),
        Decision::Nothing
    );
    assert!(
        is_undo(&evidence(release(Role::Probation, Counts::new(97_000, 3_000)), None)),
        "3 % at 99.9"
    );
}

#[test]
fn a_low_objective_is_capped_by_max_bad_ratio() {
    let spec = spec("90");
    assert!((spec.bad_threshold() - 0.05).abs() < 1e-12);
    let current = release(Role::Probation, Counts::new(80, 20));
    assert!(matches!(
        new_release(&spec, &evidence(current, None)),
        Decision::Undo(_)
    ));
}

#[test]
fn a_shared_failure_is_inconclusive() {
    let both = evidence(bad_release(), Some(stable(Counts::new(120, 31))));
    assert_eq!(doubt_of(&both), Some(Doubt::StableFailsToo));
    let verdict = judge(&spec("99.9"), &both, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Inconclusive, PhaseReason::StableFailsToo)
    );
}

#[test]
fn a_release_not_provably_worse_than_the_stable_one_is_inconclusive() {
    // 3 of 12 beside 12 of 40: the stable one's bound is not above the threshold by much, but the new one is no worse.
    let new = release(Role::Probation, Counts::new(20, 10));
    let doubt = doubt_of(&evidence(new, Some(stable(Counts::new(9, 3)))));
    assert_eq!(doubt, Some(Doubt::NotWorseThanStable));
}

#[test]
fn a_stable_release_without_traffic_is_no_excuse() {
    assert!(is_undo(&evidence(bad_release(), Some(stable(Counts::new(0, 9))))));
    assert!(!is_undo(&evidence(bad_release(), Some(stable(Counts::new(0, 10))))));
}

#[test]
fn pods_that_nobody_reports_count_as_good() {
    let covered = |reporting, ready| {
        let current = ReleaseEvidence {
            coverage: Coverage { reporting, ready },
            ..bad_release()
        };
        evidence(current, None)
    };
    assert!(is_undo(&covered(1, 2)), "even if the other pod is good, this is bad");
    assert_eq!(doubt_of(&covered(1, 30)), Some(Doubt::MissingWorkers));
}

#[test]
fn lost_requests_count_as_good() {
    let lossy = |incomplete| {
        let counts = Counts {
            incomplete,
            ..Counts::new(120, 31)
        };
        evidence(release(Role::Probation, counts), None)
    };
    assert!(is_undo(&lossy(151)));
    assert_eq!(doubt_of(&lossy(10_000)), Some(Doubt::LostRequests));
}

#[test]
fn nothing_is_decided_without_sight() {
    let blind = Coverage { reporting: 0, ready: 4 };
    let of_target = Evidence {
        coverage: blind,
        ..evidence(bad_release(), None)
    };
    assert_eq!(new_release(&spec("99.9"), &of_target), Decision::Nothing);
    let verdict = judge(&spec("99.9"), &of_target, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::NoData, PhaseReason::NoWorkerReports)
    );
    let of_release = evidence(
        ReleaseEvidence {
            coverage: blind,
            ..bad_release()
        },
        None,
    );
    assert_eq!(new_release(&spec("99.9"), &of_release), Decision::Nothing);
}
