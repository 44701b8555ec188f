//! How the streams are doing, in numbers.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counters and gauges of the distribution.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) connected: Gauge,
    pub(super) known: Gauge,
    pub(super) pushes: Counter,
    pub(super) acks: Counter,
    nacks: Family<Refused, Counter>,
    pub(super) superseded_nacks: Counter,
    deliveries: Family<Delivered, Counter>,
    reviews: Family<Reviewed, Counter>,
    pub(super) refused_rows: Counter,
    tokens: Gauge,
    pods: Gauge,
    stream_ends: Family<Ended, Counter>,
    ca_expiry: Gauge,
}

/// Which part of a configuration a worker refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: RefusedPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum RefusedPart {
    Policy,
    Sli,
    HostService,
    Other,
}

impl RefusedPart {
    /// A worker's reason begins with the path of the field; see `ConfigError` of the node API.
    fn of(reason: &str) -> Self {
        let begins = |name: &str| reason.starts_with(name);
        match () {
            () if begins("policies") => Self::Policy,
            () if begins("slis") => Self::Sli,
            () if begins("hostServices") => Self::HostService,
            () => Self::Other,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivered {
    outcome: DeliveryOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum DeliveryOutcome {
    /// Ingested, and acknowledged to the worker.
    Acknowledged,
    /// Dropped by whoever ingests, or with a row whose pod is not known yet; the worker keeps it and sends it again.
    Unacknowledged,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reviewed {
    outcome: ReviewOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum ReviewOutcome {
    Cached,
    Accepted,
    Refused,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    category: &'static str,
}

impl Metrics {
    /// Creates the families and makes `registry` show them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "workers_connected",
            "Workers whose stream is open",
            metrics.connected.clone(),
        );
        registry.register(
            "workers_known",
            "Workers connected or gone for less than 10 minutes",
            metrics.known.clone(),
        );
        registry.register("pushes", "Configurations sent to workers", metrics.pushes.clone());
        registry.register("acks", "Configurations that workers put in force", metrics.acks.clone());
        registry.register(
            "nacks",
            "Configurations that workers refused, by the part refused",
            metrics.nacks.clone(),
        );
        registry.register(
            "superseded_nacks",
            "Refusals of a configuration that a newer push had superseded",
            metrics.superseded_nacks.clone(),
        );
        registry.register(
            "sli_deliveries",
            "SLI reports received, by outcome",
            metrics.deliveries.clone(),
        );
        registry.register(
            "sli_rows_refused",
            "Rows of SLI reports about releases that have no pods on the worker's node",
            metrics.refused_rows.clone(),
        );
        registry.register(
            "pods_known",
            "Pods of Deployments whose node is known, of 150,000 at most",
            metrics.pods.clone(),
        );
        registry.register(
            "token_reviews",
            "Checks of workers' tokens, by outcome",
            metrics.reviews.clone(),
        );
        registry.register(
            "tokens_cached",
            "Tokens whose review is remembered, of 10,000 at most",
            metrics.tokens.clone(),
        );
        registry.register(
            "stream_ends",
            "Streams that ended, by category",
            metrics.stream_ends.clone(),
        );
        registry.register(
            "ca_expiry_timestamp_seconds",
            "When the CA that workers trust ends, in seconds since 1970",
            metrics.ca_expiry.clone(),
        );
        metrics
    }

    pub(super) fn refused(&self, reason: &str) {
        let reason = RefusedPart::of(reason);
        self.nacks.get_or_create(&Refused { reason }).inc();
    }

    pub(super) fn delivered(&self, outcome: DeliveryOutcome) {
        self.deliveries.get_or_create(&Delivered { outcome }).inc();
    }

    pub(super) fn review(&self, outcome: ReviewOutcome) {
        self.reviews.get_or_create(&Reviewed { outcome }).inc();
    }

    pub(super) fn tokens_cached(&self, count: usize) {
        self.tokens.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn pods_known(&self, count: usize) {
        self.pods.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// `category` is one of a bounded enum.
    pub(super) fn ended(&self, category: &'static str) {
        self.stream_ends.get_or_create(&Ended { category }).inc();
    }

    pub(crate) fn ca_expires(&self, at: jiff::Timestamp) {
        self.ca_expiry.set(at.as_second());
    }
}
