use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Notation, ValueError};

/// Units, longest first: name, milliseconds, most digits. The digits keep every sum within 64 bits, and within what
/// CEL can hold as a duration (292 years).
const UNITS: [(&str, u64, usize); 5] = [
    ("d", 86_400_000, 4),
    ("h", 3_600_000, 5),
    ("m", 60_000, 6),
    ("s", 1_000, 8),
    ("ms", 1, 9),
];

/// A length of time in whole milliseconds, written as `30s`, `5m`, `1h30m`, `28d` or `800ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan {
    millis: u64,
}

impl TimeSpan {
    /// No time at all.
    pub const ZERO: Self = Self::from_millis(0);

    /// A span of `millis` milliseconds. One of up to 9999 days can also be written.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// A span of `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self::from_millis(seconds as u64 * 1_000)
    }

    /// A span of `minutes` minutes.
    #[must_use]
    pub const fn from_mins(minutes: u32) -> Self {
        Self::from_millis(minutes as u64 * 60_000)
    }

    /// A span of `hours` hours.
    #[must_use]
    pub const fn from_hours(hours: u32) -> Self {
        Self::from_millis(hours as u64 * 3_600_000)
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.as_duration()
    }
}

impl Notation for TimeSpan {
    const RULE: &'static str = "self != '' && \
        self.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?$')";
    const HINT: &'static str =
        "write a duration in whole d, h, m, s and ms, longest unit first, such as 1h30m or 800ms";
}

impl FromStr for TimeSpan {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        parse_millis(text)
            .map(Self::from_millis)
            .ok_or_else(|| ValueError::of::<Self>(text))
    }
}

fn parse_millis(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut millis = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (name, tail) = tail.split_at(letters);
        // Going on in the same iterator is what keeps the units in order and each at most once.
        let (_, unit, most) = units.find(|(unit, ..)| *unit == name)?;
        if digits > *most {
            return None;
        }
        millis += number.parse::<u64>().ok()? * unit;
        rest = tail;
    }
    Some(millis)
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        for (name, unit, _) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}
