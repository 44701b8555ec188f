//! What to do about a Lease as it was read: pure, so that every case can be tried without a server.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;

/// How long a Lease lasts unless it says otherwise.
pub(super) const LASTS: Duration = Duration::from_secs(15);

/// What this process knows of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me<'a> {
    /// The pod's name, which a StatefulSet gives to its successor as well.
    pub(super) identity: &'a str,
    /// The term that this process won last, whether or not it still holds it.
    pub(super) won: Option<u64>,
    /// Whether it believes to hold the Lease.
    pub(super) leading: bool,
    /// The highest term it has seen.
    pub(super) newest: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take it, under this term.
    Acquire { term: u64 },
    /// It is mine: say so again.
    Renew,
    /// It is somebody else's.
    Yield,
}

/// Decides about the Lease as read; `unchanged` is how long this process has seen it as it is, by its own clock,
/// because the clocks of two nodes may differ by more than a Lease lasts.
///
/// A Lease that names this process' identity, but was not won by it, is its crashed predecessor's: it is taken at once,
/// under a new term. Only a process that has won nothing yet may conclude that: one that has, and finds its name under
/// another term, has a successor, and yields.
pub(super) fn evaluate(lease: Option<&LeaseSpec>, unchanged: Duration, me: Me<'_>, now: Timestamp) -> Step {
    let Some(lease) = lease else {
        return Step::Acquire {
            term: first_term(now, me.newest),
        };
    };
    let term = term(lease);
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let next = Step::Acquire {
        term: term.max(me.newest).saturating_add(1),
    };
    let expired = unchanged >= lasts(lease);
    match holder {
        "" => next,
        holder if holder == me.identity && me.won.is_none_or(|won| won == term) => {
            if me.leading {
                Step::Renew
            } else {
                next
            }
        }
        _ if expired => next,
        _ => Step::Yield,
    }
}

/// The term that a Lease stands for.
pub(super) fn term(lease: &LeaseSpec) -> u64 {
    lease
        .lease_transitions
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or_default()
}

fn lasts(lease: &LeaseSpec) -> Duration {
    lease
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(LASTS, Duration::from_secs)
}

/// The term of a Lease made anew: the minutes since 1970, so that it lies above all that workers remember of an earlier
/// Lease that was deleted, or of an installation before this one. Terms rise by one for each change of the leader,
/// which is far less than once a minute.
fn first_term(now: Timestamp, newest: u64) -> u64 {
    u64::try_from(now.as_second() / 60)
        .unwrap_or_default()
        .max(newest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: &str = "shoalwatch-operator-0";
    const FRESH: Me<'static> = Me {
        identity: ME,
        won: None,
        leading: false,
        newest: 0,
    };

    fn now() -> Timestamp {
        "2026-11-22T04:00:00Z".parse().unwrap()
    }

    fn lease(holder: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_transitions: Some(transitions),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    fn leading(term: u64) -> Me<'static> {
        Me {
            won: Some(term),
            leading: true,
            newest: term,
            ..FRESH
        }
    }

    fn lost(term: u64) -> Me<'static> {
        Me {
            leading: false,
            ..leading(term)
        }
    }

    #[test]
    fn an_absent_lease_is_made_with_a_term_above_all_earlier_ones() {
        let step = evaluate(None, Duration::ZERO, FRESH, now());
        assert_eq!(step, Step::Acquire { term: 29_922_000 });
        let ahead = Me {
            newest: 40_000_000,
            ..FRESH
        };
        assert_eq!(
            evaluate(None, Duration::ZERO, ahead, now()),
            Step::Acquire { term: 40_000_001 }
        );
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        assert_eq!(
            evaluate(Some(&lease("", 7)), Duration::ZERO, FRESH, now()),
            Step::Acquire { term: 8 }
        );
    }

    #[test]
    fn a_live_lease_of_another_replica_is_left_alone_until_it_was_unchanged_for_its_duration() {
        let theirs = lease("shoalwatch-operator-1", 7);
        let just_before = Duration::from_millis(14_999);
        assert_eq!(evaluate(Some(&theirs), just_before, FRESH, now()), Step::Yield);
        assert_eq!(
            evaluate(Some(&theirs), Duration::from_secs(15), FRESH, now()),
            Step::Acquire { term: 8 }
        );
    }

    #[test]
    fn a_restart_under_the_same_name_takes_the_lease_at_once_and_raises_the_term() {
        assert_eq!(
            evaluate(Some(&lease(ME, 7)), Duration::ZERO, FRESH, now()),
            Step::Acquire { term: 8 }
        );
    }

    #[test]
    fn a_held_lease_is_renewed_under_its_term() {
        assert_eq!(
            evaluate(Some(&lease(ME, 7)), Duration::ZERO, leading(7), now()),
            Step::Renew
        );
    }

    #[test]
    fn a_process_yields_to_its_successor_of_the_same_name_and_does_not_fight_it() {
        let successors = lease(ME, 8);
        assert_eq!(
            evaluate(Some(&successors), Duration::ZERO, leading(7), now()),
            Step::Yield
        );
        assert_eq!(evaluate(Some(&successors), Duration::ZERO, lost(7), now()), Step::Yield);
    }

    #[test]
    fn a_lease_lost_by_time_that_nobody_took_is_taken_back_under_a_new_term() {
        assert_eq!(
            evaluate(Some(&lease(ME, 7)), Duration::ZERO, lost(7), now()),
            Step::Acquire { term: 8 }
        );
    }

    #[test]
    fn a_lease_without_any_field_is_taken() {
        assert_eq!(
            evaluate(Some(&LeaseSpec::default()), Duration::ZERO, FRESH, now()),
            Step::Acquire { term: 1 }
        );
    }

    proptest! {
        #[test]
        fn a_term_never_goes_back(
            there in any::<bool>(), holder in prop::sample::select(vec!["", ME, "other"]), transitions in any::<i32>(),
            seconds in 0_u64..60, won in prop::option::of(0_u64..100), leading in any::<bool>(), newest in 0_u64..100,
        ) {
            let lease = lease(holder, transitions);
            let me = Me { identity: ME, won, leading, newest };
            let read = there.then_some(&lease);
            if let Step::Acquire { term: next } = evaluate(read, Duration::from_secs(seconds), me, now()) {
                prop_assert!(next > newest);
                prop_assert!(read.is_none_or(|lease| next > term(lease)));
            }
        }
    }
}
