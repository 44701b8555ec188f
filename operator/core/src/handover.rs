//! What a replica goes on with that copied what another one knows.
//!
//! Both heard the same workers' cumulative counts, and each fed a history from them; for a while one of them may have been
//! away. The two histories cannot be added, because both hold the same requests. So one of them is taken whole, and what the
//! other replica heard above it is added as counts without a time: nothing is lost, and nothing is there twice.

use std::time::Duration;

use crate::Millis;
use crate::SliId;
use crate::history::History;
use crate::reports::CumulativeReports;

/// A history that reaches back so much further is worth more than a fresher one.
const FURTHER: Duration = Duration::from_mins(10);

/// What one replica knows of an SLO.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// All counts that it heard.
    pub reports: &'a CumulativeReports,
    /// What it fed from them; `None`: it does not know the SLO.
    pub history: Option<&'a History>,
    /// What it decided about the SLO is the newest.
    pub decides: bool,
}

/// The history to go on with beside [`CumulativeReports::united`] counts.
#[must_use]
pub fn history(own: Side<'_>, copied: Side<'_>, sli: &SliId, now: Millis) -> History {
    let (base, other) = if prefers_own(own, copied) {
        (own, copied)
    } else {
        (copied, own)
    };
    let mut history = base.history.cloned().unwrap_or_default();
    for difference in other.reports.above(base.reports, sli, now) {
        history.record(&difference, now);
    }
    history
}

/// Whose history is taken. The copy comes from a replica that was there all the time; but a release that began anew did so only in
/// the history of whoever decided that, and a month of budget is not given away for the last minutes.
#[must_use]
pub fn prefers_own(own: Side<'_>, copied: Side<'_>) -> bool {
    let (Some(mine), Some(theirs)) = (own.history, copied.history) else {
        return own.history.is_some();
    };
    if own.decides != copied.decides {
        return own.decides;
    }
    match (mine.since(), theirs.since()) {
        (Some(mine), Some(theirs)) => mine.plus(FURTHER) < theirs,
        (mine, _) => mine.is_some(),
    }
}
