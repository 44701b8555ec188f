//! What keeps a bad release from being undone, and how it is said.

use shoalwatch_core::release::Role;
use shoalwatch_core::rollback::{EventReason, Hold, Lock, Step, lock_holder};
use shoalwatch_core::spec::Mode;

use crate::world::{Fault, START, World};

/// `v2` is bad from the start; `prepare` decides under which circumstances.
fn bad_release(mode: Mode, prepare: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(mode);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    prepare(&mut world);
    world.seconds(30);
    world
}

/// It is not undone, the condition says why, and so does exactly one event.
fn held(world: &World, hold: Hold) {
    assert_eq!(world.acts(), 0);
    assert_eq!(world.ready_reason(), hold.as_str());
    let events = world.said(EventReason::Held(hold));
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].starts_with("release v2 "), "{events:?}");
}

#[test]
fn off_does_nothing_and_says_nothing_of_acts() {
    let world = bad_release(Mode::Off, |_| {});
    assert_eq!((world.acts(), world.ready_reason()), (0, "Off"));
    assert!(
        !world
            .events
            .iter()
            .any(|(reason, _)| matches!(reason, EventReason::Held(_)))
    );
    assert!(world.steps().contains(&Step::Breached), "judged all the same");
}

#[test]
fn a_dry_run_says_what_would_have_been_done_once() {
    let world = bad_release(Mode::DryRun, |_| {});
    assert_eq!(
        (world.acts(), world.ready_reason(), world.state_name()),
        (0, "DryRun", "Idle")
    );
    let said = world.said(EventReason::Step(Step::WouldHavePatched));
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("would have undone release v2, back to v1: "),
        "{said:?}"
    );
}

#[test]
fn a_dry_run_turned_into_enforce_acts() {
    let mut world = bad_release(Mode::DryRun, |_| {});
    world.set_mode(Mode::Enforce);
    world.seconds(2);
    assert_eq!(world.acts(), 1);
}

#[test]
fn a_paused_target_is_left_alone_and_judged_when_it_goes_on() {
    let mut world = World::new(Mode::Enforce);
    world.apply("v2", "kubectl");
    world.seconds(1);
    world.bad.insert("v2".into());
    world.target.paused = true;
    world.bump();
    world.seconds(30);
    held(&world, Hold::TargetPaused);
    world.target.paused = false;
    world.bump();
    world.seconds(2);
    assert_eq!(world.acts(), 1);
}

#[test]
fn a_target_that_is_being_deleted_is_left_alone() {
    let world = bad_release(Mode::Enforce, |world| {
        world.target.deleting = true;
        world.bump();
    });
    assert_eq!((world.acts(), world.ready_reason()), (0, "TargetDeleting"));
}

#[test]
fn a_target_that_is_gone_is_said_to_be() {
    let world = bad_release(Mode::Enforce, |world| world.exists = false);
    assert_eq!((world.acts(), world.ready_reason()), (0, "TargetNotFound"));
}

#[test]
fn a_template_that_says_never_is_never_undone() {
    held(
        &bad_release(Mode::Enforce, |world| world.target.never = true),
        Hold::RollbackNever,
    );
}

#[test]
fn another_slo_that_holds_the_lock_acts_alone() {
    let other = Lock::HeldBy("shop/latency".to_owned());
    let world = bad_release(Mode::Enforce, |world| world.lock = other);
    held(&world, Hold::TargetSharedWith);
    assert!(world.said(EventReason::Held(Hold::TargetSharedWith))[0].contains("shop/latency"));
}

#[test]
fn the_lock_goes_to_the_oldest_slo_then_by_name() {
    let later = START.plus(std::time::Duration::from_secs(1));
    assert_eq!(
        lock_holder([(later, "a/a"), (START, "b/c"), (START, "b/b")]),
        Some("b/b")
    );
    assert_eq!(lock_holder([]), None);
}

#[test]
fn without_history_there_is_nothing_to_return_to() {
    let world = bad_release(Mode::Enforce, |world| {
        world.target.revisions.retain(|each| each.release != "v1".into());
    });
    held(&world, Hold::NoHistory);
}

#[test]
fn a_history_limit_of_zero_is_said_beforehand() {
    let mut world = World::new(Mode::Enforce);
    world.target.revision_history_limit = 0;
    world.seconds(1);
    assert_eq!(world.ready_reason(), "NoHistory");
}

#[test]
fn two_live_releases_at_first_sight_and_none_known_is_no_known_good() {
    let mut world = World::new(Mode::Enforce);
    world.apply("v2", "kubectl");
    world.bad.insert("v2".into());
    world.stuck = true;
    world.target.revisions[1].ready_pods = 1;
    world.state = shoalwatch_core::slo::SloState::default();
    world.seconds(30);
    held(&world, Hold::NoKnownGood);
}

#[test]
fn no_right_to_patch_is_said_and_tried_again_a_minute_later() {
    let mut world = bad_release(Mode::Enforce, |world| world.fault = Some(Fault::Forbidden));
    held(&world, Hold::Forbidden);
    assert_eq!(world.refused.len(), 1);
    world.seconds(40);
    assert_eq!(world.acts(), 1, "somebody gave the right meanwhile");
}

#[test]
fn a_refused_patch_is_said_with_the_refusal() {
    let world = bad_release(Mode::Enforce, |world| world.fault = Some(Fault::Rejected));
    held(&world, Hold::PatchRejected);
    assert!(world.said(EventReason::Held(Hold::PatchRejected))[0].contains("a webhook says no"));
}

#[test]
fn an_accepted_release_is_known_good_and_never_undone() {
    for name in ["v2", "v2-rs"] {
        let world = bad_release(Mode::Enforce, |world| world.target.accept = Some(name.to_owned()));
        assert_eq!(
            (world.acts(), world.state.ledger.role(&"v2".into())),
            (0, Role::KnownGood)
        );
        assert!(world.steps().contains(&Step::Accepted));
    }
}

#[test]
fn accepting_a_contested_release_ends_the_contest() {
    let mut world = bad_release(Mode::Enforce, |_| {});
    for _ in 0..2 {
        world.apply("v2", "argocd-controller");
        world.seconds(5);
    }
    assert_eq!(world.state_name(), "Contested");
    world.target.accept = Some("v2".to_owned());
    world.bump();
    world.seconds(2);
    assert_eq!(
        (world.state_name(), world.acts(), world.ready_reason()),
        ("Idle", 2, "Ready")
    );
    world.seconds(5);
    assert_eq!((world.state_name(), world.acts()), ("Idle", 2));
    assert!(world.state.machine.all_undone().is_empty());
    assert!(
        !world.steps().contains(&Step::Recovered),
        "the annotation on the target is not taken up again"
    );
}

#[test]
fn a_target_out_of_the_workers_sight_is_left_alone() {
    let mut world = World::new(Mode::Off);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    world.seconds(5);
    world.set_mode(Mode::Enforce);
    world.blind = true;
    world.seconds(1);
    assert_eq!(
        (world.acts(), world.ready_reason()),
        (0, "NoWorkerReports"),
        "what was seen is not believed any more"
    );
    world.blind = false;
    world.seconds(1);
    assert_eq!(world.acts(), 1);
}

#[test]
fn a_target_made_again_begins_anew() {
    let mut world = bad_release(Mode::Enforce, |_| {});
    assert_eq!(world.acts(), 1);
    world.target.uid = "uid-2".to_owned();
    world.target.rollback = None;
    world.target.revisions.clear();
    world.apply("v2", "kubectl");
    world.seconds(30);
    assert_eq!((world.acts(), world.state_name()), (1, "Idle"));
    assert_eq!(
        world.state.ledger.role(&"v2".into()),
        Role::KnownGood,
        "the only release at first sight"
    );
}
