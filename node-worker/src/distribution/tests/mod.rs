//! The client against a real server: TLS, streams, and an event loop with a kernel that remembers.

mod operator;

use std::{
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use shoalwatch_node_api::wire::{
    HostService, NodeConfig, OperatorMessage, Push, SamplingPolicy, Sli, SliAck, SliReport, StatusMatcher, Version,
    Welcome, operator_message::Message as FromOperator, status_matcher::Match, welcome::Role,
    worker_message::Message as FromWorker,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Applier, Authority, ClientSettings, LastGood, OperatorClient};
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
    tasks: JoinSet<LoopEnded>,
}

impl Worker {
    fn start(operator: &Operator, folder: &Path) -> Self {
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
            endpoint: operator.endpoint(),
            authority: Authority::File(operator.ca_file.clone()),
            token_file: folder.join("token"),
            node_name: "n1".into(),
            start_id: "start-1".into(),
            kernel_release: "6.1".into(),
            degraded: (0..20).map(|number| number.to_string()).collect(),
        };
        let last_good = LastGood::new(folder.join("state"));
        let client = OperatorClient::new(settings, applier.clone(), events, last_good, Arc::clone(&counters));
        let mut tasks = JoinSet::new();
        tasks.spawn(client.run());
        Self {
            kernel,
            counters,
            applier,
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
            config: Some(config),
        };
        self.send(FromOperator::Push(push)).await;
    }

    async fn lead(&mut self, term: u64) {
        let role = Role::Leader.into();
        self.send(FromOperator::Welcome(Welcome { role, term })).await;
    }

    async fn send(&mut self, message: FromOperator) {
        let message = OperatorMessage { message: Some(message) };
        self.to_worker.send(Ok(message)).await.unwrap();
    }

    async fn report(&mut self) -> SliReport {
        loop {
            if let FromWorker::SliReport(report) = self.next().await {
                return report;
            }
        }
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
    let FromWorker::Nack(nack) = stream.next().await else {
        unreachable!("no nack")
    };
    assert!(nack.reason.contains("term 6 is older than term 7"), "{}", nack.reason);
    assert_eq!(worker.hash(), None);
    assert_eq!(worker.counters.get(Count::ConfigOlderTerm), 1);
    stream.push(version(7, "new"), "b", config(&sleeper, &[])).await;
    assert!(matches!(stream.next().await, FromWorker::Ack(_)));
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
    let acknowledge = |report: &SliReport| {
        FromOperator::SliAck(SliAck {
            start_id: report.start_id.clone(),
            sequence: report.sequence,
        })
    };
    stream.send(acknowledge(&two)).await;
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
    let ack = SliAck {
        start_id: report.start_id,
        sequence: report.sequence,
    };
    stream.send(FromOperator::SliAck(ack)).await;
    worker.wait_for(Count::ReportAcknowledged, 1).await;
    std::fs::write(folder.path().join("token"), "second").unwrap();
    drop(stream);
    let mut stream = operator.stream().await;
    assert_eq!(stream.authorization, "Bearer second");
    assert_eq!(stream.hello().await.applied, Some(version(1, "a")));
    stream.lead(1).await;
    assert_eq!(ids(&stream.report().await), ["first"]);
}
