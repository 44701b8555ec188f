//! What each node is planned to do: what concerns its own pods. Only nodes whose needs or whose policies changed are planned
//! again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use shoalwatch_core::policy::{Catalog, PlanError, PlannedPolicy, Policy, Scope, SliSpec, Touched};

use super::sampling_policy::compile::Encoder;
use super::world::watches::WORKERS;
use crate::distribution::residents::{Residents, Sight};
use crate::distribution::{Plan, Plans};

/// The plans, and what they were made of.
#[derive(Debug)]
pub(crate) struct Planner {
    residents: Residents,
    home: String,
    catalog: Catalog,
    /// Of nodes with pods.
    nodes: BTreeMap<String, Node>,
    /// Of every other node.
    otherwise: Option<Node>,
    blind: bool,
}

/// One node.
#[derive(Debug)]
struct Node {
    scope: Scope,
    namespaces: Arc<BTreeSet<String>>,
    plan: Option<Arc<Plan>>,
    /// In the plan.
    policies: Arc<[Arc<PlannedPolicy>]>,
    /// Why the plan is not the newest.
    failed: Option<PlanError>,
}

/// Nodes whose newest plan could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpublished {
    /// Of the first.
    pub(crate) why: String,
    /// Whose policies they lack; `None`: everybody's.
    namespaces: Option<BTreeSet<String>>,
}

/// Who needs what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Namespaces, by the node that has pods of them; `None`: every node needs everything.
    nodes: Option<HashMap<String, Arc<BTreeSet<String>>>>,
    /// Nodes that a worker was scheduled to.
    workers: BTreeSet<String>,
}

impl Planner {
    pub(crate) fn new(residents: Residents, home: &str) -> Self {
        Self {
            residents,
            home: home.to_owned(),
            catalog: Catalog::default(),
            nodes: BTreeMap::new(),
            otherwise: None,
            blind: false,
        }
    }

    /// Whether it is known what nodes need.
    pub(crate) fn is_ready(&self) -> bool {
        self.residents.sight() != Sight::Unlisted
    }

    /// Takes in what is in force now; `None`: as before. Returns whether any plan is another one.
    pub(crate) fn follow(&mut self, in_force: Option<(Vec<Policy>, Vec<SliSpec>)>) -> bool {
        let touched = match in_force {
            Some((policies, slis)) => {
                let catalog = Catalog::new(&self.home, policies, slis);
                let touched = catalog.touched_since(&self.catalog);
                self.catalog = catalog;
                touched
            }
            None => Touched::Namespaces(BTreeSet::new()),
        };
        let mut changed = self.follow_sight();
        let mut encoder = Encoder::default();
        for (node, scope) in self.residents.take_changed() {
            changed |= self.move_to(node, scope, &mut encoder);
        }
        changed |= self.otherwise.is_none();
        let rest = if self.blind {
            Scope::All
        } else {
            Scope::Pods(BTreeMap::new())
        };
        let otherwise = self.otherwise.get_or_insert_with(|| Node::new(rest));
        for node in self.nodes.values_mut().chain([otherwise]) {
            if node.plan.is_none() || touched.concerns(&node.scope) {
                changed |= node.plan_again(&self.catalog, &mut encoder);
            }
        }
        changed
    }

    /// Without sight there is one plan for all.
    fn follow_sight(&mut self) -> bool {
        let blind = self.residents.sight() == Sight::Blind;
        let changed = blind != self.blind;
        if changed {
            (self.blind, self.otherwise) = (blind, None);
            self.nodes.clear();
            self.residents.all_changed();
        }
        changed
    }

    /// Only what a node needs decides: a pod of a namespace that nobody wrote a policy for changes nothing.
    fn move_to(&mut self, name: String, scope: Option<Scope>, encoder: &mut Encoder) -> bool {
        let Some(scope) = scope.filter(|_| !self.blind) else {
            return self.nodes.remove(&name).is_some();
        };
        let mut node = Node::new(scope);
        if let Some(known) = self.nodes.remove(&name) {
            (node.plan, node.policies) = (known.plan, known.policies);
        }
        let changed = node.plan_again(&self.catalog, encoder);
        self.nodes.insert(name, node);
        changed
    }

    /// All of them, for the workers; `None`: there was never one that could be made.
    pub(crate) fn plans(&self) -> Option<Plans> {
        let otherwise = self.otherwise.as_ref()?.plan.clone();
        let nodes = self.nodes.iter().map(|(name, node)| (name.clone(), node.plan.clone()));
        let nodes: HashMap<_, _> = nodes.collect();
        let any = otherwise.is_some() || nodes.values().any(Option::is_some);
        any.then(|| Plans::new(otherwise, nodes))
    }

    /// What is in the plans, by their hash.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&str, &Arc<[Arc<PlannedPolicy>]>)> {
        let nodes = self.nodes.values().chain(&self.otherwise);
        nodes.filter_map(|node| Some((node.plan.as_ref()?.hash(), &node.policies)))
    }

    /// Every policy in force.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &Arc<PlannedPolicy>> {
        self.catalog.policies()
    }

    pub(crate) fn needs(&self) -> Needs {
        let nodes = self
            .nodes
            .iter()
            .map(|(name, node)| (name.clone(), Arc::clone(&node.namespaces)));
        let works = |node: &Node| match &node.scope {
            Scope::All => false,
            Scope::Pods(pods) => pods.get(&self.home).is_some_and(|names| names.contains(WORKERS)),
        };
        let workers = self.nodes.iter().filter(|(_, node)| works(node));
        Needs {
            nodes: (!self.blind).then(|| nodes.collect()),
            workers: workers.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Nodes whose newest plan could not be made keep the one before.
    pub(crate) fn unpublished(&self) -> Option<Unpublished> {
        let nodes = self.nodes.iter().map(|(name, node)| (Some(name), node));
        let all = nodes.chain(self.otherwise.iter().map(|node| (None, node)));
        let failed: Vec<_> = all
            .filter_map(|(name, node)| Some((name, node, node.failed?)))
            .collect();
        let (first, _, error) = failed.first()?;
        let why = match first {
            Some(name) => format!("node {name}: {error}"),
            None => error.to_string(),
        };
        let namespaces = failed.iter().map(|(_, node, _)| match &node.scope {
            Scope::All => None,
            Scope::Pods(pods) => Some(pods.keys().cloned().collect::<BTreeSet<_>>()),
        });
        let namespaces: Option<Vec<_>> = namespaces.collect();
        Some(Unpublished {
            why,
            namespaces: namespaces.map(|all| all.into_iter().flatten().collect()),
        })
    }
}

impl Node {
    fn new(scope: Scope) -> Self {
        let namespaces = match &scope {
            Scope::All => BTreeSet::new(),
            Scope::Pods(pods) => pods.keys().cloned().collect(),
        };
        Self {
            scope,
            namespaces: Arc::new(namespaces),
            plan: None,
            policies: Arc::default(),
            failed: None,
        }
    }

    /// Whether the plan is another one now.
    fn plan_again(&mut self, catalog: &Catalog, encoder: &mut Encoder) -> bool {
        let plan = match catalog.plan(&self.scope, 0) {
            Ok(plan) => plan,
            Err(error) => {
                self.failed = Some(error);
                return false;
            }
        };
        self.failed = None;
        let fresh = Plan::encoded(encoder.node_config(&plan));
        // Equal content may come from other objects: a priority that changes no order.
        self.policies = plan.policies.into();
        if self.plan.as_ref().is_some_and(|known| known.hash() == fresh.hash()) {
            return false;
        }
        self.plan = Some(Arc::new(fresh));
        true
    }
}

impl Unpublished {
    /// Whether some node lacks this policy for it.
    pub(crate) fn concerns(&self, namespace: &str, everywhere: bool) -> bool {
        let namespaces = self.namespaces.as_ref();
        everywhere || namespaces.is_none_or(|names| names.contains(namespace))
    }
}

impl Needs {
    /// Whether a node needs the policies of a namespace: asked of one node for many namespaces.
    pub(crate) fn of(&self, node: &str) -> impl Fn(&str) -> bool {
        let names = self.nodes.as_ref().map(|nodes| nodes.get(node));
        move |namespace| names.is_none_or(|names| names.is_some_and(|names| names.contains(namespace)))
    }

    /// Whether it is known which nodes need which policies.
    pub(crate) fn are_known(&self) -> bool {
        self.nodes.is_some()
    }

    /// How many nodes need the policies of each namespace, of those that run a worker: one was scheduled there, or it was `heard`.
    pub(crate) fn count(&self, heard: impl Fn(&str) -> bool) -> HashMap<&str, u32> {
        let mut counts = HashMap::new();
        for (node, names) in self.nodes.iter().flatten() {
            if self.workers.contains(node) || heard(node) {
                for name in names.iter() {
                    *counts.entry(name.as_str()).or_insert(0_u32) += 1;
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
