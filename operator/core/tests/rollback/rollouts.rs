//! Releases that fail without a bad answer: their pods crash, or nothing goes on.

use shoalwatch_core::release::{Crashing, Role};
use shoalwatch_core::rollback::{EventReason, Hold, Step};
use shoalwatch_core::spec::{AlsoOn, Mode};

use crate::world::World;

/// `v2` comes, its pods never get ready, and `v1` goes on serving.
fn stuck(mode: Mode) -> World {
    let mut world = World::new(mode);
    world.stuck = true;
    world.apply("v2", "kubectl");
    world.seconds(5);
    world
}

fn crashing(world: &mut World, release: &str, pods: u32, crashing: u32) {
    let found = world
        .target
        .revisions
        .iter_mut()
        .find(|each| each.release == release.into());
    found.expect("a set").crashing = Some(Crashing {
        pods,
        crashing,
        restarts: 4,
    });
}

/// Once it is undone the good pods are all there still.
fn comes_back(world: &mut World) {
    world.stuck = false;
    world.seconds(125);
}

#[test]
fn a_release_whose_pods_crash_is_undone_with_a_reason_of_its_own() {
    let mut world = stuck(Mode::Enforce);
    crashing(&mut world, "v2", 2, 2);
    world.seconds(1);
    assert_eq!((world.acts(), world.target.release.as_str()), (1, "v1"));
    let said = world.said(EventReason::Step(Step::CrashLoop));
    assert_eq!(
        said,
        ["release v2 does not come up: 2 of 2 pods crash again and again, up to 4 restarts"]
    );
    comes_back(&mut world);
    assert_eq!(world.state_name(), "Latched");
    let expected = [Step::ProbationStarted, Step::CrashLoop, Step::Patched, Step::Verified].as_slice();
    assert_eq!(world.steps(), expected);
}

#[test]
fn a_release_that_makes_no_progress_is_undone_with_a_reason_of_its_own() {
    let mut world = stuck(Mode::Enforce);
    world.target.stalled = true;
    world.seconds(1);
    assert_eq!(world.acts(), 1);
    world.target.stalled = false;
    comes_back(&mut world);
    let patched = world.said(EventReason::Step(Step::Patched))[0].to_owned();
    let why = "ProgressDeadlineExceeded: no progress within progressDeadlineSeconds, 0 of 2 pods are ready";
    assert!(patched.ends_with(why), "{patched}");
    assert!(world.steps().contains(&Step::ProgressDeadlineExceeded));
    assert!(!world.steps().contains(&Step::Breached), "it gave no bad answer");
}

#[test]
fn one_crashing_pod_of_several_may_be_a_bad_node() {
    let mut world = stuck(Mode::Enforce);
    crashing(&mut world, "v2", 3, 1);
    world.seconds(10);
    assert_eq!(world.acts(), 0);
    crashing(&mut world, "v2", 3, 2);
    world.seconds(1);
    assert_eq!(world.acts(), 1);
}

#[test]
fn the_only_pod_of_a_release_is_all_there_is_to_go_by() {
    let mut world = stuck(Mode::Enforce);
    crashing(&mut world, "v2", 1, 1);
    world.seconds(1);
    assert_eq!(world.acts(), 1);
}

#[test]
fn what_the_spec_does_not_name_undoes_nothing() {
    let mut world = stuck(Mode::Enforce);
    world.set_rule(|rule| rule.also_on = [AlsoOn::CrashLoop].into());
    world.target.stalled = true;
    world.seconds(10);
    assert_eq!(world.acts(), 0);
    world.set_rule(|rule| rule.also_on = [AlsoOn::ProgressDeadlineExceeded].into());
    world.target.stalled = false;
    crashing(&mut world, "v2", 2, 2);
    world.seconds(10);
    assert_eq!(world.acts(), 0);
}

#[test]
fn only_a_release_in_probation_is_undone_for_it() {
    let mut world = World::new(Mode::Enforce);
    world.target.stalled = true;
    crashing(&mut world, "v1", 2, 2);
    world.seconds(30);
    assert_eq!(
        (world.acts(), world.state.ledger.role(&"v1".into())),
        (0, Role::KnownGood)
    );
    assert_eq!(world.steps(), [], "nor is anything said against it");
}

#[test]
fn a_paused_rollout_is_not_undone_for_what_it_does_not_do() {
    let mut world = stuck(Mode::Enforce);
    (world.target.paused, world.target.stalled) = (true, true);
    world.bump();
    world.seconds(10);
    assert_eq!((world.acts(), world.ready_reason()), (0, "TargetPaused"));
}

#[test]
fn without_a_known_good_release_there_is_nothing_to_return_to() {
    let mut world = stuck(Mode::Enforce);
    world.target.revisions.retain(|each| each.release == "v2".into());
    world.target.stalled = true;
    world.seconds(10);
    assert_eq!(
        (world.acts(), world.said(EventReason::Held(Hold::NoHistory)).len()),
        (0, 1)
    );
}

#[test]
fn nothing_is_undone_while_the_stable_release_fails_too() {
    let mut world = stuck(Mode::Enforce);
    crashing(&mut world, "v2", 2, 2);
    crashing(&mut world, "v1", 2, 1);
    world.seconds(10);
    assert_eq!(
        (world.acts(), world.said(EventReason::Held(Hold::StableFailsToo)).len()),
        (0, 1)
    );
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v1".into());
    world.stuck = true;
    world.seconds(5);
    world.apply("v2", "kubectl");
    world.target.stalled = true;
    world.seconds(10);
    assert_eq!(world.acts(), 0, "their common dependency, most likely");
}

#[test]
fn it_needs_no_worker_to_see_that_pods_crash() {
    let mut world = stuck(Mode::Enforce);
    world.blind = true;
    world.seconds(5);
    crashing(&mut world, "v2", 2, 2);
    world.seconds(1);
    assert_eq!(world.acts(), 1);
}

#[test]
fn a_dry_run_says_it_too() {
    let mut world = stuck(Mode::DryRun);
    crashing(&mut world, "v2", 2, 2);
    world.seconds(10);
    let said = world.said(EventReason::Step(Step::WouldHavePatched));
    assert_eq!((world.acts(), said.len()), (0, 1));
    assert!(said[0].contains("back to v1: CrashLoop: 2 of 2 pods"), "{said:?}");
}

#[test]
fn a_release_that_crashes_is_not_promoted_for_its_good_answers() {
    let mut world = World::new(Mode::Off);
    world.apply("v2", "kubectl");
    world.seconds(5);
    crashing(&mut world, "v2", 4, 2);
    world.seconds(700);
    assert_eq!(world.state.ledger.role(&"v2".into()), Role::Probation);
}
