//! Evidence to judge.

use std::time::Duration;

use shoalwatch_core::history::{History, Totals};
use shoalwatch_core::judge::{Coverage, Decision, Doubt, Evidence, ReleaseEvidence, new_release};
use shoalwatch_core::release::Role;
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis, Revision};

pub(crate) const NOW: Millis = Millis(1_800_000_000_000);
pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) fn spec(objective: &str) -> SloSpec {
    let objective = objective.parse().expect("a valid objective");
    SloSpec::new("shop/checkout", objective, 30 * DAY, None, RollbackRule::default()).expect("a valid SLO")
}

/// Totals of a revision that began `age` ago and whose bad answers spread over `bad_span`, seen by one worker.
pub(crate) fn totals(counts: Counts, bad_pods: u32, bad_span: Duration) -> Totals {
    let mut history = History::default();
    let mut record = |counts, at| {
        let placement = Placement::At(at);
        let (sli, revision, worker) = ("slo".into(), "r".into(), "node".into());
        history.record(
            &Difference {
                sli,
                revision,
                worker,
                counts,
                bad_pods,
                placement,
            },
            NOW,
        );
    };
    let first_bad = NOW.minus(bad_span);
    record(
        Counts {
            bad: counts.bad / 2,
            ..counts
        },
        first_bad,
    );
    record(Counts::new(0, counts.bad - counts.bad / 2), NOW);
    history.totals_of(&[Revision::from("r")])
}

pub(crate) fn release(role: Role, counts: Counts) -> ReleaseEvidence {
    ReleaseEvidence {
        release: "v2".into(),
        role,
        first_ready_at: Some(NOW.minus(Duration::from_mins(20))),
        coverage: Coverage { reporting: 2, ready: 2 },
        short: counts,
        long: counts,
        compared: counts,
        trial: counts,
        totals: totals(counts, 2, Duration::from_secs(8)),
    }
}

pub(crate) fn evidence(current: ReleaseEvidence, stable: Option<ReleaseEvidence>) -> Evidence {
    let seen = Counts::new(1_000_000, 0);
    Evidence {
        windows: Vec::new(),
        period: seen,
        recent: seen,
        history_since: Some(NOW.minus(DAY)),
        coverage: Coverage { reporting: 6, ready: 6 },
        current: Some(current),
        stable,
    }
}

pub(crate) fn stable(counts: Counts) -> ReleaseEvidence {
    ReleaseEvidence {
        release: "v1".into(),
        ..release(Role::KnownGood, counts)
    }
}

pub(crate) fn bad_release() -> ReleaseEvidence {
    release(Role::Probation, Counts::new(120, 31))
}

pub(crate) fn is_undo(evidence: &Evidence) -> bool {
    matches!(new_release(&spec("99.9"), evidence), Decision::Undo(_))
}

pub(crate) fn doubt_of(evidence: &Evidence) -> Option<Doubt> {
    match new_release(&spec("99.9"), evidence) {
        Decision::Inconclusive { doubt, .. } => Some(doubt),
        _ => None,
    }
}
