//! What holds of every verdict.

use proptest::prelude::*;
use shoalwatch_core::Counts;
use shoalwatch_core::judge::{Coverage, Decision, Evidence, Phase, findings, judge};

use crate::given::*;

fn any_counts(most_bad: u64) -> impl Strategy<Value = Counts> {
    (0_u64..20, 0..most_bad, prop_oneof![9 => Just(0_u64), 1 => 0_u64..20]).prop_map(|(good, bad, incomplete)| Counts {
        good,
        bad,
        incomplete,
    })
}

/// Some seconds of two releases, the stable one mostly good.
fn any_story() -> impl Strategy<Value = Story> {
    let stable = prop_oneof![6 => any_counts(1), 1 => any_counts(20)];
    let second = (any_counts(12), stable).prop_map(|(new, stable)| Second { new, stable });
    let coverage = (0_u32..4, 0_u32..4).prop_map(|(reporting, ready)| Coverage {
        reporting: reporting.min(ready),
        ready,
    });
    let parts = (prop::collection::vec(second, 1..40), coverage, 1_u32..3, any::<bool>());
    parts.prop_map(|(mut seconds, coverage, bad_pods, alone)| {
        if alone {
            for second in &mut seconds {
                second.stable = Counts::default();
            }
        }
        Story {
            seconds,
            bad_pods,
            coverage,
            ..Story::new()
        }
    })
}

/// Some stretches of two releases, close to what is told apart.
fn any_stretches() -> impl Strategy<Value = Story> {
    let answers = || (0_u64..60, prop_oneof![3 => Just(0_u64), 2 => 0_u64..4, 1 => 0_u64..60]);
    let stable = prop_oneof![Just((0_u64, 0_u64)).boxed(), answers().boxed()];
    let stretch = (1_usize..120, answers(), stable);
    let objective = prop_oneof![Just("99"), Just("99.9"), Just("99.99")];
    let parts = (prop::collection::vec(stretch, 1..7), objective, 1_u32..3, any::<bool>());
    parts.prop_map(|(stretches, objective, reporting, stable_lives)| {
        let story = Story {
            stable_lives,
            coverage: Coverage { reporting, ready: 2 },
            ..Story::new().objective(objective)
        };
        let add = |story: Story, (seconds, new, stable)| story.beside(seconds, new, stable);
        stretches.into_iter().fold(story, add)
    })
}

/// `story` with one second of the new release changed.
fn changed(story: &Story, place: prop::sample::Index, change: impl FnOnce(&mut Counts)) -> Story {
    let mut story = story.clone();
    let place = place.index(story.seconds.len());
    change(&mut story.seconds[place].new);
    story
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Of a release with two revisions every span is read in full: the glance changes no decision and no number of it.
    #[test]
    fn a_glance_acquits_nobody_whom_a_look_condemns(story in any_stretches()) {
        let in_full = Story { restarted: true, ..story.clone() };
        prop_assert_eq!(story.decision(), in_full.decision());
    }

    /// In whatever order doubts are asked for.
    #[test]
    fn what_is_sure_is_what_nothing_is_doubted_of(story in prop_oneof![any_story(), any_stretches()]) {
        let evidence = story.evidence();
        let case = &evidence.current.as_ref().unwrap().case;
        for finding in findings(&story.spec, evidence.coverage, case) {
            prop_assert_eq!(finding.is_sure(), finding.doubts().next().is_none());
        }
    }

    /// A good answer that turns bad never saves a release.
    #[test]
    fn worse_answers_never_save_a_release(story in any_story(), place in any::<prop::sample::Index>(), turned in 1_u64..20) {
        if story.is_undone() {
            let worse = changed(&story, place, |counts| {
                let turned = turned.min(counts.good);
                counts.good -= turned;
                counts.bad += turned;
            });
            prop_assert!(worse.is_undone());
        }
    }

    /// Neither more good answers nor losses condemn a release, in a second in which it served.
    #[test]
    fn good_answers_and_losses_never_condemn_a_release(
        story in any_story(), place in any::<prop::sample::Index>(), good in 0_u64..50, lost in 0_u64..50,
    ) {
        if !story.is_undone() {
            let better = changed(&story, place, |counts| {
                if counts.total() > 0 {
                    counts.good += good;
                    counts.incomplete += lost;
                }
            });
            prop_assert!(!better.is_undone());
        }
    }

    /// A pod fewer in sight never condemns a release.
    #[test]
    fn less_sight_never_condemns_a_release(story in any_story()) {
        let mut blinder = story.clone();
        blinder.coverage.reporting = blinder.coverage.reporting.saturating_sub(1);
        if !story.is_undone() {
            prop_assert!(!blinder.is_undone());
        }
    }

    /// Unless everything is seen, the verdict is never Healthy; without sight it decides nothing.
    #[test]
    fn a_partial_view_is_never_good(story in any_story(), recent in any_counts(20), reporting in 0_u32..6) {
        let evidence = Evidence { recent, coverage: Coverage { reporting, ready: 5 }, ..story.evidence() };
        let verdict = judge(&story.spec, &evidence, NOW);
        if recent.incomplete > 0 || recent.total() == 0 || reporting < 5 {
            prop_assert_ne!(verdict.phase, Phase::Healthy);
        }
        if verdict.phase == Phase::NoData {
            prop_assert!(!matches!(verdict.decision, Decision::Undo(_)));
        }
    }
}
