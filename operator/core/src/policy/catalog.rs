//! All policies and indicators, in an order that tells what one node needs without a look at the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Policy, SliSpec};
use super::plan::{NodePlan, PlanError, PlannedPolicy, Scope, precedence};

/// Everything that nodes may have to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// For every namespace, in order of precedence.
    defaults: Vec<Arc<PlannedPolicy>>,
    namespaces: BTreeMap<String, Namespace>,
}

/// What concerns the pods of one namespace only.
#[derive(Clone, Debug, Default, PartialEq)]
struct Namespace {
    /// In order of precedence.
    policies: Vec<Arc<PlannedPolicy>>,
    /// By workload, and of each by id.
    slis: BTreeMap<String, Vec<Arc<SliSpec>>>,
}

/// Whose plans are others in one catalogue than in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Those of every node.
    Everything,
    /// Those of nodes with pods in these namespaces.
    Namespaces(BTreeSet<String>),
}

impl Catalog {
    /// The same for any order of the inputs.
    #[must_use]
    pub fn new(root_namespace: &str, policies: Vec<Policy>, slis: Vec<SliSpec>) -> Self {
        let mut catalog = Self::default();
        for policy in policies {
            let planned = Arc::new(PlannedPolicy::new(root_namespace, policy));
            let list = if planned.everywhere {
                &mut catalog.defaults
            } else {
                &mut catalog.namespace(&planned.policy.namespace).policies
            };
            list.push(planned);
        }
        for sli in slis {
            let namespace = catalog.namespace(&sli.namespace);
            let list = namespace.slis.entry(sli.workload.clone()).or_default();
            list.push(Arc::new(sli));
        }
        catalog.sort();
        catalog
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.namespaces.entry(name.to_owned()).or_default()
    }

    fn sort(&mut self) {
        sort_policies(&mut self.defaults);
        for namespace in self.namespaces.values_mut() {
            sort_policies(&mut namespace.policies);
            for slis in namespace.slis.values_mut() {
                slis.sort_by(|one, other| one.id.cmp(&other.id));
            }
        }
    }

    /// What a node in `scope` must do, and nothing else.
    pub fn plan(&self, scope: &Scope, term: u64) -> Result<NodePlan, PlanError> {
        let (mut policies, mut slis) = (Vec::new(), Vec::new());
        match scope {
            Scope::All => {
                for namespace in self.namespaces.values() {
                    policies.extend(namespace.policies.iter().cloned());
                    slis.extend(namespace.slis.values().flatten().cloned());
                }
            }
            Scope::Pods(pods) => {
                for (namespace, workloads) in pods {
                    let Some(namespace) = self.namespaces.get(namespace) else {
                        continue;
                    };
                    policies.extend(namespace.policies.iter().cloned());
                    let concerned = workloads.iter().filter_map(|workload| namespace.slis.get(workload));
                    slis.extend(concerned.flatten().cloned());
                }
            }
        }
        sort_policies(&mut policies);
        policies.extend(self.defaults.iter().cloned());
        slis.sort_by(|one, other| one.id.cmp(&other.id));
        NodePlan::new(policies, slis, term)
    }

    /// Every policy.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PlannedPolicy>> {
        let own = self.namespaces.values().flat_map(|namespace| &namespace.policies);
        own.chain(&self.defaults)
    }

    /// Where this catalogue is not as `before`.
    #[must_use]
    pub fn touched_since(&self, before: &Self) -> Touched {
        if self.defaults != before.defaults {
            return Touched::Everything;
        }
        let names = self.namespaces.keys().chain(before.namespaces.keys());
        let changed = names.filter(|name| self.namespaces.get(*name) != before.namespaces.get(*name));
        Touched::Namespaces(changed.cloned().collect())
    }
}

impl Touched {
    /// Whether a plan for `scope` may be another one.
    #[must_use]
    pub fn concerns(&self, scope: &Scope) -> bool {
        match (self, scope) {
            (Self::Everything, _) => true,
            (Self::Namespaces(names), Scope::All) => !names.is_empty(),
            (Self::Namespaces(names), Scope::Pods(pods)) => names.iter().any(|name| pods.contains_key(name)),
        }
    }
}

fn sort_policies(policies: &mut [Arc<PlannedPolicy>]) {
    policies.sort_by(|one, other| {
        precedence(one.everywhere, &one.policy).cmp(&precedence(other.everywhere, &other.policy))
    });
}
