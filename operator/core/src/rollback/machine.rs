//! The rollback of one SLO's target: its state and everything it remembers.

use serde::{Deserialize, Serialize};

use super::memory::{Memory, Undone};
use super::readiness::Hold;
use super::report::DryRunReport;
use super::state::{State, Step, TimelineRow};
use crate::{Millis, ReleaseId};

/// Most rows of a timeline; the oldest makes room.
pub const MAX_TIMELINE: usize = 20;

/// Persisted as JSON. Changed by [`super::step()`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Machine {
    pub(super) state: State,
    pub(super) memory: Memory,
    timeline: Vec<TimelineRow>,
    pub(super) breached: Option<Breached>,
    /// What was said last about a bad release that is not undone, so that it is said once.
    pub(super) said: Option<(ReleaseId, Hold)>,
    pub(super) blocked: Option<Blocked>,
    pub(super) report: DryRunReport,
}

/// A release whose counts fill the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Breached {
    pub(super) release: ReleaseId,
    pub(super) at: Millis,
}

/// The API server said no: not again before then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blocked {
    pub(super) hold: Hold,
    pub(super) until: Millis,
}

impl Machine {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Milestones, oldest first; at most 20.
    #[must_use]
    pub fn timeline(&self) -> &[TimelineRow] {
        &self.timeline
    }

    /// When the counts of the release that was judged bad last first filled the rule.
    #[must_use]
    pub fn rule_filled_at(&self) -> Option<Millis> {
        self.breached.as_ref().map(|breached| breached.at)
    }

    /// What is remembered of acts against a release.
    #[must_use]
    pub fn undone(&self, release: &ReleaseId) -> Option<&Undone> {
        self.memory.get(release)
    }

    /// Every release whose undo still counts.
    #[must_use]
    pub fn all_undone(&self) -> &[Undone] {
        self.memory.all()
    }

    /// What the API server said no with, while that lasts.
    #[must_use]
    pub fn blocked(&self, now: Millis) -> Option<Hold> {
        self.blocked
            .as_ref()
            .filter(|blocked| now < blocked.until)
            .map(|blocked| blocked.hold)
    }

    /// What dry runs would have come to.
    #[must_use]
    pub fn dry_run(&self) -> &DryRunReport {
        &self.report
    }

    pub(super) fn note(&mut self, at: Millis, step: Step, message: String) {
        if self.timeline.len() >= MAX_TIMELINE {
            self.timeline.remove(0);
        }
        let of_an_act = matches!(step, Step::Patched | Step::Recovered | Step::Verified | Step::Failed);
        let act = self.state.act().filter(|_| of_an_act).map(|act| act.record.time);
        self.timeline.push(TimelineRow { at, step, message, act });
    }
}
