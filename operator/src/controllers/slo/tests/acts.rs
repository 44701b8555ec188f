use serde_json::json;
use shoalwatch_core::rollback::Step;
use shoalwatch_crds::slo::{Phase, RevisionRole, RollbackState};

use super::shop::{NODES, Shop, name};

/// v1 serves well; v2 comes beside it.
pub(super) fn releasing(spec: serde_json::Value) -> Shop {
    let mut shop = Shop::open(spec);
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    shop.ready("shop:1", 2);
    shop.traffic(3, &[("shop:1", 25, 0), ("shop:2", 25, 0)]);
    shop
}

#[test]
fn a_bad_release_is_undone_exactly_once_and_stays_undone() {
    let mut shop = releasing(json!({}));
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1);
    assert_eq!(shop.patches[0].to_revision.as_str(), "shop-1");
    shop.traffic(120, &[("shop:1", 50, 0)]);
    assert_eq!(shop.patches.len(), 1);
    assert_eq!((shop.saw(Step::Patched), shop.saw(Step::Verified)), (1, 1));

    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    let rollback = status.rollback.as_ref().unwrap();
    assert_eq!(rollback.state, RollbackState::Latched);
    assert_eq!(
        (rollback.from.as_deref(), rollback.to.as_deref()),
        (Some("shop-2"), Some("shop-1"))
    );
    let steps: Vec<_> = status.timeline.iter().map(|row| format!("{:?}", row.step)).collect();
    assert_eq!(
        steps,
        ["ProbationStarted", "FirstBadAnswer", "Breached", "Patched", "Verified"]
    );
    let patched = &status.timeline[3].detail;
    assert!(
        patched.as_ref().is_some_and(|detail| detail.contains("shop-2")),
        "{patched:?}"
    );
}

#[test]
fn a_few_bad_answers_within_what_is_allowed_undo_nothing() {
    let mut shop = releasing(json!({"objective": "99"}));
    shop.traffic(120, &[("shop:1", 50, 0), ("shop:2", 99, 1)]);
    assert_eq!(shop.patches, []);
    shop.plan();
    let status = &shop.slos.known[&name("checkout")].status;
    let role = |revision: &str| {
        status
            .revisions
            .iter()
            .find(|each| each.revision == revision)
            .map(|each| each.role)
    };
    assert_eq!(role("shop-1"), Some(RevisionRole::KnownGood));
    assert_eq!(role("shop-2"), Some(RevisionRole::Probation));
}

#[test]
fn the_release_after_an_undone_one_goes_through() {
    let mut shop = releasing(json!({}));
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    shop.traffic(20, &[("shop:1", 50, 0)]);
    shop.deploy("shop:3");
    shop.ready("shop:3", 4);
    shop.ready("shop:1", 0);
    shop.traffic(60, &[("shop:3", 50, 0)]);
    assert_eq!(shop.patches.len(), 1);
    assert_eq!(shop.saw(Step::Superseded), 1);
}

#[test]
fn the_same_bad_release_again_is_undone_twice_and_then_left_to_people() {
    let mut shop = releasing(json!({}));
    for _ in 0..4 {
        shop.deploy("shop:2");
        shop.ready("shop:2", 4);
        shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    }
    assert_eq!(shop.patches.len(), 2);
    assert_eq!(shop.saw(Step::Contested), 1);
    let (status, reason, _) = shop.condition("checkout", "RollbackReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Contested"));
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_not() {
    let mut shop = releasing(json!({"rollback": {"mode": "DryRun"}}));
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches, []);
    assert_eq!(shop.saw(Step::WouldHavePatched), 1);
}

#[test]
fn without_data_nothing_is_done_and_nothing_is_healthy() {
    let mut shop = releasing(json!({}));
    shop.serve("shop:2", 20, 2);
    for node in NODES {
        shop.fleet.workers.get_mut(node).unwrap().connected = false;
    }
    shop.pass(120);
    assert_eq!(shop.patches, []);
    shop.plan();
    assert_eq!(shop.slos.known[&name("checkout")].status.phase, Some(Phase::NoData));
}

#[test]
fn while_an_act_is_under_way_nothing_is_decided() {
    let mut shop = releasing(json!({}));
    shop.slos.known.get_mut(&name("checkout")).unwrap().busy = Some(shop.now);
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches, []);
    shop.traffic(60, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1, "an act that never came back is given up");
}

#[test]
fn a_row_of_no_slo_is_counted_and_dropped() {
    let mut shop = releasing(json!({}));
    let row = shoalwatch_node_api::wire::SliRow {
        sli_id: "shop/nobody".into(),
        bad: 1_000,
        ..Default::default()
    };
    shop.report("node-1", vec![row]);
    assert_eq!(shop.slos.unknown_rows, 1);
    shop.delete_slo("checkout");
    shop.serve("shop:1", 1, 0);
    assert_eq!(shop.slos.reports.rows(), 0);
}
