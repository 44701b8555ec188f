//! What happens to a release, told from its beginning.

use shoalwatch_core::release::Role;
use shoalwatch_core::rollback::{EventReason, State, Step};
use shoalwatch_core::spec::Mode;

use crate::world::{Fault, World};

/// `v2` is applied and answers badly; one look at a time until it is undone.
fn undone() -> World {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    while world.acts() == 0 {
        assert!(
            world.now.0 < crate::world::START.0 + 60_000,
            "not undone: {:?}",
            world.state()
        );
        world.seconds(1);
    }
    world
}

#[test]
fn a_bad_release_is_undone_verified_latched_and_forgotten() {
    let mut world = undone();
    let record = world.applied[0].patch.record.clone();
    assert_eq!(
        (record.from.as_str(), record.to.as_str(), record.count),
        ("v2", "v1", 1)
    );
    assert_eq!(record.slo, "shop/checkout");
    assert_eq!(world.applied[0].patch.to_revision.as_str(), "v1-rs");
    assert_eq!(world.state_name(), "Verifying");
    world.seconds(9);
    assert_eq!(world.state_name(), "Verifying", "the short window is not whole yet");
    world.seconds(1);
    assert_eq!(world.state_name(), "Latched");
    let expected = [
        Step::ProbationStarted,
        Step::FirstBadAnswer,
        Step::Breached,
        Step::Patched,
        Step::Verified,
    ]
    .as_slice();
    assert_eq!(world.steps(), expected);
    world.seconds(589);
    assert_eq!(world.state_name(), "Latched", "one second of the cool-down is left");
    world.seconds(1);
    assert_eq!(world.state_name(), "Idle");
    assert_eq!(world.steps().last(), Some(&Step::Released));
    assert_eq!((world.acts(), world.state.machine.all_undone().len()), (1, 0));
}

#[test]
fn the_patch_follows_the_filled_rule_at_the_same_look() {
    let world = undone();
    assert_eq!(world.state.machine.rule_filled_at(), Some(world.applied[0].at));
    let rows = world.state.machine.timeline();
    let at = |step| rows.iter().find(|row| row.step == step).map(|row| row.at);
    assert_eq!(at(Step::Breached), at(Step::Patched));
    assert!(at(Step::FirstBadAnswer) <= at(Step::Breached));
}

#[test]
fn a_good_release_is_promoted_and_then_never_undone() {
    let mut world = World::new(Mode::Enforce);
    world.apply("v2", "kubectl");
    world.seconds(599);
    assert_eq!(world.state.ledger.role(&"v2".into()), Role::Probation);
    world.seconds(3);
    assert_eq!(world.state.ledger.role(&"v2".into()), Role::KnownGood);
    world.bad.insert("v2".into());
    world.seconds(120);
    assert_eq!((world.acts(), world.state_name()), (0, "Idle"));
}

#[test]
fn a_release_that_turns_bad_after_probation_is_not_undone() {
    let mut world = World::new(Mode::Enforce);
    world.rate = 0;
    world.apply("v2", "kubectl");
    world.seconds(1);
    world.idle_minutes(30);
    assert_eq!(world.state.ledger.role(&"v2".into()), Role::Other);
    (world.rate, _) = (25, world.bad.insert("v2".into()));
    world.seconds(60);
    assert_eq!(world.acts(), 0);
}

#[test]
fn a_good_third_release_goes_through_after_an_undo() {
    let mut world = undone();
    world.seconds(10);
    world.apply("v3", "kubectl");
    world.seconds(30);
    assert_eq!(
        (world.acts(), world.state_name(), world.target.release.as_str()),
        (1, "Idle", "v3")
    );
    assert_eq!(world.state.ledger.role(&"v3".into()), Role::Probation);
    assert!(world.steps().contains(&Step::Superseded));
}

#[test]
fn a_bad_third_release_is_undone_as_well() {
    let mut world = undone();
    world.seconds(10);
    world.bad.insert("v3".into());
    world.apply("v3", "kubectl");
    world.seconds(10);
    assert_eq!(world.acts(), 2);
    assert_eq!(
        world.applied[1].patch.record.to.as_str(),
        "v1",
        "back to the good one, not to the second newest"
    );
}

#[test]
fn a_release_that_replaces_another_before_it_is_verified_is_judged() {
    let mut world = undone();
    world.bad.insert("v3".into());
    world.apply("v3", "kubectl");
    world.seconds(10);
    assert_eq!((world.acts(), world.target.release.as_str()), (2, "v1"));
}

#[test]
fn a_self_healing_writer_ends_in_contested_by_name_after_two_acts() {
    let mut world = undone();
    for _ in 0..10 {
        world.seconds(5);
        world.apply("v2", "argocd-controller");
    }
    world.seconds(5);
    assert_eq!(world.acts(), 2);
    let State::Contested { release, writer } = world.state() else {
        panic!("{:?}", world.state())
    };
    assert_eq!((release.as_str(), writer.as_str()), ("v2", "argocd-controller"));
    let pages = world.said(EventReason::Step(Step::Contested));
    assert_eq!(pages.len(), 1, "{pages:?}");
    assert!(
        pages[0].starts_with("argocd-controller applied release v2 again"),
        "{pages:?}"
    );
    assert_eq!(world.ready_reason(), "Contested");
}

#[test]
fn a_contested_release_stays_until_another_one_comes() {
    let mut world = undone();
    for _ in 0..2 {
        world.seconds(5);
        world.apply("v2", "argocd-controller");
    }
    world.seconds(10);
    world.bad.clear();
    world.seconds(3_000);
    assert_eq!((world.acts(), world.state_name()), (2, "Contested"));
    assert_ne!(
        world.state.ledger.role(&"v2".into()),
        Role::KnownGood,
        "only its author can say so now"
    );
    world.apply("v3", "kubectl");
    world.seconds(30);
    assert_eq!((world.acts(), world.state_name()), (2, "Idle"));
}

#[test]
fn going_back_and_forth_between_releases_does_not_reset_the_count() {
    let mut world = undone();
    for _ in 0..3 {
        world.seconds(5);
        world.apply("v3", "kubectl");
        world.seconds(5);
        world.apply("v2", "kubectl");
        world.seconds(5);
    }
    assert_eq!((world.acts(), world.state_name()), (2, "Contested"));
}

#[test]
fn a_release_applied_again_within_the_cool_down_is_undone_on_sight() {
    let mut world = undone();
    world.seconds(590);
    world.bad.clear();
    world.apply("v2", "kubectl");
    world.seconds(1);
    assert_eq!(
        (world.acts(), world.state_name()),
        (2, "Verifying"),
        "not a bad answer was waited for"
    );
}

#[test]
fn after_the_second_act_it_is_too_soon_for_a_third_until_the_cool_down_is_over() {
    let mut world = undone();
    world.seconds(15);
    world.apply("v2", "kubectl");
    world.seconds(15);
    assert_eq!((world.acts(), world.state_name()), (2, "CoolingDown"));
    world.seconds(580);
    assert_eq!(world.state_name(), "CoolingDown");
    world.seconds(10);
    assert_eq!((world.acts(), world.state_name()), (2, "Idle"));
}

#[test]
fn a_release_applied_again_after_the_cool_down_is_judged_anew() {
    let mut world = undone();
    world.seconds(601);
    assert_eq!(world.state_name(), "Idle");
    world.bad.clear();
    world.apply("v2", "kubectl");
    world.seconds(60);
    assert_eq!(
        (world.acts(), world.state_name()),
        (1, "Idle"),
        "its dependency was mended meanwhile"
    );
    world.bad.insert("v2".into());
    world.seconds(60);
    assert_eq!(world.acts(), 2);
    assert_eq!(world.applied[1].patch.record.count, 1, "the first act is forgotten");
}

#[test]
fn a_good_release_that_does_not_come_back_is_failed_and_there_is_no_second_act() {
    let mut world = undone();
    world.stuck = true;
    world.seconds(121);
    let State::Failed { why, .. } = world.state() else {
        panic!("{:?}", world.state())
    };
    assert_eq!(why, "0 of 2 pods are ready");
    assert_eq!(world.said(EventReason::Step(Step::Failed)).len(), 1);
    world.stuck = false;
    world.apply("v2", "argocd-controller");
    world.seconds(60);
    assert_eq!((world.acts(), world.ready_reason()), (1, "RollbackFailed"));
    world.apply("v3", "kubectl");
    world.seconds(5);
    assert_eq!(world.state_name(), "Idle");
}

#[test]
fn a_good_release_that_answers_badly_too_is_failed() {
    let mut world = undone();
    world.bad.insert("v1".into());
    world.seconds(125);
    let State::Failed { why, .. } = world.state() else {
        panic!("{:?}", world.state())
    };
    assert_eq!(why, "it answers badly too");
}

#[test]
fn a_good_release_without_traffic_is_verified_by_its_pods() {
    let mut world = undone();
    world.rate = 0;
    world.seconds(119);
    assert_eq!(world.state_name(), "Verifying", "traffic may still come");
    world.seconds(15);
    assert_eq!(world.state_name(), "Latched");
}

#[test]
fn a_target_changed_meanwhile_is_looked_at_again() {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    world.fault = Some(Fault::ChangedMeanwhile);
    world.seconds(10);
    assert_eq!((world.acts(), world.refused.len()), (1, 1));
    assert_ne!(
        world.refused[0].resource_version, world.applied[0].patch.resource_version,
        "never a blind retry"
    );
    assert!(world.steps().contains(&Step::Conflict));
    assert_eq!(world.reobserved, 1, "from the API server");
}

#[test]
fn a_restart_of_pods_is_no_new_release() {
    let mut world = World::new(Mode::Enforce);
    let mut restarted = world.target.revisions[0].clone();
    (restarted.revision, restarted.created) = ("v1-restarted".into(), world.now);
    world.target.revisions[0].ready_pods = 0;
    world.target.revisions.push(restarted);
    world.bump();
    world.bad.insert("v1".into());
    world.seconds(60);
    assert_eq!((world.acts(), world.state.ledger.releases().len()), (0, 1));
}

#[test]
fn scaling_is_no_new_release() {
    let mut world = World::new(Mode::Enforce);
    world.target.replicas = 7;
    world.bump();
    world.bad.insert("v1".into());
    world.seconds(60);
    assert_eq!((world.acts(), world.state.ledger.releases().len()), (0, 1));
}

#[test]
fn workers_report_each_second_while_a_release_is_watched() {
    let mut world = World::new(Mode::Enforce);
    let interval = |world: &World| world.last.as_ref().map(|last| last.report_interval.as_secs());
    assert_eq!(interval(&world), Some(10));
    world.apply("v2", "kubectl");
    world.seconds(1);
    assert_eq!(interval(&world), Some(1));
    world.seconds(605);
    assert_eq!(interval(&world), Some(10), "promoted");
}

#[test]
fn the_status_shows_both_revisions_with_their_roles() {
    let world = undone();
    let shown: Vec<_> = world.last.as_ref().unwrap().revisions.iter().collect();
    assert_eq!((shown[0].revision.as_str(), shown[0].role), ("v2-rs", Role::Probation));
    assert_eq!((shown[1].revision.as_str(), shown[1].role), ("v1-rs", Role::KnownGood));
    assert!((shown[0].bad_ratio.unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(shown[1].bad_ratio, Some(0.0));
}

#[test]
fn a_timeline_never_grows_beyond_twenty_rows() {
    let mut world = undone();
    for number in 0..40 {
        world.apply(&format!("v{}", number + 3), "kubectl");
        world.seconds(2);
    }
    assert_eq!(world.steps().len(), 20);
}

#[test]
fn a_lagging_cache_after_the_patch_is_not_taken_for_a_reapplied_release() {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    world.stale = Some(world.target.clone());
    for revision in &mut world.stale.as_mut().unwrap().revisions {
        (revision.ready_pods, revision.reporting_pods) = (1, 1);
    }
    world.seconds(5);
    assert_eq!((world.acts(), world.state_name()), (1, "Verifying"));
    world.stale = None;
    world.seconds(20);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
    assert!(!world.steps().contains(&Step::Reapplied));
}

#[test]
fn a_release_that_comes_back_is_judged_by_what_it_does_now() {
    let mut world = undone();
    world.seconds(700);
    world.rate = 2;
    world.apply("v2", "kubectl");
    // Two bad answers a second: the tenth comes in the fifth second.
    world.seconds(4);
    assert_eq!(world.acts(), 1);
    world.seconds(2);
    assert_eq!(world.acts(), 2);
    let breaches = world.steps().into_iter().filter(|step| *step == Step::Breached).count();
    assert_eq!(breaches, 2, "each appearance has a breach of its own");
}

#[test]
fn a_release_that_is_bad_when_its_trial_ends_is_not_promoted() {
    let mut world = World::new(Mode::DryRun);
    world.apply("v2", "kubectl");
    world.seconds(595);
    world.bad.insert("v2".into());
    // Its trial ends after five of them; beyond doubt it is bad after eleven.
    world.seconds(12);
    assert!(world.steps().contains(&Step::Breached));
    assert_eq!(world.state.ledger.role(&"v2".into()), Role::Probation);
}

#[test]
fn a_latched_release_is_left_alone_once_its_probation_is_over() {
    let mut world = undone();
    world.seconds(20);
    world.set_rule(|rule| (rule.mode, rule.probation) = (Mode::Off, std::time::Duration::from_secs(30)));
    world.bad.clear();
    world.apply("v2", "kubectl");
    world.seconds(40);
    world.set_mode(Mode::Enforce);
    world.seconds(10);
    assert_eq!((world.acts(), world.state.ledger.role(&"v2".into())), (1, Role::Other));
}

#[test]
fn a_release_that_replaces_another_in_probation_is_undone_to_the_known_good_one() {
    let mut world = World::new(Mode::Enforce);
    world.apply("v2", "kubectl");
    world.seconds(60);
    world.bad.insert("v3".into());
    world.apply("v3", "kubectl");
    world.seconds(10);
    assert_eq!(
        (world.acts(), world.target.release.as_str()),
        (1, "v1"),
        "v2 was never known to be good"
    );
}

#[test]
fn an_autoscaler_that_moves_during_the_act_changes_nothing_about_it() {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    for replicas in [4, 3, 6, 5, 2, 7, 7, 7, 3, 3, 3, 9, 9, 2, 2, 2, 2, 2, 2, 2] {
        world.target.replicas = replicas;
        world.bump();
        world.seconds(1);
    }
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
    assert_eq!(world.state.ledger.releases().len(), 2);
}

#[test]
fn a_restart_of_the_good_pods_leaves_the_latch_alone() {
    let mut world = undone();
    world.seconds(15);
    let mut restarted = world.target.revisions[0].clone();
    (restarted.revision, restarted.created) = ("v1-restarted".into(), world.now);
    world.target.revisions.push(restarted);
    world.bump();
    world.seconds(10);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
    world.apply("v2", "kubectl");
    world.seconds(1);
    assert_eq!(world.acts(), 2);
    assert_eq!(
        world.applied[1].patch.to_revision.as_str(),
        "v1-restarted",
        "the newest set of the good release"
    );
}

#[test]
fn a_rollout_paused_while_it_is_undone_is_verified_when_it_goes_on() {
    let mut world = undone();
    world.target.paused = true;
    for each in &mut world.target.revisions {
        (each.ready_pods, each.reporting_pods) = (1, 1);
    }
    world.bump();
    world.seconds(60);
    assert_eq!((world.acts(), world.state_name()), (1, "Verifying"));
    world.target.paused = false;
    world.bump();
    world.seconds(15);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
}

#[test]
fn an_slo_that_takes_over_the_lock_in_the_middle_of_an_act_does_not_act_again() {
    let world = undone();
    let mut other = World::new(Mode::Enforce);
    let record = shoalwatch_core::rollback::RollbackRecord {
        slo: "shop/latency".to_owned(),
        ..world.applied[0].patch.record.clone()
    };
    (other.now, other.target.rollback) = (world.now, Some(record));
    other.seconds(1);
    other.bad.insert("v2".into());
    other.apply("v2", "argocd-controller");
    other.seconds(5);
    assert_eq!(
        (other.acts(), other.applied[0].patch.record.count),
        (1, 2),
        "the other's act counts"
    );
    other.apply("v2", "argocd-controller");
    other.seconds(5);
    assert_eq!((other.acts(), other.state_name()), (1, "Contested"));
}
