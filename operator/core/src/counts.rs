//! How many requests were good, bad, or lost before they could be judged.

use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Requests of one revision, or of all, over some span. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counts {
    /// Answers that meet the indicator.
    pub good: u64,
    /// Answers that do not.
    pub bad: u64,
    /// Requests known to be lost before they could be judged: never good evidence, never bad evidence.
    pub incomplete: u64,
}

impl Counts {
    /// Counts without losses.
    #[must_use]
    pub fn new(good: u64, bad: u64) -> Self {
        Self {
            good,
            bad,
            incomplete: 0,
        }
    }

    /// Judged requests.
    #[must_use]
    pub fn total(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Whether nothing was seen, not even a loss.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Bad ÷ judged, 0 to 1; `None` without judged requests, which is neither good nor bad.
    #[must_use]
    pub fn bad_ratio(self) -> Option<f64> {
        (self.total() > 0).then(|| float(self.bad) / float(self.total()))
    }

    /// The part of `self` above `earlier`, member by member, zero where `earlier` is greater.
    #[must_use]
    pub fn above(self, earlier: Self) -> Self {
        Self {
            good: self.good.saturating_sub(earlier.good),
            bad: self.bad.saturating_sub(earlier.bad),
            incomplete: self.incomplete.saturating_sub(earlier.incomplete),
        }
    }

    /// The greater of each member.
    #[must_use]
    pub fn greatest(self, other: Self) -> Self {
        Self {
            good: self.good.max(other.good),
            bad: self.bad.max(other.bad),
            incomplete: self.incomplete.max(other.incomplete),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
        self.incomplete = self.incomplete.saturating_add(other.incomplete);
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, each| {
            sum += each;
            sum
        })
    }
}

/// A count as a float.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact to 2^53 requests; beyond that a ratio is off by 1e-16"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
