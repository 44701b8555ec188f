//! An OTLP/gRPC receiver in this process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
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

/// What becomes of what is received.
pub(crate) trait Keep: Send + Sync + 'static {
    fn spans(&self, request: ExportTraceServiceRequest);

    fn metrics(&self, _request: ExportMetricsServiceRequest) {}
}

/// Listens on loopback as long as the runtime lives.
pub(crate) fn receive<K: Keep>(keeper: &Arc<K>) -> Outcome<(SocketAddr, Runtime)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .add_service(TraceServiceServer::new(Receiver(Arc::clone(keeper))))
        .add_service(MetricsServiceServer::new(Receiver(Arc::clone(keeper))))
        .serve_with_incoming(TcpListenerStream::new(listener));
    runtime.spawn(server);
    Ok((address, runtime))
}

struct Receiver<K>(Arc<K>);

#[tonic::async_trait]
impl<K: Keep> TraceService for Receiver<K> {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.spans(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl<K: Keep> MetricsService for Receiver<K> {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
