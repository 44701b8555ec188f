//! Takes in what workers count.

use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::reports::{Placement, Report, Row};
use shoalwatch_core::{Counts, Millis, Revision, SliId, StartId, WorkerId};
use shoalwatch_node_api::wire::{SliReport, SliRow};

use super::observe::Slos;
use crate::controllers::world::Name;

/// A worker that was not heard of for so long is forgotten: its node is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// How long a worker is asked to send rows again whose SLO is not known (yet): the leader may know of a new one first, and a
/// row that was acknowledged is not sent again before it changes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Indicators that are waited for at most.
const STRANGERS: usize = 512;

/// What became of a report.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// The SLOs that it says something new of.
    pub(crate) touched: BTreeSet<Name>,
    /// The worker should send it again: the SLO of a row may be known then.
    pub(crate) again: bool,
}

impl Slos {
    /// Takes in one report of a node.
    pub(crate) fn ingest(&mut self, node: &str, report: SliReport, now: Millis) -> Ingested {
        let worker = WorkerId::from(node);
        self.heard.insert(worker.clone(), now);
        let all = report.rows.len();
        let again = self.waits_for(&report.rows, now);
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
            since_start: (report.start_age_ms > 0).then(|| Duration::from_millis(report.start_age_ms)),
            rows,
        };
        for difference in self.reports.ingest(&report, now) {
            let Some(name) = self.by_sli.get(&difference.sli) else {
                continue;
            };
            if let Some(known) = self.known.get_mut(name) {
                known.history.record(&difference, now);
                let (Placement::At(at) | Placement::Before(at)) = difference.placement;
                known.saved_to = known.saved_to.map(|before| before.min(at));
                known.counts += difference.counts;
                known.dirty = true;
                touched.insert(name.clone());
            }
        }
        self.reports_dirty = true;
        Ingested { touched, again }
    }

    fn waits_for(&mut self, rows: &[SliRow], now: Millis) -> bool {
        let mut again = false;
        for row in rows {
            let sli = SliId::from(row.sli_id.as_str());
            if self.by_sli.contains_key(&sli) {
                continue;
            }
            let room = self.strangers.len() < STRANGERS;
            match self.strangers.get(&sli) {
                Some(since) => again |= now.since(*since) < PATIENCE,
                None if room => {
                    self.strangers.insert(sli, now);
                    again = true;
                }
                None => {}
            }
        }
        again
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

    /// Forgets workers whose nodes are gone, and indicators that nobody waits for any more.
    pub(crate) fn forget_silent_workers(&mut self, now: Millis) {
        self.strangers.retain(|_, since| now.since(*since) < PATIENCE);
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
