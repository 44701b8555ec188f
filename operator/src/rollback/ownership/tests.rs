use serde_json::{Value, json};

use super::*;

const IMAGE: &str = r#"{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{"f:image":{}}}}}}}"#;

fn entry(manager: &str, operation: &str, fields: &Value) -> ManagedFieldsEntry {
    let json = json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1",
        "time": "2026-11-22T04:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
    serde_json::from_value(json).unwrap()
}

fn image() -> Value {
    serde_json::from_str(IMAGE).unwrap()
}

fn annotation() -> Value {
    json!({"f:metadata": {"f:annotations": {"f:shoalwatch.dev/rollback": {}}}})
}

fn merged(one: &Value, other: &Value) -> Value {
    FieldSet::parse(one).union(&FieldSet::parse(other)).render()
}

fn ours(fields: &Value) -> ManagedFieldsEntry {
    entry(names::FIELD_MANAGER, "Update", fields)
}

fn of<'a>(entries: &'a [ManagedFieldsEntry], manager: &str) -> Option<&'a Value> {
    entries
        .iter()
        .find(|entry| entry.manager.as_deref() == Some(manager))?
        .fields_v1
        .as_ref()
        .map(|fields| &fields.0)
}

#[test]
fn the_list_is_as_it_was_found_but_for_the_annotation() {
    for operation in ["Apply", "Update"] {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let applier = entry("kubectl", operation, &merged(&replicas, &image()));
        let controller = entry(
            "kube-controller-manager",
            "Update",
            &json!({"f:status": {"f:replicas": {}}}),
        );
        let before = [applier.clone(), controller.clone()];
        let now = [
            entry("kubectl", operation, &replicas),
            controller.clone(),
            ours(&merged(&annotation(), &image())),
        ];
        let after = given_back(Some(&before), &now).unwrap();
        assert_eq!(after, [applier, controller, ours(&annotation())]);
    }
}

#[test]
fn a_manager_that_lost_its_last_field_comes_back_with_its_time() {
    let before = [entry("argocd-controller", "Apply", &image())];
    let now = [ours(&merged(&annotation(), &image()))];
    let after = given_back(Some(&before), &now).unwrap();
    assert!(after.contains(&before[0]));
}

#[test]
fn a_field_that_only_the_good_template_has_goes_to_the_one_who_applies_the_template() {
    let debug = json!({"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}});
    let before = [entry("kubectl", "Apply", &image())];
    let now = [
        entry("kubectl", "Apply", &image()),
        ours(&merged(&annotation(), &debug)),
    ];
    let after = given_back(Some(&before), &now).unwrap();
    assert_eq!(of(&after, "kubectl"), Some(&merged(&image(), &debug)));
    assert_eq!(of(&after, names::FIELD_MANAGER), Some(&annotation()));
}

#[test]
fn after_a_crash_between_the_patches_the_template_goes_to_its_applier() {
    let name = json!({"f:spec": {"f:template": {"f:metadata": {"f:labels": {"f:app": {}}}}}});
    let now = [entry("kubectl", "Apply", &name), ours(&merged(&annotation(), &image()))];
    let after = given_back(None, &now).unwrap();
    assert_eq!(of(&after, "kubectl"), Some(&merged(&name, &image())));
}

#[test]
fn what_somebody_took_meanwhile_stays_theirs() {
    let before = [entry("kubectl", "Apply", &image())];
    let now = [
        entry("somebody", "Update", &image()),
        ours(&merged(&annotation(), &json!({"f:spec": {"f:paused": {}}}))),
    ];
    let after = given_back(Some(&before), &now).unwrap();
    assert_eq!(of(&after, "kubectl"), None, "the image is somebody's now");
    assert_eq!(of(&after, "somebody"), Some(&image()));
}

#[test]
fn nothing_is_written_when_the_operator_owns_its_annotation_only() {
    assert_eq!(
        given_back(None, &[ours(&annotation()), entry("kubectl", "Apply", &image())]),
        None
    );
    assert_eq!(given_back(None, &[entry("kubectl", "Apply", &image())]), None);
}

#[test]
fn another_subresource_of_the_same_name_is_not_touched() {
    let mut status = ours(&json!({"f:status": {"f:replicas": {}}}));
    status.subresource = Some("status".to_owned());
    let after = given_back(None, &[status.clone(), ours(&image())]).unwrap();
    assert!(after.contains(&status));
}
