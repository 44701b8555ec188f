//! Asks Prometheus for what SLOs count there: each every 15 s, good and total for the same instant.
//!
//! ```text
//! desk ─ jobs ─► Poller ─ queries ─► Prometheus
//!   ▲                └─ Polled ─┐
//!   └───────────────────────────┘
//! ```
//!
//! Every replica polls for itself, as every replica counts what all nodes report: so each has a history of its own to go on with.
//!
//! **Bounds.** [`MOST`] SLOs; [`AT_ONCE`] at a time, of which [`PER_SERVER`] at one server, so that a server that hangs holds up
//! nobody but those who ask it. SLOs have their turns spread over the 15 s; a turn that was missed is not made up for.

mod prometheus;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use shoalwatch_core::SliId;
use shoalwatch_core::polled::EVERY;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::clock::SharedClock;
use crate::http_client::HttpClient;

pub(crate) use prometheus::{PollError, Read, Source};

/// SLOs that are polled at most; the oldest come first.
pub(crate) const MOST: usize = 1_000;
/// SLOs that are polled at a time.
const AT_ONCE: usize = 64;
/// Of those, the ones whose server is the same.
const PER_SERVER: usize = 8;
/// What was read and not taken in yet.
const WAITING: usize = 64;

/// What is to be polled for an SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) sli: SliId,
    pub(crate) source: Arc<Source>,
}

/// What came of a poll.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) sli: SliId,
    pub(crate) source: Arc<Source>,
    /// Since it was asked for.
    pub(crate) age: Duration,
    pub(crate) found: Result<Read, PollError>,
}

/// The desk's side.
#[derive(Debug)]
pub(crate) struct Polls {
    jobs: watch::Sender<Vec<Job>>,
    polled: mpsc::Receiver<Polled>,
}

/// The side of the network.
pub(crate) struct Poller {
    clock: SharedClock,
    client: HttpClient,
    jobs: watch::Receiver<Vec<Job>>,
    polled: mpsc::Sender<Polled>,
    turns: BTreeMap<SliId, Turn>,
    tasks: JoinSet<()>,
    /// What runs, and at which server.
    running: HashMap<Id, (SliId, String)>,
}

struct Turn {
    source: Arc<Source>,
    due: Instant,
    runs: bool,
}

/// Both sides.
pub(crate) fn channel(clock: SharedClock, client: HttpClient) -> (Polls, Poller) {
    let (jobs, asked) = watch::channel(Vec::new());
    let (results, polled) = mpsc::channel(WAITING);
    let other_side = Poller {
        clock,
        client,
        jobs: asked,
        polled: results,
        turns: BTreeMap::new(),
        tasks: JoinSet::new(),
        running: HashMap::new(),
    };
    (Polls { jobs, polled }, other_side)
}

impl Polls {
    /// What is to be polled from now on, and nothing else.
    pub(crate) fn follow(&self, jobs: Vec<Job>) {
        self.jobs.send_if_modified(|before| {
            let changed = *before != jobs;
            *before = jobs;
            changed
        });
    }

    /// The next result; nothing any more once the poller is gone.
    pub(crate) async fn next(&mut self) -> Option<Polled> {
        self.polled.recv().await
    }
}

impl Poller {
    /// Polls until the desk is gone.
    pub(crate) async fn run(mut self) {
        loop {
            self.begin_what_is_due();
            let next = self.next_turn();
            tokio::select! {
                changed = self.jobs.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_gone) => return,
                },
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                    if let Err(failed) = ended {
                        error!(error = %failed, "a poll failed");
                    }
                    self.ended(id);
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn follow(&mut self) {
        let jobs = self.jobs.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.turns);
        self.turns = jobs
            .into_iter()
            .map(|Job { sli, source }| {
                let turn = before.remove(&sli).map_or_else(
                    || Turn::new(Arc::clone(&source)),
                    |turn| Turn {
                        source: Arc::clone(&source),
                        ..turn
                    },
                );
                (sli, turn)
            })
            .collect();
    }

    fn begin_what_is_due(&mut self) {
        let now = Instant::now();
        let mut due: Vec<(Instant, SliId)> = self
            .waiting()
            .filter(|(_, turn)| turn.due <= now)
            .map(|(sli, turn)| (turn.due, sli.clone()))
            .collect();
        due.sort_unstable();
        for (_, sli) in due {
            self.begin(sli, now);
        }
    }

    /// Turns that may begin as soon as they are due.
    fn waiting(&self) -> impl Iterator<Item = (&SliId, &Turn)> {
        let room = self.running.len() < AT_ONCE;
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for (_, server) in self.running.values() {
            *busy.entry(server).or_default() += 1;
        }
        let has_room = move |turn: &Turn| busy.get(turn.source.server()).is_none_or(|busy| *busy < PER_SERVER);
        let turns = self.turns.iter().filter(move |_| room);
        turns.filter(move |(_, turn)| !turn.runs && has_room(turn))
    }

    fn next_turn(&self) -> Option<Instant> {
        self.waiting().map(|(_, turn)| turn.due).min()
    }

    fn begin(&mut self, sli: SliId, now: Instant) {
        let at_server = |server: &str| self.running.values().filter(|(_, other)| other == server).count();
        let Some(turn) = self.turns.get_mut(&sli) else { return };
        let server = turn.source.server().to_owned();
        if self.running.len() >= AT_ONCE || at_server(&server) >= PER_SERVER {
            return;
        }
        turn.runs = true;
        let next = turn.due + EVERY;
        turn.due = if next > now { next } else { now + EVERY };
        let poll = poll(
            sli.clone(),
            Arc::clone(&turn.source),
            self.client.clone(),
            Arc::clone(&self.clock),
            self.polled.clone(),
        );
        let task = self.tasks.spawn(poll);
        self.running.insert(task.id(), (sli, server));
    }

    fn ended(&mut self, id: Id) {
        let ended = self.running.remove(&id);
        if let Some(turn) = ended.and_then(|(sli, _)| self.turns.get_mut(&sli)) {
            turn.runs = false;
        }
    }
}

impl Turn {
    fn new(source: Arc<Source>) -> Self {
        let first = EVERY.mul_f64(rand::rng().random_range(0.0..1.0));
        Self {
            source,
            due: Instant::now() + first,
            runs: false,
        }
    }
}

async fn poll(sli: SliId, source: Arc<Source>, client: HttpClient, clock: SharedClock, polled: mpsc::Sender<Polled>) {
    let asked = Instant::now();
    let found = prometheus::read(&client, &source, clock.now()).await;
    let age = asked.elapsed();
    // Whoever takes it in no more is gone.
    drop(
        polled
            .send(Polled {
                sli,
                source,
                age,
                found,
            })
            .await,
    );
}

#[cfg(test)]
mod tests;
