use serde_json::{Value, json};

use super::*;

fn object(json: Value) -> DynamicObject {
    serde_json::from_value(json).unwrap()
}

fn deployment(version: &str, paused: bool) -> DynamicObject {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1", "resourceVersion": version},
        "spec": {"paused": paused, "template": {}},
    }))
}

fn set(name: &str, owner: &str, ready: u32) -> DynamicObject {
    object(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "shop", "labels": {"pod-template-hash": name},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": owner, "controller": true}]},
        "spec": {"template": {}},
        "status": {"readyReplicas": ready},
    }))
}

fn checkout() -> Name {
    Name {
        namespace: "shop".into(),
        name: "checkout".into(),
    }
}

fn apply(world: &mut World, wrap: fn(Box<Event<DynamicObject>>) -> Change, event: Event<DynamicObject>) {
    world.apply(wrap(Box::new(event)), Millis(0));
}

fn sets_of(world: &World, owner: &str) -> Vec<String> {
    world
        .replica_sets_of(owner)
        .map(|set| set.revision.to_string())
        .collect()
}

#[test]
fn an_answer_that_overtook_the_watch_is_not_taken_back() {
    let mut world = World::default();
    apply(&mut world, Change::Deployment, Event::Apply(deployment("9", false)));
    world.refresh(&checkout(), Some(deployment("10", true)));
    apply(&mut world, Change::Deployment, Event::Apply(deployment("9", false)));
    assert!(world.deployments.get(&checkout()).unwrap().paused);
    apply(&mut world, Change::Deployment, Event::Apply(deployment("11", false)));
    assert!(!world.deployments.get(&checkout()).unwrap().paused);
    world.refresh(&checkout(), None);
    assert!(world.deployments.get(&checkout()).is_none());
}

#[test]
fn a_new_list_takes_away_what_is_not_in_it_and_nothing_before_it_is_whole() {
    let mut world = World::default();
    apply(&mut world, Change::ReplicaSet, Event::Apply(set("a", "uid-1", 1)));
    apply(&mut world, Change::ReplicaSet, Event::Init);
    apply(&mut world, Change::ReplicaSet, Event::InitApply(set("b", "uid-1", 1)));
    assert_eq!(sets_of(&world, "uid-1"), ["a"]);
    apply(&mut world, Change::ReplicaSet, Event::InitDone);
    assert_eq!(sets_of(&world, "uid-1"), ["b"]);
}

#[test]
fn a_set_is_found_by_its_deployment_until_it_is_gone() {
    let mut world = World::default();
    for (name, owner) in [("a", "uid-1"), ("b", "uid-1"), ("c", "uid-2")] {
        apply(&mut world, Change::ReplicaSet, Event::Apply(set(name, owner, 1)));
    }
    apply(&mut world, Change::ReplicaSet, Event::Delete(set("a", "uid-1", 0)));
    assert_eq!(sets_of(&world, "uid-1"), ["b"]);
    assert_eq!(sets_of(&world, "uid-2"), ["c"]);
}

#[test]
fn a_set_without_a_deployment_is_of_no_interest() {
    let mut world = World::default();
    let mut orphan = set("a", "uid-1", 1);
    orphan.metadata.owner_references = None;
    apply(&mut world, Change::ReplicaSet, Event::Apply(orphan));
    assert_eq!(world.replica_sets.iter().count(), 0);
}

#[test]
fn who_wrote_the_template_last_is_known_by_the_managers() {
    let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
    let mut written = deployment("1", false);
    written.metadata.managed_fields = serde_json::from_value(json!([
        entry("kubectl", "2026-11-22T04:00:00Z", json!({"f:spec": {"f:template": {}}})),
        entry("argocd", "2026-11-22T04:30:00Z", json!({"f:spec": {"f:template": {}}})),
        entry("hpa", "2026-11-22T05:00:00Z", json!({"f:spec": {"f:replicas": {}}})),
        entry(
            shoalwatch_crds::names::FIELD_MANAGER,
            "2026-11-22T06:00:00Z",
            json!({"f:spec": {"f:template": {}}})
        ),
    ]))
    .unwrap();
    let mut world = World::default();
    world.refresh(&checkout(), Some(written));
    let view = world.deployments.get(&checkout()).unwrap();
    assert_eq!(view.writer.as_deref(), Some("argocd"));
}

#[test]
fn targets_are_unknown_until_both_lists_are_whole_unless_nobody_may_look() {
    let mut world = World::default();
    for kind in [Change::Deployment, Change::ReplicaSet] {
        assert!(!world.workloads_synced());
        apply(&mut world, kind, Event::Init);
        apply(&mut world, kind, Event::InitDone);
    }
    assert!(world.workloads_synced());
    let mut forbidden = World::default();
    forbidden.apply(Change::Forbidden("Deployment", true), Millis(0));
    forbidden.apply(Change::Forbidden("ReplicaSet", true), Millis(0));
    forbidden.apply(Change::Forbidden("Deployment", false), Millis(0));
    assert!(forbidden.workloads_synced() && forbidden.workloads_forbidden());
}
