//! When a tier fires, and when it ceases to: what `promtool` holds the rendered rules to.

use std::time::Duration;

use super::Tier;

impl Tier {
    /// How long after a failure begins the tier fires, if from then on `bad_ratio` of the requests are bad, none was before,
    /// and the traffic is steady:
    ///
    /// ```text
    /// long × burn × (1 − objective) ÷ bad ratio
    /// ```
    ///
    /// The long window is filled from nothing up to the threshold; the short one is always there first. `None`: never, for the
    /// ratio does not exceed the threshold. Source: *The Site Reliability Workbook*, chapter 5, "Alerting on SLOs",
    /// approach 4, "Alert on Burn Rate".
    #[must_use]
    pub fn fires_after(&self, bad_ratio: f64) -> Option<Duration> {
        self.share(bad_ratio).map(|share| self.long.mul_f64(share))
    }

    /// How long after such a failure ended, if it lasted for the short window at least, the tier ceases to fire:
    /// `short × (1 − threshold ÷ bad ratio)`, for then the short window has emptied down to the threshold. The long one
    /// empties later, unless the failure had only just fired it. `None`: it never fired.
    #[must_use]
    pub fn resets_after(&self, bad_ratio: f64) -> Option<Duration> {
        self.share(bad_ratio).map(|share| self.short.mul_f64(1.0 - share))
    }

    /// The part of a window that has to be bad.
    fn share(&self, bad_ratio: f64) -> Option<f64> {
        (bad_ratio > self.threshold && bad_ratio <= 1.0).then(|| self.threshold / bad_ratio)
    }
}
