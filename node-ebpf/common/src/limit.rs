//! A policy's limit per second, as far as the kernel keeps it: one token bucket for each policy and CPU, before the ring.
//!
//! It is there so that a flood of kept requests does not fill the ring. The policy's own limit, exact for the node, is user space's,
//! which asks it of whatever came through here. CPUs share nothing, so that nobody waits for a lock: each has an equal share of the
//! rate and of the burst, rounded up to at least one token, or a node with many CPUs would keep nothing at a small limit. So all
//! together let through at most a token a second and CPU more than the policy says; and a service that runs on few CPUs only is held
//! to their shares.
//!
//! Everything is counted in nanoseconds of the time that a token takes to come: neither a division nor a multiplication is left to
//! the kernel, and nothing overflows.

/// Policies that have a limit in the kernel at most; the first place is nobody's. Those beyond are limited in user space alone.
pub const MAX_LIMITS: u32 = 256;
const SECOND_NS: u64 = 1_000_000_000;

/// One CPU's share of a limit: entry of the map `LIMITS`. All zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Share {
    /// How long one token takes to come.
    pub token_ns: u64,
    /// How long all tokens of a full bucket take.
    pub burst_ns: u64,
}

impl Share {
    /// The share of one of `cpus` CPUs; a burst of 0 is a second's worth.
    #[must_use]
    pub const fn of(per_second: u32, burst: u32, cpus: u32) -> Self {
        let burst = if burst == 0 { per_second } else { burst };
        let token_ns = at_least_one(SECOND_NS / at_least_one(share(per_second, cpus)));
        Self {
            token_ns,
            burst_ns: token_ns * at_least_one(share(burst, cpus)),
        }
    }
}

const fn share(of: u32, cpus: u32) -> u64 {
    (of as u64).div_ceil(at_least_one(cpus as u64))
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
    pub fn take(&mut self, share: &Share, now_ns: u64) -> bool {
        let elapsed = now_ns.saturating_sub(self.seen_ns);
        self.seen_ns = self.seen_ns.max(now_ns);
        let owed = self.owed_ns.saturating_sub(elapsed).min(share.burst_ns);
        let after = owed.wrapping_add(share.token_ns);
        let allowed = after <= share.burst_ns;
        self.owed_ns = if allowed { after } else { owed };
        allowed
    }
}

const _: () = {
    assert!(size_of::<Share>() == 16);
    assert!(size_of::<Bucket>() == 16);
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    fn taken(bucket: &mut Bucket, share: &Share, now_ns: u64) -> u64 {
        (0..1000).take_while(|_| bucket.take(share, now_ns)).count() as u64
    }

    #[test]
    fn shares_are_equal_rounded_up_and_never_nothing() {
        for (limit, cpus, token_ns, tokens) in [
            ((100, 200), 2, SECOND_NS / 50, 100),
            ((100, 200), 64, SECOND_NS / 2, 4),
            ((1, 1), 64, SECOND_NS, 1),
            ((100, 0), 2, SECOND_NS / 50, 50),
            ((0, 3), 2, SECOND_NS, 2),
            ((5, 5), 0, SECOND_NS / 5, 5),
            ((u32::MAX, u32::MAX), 1, 1, u64::from(u32::MAX)),
        ] {
            let share = Share::of(limit.0, limit.1, cpus);
            assert_eq!(
                (share.token_ns, share.burst_ns / share.token_ns),
                (token_ns, tokens),
                "{limit:?}"
            );
        }
    }

    #[test]
    fn a_new_bucket_holds_a_burst_and_fills_by_a_token_at_a_time() {
        let (share, mut bucket) = (Share::of(10, 4, 1), Bucket::default());
        let second = SECOND_NS;
        assert_eq!(taken(&mut bucket, &share, second), 4);
        assert_eq!(taken(&mut bucket, &share, second + share.token_ns - 1), 0);
        assert_eq!(taken(&mut bucket, &share, second + share.token_ns), 1);
        assert_eq!(taken(&mut bucket, &share, 60 * second), 4);
    }

    #[test]
    fn a_clock_that_steps_back_brings_no_token_and_neither_does_its_way_back() {
        let (share, mut bucket) = (Share::of(10, 4, 1), Bucket::default());
        assert_eq!(taken(&mut bucket, &share, 9 * SECOND_NS), 4);
        for now_ns in [0, 5 * SECOND_NS, 9 * SECOND_NS] {
            assert_eq!(taken(&mut bucket, &share, now_ns), 0);
        }
        assert_eq!(taken(&mut bucket, &share, 9 * SECOND_NS + share.token_ns), 1);
    }

    #[test]
    fn a_faster_limit_is_not_held_to_the_slower_ones_debts_for_longer_than_its_own_burst() {
        let (slow, fast, mut bucket) = (Share::of(1, 1000, 1), Share::of(1000, 1000, 1), Bucket::default());
        assert_eq!(taken(&mut bucket, &slow, SECOND_NS), 1000);
        assert_eq!(taken(&mut bucket, &fast, SECOND_NS), 0);
        assert_eq!(taken(&mut bucket, &fast, 2 * SECOND_NS), 1000);
    }

    #[test]
    fn no_share_at_all_lets_everything_through() {
        let mut bucket = Bucket {
            owed_ns: u64::MAX,
            seen_ns: u64::MAX,
        };
        assert_eq!(taken(&mut bucket, &Share::default(), 0), 1000);
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_a_burst_and_what_came_in_it(
            per_second in 1u32..2000,
            burst in 1u32..50,
            cpus in 1u32..9,
            steps in prop::collection::vec((prop_oneof![Just(0), -100_000_000i64..100_000_000], 1u32..20), 1..100),
        ) {
            let (share, mut bucket) = (Share::of(per_second, burst, cpus), Bucket::default());
            let (mut now, mut latest) = (SECOND_NS, 0);
            let mut taken = Vec::new();
            for (step, asked) in steps {
                now = now.saturating_add_signed(step);
                latest = latest.max(now);
                taken.extend((0..asked).filter(|_| bucket.take(&share, now)).map(|_| latest));
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = share.burst_ns + (to - from);
                    prop_assert!((last - first + 1) as u64 * share.token_ns <= most);
                }
            }
        }

        #[test]
        fn all_cpus_together_may_take_what_the_limit_gives_and_little_more(
            per_second in 1u32..1_000_000,
            cpus in 1u32..512,
        ) {
            let share = Share::of(per_second, 0, cpus);
            let all = u64::from(cpus) * (SECOND_NS / share.token_ns);
            prop_assert!(all >= u64::from(per_second));
            // What a token takes is rounded down to a nanosecond.
            let most = u64::from(per_second) + u64::from(cpus);
            prop_assert!(all <= most + most / 1000);
        }

        #[test]
        fn any_state_and_any_limit_are_survived(owed_ns: u64, seen_ns: u64, now_ns: u64, per_second: u32, burst: u32, cpus: u32) {
            let mut bucket = Bucket { owed_ns, seen_ns };
            let share = Share::of(per_second, burst, cpus);
            bucket.take(&share, now_ns);
            prop_assert!(bucket.owed_ns <= share.burst_ns && bucket.seen_ns >= seen_ns);
        }
    }
}
