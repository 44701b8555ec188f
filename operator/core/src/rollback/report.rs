//! What a dry run would have come to, release by release: the way to adopt the rollback before it is trusted.

use serde::{Deserialize, Serialize};

use crate::{Millis, ReleaseId};

/// Most releases that are told one by one; all are counted.
pub const MAX_REPORTED: usize = 8;

/// What became of a release under `mode: DryRun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It is being judged.
    InProbation,
    /// It would have been undone.
    WouldHaveUndone,
    /// It is known to be good.
    Promoted,
    /// It was judged to the end, and served too little to be known as good.
    ProbationOver,
    /// Another release came before the end.
    Replaced,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Which.
    pub release: ReleaseId,
    /// When it came.
    pub since: Millis,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, with the numbers; empty while it is judged.
    pub why: String,
}

/// All releases since the first one that was judged in a dry run. An undone release that comes back counts again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DryRunReport {
    judged: u32,
    would_have_undone: u32,
    rows: Vec<ReportRow>,
}

impl DryRunReport {
    /// Releases that came.
    #[must_use]
    pub fn judged(&self) -> u32 {
        self.judged
    }

    /// Of these, releases that would have been undone.
    #[must_use]
    pub fn would_have_undone(&self) -> u32 {
        self.would_have_undone
    }

    /// The last of them, oldest first; at most [`MAX_REPORTED`].
    #[must_use]
    pub fn rows(&self) -> &[ReportRow] {
        &self.rows
    }

    /// In one sentence; `None` before the first release.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let (judged, undone) = (self.judged, self.would_have_undone);
        let releases = if judged == 1 { "release" } else { "releases" };
        (judged > 0).then(|| format!("would have undone {undone} of {judged} {releases}"))
    }

    pub(super) fn came(&mut self, release: &ReleaseId, now: Millis) {
        if let Some(open) = self.rows.last_mut().filter(|row| row.outcome == Outcome::InProbation) {
            (open.outcome, open.why) = (Outcome::Replaced, format!("release {release} came before the end"));
        }
        if self.rows.len() >= MAX_REPORTED {
            self.rows.remove(0);
        }
        self.judged = self.judged.saturating_add(1);
        self.rows.push(ReportRow {
            release: release.clone(),
            since: now,
            outcome: Outcome::InProbation,
            why: String::new(),
        });
    }

    pub(super) fn would_undo(&mut self, release: &ReleaseId, why: &str, now: Millis) {
        if self.open(release).is_none() {
            self.came(release, now);
        }
        self.would_have_undone = self.would_have_undone.saturating_add(1);
        self.end(release, Outcome::WouldHaveUndone, why);
    }

    /// A release that was not seen to come in a dry run is not told of.
    pub(super) fn end(&mut self, release: &ReleaseId, outcome: Outcome, why: &str) {
        if let Some(row) = self.open(release) {
            (row.outcome, row.why) = (outcome, why.to_owned());
        }
    }

    fn open(&mut self, release: &ReleaseId) -> Option<&mut ReportRow> {
        let last = self.rows.last_mut();
        last.filter(|row| row.release == *release && row.outcome == Outcome::InProbation)
    }
}
