//! What the hand-written bytes must mean, built from the structs of opentelemetry-proto.

use std::{collections::HashMap, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1,
    trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status, span::SpanKind, status::StatusCode},
};
use shoalwatch_pipeline::{
    otlp::HttpSpan,
    request::{Request, Role},
};
use shoalwatch_protocols::{
    http1::{Method, RequestHead},
    route::OTHER,
    trace_context::{OtState, Threshold, TraceStateLines},
};

pub(crate) type Attributes = Vec<(String, String)>;

/// By OpenTelemetry's conventions for HTTP servers and clients.
pub(crate) fn span(span: &HttpSpan<'_>) -> Span {
    let (request, head) = (span.request, span.head);
    let trace = &request.trace;
    let failed = request.is_failure();
    Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        trace_state: trace_state(request, head, span.threshold),
        parent_span_id: trace.parent_id.map(|id| id.to_vec()).unwrap_or_default(),
        flags: flags(request),
        name: name(request),
        kind: match request.role() {
            Role::Server => SpanKind::Server,
            Role::Client => SpanKind::Client,
        }
        .into(),
        start_time_unix_nano: request.start_ns,
        end_time_unix_nano: request.end_ns,
        attributes: attributes(span, failed),
        status: failed.then(|| Status {
            code: StatusCode::Error.into(),
            message: String::new(),
        }),
        ..Span::default()
    }
}

/// One entry for each resource, in the order in which they first come.
pub(crate) fn traces(
    scope: (&str, &str),
    spans: impl IntoIterator<Item = (Arc<Attributes>, Span)>,
) -> ExportTraceServiceRequest {
    let mut places: HashMap<*const Attributes, usize> = HashMap::new();
    let mut groups: Vec<(Arc<Attributes>, Vec<Span>)> = Vec::new();
    for (resource, span) in spans {
        let place = *places.entry(Arc::as_ptr(&resource)).or_insert(groups.len());
        if place == groups.len() {
            groups.push((resource, Vec::new()));
        }
        groups[place].1.push(span);
    }
    let resource_spans = groups.into_iter().map(|(owner, spans)| ResourceSpans {
        resource: Some(resource(&owner)),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: scope.0.to_owned(),
                version: scope.1.to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

fn resource(attributes: &Attributes) -> v1::Resource {
    v1::Resource {
        attributes: attributes.iter().map(|(key, value)| text(key, value)).collect(),
        ..v1::Resource::default()
    }
}

fn flags(request: &Request<'_>) -> u32 {
    let sampled = 1;
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    let remote = if request.role() == Role::Server && request.trace.parent_id.is_some() {
        SpanFlags::ContextIsRemoteMask as u32
    } else {
        0
    };
    sampled | known | remote
}

fn name(request: &Request<'_>) -> String {
    let method = match request.method {
        Method::Other => "HTTP",
        known => known.as_str(),
    };
    if request.role() == Role::Client || request.template == OTHER {
        method.to_owned()
    } else {
        format!("{method} {}", request.template)
    }
}

fn trace_state(request: &Request<'_>, head: &RequestHead<'_>, threshold: Option<Threshold>) -> String {
    let mut state = Vec::new();
    let ot = OtState {
        th: threshold,
        rv: request.trace.ot.rv,
    };
    match request.trace.parent_id {
        Some(_) => head.tracestate.write_with(ot, &mut state),
        None => TraceStateLines::default().write_with(ot, &mut state),
    }
    String::from_utf8_lossy(&state).into_owned()
}

fn attributes(span: &HttpSpan<'_>, failed: bool) -> Vec<KeyValue> {
    let (request, head) = (span.request, span.head);
    let mut attributes = vec![text("http.request.method", request.method.as_str())];
    if let Some(code) = request.status.code() {
        attributes.push(number("http.response.status_code", code.into()));
    }
    attributes.push(text("url.scheme", "http"));
    if request.method == Method::Other {
        attributes.push(text("http.request.method_original", head.method_name));
    }
    let path = String::from_utf8_lossy(&head.path[..head.path.len().min(512)]);
    if request.role() == Role::Server && request.template != OTHER {
        attributes.push(text("http.route", request.template));
    }
    if let Some(peer) = span.peer.filter(|_| request.role() == Role::Client) {
        attributes.push(text("server.address", peer.ip().to_string()));
        attributes.push(number("server.port", peer.port().into()));
        if path.starts_with('/') {
            attributes.push(text("url.full", format!("http://{peer}{path}")));
        }
    }
    if !path.is_empty() {
        attributes.push(text("url.path", path));
    }
    if let Some(version) = head.version {
        attributes.push(text("network.protocol.version", version.as_str()));
    }
    if failed {
        attributes.push(text("error.type", request.status.to_string()));
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
