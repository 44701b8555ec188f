use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::polled::{EVERY, Meter, Sample, Taken, Unknown};
use shoalwatch_core::reports::Placement;
use shoalwatch_core::{Counts, Millis};

const BEGIN: Millis = Millis(1_800_000_000_000);

fn sample(at: Millis, good: u64, total: u64) -> Sample {
    Sample { at, good, total }
}

/// A meter that has read these, in time.
fn read(samples: &[(u64, u64)]) -> (Meter, Vec<Taken>) {
    let mut meter = Meter::default();
    let mut at = BEGIN;
    let taken = samples.iter().map(|&(good, total)| {
        at = at.plus(EVERY);
        meter.take("a", sample(at, good, total))
    });
    let taken = taken.collect();
    (meter, taken)
}

fn counts(taken: &[Taken]) -> Counts {
    let new = taken.iter().filter_map(|each| match each {
        Taken::New(counts, _) => Some(*counts),
        _ => None,
    });
    new.sum()
}

#[test]
fn what_is_new_is_counted_above_the_sample_before() {
    let (_, taken) = read(&[(90, 100), (95, 110), (95, 110), (195, 210)]);
    let at = |polls: u32| Placement::At(BEGIN.plus(EVERY * polls));
    assert_eq!(
        taken,
        [
            Taken::Unknown(Unknown::First),
            Taken::New(Counts::new(5, 5), at(2)),
            Taken::New(Counts::new(0, 0), at(3)),
            Taken::New(Counts::new(100, 0), at(4)),
        ]
    );
}

#[test]
fn a_sample_is_never_counted_twice() {
    let (mut meter, taken) = read(&[(90, 100), (95, 110)]);
    let now = BEGIN.plus(EVERY * 2);
    assert_eq!(meter.take("a", sample(now, 95, 110)), Taken::Late);
    assert_eq!(meter.take("a", sample(now.minus(EVERY), 90, 100)), Taken::Late);
    let saved: Meter = serde_json::from_str(&serde_json::to_string(&meter).unwrap()).unwrap();
    assert_eq!(saved, meter);
    let mut meter = saved;
    let next = meter.take("a", sample(now.plus(EVERY), 96, 112));
    assert_eq!(counts(&[taken, vec![next]].concat()), Counts::new(6, 6));
}

#[test]
fn other_queries_begin_anew() {
    let (mut meter, _) = read(&[(90, 100), (95, 110)]);
    let taken = meter.take("b", sample(BEGIN.plus(EVERY * 3), 1_000, 9_000));
    assert_eq!(taken, Taken::Unknown(Unknown::First));
}

#[test]
fn a_counter_that_begins_anew_is_unknown_once() {
    let (_, taken) = read(&[(900, 1_000), (5, 10), (8, 14)]);
    assert_eq!(taken[1], Taken::Unknown(Unknown::Fell));
    assert_eq!(counts(&taken), Counts::new(3, 1));
    let (_, taken) = read(&[(900, 1_000), (800, 1_010), (805, 1_016)]);
    assert_eq!(taken[1], Taken::Unknown(Unknown::Fell), "good alone fell");
    assert_eq!(counts(&taken), Counts::new(5, 1));
}

#[test]
fn a_part_of_a_sum_that_comes_back_does_not_bring_its_old_failures() {
    // Of two pods that counted 500 each, 400 of them good, one is not scraped for a while.
    let (_, taken) = read(&[(800, 1_000), (405, 505), (410, 511), (815, 1_017), (820, 1_022)]);
    assert_eq!(taken[3], Taken::Unknown(Unknown::CameBack));
    assert_eq!(counts(&taken), Counts::new(10, 1));
    // After that a rise is traffic.
    let (_, taken) = read(&[(800, 1_000), (405, 505), (815, 1_017), (2_000, 2_300)]);
    assert_eq!(
        taken[3],
        Taken::New(Counts::new(1_185, 98), Placement::At(BEGIN.plus(EVERY * 4)))
    );
}

#[test]
fn a_moment_in_which_one_counter_is_ahead_is_not_counted_twice() {
    let (_, taken) = read(&[(100, 100), (102, 110), (115, 115), (117, 125), (130, 130)]);
    assert_eq!(counts(&taken), Counts::new(22, 8));
    let (_, ahead) = read(&[(100, 100), (115, 110), (120, 120)]);
    assert_eq!(counts(&ahead), Counts::new(20, 0), "good before total");
}

#[test]
fn a_gap_has_no_time_and_a_long_one_no_counts() {
    let after = |gap: Duration| {
        let (mut meter, _) = read(&[(90, 100)]);
        let at = BEGIN.plus(EVERY).plus(gap);
        (meter.take("a", sample(at, 95, 110)), at)
    };
    let (taken, at) = after(Duration::from_mins(1));
    assert_eq!(taken, Taken::New(Counts::new(5, 5), Placement::At(at)));
    let (taken, at) = after(Duration::from_secs(61));
    assert_eq!(taken, Taken::New(Counts::new(5, 5), Placement::Before(at)));
    let (taken, _) = after(Duration::from_secs(3_601));
    assert_eq!(taken, Taken::Unknown(Unknown::Gap));
}

#[test]
fn what_no_traffic_is_counts_for_nothing() {
    let (_, taken) = read(&[(0, 0), (0, 1 << 33), (5, (1 << 33) + 6)]);
    assert_eq!(taken[1], Taken::Unknown(Unknown::Leap));
    assert_eq!(counts(&taken), Counts::new(5, 1));
}

/// Any two counters, in any order, restarts and all.
fn anything() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let rising = (0_u64..50, 0_u64..50);
    let jump = (0_u64..10_000, 0_u64..10_000);
    prop::collection::vec(
        prop_oneof![4 => rising.prop_map(|step| (true, step)), 1 => jump.prop_map(|to| (false, to))],
        1..60,
    )
    .prop_map(|steps| {
        let mut now = (0, 0);
        let follow = |(rises, (good, total)): (bool, (u64, u64))| {
            now = if rises {
                (now.0 + good, now.1 + total)
            } else {
                (good, total)
            };
            now
        };
        steps.into_iter().map(follow).collect()
    })
}

/// What three pods answer between two polls, {good, bad} of each, and whether the first one's scrape is missed then.
fn polls() -> impl Strategy<Value = Vec<([(u64, u64); 3], bool)>> {
    let answers = prop::array::uniform3((0_u64..40, 0_u64..4));
    prop::collection::vec((answers, any::<bool>()), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn new_requests_are_what_total_rose_by(samples in anything()) {
        let (_, taken) = read(&samples);
        for (pair, taken) in samples.windows(2).zip(&taken[1..]) {
            if let Taken::New(counts, _) = taken {
                prop_assert_eq!(counts.total(), pair[1].1 - pair[0].1);
            }
        }
    }

    #[test]
    fn counters_that_only_rise_telescope(steps in prop::collection::vec((0_u64..1_000, 0_u64..1_000), 2..60)) {
        let mut sums = (0, 0);
        let samples: Vec<(u64, u64)> = steps.iter().map(|(good, bad)| {
            sums = (sums.0 + good, sums.1 + good + bad);
            sums
        }).collect();
        let (_, taken) = read(&samples);
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        let good = last.0 - first.0;
        prop_assert_eq!(counts(&taken), Counts::new(good, last.1 - first.1 - good));
    }

    #[test]
    fn a_restarted_counter_never_tells_more_bad_requests_than_there_were(
        steps in prop::collection::vec((0_u64..100, 0_u64..100, any::<bool>()), 2..60)
    ) {
        let (mut counter, mut truth) = ((0, 0), 0);
        let samples: Vec<(u64, u64)> = steps.iter().map(|&(good, bad, restart)| {
            if restart {
                counter = (0, 0);
            }
            counter = (counter.0 + good, counter.1 + good + bad);
            truth += bad;
            counter
        }).collect();
        let (_, taken) = read(&samples);
        prop_assert!(counts(&taken).bad <= truth);
    }

    #[test]
    fn a_pod_that_is_scraped_now_and_then_brings_no_old_failures(polls in polls()) {
        let mut pods = [(1_000_u64, 1_500_u64); 3];
        let mut truth = 0;
        let mut samples = vec![(3_000, 4_500)];
        for (answers, missed) in polls {
            for (pod, (good, bad)) in pods.iter_mut().zip(answers) {
                *pod = (pod.0 + good, pod.1 + good + bad);
                truth += bad;
            }
            let seen = pods.iter().skip(usize::from(missed));
            samples.push(seen.fold((0, 0), |sum, pod| (sum.0 + pod.0, sum.1 + pod.1)));
        }
        let (_, taken) = read(&samples);
        prop_assert!(counts(&taken).bad <= truth, "{:?} of {truth}", counts(&taken));
    }
}
