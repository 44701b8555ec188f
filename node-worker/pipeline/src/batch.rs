//! A bounded buffer between the decision to keep a span and its export.

use crate::loss::{Loss, LossCounters};
use std::collections::VecDeque;

/// Bounds of a [`BatchBuffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Items that wait at most; what comes then is lost.
    pub capacity: usize,
    /// Items of a batch at most; as many make a batch due.
    pub batch: usize,
    /// Nanoseconds after which an item makes a batch due.
    pub max_age_ns: u64,
}

impl Default for BatchLimits {
    /// The defaults of OpenTelemetry's batch span processor for sizes (2048 and 512), and one second instead of its five: a policy's
    /// effect should be seen soon.
    fn default() -> Self {
        Self {
            capacity: 2048,
            batch: 512,
            max_age_ns: 1_000_000_000,
        }
    }
}

/// A bounded first-in first-out buffer that gives batches by size or age.
#[derive(Debug)]
pub struct BatchBuffer<T> {
    limits: BatchLimits,
    items: VecDeque<(u64, T)>,
}

impl<T> BatchBuffer<T> {
    /// A bound of zero is taken as one.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Self {
        let batch = limits.batch.max(1);
        let capacity = limits.capacity.max(batch);
        Self {
            limits: BatchLimits {
                capacity,
                batch,
                ..limits
            },
            items: VecDeque::with_capacity(capacity),
        }
    }

    /// Appends an item, or counts it as [`Loss::QueueFull`] and gives false. The oldest stay: they are nearest to being sent.
    pub fn push(&mut self, item: T, now_ns: u64, losses: &LossCounters) -> bool {
        let fits = self.items.len() < self.limits.capacity;
        if fits {
            self.items.push_back((now_ns, item));
        } else {
            losses.add(Loss::QueueFull, 1);
        }
        fits
    }

    /// Moves a batch into `out`, replacing what was there, if one is due by size or age.
    pub fn take_due(&mut self, now_ns: u64, out: &mut Vec<T>) -> bool {
        let due = self.items.len() >= self.limits.batch || self.due_at().is_some_and(|due| due <= now_ns);
        out.clear();
        due && self.take(out)
    }

    /// Moves a batch into `out`, replacing what was there, due or not. False when there is nothing left.
    pub fn take_any(&mut self, out: &mut Vec<T>) -> bool {
        out.clear();
        self.take(out)
    }

    fn take(&mut self, out: &mut Vec<T>) -> bool {
        let count = self.items.len().min(self.limits.batch);
        out.extend(self.items.drain(..count).map(|(_, item)| item));
        count > 0
    }

    /// When the oldest item makes a batch due by age.
    #[must_use]
    pub fn due_at(&self) -> Option<u64> {
        self.items
            .front()
            .map(|(at, _)| at.saturating_add(self.limits.max_age_ns))
    }

    /// Counts all that is left as lost by `loss` and forgets it.
    pub fn discard(&mut self, loss: Loss, losses: &LossCounters) {
        losses.add(loss, self.items.len() as u64);
        self.items.clear();
    }

    /// Items that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Items that may wait.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.limits.capacity
    }
}
