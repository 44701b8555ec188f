//! The promised share of good requests, held exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::counts::float;

/// Allowed bad requests per 10⁹: `99.9` percent is 1,000,000.
const UNIT: u64 = 1_000_000_000;
/// Digits after the point that still count in a percentage.
const MAX_DECIMALS: usize = 7;

/// An objective, above 0 and below 100 percent, kept as a whole number so that `1 − objective` carries no rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Objective {
    allowed_bad: u64,
}

/// Why a text is no objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// Not a plain decimal number.
    #[error("objective `{0}` is not a percentage: write a decimal number such as \"99.9\", at most 7 decimals")]
    NotDecimal(String),
    /// Nothing may fail, or everything may.
    #[error("objective `{0}` leaves no budget to judge: write a percentage above 0 and below 100, such as \"99.9\"")]
    OutOfRange(String),
}

impl Objective {
    /// The share of requests that may be bad, above 0 and below 1.
    #[must_use]
    pub fn error_budget(self) -> f64 {
        float(self.allowed_bad) / float(UNIT)
    }

    /// The promised share of good requests, above 0 and below 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        float(UNIT - self.allowed_bad) / float(UNIT)
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    /// Reads a percentage such as `99.9`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let promised = percent_units(text).ok_or_else(|| ObjectiveError::NotDecimal(text.to_owned()))?;
        match UNIT.checked_sub(promised) {
            Some(allowed_bad) if allowed_bad > 0 && promised > 0 => Ok(Self { allowed_bad }),
            _ => Err(ObjectiveError::OutOfRange(text.to_owned())),
        }
    }
}

/// A percentage in units of 1e-9 of the whole; `None` unless it is digits with at most one point.
fn percent_units(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > MAX_DECIMALS || whole.len() > 9 {
        return None;
    }
    let padded = format!("{whole}{fraction:0<MAX_DECIMALS$}");
    padded.parse().ok()
}

impl TryFrom<String> for Objective {
    type Error = ObjectiveError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> Self {
        objective.to_string()
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promised = UNIT - self.allowed_bad;
        let scale = 10_u64.pow(7);
        let text = format!("{}.{:07}", promised / scale, promised % scale);
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
