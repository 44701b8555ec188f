//! One resolution of a sliding history: buckets of one width, only the non-empty ones.

use std::collections::{VecDeque, vec_deque};
use std::ops::Range;
use std::time::Duration;

use super::milestones::{Milestones, Tally};
use crate::{Counts, Millis};

/// One non-empty bucket: 16 bytes, so that an SLO's history stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Time since the epoch ÷ width.
    pub(crate) index: u32,
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

/// By what buckets that have not changed are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Print {
    removed: u64,
    sum: Tally,
}

/// Buckets of one width, in order of time, over at most `capacity` widths.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) width: Duration,
    pub(super) capacity: u32,
    span: Duration,
    pub(super) buckets: VecDeque<Bucket>,
    /// Of `width`.
    millis: i64,
    /// Only where a judge looks.
    milestones: Option<Milestones>,
    /// Buckets that were taken out, for whatever reason; wraps.
    removed: u64,
}

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        (self.width, self.capacity, &self.buckets) == (other.width, other.capacity, &other.buckets)
    }
}

impl Eq for Level {}

impl Level {
    pub(super) fn new(width: Duration, capacity: u32) -> Self {
        Self {
            width,
            capacity,
            span: answers(width, capacity),
            buckets: VecDeque::new(),
            millis: millis(width),
            milestones: None,
            removed: 0,
        }
    }

    /// With sums for a judge who looks every second.
    pub(super) fn summed(self) -> Self {
        Self {
            milestones: Some(Milestones::default()),
            ..self
        }
    }

    /// The longest window this level answers.
    pub(super) fn span(&self) -> Duration {
        self.span
    }

    pub(super) fn index(&self, at: Millis) -> u32 {
        // Most often it is the newest bucket, and a product is much cheaper than a quotient.
        let newest = self.buckets.back().filter(|newest| holds(self.millis, newest, at));
        newest.map_or_else(|| index_of(self.millis, at), |newest| newest.index)
    }

    /// The first moment of a bucket.
    pub(super) fn begin(&self, bucket: &Bucket) -> Millis {
        Millis(0).plus(self.width * bucket.index)
    }

    /// Adds counts that happened `at`; what is older than the level reaches, seen from its newest bucket, is not for it.
    pub(super) fn add(&mut self, new: Bucket, at: Millis, now: Millis) {
        // Most often it happened in the newest bucket: nothing is too old for it that was not before, and nothing lies ahead.
        let (millis, begun) = (self.millis, at <= now);
        if let Some(newest) = self.buckets.back_mut()
            && begun
            && holds(millis, newest, at)
        {
            newest.add(new);
            return;
        }
        self.drop_future(now);
        let index = index_of(self.millis, at);
        let newest = self.buckets.back().map_or(0, |bucket| bucket.index);
        let oldest = newest.max(index).saturating_sub(self.capacity - 1);
        if index < oldest {
            return;
        }
        self.expire(oldest);
        if newest < index {
            if let (Some(milestones), Some(newest)) = (&mut self.milestones, self.buckets.back()) {
                milestones.pass(newest, index);
            }
            self.buckets.push_back(Bucket { index, ..new });
            return;
        }
        let place = self.place(index);
        match self.buckets.get_mut(place) {
            Some(bucket) if bucket.index == index => bucket.add(new),
            _ => self.buckets.insert(place, Bucket { index, ..new }),
        }
        self.resum(index);
    }

    /// After buckets from this one on were changed by hand.
    pub(super) fn resum(&mut self, index: u32) {
        if let Some(milestones) = &mut self.milestones {
            milestones.resum(index, &self.buckets);
        }
    }

    fn expire(&mut self, oldest: u32) {
        while let Some(first) = self.buckets.pop_front_if(|bucket| bucket.index < oldest) {
            self.removed = self.removed.wrapping_add(1);
            if let Some(milestones) = &mut self.milestones {
                milestones.expire(&first, self.buckets.front());
            }
        }
    }

    /// Its buckets from that of `at` on.
    pub(super) fn since(&self, at: Millis) -> Self {
        let place = self.place(self.index(at));
        let mut since = Self {
            buckets: self.buckets.range(place..).copied().collect(),
            milestones: self.milestones.as_ref().map(|_| Milestones::default()),
            ..*self
        };
        since.resum(0);
        since
    }

    /// Puts `newer` in the place of the buckets from that of `since` on.
    pub(super) fn follow(&mut self, newer: Self, since: Millis) {
        self.buckets.truncate(self.place(self.index(since)));
        self.removed = self.removed.wrapping_add(1);
        self.buckets.extend(newer.buckets);
        let newest = self.buckets.back().map_or(0, |bucket| bucket.index);
        self.resum(0);
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
            self.removed = self.removed.wrapping_add(1);
        }
        self.resum(self.buckets.back().map_or(0, |newest| newest.index));
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
        // A level holds less than 2³² buckets of less than 2³² each: a sum cannot wrap.
        if self.milestones.is_some() {
            return self.up_to(last.saturating_add(1)).minus(self.up_to(first)).counts();
        }
        let buckets = self.range(first..last.saturating_add(1));
        buckets.fold(Counts::default(), |sum, bucket| Counts {
            good: sum.good.wrapping_add(bucket.good.into()),
            bad: sum.bad.wrapping_add(bucket.bad.into()),
            incomplete: sum.incomplete.wrapping_add(bucket.incomplete.into()),
        })
    }

    /// The sum of what lies before a bucket; only the difference of two such sums means anything.
    #[inline]
    pub(super) fn up_to(&self, index: u32) -> Tally {
        let place = self.place(index);
        match &self.milestones {
            Some(milestones) => milestones.up_to(index, place, &self.buckets),
            None => Tally::sum(self.buckets.range(..place)),
        }
    }

    /// What a reader of the buckets before `index` remembers: as long as it is the same, so are they. While none is taken out, what comes
    /// only adds to the sum, which therefore tells of everything.
    pub(super) fn print(&self, index: u32) -> Print {
        Print {
            removed: self.removed,
            sum: self.up_to(index),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>() + self.milestones.as_ref().map_or(0, Milestones::bytes)
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

/// The longest window that so many buckets answer: one less than they are, for a window that begins inside a bucket touches one more
/// than it is wide.
pub(super) const fn answers(width: Duration, capacity: u32) -> Duration {
    Duration::from_secs(width.as_secs() * (capacity as u64 - 1))
}

/// Time since the epoch ÷ width.
pub(super) fn index(width: Duration, at: Millis) -> u32 {
    index_of(millis(width), at)
}

/// Whether a point of time lies in a bucket.
fn holds(millis: i64, bucket: &Bucket, at: Millis) -> bool {
    // No bucket is so wide that this overflows.
    let since = at.0.saturating_sub(i64::from(bucket.index) * millis);
    (0..millis).contains(&since)
}

fn index_of(millis: i64, at: Millis) -> u32 {
    u32::try_from(at.0.div_euclid(millis)).unwrap_or(if at.0 < 0 { 0 } else { u32::MAX })
}

fn millis(width: Duration) -> i64 {
    i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl Bucket {
    pub(super) fn is_judged(self) -> bool {
        self.good > 0 || self.bad > 0
    }

    /// Counts that are for some bucket.
    pub(super) fn of(counts: Counts) -> Self {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            index: 0,
            good: small(counts.good),
            bad: small(counts.bad),
            incomplete: small(counts.incomplete),
        }
    }

    fn add(&mut self, more: Self) {
        self.good = self.good.saturating_add(more.good);
        self.bad = self.bad.saturating_add(more.bad);
        self.incomplete = self.incomplete.saturating_add(more.incomplete);
    }

    pub(super) fn moment(self) -> Moment {
        Moment {
            index: self.index,
            counts: self.counts(),
        }
    }

    pub(crate) fn counts(self) -> Counts {
        Counts {
            good: self.good.into(),
            bad: self.bad.into(),
            incomplete: self.incomplete.into(),
        }
    }
}
