//! How the replicas get on with each other, in numbers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Counters and gauges of the replicas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    copies: Family<Copied, Counter>,
    bytes: Gauge,
    served: Counter,
    refused: Family<Refused, Counter>,
    unheard: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Copied {
    outcome: CopyOutcome,
}

/// What became of the attempt to begin with another replica's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum CopyOutcome {
    Copied,
    /// There is no other replica.
    Alone,
    Unanswered,
    TooLarge,
    /// The own disk did not take it.
    Unsaved,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    category: &'static str,
}

impl Metrics {
    /// Creates the families and makes `registry` show them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "history_copies",
            "Attempts to begin with another replica's history, by outcome",
            metrics.copies.clone(),
        );
        registry.register(
            "history_copy_bytes",
            "Size of the last copy of another replica's history, of 64 MiB at most",
            metrics.bytes.clone(),
        );
        registry.register(
            "replica_copies_served",
            "Copies that other replicas were given, whole or of decisions",
            metrics.served.clone(),
        );
        registry.register(
            "replica_copies_refused",
            "Copies that were refused, by category",
            metrics.refused.clone(),
        );
        registry.register(
            "leader_unheard",
            "Times that the leader did not say what it decided",
            metrics.unheard.clone(),
        );
        metrics
    }

    pub(super) fn copied(&self, outcome: CopyOutcome) {
        self.copies.get_or_create(&Copied { outcome }).inc();
    }

    pub(super) fn bytes(&self, bytes: usize) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn served(&self) {
        self.served.inc();
    }

    /// `category` is one of a bounded set.
    pub(super) fn refused(&self, category: &'static str) {
        self.refused.get_or_create(&Refused { category }).inc();
    }

    pub(super) fn unheard(&self) {
        self.unheard.inc();
    }

    #[cfg(test)]
    pub(super) fn copies(&self, outcome: CopyOutcome) -> u64 {
        self.copies.get_or_create(&Copied { outcome }).get()
    }
}
