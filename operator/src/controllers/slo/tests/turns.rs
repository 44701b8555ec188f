//! Whose turn it is to be judged where there are more SLOs than are judged at one go.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::shop::{Shop, name};
use crate::controllers::world::Name;

/// Eleven SLOs that nothing hurries, ten of them of targets of their own.
fn calm() -> Shop {
    let mut shop = Shop::open(json!({}));
    for number in 0..10 {
        let target = json!({"targetRef": {"name": format!("target-{number}")}});
        shop.write_slo(&format!("slo-{number}"), 1, target);
    }
    shop.pass(5);
    for known in shop.slos.known.values_mut() {
        known.report_interval = Duration::from_secs(10);
    }
    shop
}

#[test]
fn every_slo_has_its_turn_before_any_has_a_second_one() {
    let mut shop = calm();
    let none: [&Name; 0] = [];
    let turns: Vec<Vec<Name>> = (0..11).map(|_| shop.slos.due(4, none)).collect();
    assert!(turns.iter().all(|turn| turn.len() == 4), "{turns:?}");
    let first: BTreeSet<_> = turns.iter().take(3).flatten().collect();
    assert_eq!(first.len(), 11);
    for known in shop.slos.names() {
        let times = turns.iter().flatten().filter(|name| **name == known).count();
        assert_eq!(times, 4, "{known}");
    }
}

#[test]
fn a_release_in_probation_and_a_target_that_moved_need_not_wait_for_their_turn() {
    let mut shop = calm();
    let hurried = shop.slos.known.get_mut(&name("slo-9")).unwrap();
    hurried.report_interval = Duration::from_secs(1);
    for _ in 0..11 {
        let due = shop.slos.due(1, [&name("target-5")]);
        assert!(due.contains(&name("slo-9")) && due.contains(&name("slo-5")), "{due:?}");
        assert!(due.len() <= 3, "{due:?}");
    }
}

#[test]
fn where_there_are_few_all_are_judged_each_time() {
    let mut shop = calm();
    let none: [&Name; 0] = [];
    assert_eq!(shop.slos.due(11, none), shop.slos.names());
}
