//! Workers' cumulative counts, turned into differences exactly once.
//!
//! A worker counts from zero at each start and sends the rows that changed since the last acknowledged report. For each
//! {worker, start, indicator, revision} the greatest count seen is kept, member by member, and only what lies above it is
//! passed on. Taking the greatest makes resending, reordering, gaps and reconnecting harmless: after any delivery of a set of
//! rows the differences sum to the greatest row. A new start begins at zero beside the old one.
//!
//! **When** a difference happened is the report's arrival by the operator's clock, less the report's age: a worker reports at
//! least every 10 s, so it is new since the report before. Where the report before was made more than [`MOMENT`] earlier, by
//! the worker's own steady clock (the connection was lost, the operator was away, or it lost its disk), nobody knows: such a
//! difference is [`Placement::Before`], so that the long windows and the totals count it and the short windows do not take
//! hours for a moment.
//!
//! **Two replicas** hear the same workers. One that copies another's counts goes on with [`CumulativeReports::united`], and
//! with one of both histories, to which it adds what the other replica heard [above](CumulativeReports::above) it.
//!
//! **Bounds** ([`Limits`]): workers, starts per worker, rows per start. At its row limit a start gives up its least recently
//! changed row; from then on its unknown rows only set a baseline, so that a row that comes back is never counted twice, at
//! the price of one report of a new row. The same goes for a start whose worker was forgotten. Every such loss is in
//! [`Losses`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Counts, Millis, Revision, SliId, StartId, WorkerId};

mod unite;

/// A worker's claim to more requests in one report is garbage: a thousand years at 30 req/s, a day at 12 million.
const MAX_DIFFERENCE: u64 = 1 << 40;
/// The oldest a report may call itself.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Ended starts whose name is remembered, so that a late report of theirs is refused.
const CLOSED_STARTS: usize = 16;
/// Starts of forgotten workers whose name is remembered, so that they are not counted from zero if they come back.
const FORGOTTEN_STARTS: usize = 8_192;
/// The longest time between two reports after which what is new still has a time.
pub const MOMENT: Duration = Duration::from_secs(30);

/// One report of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub worker: WorkerId,
    /// Its start.
    pub start: StartId,
    /// Rises by one with every report of a start, from 1.
    pub sequence: u64,
    /// Between the newest count in the rows and the sending, by the worker's clock; beyond an hour it is an hour.
    pub age: Duration,
    /// Since the worker's start, by the worker's clock: no count is older. `None`: the worker does not say.
    pub since_start: Option<Duration>,
    /// Rows that changed.
    pub rows: Vec<Row>,
}

/// Cumulative counts of one revision under one indicator, on one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The indicator.
    pub sli: SliId,
    /// The pods' template hash.
    pub revision: Revision,
    /// Since the worker's start.
    pub counts: Counts,
    /// Pods of this revision under observation on the node now.
    pub pods: u32,
    /// Of those, pods that ever gave a bad answer.
    pub bad_pods: u32,
}

/// When a difference happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// About then.
    At(Millis),
    /// Some time before then; nobody knows when.
    Before(Millis),
}

/// What is new in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The indicator.
    pub sli: SliId,
    /// The revision.
    pub revision: Revision,
    /// The worker that saw it.
    pub worker: WorkerId,
    /// Requests not passed on before.
    pub counts: Counts,
    /// As in [`Row`].
    pub bad_pods: u32,
    /// When it happened.
    pub placement: Placement,
}

/// The most that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Workers; more are refused.
    pub workers: usize,
    /// Starts of one worker; the oldest is closed.
    pub starts: usize,
    /// Rows of one start; the least recently changed is given up.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 5_000,
            starts: 3,
            rows: 4_096,
        }
    }
}

/// What was not passed on, since this value was made; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Reports of workers beyond [`Limits::workers`].
    pub worker_limit: u64,
    /// Reports of a start that was closed.
    pub closed_start: u64,
    /// Rows given up at [`Limits::rows`].
    pub evicted_rows: u64,
    /// Rows that only set a baseline, because their start had given up rows.
    pub uncounted_rows: u64,
    /// Rows that claim an impossible difference.
    pub implausible_rows: u64,
}

/// Everything known of workers' counts. Persist it in one transaction with the history fed from it, and acknowledge a report
/// only after that: then a crash at any point loses nothing and counts nothing twice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct CumulativeReports {
    workers: BTreeMap<WorkerId, Worker>,
    /// Who reported of an indicator; whoever gave its rows up may be among them.
    #[serde(skip)]
    reporters: BTreeMap<SliId, BTreeSet<WorkerId>>,
    forgotten: VecDeque<StartId>,
    #[serde(skip)]
    limits: Limits,
    #[serde(skip)]
    losses: Losses,
}

/// As it is kept on disk.
#[derive(Deserialize)]
struct Saved {
    workers: BTreeMap<WorkerId, Worker>,
    #[serde(default)]
    forgotten: VecDeque<StartId>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Worker {
    /// Oldest first; the last is the current one.
    starts: VecDeque<Start>,
    closed: VecDeque<StartId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Start {
    id: StartId,
    /// How long after the start its newest report was made: everything older is known.
    #[serde(default)]
    told: Option<Duration>,
    /// A row was given up: an unknown row may be an old one.
    leaky: bool,
    /// Rises with every changed row; orders rows by their last change.
    changes: u64,
    rows: BTreeMap<SliId, BTreeMap<Revision, Kept>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    counts: Counts,
    pods: u32,
    bad_pods: u32,
    changed: u64,
    /// The report that last set the gauges.
    sequence: u64,
}

impl CumulativeReports {
    /// Nothing known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a report that arrived `now` and returns what is new in it.
    pub fn ingest(&mut self, report: &Report, now: Millis) -> Vec<Difference> {
        let at = now.minus(report.age.min(MAX_AGE));
        let (limits, losses) = (self.limits, &mut self.losses);
        if !self.workers.contains_key(&report.worker) && self.workers.len() >= limits.workers {
            losses.worker_limit += 1;
            return Vec::new();
        }
        let leaky = self.forgotten.contains(&report.start);
        let worker = self.workers.entry(report.worker.clone()).or_default();
        let Some(start) = worker.start(&report.start, leaky, limits.starts) else {
            losses.closed_start += 1;
            return Vec::new();
        };
        let placement = start.placement(report, at);
        start.told = start.told.max(report.since_start).or(Some(Duration::ZERO));
        for row in report.rows.iter().filter(|row| !start.rows.contains_key(&row.sli)) {
            let reporters = self.reporters.entry(row.sli.clone()).or_default();
            reporters.insert(report.worker.clone());
        }
        report
            .rows
            .iter()
            .filter_map(|row| start.take(row, report, placement, limits.rows, losses))
            .collect()
    }

    /// Pods of `revision` that workers for which `alive` holds have under observation.
    pub fn observed_pods(&self, sli: &SliId, revision: &Revision, alive: impl Fn(&WorkerId) -> bool) -> u32 {
        let reporters = self.reporters.get(sli).into_iter().flatten();
        let current = reporters
            .filter(|id| alive(id))
            .filter_map(|id| self.workers.get(id)?.starts.back());
        let kept = current.filter_map(|start| start.rows.get(sli)?.get(revision));
        kept.fold(0, |sum, kept| sum.saturating_add(kept.pods))
    }

    /// Drops a worker whose node is gone. Should it come back under the same start, what it counted until then is not counted
    /// again, and what it counted meanwhile is lost.
    pub fn forget_worker(&mut self, worker: &WorkerId) {
        let starts = self.workers.remove(worker).into_iter().flat_map(|worker| worker.starts);
        self.forgotten.extend(starts.map(|start| start.id));
        let surplus = self.forgotten.len().saturating_sub(FORGOTTEN_STARTS);
        self.forgotten.drain(..surplus);
        self.reporters.retain(|_, workers| {
            workers.remove(worker);
            !workers.is_empty()
        });
    }

    /// Drops an indicator whose SLO is gone.
    pub fn forget_sli(&mut self, sli: &SliId) {
        for start in self.workers.values_mut().flat_map(|worker| &mut worker.starts) {
            start.rows.remove(sli);
        }
        self.reporters.remove(sli);
    }

    /// Workers known.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Their names.
    pub fn worker_ids(&self) -> impl Iterator<Item = &WorkerId> {
        self.workers.keys()
    }

    /// Rows kept over all workers, for a fullness metric.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.workers
            .values()
            .flat_map(|worker| &worker.starts)
            .map(Start::len)
            .sum()
    }

    /// What was not passed on.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }
}

impl From<Saved> for CumulativeReports {
    fn from(Saved { workers, forgotten }: Saved) -> Self {
        let mut reports = Self {
            workers,
            forgotten,
            ..Self::default()
        };
        for (id, worker) in &reports.workers {
            for sli in worker.starts.iter().flat_map(|start| start.rows.keys()) {
                reports.reporters.entry(sli.clone()).or_default().insert(id.clone());
            }
        }
        reports
    }
}

impl Worker {
    /// The named start, opened if it is new; `None` for one that was closed.
    fn start(&mut self, id: &StartId, leaky: bool, max: usize) -> Option<&mut Start> {
        if self.closed.contains(id) {
            return None;
        }
        let position = self.starts.iter().position(|start| start.id == *id);
        let position = position.unwrap_or_else(|| {
            self.close_down_to(max.max(1) - 1);
            self.starts.push_back(Start::new(id.clone(), leaky));
            self.starts.len() - 1
        });
        self.starts.get_mut(position)
    }

    fn close_down_to(&mut self, most: usize) {
        while self.starts.len() > most {
            let Some(oldest) = self.starts.pop_front() else { break };
            self.closed.push_back(oldest.id);
        }
        while self.closed.len() > CLOSED_STARTS {
            self.closed.pop_front();
        }
    }
}

impl Start {
    fn new(id: StartId, leaky: bool) -> Self {
        Self {
            id,
            told: None,
            leaky,
            changes: 0,
            rows: BTreeMap::new(),
        }
    }

    /// When that happened of which nothing was heard before `report`.
    fn placement(&self, report: &Report, at: Millis) -> Placement {
        let within = match (report.since_start, self.told) {
            (Some(made), told) => made.saturating_sub(told.unwrap_or_default()) <= MOMENT,
            // An older worker: its first report may cover hours, the others do not.
            (None, told) => told.is_some(),
        };
        if within {
            Placement::At(at)
        } else {
            Placement::Before(at)
        }
    }

    fn take(
        &mut self,
        row: &Row,
        report: &Report,
        placement: Placement,
        max: usize,
        losses: &mut Losses,
    ) -> Option<Difference> {
        let known = self
            .rows
            .get(&row.sli)
            .and_then(|revisions| revisions.get(&row.revision));
        let before = known.map_or_else(Counts::default, |kept| kept.counts);
        let new = row.counts.above(before);
        if [new.good, new.bad, new.incomplete]
            .iter()
            .any(|&count| count > MAX_DIFFERENCE)
        {
            losses.implausible_rows += 1;
            return None;
        }
        let (unknown, leaky) = (known.is_none(), self.leaky);
        self.keep(row, report.sequence, max, losses);
        if unknown && leaky {
            losses.uncounted_rows += 1;
            return None;
        }
        (!new.is_empty()).then(|| Difference {
            sli: row.sli.clone(),
            revision: row.revision.clone(),
            worker: report.worker.clone(),
            counts: new,
            bad_pods: row.bad_pods,
            placement,
        })
    }

    fn keep(&mut self, row: &Row, sequence: u64, max: usize, losses: &mut Losses) {
        self.changes += 1;
        let changed = self.changes;
        if let Some(kept) = self
            .rows
            .get_mut(&row.sli)
            .and_then(|revisions| revisions.get_mut(&row.revision))
        {
            kept.counts = kept.counts.greatest(row.counts);
            kept.changed = changed;
            // Gauges may fall, so the newest report decides, not the greatest value.
            if sequence >= kept.sequence {
                (kept.pods, kept.bad_pods, kept.sequence) = (row.pods, row.bad_pods, sequence);
            }
            return;
        }
        while self.len() >= max.max(1) {
            self.give_up_oldest();
            losses.evicted_rows += 1;
        }
        let kept = Kept {
            counts: row.counts,
            pods: row.pods,
            bad_pods: row.bad_pods,
            changed,
            sequence,
        };
        self.rows
            .entry(row.sli.clone())
            .or_default()
            .insert(row.revision.clone(), kept);
    }

    fn give_up_oldest(&mut self) {
        self.leaky = true;
        let rows = self
            .rows
            .iter()
            .flat_map(|(sli, revisions)| revisions.iter().map(move |row| (sli, row)));
        let oldest = rows.min_by_key(|(_, (_, kept))| kept.changed);
        let Some((sli, revision)) = oldest.map(|(sli, (revision, _))| (sli.clone(), revision.clone())) else {
            return;
        };
        if let Some(revisions) = self.rows.get_mut(&sli) {
            revisions.remove(&revision);
            if revisions.is_empty() {
                self.rows.remove(&sli);
            }
        }
    }

    fn len(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }
}
