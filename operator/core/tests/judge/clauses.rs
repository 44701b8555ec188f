//! Every clause of the decision on a release, each with a story that it alone decides.

use std::time::Duration;

use shoalwatch_core::Counts;
use shoalwatch_core::judge::{Coverage, Decision, Doubt, Evidence, Phase, PhaseReason, judge, new_release};
use shoalwatch_core::release::Role;

use crate::given::*;

use Outcome::{NotBad, SavedBy, Undone};

#[derive(Debug, PartialEq)]
enum Outcome {
    Undone,
    SavedBy(Doubt),
    NotBad,
}

/// {the clause, a story in which nothing but it speaks against undoing (or for it), what comes of it}.
fn stories() -> Vec<(&'static str, Story, Outcome)> {
    vec![
        ("all hold", bad_release(), Undone),
        // Clause 1.
        ("1: short window", good_for(300).serves(8, 0, 50), Undone),
        ("1: long window", good_for(300).serves(50, 950, 50), Undone),
        ("1: since the first request", one_in_25_at_5_a_second(600), Undone),
        (
            "1: a later part of it",
            good_for(600).then(one_in_25_at_5_a_second(300)),
            Undone,
        ),
        ("1: nowhere", Story::new().serves(600, 990, 10), NotBad),
        (
            "1: min with maxBadRatio",
            Story::new().objective("90").serves(30, 80, 20),
            Undone,
        ),
        ("1: min with burn", Story::new().serves(30, 970, 30), Undone),
        (
            "1: burn × (1 − objective)",
            Story::new().objective("99").serves(30, 970, 30),
            NotBad,
        ),
        // Clause 2.
        ("2: minBadEvents reached", Story::new().serves(10, 0, 1), Undone),
        ("2: minBadEvents missed", Story::new().serves(9, 0, 1), NotBad),
        // Clause 3.
        ("3: one pod, 1.1 s", one_moment(1), NotBad),
        ("3: two pods", one_moment(2), Undone),
        // Clause 4.
        ("4: half of the pods unseen", covered(1, 2), Undone),
        (
            "4: nearly all pods unseen",
            covered(1, 30),
            SavedBy(Doubt::MissingWorkers),
        ),
        (
            "4: nearly all requests lost",
            lossy(10_000),
            SavedBy(Doubt::LostRequests),
        ),
        // Clauses 5 and 6.
        (
            "5: the stable one is bad as well",
            beside((40, 60), (95, 5)),
            SavedBy(Doubt::StableFailsToo),
        ),
        (
            "6: one fails as the other",
            hardly_compared(),
            SavedBy(Doubt::NotWorseThanStable),
        ),
        ("5, 6: only the new one fails", beside((40, 10), (50, 0)), Undone),
        // The warm-up.
        ("warm-up: over", warm(Duration::ZERO), Undone),
        ("warm-up: cold", warm(Duration::from_secs(30)), NotBad),
    ]
}

fn good_for(seconds: usize) -> Story {
    Story::new().serves(seconds, 50, 0)
}

fn one_in_25_at_5_a_second(seconds: usize) -> Story {
    (0..seconds / 5).fold(Story::new(), |story, _| story.serves(4, 5, 0).serves(1, 4, 1))
}

/// A burst of 1.1 s that touches three seconds of the clock, at an objective where three are enough.
fn one_moment(bad_pods: u32) -> Story {
    let phase = |place: usize| Duration::from_millis([950, 500, 50][place]);
    Story {
        bad_pods,
        phase,
        ..Story::new().objective("99.99").serves(3, 0, 10)
    }
}

fn covered(reporting: u32, ready: u32) -> Story {
    Story {
        coverage: Coverage { reporting, ready },
        ..bad_release()
    }
}

fn lossy(incomplete: u64) -> Story {
    let mut story = bad_release();
    for second in &mut story.seconds {
        second.new.incomplete = incomplete;
    }
    story
}

fn beside(new: (u64, u64), stable: (u64, u64)) -> Story {
    Story::new().beside(12, new, stable)
}

/// Beside a stable release that answers one request a second.
fn hardly_compared() -> Story {
    let first = Story::new().beside(3, (40, 10), (1, 0)).beside(1, (40, 10), (0, 1));
    first.beside(8, (40, 10), (1, 0))
}

/// Cold for 20 s.
fn warm(warmup: Duration) -> Story {
    Story::new().rule(|rule| rule.warmup = warmup).serves(20, 25, 25)
}

#[test]
fn each_clause_decides_a_story() {
    for (clause, story, expected) in stories() {
        let decision = story.decision();
        let outcome = match &decision {
            Decision::Undo(_) => Undone,
            Decision::Inconclusive { doubt, .. } => SavedBy(*doubt),
            Decision::Nothing => NotBad,
        };
        assert_eq!(outcome, expected, "clause {clause}: {decision:?}");
    }
}

#[test]
fn the_reason_is_a_sentence_with_the_numbers() {
    let Decision::Undo(breach) = beside((40, 10), (5_000, 1)).decision() else {
        panic!("not undone")
    };
    assert_eq!(
        breach.reason,
        "100 bad of 500 in 10s on 2 pods; stable 0.02 %; bound 4.07 % > 1.44 %"
    );
    assert_eq!(breach.from.as_str(), "v2");
}

#[test]
fn only_a_release_in_probation_is_undone() {
    for role in [Role::KnownGood, Role::Other] {
        let story = Story { role, ..bad_release() };
        assert_eq!(story.decision(), Decision::Nothing);
    }
}

#[test]
fn a_failure_of_two_seconds_is_not_acted_on_however_many_answers_it_has() {
    for answers in [10, 1_000, 1_000_000] {
        assert!(!good_for(5).serves(2, 0, answers).is_undone());
        assert!(!good_for(300).serves(2, 0, answers).is_undone());
        assert!(
            !good_for(300).serves(5, 0, answers).is_undone(),
            "later it takes more: there was more to choose from"
        );
        assert!(good_for(300).serves(8, 0, answers).is_undone());
    }
}

#[test]
fn the_second_that_is_still_open_does_not_count() {
    let open = |answers| {
        let mut story = Story::new().serves(5, 0, 2).serves(1, 0, answers);
        story.phase = |place| Duration::from_secs(u64::from(place == 5));
        story
    };
    let of = |story: &Story| story.evidence().current.unwrap();
    assert_eq!(of(&open(1)).case.spans, of(&open(9)).case.spans);
    assert_eq!(
        of(&open(9)).case.judged,
        Counts::new(0, 19),
        "but its bad answers are seen"
    );
}

#[test]
fn the_warm_up_begins_with_the_first_request_and_is_rounded_up_to_ten_seconds() {
    // NOW is a multiple of ten seconds; the first request came 25 s ago, the warm-up ends 14 s ago, so 10 s ago.
    let story = Story::new()
        .rule(|rule| rule.warmup = Duration::from_secs(11))
        .serves(25, 0, 7);
    // In full, even where nothing can be bad.
    let story = Story {
        restarted: true,
        ..story
    };
    let current = story.evidence().current.unwrap();
    assert_eq!(current.case.judged_from, Some(NOW.minus(Duration::from_secs(10))));
    assert_eq!(current.case.judged, Counts::new(0, 70));
    assert_eq!(current.trial, Counts::new(0, 70));
    let units: Vec<usize> = current.case.spans.iter().map(|span| span.units.len()).collect();
    assert_eq!(units, [10, 10, 1]);
}

#[test]
fn a_span_that_cannot_be_bad_is_not_read() {
    let spans = |story: Story| story.evidence().current.unwrap().case.spans.len();
    assert_eq!(spans(good_for(300).serves(8, 0, 50)), 1, "the short window");
    assert_eq!(spans(good_for(300).serves(2, 0, 50)), 0);
    assert_eq!(spans(Story::new().serves(9, 0, 1)), 0, "clause 2");
    let two_revisions = good_for(300).serves(2, 0, 50);
    let two_revisions = Story {
        restarted: true,
        ..two_revisions
    };
    assert_eq!(spans(two_revisions), 3, "read in full");
}

#[test]
fn a_failure_after_the_warm_up_is_acted_on() {
    let story = warm(Duration::from_secs(30)).serves(10, 25, 0).serves(10, 25, 25);
    assert!(story.is_undone());
}

#[test]
fn an_outage_of_both_is_not_blamed_on_the_new_one_after_the_last_pod_of_the_old() {
    let outage = |length| Story {
        stable_lives: false,
        ..Story::new().beside(20, (5, 45), (5, 45)).serves(length, 50, 0)
    };
    for length in [1, 5, 30, 300] {
        assert!(!outage(length).is_undone(), "{length} s later");
    }
}

#[test]
fn a_release_that_fails_once_the_stable_one_is_gone_is_judged_by_itself() {
    let left = Story {
        stable_lives: false,
        ..Story::new().beside(4, (50, 0), (50, 0)).serves(9, 40, 10)
    };
    assert!(left.is_undone());
}

#[test]
fn a_stable_release_without_traffic_is_no_excuse() {
    let stable_answers = |good| {
        let mut story = bad_release();
        story.seconds[0].stable = Counts::new(good, 1);
        story
    };
    assert!(stable_answers(8).is_undone());
    assert_eq!(stable_answers(9).doubt(), Some(Doubt::NotWorseThanStable));
}

#[test]
fn a_stable_release_with_a_request_now_and_then_is_no_excuse() {
    let mut story = Story::new().serves(20, 40, 10);
    for second in [0, 7, 14] {
        story.seconds[second].stable = Counts::new(1, 0);
    }
    assert!(story.is_undone());
}

#[test]
fn a_stable_release_that_still_serves_is_asked_even_where_the_short_window_holds_little_of_it() {
    let both = |stable_lives| Story {
        stable_lives,
        ..Story::new().beside(300, (20, 0), (1, 0)).beside(10, (0, 20), (0, 0))
    };
    assert_eq!(both(true).doubt(), Some(Doubt::NotWorseThanStable));
    assert!(both(false).is_undone());
}

#[test]
fn a_shared_failure_is_inconclusive() {
    let both = beside((40, 10), (40, 10));
    let evidence = both.evidence();
    assert_eq!(both.doubt(), Some(Doubt::StableFailsToo));
    let verdict = judge(&both.spec, &evidence, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Breached, PhaseReason::PageAlert),
        "the SLO alerts all the same"
    );
    let quiet = Evidence {
        windows: Vec::new(),
        period: Counts::default(),
        ..evidence
    };
    let verdict = judge(&both.spec, &quiet, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Inconclusive, PhaseReason::StableFailsToo)
    );
}

#[test]
fn nothing_is_decided_without_sight() {
    let blind = Coverage { reporting: 0, ready: 4 };
    let of_target = Evidence {
        coverage: blind,
        ..bad_release().evidence()
    };
    assert_eq!(new_release(&spec("99.9"), &of_target), Decision::Nothing);
    let verdict = judge(&spec("99.9"), &of_target, NOW);
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::NoData, PhaseReason::NoWorkerReports)
    );
    let of_release = Story {
        coverage: blind,
        ..bad_release()
    };
    assert_eq!(of_release.decision(), Decision::Nothing);
}
