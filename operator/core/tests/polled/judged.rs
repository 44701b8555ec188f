use std::time::Duration;

use shoalwatch_core::burn::Objective;
use shoalwatch_core::condition::{ConditionType, Holds};
use shoalwatch_core::history::History;
use shoalwatch_core::judge::Phase;
use shoalwatch_core::polled::{EVERY, Polling, difference, evaluate};
use shoalwatch_core::reports::Placement;
use shoalwatch_core::slo::Evaluation;
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis, SliId};

const BEGIN: Millis = Millis(1_800_000_000_000);

fn spec() -> SloSpec {
    let objective: Objective = "99.9".parse().expect("a valid objective");
    SloSpec::new(
        "shop/mails",
        objective,
        Duration::from_hours(30 * 24),
        None,
        RollbackRule::default(),
    )
    .expect("a valid SLO")
}

/// So many polls, each with these counts; and when the last one was.
fn polled(polls: u32, counts: Counts) -> (History, Millis) {
    let mut history = History::default();
    let mut now = BEGIN;
    for _ in 0..polls {
        now = now.plus(EVERY);
        history.record(&difference(&SliId::from("mails"), counts, Placement::At(now)), now);
    }
    (history, now)
}

fn look(history: &mut History, polling: &Polling, now: Millis) -> (Phase, Holds, &'static str) {
    let Evaluation {
        verdict,
        effects,
        conditions,
        ..
    } = evaluate(&spec(), history, polling, now);
    assert_eq!(effects, [], "nothing is ever undone");
    let kinds: Vec<_> = conditions.iter().map(|each| each.kind).collect();
    assert_eq!(kinds, [ConditionType::Evaluated, ConditionType::BudgetHistory]);
    (verdict.phase, conditions[0].status, conditions[0].reason)
}

fn failing() -> Polling {
    Polling::Fails {
        reason: "NoSeries",
        message: "no series".to_owned(),
    }
}

#[test]
fn good_polls_are_healthy_and_bad_ones_page() {
    let (mut history, now) = polled(40, Counts::new(100, 0));
    let healthy = (Phase::Healthy, Holds::True, "WithinObjective");
    assert_eq!(look(&mut history, &Polling::Well, now), healthy);
    assert_eq!(look(&mut history, &Polling::Contradicts, now), healthy);
    let (mut history, now) = polled(300, Counts::new(95, 5));
    let (phase, _, reason) = look(&mut history, &Polling::Well, now);
    assert_eq!((phase, reason), (Phase::Breached, "PageAlert"));
}

#[test]
fn what_cannot_be_polled_is_never_good() {
    let (mut history, now) = polled(40, Counts::new(100, 0));
    assert_eq!(
        look(&mut history, &failing(), now),
        (Phase::Inconclusive, Holds::False, "NoSeries")
    );
    let later = now.plus(Duration::from_mins(10));
    assert_eq!(
        look(&mut history, &failing(), later),
        (Phase::NoData, Holds::False, "NoSeries")
    );
    assert_eq!(
        look(&mut history, &Polling::Well, later),
        (Phase::NoData, Holds::Unknown, "NoRequests")
    );
}

#[test]
fn an_alert_that_fires_is_not_silenced_by_a_failure_to_poll() {
    let (mut history, now) = polled(300, Counts::new(95, 5));
    assert_eq!(
        look(&mut history, &failing(), now),
        (Phase::Breached, Holds::False, "NoSeries")
    );
}
