//! Bounded batches of written spans between the decision to keep them and their export.

mod grouped;

use crate::{
    loss::{Loss, LossCounters},
    otlp::wire,
};
use grouped::{Batch, HEADS, SPANS};
use std::{collections::VecDeque, sync::Arc};

/// Bounds of a [`SpanQueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Spans that wait at most; what comes then is lost.
    pub capacity: usize,
    /// Bytes that wait at most, in messages.
    pub capacity_bytes: usize,
    /// Spans of a batch at most; as many make a batch due.
    pub batch: usize,
    /// Bytes of a batch's message at most; a span that has no room left makes a batch due. A span that is larger travels alone.
    pub batch_bytes: usize,
    /// Nanoseconds after which a span makes a batch due.
    pub max_age_ns: u64,
}

impl Default for BatchLimits {
    /// The defaults of OpenTelemetry's batch span processor for numbers (2048 and 512), and one second instead of its five: a
    /// policy's effect should be seen soon. A receiver's default maximum is 4 MiB (gRPC): a message stays at an eighth of it, which
    /// is a KiB for each of 512 spans.
    fn default() -> Self {
        Self {
            capacity: 2048,
            capacity_bytes: 2 << 20,
            batch: 512,
            batch_bytes: 512 << 10,
            max_age_ns: 1_000_000_000,
        }
    }
}

/// Spans in the order in which they came, written as OTLP, that leave in messages by number, size or age.
///
/// Its buffers keep their capacity, so once they have grown nothing is allocated.
#[derive(Debug)]
pub struct SpanQueue {
    limits: BatchLimits,
    /// What is within the `InstrumentationScope` of all spans.
    scope: Box<[u8]>,
    /// The last one is being filled.
    waiting: VecDeque<Batch>,
    /// Empty ones, for their buffers.
    spare: Vec<Batch>,
    /// The span that is being written.
    span: Vec<u8>,
    spans: usize,
    bytes: usize,
}

impl SpanQueue {
    /// `scope` is what [`crate::otlp::scope`] writes. A bound of zero is taken as one.
    #[must_use]
    pub fn new(limits: BatchLimits, scope: Box<[u8]>) -> Self {
        let batch = limits.batch.max(1);
        let limits = BatchLimits {
            capacity: limits.capacity.max(batch),
            batch,
            ..limits
        };
        Self {
            waiting: VecDeque::new(),
            spare: Vec::with_capacity(limits.capacity.div_ceil(batch)),
            span: Vec::new(),
            spans: 0,
            bytes: 0,
            limits,
            scope,
        }
    }

    /// Appends a span, or counts it as [`Loss::QueueFull`] and gives false. The oldest stay: they are nearest to being sent.
    ///
    /// `resource` is what [`crate::otlp::resource`] writes: spans with the same allocation travel together. `write` appends what is
    /// within the `Span`.
    pub fn push(
        &mut self,
        resource: &Arc<[u8]>,
        now_ns: u64,
        losses: &LossCounters,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let fits = self.spans < self.limits.capacity && self.append(resource, now_ns, write);
        losses.add(Loss::QueueFull, (!fits).into());
        fits
    }

    fn append(&mut self, resource: &Arc<[u8]>, now_ns: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.span.clear();
        write(&mut self.span);
        let (limits, length) = (self.limits, wire::bytes_length(SPANS, self.span.len()));
        let first = resource.len() + self.scope.len() + HEADS + length;
        let last = self.waiting.back().filter(|last| last.spans() < limits.batch);
        let group = last.and_then(|last| last.group(resource));
        let cost = if group.is_some() { length } else { first };
        let fits = last.is_some_and(|last| last.cost() + cost <= limits.batch_bytes);
        let (group, cost) = if fits { (group, cost) } else { (None, first) };
        if self.spans > 0 && self.bytes + cost > limits.capacity_bytes {
            return false;
        }
        if !fits {
            self.waiting.push_back(self.spare.pop().unwrap_or_default());
        }
        if let Some(batch) = self.waiting.back_mut() {
            batch.push(&self.span, resource, group, cost, now_ns);
        }
        self.spans += 1;
        self.bytes += cost;
        true
    }

    /// Appends the message of a batch to `out` if one is due, an `ExportTraceServiceRequest`. Gives its number of spans, zero where
    /// none is due.
    pub fn take_due(&mut self, now_ns: u64, out: &mut Vec<u8>) -> usize {
        let full = self.waiting.len() > 1 || self.spans >= self.limits.batch;
        if full || self.due_at().is_some_and(|due| due <= now_ns) {
            self.take_any(out)
        } else {
            0
        }
    }

    /// The same, due or not. Zero when there is nothing left.
    pub fn take_any(&mut self, out: &mut Vec<u8>) -> usize {
        let Some(mut batch) = self.waiting.pop_front() else {
            return 0;
        };
        let spans = batch.spans();
        self.spans -= spans;
        self.bytes -= batch.cost();
        batch.write(&self.scope, out);
        batch.clear();
        if self.spare.len() < self.spare.capacity() {
            self.spare.push(batch);
        }
        spans
    }

    /// When the oldest span makes a batch due by age.
    #[must_use]
    pub fn due_at(&self) -> Option<u64> {
        let oldest = self.waiting.front()?.oldest_ns();
        Some(oldest.saturating_add(self.limits.max_age_ns))
    }

    /// Counts all that is left as lost by `loss` and forgets it.
    pub fn discard(&mut self, loss: Loss, losses: &LossCounters) {
        losses.add(loss, self.spans as u64);
        self.waiting.clear();
        (self.spans, self.bytes) = (0, 0);
    }

    /// Spans that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans == 0
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> BatchLimits {
        self.limits
    }
}
