//! A configuration file on a machine without an operator, followed while it changes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use shoalwatch_node_api::config::StoredConfig;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::apply::{Applier, ApplyError};
use crate::{
    counters::{Count, Counters},
    requests::LoopEnded,
};

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Why a file holds no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("the configuration file {path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML, or not of the form of a configuration.
    #[error("the configuration file {path:?} is not understood")]
    Form {
        path: PathBuf,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It says what cannot be done.
    #[error("the configuration file {path:?} is refused")]
    Apply {
        path: PathBuf,
        #[source]
        source: ApplyError,
    },
}

/// A file, and what it held when it was last looked at.
pub(crate) struct ConfigFile {
    path: PathBuf,
    seen: Option<Vec<u8>>,
    applier: Applier,
}

impl ConfigFile {
    /// Reads the file and puts it in force. A file that is wrong at the start is an error: there is no last good one.
    pub(crate) async fn open(path: &Path, applier: Applier) -> Result<Self, FileError> {
        let mut file = Self {
            path: path.to_owned(),
            seen: None,
            applier,
        };
        file.update().await?;
        Ok(file)
    }

    /// Follows the file. What is wrong with an edit is told once, and the last good one stays in force.
    pub(crate) async fn follow(mut self, counters: &Counters) -> LoopEnded {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.update().await {
                Err(FileError::Apply {
                    source: ApplyError::Ended(ended),
                    ..
                }) => return ended,
                Ok(()) | Err(FileError::Apply { .. }) => {}
                Err(error) => {
                    counters.one(Count::ConfigUnreadable);
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "configuration file is wrong, the last good one stays in force"
                    );
                }
            }
        }
    }

    /// Does nothing while the file holds what it held.
    async fn update(&mut self) -> Result<(), FileError> {
        let path = self.path.clone();
        let read = tokio::fs::read(&path).await;
        let bytes = match read {
            Ok(bytes) => bytes,
            // Told of once: the file is "seen" as empty until it can be read again.
            Err(_) if self.seen.as_ref().is_some_and(Vec::is_empty) => return Ok(()),
            Err(source) => {
                self.seen = Some(Vec::new());
                return Err(FileError::Read { path, source });
            }
        };
        if self.seen.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let parsed = parse(&bytes);
        self.seen = Some(bytes);
        let stored = parsed.map_err(|source| FileError::Form {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let applied = self.applier.apply(stored).await;
        applied.map(drop).map_err(|source| FileError::Apply { path, source })
    }
}

fn parse(bytes: &[u8]) -> Result<StoredConfig, serde_saphyr::Error> {
    serde_saphyr::from_slice(bytes)
}
