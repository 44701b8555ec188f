//! Good and all requests as another program counts them, asked for now and then: what Prometheus answers, and what is new in it.
//!
//! Nodes tell each request once. Here two cumulative counts are seen at points of time, and what happened between two of them is
//! their difference, in good order only: see [`Meter`]. It goes into the same history as what nodes report, under one
//! [revision](REVISION) that no release has, so that windows, alerts and budgets are the same; there is nothing to undo.

mod answer;
mod judge;
mod meter;

pub use answer::{AnswerError, read};
pub use judge::{Polling, evaluate};
pub use meter::{LONGEST, MOMENT, Meter, RETURN, Sample, Taken, Unknown};

use std::time::Duration;

use crate::reports::{Difference, Placement};
use crate::{Counts, Revision, SliId, WorkerId};

/// How often an SLO is polled.
pub const EVERY: Duration = Duration::from_secs(15);
/// Under which everything polled is counted; no `pod-template-hash` has a capital.
pub const REVISION: &str = "Polled";
/// A failure is told after so long without a good poll: one that was missed is nothing.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What was polled, as the history takes it.
#[must_use]
pub fn difference(sli: &SliId, counts: Counts, placement: Placement) -> Difference {
    Difference {
        sli: sli.clone(),
        revision: Revision::from(REVISION),
        worker: WorkerId::from(REVISION),
        counts,
        bad_pods: 0,
        placement,
    }
}
