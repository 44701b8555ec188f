//! One authority follows another under workers that stay.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    api::{Api, State},
    *,
};
use crate::{
    admin::Readiness,
    clock::ManualClock,
    distribution::{
        certificates::{keyring::OVERLAP, store::ROTATE_BEFORE},
        serving::Serving,
    },
};

const SHORT: Duration = Duration::from_millis(10);

/// A Secret whose authority was made at `made`, and is to be followed by another a second later.
async fn stored(made: Timestamp) -> Value {
    let api = Api::start(State::default());
    let clock = ManualClock::at(&made.to_string());
    certificates::store::obtain(&api.client, "test", &*clock).await.unwrap();
    let mut secret = api.state.borrow().secret.clone().unwrap();
    secret["metadata"]["resourceVersion"] = json!("x");
    let asked = made + Duration::from_secs(1);
    secret["metadata"]["annotations"] = json!({ROTATE_BEFORE: asked.to_string()});
    secret
}

async fn worker(address: SocketAddr, trusted: &str, node: &str) -> Result<Worker, tonic::transport::Error> {
    let channel = connect(address, trusted).await?;
    let mut worker = open(channel, Some(&format!("s3cr3t.node.{node}"))).await.unwrap();
    worker.hello(node, None).await;
    worker.welcome().await;
    Ok(worker)
}

fn certificates(bundle: &str) -> usize {
    bundle.matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn a_worker_that_knows_the_old_authority_gets_in_until_the_turn_and_who_listened_gets_in_always() {
    // Two overlaps ago, because the workers' clock is the machine's.
    let made = SystemClock.now() - 3 * OVERLAP;
    let clock = ManualClock::at(&made.to_string());
    let api = Api::start(State {
        secret: Some(stored(made).await),
        ..State::default()
    });
    let (_leadership, changes) = watch::channel(leading(3));
    let (distribution, _pusher) = Distribution::new(changes, clock.clone(), Metrics::default());
    let (queue, _deliveries) = mpsc::channel(2);
    let stop = CancellationToken::new();
    let residents = Residents::new(Metrics::default());
    let metrics = Metrics::default();
    let server = Server::new(&distribution, api.reviewer(), residents, queue, metrics, stop.clone());
    let serving = Serving {
        client: api.client.clone(),
        namespace: "test".to_owned(),
        pod_ip: None,
        address: "127.0.0.1:0".parse().unwrap(),
        clock: clock.clone(),
        metrics: Metrics::default(),
        readiness: Readiness::default(),
        look_every: SHORT,
        stop: stop.clone(),
    };
    let (keyring, listener) = serving.prepare().await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { serving.rounds(&server, &listener, keyring).await });

    let old = api.until_trusted(|bundle| certificates(bundle) == 1).await;
    let mut early = worker(address, &old, "early").await.unwrap();

    clock.advance(Duration::from_secs(2));
    let both = api.until_trusted(|bundle| certificates(bundle) == 2).await;
    assert!(both.starts_with(&old));
    worker(address, &old, "deaf").await.unwrap();
    worker(address, &both, "listening").await.unwrap();
    assert!(
        distribution.fleet().borrow().workers["early"].connected,
        "nobody is sent away by an announcement"
    );

    clock.advance(OVERLAP);
    assert_eq!(early.end().await.code(), Code::Unavailable, "asked to come back");
    assert!(worker(address, &old, "deaf").await.is_err());
    worker(address, &both, "listening").await.unwrap();
    let turned = api.until_trusted(|bundle| !bundle.starts_with(&old)).await;
    assert_eq!(certificates(&turned), 2);

    clock.advance(OVERLAP);
    let new = api.until_trusted(|bundle| certificates(bundle) == 1).await;
    assert!(turned.starts_with(&new));
    worker(address, &new, "new").await.unwrap();
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
