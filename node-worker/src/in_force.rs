//! A configuration, made fast: what the event loop decides by.

use std::{error::Error, sync::Arc, time::Duration};

use shoalwatch_node_api::{
    config::{self, HostService, NodeConfig, RouteMatch, StatusMatcher, StoredConfig, Version},
    convert::ConfigError,
    limits::{REASON_BYTES, REPORT_INTERVAL_MS},
};
use shoalwatch_pipeline::{
    matching::{RoutePattern, StatusSet},
    sampler::{BadPolicy, BadProbability, Limit, Parent, Policy, PolicySpec, Probability, RuleSpec},
    selector::{Operator, Requirement, Scoped, Selector},
    sli::{SliDefinition, Threshold},
};

use crate::enrichment::Identity;

/// A configuration that can be put in force.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// Absent for a file written by hand.
    pub(crate) version: Option<Version>,
    policies: Vec<Scoped<NamedPolicy>>,
    slis: Vec<TargetedSli>,
    pub(crate) host_services: Vec<HostService>,
    report_interval_ms: u32,
}

/// A policy with the name that its limit's state is kept under.
#[derive(Debug)]
pub(crate) struct NamedPolicy {
    pub(crate) id: Box<str>,
    pub(crate) policy: Policy,
}

/// An SLI with the workload that it is about.
#[derive(Debug)]
struct TargetedSli {
    definition: SliDefinition,
    namespace: String,
    workload: String,
    container: Option<String>,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A bound or a form that every configuration has to keep.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// A policy that cannot be compiled.
    #[error("{path}: the policy cannot be applied")]
    Policy {
        path: String,
        #[source]
        source: BadPolicy,
    },
    /// A probability that cannot be applied.
    #[error("{path}: the probability cannot be applied")]
    Probability {
        path: String,
        #[source]
        source: BadProbability,
    },
    /// A threshold that no bucket of the histograms ends at.
    #[error(
        "slis[{place}].slowerThanNs: {nanoseconds} is between two buckets: write a bound of http.server.request.duration, such \
         as 250000000"
    )]
    Threshold { place: usize, nanoseconds: u64 },
    /// It comes from an operator that does not lead any more.
    #[error("term {offered} is older than term {newest}: this replica does not lead any more")]
    OlderTerm { offered: u64, newest: u64 },
    /// The kernel did not take it.
    #[error(
        "the kernel still decides by the earlier policies and is asked again once a second: the worker's log says why"
    )]
    Kernel,
    /// The message has no version or no configuration.
    #[error("{0}: is missing: the operator may be broken")]
    Missing(&'static str),
    /// The configuration's bytes are none.
    #[error("config: cannot be read: the operator may be broken")]
    Unreadable(#[source] prost::DecodeError),
}

impl Refused {
    /// A bounded name for metrics.
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Threshold { .. } => "invalid",
            Self::Policy { .. } | Self::Probability { .. } => "policy",
            Self::OlderTerm { .. } => "older_term",
            Self::Missing(_) => "missing",
            Self::Kernel => "kernel",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// The whole chain of causes, as a NACK carries it.
    pub(crate) fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        let end = text.floor_char_boundary(REASON_BYTES);
        text.truncate(end);
        text
    }
}

impl InForce {
    /// Checks a configuration whole: it is put in force whole or not at all.
    pub(crate) fn compile(stored: StoredConfig) -> Result<Self, Refused> {
        let NodeConfig {
            policies,
            slis,
            host_services,
        } = validated(stored.config)?;
        Ok(Self {
            version: stored.version,
            policies: policies
                .iter()
                .enumerate()
                .map(compile_policy)
                .collect::<Result<_, _>>()?,
            report_interval_ms: slis.iter().map(|sli| sli.report_interval_ms).min().unwrap_or(0),
            slis: slis.into_iter().enumerate().map(targeted).collect::<Result<_, _>>()?,
            host_services,
        })
    }

    /// All policies, the strongest first.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &NamedPolicy> {
        self.policies.iter().map(|scoped| &scoped.policy)
    }

    /// Indices of the policies that decide about these pods: the first that covers them, after those that only run dry.
    pub(crate) fn policies_for(&self, identity: &Identity) -> Vec<usize> {
        let mut chosen = Vec::new();
        for (index, scoped) in self.policies.iter().enumerate() {
            if scoped.covers(&identity.namespace, &identity.labels) {
                chosen.push(index);
                if !scoped.policy.policy.is_dry_run() {
                    break;
                }
            }
        }
        chosen
    }

    /// Ids of the SLIs that are about this container.
    pub(crate) fn slis_for(&self, identity: &Identity) -> impl Iterator<Item = &str> {
        self.slis
            .iter()
            .filter(|sli| sli.is_about(identity))
            .map(|sli| sli.definition.id.as_ref())
    }

    /// What is counted as good and bad.
    pub(crate) fn sli_definitions(&self) -> impl Iterator<Item = SliDefinition> {
        self.slis.iter().map(|sli| sli.definition.clone())
    }

    /// How often changed rows are reported: as the fastest SLI wants it.
    pub(crate) fn report_interval(&self) -> Duration {
        let milliseconds = self.report_interval_ms;
        let slowest = *REPORT_INTERVAL_MS.end();
        let chosen = if milliseconds == 0 { slowest } else { milliseconds };
        Duration::from_millis(chosen.into())
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.policies.is_empty() && self.slis.is_empty()
    }
}

impl TargetedSli {
    fn is_about(&self, identity: &Identity) -> bool {
        self.namespace == identity.namespace
            && identity.workload.as_deref() == Some(&self.workload)
            && self
                .container
                .as_deref()
                .is_none_or(|own| identity.container.as_deref() == Some(own))
    }
}

fn validated(config: NodeConfig) -> Result<NodeConfig, ConfigError> {
    config.validate()?;
    Ok(config)
}

fn compile_policy((index, policy): (usize, &config::SamplingPolicy)) -> Result<Scoped<NamedPolicy>, Refused> {
    let path = format!("policies[{index}]");
    let rules = policy.rules.iter().enumerate();
    let spec = PolicySpec {
        probability: probability(&path, policy.probability)?,
        rules: rules
            .map(|(number, rule)| rule_spec(&format!("{path}.rules[{number}]"), rule))
            .collect::<Result<_, _>>()?,
        parent: if policy.honour_parent {
            Parent::Honour
        } else {
            Parent::Ignore
        },
        limit: policy.limit.map(|limit| Limit {
            per_second: limit.traces_per_second,
            burst: limit.burst,
        }),
        dry_run: policy.dry_run,
    };
    Ok(Scoped {
        namespace: policy.namespace.clone(),
        selector: selector(&policy.selector),
        policy: NamedPolicy {
            id: policy.id.as_str().into(),
            policy: Policy::compile(&spec).map_err(|source| Refused::Policy { path, source })?,
        },
    })
}

fn rule_spec(path: &str, rule: &config::Rule) -> Result<RuleSpec, Refused> {
    let route = rule.route.as_ref().map(|route| match route {
        RouteMatch::Exact(whole) => RoutePattern::Exact(whole.as_str().into()),
        RouteMatch::Prefix(beginning) => RoutePattern::Prefix(beginning.as_str().into()),
    });
    let (mut codes, mut classes, mut aborted) = (Vec::new(), Vec::new(), false);
    for matcher in &rule.status {
        match matcher {
            StatusMatcher::Code(code) => codes.push((*code).into()),
            StatusMatcher::Class(class) => classes.push((*class).into()),
            StatusMatcher::Aborted => aborted = true,
        }
    }
    Ok(RuleSpec {
        name: rule.name.clone(),
        route,
        methods: rule.methods.clone(),
        codes,
        classes,
        aborted,
        duration_at_least_ns: rule.duration_at_least_ns,
        probability: probability(path, rule.probability)?,
    })
}

fn probability(path: &str, value: f64) -> Result<Probability, Refused> {
    Probability::from_f64(value).map_err(|source| Refused::Probability {
        path: format!("{path}.probability"),
        source,
    })
}

fn selector(selector: &config::Selector) -> Selector {
    let expressions = selector.match_expressions.iter().map(|requirement| Requirement {
        key: requirement.key.clone(),
        operator: match requirement.operator {
            config::Operator::In => Operator::In(requirement.values.clone()),
            config::Operator::NotIn => Operator::NotIn(requirement.values.clone()),
            config::Operator::Exists => Operator::Exists,
            config::Operator::DoesNotExist => Operator::DoesNotExist,
        },
    });
    Selector {
        match_labels: selector.match_labels.clone(),
        match_expressions: expressions.collect(),
    }
}

fn targeted((place, sli): (usize, config::Sli)) -> Result<TargetedSli, Refused> {
    let threshold = threshold(place, sli.slower_than_ns)?;
    let mut bad = StatusSet::EMPTY;
    for matcher in &sli.bad {
        // Both are in range: `StatusMatcher` cannot be made otherwise.
        let _in_range = match matcher {
            StatusMatcher::Code(code) => bad.add_code((*code).into()),
            StatusMatcher::Class(class) => bad.add_class((*class).into()),
            StatusMatcher::Aborted => {
                bad.add_aborted();
                Ok(())
            }
        };
    }
    if threshold.is_some() {
        // What is never answered is not answered in time.
        bad.add_aborted();
    }
    Ok(TargetedSli {
        definition: SliDefinition {
            id: Arc::from(sli.id),
            bad,
            threshold,
            routes: sli.routes.into_iter().map(String::into_boxed_str).collect(),
        },
        namespace: sli.namespace,
        workload: sli.workload,
        container: sli.container,
    })
}

fn threshold(place: usize, nanoseconds: u64) -> Result<Option<Threshold>, Refused> {
    if nanoseconds == 0 {
        return Ok(None);
    }
    let threshold = Threshold::at(nanoseconds);
    threshold.map(Some).ok_or(Refused::Threshold { place, nanoseconds })
}

#[cfg(test)]
mod tests;
