//! The status of a policy, from what the nodes answered.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use shoalwatch_core::policy::{Overridden, Policy};
use shoalwatch_crds::SamplingPolicyStatus;
use shoalwatch_crds::conditions::{self, ConditionStatus, Finding};
use shoalwatch_crds::names;
use shoalwatch_crds::sampling_policy::{self, FirstError, Nodes};
use shoalwatch_node_api::config::Version;

use super::observe::{Known, Policies};
use super::published::Published;
use crate::controllers::world::Name;
use crate::distribution::{Fleet, Worker};
use crate::status::Urgency;

/// Hex digits of a version in a status: enough to tell two apart by eye.
const SHORT_HASH: usize = 8;
/// Longest message of a node, in characters, as in the schema.
const NODE_MESSAGE: usize = 1_024;

/// What a status rests on besides the policy.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    /// What the nodes say.
    pub(crate) fleet: &'a Fleet,
    /// What they were told.
    pub(crate) published: &'a Published,
    /// How many there should be; `None`: nobody says, so those that were heard of.
    pub(crate) desired: Option<u32>,
    /// Policies that never apply.
    pub(crate) overridden: &'a [Overridden],
    /// Why the newest specs were not published.
    pub(crate) unpublished: Option<&'a str>,
}

/// A status that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub(crate) name: Name,
    pub(crate) uid: String,
    pub(crate) status: SamplingPolicyStatus,
    pub(crate) found: Option<serde_json::Value>,
    pub(crate) urgency: Urgency,
}

impl Policies {
    /// Brings every status up to date; returns those that changed.
    pub(crate) fn plan(&mut self, answers: &Answers<'_>, now: &Time) -> Vec<Planned> {
        let losers: BTreeMap<&str, &str> = answers
            .overridden
            .iter()
            .map(|each| (each.policy.as_str(), each.by.as_str()))
            .collect();
        let mut planned = Vec::new();
        for (name, known) in &mut self.known {
            let by = losers.get(name.to_string().as_str()).copied();
            let status = status(known, answers, by, now);
            if status == known.status {
                continue;
            }
            let urgency = if kind_of(&status) == kind_of(&known.status) {
                Urgency::Numbers
            } else {
                Urgency::Now
            };
            known.status = status;
            planned.push(Planned {
                name: name.clone(),
                uid: known.uid.clone(),
                status: known.status.clone(),
                found: known.found.clone(),
                urgency,
            });
        }
        planned
    }
}

/// What a status says apart from numbers.
fn kind_of(status: &SamplingPolicyStatus) -> impl PartialEq + use<> {
    let conditions = status.conditions.iter();
    let conditions: Vec<_> = conditions
        .map(|each| (each.type_.clone(), each.status.clone(), each.reason.clone()))
        .collect();
    let rejected = status.nodes.as_ref().map(|nodes| nodes.rejected > 0);
    (
        conditions,
        status.observed_generation,
        status.rules,
        rejected,
        status.overridden.clone(),
    )
}

fn status(known: &Known, answers: &Answers<'_>, by: Option<&str>, now: &Time) -> SamplingPolicyStatus {
    let good = known.good.as_ref().map(|(_, policy)| policy);
    let nodes = good.map_or_else(|| nobody(answers), |policy| nodes(policy, answers));
    let programmed = programmed(known, &nodes, answers);
    let mut status = known.status.clone();
    if programmed.status == ConditionStatus::True {
        status.version = answers.fleet.target.as_ref().map(short);
    }
    for finding in [accepted(known), programmed] {
        conditions::set(&mut status.conditions, &finding, Some(known.generation), now);
    }
    status.observed_generation = Some(known.generation);
    status.rules = good.map(|policy| u32::try_from(policy.rules.len()).unwrap_or(u32::MAX));
    status.applied = Some(nodes.summary());
    status.nodes = Some(nodes);
    status.overridden = by.map(|by| sampling_policy::Overridden {
        by: vec![by.to_owned()],
    });
    status
}

fn accepted(known: &Known) -> Finding {
    let Some(invalid) = &known.invalid else {
        return Finding {
            kind: names::CONDITION_ACCEPTED,
            status: ConditionStatus::True,
            reason: "Accepted",
            message: "the spec makes sense".to_owned(),
        };
    };
    let rest = match known.good {
        Some((generation, _)) => format!("; generation {generation} stays in force"),
        None => String::new(),
    };
    Finding {
        kind: names::CONDITION_ACCEPTED,
        status: ConditionStatus::False,
        reason: invalid.category(),
        message: format!("{invalid}{rest}"),
    }
}

fn programmed(known: &Known, nodes: &Nodes, answers: &Answers<'_>) -> Finding {
    let (reason, message) = match (&known.good, answers.unpublished) {
        (None, _) => (
            "NotAccepted",
            "there is no spec to apply: see the condition Accepted".to_owned(),
        ),
        (Some(_), Some(why)) if nodes.applied < nodes.desired => ("NotPublished", why.to_owned()),
        _ if nodes.desired == 0 => ("NoNodes", no_nodes()),
        _ if nodes.applied >= nodes.desired && known.invalid.is_some() => (
            "NotAccepted",
            "the nodes sample as the last accepted generation says".to_owned(),
        ),
        _ if nodes.applied >= nodes.desired => {
            return Finding {
                kind: names::CONDITION_PROGRAMMED,
                status: ConditionStatus::True,
                reason: "Programmed",
                message: format!("{} nodes sample as the policy says", nodes.summary()),
            };
        }
        _ => match nodes.first_errors.first() {
            Some(error) => ("Rejected", format!("node {}: {}", error.node, error.message)),
            None => (
                "Pending",
                format!(
                    "{} nodes sample as the policy says; waiting for the others",
                    nodes.summary()
                ),
            ),
        },
    };
    Finding {
        kind: names::CONDITION_PROGRAMMED,
        status: ConditionStatus::False,
        reason,
        message,
    }
}

fn no_nodes() -> String {
    "no node runs a worker: see the DaemonSet shoalwatch-node-worker in the operator's namespace".to_owned()
}

fn nobody(answers: &Answers<'_>) -> Nodes {
    let desired = desired(answers);
    Nodes {
        desired,
        stale: desired,
        ..Nodes::default()
    }
}

/// What the nodes say to one policy.
fn nodes(policy: &Policy, answers: &Answers<'_>) -> Nodes {
    let holds = |version: &Version| answers.published.holds(version, policy);
    let applied = |worker: &Worker| worker.connected && worker.applied.as_ref().is_some_and(holds);
    let mut nodes = Nodes {
        desired: desired(answers),
        ..Nodes::default()
    };
    for (name, worker) in &answers.fleet.workers {
        if applied(worker) {
            nodes.applied += 1;
            continue;
        }
        // A configuration is refused whole: what its node has not applied yet is refused with it.
        let refused = worker
            .rejected
            .as_ref()
            .filter(|refused| worker.connected && holds(&refused.version));
        if let Some(refused) = refused {
            nodes.rejected += 1;
            if nodes.first_errors.len() < Nodes::FIRST_ERRORS_MAX {
                nodes.first_errors.push(FirstError {
                    node: name.clone(),
                    message: refused.reason.chars().take(NODE_MESSAGE).collect(),
                });
            }
        }
    }
    nodes.stale = nodes
        .desired
        .saturating_sub(nodes.applied)
        .saturating_sub(nodes.rejected);
    nodes
}

/// At least the workers that are there: a DaemonSet that was just made says 0.
fn desired(answers: &Answers<'_>) -> u32 {
    let workers = answers.fleet.workers.values();
    let heard_of = match answers.desired {
        Some(_) => workers.filter(|worker| worker.connected).count(),
        None => workers.count(),
    };
    u32::try_from(heard_of)
        .unwrap_or(u32::MAX)
        .max(answers.desired.unwrap_or(0))
}

fn short(version: &Version) -> String {
    let hash: String = version.hash.chars().take(SHORT_HASH).collect();
    format!("{}-{hash}", version.term)
}
