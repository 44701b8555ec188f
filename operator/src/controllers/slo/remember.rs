//! What is saved of the SLOs.

use std::collections::HashSet;

use shoalwatch_core::Millis;
use shoalwatch_core::reports::CumulativeReports;
use tracing::error;

use super::observe::{Known, Slos};
use crate::history::Snapshot;

/// Bytes of what is new in windows, beyond which they are saved whole again.
const TAIL: usize = 4 << 10;
/// Nothing was counted since the windows were saved whole.
const NOTHING_NEW: Millis = Millis(i64::MAX);

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
                Ok(record) => match known.tail() {
                    Some(tail) => snapshot.tails.push((known.uid.clone(), record, tail)),
                    None => snapshot.slos.push((known.uid.clone(), record, known.history.encode())),
                },
                Err(error) => error!(%error, "record not written"),
            }
        }
        snapshot
    }

    /// Everything that changed is on its way to the disk, in this snapshot.
    pub(crate) fn mark_saved(&mut self, snapshot: &Snapshot) {
        self.reports_dirty = false;
        let whole: HashSet<&String> = snapshot.slos.iter().map(|(uid, ..)| uid).collect();
        for known in self.known.values_mut().filter(|known| known.dirty) {
            known.dirty = false;
            if whole.contains(&known.uid) {
                known.saved_to = Some(NOTHING_NEW);
            }
        }
    }

    /// It did not arrive there.
    pub(crate) fn mark_unsaved(&mut self) {
        self.reports_dirty = true;
        for known in self.known.values_mut() {
            (known.dirty, known.saved_to) = (true, None);
        }
    }
}

impl Known {
    /// What is new in the windows since they were saved whole, if that is little.
    fn tail(&self) -> Option<Vec<u8>> {
        let tail = self.history.tail(self.saved_to?);
        (tail.len() <= TAIL).then_some(tail)
    }
}
