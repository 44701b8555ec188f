use serde_json::json;
use shoalwatch_core::release::Crashing;
use shoalwatch_core::rollback::Step;
use shoalwatch_crds::slo::{DryRunOutcome, TimelineStep};

use super::shop::{Shop, name};
use crate::controllers::world::Name;

const SETS: &str = "checkout-shop-2";
const IMAGE: &str = "spec.template.spec.containers[app].image: shop:2 -> shop:1";

/// v1 serves; v2 comes with two pods that do not get ready.
fn stuck(spec: serde_json::Value) -> Shop {
    let mut shop = Shop::open(spec);
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.waiting("shop:2", 2);
    shop.traffic(2, &[("shop:1", 50, 0)]);
    shop
}

fn doubtful(shop: &Shop) -> Vec<(String, String)> {
    let sets = shop.slos.doubtful_sets(&shop.world);
    sets.into_iter()
        .map(|(set, revision)| (set.to_string(), revision))
        .collect()
}

fn crash(shop: &mut Shop, crashing: u32) {
    let found = Crashing {
        pods: 2,
        crashing,
        restarts: 3,
    };
    shop.world.saw_pods(&name(SETS), found, shop.now);
}

fn timeline(shop: &mut Shop) -> Vec<TimelineStep> {
    shop.plan();
    let timeline = &shop.slos.known[&name("checkout")].status.timeline;
    timeline.iter().map(|row| row.step).collect()
}

#[test]
fn a_rollout_past_its_deadline_is_undone() {
    let mut shop = stuck(json!({}));
    shop.stalled = true;
    shop.write_deployment(&json!({}));
    shop.stalled = false;
    shop.traffic(2, &[("shop:1", 50, 0)]);
    assert_eq!((shop.patches.len(), shop.saw(Step::ProgressDeadlineExceeded)), (1, 1));
    assert!(timeline(&mut shop).contains(&TimelineStep::ProgressDeadlineExceeded));
}

#[test]
fn what_was_said_of_an_earlier_template_does_not_count() {
    let deployment = |observed: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1", "resourceVersion": "99", "generation": 3},
            "spec": {"template": {}},
            "status": {"observedGeneration": observed, "conditions": [{"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}})
    };
    for (observed, stalled) in [(2, false), (3, true)] {
        let mut shop = Shop::open(json!({}));
        let found = serde_json::from_value(deployment(observed)).unwrap();
        shop.world.refresh(&name("checkout"), Some(found));
        assert_eq!(shop.world.deployments.get(&name("checkout")).unwrap().stalled, stalled);
    }
}

#[test]
fn pods_that_crash_undo_their_release_and_are_believed_for_a_while_only() {
    let mut shop = stuck(json!({}));
    crash(&mut shop, 1);
    shop.pass(2);
    assert_eq!(shop.patches.len(), 0, "one of two");
    crash(&mut shop, 2);
    let mut late = stuck(json!({"rollback": {"mode": "Off"}}));
    crash(&mut late, 2);
    late.traffic(30, &[("shop:1", 50, 0)]);
    late.write_slo("checkout", 2, json!({}));
    late.pass(2);
    assert_eq!(late.patches.len(), 0, "nobody has looked for long");
    shop.pass(1);
    assert_eq!((shop.patches.len(), shop.saw(Step::CrashLoop)), (1, 1));
    assert!(timeline(&mut shop).contains(&TimelineStep::CrashLoop));
}

#[test]
fn a_set_that_is_whole_again_has_no_crash_to_show() {
    let mut shop = stuck(json!({"rollback": {"mode": "Off"}}));
    crash(&mut shop, 2);
    shop.ready("shop:2", 2);
    shop.write_slo("checkout", 2, json!({}));
    shop.pass(2);
    assert_eq!(shop.patches.len(), 0);
}

#[test]
fn pods_are_looked_at_only_while_a_release_in_probation_waits_for_them() {
    let mut shop = stuck(json!({}));
    let waiting = vec![(format!("shop/{SETS}"), "shop-2".to_owned())];
    assert_eq!(doubtful(&shop), waiting);
    shop.write_slo(
        "checkout",
        2,
        json!({"rollback": {"mode": "Enforce", "alsoOn": ["ProgressDeadlineExceeded"]}}),
    );
    shop.pass(1);
    assert_eq!(doubtful(&shop), []);
    shop.write_slo("checkout", 3, json!({"rollback": {"mode": "Off"}}));
    shop.pass(1);
    assert_eq!(doubtful(&shop), []);
    shop.write_slo("checkout", 4, json!({}));
    shop.pass(1);
    assert_eq!(doubtful(&shop), waiting);
    shop.ready("shop:2", 2);
    shop.pass(1);
    assert_eq!(doubtful(&shop), []);
}

/// The same, of a target that Argo CD applies; what would stick was found out.
fn tracked(spec: serde_json::Value) -> Shop {
    let mut shop = Shop::open(spec);
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.write_deployment(&json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"}));
    shop.ready("shop:2", 2);
    shop.ready("shop:1", 2);
    shop.traffic(1, &[("shop:1", 25, 0), ("shop:2", 25, 0)]);
    let due = shop.slos.due_comparisons(shop.now);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].patch.to_revision.as_str(), "shop-1");
    assert_eq!(shop.slos.due_comparisons(shop.now).len(), 0, "asked once");
    shop.slos.compared(&due[0], Some(IMAGE.to_owned()));
    shop
}

#[test]
fn a_target_that_git_rules_is_said_to_be_with_what_would_stick() {
    let mut shop = tracked(json!({}));
    let (status, reason, message) = shop.condition("checkout", "RollbackReady");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ManagedByGitOps"));
    assert!(message.contains("Argo CD (Application shop)"), "{message}");
    assert!(
        message.ends_with(&format!("to keep it undone, change in Git: {IMAGE}")),
        "{message}"
    );
    shop.traffic(10, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    assert_eq!(shop.patches.len(), 1);
    let told: Vec<_> = shop.said.iter().filter(|said| said.ends_with(IMAGE)).collect();
    assert_eq!(told.len(), 1, "with the act: {:?}", shop.said);
}

#[test]
fn what_would_have_stuck_is_not_told_of_another_release() {
    let mut shop = tracked(json!({}));
    shop.deploy("shop:3");
    shop.write_deployment(&json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"}));
    shop.ready("shop:3", 2);
    shop.traffic(2, &[("shop:1", 25, 0), ("shop:3", 25, 0)]);
    let (.., message) = shop.condition("checkout", "RollbackReady");
    assert!(!message.contains("change in Git"), "{message}");
    assert_eq!(shop.slos.due_comparisons(shop.now).len(), 1, "this one is asked about");
}

#[test]
fn a_comparison_nobody_answered_is_made_again_later() {
    let mut shop = tracked(json!({}));
    shop.slos
        .known
        .get_mut(&name("checkout"))
        .unwrap()
        .remedy
        .as_mut()
        .unwrap()
        .lines = None;
    assert_eq!(shop.slos.due_comparisons(shop.now).len(), 0);
    shop.traffic(31, &[("shop:1", 25, 0), ("shop:2", 25, 0)]);
    assert_eq!(shop.slos.due_comparisons(shop.now).len(), 1);
}

#[test]
fn a_target_that_nobody_applies_from_git_is_not_compared() {
    let mut shop = stuck(json!({}));
    assert_eq!(shop.slos.due_comparisons(shop.now).len(), 0);
    assert_eq!(shop.condition("checkout", "RollbackReady").1, "Ready");
}

#[test]
fn a_dry_run_reports_what_it_would_have_come_to() {
    let mut shop = Shop::open(json!({"rollback": {"mode": "DryRun"}}));
    shop.traffic(10, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 2);
    shop.ready("shop:1", 2);
    shop.traffic(20, &[("shop:1", 25, 0), ("shop:2", 20, 5)]);
    shop.deploy("shop:3");
    shop.ready("shop:2", 0);
    shop.ready("shop:3", 2);
    shop.traffic(5, &[("shop:1", 25, 0), ("shop:3", 25, 0)]);
    let (.., message) = shop.condition("checkout", "RollbackReady");
    assert!(
        message.ends_with("it would have undone 1 of 2 releases so far"),
        "{message}"
    );
    let status = &shop.slos.known[&name("checkout")].status;
    let report = status.rollback.as_ref().unwrap().dry_run.as_ref().unwrap();
    assert_eq!(report.summary, "would have undone 1 of 2 releases");
    let rows: Vec<_> = report
        .releases
        .iter()
        .map(|row| (row.release.as_str(), row.outcome))
        .collect();
    assert_eq!(
        rows,
        [
            ("shop-2", DryRunOutcome::WouldHaveUndone),
            ("shop-3", DryRunOutcome::InProbation)
        ]
    );
    assert!(report.releases[0].why.as_ref().unwrap().contains("bad of"));
    assert_eq!(report.releases[1].why, None);
}

#[test]
fn names_of_sets_are_those_of_their_objects() {
    let shop = stuck(json!({}));
    let expected = Name {
        namespace: "shop".into(),
        name: SETS.into(),
    };
    assert!(
        shop.slos
            .doubtful_sets(&shop.world)
            .iter()
            .any(|(set, _)| *set == expected)
    );
}
