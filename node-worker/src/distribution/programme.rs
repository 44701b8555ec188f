//! What all streams obey: one configuration in force, and the newest term that any of them named.

use std::{path::PathBuf, sync::Arc};

use prost::Message;
use shoalwatch_node_api::{
    config::{NodeConfig, StoredConfig, Version},
    wire::{self, Push},
};
use tokio::sync::Mutex;
use tracing::warn;

use super::{
    apply::{Applier, ApplyError},
    last_good::{LastGood, LastGoodError},
};
use crate::{
    counters::{Count, Counters},
    in_force::Refused,
    requests::LoopEnded,
};

/// The way from pushes to what is in force. Pushes of two replicas wait for each other.
pub(super) struct Programme {
    applier: Applier,
    last_good: LastGood,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest that any message named since the start; what comes from an older one is refused. Not kept on disk: a
    /// restart of the workers mends a cluster whose Lease was made anew.
    newest_term: u64,
    applied: Option<Version>,
}

impl Programme {
    pub(super) fn new(applier: Applier, last_good: LastGood, counters: Arc<Counters>) -> Self {
        Self {
            applier,
            last_good,
            counters,
            state: Mutex::default(),
        }
    }

    pub(super) const fn applier(&self) -> &Applier {
        &self.applier
    }

    /// What is in force.
    pub(super) async fn applied(&self) -> Option<Version> {
        self.state.lock().await.applied.clone()
    }

    /// A replica named this term.
    pub(super) async fn note_term(&self, term: u64) {
        let mut state = self.state.lock().await;
        state.newest_term = state.newest_term.max(term);
    }

    /// Puts the last good configuration in force.
    pub(super) async fn restore(&self) -> Result<(), LoopEnded> {
        let last_good = self.last_good.clone();
        let read = blocking(move || last_good.read()).await;
        let stored = match read {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(()),
            Err(error) => {
                let corrupt = matches!(error, LastGoodError::Corrupt { .. });
                self.counters.one(if corrupt {
                    Count::LastGoodCorrupt
                } else {
                    Count::LastGoodFailed
                });
                warn!(
                    error = &error as &dyn std::error::Error,
                    "starting without the last good configuration"
                );
                return Ok(());
            }
        };
        let version = stored.version.clone();
        match self.applier.apply(stored).await {
            Ok(_) => {
                self.counters.one(Count::LastGoodRead);
                self.state.lock().await.applied = version;
                Ok(())
            }
            Err(ApplyError::Refused(_)) => {
                self.counters.one(Count::LastGoodCorrupt);
                self.last_good.move_aside();
                Ok(())
            }
            Err(ApplyError::Ended(ended)) => Err(ended),
        }
    }

    /// Absent: it is in force already.
    pub(super) async fn put_in_force(&self, push: Push) -> Result<Option<StoredConfig>, ApplyError> {
        let mut state = self.state.lock().await;
        let stored = state.check(push).map_err(|refused| self.applier.refuse(refused))?;
        if stored.version == state.applied {
            return Ok(None);
        }
        self.applier.apply(stored.clone()).await?;
        state.applied.clone_from(&stored.version);
        Ok(Some(stored))
    }

    /// Writes to the disk what is in force, unless another one is by now.
    pub(super) async fn keep(&self, stored: StoredConfig) {
        let state = self.state.lock().await;
        if state.applied != stored.version {
            return;
        }
        let last_good = self.last_good.clone();
        match blocking(move || last_good.write(&stored)).await {
            Ok(()) => self.counters.one(Count::LastGoodWritten),
            Err(error) => {
                self.counters.one(Count::LastGoodFailed);
                warn!(
                    error = &error as &dyn std::error::Error,
                    "a restart of this worker would begin without this configuration"
                );
            }
        }
    }
}

impl State {
    fn check(&mut self, push: Push) -> Result<StoredConfig, Refused> {
        let version = push.version.ok_or(Refused::Missing("version"))?;
        if version.term < self.newest_term {
            return Err(Refused::OlderTerm {
                offered: version.term,
                newest: self.newest_term,
            });
        }
        self.newest_term = version.term;
        let config = push.config.ok_or(Refused::Missing("config"))?;
        let config = wire::NodeConfig::decode(config).map_err(Refused::Unreadable)?;
        Ok(StoredConfig {
            version: Some(version.into()),
            config: NodeConfig::try_from(config)?,
        })
    }
}

/// Disks may be slow.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LastGoodError> + Send + 'static,
) -> Result<T, LastGoodError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LastGoodError::Io {
            path: PathBuf::new(),
            source: std::io::Error::other(error),
        }),
    }
}
