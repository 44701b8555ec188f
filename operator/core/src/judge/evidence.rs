//! Everything a verdict rests on, gathered in one place.

use std::time::Duration;

use serde::Serialize;

use crate::counts::float;
use crate::history::{Group, History, Totals};
use crate::release::{Ledger, Role, TargetSnapshot};
use crate::spec::{RollbackRule, SloSpec};
use crate::{Counts, Millis, ReleaseId};

use super::span::{Elder, STABLE_SERVES, Span, Spans};

/// Clause 3.
const SPREAD_PODS: u32 = 2;
/// Clause 3.
const SPREAD_TIME: Duration = Duration::from_secs(2);

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
    /// Where its answers begin to count: its first request, or the end of its warm-up.
    pub judged_from: Option<Millis>,
    /// Of its pods.
    pub coverage: Coverage,
    /// Over `windows.short`.
    pub short: Counts,
    /// Over `promoteAfter.duration`, without the warm-up.
    pub trial: Counts,
    /// All that counts.
    pub judged: Counts,
    /// Since its first request.
    pub totals: Totals,
    /// Where it may be found bad, unit by unit, without the spans that a glance acquits; empty before its answers count, unless it is in
    /// probation, and unless clauses 2 and 3 hold.
    pub spans: Vec<Span>,
    /// A known-good release serves beside it: pods of it are ready, and it had 10 requests in the last `windows.long`, of those
    /// since the first one that counts.
    pub beside_stable: bool,
    /// What the known-good release answered over `windows.long`, whether anything of the new one counts or not.
    pub stable: Counts,
}

/// What one verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Over all revisions, for each window of [`SloSpec::alerts`], shortest first.
    pub windows: Vec<(Duration, Counts)>,
    /// Over [`SloSpec::window`].
    pub period: Counts,
    /// [`Window::passed`](crate::spec::Window::passed) of it.
    pub period_passed: f64,
    /// Over [`SloSpec::data_window`].
    pub recent: Counts,
    /// When the oldest count happened.
    pub history_since: Option<Millis>,
    /// Of all pods of the target.
    pub coverage: Coverage,
    /// The release of the current template; `None` without a target.
    pub current: Option<ReleaseEvidence>,
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
    let history_since = history.known_since(spec.window());
    Evidence {
        windows: spans
            .into_iter()
            .map(|window| (window, history.window(window, now)))
            .collect(),
        period: history.over(spec.window(), now),
        period_passed: spec.window().passed(history_since, now),
        recent: history.window(spec.data_window(), now),
        history_since,
        coverage: target.map(Coverage::of_target).unwrap_or_default(),
        current: target.map(|target| gather_release(spec, history, ledger, target, now)),
    }
}

/// Reads what a decision on the release of the current template needs.
#[must_use]
pub fn gather_release(
    spec: &SloSpec,
    history: &History,
    ledger: &Ledger,
    target: &TargetSnapshot,
    now: Millis,
) -> ReleaseEvidence {
    let reader = Reader {
        spec,
        history,
        ledger,
        now,
    };
    reader.release(target, &target.release)
}

struct Reader<'a> {
    spec: &'a SloSpec,
    history: &'a History,
    ledger: &'a Ledger,
    now: Millis,
}

impl Reader<'_> {
    fn release(&self, target: &TargetSnapshot, release: &ReleaseId) -> ReleaseEvidence {
        let group = self.history.of(Ledger::revisions(target, release));
        let rule = self.spec.rule();
        let totals = group.totals();
        let known = self.ledger.get(release);
        let first_ready_at = known.and_then(|known| known.first_ready_at);
        let judged_from = self.judged_from(&totals, first_ready_at);
        let over = |window| group.window(window, self.now);
        // None of what does not count yet.
        let since = judged_from.filter(|from| *from <= self.now);
        let served = since.map_or(Duration::ZERO, |from| self.now.since(from));
        let judged = since.map_or_else(Counts::default, |_| over(served));
        let trial = rule.promote_after.duration;
        let elder = Elder::of(self.ledger, target, release);
        let stable = self.history.of(elder.revisions(target));
        let beside = stable.window(served.min(rule.long), self.now).total();
        let mut evidence = ReleaseEvidence {
            release: release.clone(),
            stable: stable.window(rule.long, self.now),
            role: known.map_or(Role::Other, |known| known.role),
            first_ready_at,
            judged_from,
            coverage: Coverage::of_release(target, release),
            short: over(rule.short),
            trial: if served <= trial || since.is_none() {
                judged
            } else {
                over(trial)
            },
            judged,
            spans: Vec::new(),
            beside_stable: elder.ready && beside >= STABLE_SERVES,
            totals,
        };
        let from = since.filter(|_| evidence.role == Role::Probation && evidence.has_weight(rule));
        if let Some(from) = from {
            evidence.spans = self.spans(&group, &stable, from);
        }
        evidence
    }

    /// The end of a warm-up is rounded up to the widest unit in use, so that no unit holds a part of it.
    fn judged_from(&self, totals: &Totals, first_ready_at: Option<Millis>) -> Option<Millis> {
        let first = totals.first_at?;
        let rule = self.spec.rule();
        if rule.warmup.is_zero() {
            return Some(first);
        }
        let warm = first.max(first_ready_at.unwrap_or(first)).plus(rule.warmup);
        let unit = i64::try_from(History::width(rule.probation).as_millis()).unwrap_or(i64::MAX);
        let over = warm.0.rem_euclid(unit);
        Some(Millis(warm.0.saturating_add((unit - over) % unit)))
    }

    fn spans(&self, new: &Group<'_>, stable: &Group<'_>, from: Millis) -> Vec<Span> {
        let spans = Spans {
            spec: self.spec,
            new,
            stable,
            from,
            now: self.now,
        };
        spans.read()
    }
}

impl ReleaseEvidence {
    /// Clauses 2 and 3.
    pub(super) fn has_weight(&self, rule: &RollbackRule) -> bool {
        let spread = self.totals.bad_pods() >= SPREAD_PODS || self.bad_span() >= SPREAD_TIME;
        self.judged.bad >= rule.min_bad_events && spread
    }

    /// Between the first and the newest bad answer that counts.
    fn bad_span(&self) -> Duration {
        let first = self.totals.first_bad_at.max(self.judged_from);
        match (first, self.totals.last_bad_at) {
            (Some(first), Some(last)) => last.since(first),
            _ => Duration::ZERO,
        }
    }
}

impl Coverage {
    /// Of all pods of a target.
    #[must_use]
    pub fn of_target(target: &TargetSnapshot) -> Self {
        Self::sum(
            target
                .revisions
                .iter()
                .map(|each| (each.reporting_pods, each.ready_pods)),
        )
    }

    fn of_release(target: &TargetSnapshot, release: &ReleaseId) -> Self {
        let revisions = target.revisions.iter().filter(|each| each.release == *release);
        Self::sum(revisions.map(|each| (each.reporting_pods, each.ready_pods)))
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
