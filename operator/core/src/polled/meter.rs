//! What is new in two counters since they were read last.
//!
//! **In order.** Of the samples of one meter each is counted above the one before. Bad requests are what is new of `total − good`
//! above the greatest it was, so that a moment in which one counter is ahead of the other is not counted twice; the rest of what
//! `total` rose by is good. Sums telescope: over any number of samples `good + bad` is what `total` rose by.
//!
//! **A counter that went down** was begun anew, or a part of a sum is gone: a pod ended, or could not be scraped. Prometheus'
//! `increase()` takes what the counter has now, because it sees each series by itself. Here only sums are seen, and what a sum has
//! now are mostly requests that were counted long ago: a day of old failures would page somebody. So what happened since the last
//! sample is [unknown](Unknown::Fell), which is never bad, and counting goes on from the new value. And since a part that is gone
//! may come back, with all that it had counted, one rise by as much as a fall took is [unknown](Unknown::CameBack) too, within
//! [`RETURN`]. That knows a part again that had counted more than is asked between two polls; of several that come and go at once it
//! may miss one, for a sum does not tell its parts.
//!
//! **After a gap.** What two samples of more than [`MOMENT`] apart have between them has no time any more: long windows count it,
//! short ones do not ([`Placement::Before`]). Beyond [`LONGEST`] it is [unknown](Unknown::Gap).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reports::Placement;
use crate::{Counts, Millis};

/// The longest time between two samples after which what is new still has a time: three polls may be missed.
pub const MOMENT: Duration = Duration::from_mins(1);
/// The longest time between two samples after which what is new is counted at all.
pub const LONGEST: Duration = Duration::from_hours(1);
/// For so long what is gone from a sum may come back.
pub const RETURN: Duration = Duration::from_hours(1);
/// Falls that are remembered; the oldest makes room.
const FALLS: usize = 8;
/// More in one rise is no traffic, but a series that is new to the sum; a bucket of the history holds no more.
const MOST: u64 = u32::MAX as u64;

/// Both counters at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// By the operator's clock.
    pub at: Millis,
    /// Good requests since the counter began.
    pub good: u64,
    /// All of them.
    pub total: u64,
}

/// Two counters as they were read last. Persist it with the history that is fed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meter {
    /// What is read: a digest of the queries and of whom they are put to.
    source: String,
    last: Option<Last>,
    /// Oldest first.
    #[serde(default)]
    falls: Vec<Fall>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    at: Millis,
    good: u64,
    total: u64,
    /// The greatest `total − good`.
    bad: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fall {
    at: Millis,
    by: u64,
}

/// What a sample came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// New requests, perhaps none.
    New(Counts, Placement),
    /// Nobody knows; the next sample is counted above this one.
    Unknown(Unknown),
    /// Not newer than the last one: left out.
    Late,
}

/// Why nobody knows what is new in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// There was none before.
    First,
    /// A counter went down.
    Fell,
    /// It rose by as much as it fell.
    CameBack,
    /// The last sample is too old.
    Gap,
    /// No traffic is so much.
    Leap,
}

impl Unknown {
    /// A bounded word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Fell => "fell",
            Self::CameBack => "came_back",
            Self::Gap => "gap",
            Self::Leap => "leap",
        }
    }
}

impl Sample {
    /// More good requests than requests: the queries do not select the same ones.
    #[must_use]
    pub fn is_contradictory(&self) -> bool {
        self.good > self.total
    }

    fn bad(&self) -> u64 {
        self.total.saturating_sub(self.good)
    }
}

impl Meter {
    /// When the counters were read last.
    #[must_use]
    pub fn read_at(&self) -> Option<Millis> {
        self.last.as_ref().map(|last| last.at)
    }

    /// Takes in what was read from `source`. Under another source everything begins anew.
    pub fn take(&mut self, source: &str, sample: Sample) -> Taken {
        if self.source != source {
            *self = Self {
                source: source.to_owned(),
                ..Self::default()
            };
        }
        let Some(last) = self.last.clone() else {
            return self.begin(sample, Unknown::First);
        };
        if sample.at <= last.at {
            return Taken::Late;
        }
        self.falls.retain(|fall| sample.at.since(fall.at) <= RETURN);
        let fell = (last.total.saturating_sub(sample.total)).max(last.good.saturating_sub(sample.good));
        if fell > 0 {
            self.remember(Fall {
                at: sample.at,
                by: fell,
            });
            return self.begin(sample, Unknown::Fell);
        }
        let (rise, passed) = (sample.total - last.total, sample.at.since(last.at));
        if self.came_back(rise) {
            return self.begin(sample, Unknown::CameBack);
        }
        if passed > LONGEST {
            return self.begin(sample, Unknown::Gap);
        }
        if rise > MOST {
            return self.begin(sample, Unknown::Leap);
        }
        let bad = sample.bad().saturating_sub(last.bad);
        self.last = Some(Last::of(sample, last.bad));
        let placement = if passed <= MOMENT {
            Placement::At(sample.at)
        } else {
            Placement::Before(sample.at)
        };
        Taken::New(Counts::new(rise.saturating_sub(bad), bad), placement)
    }

    fn begin(&mut self, sample: Sample, why: Unknown) -> Taken {
        self.last = Some(Last::of(sample, 0));
        Taken::Unknown(why)
    }

    fn remember(&mut self, fall: Fall) {
        if self.falls.len() >= FALLS {
            self.falls.remove(0);
        }
        self.falls.push(fall);
    }

    /// Whether a rise may be one of the falls undone: the greatest that fits is spent.
    fn came_back(&mut self, rise: u64) -> bool {
        let falls = self.falls.iter().enumerate();
        let greatest = falls
            .filter(|(_, fall)| fall.by <= rise)
            .max_by_key(|(_, fall)| fall.by);
        let Some(place) = greatest.map(|(place, _)| place) else {
            return false;
        };
        self.falls.remove(place);
        true
    }
}

impl Last {
    fn of(sample: Sample, bad: u64) -> Self {
        Self {
            at: sample.at,
            good: sample.good,
            total: sample.total,
            bad: sample.bad().max(bad),
        }
    }
}
