//! The last good configuration, on the node's disk: a worker starts and samples without its operator.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use shoalwatch_node_api::config::StoredConfig;

const FILE: &str = "last-good.json";
const NEW_FILE: &str = "last-good.json.new";
const CORRUPT_FILE: &str = "last-good.json.corrupt";
/// A file longer than this was not written by a worker.
const MAX_BYTES: u64 = 16 << 20;

/// Why the last good configuration is not known, or not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LastGoodError {
    /// It was moved aside.
    #[error(
        "the last good configuration {path:?} is damaged: it was moved to {CORRUPT_FILE}, the operator sends a new one"
    )]
    Corrupt {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The folder or the file cannot be used.
    #[error("the last good configuration {path:?} cannot be used: make --state-dir a folder that the worker may write")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The folder that it is kept in.
#[derive(Clone, Debug)]
pub(crate) struct LastGood {
    folder: PathBuf,
}

impl LastGood {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Absent on a node that never had one. A damaged file is moved aside, so that it is told of once and kept for a look.
    pub(crate) fn read(&self) -> Result<Option<StoredConfig>, LastGoodError> {
        let path = self.folder.join(FILE);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LastGoodError::Io { path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| {
            self.move_aside();
            LastGoodError::Corrupt { path, source }
        })
    }

    /// So that it is not read again.
    pub(crate) fn move_aside(&self) {
        if let Err(error) = fs::rename(self.folder.join(FILE), self.folder.join(CORRUPT_FILE)) {
            tracing::warn!(%error, "the damaged last good configuration cannot be moved aside");
        }
    }

    /// Whole or not at all, also when the machine stops meanwhile.
    pub(crate) fn write(&self, stored: &StoredConfig) -> Result<(), LastGoodError> {
        let path = self.folder.join(FILE);
        self.write_atomically(&path, stored)
            .map_err(|source| LastGoodError::Io { path, source })
    }

    fn write_atomically(&self, path: &Path, stored: &StoredConfig) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let new = self.folder.join(NEW_FILE);
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(stored)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // The rename is on disk only when the folder is.
        File::open(&self.folder)?.sync_all()
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use shoalwatch_node_api::config::{NodeConfig, SamplingPolicy, Selector, Version};

    use super::*;

    fn stored(hash: &str) -> StoredConfig {
        let policy = SamplingPolicy {
            id: "shop/all".into(),
            namespace: None,
            selector: Selector::default(),
            probability: 0.1,
            rules: Vec::new(),
            limit: None,
            honour_parent: true,
            dry_run: false,
        };
        StoredConfig {
            version: Some(Version {
                term: 3,
                hash: hash.into(),
            }),
            config: NodeConfig {
                policies: vec![policy],
                ..NodeConfig::default()
            },
        }
    }

    #[test]
    fn what_was_written_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(folder.path().join("made/when/needed"));
        assert_eq!(last_good.read().unwrap(), None);
        last_good.write(&stored("aa")).unwrap();
        last_good.write(&stored("bb")).unwrap();
        assert_eq!(last_good.read().unwrap(), Some(stored("bb")));
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(folder.path());
        last_good.write(&stored("aa")).unwrap();
        fs::write(folder.path().join(NEW_FILE), "{\"version\": {\"te").unwrap();
        assert_eq!(last_good.read().unwrap(), Some(stored("aa")));
    }

    #[test]
    fn a_damaged_file_is_told_of_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(folder.path());
        fs::write(folder.path().join(FILE), "{\"version\": 7}").unwrap();
        assert!(matches!(last_good.read(), Err(LastGoodError::Corrupt { .. })));
        assert_eq!(last_good.read().unwrap(), None);
        assert_eq!(
            fs::read_to_string(folder.path().join(CORRUPT_FILE)).unwrap(),
            "{\"version\": 7}"
        );
    }
}
