//! Requests by the days of a time zone, for budgets that begin with a calendar period: an hour of UTC may belong to two days.

use std::collections::VecDeque;

use super::level::Level;
use crate::calendar::{Day, Zone};
use crate::{Counts, Millis};

/// The days of the longest year, and the one that the clocks may be ahead by: 12 KiB.
const MOST: usize = 367;

/// Non-empty days, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) zone: Zone,
    /// From when on nothing is missing.
    pub(super) since: Option<Millis>,
    pub(super) counted: VecDeque<(Day, Counts)>,
}

impl Days {
    pub(super) fn new(zone: Zone, since: Option<Millis>) -> Self {
        Self {
            zone,
            since,
            counted: VecDeque::new(),
        }
    }

    /// From what was kept by the hour, each counted to the day that it begins in.
    pub(super) fn from_level(zone: Zone, since: Option<Millis>, level: &Level, now: Millis) -> Self {
        let reach = now.minus(level.span());
        let mut days = Self::new(zone, since.map(|since| since.max(reach)));
        for bucket in &level.buckets {
            days.count(bucket.counts(), level.begin(bucket));
        }
        days
    }

    pub(super) fn add(&mut self, counts: Counts, at: Millis) {
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.count(counts, at);
    }

    fn count(&mut self, counts: Counts, at: Millis) {
        let day = self.zone.day(at);
        let place = self.counted.partition_point(|(known, _)| *known < day);
        match self.counted.get_mut(place) {
            Some((known, kept)) if *known == day => *kept += counts,
            _ => self.counted.insert(place, (day, counts)),
        }
        while self.counted.len() > MOST {
            self.counted.pop_front();
        }
    }

    /// From `first` to the day of `now`, both whole.
    pub(super) fn sum(&self, first: Day, now: Millis) -> Counts {
        let last = self.zone.day(now);
        let days = self.counted.iter().filter(|(day, _)| (first..=last).contains(day));
        days.map(|(_, counts)| *counts).sum()
    }
}
