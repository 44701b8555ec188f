//! Sends spans and metrics over OTLP/gRPC.
//!
//! Spans wait in a bounded buffer of the event loop, then in a bounded queue of batches; a batch is tried again until it is taken,
//! refused for good, or too old. Metrics are cumulative: a snapshot that could not be sent is replaced by the next one, so none of
//! its counts is lost.

mod channel;
mod encode;
mod retry;
mod sender;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

pub(crate) use channel::BadEndpoint;
pub(crate) use retry::Backoff;

use crate::{
    counters::Counters,
    requests::{EventLoop, KeptSpan},
};
use sender::{MetricsSender, TracesSender};

/// Batches that wait for a sender, beside those of the event loop's own buffer.
const QUEUED_BATCHES: usize = 4;
/// Batches under way at once.
const CONCURRENT: usize = 4;

/// Where telemetry goes, and how often.
#[derive(Clone, Debug)]
pub(crate) struct ExportSettings {
    /// Absent: nowhere.
    pub(crate) endpoint: Option<String>,
    /// The certificate to trust for an https endpoint.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) metrics_interval: Duration,
}

/// The tasks that send.
#[derive(Default)]
pub(crate) struct Exporters {
    to: Option<(Channel, Duration)>,
    batches: Option<mpsc::Sender<Vec<KeptSpan>>>,
    span_task: Option<JoinHandle<()>>,
    metric_task: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Exporters {
    /// Before the event loop, which needs to know where spans go.
    pub(crate) fn start_spans(settings: &ExportSettings, counters: &Arc<Counters>) -> Result<Self, BadEndpoint> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(Self::default());
        };
        let channel = channel::open(endpoint, settings.ca_file.as_deref())?;
        let (batches, receiver) = mpsc::channel(QUEUED_BATCHES);
        let task = export_spans(channel.clone(), receiver, Arc::clone(counters));
        Ok(Self {
            to: Some((channel, settings.metrics_interval)),
            batches: Some(batches),
            span_task: Some(tokio::spawn(task)),
            metric_task: None,
        })
    }

    /// Where the event loop puts batches, to be taken once: the exporter ends with the loop.
    pub(crate) fn spans(&mut self) -> Option<mpsc::Sender<Vec<KeptSpan>>> {
        self.batches.take()
    }

    /// After the event loop, which knows the numbers.
    pub(crate) fn start_metrics(&mut self, events: &EventLoop, counters: &Arc<Counters>) {
        let Some((channel, interval)) = self.to.clone() else {
            return;
        };
        let (stop, stopped) = oneshot::channel();
        let task = export_metrics(channel, interval, events.clone(), Arc::clone(counters), stopped);
        self.metric_task = Some((stop, tokio::spawn(task)));
    }

    /// Numbers first, while the loop can still tell them; then the loop, which hands on its last spans; then those.
    pub(crate) async fn drain(self, events: &EventLoop) {
        if let Some((stop, task)) = self.metric_task {
            drop(stop);
            let _ended = task.await;
        }
        let _ended_already = events.stop().await;
        if let Some(task) = self.span_task {
            let _ended = task.await;
        }
    }
}

/// Sends batches until the event loop hands on no more.
async fn export_spans(channel: Channel, batches: mpsc::Receiver<Vec<KeptSpan>>, counters: Arc<Counters>) {
    let sender = TracesSender::new(channel, counters);
    ReceiverStream::new(batches)
        .for_each_concurrent(CONCURRENT, |batch| sender.clone().send(batch))
        .await;
}

/// Sends a snapshot in every interval, and a last one when the other end of `stopped` is dropped.
async fn export_metrics(
    channel: Channel,
    interval: Duration,
    events: EventLoop,
    counters: Arc<Counters>,
    mut stopped: oneshot::Receiver<()>,
) {
    let sender = MetricsSender::new(channel, counters);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            _ = &mut stopped => true,
        };
        let Ok(numbers) = events.numbers().await else { return };
        sender.send(&numbers, interval).await;
        if last {
            return;
        }
    }
}
