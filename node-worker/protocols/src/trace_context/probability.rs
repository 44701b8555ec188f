use super::hex_digit;
use std::fmt::{self, Write as _};

/// Width of randomness and threshold.
pub const RANDOMNESS_BITS: u32 = 56;

const LIMIT: u64 = 1 << RANDOMNESS_BITS;
const HEX_DIGITS: usize = 14;

/// 56 random bits that all spans of a trace share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Randomness(u64);

impl Randomness {
    /// Takes the low 56 bits.
    #[must_use]
    pub const fn from_low_bits(bits: u64) -> Self {
        Self(bits % LIMIT)
    }

    /// The last seven bytes of a trace id.
    #[must_use]
    pub const fn from_trace_id(id: &[u8; 16]) -> Self {
        let [.., b9, b10, b11, b12, b13, b14, b15] = *id;
        Self(u64::from_be_bytes([0, b9, b10, b11, b12, b13, b14, b15]))
    }

    /// Below 2^56.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The value of `rv`: exactly 14 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        (text.len() == HEX_DIGITS)
            .then(|| left_aligned(text))
            .flatten()
            .map(Self)
    }

    /// Appends the form of `rv`.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&digits(self.0));
    }
}

/// The rejection threshold of a sampling probability `p > 0`: `(1 − p) × 2^56`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(u64);

impl Threshold {
    /// Probability 1.
    pub const ALWAYS: Self = Self(0);

    /// Absent for 2^56 and above: `th` cannot say "never".
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value < LIMIT { Some(Self(value)) } else { None }
    }

    /// Below 2^56.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether a span with this randomness is kept.
    #[must_use]
    pub const fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// How many spans one kept span stands for: `2^56 / (2^56 − T)`, from 1 to 2^56.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count's 53 significant bits are enough")]
    pub fn adjusted_count(self) -> f64 {
        LIMIT as f64 / (LIMIT - self.0) as f64
    }

    /// The value of `th`: 1 to 14 lower-case hexadecimal digits, trailing zeros left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        (1..=HEX_DIGITS)
            .contains(&text.len())
            .then(|| left_aligned(text))
            .flatten()
            .map(Self)
    }

    /// Appends the form of `th`: trailing zeros cut, `0` for always.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&digits(self.0)[..self.length()]);
    }

    /// How many digits `th` has.
    fn length(self) -> usize {
        let zeros = (self.0.trailing_zeros() / 4).min(13);
        HEX_DIGITS - zeros as usize
    }
}

/// The form of `th`.
impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        digits(self.0)[..self.length()]
            .iter()
            .try_for_each(|digit| formatter.write_char(char::from(*digit)))
    }
}

/// All digits, lower case: without `std::fmt`, because every kept span needs them.
fn digits(value: u64) -> [u8; HEX_DIGITS] {
    std::array::from_fn(|place| b"0123456789abcdef"[(value >> (4 * (HEX_DIGITS - 1 - place)) & 0xf) as usize])
}

/// Up to 14 digits, read as the highest ones.
fn left_aligned(text: &[u8]) -> Option<u64> {
    let value = text
        .iter()
        .try_fold(0u64, |value, byte| Some(value << 4 | u64::from(hex_digit(*byte)?)))?;
    Some(value << (4 * (HEX_DIGITS - text.len())))
}
