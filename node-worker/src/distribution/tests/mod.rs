//! The client against a real server: TLS, streams, and an event loop with a kernel that remembers.

mod operator;

use std::{
    future::ready,
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use prost::Message;
use shoalwatch_node_api::wire::{
    HostService, NodeConfig, OperatorMessage, Push, SamplingPolicy, Sli, SliAck, SliReport, StatusMatcher, Version,
    Welcome, operator_message::Message as FromOperator, status_matcher::Match, welcome::Role,
    worker_message::Message as FromWorker,
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{Applier, Authority, ClientSettings, LastGood, LastWords, OperatorClient, Resolve};
use crate::{
    counters::{Count, Counters},
    discovery::ProcFs,
    requests::{EventLoop, FakeKernel, LoopEnded, Setup},
};
use operator::{Operator, Stream};

/// A process that a configuration can name.
struct Sleeper {
    child: Child,
    argument: String,
}

impl Sleeper {
    fn start() -> Self {
        let argument = format!("600.{}", rand::random::<u32>());
        let child = Command::new("sleep").arg(&argument).spawn().unwrap();
        Self { child, argument }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One start of a worker.
struct Worker {
    kernel: FakeKernel,
    counters: Arc<Counters>,
    applier: Applier,
    last_words: LastWords,
    tasks: JoinSet<LoopEnded>,
}

impl Worker {
    fn start(operator: &Operator, folder: &Path) -> Self {
        let listed = watch::Sender::new(vec![operator.address]);
        Self::start_beside(operator, &Arc::new(listed), folder)
    }

    /// With replicas that come and go.
    fn start_beside(operator: &Operator, listed: &Arc<watch::Sender<Vec<SocketAddr>>>, folder: &Path) -> Self {
        let (kernel, counters) = (FakeKernel::default(), Arc::new(Counters::default()));
        let setup = Setup {
            kernel: Box::new(kernel.clone()),
            proc_fs: ProcFs::default(),
            node_name: "n1".into(),
            kubernetes: false,
            max_services: 16,
            max_raw_connections: 16,
            spans: None,
            counters: Arc::clone(&counters),
        };
        let (events, _thread) = EventLoop::start(setup).unwrap();
        let applier = Applier::new(events.clone(), Arc::clone(&counters));
        let settings = ClientSettings {
            host: "localhost".to_owned(),
            authority: Authority::File(operator.ca_file.clone()),
            token_file: folder.join("token"),
            node_name: "n1".into(),
            start_id: "start-1".into(),
            started: Instant::now(),
            kernel_release: "6.1".into(),
            degraded: (0..20).map(|number| number.to_string()).collect(),
        };
        let last_good = LastGood::new(folder.join("state"));
        let listed = Arc::clone(listed);
        let resolve: Resolve = Arc::new(move || Box::pin(ready(Ok(listed.borrow().clone()))));
        let client = OperatorClient::new(
            settings,
            resolve,
            applier.clone(),
            events,
            last_good,
            Arc::clone(&counters),
        );
        let last_words = client.last_words();
        let mut tasks = JoinSet::new();
        tasks.spawn(client.run());
        Self {
            kernel,
            counters,
            applier,
            last_words,
            tasks,
        }
    }

    fn hash(&self) -> Option<String> {
        let in_force = self.applier.in_force();
        in_force
            .borrow()
            .as_ref()?
            .version
            .as_ref()
            .map(|version| version.hash.clone())
    }

    /// Until a counter stands so.
    async fn wait_for(&self, count: Count, value: u64) {
        while self.counters.get(count) != value {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A folder with a token in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "first\n").unwrap();
    folder
}

fn version(term: u64, hash: &str) -> Version {
    let hash = hash.to_owned();
    Version { term, hash }
}

fn config(sleeper: &Sleeper, slis: &[&str]) -> NodeConfig {
    let sli = |id: &&str| Sli {
        id: (*id).to_owned(),
        workload: "sleeper".into(),
        bad: vec![StatusMatcher {
            r#match: Some(Match::Class(5)),
        }],
        report_interval_ms: 200,
        ..Sli::default()
    };
    NodeConfig {
        policies: vec![SamplingPolicy {
            id: "test/all".into(),
            probability: 1.0,
            ..SamplingPolicy::default()
        }],
        slis: slis.iter().map(sli).collect(),
        host_services: vec![HostService {
            name: "sleeper".into(),
            argument_contains: sleeper.argument.clone(),
            ..HostService::default()
        }],
    }
}

impl Stream {
    async fn push(&mut self, version: Version, nonce: &str, config: NodeConfig) {
        let push = Push {
            version: Some(version),
            nonce: nonce.to_owned(),
            config: Some(config.encode_to_vec().into()),
        };
        self.send(FromOperator::Push(push)).await;
    }

    async fn lead(&mut self, term: u64) {
        self.welcome(Role::Leader, term).await;
    }

    async fn welcome(&mut self, role: Role, term: u64) {
        let role = role.into();
        self.send(FromOperator::Welcome(Welcome { role, term })).await;
    }

    async fn send(&mut self, message: FromOperator) {
        let message = OperatorMessage { message: Some(message) };
        self.to_worker.send(Ok(message)).await.unwrap();
    }

    /// The next message that is no report.
    async fn answer(&mut self) -> FromWorker {
        loop {
            match self.next().await {
                FromWorker::SliReport(_) => {}
                answer => return answer,
            }
        }
    }

    /// The next report with rows in it.
    async fn report(&mut self) -> SliReport {
        loop {
            if let FromWorker::SliReport(report) = self.next().await
                && !report.rows.is_empty()
            {
                return report;
            }
        }
    }

    async fn acknowledge(&mut self, report: &SliReport) {
        let ack = SliAck {
            start_id: report.start_id.clone(),
            sequence: report.sequence,
        };
        self.send(FromOperator::SliAck(ack)).await;
    }
}

fn ids(report: &SliReport) -> Vec<&str> {
    let mut ids: Vec<_> = report.rows.iter().map(|row| row.sli_id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_says_that_the_configuration_is_in_force_already() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    assert_eq!(stream.authorization, "Bearer first");
    let hello = stream.hello().await;
    assert_eq!((hello.node_name.as_str(), hello.start_id.as_str()), ("n1", "start-1"));
    assert_eq!((hello.applied, hello.degraded.len()), (None, 8));
    for round in 0..50_u32 {
        let (hash, nonce) = (format!("h{round}"), format!("n{round}"));
        let wanted = round % 2 == 0;
        let config = if wanted {
            config(&sleeper, &[])
        } else {
            NodeConfig::default()
        };
        stream.push(version(1, &hash), &nonce, config).await;
        let FromWorker::Ack(ack) = stream.next().await else {
            unreachable!("no ack")
        };
        assert_eq!(worker.kernel.lock().selected.contains_key(&sleeper.child.id()), wanted);
        assert_eq!((ack.version, ack.nonce), (Some(version(1, &hash)), nonce));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_already_is_acknowledged_and_not_applied_again() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    for nonce in ["a", "b"] {
        stream.push(version(1, "h"), nonce, config(&sleeper, &[])).await;
        let FromWorker::Ack(ack) = stream.next().await else {
            unreachable!("no ack")
        };
        assert_eq!(ack.nonce, nonce);
    }
    assert_eq!(worker.counters.get(Count::ConfigApplied), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_by_its_path_and_the_last_good_one_stays() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.push(version(1, "good"), "a", config(&sleeper, &[])).await;
    assert!(matches!(stream.next().await, FromWorker::Ack(_)));
    let mut bad = config(&sleeper, &[]);
    bad.policies[0].probability = 1.5;
    stream.push(version(1, "bad"), "b", bad).await;
    let FromWorker::Nack(nack) = stream.next().await else {
        unreachable!("no nack")
    };
    assert_eq!((nack.version, nack.nonce.as_str()), (Some(version(1, "bad")), "b"));
    assert!(
        nack.reason.starts_with("policies[0].probability: 1.5"),
        "{}",
        nack.reason
    );
    assert_eq!(worker.hash().as_deref(), Some("good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_an_older_term_is_refused() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.lead(7).await;
    stream.push(version(6, "old"), "a", config(&sleeper, &[])).await;
    let FromWorker::Nack(nack) = stream.answer().await else {
        unreachable!("no nack")
    };
    assert!(nack.reason.contains("term 6 is older than term 7"), "{}", nack.reason);
    assert_eq!(worker.hash(), None);
    assert_eq!(worker.counters.get(Count::ConfigOlderTerm), 1);
    stream.push(version(7, "new"), "b", config(&sleeper, &[])).await;
    assert!(matches!(stream.answer().await, FromWorker::Ack(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_worker_begins_with_the_last_good_configuration_before_any_push() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let mut worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.push(version(3, "kept"), "a", config(&sleeper, &[])).await;
    assert!(matches!(stream.next().await, FromWorker::Ack(_)));
    worker.wait_for(Count::LastGoodWritten, 1).await;
    worker.tasks.shutdown().await;
    let again = Worker::start(&operator, folder.path());
    let hello = operator.stream().await.hello().await;
    assert_eq!(hello.applied, Some(version(3, "kept")));
    assert!(again.kernel.lock().selected.contains_key(&sleeper.child.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_last_good_configuration_is_counted_and_the_worker_asks_for_a_new_one() {
    let (mut operator, folder) = (Operator::start().await, folder());
    std::fs::create_dir(folder.path().join("state")).unwrap();
    for damaged in [
        "{",
        "{\"config\": {\"policies\": [{\"id\": \"\", \"probability\": 1}]}}",
    ] {
        std::fs::write(folder.path().join("state/last-good.json"), damaged).unwrap();
        let worker = Worker::start(&operator, folder.path());
        assert_eq!(operator.stream().await.hello().await.applied, None);
        assert_eq!(worker.counters.get(Count::LastGoodCorrupt), 1, "{damaged}");
        assert!(!folder.path().join("state/last-good.json").try_exists().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_sent_again_until_it_is_acknowledged_and_then_only_what_changed() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let _worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.lead(1).await;
    stream.push(version(1, "a"), "a", config(&sleeper, &["first"])).await;
    let (one, two) = (stream.report().await, stream.report().await);
    assert_eq!((ids(&one), ids(&two)), (vec!["first"], vec!["first"]));
    assert_eq!((one.start_id.as_str(), two.rows[0].pods), ("start-1", 1));
    assert!(two.sequence > one.sequence);
    stream.acknowledge(&two).await;
    stream
        .push(version(1, "b"), "b", config(&sleeper, &["first", "second"]))
        .await;
    let mut three = stream.report().await;
    while three.rows.iter().all(|row| row.sli_id != "second") {
        three = stream.report().await;
    }
    assert_eq!(ids(&three), ["second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_another_start_acknowledges_nothing() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.lead(1).await;
    stream.push(version(1, "a"), "a", config(&sleeper, &["first"])).await;
    let report = stream.report().await;
    let start_id = "start-0".to_owned();
    let sequence = report.sequence;
    stream.send(FromOperator::SliAck(SliAck { start_id, sequence })).await;
    assert_eq!(ids(&stream.report().await), ["first"]);
    assert_eq!(worker.counters.get(Count::ReportAcknowledged), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_has_the_token_of_today_and_all_rows_again() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.hello().await;
    stream.lead(1).await;
    stream.push(version(1, "a"), "a", config(&sleeper, &["first"])).await;
    let report = stream.report().await;
    stream.acknowledge(&report).await;
    worker.wait_for(Count::ReportAcknowledged, 1).await;
    std::fs::write(folder.path().join("token"), "second").unwrap();
    drop(stream);
    let mut stream = operator.stream().await;
    assert_eq!(stream.authorization, "Bearer second");
    assert_eq!(stream.hello().await.applied, Some(version(1, "a")));
    stream.lead(1).await;
    assert_eq!(ids(&stream.report().await), ["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_hears_what_the_leader_hears_and_each_acknowledges_for_itself() {
    let (mut leader, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let mut follower = leader.another().await;
    let listed = Arc::new(watch::Sender::new(vec![leader.address, follower.address]));
    let worker = Worker::start_beside(&leader, &listed, folder.path());
    let (mut to_leader, mut to_follower) = (leader.stream().await, follower.stream().await);
    to_leader.hello().await;
    to_follower.hello().await;
    to_follower.welcome(Role::Follower, 1).await;
    to_leader.lead(1).await;
    to_leader.push(version(1, "a"), "a", config(&sleeper, &["first"])).await;
    let report = to_leader.report().await;
    to_leader.acknowledge(&report).await;
    worker.wait_for(Count::ReportAcknowledged, 1).await;
    let (heard, again) = (to_follower.report().await, to_follower.report().await);
    assert_eq!((ids(&heard), ids(&again)), (vec!["first"], vec!["first"]));
    assert!(heard.start_age_ms > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_that_one_replica_names_binds_the_pushes_of_all() {
    let (mut leader, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let mut former = leader.another().await;
    let listed = Arc::new(watch::Sender::new(vec![leader.address, former.address]));
    let worker = Worker::start_beside(&leader, &listed, folder.path());
    let (mut to_leader, mut to_former) = (leader.stream().await, former.stream().await);
    to_leader.lead(8).await;
    to_leader.push(version(8, "new"), "a", config(&sleeper, &[])).await;
    assert!(matches!(to_leader.answer().await, FromWorker::Hello(_)));
    assert!(matches!(to_leader.answer().await, FromWorker::Ack(_)));
    to_former.lead(7).await;
    to_former.push(version(7, "old"), "b", config(&sleeper, &[])).await;
    assert!(matches!(to_former.answer().await, FromWorker::Hello(_)));
    let FromWorker::Nack(nack) = to_former.answer().await else {
        unreachable!("no nack")
    };
    assert!(nack.reason.contains("older"), "{}", nack.reason);
    assert_eq!(worker.hash().as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_listed_later_gets_a_stream_of_its_own() {
    let (mut first, folder) = (Operator::start().await, folder());
    let mut second = first.another().await;
    let listed = Arc::new(watch::Sender::new(vec![second.address]));
    let _worker = Worker::start_beside(&first, &listed, folder.path());
    let stream = second.stream().await;
    listed.send_replace(vec![first.address]);
    // Its end makes the worker look again.
    drop((stream, second));
    first.stream().await.hello().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_says_what_it_counted_last_and_waits_for_the_acknowledgement() {
    let (mut operator, folder, sleeper) = (Operator::start().await, folder(), Sleeper::start());
    let worker = Worker::start(&operator, folder.path());
    let mut stream = operator.stream().await;
    stream.lead(1).await;
    let mut slow = config(&sleeper, &["first"]);
    slow.slis[0].report_interval_ms = 10_000;
    stream.push(version(1, "a"), "a", slow).await;
    assert!(matches!(stream.answer().await, FromWorker::Hello(_)));
    assert!(matches!(stream.answer().await, FromWorker::Ack(_)));
    let listening = async {
        let mut counted = Vec::new();
        // Until the worker ends the stream.
        while let Some(message) = stream.hear().await {
            if let FromWorker::SliReport(report) = message {
                stream.acknowledge(&report).await;
                counted.extend(report.rows);
            }
        }
        counted
    };
    let (counted, ()) = tokio::join!(listening, worker.last_words.say_the_last_words());
    assert!(counted.iter().any(|row| row.sli_id == "first"));
}
