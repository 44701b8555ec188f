//! Whatever the network does, every replica's sums are what was counted.

use super::*;

/// What happens to a worker, its streams and the replicas behind them.
#[derive(Debug, Clone)]
enum Step {
    Finish {
        sli: usize,
        revision: usize,
        status: Status,
    },
    Lose {
        sli: usize,
        revision: usize,
        lost: u64,
    },
    Configure {
        in_force: Vec<usize>,
    },
    Report(usize),
    /// Any report ever sent on a replica's streams arrives, for the first time or again.
    Deliver(usize, prop::sample::Index),
    /// Any acknowledgement that a replica ever sent arrives, for the first time or again.
    DeliverAck(usize, prop::sample::Index),
    /// The stream is opened again.
    Reconnect(usize),
    /// So is it to a replica that lost its memory.
    Lost(usize),
}

const REPLICAS: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let replica = || 0..REPLICAS;
    prop_oneof![
        6 => (0..2usize, 0..3usize, prop::sample::select(vec![status(200), status(503), Status::ABORTED]))
            .prop_map(|(sli, revision, status)| Step::Finish { sli, revision, status }),
        1 => (0..2usize, 0..3usize, 0u64..9).prop_map(|(sli, revision, lost)| Step::Lose { sli, revision, lost }),
        1 => prop::sample::subsequence(vec![0, 1], 0..=2).prop_map(|in_force| Step::Configure { in_force }),
        4 => replica().prop_map(Step::Report),
        4 => (replica(), any::<prop::sample::Index>()).prop_map(|(replica, index)| Step::Deliver(replica, index)),
        4 => (replica(), any::<prop::sample::Index>()).prop_map(|(replica, index)| Step::DeliverAck(replica, index)),
        1 => replica().prop_map(Step::Reconnect),
        1 => replica().prop_map(Step::Lost),
    ]
}

type Counts = BTreeMap<(String, String), [u64; 3]>;

/// A replica of the operator: adds up what lies above the greatest it has.
#[derive(Default)]
struct Replica {
    /// Of its newest stream.
    receiver: u64,
    sent: Vec<(Receiver, Report)>,
    acknowledgements: Vec<(Receiver, u64)>,
    last: Counts,
    totals: Counts,
}

impl Replica {
    fn receive(&mut self, report: &Report) {
        for row in &report.rows {
            let key = (row.sli.to_string(), row.revision.to_string());
            let last = self.last.entry(key.clone()).or_default();
            let total = self.totals.entry(key).or_default();
            for ((total, now), last) in total.iter_mut().zip([row.good, row.bad, row.incomplete]).zip(last) {
                *total += now.saturating_sub(*last);
                *last = now.max(*last);
            }
        }
    }
}

struct World {
    counters: SliCounters,
    truth: Counts,
    replicas: [Replica; REPLICAS],
    streams: u64,
}

impl World {
    fn row(&mut self, sli: usize, revision: usize) -> Option<(RowId, &mut [u64; 3])> {
        let id = self.counters.row(SLIS[sli], REVISIONS[revision]).ok()?;
        Some((
            id,
            self.truth
                .entry((SLIS[sli].to_owned(), REVISIONS[revision].to_owned()))
                .or_default(),
        ))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Finish { sli, revision, status } => {
                if let Some((id, truth)) = self.row(sli, revision) {
                    truth[usize::from(status.is_failure(Role::Server))] += 1;
                    self.counters.record(id, PodId(1), &Request { status, ..request() });
                }
            }
            Step::Lose { sli, revision, lost } => {
                if let Some((id, truth)) = self.row(sli, revision) {
                    truth[2] += lost;
                    self.counters.lose(id, lost);
                }
            }
            Step::Configure { in_force } => self
                .counters
                .configure(in_force.iter().map(|sli| definition(SLIS[*sli]))),
            Step::Report(replica) => {
                let replica = &mut self.replicas[replica];
                let receiver = Receiver(replica.receiver);
                replica.sent.push((receiver, self.counters.report(receiver)));
            }
            Step::Deliver(replica, index) if !self.replicas[replica].sent.is_empty() => {
                let replica = &mut self.replicas[replica];
                let (receiver, report) = index.get(&replica.sent).clone();
                replica.receive(&report);
                replica.acknowledgements.push((receiver, report.sequence));
            }
            Step::DeliverAck(replica, index) if !self.replicas[replica].acknowledgements.is_empty() => {
                let (receiver, sequence) = *index.get(&self.replicas[replica].acknowledgements);
                self.counters.acknowledge(receiver, sequence);
            }
            Step::Reconnect(replica) => self.reconnect(replica),
            Step::Lost(replica) => {
                self.reconnect(replica);
                self.replicas[replica] = Replica {
                    receiver: self.streams,
                    ..Replica::default()
                };
            }
            Step::Deliver(..) | Step::DeliverAck(..) => {}
        }
    }

    fn reconnect(&mut self, replica: usize) {
        self.counters.leave(Receiver(self.replicas[replica].receiver));
        self.streams += 1;
        self.replicas[replica].receiver = self.streams;
    }

    /// The network works again: what is left arrives.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.counters.configure(SLIS.map(definition));
        for _ in 0..200 {
            let due = |replica: &&mut Replica| self.counters.has_changes(Receiver(replica.receiver));
            let Some(replica) = self.replicas.iter_mut().find(due) else {
                return Ok(());
            };
            let receiver = Receiver(replica.receiver);
            let report = self.counters.report(receiver);
            replica.receive(&report);
            self.counters.acknowledge(receiver, report.sequence);
        }
        Err(TestCaseError::fail("the changes never end"))
    }
}

proptest! {
    #[test]
    fn every_receivers_sums_are_what_was_counted_whatever_the_network_does(
        steps in prop::collection::vec(step(), 0..200),
        rows_per_report in 1usize..8,
    ) {
        let mut world = World {
            counters: counters(SliLimits { rows_per_report, ..SliLimits::default() }),
            truth: Counts::new(),
            replicas: std::array::from_fn(|number| Replica { receiver: number as u64, ..Replica::default() }),
            streams: REPLICAS as u64,
        };
        for step in steps {
            world.take(step);
        }
        world.settle()?;
        let shown = |(sli, revision): &(String, String)| world.counters.rows.values()
            .any(|row| *row.sli == **sli && *row.revision == **revision);
        world.truth.retain(|key, _| shown(key));
        for replica in &world.replicas {
            prop_assert_eq!(&replica.totals, &world.truth);
        }
    }
}
