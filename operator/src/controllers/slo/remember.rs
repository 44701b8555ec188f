//! What is saved of the SLOs.

use std::collections::BTreeMap;

use serde_json::Value;
use shoalwatch_core::reports::CumulativeReports;
use shoalwatch_core::{Millis, WorkerId};
use tracing::error;

use super::observe::Slos;
use crate::history::Snapshot;

impl Slos {
    /// Begins with the counts that an earlier process kept.
    pub(crate) fn remembering(reports: CumulativeReports, now: Millis) -> Self {
        // The counts do not say which workers they are of, their saved form does.
        let saved = serde_json::to_value(&reports).unwrap_or_default();
        let workers = saved.get("workers").and_then(Value::as_object);
        let heard: BTreeMap<WorkerId, Millis> = workers
            .into_iter()
            .flatten()
            .map(|(worker, _)| (WorkerId::from(worker.as_str()), now))
            .collect();
        Self {
            reports,
            heard,
            ..Self::default()
        }
    }

    /// Everything that changed since it was saved: the counts and the windows fed from them, together.
    pub(crate) fn unsaved(&self) -> Snapshot {
        let reports = self.reports_dirty.then(|| serde_json::to_vec(&self.reports));
        let changed = self.known.values().filter(|known| known.dirty);
        let mut snapshot = Snapshot {
            reports: reports.and_then(|json| json.inspect_err(|error| error!(%error, "counts not written")).ok()),
            ..Snapshot::default()
        };
        for known in changed {
            match serde_json::to_vec(&known.record) {
                Ok(record) => snapshot.slos.push((known.uid.clone(), record, known.history.encode())),
                Err(error) => error!(%error, "record not written"),
            }
        }
        snapshot
    }

    /// Everything that changed is on its way to the disk.
    pub(crate) fn mark_saved(&mut self) {
        self.reports_dirty = false;
        self.known.values_mut().for_each(|known| known.dirty = false);
    }

    /// It did not arrive there.
    pub(crate) fn mark_unsaved(&mut self) {
        self.reports_dirty = true;
        self.known.values_mut().for_each(|known| known.dirty = true);
    }
}
