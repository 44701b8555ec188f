//! An OTLP/gRPC receiver that keeps nothing but what is asked of it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::runtime::Runtime;

use crate::harness::Outcome;

#[path = "../../tests/shared/receiver.rs"]
mod receiver;

#[derive(Default)]
struct Seen {
    spans: u64,
    /// Unix nanoseconds: spans that ended before are not looked for.
    since_ns: u64,
    first_end_ns: Option<u64>,
}

type Kept = Mutex<Seen>;

fn lock(kept: &Kept) -> MutexGuard<'_, Seen> {
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

    /// Spans that ever arrived.
    pub(crate) fn spans(&self) -> u64 {
        lock(&self.kept).spans
    }

    /// From now on the end of the first request that ended after this is looked for.
    pub(crate) fn look_for_end_after(&self, unix_ns: u64) {
        let mut seen = lock(&self.kept);
        (seen.since_ns, seen.first_end_ns) = (unix_ns, None);
    }

    /// Unix nanoseconds.
    pub(crate) fn first_end(&self) -> Option<u64> {
        lock(&self.kept).first_end_ns
    }
}

impl receiver::Keep for Kept {
    fn spans(&self, request: ExportTraceServiceRequest) {
        let mut seen = lock(self);
        let scopes = request.resource_spans.into_iter();
        for span in scopes.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans) {
            let end_ns = span.end_time_unix_nano;
            seen.spans += 1;
            if end_ns >= seen.since_ns && seen.first_end_ns.is_none_or(|first| end_ns < first) {
                seen.first_end_ns = Some(end_ns);
            }
        }
    }
}
