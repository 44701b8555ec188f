//! The status of a policy, from what the nodes answered.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use shoalwatch_core::policy::Overridden;
use shoalwatch_crds::SamplingPolicyStatus;
use shoalwatch_crds::conditions::{self, ConditionStatus, Finding};
use shoalwatch_crds::names;
use shoalwatch_crds::sampling_policy::{self, Nodes};

use super::observe::{Known, Policies};
use super::published::Published;
use super::tally::Tally;
use crate::controllers::planner::{Needs, Unpublished};
use crate::controllers::world::Name;
use crate::distribution::Fleet;
use crate::status::Urgency;

/// Hex digits of a version in a status: enough to tell two apart by eye.
const SHORT_HASH: usize = 8;

/// What a status rests on besides the policy.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    /// What the nodes say.
    pub(crate) fleet: &'a Fleet,
    /// What they were told.
    pub(crate) published: &'a Published,
    /// Who needs what of it.
    pub(crate) needs: &'a Needs,
    /// The root namespace.
    pub(crate) home: &'a str,
    /// How many there should be; `None`: nobody says, so those that were heard of.
    pub(crate) desired: Option<u32>,
    /// Policies that never apply.
    pub(crate) overridden: &'a [Overridden],
    /// Why some nodes are not told the newest specs.
    pub(crate) unpublished: Option<&'a Unpublished>,
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
        let tally = Tally::count(answers);
        let mut planned = Vec::new();
        for (name, known) in &mut self.known {
            let by = losers.get(name.to_string().as_str()).copied();
            let status = status(known, answers, &tally, by, now);
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
                found: known.found.take(),
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

fn status(
    known: &Known,
    answers: &Answers<'_>,
    tally: &Tally<'_>,
    by: Option<&str>,
    now: &Time,
) -> SamplingPolicyStatus {
    let good = known.good.as_ref().map(|(_, policy)| policy);
    let everywhere = good.is_some_and(|policy| policy.namespace == answers.home);
    let newest = good.and_then(|policy| answers.published.newest(&policy.id()));
    let nodes = good.map_or_else(|| nobody(tally), |policy| tally.nodes(policy, newest, everywhere));
    let programmed = programmed(known, &nodes, answers, tally);
    let mut status = known.status.clone();
    if let (ConditionStatus::True, Some(target), Some(newest)) = (programmed.status, &answers.fleet.target, newest) {
        status.version = Some(short(target.term, &newest.hash));
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

fn programmed(known: &Known, nodes: &Nodes, answers: &Answers<'_>, tally: &Tally<'_>) -> Finding {
    let unpublished = known.good.as_ref().and_then(|(_, policy)| {
        let everywhere = policy.namespace == answers.home;
        answers
            .unpublished
            .filter(|these| these.concerns(&policy.namespace, everywhere))
    });
    let (reason, message) = match (&known.good, unpublished) {
        (None, _) => (
            "NotAccepted",
            "there is no spec to apply: see the condition Accepted".to_owned(),
        ),
        (Some(_), Some(these)) if nodes.applied < nodes.desired => ("NotPublished", these.why.clone()),
        _ if tally.workers == 0 => ("NoNodes", no_nodes()),
        _ if nodes.applied >= nodes.desired && known.invalid.is_some() => (
            "NotAccepted",
            "the nodes sample as the last accepted generation says".to_owned(),
        ),
        _ if nodes.applied >= nodes.desired => {
            let message = if nodes.desired == 0 {
                "no node has pods of this namespace; one that gets some is told at once".to_owned()
            } else {
                format!("{} nodes sample as the policy says", nodes.summary())
            };
            return Finding {
                kind: names::CONDITION_PROGRAMMED,
                status: ConditionStatus::True,
                reason: "Programmed",
                message,
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

fn nobody(tally: &Tally<'_>) -> Nodes {
    Nodes {
        desired: tally.workers,
        stale: tally.workers,
        ..Nodes::default()
    }
}

fn short(term: u64, hash: &str) -> String {
    let hash: String = hash.chars().take(SHORT_HASH).collect();
    format!("{term}-{hash}")
}
