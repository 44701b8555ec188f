//! The operator is killed at every single request that it makes, and started again from what is durable: its disk, the
//! annotation on the target, the status of the SLO.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use shoalwatch_node_api::wire::SliRow;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, revision};
use super::*;
use crate::clock::Clock;
use crate::distribution::Worker;
use crate::testing::response;

const NODES: [&str; 2] = ["node-1", "node-2"];
const HALF: Duration = Duration::from_millis(500);

/// When the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Its request does not arrive any more.
    BeforeRequest(usize),
    /// Its request arrives, the answer does not.
    BeforeAnswer(usize),
    /// The same, and its disk is gone with it.
    WithItsDisk(usize),
}

impl Death {
    fn request(self) -> usize {
        match self {
            Self::BeforeRequest(number) | Self::BeforeAnswer(number) | Self::WithItsDisk(number) => number,
        }
    }
}

/// A process of the operator.
struct Operator {
    desk: Desk,
    _lease: watch::Sender<Leadership>,
    _fleet: watch::Sender<Arc<Fleet>>,
    helpers: Vec<JoinHandle<()>>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.helpers.iter().for_each(JoinHandle::abort);
    }
}

struct Story {
    cluster: Arc<Mutex<Cluster>>,
    clock: Arc<ManualClock>,
    data: TempDir,
    operator: Option<Operator>,
    /// Cumulative (good, bad), by node and image.
    counts: BTreeMap<(&'static str, String), (u64, u64)>,
    sequence: u64,
    death: Option<Death>,
    died: Arc<Notify>,
}

impl Story {
    async fn begin(death: Option<Death>) -> Self {
        let clock = ManualClock::at("2026-11-22T05:00:00Z");
        let mut story = Self {
            cluster: Arc::new(Mutex::new(Cluster::new(clock.now()))),
            clock,
            data: TempDir::new().unwrap(),
            operator: None,
            counts: BTreeMap::new(),
            sequence: 0,
            death: None,
            died: Arc::new(Notify::new()),
        };
        story.start().await;
        story.seconds(10).await;
        story.cluster().asked.clear();
        story.death = death;
        story
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    async fn start(&mut self) {
        let (client, server) = api_server();
        let leadership = Leadership { leading: true, term: 1 };
        let (lease, leadership) = watch::channel(leadership);
        let mut registry = Registry::default();
        let (distribution, _pusher, fleet) = Distribution::scripted(leadership.clone());
        let worker = Worker {
            connected: true,
            ..Worker::default()
        };
        fleet.send_replace(Arc::new(Fleet {
            target: None,
            workers: NODES.map(|node| (node.to_owned(), worker.clone())).into(),
        }));
        let (events, publisher) = events::channel(client.clone(), &mut registry);
        let (statuses, writer) = status::channel(client.clone(), leadership.clone(), Budget::default(), &mut registry);
        let helpers = vec![
            tokio::spawn(publisher.run()),
            tokio::spawn(writer.run(CancellationToken::new())),
            self.serve(server),
        ];
        let desk = Desk::new(Parts {
            client,
            namespace: "shoalwatch-system".to_owned(),
            distribution,
            leadership,
            clock: self.clock.clone(),
            events,
            statuses,
            opened: history::open(self.data.path()).await,
            metrics: Metrics::register(&mut registry),
        });
        self.operator = Some(Operator {
            desk,
            _lease: lease,
            _fleet: fleet,
            helpers,
        });
        self.list();
    }

    /// Answers what is asked, until death comes.
    fn serve(&self, mut server: ApiServer) -> JoinHandle<()> {
        let (cluster, died, death) = (Arc::clone(&self.cluster), Arc::clone(&self.died), self.death);
        tokio::spawn(async move {
            while let Some((asked, respond)) = server.next().await {
                let due = death.is_some_and(|death| cluster.lock().unwrap().asked.len() == death.request());
                if due && matches!(death, Some(Death::BeforeRequest(_))) {
                    return died.notify_one();
                }
                let (code, body) = cluster.lock().unwrap().answer(&asked);
                if due {
                    return died.notify_one();
                }
                respond.send_response(response(code, &body));
            }
        })
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.operator.as_mut().unwrap().desk
    }

    /// What the watches bring first.
    fn list(&mut self) {
        let (deployment, sets) = self.cluster().objects();
        let slo = serde_json::from_value(self.cluster().slo.clone()).unwrap();
        let desk = self.desk();
        for event in [Event::Init, Event::InitDone] {
            desk.take_in(Change::Policy(Box::new(event)));
        }
        for event in [Event::Init, Event::InitApply(slo), Event::InitDone] {
            desk.take_in(Change::Slo(Box::new(event)));
        }
        for event in [Event::Init, Event::InitApply(deployment), Event::InitDone] {
            desk.take_in(Change::Deployment(Box::new(event)));
        }
        let sets = sets.into_iter().map(Event::InitApply);
        for event in [Event::Init].into_iter().chain(sets).chain([Event::InitDone]) {
            desk.take_in(Change::ReplicaSet(Box::new(event)));
        }
        desk.follow_kinds();
    }

    /// What the watches bring later.
    fn watch(&mut self) {
        let (deployment, sets) = self.cluster().objects();
        let desk = self.desk();
        desk.take_in(Change::Deployment(Box::new(Event::Apply(deployment))));
        for set in sets {
            desk.take_in(Change::ReplicaSet(Box::new(Event::Apply(set))));
        }
    }

    /// Half a second of traffic: `shop:2` answers a fifth of it badly.
    fn serve_requests(&mut self) {
        let ready: Vec<String> = {
            let cluster = self.cluster();
            let ready = cluster.sets.iter().filter(|(_, ready)| **ready > 0);
            ready.map(|(image, _)| image.clone()).collect()
        };
        let slis: Vec<String> = self.desk().slos.slis().iter().map(|sli| sli.id.to_string()).collect();
        self.sequence += 1;
        for node in NODES {
            for image in &ready {
                let counts = self.counts.entry((node, image.clone())).or_default();
                let bad = if image == "shop:2" { 3 } else { 0 };
                *counts = (counts.0 + 13 - bad, counts.1 + bad);
            }
            let mine = self.counts.iter().filter(|((at, _), _)| *at == node);
            let rows = mine.flat_map(|((_, image), (good, bad))| {
                slis.iter().map(|sli| SliRow {
                    sli_id: sli.clone(),
                    revision: revision(image),
                    good: *good,
                    bad: *bad,
                    incomplete: 0,
                    pods: 2,
                    bad_pods: if *bad > 0 { 2 } else { 0 },
                })
            });
            let report = SliReport {
                start_id: format!("start-of-{node}"),
                sequence: self.sequence,
                rows: rows.collect(),
                age_ms: 0,
            };
            let (done, _acknowledged) = oneshot::channel();
            let node = node.to_owned();
            self.desk().ingest(Delivery { node, report, done });
        }
    }

    async fn seconds(&mut self, seconds: u64) {
        for half in 0..seconds * 2 {
            self.clock.advance(HALF);
            tokio::time::advance(HALF).await;
            let now = self.clock.now();
            self.cluster().pass(now);
            self.watch();
            self.serve_requests();
            self.desk().tick();
            if half % 4 == 3 {
                self.desk().save();
            }
            if !self.settle().await {
                self.die().await;
            }
        }
    }

    /// Everything under way ends; false if the operator dies over it.
    async fn settle(&mut self) -> bool {
        let died = Arc::clone(&self.died);
        loop {
            let desk = self.desk();
            if desk.tasks.is_empty() {
                // Events and statuses are sent by tasks that nobody joins: they have their turns here.
                tokio::select! {
                    biased;
                    () = died.notified() => return false,
                    () = turns() => {}
                }
                return true;
            }
            tokio::select! {
                biased;
                () = died.notified() => return false,
                Some(outcome) = desk.tasks.join_next() => desk.outcome(outcome).unwrap(),
            }
        }
    }

    async fn die(&mut self) {
        self.operator = None;
        if matches!(self.death, Some(Death::WithItsDisk(_))) {
            self.data = TempDir::new().unwrap();
        }
        self.death = None;
        self.start().await;
    }
}

async fn turns() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// `shop:2` comes, is undone and stays undone.
async fn undone(death: Option<Death>) -> Story {
    let mut story = Story::begin(death).await;
    story.restarted_with(death).await;
    story.cluster().apply("shop:2", "kubectl");
    story.seconds(30).await;
    story
}

/// `shop:2` comes, and somebody applies it again five seconds after every act.
async fn healed(death: Option<Death>) -> Story {
    let mut story = Story::begin(death).await;
    story.restarted_with(death).await;
    story.cluster().heals = Some(("shop:2", "argocd-controller"));
    let mark = json!("shop:apps/Deployment:shop/checkout");
    story.cluster().deployment["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = mark;
    story.cluster().apply("shop:2", "argocd-controller");
    story.seconds(45).await;
    story
}

impl Story {
    /// The server of the first process knows of no death; this one's does.
    async fn restarted_with(&mut self, death: Option<Death>) {
        self.operator = None;
        self.death = death;
        self.start().await;
        self.seconds(1).await;
    }

    /// Everything that must be the same with and without a death.
    fn ending(&self) -> (usize, String, Value, Vec<String>, bool) {
        let cluster = self.cluster();
        let mut timeline = cluster.timeline();
        let mut seen = BTreeSet::new();
        // While the operator is away a release that came back goes on failing: of these rows the first count.
        timeline.retain(|step| match step.as_str() {
            "FirstBadAnswer" | "Breached" => seen.insert(step.clone()),
            "Conflict" => false,
            _ => true,
        });
        let state = cluster.rollback()["state"].clone();
        (
            cluster.acts.len(),
            cluster.image(),
            state,
            timeline,
            cluster.owes_fields(),
        )
    }
}

/// Kills the operator at every request of a story, before it arrives and before its answer does.
async fn everywhere(tell: impl AsyncFn(Option<Death>) -> Story, acts: usize, image: &str, state: &str) {
    let whole = tell(None).await;
    let requests = whole.cluster().asked.len();
    let expected = whole.ending();
    assert_eq!(
        (expected.0, expected.1.as_str(), &expected.2, expected.4),
        (acts, image, &json!(state), false),
        "{:?}",
        whole.cluster().asked
    );
    assert!(requests > 20, "{requests}");
    for number in 0..requests {
        for death in [Death::BeforeRequest(number), Death::BeforeAnswer(number)] {
            let story = tell(Some(death)).await;
            assert_eq!(story.death, None, "it died at {number} of {requests}");
            assert_eq!(story.ending(), expected, "{death:?} of {:?}", story.cluster().asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_the_operator_acts_once_and_tells_the_same_story() {
    everywhere(undone, 1, "shop:1", "Latched").await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_a_self_healing_writer_meets_two_acts_and_is_named() {
    everywhere(healed, 2, "shop:2", "Contested").await;
    let story = healed(None).await;
    let cluster = story.cluster();
    assert!(
        cluster.rollback()["reason"]
            .as_str()
            .unwrap()
            .starts_with("argocd-controller ")
    );
    let pages: Vec<_> = cluster
        .events
        .iter()
        .filter(|(reason, _)| reason == "Contested")
        .collect();
    assert_eq!(pages.len(), 1);
    let sticks = "to keep it undone, change in Git: spec.template.spec.containers[app].image: shop:2 -> shop:1";
    assert!(pages[0].1.ends_with(sticks), "{}", pages[0].1);
}

#[tokio::test(start_paused = true)]
async fn killed_with_its_disk_the_operator_never_acts_twice() {
    let requests = undone(None).await.cluster().asked.len();
    for number in 0..requests {
        let story = undone(Some(Death::WithItsDisk(number))).await;
        let ending = story.ending();
        assert!(ending.0 <= 1, "{number}: {ending:?}");
        if ending.0 == 1 {
            assert_eq!(
                (ending.1.as_str(), &ending.2),
                ("shop:1", &json!("Latched")),
                "{number}: {:?}",
                ending.3
            );
            assert!(!ending.4, "{number}: the managers are put back");
        }
    }
}
