//! The file as it travels from one replica to another: all rows of one moment, in pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use shoalwatch_node_api::replicas::entry::Table;
use shoalwatch_node_api::replicas::{Entry, Mark};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::store::{ALL, RECORDS, REPORTS, Raw, SPECS, Snapshot, Store, StoreError, TAILS, WINDOWS, joined};

/// Bytes of a page, unless one row is larger.
const PAGE: usize = 1 << 20;
/// Pages that wait to be sent.
const PAGES: usize = 2;

type Page = Result<Vec<Entry>, StoreError>;

/// A copy that is being read.
#[derive(Debug)]
pub struct Copy {
    /// What it is a copy of.
    pub mark: Mark,
    /// The rows. After an error nothing comes.
    pub pages: mpsc::Receiver<Page>,
}

/// Which records were saved when, since the process began.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    start_id: String,
    saves: Arc<Mutex<Saves>>,
}

#[derive(Debug, Default)]
struct Saves {
    count: u64,
    /// By uid of the SLO, as many as there are.
    records: BTreeMap<String, u64>,
}

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            start_id: format!("{:032x}", rand::random::<u128>()),
            saves: Arc::default(),
        }
    }

    pub(super) fn saved(&self, snapshot: &Snapshot) {
        let mut saves = self.lock();
        saves.count += 1;
        let count = saves.count;
        saves.records.extend(snapshot.uids().map(|uid| (uid.clone(), count)));
        if let Some(existing) = &snapshot.existing {
            saves.records.retain(|uid, _| existing.binary_search(uid).is_ok());
        }
    }

    fn now(&self) -> Mark {
        Mark {
            start_id: self.start_id.clone(),
            save: self.lock().count,
        }
    }

    /// Records that changed since; `None`: nobody knows, so all.
    fn since(&self, mark: &Mark) -> Option<Vec<String>> {
        if mark.start_id != self.start_id {
            return None;
        }
        let saves = self.lock();
        let changed = saves.records.iter().filter(|(_, save)| **save > mark.save);
        Some(changed.map(|(uid, _)| uid.clone()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Saves> {
        self.saves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Everything that is on the disk now.
    #[must_use]
    pub fn copy(&self) -> Copy {
        self.read(|transaction, out| {
            out.table(transaction, REPORTS, Table::Reports)?;
            out.table(transaction, RECORDS, Table::Records)?;
            out.windows(transaction)?;
            out.table(transaction, SPECS, Table::Specs)
        })
    }

    /// What was decided about SLOs since `mark`, or ever.
    #[must_use]
    pub fn decisions(&self, since: Option<&Mark>) -> Copy {
        match since.and_then(|mark| self.marks.since(mark)) {
            None => self.read(|transaction, out| out.table(transaction, RECORDS, Table::Records)),
            Some(changed) => self.read(move |transaction, out| {
                let table = transaction.open_table(RECORDS)?;
                for uid in changed {
                    if let Some(json) = table.get(uid.as_str())? {
                        out.row(Table::Records, &uid, json.value());
                    }
                }
                Ok(())
            }),
        }
    }

    fn read(
        &self,
        rows: impl FnOnce(&ReadTransaction, &mut Writer) -> Result<(), StoreError> + Send + 'static,
    ) -> Copy {
        // Before the transaction: what is saved in between comes once more with the next copy.
        let mark = self.marks.now();
        let (sender, pages) = mpsc::channel(PAGES);
        let database = Arc::clone(&self.database);
        spawn_blocking(move || {
            let mut out = Writer::new(sender);
            let read = transaction(&database).and_then(|transaction| rows(&transaction, &mut out));
            out.end(read);
        });
        Copy { mark, pages }
    }
}

fn transaction(database: &Database) -> Result<ReadTransaction, StoreError> {
    Ok(database.begin_read()?)
}

struct Writer {
    page: Vec<Entry>,
    bytes: usize,
    sender: mpsc::Sender<Page>,
}

impl Writer {
    fn new(sender: mpsc::Sender<Page>) -> Self {
        Self {
            page: Vec::new(),
            bytes: 0,
            sender,
        }
    }

    fn table(
        &mut self,
        transaction: &ReadTransaction,
        table: TableDefinition<'static, &'static str, &'static [u8]>,
        name: Table,
    ) -> Result<(), StoreError> {
        for row in transaction.open_table(table)?.iter()? {
            let (key, value) = row?;
            self.row(name, key.value(), value.value());
        }
        Ok(())
    }

    /// Whole ones, which every replica can read.
    fn windows(&mut self, transaction: &ReadTransaction) -> Result<(), StoreError> {
        let tails = transaction.open_table(TAILS)?;
        for row in transaction.open_table(WINDOWS)?.iter()? {
            let (uid, base) = row?;
            match tails.get(uid.value())? {
                // What cannot be read here cannot be read there either.
                Some(tail) => match joined(base.value(), tail.value()) {
                    Ok(whole) => self.row(Table::Windows, uid.value(), &whole),
                    Err(_damaged) => {}
                },
                None => self.row(Table::Windows, uid.value(), base.value()),
            }
        }
        Ok(())
    }

    fn row(&mut self, table: Table, key: &str, value: &[u8]) {
        self.bytes += key.len() + value.len();
        self.page.push(Entry {
            table: table.into(),
            key: key.to_owned(),
            value: value.to_owned(),
        });
        if self.bytes >= PAGE {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.bytes = 0;
        // Whoever reads no more is gone.
        drop(self.sender.blocking_send(Ok(std::mem::take(&mut self.page))));
    }

    fn end(mut self, read: Result<(), StoreError>) {
        match read {
            Ok(()) if self.page.is_empty() => {}
            Ok(()) => self.turn(),
            Err(error) => drop(self.sender.blocking_send(Err(error))),
        }
    }
}

impl Raw {
    /// Takes in a row that was copied; one of a table that is not known here is of a newer replica.
    pub(crate) fn take(&mut self, entry: Entry) {
        let Entry { table, key, value } = entry;
        match Table::try_from(table) {
            Ok(Table::Reports) if key == ALL => self.reports = Some(value),
            Ok(Table::Records) => drop(self.records.insert(key, value)),
            Ok(Table::Windows) => drop(self.windows.insert(key, value)),
            Ok(Table::Specs) => drop(self.specs.insert(key, value)),
            _ => {}
        }
    }
}
