use serde_json::{Value, json};
use shoalwatch_core::Millis;

use super::*;
use crate::testing::{ApiServer, Asked, api_server};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/checkout";
const SETS: &str = "GET /apis/apps/v1/namespaces/shop/replicasets";
const REVIEW: &str = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

fn target() -> Target {
    Target {
        namespace: "shop".into(),
        name: "checkout".into(),
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "checkout"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn deployment(version: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "checkout", "namespace": "shop", "uid": "uid-1", "resourceVersion": version,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "managedFields": [applied_by_kubectl()],
        },
        "spec": {"replicas": 3, "template": template(image)},
    })
}

fn applied_by_kubectl() -> Value {
    json!({"manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-22T04:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": image_field()})
}

fn image_field() -> Value {
    json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {"f:image": {}}}}}}})
}

fn set(owner: &str, image: &str) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!("6c9f7");
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "checkout-6c9f7", "namespace": "shop",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout", "uid": owner, "controller": true}]},
        "spec": {"template": template},
    })
}

fn sets(items: &[Value]) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSetList", "metadata": {}, "items": items})
}

fn decided() -> rollback::Patch {
    let (from, to) = (release_id(&template("shop:2")), release_id(&template("shop:1")));
    rollback::Patch {
        target_uid: "uid-1".into(),
        resource_version: "41".into(),
        from: from.clone(),
        to_revision: "6c9f7".into(),
        record: RollbackRecord {
            from,
            to,
            slo: "shop/checkout".into(),
            time: Millis(1_800_000_000_000),
            count: 1,
        },
    }
}

/// Answers what comes before the patch: the target and the set to return to.
async fn show(server: &mut ApiServer, found: Value) {
    let asked = server.answer(|_| (200, found)).await;
    assert_eq!(asked.what, format!("GET {DEPLOYMENT}"));
    let asked = server.answer(|_| (200, sets(&[set("uid-1", "shop:1")]))).await;
    assert_eq!(asked.what, SETS);
    assert!(
        asked.query.contains("labelSelector=pod-template-hash%3D6c9f7"),
        "{}",
        asked.query
    );
}

async fn undo_against(script: impl AsyncFnOnce(&mut ApiServer)) -> Undone {
    let (client, mut server) = api_server();
    let (target, decided) = (target(), decided());
    let (undone, ()) = tokio::join!(undo(&client, &target, &decided), async {
        script(&mut server).await;
    });
    undone
}

async fn patch_refused_with(code: u16, then: impl AsyncFnOnce(&mut ApiServer)) -> PatchOutcome {
    let undone = undo_against(async |server| {
        show(server, deployment("41", "shop:2")).await;
        server.refuse(code, "Whatever").await;
        then(server).await;
    });
    undone.await.outcome
}

fn review(allowed: bool) -> impl FnOnce(&Asked) -> (u16, Value) {
    move |asked| {
        let mut answer = asked.body.clone();
        answer["status"] = json!({"allowed": allowed});
        (201, answer)
    }
}

#[tokio::test]
async fn a_release_is_undone_by_one_patch_under_the_version_that_was_judged() {
    let undone = undo_against(async |server| {
        show(server, deployment("41", "shop:2")).await;
        let asked = server.answer(|_| (200, deployment("42", "shop:1"))).await;
        assert_eq!(asked.what, format!("PATCH {DEPLOYMENT}"));
        assert_eq!(asked.content_type, "application/json-patch+json");
        assert!(
            asked.query.contains(&format!("fieldManager={}", names::FIELD_MANAGER)),
            "{}",
            asked.query
        );
        let proof = serde_json::to_string(&decided().record).unwrap();
        assert_eq!(
            asked.body,
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "41"},
                {"op": "replace", "path": "/spec/template", "value": template("shop:1")},
                {"op": "add", "path": "/metadata/annotations/shoalwatch.dev~1rollback", "value": proof},
            ])
        );
    })
    .await;
    assert_eq!(undone.outcome, PatchOutcome::Applied);
    let (after, before) = *undone.after.unwrap();
    assert_eq!(after.metadata.resource_version.as_deref(), Some("42"));
    assert_eq!(json!(before), json!([applied_by_kubectl()]));
}

#[tokio::test]
async fn a_target_without_annotations_gets_the_first_one() {
    undo_against(async |server| {
        let mut bare = deployment("41", "shop:2");
        bare["metadata"]["annotations"] = Value::Null;
        show(server, bare).await;
        let asked = server.answer(|_| (200, deployment("42", "shop:1"))).await;
        assert_eq!(asked.body[2]["path"], "/metadata/annotations");
        assert!(asked.body[2]["value"]["shoalwatch.dev/rollback"].is_string());
    })
    .await;
}

#[tokio::test]
async fn what_is_not_as_it_was_judged_is_not_patched() {
    let mut paused = deployment("41", "shop:2");
    paused["spec"]["paused"] = json!(true);
    let mut deleting = deployment("41", "shop:2");
    deleting["metadata"]["deletionTimestamp"] = json!("2026-11-22T04:00:00Z");
    let mut successor = deployment("41", "shop:2");
    successor["metadata"]["uid"] = json!("uid-2");
    let others = [
        deployment("42", "shop:2"),
        deployment("41", "shop:3"),
        paused,
        deleting,
        successor,
    ];
    for found in others {
        let undone = undo_against(async |server| show(server, found).await).await;
        assert_eq!(undone.outcome, PatchOutcome::Conflict);
        assert!(undone.after.is_none());
    }
}

#[tokio::test]
async fn a_set_that_is_gone_or_somebody_elses_is_nothing_to_return_to() {
    for items in [vec![], vec![set("uid-2", "shop:1")], vec![set("uid-1", "shop:0")]] {
        let undone = undo_against(async |server| {
            server.answer(|_| (200, deployment("41", "shop:2"))).await;
            server.answer(|_| (200, sets(&items))).await;
        });
        assert_eq!(undone.await.outcome, PatchOutcome::Conflict);
    }
}

#[tokio::test]
async fn a_target_changed_meanwhile_is_a_conflict() {
    for code in [409, 422] {
        let outcome = patch_refused_with(code, async |server| {
            server.answer(|_| (200, deployment("43", "shop:2"))).await;
        });
        assert_eq!(outcome.await, PatchOutcome::Conflict, "{code}");
    }
}

#[tokio::test]
async fn an_act_whose_answer_got_lost_is_recognised() {
    let outcome = patch_refused_with(422, async |server| {
        let mut mine = deployment("43", "shop:1");
        mine["metadata"]["annotations"][names::ROLLBACK_ANNOTATION] = json!(json!(decided().record).to_string());
        server.answer(|_| (200, mine)).await;
    });
    assert_eq!(outcome.await, PatchOutcome::Applied);
}

#[tokio::test]
async fn a_patch_that_the_server_does_not_want_is_rejected() {
    let outcome = patch_refused_with(422, async |server| {
        server.answer(|_| (200, deployment("41", "shop:2"))).await;
    });
    assert_eq!(outcome.await, PatchOutcome::Rejected("Whatever".into()));
}

#[tokio::test]
async fn a_missing_right_is_told_from_a_webhook_that_refuses() {
    let denied = patch_refused_with(403, async |server| {
        assert_eq!(server.answer(review(false)).await.what, REVIEW);
    });
    assert_eq!(denied.await, PatchOutcome::Forbidden("Whatever".into()));
    let webhook = patch_refused_with(403, async |server| {
        server.answer(review(true)).await;
    });
    assert_eq!(webhook.await, PatchOutcome::Rejected("Whatever".into()));
}

#[tokio::test]
async fn a_target_that_is_gone_is_not_found() {
    let undone = undo_against(async |server| {
        server.refuse(404, "NotFound").await;
    });
    assert_eq!(undone.await.outcome, PatchOutcome::NotFound);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_neither_success_nor_failure() {
    let failing = patch_refused_with(500, async |_| {}).await;
    assert_eq!(failing, PatchOutcome::Unknown("Whatever".into()));
    let (client, _silent) = api_server();
    let undone = undo(&client, &target(), &decided()).await;
    assert!(
        matches!(undone.outcome, PatchOutcome::Unknown(_)),
        "{:?}",
        undone.outcome
    );
}

fn taken(version: &str) -> Value {
    let mut found = deployment(version, "shop:1");
    let mut owned = image_field();
    owned["f:metadata"] = json!({"f:annotations": {"f:shoalwatch.dev/rollback": {}}});
    found["metadata"]["managedFields"] = json!([{"manager": names::FIELD_MANAGER, "operation": "Update",
        "apiVersion": "apps/v1", "time": "2026-11-22T05:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": owned}]);
    found
}

fn managed(entry: Value) -> ManagedFieldsEntry {
    serde_json::from_value(entry).unwrap()
}

#[tokio::test]
async fn the_managers_are_put_back_under_the_version_they_were_computed_for() {
    let (client, mut server) = api_server();
    let (target, before) = (target(), [managed(applied_by_kubectl())]);
    let (done, ()) = tokio::join!(give_back(&client, &target, Some(&before)), async {
        server.answer(|_| (200, taken("50"))).await;
        // The Deployment controller wrote in between.
        server.refuse(422, "Invalid").await;
        server.answer(|_| (200, taken("51"))).await;
        let asked = server.answer(|_| (200, deployment("52", "shop:1"))).await;
        assert_eq!(
            asked.body[0],
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": "51"})
        );
        assert_eq!(asked.body[1]["path"], "/metadata/managedFields");
        let entries = &asked.body[1]["value"];
        assert_eq!(entries[0], applied_by_kubectl());
        assert_eq!(entries[1]["time"], "2026-11-22T05:00:00Z");
        assert_eq!(
            entries[1]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {"f:shoalwatch.dev/rollback": {}}}})
        );
    });
    assert!(done.unwrap());
}

#[tokio::test]
async fn managers_that_are_right_are_left_alone() {
    let (client, mut server) = api_server();
    let target = target();
    let (done, _) = tokio::join!(
        give_back(&client, &target, None),
        server.answer(|_| (200, deployment("52", "shop:1")))
    );
    assert!(done.unwrap());
}

#[tokio::test]
async fn somebody_who_never_stops_writing_is_not_fought_for_ever() {
    let (client, mut server) = api_server();
    let target = target();
    let (done, ()) = tokio::join!(give_back(&client, &target, None), async {
        for _ in 0..GIVE_BACK_ATTEMPTS {
            server.answer(|_| (200, taken("50"))).await;
            server.refuse(409, "Conflict").await;
        }
    });
    assert!(!done.unwrap());
}
