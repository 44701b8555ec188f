//! What is saved of the SLOs.

use shoalwatch_core::Millis;
use shoalwatch_core::reports::CumulativeReports;
use tracing::error;

use super::observe::Slos;
use crate::history::Snapshot;

impl Slos {
    /// Begins with the counts that an earlier process kept.
    pub(crate) fn remembering(reports: CumulativeReports, term: u64, now: Millis) -> Self {
        let heard = reports.worker_ids().map(|worker| (worker.clone(), now)).collect();
        Self {
            reports,
            heard,
            term,
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
