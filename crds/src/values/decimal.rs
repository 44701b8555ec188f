use std::fmt;
use std::str::FromStr;

use super::{Notation, ValueError};

/// Fixed-point parts of one: every decimal here is an exact multiple of 10⁻⁹.
const ONE: u64 = 1_000_000_000;
const FRACTION_DIGITS: usize = 9;
/// Parts of one in one per cent.
const PER_CENT: u64 = ONE / 100;

/// Splits `12.34` into 12 and 34 hundredths, scaled to parts of `unit`, if it has the plain form `0|[1-9][0-9]*` with
/// at most `fraction_digits` after a point.
fn fixed_point(text: &str, fraction_digits: usize, unit: u64) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero || fraction.len() > fraction_digits || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut scale = unit;
    let mut parts = 0;
    for digit in fraction.bytes() {
        scale /= 10;
        parts += u64::from(digit - b'0') * scale;
    }
    whole.checked_add(parts)
}

/// Prints `parts` of `unit` as the shortest decimal; `width` is the number of digits in which a fraction of `unit` is told.
fn write_fixed(f: &mut fmt::Formatter<'_>, parts: u64, unit: u64, width: usize) -> fmt::Result {
    let (whole, fraction) = (parts / unit, parts % unit);
    if fraction == 0 {
        return write!(f, "{whole}");
    }
    let digits = format!("{fraction:0width$}");
    write!(f, "{whole}.{}", digits.trim_end_matches('0'))
}

/// Parts of one as a floating-point number; exact enough for any statistics (53 bits hold 9 digits).
#[expect(
    clippy::cast_precision_loss,
    reason = "every notation is bounded far below 2^53 parts"
)]
fn of_one(parts: u64) -> f64 {
    parts as f64 / ONE as f64
}

/// A share of a whole, from 0 to 1 inclusive, exact to 10⁻⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u64);

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole.
    pub const ONE: Self = Self(ONE);
    /// Parts of one: a ratio is [`Ratio::parts`] ÷ this.
    pub const DENOMINATOR: u64 = ONE;

    /// The ratio of `parts` billionths, or nothing above one.
    #[must_use]
    pub const fn from_parts(parts: u64) -> Option<Self> {
        if parts <= ONE { Some(Self(parts)) } else { None }
    }

    /// Billionths.
    #[must_use]
    pub const fn parts(self) -> u64 {
        self.0
    }

    /// As a floating-point number from 0.0 to 1.0.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        of_one(self.0)
    }

    /// What is missing to the whole.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(ONE - self.0)
    }
}

impl Notation for Ratio {
    const RULE: &'static str = "self.matches('^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$')";
    const HINT: &'static str =
        "write a decimal from \"0\" to \"1\" with at most 9 digits after the point, such as \"0.01\"";
}

impl FromStr for Ratio {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        fixed_point(text, FRACTION_DIGITS, ONE)
            .and_then(Self::from_parts)
            .ok_or_else(|| ValueError::of::<Self>(text))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fixed(f, self.0, ONE, FRACTION_DIGITS)
    }
}

/// A percentage above 0 and up to 100, exact to 10⁻⁷ %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(Ratio);

impl Percent {
    /// The share it stands for: 2 % is 0.02.
    #[must_use]
    pub const fn ratio(self) -> Ratio {
        self.0
    }
}

impl Notation for Percent {
    const RULE: &'static str = "self.matches('^(100([.]0{1,7})?|[1-9]?[0-9]([.][0-9]{1,7})?)$') && double(self) > 0.0";
    const HINT: &'static str =
        "write a percentage above \"0\" and up to \"100\" with at most 7 digits after the point, such as \"2.5\"";
}

impl FromStr for Percent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        percent(text).map(Self).ok_or_else(|| ValueError::of::<Self>(text))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fixed(f, self.0.parts(), PER_CENT, FRACTION_DIGITS - 2)
    }
}

fn percent(text: &str) -> Option<Ratio> {
    fixed_point(text, FRACTION_DIGITS - 2, PER_CENT)
        .filter(|parts| *parts > 0)
        .and_then(Ratio::from_parts)
}

/// The percentage of good answers that an SLO promises: above 0 and below 100, exact to 10⁻⁷ %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Objective(Ratio);

impl Objective {
    /// The promised share of good answers: 99.9 % is 0.999.
    #[must_use]
    pub const fn ratio(self) -> Ratio {
        self.0
    }

    /// The share that may be bad, 1 − objective: never zero.
    #[must_use]
    pub const fn error_budget(self) -> Ratio {
        self.0.complement()
    }
}

impl Notation for Objective {
    const RULE: &'static str = "self.matches('^[1-9]?[0-9]([.][0-9]{1,7})?$') && double(self) > 0.0";
    const HINT: &'static str =
        "write a percentage above \"0\" and below \"100\" with at most 7 digits after the point, such as \"99.9\"";
}

impl FromStr for Objective {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        percent(text)
            .filter(|ratio| *ratio < Ratio::ONE)
            .map(Self)
            .ok_or_else(|| ValueError::of::<Self>(text))
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Percent(self.0), f)
    }
}

/// How many times faster than "exactly used up at the window's end" a budget is spent: above 0 and below 1,000,000,
/// exact to 10⁻⁶. (SRE workbook, "Alerting on SLOs".)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BurnRate(u64);

impl BurnRate {
    const WHOLE_LIMIT: u64 = 1_000_000 * ONE;
    const FRACTION_DIGITS: usize = 6;

    /// As a floating-point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        of_one(self.0)
    }
}

impl Notation for BurnRate {
    const RULE: &'static str = "self.matches('^(0|[1-9][0-9]{0,5})([.][0-9]{1,6})?$') && double(self) > 0.0";
    const HINT: &'static str =
        "write a burn rate above \"0\" and below \"1000000\" with at most 6 digits after the point, such as \"14.4\"";
}

impl FromStr for BurnRate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        fixed_point(text, Self::FRACTION_DIGITS, ONE)
            .filter(|parts| *parts > 0 && *parts < Self::WHOLE_LIMIT)
            .map(Self)
            .ok_or_else(|| ValueError::of::<Self>(text))
    }
}

impl fmt::Display for BurnRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fixed(f, self.0, ONE, FRACTION_DIGITS)
    }
}
