//! Points in time as the caller's clock tells them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, by the operator's clock. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// The point `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(span)))
    }

    /// The point `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(span)))
    }

    /// How long ago `earlier` was; zero where it lies in the future, which a stepped clock can cause.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn whole_millis(span: Duration) -> i64 {
    let millis = span
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(span.subsec_millis().into());
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// A span as users write it: `30s`, `5m`, `1h30m`, `28d`.
#[must_use]
pub fn written(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = span.as_secs();
    let mut parts = Vec::new();
    for (seconds, unit) in UNITS {
        if rest >= seconds {
            parts.push(format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if span.subsec_millis() > 0 || parts.is_empty() {
        parts.push(format!("{}ms", span.subsec_millis()));
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_users_write_them() {
        let cases = [
            (30_000, "30s"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (2_419_200_000, "28d"),
            (1_500, "1s500ms"),
        ];
        for (millis, text) in cases {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
        assert_eq!(written(Duration::ZERO), "0ms");
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Millis(i64::MAX).plus(Duration::MAX), Millis(i64::MAX));
        assert_eq!(Millis(i64::MIN).minus(Duration::MAX), Millis(i64::MIN));
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(5)), Duration::from_millis(4));
    }
}
