//! Windows, revisions and totals of a history, and its stored form.

use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::history::{History, MAX_REVISIONS};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::{Counts, Millis, Revision};

/// Later than everything recorded.
const NOW: Millis = Millis(START.0 + 400 * 86_400_000);
const START: Millis = Millis(1_800_000_000_000);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
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
    assert!(history.bucket_bytes() <= (68 + 39) * 1024, "{}", history.bucket_bytes());
    assert!(
        history.bucket_bytes() >= (66 + 37) * 1024,
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

proptest! {
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
