//! Policies in order of precedence, and the plan a node gets.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::canonical::{Canonical, Hasher};
use super::model::{Policy, SliSpec};
use crate::Millis;

/// Most policies of one plan (`NodeConfig.policies` on the wire).
pub const MAX_POLICIES: usize = 256;
/// Most indicators of one plan (`NodeConfig.slis` on the wire).
pub const MAX_SLIS: usize = 512;

/// Which configuration is meant. Versions are compared for equality only, terms are ordered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// The leader's lease term.
    pub term: u64,
    /// Lower-case hex SHA-256 of the plan.
    pub hash: String,
}

/// What one node must do. Whole: what is not in it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct NodePlan {
    /// Its version.
    pub version: Version,
    /// In order of precedence.
    pub policies: Vec<PlannedPolicy>,
    /// By id.
    pub slis: Vec<SliSpec>,
}

/// A policy in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPolicy {
    /// The policy.
    pub policy: Policy,
    /// It is a default for every namespace.
    pub everywhere: bool,
}

/// Which namespaces a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those with pods on the node.
    Namespaces(BTreeSet<String>),
}

/// A policy that another one beats on every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// `namespace/name` of the one that never applies.
    pub policy: String,
    /// `namespace/name` of the one that wins.
    pub by: String,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too many policies.
    #[error("{0} sampling policies concern one node, the maximum is 256: merge some into rules of one policy")]
    TooManyPolicies(usize),
    /// Too many indicators.
    #[error("{0} SLOs concern one node, the maximum is 512: remove some")]
    TooManySlis(usize),
}

impl PlanError {
    /// A bounded word for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::TooManyPolicies(_) => "too_many_policies",
            Self::TooManySlis(_) => "too_many_slis",
        }
    }
}

/// Compiles the plan of the nodes in `scope`, the same for any order of the inputs.
pub fn compile(
    root_namespace: &str,
    policies: &[Policy],
    slis: &[SliSpec],
    scope: &Scope,
    term: u64,
) -> Result<NodePlan, PlanError> {
    let mut planned: Vec<_> = policies
        .iter()
        .map(|policy| PlannedPolicy {
            policy: policy.clone(),
            everywhere: policy.namespace == root_namespace,
        })
        .filter(|planned| planned.everywhere || scope.has(&planned.policy.namespace))
        .collect();
    planned.sort_by(|one, other| precedence(one).cmp(&precedence(other)));
    let mut slis: Vec<_> = slis.iter().filter(|sli| scope.has(&sli.namespace)).cloned().collect();
    slis.sort_by(|one, other| one.id.cmp(&other.id));
    if planned.len() > MAX_POLICIES {
        return Err(PlanError::TooManyPolicies(planned.len()));
    }
    if slis.len() > MAX_SLIS {
        return Err(PlanError::TooManySlis(slis.len()));
    }
    Ok(NodePlan {
        version: Version {
            term,
            hash: hash(&planned, &slis),
        },
        policies: planned,
        slis,
    })
}

/// Policies that surely never apply, because a stronger one selects every pod they select. What else is overridden, pod by
/// pod, the nodes report.
#[must_use]
pub fn overridden(root_namespace: &str, policies: &[Policy]) -> Vec<Overridden> {
    let mut planned: Vec<_> = policies
        .iter()
        .map(|policy| PlannedPolicy {
            policy: policy.clone(),
            everywhere: policy.namespace == root_namespace,
        })
        .collect();
    planned.sort_by(|one, other| precedence(one).cmp(&precedence(other)));
    let beaten = |(place, loser): (usize, &PlannedPolicy)| {
        let winner = planned.iter().take(place).find(|stronger| stronger.covers(loser))?;
        Some(Overridden {
            policy: loser.policy.id(),
            by: winner.policy.id(),
        })
    };
    planned.iter().enumerate().filter_map(beaten).collect()
}

type Precedence<'a> = (bool, Reverse<i32>, Millis, &'a str, &'a str);

/// The least one wins.
fn precedence(planned: &PlannedPolicy) -> Precedence<'_> {
    let policy = &planned.policy;
    (
        planned.everywhere,
        Reverse(policy.priority),
        policy.created,
        &policy.name,
        &policy.namespace,
    )
}

fn hash(policies: &[PlannedPolicy], slis: &[SliSpec]) -> String {
    let mut hasher = Hasher::default();
    policies.write(&mut hasher);
    slis.write(&mut hasher);
    hasher.finish()
}

impl Canonical for PlannedPolicy {
    fn write(&self, out: &mut Hasher) {
        self.everywhere.write(out);
        self.policy.write(out);
    }
}

impl PlannedPolicy {
    fn covers(&self, weaker: &Self) -> bool {
        let same_pods = self.everywhere || self.policy.namespace == weaker.policy.namespace;
        same_pods && self.policy.selector.surely_covers(&weaker.policy.selector)
    }
}

impl Scope {
    fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }
}
