mod network;

use super::*;
use crate::request::tests::{request, status};
use crate::request::{Role, Status};
use proptest::prelude::*;

const SLIS: [&str; 2] = ["a", "b"];
const REVISIONS: [&str; 3] = ["r1", "r2", "r3"];
const ONE: Receiver = Receiver(1);
const OTHER: Receiver = Receiver(2);

fn definition(id: &str) -> SliDefinition {
    let mut bad = StatusSet::EMPTY;
    bad.add_class(5).unwrap();
    bad.add_aborted();
    SliDefinition {
        id: id.into(),
        bad,
        threshold: None,
        routes: Vec::new(),
    }
}

fn counters(limits: SliLimits) -> SliCounters {
    let mut counters = SliCounters::new(limits);
    counters.configure(SLIS.map(definition));
    counters
}

fn answer(code: u16) -> Request<'static> {
    Request {
        status: status(code),
        ..request()
    }
}

fn row<'a>(report: &'a Report, sli: &str, revision: &str) -> Option<&'a ReportRow> {
    report
        .rows
        .iter()
        .find(|row| *row.sli == *sli && *row.revision == *revision)
}

#[test]
fn answers_are_good_or_bad_by_status_and_counted_for_the_right_routes_only() {
    let mut counters = SliCounters::new(SliLimits::default());
    counters.configure([SliDefinition {
        routes: vec!["/pay".into()],
        ..definition("a")
    }]);
    let id = counters.row("a", "r1").unwrap();
    let pay = |code| Request {
        template: "/pay",
        ..answer(code)
    };
    assert_eq!(counters.record(id, PodId(1), &pay(200)), Counted::Good);
    assert_eq!(counters.record(id, PodId(1), &pay(404)), Counted::Good);
    assert_eq!(counters.record(id, PodId(1), &pay(500)), Counted::Bad);
    assert_eq!(counters.record(id, PodId(1), &answer(500)), Counted::NotMeant);
    let report = counters.report(ONE);
    assert_eq!(
        report.rows.iter().map(|row| (row.good, row.bad)).collect::<Vec<_>>(),
        [(2, 1)]
    );
}

#[test]
fn an_aborted_request_is_bad_where_the_definition_names_it_and_good_elsewhere() {
    let mut only_5xx = StatusSet::EMPTY;
    only_5xx.add_class(5).unwrap();
    let mut counters = SliCounters::new(SliLimits::default());
    let b = SliDefinition {
        bad: only_5xx,
        ..definition("b")
    };
    counters.configure([definition("a"), b]);
    let aborted = Request {
        status: Status::ABORTED,
        ..request()
    };
    let rows = SLIS.map(|sli| counters.row(sli, "r1").unwrap());
    assert_eq!(
        rows.map(|row| counters.record(row, PodId(1), &aborted)),
        [Counted::Bad, Counted::Good]
    );
}

#[test]
fn an_answer_beyond_the_threshold_is_bad_and_one_at_it_is_in_time() {
    let mut bad = StatusSet::EMPTY;
    bad.add_aborted();
    let mut counters = SliCounters::new(SliLimits::default());
    counters.configure([SliDefinition {
        bad,
        threshold: Threshold::at(BOUNDS_NS[6]),
        ..definition("a")
    }]);
    let id = counters.row("a", "r1").unwrap();
    let took = |status, nanoseconds| Request {
        status,
        start_ns: 1_000,
        end_ns: 1_000 + nanoseconds,
        ..request()
    };
    let seen = [
        took(status(200), BOUNDS_NS[6]),
        took(status(200), BOUNDS_NS[6] + 1),
        // What fails at once is for an SLI about statuses to judge.
        took(status(500), 1),
        // What is never answered is not answered in time.
        took(Status::ABORTED, 1),
    ]
    .map(|request| counters.record(id, PodId(1), &request));
    assert_eq!(seen, [Counted::Good, Counted::Bad, Counted::Good, Counted::Bad]);
}

#[test]
fn a_threshold_is_a_bound_of_the_histograms_and_nothing_else() {
    assert!(BOUNDS_NS.into_iter().all(|bound| Threshold::at(bound).is_some()));
    assert!(
        [0, 200_000_000, BOUNDS_NS[0] + 1, u64::MAX]
            .into_iter()
            .all(|other| Threshold::at(other).is_none())
    );
}

proptest! {
    #[test]
    fn answers_counted_by_the_kernel_are_judged_as_if_each_had_come_alone(
        durations in proptest::collection::vec(prop_oneof![0..20_000_000_000_u64, proptest::sample::select(BOUNDS_NS.to_vec())], 0..40),
        threshold in proptest::option::of(proptest::sample::select(BOUNDS_NS.to_vec())),
        code in proptest::sample::select(vec![200_u16, 404, 500]),
    ) {
        let definition = SliDefinition {
            threshold: threshold.and_then(Threshold::at),
            ..definition("a")
        };
        let mut alone = SliCounters::new(SliLimits::default());
        let mut together = SliCounters::new(SliLimits::default());
        alone.configure([definition.clone()]);
        together.configure([definition]);
        let (one, many) = (alone.row("a", "r1").unwrap(), together.row("a", "r1").unwrap());
        let mut buckets = [0; BUCKETS];
        let mut slow = 0;
        for duration in &durations {
            alone.record(one, PodId(1), &Request { start_ns: 7, end_ns: 7 + duration, ..answer(code) });
            buckets[bucket(*duration)] += 1;
            slow += u64::from(code == 500 || threshold.is_some_and(|bound| *duration > bound));
        }
        together.record_many(many, PodId(1), answer(code).template, status(code), &buckets);
        prop_assert_eq!(alone.report(ONE), together.report(ONE).clone());
        let row = together.report(ONE).rows.remove(0);
        prop_assert_eq!((row.good, row.bad), (durations.len() as u64 - slow, slow));
    }
}

#[test]
fn bad_pods_are_those_that_ever_gave_a_bad_answer_and_are_still_there() {
    let mut counters = counters(SliLimits {
        pods_per_row: 3,
        ..SliLimits::default()
    });
    let id = counters.row("a", "r1").unwrap();
    assert_eq!(
        [1, 2, 3, 4, 3].map(|pod| counters.observe_pod(id, PodId(pod))),
        [true, true, true, false, true]
    );
    counters.record(id, PodId(1), &answer(500));
    counters.record(id, PodId(1), &answer(200));
    counters.record(id, PodId(2), &answer(500));
    counters.record(id, PodId(4), &answer(500));
    counters.forget_pod(PodId(2));
    let report = counters.report(ONE);
    let row = row(&report, "a", "r1").unwrap();
    assert_eq!((row.good, row.bad, row.pods, row.bad_pods), (1, 3, 2, 1));
}

#[test]
fn a_loss_that_could_be_anybodys_is_put_on_all_that_are_watched_and_never_good() {
    let mut counters = counters(SliLimits::default());
    let (a, b) = (counters.row("a", "r1").unwrap(), counters.row("b", "r1").unwrap());
    counters.observe_pod(a, PodId(1));
    counters.lose_everywhere(5);
    counters.lose(b, 2);
    counters.lose(b, 0);
    let report = counters.report(ONE);
    let seen: Vec<_> = report
        .rows
        .iter()
        .map(|row| (&*row.sli, row.incomplete, row.good))
        .collect();
    assert_eq!(seen, [("a", 5, 0), ("b", 2, 0)]);
}

#[test]
fn rows_are_refused_beyond_their_limit_until_an_sli_goes_out_of_force() {
    let mut counters = counters(SliLimits {
        rows: 2,
        ..SliLimits::default()
    });
    let first = counters.row("a", "r1").unwrap();
    counters.row("b", "r1").unwrap();
    assert_eq!(counters.row("b", "r2"), Err(NoRow::Full));
    assert_eq!(counters.row("c", "r1"), Err(NoRow::UnknownSli));
    counters.configure([definition("b")]);
    assert_eq!(counters.record(first, PodId(1), &answer(200)), Counted::NoRow);
    assert_eq!(counters.row("a", "r1"), Err(NoRow::UnknownSli));
    assert!(counters.row("b", "r2").is_ok_and(|row| row != first));
    assert_eq!(counters.rows(), 2);
    // The row that made room is not found again.
    counters.configure(SLIS.map(definition));
    assert_eq!(counters.row("a", "r1"), Err(NoRow::Full));
}

#[test]
fn pods_that_come_and_go_are_changes() {
    let mut counters = counters(SliLimits::default());
    let id = counters.row("a", "r1").unwrap();
    let settle = |counters: &mut SliCounters| {
        let report = counters.report(ONE);
        counters.acknowledge(ONE, report.sequence);
        report.rows.iter().map(|row| row.pods).collect::<Vec<_>>()
    };
    assert_eq!(settle(&mut counters), [0]);
    counters.observe_pod(id, PodId(1));
    assert_eq!(settle(&mut counters), [1]);
    counters.observe_pod(id, PodId(1));
    assert!(settle(&mut counters).is_empty());
    counters.forget_pod(PodId(1));
    assert_eq!(settle(&mut counters), [0]);
}

#[test]
fn an_sli_that_comes_back_goes_on_where_it_was() {
    let mut counters = counters(SliLimits::default());
    let id = counters.row("a", "r1").unwrap();
    counters.record(id, PodId(1), &answer(200));
    let sequence = counters.report(ONE).sequence;
    counters.acknowledge(ONE, sequence);
    counters.configure([]);
    assert!(!counters.has_changes(ONE) && counters.report(ONE).rows.is_empty());
    counters.configure(SLIS.map(definition));
    let report = counters.report(ONE);
    assert_eq!(row(&report, "a", "r1").map(|row| row.good), Some(1));
    assert_eq!(counters.row("a", "r1"), Ok(id));
}

#[test]
fn an_acknowledgement_of_a_report_that_was_never_made_does_nothing() {
    let mut counters = counters(SliLimits::default());
    counters.row("a", "r1").unwrap();
    counters.acknowledge(ONE, u64::MAX);
    counters.acknowledge(ONE, 1);
    assert!(counters.has_changes(ONE));
    let sequence = counters.report(ONE).sequence;
    counters.acknowledge(ONE, sequence);
    assert!(!counters.has_changes(ONE));
}

#[test]
fn a_late_acknowledgement_of_an_older_report_takes_nothing_back() {
    let mut counters = counters(SliLimits::default());
    let id = counters.row("a", "r1").unwrap();
    let older = counters.report(ONE).sequence;
    counters.record(id, PodId(1), &answer(200));
    let newer = counters.report(ONE).sequence;
    counters.acknowledge(ONE, newer);
    counters.acknowledge(ONE, older);
    assert!(!counters.has_changes(ONE));
}

#[test]
fn short_reports_give_every_row_its_turn() {
    let mut counters = counters(SliLimits {
        rows_per_report: 1,
        ..SliLimits::default()
    });
    let ids: Vec<RowId> = REVISIONS
        .iter()
        .map(|revision| counters.row("a", revision).unwrap())
        .collect();
    let mut shown = Vec::new();
    for _ in 0..6 {
        for id in &ids {
            counters.record(*id, PodId(1), &answer(200));
        }
        let report = counters.report(ONE);
        counters.acknowledge(ONE, report.sequence);
        shown.extend(report.rows.iter().map(|row| row.revision.to_string()));
    }
    assert_eq!(shown, ["r1", "r2", "r3", "r1", "r2", "r3"]);
}

#[test]
fn every_receiver_has_acknowledgements_of_its_own() {
    let mut counters = counters(SliLimits::default());
    let id = counters.row("a", "r1").unwrap();
    counters.record(id, PodId(1), &answer(200));
    let sequence = counters.report(ONE).sequence;
    counters.acknowledge(ONE, sequence);
    assert!(!counters.has_changes(ONE) && counters.has_changes(OTHER));
    assert_eq!(counters.report(OTHER).rows.len(), 1);
    counters.leave(ONE);
    counters.acknowledge(ONE, sequence);
    assert!(counters.has_changes(ONE), "nobody knows what it still has");
}

#[test]
fn a_receiver_too_many_is_told_everything_again_and_again() {
    let mut counters = counters(SliLimits {
        receivers: 1,
        ..SliLimits::default()
    });
    counters.row("a", "r1").unwrap();
    for receiver in [ONE, OTHER] {
        let sequence = counters.report(receiver).sequence;
        counters.acknowledge(receiver, sequence);
    }
    assert_eq!(
        (counters.report(ONE).rows.len(), counters.report(OTHER).rows.len()),
        (0, 1)
    );
    assert_eq!(counters.receivers(), 1);
}
