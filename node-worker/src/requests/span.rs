//! A kept request as an OTLP span.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, SpanFlags, Status, span::SpanKind, status::StatusCode},
};
use shoalwatch_pipeline::request::Request;
use shoalwatch_protocols::{
    http1::{Method, RequestHead},
    route::OTHER,
    trace_context::{OtState, Threshold},
};

/// Bytes of `url.path` that are kept: what a head's window holds at most.
const MAX_PATH: usize = 512;

/// By OpenTelemetry's conventions for HTTP servers. The query is left out: it may hold what nobody wants stored.
pub(super) fn span(
    request: &Request<'_>,
    head: &RequestHead<'_>,
    span_id: [u8; 8],
    threshold: Option<Threshold>,
) -> Span {
    let trace = &request.trace;
    let failed = request.status.is_server_error();
    Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: span_id.to_vec(),
        trace_state: trace_state(request, head, threshold),
        parent_span_id: trace.parent_id.map(|id| id.to_vec()).unwrap_or_default(),
        flags: flags(trace.parent_id.is_some()),
        name: name(request),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: request.start_ns,
        end_time_unix_nano: request.end_ns,
        attributes: attributes(request, head, failed),
        status: failed.then(|| Status {
            code: StatusCode::Error.into(),
            message: String::new(),
        }),
        ..Span::default()
    }
}

/// `sampled`, and whether the parent is in another process: it is, wherever there is one.
const fn flags(has_parent: bool) -> u32 {
    let sampled = 1;
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    let remote = if has_parent {
        SpanFlags::ContextIsRemoteMask as u32
    } else {
        0
    };
    sampled | known | remote
}

/// `{method} {route}`, without what would make the name's number of values unbounded.
fn name(request: &Request<'_>) -> String {
    let method = match request.method {
        Method::Other => "HTTP",
        known => known.as_str(),
    };
    if request.template == OTHER {
        method.to_owned()
    } else {
        format!("{method} {}", request.template)
    }
}

/// What the caller said, with the threshold of this decision.
fn trace_state(request: &Request<'_>, head: &RequestHead<'_>, threshold: Option<Threshold>) -> String {
    let mut state = Vec::new();
    let ot = OtState {
        th: threshold,
        rv: request.trace.ot.rv,
    };
    match request.trace.parent_id {
        Some(_) => head.tracestate.write_with(ot, &mut state),
        None => shoalwatch_protocols::trace_context::TraceStateLines::default().write_with(ot, &mut state),
    }
    String::from_utf8_lossy(&state).into_owned()
}

fn attributes(request: &Request<'_>, head: &RequestHead<'_>, failed: bool) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", request.method.as_str()),
        number("http.response.status_code", request.status.code().into()),
        text("url.scheme", "http"),
    ];
    if request.method == Method::Other {
        attributes.push(text("http.request.method_original", head.method_name));
    }
    if request.template != OTHER {
        attributes.push(text("http.route", request.template));
    }
    if !head.path.is_empty() {
        let path = &head.path[..head.path.len().min(MAX_PATH)];
        attributes.push(text("url.path", String::from_utf8_lossy(path)));
    }
    if let Some(version) = head.version {
        attributes.push(text("network.protocol.version", version.as_str()));
    }
    if failed {
        attributes.push(text("error.type", request.status.code().to_string()));
    }
    attributes
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use shoalwatch_pipeline::{
        ids::IdSource,
        request::{RouteId, ServiceId, Status as HttpStatus, Trace},
    };
    use shoalwatch_protocols::{http1::parse_head, trace_context::TraceParent};

    use super::*;

    fn span_of(head: &str, template: &str, status: u16, threshold: Option<Threshold>) -> Span {
        let head = parse_head(head.as_bytes()).unwrap();
        let parent = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
        let request = Request {
            service: ServiceId(1),
            start_ns: 10,
            end_ns: 30,
            method: head.method,
            route: RouteId(1),
            template,
            status: HttpStatus::new(status).unwrap(),
            trace: Trace::join(parent, head.tracestate.ot(), &mut IdSource::new([1, 2, 3, 4])),
        };
        span(&request, &head, [7; 8], threshold)
    }

    fn attributes_of(span: &Span) -> Vec<(String, String)> {
        let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        span.attributes
            .iter()
            .map(|attribute| (attribute.key.clone(), value(attribute)))
            .collect()
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
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert!(!format!("{span:?}").contains("4111"));
    }

    #[test]
    fn a_clients_fault_leaves_the_status_unset() {
        let span = span_of("GET /x HTTP/1.1\r\n\r\n", "/x", 404, Some(Threshold::ALWAYS));
        assert_eq!(span.status, None);
        assert!(attributes_of(&span).iter().all(|(key, _)| key != "error.type"));
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
    fn an_unknown_method_and_an_unknown_route_do_not_reach_the_name() {
        let span = span_of("BREW /pot/1 HTTP/1.1\r\n\r\n", OTHER, 200, Some(Threshold::ALWAYS));
        assert_eq!(span.name, "HTTP");
        let attributes = attributes_of(&span);
        assert!(attributes.contains(&("http.request.method_original".to_owned(), "BREW".to_owned())));
        assert!(attributes.iter().all(|(key, _)| key != "http.route"));
    }
}
