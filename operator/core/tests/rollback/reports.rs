//! What a dry run would have come to, and what is said of targets that Git rules.

use shoalwatch_core::release::{GitOps, GitOpsTool};
use shoalwatch_core::rollback::{DryRunOutcome, MAX_REPORTED};
use shoalwatch_core::spec::Mode;

use crate::world::World;

fn rows(world: &World) -> Vec<(&str, DryRunOutcome)> {
    let rows = world.state.machine.dry_run().rows().iter();
    rows.map(|row| (row.release.as_str(), row.outcome)).collect()
}

fn message(world: &World) -> &str {
    let last = world.last.as_ref().expect("a look");
    &last.conditions.last().expect("conditions").message
}

#[test]
fn a_dry_run_tells_of_every_release_what_would_have_become_of_it_and_why() {
    let mut world = World::new(Mode::DryRun);
    world.apply("v2", "kubectl");
    world.seconds(605);
    world.bad.insert("v3".into());
    world.apply("v3", "kubectl");
    world.seconds(30);
    world.apply("v4", "kubectl");
    world.seconds(30);
    world.apply("v5", "kubectl");
    world.seconds(5);
    let expected = [
        ("v2", DryRunOutcome::Promoted),
        ("v3", DryRunOutcome::WouldHaveUndone),
        ("v4", DryRunOutcome::Replaced),
        ("v5", DryRunOutcome::InProbation),
    ];
    assert_eq!(rows(&world), expected);
    let report = world.state.machine.dry_run();
    assert_eq!((report.would_have_undone(), report.judged()), (1, 4));
    assert!(report.rows()[1].why.contains("bad of"), "{:?}", report.rows()[1]);
    assert_eq!(report.rows()[2].why, "release v5 came before the end");
    assert_eq!(world.acts(), 0);
    let said = message(&world);
    assert!(said.ends_with("it would have undone 1 of 4 releases so far"), "{said}");
}

#[test]
fn a_release_that_served_nobody_is_told_of_when_its_probation_is_over() {
    let mut world = World::new(Mode::DryRun);
    world.rate = 0;
    world.apply("v2", "kubectl");
    world.seconds(1);
    world.idle_minutes(31);
    assert_eq!(rows(&world), [("v2", DryRunOutcome::ProbationOver)]);
}

#[test]
fn what_acts_for_real_is_no_dry_run() {
    let mut world = World::new(Mode::Enforce);
    world.bad.insert("v2".into());
    world.apply("v2", "kubectl");
    world.seconds(30);
    assert_eq!(world.state.machine.dry_run().judged(), 0);
}

#[test]
fn a_release_that_was_there_before_the_dry_run_counts_once_it_would_be_undone() {
    let mut world = World::new(Mode::Off);
    world.apply("v2", "kubectl");
    world.seconds(5);
    world.set_mode(Mode::DryRun);
    world.seconds(5);
    assert_eq!(rows(&world), []);
    world.bad.insert("v2".into());
    world.seconds(30);
    assert_eq!(rows(&world), [("v2", DryRunOutcome::WouldHaveUndone)]);
    assert_eq!(world.state.machine.dry_run().judged(), 1);
}

#[test]
fn the_report_counts_all_and_keeps_the_last() {
    let mut world = World::new(Mode::DryRun);
    for number in 2..40 {
        world.apply(&format!("v{number}"), "kubectl");
        world.seconds(1);
    }
    assert_eq!(rows(&world).len(), MAX_REPORTED);
    assert_eq!(world.state.machine.dry_run().judged(), 38);
    let stored = serde_json::to_string(&world.state).unwrap();
    world.restart();
    assert_eq!(
        serde_json::to_string(&world.state).unwrap(),
        stored,
        "it survives the operator"
    );
}

#[test]
fn a_target_that_git_rules_says_so_before_anything_happens() {
    let mut world = World::new(Mode::Enforce);
    world.target.gitops = Some(GitOps {
        tool: GitOpsTool::ArgoCd,
        owner: "shop".to_owned(),
    });
    world.seconds(1);
    assert_eq!(world.ready_reason(), "ManagedByGitOps");
    let said = message(&world);
    assert!(
        said.contains("Argo CD (Application shop)") && said.contains("at most twice"),
        "{said}"
    );
}
