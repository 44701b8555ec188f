use super::{Heard, Row, RowId, SliCounters};
use std::sync::Arc;

/// Where reports go: one stream to one replica of the operator. A stream that is opened again is another receiver, because
/// nobody knows what the replica behind it still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver(pub u64);

/// What changed, to be sent to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From 1, higher with every report to anybody.
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
    /// Whether there is anything that `receiver` did not acknowledge yet.
    #[must_use]
    pub fn has_changes(&self, receiver: Receiver) -> bool {
        self.due(self.heard(receiver)).next().is_some()
    }

    /// The rows that changed since the last report that `receiver` acknowledged, at most [`super::SliLimits::rows_per_report`]
    /// of them; one that never was here gets all. Rows are in every report until one with their latest change is acknowledged.
    pub fn report(&mut self, receiver: Receiver) -> Report {
        let sequence = self.next_report;
        self.next_report += 1;
        let heard = self.heard(receiver);
        let due: Vec<RowId> = self.due(heard).collect();
        let (now, later) = due.split_at(due.len().min(self.limits.rows_per_report.max(1)));
        // What this report leaves out must not be taken as acknowledged with it.
        for id in later {
            if let Some(row) = self.rows.get_mut(id) {
                row.changed_in = self.next_report;
            }
        }
        let cursor = later.first().copied().unwrap_or(heard.cursor);
        self.remember(receiver, Heard { cursor, ..heard });
        let rows = now.iter().filter_map(|id| self.rows.get(id)).map(Row::report).collect();
        Report { sequence, rows }
    }

    /// Every row of the SLIs in force.
    pub fn reported(&self) -> impl Iterator<Item = ReportRow> + '_ {
        self.rows.values().filter(|row| row.is_reported()).map(Row::report)
    }

    fn heard(&self, receiver: Receiver) -> Heard {
        self.receivers.get(&receiver).copied().unwrap_or_default()
    }

    fn remember(&mut self, receiver: Receiver, heard: Heard) {
        if self.receivers.len() < self.limits.receivers || self.receivers.contains_key(&receiver) {
            self.receivers.insert(receiver, heard);
        }
    }

    fn due(&self, heard: Heard) -> impl Iterator<Item = RowId> + '_ {
        let (after, before) = (self.rows.range(heard.cursor..), self.rows.range(..heard.cursor));
        after
            .chain(before)
            .filter(move |(_, row)| row.is_reported() && row.changed_in > heard.acknowledged)
            .map(|(id, _)| *id)
    }

    /// `receiver` has this report. Late and repeated acknowledgements, those of reports that were never made, and those of a
    /// receiver that left do nothing.
    pub fn acknowledge(&mut self, receiver: Receiver, sequence: u64) {
        let next_report = self.next_report;
        if let Some(heard) = self.receivers.get_mut(&receiver).filter(|_| sequence < next_report) {
            heard.acknowledged = heard.acknowledged.max(sequence);
        }
    }

    /// Nothing more is sent to `receiver`.
    pub fn leave(&mut self, receiver: Receiver) {
        self.receivers.remove(&receiver);
    }

    /// Receivers remembered, for a fullness metric against [`super::SliLimits::receivers`].
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.receivers.len()
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
