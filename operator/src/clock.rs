//! The only place that reads the wall clock, so that every other room can be tested at any time of day.

use std::{fmt::Debug, sync::Arc};

use jiff::Timestamp;

/// Tells what time it is.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock now. It may step, so spans are measured with `tokio::time::Instant` instead.
    fn now(&self) -> Timestamp;
}

/// A clock that many rooms share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ManualClock(std::sync::Mutex<Timestamp>);

#[cfg(test)]
impl ManualClock {
    pub(crate) fn at(time: &str) -> Arc<Self> {
        Arc::new(Self(std::sync::Mutex::new(time.parse().expect("an RFC 3339 time"))))
    }

    pub(crate) fn advance(&self, span: std::time::Duration) {
        *self.0.lock().expect("not poisoned") += span;
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}
