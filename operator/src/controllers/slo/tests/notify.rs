use serde_json::{Value, json};
use shoalwatch_core::rollback::Step;

use super::super::notify::{Due, Order};
use super::acts::releasing;
use super::shop::{Shop, name};
use crate::http_client::HttpError;
use crate::notifications::Failure;
use crate::notifications::payload::Kind;

const ROOM: usize = 16;

fn oncall(events: &Value) -> Value {
    json!([{"name": "oncall", "events": events, "webhook": {"url": "https://hooks.example/x"}}])
}

fn both() -> Value {
    oncall(&json!(["Alert", "Rollback"]))
}

fn due(shop: &mut Shop, room: usize) -> Due {
    let names = shop.slos.names();
    shop.slos.due_notifications(&names, room, shop.now)
}

/// Everything that is told, by a receiver that takes it at once.
fn told(shop: &mut Shop) -> Vec<Value> {
    let mut told = Vec::new();
    while let Some(order) = due(shop, ROOM).orders.pop() {
        shop.slos.notified(&order, Some(&Ok(())));
        told.push(serde_json::from_slice(&order.parcel.body).unwrap());
    }
    told
}

fn reasons(told: &[Value]) -> Vec<&str> {
    told.iter().map(|each| each["reason"].as_str().unwrap()).collect()
}

/// v2 came beside v1, answered badly and was undone, and v1 serves again.
fn undone(spec: Value) -> Shop {
    let mut shop = releasing(spec);
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    shop.traffic(60, &[("shop:1", 50, 0)]);
    assert_eq!((shop.saw(Step::Patched), shop.saw(Step::Verified)), (1, 1));
    shop
}

fn refused() -> Result<(), Failure> {
    Err(Failure::Answer {
        origin: "https://hooks.example".to_owned(),
        code: 400,
    })
}

#[test]
fn a_rollback_is_told_step_by_step_and_each_step_once() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let heard = told(&mut shop);
    assert_eq!(reasons(&heard), ["Patched", "Verified"]);
    let patched = &heard[0];
    assert_eq!(patched["version"], "v1");
    assert_eq!(patched["event"], "Rollback");
    assert_eq!(
        patched["slo"],
        json!({"kind": "SLO", "namespace": "shop", "name": "checkout", "uid": "uid-of-checkout"})
    );
    assert_eq!(patched["target"]["name"], "checkout");
    let rollback = json!({"state": "Latched", "from": "shop-2", "to": "shop-1"});
    assert_eq!(patched["rollback"], rollback, "as the status says it");
    assert!(
        shop.said.iter().any(|note| *note == patched["message"]),
        "as the Event says it: {patched}"
    );
    assert_eq!(reasons(&told(&mut shop)), [""; 0]);
    shop.pass(5);
    assert_eq!(reasons(&told(&mut shop)), [""; 0]);
}

#[test]
fn an_alert_is_told_with_the_numbers_when_it_fires_and_when_it_ceases_to() {
    let mut shop = Shop::open(json!({"notifications": both(), "rollback": {"mode": "Off"}}));
    shop.traffic(60, &[("shop:1", 0, 50)]);
    let heard = told(&mut shop);
    let pages: Vec<_> = heard
        .iter()
        .filter(|each| each["alert"]["name"] == "fast-page")
        .collect();
    assert_eq!(pages.len(), 1, "{heard:?}");
    assert_eq!(pages[0]["reason"], "AlertFiring");
    assert_eq!(
        (&pages[0]["alert"]["firing"], &pages[0]["alert"]["severity"]),
        (&json!(true), &json!("Page"))
    );
    assert_eq!(pages[0]["phase"], "Breached");
    assert!(
        pages[0]["burn"]
            .as_array()
            .unwrap()
            .contains(&json!({"window": "1h", "rate": "1000"}))
    );
    assert!(
        pages[0]["message"]
            .as_str()
            .unwrap()
            .contains("page fast-page: the budget burns above 14.40")
    );
    assert_eq!(pages[0].get("rollback"), None);

    shop.traffic(400, &[("shop:1", 50, 0)]);
    let heard = told(&mut shop);
    let over = heard.iter().find(|each| each["alert"]["name"] == "fast-page").unwrap();
    assert_eq!(
        (&over["reason"], &over["alert"]["firing"]),
        (&json!("AlertResolved"), &json!(false))
    );
    assert_eq!(over["alert"]["since"], pages[0]["alert"]["since"]);
}

#[test]
fn only_what_a_receiver_asks_for_is_told() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Alert"]))}));
    assert!(told(&mut shop).iter().all(|each| each["event"] == "Alert"));
    let mut shop = undone(json!({}));
    assert_eq!(reasons(&told(&mut shop)), [""; 0]);
}

#[test]
fn a_receiver_that_is_named_later_is_not_told_of_the_past() {
    let mut shop = undone(json!({}));
    shop.write_slo("checkout", 2, json!({"notifications": oncall(&json!(["Rollback"]))}));
    shop.pass(1);
    assert_eq!(reasons(&told(&mut shop)), [""; 0]);
}

#[test]
fn a_receiver_has_one_piece_under_way_and_the_next_when_that_ended() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let first = due(&mut shop, ROOM).orders.pop().unwrap();
    assert!(due(&mut shop, ROOM).orders.is_empty());
    shop.slos.notified(&first, Some(&refused()));
    let second = due(&mut shop, ROOM).orders.pop().unwrap();
    assert_ne!(first.parcel.id, second.parcel.id, "what was given up is not told again");
}

#[test]
fn without_room_a_piece_waits_and_is_counted_once() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let full = due(&mut shop, 0);
    assert_eq!((full.orders.len(), full.deferred), (0, vec![Kind::Rollback]));
    assert!(due(&mut shop, 0).deferred.is_empty());
    assert_eq!(due(&mut shop, ROOM).orders.len(), 1);
}

#[test]
fn what_was_told_survives_the_operator_and_what_was_not_is_told_by_the_next_one() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let first: Order = due(&mut shop, ROOM).orders.pop().unwrap();
    shop.restart();
    shop.pass(5);
    let again = due(&mut shop, ROOM).orders.pop().unwrap();
    assert_eq!(first.parcel.id, again.parcel.id, "nobody knows whether it arrived");
    shop.slos.notified(&again, Some(&Ok(())));
    assert_eq!(reasons(&told(&mut shop)), ["Verified"]);
    shop.traffic(1, &[("shop:1", 50, 0)]);
    shop.restart();
    shop.pass(5);
    assert_eq!(reasons(&told(&mut shop)), [""; 0]);
}

#[test]
fn what_goes_to_a_place_that_is_not_meant_any_more_is_withdrawn() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let first = due(&mut shop, ROOM).orders.pop().unwrap();
    let other = json!([{"name": "oncall", "webhook": {"urlSecretRef": {"name": "oncall", "key": "url"}}}]);
    shop.write_slo("checkout", 2, json!({"notifications": other}));
    shop.pass(1);
    assert!(first.stop.is_cancelled());
    shop.slos.notified(&first, None);
    let second = due(&mut shop, ROOM).orders.pop().unwrap();
    assert_eq!(first.parcel.id, second.parcel.id);
    shop.delete_slo("checkout");
    assert!(second.stop.is_cancelled());
    shop.slos.notified(&second, Some(&Ok(())));
}

#[test]
fn a_lost_lease_withdraws_what_is_under_way() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let order = due(&mut shop, ROOM).orders.pop().unwrap();
    shop.slos.stand_down();
    assert!(order.stop.is_cancelled());
}

#[test]
fn the_condition_says_which_receiver_was_not_told_and_why() {
    let mut shop = undone(json!({"notifications": oncall(&json!(["Rollback"]))}));
    let order = due(&mut shop, ROOM).orders.pop().unwrap();
    shop.slos.notified(&order, Some(&refused()));
    let (status, reason, message) = shop.condition("checkout", "NotificationsDelivered");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "GivenUp"));
    assert_eq!(message, "oncall: https://hooks.example answered 400");
    told(&mut shop);
    assert_eq!(shop.condition("checkout", "NotificationsDelivered").0, "True");
    shop.write_slo("checkout", 2, json!({}));
    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    assert!(
        status
            .conditions
            .iter()
            .all(|each| each.type_ != "NotificationsDelivered")
    );
}

#[test]
fn a_receiver_that_the_operator_may_not_tell_is_named_with_the_flag_that_allows_it() {
    let webhook =
        |name: &str| json!({"name": name, "events": ["Rollback"], "webhook": {"url": "https://hooks.example/x"}});
    let mut shop = undone(json!({"notifications": [webhook("a"), webhook("b")]}));
    let orders = due(&mut shop, ROOM).orders;
    let origin = "https://hooks.example".to_owned();
    let failures = [refused(), Err(HttpError::NotAllowed { origin }.into())];
    for (order, failure) in orders.iter().zip(&failures) {
        shop.slos.notified(order, Some(failure));
    }
    let (status, reason, message) = shop.condition("checkout", "NotificationsDelivered");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "DestinationRefused"));
    assert!(
        message.contains("b: https://hooks.example") && message.contains("--allowed-destinations"),
        "{message}"
    );
}

#[test]
fn receivers_that_the_schema_would_refuse_are_refused_here_too() {
    let webhook = json!({"url": "https://hooks.example/x"});
    let each = |name: &str, webhook: &Value| json!({"name": name, "webhook": webhook});
    let cases = [
        (json!([each("a", &json!({"url": "hooks.example"}))]), "InvalidValue"),
        (json!([each("a", &json!({}))]), "InvalidUnion"),
        (json!([each("a", &webhook), each("a", &webhook)]), "DuplicateName"),
        (
            ["a", "b", "c", "d", "e"]
                .iter()
                .map(|name| each(name, &webhook))
                .collect(),
            "TooManyEntries",
        ),
    ];
    for (notifications, category) in cases {
        let mut shop = Shop::open(json!({"notifications": notifications}));
        let (status, reason, _) = shop.condition("checkout", "Accepted");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", category),
            "{notifications}"
        );
    }
}
