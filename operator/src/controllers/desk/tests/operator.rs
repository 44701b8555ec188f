//! One process of the operator, and the workers that report to it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use shoalwatch_node_api::wire::SliRow;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, revision};
use super::*;
use crate::distribution::Worker;
use crate::history::Store;
use crate::http_client::HttpClient;
use crate::testing::{Asked, response};

pub(super) const NODES: [&str; 2] = ["node-1", "node-2"];
pub(super) const HALF: Duration = Duration::from_millis(500);

/// When the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// Its request does not arrive any more.
    BeforeRequest(usize),
    /// Its request arrives, the answer does not.
    BeforeAnswer(usize),
    /// The same, and its disk is gone with it.
    WithItsDisk(usize),
    /// Its request arrives when another replica has long been leading.
    LateRequest(usize),
}

impl Death {
    pub(super) fn request(self) -> usize {
        match self {
            Self::BeforeRequest(number)
            | Self::BeforeAnswer(number)
            | Self::WithItsDisk(number)
            | Self::LateRequest(number) => number,
        }
    }
}

/// The way from a process to the API server, which may break off and be mended.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// It breaks off at this request.
    pub(super) breaks_at: Option<usize>,
    /// Requests arrive all the same, and only their answers are lost.
    pub(super) arrives: bool,
    pub(super) broken: bool,
}

impl Network {
    fn breaks_off(&mut self, requests: usize) -> bool {
        self.broken |= self.breaks_at.take_if(|request| *request == requests).is_some();
        self.broken
    }
}

/// What a process finds.
pub(super) struct Around {
    pub(super) cluster: Arc<Mutex<Cluster>>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) death: Option<Death>,
    pub(super) died: Arc<Notify>,
    pub(super) network: Arc<Mutex<Network>>,
}

pub(super) struct Operator {
    pub(super) desk: Desk,
    pub(super) lease: watch::Sender<Leadership>,
    pub(super) store: Store,
    died: Arc<Notify>,
    /// A request that is under way while its sender dies.
    pub(super) late: Arc<Mutex<Option<Asked>>>,
    _fleet: watch::Sender<Arc<Fleet>>,
    helpers: Vec<JoinHandle<()>>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.helpers.iter().for_each(JoinHandle::abort);
    }
}

impl Operator {
    pub(super) async fn start(around: Around, data: &Path, leadership: Leadership) -> Self {
        let (client, server) = api_server();
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
        let told = Arc::clone(&around.cluster.lock().unwrap().told);
        let (clock, died, late) = (around.clock.clone(), Arc::clone(&around.died), Arc::default());
        let helpers = vec![
            tokio::spawn(publisher.run()),
            tokio::spawn(writer.run(CancellationToken::new())),
            serve(server, around, Arc::clone(&late)),
        ];
        let opened = history::open(data).await;
        let store = opened.store.clone().unwrap();
        let mut desk = Desk::new(Parts {
            client,
            namespace: "shoalwatch-system".to_owned(),
            distribution,
            leadership,
            clock,
            events,
            statuses,
            opened,
            polls: crate::polling::channel(ManualClock::at("2026-11-22T05:00:00Z"), HttpClient::on_loopback()).0,
            http: HttpClient::on_loopback(),
            metrics: Metrics::register(&mut registry),
        });
        desk.hands.courier = desk.hands.courier.heard_by(told);
        Self {
            desk,
            lease,
            store,
            died,
            late,
            _fleet: fleet,
            helpers,
        }
    }

    /// What the watches bring first.
    pub(super) fn list(&mut self, cluster: &Cluster) {
        let (deployment, sets) = cluster.objects();
        let slo = serde_json::from_value(cluster.slo.clone()).unwrap();
        let desk = &mut self.desk;
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
    pub(super) fn watch(&mut self, cluster: &Cluster) {
        let (deployment, sets) = cluster.objects();
        let desk = &mut self.desk;
        desk.take_in(Change::Deployment(Box::new(Event::Apply(deployment))));
        for set in sets {
            desk.take_in(Change::ReplicaSet(Box::new(Event::Apply(set))));
        }
    }

    pub(super) fn slis(&self) -> Vec<String> {
        self.desk.slos.slis().iter().map(|sli| sli.id.to_string()).collect()
    }

    pub(super) fn hear(&mut self, node: &str, report: SliReport) {
        let (done, _acknowledged) = oneshot::channel();
        let node = node.to_owned();
        self.desk.ingest(Delivery { node, report, done });
    }

    /// Everything under way ends; false if the operator dies over it.
    pub(super) async fn settle(&mut self) -> bool {
        let (desk, died) = (&mut self.desk, &self.died);
        loop {
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
}

async fn turns() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Answers what is asked, until death comes.
fn serve(mut server: ApiServer, around: Around, late: Arc<Mutex<Option<Asked>>>) -> JoinHandle<()> {
    let Around {
        cluster,
        death,
        died,
        network,
        ..
    } = around;
    tokio::spawn(async move {
        while let Some((asked, respond)) = server.next().await {
            let mut cluster = cluster.lock().unwrap();
            if network.lock().unwrap().breaks_off(cluster.asked.len()) {
                if network.lock().unwrap().arrives {
                    cluster.answer(&asked);
                }
                respond.send_error("the network is broken");
                continue;
            }
            let due = death.is_some_and(|death| cluster.asked.len() == death.request());
            match death.filter(|_| due) {
                Some(Death::BeforeRequest(_)) => return died.notify_one(),
                Some(Death::LateRequest(_)) => {
                    *late.lock().unwrap() = Some(asked);
                    return died.notify_one();
                }
                _ => {}
            }
            let (code, body) = cluster.answer(&asked);
            if due {
                return died.notify_one();
            }
            respond.send_response(response(code, &body));
        }
    })
}

/// Workers that count since the beginning of the story.
#[derive(Default)]
pub(super) struct Traffic {
    /// Cumulative (good, bad), by node and image.
    counts: BTreeMap<(&'static str, String), (u64, u64)>,
    sequence: u64,
}

impl Traffic {
    /// Half a second of requests, as every node reports them: `shop:2` answers a fifth of them badly.
    pub(super) fn half_a_second(&mut self, cluster: &Cluster, slis: &[String]) -> Vec<(&'static str, SliReport)> {
        let ready = cluster.sets.iter().filter(|(_, ready)| **ready > 0);
        let ready: Vec<String> = ready.map(|(image, _)| image.clone()).collect();
        self.sequence += 1;
        let reports = NODES.map(|node| {
            for image in &ready {
                let counts = self.counts.entry((node, image.clone())).or_default();
                let bad = if image == "shop:2" { 3 } else { 0 };
                *counts = (counts.0 + 13 - bad, counts.1 + bad);
            }
            (node, self.report(node, slis))
        });
        reports.into()
    }

    fn report(&self, node: &str, slis: &[String]) -> SliReport {
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
        SliReport {
            start_id: format!("start-of-{node}"),
            sequence: self.sequence,
            rows: rows.collect(),
            age_ms: 0,
            start_age_ms: self.sequence * 500,
        }
    }
}
