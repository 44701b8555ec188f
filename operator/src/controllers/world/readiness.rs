//! How many pods are ready, and have been for long enough that a worker can have found them.

use std::collections::VecDeque;
use std::time::Duration;

use shoalwatch_core::Millis;

/// A pod counts once it has been ready for this long: a worker takes up to 2 s to learn of it.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Changes remembered; a set whose number changes faster is taken at its lowest.
const MAX_CHANGES: usize = 64;

/// The ready pods of one `ReplicaSet` over the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Each number and since when, oldest first.
    numbers: VecDeque<(Millis, u32)>,
    first_ready_at: Option<Millis>,
}

impl Readiness {
    /// As found by a list: for how long nobody knows, so for long enough.
    pub(super) fn found(ready: u32) -> Self {
        Self {
            numbers: VecDeque::from([(Millis(i64::MIN), ready)]),
            first_ready_at: None,
        }
    }

    /// With the number of ready pods now.
    pub(super) fn with(mut self, ready: u32, now: Millis) -> Self {
        let last = self.numbers.back().map_or(0, |(_, ready)| *ready);
        if last == 0 && ready > 0 && self.first_ready_at.is_none() {
            self.first_ready_at = Some(now);
        }
        if last != ready {
            self.numbers.push_back((now, ready));
        }
        let edge = now.minus(SETTLED_AFTER);
        // The number in effect at the edge still counts, so the one after it must be past the edge too.
        while self.numbers.get(1).is_some_and(|(since, _)| *since <= edge) || self.numbers.len() > MAX_CHANGES {
            self.numbers.pop_front();
        }
        self
    }

    /// Pods that were ready all through the last [`SETTLED_AFTER`].
    #[must_use]
    pub(crate) fn settled(&self, now: Millis) -> u32 {
        let edge = now.minus(SETTLED_AFTER);
        let in_effect = self.numbers.partition_point(|(since, _)| *since <= edge);
        if in_effect == 0 {
            return 0;
        }
        let numbers = self.numbers.iter().skip(in_effect - 1);
        numbers.map(|(_, ready)| *ready).min().unwrap_or(0)
    }

    /// When the first pod became ready, if that was seen.
    #[must_use]
    pub(crate) fn first_ready_at(&self) -> Option<Millis> {
        self.first_ready_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_after_two_seconds_and_is_missed_at_once() {
        let readiness = Readiness::default()
            .with(0, Millis(0))
            .with(2, Millis(1_000))
            .with(3, Millis(1_500));
        assert_eq!(readiness.settled(Millis(2_900)), 0);
        assert_eq!(readiness.settled(Millis(3_000)), 2);
        assert_eq!(readiness.settled(Millis(3_500)), 3);
        let readiness = readiness.with(1, Millis(9_000));
        assert_eq!(readiness.settled(Millis(9_000)), 1);
        assert_eq!(readiness.first_ready_at(), Some(Millis(1_000)));
    }

    #[test]
    fn what_a_list_finds_has_been_ready_for_long() {
        let readiness = Readiness::found(3);
        assert_eq!(readiness.settled(Millis(0)), 3);
        assert_eq!(readiness.with(4, Millis(10)).settled(Millis(100)), 3);
    }

    #[test]
    fn a_set_that_flaps_does_not_grow() {
        let readiness = (0..10_000).fold(Readiness::found(1), |readiness, tick| {
            readiness.with(u32::from(tick % 2 == 0), Millis(tick))
        });
        assert!(readiness.numbers.len() <= MAX_CHANGES);
        assert_eq!(readiness.settled(Millis(10_000)), 0);
    }
}
