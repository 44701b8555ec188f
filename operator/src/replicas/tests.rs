//! Replicas on free ports, over TLS, each with a disk of its own.

use std::net::SocketAddr;

use serde_json::json;
use shoalwatch_core::history::History;
use shoalwatch_core::reports::{CumulativeReports, Report, Row};
use shoalwatch_core::{Counts, SliId};
use shoalwatch_node_api::replicas::replicas_server::ReplicasServer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use super::server::Copies;
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::distribution::auth::{Authenticator, Identity as Who, Refusal};
use crate::distribution::certificates::{Authority, server_names};
use crate::history::{self, Snapshot};
use crate::testing::api_server;

const NOW: Millis = Millis(1_800_000_000_000);
const UID: &str = "11111111-of-checkout";
const SLI: &str = "shop/checkout@11111111";

/// Lets in whoever says that it is a replica.
struct Replicas;

impl Authenticator for Replicas {
    async fn authenticate(&self, token: &str) -> Result<Who, Refusal> {
        if token == "replica" {
            return Ok(Who { node: "n1".to_owned() });
        }
        Err(Refusal::Foreign {
            found: token.to_owned(),
            wanted: "replica".to_owned(),
        })
    }
}

/// A replica that others may copy from.
struct Peer {
    address: SocketAddr,
    ca: String,
    store: watch::Sender<Option<Store>>,
    leadership: watch::Sender<Leadership>,
    serving: JoinHandle<()>,
    disk: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Peer {
    /// One that begins itself.
    async fn beginning() -> Self {
        let authority = Authority::generate(SystemClock.now()).unwrap();
        let shown = authority
            .certify(server_names("test", None), SystemClock.now())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (store, stored) = watch::channel(None);
        let (leadership, lease) = watch::channel(Leadership { leading: true, term: 7 });
        let copies = Copies::new(Replicas, stored, lease, Metrics::default());
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(shown.certificate, shown.key));
        let server = Server::builder().tls_config(tls).unwrap();
        let serving = async move {
            let mut server = server;
            let router = server.add_service(ReplicasServer::new(copies));
            router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        };
        Self {
            address,
            ca: authority.certificate().to_owned(),
            store,
            leadership,
            serving: tokio::spawn(serving),
            disk: TempDir::new().unwrap(),
        }
    }

    /// One with a history.
    async fn with(snapshot: Snapshot) -> Self {
        let peer = Self::beginning().await;
        let store = history::open(peer.disk.path()).await.store.unwrap();
        store.save(snapshot).await.unwrap();
        peer.store.send_replace(Some(store));
        peer
    }

    fn store(&self) -> Store {
        self.store.borrow().clone().unwrap()
    }
}

/// A replica that starts, with its disk and the API server that tells it whom to trust.
struct Started {
    replica: Replica,
    disk: TempDir,
    api: JoinHandle<()>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.api.abort();
    }
}

fn starting(token: &str, ca: &str, listed: Vec<SocketAddr>) -> Started {
    let disk = TempDir::new().unwrap();
    let token_file = disk.path().join("token");
    std::fs::write(&token_file, token).unwrap();
    let (client, mut server) = api_server();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shoalwatch-ca"},
        "data": {"ca.crt": ca}});
    let api = tokio::spawn(async move {
        loop {
            server.answer(|_| (200, map.clone())).await;
        }
    });
    let metrics = Metrics::default();
    let peers = Peers {
        client,
        namespace: "test".to_owned(),
        own: None,
        port: 0,
        token_file,
        metrics: metrics.clone(),
        listed: Some(listed),
    };
    let replica = Replica {
        peers,
        store: watch::Sender::default(),
        may_lead: CancellationToken::new(),
        readiness: Readiness::default(),
        metrics,
    };
    Started { replica, disk, api }
}

impl Started {
    async fn begin(&self) -> Opened {
        let mut opened = history::open(self.disk.path()).await;
        self.replica.begin(&mut opened, NOW).await;
        assert!(self.replica.may_lead.is_cancelled() && self.replica.store.borrow().is_some());
        opened
    }
}

/// What a replica has that heard `good` answers.
fn heard(good: u64, age: (u64, u64)) -> Saved {
    let mut saved = Saved::default();
    let report = Report {
        worker: "node-1".into(),
        start: "start".into(),
        sequence: 1,
        age: Duration::ZERO,
        since_start: Some(Duration::ZERO),
        rows: vec![Row {
            sli: SLI.into(),
            revision: "v1".into(),
            counts: Counts::new(good, 0),
            pods: 1,
            bad_pods: 0,
        }],
    };
    let mut history = History::default();
    for difference in saved.reports.ingest(&report, NOW) {
        history.record(&difference, NOW);
    }
    let record = Record {
        age,
        ..Record::default()
    };
    saved.slos.insert(UID.to_owned(), (record, history));
    saved
}

fn good(saved: &Saved) -> u64 {
    saved.slos[UID].1.of([&"v1".into()]).totals().counts.good
}

#[tokio::test]
async fn a_replica_that_starts_has_what_the_other_one_knows_on_its_own_disk_before_it_may_lead() {
    let peer = Peer::with(heard(100, (7, 3)).snapshot().unwrap()).await;
    let started = starting("replica", &peer.ca, vec![peer.address]);
    let opened = started.begin().await;
    assert_eq!((good(&opened.saved), opened.saved.slos[UID].0.age), (100, (7, 3)));
    assert_eq!(started.replica.metrics.copies(CopyOutcome::Copied), 1);
    drop(opened);
    started.replica.store.send_replace(None);
    assert_eq!(good(&history::open(started.disk.path()).await.saved), 100);
}

#[tokio::test]
async fn what_both_replicas_heard_is_there_once_and_what_one_heard_alone_is_not_lost() {
    let peer = Peer::with(heard(100, (7, 3)).snapshot().unwrap()).await;
    let started = starting("replica", &peer.ca, vec![peer.address]);
    let store = history::open(started.disk.path()).await.store.unwrap();
    store.save(heard(130, (6, 9)).snapshot().unwrap()).await.unwrap();
    drop(store);
    let opened = started.begin().await;
    assert_eq!((good(&opened.saved), opened.saved.slos[UID].0.age), (130, (7, 3)));
    // The worker says it again.
    let mut reports: CumulativeReports = opened.saved.reports.clone();
    assert!(
        reports
            .above(&heard(130, (0, 0)).reports, &SliId::from(SLI), NOW)
            .is_empty()
    );
    let again = Report {
        worker: "node-1".into(),
        start: "start".into(),
        sequence: 2,
        age: Duration::ZERO,
        since_start: Some(Duration::ZERO),
        rows: vec![Row {
            sli: SLI.into(),
            revision: "v1".into(),
            counts: Counts::new(130, 0),
            pods: 1,
            bad_pods: 0,
        }],
    };
    assert!(reports.ingest(&again, NOW).is_empty());
}

#[tokio::test]
async fn a_replica_that_begins_itself_is_not_waited_for() {
    let peer = Peer::beginning().await;
    let started = starting("replica", &peer.ca, vec![peer.address]);
    assert!(started.begin().await.saved.slos.is_empty());
    assert_eq!(started.replica.metrics.copies(CopyOutcome::Alone), 1);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_it_leads_with_what_it_has_and_says_so() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let started = starting("replica", &Peer::beginning().await.ca, vec![closed]);
    started.begin().await;
    assert_eq!(started.replica.metrics.copies(CopyOutcome::Unanswered), 1);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_given_nothing() {
    let peer = Peer::with(heard(1, (1, 1)).snapshot().unwrap()).await;
    let started = starting("node-worker", &peer.ca, vec![peer.address]);
    let Err(Error::Refused { source, .. }) = started.replica.peers.copy().await else {
        panic!("it should be refused");
    };
    assert_eq!(source.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_follower_learns_what_changed_and_from_the_leader_only() {
    let peer = Peer::with(heard(1, (7, 1)).snapshot().unwrap()).await;
    let peers = starting("replica", &peer.ca, vec![peer.address]);
    let peers = &peers.replica.peers;
    let mut leader = None;
    let first = peers.decisions(&mut leader, 7).await.unwrap();
    assert_eq!(first[0].1.age, (7, 1));
    assert!(peers.decisions(&mut leader, 7).await.unwrap().is_empty());
    peer.store().save(heard(1, (7, 2)).snapshot().unwrap()).await.unwrap();
    let next = peers.decisions(&mut leader, 7).await.unwrap();
    assert_eq!((next.len(), next[0].1.age), (1, (7, 2)));
    // It believes to lead, but the Lease says another.
    assert!(matches!(peers.decisions(&mut leader, 8).await, Err(Error::NoLeader)));
    peer.leadership.send_replace(Leadership {
        leading: false,
        term: 8,
    });
    assert!(matches!(peers.decisions(&mut None, 8).await, Err(Error::NoLeader)));
}

#[test]
fn a_reader_of_a_newer_replicas_tables_takes_what_it_knows() {
    let mut raw = history::Raw::default();
    for table in [0, 1, 99] {
        raw.take(shoalwatch_node_api::replicas::Entry {
            table,
            key: "x".to_owned(),
            value: Vec::new(),
        });
    }
    assert!(raw.read().slos.is_empty());
}
