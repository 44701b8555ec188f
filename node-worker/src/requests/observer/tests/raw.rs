//! Connections that the kernel does not pair: what becomes of their requests is what becomes of all others.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{node::MAX_RAW, *};
use crate::loader::{NO_SPANS, RawEvent, RawNews, RawRequest, Role, UnderWay};

const CART: &str = "GET /cart/17 HTTP/1.1\r\n\r\n";
const BOTH: &str = "GET /cart/17 HTTP/1.1\r\n\r\nGET /cart/18 HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const FAILED: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
const WITH_SLI: &str = "{policies: [{id: shop/all, namespace: shop, probability: 1}], \
                        slis: [{id: s, namespace: shop, workload: checkout, bad: [5xx, Aborted]}]}";

impl Node {
    fn raw(&mut self, tgid: u32, news: RawNews<'static>) {
        self.raw_of(tgid, 7, Role::Server, news);
    }

    fn raw_of(&mut self, tgid: u32, sock: u64, role: Role, news: RawNews<'static>) {
        let total_len = match news {
            RawNews::Segment { bytes, .. } | RawNews::Orphan { bytes, .. } | RawNews::Http2 { bytes } => {
                u32::try_from(bytes.len()).unwrap()
            }
            _ => 0,
        };
        let event = RawEvent {
            time_ns: 2_000,
            sock,
            opened_ns: u64::from(!matches!(news, RawNews::Orphan { .. } | RawNews::Http2 { .. })),
            total_len,
            tgid,
            tid: tgid,
            fd: 3,
            service: self.selected(tgid).unwrap_or(u32::MAX),
            flags: 0,
            role,
            news,
        };
        self.kernel.lock().raw.push(event);
        self.observer.take_requests(self.now);
    }

    /// The process serves a connection on which this was read.
    fn open(&mut self, tgid: u32, head: &'static str) {
        let (under_way, request) = (UnderWay::Waiting, request(head, None));
        self.raw(tgid, RawNews::Open { under_way, request });
    }

    fn answer(&mut self, tgid: u32, text: &'static str) {
        let bytes = text.as_bytes();
        self.raw(tgid, RawNews::Segment { answer: true, bytes });
    }

    fn used(&mut self, name: &str) -> (usize, usize) {
        let gauges = self.observer.snapshot(self.now).gauges;
        let gauge = gauges.iter().find(|gauge| gauge.name == name).unwrap();
        (gauge.used, gauge.max)
    }
}

fn request(head: &'static str, peer: Option<SocketAddr>) -> RawRequest<'static> {
    RawRequest {
        start_ns: 1_000,
        read_bytes: u32::try_from(head.len()).unwrap(),
        peer,
        head: head.as_bytes(),
    }
}

fn reset() -> RawNews<'static> {
    RawNews::Ended {
        reset: true,
        under_way: UnderWay::Waiting,
        request: request(CART, None),
    }
}

fn observed(config: &str) -> (Node, u32) {
    let mut node = Node::new(config);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    (node, tgid)
}

#[test]
fn requests_in_flight_at_once_are_counted_judged_taught_and_become_spans() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.open(tgid, BOTH);
    node.answer(tgid, OK);
    node.answer(tgid, FAILED);
    assert_eq!(
        node.counts(),
        BTreeMap::from([(cart("app", 200), 1), (cart("app", 503), 1)])
    );
    assert_eq!((node.sli(), node.spans()), ((1, 1, 0, 1), 2));
    assert_eq!(node.kernel.lock().taught.len(), 1);
}

#[test]
fn an_upgrade_is_counted_by_its_status() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.open(tgid, CART);
    node.answer(tgid, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 101), 1)]));
    assert_eq!((node.sli(), node.spans()), ((1, 0, 0, 1), 1));
}

#[test]
fn a_close_aborts_whole_requests_and_half_a_body_is_none() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.open(
        tgid,
        "POST /cart/17 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiPOST /cart/18 HTTP/1.1\r\nContent-Length: 2\r\n\r\nh",
    );
    node.raw(tgid, RawNews::Close { reset: false });
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 0), 1)]));
    assert_eq!((node.sli(), node.count(Count::HalfRequest)), ((0, 1, 0, 1), 1));
}

#[test]
fn a_whole_request_is_aborted_whatever_was_read_behind_it() {
    let (mut node, tgid) = observed(WITH_SLI);
    let post = "POST /cart/17 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    node.request(tgid, 0, &format!("{post}{}", &post[..post.len() - 1]));
    assert_eq!((node.sli(), node.count(Count::HalfRequest)), ((0, 1, 0, 1), 0));
    node.request(tgid, 0, &post[..post.len() - 1]);
    assert_eq!((node.sli(), node.count(Count::HalfRequest)), ((0, 1, 0, 1), 1));
}

#[test]
fn a_reset_waits_for_its_answer_unless_the_worker_stops() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.raw(tgid, reset());
    node.observer.take_requests(node.now);
    let (answer, bytes) = (true, OK.as_bytes());
    node.raw(
        tgid,
        RawNews::Orphan {
            counted: false,
            answer,
            bytes,
        },
    );
    assert_eq!(node.sli(), (1, 0, 0, 1));
    node.raw_of(tgid, 8, Role::Server, reset());
    node.wait(900_000_000);
    node.observer.take_requests(node.now);
    assert_eq!(node.sli(), (1, 0, 0, 1));
    node.observer.settle_resets(node.now);
    assert_eq!(node.sli(), (1, 1, 0, 1));
}

const EXPORT: &[u8] =
    b"\0\0\x60\x01\x04\0\0\0\x01\x83\x86\x44\x3b/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[test]
fn a_service_that_exports_spans_over_grpc_gets_none_from_here() {
    let (mut node, tgid) = observed(WITH_SLI);
    let other = b"\0\0\x60\x01\x04\0\0\0\x01\x83\x86\x44\x0e/shop.Cart/Get";
    node.raw(tgid, RawNews::Http2 { bytes: other });
    assert_eq!(node.flags(tgid) & NO_SPANS, 0);
    node.raw(tgid, RawNews::Http2 { bytes: EXPORT });
    assert_eq!(node.flags(tgid) & NO_SPANS, NO_SPANS);
    assert_eq!((node.count(Count::RawHttp2), node.count(Count::Instrumented)), (2, 1));
    assert_eq!(node.counts(), BTreeMap::new());
}

#[test]
fn an_export_before_the_pod_is_known_is_remembered() {
    let mut node = Node::new(WITH_SLI);
    let tgid = node.exec('a');
    node.raw(tgid, RawNews::Http2 { bytes: EXPORT });
    node.pod(&["app"], &[]);
    assert_eq!(node.flags(tgid) & NO_SPANS, NO_SPANS);
}

#[test]
fn what_is_given_up_is_incomplete_once_and_never_good() {
    let (mut node, tgid) = observed(WITH_SLI);
    node.open(tgid, BOTH);
    for _ in 0..3 {
        node.answer(tgid, "what?\r\n");
    }
    assert_eq!((node.sli(), node.lost(Loss::RawLostAnswer)), ((0, 0, 2, 1), 2));
    assert_eq!(node.counts(), BTreeMap::new());
}

#[test]
fn connections_are_bounded_and_what_is_refused_is_incomplete() {
    let (mut node, tgid) = observed(WITH_SLI);
    for sock in 0..MAX_RAW as u64 + 2 {
        let (under_way, request) = (UnderWay::Waiting, request(CART, None));
        node.raw_of(tgid, sock, Role::Server, RawNews::Open { under_way, request });
    }
    assert_eq!(node.used("raw_connections"), (MAX_RAW, MAX_RAW));
    assert_eq!((node.sli(), node.lost(Loss::RawTableFull)), ((0, 0, 2, 1), 2));
}

#[test]
fn a_call_is_counted_by_its_peer() {
    let (mut node, tgid) = observed(EVERYTHING);
    let peer = SocketAddr::from(([10, 0, 0, 1], 8080));
    let (under_way, request) = (UnderWay::Waiting, request(CART, Some(peer)));
    node.raw_of(tgid, 7, Role::Client, RawNews::Open { under_way, request });
    let (answer, bytes) = (true, OK.as_bytes());
    node.raw_of(tgid, 7, Role::Client, RawNews::Segment { answer, bytes });
    assert_eq!(node.calls(), BTreeMap::from([((peer.to_string(), 200), 1)]));
    assert_eq!(node.counts(), BTreeMap::new());
}

#[test]
fn requests_of_a_pod_that_nobody_knows_yet_wait_for_it_and_are_what_they_were() {
    let mut node = Node::new(WITH_SLI);
    let tgid = node.exec('a');
    node.open(tgid, BOTH);
    node.answer(tgid, OK);
    node.raw(tgid, RawNews::Close { reset: false });
    // The kernel's own tell the same.
    node.get(tgid, 0);
    node.pod(&["app"], &[]);
    assert_eq!((node.sli(), node.count(Count::HalfRequest)), ((1, 2, 0, 1), 0));
}

#[test]
fn what_is_lost_of_a_pod_that_nobody_knows_yet_makes_every_sli_incomplete() {
    let (mut node, _) = observed(WITH_SLI);
    let other = node.process('b');
    let cgroup = node.proc_fs.path().join(other.to_string()).join("cgroup");
    let known = fs::read_to_string(&cgroup).unwrap();
    fs::write(&cgroup, known.replace("pod0b2f", "podffff")).unwrap();
    node.news(ProcessKind::Exec, other, 0);
    assert_eq!(node.selected(other), Some(PENDING));
    node.open(other, BOTH);
    node.answer(other, "what?\r\n");
    assert_eq!(node.sli(), (0, 0, 2, 1));
}
