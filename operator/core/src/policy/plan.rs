//! Policies in order of precedence, and the plan a node gets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::canonical::{Canonical, Hasher};
use super::catalog::Catalog;
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
    pub policies: Vec<Arc<PlannedPolicy>>,
    /// By id.
    pub slis: Vec<Arc<SliSpec>>,
}

/// A policy in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPolicy {
    /// The policy.
    pub policy: Policy,
    /// It is a default for every namespace.
    pub everywhere: bool,
    /// Lower-case hex SHA-256 of what nodes are told of it.
    pub hash: String,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: nobody knows what runs on the node.
    All,
    /// The pods on the node: their workloads, by namespace. A pod that is part of no workload still names its namespace.
    Pods(BTreeMap<String, BTreeSet<String>>),
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
    Catalog::new(root_namespace, policies.to_vec(), slis.to_vec()).plan(scope, term)
}

impl NodePlan {
    /// Of entries that are in order already.
    pub(super) fn new(
        policies: Vec<Arc<PlannedPolicy>>,
        slis: Vec<Arc<SliSpec>>,
        term: u64,
    ) -> Result<Self, PlanError> {
        if policies.len() > MAX_POLICIES {
            return Err(PlanError::TooManyPolicies(policies.len()));
        }
        if slis.len() > MAX_SLIS {
            return Err(PlanError::TooManySlis(slis.len()));
        }
        let version = Version {
            term,
            hash: hash(&policies, &slis),
        };
        Ok(Self {
            version,
            policies,
            slis,
        })
    }
}

/// Policies that surely never apply, because a stronger one selects every pod they select. What else is overridden, pod by
/// pod, the nodes report.
#[must_use]
pub fn overridden<'a>(root_namespace: &str, policies: impl IntoIterator<Item = &'a Policy>) -> Vec<Overridden> {
    let mut sorted: Vec<_> = policies
        .into_iter()
        .map(|policy| (policy.namespace == root_namespace, policy))
        .collect();
    sorted.sort_by(|one, other| precedence(one.0, one.1).cmp(&precedence(other.0, other.1)));
    // A policy of another namespace selects none of its pods, and a default comes after all of them.
    let mut stronger: BTreeMap<&str, Vec<&Policy>> = BTreeMap::new();
    let mut beaten = Vec::new();
    for (_, policy) in sorted {
        let rivals = stronger.entry(&policy.namespace).or_default();
        let covers = |rival: &&&Policy| rival.selector.surely_covers(&policy.selector);
        if let Some(winner) = rivals.iter().find(covers) {
            beaten.push(Overridden {
                policy: policy.id(),
                by: winner.id(),
            });
        }
        rivals.push(policy);
    }
    beaten
}

pub(super) type Precedence<'a> = (bool, Reverse<i32>, Millis, &'a str, &'a str);

/// The least one wins.
pub(super) fn precedence(everywhere: bool, policy: &Policy) -> Precedence<'_> {
    (
        everywhere,
        Reverse(policy.priority),
        policy.created,
        &policy.name,
        &policy.namespace,
    )
}

fn hash(policies: &[Arc<PlannedPolicy>], slis: &[Arc<SliSpec>]) -> String {
    let mut hasher = Hasher::default();
    policies.write(&mut hasher);
    slis.write(&mut hasher);
    hasher.finish()
}

impl Canonical for PlannedPolicy {
    /// Its hash says the rest.
    fn write(&self, out: &mut Hasher) {
        self.hash.write(out);
    }
}

impl PlannedPolicy {
    pub(super) fn new(root_namespace: &str, policy: Policy) -> Self {
        let everywhere = policy.namespace == root_namespace;
        let mut hasher = Hasher::default();
        everywhere.write(&mut hasher);
        policy.write(&mut hasher);
        Self {
            policy,
            everywhere,
            hash: hasher.finish(),
        }
    }
}
