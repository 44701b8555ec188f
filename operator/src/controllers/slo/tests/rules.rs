use std::time::Duration;

use serde_json::json;
use shoalwatch_crds::conditions;
use shoalwatch_crds::slo::RulesKind;

use super::super::rules::Order;
use super::shop::{Shop, name};
use crate::rules::Refusal;

/// The one order that is due.
fn order(shop: &mut Shop) -> Order {
    let mut orders = shop.slos.due_rules(shop.now);
    assert!(shop.slos.due_rules(shop.now).is_empty(), "it is under way");
    assert_eq!(orders.len(), 1);
    orders.remove(0)
}

fn written(shop: &mut Shop) {
    let order = order(shop);
    shop.slos.rules_ended(&order, &Ok(()), shop.now);
}

fn kinds(order: &Order) -> (Option<RulesKind>, Option<RulesKind>) {
    let obsolete = order.obsolete.as_ref().map(|there| there.kind);
    (obsolete, order.wanted.as_ref().map(|wanted| wanted.written().kind))
}

#[test]
fn rules_are_written_when_asked_for_and_removed_when_not() {
    let mut shop = Shop::open(json!({"rules": {"prometheusRule": {}}}));
    let first = order(&mut shop);
    assert_eq!(kinds(&first), (None, Some(RulesKind::PrometheusRule)));
    shop.slos.rules_ended(&first, &Ok(()), shop.now);
    let (status, reason, message) = shop.condition("checkout", "RulesRendered");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Rendered"));
    assert_eq!(message, "PrometheusRule slo-checkout has 12 rules");

    shop.write_slo("checkout", 2, json!({"rules": {"configMap": {}}}));
    let second = order(&mut shop);
    assert_eq!(
        kinds(&second),
        (Some(RulesKind::PrometheusRule), Some(RulesKind::ConfigMap))
    );
    shop.slos.rules_ended(&second, &Ok(()), shop.now);

    shop.write_slo("checkout", 3, json!({}));
    let third = order(&mut shop);
    assert_eq!(kinds(&third), (Some(RulesKind::ConfigMap), None));
    shop.slos.rules_ended(&third, &Ok(()), shop.now);
    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    assert_eq!(status.rules, None);
    assert_eq!(conditions::get(&status.conditions, "RulesRendered"), None);
    shop.now = shop.now.plus(Duration::from_hours(1));
    assert!(shop.slos.due_rules(shop.now).is_empty());
}

#[test]
fn rules_are_repaired_and_a_new_operator_knows_of_them() {
    let mut shop = Shop::open(json!({"rules": {"configMap": {}}}));
    written(&mut shop);
    shop.now = shop.now.plus(Duration::from_mins(9));
    assert!(shop.slos.due_rules(shop.now).is_empty());
    shop.now = shop.now.plus(Duration::from_mins(1));
    written(&mut shop);

    shop.plan();
    let status = serde_json::to_value(&shop.slos.known[&name("checkout")].status).unwrap();
    shop.delete_slo("checkout");
    let mut slo = super::shop::slo("checkout", 2, json!({}));
    slo["status"] = status;
    shop.write_raw(slo);
    assert_eq!(kinds(&order(&mut shop)), (Some(RulesKind::ConfigMap), None));
}

#[test]
fn what_keeps_rules_from_being_written_is_told_and_tried_again() {
    let mut shop = Shop::open(json!({"rules": {"prometheusRule": {}}}));
    let first = order(&mut shop);
    shop.slos.rules_ended(&first, &Err(Refusal::Timeout), shop.now);
    let (status, reason, _) = shop.condition("checkout", "RulesRendered");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotWritten"));
    shop.now = shop.now.plus(Duration::from_mins(1));
    let second = order(&mut shop);
    shop.slos
        .rules_ended(&second, &Err(Refusal::NoPrometheusOperator), shop.now);
    let (_, reason, message) = shop.condition("checkout", "RulesRendered");
    assert_eq!(reason, "NoPrometheusOperator");
    assert!(message.contains("rules.configMap"), "{message}");
    assert_eq!(shop.slos.known[&name("checkout")].status.rules, None);
}

#[test]
fn an_slo_without_alerts_has_nothing_to_render() {
    let mut shop = Shop::open(json!({"alerts": [], "rules": {"prometheusRule": {}}}));
    let first = order(&mut shop);
    assert_eq!(kinds(&first), (None, None));
    shop.slos.rules_ended(&first, &Ok(()), shop.now);
    assert_eq!(shop.condition("checkout", "RulesRendered").1, "NoAlerts");
}

#[test]
fn a_lost_lease_leaves_nothing_under_way() {
    let mut shop = Shop::open(json!({"rules": {"prometheusRule": {}}}));
    drop(order(&mut shop));
    shop.slos.stand_down();
    drop(order(&mut shop));
}
