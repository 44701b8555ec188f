//! What a real API server has of the operator's statuses.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_came_to_is_in_its_status() {
    let Some(cluster) = cluster("policy").await else { return };
    let policies: Api<SamplingPolicy> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let policy = json!({"apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SamplingPolicy", "metadata": {"name": "all"},
        "spec": {"probability": "0.5", "rules": [
            {"name": "slow", "match": {"durationAtLeast": "1s"}, "probability": "1"}]}});
    policies
        .patch("all", &PatchParams::apply("kubectl"), &Patch::Apply(policy))
        .await
        .unwrap();
    eventually("the policy waits for its node", async || {
        let status = policies.get("all").await.unwrap().status.unwrap_or_default();
        let programmed = conditions::get(&status.conditions, names::CONDITION_PROGRAMMED);
        conditions::holds(&status.conditions, names::CONDITION_ACCEPTED)
            && programmed.is_some_and(|condition| condition.reason == "Pending")
            && status.applied.as_deref() == Some("0/1")
            && status.rules == Some(1)
    })
    .await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_owned_by_the_operator_and_an_unchanged_one_is_not_written_again() {
    let Some(cluster) = cluster("status").await else { return };
    cluster.write_slo("Off").await;
    eventually("the status is written", async || {
        cluster.holds(names::CONDITION_ACCEPTED).await
    })
    .await;
    eventually("the missing target is named", async || {
        let status = cluster.slo().await.status.unwrap_or_default();
        conditions::get(&status.conditions, names::CONDITION_ROLLBACK_READY).is_some()
    })
    .await;
    let first = cluster.slo().await;
    let owner = json!(first.metadata.managed_fields);
    let owner = owner
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["subresource"] == "status")
        .cloned()
        .unwrap();
    assert_eq!(
        (&owner["manager"], &owner["operation"]),
        (&json!(names::FIELD_MANAGER), &json!("Apply"))
    );
    sleep(Duration::from_secs(3)).await;
    assert_eq!(cluster.slo().await.resource_version(), first.resource_version());
    cluster.finish().await;
}
