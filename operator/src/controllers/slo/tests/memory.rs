use std::time::Duration;

use serde_json::json;
use shoalwatch_core::rollback::Step;
use shoalwatch_node_api::wire::{SliReport, SliRow};

use super::shop::{Shop, name};
use crate::history::Record;

fn releasing() -> Shop {
    let mut shop = Shop::open(json!({}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    shop
}

#[test]
fn an_operator_that_was_killed_counts_on_where_it_stopped() {
    let mut shop = releasing();
    shop.traffic(2, &[("shop:1", 25, 0), ("shop:2", 23, 2)]);
    let before = shop.slos.known[&name("checkout")].history.clone();
    shop.restart();
    assert_eq!(shop.slos.known[&name("checkout")].history, before);
    // The workers send again what they already sent.
    shop.serve("shop:1", 0, 0);
    shop.serve("shop:2", 0, 0);
    assert_eq!(shop.slos.known[&name("checkout")].history, before);
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1);
}

#[test]
fn an_operator_killed_after_the_act_does_not_act_again() {
    let mut shop = releasing();
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1);
    shop.restart();
    shop.traffic(60, &[("shop:1", 50, 0)]);
    assert_eq!(shop.patches.len(), 1);
    assert_eq!(shop.saw(Step::Recovered), 0);
}

#[test]
fn an_operator_that_lost_its_disk_finds_the_act_on_the_target_and_says_what_is_missing() {
    let mut shop = releasing();
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    shop.plan();
    let status = shop.slos.known[&name("checkout")].status.clone();
    let mut object = super::shop::slo("checkout", 1, json!({}));
    object["status"] = json!(status);

    shop.slos = super::super::observe::Slos::default();
    shop.world.apply(
        crate::controllers::world::Change::Slo(Box::new(kube::runtime::watcher::Event::Apply(
            serde_json::from_value(object).unwrap(),
        ))),
        shop.now,
    );
    shop.observe(true);
    shop.traffic(5, &[("shop:1", 50, 0)]);
    assert_eq!(shop.saw(Step::Recovered), 1);
    let (status, reason, _) = shop.condition("checkout", "BudgetHistory");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Lost"));

    // The bad release again: its first undoing is not forgotten.
    for _ in 0..3 {
        shop.deploy("shop:2");
        shop.ready("shop:2", 4);
        shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    }
    assert_eq!(shop.patches.len(), 2);
}

#[test]
fn without_a_usable_disk_every_slo_says_so() {
    let mut shop = Shop::open(json!({}));
    shop.unsaved = Some("the volume is full".to_owned());
    let (status, reason, message) = shop.condition("checkout", "BudgetHistory");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotSaved"));
    assert!(message.contains("the volume is full"), "{message}");
}

#[test]
fn a_spec_that_is_wrong_at_the_start_is_replaced_by_the_last_good_one_that_was_saved() {
    let mut shop = Shop::empty();
    shop.sync();
    shop.world = crate::controllers::world::World::default();
    shop.sync();
    shop.write_slo("checkout", 1, json!({}));
    let good = shop.slos.slis();
    let kept = {
        shop.slos = super::super::observe::Slos::default();
        shop.observe(false)
    };
    assert_eq!(kept.len(), 1);
    shop.slos = super::super::observe::Slos::default();
    shop.saved.specs = kept.into_iter().collect();
    shop.write_slo("checkout", 2, json!({"objective": "100"}));
    assert_eq!(shop.slos.slis(), good);
    assert!(
        shop.condition("checkout", "Accepted")
            .2
            .ends_with("generation 1 stays in force")
    );
}

#[test]
fn a_worker_that_is_gone_for_a_day_is_forgotten() {
    let mut shop = Shop::open(json!({}));
    shop.traffic(1, &[("shop:1", 50, 0)]);
    assert_eq!(shop.slos.reports.workers(), 2);
    shop.now = shop.now.plus(Duration::from_hours(25));
    shop.serve_on("node-1", "shop:1", 1, 0);
    shop.slos.forget_silent_workers(shop.now);
    assert_eq!(shop.slos.reports.workers(), 1);
}

#[test]
fn a_report_of_an_slo_that_is_not_known_yet_is_asked_for_again_for_half_a_minute() {
    let mut shop = releasing();
    let report = |sequence| SliReport {
        start_id: "start".to_owned(),
        sequence,
        rows: vec![SliRow {
            sli_id: "shop/later@12345678".to_owned(),
            good: 7,
            ..SliRow::default()
        }],
        ..SliReport::default()
    };
    assert!(shop.slos.ingest("node-1", report(1), shop.now).again);
    let later = shop.now.plus(Duration::from_secs(30));
    assert!(!shop.slos.ingest("node-1", report(2), later).again);
}

#[test]
fn a_follower_learns_what_is_newer_and_begins_a_release_anew_that_came_back() {
    let mut shop = releasing();
    shop.traffic(2, &[("shop:2", 50, 9)]);
    let known = &shop.slos.known[&name("checkout")];
    let (uid, mut record) = (known.uid.clone(), known.record.clone());
    let totals = |shop: &Shop| {
        let history = &shop.slos.known[&name("checkout")].history;
        history.of([&"shop-2".into()]).totals().counts.bad
    };
    assert!(totals(&shop) > 0);
    let older = Record {
        age: (0, 0),
        ..Record::default()
    };
    assert_eq!(shop.slos.learn(&uid, older, &shop.world), None);
    assert_eq!(shop.slos.known[&name("checkout")].record, record);
    record.age = (2, 1);
    let mut ledger = serde_json::to_value(&record.state.ledger).unwrap();
    for release in ledger["releases"].as_array_mut().unwrap() {
        if release["role"] == "Probation" {
            release["since"] = json!(shop.now.0);
        }
    }
    record.state.ledger = serde_json::from_value(ledger).unwrap();
    assert_eq!(shop.slos.learn(&uid, record.clone(), &shop.world), None);
    assert_eq!(
        (totals(&shop), &shop.slos.known[&name("checkout")].record),
        (0, &record)
    );
    assert!(shop.slos.learn("uid-of-another", record, &shop.world).is_some());
}
