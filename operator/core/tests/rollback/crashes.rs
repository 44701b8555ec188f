//! The operator dies between any two steps, or does not learn what became of its patch.

use std::time::Duration;

use shoalwatch_core::rollback::{Lock, Step};
use shoalwatch_core::slo::SloState;
use shoalwatch_core::spec::Mode;

use crate::world::{Fault, World};

fn started() -> World {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    world
}

#[test]
fn a_crash_after_any_effect_leads_to_exactly_one_act() {
    for after in 0..12 {
        let mut world = started();
        world.crash_after = Some(after);
        world.seconds(60);
        assert_eq!(world.acts(), 1, "crash after {after} effects");
        assert_eq!(world.state_name(), "Latched", "crash after {after} effects");
    }
}

#[test]
fn a_crash_after_any_effect_still_ends_in_contested_after_two_acts() {
    for after in 0..40 {
        let mut world = started();
        world.crash_after = Some(after);
        for _ in 0..8 {
            world.seconds(6);
            world.apply("v2", "argocd-controller");
        }
        world.seconds(5);
        assert_eq!(
            (world.acts(), world.state_name()),
            (2, "Contested"),
            "crash after {after} effects"
        );
    }
}

#[test]
fn an_operator_killed_at_every_look_acts_once() {
    let mut world = started();
    for _ in 0..120 {
        world.seconds(1);
        world.restart();
    }
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
}

#[test]
fn a_lost_answer_is_found_on_the_target() {
    let mut world = started();
    world.fault = Some(Fault::AnswerLost);
    world.seconds(30);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
    assert!(world.steps().contains(&Step::Patched));
    assert!(!world.steps().contains(&Step::Recovered), "it knew what it had sent");
}

#[test]
fn a_lost_request_is_decided_again_after_a_while() {
    let mut world = started();
    world.fault = Some(Fault::RequestLost);
    world.seconds(8);
    assert_eq!(
        (world.acts(), world.state_name()),
        (0, "Acting"),
        "the answer may still come"
    );
    world.seconds(20);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
}

#[test]
fn an_slo_made_again_takes_over_what_the_target_proves() {
    let mut world = started();
    world.seconds(10);
    assert_eq!(world.acts(), 1);
    world.state = SloState::default();
    world.seconds(10);
    assert_eq!((world.acts(), world.state_name()), (1, "Latched"));
    assert!(world.steps().contains(&Step::Recovered));
    world.apply("v2", "kubectl");
    world.seconds(10);
    world.apply("v2", "kubectl");
    world.seconds(10);
    assert_eq!(
        (world.acts(), world.state_name()),
        (2, "Contested"),
        "the first act counted"
    );
}

#[test]
fn another_slos_act_counts_and_is_not_taken_for_ones_own() {
    let mut world = started();
    world.seconds(10);
    let mut other = World::new(Mode::Enforce);
    other.lock = Lock::HeldBy("shop/checkout".to_owned());
    let mut record = world.target.rollback.clone().unwrap();
    record.slo = "shop/latency".to_owned();
    record.time = other.now;
    other.target.rollback = Some(record);
    other.seconds(5);
    assert_eq!(other.state_name(), "Idle");
    assert_eq!(
        other
            .state
            .machine
            .undone(&"v2".into())
            .map(|undone| undone.record.count),
        Some(1)
    );
}

#[test]
fn an_old_record_on_the_target_is_history() {
    let mut world = World::new(Mode::Enforce);
    let mut donor = started();
    donor.seconds(10);
    let mut record = donor.target.rollback.clone().unwrap();
    record.time = world.now.minus(Duration::from_mins(21));
    world.target.rollback = Some(record);
    world.seconds(5);
    assert_eq!(
        (world.state_name(), world.state.machine.all_undone().len()),
        ("Idle", 0)
    );
}

#[test]
fn a_clock_set_back_between_two_acts_loses_neither() {
    let mut world = started();
    world.seconds(10);
    world.now = world.now.minus(Duration::from_mins(1));
    world.apply("v2", "argocd-controller");
    world.seconds(2);
    assert_eq!(world.acts(), 2);
    world.apply("v2", "argocd-controller");
    world.seconds(2);
    assert_eq!((world.acts(), world.state_name()), (2, "Contested"));
}

#[test]
fn an_annotation_that_was_edited_does_not_lower_the_count() {
    let mut world = started();
    world.seconds(20);
    let record = world.target.rollback.as_mut().unwrap();
    (record.count, record.time) = (0, record.time.plus(Duration::from_secs(1)));
    world.bump();
    world.seconds(20);
    assert_eq!(
        world
            .state
            .machine
            .undone(&"v2".into())
            .map(|undone| undone.record.count),
        Some(1)
    );
}
