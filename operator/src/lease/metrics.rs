//! How the election is going, in numbers.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Leadership;

/// Counters and gauges of the Lease.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    leading: Gauge,
    term: Gauge,
    attempts: Family<Attempt, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Outcome {
    Acquired,
    Renewed,
    Yielded,
    /// It could be won, but the history is not there yet.
    Waited,
    Lost,
    Conflict,
    Failed,
}

impl Metrics {
    /// Creates the families and makes `registry` show them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("lease_leading", "1 while this replica leads", metrics.leading.clone());
        registry.register("lease_term", "The term as last seen", metrics.term.clone());
        registry.register(
            "lease_attempts",
            "Attempts to win or renew the Lease, by outcome",
            metrics.attempts.clone(),
        );
        metrics
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.attempts.get_or_create(&Attempt { outcome }).inc();
    }

    pub(super) fn show(&self, leadership: Leadership) {
        self.leading.set(leadership.leading.into());
        self.term.set(i64::try_from(leadership.term).unwrap_or(i64::MAX));
    }
}
