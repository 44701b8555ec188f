//! Sums up to every eighth place of a level: what lies between two places is a difference, and not a walk.

use std::collections::VecDeque;

use super::level::Bucket;
use crate::Counts;
use crate::stats::Glance;

/// Places from milestone to milestone.
const STRETCH: u32 = 8;

/// What buckets add up to. A sum from the beginning of time wraps; the difference of two is exact all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    counts: Counts,
    /// Buckets in which anything was judged.
    units: u32,
    /// Of these, buckets with a bad answer.
    failing: u32,
    /// Their bad shares in 2⁻³², each rounded up.
    shares: u64,
}

/// The sum up to the end of a stretch.
#[derive(Clone, Copy, Debug)]
struct Milestone {
    stretch: u32,
    sum: Tally,
}

/// Those of one level. They follow from its buckets: there is one for every stretch before that of the newest bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct Milestones {
    /// Of each stretch that has a bucket, in order of time.
    passed: VecDeque<Milestone>,
    /// The sum up to the first bucket.
    before: Tally,
    /// The sum up to the newest one.
    settled: Tally,
}

impl Milestones {
    /// A bucket is about to be put behind the newest one.
    pub(super) fn pass(&mut self, newest: &Bucket, index: u32) {
        self.settled = self.settled.plus(Tally::of(newest));
        let stretch = newest.index / STRETCH;
        if stretch < index / STRETCH {
            let sum = self.settled;
            self.passed.push_back(Milestone { stretch, sum });
        }
    }

    /// Buckets from this one on have changed, come or gone.
    pub(super) fn resum(&mut self, index: u32, buckets: &VecDeque<Bucket>) {
        let stretch = index / STRETCH;
        while self.passed.pop_back_if(|last| last.stretch >= stretch).is_some() {}
        self.settled = self.passed.back().map_or(self.before, |last| last.sum);
        let first = buckets.partition_point(|bucket| bucket.index / STRETCH < stretch);
        let later = buckets.iter().skip(first + 1);
        for (bucket, next) in buckets.iter().skip(first).zip(later) {
            self.pass(bucket, next.index);
        }
    }

    /// The first bucket goes.
    pub(super) fn expire(&mut self, first: &Bucket, next: Option<&Bucket>) {
        self.before = self.before.plus(Tally::of(first));
        if next.is_none() {
            self.settled = self.before;
        }
        let gone = |passed: &mut Milestone| next.is_none_or(|next| passed.stretch < next.index / STRETCH);
        while self.passed.pop_front_if(gone).is_some() {}
    }

    /// The sum of what lies before `index`; `place` buckets do. Only differences mean anything.
    #[inline]
    pub(super) fn up_to(&self, index: u32, place: usize, buckets: &VecDeque<Bucket>) -> Tally {
        let Some(newest) = buckets.back().filter(|_| place > 0) else {
            return self.before;
        };
        let stretch = index / STRETCH;
        match buckets.len() - place {
            0 => self.settled.plus(Tally::of(newest)),
            1 => self.settled,
            _ if stretch < newest.index / STRETCH && index % STRETCH > STRETCH / 2 => {
                self.before(stretch + 1, newest).minus(rest(stretch, place, buckets))
            }
            _ => self.before(stretch, newest).plus(begun(stretch, place, buckets)),
        }
    }

    /// The sum of the stretches before this one.
    fn before(&self, stretch: u32, newest: &Bucket) -> Tally {
        let earlier = self.earlier(stretch, newest).checked_sub(1);
        earlier.map_or(self.before, |last| self.passed[last].sum)
    }

    /// How many of the milestones belong to stretches before this one.
    fn earlier(&self, stretch: u32, newest: &Bucket) -> usize {
        // Where no stretch since then is empty, no search is needed.
        let later = usize::try_from((newest.index / STRETCH).saturating_sub(stretch)).unwrap_or(usize::MAX);
        let guess = self.passed.len().saturating_sub(later);
        let at = |place: usize| self.passed.get(place).map(|at| at.stretch);
        let last = guess.checked_sub(1).and_then(at);
        if last.is_none_or(|last| last < stretch) && at(guess).is_none_or(|next| next >= stretch) {
            return guess;
        }
        self.passed.partition_point(|passed| passed.stretch < stretch)
    }

    pub(super) fn bytes(&self) -> usize {
        self.passed.len() * size_of::<Milestone>()
    }
}

/// Of a stretch, what lies before a place.
#[inline]
fn begun(stretch: u32, mut place: usize, buckets: &VecDeque<Bucket>) -> Tally {
    let mut sum = Tally::default();
    while let Some(bucket) = place.checked_sub(1).and_then(|last| buckets.get(last))
        && bucket.index / STRETCH == stretch
    {
        sum = sum.plus(Tally::of(bucket));
        place -= 1;
    }
    sum
}

/// Of a stretch, what lies from a place on.
#[inline]
fn rest(stretch: u32, mut place: usize, buckets: &VecDeque<Bucket>) -> Tally {
    let mut sum = Tally::default();
    while let Some(bucket) = buckets.get(place)
        && bucket.index / STRETCH == stretch
    {
        sum = sum.plus(Tally::of(bucket));
        place += 1;
    }
    sum
}

impl Tally {
    #[inline]
    fn of(bucket: &Bucket) -> Self {
        let (bad, total) = (u64::from(bucket.bad), u64::from(bucket.good) + u64::from(bucket.bad));
        Self {
            counts: bucket.counts(),
            units: (total > 0).into(),
            failing: (bad > 0).into(),
            shares: if bad > 0 { (bad << 32).div_ceil(total.max(1)) } else { 0 },
        }
    }

    /// By a walk.
    pub(super) fn sum<'a>(buckets: impl Iterator<Item = &'a Bucket>) -> Self {
        buckets.fold(Self::default(), |sum, bucket| sum.plus(Self::of(bucket)))
    }

    #[inline]
    fn plus(self, more: Self) -> Self {
        Self {
            counts: Counts {
                good: self.counts.good.wrapping_add(more.counts.good),
                bad: self.counts.bad.wrapping_add(more.counts.bad),
                incomplete: self.counts.incomplete.wrapping_add(more.counts.incomplete),
            },
            units: self.units.wrapping_add(more.units),
            failing: self.failing.wrapping_add(more.failing),
            shares: self.shares.wrapping_add(more.shares),
        }
    }

    /// What came after `earlier`.
    #[inline]
    pub(crate) fn minus(self, earlier: Self) -> Self {
        Self {
            counts: Counts {
                good: self.counts.good.wrapping_sub(earlier.counts.good),
                bad: self.counts.bad.wrapping_sub(earlier.counts.bad),
                incomplete: self.counts.incomplete.wrapping_sub(earlier.counts.incomplete),
            },
            units: self.units.wrapping_sub(earlier.units),
            failing: self.failing.wrapping_sub(earlier.failing),
            shares: self.shares.wrapping_sub(earlier.shares),
        }
    }

    pub(crate) fn counts(self) -> Counts {
        self.counts
    }

    /// The bad shares at a glance.
    pub(crate) fn glance(self) -> Glance {
        Glance::of(
            self.units,
            self.failing,
            crate::counts::float(self.shares) / 4_294_967_296.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Tally;
    use crate::history::level::{Bucket, Level};
    use crate::{Counts, Millis};

    const SECOND: Duration = Duration::from_secs(1);

    /// By a walk over all of its buckets.
    fn walked(level: &Level, from: u32, to: u32) -> Tally {
        Tally::sum(level.buckets.iter().filter(|bucket| (from..to).contains(&bucket.index)))
    }

    fn at(second: u32) -> Millis {
        Millis(i64::from(second) * 1_000 + 5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// However late answers come, whatever expires, and wherever the clock is set.
        #[test]
        fn the_difference_of_two_sums_is_the_sum_of_what_lies_between(
            steps in prop::collection::vec((0_u32..4, 0_u32..50, 0_u64..9, 0_u64..3, 0_u32..40), 1..150),
            ranges in prop::collection::vec((0_u32..500, 0_u32..500), 8),
            summed in prop::bool::weighted(0.9),
        ) {
            let mut level = Level::new(SECOND, 60);
            if summed {
                level = level.summed();
            }
            let mut clock = 100;
            for (ahead, late, good, bad, chance) in steps {
                clock = if chance == 0 { clock - 60_u32.min(clock) } else { clock + ahead };
                let late = if chance < 10 { late.min(clock) } else { 0 };
                let counts = Counts { incomplete: u64::from(chance == 3), ..Counts::new(good, bad) };
                if chance == 1 {
                    let newer = level.since(at(clock - late));
                    level.follow(newer, at(clock - late));
                }
                if !counts.is_empty() {
                    level.add(Bucket::of(counts), at(clock - late), at(clock));
                }
                for &(one, other) in &ranges {
                    let (from, to) = (one.min(other), one.max(other));
                    prop_assert_eq!(level.up_to(to).minus(level.up_to(from)), walked(&level, from, to));
                }
                let window = level.sum(SECOND * 59, at(clock));
                prop_assert_eq!(window, walked(&level, clock.saturating_sub(59), clock + 1).counts());
            }
        }
    }
}
