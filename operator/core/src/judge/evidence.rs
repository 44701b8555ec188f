//! Everything a verdict rests on, gathered in one place.

use std::time::Duration;

use serde::Serialize;

use crate::counts::float;
use crate::history::{History, Totals};
use crate::release::{Ledger, Role, TargetSnapshot};
use crate::spec::SloSpec;
use crate::{Counts, Millis, ReleaseId};

/// The shortest span in which two releases are compared.
const SHORTEST_COMPARISON: Duration = Duration::from_secs(1);

/// Pods that workers report of, and pods that are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Ready pods that a connected worker has under observation.
    pub reporting: u32,
    /// Ready pods.
    pub ready: u32,
}

/// Counts of one release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseEvidence {
    /// The release.
    pub release: ReleaseId,
    /// What it is taken for.
    pub role: Role,
    /// Its first ready pod.
    pub first_ready_at: Option<Millis>,
    /// Of its pods.
    pub coverage: Coverage,
    /// Over `windows.short`.
    pub short: Counts,
    /// Over `windows.long`.
    pub long: Counts,
    /// Over the span both releases are compared in: `windows.long`, but not before the new one's first request.
    pub compared: Counts,
    /// Over `promoteAfter.duration`.
    pub trial: Counts,
    /// Since its first request.
    pub totals: Totals,
}

/// What one verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Over all revisions, for each window of [`SloSpec::alerts`], shortest first.
    pub windows: Vec<(Duration, Counts)>,
    /// Over [`SloSpec::window`].
    pub period: Counts,
    /// Over [`SloSpec::data_window`].
    pub recent: Counts,
    /// When the oldest count happened.
    pub history_since: Option<Millis>,
    /// Of all pods of the target.
    pub coverage: Coverage,
    /// The release of the current template; `None` without a target.
    pub current: Option<ReleaseEvidence>,
    /// A known-good release whose pods serve beside it.
    pub stable: Option<ReleaseEvidence>,
}

/// Reads from the history what a verdict on `spec` needs.
#[must_use]
pub fn gather(
    spec: &SloSpec,
    history: &History,
    ledger: &Ledger,
    target: Option<&TargetSnapshot>,
    now: Millis,
) -> Evidence {
    let mut spans: Vec<Duration> = spec
        .alerts()
        .tiers
        .iter()
        .flat_map(|tier| [tier.short, tier.long])
        .collect();
    spans.sort_unstable();
    spans.dedup();
    let reader = Reader {
        spec,
        history,
        ledger,
        now,
    };
    let span = target.map_or(SHORTEST_COMPARISON, |target| reader.comparison(target));
    let current = target.map(|target| reader.release(target, &target.release, span));
    let stable = target.and_then(|target| {
        let stable = ledger.stable_beside(&target.release, target)?;
        Some(reader.release(target, &stable, span))
    });
    Evidence {
        windows: spans
            .into_iter()
            .map(|window| (window, history.window(window, now)))
            .collect(),
        period: history.window(spec.window(), now),
        recent: history.window(spec.data_window(), now),
        history_since: history.since(),
        coverage: target.map(Coverage::of_target).unwrap_or_default(),
        current,
        stable,
    }
}

struct Reader<'a> {
    spec: &'a SloSpec,
    history: &'a History,
    ledger: &'a Ledger,
    now: Millis,
}

impl Reader<'_> {
    fn comparison(&self, target: &TargetSnapshot) -> Duration {
        let first = self
            .history
            .totals_of(&Ledger::revisions(target, &target.release))
            .first_at;
        let since = first.map_or(SHORTEST_COMPARISON, |first| {
            self.now.since(first).max(SHORTEST_COMPARISON)
        });
        since.min(self.spec.rule().long)
    }

    fn release(&self, target: &TargetSnapshot, release: &ReleaseId, compared: Duration) -> ReleaseEvidence {
        let revisions = Ledger::revisions(target, release);
        let over = |window| self.history.window_of(&revisions, window, self.now);
        let rule = self.spec.rule();
        ReleaseEvidence {
            release: release.clone(),
            role: self.ledger.role(release),
            first_ready_at: self.ledger.get(release).and_then(|known| known.first_ready_at),
            coverage: Coverage::of_release(target, release),
            short: over(rule.short),
            long: over(rule.long),
            compared: over(compared),
            trial: over(rule.promote_after.duration),
            totals: self.history.totals_of(&revisions),
        }
    }
}

impl Coverage {
    fn of_target(target: &TargetSnapshot) -> Self {
        Self::sum(
            target
                .revisions
                .iter()
                .map(|each| (each.reporting_pods, each.ready_pods)),
        )
    }

    fn of_release(target: &TargetSnapshot, release: &ReleaseId) -> Self {
        Self::sum(
            target
                .revisions_of(release)
                .into_iter()
                .map(|each| (each.reporting_pods, each.ready_pods)),
        )
    }

    fn sum(pods: impl Iterator<Item = (u32, u32)>) -> Self {
        pods.fold(Self::default(), |sum, (reporting, ready)| Self {
            reporting: sum.reporting.saturating_add(reporting.min(ready)),
            ready: sum.ready.saturating_add(ready),
        })
    }

    /// Pods are ready and nobody reports of any.
    #[must_use]
    pub fn is_blind(self) -> bool {
        self.ready > 0 && self.reporting == 0
    }

    /// Every ready pod is reported of.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.reporting >= self.ready
    }

    /// By how much traffic would grow if the missing pods served as much as the reporting ones.
    #[must_use]
    pub fn growth(self) -> f64 {
        if self.reporting == 0 {
            return 1.0;
        }
        float(self.ready.max(self.reporting).into()) / float(self.reporting.into())
    }
}
