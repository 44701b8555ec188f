//! What an API error means, and when to try again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// The first pause after an error.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_mins(1);
/// The pause after a conflict: somebody else wrote, look again.
const CONFLICT: Duration = Duration::from_millis(200);

/// A bounded word for an API error.
#[must_use]
pub fn category(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            429 => "throttled",
            400..=499 => "invalid",
            _ => "server",
        },
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "answer",
        _ => "transport",
    }
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing will change it but a change of the object.
    AwaitChange,
    /// Again after this pause.
    After(Duration),
}

/// Pauses for each object of its own: exponential with jitter, begun anew by a success.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: BTreeMap<K, u32>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self {
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Ord> Backoff<K> {
    /// Counts a failure by its category.
    pub fn failed(&mut self, object: K, category: &str) -> Next {
        match category {
            "invalid" | "not_found" | "patch" => Next::AwaitChange,
            "conflict" => Next::After(CONFLICT),
            _ => {
                let failures = self.failures.entry(object).or_default();
                *failures = failures.saturating_add(1);
                Next::After(jittered(pause(*failures)))
            }
        }
    }

    /// Begins anew; also to be called when the object is gone.
    pub fn succeeded(&mut self, object: &K) {
        self.failures.remove(object);
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

/// From half of it to all of it, so that objects that failed together do not return together.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// When something is due, never for what nothing but a change helps.
impl Next {
    /// The point in time after the pause.
    #[must_use]
    pub fn at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::AwaitChange => None,
            Self::After(pause) => Some(now + pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(next: Next) -> Duration {
        match next {
            Next::After(pause) => pause,
            Next::AwaitChange => Duration::MAX,
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_for_each_object_of_its_own() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.failed("a", "server");
        }
        let long = after(backoff.failed("a", "server"));
        assert!(long >= LONGEST / 2 && long <= LONGEST, "{long:?}");
        assert!(after(backoff.failed("b", "server")) <= FIRST);
        backoff.succeeded(&"a");
        assert!(after(backoff.failed("a", "transport")) <= FIRST);
    }

    #[test]
    fn what_only_a_change_can_mend_is_not_tried_again() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed("a", "invalid"), Next::AwaitChange);
        assert_eq!(backoff.failed("a", "conflict"), Next::After(CONFLICT));
    }
}
