//! Evidence to judge.

use std::time::Duration;

use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Case, Coverage, Decision, Doubt, Evidence, Memory, ReleaseEvidence, gather, new_release};
use shoalwatch_core::release::{RevisionSnapshot, Role, TargetSnapshot};
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis};

pub(crate) use crate::pair::ledger;
use crate::pair::{difference, pair};
use crate::support::revision;

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
    /// Every other second of the new release was answered by another revision of it.
    pub(crate) restarted: bool,
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
            restarted: false,
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
            let new = if self.restarted && place % 2 == 1 {
                "v2-again"
            } else {
                "v2-rs"
            };
            for (revision, counts) in [(new, second.new), ("v1-rs", second.stable)] {
                if !counts.is_empty() {
                    record(&mut history, revision, counts, self.bad_pods, at);
                }
            }
        }
        let begin = NOW.minus(Duration::from_secs(count));
        let mut evidence = gather(
            &self.spec,
            &history,
            &ledger(begin),
            Some(&self.target()),
            &mut Memory::default(),
            NOW,
        );
        if let Some(current) = &mut evidence.current {
            current.case.role = self.role;
        }
        evidence
    }

    fn target(&self) -> TargetSnapshot {
        let mut target = target((2, self.coverage.reporting));
        target.revisions[0].ready_pods = if self.stable_lives { 2 } else { 0 };
        target.revisions[1].ready_pods = self.coverage.ready;
        if self.restarted {
            target.revisions.push(RevisionSnapshot {
                ready_pods: 0,
                reporting_pods: 0,
                ..revision("v2", "v2-again", NOW)
            });
        }
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
    history.record(&difference(revision, counts, bad_pods, at), NOW);
}

/// `v1` was seen first; `v2` is new; both have two ready pods, of which workers report these.
pub(crate) fn target(reporting: (u32, u32)) -> TargetSnapshot {
    let mut target = pair(NOW);
    target.revisions[0].reporting_pods = reporting.0;
    target.revisions[1].reporting_pods = reporting.1;
    target
}

/// A release that is bad beyond doubt: a fifth of 50 answers a second, for ten seconds.
pub(crate) fn bad_release() -> Story {
    Story::new().serves(10, 40, 10)
}

/// A release of which no clause speaks; for phases and promotion.
pub(crate) fn release(role: Role, counts: Counts) -> ReleaseEvidence {
    let first = NOW.minus(Duration::from_mins(20));
    let case = Case {
        release: "v2".into(),
        role,
        judged_from: Some(first),
        coverage: Coverage { reporting: 2, ready: 2 },
        judged: counts,
        totals: History::default().of([]).totals(),
        spans: Vec::new(),
        beside_stable: false,
    };
    ReleaseEvidence {
        case,
        first_ready_at: Some(first),
        short: counts,
        trial: counts,
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
