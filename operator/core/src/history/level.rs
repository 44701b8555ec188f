//! One resolution of a sliding history: buckets of one width, only the non-empty ones.

use std::collections::{VecDeque, vec_deque};
use std::ops::Range;
use std::time::Duration;

use crate::{Counts, Millis};

/// One non-empty bucket: 16 bytes, so that an SLO's history stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Time since the epoch ÷ width.
    pub(super) index: u32,
    pub(super) good: u32,
    pub(super) bad: u32,
    pub(super) incomplete: u32,
}

/// The requests of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the epoch ÷ the bucket's width.
    pub index: u32,
    /// Requests in it.
    pub counts: Counts,
}

/// Buckets of one width, in order of time, over at most `capacity` widths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) width: Duration,
    pub(super) capacity: u32,
    pub(super) buckets: VecDeque<Bucket>,
    /// Of `width`.
    millis: i64,
}

impl Level {
    pub(super) fn new(width: Duration, capacity: u32) -> Self {
        Self {
            width,
            capacity,
            buckets: VecDeque::new(),
            millis: millis(width),
        }
    }

    /// The longest window this level answers.
    pub(super) fn span(&self) -> Duration {
        // One bucket less: a window that begins inside a bucket touches one more than it is wide.
        self.width * (self.capacity - 1)
    }

    pub(super) fn index(&self, at: Millis) -> u32 {
        // Most often it is the newest bucket, and a product is much cheaper than a quotient.
        let newest = self.buckets.back().map(|bucket| bucket.index);
        let within = |index: &u32| {
            let begin = i64::from(*index).saturating_mul(self.millis);
            (begin..begin.saturating_add(self.millis)).contains(&at.0)
        };
        newest.filter(within).unwrap_or_else(|| index(self.width, at))
    }

    /// The first moment of a bucket.
    pub(super) fn begin(&self, bucket: &Bucket) -> Millis {
        Millis(0).plus(self.width * bucket.index)
    }

    /// Adds counts that happened `at`; what is older than the level reaches, seen from its newest bucket, is not for it.
    pub(super) fn add(&mut self, counts: Counts, at: Millis, now: Millis) {
        self.drop_future(now);
        let index = self.index(at);
        let newest = self.buckets.back().map_or(index, |bucket| bucket.index.max(index));
        let oldest = newest.saturating_sub(self.capacity - 1);
        if index < oldest {
            return;
        }
        self.expire(oldest);
        let place = self.place(index);
        match self.buckets.get_mut(place) {
            Some(bucket) if bucket.index == index => bucket.add(counts),
            _ => self.buckets.insert(place, Bucket::empty(index).with(counts)),
        }
    }

    fn expire(&mut self, oldest: u32) {
        while self.buckets.front().is_some_and(|bucket| bucket.index < oldest) {
            self.buckets.pop_front();
        }
    }

    /// Its buckets from that of `at` on.
    pub(super) fn since(&self, at: Millis) -> Self {
        let place = self.place(self.index(at));
        Self {
            buckets: self.buckets.range(place..).copied().collect(),
            ..Self::new(self.width, self.capacity)
        }
    }

    /// Puts `newer` in the place of the buckets from that of `since` on.
    pub(super) fn follow(&mut self, newer: Self, since: Millis) {
        self.buckets.truncate(self.place(self.index(since)));
        self.buckets.extend(newer.buckets);
        let newest = self.buckets.back().map_or(0, |bucket| bucket.index);
        self.expire(newest.saturating_sub(self.capacity - 1));
    }

    /// After the clock was set back, buckets of the false future would make everything new look too old to keep. A small step
    /// is left alone: it catches up.
    fn drop_future(&mut self, now: Millis) {
        let begun = |bucket: &Bucket| i64::from(bucket.index).saturating_mul(self.millis) <= now.0;
        if self.buckets.back().is_none_or(begun) {
            return;
        }
        let latest = self.index(now).saturating_add(self.capacity / 10);
        while self.buckets.back().is_some_and(|bucket| bucket.index > latest) {
            self.buckets.pop_back();
        }
    }

    /// From the bucket of `since` on, without the one of `now`.
    pub(super) fn moments(&self, since: Millis, now: Millis) -> impl Iterator<Item = Moment> {
        self.range(self.index(since)..self.index(now))
            .map(|bucket| bucket.moment())
    }

    /// The sum over the last `window`, its oldest bucket whole.
    pub(super) fn sum(&self, window: Duration, now: Millis) -> Counts {
        let last = self.index(now);
        // A bucket belongs to the window if any of it lies after `now − window`.
        let first = self.index(now.minus(window));
        let buckets = self.range(first..last.saturating_add(1));
        // A level holds less than 2³² buckets of less than 2³² each: a sum cannot wrap.
        buckets.fold(Counts::default(), |sum, bucket| Counts {
            good: sum.good.wrapping_add(bucket.good.into()),
            bad: sum.bad.wrapping_add(bucket.bad.into()),
            incomplete: sum.incomplete.wrapping_add(bucket.incomplete.into()),
        })
    }

    /// Buckets of these indices.
    pub(super) fn range(&self, indices: Range<u32>) -> vec_deque::Iter<'_, Bucket> {
        let end = self.place(indices.end);
        self.buckets.range(self.place(indices.start).min(end)..end)
    }

    /// How many buckets lie before that of `index`.
    fn place(&self, index: u32) -> usize {
        // Where every bucket since then is there, and most often all are, no search is needed.
        let newest = self.buckets.back().map_or(0, |newest| u64::from(newest.index) + 1);
        let after = usize::try_from(newest.saturating_sub(index.into())).ok();
        let guess = after.and_then(|after| self.buckets.len().checked_sub(after));
        let fits = |place: &usize| self.buckets.get(*place).is_none_or(|bucket| bucket.index == index);
        guess
            .filter(fits)
            .unwrap_or_else(|| self.buckets.partition_point(|bucket| bucket.index < index))
    }
}

/// Time since the epoch ÷ width.
pub(super) fn index(width: Duration, at: Millis) -> u32 {
    u32::try_from(at.0.div_euclid(millis(width))).unwrap_or(if at.0 < 0 { 0 } else { u32::MAX })
}

fn millis(width: Duration) -> i64 {
    i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl Bucket {
    /// The bad share of what was judged; `None` without any.
    pub(super) fn share(self) -> Option<f64> {
        let total = f64::from(self.good) + f64::from(self.bad);
        (total > 0.0).then(|| f64::from(self.bad) / total)
    }

    fn empty(index: u32) -> Self {
        Self {
            index,
            good: 0,
            bad: 0,
            incomplete: 0,
        }
    }

    fn with(mut self, counts: Counts) -> Self {
        self.add(counts);
        self
    }

    fn add(&mut self, counts: Counts) {
        let add = |own: u32, more: u64| own.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.good = add(self.good, counts.good);
        self.bad = add(self.bad, counts.bad);
        self.incomplete = add(self.incomplete, counts.incomplete);
    }

    pub(super) fn moment(self) -> Moment {
        Moment {
            index: self.index,
            counts: self.counts(),
        }
    }

    pub(super) fn counts(self) -> Counts {
        Counts {
            good: self.good.into(),
            bad: self.bad.into(),
            incomplete: self.incomplete.into(),
        }
    }
}
