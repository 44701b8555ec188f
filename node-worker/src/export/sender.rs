//! One message's way to the receiver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shoalwatch_pipeline::loss::Loss;
use tokio::time::{Instant, sleep};
use tonic::{Status, transport::Channel};
use tracing::warn;

use super::{
    encode,
    grpc::{Answer, Client},
    outlet::SpanMessage,
    retry::{Advice, Backoff, advice},
};
use crate::{
    counters::{Count, Counters},
    requests::Numbers,
};

/// How long a message with spans is tried.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends spans.
#[derive(Clone)]
pub(super) struct TracesSender {
    client: Client,
    counters: Arc<Counters>,
}

impl TracesSender {
    pub(super) fn new(channel: Channel, counters: Arc<Counters>) -> Self {
        Self {
            client: Client::traces(channel),
            counters,
        }
    }

    /// Returns when the spans were taken or are lost.
    pub(super) async fn send(self, message: SpanMessage) {
        let Self { mut client, counters } = self;
        let count = message.spans;
        let bytes = message.into_bytes();
        let mut attempts = Attempts::new(PATIENCE);
        loop {
            let status = match client.export(bytes.clone()).await {
                Ok(answer) => return taken(&counters, count, rejected(answer).min(count)),
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

/// A receiver may also warn about a message of which it took everything.
fn rejected(answer: Answer) -> u64 {
    let Some(partial) = answer.partial_success else {
        return 0;
    };
    let (rejected, message) = (partial.rejected, partial.error_message);
    if rejected != 0 || !message.is_empty() {
        warn!(rejected, message, "the OTLP receiver did not take everything");
    }
    u64::try_from(rejected).unwrap_or(0)
}

/// Sends metrics.
pub(super) struct MetricsSender {
    client: Client,
    counters: Arc<Counters>,
}

impl MetricsSender {
    pub(super) fn new(channel: Channel, counters: Arc<Counters>) -> Self {
        Self {
            client: Client::metrics(channel),
            counters,
        }
    }

    /// Tries for as long as no newer snapshot is due.
    pub(super) async fn send(&self, numbers: &Numbers, patience: Duration) {
        let message = Bytes::from(encode::metrics(numbers));
        if message.is_empty() {
            return;
        }
        let counters = &self.counters;
        let mut attempts = Attempts::new(patience);
        loop {
            let status = match self.client.clone().export(message.clone()).await {
                Ok(answer) => {
                    return counters.one(if rejected(answer) > 0 {
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

/// The attempts to send one message.
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
