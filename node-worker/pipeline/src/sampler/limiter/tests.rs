use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

proptest! {
    #[test]
    fn no_span_of_time_sees_more_than_rate_times_time_plus_burst(
        per_second in 0u32..50,
        burst in 1u32..20,
        steps in prop::collection::vec(prop_oneof![Just(0u64), 0u64..SECOND / 10, Just(5 * SECOND)], 1..80),
    ) {
        let mut limiter = Limiter::new(Limit { per_second, burst }, 0);
        let mut now = 0;
        let mut allowed = Vec::new();
        for step in steps {
            now += step;
            if limiter.try_take(now) {
                allowed.push(now);
            }
        }
        for (first, from) in allowed.iter().enumerate() {
            for (last, to) in allowed.iter().enumerate().skip(first) {
                let most = u64::from(per_second) * (to - from) + u64::from(burst) * SECOND;
                prop_assert!((last - first + 1) as u64 * SECOND <= most);
            }
        }
    }

    #[test]
    fn whoever_is_refused_is_let_through_after_the_time_of_one_token(
        per_second in 1u32..1_000_000,
        burst in 1u32..10,
        now in 0u64..u64::MAX / 2,
    ) {
        let mut limiter = Limiter::new(Limit { per_second, burst }, now);
        prop_assert_eq!((0..20).take_while(|_| limiter.try_take(now)).count(), burst as usize);
        let one_token = SECOND.div_ceil(per_second.into());
        prop_assert!(!limiter.try_take(now + one_token - 1) || one_token == 1);
        prop_assert!(limiter.try_take(now + one_token));
    }

    #[test]
    fn updates_never_add_more_than_the_highest_limit_gives(
        steps in prop::collection::vec((0u64..SECOND / 10, 0u32..30, 1u32..9), 1..60),
    ) {
        let start = Limit { per_second: 30, burst: 9 };
        let mut limiter = Limiter::new(start, 0);
        let (mut now, mut allowed) = (0, 0u64);
        for (step, per_second, burst) in steps {
            now += step;
            allowed += u64::from(limiter.try_take(now));
            limiter.update(Limit { per_second, burst }, now);
        }
        prop_assert!(allowed * SECOND <= 30 * now + 9 * SECOND);
    }
}

#[test]
fn a_clock_that_goes_backwards_or_far_ahead_gives_at_most_the_burst() {
    let mut limiter = Limiter::new(
        Limit {
            per_second: u32::MAX,
            burst: 2,
        },
        10 * SECOND,
    );
    assert!(limiter.try_take(SECOND) && limiter.try_take(SECOND) && !limiter.try_take(SECOND));
    assert!(!limiter.try_take(9 * SECOND));
    assert_eq!((0..9).filter(|_| limiter.try_take(u64::MAX)).count(), 2);
}

#[test]
fn a_new_limit_holds_from_its_update_on_and_not_before() {
    let mut limiter = Limiter::new(
        Limit {
            per_second: 1,
            burst: 50,
        },
        0,
    );
    assert_eq!((0..99).filter(|_| limiter.try_take(0)).count(), 50);
    limiter.update(
        Limit {
            per_second: 100,
            burst: 50,
        },
        SECOND,
    );
    assert_eq!((0..99).filter(|_| limiter.try_take(SECOND)).count(), 1);
    limiter.update(
        Limit {
            per_second: 0,
            burst: 3,
        },
        9 * SECOND,
    );
    assert_eq!((0..99).filter(|_| limiter.try_take(9 * SECOND)).count(), 3);
}

#[test]
fn a_burst_of_zero_is_a_seconds_worth() {
    let mut limiter = Limiter::new(
        Limit {
            per_second: 3,
            burst: 0,
        },
        0,
    );
    assert_eq!(limiter.tokens(), 3);
    assert_eq!((0..9).filter(|_| limiter.try_take(0)).count(), 3);
}
