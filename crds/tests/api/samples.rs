//! The samples in `manifests/samples`, and what defaults make of a short object.

use std::fs;
use std::path::Path;

use kube::core::cel::{Validator, apply_defaults};
use kube::core::{CustomResourceExt, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shoalwatch_crds::names::{GROUP, VERSION};
use shoalwatch_crds::slo::{RollbackMode, default_alerts};
use shoalwatch_crds::{SamplingPolicy, Slo, definition};

fn sample<K: DeserializeOwned>(name: &str) -> (Value, K) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests/samples")
        .join(name);
    let text = fs::read_to_string(path).unwrap();
    (
        serde_saphyr::from_str(&text).unwrap(),
        serde_saphyr::from_str(&text).unwrap(),
    )
}

pub(super) fn schema<K: CustomResourceExt>() -> Value {
    let definition = serde_json::to_value(definition::<K>()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What of `written` the type did not take over.
fn lost(path: &str, written: &Value, typed: &Value) -> Vec<String> {
    match (written, typed) {
        (Value::Object(written), Value::Object(typed)) => written
            .iter()
            .flat_map(|(key, value)| lost(&format!("{path}.{key}"), value, typed.get(key).unwrap_or(&Value::Null)))
            .collect(),
        (Value::Array(written), Value::Array(typed)) if written.len() == typed.len() => {
            let pairs = written.iter().zip(typed).enumerate();
            pairs
                .flat_map(|(index, (written, typed))| lost(&format!("{path}[{index}]"), written, typed))
                .collect()
        }
        _ if written == typed => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

fn is_taken_whole_and_accepted<K>(name: &str)
where
    K: CustomResourceExt + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let (written, typed) = sample::<K>(name);
    assert_eq!(written["apiVersion"], json!(format!("{GROUP}/{VERSION}")));
    assert_eq!(written["kind"], json!(K::kind(&())));
    assert_eq!(lost("", &written, &serde_json::to_value(typed).unwrap()), [""; 0]);
    let errors = Validator::new().validate(&schema::<K>(), &written, None);
    assert!(errors.is_ok(), "{errors:?}");
}

#[test]
fn the_sampling_policy_sample_has_no_unknown_field_and_is_accepted() {
    is_taken_whole_and_accepted::<SamplingPolicy>("sampling-policy.yaml");
}

#[test]
fn the_slo_sample_has_no_unknown_field_and_is_accepted() {
    is_taken_whole_and_accepted::<Slo>("slo.yaml");
}

#[test]
fn the_sample_of_a_prometheus_has_no_unknown_field_and_is_accepted() {
    is_taken_whole_and_accepted::<Slo>("slo-prometheus.yaml");
}

#[test]
fn a_field_that_the_type_does_not_know_would_be_found() {
    let written = json!({"spec": {"known": 1, "typo": 2, "list": [{"typo": 3}]}});
    let typed = json!({"spec": {"known": 1, "more": true, "list": [{"known": 3}]}});
    assert_eq!(lost("", &written, &typed), [".spec.list[0].typo", ".spec.typo"]);
}

#[test]
fn the_slo_sample_is_what_the_defaults_say() {
    let (_, written) = sample::<Slo>("slo.yaml");
    let mut short: Slo = serde_json::from_value(json!({
        "apiVersion": "shoalwatch.dev/v1alpha1",
        "kind": "SLO",
        "metadata": {"name": "checkout-availability"},
        "spec": {"targetRef": {"name": "checkout"}, "objective": "99.9", "indicator": {"http": {}}},
    }))
    .unwrap();
    assert_eq!(short.spec.rollback.mode, RollbackMode::Off);
    assert!(
        short
            .spec
            .alerts
            .iter()
            .all(shoalwatch_crds::slo::AlertTier::is_default)
    );
    short.spec.rollback.mode = RollbackMode::Enforce;
    assert_eq!(short, written);
}

#[test]
fn serde_fills_in_what_the_api_server_would() {
    let spec =
        json!({"targetRef": {"name": "a"}, "objective": "99", "indicator": {"http": {}}, "rollback": {"windows": {}}});
    same_defaults::<Slo>(
        &json!({"metadata": {"name": "a"}, "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO", "spec": spec}),
    );
    let told = json!([{"name": "oncall", "webhook": {"url": "https://hooks.example/x"}}]);
    let spec = json!({"targetRef": {"name": "a"}, "objective": "99", "indicator": {"http": {}}, "notifications": told});
    same_defaults::<Slo>(
        &json!({"metadata": {"name": "a"}, "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO", "spec": spec}),
    );
    let spec = json!({"probability": "0"});
    same_defaults::<SamplingPolicy>(
        &json!({"metadata": {"name": "a"}, "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SamplingPolicy", "spec": spec}),
    );
}

fn same_defaults<K: CustomResourceExt + Serialize + DeserializeOwned>(short: &Value) {
    let by_serde: K = serde_json::from_value(short.clone()).unwrap();
    let by_schema = apply_defaults(&schema::<K>(), short);
    assert_eq!(serde_json::to_value(by_serde).unwrap(), by_schema);
}

#[test]
fn a_default_alert_tier_is_told_from_one_that_somebody_changed() {
    let mut tier = default_alerts().remove(0);
    assert!(tier.is_default());
    tier.short = "10m".parse::<shoalwatch_crds::values::TimeSpan>().unwrap().into();
    assert!(!tier.is_default());
}
