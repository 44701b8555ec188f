//! What the desk counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

use super::Desk;
use crate::controllers::keeper::Saves;
use crate::controllers::slo::execute::Rollbacks;
use crate::controllers::slo::{Gauges, RulesWrites, Samples};
use crate::controllers::world::watches::Failures;
use crate::notifications;

/// Families of the controllers.
#[derive(Debug, Default)]
pub(in crate::controllers) struct Metrics {
    pub(in crate::controllers) watches: Failures,
    pub(super) samples: Samples,
    pub(super) rollbacks: Rollbacks,
    pub(super) refused: Family<Refused, Counter>,
    pub(super) saves: Saves,
    pub(super) rules: RulesWrites,
    pub(super) notifications: notifications::Metrics,
    pub(super) polls: Family<Polls, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Polls {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) category: &'static str,
}

impl Metrics {
    pub(in crate::controllers) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            notifications: notifications::Metrics::register(registry),
            ..Self::default()
        };
        registry.register(
            "watch_errors",
            "Watches that failed and were started again",
            metrics.watches.clone(),
        );
        registry.register(
            "rollbacks",
            "Acts against releases, by how they ended",
            metrics.rollbacks.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Specs that were refused, by kind and category",
            metrics.refused.clone(),
        );
        registry.register(
            "history_saves",
            "Snapshots written to the history file",
            metrics.saves.clone(),
        );
        registry.register(
            "rules_writes",
            "Objects with rules for Prometheus that were written or removed, by what became of it",
            metrics.rules.clone(),
        );
        registry.register(
            "prometheus_polls",
            "Polls of a Prometheus for an SLO, by what became of them",
            metrics.polls.clone(),
        );
        registry.register_collector(Box::new(Gauges(metrics.samples.clone())));
        metrics
    }
}

impl Desk {
    pub(super) fn refused(&self) -> Vec<Refused> {
        let of = |kind| move |category| Refused { kind, category };
        self.policies
            .invalid()
            .map(of("SamplingPolicy"))
            .chain(self.slos.invalid().map(of("SLO")))
            .collect()
    }

    pub(super) fn count_refused(&self, before: &[Refused]) {
        let mut after = self.refused();
        for known in before {
            if let Some(place) = after.iter().position(|now| now == known) {
                after.swap_remove(place);
            }
        }
        for new in after {
            self.metrics.refused.get_or_create(&new).inc();
        }
    }
}
