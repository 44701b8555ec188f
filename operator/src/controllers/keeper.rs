//! What is saved when, and which reports are acknowledged for it.

use std::collections::BTreeMap;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::error;

use super::slo::Slos;
use super::slo::execute::{Memory, Outcome};
use crate::history::{Opened, Saved, Snapshot, Store, StoreError};
use crate::logging::chain;

/// Acknowledgements that wait for the disk; beyond them a worker sends its report again.
const MAX_ACKNOWLEDGE: usize = 65_536;

/// Saves, by outcome.
pub(crate) type Saves = Family<Labels, Counter>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    outcome: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Ended {
    Stored,
    Failed,
}

/// Keeps the history file.
pub(crate) struct Keeper {
    store: Option<Store>,
    /// What an earlier process knew and nobody has asked for yet.
    pub(crate) saved: Saved,
    /// An earlier file could not be read.
    pub(crate) lost: bool,
    /// Why nothing survives a restart.
    pub(crate) unsaved: Option<String>,
    /// Good specs that are not saved yet, by uid.
    specs: BTreeMap<String, Vec<u8>>,
    /// Uids of all objects, if one was deleted since the last save.
    existing: Option<Vec<String>>,
    saving: bool,
    acknowledge: Vec<oneshot::Sender<()>>,
    saves: Saves,
}

impl Keeper {
    pub(crate) fn new(opened: Opened, saves: Saves) -> Self {
        let Opened { store, saved, lost } = opened;
        Self {
            unsaved: lost.as_ref().filter(|_| store.is_none()).map(|error| chain(error)),
            lost: lost.is_some(),
            store,
            saved,
            specs: BTreeMap::new(),
            existing: None,
            saving: false,
            acknowledge: Vec::new(),
            saves,
        }
    }

    /// Good specs, to be saved soon.
    pub(crate) fn keep(&mut self, specs: Vec<(String, Vec<u8>)>) {
        self.specs.extend(specs);
    }

    /// Something was deleted; these uids are what is left.
    pub(crate) fn forget_all_but(&mut self, mut uids: Vec<String>) {
        uids.sort_unstable();
        self.specs.retain(|uid, _| uids.binary_search(uid).is_ok());
        self.existing = Some(uids);
    }

    /// A report was taken in: it is acknowledged when that is saved, or at once where nothing ever is.
    pub(crate) fn acknowledge(&mut self, done: oneshot::Sender<()>) {
        if self.store.is_none() {
            // A worker that is gone does not care.
            let _gone = done.send(());
        } else if self.acknowledge.len() < MAX_ACKNOWLEDGE {
            self.acknowledge.push(done);
        }
    }

    /// Hands over what a patch must not be sent without.
    pub(crate) fn before_act(&self, slos: &Slos) -> Option<Memory> {
        let store = self.store.as_ref()?;
        Some(Box::pin(store.save(slos.unsaved())))
    }

    /// Hands over what changed.
    pub(crate) fn save(&mut self, slos: &mut Slos, tasks: &mut JoinSet<Outcome>) {
        let Some(store) = self.store.clone().filter(|_| !self.saving) else {
            return;
        };
        let snapshot = self.snapshot(slos);
        if snapshot.is_empty() && self.acknowledge.is_empty() {
            return;
        }
        slos.mark_saved(&snapshot);
        self.saving = true;
        let (saved, acknowledge) = (store.save(snapshot), std::mem::take(&mut self.acknowledge));
        tasks.spawn(async move {
            let failed = saved.await.err();
            Outcome::Saved { acknowledge, failed }
        });
    }

    fn snapshot(&mut self, slos: &Slos) -> Snapshot {
        Snapshot {
            specs: std::mem::take(&mut self.specs).into_iter().collect(),
            existing: self.existing.take(),
            ..slos.unsaved()
        }
    }

    /// What became of it.
    pub(crate) fn ended(&mut self, slos: &mut Slos, acknowledge: Vec<oneshot::Sender<()>>, failed: Option<StoreError>) {
        self.saving = false;
        let outcome = if failed.is_none() { Ended::Stored } else { Ended::Failed };
        self.saves.get_or_create(&Labels { outcome }).inc();
        let Some(failed) = failed else {
            self.unsaved = None;
            for done in acknowledge {
                // A worker that is gone sends it again when it comes back.
                let _gone = done.send(());
            }
            return;
        };
        error!(error = chain(&failed), "history not saved");
        self.unsaved = Some(chain(&failed));
        slos.mark_unsaved();
    }

    /// The tasks that would have told are gone: nobody knows what arrived.
    pub(crate) fn stand_down(&mut self, slos: &mut Slos) {
        self.saving = false;
        self.acknowledge.clear();
        slos.mark_unsaved();
    }

    /// Saves everything and waits for it.
    pub(crate) async fn save_last(&mut self, slos: &mut Slos) {
        let Some(store) = self.store.clone() else { return };
        slos.mark_unsaved();
        let snapshot = self.snapshot(slos);
        match store.save(snapshot).await {
            Ok(()) => {
                for done in self.acknowledge.drain(..) {
                    let _gone = done.send(());
                }
            }
            Err(error) => error!(error = chain(&error), "history not saved at the end"),
        }
    }
}
