use shoalwatch_core::Millis;
use shoalwatch_core::policy::{MAX_POLICIES, Selector};

use super::*;
use crate::distribution::metrics::Metrics;

const HOME: &str = "shoalwatch-system";

fn policy(namespace: &str, name: &str, probability: &str) -> Policy {
    Policy {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created: Millis(0),
        priority: 0,
        selector: Selector::default(),
        probability: probability.parse().unwrap(),
        rules: Vec::new(),
        limit: None,
        honour_parent: true,
        dry_run: false,
    }
}

/// Node `a` has pods of the shop, `b` of the bank.
fn planner() -> (Planner, Residents) {
    let residents = Residents::new(Metrics::default());
    residents.settle("1", "a", "shop", "v1");
    residents.settle("2", "b", "bank", "v1");
    (Planner::new(residents.clone(), HOME), residents)
}

fn everybody(shop: &str) -> (Vec<Policy>, Vec<SliSpec>) {
    let policies = [(HOME, "0.1"), ("shop", shop), ("bank", "0.2"), ("club", "0.3")];
    let policies = policies.map(|(namespace, value)| policy(namespace, "all", value));
    (policies.into(), Vec::new())
}

impl Planner {
    fn ids(&self, node: &str) -> Vec<String> {
        let node = self.nodes.get(node).or(self.otherwise.as_ref()).unwrap();
        node.policies.iter().map(|planned| planned.policy.id()).collect()
    }

    fn hash(&self, node: &str) -> String {
        let node = self.nodes.get(node).or(self.otherwise.as_ref()).unwrap();
        node.plan.as_ref().unwrap().hash().to_owned()
    }
}

#[test]
fn a_node_is_planned_what_its_pods_need_and_one_without_pods_the_default() {
    let (mut planner, _) = planner();
    assert!(planner.is_ready() && planner.follow(Some(everybody("0.5"))));
    let default = format!("{HOME}/all");
    assert_eq!(planner.ids("a"), ["shop/all", default.as_str()]);
    assert_eq!(planner.ids("b"), ["bank/all", default.as_str()]);
    assert_eq!(planner.ids("c"), [default.as_str()]);
}

#[test]
fn an_edit_changes_the_plans_of_the_nodes_that_have_its_namespace() {
    let (mut planner, _) = planner();
    planner.follow(Some(everybody("0.5")));
    let (a, b, c) = (planner.hash("a"), planner.hash("b"), planner.hash("c"));
    assert!(planner.follow(Some(everybody("0.6"))));
    assert_ne!(planner.hash("a"), a);
    assert_eq!((planner.hash("b"), planner.hash("c")), (b, c));
    assert!(!planner.follow(Some(everybody("0.6"))), "equal content is no news");
    assert!(!planner.follow(None));
}

#[test]
fn a_pod_brings_its_namespaces_policies_to_its_node_and_takes_them_along_later() {
    let (mut planner, residents) = planner();
    planner.follow(Some(everybody("0.5")));
    let others = (planner.hash("a"), planner.hash("c"));
    residents.settle("3", "b", "shop", "v1");
    assert!(planner.follow(None));
    assert_eq!(planner.ids("b").len(), 3);
    residents.settle("4", "b", "shop", "v2");
    assert!(!planner.follow(None), "another release needs the same policies");
    residents.settle("5", "b", "nobody-cares", "v1");
    assert!(!planner.follow(None), "nor does a namespace without any");
    assert_eq!((planner.hash("a"), planner.hash("c")), others);
}

#[test]
fn a_node_that_needs_too_much_keeps_what_it_has_and_the_others_go_on() {
    let (mut planner, _) = planner();
    planner.follow(Some(everybody("0.5")));
    let (a, b) = (planner.hash("a"), planner.hash("b"));
    let crowd = (0..=MAX_POLICIES).map(|number| policy("shop", &number.to_string(), "1"));
    let crowd = crowd.chain([policy("bank", "all", "0.9")]).collect();
    assert!(planner.follow(Some((crowd, Vec::new()))));
    assert_eq!(planner.hash("a"), a);
    assert_ne!(planner.hash("b"), b);
    let unpublished = planner.unpublished().unwrap();
    assert!(
        unpublished.why.starts_with("node a: 257 sampling policies"),
        "{}",
        unpublished.why
    );
    assert!(unpublished.concerns("shop", false) && !unpublished.concerns("bank", false));
    planner.follow(Some(everybody("0.6")));
    assert_eq!(planner.unpublished(), None);
}

#[test]
fn who_may_not_look_at_pods_plans_everything_for_everybody() {
    let (mut planner, residents) = (Planner::new(Residents::new(Metrics::default()), HOME), planner().1);
    assert!(!planner.is_ready());
    planner.residents.see_nothing();
    assert!(planner.is_ready() && planner.follow(Some(everybody("0.5"))));
    assert_eq!(planner.ids("a").len(), 4);
    assert!(!planner.needs().are_known());
    planner.residents = residents;
    assert!(planner.follow(None), "and less once it may");
    assert_eq!(planner.ids("a").len(), 2);
}

#[test]
fn who_needs_a_policy_is_counted_where_a_worker_is() {
    let (mut planner, residents) = planner();
    residents.settle_of(WORKERS, "w", "b", HOME, "");
    planner.follow(Some(everybody("0.5")));
    let needs = planner.needs();
    assert!(needs.of("a")("shop") && !needs.of("a")("bank") && !needs.of("c")("shop"));
    assert_eq!(
        needs.count(|_| false).get("bank"),
        Some(&1),
        "its worker was scheduled, if never heard"
    );
    assert_eq!(needs.count(|_| false).get("shop"), None);
    assert_eq!(needs.count(|node| node == "a").get("shop"), Some(&1));
}
