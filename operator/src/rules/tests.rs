use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::burn::Alerts;
use shoalwatch_core::policy::HttpStatus;
use shoalwatch_core::rules::{Measure, Promise, render};

use super::*;
use crate::testing::{ApiServer, api_server, failure};

fn wanted(kind: RulesKind) -> Wanted {
    let objective = "99.9".parse().unwrap();
    let window = Duration::from_hours(24 * 30);
    let alerts = Alerts::defaults(objective, window);
    let (bad, routes) = (BTreeSet::from([HttpStatus::Class(5)]), BTreeSet::new());
    let subject = Subject {
        namespace: "shop",
        slo: "checkout",
        workload: "checkout",
        container: "",
        routes: &routes,
        measure: Measure::Bad(&bad),
    };
    let promise = Promise {
        objective,
        window,
        tiers: &alerts.tiers,
    };
    let file = render(&subject, &promise).unwrap().file;
    let labels = [("release".to_owned(), "prometheus".to_owned())].into();
    Wanted::new(kind, &subject, &labels, file, "uid-1")
}

const RULE: &str = "/apis/monitoring.coreos.com/v1/namespaces/shop/prometheusrules/slo-checkout";
const MAP: &str = "/api/v1/namespaces/shop/configmaps/slo-checkout";

fn owned_by(owner: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slo-checkout", "uid": "uid-of-rules",
        "ownerReferences": [{"apiVersion": "a/v1", "kind": "SLO", "name": "checkout", "uid": owner}]}})
}

/// Writes, or with `obsolete` removes, while `answers` are given in turn to the requests named.
async fn with(
    kind: RulesKind,
    remove: bool,
    answers: Vec<(&str, u16, Value)>,
) -> (Result<(), Refusal>, Vec<crate::testing::Asked>) {
    let (client, server) = api_server();
    let answering = tokio::spawn(answer_all(
        server,
        answers
            .into_iter()
            .map(|(what, code, body)| (what.to_owned(), code, body))
            .collect(),
    ));
    let pen = Pen {
        client: &client,
        home: "shoalwatch-system",
    };
    let wanted = wanted(kind);
    let done = if remove {
        pen.remove(&wanted.written(), "shop", "uid-1").await
    } else {
        pen.write(&wanted).await
    };
    (done, answering.await.unwrap())
}

async fn answer_all(mut server: ApiServer, answers: Vec<(String, u16, Value)>) -> Vec<crate::testing::Asked> {
    let mut all = Vec::new();
    for (what, code, body) in answers {
        let asked = server.answer(|_| (code, body)).await;
        assert_eq!(asked.what, what);
        all.push(asked);
    }
    all
}

fn get(path: &str) -> String {
    format!("GET {path}")
}

fn patch(path: &str) -> String {
    format!("PATCH {path}")
}

#[tokio::test]
async fn a_prometheus_rule_is_applied_without_force_and_belongs_to_its_slo() {
    let (get, patch) = (get(RULE), patch(RULE));
    let answers = vec![
        (get.as_str(), 404, failure(404, "NotFound")),
        (patch.as_str(), 201, owned_by("uid-1")),
    ];
    let (done, asked) = with(RulesKind::PrometheusRule, false, answers).await;
    done.unwrap();
    let written = &asked[1];
    assert_eq!(written.content_type, "application/apply-patch+yaml");
    assert!(!written.query.contains("force"), "{}", written.query);
    assert_eq!(written.body["kind"], "PrometheusRule");
    assert_eq!(written.body["apiVersion"], "monitoring.coreos.com/v1");
    let metadata = &written.body["metadata"];
    assert_eq!(metadata["labels"], json!({"release": "prometheus"}));
    let owner = &metadata["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("SLO"), &json!("uid-1")));
    let rules = written.body["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.iter().filter(|rule| rule["alert"] == "SLOBudgetBurns").count(), 4);
}

#[tokio::test]
async fn a_config_map_holds_one_rule_file_of_a_name_that_no_other_namespace_has() {
    let (get, patch) = (get(MAP), patch(MAP));
    let answers = vec![
        (get.as_str(), 200, owned_by("uid-1")),
        (patch.as_str(), 200, owned_by("uid-1")),
    ];
    let (done, asked) = with(RulesKind::ConfigMap, false, answers).await;
    done.unwrap();
    let text = asked[1].body["data"]["shop.checkout.rules.yaml"].as_str().unwrap();
    let file: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(file, json!(wanted(RulesKind::ConfigMap).file));
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_touched() {
    let get = get(MAP);
    let (done, asked) = with(
        RulesKind::ConfigMap,
        false,
        vec![(get.as_str(), 200, owned_by("other"))],
    )
    .await;
    let refusal = done.unwrap_err();
    assert_eq!((refusal.reason(), asked.len()), ("NotOwned", 1));
    let (done, _) = with(RulesKind::ConfigMap, true, vec![(get.as_str(), 200, owned_by("other"))]).await;
    done.unwrap();
}

#[tokio::test]
async fn a_cluster_without_the_prometheus_operator_is_told_what_to_do() {
    let (get, patch) = (get(RULE), patch(RULE));
    let missing = || failure(404, "NotFound");
    let answers = vec![(get.as_str(), 404, missing()), (patch.as_str(), 404, missing())];
    let refusal = with(RulesKind::PrometheusRule, false, answers).await.0.unwrap_err();
    assert_eq!(refusal.reason(), "NoPrometheusOperator");
    assert!(
        refusal.to_string().contains("install the Prometheus Operator"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_missing_right_and_a_field_that_somebody_else_took_are_told_with_what_to_do() {
    let (get, patch) = (get(RULE), patch(RULE));
    let answers = vec![(get.as_str(), 403, failure(403, "Forbidden"))];
    let refusal = with(RulesKind::PrometheusRule, false, answers).await.0.unwrap_err();
    let told = refusal.to_string();
    let remedy = "kubectl create rolebinding shoalwatch-prometheus-rules -n shop --clusterrole=shoalwatch-prometheus-rules \
                  --serviceaccount=shoalwatch-system:shoalwatch-operator";
    assert!(told.ends_with(remedy), "{told}");

    let who = "Apply failed with 1 conflict: conflict with \"kubectl\": .spec.groups";
    let mut taken = failure(409, "Conflict");
    taken["message"] = json!(who);
    let answers = vec![(get.as_str(), 200, owned_by("uid-1")), (patch.as_str(), 409, taken)];
    let refusal = with(RulesKind::PrometheusRule, false, answers).await.0.unwrap_err();
    assert_eq!(refusal.reason(), "Conflict");
    assert!(refusal.to_string().ends_with(who), "{refusal}");
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_removed_and_its_successor_is_not() {
    let (get, delete) = (get(MAP), format!("DELETE {MAP}"));
    let answers = vec![
        (get.as_str(), 200, owned_by("uid-1")),
        (delete.as_str(), 200, owned_by("uid-1")),
    ];
    let (done, asked) = with(RulesKind::ConfigMap, true, answers).await;
    done.unwrap();
    assert_eq!(asked[1].body["preconditions"]["uid"], "uid-of-rules");
    let answers = vec![(get.as_str(), 404, failure(404, "NotFound"))];
    with(RulesKind::ConfigMap, true, answers).await.0.unwrap();
}

#[test]
fn a_name_that_is_too_long_stays_unique() {
    let long = |last: char| fitting(format!("slo-{}{last}", "a".repeat(252)));
    assert_eq!(long('a').len(), NAME);
    assert_ne!(long('a'), long('b'));
    assert_eq!(fitting("slo-checkout".to_owned()), "slo-checkout");
}
