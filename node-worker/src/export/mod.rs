//! Sends spans and metrics over OTLP/gRPC.
//!
//! Spans wait in a bounded queue of the event loop, then in a bounded queue of messages, as the bytes that are sent; a message is
//! tried again until it is taken, refused for good, or too old. Metrics are cumulative: a snapshot that could not be sent is replaced by the next one, so none of
//! its counts is lost.

mod channel;
mod encode;
mod grpc;
mod outlet;
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
pub(crate) use outlet::SpanOutlet;
pub(crate) use retry::Backoff;

use crate::{counters::Counters, requests::EventLoop};
use outlet::SpanMessage;
use sender::{MetricsSender, TracesSender};

/// Name and version of the instrumentation scope of everything that is sent.
pub(crate) const SCOPE: (&str, &str) = ("shoalwatch", env!("CARGO_PKG_VERSION"));
/// Messages that wait for a sender, beside the spans of the event loop's own queue.
const QUEUED: usize = 4;
/// Messages under way at once.
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
    outlet: Option<SpanOutlet>,
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
        let (outlet, receiver) = SpanOutlet::new(QUEUED, CONCURRENT);
        let task = export_spans(channel.clone(), receiver, Arc::clone(counters));
        Ok(Self {
            to: Some((channel, settings.metrics_interval)),
            outlet: Some(outlet),
            span_task: Some(tokio::spawn(task)),
            metric_task: None,
        })
    }

    /// Where the event loop puts spans, to be taken once: the exporter ends with the loop.
    pub(crate) fn spans(&mut self) -> Option<SpanOutlet> {
        self.outlet.take()
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

/// Sends messages until the event loop hands on no more.
async fn export_spans(channel: Channel, messages: mpsc::Receiver<SpanMessage>, counters: Arc<Counters>) {
    let sender = TracesSender::new(channel, counters);
    ReceiverStream::new(messages)
        .for_each_concurrent(CONCURRENT, |message| sender.clone().send(message))
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
