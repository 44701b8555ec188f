//! Some revisions of a history, read as one: those of a release.

use std::collections::vec_deque;
use std::ops::Range;
use std::time::Duration;

use super::level::{Bucket, Level, Moment, Print};
use super::revision::Witnesses;
use super::{Kept, Tally, Totals};
use crate::{Counts, Millis, Revision};

/// Revisions with counts, as [`History::of`](super::History::of) finds them.
#[derive(Clone, Debug, Default)]
pub struct Group<'a> {
    first: Option<(&'a Revision, &'a Kept)>,
    /// Most often none.
    others: Vec<&'a Kept>,
}

impl<'a> FromIterator<(&'a Revision, &'a Kept)> for Group<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a Revision, &'a Kept)>>(kept: I) -> Self {
        let mut kept = kept.into_iter();
        Self {
            first: kept.next(),
            others: kept.map(|(_, kept)| kept).collect(),
        }
    }
}

impl<'a> Group<'a> {
    /// The sum over the last `window`.
    #[must_use]
    pub fn window(&self, window: Duration, now: Millis) -> Counts {
        self.kept().map(|kept| kept.series.sum(window, now)).sum()
    }

    /// What is known since the first request.
    #[must_use]
    pub fn totals(&self) -> Totals {
        if let (Some((_, only)), []) = (self.first, self.others.as_slice()) {
            return only.totals;
        }
        let (mut totals, mut witnesses) = (Totals::default(), Witnesses::default());
        for kept in self.kept() {
            totals = totals.merged(kept.totals);
            for (worker, pods) in &kept.witnesses.0 {
                witnesses.add(worker, *pods);
            }
        }
        totals.bad_pods = witnesses.pods();
        totals
    }

    /// The non-empty buckets, oldest first, of the width in which a window of `reach` is answered: those that begin in the bucket of
    /// `since` or later, and end before `now`. The one that is still open shows only a part of itself.
    #[must_use]
    pub fn moments(&self, reach: Duration, since: Millis, now: Millis) -> Vec<Moment> {
        let mut levels = self.kept().filter_map(|kept| kept.series.level(reach));
        let mut moments: Vec<Moment> = levels
            .next()
            .map_or_else(Vec::new, |level| level.moments(since, now).collect());
        for level in levels {
            moments.extend(level.moments(since, now));
            moments.sort_by_key(|moment| moment.index);
            moments.dedup_by(|later, kept| {
                let same = later.index == kept.index;
                if same {
                    kept.counts += later.counts;
                }
                same
            });
        }
        moments
    }

    /// The buckets of the width in which a window of `reach` is answered, as they lie; `None` of more than one revision.
    pub(crate) fn alone(&self, reach: Duration) -> Option<Alone<'a>> {
        let level = self
            .first
            .and_then(|(name, only)| Some((name, only.series.level(reach)?)));
        self.others.is_empty().then_some(Alone(level))
    }

    fn kept(&self) -> impl Iterator<Item = &'a Kept> {
        let first = self.first.map(|(_, kept)| kept);
        first.into_iter().chain(self.others.iter().copied())
    }
}

/// The buckets of one revision, or of none.
pub(crate) struct Alone<'a>(Option<(&'a Revision, &'a Level)>);

impl<'a> Alone<'a> {
    /// The buckets of these indices, oldest first.
    pub(crate) fn buckets(&self, indices: Range<u32>) -> vec_deque::Iter<'a, Bucket> {
        self.0
            .map_or_else(vec_deque::Iter::default, |(_, level)| level.range(indices))
    }

    /// The sum of what lies before a bucket; only the difference of two such sums means anything.
    pub(crate) fn up_to(&self, index: u32) -> Tally {
        self.0.map_or_else(Tally::default, |(_, level)| level.up_to(index))
    }

    /// Whose buckets they are, and what those before `index` are known by.
    pub(crate) fn print(&self, index: u32) -> Option<(&'a Revision, Print)> {
        self.0.map(|(revision, level)| (revision, level.print(index)))
    }

    /// The newest bucket of these indices in which anything was judged.
    pub(crate) fn newest(&self, indices: Range<u32>) -> Option<u32> {
        let served = |bucket: &&Bucket| bucket.is_judged();
        Some(self.0?.1.range(indices).rfind(served)?.index)
    }
}
