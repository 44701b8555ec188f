//! What crosses the wire arrives as it was, and what makes no sense is refused with the field's path.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*};
use prost::Message;
use shoalwatch_node_api::{
    config::{
        HostService, Limit, NodeConfig, Operator, Requirement, RouteMatch, Rule, SamplingPolicy, Selector, Sli,
        StatusMatcher, StoredConfig,
    },
    content_hash, limits, wire,
};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9/-]{0,20}"
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    collection::btree_map(name(), name(), 0..4)
}

fn status() -> impl Strategy<Value = StatusMatcher> {
    prop_oneof![
        (100..=599_u16).prop_map(StatusMatcher::Code),
        (1..=5_u8).prop_map(StatusMatcher::Class),
        Just(StatusMatcher::Aborted)
    ]
}

fn selector() -> impl Strategy<Value = Selector> {
    let operator = prop_oneof![
        Just(Operator::In),
        Just(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist)
    ];
    let requirement = (name(), operator, collection::vec(name(), 0..3))
        .prop_map(|(key, operator, values)| Requirement { key, operator, values });
    (labels(), collection::vec(requirement, 0..3)).prop_map(|(match_labels, match_expressions)| Selector {
        match_labels,
        match_expressions,
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let route = prop_oneof![name().prop_map(RouteMatch::Exact), name().prop_map(RouteMatch::Prefix)];
    let rule = (
        option::of(route),
        collection::vec("[A-Z]{3,6}", 0..3),
        collection::vec(status(), 0..3),
        any::<u64>(),
        0.0..=1.0,
    );
    let rule = rule.prop_map(|(route, methods, status, duration_at_least_ns, probability)| Rule {
        name: String::new(),
        route,
        methods,
        status,
        duration_at_least_ns,
        probability,
    });
    collection::vec(rule, 0..4).prop_map(|mut rules| {
        rules
            .iter_mut()
            .enumerate()
            .for_each(|(index, rule)| rule.name = format!("rule-{index}"));
        rules
    })
}

fn policy() -> impl Strategy<Value = SamplingPolicy> {
    let limit = (any::<u32>(), 1..=u32::MAX).prop_map(|(traces_per_second, burst)| Limit {
        traces_per_second,
        burst,
    });
    (
        option::of(name()),
        selector(),
        0.0..=1.0,
        rules(),
        option::of(limit),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |(namespace, selector, probability, rules, limit, (honour_parent, dry_run))| SamplingPolicy {
                id: String::new(),
                namespace,
                selector,
                probability,
                rules,
                limit,
                honour_parent,
                dry_run,
            },
        )
}

fn bad_or_slow() -> impl Strategy<Value = (Vec<StatusMatcher>, u64)> {
    prop_oneof![
        (collection::vec(status(), 1..3), Just(0)),
        (collection::vec(status(), 0..3), 1..=u64::MAX),
    ]
}

fn sli() -> impl Strategy<Value = Sli> {
    let routes = collection::vec(name(), 0..3);
    (
        name(),
        name(),
        option::of(name()),
        bad_or_slow(),
        routes,
        limits::REPORT_INTERVAL_MS,
    )
        .prop_map(
            |(namespace, workload, container, (bad, slower_than_ns), routes, report_interval_ms)| Sli {
                id: String::new(),
                namespace,
                workload,
                container,
                bad,
                slower_than_ns,
                routes,
                report_interval_ms,
            },
        )
}

prop_compose! {
    fn config()(
        policies in collection::vec(policy(), 0..4),
        slis in collection::vec(sli(), 0..4),
        services in collection::vec((name(), name(), option::of(name()), name(), labels()), 0..3),
    ) -> NodeConfig {
        let mut config = NodeConfig { policies, slis, host_services: Vec::new() };
        config.policies.iter_mut().enumerate().for_each(|(index, policy)| policy.id = format!("ns/policy-{index}"));
        config.slis.iter_mut().enumerate().for_each(|(index, sli)| sli.id = format!("ns/slo-{index}"));
        config.host_services = services.into_iter().map(|(name, namespace, executable, argument, labels)| HostService {
            name, namespace, executable, argument_contains: Some(argument), labels,
        }).collect();
        config
    }
}

proptest! {
    #[test]
    fn a_configuration_arrives_as_it_was_sent(config in config()) {
        let sent = wire::NodeConfig::from(config.clone());
        prop_assert_eq!(NodeConfig::try_from(sent), Ok(config));
    }

    #[test]
    fn a_configuration_is_read_from_a_file_as_it_was_written(config in config()) {
        let stored = StoredConfig { version: None, config };
        let text = serde_saphyr::to_string(&stored).unwrap();
        prop_assert_eq!(serde_saphyr::from_str::<StoredConfig>(&text).unwrap(), stored);
    }

    #[test]
    fn equal_configurations_and_only_those_have_equal_hashes(one in config(), other in config()) {
        let hash = |config: &NodeConfig| content_hash(&config.clone().into());
        prop_assert_eq!(hash(&one) == hash(&other), one == other);
        prop_assert_eq!(hash(&one), hash(&one.clone()));
    }
}

fn one_policy(change: impl FnOnce(&mut wire::SamplingPolicy)) -> wire::NodeConfig {
    let mut policy = wire::SamplingPolicy {
        id: "shop/all".to_owned(),
        probability: 0.5,
        ..Default::default()
    };
    policy.rules.push(wire::Rule {
        name: "one".to_owned(),
        probability: 1.0,
        ..Default::default()
    });
    change(&mut policy);
    wire::NodeConfig {
        policies: vec![policy],
        ..Default::default()
    }
}

fn refusal(config: wire::NodeConfig) -> String {
    NodeConfig::try_from(config)
        .expect_err("it is out of bounds")
        .to_string()
}

#[test]
fn what_is_out_of_bounds_is_refused_with_its_path() {
    let refusals = [
        (one_policy(|policy| policy.probability = 1.5), "policies[0].probability"),
        (
            one_policy(|policy| policy.probability = f64::NAN),
            "policies[0].probability",
        ),
        (
            one_policy(|policy| policy.rules[0].probability = -0.1),
            "policies[0].rules[0].probability",
        ),
        (
            one_policy(|policy| policy.rules[0].route = Some(wire::RouteMatch::default())),
            "policies[0].rules[0].route",
        ),
        (
            one_policy(|policy| policy.rules[0].status = vec![wire::StatusMatcher::default()]),
            "policies[0].rules[0].status[0]",
        ),
        (
            one_policy(|policy| policy.rules = vec![policy.rules[0].clone(); 2]),
            "policies[0].rules",
        ),
        (
            one_policy(|policy| policy.limit = Some(wire::Limit::default())),
            "policies[0].limit.burst",
        ),
        (one_policy(|policy| policy.id.clear()), "policies[0].id"),
    ];
    for (config, path) in refusals {
        let refusal = refusal(config);
        assert!(refusal.starts_with(&format!("{path}: ")), "{refusal}");
    }
}

#[test]
fn an_sli_says_what_is_bad() {
    let sli = |slower_than_ns| wire::NodeConfig {
        slis: vec![wire::Sli {
            id: "s".to_owned(),
            workload: "checkout".to_owned(),
            report_interval_ms: 1_000,
            slower_than_ns,
            ..Default::default()
        }],
        ..Default::default()
    };
    assert!(refusal(sli(0)).starts_with("slis[0].bad: "));
    assert!(NodeConfig::try_from(sli(1)).is_ok());
}

#[test]
fn more_than_the_most_is_refused() {
    let mut config = one_policy(|_| ());
    config.policies = vec![config.policies[0].clone(); limits::POLICIES + 1];
    assert_eq!(refusal(config), "policies: has 257 entries: at most 256");
}

#[test]
fn a_misspelt_field_in_a_file_is_refused() {
    let text = "config: {policies: [{id: a, probabilty: 1}]}";
    let refusal = serde_saphyr::from_str::<StoredConfig>(text).unwrap_err().to_string();
    assert!(refusal.contains("probabilty"), "{refusal}");
}

#[test]
fn a_status_that_only_a_newer_operator_knows_is_refused_with_its_path() {
    // Field 9 of the union, without content.
    let newer = wire::StatusMatcher::decode(&[9 << 3 | 2, 0][..]).unwrap();
    let config = one_policy(|policy| policy.rules[0].status = vec![newer]);
    assert_eq!(
        refusal(config),
        "policies[0].rules[0].status[0]: is no status that this worker knows: a code of 100 to 599, a class of 1 to 5, or aborted"
    );
}

#[test]
fn a_status_is_a_code_a_class_or_aborted() {
    let parse = |text: &str| StatusMatcher::try_from(text.to_owned()).ok();
    assert_eq!(parse("503"), Some(StatusMatcher::Code(503)));
    assert_eq!(parse("5xx"), Some(StatusMatcher::Class(5)));
    assert_eq!(parse("Aborted"), Some(StatusMatcher::Aborted));
    assert!(
        ["6xx", "99", "600", "5XX", "", "abc", "aborted", "ABORTED", "Aborted "]
            .iter()
            .all(|text| parse(text).is_none())
    );
    assert!(StatusMatcher::Class(5).matches(599) && !StatusMatcher::Class(5).matches(499));
    assert!((0..=u16::MAX).all(|status| !StatusMatcher::Aborted.matches(status)));
}
