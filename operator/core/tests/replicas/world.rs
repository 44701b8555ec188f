//! The model, and what holds of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use shoalwatch_core::handover::{self, Side};
use shoalwatch_core::history::History;
use shoalwatch_core::reports::{CumulativeReports, Difference, Limits, MOMENT, Placement, Report, Row};
use shoalwatch_core::{Counts, Millis, Revision, SliId, WorkerId};

const WORKERS: usize = 3;
const REPLICAS: usize = 3;
const START: Millis = Millis(1_800_000_000_000);
const SLI: &str = "shop/checkout@1";

#[derive(Clone, Debug)]
enum Step {
    /// A worker judges requests of a revision.
    Count {
        worker: usize,
        revision: u8,
        good: u8,
        bad: u8,
    },
    /// Time passes.
    Pass(u16),
    /// A worker reports to a replica what that did not acknowledge. The report may be lost.
    Report { worker: usize, replica: usize },
    /// Any report that was ever sent to a replica arrives: late, in another order, again.
    Deliver { replica: usize, which: Index },
    /// What a replica heard is on its disk, and acknowledged.
    Save(usize),
    /// A stream is opened again: everything is due.
    Reconnect { worker: usize, replica: usize },
    /// A worker stops, says its last words, and begins at zero.
    Restart(usize),
    /// A replica is killed and begins with what its disk has, with a clock that is hours off.
    Kill { replica: usize, clock: i16 },
    /// So it does with an empty disk, and nobody to copy from.
    LoseDisk { replica: usize, clock: i16 },
    /// It copies what another replica has on its disk, beside what it has itself.
    Copy { replica: usize, from: usize, decides: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (worker, replica) = (|| 0..WORKERS, || 0..REPLICAS);
    prop_oneof![
        8 => (worker(), 0_u8..2, 0_u8..9, 0_u8..3)
            .prop_map(|(worker, revision, good, bad)| Step::Count { worker, revision, good, bad }),
        4 => prop_oneof![4 => 1_u16..15, 1 => 1_u16..9_999].prop_map(Step::Pass),
        8 => (worker(), replica()).prop_map(|(worker, replica)| Step::Report { worker, replica }),
        8 => (replica(), any::<Index>()).prop_map(|(replica, which)| Step::Deliver { replica, which }),
        4 => replica().prop_map(Step::Save),
        2 => (worker(), replica()).prop_map(|(worker, replica)| Step::Reconnect { worker, replica }),
        1 => worker().prop_map(Step::Restart),
        1 => (replica(), -300_i16..300).prop_map(|(replica, clock)| Step::Kill { replica, clock }),
        1 => (replica(), -300_i16..300).prop_map(|(replica, clock)| Step::LoseDisk { replica, clock }),
        2 => (replica(), replica(), any::<bool>())
            .prop_map(|(replica, from, decides)| Step::Copy { replica, from, decides }),
    ]
}

type Rows = BTreeMap<Revision, Counts>;

#[derive(Clone, Default)]
struct Worker {
    start: usize,
    began: u64,
    sequence: u64,
    rows: Rows,
    /// When each total of a row was reached.
    log: BTreeMap<Revision, Vec<(u64, u64)>>,
}

/// What a replica has in memory, and on its disk.
#[derive(Clone, Default)]
struct Book {
    reports: CumulativeReports,
    history: History,
    /// Starts that it can know of.
    knows: BTreeSet<(usize, usize)>,
}

#[derive(Default)]
struct Replica {
    memory: Book,
    disk: Book,
    /// Everything that was ever sent to it.
    sent: Vec<Report>,
    /// What it will acknowledge when it is on the disk.
    owes: Vec<Report>,
    /// What a worker need not send again on its stream.
    acknowledged: BTreeMap<usize, Rows>,
    clock: i64,
}

struct World {
    now: u64,
    workers: Vec<Worker>,
    /// What every start counted.
    truth: BTreeMap<(usize, usize), Rows>,
    replicas: Vec<Replica>,
}

impl Book {
    fn side(&self, decides: bool) -> Side<'_> {
        Side {
            reports: &self.reports,
            history: (!self.knows.is_empty()).then_some(&self.history),
            decides,
        }
    }
}

fn empty() -> Book {
    let limits = Limits {
        // Closed starts have tests of their own.
        starts: 1_000,
        ..Limits::default()
    };
    Book {
        reports: CumulativeReports::new(limits),
        ..Book::default()
    }
}

fn begin() -> World {
    let replica = || Replica {
        memory: empty(),
        disk: empty(),
        ..Replica::default()
    };
    World {
        now: 0,
        workers: vec![Worker::default(); WORKERS],
        truth: BTreeMap::new(),
        replicas: (0..REPLICAS).map(|_| replica()).collect(),
    }
}

impl World {
    /// Whole: also what was acknowledged.
    fn report(&mut self, worker: usize, acknowledged: &Rows) -> Report {
        let known = &mut self.workers[worker];
        known.sequence += 1;
        let due = known
            .rows
            .iter()
            .filter(|(revision, counts)| acknowledged.get(*revision) != Some(counts));
        let rows = due.map(|(revision, counts)| Row {
            sli: SLI.into(),
            revision: revision.clone(),
            counts: *counts,
            pods: 1,
            bad_pods: 0,
        });
        Report {
            worker: WorkerId::new(format!("node-{worker}")),
            start: format!("{worker}/{}", known.start).as_str().into(),
            sequence: known.sequence,
            age: Duration::ZERO,
            since_start: Some(Duration::from_secs(self.now - known.began)),
            rows: rows.collect(),
        }
    }

    fn time(&self, replica: usize) -> Millis {
        Millis(START.0 + i64::try_from(self.now).unwrap() * 1_000 + self.replicas[replica].clock)
    }

    fn deliver(&mut self, replica: usize, report: &Report) -> Result<(), TestCaseError> {
        let now = self.time(replica);
        let start = ids(report);
        let book = &mut self.replicas[replica].memory;
        book.knows.insert(start);
        let differences = book.reports.ingest(report, now);
        for difference in &differences {
            book.history.record(difference, now);
        }
        self.replicas[replica].owes.push(report.clone());
        differences
            .iter()
            .try_for_each(|difference| self.is_recent(report, difference))
    }

    /// What has a time happened then.
    fn is_recent(&self, report: &Report, difference: &Difference) -> Result<(), TestCaseError> {
        let (worker, start) = ids(report);
        let known = &self.workers[worker];
        let (Placement::At(_), true) = (difference.placement, known.start == start) else {
            return Ok(());
        };
        let row = report
            .rows
            .iter()
            .find(|row| row.revision == difference.revision)
            .unwrap();
        let before = row.counts.total() - difference.counts.total();
        let log = &known.log[&difference.revision];
        let (first, _) = log.iter().find(|(_, total)| *total > before).unwrap();
        let made = known.began + report.since_start.unwrap().as_secs();
        prop_assert!(made - first <= MOMENT.as_secs(), "{made} {first} {difference:?}");
        Ok(())
    }

    fn save(&mut self, replica: usize) {
        let starts: Vec<_> = self.workers.iter().map(|worker| worker.start).collect();
        let replica = &mut self.replicas[replica];
        replica.disk = replica.memory.clone();
        for report in replica.owes.drain(..) {
            let (worker, start) = ids(&report);
            if starts[worker] == start {
                let acknowledged = replica.acknowledged.entry(worker).or_default();
                for row in report.rows {
                    acknowledged.insert(row.revision, row.counts);
                }
            }
        }
    }

    /// A new process: no stream is left.
    fn reborn(&mut self, replica: usize, clock: i16) {
        let replica = &mut self.replicas[replica];
        replica.memory = replica.disk.clone();
        replica.clock = i64::from(clock) * 60_000;
        replica.acknowledged.clear();
        replica.owes.clear();
    }

    fn copy(&mut self, replica: usize, from: usize, decides: bool) {
        self.reborn(replica, 0);
        let now = self.time(replica);
        let (own, peer) = (&self.replicas[replica].disk, &self.replicas[from].disk);
        let sli = SliId::from(SLI);
        let history = handover::history(own.side(decides), peer.side(false), &sli, now);
        let joined = Book {
            reports: peer.reports.clone().united(&own.reports),
            history,
            knows: own.knows.union(&peer.knows).copied().collect(),
        };
        let replica = &mut self.replicas[replica];
        replica.disk = joined.clone();
        replica.memory = joined;
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Count {
                worker,
                revision,
                good,
                bad,
            } => self.count(worker, revision, Counts::new(good.into(), bad.into())),
            Step::Pass(seconds) => self.now += u64::from(seconds),
            Step::Report { worker, replica } => {
                let acknowledged = self.replicas[replica]
                    .acknowledged
                    .get(&worker)
                    .cloned()
                    .unwrap_or_default();
                let report = self.report(worker, &acknowledged);
                self.replicas[replica].sent.push(report);
            }
            Step::Deliver { replica, ref which } if !self.replicas[replica].sent.is_empty() => {
                let report = which.get(&self.replicas[replica].sent).clone();
                self.deliver(replica, &report)?;
            }
            Step::Save(replica) => self.save(replica),
            Step::Reconnect { worker, replica } => {
                self.replicas[replica].acknowledged.remove(&worker);
                let gone = format!("node-{worker}");
                self.replicas[replica]
                    .owes
                    .retain(|report| report.worker.as_str() != gone);
            }
            Step::Restart(worker) => self.restart(worker)?,
            Step::Kill { replica, clock } => self.reborn(replica, clock),
            Step::LoseDisk { replica, clock } => {
                self.replicas[replica].disk = empty();
                // What was under way to it never arrives.
                self.replicas[replica].sent.clear();
                self.reborn(replica, clock);
            }
            Step::Copy { replica, from, decides } if replica != from => self.copy(replica, from, decides),
            Step::Deliver { .. } | Step::Copy { .. } => {}
        }
        Ok(())
    }

    fn count(&mut self, worker: usize, revision: u8, new: Counts) {
        let now = self.now;
        let known = &mut self.workers[worker];
        let revision = Revision::new(format!("r{revision}"));
        let counts = known.rows.entry(revision.clone()).or_default();
        *counts += new;
        known
            .log
            .entry(revision.clone())
            .or_default()
            .push((now, counts.total()));
        *self
            .truth
            .entry((worker, known.start))
            .or_default()
            .entry(revision)
            .or_default() += new;
    }

    fn restart(&mut self, worker: usize) -> Result<(), TestCaseError> {
        for replica in 0..REPLICAS {
            let last_words = self.report(worker, &Rows::new());
            self.deliver(replica, &last_words)?;
            self.save(replica);
            self.replicas[replica].acknowledged.remove(&worker);
        }
        self.workers[worker] = Worker {
            start: self.workers[worker].start + 1,
            began: self.now,
            ..Worker::default()
        };
        Ok(())
    }

    /// All streams are open, and everything arrives.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for replica in 0..REPLICAS {
            for worker in 0..WORKERS {
                let report = self.report(worker, &Rows::new());
                self.deliver(replica, &report)?;
            }
        }
        Ok(())
    }
}

/// The worker and the number of its start.
fn ids(report: &Report) -> (usize, usize) {
    let (worker, start) = report.start.as_str().split_once('/').unwrap();
    (worker.parse().unwrap(), start.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whichever replica leads in the end: its totals are what the workers counted of which it could hear, by itself or by
    /// whom it copied; no more, and not twice. What it takes for a moment was one.
    #[test]
    fn every_replicas_totals_are_what_workers_counted(steps in prop::collection::vec(step(), 0..250)) {
        let mut world = begin();
        for step in &steps {
            world.take(step)?;
        }
        world.settle()?;
        for replica in &world.replicas {
            let book = &replica.memory;
            let mut counted = Rows::new();
            for start in &book.knows {
                for (revision, counts) in world.truth.get(start).into_iter().flatten() {
                    *counted.entry(revision.clone()).or_default() += *counts;
                }
            }
            counted.retain(|_, counts| !counts.is_empty());
            let ingested: Rows = book
                .history
                .revisions()
                .map(|revision| (revision.clone(), book.history.of([revision]).totals().counts))
                .collect();
            prop_assert_eq!(ingested, counted);
        }
    }
}
