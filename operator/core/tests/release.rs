//! Roles of releases.

mod support;

use std::time::Duration;

use shoalwatch_core::release::{Change, Ledger, MAX_RELEASES, NoTarget, RevisionSnapshot, Role, TargetSnapshot};
use shoalwatch_core::{Millis, ReleaseId};

const START: Millis = Millis(1_800_000_000_000);
const PROBATION: Duration = Duration::from_mins(30);

fn at(minutes: u64) -> Millis {
    START.plus(Duration::from_mins(minutes))
}

/// A target that runs `current`, with {release, ready pods} revisions created a minute apart.
fn target(current: &str, revisions: &[(&str, u32)]) -> TargetSnapshot {
    let revision = |(number, (release, ready)): (usize, &(&str, u32))| RevisionSnapshot {
        ready_pods: *ready,
        reporting_pods: *ready,
        ..support::revision(release, &format!("{release}-{number}"), at(number as u64))
    };
    support::target(current, revisions.iter().enumerate().map(revision).collect())
}

fn seen(target: &TargetSnapshot) -> Ledger {
    let mut ledger = Ledger::default();
    assert!(
        ledger.observe(target, PROBATION, START).is_empty(),
        "first sight is no change"
    );
    ledger
}

fn id(name: &str) -> ReleaseId {
    name.into()
}

#[test]
fn the_only_release_at_first_sight_is_known_good() {
    assert_eq!(
        seen(&target("v1", &[("v0", 0), ("v1", 2)])).role(&id("v1")),
        Role::KnownGood
    );
    assert_eq!(seen(&target("v1", &[])).role(&id("v1")), Role::KnownGood, "no pod yet");
}

#[test]
fn of_two_live_ones_at_first_sight_none_is_known() {
    for live in [[("v1", 2), ("v2", 1)], [("v1", 2), ("v2", 0)]] {
        let target = target("v2", &live);
        let ledger = seen(&target);
        assert_eq!(
            (ledger.role(&id("v1")), ledger.role(&id("v2"))),
            (Role::Other, Role::Probation)
        );
        assert_eq!(
            ledger.return_target(&target, &id("v2")).unwrap_err(),
            NoTarget::NoKnownGood
        );
    }
}

#[test]
fn probation_begins_with_the_first_ready_pod() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    let pending = target("v2", &[("v1", 2), ("v2", 0)]);
    assert_eq!(
        ledger.observe(&pending, PROBATION, at(1)),
        [Change::ProbationStarted(id("v2"))]
    );
    assert!(
        ledger.observe(&pending, PROBATION, at(500)).is_empty(),
        "no pod was ready yet"
    );
    let ready = target("v2", &[("v1", 2), ("v2", 1)]);
    ledger.observe(&ready, PROBATION, at(501));
    assert_eq!(ledger.get(&id("v2")).unwrap().first_ready_at, Some(at(501)));
    assert!(ledger.observe(&ready, PROBATION, at(530)).is_empty());
    assert_eq!(
        ledger.observe(&ready, PROBATION, at(531)),
        [Change::ProbationOver(id("v2"))]
    );
    assert_eq!(ledger.role(&id("v2")), Role::Other);
}

#[test]
fn a_known_time_of_the_first_ready_pod_is_used() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    let mut ready = target("v2", &[("v1", 2), ("v2", 1)]);
    ledger.observe(&target("v2", &[("v1", 2)]), PROBATION, at(5));
    ready.revisions[1].first_ready_at = Some(at(6));
    ledger.observe(&ready, PROBATION, at(9));
    assert_eq!(ledger.get(&id("v2")).unwrap().first_ready_at, Some(at(6)));
}

#[test]
fn a_release_that_comes_back_is_on_probation_again_unless_it_is_known_good() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    let second = target("v2", &[("v1", 0), ("v2", 2)]);
    ledger.observe(&second, PROBATION, at(1));
    let mut first = target("v1", &[("v1", 2), ("v2", 0)]);
    assert!(ledger.observe(&first, PROBATION, at(10)).is_empty(), "v1 is known good");
    assert_eq!(ledger.observe(&second, PROBATION, at(20)), [Change::Returned(id("v2"))]);
    assert_eq!(ledger.get(&id("v2")).unwrap().first_ready_at, Some(at(20)));
    first.release = id("v2");
    assert!(
        ledger.observe(&second, PROBATION, at(21)).is_empty(),
        "it did not leave"
    );
}

#[test]
fn the_known_good_release_that_served_last_is_returned_to() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    ledger.observe(&target("v2", &[("v1", 0), ("v2", 2)]), PROBATION, at(1));
    assert_eq!(ledger.promote(&id("v2")), Some(Change::Promoted(id("v2"))));
    assert_eq!(ledger.promote(&id("v2")), None);
    let third = target("v3", &[("v1", 0), ("v2", 1), ("v2", 0), ("v3", 1)]);
    ledger.observe(&third, PROBATION, at(60));
    let (release, revision) = ledger.return_target(&third, &id("v3")).unwrap();
    assert_eq!(
        (release.as_str(), revision.revision.as_str()),
        ("v2", "v2-2"),
        "its newest ReplicaSet"
    );
    let without = target("v3", &[("v3", 1)]);
    assert_eq!(
        ledger.return_target(&without, &id("v3")).unwrap_err(),
        NoTarget::NoHistory
    );
    assert_eq!(ledger.stable_beside(&id("v3"), &third), Some(&id("v2")));
    assert_eq!(ledger.stable_beside(&id("v3"), &without), None);
}

#[test]
fn an_accepted_release_is_known_good() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    let mut accepted = target("v2", &[("v1", 0), ("v2", 2)]);
    accepted.accept = Some("v2".to_owned());
    let changes = ledger.observe(&accepted, PROBATION, at(1));
    assert_eq!(
        changes,
        [Change::ProbationStarted(id("v2")), Change::Accepted(id("v2"))]
    );
    assert_eq!(ledger.role(&id("v2")), Role::KnownGood);
}

#[test]
fn a_target_made_again_forgets_everything() {
    let mut ledger = seen(&target("v1", &[("v1", 2)]));
    let mut again = target("v2", &[("v2", 2)]);
    again.uid = "other".to_owned();
    assert_eq!(ledger.observe(&again, PROBATION, at(1)), [Change::TargetReplaced]);
    assert_eq!(
        (ledger.role(&id("v1")), ledger.role(&id("v2"))),
        (Role::Other, Role::KnownGood)
    );
}

#[test]
fn the_ledger_is_bounded_and_keeps_the_newest_known_good_release() {
    let mut ledger = seen(&target("good", &[("good", 2)]));
    for number in 1..100 {
        let name = format!("v{number}");
        ledger.observe(&target(&name, &[(&name, 1)]), PROBATION, at(number));
        assert!(ledger.releases().len() <= MAX_RELEASES);
        assert_eq!(ledger.role(&id(&name)), Role::Probation);
    }
    assert_eq!(ledger.role(&id("good")), Role::KnownGood);
    assert_eq!(ledger.releases().len(), MAX_RELEASES);
}

#[test]
fn a_look_that_shows_nothing_new_changes_nothing() {
    let target = target("v1", &[("v1", 2)]);
    let mut ledger = seen(&target);
    let before = ledger.clone();
    ledger.observe(&target, PROBATION, at(5));
    assert_eq!(ledger, before, "nothing to store");
}
