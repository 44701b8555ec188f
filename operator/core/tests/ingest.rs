//! Cumulative reports and the history fed from them, against naive models.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::history::{History, MAX_REVISIONS};
use shoalwatch_core::reports::{CumulativeReports, Difference, Limits, Placement, Report, Row};
use shoalwatch_core::{Counts, Millis, Revision, SliId, StartId, WorkerId};

/// Later than everything recorded.
const NOW: Millis = Millis(START.0 + 400 * 86_400_000);
const START: Millis = Millis(1_800_000_000_000);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn row(revision: &str, good: u64, bad: u64) -> Row {
    let (sli, revision) = (SliId::from("slo"), Revision::from(revision));
    Row {
        sli,
        revision,
        counts: Counts::new(good, bad),
        pods: 1,
        bad_pods: u32::from(bad > 0),
    }
}

fn report(start: &str, sequence: u64, rows: Vec<Row>) -> Report {
    Report {
        worker: "node-a".into(),
        start: start.into(),
        sequence,
        age: Duration::ZERO,
        since_start: Some(secs(sequence - 1)),
        rows,
    }
}

fn sum(differences: &[Difference]) -> Counts {
    differences.iter().map(|difference| difference.counts).sum()
}

fn difference(revision: &str, counts: Counts, at: Millis) -> Difference {
    Difference {
        sli: "slo".into(),
        revision: revision.into(),
        worker: "node-a".into(),
        counts,
        bad_pods: u32::from(counts.bad > 0),
        placement: Placement::At(at),
    }
}

#[test]
fn a_resent_report_adds_nothing() {
    let mut reports = CumulativeReports::default();
    let first = report("s1", 1, vec![row("a", 10, 1)]);
    assert_eq!(sum(&reports.ingest(&first, START)), Counts::new(10, 1));
    assert!(reports.ingest(&first, START.plus(secs(9))).is_empty());
}

#[test]
fn a_late_report_adds_nothing_that_a_newer_one_brought() {
    let mut reports = CumulativeReports::default();
    reports.ingest(&report("s1", 1, vec![row("a", 1, 0)]), START);
    let newest = reports.ingest(&report("s1", 3, vec![row("a", 10, 3)]), START);
    assert_eq!(sum(&newest), Counts::new(9, 3));
    assert!(reports.ingest(&report("s1", 2, vec![row("a", 5, 1)]), START).is_empty());
}

#[test]
fn a_worker_restart_counts_from_zero_beside_the_old_start() {
    let mut reports = CumulativeReports::default();
    reports.ingest(&report("s1", 1, vec![row("a", 100, 0)]), START);
    assert_eq!(
        sum(&reports.ingest(&report("s2", 1, vec![row("a", 7, 0)]), START)),
        Counts::new(7, 0)
    );
    // The old start's last words arrive after the new one's first.
    assert_eq!(
        sum(&reports.ingest(&report("s1", 2, vec![row("a", 103, 0)]), START)),
        Counts::new(3, 0)
    );
}

#[test]
fn a_difference_happened_when_the_report_was_made() {
    let mut reports = CumulativeReports::default();
    let mut late = report("s1", 1, vec![row("a", 1, 0)]);
    late.age = secs(30);
    assert_eq!(
        reports.ingest(&late, START)[0].placement,
        Placement::At(START.minus(secs(30)))
    );
    let mut absurd = report("s1", 2, vec![row("a", 2, 0)]);
    absurd.age = secs(1_000_000);
    assert_eq!(
        reports.ingest(&absurd, START)[0].placement,
        Placement::At(START.minus(secs(3_600)))
    );
}

#[test]
fn counts_of_a_start_nobody_saw_begin_have_no_time_but_count() {
    let mut reports = CumulativeReports::default();
    let known = reports.ingest(&report("s1", 500, vec![row("a", 900, 100)]), START);
    assert_eq!(known[0].placement, Placement::Before(START));
    let mut history = History::default();
    for difference in &known {
        history.record(difference, START);
    }
    assert!(
        history.window(secs(60), START).is_empty(),
        "hours of failures must not look like this minute's"
    );
    assert_eq!(history.window(Duration::from_hours(24), START), Counts::new(900, 100));
    // What follows is known to be new.
    let next = reports.ingest(&report("s1", 501, vec![row("a", 901, 101)]), START);
    assert_eq!(next[0].placement, Placement::At(START));
    assert_eq!(sum(&next), Counts::new(1, 1));
}

#[test]
fn what_arrives_after_a_silence_has_no_time_but_counts() {
    let mut reports = CumulativeReports::default();
    reports.ingest(&report("s1", 1, vec![row("a", 10, 0)]), START);
    let soon = START.plus(secs(30));
    let known = reports.ingest(&report("s1", 31, vec![row("a", 20, 0)]), soon);
    assert_eq!(known[0].placement, Placement::At(soon));
    // Whatever the operator's clock does: the worker's says how long it was.
    let late = START.minus(secs(3_600));
    let known = reports.ingest(&report("s1", 62, vec![row("a", 20, 900)]), late);
    assert_eq!(
        (known[0].placement, sum(&known)),
        (Placement::Before(late), Counts::new(0, 900))
    );
}

#[test]
fn an_empty_report_says_that_nothing_happened_until_then() {
    let mut reports = CumulativeReports::default();
    for seconds in (0..100).step_by(10) {
        reports.ingest(&report("s1", seconds + 1, vec![]), START.plus(secs(seconds)));
    }
    let at = START.plus(secs(91));
    let first = reports.ingest(&report("s1", 92, vec![row("a", 1, 1)]), at);
    assert_eq!(first[0].placement, Placement::At(at));
}

#[test]
fn a_worker_that_just_started_counts_from_its_start_even_for_a_replica_that_is_late() {
    let mut reports = CumulativeReports::default();
    let young = report("s1", 31, vec![row("a", 5, 5)]);
    assert_eq!(reports.ingest(&young, START)[0].placement, Placement::At(START));
}

#[test]
fn a_worker_that_does_not_say_its_age_is_believed_from_its_second_report_on() {
    let mut reports = CumulativeReports::default();
    for (sequence, placement) in [(1, Placement::Before(START)), (2, Placement::At(START))] {
        let mut older = report("s1", sequence, vec![row("a", sequence, 0)]);
        older.since_start = None;
        assert_eq!(reports.ingest(&older, START)[0].placement, placement);
    }
}

#[test]
fn a_worker_that_was_forgotten_and_comes_back_is_not_counted_again() {
    let mut reports = CumulativeReports::default();
    reports.ingest(&report("s1", 1, vec![row("a", 100, 5)]), START);
    reports.forget_worker(&"node-a".into());
    let mut reports: CumulativeReports = serde_json::from_slice(&serde_json::to_vec(&reports).unwrap()).unwrap();
    assert!(
        reports
            .ingest(&report("s1", 900, vec![row("a", 120, 5)]), START)
            .is_empty()
    );
    assert_eq!(reports.losses().uncounted_rows, 1);
    assert_eq!(
        sum(&reports.ingest(&report("s1", 901, vec![row("a", 121, 6)]), START)),
        Counts::new(1, 1)
    );
}

#[test]
fn a_closed_start_is_refused_and_counted() {
    let mut reports = CumulativeReports::new(Limits {
        starts: 2,
        ..Limits::default()
    });
    for start in ["s1", "s2", "s3"] {
        reports.ingest(&report(start, 1, vec![row("a", 5, 0)]), START);
    }
    assert!(reports.ingest(&report("s1", 2, vec![row("a", 9, 0)]), START).is_empty());
    assert_eq!(reports.losses().closed_start, 1);
}

#[test]
fn workers_beyond_the_limit_are_refused_and_counted() {
    let mut reports = CumulativeReports::new(Limits {
        workers: 1,
        ..Limits::default()
    });
    reports.ingest(&report("s1", 1, vec![row("a", 5, 0)]), START);
    let mut other = report("s1", 1, vec![row("a", 5, 0)]);
    (other.worker, other.start) = (WorkerId::from("node-b"), StartId::from("s2"));
    assert!(reports.ingest(&other, START).is_empty());
    assert_eq!((reports.losses().worker_limit, reports.workers()), (1, 1));
    reports.forget_worker(&"node-a".into());
    assert_eq!(sum(&reports.ingest(&other, START)), Counts::new(5, 0));
}

#[test]
fn a_row_that_was_given_up_is_never_counted_twice() {
    let mut reports = CumulativeReports::new(Limits {
        rows: 2,
        ..Limits::default()
    });
    reports.ingest(&report("s1", 1, vec![row("a", 100, 0), row("b", 1, 0)]), START);
    reports.ingest(&report("s1", 2, vec![row("b", 2, 0), row("c", 1, 0)]), START);
    assert_eq!((reports.losses().evicted_rows, reports.rows()), (1, 2));
    assert!(
        reports
            .ingest(&report("s1", 3, vec![row("a", 101, 0)]), START)
            .is_empty()
    );
    assert_eq!(
        sum(&reports.ingest(&report("s1", 4, vec![row("a", 102, 0)]), START)),
        Counts::new(1, 0)
    );
}

#[test]
fn an_impossible_count_is_refused_and_counted() {
    let mut reports = CumulativeReports::default();
    assert!(
        reports
            .ingest(&report("s1", 1, vec![row("a", u64::MAX, 0)]), START)
            .is_empty()
    );
    assert_eq!(reports.losses().implausible_rows, 1);
    assert_eq!(
        sum(&reports.ingest(&report("s1", 2, vec![row("a", 3, 0)]), START)),
        Counts::new(3, 0)
    );
}

#[test]
fn observed_pods_are_those_of_living_workers_newest_report() {
    let mut reports = CumulativeReports::default();
    let mut newer = report("s1", 2, vec![row("a", 1, 0)]);
    newer.rows[0].pods = 2;
    reports.ingest(&newer, START);
    reports.ingest(&report("s1", 1, vec![row("a", 1, 0)]), START);
    let (sli, revision) = (SliId::from("slo"), Revision::from("a"));
    assert_eq!(reports.observed_pods(&sli, &revision, |_| true), 2);
    assert_eq!(reports.observed_pods(&sli, &revision, |_| false), 0);
    reports.ingest(&report("s2", 1, vec![]), START);
    assert_eq!(
        reports.observed_pods(&sli, &revision, |_| true),
        0,
        "the new start observes nothing yet"
    );
}

#[test]
fn the_ninth_revision_takes_the_place_of_the_idlest_and_the_aggregate_keeps_all() {
    let mut history = History::default();
    for number in 0..=MAX_REVISIONS {
        let at = START.plus(secs(number as u64));
        history.record(&difference(&format!("r{number}"), Counts::new(1, 0), at), NOW);
    }
    assert!(!history.revisions().any(|revision| revision.as_str() == "r0"));
    assert_eq!(
        (history.revisions().count(), history.evicted_revisions()),
        (MAX_REVISIONS, 1)
    );
    assert_eq!(history.window(secs(60), START.plus(secs(9))).good, 9);
}

#[test]
fn a_revision_whose_totals_begin_anew_is_not_the_idlest() {
    let mut history = History::default();
    for (number, name) in ["a", "b", "c", "d", "e", "f", "g", "back"].iter().enumerate() {
        let at = START.plus(secs(number as u64));
        history.record(&difference(name, Counts::new(1, 0), at), NOW);
    }
    history.restart(&"back".into());
    history.record(&difference("new", Counts::new(1, 0), START.plus(secs(9))), NOW);
    let kept: Vec<&str> = history.revisions().map(Revision::as_str).collect();
    assert_eq!(kept, ["b", "back", "c", "d", "e", "f", "g", "new"]);
}

#[test]
fn totals_know_pods_and_spread_of_bad_answers() {
    let mut history = History::default();
    history.record(&difference("a", Counts::new(5, 0), START), NOW);
    history.record(&difference("a", Counts::new(0, 1), START.plus(secs(3))), NOW);
    let mut elsewhere = difference("a", Counts::new(0, 2), START.plus(secs(5)));
    elsewhere.worker = "node-b".into();
    elsewhere.bad_pods = 3;
    history.record(&elsewhere, NOW);
    let totals = history.of(&[Revision::from("a")]).totals();
    assert_eq!((totals.bad_pods(), totals.bad_span()), (4, secs(2)));
    assert_eq!(
        (totals.first_at, totals.first_bad_at),
        (Some(START), Some(START.plus(secs(3))))
    );
    history.restart(&"a".into());
    assert_eq!(history.of(&[Revision::from("a")]).totals().counts, Counts::default());
    assert_eq!(
        history
            .of(&[Revision::from("a")])
            .window(secs(60), START.plus(secs(5)))
            .bad,
        3,
        "windows stay"
    );
}

#[test]
fn a_year_of_traffic_stays_within_the_stated_memory() {
    let mut history = History::default();
    for minute in 0..(93 * 24 * 60) {
        history.record(&difference("a", Counts::new(1, 0), START.plus(secs(minute * 60))), NOW);
    }
    for second in 0..30_000 {
        let at = START.plus(Duration::from_hours(93 * 24) + secs(second));
        history.record(&difference("a", Counts::new(1, 0), at), NOW);
    }
    assert!(history.bucket_bytes() <= (68 + 33) * 1024, "{}", history.bucket_bytes());
    assert!(
        history.bucket_bytes() >= (66 + 31) * 1024,
        "every level is full: {}",
        history.bucket_bytes()
    );
    assert!(
        history.encode().len() <= history.bucket_bytes() / 3,
        "{}",
        history.encode().len()
    );
}

#[test]
fn a_clock_set_back_does_not_blind_the_history() {
    let mut history = History::default();
    let tomorrow = START.plus(Duration::from_hours(24));
    history.record(&difference("a", Counts::new(50, 0), tomorrow), tomorrow);
    history.record(&difference("a", Counts::new(3, 4), START), START);
    assert_eq!(history.window(secs(10), START), Counts::new(3, 4));
}

#[test]
fn damaged_or_foreign_bytes_are_refused() {
    let mut history = History::default();
    history.record(&difference("a", Counts::new(3, 1), START), NOW);
    let bytes = history.encode();
    for cut in 0..bytes.len() {
        assert!(History::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut foreign = bytes.clone();
    foreign[0] = 9;
    assert_eq!(History::decode(&foreign).unwrap_err().category(), "format");
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(History::decode(&longer).unwrap_err().category(), "damaged");
}

/// What a worker does: counts, restarts.
#[derive(Clone, Debug)]
enum Act {
    Count { revision: u8, good: u8, bad: u8, lost: u8 },
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<(u8, Act)>> {
    let count = (0_u8..3, any::<u8>(), any::<u8>(), 0_u8..3);
    let count = count.prop_map(|(revision, good, bad, lost)| Act::Count {
        revision,
        good,
        bad,
        lost,
    });
    prop::collection::vec((0_u8..3, prop_oneof![9 => count, 1 => Just(Act::Restart)]), 1..60)
}

/// Plays the acts; every one of them ends in a report. Returns all reports and each revision's true sum.
fn play(acts: &[(u8, Act)]) -> (Vec<Report>, BTreeMap<Revision, Counts>) {
    let mut reports = Vec::new();
    let mut truth: BTreeMap<Revision, Counts> = BTreeMap::new();
    let mut workers: BTreeMap<u8, (u32, u64, BTreeMap<Revision, Counts>)> = BTreeMap::new();
    for (worker, act) in acts {
        let (start, sequence, rows) = workers.entry(*worker).or_default();
        match act {
            Act::Restart => (*start, *sequence, *rows) = (*start + 1, 0, BTreeMap::new()),
            Act::Count {
                revision,
                good,
                bad,
                lost,
            } => {
                let revision = Revision::new(format!("r{revision}"));
                let new = Counts {
                    good: (*good).into(),
                    bad: (*bad).into(),
                    incomplete: (*lost).into(),
                };
                *truth.entry(revision.clone()).or_default() += new;
                *rows.entry(revision).or_default() += new;
            }
        }
        *sequence += 1;
        let rows = rows.iter().map(|(revision, counts)| Row {
            sli: "slo".into(),
            revision: revision.clone(),
            counts: *counts,
            pods: 1,
            bad_pods: 0,
        });
        reports.push(Report {
            worker: WorkerId::new(format!("node-{worker}")),
            start: StartId::new(format!("start-{start}")),
            sequence: *sequence,
            age: Duration::ZERO,
            since_start: Some(Duration::ZERO),
            rows: rows.collect(),
        });
    }
    (reports, truth)
}

/// Restarts in a run stay below this, so that no start is closed.
fn roomy() -> Limits {
    Limits {
        starts: 100,
        ..Limits::default()
    }
}

proptest! {
    /// However reports are repeated, reordered and delayed, and whenever the operator restarts from what it stored, the
    /// differences sum to what the workers counted.
    #[test]
    fn differences_sum_to_what_workers_counted(
        acts in acts(),
        extra in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        reload_every in 1_usize..10,
    ) {
        let (reports, truth) = play(&acts);
        let mut deliveries: Vec<&Report> = reports.iter().collect();
        for (what, place) in &extra {
            let report = &reports[what.index(reports.len())];
            let place = place.index(deliveries.len() + 1);
            deliveries.insert(place, report);
        }
        let mut ingest = CumulativeReports::new(roomy());
        let mut history = History::default();
        let mut seen: BTreeMap<Revision, Counts> = BTreeMap::new();
        for (number, report) in deliveries.into_iter().enumerate() {
            for difference in ingest.ingest(report, START.plus(secs(number as u64))) {
                *seen.entry(difference.revision.clone()).or_default() += difference.counts;
                history.record(&difference, NOW);
            }
            if number % reload_every == 0 && !acts.iter().any(|(_, act)| matches!(act, Act::Restart)) {
                let stored = serde_json::to_vec(&ingest).unwrap();
                ingest = serde_json::from_slice(&stored).unwrap();
                history = History::decode(&history.encode()).unwrap();
            }
        }
        seen.retain(|_, counts| !counts.is_empty());
        let truth: BTreeMap<_, _> = truth.into_iter().filter(|(_, counts)| !counts.is_empty()).collect();
        prop_assert_eq!(&seen, &truth);
        let end = START.plus(secs(200));
        prop_assert_eq!(history.window(Duration::from_hours(24), end), truth.values().copied().sum::<Counts>());
        for (revision, counts) in &truth {
            prop_assert_eq!(history.of([revision]).totals().counts, *counts);
        }
    }

    /// Windows that were stored whole at any time, with what is new since, are those that there are now.
    #[test]
    fn a_tail_makes_an_earlier_history_the_newer_one(
        events in prop::collection::vec((0_u64..5_000_000_000, 0_u8..3, 0_u64..100, 0_u64..100, any::<bool>()), 1..80),
        stored_after in any::<prop::sample::Index>(),
    ) {
        let mut events = events;
        events.sort_by_key(|(at, ..)| *at / 4_000_000);
        let stored_after = stored_after.index(events.len());
        let (mut history, mut stored) = (History::default(), History::default());
        let mut since = Millis(i64::MAX);
        for (number, (at, revision, good, bad, known)) in events.iter().enumerate() {
            if number == stored_after {
                (stored, since) = (history.clone(), Millis(i64::MAX));
            }
            let at = START.plus(Duration::from_millis(*at));
            let mut new = difference(&format!("r{revision}"), Counts::new(*good, *bad), at);
            new.placement = if *known { Placement::At(at) } else { Placement::Before(at) };
            history.record(&new, at);
            since = since.min(at);
        }
        prop_assert_eq!(stored.with_tail(&history.tail(since)).unwrap(), history);
    }

    /// A window holds everything in (now − window, now] and nothing older than one bucket more.
    #[test]
    fn a_window_is_the_naive_sum_up_to_one_bucket(
        events in prop::collection::vec((0_u64..5_000_000_000, 0_u8..2, 0_u64..100, 0_u64..100), 1..120),
        window_seconds in prop_oneof![1_u64..600, 600_u64..4_000, 4_000_u64..24_000, 24_000_u64..340_000],
    ) {
        let mut events = events;
        // Differences come in order of time up to a minute of lateness.
        events.sort_by_key(|(at, ..)| *at / 60_000);
        let window = secs(window_seconds);
        let now = START.plus(Duration::from_millis(events.iter().map(|event| event.0).max().unwrap_or(0)));
        let mut history = History::default();
        for (at, revision, good, bad) in &events {
            let at = START.plus(Duration::from_millis(*at));
            history.record(&difference(&format!("r{revision}"), Counts::new(*good, *bad), at), NOW);
        }
        let bucket = match window_seconds {
            0..=599 => secs(1),
            600..=4_190 => secs(10),
            4_191..=25_140 => secs(60),
            _ => secs(600),
        };
        for only in [None, Some(0_u8), Some(1)] {
            let naive = |span: Duration| -> Counts {
                let within = events.iter().filter(|(at, revision, ..)| {
                    START.plus(Duration::from_millis(*at)) > now.minus(span) && only.is_none_or(|only| only == *revision)
                });
                within.map(|(_, _, good, bad)| Counts::new(*good, *bad)).sum()
            };
            let answer = match only {
                None => history.window(window, now),
                Some(number) => history.of(&[Revision::new(format!("r{number}"))]).window(window, now),
            };
            let (least, most) = (naive(window), naive(window + bucket));
            prop_assert!(least.good <= answer.good && answer.good <= most.good, "{least:?} {answer:?} {most:?}");
            prop_assert!(least.bad <= answer.bad && answer.bad <= most.bad, "{least:?} {answer:?} {most:?}");
        }
    }

    /// The aggregate is the sum of the revisions in every window both answer.
    #[test]
    fn the_aggregate_is_the_sum_of_its_revisions(
        events in prop::collection::vec((0_u64..7_200_000, 0_u8..8, 0_u64..50, 0_u64..50), 1..200),
        window_seconds in 1_u64..100_000,
    ) {
        let mut history = History::default();
        for (at, revision, good, bad) in &events {
            let at = START.plus(Duration::from_millis(*at));
            history.record(&difference(&format!("r{revision}"), Counts::new(*good, *bad), at), NOW);
        }
        let (window, now) = (secs(window_seconds), START.plus(secs(7_200)));
        let names: Vec<Revision> = history.revisions().cloned().collect();
        prop_assert_eq!(history.window(window, now), history.of(&names).window(window, now));
    }

    #[test]
    fn a_history_reads_back_as_stored(
        events in prop::collection::vec((0_u64..10_000_000, 0_u8..9, any::<u32>(), any::<u32>()), 0..100),
    ) {
        let mut history = History::default();
        for (at, revision, good, bad) in &events {
            let at = START.plus(Duration::from_millis(*at));
            history.record(&difference(&format!("r{revision}"), Counts::new((*good).into(), (*bad).into()), at), NOW);
        }
        prop_assert_eq!(History::decode(&history.encode()), Ok(history));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(history) = History::decode(&bytes) {
            prop_assert_eq!(History::decode(&history.encode()), Ok(history));
        }
    }
}
