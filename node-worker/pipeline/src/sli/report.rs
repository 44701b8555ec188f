use super::{Row, RowId, SliCounters};
use std::sync::Arc;

/// What changed, to be sent to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From 1, one higher with every report.
    pub sequence: u64,
    /// Cumulative rows.
    pub rows: Vec<ReportRow>,
}

/// One pair of SLI and revision. All counts are cumulative since the worker's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The SLI's id.
    pub sli: Arc<str>,
    /// The revision of the pods.
    pub revision: Arc<str>,
    /// Good answers.
    pub good: u64,
    /// Bad answers.
    pub bad: u64,
    /// Requests that were lost before they could be judged.
    pub incomplete: u64,
    /// Pods under observation now.
    pub pods: u32,
    /// Of those, pods that ever gave a bad answer.
    pub bad_pods: u32,
}

impl SliCounters {
    /// Whether there is anything that was not acknowledged yet.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.rows
            .values()
            .any(|row| row.is_reported() && row.changed_in > self.acknowledged)
    }

    /// The rows that changed since the last acknowledged report, at most [`super::SliLimits::rows_per_report`] of them. Rows are in
    /// every report until one with their latest change is acknowledged.
    pub fn report(&mut self) -> Report {
        let sequence = self.next_report;
        self.next_report += 1;
        let due: Vec<RowId> = self.due().collect();
        let (now, later) = due.split_at(due.len().min(self.limits.rows_per_report.max(1)));
        // What this report leaves out must not be taken as acknowledged with it.
        for id in later {
            if let Some(row) = self.rows.get_mut(id) {
                row.changed_in = self.next_report;
            }
        }
        if let Some(next) = later.first() {
            self.cursor = *next;
        }
        let rows = now.iter().filter_map(|id| self.rows.get(id)).map(Row::report).collect();
        Report { sequence, rows }
    }

    fn due(&self) -> impl Iterator<Item = RowId> + '_ {
        let (after, before) = (self.rows.range(self.cursor..), self.rows.range(..self.cursor));
        after
            .chain(before)
            .filter(|(_, row)| row.is_reported() && row.changed_in > self.acknowledged)
            .map(|(id, _)| *id)
    }

    /// The receiver has this report. Late and repeated acknowledgements, and those of reports that were never made, do nothing.
    pub fn acknowledge(&mut self, sequence: u64) {
        if sequence < self.next_report {
            self.acknowledged = self.acknowledged.max(sequence);
        }
    }

    /// A receiver that may know nothing (another operator leads): the next reports have all rows.
    pub fn report_all_again(&mut self) {
        for row in self.rows.values_mut() {
            row.changed_in = self.next_report;
        }
    }
}

impl Row {
    /// Rows of SLIs out of force are nobody's business.
    const fn is_reported(&self) -> bool {
        self.definition.is_some()
    }

    fn report(&self) -> ReportRow {
        // Counts of pods are far below 2^32: see `SliLimits::pods_per_row`.
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        ReportRow {
            sli: Arc::clone(&self.sli),
            revision: Arc::clone(&self.revision),
            good: self.good,
            bad: self.bad,
            incomplete: self.incomplete,
            pods: count(self.pods.len()),
            bad_pods: count(self.pods.values().filter(|bad| **bad).count()),
        }
    }
}
