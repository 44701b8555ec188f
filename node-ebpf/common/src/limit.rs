//! A policy's limit per second, as far as the kernel keeps it: one token bucket for each policy and CPU, before the ring.
//!
//! It is there so that a flood of kept requests does not fill the ring. The policy's own limit, exact for the node, is user space's,
//! which asks it of whatever came through here. CPUs pace nothing, so that nobody waits for a lock, and each has the whole limit: a
//! service that runs on one CPU gets what its policy promises, and the ring no more than the limit times the CPUs.
//!
//! Everything is counted in nanoseconds of the time that a token takes to come: neither a division nor a multiplication is left to
//! the kernel, and nothing overflows.

/// Policies that have a limit in the kernel at most; the first place is nobody's. Those beyond are limited in user space alone.
pub const MAX_LIMITS: u32 = 256;
const SECOND_NS: u64 = 1_000_000_000;

/// A limit as the kernel keeps it: entry of the map `LIMITS`. All zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pace {
    /// How long one token takes to come.
    pub token_ns: u64,
    /// How long all tokens of a full bucket take.
    pub burst_ns: u64,
}

impl Pace {
    /// A burst of 0 is a second's worth.
    #[must_use]
    pub const fn of(per_second: u32, burst: u32) -> Self {
        let burst = if burst == 0 { per_second } else { burst };
        let token_ns = at_least_one(SECOND_NS / at_least_one(per_second as u64));
        Self {
            token_ns,
            burst_ns: token_ns * at_least_one(burst as u64),
        }
    }
}

const fn at_least_one(number: u64) -> u64 {
    if number == 0 { 1 } else { number }
}

/// The state of a limit on one CPU: entry of the map `LIMITED`. All zero: full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// What was taken and did not come again yet.
    pub owed_ns: u64,
    /// The latest time that it was asked at.
    pub seen_ns: u64,
}

impl Bucket {
    /// Takes a token if there is one: in any span of time at most as many as came in it, and a burst. A clock that steps back brings
    /// none. Under another limit what is owed stays owed, as far as the new burst goes.
    #[inline(always)]
    pub fn take(&mut self, pace: &Pace, now_ns: u64) -> bool {
        let elapsed = now_ns.saturating_sub(self.seen_ns);
        self.seen_ns = self.seen_ns.max(now_ns);
        let owed = self.owed_ns.saturating_sub(elapsed).min(pace.burst_ns);
        let after = owed.wrapping_add(pace.token_ns);
        let allowed = after <= pace.burst_ns;
        self.owed_ns = if allowed { after } else { owed };
        allowed
    }
}

const _: () = {
    assert!(size_of::<Pace>() == 16);
    assert!(size_of::<Bucket>() == 16);
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    fn taken(bucket: &mut Bucket, pace: &Pace, now_ns: u64) -> u64 {
        (0..1000).take_while(|_| bucket.take(pace, now_ns)).count() as u64
    }

    #[test]
    fn a_pace_is_the_limit_s_and_never_nothing() {
        for ((per_second, burst), token_ns, tokens) in [
            ((100, 200), SECOND_NS / 100, 200),
            ((100, 0), SECOND_NS / 100, 100),
            ((0, 3), SECOND_NS, 3),
            ((0, 0), SECOND_NS, 1),
            ((u32::MAX, u32::MAX), 1, u64::from(u32::MAX)),
        ] {
            let pace = Pace::of(per_second, burst);
            assert_eq!((pace.token_ns, pace.burst_ns / pace.token_ns), (token_ns, tokens));
        }
    }

    #[test]
    fn a_new_bucket_holds_a_burst_and_fills_by_a_token_at_a_time() {
        let (pace, mut bucket) = (Pace::of(10, 4), Bucket::default());
        let second = SECOND_NS;
        assert_eq!(taken(&mut bucket, &pace, second), 4);
        assert_eq!(taken(&mut bucket, &pace, second + pace.token_ns - 1), 0);
        assert_eq!(taken(&mut bucket, &pace, second + pace.token_ns), 1);
        assert_eq!(taken(&mut bucket, &pace, 60 * second), 4);
    }

    #[test]
    fn a_clock_that_steps_back_brings_no_token_and_neither_does_its_way_back() {
        let (pace, mut bucket) = (Pace::of(10, 4), Bucket::default());
        assert_eq!(taken(&mut bucket, &pace, 9 * SECOND_NS), 4);
        for now_ns in [0, 5 * SECOND_NS, 9 * SECOND_NS] {
            assert_eq!(taken(&mut bucket, &pace, now_ns), 0);
        }
        assert_eq!(taken(&mut bucket, &pace, 9 * SECOND_NS + pace.token_ns), 1);
    }

    #[test]
    fn a_faster_limit_is_not_held_to_the_slower_ones_debts_for_longer_than_its_own_burst() {
        let (slow, fast, mut bucket) = (Pace::of(1, 1000), Pace::of(1000, 1000), Bucket::default());
        assert_eq!(taken(&mut bucket, &slow, SECOND_NS), 1000);
        assert_eq!(taken(&mut bucket, &fast, SECOND_NS), 0);
        assert_eq!(taken(&mut bucket, &fast, 2 * SECOND_NS), 1000);
    }

    #[test]
    fn no_limit_lets_everything_through() {
        let mut bucket = Bucket {
            owed_ns: u64::MAX,
            seen_ns: u64::MAX,
        };
        assert_eq!(taken(&mut bucket, &Pace::default(), 0), 1000);
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_a_burst_and_what_came_in_it(
            per_second in 1u32..2000,
            burst in 1u32..50,
            steps in prop::collection::vec((prop_oneof![Just(0), -100_000_000i64..100_000_000], 1u32..20), 1..100),
        ) {
            let (pace, mut bucket) = (Pace::of(per_second, burst), Bucket::default());
            let (mut now, mut latest) = (SECOND_NS, 0);
            let mut taken = Vec::new();
            for (step, asked) in steps {
                now = now.saturating_add_signed(step);
                latest = latest.max(now);
                taken.extend((0..asked).filter(|_| bucket.take(&pace, now)).map(|_| latest));
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = pace.burst_ns + (to - from);
                    prop_assert!((last - first + 1) as u64 * pace.token_ns <= most);
                }
            }
        }

        #[test]
        fn any_state_and_any_limit_are_survived(owed_ns: u64, seen_ns: u64, now_ns: u64, per_second: u32, burst: u32) {
            let mut bucket = Bucket { owed_ns, seen_ns };
            let pace = Pace::of(per_second, burst);
            bucket.take(&pace, now_ns);
            prop_assert!(bucket.owed_ns <= pace.burst_ns && bucket.seen_ns >= seen_ns);
        }
    }
}
