//! What runs on which node: a worker is told what concerns its node's pods, and believed about those only.
//!
//! The token proves the node, and the API server says what runs there. So whoever takes over one node can lie about the pods
//! of that node, and not have a release undone that runs elsewhere.
//!
//! A pod is on its node from when it was scheduled, which is before its first process is started, and for 10 minutes after it is
//! gone: so a worker can report of it to the end, and a pod that comes again and again pushes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client,
    api::ApiResource,
    core::{NotUsed, Object},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use shoalwatch_core::policy::Scope;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::controllers::listed;

/// Label of a Deployment's pods: which of its templates made them.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Pods known at most: what one Kubernetes cluster is tested with.
pub(crate) const MAX_PODS: usize = 150_000;
/// How long a worker may still report what a pod counted that is gone.
const REMEMBERED: Duration = Duration::from_mins(10);
/// How often what is gone for so long is forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// What is read of a pod. The rest is not even kept while it is parsed.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

type SeenPod = Object<Spec, NotUsed>;

/// Whether a release has pods on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residence {
    /// The pods were never listed yet.
    Unlisted,
    /// Not that the API server knew.
    Stranger,
    /// It has, or had so short a time ago that a late report may speak of it: so many at once.
    Here {
        /// At least 1.
        pods: u32,
    },
}

/// A shared handle.
#[derive(Clone, Debug)]
pub(crate) struct Residents {
    known: Arc<Mutex<Known>>,
    metrics: Metrics,
    most: usize,
    /// Something is on another node than before, or can be told for the first time.
    news: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Known {
    listed: bool,
    /// Nobody may look, so nobody ever knows.
    blind: bool,
    /// Pods had no room since they were listed: what their nodes need is not known.
    overflown: bool,
    /// By uid, the pods of a list that is not whole yet.
    listing: Option<HashMap<String, Home>>,
    pods: HashMap<String, Home>,
    nodes: BTreeMap<String, BTreeMap<Tenant, Presence>>,
    /// Nodes that need something else than when somebody asked last.
    changed: BTreeSet<String>,
    forgot: Option<Instant>,
}

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Home {
    node: String,
    tenant: Tenant,
}

/// A release on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tenant {
    namespace: String,
    /// As workers name it; empty for a pod that belongs to none.
    workload: String,
    /// Empty for pods that no Deployment made.
    revision: String,
}

/// What is known of where pods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing yet.
    Unlisted,
    /// Nothing, or not all of it, and it will stay so.
    Blind,
    /// Everything.
    Whole,
}

#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    pods: u32,
    peak: u32,
    left: Option<Instant>,
}

impl Residents {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            known: Arc::default(),
            metrics,
            most: MAX_PODS,
            news: Arc::default(),
        }
    }

    /// Changes when a node may need something else.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// How much can be told of the nodes.
    pub(crate) fn sight(&self) -> Sight {
        let known = self.known();
        match () {
            () if known.blind || known.overflown => Sight::Blind,
            () if known.listed => Sight::Whole,
            () => Sight::Unlisted,
        }
    }

    /// Nodes that need something else since the last call, with what they need; `None`: nothing runs there any more.
    pub(crate) fn take_changed(&self) -> Vec<(String, Option<Scope>)> {
        let mut known = self.known();
        let changed = std::mem::take(&mut known.changed);
        changed
            .into_iter()
            .map(|node| {
                let scope = known.nodes.get(&node).map(scope);
                (node, scope)
            })
            .collect()
    }

    /// From now on every node counts as changed.
    pub(crate) fn all_changed(&self) {
        let mut known = self.known();
        let all: Vec<_> = known.nodes.keys().cloned().collect();
        known.changed.extend(all);
    }

    /// Follows the pods until `stop`. Errors of the API server are retried with backoff; what is known stays in force meanwhile.
    pub(crate) async fn follow(self, client: Client, stop: CancellationToken) {
        let pods: Api<SeenPod> = Api::all_with(client, &ApiResource::erase::<Pod>(&()));
        let mut news = pin!(watcher::watcher(pods, listed()).default_backoff());
        while let Some(Some(event)) = stop.run_until_cancelled(news.next()).await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    tracing::warn!(%error, "watch of the pods failed, starting it again; until then new pods count for nothing");
                    self.refused(is_forbidden(&error));
                }
            }
        }
    }

    /// Whether `node` has pods of `revision` in `namespace`.
    pub(super) fn residence(&self, node: &str, namespace: &str, revision: &str) -> Residence {
        let known = self.known();
        let tenants = known.nodes.get(node).into_iter().flatten();
        let its =
            |tenant: &Tenant| tenant.namespace == namespace && tenant.revision == revision && !revision.is_empty();
        let there = tenants.filter(|(tenant, presence)| its(tenant) && presence.lasts());
        match there.map(|(_, presence)| presence.peak).sum() {
            0 if known.listed => Residence::Stranger,
            0 => Residence::Unlisted,
            pods => Residence::Here { pods },
        }
    }

    /// Without the right to look nothing is ever known: then every node is told everything.
    fn refused(&self, forbidden: bool) {
        let mut known = self.known();
        if forbidden && !known.listed && !known.blind {
            known.blind = true;
            self.news.send_replace(());
        }
    }

    fn take(&self, event: Event<SeenPod>) {
        let mut known = self.known();
        let first = !known.listed;
        match event {
            Event::Init => known.listing = Some(HashMap::new()),
            Event::InitApply(pod) => {
                let most = self.most.saturating_add(1);
                if let (Some(listing), Some((uid, home))) = (&mut known.listing, home(pod))
                    && listing.len() < most
                {
                    listing.insert(uid, home);
                }
            }
            Event::InitDone => {
                let listing = known.listing.take().unwrap_or_default();
                known.replace(listing, self.most);
            }
            Event::Apply(pod) => {
                if let Some((uid, home)) = home(pod) {
                    known.enter(uid, home, self.most);
                }
            }
            Event::Delete(pod) => known.leave(&pod.metadata.uid.unwrap_or_default()),
        }
        known.forget();
        self.metrics.pods_known(known.pods.len());
        if !known.changed.is_empty() || (known.listed && first) {
            self.news.send_replace(());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod's uid and where it is; nothing before it was scheduled.
fn home(pod: SeenPod) -> Option<(String, Home)> {
    let metadata = pod.metadata;
    let revision = metadata
        .labels
        .and_then(|mut labels| labels.remove(TEMPLATE_HASH))
        .unwrap_or_default();
    let mut owners = metadata.owner_references.unwrap_or_default().into_iter();
    let owner = owners.find(|owner| owner.controller == Some(true));
    let home = Home {
        node: pod.spec.node_name.filter(|node| !node.is_empty())?,
        tenant: Tenant {
            namespace: metadata.namespace?,
            workload: owner.map(|owner| workload(owner, &revision)).unwrap_or_default(),
            revision,
        },
    };
    Some((metadata.uid?, home))
}

/// By the same rule as a worker's: a Deployment is not named in its pods, its replica sets are `<name>-<template hash>`.
fn workload(owner: OwnerReference, revision: &str) -> String {
    let deployment = owner
        .name
        .strip_suffix(revision)
        .and_then(|name| name.strip_suffix('-'));
    match deployment {
        Some(name) if owner.kind == "ReplicaSet" && !revision.is_empty() => name.to_owned(),
        _ => owner.name,
    }
}

fn scope(tenants: &BTreeMap<Tenant, Presence>) -> Scope {
    let mut pods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tenant in tenants.keys() {
        let workloads = pods.entry(tenant.namespace.clone()).or_default();
        if !tenant.workload.is_empty() {
            workloads.insert(tenant.workload.clone());
        }
    }
    Scope::Pods(pods)
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if status.code == 403)
}

impl Presence {
    fn lasts(&self) -> bool {
        self.left.is_none_or(|left| left.elapsed() < REMEMBERED)
    }
}

impl Known {
    fn replace(&mut self, listing: HashMap<String, Home>, most: usize) {
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|uid| !listing.contains_key(*uid))
            .cloned()
            .collect();
        for uid in gone {
            self.leave(&uid);
        }
        self.overflown = false;
        for (uid, home) in listing {
            self.enter(uid, home, most);
        }
        (self.listed, self.blind) = (true, false);
    }

    fn enter(&mut self, uid: String, home: Home, most: usize) {
        let full = self.pods.len() >= most;
        match self.pods.entry(uid) {
            // A pod never moves.
            Entry::Occupied(_) => return,
            Entry::Vacant(_) if full => {
                self.changed.insert(home.node);
                self.overflown = true;
                return;
            }
            Entry::Vacant(place) => place.insert(home.clone()),
        };
        let Home { node, tenant } = home;
        let tenants = self.nodes.entry(node.clone()).or_default();
        let presence = tenants.entry(tenant).or_insert_with(|| {
            self.changed.insert(node);
            Presence::default()
        });
        presence.pods += 1;
        presence.peak = presence.peak.max(presence.pods);
        presence.left = None;
    }

    fn leave(&mut self, uid: &str) {
        let Some(Home { node, tenant }) = self.pods.remove(uid) else {
            return;
        };
        if let Some(presence) = self.nodes.get_mut(&node).and_then(|tenants| tenants.get_mut(&tenant)) {
            presence.pods = presence.pods.saturating_sub(1);
            if presence.pods == 0 {
                presence.left = Some(Instant::now());
            }
        }
    }

    fn forget(&mut self) {
        if self.forgot.is_some_and(|last| last.elapsed() < FORGET_EVERY) {
            return;
        }
        self.forgot = Some(Instant::now());
        self.nodes.retain(|node, tenants| {
            let before = tenants.len();
            tenants.retain(|_, presence| presence.lasts());
            if tenants.len() < before {
                self.changed.insert(node.clone());
            }
            !tenants.is_empty()
        });
    }
}

#[cfg(test)]
impl Residents {
    /// Takes in a pod, as a watch whose list is whole would.
    pub(crate) fn settle(&self, uid: &str, node: &str, namespace: &str, revision: &str) {
        self.settle_of("web", uid, node, namespace, revision);
    }

    /// As [`settle`](Self::settle), of a workload.
    pub(crate) fn settle_of(&self, workload: &str, uid: &str, node: &str, namespace: &str, revision: &str) {
        let mut known = self.known();
        (known.listed, known.blind) = (true, false);
        let tenant = Tenant {
            namespace: namespace.to_owned(),
            workload: workload.to_owned(),
            revision: revision.to_owned(),
        };
        let node = node.to_owned();
        known.enter(uid.to_owned(), Home { node, tenant }, self.most);
        self.news.send_replace(());
    }

    /// As before the pods were listed.
    pub(crate) fn see_again(&self) {
        self.known().blind = false;
    }

    /// As for an operator that may not look at pods.
    pub(crate) fn see_nothing(&self) {
        self.refused(true);
    }
}

#[cfg(test)]
mod tests;
