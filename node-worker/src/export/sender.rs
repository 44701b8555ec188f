//! One batch's way to the receiver.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::metrics_service_client::MetricsServiceClient, trace::v1::trace_service_client::TraceServiceClient,
};
use shoalwatch_pipeline::loss::Loss;
use tokio::time::{Instant, sleep};
use tonic::{Status, transport::Channel};
use tracing::warn;

use super::{
    encode,
    retry::{Advice, Backoff, advice},
};
use crate::{
    counters::{Count, Counters},
    requests::{KeptSpan, Numbers},
};

/// How long a batch of spans is tried.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends spans.
#[derive(Clone)]
pub(super) struct TracesSender {
    client: TraceServiceClient<Channel>,
    counters: Arc<Counters>,
}

impl TracesSender {
    pub(super) fn new(channel: Channel, counters: Arc<Counters>) -> Self {
        Self {
            client: TraceServiceClient::new(channel),
            counters,
        }
    }

    /// Returns when the batch was taken or is lost.
    pub(super) async fn send(self, batch: Vec<KeptSpan>) {
        let Self { mut client, counters } = self;
        let count = batch.len() as u64;
        let request = encode::traces(batch);
        let mut attempts = Attempts::new(PATIENCE);
        loop {
            let status = match client.export(request.clone()).await {
                Ok(answer) => {
                    let partial = answer.into_inner().partial_success;
                    let rejected =
                        partial.map_or(0, |partial| rejected(partial.rejected_spans, &partial.error_message));
                    return taken(&counters, count, rejected.min(count));
                }
                Err(status) => status,
            };
            if let Err(loss) = attempts.wait(&status).await {
                warn!(%status, spans = count, "spans were not taken by the OTLP receiver");
                counters.one(Count::TracesFailed);
                return counters.losses.add(loss, count);
            }
            counters.one(Count::TracesRetried);
        }
    }
}

fn taken(counters: &Counters, count: u64, rejected: u64) {
    counters.one(if rejected > 0 {
        Count::TracesPartial
    } else {
        Count::TracesSent
    });
    counters.add(Count::SpansExported, count - rejected);
    counters.losses.add(Loss::ExportPartial, rejected);
}

/// A receiver may also warn about a batch of which it took everything.
fn rejected(count: i64, message: &str) -> u64 {
    if count != 0 || !message.is_empty() {
        warn!(rejected = count, message, "the OTLP receiver did not take everything");
    }
    u64::try_from(count).unwrap_or(0)
}

/// Sends metrics.
pub(super) struct MetricsSender {
    client: MetricsServiceClient<Channel>,
    counters: Arc<Counters>,
}

impl MetricsSender {
    pub(super) fn new(channel: Channel, counters: Arc<Counters>) -> Self {
        Self {
            client: MetricsServiceClient::new(channel),
            counters,
        }
    }

    /// Tries for as long as no newer snapshot is due.
    pub(super) async fn send(&self, numbers: &Numbers, patience: Duration) {
        let request = encode::metrics(numbers);
        if request.resource_metrics.is_empty() {
            return;
        }
        let counters = &self.counters;
        let mut attempts = Attempts::new(patience);
        loop {
            let status = match self.client.clone().export(request.clone()).await {
                Ok(answer) => {
                    let partial = answer.into_inner().partial_success;
                    let rejected = partial.map_or(0, |partial| {
                        rejected(partial.rejected_data_points, &partial.error_message)
                    });
                    return counters.one(if rejected > 0 {
                        Count::MetricsPartial
                    } else {
                        Count::MetricsSent
                    });
                }
                Err(status) => status,
            };
            if attempts.wait(&status).await.is_err() {
                warn!(%status, "metrics were not taken by the OTLP receiver, the next ones have their counts too");
                return counters.one(Count::MetricsFailed);
            }
            counters.one(Count::MetricsRetried);
        }
    }
}

/// The attempts to send one batch.
struct Attempts {
    until: Instant,
    backoff: Backoff,
}

impl Attempts {
    fn new(patience: Duration) -> Self {
        Self {
            until: Instant::now() + patience,
            backoff: Backoff::default(),
        }
    }

    /// Waits until it makes sense to try again; gives the loss where it does not.
    async fn wait(&mut self, status: &Status) -> Result<(), Loss> {
        let own = self.backoff.pause();
        let pause = match advice(status) {
            Advice::Never => return Err(Loss::ExportRefused),
            Advice::Later => own,
            Advice::After(delay) => delay.max(own),
        };
        if Instant::now() + pause > self.until {
            return Err(Loss::ExportGivenUp);
        }
        sleep(pause).await;
        Ok(())
    }
}
