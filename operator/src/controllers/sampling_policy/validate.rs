//! What a `SamplingPolicy` says, made sure that it makes sense.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use shoalwatch_core::Millis;
use shoalwatch_core::policy::{HttpStatus, Limit, Operator, Policy, Probability, Requirement, Route, Rule, Selector};
use shoalwatch_crds::SamplingPolicySpec;
use shoalwatch_crds::sampling_policy::{METHODS, ParentPolicy, RouteMatch, RoutePattern, SamplingRule};
use shoalwatch_crds::values::{RatioString, StatusMatcher};

use crate::controllers::invalid::{Invalid, at_most, read, unique};
use crate::controllers::world::Name;

/// Most rules of one policy, as in the schema.
const MAX_RULES: usize = 32;

/// The policy as nodes can be told it.
pub(super) fn validate(name: &Name, created: Millis, spec: &SamplingPolicySpec) -> Result<Policy, Invalid> {
    at_most("spec.rules", spec.rules.len(), MAX_RULES)?;
    unique("spec.rules", spec.rules.iter().map(|rule| rule.name.as_str()))?;
    let rules = spec.rules.iter().enumerate();
    Ok(Policy {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        created,
        priority: spec.priority,
        selector: selector(spec.selector.as_ref())?,
        probability: probability("spec.probability", &spec.probability)?,
        rules: rules.map(|(place, each)| rule(place, each)).collect::<Result<_, _>>()?,
        limit: limit(spec)?,
        honour_parent: spec.parent == ParentPolicy::Honour,
        dry_run: spec.dry_run,
    })
}

fn rule(place: usize, rule: &SamplingRule) -> Result<Rule, Invalid> {
    let path = |member: &str| format!("spec.rules[{place}].{member}");
    let matches = &rule.matches;
    let route = match (&matches.route, matches.route.as_ref().and_then(RouteMatch::pattern)) {
        (Some(_), None) => {
            return Err(Invalid::Union {
                path: path("match.route"),
                wanted: "write exactly one of exact and prefix",
            });
        }
        (_, Some(RoutePattern::Exact(route))) => Some(Route::Exact(route.to_owned())),
        (_, Some(RoutePattern::Prefix(route))) => Some(Route::Prefix(route.to_owned())),
        (None, None) => None,
    };
    let status = matches.status.iter().enumerate().map(|(place, status)| {
        let status = read(path(&format!("match.status[{place}]")), status)?;
        Ok(http_status(status))
    });
    let duration = matches.duration_at_least.as_ref();
    let duration = duration
        .map(|span| read(path("match.durationAtLeast"), span))
        .transpose()?;
    Ok(Rule {
        name: rule.name.clone(),
        route,
        methods: methods(&path("match.method"), &matches.method)?,
        status: status.collect::<Result<_, Invalid>>()?,
        duration_at_least: duration.map(Into::into),
        probability: probability(&path("probability"), &rule.probability)?,
    })
}

/// A node refuses its whole configuration for one method it cannot tell apart, so no such method may reach it.
fn methods(path: &str, written: &[String]) -> Result<BTreeSet<String>, Invalid> {
    let unknown = written.iter().position(|method| !METHODS.contains(&method.as_str()));
    match unknown {
        None => Ok(written.iter().cloned().collect()),
        Some(place) => Err(Invalid::Value {
            path: format!("{path}[{place}]"),
            problem: format!("{:?} is not one of {}", written[place], METHODS.join(", ")),
        }),
    }
}

fn probability(path: &str, written: &RatioString) -> Result<Probability, Invalid> {
    read(path, written)?;
    written
        .as_str()
        .parse()
        .map_err(|error: shoalwatch_core::policy::ValueError| Invalid::Value {
            path: path.to_owned(),
            problem: error.to_string(),
        })
}

/// A status as the nodes compare it.
pub(crate) fn http_status(status: StatusMatcher) -> HttpStatus {
    match status {
        StatusMatcher::Code(code) => HttpStatus::Code(code),
        StatusMatcher::Class(class) => HttpStatus::Class(class),
        StatusMatcher::Aborted => HttpStatus::Aborted,
    }
}

fn limit(spec: &SamplingPolicySpec) -> Result<Option<Limit>, Invalid> {
    let Some(limit) = &spec.limit else { return Ok(None) };
    let (traces_per_second, burst) = (limit.traces_per_second, limit.burst());
    if traces_per_second == 0 || burst == 0 {
        let path = if traces_per_second == 0 {
            "spec.limit.tracesPerSecond"
        } else {
            "spec.limit.burst"
        };
        return Err(Invalid::Value {
            path: path.to_owned(),
            problem: "write 1 or more; for no trace at all there is probability \"0\"".to_owned(),
        });
    }
    Ok(Some(Limit {
        traces_per_second,
        burst,
    }))
}

fn selector(selector: Option<&LabelSelector>) -> Result<Selector, Invalid> {
    let Some(selector) = selector else {
        return Ok(Selector::default());
    };
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    let requirements = expressions.map(|(place, expression)| {
        let path = |member: &str| format!("spec.selector.matchExpressions[{place}].{member}");
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => {
                return Err(Invalid::Value {
                    path: path("operator"),
                    problem: "write In, NotIn, Exists or DoesNotExist".to_owned(),
                });
            }
        };
        let values: BTreeSet<_> = expression.values.iter().flatten().cloned().collect();
        let takes_values = matches!(operator, Operator::In | Operator::NotIn);
        if takes_values == values.is_empty() {
            return Err(Invalid::Value {
                path: path("values"),
                problem: "write at least one with In and NotIn, none with Exists and DoesNotExist".to_owned(),
            });
        }
        Ok(Requirement {
            key: expression.key.clone(),
            operator,
            values,
        })
    });
    Ok(Selector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: requirements.collect::<Result<_, _>>()?,
    })
}
