//! The rules in the schemas: what they refuse, with which words, and that the parsers agree with them.

use std::fs;
use std::path::Path;

use kube::core::cel::{Validator, apply_defaults};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shoalwatch_crds::values::{
    BurnRate, BurnRateString, DurationString, Notation, Objective, ObjectiveString, Percent, PercentString, Ratio,
    RatioString, StatusMatcher, StatusString, TimeSpan, Written,
};
use shoalwatch_crds::{SamplingPolicy, Slo};

use super::samples::schema;

fn refused_objects(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused").join(name);
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn refusals(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<(String, String)> {
    match Validator::new().validate(schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| (error.field_path, error.message))
            .collect(),
    }
}

fn each_is_refused_in_its_words<K: kube::core::CustomResourceExt + DeserializeOwned>(name: &str) {
    let schema = schema::<K>();
    for object in refused_objects(name) {
        let wanted = &object["metadata"]["annotations"];
        let (field, message) = (wanted["field"].as_str().unwrap(), wanted["message"].as_str().unwrap());
        let found = refusals(&schema, &object, None);
        assert!(
            found.iter().any(|(at, said)| at == field && said.contains(message)),
            "{} should be refused at {field} with {message:?}, but: {found:?}",
            object["metadata"]["name"],
        );
        // A refused object must still be readable: an operator may meet one that an older definition let through.
        assert!(serde_json::from_value::<K>(object).is_ok());
    }
}

#[test]
fn bad_sampling_policies_are_refused_in_words_that_help() {
    each_is_refused_in_its_words::<SamplingPolicy>("sampling-policies.yaml");
}

#[test]
fn bad_slos_are_refused_in_words_that_help() {
    each_is_refused_in_its_words::<Slo>("slos.yaml");
}

fn slo(target: &str, objective: &str) -> Value {
    json!({"metadata": {"name": "a"}, "spec": {
        "targetRef": {"name": target}, "objective": objective, "indicator": {"http": {}},
    }})
}

#[test]
fn the_target_of_an_slo_cannot_change_but_its_objective_can() {
    let schema = schema::<Slo>();
    let old = slo("checkout", "99.9");
    assert_eq!(refusals(&schema, &slo("checkout", "99"), Some(&old)), []);
    let found = refusals(&schema, &slo("cart", "99.9"), Some(&old));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "spec.targetRef");
    assert!(found[0].1.contains("create another SLO"), "{found:?}");
}

#[test]
fn an_slo_of_a_prometheus_needs_no_target_and_never_gets_one() {
    let schema = schema::<Slo>();
    let mut polled = slo("checkout", "99.9");
    polled["spec"].as_object_mut().unwrap().remove("targetRef");
    for url in [
        "http://prometheus.monitoring:9090",
        "http://10.0.0.7/prom/tenant-1",
        "http://[fd00::7]:9090/",
        "https://prometheus.monitoring:9090",
    ] {
        polled["spec"]["indicator"] = json!({"prometheus": {"url": url, "good": "a", "total": "b"}});
        let defaulted = apply_defaults(&schema, &polled);
        assert_eq!(refusals(&schema, &defaulted, Some(&defaulted)), [], "{url}");
    }
    let found = refusals(&schema, &slo("checkout", "99.9"), Some(&polled));
    assert!(
        found.iter().any(|(_, said)| said.contains("create another SLO")),
        "{found:?}"
    );
}

#[test]
fn a_webhook_is_at_a_name_or_an_address() {
    let schema = schema::<Slo>();
    let mut told = slo("checkout", "99.9");
    let with = |url: &str| json!([{"name": "oncall", "webhook": {"url": url}}]);
    for url in [
        "https://hooks.example/slo?key=a%20b",
        "http://10.0.0.7:8080",
        "https://[fd00::7]:8443/slo",
    ] {
        told["spec"]["notifications"] = with(url);
        assert_eq!(refusals(&schema, &told, None), [], "{url}");
    }
    for url in [
        "https://[hooks.example]/",
        "https://[fd00::7/slo",
        "https://a:b@[fd00::7]/",
    ] {
        told["spec"]["notifications"] = with(url);
        assert_eq!(refusals(&schema, &told, None).len(), 1, "{url}");
    }
}

#[test]
fn days_and_hours_are_compared_as_time() {
    let schema = schema::<Slo>();
    let mut object = slo("checkout", "99.9");
    for (long, short) in [
        ("1d", "23h59m"),
        ("2d", "1d23h"),
        ("3d", "6h"),
        ("1s", "999ms"),
        ("1h", "59m59s999ms"),
    ] {
        let tier = |long, short| json!([{"name": "a", "severity": "Page", "budgetPercent": "2", "long": long, "short": short}]);
        object["spec"]["alerts"] = tier(long, short);
        assert_eq!(refusals(&schema, &object, None), [], "{short} < {long}");
        object["spec"]["alerts"] = tier(short, long);
        assert_eq!(refusals(&schema, &object, None).len(), 1, "{long} < {short}");
    }
}

#[test]
fn a_threshold_is_the_same_however_it_is_written() {
    let schema = schema::<Slo>();
    let mut object = slo("checkout", "99.9");
    for threshold in ["250ms", "1s", "1000ms", "2500ms", "2s500ms", "10s"] {
        object["spec"]["indicator"] = json!({"latency": {"threshold": threshold}});
        assert_eq!(refusals(&schema, &object, None), [], "{threshold}");
    }
}

/// The rule in the schema of a written value accepts `text`.
fn schema_accepts<T: Notation>(text: &str) -> bool {
    let generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    let schema = generator.into_root_schema_for::<Written<T>>().to_value();
    Validator::new().validate(&schema, &json!(text), None).is_ok()
}

/// Digits, points and units in likely and unlikely orders.
fn nearly_well_formed() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,3}([.][0-9]{0,10})?",
        "0[.][0-9]{1,10}",
        "(1|99|100)[.][09]{1,8}",
        "[0-9]{6,7}([.][0-9]{1,7})?",
        "([0-9]{1,2}(d|h|m|s|ms)){0,4}",
        "([0-9]{4,5}d)?([0-9]{5,6}h)?([0-9]{6,7}m)?([0-9]{8,9}s)?([0-9]{9,10}ms)?",
        "[0-9]([0-9]{2}|xx|x[0-9])",
        "[5 ]?[Aa]borte[dD]?[0-9x]?",
        "[-+ .0-9a-z%]{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_schema_accepts_exactly_what_the_parser_does(text in nearly_well_formed()) {
        prop_assert_eq!(schema_accepts::<Ratio>(&text), RatioString::new(&text).parse().is_ok(), "ratio {}", text);
        prop_assert_eq!(schema_accepts::<Percent>(&text), PercentString::new(&text).parse().is_ok(), "percent {}", text);
        prop_assert_eq!(
            schema_accepts::<Objective>(&text), ObjectiveString::new(&text).parse().is_ok(), "objective {}", text
        );
        prop_assert_eq!(schema_accepts::<BurnRate>(&text), BurnRateString::new(&text).parse().is_ok(), "burn {}", text);
        prop_assert_eq!(schema_accepts::<TimeSpan>(&text), DurationString::new(&text).parse().is_ok(), "span {}", text);
        prop_assert_eq!(
            schema_accepts::<StatusMatcher>(&text), StatusString::new(&text).parse().is_ok(), "status {}", text
        );
    }
}
