//! What the nodes must do: sampling policies and indicators, compiled into one versioned plan.
//!
//! **Precedence.** Exactly one policy wins a pod, whole: of its own namespace before the root namespace, then the higher
//! priority, then the older, then by name. The plan lists policies in that order, so a node takes the first that matches.
//!
//! **Narrowing.** A node is told what concerns its own pods: the policies of their namespaces and the defaults, and the
//! indicators of their workloads. So a cluster may have far more of both than a plan may.
//!
//! **Version.** The SHA-256 of the plan's canonical encoding, under the leader's lease term: equal content has an equal hash,
//! whatever the order in which objects arrived.

mod canonical;
mod catalog;
mod model;
mod plan;

pub use catalog::{Catalog, Touched};
pub use model::{
    HttpStatus, Limit, Operator, Policy, Probability, Requirement, Route, Rule, Selector, SliSpec, ValueError,
};
pub use plan::{
    MAX_POLICIES, MAX_SLIS, NodePlan, Overridden, PlanError, PlannedPolicy, Scope, Version, compile, overridden,
};
