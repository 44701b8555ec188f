use shoalwatch_ebpf_common::{BUCKETS, bucket};

/// Upper bounds of the buckets, inclusive, in seconds: those of OpenTelemetry's HTTP conventions.
pub const BOUNDS_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// A cumulative histogram of durations. Sums are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    start_ns: u64,
    sum_ns: u128,
    buckets: [u64; BUCKETS],
}

impl Histogram {
    pub(super) const fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            sum_ns: 0,
            buckets: [0; BUCKETS],
        }
    }

    pub(super) fn record(&mut self, duration_ns: u64) {
        self.buckets[bucket(duration_ns)] += 1;
        self.sum_ns += u128::from(duration_ns);
    }

    /// Adds what was counted elsewhere by the same bounds: requests per bucket, and the sum of their durations.
    pub(super) fn add(&mut self, buckets: &[u64; BUCKETS], sum_ns: u64) {
        for (bucket, more) in self.buckets.iter_mut().zip(buckets) {
            *bucket += more;
        }
        self.sum_ns += u128::from(sum_ns);
    }

    /// Since when it counts, in nanoseconds since the Unix epoch: OTLP's `start_time_unix_nano`.
    #[must_use]
    pub const fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Requests counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "OTLP's sum is a double")]
    pub const fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Requests per bucket, not accumulated; the last one is above all bounds.
    #[must_use]
    pub const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }
}
