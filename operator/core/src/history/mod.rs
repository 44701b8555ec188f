//! What one SLO has seen: sliding windows over all revisions and over each.
//!
//! A series keeps the same counts at several resolutions; a window is answered by the finest level that reaches as far back:
//!
//! | bucket | reaches | answers windows to | error at the window's old edge |
//! |---|---|---|---|
//! | 1 s | 10 m | 10 m | 10 % of 10 s, 1.7 % of 1 m, 0.4 % of 5 m |
//! | 10 s | 70 m | 69 m | 0.6 % of 30 m, 0.3 % of 1 h |
//! | 1 m | 7 h | 6.9 h | 0.9 % of 2 h, 0.3 % of 6 h |
//! | 10 m | 4 d | 95 h | 0.7 % of 24 h, 0.3 % of 3 d |
//! | 1 h (aggregate only) | 92 d | 91 d | 0.2 % of 28 d |
//!
//! The oldest bucket of a window counts whole, so a window reaches back at least as long as asked and less than one bucket
//! longer. A revision's window beyond 95 h is answered as 95 h.
//!
//! Of a revision's first two levels the judge asks every second: they keep the sum from the beginning of time up to every eighth bucket,
//! and what lies between two places is a difference.
//!
//! **Memory.** A non-empty bucket is 16 bytes, and 6 for its part of a sum: at most 68 KiB for the aggregate, 39 KiB for a revision,
//! 8 revisions: 380 KiB for an SLO that never rests and never stops releasing; nothing for idle time. A bucket holds up to 2³² − 1 of
//! each count (1.19 million requests a second for a whole hour) and saturates beyond. Where the budget is a calendar period's, each
//! local day of the last year is kept too, 12 KiB, so that a period begins when it does in its time zone.

mod codec;
mod days;
mod group;
mod level;
mod milestones;
mod revision;
mod tail;

use std::collections::BTreeMap;
use std::time::Duration;

pub use codec::CodecError;
use days::Days;
pub(crate) use group::Alone;
pub use group::Group;
use level::Level;
pub use level::Moment;
pub(crate) use level::{Bucket, Print};
pub(crate) use milestones::Tally;
pub use revision::Totals;
use revision::Witnesses;

use crate::calendar::{Calendar, Zone};
use crate::reports::{Difference, Placement};
use crate::spec::Window;
use crate::{Counts, Millis, Revision};

/// Most revisions of one SLO; the one that has been silent longest makes room.
pub const MAX_REVISIONS: usize = 8;

const SECOND: Duration = Duration::from_secs(1);
/// {bucket width, buckets} of every series.
const LEVELS: [(Duration, u32); 4] = [
    (SECOND, 600),
    (Duration::from_secs(10), 420),
    (Duration::from_mins(1), 420),
    (Duration::from_mins(10), 576),
];
/// The widest buckets of a revision that are summed on the way.
const JUDGED: Duration = Duration::from_secs(10);
/// The aggregate reaches over the longest rolling window.
const LONGEST: (Duration, u32) = (Duration::from_hours(1), 2_208);

/// The history of one SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    aggregate: Series,
    revisions: BTreeMap<Revision, Kept>,
    /// Only for a calendar.
    days: Option<Days>,
    /// The oldest count ever recorded.
    since: Option<Millis>,
    evicted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    series: Series,
    totals: Totals,
    witnesses: Witnesses,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Series {
    levels: Vec<Level>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            aggregate: Series::aggregate(),
            revisions: BTreeMap::new(),
            days: None,
            since: None,
            evicted: 0,
        }
    }
}

impl History {
    /// Adds what is new. Counts of unknown time go to the long windows only.
    pub fn record(&mut self, difference: &Difference, now: Millis) {
        let (at, finest) = match difference.placement {
            Placement::At(at) => (at, 0),
            // From the 10-minute level on: what decides a rollback or a page in minutes must have a time.
            Placement::Before(at) => (at, LEVELS.len() - 1),
        };
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.aggregate.add(difference.counts, finest, at, now);
        if let Some(days) = &mut self.days {
            days.add(difference.counts, at);
        }
        if let Some(kept) = self.revisions.get_mut(&difference.revision) {
            kept.add(difference, finest, at, now);
            return;
        }
        self.make_room();
        let mut kept = Kept::new();
        kept.add(difference, finest, at, now);
        self.revisions.insert(difference.revision.clone(), kept);
    }

    /// The sum over all revisions in the last `window`.
    #[must_use]
    pub fn window(&self, window: Duration, now: Millis) -> Counts {
        self.aggregate.sum(window, now)
    }

    /// Keeps what this kind of window is summed from. Under another time zone the days are made anew from the hours.
    pub fn keep_for(&mut self, window: &Window, now: Millis) {
        let Window::Calendar(Calendar { zone, .. }) = window else {
            self.days = None;
            return;
        };
        if self.days.as_ref().is_none_or(|days| days.zone != *zone) {
            self.days = Some(self.days_of(zone, now));
        }
    }

    fn days_of(&self, zone: &Zone, now: Millis) -> Days {
        match self.aggregate.levels.last() {
            Some(hours) => Days::from_level(zone.clone(), self.since, hours, now),
            None => Days::new(zone.clone(), self.since),
        }
    }

    /// The sum over all revisions in the window of a budget. A calendar's needs [`History::keep_for`] before.
    #[must_use]
    pub fn over(&self, window: &Window, now: Millis) -> Counts {
        match window {
            Window::Rolling(span) => self.window(*span, now),
            Window::Calendar(calendar) => {
                let first = calendar.period(now).first;
                self.days
                    .as_ref()
                    .map_or_else(Counts::default, |days| days.sum(first, now))
            }
        }
    }

    /// From when on nothing is missing for the window of a budget; `None` before the first count.
    #[must_use]
    pub fn known_since(&self, window: &Window) -> Option<Millis> {
        match (window, &self.days) {
            (Window::Calendar(_), Some(days)) => days.since,
            _ => self.since,
        }
    }

    /// Some revisions, read as one.
    #[must_use]
    pub fn of<'a>(&self, revisions: impl IntoIterator<Item = &'a Revision>) -> Group<'_> {
        revisions
            .into_iter()
            .filter_map(|revision| self.revisions.get_key_value(revision))
            .collect()
    }

    /// The width of the buckets in which a window of `reach` is answered.
    #[must_use]
    pub fn width(reach: Duration) -> Duration {
        let reaches = |&&(width, buckets): &&(Duration, u32)| level::answers(width, buckets) >= reach;
        LEVELS.iter().find(reaches).unwrap_or(&LEVELS[LEVELS.len() - 1]).0
    }

    /// The bucket of this width that a point of time lies in, as in [`Moment::index`].
    #[must_use]
    pub fn index(width: Duration, at: Millis) -> u32 {
        level::index(width, at)
    }

    /// Begins a revision's totals anew: a release that comes back is judged by what it does now. Windows stay.
    pub fn restart(&mut self, revision: &Revision) {
        if let Some(kept) = self.revisions.get_mut(revision) {
            // Not idle: it must not be the next to make room.
            kept.totals = Totals {
                last_at: kept.totals.last_at,
                ..Totals::default()
            };
            kept.witnesses = Witnesses::default();
        }
    }

    /// Revisions with counts, by name.
    pub fn revisions(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.keys()
    }

    /// When the oldest count happened; `None` before the first.
    #[must_use]
    pub fn since(&self) -> Option<Millis> {
        self.since
    }

    /// Revisions that made room, for a metric. Their counts stay in the aggregate.
    #[must_use]
    pub fn evicted_revisions(&self) -> u64 {
        self.evicted
    }

    /// Bytes of buckets and sums held, for a fullness metric.
    #[must_use]
    pub fn bucket_bytes(&self) -> usize {
        let series = self
            .revisions
            .values()
            .map(|kept| &kept.series)
            .chain([&self.aggregate]);
        series.map(Series::bytes).sum()
    }

    fn make_room(&mut self) {
        while self.revisions.len() >= MAX_REVISIONS {
            let idle = self.revisions.iter().min_by_key(|(_, kept)| kept.totals.last_at);
            let Some(name) = idle.map(|(name, _)| name.clone()) else {
                return;
            };
            self.revisions.remove(&name);
            self.evicted += 1;
        }
    }
}

impl Kept {
    fn new() -> Self {
        Self {
            series: Series::of_revision(),
            totals: Totals::default(),
            witnesses: Witnesses::default(),
        }
    }

    fn add(&mut self, difference: &Difference, finest: usize, at: Millis, now: Millis) {
        self.series.add(difference.counts, finest, at, now);
        self.totals.add(difference.counts, at);
        if difference.counts.bad > 0 {
            self.witnesses.add(&difference.worker, difference.bad_pods.max(1));
            self.totals.bad_pods = self.witnesses.pods();
        }
    }
}

impl Series {
    fn of_revision() -> Self {
        Self {
            levels: LEVELS
                .iter()
                .map(|&(width, capacity)| Level::new(width, capacity))
                .map(|level| if level.width <= JUDGED { level.summed() } else { level })
                .collect(),
        }
    }

    fn aggregate() -> Self {
        let levels = LEVELS.iter().chain([&LONGEST]);
        Self {
            levels: levels.map(|&(width, capacity)| Level::new(width, capacity)).collect(),
        }
    }

    fn add(&mut self, counts: Counts, finest: usize, at: Millis, now: Millis) {
        let new = Bucket::of(counts);
        for level in self.levels.iter_mut().skip(finest) {
            level.add(new, at, now);
        }
    }

    fn sum(&self, window: Duration, now: Millis) -> Counts {
        self.level(window)
            .map_or_else(Counts::default, |level| level.sum(window, now))
    }

    /// The finest level that reaches as far back.
    fn level(&self, window: Duration) -> Option<&Level> {
        let reaches = self.levels.iter().find(|level| level.span() >= window);
        reaches.or(self.levels.last())
    }

    fn bytes(&self) -> usize {
        self.levels.iter().map(Level::bytes).sum()
    }
}
