use serde_json::{Value, json};

use super::*;
use crate::{
    clock::ManualClock,
    testing::{ApiServer, api_server},
};

const GET: &str = "GET /apis/coordination.k8s.io/v1/namespaces/shoalwatch/leases/shoalwatch-operator";
const PUT: &str = "PUT /apis/coordination.k8s.io/v1/namespaces/shoalwatch/leases/shoalwatch-operator";

fn campaign() -> (Campaign, ApiServer) {
    let (client, server) = api_server();
    let clock = ManualClock::at("2026-11-22T04:00:00Z");
    let campaign = Campaign::new(client, "shoalwatch", "me".to_owned(), clock, Metrics::default());
    (campaign, server)
}

fn lease(version: &str, holder: &str, transitions: u64) -> Value {
    json!({
        "metadata": {"name": NAME, "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseTransitions": transitions, "leaseDurationSeconds": 15},
    })
}

/// One attempt against a server that has `found` and accepts what is written; returns what was written.
async fn attempt(campaign: &mut Campaign, server: &mut ApiServer, found: Value) -> Value {
    let readiness = Readiness::default();
    let (_, asked) = tokio::join!(campaign.attempt(&readiness), async {
        assert_eq!(server.answer(|_| (200, found)).await.what, GET);
        server.accept().await
    });
    assert_eq!(asked.what, PUT);
    asked.body
}

const fn leading(term: u64) -> Leadership {
    Leadership { leading: true, term }
}

const fn following(term: u64) -> Leadership {
    Leadership { leading: false, term }
}

#[tokio::test]
async fn a_restarted_replica_takes_its_own_lease_under_the_next_term_with_the_version_it_read() {
    let (mut campaign, mut server) = campaign();
    let written = attempt(&mut campaign, &mut server, lease("41", "me", 7)).await;
    assert_eq!(*campaign.leadership().borrow(), leading(8));
    assert_eq!(written["metadata"]["resourceVersion"], "41");
    assert_eq!(written["spec"]["leaseTransitions"], 8);
    assert_eq!(written["spec"]["renewTime"], "2026-11-22T04:00:00.000000Z");
}

#[tokio::test]
async fn a_lease_that_nobody_made_is_created() {
    let (mut campaign, mut server) = campaign();
    let readiness = Readiness::default();
    let (_, asked) = tokio::join!(campaign.attempt(&readiness), async {
        server.refuse(404, "NotFound").await;
        server.accept().await
    });
    assert!(asked.what.starts_with("POST "), "{}", asked.what);
    assert_eq!(asked.body["spec"]["holderIdentity"], "me");
    assert_eq!(*campaign.leadership().borrow(), leading(29_922_000));
}

#[tokio::test]
async fn renewing_keeps_the_term_and_the_time_of_the_win() {
    let (mut campaign, mut server) = campaign();
    let won = attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    let renewed = attempt(&mut campaign, &mut server, won.clone()).await;
    assert_eq!(*campaign.leadership().borrow(), leading(8));
    assert_eq!(renewed["spec"]["acquireTime"], won["spec"]["acquireTime"]);
}

#[tokio::test]
async fn whoever_writes_second_does_not_lead() {
    let (mut campaign, mut server) = campaign();
    let readiness = Readiness::default();
    tokio::join!(campaign.attempt(&readiness), async {
        server.answer(|_| (200, lease("41", "", 7))).await;
        server.refuse(409, "Conflict").await;
    });
    assert_eq!(*campaign.leadership().borrow(), following(7));
}

#[tokio::test]
async fn a_leader_that_finds_another_holder_stops_leading_and_learns_the_term_next_time() {
    let (mut campaign, mut server) = campaign();
    attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    let readiness = Readiness::default();
    for term in [8, 9] {
        let (_, asked) = tokio::join!(
            campaign.attempt(&readiness),
            server.answer(|_| (200, lease("50", "other", 9)))
        );
        assert_eq!(asked.what, GET);
        assert_eq!(*campaign.leadership().borrow(), following(term));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_leading_before_another_may_start() {
    let (mut campaign, mut server) = campaign();
    attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    let mut leadership = campaign.leadership();
    let won = Instant::now();
    let running = tokio::spawn(campaign.run(Readiness::default(), CancellationToken::new()));
    let lost = leadership.wait_for(|leadership| !leadership.leading);
    timeout(2 * LASTS, lost).await.expect("it should give up").unwrap();
    assert!(won.elapsed() <= GIVE_UP, "{:?}", won.elapsed());
    assert!(won.elapsed() < LASTS);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn another_replicas_lease_is_taken_once_it_was_unchanged_for_its_duration_by_our_clock() {
    let (mut campaign, mut server) = campaign();
    let readiness = Readiness::default();
    tokio::join!(
        campaign.attempt(&readiness),
        server.answer(|_| (200, lease("41", "other", 7)))
    );
    tokio::time::advance(LASTS).await;
    tokio::join!(
        campaign.attempt(&readiness),
        server.answer(|_| (200, lease("42", "other", 7)))
    );
    assert_eq!(
        *campaign.leadership().borrow(),
        following(7),
        "it was renewed meanwhile"
    );
    tokio::time::advance(LASTS).await;
    attempt(&mut campaign, &mut server, lease("42", "other", 7)).await;
    assert_eq!(*campaign.leadership().borrow(), leading(8));
}

#[tokio::test]
async fn a_replica_without_its_history_looks_on_and_takes_the_lease_once_it_has_it() {
    let (campaign, mut server) = campaign();
    let may_lead = CancellationToken::new();
    let mut campaign = campaign.after(may_lead.clone());
    let readiness = Readiness::default();
    let ((), asked) = tokio::join!(
        async {
            let _pause = campaign.attempt(&readiness).await;
        },
        server.answer(|_| (200, lease("41", "", 7)))
    );
    assert_eq!(asked.what, GET);
    assert_eq!(*campaign.leadership().borrow(), following(7));
    may_lead.cancel();
    attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    assert_eq!(*campaign.leadership().borrow(), leading(8));
}

#[tokio::test]
async fn a_graceful_stop_ends_leading_first_and_then_releases_the_lease_under_its_term() {
    let (mut campaign, mut server) = campaign();
    let won = attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    let leadership = campaign.leadership();
    let stop = CancellationToken::new();
    stop.cancel();
    let ((), released) = tokio::join!(campaign.run(Readiness::default(), stop), async {
        server.answer(|_| (200, won)).await;
        assert_eq!(*leadership.borrow(), following(8));
        server.accept().await
    });
    assert_eq!(released.what, PUT);
    assert_eq!(released.body["spec"]["holderIdentity"], Value::Null);
    assert_eq!(released.body["spec"]["leaseTransitions"], 8);
}

#[tokio::test]
async fn a_stop_leaves_a_lease_alone_that_a_successor_has_taken() {
    let (mut campaign, mut server) = campaign();
    attempt(&mut campaign, &mut server, lease("41", "", 7)).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let ((), asked) = tokio::join!(
        campaign.run(Readiness::default(), stop),
        server.answer(|_| (200, lease("50", "me", 9)))
    );
    assert_eq!(asked.what, GET);
}

#[tokio::test]
async fn readiness_follows_whether_the_api_server_answers() {
    let (mut campaign, mut server) = campaign();
    let readiness = Readiness::default();
    let missing = "the API server does not answer";
    tokio::join!(campaign.attempt(&readiness), server.refuse(403, "Forbidden"));
    assert!(!readiness.missing().contains(&missing), "a refusal is an answer");
    drop(server);
    campaign.attempt(&readiness).await;
    assert!(readiness.missing().contains(&missing));
}
