//! The cluster as the watches last told it: small views of the objects, never the objects themselves.
//!
//! A view keeps what decisions need and nothing else: of a `ReplicaSet` its release, not its template. What an act needs beyond
//! that is read from the API server at the time of the act.

mod mirror;
mod readiness;
pub(crate) mod watches;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::ResourceExt;
use kube::core::{DeserializeGuard, DynamicObject, Resource};
use kube::runtime::watcher::Event;
use shoalwatch_core::Millis;
use shoalwatch_core::release::Crashing;
use shoalwatch_crds::{SamplingPolicy, SamplingPolicySpec, Slo, SloSpec};

pub(crate) use mirror::{Guarded, Mirror};
pub(crate) use readiness::Readiness;
pub(crate) use workloads::{DeploymentView, ReplicaSetView};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name in it.
    pub(crate) name: String,
}

impl Name {
    /// Of an object.
    pub(crate) fn of(object: &impl Resource) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// One thing that a watch told.
#[derive(Debug)]
pub(crate) enum Change {
    /// Of a `SamplingPolicy`.
    Policy(Box<Event<DeserializeGuard<SamplingPolicy>>>),
    /// Of an SLO.
    Slo(Box<Event<DeserializeGuard<Slo>>>),
    /// Of a Deployment.
    Deployment(Box<Event<DynamicObject>>),
    /// Of a `ReplicaSet`.
    ReplicaSet(Box<Event<DynamicObject>>),
    /// Of the workers' DaemonSet.
    Workers(Box<Event<DynamicObject>>),
    /// Deployments or `ReplicaSets` may not be watched, or may be again.
    Forbidden(&'static str, bool),
}

impl Change {
    /// The Deployment that a watch told something new of.
    pub(crate) fn target(&self) -> Option<Name> {
        match self {
            Self::Deployment(event) => match &**event {
                Event::Apply(object) => Some(Name::of(object)),
                _ => None,
            },
            Self::ReplicaSet(event) => match &**event {
                Event::Apply(object) => owner(object),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The Deployment of a `ReplicaSet`.
fn owner(set: &DynamicObject) -> Option<Name> {
    let mut owners = set.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true) && owner.kind == "Deployment")?;
    Some(Name {
        namespace: set.namespace().unwrap_or_default(),
        name: owner.name.clone(),
    })
}

/// Everything the controllers see.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Sampling policies.
    pub(crate) policies: Mirror<Guarded<SamplingPolicySpec>>,
    /// SLOs.
    pub(crate) slos: Mirror<Guarded<SloSpec>>,
    /// Deployments.
    pub(crate) deployments: Mirror<DeploymentView>,
    replica_sets: Mirror<ReplicaSetView>,
    /// By the uid of their Deployment.
    owned: BTreeMap<String, BTreeSet<Name>>,
    desired_workers: Mirror<u32>,
    /// Kinds that may not be watched.
    forbidden: BTreeSet<&'static str>,
}

impl World {
    /// Whether a policy or an SLO says something else than before, or is not there any more.
    pub(crate) fn is_news(&self, change: &Change) -> bool {
        match change {
            Change::Policy(event) => self.policies.is_news(event),
            Change::Slo(event) => self.slos.is_news(event),
            _ => false,
        }
    }

    /// Takes in what a watch told.
    pub(crate) fn apply(&mut self, change: Change, now: Millis) {
        match change {
            Change::Policy(event) => self.policies.apply(*event, |_, object| {
                Some(Guarded::new(object, |policy| (policy.spec, policy.status)))
            }),
            Change::Slo(event) => self.slos.apply(*event, |_, object| {
                Some(Guarded::new(object, |slo| (slo.spec, slo.status)))
            }),
            Change::Deployment(event) => {
                self.deployments
                    .apply(*event, |known, object| Some(DeploymentView::newer(known, &object)));
            }
            Change::ReplicaSet(event) => self.replica_set(*event, now),
            Change::Workers(event) => self
                .desired_workers
                .apply(*event, |_, object| workloads::desired_pods(&object)),
            Change::Forbidden(kind, true) => drop(self.forbidden.insert(kind)),
            Change::Forbidden(kind, false) => drop(self.forbidden.remove(kind)),
        }
    }

    /// Takes in a Deployment that was just read from the API server.
    pub(crate) fn refresh(&mut self, target: &Name, found: Option<DynamicObject>) {
        match found {
            Some(object) => self
                .deployments
                .update(target, |known| Some(DeploymentView::newer(known, &object))),
            None => self.deployments.update(target, |_| None),
        }
    }

    fn replica_set(&mut self, event: Event<DynamicObject>, now: Millis) {
        let listed = !matches!(event, Event::Apply(_));
        let whole = matches!(event, Event::InitDone);
        let touched = match &event {
            Event::Apply(object) | Event::Delete(object) => Some(Name::of(object)),
            _ => None,
        };
        self.replica_sets.apply(event, |known, object| {
            ReplicaSetView::followed(known, &object, listed, now)
        });
        if whole {
            self.owned.clear();
            for (name, view) in self.replica_sets.iter() {
                self.owned.entry(view.owner.clone()).or_default().insert(name.clone());
            }
        } else if let Some(name) = touched {
            self.reindex(&name);
        }
    }

    fn reindex(&mut self, name: &Name) {
        match self.replica_sets.get(name) {
            Some(view) => {
                self.owned.entry(view.owner.clone()).or_default().insert(name.clone());
            }
            None => self.owned.retain(|_, names| {
                names.remove(name);
                !names.is_empty()
            }),
        }
    }

    /// `ReplicaSets` of a Deployment.
    pub(crate) fn replica_sets_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a ReplicaSetView> {
        let names = self.owned.get(uid).into_iter().flatten();
        names.filter_map(|name| self.replica_sets.get(name))
    }

    /// Names of the `ReplicaSets` of a Deployment that have pods which are not ready.
    pub(crate) fn waiting_sets_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'a Name, &'a ReplicaSetView)> {
        let names = self.owned.get(uid).into_iter().flatten();
        let sets = names.filter_map(|name| Some((name, self.replica_sets.get(name)?)));
        sets.filter(|(_, set)| set.waits)
    }

    /// Takes in what the pods of a set were seen to do.
    pub(crate) fn saw_pods(&mut self, set: &Name, found: Crashing, now: Millis) {
        self.replica_sets.update(set, |known| {
            let mut view = known?.clone();
            view.crashing = Some((now, found)).filter(|_| view.waits);
            Some(view)
        });
    }

    /// Whether Deployments and `ReplicaSets` may not be watched.
    #[must_use]
    pub(crate) fn workloads_forbidden(&self) -> bool {
        !self.forbidden.is_empty()
    }

    /// Nodes that should run a worker; `None` without the workers' DaemonSet.
    #[must_use]
    pub(crate) fn desired_workers(&self) -> Option<u32> {
        self.desired_workers.iter().map(|(_, desired)| *desired).max()
    }

    /// Whether the policies and SLOs are all known: before that, what is missing must not be taken for deleted.
    #[must_use]
    pub(crate) fn kinds_synced(&self) -> bool {
        self.policies.is_synced() && self.slos.is_synced()
    }

    /// Whether targets can be told to be there or not.
    #[must_use]
    pub(crate) fn workloads_synced(&self) -> bool {
        self.workloads_forbidden() || (self.deployments.is_synced() && self.replica_sets.is_synced())
    }
}

#[cfg(test)]
mod tests;
