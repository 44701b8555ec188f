use serde_json::json;
use tokio::time::Instant;

use super::shop::{Shop, name, slo};
use crate::status::Urgency;

fn readiness(shop: &mut Shop, slo: &str) -> (String, String) {
    let (status, reason, _) = shop.condition(slo, "RollbackReady");
    (status, reason)
}

fn no(reason: &str) -> (String, String) {
    ("False".to_owned(), reason.to_owned())
}

/// v1 good, v2 bad, and something in the way.
fn hindered(hinder: impl FnOnce(&mut Shop)) -> Shop {
    let mut shop = Shop::open(json!({}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    hinder(&mut shop);
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches, []);
    shop
}

#[test]
fn a_target_that_could_be_undone_says_so() {
    let mut shop = Shop::open(json!({}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    assert_eq!(
        readiness(&mut shop, "checkout"),
        ("True".to_owned(), "Ready".to_owned())
    );
}

#[test]
fn a_paused_target_is_left_alone_and_says_so() {
    let mut shop = hindered(Shop::pause);
    assert_eq!(readiness(&mut shop, "checkout"), no("TargetPaused"));
}

#[test]
fn a_target_that_is_gone_is_named() {
    let mut shop = hindered(Shop::delete_deployment);
    assert_eq!(readiness(&mut shop, "checkout"), no("TargetNotFound"));
}

#[test]
fn a_target_without_history_is_left_alone_and_says_so() {
    let mut shop = hindered(|shop| shop.delete_set("shop:1"));
    assert_eq!(readiness(&mut shop, "checkout"), no("NoHistory"));
}

#[test]
fn of_two_slos_on_one_target_the_older_acts_and_the_other_says_who() {
    let mut shop = Shop::open(json!({}));
    let mut younger = slo("latecomer", 1, json!({}));
    younger["metadata"]["creationTimestamp"] = json!("2026-11-22T03:30:00Z");
    shop.write_raw(younger);
    shop.traffic(10, &[("shop:1", 50, 0)]);
    assert_eq!(readiness(&mut shop, "latecomer"), no("TargetSharedWith"));
    assert!(shop.condition("latecomer", "RollbackReady").2.contains("shop/checkout"));
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1);
    assert_eq!(shop.patches[0].record.slo, "shop/checkout");
}

#[test]
fn a_target_that_no_worker_sees_is_no_good_and_no_bad_one() {
    let mut shop = Shop::open(json!({}));
    shop.fleet.workers.clear();
    shop.pass(10);
    assert_eq!(readiness(&mut shop, "checkout"), no("NoWorkerReports"));
    let (status, reason, _) = shop.condition("checkout", "Evaluated");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NoWorkerReports"));
}

#[tokio::test]
async fn a_missing_right_is_said_before_it_is_needed_with_what_to_write() {
    let mut shop = Shop::open(json!({}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.access.learn("shop", Some(false), Instant::now());
    assert_eq!(readiness(&mut shop, "checkout"), no("Forbidden"));
    let (.., message) = shop.condition("checkout", "RollbackReady");
    assert!(
        message.contains("kubectl create rolebinding") && message.contains("-n shop"),
        "{message}"
    );
}

#[test]
fn targets_that_may_not_be_watched_are_named_so() {
    let mut shop = Shop::empty();
    shop.world.apply(
        crate::controllers::world::Change::Forbidden("Deployment", true),
        shop.now,
    );
    shop.write_slo("checkout", 1, json!({}));
    shop.pass(1);
    assert_eq!(readiness(&mut shop, "checkout"), no("Forbidden"));
}

#[test]
fn a_threshold_is_one_that_nodes_count_by() {
    use shoalwatch_crds::slo::LatencyIndicator;
    let bounds = shoalwatch_ebpf_common::BOUNDS_NS.map(std::time::Duration::from_nanos);
    assert_eq!(LatencyIndicator::THRESHOLDS.map(std::time::Duration::from), bounds);

    let mut shop = Shop::empty();
    shop.write_slo("checkout", 1, json!({"indicator": {"latency": {"threshold": "200ms"}}}));
    let (_, reason, message) = shop.condition("checkout", "Accepted");
    assert_eq!(reason, "InvalidValue");
    assert!(
        message.starts_with("spec.indicator.latency.threshold: 200ms ") && message.contains("250ms"),
        "{message}"
    );

    shop.write_slo(
        "checkout",
        2,
        json!({"indicator": {"latency": {"threshold": "250ms", "routes": ["/pay"]}}}),
    );
    let slis = shop.slos.slis();
    let [sli] = slis.as_slice() else {
        unreachable!("{slis:?}")
    };
    assert_eq!((sli.slower_than, sli.bad.len()), (Some(bounds[6]), 0));
    assert_eq!(sli.routes, ["/pay".to_owned()].into());
}

#[test]
fn a_release_that_became_slow_is_undone_as_one_that_fails() {
    let mut shop = Shop::open(json!({"objective": "99", "indicator": {"latency": {"threshold": "250ms"}}}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 10)]);
    assert_eq!(shop.patches.len(), 1);
    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    assert_eq!(status.indicator.as_deref(), Some("latency 250ms"));
}

#[test]
fn a_budget_of_a_calendar_month_is_named_by_it() {
    let window = json!({"calendar": {"unit": "Month", "timeZone": "Europe/Berlin"}});
    let mut shop = Shop::open(json!({"window": window}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    let (status, reason, message) = shop.condition("checkout", "BudgetHistory");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Growing"));
    assert!(
        message.ends_with("the window is the month in Europe/Berlin"),
        "{message}"
    );
    let status = &shop.slos.known[&name("checkout")].status;
    assert_eq!(
        status.budget.as_ref().map(|budget| budget.remaining.as_str()),
        Some("100%")
    );
}

#[test]
fn a_spec_that_makes_no_sense_is_refused_with_the_field_and_the_last_good_one_stays() {
    let mut shop = Shop::open(json!({}));
    let before = shop.slos.slis();
    shop.write_slo("checkout", 2, json!({"objective": "a lot"}));
    assert_eq!(shop.slos.slis(), before);
    let (status, reason, message) = shop.condition("checkout", "Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidValue"));
    assert!(
        message.starts_with("spec.objective: ") && message.contains("99.9"),
        "{message}"
    );
    assert!(message.ends_with("generation 1 stays in force"), "{message}");
    assert_eq!(shop.slos.known[&name("checkout")].status.observed_generation, Some(2));
}

#[test]
fn failures_and_aborted_requests_are_bad_unless_the_spec_says_otherwise() {
    let mut shop = Shop::open(json!({}));
    let mut measured = |generation, spec| {
        shop.write_slo("checkout", generation, spec);
        shop.pass(1);
        assert_eq!(shop.condition("checkout", "Accepted").0, "True");
        let slis = shop.slos.slis();
        let bad: Vec<_> = slis[0].bad.iter().map(ToString::to_string).collect();
        (bad, shop.slos.known[&name("checkout")].status.indicator.clone())
    };
    let (bad, column) = measured(2, json!({}));
    assert_eq!(
        (bad, column.as_deref()),
        (vec!["5xx".to_owned(), "Aborted".to_owned()], Some("http 5xx,Aborted"))
    );
    let (bad, column) = measured(3, json!({"indicator": {"http": {"bad": ["5xx"]}}}));
    assert_eq!((bad, column.as_deref()), (vec!["5xx".to_owned()], Some("http 5xx")));
}

#[test]
fn what_the_schema_cannot_refuse_is_refused_here() {
    let tier = |percent: &str, long: &str, short: &str| json!([{"name": "page", "severity": "Page", "budgetPercent": percent, "long": long, "short": short}]);
    let cases = [
        (
            json!({"objective": "90", "alerts": tier("2", "1h", "5m")}),
            "InvalidAlert",
            "spec.alerts[page]",
        ),
        (
            json!({"alerts": tier("2", "5m", "1h")}),
            "InvalidAlert",
            "spec.alerts[page]",
        ),
        (
            json!({"alerts": tier("2 %", "1h", "5m")}),
            "InvalidValue",
            "spec.alerts[page].budgetPercent",
        ),
        (
            json!({"window": {"rolling": "1y"}}),
            "InvalidValue",
            "spec.window.rolling",
        ),
        (
            json!({"window": {"rolling": "5m"}}),
            "InvalidWindow",
            "spec.window.rolling",
        ),
        (json!({"window": {}}), "InvalidUnion", "spec.window"),
        (
            json!({"window": {"calendar": {"unit": "Month", "timeZone": "Mars/Olympus"}}}),
            "InvalidValue",
            "spec.window.calendar.timeZone",
        ),
        (
            json!({"rollback": {"windows": {"short": "2m", "long": "1m"}}}),
            "InvalidRollback",
            "spec.rollback.windows",
        ),
        (
            json!({"rollback": {"burn": "-1"}}),
            "InvalidValue",
            "spec.rollback.burn",
        ),
        (
            json!({"rollback": {"cooldown": "30d"}}),
            "InvalidRollback",
            "spec.rollback.cooldown",
        ),
        (json!({"indicator": {}}), "InvalidUnion", "spec.indicator"),
        (
            json!({"indicator": {"http": {"bad": []}}}),
            "InvalidValue",
            "spec.indicator.http.bad",
        ),
        (
            json!({"indicator": {"http": {"bad": ["500", "6xx"]}}}),
            "InvalidValue",
            "spec.indicator.http.bad[1]",
        ),
    ];
    for (spec, category, path) in cases {
        let mut shop = Shop::open(json!({}));
        shop.write_slo("checkout", 2, spec.clone());
        let (status, reason, message) = shop.condition("checkout", "Accepted");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", category),
            "{spec}: {message}"
        );
        assert!(message.starts_with(path), "{spec}: {message}");
    }
}

#[test]
fn an_object_that_cannot_be_read_does_not_take_the_others_with_it() {
    let mut shop = Shop::open(json!({}));
    shop.write_raw(slo("broken", 1, json!({"rollback": {"mode": "Perhaps"}})));
    let (status, reason, _) = shop.condition("broken", "Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Unreadable"));
    assert_eq!(shop.condition("checkout", "Accepted").0, "True");
}

#[test]
fn a_default_alert_that_can_never_fire_is_left_out_and_said() {
    let mut shop = Shop::open(json!({"objective": "90"}));
    let (status, _, message) = shop.condition("checkout", "Accepted");
    assert_eq!(status, "True");
    assert!(
        message.contains("fast-page") && !message.contains("slow-ticket"),
        "{message}"
    );
}

#[test]
fn alerts_are_told_when_they_begin_and_when_they_end() {
    let mut shop = Shop::open(json!({"rollback": {"mode": "Off"}}));
    shop.traffic(5, &[("shop:1", 0, 50)]);
    shop.plan();
    let status = shop.slos.known[&name("checkout")].status.clone();
    let firing: Vec<_> = status.alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert!(firing.contains(&"fast-page"), "{firing:?}");
    assert!(status.alerts.iter().all(|alert| alert.since.is_some()));
    shop.traffic(360, &[("shop:1", 50, 0)]);
    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    assert!(
        status.alerts.iter().all(|alert| alert.name != "fast-page"),
        "{:?}",
        status.alerts
    );
}

#[test]
fn numbers_are_not_urgent_and_phases_are() {
    let mut shop = Shop::open(json!({}));
    shop.traffic(5, &[("shop:1", 50, 0)]);
    assert_eq!(shop.plan()[0].urgency, Urgency::Now);
    assert_eq!(shop.plan(), []);
    shop.traffic(1, &[("shop:1", 9_999, 1)]);
    let planned = shop.plan();
    assert_eq!(planned[0].urgency, Urgency::Numbers, "{:?}", planned[0].status);
    shop.traffic(1, &[("shop:1", 0, 50_000)]);
    assert_eq!(shop.plan()[0].urgency, Urgency::Now);
}
