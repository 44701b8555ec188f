//! Puts configurations in force, wherever they come from.

use std::sync::Arc;

use shoalwatch_node_api::config::StoredConfig;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    counters::{Count, Counters},
    in_force::{InForce, Refused},
    requests::{EventLoop, LoopEnded},
};

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It is not valid; the last good one stays in force.
    #[error("the configuration was refused")]
    Refused(#[source] Refused),
    /// Nothing can be put in force any more.
    #[error(transparent)]
    Ended(#[from] LoopEnded),
}

/// The one way to change what is in force.
#[derive(Clone)]
pub(crate) struct Applier {
    events: EventLoop,
    counters: Arc<Counters>,
    /// Told of every configuration that came in force.
    in_force: watch::Sender<Option<Arc<InForce>>>,
}

impl Applier {
    pub(crate) fn new(events: EventLoop, counters: Arc<Counters>) -> Self {
        Self {
            events,
            counters,
            in_force: watch::Sender::new(None),
        }
    }

    /// What is in force; absent until the first configuration.
    pub(crate) fn in_force(&self) -> watch::Receiver<Option<Arc<InForce>>> {
        self.in_force.subscribe()
    }

    /// Returns when the next request is judged by it.
    pub(crate) async fn apply(&self, stored: StoredConfig) -> Result<Arc<InForce>, ApplyError> {
        let in_force = InForce::compile(stored)
            .map(Arc::new)
            .map_err(|refused| self.refuse(refused))?;
        if !self.events.configure(Arc::clone(&in_force)).await? {
            self.in_force.send_replace(Some(in_force));
            self.counters.one(Count::ConfigKernel);
            return Err(ApplyError::Refused(Refused::Kernel));
        }
        self.counters.one(Count::ConfigApplied);
        let version = in_force.version.as_ref();
        info!(
            term = version.map(|version| version.term),
            hash = version.map(|version| version.hash.as_str()),
            policies = in_force.policies().count(),
            "configuration in force"
        );
        self.in_force.send_replace(Some(Arc::clone(&in_force)));
        Ok(in_force)
    }

    /// Counts and tells a refusal.
    pub(super) fn refuse(&self, refused: Refused) -> ApplyError {
        self.counters.one(match refused {
            Refused::OlderTerm { .. } => Count::ConfigOlderTerm,
            _ => Count::ConfigInvalid,
        });
        warn!(
            reason = refused.reason(),
            category = refused.category(),
            "configuration refused, the last good one stays in force"
        );
        ApplyError::Refused(refused)
    }
}
