//! What the worker sent over OTLP.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    trace::v1::Span,
};
use tokio::runtime::Runtime;

use crate::{
    harness::Outcome,
    servers::{Calls, Counts},
};

#[path = "../shared/receiver.rs"]
mod receiver;

/// What was received.
#[derive(Default)]
struct Received {
    spans: Vec<(String, Span)>,
    /// The newest message with metrics of each service.
    metrics: BTreeMap<String, Metrics>,
}

/// Of one service, by route and by peer.
#[derive(Default)]
struct Metrics {
    server: Counts,
    client: Calls,
}

type Kept = Mutex<Received>;

fn lock(kept: &Kept) -> MutexGuard<'_, Received> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiver, stopped when dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    kept: Arc<Kept>,
    _runtime: Runtime,
}

impl Sink {
    pub(crate) fn start() -> Outcome<Self> {
        let kept = Arc::default();
        let (address, runtime) = receiver::receive(&kept)?;
        Ok(Self {
            address,
            kept,
            _runtime: runtime,
        })
    }

    /// The newest cumulative counts of a service.
    pub(crate) fn counts(&self, service: &str) -> Counts {
        let received = lock(&self.kept);
        let metrics = received.metrics.get(service);
        metrics.map(|metrics| metrics.server.clone()).unwrap_or_default()
    }

    /// The same of what it asked others.
    pub(crate) fn calls(&self, service: &str) -> Calls {
        let received = lock(&self.kept);
        let metrics = received.metrics.get(service);
        metrics.map(|metrics| metrics.client.clone()).unwrap_or_default()
    }

    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        lock(&self.kept).spans.clone()
    }

    /// How many there are, whichever service's.
    pub(crate) fn span_count(&self) -> usize {
        lock(&self.kept).spans.len()
    }
}

impl receiver::Keep for Kept {
    fn spans(&self, request: ExportTraceServiceRequest) {
        let mut received = lock(self);
        for of_resource in request.resource_spans {
            let service = text(&of_resource.resource.unwrap_or_default().attributes, "service.name");
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.spans.extend(spans.map(|span| (service.clone(), span)));
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        for of_resource in request.resource_metrics {
            let service = text(&of_resource.resource.unwrap_or_default().attributes, "service.name");
            let metrics = of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            let mut counts = Metrics::default();
            for metric in metrics {
                let Some(Data::Histogram(histogram)) = metric.data else {
                    continue;
                };
                for point in histogram.data_points {
                    let status = status(&point.attributes);
                    *match metric.name.as_str() {
                        "http.server.request.duration" => {
                            counts.server.entry((text(&point.attributes, "http.route"), status))
                        }
                        "http.client.request.duration" => counts.client.entry((peer(&point.attributes), status)),
                        _ => continue,
                    }
                    .or_default() += point.count;
                }
            }
            lock(self).metrics.insert(service, counts);
        }
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn peer(attributes: &[KeyValue]) -> String {
    match value(attributes, "server.port") {
        Some(Value::IntValue(port)) => format!("{}:{port}", text(attributes, "server.address")),
        _ => text(attributes, "server.address"),
    }
}

pub(crate) fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn status(attributes: &[KeyValue]) -> u16 {
    match value(attributes, "http.response.status_code") {
        Some(Value::IntValue(code)) => u16::try_from(*code).unwrap_or(0),
        _ => 0,
    }
}
