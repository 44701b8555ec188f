use shoalwatch_protocols::trace_context::{RANDOMNESS_BITS, Threshold};

const ALL: u64 = 1 << RANDOMNESS_BITS;
/// So many decimal places fit into the arithmetic below.
const MAX_PLACES: usize = 18;

/// A sampling probability from 0 to 1, in steps of 2^-56: the share of the 2^56 values of randomness that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability {
    kept: u64,
}

/// A value that is no probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProbability {
    /// Not a number, below 0 or above 1.
    #[error("a probability is from 0 to 1")]
    Range,
    /// Not a plain decimal.
    #[error("a probability is written as a decimal with at most 18 places, such as 0.01")]
    Format,
}

impl Probability {
    /// Keeps nothing, not even what a caller sampled.
    pub const NEVER: Self = Self { kept: 0 };
    /// Keeps everything.
    pub const ALWAYS: Self = Self { kept: ALL };

    /// Rounded to a step of 2^-56. A double is exact to 2^-53 of its value, so near 1 up to 8 steps are lost. What is above 0 stays
    /// above 0: a probability below 2^-56 is taken as 2^-56, the least that OpenTelemetry's `th` can say.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a power of two times a value from 0 to 1 is exact and in range"
    )]
    pub fn from_f64(value: f64) -> Result<Self, BadProbability> {
        if !(0.0..=1.0).contains(&value) {
            return Err(BadProbability::Range);
        }
        let kept = (value * ALL as f64).round() as u64;
        Ok(Self {
            kept: if value > 0.0 { kept.max(1) } else { 0 },
        })
    }

    /// From a decimal such as `0.01`, rounded to a step of 2^-56 by integer arithmetic.
    pub fn parse(text: &str) -> Result<Self, BadProbability> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(places) || places.len() > MAX_PLACES || whole.len() > MAX_PLACES {
            return Err(BadProbability::Format);
        }
        let number = |text: &str| text.parse::<u128>().map_err(|_not_digits| BadProbability::Format);
        let scale = (0..places.len()).fold(1u128, |scale, _| scale * 10);
        let value = number(whole)? * scale + number(places)?;
        if value > scale {
            return Err(BadProbability::Range);
        }
        let kept = (value * u128::from(ALL) + scale / 2) / scale;
        let kept = u64::try_from(kept).map_err(|_above_one| BadProbability::Range)?;
        Ok(Self {
            kept: if value > 0 { kept.max(1) } else { 0 },
        })
    }

    /// Absent for 0: nothing is kept.
    #[must_use]
    pub const fn threshold(self) -> Option<Threshold> {
        Threshold::new(ALL - self.kept)
    }
}
