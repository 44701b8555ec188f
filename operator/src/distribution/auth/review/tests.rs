use serde_json::{Value, json};

use shoalwatch_node_api::TOKEN_AUDIENCE;

use super::*;
use crate::{
    clock::ManualClock,
    testing::{ApiServer, Asked, api_server},
};

const WORKER: &str = "system:serviceaccount:shoalwatch:shoalwatch-node-worker";

fn reviewer() -> (TokenReviewer, ApiServer) {
    let (client, server) = api_server();
    let clock = ManualClock::at("2026-11-22T04:00:00Z");
    let metrics = Metrics::default();
    let reviewer = TokenReviewer::new(
        client,
        "shoalwatch",
        "shoalwatch-node-worker",
        TOKEN_AUDIENCE,
        clock,
        metrics,
    );
    (reviewer, server)
}

/// What the API server says about a good token; tests spoil it.
fn good() -> Value {
    json!({
        "authenticated": true,
        "audiences": [TOKEN_AUDIENCE],
        "user": {"username": WORKER, "extra": {NODE_NAME: ["node-a"]}},
    })
}

fn reviewed(status: &Value) -> impl FnOnce(&Asked) -> (u16, Value) + use<> {
    let answer = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {}, "status": status});
    move |_| (201, answer)
}

async fn ask(status: &Value) -> Result<Identity, Refusal> {
    let (reviewer, mut server) = reviewer();
    let (identity, _) = tokio::join!(reviewer.authenticate("secret"), server.answer(reviewed(status)));
    identity
}

#[tokio::test]
async fn a_workers_token_is_reviewed_for_our_audience_and_names_its_node() {
    let (reviewer, mut server) = reviewer();
    let (identity, asked) = tokio::join!(reviewer.authenticate("secret"), server.answer(reviewed(&good())));
    assert_eq!(identity.unwrap().node, "node-a");
    assert_eq!(asked.what, "POST /apis/authentication.k8s.io/v1/tokenreviews");
    assert_eq!(
        asked.body["spec"],
        json!({"audiences": [TOKEN_AUDIENCE], "token": "secret"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_reviewed_once_a_minute() {
    let (reviewer, mut server) = reviewer();
    let (first, _) = tokio::join!(reviewer.authenticate("token"), server.answer(reviewed(&good())));
    first.unwrap();
    let again = server.silent_during(reviewer.authenticate("token")).await;
    assert_eq!(again.unwrap().node, "node-a");
    tokio::time::advance(Duration::from_mins(1)).await;
    let (third, _) = tokio::join!(reviewer.authenticate("token"), server.answer(reviewed(&good())));
    third.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_remembered_beyond_its_own_end() {
    let claims = json!({"exp": "2026-11-22T04:00:05Z".parse::<jiff::Timestamp>().unwrap().as_second()});
    let token = format!("header.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let (reviewer, mut server) = reviewer();
    let (first, _) = tokio::join!(reviewer.authenticate(&token), server.answer(reviewed(&good())));
    first.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    let expired = json!({"authenticated": false, "error": "token has expired"});
    let (second, _) = tokio::join!(reviewer.authenticate(&token), server.answer(reviewed(&expired)));
    assert!(matches!(second.unwrap_err(), Refusal::Invalid(reason) if reason == "token has expired"));
}

#[tokio::test]
async fn an_expired_token_is_unauthenticated_with_the_servers_reason() {
    let refusal = ask(&json!({"authenticated": false, "error": "token has expired"}))
        .await
        .unwrap_err();
    let status = refusal.status();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("token has expired"), "{status}");
}

#[tokio::test]
async fn a_reason_that_quotes_the_token_or_has_no_end_is_cut() {
    let reason = format!("secret is no token{}", "…".repeat(REASON));
    let refusal = ask(&json!({"authenticated": false, "error": reason}))
        .await
        .unwrap_err();
    assert!(matches!(&refusal, Refusal::Invalid(reason) if reason.starts_with("<token> is no token…")));
    assert!(refusal.to_string().len() < 2 * REASON, "{refusal}");
}

#[tokio::test]
async fn a_token_of_a_foreign_audience_is_refused_even_where_the_server_vouches_for_it() {
    for audiences in [json!([]), json!(["https://kubernetes.default.svc"]), Value::Null] {
        let mut status = good();
        status["audiences"] = audiences;
        let refusal = ask(&status).await.unwrap_err();
        assert_eq!(refusal.status().code(), tonic::Code::Unauthenticated, "{refusal}");
    }
}

#[tokio::test]
async fn another_service_account_is_refused_by_name() {
    let mut status = good();
    status["user"]["username"] = json!("system:serviceaccount:shop:default");
    let refusal = ask(&status).await.unwrap_err();
    assert_eq!(refusal.status().code(), tonic::Code::PermissionDenied);
    assert!(
        refusal.to_string().contains("system:serviceaccount:shop:default"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_token_that_names_no_node_says_which_kubernetes_is_needed() {
    for extra in [json!({}), json!({NODE_NAME: []}), json!({NODE_NAME: [""]}), Value::Null] {
        let mut status = good();
        status["user"]["extra"] = extra;
        let refusal = ask(&status).await.unwrap_err();
        assert_eq!(refusal.status().code(), tonic::Code::PermissionDenied);
        assert!(refusal.to_string().contains("Kubernetes 1.30 or later"), "{refusal}");
    }
}

#[tokio::test]
async fn an_api_server_that_fails_is_no_verdict_about_the_token() {
    let (reviewer, mut server) = reviewer();
    let (refusal, _) = tokio::join!(reviewer.authenticate("token"), server.refuse(403, "Forbidden"));
    assert_eq!(refusal.unwrap_err().status().code(), tonic::Code::Unavailable);
    let (retried, _) = tokio::join!(reviewer.authenticate("token"), server.answer(reviewed(&good())));
    assert_eq!(retried.unwrap().node, "node-a");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_silent_is_given_up() {
    let (reviewer, _server) = reviewer();
    let refusal = reviewer.authenticate("token").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Slow), "{refusal}");
}

#[test]
fn a_token_that_is_no_jwt_has_no_end() {
    for token in ["", "opaque", "a.b.c", "a.e30.c"] {
        assert_eq!(expiry(token), None, "{token}");
    }
}
