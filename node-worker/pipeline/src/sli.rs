//! Good and bad requests, counted for each SLO and each revision of its workload.
//!
//! Counts are cumulative since the worker's start and never go back, so a report may be sent twice, late or never and the
//! receiver's differences are still what was counted. A report has the rows that changed since the last one that its
//! receiver acknowledged: each replica of the operator is a receiver of its own.
//! A request that was lost is counted as `incomplete`, never as good.

mod report;

use crate::matching::StatusSet;
use crate::request::{PodId, Request, Status};
use shoalwatch_ebpf_common::{BOUNDS_NS, BUCKETS, bucket};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use report::{Receiver, Report, ReportRow};

/// What is counted as good and bad for one SLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliDefinition {
    /// Stable for the life of the SLO.
    pub id: Arc<str>,
    /// All others are good: answers with another status, and aborted requests where they are not named.
    pub bad: StatusSet,
    /// Answers beyond it are bad too; absent: durations do not matter.
    pub threshold: Option<Threshold>,
    /// Route templates that are counted; empty: all.
    pub routes: Vec<Box<str>>,
}

/// The longest duration that is in time. It is a bound of the duration histograms, so what the kernel counted is judged exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Buckets up to it.
    in_time: usize,
}

impl Threshold {
    /// Nothing where no bucket ends at so many nanoseconds.
    #[must_use]
    pub fn at(nanoseconds: u64) -> Option<Self> {
        let last = BOUNDS_NS.iter().position(|bound| *bound == nanoseconds)?;
        Some(Self { in_time: last + 1 })
    }
}

/// Bounds of [`SliCounters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliLimits {
    /// Pairs of SLI and revision.
    pub rows: usize,
    /// Pods of one row.
    pub pods_per_row: usize,
    /// Rows of one report; the rest follows with the next.
    pub rows_per_report: usize,
    /// Receivers whose acknowledgements are remembered; what a further one acknowledges is sent to it again.
    pub receivers: usize,
}

impl Default for SliLimits {
    fn default() -> Self {
        Self {
            rows: 4096,
            pods_per_row: 1024,
            rows_per_report: 4096,
            receivers: 16,
        }
    }
}

/// A pair of SLI and revision. Never used again for another pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(u64);

/// Why there is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRow {
    /// The configuration in force has no such SLI.
    #[error("the configuration in force has no SLI of this id")]
    UnknownSli,
    /// [`SliLimits::rows`] are in use.
    #[error("all rows for SLIs and revisions are in use: raise the limit or have fewer SLOs")]
    Full,
}

impl NoRow {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::UnknownSli => "unknown_sli",
            Self::Full => "full",
        }
    }
}

/// What a request was for an SLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A good answer.
    Good,
    /// A bad answer.
    Bad,
    /// The SLI is about other routes.
    NotMeant,
    /// The row's SLI is not in force any more.
    NoRow,
}

/// The counters of all SLIs on this node.
#[derive(Debug)]
pub struct SliCounters {
    limits: SliLimits,
    slis: HashMap<Arc<str>, Sli>,
    rows: BTreeMap<RowId, Row>,
    next_row: u64,
    /// The report that will be the first to show what changes now.
    next_report: u64,
    receivers: BTreeMap<Receiver, Heard>,
}

/// What a receiver has.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    acknowledged: u64,
    /// Where the next report begins, so that all rows get their turn in short reports.
    cursor: RowId,
}

#[derive(Debug)]
struct Sli {
    definition: Arc<SliDefinition>,
    /// Not in force any more. The counts are kept while there is room: were it to come back, they must not begin again.
    retired: bool,
    revisions: HashMap<Arc<str>, RowId>,
}

#[derive(Debug)]
struct Row {
    sli: Arc<str>,
    revision: Arc<str>,
    /// Absent: not in force any more.
    definition: Option<Arc<SliDefinition>>,
    good: u64,
    bad: u64,
    incomplete: u64,
    /// Pods under observation, and whether they ever gave a bad answer.
    pods: HashMap<PodId, bool>,
    /// The first report that shows the latest change.
    changed_in: u64,
}

impl SliCounters {
    /// Without any SLI. The first report will have sequence 1.
    #[must_use]
    pub fn new(limits: SliLimits) -> Self {
        Self {
            limits,
            slis: HashMap::new(),
            rows: BTreeMap::new(),
            next_row: 0,
            next_report: 1,
            receivers: BTreeMap::new(),
        }
    }

    /// Puts these SLIs in force and no others. Counts of an SLI that stays go on, also under a changed definition.
    pub fn configure(&mut self, definitions: impl IntoIterator<Item = SliDefinition>) {
        self.slis.values_mut().for_each(|sli| sli.retired = true);
        for definition in definitions {
            let definition = Arc::new(definition);
            let sli = self.slis.entry(Arc::clone(&definition.id)).or_insert_with(|| Sli {
                definition: Arc::clone(&definition),
                retired: false,
                revisions: HashMap::new(),
            });
            sli.retired = false;
            sli.definition = definition;
        }
        // An SLI without rows has nothing to be kept.
        self.slis.retain(|_, sli| !sli.retired || !sli.revisions.is_empty());
        for row in self.rows.values_mut() {
            let in_force = self.slis.get(&row.sli).filter(|sli| !sli.retired);
            if in_force.is_some() && row.definition.is_none() {
                row.changed_in = self.next_report;
            }
            row.definition = in_force.map(|sli| Arc::clone(&sli.definition));
        }
    }

    /// The row of an SLI in force for a revision, made on first use. Rows of SLIs out of force make room, oldest first.
    pub fn row(&mut self, sli: &str, revision: &str) -> Result<RowId, NoRow> {
        let known = self.slis.get(sli).filter(|sli| !sli.retired).ok_or(NoRow::UnknownSli)?;
        if let Some(row) = known.revisions.get(revision) {
            return Ok(*row);
        }
        self.make_room()?;
        let known = self.slis.get_mut(sli).ok_or(NoRow::UnknownSli)?;
        let id = RowId(self.next_row);
        self.next_row += 1;
        let row = Row::new(&known.definition, revision, self.next_report);
        known.revisions.insert(Arc::clone(&row.revision), id);
        self.rows.insert(id, row);
        Ok(id)
    }

    fn make_room(&mut self) -> Result<(), NoRow> {
        if self.rows.len() < self.limits.rows {
            return Ok(());
        }
        let retired = self
            .rows
            .iter()
            .find(|(_, row)| row.definition.is_none())
            .map(|(id, _)| *id);
        let row = retired.and_then(|id| self.rows.remove(&id)).ok_or(NoRow::Full)?;
        if let Some(sli) = self.slis.get_mut(&row.sli) {
            sli.revisions.remove(&row.revision);
        }
        Ok(())
    }

    /// Counts an answer of a pod.
    pub fn record(&mut self, row: RowId, pod: PodId, request: &Request<'_>) -> Counted {
        let mut answers = [0; BUCKETS];
        answers[bucket(request.duration_ns())] = 1;
        self.record_many(row, pod, request.template, request.status, &answers)
    }

    /// Counts answers of a pod that differ in nothing that matters here but their durations: how many there are per bucket.
    /// [`Counted::Good`] when all of them were.
    pub fn record_many(
        &mut self,
        row: RowId,
        pod: PodId,
        template: &str,
        status: Status,
        answers: &[u64; BUCKETS],
    ) -> Counted {
        let Some(row) = self.rows.get_mut(&row) else {
            return Counted::NoRow;
        };
        let Some(definition) = &row.definition else {
            return Counted::NoRow;
        };
        if !definition.is_about(template) {
            return Counted::NotMeant;
        }
        let (good, bad) = definition.judge(status, answers);
        row.changed_in = self.next_report;
        row.good += good;
        if bad == 0 {
            return Counted::Good;
        }
        row.bad += bad;
        if let Some(was_bad) = row.pods.get_mut(&pod) {
            *was_bad = true;
        }
        Counted::Bad
    }

    /// Counts requests that were lost before they could be judged, when it is known whose they were.
    pub fn lose(&mut self, row: RowId, lost: u64) {
        let in_force = self
            .rows
            .get_mut(&row)
            .filter(|row| row.definition.is_some() && lost > 0);
        if let Some(row) = in_force {
            row.incomplete += lost;
            row.changed_in = self.next_report;
        }
    }

    /// Counts requests that were lost and could have been anybody's: for every row that has pods under observation.
    pub fn lose_everywhere(&mut self, lost: u64) {
        let watched: Vec<RowId> = self
            .rows
            .iter()
            .filter(|(_, row)| !row.pods.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for row in watched {
            self.lose(row, lost);
        }
    }

    /// A pod of the row's revision is under observation from now on. False: more pods than [`SliLimits::pods_per_row`], or no row.
    pub fn observe_pod(&mut self, row: RowId, pod: PodId) -> bool {
        let (limit, next_report) = (self.limits.pods_per_row, self.next_report);
        let Some(row) = self.rows.get_mut(&row) else {
            return false;
        };
        if row.pods.contains_key(&pod) {
            return true;
        }
        let fits = row.pods.len() < limit;
        if fits {
            row.pods.insert(pod, false);
            row.changed_in = next_report;
        }
        fits
    }

    /// A pod is gone: from all rows.
    pub fn forget_pod(&mut self, pod: PodId) {
        for row in self.rows.values_mut() {
            if row.pods.remove(&pod).is_some() {
                row.changed_in = self.next_report;
            }
        }
    }

    /// Rows in use, for a fullness metric against [`SliLimits::rows`].
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> SliLimits {
        self.limits
    }
}

impl SliDefinition {
    fn is_about(&self, template: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|route| **route == *template)
    }

    /// How many answers with one status are good and how many bad.
    fn judge(&self, status: Status, answers: &[u64; BUCKETS]) -> (u64, u64) {
        let in_time = match self.threshold {
            _ if self.bad.contains(status) => 0,
            Some(threshold) => threshold.in_time,
            None => BUCKETS,
        };
        let (good, bad) = answers.split_at(in_time);
        (good.iter().sum(), bad.iter().sum())
    }
}

impl Row {
    fn new(definition: &Arc<SliDefinition>, revision: &str, changed_in: u64) -> Self {
        Self {
            sli: Arc::clone(&definition.id),
            revision: revision.into(),
            definition: Some(Arc::clone(definition)),
            good: 0,
            bad: 0,
            incomplete: 0,
            pods: HashMap::new(),
            changed_in,
        }
    }
}

#[cfg(test)]
mod tests;
