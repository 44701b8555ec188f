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

/// From, to and count of every act.
type Acts = Vec<(String, String, u8)>;

/// What happens in a world, from the first look at `v2` to the last.
struct Story {
    name: &'static str,
    play: fn(&mut World),
}

const STORIES: [Story; 9] = [
    Story {
        name: "undone, verified, forgotten",
        play: |world| {
            world.seconds(40);
            world.idle_minutes(10);
        },
    },
    Story {
        name: "applied again and again",
        play: |world| {
            for _ in 0..8 {
                world.seconds(5);
                world.apply("v2", "argocd-controller");
            }
            world.seconds(20);
        },
    },
    Story {
        name: "applied again once, while the operator looks",
        play: |world| {
            world.seconds(20);
            world.apply("v2", "kubectl");
            world.seconds(40);
        },
    },
    Story {
        name: "the answer is lost",
        play: |world| {
            world.fault = Some(Fault::AnswerLost);
            world.seconds(40);
        },
    },
    Story {
        name: "changed between decision and patch",
        play: |world| {
            world.fault = Some(Fault::ChangedMeanwhile);
            world.seconds(40);
        },
    },
    Story {
        name: "the good release does not come back",
        play: |world| {
            world.seconds(3);
            world.stuck = true;
            world.seconds(125);
        },
    },
    Story {
        name: "another release takes over",
        play: |world| {
            world.seconds(30);
            world.apply("v3", "kubectl");
            world.seconds(20);
        },
    },
    Story {
        name: "a bad one takes over before the first is verified",
        play: |world| {
            world.bad.insert("v3".into());
            world.seconds(6);
            world.apply("v3", "kubectl");
            world.seconds(40);
        },
    },
    Story {
        name: "accepted",
        play: |world| {
            world.seconds(20);
            world.target.accept = Some("v2".to_owned());
            world.apply("v2", "kubectl");
            world.seconds(30);
        },
    },
];

fn told(story: &Story, saves_late: bool, crash_after: Option<usize>) -> World {
    let mut world = started();
    (world.points, world.saves_late, world.crash_after) = (0, saves_late, crash_after);
    (story.play)(&mut world);
    // Who died at the very end gets the time to come back.
    let points = world.points;
    world.seconds(15);
    world.points = points;
    world
}

/// Everything that must be the same with and without a crash: the acts, and the timeline row by row. A patch whose fate the
/// operator did not live to learn may be one more row, `Conflict`; and a release that is undone on sight gives bad answers of
/// its own while the operator is away, so of these rows the first are compared.
fn ending(world: &World) -> (Acts, &'static str, Vec<Step>) {
    let acts = world.applied.iter().map(|act| &act.patch.record);
    let acts = acts.map(|record| (record.from.to_string(), record.to.to_string(), record.count));
    let mut steps: Vec<Step> = Vec::new();
    for step in world.steps() {
        let again =
            matches!(step, Step::ProbationStarted | Step::FirstBadAnswer | Step::Breached) && steps.contains(&step);
        if step != Step::Conflict && !again {
            steps.push(step);
        }
    }
    (acts.collect(), world.state_name(), steps)
}

/// Kills the operator once at every place it passes, of every story, with either way of saving.
#[test]
fn wherever_the_operator_dies_the_acts_the_state_and_the_timeline_are_the_same() {
    for (story, saves_late) in STORIES.iter().flat_map(|story| [(story, false), (story, true)]) {
        let whole = told(story, saves_late, None);
        assert!(
            whole.points > 20 && whole.acts() > 0,
            "{}: {}",
            story.name,
            whole.points
        );
        for point in 0..whole.points {
            let world = told(story, saves_late, Some(point));
            assert_eq!(world.crash_after, None, "{}: it died", story.name);
            assert_eq!(
                ending(&world),
                ending(&whole),
                "{}, at {point}, late: {saves_late}",
                story.name
            );
        }
    }
}

/// Twice, at every pair of places around the act: also while it recovers from the first time.
#[test]
fn wherever_the_operator_dies_twice_there_is_one_act_and_nothing_of_it_is_lost() {
    let whole = told(&STORIES[0], true, None);
    for first in 0..30 {
        for second in 0..12 {
            let mut world = started();
            (world.points, world.saves_late, world.crash_after) = (0, true, Some(first));
            while world.crash_after.is_some() {
                world.seconds(1);
            }
            world.crash_after = Some(second);
            world.seconds(40);
            world.idle_minutes(10);
            world.seconds(15);
            assert_eq!(ending(&world), ending(&whole), "at {first}, then at {second}");
        }
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
fn a_lost_request_is_sent_again_as_it_was() {
    let mut world = started();
    world.fault = Some(Fault::RequestLost);
    while world.refused.is_empty() {
        world.seconds(1);
    }
    world.seconds(1);
    assert_eq!((world.acts(), world.refused.len()), (1, 1));
    assert_eq!(
        world.applied[0].patch, world.refused[0],
        "whichever lands, it is the same act"
    );
    assert!(!world.steps().contains(&Step::Conflict));
}

#[test]
fn a_lost_request_is_not_sent_again_once_there_is_no_reason_for_it() {
    let mut world = started();
    world.fault = Some(Fault::RequestLost);
    while world.refused.is_empty() {
        world.seconds(1);
    }
    world.set_mode(Mode::Off);
    world.seconds(20);
    assert_eq!((world.acts(), world.state_name()), (0, "Idle"));
    assert!(world.steps().contains(&Step::Conflict));
}

#[test]
fn an_act_that_landed_behind_a_lagging_cache_is_not_made_twice() {
    let mut world = started();
    world.stale = None;
    world.fault = Some(Fault::AnswerLost);
    while world.acts() == 0 {
        world.stale = Some(world.target.clone());
        world.seconds(1);
        let mut seen = world.stale.take().unwrap();
        for each in &mut seen.revisions {
            (each.ready_pods, each.reporting_pods) = (2, 2);
        }
        world.stale = Some(seen);
    }
    world.seconds(5);
    assert_eq!(world.acts(), 1);
    world.stale = None;
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
