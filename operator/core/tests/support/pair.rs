//! A known-good release and the new one beside it.

use std::time::Duration;

use shoalwatch_core::release::{Ledger, TargetSnapshot};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::{Counts, Millis};

use crate::support::{revision, target};

/// `v1` was seen first, `v2` is new since `since`.
pub(crate) fn pair(since: Millis) -> TargetSnapshot {
    target(
        "v2",
        vec![revision("v1", "v1-rs", Millis(0)), revision("v2", "v2-rs", since)],
    )
}

/// `v1` is known to be good, `v2` has its first ready pod `since`.
pub(crate) fn ledger(since: Millis) -> Ledger {
    let both = pair(since);
    let mut before = both.clone();
    before.release = "v1".into();
    before.revisions.truncate(1);
    let probation = Duration::from_mins(30);
    let mut ledger = Ledger::default();
    ledger.observe(&before, probation, since.minus(Duration::from_hours(1)));
    ledger.observe(&both, probation, since);
    ledger
}

/// Answers of a revision, as a worker reports them.
pub(crate) fn difference(revision: &str, counts: Counts, bad_pods: u32, at: Millis) -> Difference {
    Difference {
        sli: "slo".into(),
        revision: revision.into(),
        worker: "node".into(),
        counts,
        bad_pods,
        placement: Placement::At(at),
    }
}
