//! The registry behind `/metrics`. Every room registers families of its own; here is what belongs to the process.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{gauge::ConstGauge, info::Info},
    registry::Registry,
};
use tokio::sync::mpsc;

/// An empty registry: every name in it begins with `shoalwatch_`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("shoalwatch");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("operator_build", "What runs", build);
    registry
}

/// Shows how full a bounded queue is at the time of the scrape, under `<name>_queued` and `<name>_queue_capacity`.
pub fn watch_queue<T: Send + 'static>(registry: &mut Registry, name: &'static str, queue: &mpsc::Sender<T>) {
    registry.register_collector(Box::new(Queue {
        name,
        queue: queue.downgrade(),
    }));
}

/// Holds the queue weakly: it must close when its last writer is gone.
struct Queue<T> {
    name: &'static str,
    queue: mpsc::WeakSender<T>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Queue")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Collector for Queue<T> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(queue) = self.queue.upgrade() else {
            return Ok(());
        };
        let most = queue.max_capacity();
        let mut show = |name: String, help: &str, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)
        };
        show(
            format!("{}_queued", self.name),
            "Entries waiting in the queue",
            most - queue.capacity(),
        )?;
        show(
            format!("{}_queue_capacity", self.name),
            "Entries that the queue can hold",
            most,
        )
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_queue_shows_how_full_it_is_and_may_close() {
        let mut registry = registry();
        let (sender, mut receiver) = mpsc::channel(8);
        watch_queue(&mut registry, "sli_delivery", &sender);
        sender.try_send(()).unwrap();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nshoalwatch_sli_delivery_queued 1\n"), "{text}");
        assert!(text.contains("\nshoalwatch_sli_delivery_queue_capacity 8\n"), "{text}");
        drop(sender);
        assert!(receiver.try_recv().is_ok());
        assert!(receiver.is_closed() || receiver.try_recv().is_err());
    }
}
