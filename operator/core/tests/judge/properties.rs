//! What holds of every verdict.

use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::Counts;
use shoalwatch_core::judge::{Coverage, Decision, Evidence, Phase, ReleaseEvidence, judge};
use shoalwatch_core::release::Role;

use crate::given::*;

fn any_counts() -> impl Strategy<Value = Counts> {
    (0_u64..400, 0_u64..200, prop_oneof![4 => Just(0_u64), 1 => 0_u64..100])
        .prop_map(|(good, bad, incomplete)| Counts { good, bad, incomplete })
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let coverage = (0_u32..4, 0_u32..4).prop_map(|(reporting, ready)| Coverage {
        reporting: reporting.min(ready),
        ready,
    });
    let parts = (
        any_counts(),
        coverage,
        1_u32..3,
        0_u64..4,
        prop::option::of(any_counts()),
    );
    parts.prop_map(|(counts, coverage, pods, seconds, beside)| {
        let totals = totals(counts, pods, Duration::from_secs(seconds));
        let current = ReleaseEvidence {
            coverage,
            totals,
            ..release(Role::Probation, counts)
        };
        evidence(current, beside.map(stable))
    })
}

/// `evidence` with more requests of the new release, all windows alike.
fn with_more(evidence: &Evidence, more: Counts) -> Evidence {
    let mut changed = evidence.clone();
    if let Some(current) = &mut changed.current {
        for counts in [
            &mut current.short,
            &mut current.long,
            &mut current.compared,
            &mut current.totals.counts,
        ] {
            *counts += more;
        }
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// More bad answers never turn "undo" into "do not".
    #[test]
    fn more_bad_answers_never_save_a_release(evidence in any_evidence(), more in 1_u64..50) {
        if is_undo(&evidence) {
            prop_assert!(is_undo(&with_more(&evidence, Counts::new(0, more))));
        }
    }

    /// Fewer good answers never save a release; neither more good answers nor losses condemn one.
    #[test]
    fn good_answers_and_losses_never_condemn_a_release(evidence in any_evidence(), good in 0_u64..50, lost in 0_u64..50) {
        if !is_undo(&evidence) {
            let more = Counts { good, bad: 0, incomplete: lost };
            prop_assert!(!is_undo(&with_more(&evidence, more)));
        }
    }

    /// A pod fewer in sight never condemns a release.
    #[test]
    fn less_sight_never_condemns_a_release(evidence in any_evidence()) {
        let mut blinder = evidence.clone();
        if let Some(current) = &mut blinder.current {
            current.coverage.reporting = current.coverage.reporting.saturating_sub(1);
        }
        if !is_undo(&evidence) {
            prop_assert!(!is_undo(&blinder));
        }
    }

    /// Unless everything is seen, the verdict is never Healthy; without sight it decides nothing.
    #[test]
    fn a_partial_view_is_never_good(evidence in any_evidence(), recent in any_counts(), reporting in 0_u32..6) {
        let evidence = Evidence { recent, coverage: Coverage { reporting, ready: 5 }, ..evidence };
        let verdict = judge(&spec("99.9"), &evidence, NOW);
        if recent.incomplete > 0 || recent.total() == 0 || reporting < 5 {
            prop_assert_ne!(verdict.phase, Phase::Healthy);
        }
        if verdict.phase == Phase::NoData {
            prop_assert!(!matches!(verdict.decision, Decision::Undo(_)));
        }
    }
}
