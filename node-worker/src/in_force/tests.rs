use super::*;
use crate::enrichment::host_identity;

fn compile(yaml: &str) -> Result<InForce, Refused> {
    InForce::compile(serde_saphyr::from_str(yaml).unwrap())
}

fn shop() -> Identity {
    let service = HostService {
        name: "checkout".into(),
        namespace: "shop".into(),
        labels: [("app".to_owned(), "checkout".to_owned())].into(),
        ..HostService::default()
    };
    host_identity(&service, "n1")
}

#[test]
fn a_dry_run_is_asked_first_and_the_next_policy_decides() {
    let in_force = compile(
        "config:
  policies:
  - {id: bank/other, namespace: bank, probability: 1}
  - {id: shop/try, namespace: shop, probability: 1, dryRun: true}
  - {id: shop/real, namespace: shop, selector: {matchLabels: {app: checkout}}, probability: 0.5}
  - {id: root/default, probability: 0}",
    )
    .unwrap();
    assert_eq!(in_force.policies_for(&shop()), [1, 2]);
}

#[test]
fn an_sli_is_about_its_workload_and_container_only() {
    let in_force = compile(
        "config:
  slis:
  - {id: a, namespace: shop, workload: checkout, bad: [5xx], reportIntervalMs: 1000}
  - {id: b, namespace: shop, workload: checkout, container: proxy, bad: [5xx]}
  - {id: c, namespace: bank, workload: checkout, bad: [5xx]}
  - {id: d, namespace: shop, workload: cart, bad: [5xx]}",
    )
    .unwrap();
    let mut identity = shop();
    assert_eq!(in_force.slis_for(&identity).collect::<Vec<_>>(), ["a"]);
    identity.container = Some("proxy".into());
    assert_eq!(in_force.slis_for(&identity).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(in_force.report_interval(), Duration::from_secs(1), "the fastest SLI's");
}

#[test]
fn a_refusal_names_the_field_and_every_cause() {
    let reason = |yaml| compile(yaml).unwrap_err().reason();
    let probability = reason("config: {policies: [{id: a, probability: 1.5}]}");
    assert!(probability.starts_with("policies[0].probability: 1.5"), "{probability}");
    let method =
        reason("config: {policies: [{id: a, probability: 1, rules: [{name: r, methods: [FETCH], probability: 1}]}]}");
    assert!(
        method.starts_with("policies[0]: ") && method.contains("FETCH"),
        "{method}"
    );
}

#[test]
fn a_threshold_between_two_buckets_is_refused() {
    let sli = |nanoseconds: u64| {
        compile(&format!(
            "config: {{slis: [{{id: a, namespace: shop, workload: checkout, slowerThanNs: {nanoseconds}}}]}}"
        ))
    };
    let refused = sli(200_000_000).unwrap_err();
    assert_eq!(refused.category(), "invalid");
    let reason = refused.reason();
    assert!(reason.starts_with("slis[0].slowerThanNs: 200000000 "), "{reason}");
    assert!(sli(250_000_000).is_ok());
}

#[test]
fn a_reason_fits_into_a_nack() {
    let name = "é".repeat(REASON_BYTES);
    let refused = compile(&format!(
        "config: {{policies: [{{id: {name}, probability: 0}}, {{id: {name}, probability: 0}}]}}"
    ));
    let reason = refused.unwrap_err().reason();
    assert!(
        reason.len() <= REASON_BYTES && reason.len() > REASON_BYTES - 4,
        "{}",
        reason.len()
    );
}
