//! What the kernel is taught, and that nothing is counted twice.

use std::collections::BTreeMap;

use shoalwatch_pipeline::{loss::Loss, sampler::Limit};

use super::{EVERYTHING, cart, node::Node};
use crate::{
    counters::Count,
    loader::{Counter, ROUTES_FULL, RouteKey, Stat, Stats, sampling},
};

const WITH_SLI: &str = "{policies: [{id: shop/all, namespace: shop, probability: 1}], \
                        slis: [{id: s, namespace: shop, workload: checkout, bad: [5xx]}]}";

fn observed(config: &str) -> (Node, u32) {
    let mut node = Node::new(config);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    (node, tgid)
}

pub(super) fn taught(node: &Node) -> Vec<(u32, RouteKey)> {
    let told = node.kernel.lock();
    told.taught.iter().map(|(number, key)| (*number, *key)).collect()
}

/// The kernel counted so many GETs, all of them fast.
pub(super) fn counted(node: &Node, route: u32, status: u16, requests: u64) {
    let mut counter = Counter::EMPTY;
    counter.buckets[0] = requests;
    counter.sum_ns = requests * 1_000;
    node.kernel.lock().counters.insert((route, status, 2), counter);
}

#[test]
fn a_route_is_taught_by_its_first_request_and_both_counts_are_one() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.get(tgid, 200);
    node.get(tgid, 503);
    let [(number, key)] = taught(&node)[..] else {
        unreachable!("{:?}", taught(&node))
    };
    assert_eq!((key.service, key.role), (node.selected(tgid).unwrap(), 0));
    counted(&node, number, 200, 10);
    counted(&node, number, 503, 4);
    let expected = BTreeMap::from([(cart("app", 200), 11), (cart("app", 503), 5)]);
    assert_eq!(node.counts(), expected);
    assert_eq!(node.counts(), expected);
    assert_eq!(node.sli(), (11, 5, 0, 1));
}

#[test]
fn a_slow_answer_is_bad_for_an_sli_with_a_threshold_whoever_counts_it() {
    let (mut node, tgid) = observed("{slis: [{id: s, namespace: shop, workload: checkout, slowerThanNs: 250000000}]}");
    // The fake kernel's events take a microsecond: in time, whatever the answer, but for the one that never came.
    node.get(tgid, 500);
    node.get(tgid, 0);
    assert_eq!(node.sli(), (1, 1, 0, 1));
    let number = taught(&node)[0].0;
    let mut counter = Counter::EMPTY;
    // In the bucket that ends at 250 ms, and in the one behind it.
    (counter.buckets[6], counter.buckets[7]) = (5, 3);
    node.kernel.lock().counters.insert((number, 200, 2), counter);
    counted(&node, number, 0, 2);
    node.numbers();
    assert_eq!(node.sli(), (6, 6, 0, 1));
}

#[test]
fn what_the_kernel_counted_before_an_sli_was_in_force_is_none_of_its_events() {
    let (mut node, tgid) = observed(EVERYTHING);
    node.get(tgid, 503);
    let number = taught(&node)[0].0;
    counted(&node, number, 503, 4);
    node.configure(WITH_SLI);
    counted(&node, number, 503, 7);
    node.numbers();
    assert_eq!(node.sli(), (0, 3, 0, 1));
}

#[test]
fn the_kernel_decides_by_the_configuration_in_force() {
    let (mut node, tgid) = observed(EVERYTHING);
    node.get(tgid, 200);
    let number = taught(&node)[0].0;
    let threshold = |node: &Node| node.kernel.lock().rows[&number].threshold(200, 0);
    assert_eq!(threshold(&node), 0);
    node.configure("{policies: [{id: shop/all, namespace: shop, probability: 0.5}]}");
    assert_eq!(threshold(&node), 1 << 55);
    node.configure(WITH_SLI.replace("probability: 1", "probability: 0").as_str());
    assert_eq!(threshold(&node), sampling::NEVER);
}

#[test]
fn the_kernel_keeps_a_limit_in_one_place_for_as_long_as_its_policy_is_in_force() {
    const OTHER: &str = "{id: web/all, namespace: web, probability: 1, limit: {tracesPerSecond: 7, burst: 7}}";
    let all = |limit: &str| format!("{{id: shop/all, namespace: shop, probability: 1{limit}}}");
    let limited = all(", limit: {tracesPerSecond: 5, burst: 9}");
    let (mut node, tgid) = observed(&format!("{{policies: [{limited}]}}"));
    node.get(tgid, 200);
    let limits = |node: &Node| node.kernel.lock().limits.values().copied().collect::<Vec<_>>();
    let limit = Limit {
        per_second: 5,
        burst: 9,
    };
    for policies in [limited.clone(), format!("{OTHER}, {limited}")] {
        node.configure(&format!("{{policies: [{policies}]}}"));
        let limits = limits(&node);
        assert!(
            !limits.is_empty() && limits.iter().all(|known| *known == (1, limit)),
            "{limits:?}"
        );
    }
    node.configure(&format!("{{policies: [{}]}}", all("")));
    assert_eq!(limits(&node), []);
}

#[test]
fn what_the_kernel_dropped_by_a_limit_counts_as_if_user_space_had() {
    let (mut node, _) = observed(EVERYTHING);
    for dropped in [3, 8] {
        node.kernel.lock().stats = Stats::default().with(Stat::DroppedLimit, dropped);
        node.numbers();
    }
    assert_eq!(node.observer.counters.get(Count::SpanRateLimited), 8);
    assert_eq!(node.lost(Loss::RateLimited), 8);
}

#[test]
fn a_dry_run_is_left_to_user_space() {
    let (mut node, tgid) = observed("{policies: [{id: shop/try, namespace: shop, probability: 1, dryRun: true}]}");
    node.get(tgid, 200);
    let number = taught(&node)[0].0;
    assert_eq!(node.kernel.lock().rows[&number], sampling::Row::UNDECIDED);
}

#[test]
fn a_service_with_all_routes_that_it_may_have_is_counted_among_all_others() {
    let (mut node, tgid) = observed(EVERYTHING);
    let mut requests = 0;
    while node.kernel.lock().flags[&tgid] & ROUTES_FULL == 0 {
        assert!(requests < 10_000, "routes are never full");
        node.request(tgid, 200, &format!("GET /page-{requests}x HTTP/1.1\r\n\r\n"));
        requests += 1;
    }
    let routes = taught(&node).len();
    assert_eq!(routes, requests - 1);
    let others = (1..crate::loader::MAX_ROUTES)
        .find(|number| !node.kernel.lock().taught.contains_key(number))
        .unwrap();
    counted(&node, others, 200, 5);
    let all: u64 = node.counts().values().sum();
    assert_eq!(all, requests as u64 + 5);
}

#[test]
fn a_kernel_that_refuses_policies_is_asked_again_once_a_second() {
    let (mut node, _) = observed(EVERYTHING);
    assert!(node.configure(EVERYTHING));
    node.kernel.lock().refuses = true;
    assert!(!node.configure(WITH_SLI), "it is not acknowledged");
    let turns = node.kernel.lock().turns;
    let refused_at = node.now;
    for milliseconds in [0, 10, 999] {
        node.now.monotonic_ns = refused_at.monotonic_ns + milliseconds * 1_000_000;
        node.observer.follow_duties(node.now);
    }
    assert_eq!(node.kernel.lock().turns, turns);
    node.kernel.lock().refuses = false;
    node.now.monotonic_ns = refused_at.monotonic_ns + 1_000_000_000;
    for _ in 0..2 {
        node.observer.follow_duties(node.now);
    }
    assert_eq!(node.kernel.lock().turns, turns + 1);
    assert_eq!(node.count(Count::TeachFailed), 1);
    assert!(!node.observer.duties_changed, "it is in force now");
}
