//! The only place that reads the wall clock, so that every other room can be tested at any time of day.

use std::{cell::Cell, fmt::Debug, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

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

/// Of a step of the wall clock, the steady clock makes up one part in so many.
const SLEW: u32 = 20;

/// The wall clock without its steps: what time passed is what is judged, whatever the administrator of the node does to its
/// clock. It begins with the wall clock and follows it by going up to 5 % faster or slower.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    wall: SharedClock,
    told: Cell<(Timestamp, Instant)>,
}

impl SteadyClock {
    pub(crate) fn new(wall: SharedClock) -> Self {
        let told = Cell::new((wall.now(), Instant::now()));
        Self { wall, told }
    }

    /// Never goes back.
    pub(crate) fn now(&self) -> Timestamp {
        let ((told, at), now) = (self.told.get(), Instant::now());
        let passed = now.duration_since(at);
        let steady = told + passed;
        let most = SignedDuration::try_from(passed / SLEW).unwrap_or_default();
        let off = self.wall.now().duration_since(steady).clamp(-most, most);
        let time = steady + off;
        self.told.set((time, now));
        time
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

    pub(crate) fn set_back(&self, span: std::time::Duration) {
        *self.0.lock().expect("not poisoned") -= span;
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_follows_the_wall_clock_and_takes_none_of_its_steps() {
        let wall = ManualClock::at("2026-11-22T05:00:00Z");
        let steady = SteadyClock::new(wall.clone());
        let began = steady.now();
        for (step, off) in [(false, 0_u64), (true, 7_200)] {
            let before = steady.now();
            if step {
                wall.advance(Duration::from_secs(off));
            }
            wall.advance(Duration::from_secs(100));
            tokio::time::advance(Duration::from_secs(100)).await;
            let passed = steady.now().duration_since(before).as_secs();
            assert_eq!(passed, if step { 105 } else { 100 });
        }
        wall.set_back(Duration::from_hours(10));
        let before = steady.now();
        assert_eq!(steady.now(), before, "no time passed");
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(steady.now().duration_since(before).as_secs(), 95);
        assert!(steady.now() > began);
    }
}
