use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    clock::ManualClock,
    distribution::certificates::keyring::{OVERLAP, RENEW_BEFORE},
    testing::{Asked, api_server},
};

const GET: &str = "GET /api/v1/namespaces/shoalwatch/secrets/shoalwatch-ca";
const CREATE: &str = "POST /api/v1/namespaces/shoalwatch/secrets";

fn clock() -> std::sync::Arc<ManualClock> {
    ManualClock::at("2026-11-22T04:00:00Z")
}

fn stored() -> (Keyring, Value) {
    let keyring = Keyring::new(Authority::generate(clock().now()).unwrap());
    let secret = serde_json::to_value(written(&keyring)).unwrap();
    (keyring, secret)
}

#[tokio::test]
async fn the_first_replica_makes_an_authority_that_the_next_one_reads() {
    let (client, mut server) = api_server();
    let clock = clock();
    let (made, secret) = tokio::join!(obtain(&client, "shoalwatch", &*clock), async {
        assert_eq!(server.refuse(404, "NotFound").await.what, GET);
        server.accept().await
    });
    assert_eq!(secret.what, CREATE);
    let read = obtain(&client, "shoalwatch", &*clock);
    let (read, _) = tokio::join!(read, server.answer(|_| (200, secret.body)));
    assert_eq!(read.unwrap().bundle(), made.unwrap().bundle());
}

#[tokio::test]
async fn of_two_replicas_that_start_together_the_second_takes_the_firsts_authority() {
    let (client, mut server) = api_server();
    let clock = clock();
    let (winner, secret) = stored();
    let (got, ()) = tokio::join!(obtain(&client, "shoalwatch", &*clock), async {
        server.refuse(404, "NotFound").await;
        assert_eq!(server.refuse(409, "AlreadyExists").await.what, CREATE);
        server.answer(|_| (200, secret)).await;
    });
    assert_eq!(got.unwrap().bundle(), winner.bundle());
}

#[tokio::test]
async fn a_secret_that_cannot_serve_is_an_error_that_says_what_to_do_and_does_not_pass() {
    let (_, good) = stored();
    let mut keyless = good.clone();
    keyless["data"].as_object_mut().unwrap().remove(PRIVATE_KEY);
    let mut garbage = good;
    garbage["data"][CA_KEY] = json!("Z2FyYmFnZQ==");
    for (secret, category) in [(keyless, "Corrupt"), (garbage, "Corrupt"), (json!({}), "Corrupt")] {
        let (client, mut server) = api_server();
        let clock = clock();
        let got = obtain(&client, "shoalwatch", &*clock);
        let (got, _) = tokio::join!(got, server.answer(|_| (200, secret)));
        let error = got.unwrap_err();
        assert_eq!((error.category(), error.passes()), (category, false));
        assert!(
            error.to_string().contains("Delete it and restart the operator"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_api_server_that_refuses_may_be_asked_again() {
    let (client, mut server) = api_server();
    let clock = clock();
    let got = obtain(&client, "shoalwatch", &*clock);
    let (got, _) = tokio::join!(got, server.refuse(403, "Forbidden"));
    assert!(got.unwrap_err().passes());
}

fn config_map(certificate: &str) -> impl FnOnce(&Asked) -> (u16, Value) + use<> {
    let map = json!({"metadata": {"name": CA_CONFIG_MAP}, "data": {CA_KEY: certificate}});
    move |_| (200, map)
}

#[tokio::test]
async fn a_certificate_that_is_shown_already_is_not_written_again() {
    let (client, mut server) = api_server();
    let publishing = publish(client, "shoalwatch", "mine");
    let (published, ()) = tokio::join!(publishing, async {
        server.answer(config_map("mine")).await;
    });
    published.unwrap();
}

#[tokio::test]
async fn a_certificate_that_somebody_changed_is_put_back() {
    let (client, mut server) = api_server();
    let publishing = publish(client, "shoalwatch", "mine");
    let (published, patch) = tokio::join!(publishing, async {
        server.answer(config_map("theirs")).await;
        server.accept().await
    });
    published.unwrap();
    assert_eq!(
        patch.what,
        "PATCH /api/v1/namespaces/shoalwatch/configmaps/shoalwatch-ca"
    );
    assert_eq!(patch.body["data"][CA_KEY], "mine");
}

/// What is stored once an authority is old, and a day after each step.
fn after(steps: &[Step]) -> (Keyring, Value, Timestamp) {
    let (mut keyring, _) = stored();
    let mut now = keyring.expires() - RENEW_BEFORE;
    for step in steps {
        keyring = keyring.after(*step, now).unwrap();
        now += OVERLAP;
    }
    let mut secret = serde_json::to_value(written(&keyring)).unwrap();
    secret["metadata"]["resourceVersion"] = json!("7");
    secret["metadata"]["annotations"] = json!({"somebody.example/note": "kept"});
    (keyring, secret, now)
}

const REPLACE: &str = "PUT /api/v1/namespaces/shoalwatch/secrets/shoalwatch-ca";

#[tokio::test]
async fn an_authority_that_ends_soon_is_followed_step_by_step_and_each_is_conditional_on_what_was_read() {
    let all = [Step::Announce, Step::Turn, Step::Forget];
    for made in 0..all.len() {
        let (before, secret, now) = after(&all[..made]);
        let (client, mut server) = api_server();
        let clock = ManualClock::at(&now.to_string());
        let (got, put) = tokio::join!(obtain(&client, "shoalwatch", &*clock), async {
            server.answer(|_| (200, secret)).await;
            server.accept().await
        });
        let got = got.unwrap();
        assert_eq!(put.what, REPLACE);
        assert_eq!(put.body["metadata"]["resourceVersion"], "7");
        assert_eq!(put.body["metadata"]["annotations"]["somebody.example/note"], "kept");
        let written: Secret = serde_json::from_value(put.body).unwrap();
        assert_eq!(read(&written, now).unwrap().bundle(), got.bundle());
        assert_eq!(got.signs_like(&before), all[made] != Step::Turn);
        // The next replica that looks finds nothing to do.
        assert_eq!(read(&written, now).unwrap().due(None, now), None);
    }
}

#[tokio::test]
async fn of_two_replicas_that_step_at_once_the_second_takes_what_the_first_wrote() {
    let (_, old, now) = after(&[]);
    let (first, stepped, _) = after(&[Step::Announce]);
    let (client, mut server) = api_server();
    let clock = ManualClock::at(&now.to_string());
    let (got, ()) = tokio::join!(obtain(&client, "shoalwatch", &*clock), async {
        server.answer(|_| (200, old)).await;
        assert_eq!(server.refuse(409, "Conflict").await.what, REPLACE);
        server.answer(|_| (200, stepped)).await;
    });
    assert_eq!(got.unwrap().bundle(), first.bundle());
}

#[tokio::test]
async fn somebody_who_asks_on_the_secret_gets_another_authority() {
    let (_, mut secret) = stored();
    secret["metadata"]["resourceVersion"] = json!("7");
    let asked = clock().now() + Duration::from_mins(1);
    for (text, writes) in [(asked.to_string(), true), ("tomorrow".to_owned(), false)] {
        secret["metadata"]["annotations"] = json!({ROTATE_BEFORE: text});
        let secret = secret.clone();
        let (client, mut server) = api_server();
        let clock = ManualClock::at(&asked.to_string());
        let (got, ()) = tokio::join!(obtain(&client, "shoalwatch", &*clock), async {
            server.answer(|_| (200, secret)).await;
            if writes {
                assert_eq!(server.accept().await.what, REPLACE);
            }
        });
        assert_eq!(got.unwrap().next.is_some(), writes);
    }
}

#[tokio::test]
async fn a_step_without_its_time_is_refused() {
    for time in [None, Some("bm93")] {
        let (_, mut secret, now) = after(&[Step::Announce]);
        let data = secret["data"].as_object_mut().unwrap();
        data.remove(STEPPED);
        data.extend(time.map(|text| (STEPPED.to_owned(), json!(text))));
        let error = read(&serde_json::from_value(secret).unwrap(), now).unwrap_err();
        assert_eq!(error.category(), "Corrupt");
        assert!(error.to_string().contains(STEPPED), "{error}");
    }
}
