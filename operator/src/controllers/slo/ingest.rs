//! Takes in what workers count.

use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::reports::{Report, Row};
use shoalwatch_core::{Counts, Millis, Revision, SliId, StartId, WorkerId};
use shoalwatch_node_api::wire::{SliReport, SliRow};

use super::observe::Slos;
use crate::controllers::world::Name;

/// A worker that was not heard of for so long is forgotten: its node is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

impl Slos {
    /// Takes in one report of a node. Returns the SLOs that it says something new of.
    pub(crate) fn ingest(&mut self, node: &str, report: SliReport, now: Millis) -> BTreeSet<Name> {
        let worker = WorkerId::from(node);
        self.heard.insert(worker.clone(), now);
        let all = report.rows.len();
        let rows: Vec<Row> = report.rows.into_iter().filter_map(|sent| self.row(sent)).collect();
        self.unknown_rows += u64::try_from(all - rows.len()).unwrap_or(u64::MAX);
        let mut touched: BTreeSet<Name> = rows
            .iter()
            .filter_map(|row| self.by_sli.get(&row.sli))
            .cloned()
            .collect();
        let report = Report {
            worker,
            start: StartId::from(report.start_id),
            sequence: report.sequence,
            age: Duration::from_millis(report.age_ms),
            rows,
        };
        for difference in self.reports.ingest(&report, now) {
            let Some(name) = self.by_sli.get(&difference.sli) else {
                continue;
            };
            if let Some(known) = self.known.get_mut(name) {
                known.history.record(&difference, now);
                known.counts += difference.counts;
                known.dirty = true;
                touched.insert(name.clone());
            }
        }
        self.reports_dirty = true;
        touched
    }

    /// Rows of indicators that no SLO has (any more) would only fill memory.
    fn row(&self, sent: SliRow) -> Option<Row> {
        let sli = SliId::from(sent.sli_id);
        self.by_sli.contains_key(&sli).then(|| Row {
            sli,
            revision: Revision::from(sent.revision),
            counts: Counts {
                good: sent.good,
                bad: sent.bad,
                incomplete: sent.incomplete,
            },
            pods: sent.pods,
            bad_pods: sent.bad_pods,
        })
    }

    /// Forgets workers whose nodes are gone.
    pub(crate) fn forget_silent_workers(&mut self, now: Millis) {
        let silent = self
            .heard
            .iter()
            .filter(|(_, last)| now.since(**last) > FORGOTTEN_AFTER);
        let silent: Vec<WorkerId> = silent.map(|(worker, _)| worker.clone()).collect();
        for worker in silent {
            self.heard.remove(&worker);
            self.reports.forget_worker(&worker);
            self.reports_dirty = true;
        }
    }
}
