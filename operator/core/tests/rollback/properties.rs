//! What holds whatever happens, in whatever order.

use proptest::prelude::*;
use shoalwatch_core::ReleaseId;
use shoalwatch_core::judge::Phase;
use shoalwatch_core::release::Role;
use shoalwatch_core::rollback::{Lock, MAX_TIMELINE, MAX_UNDONE, State};
use shoalwatch_core::spec::Mode;

use crate::world::{Fault, World};

#[derive(Clone, Debug)]
enum Happens {
    Apply(u8),
    TurnsBad(u8),
    TurnsGood(u8),
    Seconds(u8),
    Minutes(u8),
    Pause(bool),
    Never,
    Accept(u8),
    Blind(bool),
    Stuck(bool),
    Locked(bool),
    Mode(u8),
    Fault(Fault),
    CrashAfter(u8),
    Restart,
    Touched,
}

fn happens() -> impl Strategy<Value = Happens> {
    let fault = prop_oneof![
        Just(Fault::ChangedMeanwhile),
        Just(Fault::AnswerLost),
        Just(Fault::RequestLost),
        Just(Fault::Forbidden),
        Just(Fault::Rejected),
    ];
    prop_oneof![
        8 => (1_u8..5).prop_map(Happens::Apply),
        4 => (1_u8..5).prop_map(Happens::TurnsBad),
        1 => (1_u8..5).prop_map(Happens::TurnsGood),
        12 => (1_u8..30).prop_map(Happens::Seconds),
        2 => (1_u8..15).prop_map(Happens::Minutes),
        1 => any::<bool>().prop_map(Happens::Pause),
        1 => Just(Happens::Never),
        1 => (1_u8..5).prop_map(Happens::Accept),
        1 => any::<bool>().prop_map(Happens::Blind),
        1 => any::<bool>().prop_map(Happens::Stuck),
        1 => any::<bool>().prop_map(Happens::Locked),
        2 => (0_u8..6).prop_map(Happens::Mode),
        3 => fault.prop_map(Happens::Fault),
        3 => (0_u8..8).prop_map(Happens::CrashAfter),
        2 => Just(Happens::Restart),
        1 => Just(Happens::Touched),
    ]
}

fn name(number: u8) -> ReleaseId {
    ReleaseId::new(format!("v{number}"))
}

fn play(world: &mut World, what: &Happens) {
    match *what {
        Happens::Apply(number) => world.apply(name(number).as_str(), "writer"),
        Happens::TurnsBad(number) => drop(world.bad.insert(name(number))),
        Happens::TurnsGood(number) => drop(world.bad.remove(&name(number))),
        Happens::Seconds(seconds) => (0..seconds).for_each(|_| checked_second(world)),
        Happens::Minutes(minutes) => world.idle_minutes(minutes.into()),
        Happens::Pause(paused) => world.target.paused = paused,
        Happens::Never => world.target.never = true,
        Happens::Accept(number) => world.target.accept = Some(name(number).as_str().to_owned()),
        Happens::Blind(blind) => world.blind = blind,
        Happens::Stuck(stuck) => world.stuck = stuck,
        Happens::Locked(true) => world.lock = Lock::HeldBy("shop/other".to_owned()),
        Happens::Locked(false) => world.lock = Lock::Mine,
        Happens::Mode(0) => world.set_mode(Mode::Off),
        Happens::Mode(1) => world.set_mode(Mode::DryRun),
        Happens::Mode(_) => world.set_mode(Mode::Enforce),
        Happens::Fault(fault) => world.fault = Some(fault),
        Happens::CrashAfter(effects) => world.crash_after = Some(effects.into()),
        Happens::Restart => world.restart(),
        Happens::Touched => world.bump(),
    }
}

/// A second passes; if a patch went out in it, everything that forbids one was absent.
fn checked_second(world: &mut World) {
    let sent = |world: &World| world.applied.len() + world.refused.len();
    let before = (sent(world), world.state.clone(), world.target.release.clone());
    world.seconds(1);
    if sent(world) > before.0 {
        let target = &world.target;
        assert_eq!(world.spec.rule().mode, Mode::Enforce);
        assert!(!target.paused && !target.deleting && !world.blind);
        assert_eq!(world.lock, Lock::Mine);
        let release = before.2;
        assert_ne!(
            before.1.ledger.role(&release),
            Role::KnownGood,
            "{release} was known to be good"
        );
        assert!(
            !matches!(before.1.machine.state(), State::Contested { release: contested, .. } if *contested == release)
        );
        let verdict = &world.last.as_ref().expect("a look").verdict;
        assert_ne!(verdict.phase, Phase::NoData);
    }
}

/// Never more than two accepted patches against one release within a cool-down.
fn check_acts(world: &World) {
    let cooldown = world.spec.rule().cooldown;
    for act in &world.applied {
        let same = world.applied.iter().filter(|other| other.patch.from == act.patch.from);
        let within = same
            .filter(|other| other.at >= act.at && other.at.since(act.at) <= cooldown)
            .count();
        assert!(
            within <= 2,
            "{} acts against {} within {cooldown:?}",
            within,
            act.patch.from
        );
        assert_ne!(act.patch.from, act.patch.record.to);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_breaks_the_rules(script in prop::collection::vec(happens(), 1..60)) {
        let mut world = World::new(Mode::Enforce);
        for what in &script {
            play(&mut world, what);
            check_acts(&world);
        }
        prop_assert!(world.state.machine.timeline().len() <= MAX_TIMELINE);
        prop_assert!(world.state.machine.all_undone().len() <= MAX_UNDONE);
    }

    /// The same, where a writer insists on one bad release and the operator keeps dying.
    #[test]
    fn a_writer_that_insists_meets_two_acts_however_often_the_operator_dies(
        rounds in prop::collection::vec((1_u8..12, prop::option::of(0_u8..8), any::<bool>()), 3..14),
    ) {
        let mut world = World::new(Mode::Enforce);
        world.bad.insert(name(2));
        for (seconds, crash, restart) in rounds {
            world.apply("v2", "writer");
            world.crash_after = crash.map(usize::from);
            (0..seconds).for_each(|_| checked_second(&mut world));
            if restart {
                world.restart();
            }
            check_acts(&world);
        }
        prop_assert!(world.acts() <= 2);
    }

    /// Without crashes and faults, one step is the same twice: the machine keeps nothing outside of its state.
    #[test]
    fn a_state_that_was_stored_and_read_goes_on_alike(script in prop::collection::vec(happens(), 1..30)) {
        let (mut one, mut other) = (World::new(Mode::Enforce), World::new(Mode::Enforce));
        for what in script.iter().filter(|what| !matches!(what, Happens::CrashAfter(_) | Happens::Restart)) {
            play(&mut one, what);
            play(&mut other, what);
            let json = serde_json::to_vec(&other.state).expect("a state is JSON");
            other.state = serde_json::from_slice(&json).expect("the state reads back");
        }
        prop_assert_eq!(one.state, other.state);
        prop_assert_eq!(one.applied, other.applied);
    }

    /// A release that answers well is never undone, whatever else happens.
    #[test]
    fn a_release_that_answers_well_is_never_undone(script in prop::collection::vec(happens(), 1..60)) {
        let mut world = World::new(Mode::Enforce);
        for what in script.iter().filter(|what| !matches!(what, Happens::TurnsBad(_))) {
            play(&mut world, what);
        }
        prop_assert_eq!(world.acts() + world.refused.len(), 0);
    }
}

#[test]
fn after_a_cool_down_a_release_may_be_undone_again() {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert(name(2));
    for round in 1..=3 {
        world.apply("v2", "writer");
        world.seconds(10);
        assert_eq!(world.acts(), round);
        world.seconds(10);
        world.idle_minutes(10);
        assert_eq!(world.state_name(), "Idle");
    }
    assert!(world.applied.iter().all(|act| act.patch.record.count == 1));
    let cooldown = world.spec.rule().cooldown;
    assert!(world.applied[2].at.since(world.applied[0].at) > cooldown * 2);
}
