use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::payload::Kind;
use super::receiver::{Answer, Receiver};
use super::*;
use crate::http_client::Destinations;
use crate::logging::chain;
use crate::testing::{ApiServer, api_server};

struct Office {
    courier: Courier,
    server: ApiServer,
    registry: Registry,
}

fn office() -> Office {
    let (client, server) = api_server();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let courier = Courier::new(client, HttpClient::on_loopback(), "shoalwatch-system".into(), metrics);
    Office {
        courier,
        server,
        registry,
    }
}

impl Office {
    fn shows(&self, line: &str) {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        assert!(text.contains(line), "{line}: {text}");
    }
}

fn parcel(id: &str) -> Parcel {
    Parcel {
        kind: Kind::Alert,
        id: id.to_owned(),
        body: json!({"id": id}).to_string().into(),
    }
}

fn place(url: &str) -> Place {
    Place::Address(Address::read(url).unwrap())
}

async fn deliver(office: &Office, url: &str) -> Result<(), Failure> {
    office
        .courier
        .deliver(&place(url), &parcel("u.7.fast.firing"), |_| {})
        .await
}

#[tokio::test]
async fn a_piece_is_posted_as_json_with_its_id() {
    let (office, mut receiver) = (office(), Receiver::open([]).await);
    let url = format!("{}/hook?team=shop", receiver.origin);
    deliver(&office, &url).await.unwrap();
    let heard = receiver.hear().await;
    assert_eq!(
        (heard.path.as_str(), heard.key.as_str()),
        ("/hook?team=shop", "u.7.fast.firing")
    );
    assert_eq!(heard.body, json!({"id": "u.7.fast.firing"}));
    assert_eq!(heard.headers["content-type"], "application/json");
    assert_eq!(heard.headers["host"], receiver.origin.trim_start_matches("http://"));
    office.shows(r#"notifications_total{event="Alert",outcome="Delivered",reason=""} 1"#);
}

#[tokio::test]
async fn what_a_receiver_cannot_take_is_told_again_under_the_same_id() {
    let office = office();
    let mut receiver = Receiver::open([Answer::Status(500), Answer::Status(429)]).await;
    deliver(&office, &receiver.origin).await.unwrap();
    let (first, second, third) = (receiver.hear().await, receiver.hear().await, receiver.hear().await);
    assert_eq!((&first.key, &first.body), (&second.key, &second.body));
    assert_eq!((&first.key, &first.body), (&third.key, &third.body));
    for outcome in ["server", "throttled", "delivered"] {
        office.shows(&format!(r#"notification_attempts_total{{outcome="{outcome}"}} 1"#));
    }
}

#[tokio::test]
async fn what_a_receiver_refuses_is_not_told_again() {
    let office = office();
    let mut receiver = Receiver::open([Answer::Status(400)]).await;
    let failure = deliver(&office, &receiver.origin).await.unwrap_err();
    assert_eq!(failure.category(), "refused");
    receiver.hear().await;
    assert!(receiver.heard_no_more());
    office.shows(r#"notifications_total{event="Alert",outcome="GivenUp",reason="refused"} 1"#);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let office = office();
    let mut elsewhere = Receiver::open([]).await;
    let receiver = Receiver::open([Answer::Redirect(elsewhere.origin.clone())]).await;
    let failure = deliver(&office, &receiver.origin).await.unwrap_err();
    assert_eq!(failure.category(), "redirect");
    assert!(elsewhere.heard_no_more());
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_no_other_one() {
    let office = office();
    let mut deaf = Receiver::open([Answer::Hang]).await;
    let mut other = Receiver::open([]).await;
    let deaf_origin = deaf.origin.clone();
    let mut hanging = Box::pin(deliver(&office, &deaf_origin));
    tokio::select! {
        _ = &mut hanging => panic!("it should hang"),
        _ = deaf.hear() => {}
    }
    deliver(&office, &other.origin).await.unwrap();
    other.hear().await;
    assert!(hanging.now_or_never().is_none());
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_time_is_left() {
    let office = office();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    let mut courier = office.courier.clone();
    courier.patience = Duration::from_millis(1);
    let failure = courier
        .send(&Address::read(&url).unwrap(), &parcel("a"))
        .await
        .unwrap_err();
    assert_eq!(failure.category(), "timeout");
    assert!(!chain(&failure).contains("secret"));
}

#[tokio::test]
async fn nobody_there_is_no_connection_and_shows_no_path() {
    let office = office();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret?secret", listener.local_addr().unwrap());
    drop(listener);
    let address = Address::read(&url).unwrap();
    let failure = office.courier.send(&address, &parcel("a")).await.unwrap_err();
    assert_eq!(failure.category(), "connect");
    for shown in [chain(&failure), format!("{failure:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn tls_is_not_spoken_with_a_server_that_cannot_prove_its_name() {
    let office = office();
    let receiver = Receiver::open([]).await;
    let url = receiver.origin.replace("http://", "https://");
    let failure = office
        .courier
        .send(&Address::read(&url).unwrap(), &parcel("a"))
        .await
        .unwrap_err();
    assert_eq!(failure.category(), "tls");
}

#[tokio::test]
async fn the_operators_own_host_is_not_told() {
    let mut office = office();
    office.courier.http = HttpClient::new(Destinations::default());
    let mut receiver = Receiver::open([]).await;
    let failure = deliver(&office, &receiver.origin).await.unwrap_err();
    assert_eq!(failure.category(), "own_host");
    assert!(receiver.heard_no_more());
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_never_arrives_is_told_of_once_and_given_up_after_a_quarter_of_an_hour() {
    let Office {
        courier, mut server, ..
    } = office();
    let refusing = tokio::spawn(async move {
        loop {
            server.refuse(404, "NotFound").await;
        }
    });
    let (began, mut troubles) = (Instant::now(), 0);
    let failure = courier
        .deliver(&secret(), &parcel("a"), |_| troubles += 1)
        .await
        .unwrap_err();
    refusing.abort();
    assert_eq!((failure.category(), troubles), ("secret_missing", 1));
    let took = began.elapsed();
    assert!(took < GIVE_UP && took + Duration::from_mins(1) >= GIVE_UP, "{took:?}");
}

fn secret() -> Place {
    Place::Secret {
        namespace: "shop".to_owned(),
        name: "oncall".to_owned(),
        key: "url".to_owned(),
    }
}

fn held(value: &str) -> Value {
    json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "oncall"}, "data": {"url": STANDARD.encode(value)}})
}

#[tokio::test]
async fn an_address_is_read_from_its_secret_for_each_attempt() {
    let mut office = office();
    let mut receiver = Receiver::open([Answer::Status(500)]).await;
    let courier = office.courier.clone();
    let telling = tokio::spawn(async move { courier.deliver(&secret(), &parcel("a"), |_| {}).await });
    for path in ["/old", "/new"] {
        let value = held(&format!("{}{path}\n", receiver.origin));
        let asked = office.server.answer(|_| (200, value)).await;
        assert_eq!(asked.what, "GET /api/v1/namespaces/shop/secrets/oncall");
        assert_eq!(receiver.hear().await.path, path);
    }
    telling.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_told_without_what_it_holds() {
    let mut office = office();
    let server = &mut office.server;
    let courier = office.courier.clone();
    let ask = || {
        let courier = courier.clone();
        tokio::spawn(async move { secret().address(&courier.client, &courier.home).await.unwrap_err() })
    };
    let asked = ask();
    server.refuse(403, "Forbidden").await;
    let forbidden = asked.await.unwrap();
    assert_eq!(forbidden.category(), "secret_forbidden");
    assert!(forbidden.to_string().contains("--resource-name=oncall"), "{forbidden}");

    let asked = ask();
    server.refuse(404, "NotFound").await;
    assert_eq!(asked.await.unwrap().category(), "secret_missing");

    let asked = ask();
    server.answer(|_| (200, held("hidden"))).await;
    let invalid = asked.await.unwrap();
    assert_eq!(invalid.category(), "secret_invalid");
    assert!(!chain(&invalid).contains("hidden"), "{invalid}");

    let asked = ask();
    server
        .answer(|_| {
            (
                200,
                json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "oncall"}, "data": "hidden"}),
            )
        })
        .await;
    let unreadable = asked.await.unwrap();
    assert_eq!(unreadable.category(), "secret_unavailable");
    assert!(!format!("{unreadable:?}").contains("hidden"), "{unreadable:?}");
}

#[tokio::test]
async fn a_full_queue_has_no_room_until_a_place_is_left() {
    let office = office();
    let courier = office.courier.clone().with_room_for(1);
    let slot = courier.slot();
    assert_eq!(courier.room(), 0);
    courier.deferred(Kind::Rollback);
    office.shows(r#"notifications_total{event="Rollback",outcome="Deferred",reason="queue_full"} 1"#);
    office.shows("notifications_queued 1");
    drop(slot);
    assert_eq!(courier.room(), 1);
    office.shows("notifications_queued 0");
}
