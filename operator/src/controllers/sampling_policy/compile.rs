//! The plans of the nodes as the wire's configurations.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use shoalwatch_core::SliId;
use shoalwatch_core::policy::{self, HttpStatus, NodePlan, PlannedPolicy, SliSpec};
use shoalwatch_node_api::{config, wire};

/// Encodes configurations of one catalogue: each entry once, however many nodes it concerns. In protobuf's encoding the entries
/// of lists follow one another, so what was encoded apart is put together as it is.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// By hash.
    policies: HashMap<String, Vec<u8>>,
    slis: HashMap<SliId, Vec<u8>>,
}

impl Encoder {
    /// The configuration of a node.
    pub(crate) fn node_config(&mut self, plan: &NodePlan) -> Vec<u8> {
        let mut whole = Vec::new();
        for planned in &plan.policies {
            whole.extend_from_slice(entry(&mut self.policies, &planned.hash, || config::NodeConfig {
                policies: vec![sampling_policy(planned)],
                ..config::NodeConfig::default()
            }));
        }
        for spec in &plan.slis {
            whole.extend_from_slice(entry(&mut self.slis, &spec.id, || config::NodeConfig {
                slis: vec![sli(spec)],
                ..config::NodeConfig::default()
            }));
        }
        whole
    }
}

fn entry<'a, K: Clone + Eq + std::hash::Hash>(
    known: &'a mut HashMap<K, Vec<u8>>,
    key: &K,
    alone: impl FnOnce() -> config::NodeConfig,
) -> &'a [u8] {
    if !known.contains_key(key) {
        known.insert(key.clone(), wire::NodeConfig::from(alone()).encode_to_vec());
    }
    known.get(key).map_or(&[], Vec::as_slice)
}

fn sampling_policy(planned: &PlannedPolicy) -> config::SamplingPolicy {
    let policy = &planned.policy;
    config::SamplingPolicy {
        id: policy.id(),
        namespace: (!planned.everywhere).then(|| policy.namespace.clone()),
        selector: selector(&policy.selector),
        probability: policy.probability.value(),
        rules: policy.rules.iter().map(rule).collect(),
        limit: policy.limit.map(|limit| config::Limit {
            traces_per_second: limit.traces_per_second,
            burst: limit.burst,
        }),
        honour_parent: policy.honour_parent,
        dry_run: policy.dry_run,
    }
}

fn nanoseconds(span: Option<Duration>) -> u64 {
    let whole = span.map_or(0, |span| span.as_nanos());
    u64::try_from(whole).unwrap_or(u64::MAX)
}

fn rule(rule: &policy::Rule) -> config::Rule {
    config::Rule {
        name: rule.name.clone(),
        route: rule.route.as_ref().map(|route| match route {
            policy::Route::Exact(route) => config::RouteMatch::Exact(route.clone()),
            policy::Route::Prefix(route) => config::RouteMatch::Prefix(route.clone()),
        }),
        methods: rule.methods.iter().cloned().collect(),
        status: rule.status.iter().copied().map(status).collect(),
        duration_at_least_ns: nanoseconds(rule.duration_at_least),
        probability: rule.probability.value(),
    }
}

fn status(status: HttpStatus) -> config::StatusMatcher {
    match status {
        HttpStatus::Code(code) => config::StatusMatcher::Code(code),
        HttpStatus::Class(class) => config::StatusMatcher::Class(class),
        HttpStatus::Aborted => config::StatusMatcher::Aborted,
    }
}

fn selector(selector: &policy::Selector) -> config::Selector {
    let requirement = |each: &policy::Requirement| config::Requirement {
        key: each.key.clone(),
        operator: match each.operator {
            policy::Operator::In => config::Operator::In,
            policy::Operator::NotIn => config::Operator::NotIn,
            policy::Operator::Exists => config::Operator::Exists,
            policy::Operator::DoesNotExist => config::Operator::DoesNotExist,
        },
        values: each.values.iter().cloned().collect(),
    };
    config::Selector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.iter().map(requirement).collect(),
    }
}

fn sli(sli: &SliSpec) -> config::Sli {
    config::Sli {
        id: sli.id.as_str().to_owned(),
        namespace: sli.namespace.clone(),
        workload: sli.workload.clone(),
        container: (!sli.container.is_empty()).then(|| sli.container.clone()),
        bad: sli.bad.iter().copied().map(status).collect(),
        slower_than_ns: nanoseconds(sli.slower_than),
        routes: sli.routes.iter().cloned().collect(),
        report_interval_ms: u32::try_from(sli.report_interval.as_millis()).unwrap_or(u32::MAX),
    }
}
