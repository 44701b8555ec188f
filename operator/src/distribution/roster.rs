//! Who is connected: one seat for each node, and the [`Fleet`] kept up to date.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shoalwatch_node_api::{config::Version, wire};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Fleet, Rejection, Worker},
    metrics::Metrics,
};
use crate::clock::SharedClock;

/// Workers remembered and streams held open at most: what one Kubernetes cluster is tested with.
pub const MAX_WORKERS: usize = 5_000;
/// How long a worker is remembered after its stream ended.
pub const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// The seats, and the value that everybody watches.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Changed in place: a copy is made only while a reader still holds the last one.
    fleet: watch::Sender<Arc<Fleet>>,
    seats: Mutex<Seats>,
    clock: SharedClock,
    metrics: Metrics,
    most: usize,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<String, (u64, CancellationToken)>,
    next: u64,
}

/// There are [`MAX_WORKERS`] streams already.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} workers are connected already: this operator serves no more nodes")]
pub(super) struct Full(usize);

impl Roster {
    pub(super) fn new(clock: SharedClock, metrics: Metrics, most: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                fleet: watch::Sender::default(),
                seats: Mutex::default(),
                clock,
                metrics,
                most,
            }),
        }
    }

    pub(super) fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.shared.fleet.subscribe()
    }

    /// The value itself, for tests that play the workers.
    #[cfg(test)]
    pub(super) fn script(&self) -> watch::Sender<Arc<Fleet>> {
        self.shared.fleet.clone()
    }

    pub(super) fn set_target(&self, target: Option<Version>) {
        self.shared
            .fleet
            .send_modify(|fleet| Arc::make_mut(fleet).target = target);
    }

    /// Gives `hello`'s node its seat. Whoever sat there is asked to leave: a worker that lost its connection must not
    /// wait for the operator to notice.
    pub(super) fn seat(&self, hello: &wire::Hello) -> Result<Seat, Full> {
        let node = hello.node_name.clone();
        let replaced = CancellationToken::new();
        // Held until the fleet is changed too, so that the two never tell different stories.
        let mut seats = self.seats();
        if seats.taken.len() >= self.shared.most && !seats.taken.contains_key(&node) {
            return Err(Full(self.shared.most));
        }
        seats.next += 1;
        let id = seats.next;
        if let Some((_, former)) = seats.taken.insert(node.clone(), (id, replaced.clone())) {
            former.cancel();
        }
        self.greet(hello);
        self.count(&seats);
        drop(seats);
        Ok(Seat {
            roster: self.clone(),
            node,
            id,
            replaced,
        })
    }

    fn greet(&self, hello: &wire::Hello) {
        let now = self.shared.clock.now();
        self.shared.fleet.send_modify(|fleet| {
            let workers = &mut Arc::make_mut(fleet).workers;
            let worker = workers.entry(hello.node_name.clone()).or_default();
            worker.connected = true;
            worker.applied = hello.applied.clone().map(Into::into);
            worker.degraded.clone_from(&hello.degraded);
            worker.worker_version.clone_from(&hello.worker_version);
            worker.last_seen = now;
            forget_the_longest_gone(workers, self.shared.most);
        });
    }

    /// Forgets who has been gone for [`FORGOTTEN_AFTER`].
    pub(super) fn forget(&self) {
        let now = self.shared.clock.now();
        let gone = |worker: &Worker| {
            !worker.connected && now.duration_since(worker.last_seen).unsigned_abs() >= FORGOTTEN_AFTER
        };
        self.shared.fleet.send_if_modified(|fleet| {
            let any = fleet.workers.values().any(gone);
            if any {
                Arc::make_mut(fleet).workers.retain(|_, worker| !gone(worker));
            }
            any
        });
        self.count(&self.seats());
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Every change below is one insert or remove: a panic elsewhere leaves nothing half done.
        self.shared.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, seats: &Seats) {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.shared.metrics.connected.set(whole(seats.taken.len()));
        self.shared
            .metrics
            .known
            .set(whole(self.shared.fleet.borrow().workers.len()));
    }

    /// Changes the worker of `node`; tells the watchers where `change` says so.
    fn change(&self, node: &str, change: impl FnOnce(&mut Worker) -> bool) {
        let now = self.shared.clock.now();
        self.shared.fleet.send_if_modified(|fleet| {
            let Some(worker) = Arc::make_mut(fleet).workers.get_mut(node) else {
                return false;
            };
            worker.last_seen = now;
            change(worker)
        });
    }
}

fn forget_the_longest_gone(workers: &mut BTreeMap<String, Worker>, most: usize) {
    if workers.len() <= most {
        return;
    }
    let gone = workers.iter().filter(|(_, worker)| !worker.connected);
    let longest = gone.min_by_key(|(_, worker)| worker.last_seen);
    if let Some(node) = longest.map(|(node, _)| node.clone()) {
        workers.remove(&node);
    }
}

/// A node's place for as long as its stream is open. Dropping it says that the worker is gone.
#[derive(Debug)]
pub(super) struct Seat {
    roster: Roster,
    node: String,
    id: u64,
    /// Cancelled when a newer stream of the same node took the seat.
    pub(super) replaced: CancellationToken,
}

impl Seat {
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn applied(&self, version: Version) {
        self.change(|worker| {
            worker.applied = Some(version);
            worker.rejected = None;
            true
        });
    }

    pub(super) fn rejected(&self, rejection: Rejection) {
        self.change(|worker| {
            worker.rejected = Some(rejection);
            true
        });
    }

    /// Notes that the worker lives, without waking anybody.
    pub(super) fn heard(&self) {
        self.change(|_| false);
    }

    fn change(&self, change: impl FnOnce(&mut Worker) -> bool) {
        // Held while changing: a stream that was replaced must not speak for the one that came after it.
        let seats = self.roster.seats();
        if self.is_mine(&seats) {
            self.roster.change(&self.node, change);
        }
    }

    fn is_mine(&self, seats: &Seats) -> bool {
        seats.taken.get(&self.node).is_some_and(|(id, _)| *id == self.id)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.roster.seats();
        if !self.is_mine(&seats) {
            return;
        }
        seats.taken.remove(&self.node);
        self.roster.change(&self.node, |worker| {
            worker.connected = false;
            true
        });
        self.roster.count(&seats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn roster(most: usize) -> (Roster, Arc<ManualClock>) {
        let clock = ManualClock::at("2026-11-22T04:00:00Z");
        (Roster::new(clock.clone(), Metrics::default(), most), clock)
    }

    fn hello(node: &str) -> wire::Hello {
        wire::Hello {
            node_name: node.to_owned(),
            ..wire::Hello::default()
        }
    }

    fn version(hash: &str) -> Version {
        Version {
            term: 1,
            hash: hash.to_owned(),
        }
    }

    fn worker(roster: &Roster, node: &str) -> Option<Worker> {
        roster.fleet().borrow().workers.get(node).cloned()
    }

    #[test]
    fn a_worker_that_left_is_kept_for_ten_minutes() {
        let (roster, clock) = roster(8);
        drop(roster.seat(&hello("a")).unwrap());
        assert!(!worker(&roster, "a").unwrap().connected);
        clock.advance(Duration::from_secs(599));
        roster.forget();
        assert!(worker(&roster, "a").is_some());
        clock.advance(Duration::from_secs(1));
        roster.forget();
        assert!(worker(&roster, "a").is_none());
    }

    #[test]
    fn a_worker_that_is_connected_is_never_forgotten() {
        let (roster, clock) = roster(8);
        let _seat = roster.seat(&hello("a")).unwrap();
        clock.advance(2 * FORGOTTEN_AFTER);
        roster.forget();
        assert!(worker(&roster, "a").unwrap().connected);
    }

    #[test]
    fn a_newer_stream_takes_the_seat_and_the_older_one_changes_nothing_any_more() {
        let (roster, _) = roster(8);
        let older = roster.seat(&hello("a")).unwrap();
        let newer = roster.seat(&hello("a")).unwrap();
        assert!(older.replaced.is_cancelled() && !newer.replaced.is_cancelled());
        older.applied(version("stale"));
        drop(older);
        let worker = worker(&roster, "a").unwrap();
        assert_eq!((worker.connected, worker.applied), (true, None));
    }

    #[test]
    fn a_full_house_takes_nobody_new_but_everybody_again() {
        let (roster, _) = roster(1);
        let _seat = roster.seat(&hello("a")).unwrap();
        assert!(roster.seat(&hello("b")).is_err());
        assert!(roster.seat(&hello("a")).is_ok());
    }

    #[test]
    fn beyond_the_bound_whoever_is_gone_longest_is_forgotten() {
        let (roster, clock) = roster(2);
        for node in ["a", "b", "c"] {
            drop(roster.seat(&hello(node)).unwrap());
            clock.advance(Duration::from_secs(1));
        }
        let known: Vec<_> = roster.fleet().borrow().workers.keys().cloned().collect();
        assert_eq!(known, ["b", "c"]);
    }

    #[test]
    fn a_refusal_stands_until_something_is_applied() {
        let (roster, _) = roster(8);
        let seat = roster.seat(&hello("a")).unwrap();
        seat.rejected(Rejection {
            version: version("new"),
            reason: String::new(),
        });
        roster.set_target(Some(version("newer")));
        assert!(worker(&roster, "a").unwrap().rejected.is_some());
        seat.applied(version("newer"));
        assert_eq!(worker(&roster, "a").unwrap().rejected, None);
    }

    #[test]
    fn a_message_that_says_nothing_new_wakes_nobody() {
        let (roster, clock) = roster(8);
        let seat = roster.seat(&hello("a")).unwrap();
        let mut fleet = roster.fleet();
        fleet.mark_unchanged();
        clock.advance(Duration::from_secs(5));
        seat.heard();
        assert!(!fleet.has_changed().unwrap());
        assert_eq!(
            worker(&roster, "a").unwrap().last_seen.to_string(),
            "2026-11-22T04:00:05Z"
        );
    }
}
