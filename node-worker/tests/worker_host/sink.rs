//! An OTLP/gRPC receiver in this process.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    trace::v1::Span,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    harness::Outcome,
    servers::{Calls, Counts},
};

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

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver, stopped when dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    receiver: Receiver,
    _runtime: Runtime,
}

impl Sink {
    pub(crate) fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let receiver = Receiver::default();
        let server = Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()))
            .add_service(MetricsServiceServer::new(receiver.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Ok(Self {
            address,
            receiver,
            _runtime: runtime,
        })
    }

    /// The newest cumulative counts of a service.
    pub(crate) fn counts(&self, service: &str) -> Counts {
        let received = self.receiver.lock();
        let metrics = received.metrics.get(service);
        metrics.map(|metrics| metrics.server.clone()).unwrap_or_default()
    }

    /// The same of what it asked others.
    pub(crate) fn calls(&self, service: &str) -> Calls {
        let received = self.receiver.lock();
        let metrics = received.metrics.get(service);
        metrics.map(|metrics| metrics.client.clone()).unwrap_or_default()
    }

    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        self.receiver.lock().spans.clone()
    }

    /// How many there are, whichever service's.
    pub(crate) fn span_count(&self) -> usize {
        self.receiver.lock().spans.len()
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.lock();
        for of_resource in request.into_inner().resource_spans {
            let service = text(&of_resource.resource.unwrap_or_default().attributes, "service.name");
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.spans.extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_metrics {
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
            self.lock().metrics.insert(service, counts);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
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
