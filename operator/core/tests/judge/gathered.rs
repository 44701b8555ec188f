//! Evidence as it is read from a history.

use std::time::Duration;

use shoalwatch_core::Counts;
use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Coverage, Decision, Doubt, Evidence, Memory, gather, new_release};
use shoalwatch_core::release::Ledger;

use crate::given::{NOW, ledger, record, spec, target};

/// Good and bad answers a second, from `from` to `to` seconds ago.
fn serve(history: &mut History, revision: &str, from: u64, to: u64, counts: Counts) {
    for ago in to..from {
        record(history, revision, counts, 2, NOW.minus(Duration::from_secs(ago + 1)));
    }
}

fn gathered(history: &History, reporting: (u32, u32)) -> Evidence {
    gather(
        &spec("99.9"),
        history,
        &ledger(NOW.minus(Duration::from_secs(9))),
        Some(&target(reporting)),
        &mut Memory::default(),
        NOW,
    )
}

#[test]
fn an_outage_of_both_that_began_with_the_new_release_is_not_blamed_on_it() {
    let mut history = History::default();
    serve(&mut history, "v1-rs", 600, 8, Counts::new(50, 0));
    serve(&mut history, "v1-rs", 8, 0, Counts::new(40, 10));
    serve(&mut history, "v2-rs", 8, 0, Counts::new(40, 10));
    let evidence = gathered(&history, (2, 2));
    for span in &evidence.current.as_ref().unwrap().case.spans {
        let stable: Counts = span.units.iter().map(|unit| unit.stable).sum();
        assert!(stable.total() <= 500, "only beside the new one: {stable:?}");
    }
    let Decision::Inconclusive { doubt, .. } = new_release(&spec("99.9"), &evidence) else {
        panic!("decided")
    };
    assert_eq!(doubt, Doubt::StableFailsToo);
}

#[test]
fn the_new_release_alone_failing_is_undone() {
    let mut history = History::default();
    serve(&mut history, "v1-rs", 600, 0, Counts::new(50, 0));
    serve(&mut history, "v2-rs", 8, 0, Counts::new(40, 10));
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
    assert_eq!(
        evidence.current.unwrap().case.coverage,
        Coverage { reporting: 2, ready: 2 }
    );
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
    let evidence = gather(
        &spec("99.9"),
        &history,
        &Ledger::default(),
        None,
        &mut Memory::default(),
        NOW,
    );
    assert!(evidence.current.is_none());
    assert_eq!(evidence.recent, Counts::new(540, 60));
}
