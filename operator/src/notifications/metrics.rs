//! What became of notifications.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::payload::Kind;
use super::{Failure, WAITING};

/// Families of notifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    told: Family<Labels, Counter>,
    attempts: Family<Attempt, Counter>,
    queued: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    event: Kind,
    outcome: Outcome,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Delivered,
    GivenUp,
    Deferred,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    outcome: &'static str,
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Slot(Gauge);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let capacity: Gauge = Gauge::default();
        capacity.set(i64::try_from(WAITING).unwrap_or(i64::MAX));
        registry.register(
            "notifications",
            "Notifications, by what became of them and why",
            metrics.told.clone(),
        );
        registry.register(
            "notification_attempts",
            "Requests to receivers, by what came of them",
            metrics.attempts.clone(),
        );
        registry.register(
            "notifications_queued",
            "Notifications that are being told or wait to be tried again",
            metrics.queued.clone(),
        );
        registry.register(
            "notifications_queue_capacity",
            "Notifications that may wait at once",
            capacity,
        );
        metrics
    }

    pub(super) fn queued(&self) -> usize {
        usize::try_from(self.queued.get()).unwrap_or(0)
    }

    pub(super) fn slot(&self) -> Slot {
        self.queued.inc();
        Slot(self.queued.clone())
    }

    pub(super) fn attempted(&self, outcome: &Result<(), Failure>) {
        let outcome = outcome.as_ref().map_or_else(Failure::category, |()| "delivered");
        self.attempts.get_or_create(&Attempt { outcome }).inc();
    }

    pub(super) fn ended(&self, event: Kind, outcome: &Result<(), Failure>) {
        let (outcome, reason) = match outcome {
            Ok(()) => (Outcome::Delivered, ""),
            Err(failure) => (Outcome::GivenUp, failure.category()),
        };
        self.count(event, outcome, reason);
    }

    pub(super) fn deferred(&self, event: Kind) {
        self.count(event, Outcome::Deferred, "queue_full");
    }

    fn count(&self, event: Kind, outcome: Outcome, reason: &'static str) {
        let labels = Labels { event, outcome, reason };
        self.told.get_or_create(&labels).inc();
    }
}
