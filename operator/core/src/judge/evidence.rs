//! Everything a verdict rests on, gathered in one place.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::counts::float;
use crate::history::{Group, History, Totals};
use crate::release::{Ledger, Role, TargetSnapshot};
use crate::spec::{RollbackRule, SloSpec};
use crate::{Counts, Millis, ReleaseId};

use super::memory::Memory;
use super::span::{Elder, Span, Spans};

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
    /// What speaks for undoing it.
    pub case: Case,
    /// Its first ready pod.
    pub first_ready_at: Option<Millis>,
    /// Over `windows.short`.
    pub short: Counts,
    /// Over `promoteAfter.duration`, without the warm-up.
    pub trial: Counts,
    /// What the known-good release answered over `windows.long`, whether anything of the new one counts or not.
    pub stable: Counts,
}

/// All that a decision to undo a release rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The release.
    pub release: ReleaseId,
    /// What it is taken for.
    pub role: Role,
    /// Where its answers begin to count: its first request, or the end of its warm-up.
    pub judged_from: Option<Millis>,
    /// Of its pods.
    pub coverage: Coverage,
    /// All that counts.
    pub judged: Counts,
    /// Since its first request.
    pub totals: Totals,
    /// Where it may be found bad, unit by unit, without the spans that a glance acquits; empty before its answers count, unless it is in
    /// probation, and unless clauses 2 and 3 hold. Each may be shared with a [`Memory`], and know that nothing in it is sure, for
    /// this `coverage` and `beside_stable`: whoever alters a case asks [`findings`](super::findings), not [`sure`](super::sure).
    pub spans: Vec<Arc<Span>>,
    /// A known-good release serves beside it: pods of it are ready, and it had 10 requests in the last `windows.long`, of those
    /// since the first one that counts. Not asked where there are no spans.
    pub beside_stable: bool,
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

/// Reads from the history what a verdict on `spec` needs. `memory` is that of the looks before, at the same SLO.
#[must_use]
pub fn gather(
    spec: &SloSpec,
    history: &History,
    ledger: &Ledger,
    target: Option<&TargetSnapshot>,
    memory: &mut Memory,
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
        current: target.map(|target| Reader::new(spec, history, ledger, target, now).release(memory)),
    }
}

/// Reads what a decision to undo the release of the current template needs. `memory` is that of the looks before, at the same SLO.
#[must_use]
pub fn gather_case(
    spec: &SloSpec,
    history: &History,
    ledger: &Ledger,
    target: &TargetSnapshot,
    memory: &mut Memory,
    now: Millis,
) -> Case {
    Reader::new(spec, history, ledger, target, now).case(memory)
}

struct Reader<'a> {
    spec: &'a SloSpec,
    history: &'a History,
    ledger: &'a Ledger,
    target: &'a TargetSnapshot,
    now: Millis,
    /// Of the current release.
    new: Group<'a>,
    first_ready_at: Option<Millis>,
    role: Role,
}

impl<'a> Reader<'a> {
    fn new(
        spec: &'a SloSpec,
        history: &'a History,
        ledger: &'a Ledger,
        target: &'a TargetSnapshot,
        now: Millis,
    ) -> Self {
        let known = ledger.get(&target.release);
        Self {
            spec,
            history,
            ledger,
            target,
            now,
            new: history.of(Ledger::revisions(target, &target.release)),
            first_ready_at: known.and_then(|known| known.first_ready_at),
            role: known.map_or(Role::Other, |known| known.role),
        }
    }

    fn release(&self, memory: &mut Memory) -> ReleaseEvidence {
        let case = self.case(memory);
        let over = |window| self.new.window(window, self.now);
        let rule = self.spec.rule();
        let trial = rule.promote_after.duration;
        let served = self
            .since(case.judged_from)
            .map_or(Duration::ZERO, |from| self.now.since(from));
        ReleaseEvidence {
            first_ready_at: self.first_ready_at,
            short: over(rule.short),
            trial: if served <= trial { case.judged } else { over(trial) },
            stable: self.stable(&self.elder()).window(rule.long, self.now),
            case,
        }
    }

    fn case(&self, memory: &mut Memory) -> Case {
        let release = &self.target.release;
        let totals = self.new.totals();
        let judged_from = self.judged_from(&totals);
        let since = self.since(judged_from);
        let mut case = Case {
            release: release.clone(),
            role: self.role,
            judged_from,
            coverage: Coverage::of_release(self.target, release),
            judged: since.map_or_else(Counts::default, |from| self.new.window(self.now.since(from), self.now)),
            totals,
            spans: Vec::new(),
            beside_stable: false,
        };
        let from = since.filter(|_| case.role == Role::Probation && case.has_weight(self.spec.rule()));
        if let Some(from) = from {
            let elder = self.elder();
            let stable = self.stable(&elder);
            self.spans(&stable, elder.ready, from).read(&mut case, memory);
        } else {
            *memory = Memory::default();
        }
        case
    }

    /// None of what does not count yet.
    fn since(&self, judged_from: Option<Millis>) -> Option<Millis> {
        judged_from.filter(|from| *from <= self.now)
    }

    fn elder(&self) -> Elder<'a> {
        Elder::of(self.ledger, self.target, &self.target.release)
    }

    fn stable(&self, elder: &Elder<'_>) -> Group<'a> {
        self.history.of(elder.revisions(self.target))
    }

    /// The end of a warm-up is rounded up to the widest unit in use, so that no unit holds a part of it.
    fn judged_from(&self, totals: &Totals) -> Option<Millis> {
        let first = totals.first_at?;
        let rule = self.spec.rule();
        if rule.warmup.is_zero() {
            return Some(first);
        }
        let warm = first.max(self.first_ready_at.unwrap_or(first)).plus(rule.warmup);
        let unit = i64::try_from(History::width(rule.probation).as_millis()).unwrap_or(i64::MAX);
        let over = warm.0.rem_euclid(unit);
        Some(Millis(warm.0.saturating_add((unit - over) % unit)))
    }

    fn spans<'s>(&'s self, stable: &'s Group<'_>, stable_is_ready: bool, from: Millis) -> Spans<'s> {
        Spans {
            spec: self.spec,
            history: self.history,
            new: &self.new,
            stable,
            stable_is_ready,
            from,
            now: self.now,
        }
    }
}

impl Case {
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
