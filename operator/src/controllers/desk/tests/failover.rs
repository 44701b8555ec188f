//! Two replicas: the leader is killed at every single request that it makes, and the other one takes over with what it heard
//! by itself, and what it learnt of the leader's decisions up to two seconds ago.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::cluster::Cluster;
use super::operator::{Around, Death, HALF, NODES, Network, Operator, Traffic};
use super::*;
use crate::clock::Clock;
use crate::history::Raw;
use crate::testing::Asked;

mod partitions;

/// Until a Lease that is not renewed may be taken, in halves of a second.
const LEASE: u64 = 30;

struct Pair {
    cluster: Arc<Mutex<Cluster>>,
    clock: Arc<ManualClock>,
    disks: [TempDir; 2],
    /// The first leads until it dies.
    leader: Option<Operator>,
    follower: Operator,
    traffic: Traffic,
    died: Arc<Notify>,
    halves: u64,
    /// When the leader died.
    since: Option<u64>,
    late: Option<Asked>,
    /// Between the leader and the API server.
    network: Arc<Mutex<Network>>,
    /// The leader hears nothing of the first node.
    deaf: bool,
}

impl Pair {
    async fn begin() -> Self {
        let clock = ManualClock::at("2026-11-22T05:00:00Z");
        let cluster = Arc::new(Mutex::new(Cluster::new(clock.now())));
        let disks = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let died = Arc::new(Notify::new());
        let around = |died| Around {
            cluster: Arc::clone(&cluster),
            clock: Arc::clone(&clock),
            death: None,
            died,
            network: Arc::default(),
        };
        let leading = Leadership { leading: true, term: 1 };
        let following = Leadership {
            leading: false,
            term: 1,
        };
        let leader = Operator::start(around(Arc::clone(&died)), disks[0].path(), leading).await;
        let follower = Operator::start(around(Arc::default()), disks[1].path(), following).await;
        let mut pair = Self {
            leader: Some(leader),
            follower,
            traffic: Traffic::default(),
            halves: 0,
            since: None,
            late: None,
            clock,
            cluster,
            disks,
            died,
            network: Arc::default(),
            deaf: false,
        };
        pair.list();
        pair.seconds(10).await;
        pair
    }

    /// From the next request on the leader may die, or its network break off.
    async fn doomed(mut self, death: Option<Death>, network: Network) -> Self {
        self.leader = None;
        self.network = Arc::new(Mutex::new(network));
        let around = Around {
            cluster: Arc::clone(&self.cluster),
            clock: Arc::clone(&self.clock),
            death,
            died: Arc::clone(&self.died),
            network: Arc::clone(&self.network),
        };
        let leading = Leadership { leading: true, term: 1 };
        self.leader = Some(Operator::start(around, self.disks[0].path(), leading).await);
        self.cluster().asked.clear();
        self.list();
        self.seconds(1).await;
        self
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    fn list(&mut self) {
        let cluster = self.cluster.lock().unwrap();
        for operator in self.leader.iter_mut().chain([&mut self.follower]) {
            operator.list(&cluster);
        }
    }

    async fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.half_a_second().await;
        }
    }

    async fn half_a_second(&mut self) {
        self.halves += 1;
        self.clock.advance(HALF);
        tokio::time::advance(HALF).await;
        let now = self.clock.now();
        self.cluster().pass(now);
        self.work();
        if self.halves.is_multiple_of(4) {
            self.save();
            self.learn().await;
        }
        self.follower.settle().await;
        if let Some(leader) = &mut self.leader
            && !leader.settle().await
        {
            self.late = leader.late.lock().unwrap().take();
            self.leader = None;
            self.since = Some(self.halves);
        }
        if self.since.is_some_and(|since| self.halves == since + LEASE) {
            self.follower.lease.send_replace(Leadership { leading: true, term: 2 });
            self.follower.desk.follow_leadership();
        }
    }

    fn work(&mut self) {
        let cluster = self.cluster.lock().unwrap();
        let reports = self.traffic.half_a_second(&cluster, &self.follower.slis());
        let broken = self.network.lock().unwrap().broken;
        for operator in self.leader.iter_mut().filter(|_| !broken).chain([&mut self.follower]) {
            operator.watch(&cluster);
        }
        for (node, report) in reports {
            if let Some(leader) = self.leader.as_mut().filter(|_| !self.deaf || node != NODES[0]) {
                leader.hear(node, report.clone());
            }
            self.follower.hear(node, report);
        }
        drop(cluster);
        for operator in self.leader.iter_mut().chain([&mut self.follower]) {
            operator.desk.tick();
        }
    }

    fn save(&mut self) {
        for operator in self.leader.iter_mut().chain([&mut self.follower]) {
            operator.desk.save();
        }
    }

    /// The follower asks the leader what it decided.
    async fn learn(&mut self) {
        let Some(leader) = &self.leader else { return };
        let (mut copy, mut raw) = (leader.store.decisions(None), Raw::default());
        while let Some(page) = copy.pages.recv().await {
            page.unwrap().into_iter().for_each(|entry| raw.take(entry));
        }
        self.follower.desk.learn(raw.records());
    }
}

/// `shop:2` comes; whoever leads undoes it.
async fn undone(death: Option<Death>) -> Pair {
    let mut pair = Pair::begin().await.doomed(death, Network::default()).await;
    pair.cluster().apply("shop:2", "kubectl");
    pair.seconds(60).await;
    // Statuses and Events are given up before another one may lead; a patch of the target may hang in the network.
    if let Some(asked) = pair.late.take()
        && asked.what.starts_with("PATCH /apis/apps/")
    {
        pair.cluster().answer(&asked);
        pair.seconds(5).await;
    }
    pair
}

impl Pair {
    fn ending(&self) -> (usize, String, String, bool) {
        let cluster = self.cluster();
        let state = cluster.rollback()["state"].as_str().unwrap_or_default().to_owned();
        (cluster.acts.len(), cluster.image(), state, cluster.owes_fields())
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_the_leader_is_followed_by_one_that_acts_once() {
    let expected = (1, "shop:1".to_owned(), "Latched".to_owned(), false);
    let whole = Box::pin(undone(None)).await;
    let requests = whole.cluster().asked.len();
    assert_eq!(whole.ending(), expected, "{:?}", whole.cluster().asked);
    assert!(requests > 10, "{requests}");
    for number in 0..requests {
        for death in [
            Death::BeforeRequest(number),
            Death::BeforeAnswer(number),
            Death::LateRequest(number),
        ] {
            let pair = Box::pin(undone(Some(death))).await;
            assert!(pair.since.is_some(), "it died at {number} of {requests}");
            assert_eq!(pair.ending(), expected, "{death:?} of {:?}", pair.cluster().asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_asks_nothing_of_the_api_server_whatever_it_hears() {
    let mut pair = Pair::begin().await;
    pair.leader = None;
    pair.cluster().asked.clear();
    pair.cluster().apply("shop:2", "kubectl");
    pair.seconds(10).await;
    assert_eq!(pair.cluster().asked, Vec::<String>::new());
    assert_eq!(pair.cluster().acts.len(), 0);
}
