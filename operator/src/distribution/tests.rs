//! The whole server on a free port, over TLS, with workers that are played here.

mod api;
mod rotation;
mod security;
mod streams;

use std::{net::SocketAddr, time::Duration};

use prost::Message;
use shoalwatch_node_api::{
    config::{NodeConfig, SamplingPolicy, Selector},
    limits,
    wire::{
        distribution_client::DistributionClient, operator_message::Message as Said, welcome::Role,
        worker_message::Message as Say,
    },
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use super::{
    auth::{Authenticator, Identity, Refusal},
    certificates::{Authority, server_names},
    residents::Residents,
    server::Server,
    *,
};
use crate::clock::{Clock, SystemClock};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The token is the node's name.
struct Naming;

impl Authenticator for Naming {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        if token == "expired" {
            return Err(Refusal::Invalid("token has expired".to_owned()));
        }
        Ok(Identity { node: token.to_owned() })
    }
}

struct Operator {
    distribution: Distribution,
    leadership: watch::Sender<Leadership>,
    residents: Residents,
    deliveries: mpsc::Receiver<Delivery>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), server::Error>>,
    address: SocketAddr,
    authority: String,
}

const fn leading(term: u64) -> Leadership {
    Leadership { leading: true, term }
}

async fn operator(first: Leadership) -> Operator {
    operator_that_asks(Naming, first).await
}

async fn operator_that_asks(authenticator: impl Authenticator, first: Leadership) -> Operator {
    let authority = Authority::generate(SystemClock.now()).unwrap();
    let certificate = authority
        .certify(server_names("test", None), SystemClock.now())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (leadership, changes) = watch::channel(first);
    let (distribution, pusher) = Distribution::new(changes, Arc::new(SystemClock), Metrics::default());
    let (queue, deliveries) = mpsc::channel(2);
    let stop = CancellationToken::new();
    tokio::spawn(pusher.run(stop.clone()));
    let residents = Residents::new(Metrics::default());
    residents.settle("web-1", "a", "shop", "v1");
    let metrics = Metrics::default();
    let server = Server::new(
        &distribution,
        authenticator,
        residents.clone(),
        queue,
        metrics,
        stop.clone(),
    );
    let serving = tokio::spawn(server.serve(listener, certificate));
    Operator {
        distribution,
        leadership,
        residents,
        deliveries,
        stop,
        serving,
        address,
        authority: authority.certificate().to_owned(),
    }
}

/// A connection to an operator that shows a certificate of one of `trusted`.
async fn connect(address: SocketAddr, trusted: &str) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(trusted))
        .domain_name("shoalwatch-operator.test.svc");
    let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(tls)?.connect().await
}

/// Opens a stream with `token`, saying nothing yet.
async fn open(channel: Channel, token: Option<&str>) -> Result<Worker, Status> {
    let (say, outbox) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(outbox));
    if let Some(token) = token {
        let mut bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        // As a worker does.
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
    }
    let heard = DistributionClient::new(channel).sync(request).await?;
    Ok(Worker {
        say,
        heard: heard.into_inner(),
    })
}

impl Operator {
    async fn open(&self, token: Option<&str>) -> Result<Worker, Status> {
        open(connect(self.address, &self.authority).await.unwrap(), token).await
    }

    /// A worker of `node` that runs `applied`, after its Welcome.
    async fn worker(&self, node: &str, applied: Option<&Version>) -> Worker {
        let mut worker = self.open(Some(node)).await.unwrap();
        worker.hello(node, applied).await;
        worker.welcome().await;
        worker
    }

    async fn delivery(&mut self) -> Delivery {
        let delivery = tokio::time::timeout(PATIENCE, self.deliveries.recv()).await;
        delivery.expect("a report should be delivered").unwrap()
    }

    /// Waits until the worker of `node` is as `wanted`.
    async fn until(&self, node: &str, wanted: impl Fn(&super::Worker) -> bool) -> super::Worker {
        let mut fleet = self.distribution.fleet();
        let seen = fleet.wait_for(|fleet| fleet.workers.get(node).is_some_and(&wanted));
        let seen = tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the worker should come to be so");
        seen.unwrap().workers[node].clone()
    }
}

struct Worker {
    say: mpsc::Sender<wire::WorkerMessage>,
    heard: Streaming<wire::OperatorMessage>,
}

impl Worker {
    async fn say(&self, message: Say) {
        let message = wire::WorkerMessage { message: Some(message) };
        self.say.send(message).await.unwrap();
    }

    async fn hello(&self, node: &str, applied: Option<&Version>) {
        self.say(Say::Hello(wire::Hello {
            node_name: node.to_owned(),
            worker_version: "1.2.3".to_owned(),
            applied: applied.cloned().map(Into::into),
            ..wire::Hello::default()
        }))
        .await;
    }

    async fn hear(&mut self) -> Result<Said, Status> {
        let heard = tokio::time::timeout(PATIENCE, self.heard.message()).await;
        let message = heard.expect("the operator should say something")?;
        Ok(message.expect("an open stream").message.expect("content"))
    }

    async fn welcome(&mut self) -> wire::Welcome {
        match self.hear().await.unwrap() {
            Said::Welcome(welcome) => welcome,
            other => panic!("a welcome was due, not {other:?}"),
        }
    }

    async fn push(&mut self) -> wire::Push {
        match self.hear().await.unwrap() {
            Said::Push(push) => push,
            other => panic!("a push was due, not {other:?}"),
        }
    }

    async fn sli_ack(&mut self) -> wire::SliAck {
        match self.hear().await.unwrap() {
            Said::SliAck(ack) => ack,
            other => panic!("an acknowledgement was due, not {other:?}"),
        }
    }

    /// The error that ends the stream.
    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }

    async fn ack(&self, push: &wire::Push) {
        let (version, nonce) = (push.version.clone(), push.nonce.clone());
        self.say(Say::Ack(wire::Ack { version, nonce })).await;
    }

    async fn nack(&self, push: &wire::Push, reason: &str) {
        self.say(Say::Nack(wire::Nack {
            version: push.version.clone(),
            nonce: push.nonce.clone(),
            reason: reason.to_owned(),
        }))
        .await;
    }

    async fn report(&self, sequence: u64, rows: usize) {
        let row = wire::SliRow {
            sli_id: "shop/web".to_owned(),
            revision: "v1".to_owned(),
            good: 9,
            ..wire::SliRow::default()
        };
        self.say(Say::SliReport(wire::SliReport {
            start_id: "s".to_owned(),
            sequence,
            rows: vec![row; rows],
            age_ms: 0,
            start_age_ms: 1,
        }))
        .await;
    }
}

fn config(probability: f64) -> NodeConfig {
    NodeConfig {
        policies: vec![SamplingPolicy {
            id: "shop/web".to_owned(),
            namespace: None,
            selector: Selector::default(),
            probability,
            rules: Vec::new(),
            limit: None,
            honour_parent: true,
            dry_run: false,
        }],
        ..NodeConfig::default()
    }
}

/// What a push asks for.
fn pushed(push: &wire::Push) -> wire::NodeConfig {
    wire::NodeConfig::decode(push.config.clone().unwrap()).unwrap()
}

#[tokio::test]
async fn a_configuration_is_pushed_and_in_force_once_it_is_acknowledged() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    let version = operator.distribution.publish_to_all(config(0.5));
    let push = worker.push().await;
    assert_eq!(push.version, Some(version.clone().into()));
    assert_eq!(NodeConfig::try_from(pushed(&push)).unwrap(), config(0.5));
    assert_eq!(operator.until("a", |_| true).await.applied, None);
    worker.ack(&push).await;
    let seen = operator.until("a", |worker| worker.applied.is_some()).await;
    assert_eq!((seen.applied, seen.worker_version.as_str()), (Some(version), "1.2.3"));
}

#[tokio::test]
async fn a_worker_that_reconnects_with_what_is_in_force_is_sent_nothing_until_something_changes() {
    let operator = operator(leading(3)).await;
    let mut first = operator.worker("a", None).await;
    let version = operator.distribution.publish_to_all(config(0.5));
    let push = first.push().await;
    first.ack(&push).await;
    drop(first);
    operator.until("a", |worker| !worker.connected).await;
    let mut again = operator.worker("a", Some(&version)).await;
    let next = operator.distribution.publish_to_all(config(0.6));
    // Whatever is pushed first must be the next one.
    assert_eq!(again.push().await.version, Some(next.into()));
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_reason_and_the_last_good_configuration_stays() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    let good = operator.distribution.publish_to_all(config(0.5));
    let push = worker.push().await;
    worker.ack(&push).await;
    let bad = operator.distribution.publish_to_all(config(0.6));
    let push = worker.push().await;
    worker.nack(&push, "policies[0].probability: no").await;
    let seen = operator.until("a", |worker| worker.rejected.is_some()).await;
    assert_eq!(seen.applied, Some(good));
    let rejection = seen.rejected.unwrap();
    assert_eq!(
        (rejection.version, rejection.reason.as_str()),
        (bad, "policies[0].probability: no")
    );
}

#[tokio::test]
async fn a_newer_push_supersedes_one_that_is_unanswered() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    let older = operator.distribution.publish_to_all(config(0.5));
    let first = worker.push().await;
    assert_eq!(first.version, Some(older.into()));
    let newer = operator.distribution.publish_to_all(config(0.6));
    let second = worker.push().await;
    worker.nack(&first, "late").await;
    worker.ack(&second).await;
    let seen = operator.until("a", |worker| worker.applied.is_some()).await;
    assert_eq!((seen.applied, seen.rejected), (Some(newer), None));
}

#[tokio::test]
async fn a_follower_is_silent_until_it_leads_and_then_welcomes_again_before_it_pushes() {
    let operator = operator(Leadership {
        leading: false,
        term: 3,
    })
    .await;
    let mut worker = operator.open(Some("a")).await.unwrap();
    worker.hello("a", None).await;
    let welcome = worker.welcome().await;
    assert_eq!((welcome.role(), welcome.term), (Role::Follower, 3));
    let version = operator.distribution.publish_to_all(config(0.5));
    operator.leadership.send_replace(leading(4));
    let welcome = worker.welcome().await;
    assert_eq!((welcome.role(), welcome.term), (Role::Leader, 4));
    assert_eq!(
        worker.push().await.version.unwrap(),
        Version { term: 4, ..version }.into()
    );
    operator.leadership.send_replace(Leadership {
        leading: false,
        term: 5,
    });
    assert_eq!(worker.welcome().await.role(), Role::Follower);
}

#[tokio::test]
async fn every_worker_is_pushed_its_own_nodes_plan_and_nothing_when_another_nodes_changes() {
    let operator = operator(leading(3)).await;
    let (mut a, mut b) = (operator.worker("a", None).await, operator.worker("b", None).await);
    let publish = |of_a: f64, of_b: f64| {
        let plan = |probability| Some(Arc::new(Plan::new(config(probability))));
        let nodes = [("a".to_owned(), plan(of_a)), ("b".to_owned(), plan(of_b))];
        operator.distribution.publish(Plans::new(None, nodes.into()))
    };
    let probability = |push: &wire::Push| pushed(push).policies[0].probability.to_string();
    let _version = publish(0.1, 0.2);
    let (first, other) = (a.push().await, b.push().await);
    assert_eq!([probability(&first), probability(&other)], ["0.1", "0.2"]);
    a.ack(&first).await;
    b.ack(&other).await;
    let _version = publish(0.1, 0.3);
    let edited = b.push().await;
    assert_eq!(probability(&edited), "0.3");
    let _version = publish(0.4, 0.3);
    assert_eq!(
        probability(&a.push().await),
        "0.4",
        "what came between was none of its business"
    );
    let mut stranger = operator.worker("c", None).await;
    let _version = operator.distribution.publish_to_all(config(0.5));
    assert_eq!(
        probability(&stranger.push().await),
        "0.5",
        "and whoever has no plan is pushed none"
    );
}

#[tokio::test]
async fn what_was_published_under_an_older_term_is_never_pushed() {
    let operator = operator(leading(3)).await;
    let stale = operator.distribution.publish_to_all(config(0.5));
    let mut fleet = operator.distribution.fleet();
    let in_force = fleet.wait_for(|fleet| fleet.target.as_ref() == Some(&stale));
    tokio::time::timeout(PATIENCE, in_force).await.unwrap().unwrap();
    operator.leadership.send_replace(leading(4));
    let mut worker = operator.worker("a", None).await;
    let fresh = operator.distribution.publish_to_all(config(0.6));
    assert_eq!(worker.push().await.version, Some(fresh.into()));
}

#[tokio::test]
async fn a_report_is_acknowledged_only_after_it_was_ingested_and_a_dropped_one_never() {
    let mut operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    worker.report(1, 1).await;
    worker.report(2, 1).await;
    let first = operator.delivery().await;
    let second = operator.delivery().await;
    assert_eq!((first.node.as_str(), first.report.rows[0].good), ("a", 9));
    // A push overtakes: nothing was acknowledged while nothing was ingested.
    let _version = operator.distribution.publish_to_all(config(0.5));
    worker.push().await;
    drop(first);
    second.done.send(()).unwrap();
    assert_eq!(worker.sli_ack().await.sequence, 2);
}

#[tokio::test]
async fn a_full_queue_holds_the_worker_back_and_loses_nothing() {
    let mut operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    for sequence in 1..=16 {
        worker.report(sequence, 1).await;
    }
    let _version = operator.distribution.publish_to_all(config(0.5));
    worker.push().await;
    for sequence in 1..=16 {
        let delivery = operator.delivery().await;
        assert_eq!(delivery.report.sequence, sequence);
        delivery.done.send(()).unwrap();
        assert_eq!(worker.sli_ack().await.sequence, sequence);
    }
}

#[tokio::test]
async fn a_report_out_of_bounds_ends_the_stream_and_reaches_nobody() {
    let mut operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    worker.report(1, limits::REPORT_ROWS + 1).await;
    let status = worker.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status
            .message()
            .contains("sli_report.rows has 4097 entries: at most 4096"),
        "{status}"
    );
    operator.until("a", |worker| !worker.connected).await;
    assert!(operator.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn a_message_larger_than_the_contract_is_not_even_decoded() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    let reason = "x".repeat(limits::MESSAGE_BYTES);
    let nack = wire::Nack {
        reason,
        ..wire::Nack::default()
    };
    worker.say(Say::Nack(nack)).await;
    let status = worker.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("larger than 4194304 bytes"), "{status}");
}
