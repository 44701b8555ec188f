//! Evidence to judge.

use std::time::Duration;

use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Coverage, Decision, Doubt, Evidence, ReleaseEvidence, gather, new_release};
use shoalwatch_core::release::{Ledger, RevisionSnapshot, Role, TargetSnapshot};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis};

pub(crate) const NOW: Millis = Millis(1_800_000_000_000);
pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) fn spec(objective: &str) -> SloSpec {
    ruled(objective, RollbackRule::default())
}

pub(crate) fn ruled(objective: &str, rule: RollbackRule) -> SloSpec {
    let objective = objective.parse().expect("a valid objective");
    SloSpec::new("shop/checkout", objective, 30 * DAY, None, rule).expect("a valid SLO")
}

/// What both releases answered in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    pub(crate) new: Counts,
    pub(crate) stable: Counts,
}

/// What happened, second by second, until [`NOW`].
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) spec: SloSpec,
    pub(crate) seconds: Vec<Second>,
    /// Pods of the new release that gave bad answers.
    pub(crate) bad_pods: u32,
    /// Where in a second the answers fall, by the second's place.
    pub(crate) phase: fn(usize) -> Duration,
    pub(crate) coverage: Coverage,
    pub(crate) role: Role,
    /// The stable release has ready pods.
    pub(crate) stable_lives: bool,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            spec: spec("99.9"),
            seconds: Vec::new(),
            bad_pods: 2,
            phase: |_| Duration::ZERO,
            coverage: Coverage { reporting: 2, ready: 2 },
            role: Role::Probation,
            stable_lives: true,
        }
    }

    pub(crate) fn rule(mut self, change: impl FnOnce(&mut RollbackRule)) -> Self {
        let mut rule = self.spec.rule().clone();
        change(&mut rule);
        let objective = self.spec.objective();
        self.spec = SloSpec::new("shop/checkout", objective, 30 * DAY, None, rule).expect("a valid SLO");
        self
    }

    pub(crate) fn objective(mut self, objective: &str) -> Self {
        self.spec = ruled(objective, self.spec.rule().clone());
        self
    }

    /// The new release alone, for so many seconds.
    pub(crate) fn serves(self, seconds: usize, good: u64, bad: u64) -> Self {
        self.beside(seconds, (good, bad), (0, 0))
    }

    /// Both, {good, bad} of each.
    pub(crate) fn beside(mut self, seconds: usize, new: (u64, u64), stable: (u64, u64)) -> Self {
        let second = Second {
            new: Counts::new(new.0, new.1),
            stable: Counts::new(stable.0, stable.1),
        };
        self.seconds.extend(std::iter::repeat_n(second, seconds));
        self
    }

    /// And so on.
    pub(crate) fn then(mut self, later: Self) -> Self {
        self.seconds.extend(later.seconds);
        self
    }

    /// As `gather` reads it from a history.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut history = History::default();
        let count = u64::try_from(self.seconds.len()).expect("few seconds");
        for (place, second) in self.seconds.iter().enumerate() {
            let ago = Duration::from_secs(count - u64::try_from(place).expect("few seconds"));
            let at = NOW.minus(ago).plus((self.phase)(place));
            for (revision, counts) in [("v2-rs", second.new), ("v1-rs", second.stable)] {
                if !counts.is_empty() {
                    record(&mut history, revision, counts, self.bad_pods, at);
                }
            }
        }
        let begin = NOW.minus(Duration::from_secs(count));
        let mut evidence = gather(&self.spec, &history, &ledger(begin), Some(&self.target()), NOW);
        if let Some(current) = &mut evidence.current {
            current.role = self.role;
        }
        evidence
    }

    fn target(&self) -> TargetSnapshot {
        let mut target = target((2, self.coverage.reporting));
        target.revisions[0].ready_pods = if self.stable_lives { 2 } else { 0 };
        target.revisions[1].ready_pods = self.coverage.ready;
        target
    }

    pub(crate) fn decision(&self) -> Decision {
        new_release(&self.spec, &self.evidence())
    }

    pub(crate) fn is_undone(&self) -> bool {
        matches!(self.decision(), Decision::Undo(_))
    }

    pub(crate) fn doubt(&self) -> Option<Doubt> {
        match self.decision() {
            Decision::Inconclusive { doubt, .. } => Some(doubt),
            _ => None,
        }
    }
}

pub(crate) fn record(history: &mut History, revision: &str, counts: Counts, bad_pods: u32, at: Millis) {
    let difference = Difference {
        sli: "slo".into(),
        revision: revision.into(),
        worker: "node".into(),
        counts,
        bad_pods,
        placement: Placement::At(at),
    };
    history.record(&difference, NOW);
}

/// `v1` was seen first; `v2` is new; both have two ready pods, of which workers report these.
pub(crate) fn target(reporting: (u32, u32)) -> TargetSnapshot {
    let revision = |release: &str, created: Millis, reporting_pods| RevisionSnapshot {
        revision: format!("{release}-rs").into(),
        release: release.into(),
        created,
        ready_pods: 2,
        reporting_pods,
        first_ready_at: None,
        crashing: None,
    };
    TargetSnapshot {
        uid: "uid".to_owned(),
        resource_version: "1".to_owned(),
        paused: false,
        deleting: false,
        replicas: 4,
        revision_history_limit: 10,
        release: "v2".into(),
        revisions: vec![revision("v1", Millis(0), reporting.0), revision("v2", NOW, reporting.1)],
        rollback: None,
        accept: None,
        never: false,
        writer: None,
        stalled: false,
        gitops: None,
    }
}

/// `v1` is known to be good, `v2` has its first ready pod `since`.
pub(crate) fn ledger(since: Millis) -> Ledger {
    let mut before = target((2, 2));
    before.release = "v1".into();
    before.revisions.truncate(1);
    let probation = Duration::from_mins(30);
    let mut ledger = Ledger::default();
    ledger.observe(&before, probation, since.minus(Duration::from_hours(1)));
    ledger.observe(&target((2, 2)), probation, since);
    ledger
}

/// A release that is bad beyond doubt: a fifth of 50 answers a second, for ten seconds.
pub(crate) fn bad_release() -> Story {
    Story::new().serves(10, 40, 10)
}

/// A release of which no clause speaks; for phases and promotion.
pub(crate) fn release(role: Role, counts: Counts) -> ReleaseEvidence {
    let first = NOW.minus(Duration::from_mins(20));
    ReleaseEvidence {
        release: "v2".into(),
        role,
        first_ready_at: Some(first),
        judged_from: Some(first),
        coverage: Coverage { reporting: 2, ready: 2 },
        short: counts,
        trial: counts,
        judged: counts,
        totals: History::default().totals_of([]),
        spans: Vec::new(),
        beside_stable: false,
        stable: Counts::default(),
    }
}

pub(crate) fn evidence(current: ReleaseEvidence) -> Evidence {
    let seen = Counts::new(1_000_000, 0);
    Evidence {
        windows: Vec::new(),
        period: seen,
        period_passed: 1.0,
        recent: seen,
        history_since: Some(NOW.minus(DAY)),
        coverage: Coverage { reporting: 6, ready: 6 },
        current: Some(current),
    }
}
