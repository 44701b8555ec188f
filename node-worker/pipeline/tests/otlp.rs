//! Hand-written OTLP against the structs of opentelemetry-proto.

mod oracle;

use std::{net::SocketAddr, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use proptest::prelude::*;
use prost::Message;
use shoalwatch_pipeline::{
    batch::{BatchLimits, SpanQueue},
    ids::IdSource,
    loss::LossCounters,
    otlp::{self, HttpSpan},
    request::{Method, PeerId, Request, Role, RouteId, ServiceId, Status, Target, Trace},
};
use shoalwatch_protocols::{
    http1::{RequestHead, TargetForm, Version, parse_head},
    route::OTHER,
    trace_context::{OtState, Randomness, Threshold, TraceParent, TraceStateLines},
};

const SCOPE: (&str, &str) = ("shoalwatch", "1.2.3");

/// A span's input that owns what [`HttpSpan`] borrows.
#[derive(Debug, Clone)]
struct Input {
    method: Method,
    method_name: String,
    path: Vec<u8>,
    version: Option<Version>,
    tracestate: Vec<Vec<u8>>,
    times: (u64, u64),
    template: String,
    status: u16,
    trace_id: [u8; 16],
    parent_id: Option<[u8; 8]>,
    rv: Option<u64>,
    role: Role,
    /// Of no interest for a server.
    peer: Option<SocketAddr>,
    span_id: [u8; 8],
    th: Option<u64>,
}

impl Input {
    fn with<T>(&self, use_span: impl FnOnce(&HttpSpan<'_>) -> T) -> T {
        let mut tracestate = TraceStateLines::default();
        self.tracestate.iter().for_each(|line| tracestate.push(line));
        let head = RequestHead {
            method: self.method,
            method_name: &self.method_name,
            path: &self.path,
            path_cut: false,
            form: TargetForm::Origin,
            version: self.version,
            traceparent: None,
            tracestate,
            user_agent: None,
            complete: true,
        };
        let rv = self.rv.map(Randomness::from_low_bits);
        let request = Request {
            service: ServiceId(1),
            start_ns: self.times.0,
            end_ns: self.times.1,
            method: self.method,
            target: match self.role {
                Role::Server => Target::Route(RouteId(1)),
                Role::Client => Target::Peer(PeerId(1)),
            },
            template: &self.template,
            status: Status::recorded(self.status).expect("three digits or none"),
            trace: Trace {
                trace_id: self.trace_id,
                parent_id: self.parent_id,
                parent_sampled: self.parent_id.map(|_| true),
                within: false,
                ot: OtState { th: None, rv },
            },
        };
        use_span(&HttpSpan {
            request: &request,
            head: &head,
            peer: self.peer,
            span_id: self.span_id,
            threshold: self.th.and_then(Threshold::new),
        })
    }
}

prop_compose! {
    fn lines()(lines in prop::collection::vec("([a-z]{1,3}=[ -~]{0,40},?){0,12}|ot=(th:c;rv:fedcba98765432|p:8;[a-z:;]{0,300})", 0..6)) -> Vec<Vec<u8>> {
        lines.into_iter().map(String::into_bytes).collect()
    }
}

prop_compose! {
    fn input()(
        method in prop::sample::select(&Method::ALL[..]),
        method_name in "[A-Z]{1,32}",
        path in prop_oneof!["/[a-z/0-9]{0,60}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..600)],
        version in prop::option::of(prop::sample::select(vec![Version::Http10, Version::Http11])),
        tracestate in lines(),
        times in any::<(u64, u64)>(),
        template in prop_oneof![Just(OTHER.to_owned()), "/[a-z/{}]{0,40}", "\\PC{0,300}"],
        status in prop_oneof![Just(0), 100u16..=999],
        ids in any::<([u8; 16], Option<[u8; 8]>, [u8; 8])>(),
        rv in any::<Option<u64>>(),
        role in prop::sample::select(vec![Role::Server, Role::Client]),
        peer in any::<Option<SocketAddr>>(),
        th in prop::option::of((0u64..1 << 56, 0u32..56).prop_map(|(th, zeros)| th >> zeros << zeros)),
    ) -> Input {
        Input {
            method, method_name, path, version, tracestate, times, template, status,
            trace_id: ids.0, parent_id: ids.1, rv, role, peer, span_id: ids.2, th,
        }
    }
}

fn write(span: &HttpSpan<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    span.write(&mut bytes);
    bytes
}

fn scope() -> Box<[u8]> {
    let mut bytes = Vec::new();
    otlp::scope(SCOPE.0, SCOPE.1, &mut bytes);
    bytes.into()
}

proptest! {
    #[test]
    fn any_span_means_what_the_structs_say(input in input(), before in prop::collection::vec(any::<u8>(), 0..4)) {
        let (bytes, expected) = input.with(|span| {
            let mut bytes = before.clone();
            span.write(&mut bytes);
            (bytes, oracle::span(span))
        });
        prop_assert!(bytes.starts_with(&before));
        prop_assert_eq!(Span::decode(&bytes[before.len()..]).unwrap(), expected);
    }

    #[test]
    fn any_batch_means_what_the_structs_say(
        resources in prop::collection::vec(prop::collection::vec(("[a-z.]{1,20}", "\\PC{0,200}"), 0..10), 1..5),
        spans in prop::collection::vec((any::<prop::sample::Index>(), input()), 1..20),
    ) {
        let resources: Vec<_> = resources.into_iter().map(|attributes| {
            let mut bytes = Vec::new();
            otlp::resource(attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())), &mut bytes);
            (Arc::<[u8]>::from(bytes), Arc::new(attributes))
        }).collect();
        let mut queue = SpanQueue::new(BatchLimits::default(), scope());
        let mut expected = Vec::new();
        for (index, input) in &spans {
            let (bytes, attributes) = index.get(&resources);
            expected.push((Arc::clone(attributes), input.with(|span| {
                queue.push(bytes, 1, &LossCounters::default(), |out| span.write(out));
                oracle::span(span)
            })));
        }
        let (told, mut message) = (queue.bytes(), Vec::new());
        prop_assert_eq!(queue.take_any(&mut message), spans.len());
        prop_assert_eq!(ExportTraceServiceRequest::decode(message.as_slice()).unwrap(), oracle::traces(SCOPE, expected));
        prop_assert!(message.len() <= told, "{} > {told}", message.len());
    }
}

/// What was written for a request with this head.
fn span_of(head: &str, template: &str, status: u16, threshold: Option<Threshold>) -> Span {
    written(head, Target::Route(RouteId(1)), None, template, status, threshold)
}

/// The same, where this peer was asked.
fn client_span_of(head: &str, peer: &str, status: u16) -> Span {
    let (target, peer) = (Target::Peer(PeerId(1)), peer.parse().expect("an address"));
    written(head, target, Some(peer), "/x", status, Some(Threshold::ALWAYS))
}

fn written(
    head: &str,
    target: Target,
    peer: Option<SocketAddr>,
    template: &str,
    status: u16,
    threshold: Option<Threshold>,
) -> Span {
    let head = parse_head(head.as_bytes()).expect("a head");
    let parent = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
    let request = Request {
        service: ServiceId(1),
        start_ns: 10,
        end_ns: 30,
        method: head.method,
        target,
        template,
        status: Status::recorded(status).expect("three digits or none"),
        trace: Trace::join(parent, head.tracestate.ot(), &mut IdSource::new([1, 2, 3, 4])),
    };
    decoded(&request, &head, peer, threshold)
}

fn decoded(
    request: &Request<'_>,
    head: &RequestHead<'_>,
    peer: Option<SocketAddr>,
    threshold: Option<Threshold>,
) -> Span {
    let bytes = write(&HttpSpan {
        request,
        head,
        peer,
        span_id: [7; 8],
        threshold,
    });
    Span::decode(bytes.as_slice()).expect("a span")
}

fn attributes_of(span: &Span) -> Vec<(&str, String)> {
    let attributes = span.attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        let text = match value {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (attribute.key.as_str(), text)
    });
    attributes.collect()
}

#[test]
fn a_failed_answer_is_an_error_and_the_query_is_nowhere() {
    let span = span_of(
        "GET /cart/17?card=4111 HTTP/1.1\r\n\r\n",
        "/cart/{id}",
        503,
        Some(Threshold::ALWAYS),
    );
    assert_eq!(span.name, "GET /cart/{id}");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "503"),
        ("url.scheme", "http"),
        ("http.route", "/cart/{id}"),
        ("url.path", "/cart/17"),
        ("network.protocol.version", "1.1"),
        ("error.type", "503"),
    ];
    assert_eq!(
        attributes_of(&span),
        expected.map(|(key, value)| (key, value.to_owned()))
    );
    assert!(!format!("{span:?}").contains("4111"));
}

#[test]
fn an_aborted_request_is_an_error_without_a_status_code() {
    let span = span_of("GET /x HTTP/1.1\r\n\r\n", "/x", 0, Some(Threshold::ALWAYS));
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
    let attributes = attributes_of(&span);
    assert!(attributes.contains(&("error.type", "aborted".to_owned())));
    assert!(attributes.iter().all(|(key, _)| *key != "http.response.status_code"));
}

#[test]
fn a_clients_fault_leaves_the_status_unset() {
    let span = span_of("GET /x HTTP/1.1\r\n\r\n", "/x", 404, Some(Threshold::ALWAYS));
    assert_eq!(span.status, None);
    assert!(attributes_of(&span).iter().all(|(key, _)| *key != "error.type"));
}

#[test]
fn the_callers_trace_is_joined_and_its_state_kept_behind_ours() {
    let head = "GET /x HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                tracestate: vendor=1\r\n\r\n";
    let span = span_of(head, "/x", 200, Some(Threshold::ALWAYS));
    assert_eq!(
        span.trace_id,
        [
            0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c
        ]
    );
    assert_eq!(span.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(span.trace_state, "ot=th:0,vendor=1");
    assert_eq!(span.flags, 0x301);
}

#[test]
fn a_trace_that_begins_here_has_no_parent_and_no_state_of_others() {
    let span = span_of(
        "GET /x HTTP/1.1\r\ntracestate: vendor=1\r\n\r\n",
        "/x",
        200,
        Threshold::new(1 << 55),
    );
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.trace_state, "ot=th:8");
    assert_eq!(span.flags, 0x101);
}

#[test]
fn what_a_service_asks_while_it_answers_is_a_child_of_its_own_span_whatever_state_its_head_sends() {
    let head = parse_head(b"GET /x HTTP/1.1\r\ntracestate: vendor=1\r\n\r\n").expect("a head");
    let request = Request {
        service: ServiceId(1),
        start_ns: 10,
        end_ns: 30,
        method: head.method,
        target: Target::Peer(PeerId(1)),
        template: OTHER,
        status: Status::recorded(200).expect("three digits"),
        trace: Trace::within([1; 16], [2; 8], Some(true)),
    };
    let span = decoded(&request, &head, None, Some(Threshold::ALWAYS));
    assert_eq!((span.trace_id, span.parent_span_id), (vec![1; 16], vec![2; 8]));
    assert_eq!(span.trace_state, "ot=th:0");
    assert_eq!(span.flags, 0x101, "its parent is of the same process");
}

#[test]
fn an_unknown_method_and_an_unknown_route_do_not_reach_the_name() {
    let span = span_of("BREW /pot/1 HTTP/1.1\r\n\r\n", OTHER, 200, Some(Threshold::ALWAYS));
    assert_eq!(span.name, "HTTP");
    let attributes = attributes_of(&span);
    assert!(attributes.contains(&("http.request.method_original", "BREW".to_owned())));
    assert!(attributes.iter().all(|(key, _)| *key != "http.route"));
}

#[test]
fn the_span_of_a_client_names_its_peer_and_neither_route_nor_query() {
    let span = client_span_of(
        "GET /cart/17?card=4111 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "10.0.0.1:8080",
        404,
    );
    assert_eq!((span.name.as_str(), span.kind()), ("GET", SpanKind::Client));
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "404"),
        ("url.scheme", "http"),
        ("server.address", "10.0.0.1"),
        ("server.port", "8080"),
        ("url.full", "http://10.0.0.1:8080/cart/17"),
        ("url.path", "/cart/17"),
        ("network.protocol.version", "1.1"),
        ("error.type", "404"),
    ];
    assert_eq!(
        attributes_of(&span),
        expected.map(|(key, value)| (key, value.to_owned()))
    );
    assert!(!format!("{span:?}").contains("4111"));
}

#[test]
fn a_call_without_an_answer_is_an_error_without_a_status_code() {
    let span = client_span_of("GET /x HTTP/1.1\r\n\r\n", "[::1]:80", 0);
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
    let attributes = attributes_of(&span);
    assert!(attributes.contains(&("error.type", "aborted".to_owned())));
    assert!(attributes.contains(&("url.full", "http://[::1]:80/x".to_owned())));
    assert!(attributes.iter().all(|(key, _)| *key != "http.response.status_code"));
}

#[test]
fn the_context_that_an_application_sends_is_the_parent_of_its_call_and_not_remote() {
    let head = "GET /x HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    let span = client_span_of(head, "10.0.0.1:80", 200);
    assert_eq!(span.trace_id[..4], [0x0a, 0xf7, 0x65, 0x19]);
    assert_eq!(span.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!((span.flags, span.status), (0x101, None));
}

#[test]
fn what_has_no_path_has_no_url() {
    for head in ["CONNECT a:443 HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"] {
        let span = client_span_of(head, "10.0.0.1:80", 200);
        let attributes = attributes_of(&span);
        assert!(attributes.contains(&("server.port", "80".to_owned())), "{head}");
        assert!(attributes.iter().all(|(key, _)| *key != "url.full"), "{head}");
    }
}
