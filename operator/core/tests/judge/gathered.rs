//! Evidence as it is read from a history.

use std::time::Duration;

use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Coverage, Decision, Doubt, Evidence, gather, new_release};
use shoalwatch_core::release::{Ledger, RevisionSnapshot, TargetSnapshot};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::{Counts, Millis};

use crate::given::{NOW, spec};

/// `v1` was seen first; `v2` is new; both have two ready pods, of which workers report these.
fn target(reporting: (u32, u32)) -> TargetSnapshot {
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

fn ledger() -> Ledger {
    let mut before = target((2, 2));
    before.release = "v1".into();
    before.revisions.truncate(1);
    let mut ledger = Ledger::default();
    ledger.observe(&before, Duration::from_mins(30), NOW.minus(Duration::from_hours(1)));
    ledger.observe(
        &target((2, 2)),
        Duration::from_mins(30),
        NOW.minus(Duration::from_secs(5)),
    );
    ledger
}

/// Good and bad answers a second, from `from` to `to` seconds ago.
fn serve(history: &mut History, revision: &str, from: u64, to: u64, counts: Counts) {
    for ago in to..from {
        let difference = Difference {
            sli: "slo".into(),
            revision: revision.into(),
            worker: "node".into(),
            counts,
            bad_pods: 2,
            placement: Placement::At(NOW.minus(Duration::from_secs(ago))),
        };
        history.record(&difference, NOW);
    }
}

fn gathered(history: &History, reporting: (u32, u32)) -> Evidence {
    gather(&spec("99.9"), history, &ledger(), Some(&target(reporting)), NOW)
}

#[test]
fn an_outage_of_both_that_began_with_the_new_release_is_not_blamed_on_it() {
    let mut history = History::default();
    serve(&mut history, "v1-rs", 600, 5, Counts::new(50, 0));
    serve(&mut history, "v1-rs", 5, 0, Counts::new(40, 10));
    serve(&mut history, "v2-rs", 5, 0, Counts::new(40, 10));
    let evidence = gathered(&history, (2, 2));
    let stable = evidence.stable.as_ref().unwrap();
    assert!(
        stable.compared.total() <= 300,
        "compared since the new one's first request: {:?}",
        stable.compared
    );
    assert!(stable.long.total() > 2_900);
    let Decision::Inconclusive { doubt, .. } = new_release(&spec("99.9"), &evidence) else {
        panic!("decided")
    };
    assert_eq!(doubt, Doubt::StableFailsToo);
}

#[test]
fn the_new_release_alone_failing_is_undone() {
    let mut history = History::default();
    serve(&mut history, "v1-rs", 600, 0, Counts::new(50, 0));
    serve(&mut history, "v2-rs", 5, 0, Counts::new(40, 10));
    assert!(matches!(
        new_release(&spec("99.9"), &gathered(&history, (2, 2))),
        Decision::Undo(_)
    ));
}

#[test]
fn coverage_is_of_the_target_and_of_each_release() {
    let evidence = gathered(&History::default(), (1, 9));
    assert_eq!(
        evidence.coverage,
        Coverage { reporting: 3, ready: 4 },
        "no more than are ready"
    );
    assert_eq!(evidence.stable.unwrap().coverage, Coverage { reporting: 1, ready: 2 });
    assert_eq!(evidence.current.unwrap().coverage, Coverage { reporting: 2, ready: 2 });
}

#[test]
fn every_window_of_the_alerts_is_read_once() {
    let evidence = gathered(&History::default(), (2, 2));
    let minutes: Vec<u64> = evidence
        .windows
        .iter()
        .map(|(window, _)| window.as_secs() / 60)
        .collect();
    assert_eq!(minutes, [5, 30, 60, 120, 360, 1_440, 4_320]);
}

#[test]
fn without_a_target_the_aggregate_is_judged_all_the_same() {
    let mut history = History::default();
    serve(&mut history, "v1-rs", 60, 0, Counts::new(9, 1));
    let evidence = gather(&spec("99.9"), &history, &Ledger::default(), None, NOW);
    assert!(evidence.current.is_none() && evidence.stable.is_none());
    assert_eq!(evidence.recent, Counts::new(540, 60));
}
