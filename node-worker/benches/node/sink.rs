//! An OTLP/gRPC receiver that keeps nothing but what is asked of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::harness::Outcome;

#[derive(Default)]
struct Seen {
    spans: u64,
    /// Unix nanoseconds: spans that ended before are not looked for.
    since_ns: u64,
    first_end_ns: Option<u64>,
}

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Seen>>);

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Seen> {
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

    /// Spans that ever arrived.
    pub(crate) fn spans(&self) -> u64 {
        self.receiver.lock().spans
    }

    /// From now on the end of the first request that ended after this is looked for.
    pub(crate) fn look_for_end_after(&self, unix_ns: u64) {
        let mut seen = self.receiver.lock();
        (seen.since_ns, seen.first_end_ns) = (unix_ns, None);
    }

    /// Unix nanoseconds.
    pub(crate) fn first_end(&self) -> Option<u64> {
        self.receiver.lock().first_end_ns
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.lock();
        let scopes = request.into_inner().resource_spans.into_iter();
        for span in scopes.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans) {
            let end_ns = span.end_time_unix_nano;
            seen.spans += 1;
            if end_ns >= seen.since_ns && seen.first_end_ns.is_none_or(|first| end_ns < first) {
                seen.first_end_ns = Some(end_ns);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        _request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
