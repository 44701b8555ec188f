//! What a process asks others.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use shoalwatch_pipeline::{peers::PeerLimits, request::Role};

use super::{
    teaching::{counted, taught},
    *,
};
use crate::loader::{NO_SPANS, PEERS_FULL, ROUTES_FULL, sampling};

const CART: &str = "GET /cart/17?card=4111 HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const PEER: &str = "10.0.0.1:8080";

fn called(peer: &str, status: u16) -> (String, u16) {
    (peer.to_owned(), status)
}

#[test]
fn a_call_is_counted_by_its_peer_apart_from_what_is_answered() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for (status, peer) in [(200, PEER), (200, PEER), (404, PEER), (0, "[fd00::1]:80")] {
        node.call(tgid, status, CART, Some(peer));
    }
    node.call(tgid, 200, CART, None);
    node.get(tgid, 200);
    let expected = [
        (called(PEER, 200), 2),
        (called(PEER, 404), 1),
        (called("[fd00::1]:80", 0), 1),
        (called("_OTHER", 200), 1),
    ];
    assert_eq!(node.calls(), BTreeMap::from(expected));
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 200), 1)]));
}

#[test]
fn peers_beyond_the_bound_share_one_series() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    let max = PeerLimits::default().per_service;
    for port in 1..=max + 2 {
        node.call(tgid, 200, CART, Some(&format!("10.0.0.1:{port}")));
    }
    let calls = node.calls();
    assert_eq!((calls.len(), calls[&called("_OTHER", 200)]), (max + 1, 2));
    let snapshot = node.observer.snapshot(node.now);
    assert_eq!(snapshot.peers_refused, 2);
    let used = |name| {
        let gauge = snapshot.gauges.iter().find(|gauge| gauge.name == name).unwrap();
        (gauge.used, gauge.max)
    };
    assert_eq!(used("peers_of_one_service"), (max, max));
    assert_eq!(used("client_series").0, max + 1);
    assert_eq!(used("series").0, 0);
}

#[test]
fn a_peer_is_taught_by_its_first_call_and_both_counts_are_one() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.call(tgid, 200, CART, Some(PEER));
    // Of whoever is not known by an address nothing can be taught.
    node.call(tgid, 200, CART, None);
    let [(number, key)] = taught(&node)[..] else {
        unreachable!("{:?}", taught(&node))
    };
    assert_eq!((key.service, key.role), (node.selected(tgid).unwrap(), 1));
    counted(&node, number, 200, 10);
    counted(&node, number, 503, 4);
    let expected = BTreeMap::from([
        (called(PEER, 200), 11),
        (called(PEER, 503), 4),
        (called("_OTHER", 200), 1),
    ]);
    assert_eq!(node.calls(), expected);
    assert_eq!(node.calls(), expected);
    assert_eq!((node.counts().len(), node.sli()), (0, (0, 0, 0, 1)));
}

#[test]
fn the_kernel_counts_calls_of_peers_that_are_too_many_among_all_others() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    let max = PeerLimits::default().per_service;
    for port in 1..=max + 1 {
        assert_eq!(node.flags(tgid), 0, "{port}");
        node.call(tgid, 200, CART, Some(&format!("10.0.0.1:{port}")));
    }
    assert_eq!((node.flags(tgid), taught(&node).len()), (PEERS_FULL, max));
    let [routes, peers] = node.kernel.lock().others[&tgid];
    counted(&node, peers, 200, 5);
    counted(&node, routes, 200, 3);
    assert_eq!(node.calls()[&called("_OTHER", 200)], 1 + 5);
    assert_eq!(node.counts().values().sum::<u64>(), 3);
    assert_eq!(node.flags(tgid) & ROUTES_FULL, 0);
}

#[test]
fn a_policy_that_asks_for_routes_is_asked_about_calls_in_user_space() {
    let policy = |rules: &str| format!("{{policies: [{{id: shop/all, namespace: shop, probability: 0.5{rules}}}]}}");
    let mut node = Node::new(&policy(""));
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.call(tgid, 200, CART, Some(PEER));
    let number = taught(&node)[0].0;
    assert_eq!(node.kernel.lock().rows[&number].threshold(200, 0), 1 << 55);
    node.configure(&policy(
        ", rules: [{name: carts, route: {prefix: /cart}, probability: 1}]",
    ));
    assert_eq!(node.kernel.lock().rows[&number], sampling::Row::UNDECIDED);
}

#[test]
fn a_call_is_no_event_of_an_sli() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.call(tgid, 503, CART, Some(PEER));
    node.get(tgid, 200);
    assert_eq!(node.sli(), (1, 0, 0, 1));
    assert_eq!(node.calls(), BTreeMap::from([(called(PEER, 503), 1)]));
}

#[test]
fn a_policy_s_rules_keep_calls_by_their_path_and_status() {
    let mut node = Node::new(
        "{policies: [{id: shop/all, namespace: shop, probability: 0,
            rules: [{name: carts, route: {exact: '/cart/{id}'}, status: [4xx], probability: 1}]}]}",
    );
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for (status, head) in [(200, CART), (404, CART), (404, "GET /other HTTP/1.1\r\n\r\n")] {
        node.call(tgid, status, head, Some(PEER));
    }
    let spans = node.take_spans();
    let [span] = spans.as_slice() else {
        unreachable!("{spans:?}")
    };
    assert_eq!((span.name.as_str(), span.kind()), ("GET", SpanKind::Client));
    let text = format!("{span:?}");
    assert!(
        text.contains("http://10.0.0.1:8080/cart/17") && !text.contains("4111"),
        "{text}"
    );
}

#[test]
fn a_call_with_the_agent_of_a_probe_is_a_call_like_others() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    let head = "GET /metrics HTTP/1.1\r\nUser-Agent: Prometheus/3.5.0\r\n\r\n";
    node.call(tgid, 200, head, Some(PEER));
    node.request(tgid, 200, head);
    assert_eq!(node.calls(), BTreeMap::from([(called(PEER, 200), 1)]));
    assert_eq!((node.counts().len(), node.count(Count::PrometheusScrape)), (0, 1));
}

#[test]
fn the_first_calls_of_a_pod_that_nobody_knows_yet_wait_for_it() {
    let mut node = Node::new(EVERYTHING);
    let tgid = node.exec('a');
    node.call(tgid, 200, CART, Some(PEER));
    assert_eq!(node.calls(), BTreeMap::new());
    node.pod(&["app"], &[]);
    assert_eq!(node.calls(), BTreeMap::from([(called(PEER, 200), 1)]));
    assert_eq!(node.observer.traffic.red.len(Role::Server), 0);
}

#[test]
fn a_service_that_exports_spans_of_its_own_is_counted_and_gets_none_from_here() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    assert_eq!(node.spans(), 1);
    let export = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: collector\r\n\r\n");
    node.call(tgid, 200, &export("GET", "/v1/traces"), Some("10.0.0.9:4318"));
    node.call(tgid, 200, &export("POST", "/v1/metrics"), Some("10.0.0.9:4318"));
    assert_eq!(node.flags(tgid) & NO_SPANS, 0);
    node.call(tgid, 200, &export("POST", "/v1/traces"), Some("10.0.0.9:4318"));
    assert_eq!(node.flags(tgid) & NO_SPANS, NO_SPANS);
    let before = node.spans();
    node.get(tgid, 200);
    assert_eq!(node.spans(), before);
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 200), 2)]));
}
