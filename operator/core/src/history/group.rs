//! Some revisions of a history, read as one: those of a release.

use std::collections::vec_deque;
use std::ops::Range;
use std::time::Duration;

use super::level::{Bucket, Level, Moment};
use super::{Kept, Totals};
use crate::{Counts, Millis};

/// Revisions with counts, as [`History::of`](super::History::of) finds them.
#[derive(Clone, Debug)]
pub struct Group<'a>(pub(super) Vec<&'a Kept>);

impl<'a> Group<'a> {
    /// The sum over the last `window`.
    #[must_use]
    pub fn window(&self, window: Duration, now: Millis) -> Counts {
        self.0.iter().map(|kept| kept.series.sum(window, now)).sum()
    }

    /// What is known since the first request.
    #[must_use]
    pub fn totals(&self) -> Totals {
        match self.0.as_slice() {
            [only] => only.totals.clone(),
            kept => kept
                .iter()
                .fold(Totals::default(), |sum, kept| sum.merged(&kept.totals)),
        }
    }

    /// The non-empty buckets, oldest first, of the width in which a window of `reach` is answered: those that begin in the bucket of
    /// `since` or later, and end before `now`. The one that is still open shows only a part of itself.
    #[must_use]
    pub fn moments(&self, reach: Duration, since: Millis, now: Millis) -> Vec<Moment> {
        let mut levels = self.0.iter().filter_map(|kept| kept.series.level(reach));
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
        match self.0.as_slice() {
            [] => Some(Alone(None)),
            [only] => Some(Alone(only.series.level(reach))),
            _ => None,
        }
    }
}

/// The buckets of one revision, or of none.
pub(crate) struct Alone<'a>(Option<&'a Level>);

impl<'a> Alone<'a> {
    /// The buckets of these indices, oldest first.
    pub(crate) fn moments(&self, indices: Range<u32>) -> impl Iterator<Item = Moment> + use<'a> {
        let buckets = self
            .0
            .map_or_else(vec_deque::Iter::default, |level| level.range(indices));
        buckets.map(|bucket| bucket.moment())
    }

    /// The bad share of each bucket of these indices in which anything was judged, oldest first.
    pub(crate) fn shares(&self, indices: Range<u32>, mut each: impl FnMut(f64)) {
        if let Some(level) = self.0 {
            level
                .range(indices)
                .filter_map(|bucket| bucket.share())
                .for_each(&mut each);
        }
    }

    /// The newest bucket of these indices in which anything was judged.
    pub(crate) fn newest(&self, indices: Range<u32>) -> Option<u32> {
        let served = |bucket: &&Bucket| bucket.share().is_some();
        Some(self.0?.range(indices).rfind(served)?.index)
    }
}
