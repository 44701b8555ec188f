//! The file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use shoalwatch_core::Millis;
use shoalwatch_core::history::{CodecError, History};
use shoalwatch_core::notify::Told;
use shoalwatch_core::polled::Meter;
use shoalwatch_core::reports::CumulativeReports;
use shoalwatch_core::slo::SloState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::copy::Marks;

const FILE: &str = "history.redb";
const DAMAGED: &str = "history.redb.damaged";
/// One key: everything known of workers' counts, as JSON.
pub(super) const REPORTS: TableDefinition<&str, &[u8]> = TableDefinition::new("reports");
/// By uid of the SLO: [`Record`], as JSON.
pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("slos");
/// By uid of the SLO: its windows, as `History::encode` writes them.
pub(super) const WINDOWS: TableDefinition<&str, &[u8]> = TableDefinition::new("windows");
/// By uid of the SLO: what is new in its windows since they were written whole, as `History::tail` writes it.
pub(super) const TAILS: TableDefinition<&str, &[u8]> = TableDefinition::new("tails");
/// By uid of any object: its last spec that made sense, as JSON.
pub(super) const SPECS: TableDefinition<&str, &[u8]> = TableDefinition::new("specs");
pub(super) const ALL: &str = "all";

/// Bytes of the file that are kept in memory: all of it is known already, so only what is being written.
const CACHE: usize = 16 << 20;

/// How long an earlier process may take to let go of the file.
const LOCKED: Duration = Duration::from_secs(10);

/// What is remembered of one SLO besides its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Releases and rollback.
    pub state: SloState,
    /// Since when the windows are incomplete because an older file was lost.
    #[serde(default)]
    pub lost: Option<Millis>,
    /// Of the leader that decided this, and how often it was decided about the SLO: of two records the one where these are
    /// greater is newer.
    #[serde(default)]
    pub age: (u64, u64),
    /// What each receiver of notifications was told, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notified: BTreeMap<String, Told>,
    /// What was polled last, and is counted in the windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
}

/// Everything that was saved.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The workers' counts.
    pub reports: CumulativeReports,
    /// By uid of the SLO.
    pub slos: BTreeMap<String, (Record, History)>,
    /// By uid of any object: JSON.
    pub specs: BTreeMap<String, Vec<u8>>,
    /// SLOs of which something was saved that cannot be read.
    pub unreadable: BTreeSet<String>,
}

impl Saved {
    /// Keeps what the leader decided about an SLO that nobody has asked for yet, unless something newer is known.
    pub fn learn(&mut self, uid: String, record: Record) {
        let (known, _) = self.slos.entry(uid).or_default();
        if record.age > known.age {
            // It goes with the windows that are known here.
            let meter = known.meter.take();
            *known = Record { meter, ..record };
        }
    }
}

/// What is to be saved, in one transaction.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The workers' counts, as JSON.
    pub reports: Option<Vec<u8>>,
    /// By uid: record as JSON, and windows.
    pub slos: Vec<(String, Vec<u8>, Vec<u8>)>,
    /// By uid: record as JSON, and what is new in windows that were saved whole before.
    pub tails: Vec<(String, Vec<u8>, Vec<u8>)>,
    /// By uid: JSON.
    pub specs: Vec<(String, Vec<u8>)>,
    /// Uids of all objects there are, sorted; everything else is removed. `None`: nothing is removed.
    pub existing: Option<Vec<String>>,
}

impl Snapshot {
    /// Whether there is nothing to save.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let (slos, specs) = (self.slos.is_empty() && self.tails.is_empty(), self.specs.is_empty());
        self.reports.is_none() && slos && specs && self.existing.is_none()
    }

    /// Whose records are in it.
    pub(super) fn uids(&self) -> impl Iterator<Item = &String> {
        self.slos.iter().chain(&self.tails).map(|(uid, ..)| uid)
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{}: no access: make the data directory writable for the operator", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The file is damaged, or of another program.
    #[error("the history file cannot be read or written: see the free space of its volume")]
    Database(#[source] Box<redb::Error>),
    /// redb gave up on the file.
    #[error("the history file is damaged")]
    Panic(#[source] tokio::task::JoinError),
    /// Another process has it open.
    #[error("the history file is open in another process: let only one operator use a data directory")]
    Locked,
    /// Too many snapshots wait to be saved, or the process is ending.
    #[error("the history file's volume is too slow: give the operator a faster one")]
    Busy,
    /// What these tails belong to did not arrive on the disk.
    #[error("an earlier save failed: all windows are saved again with the next one")]
    Behind,
}

impl StoreError {
    /// A bounded word for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Database(_) => "database",
            Self::Panic(_) => "panic",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Behind => "behind",
        }
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Snapshots that wait to be saved.
const QUEUE: usize = 16;

type Job = (Snapshot, oneshot::Sender<Result<(), StoreError>>);

/// The file, open. Snapshots are saved in the order they were handed over.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    pub(super) database: Arc<Database>,
    pub(super) marks: Marks,
}

/// The rows of all tables, as they are stored and copied.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(super) reports: Option<Vec<u8>>,
    pub(super) records: BTreeMap<String, Vec<u8>>,
    pub(super) windows: BTreeMap<String, Vec<u8>>,
    pub(super) specs: BTreeMap<String, Vec<u8>>,
}

/// What opening came to.
#[derive(Debug)]
pub struct Opened {
    /// `None`: there is no memory over restarts.
    pub store: Option<Store>,
    /// What was read.
    pub saved: Saved,
    /// Why an older file was lost, or the new one cannot be used.
    pub lost: Option<StoreError>,
}

/// Opens the file in `directory`, or begins a new one. Never fails: without a usable file everything is kept in memory only.
pub async fn open(directory: &Path) -> Opened {
    let path = directory.join(FILE);
    let error = match read_when_free(&path).await {
        Ok((store, saved)) => {
            return Opened {
                store: Some(store),
                saved,
                lost: None,
            };
        }
        Err(error @ (StoreError::Locked | StoreError::File { .. })) => return in_memory(error),
        Err(error) => error,
    };
    warn!(error = ?error, "history cannot be read, beginning a new one");
    if let Err(error) = fs::rename(&path, directory.join(DAMAGED)) {
        warn!(%error, "damaged history cannot be moved aside");
    }
    match read(path).await {
        Ok((store, saved)) => Opened {
            store: Some(store),
            saved,
            lost: Some(error),
        },
        Err(second) => in_memory(second),
    }
}

fn in_memory(error: StoreError) -> Opened {
    warn!(error = ?error, "no history file, keeping everything in memory only");
    Opened {
        store: None,
        saved: Saved::default(),
        lost: Some(error),
    }
}

/// Waits for a while where an earlier process has not let go of the file yet.
async fn read_when_free(path: &Path) -> Result<(Store, Saved), StoreError> {
    let deadline = Instant::now() + LOCKED;
    loop {
        match read(path.to_owned()).await {
            Err(StoreError::Locked) if Instant::now() < deadline => sleep(LOCKED / 100).await,
            ended => return ended,
        }
    }
}

/// In a thread of its own: a panic of the library over a damaged file is an error like another.
async fn read(path: PathBuf) -> Result<(Store, Saved), StoreError> {
    let opened = spawn_blocking(move || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|source| StoreError::File {
                path: directory.to_owned(),
                source,
            })?;
        }
        let database = match Database::builder().set_cache_size(CACHE).create(&path) {
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked),
            database => database?,
        };
        let saved = load(&database)?;
        info!(slos = saved.slos.len(), "history opened");
        Ok::<_, StoreError>((database, saved))
    });
    let (database, saved) = opened.await.map_err(StoreError::Panic)??;
    let (sender, jobs) = mpsc::channel(QUEUE);
    let (database, marks) = (Arc::new(database), Marks::new());
    tokio::spawn(serve(Arc::clone(&database), marks.clone(), jobs));
    let store = Store {
        jobs: sender,
        database,
        marks,
    };
    Ok((store, saved))
}

/// Saves one snapshot after the other until every [`Store`] is gone.
async fn serve(database: Arc<Database>, marks: Marks, mut jobs: mpsc::Receiver<Job>) {
    // SLOs whose windows did not arrive when they were saved whole, as many as there are: a tail of theirs would be one of others.
    let mut missing: BTreeSet<String> = BTreeSet::new();
    while let Some((snapshot, done)) = jobs.recv().await {
        let saved = if snapshot.tails.iter().any(|(uid, ..)| missing.contains(uid)) {
            Err(StoreError::Behind)
        } else {
            let whole: BTreeSet<String> = snapshot.slos.iter().map(|(uid, ..)| uid.clone()).collect();
            let (database, marks) = (Arc::clone(&database), marks.clone());
            let saved = spawn_blocking(move || save(&database, &snapshot).inspect(|()| marks.saved(&snapshot))).await;
            let saved = saved.map_err(StoreError::Panic).flatten();
            match &saved {
                Ok(()) => missing.retain(|uid| !whole.contains(uid)),
                Err(_) => missing.extend(whole),
            }
            saved
        };
        // Whoever handed it over may not be interested.
        drop(done.send(saved));
    }
}

fn load(database: &Database) -> Result<Saved, StoreError> {
    create_tables(database)?;
    let transaction = database.begin_read()?;
    let rows = |table| -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let mut rows = BTreeMap::new();
        for row in transaction.open_table::<&str, &[u8]>(table)?.iter()? {
            let (key, value) = row?;
            rows.insert(key.value().to_owned(), value.value().to_owned());
        }
        Ok(rows)
    };
    let raw = Raw {
        reports: rows(REPORTS)?.remove(ALL),
        records: rows(RECORDS)?,
        windows: whole(rows(WINDOWS)?, rows(TAILS)?),
        specs: rows(SPECS)?,
    };
    Ok(raw.read())
}

/// Windows with what is new in them. A tail that cannot be read takes its windows along: they would miss what was acknowledged.
fn whole(mut windows: BTreeMap<String, Vec<u8>>, tails: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    for (uid, tail) in tails {
        if let Some(base) = windows.remove(&uid) {
            windows.extend(joined(&base, &tail).map(|whole| (uid, whole)).ok());
        }
    }
    windows
}

/// Windows as they would have been written whole.
pub(super) fn joined(base: &[u8], tail: &[u8]) -> Result<Vec<u8>, CodecError> {
    Ok(History::decode(base)?.with_tail(tail)?.encode())
}

impl Raw {
    /// What can be read of it.
    pub(crate) fn read(mut self) -> Saved {
        let reports = self.reports.map(|json| serde_json::from_slice(&json));
        let mut saved = Saved {
            // Without the counts the windows still hold; only what workers send next has no known beginning.
            reports: reports
                .unwrap_or_else(|| Ok(CumulativeReports::default()))
                .unwrap_or_else(|error| {
                    warn!(%error, "workers' counts cannot be read");
                    CumulativeReports::default()
                }),
            specs: self.specs,
            ..Saved::default()
        };
        for (uid, json) in self.records {
            let record = serde_json::from_slice(&json).ok();
            let windows = self.windows.remove(&uid);
            let history = windows.and_then(|bytes| History::decode(&bytes).ok());
            if record.is_none() || history.is_none() {
                saved.unreadable.insert(uid.clone());
            }
            saved
                .slos
                .insert(uid, (record.unwrap_or_default(), history.unwrap_or_default()));
        }
        saved
    }

    /// What was decided about SLOs, by uid.
    pub(crate) fn records(self) -> Vec<(String, Record)> {
        let records = self.records.into_iter();
        let read = |(uid, json): (String, Vec<u8>)| Some((uid, serde_json::from_slice(&json).ok()?));
        records.filter_map(read).collect()
    }
}

fn create_tables(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    for table in [REPORTS, RECORDS, WINDOWS, TAILS, SPECS] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(())
}

impl Store {
    /// Hands a snapshot over at once, in this order; the future says when it is on the disk.
    pub fn save(&self, snapshot: Snapshot) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (done, saved) = oneshot::channel();
        let handed_over = self.jobs.try_send((snapshot, done)).is_ok();
        async move {
            if !handed_over {
                return Err(StoreError::Busy);
            }
            saved.await.unwrap_or(Err(StoreError::Busy))
        }
    }
}

fn save(database: &Database, snapshot: &Snapshot) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    {
        let mut reports = transaction.open_table(REPORTS)?;
        let mut records = transaction.open_table(RECORDS)?;
        let mut windows = transaction.open_table(WINDOWS)?;
        let mut tails = transaction.open_table(TAILS)?;
        let mut specs = transaction.open_table(SPECS)?;
        if let Some(json) = &snapshot.reports {
            reports.insert(ALL, json.as_slice())?;
        }
        for (uid, record, history) in &snapshot.slos {
            records.insert(uid.as_str(), record.as_slice())?;
            windows.insert(uid.as_str(), history.as_slice())?;
            tails.remove(uid.as_str())?;
        }
        for (uid, record, tail) in &snapshot.tails {
            records.insert(uid.as_str(), record.as_slice())?;
            tails.insert(uid.as_str(), tail.as_slice())?;
        }
        for (uid, spec) in &snapshot.specs {
            specs.insert(uid.as_str(), spec.as_slice())?;
        }
        if let Some(existing) = &snapshot.existing {
            let exists = |uid: &str| existing.binary_search_by(|known| known.as_str().cmp(uid)).is_ok();
            for table in [&mut records, &mut windows, &mut tails, &mut specs] {
                table.retain(|uid, _| exists(uid))?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
