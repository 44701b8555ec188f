//! Which releases have pods on which node: a worker is believed about its own node only.
//!
//! The token proves the node, and the API server says what runs there. So whoever takes over one node can lie about the pods
//! of that node, and not have a release undone that runs elsewhere.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::ApiResource,
    core::{NotUsed, Object},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

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
}

#[derive(Debug, Default)]
struct Known {
    listed: bool,
    /// By uid, the pods of a list that is not whole yet.
    listing: Option<HashMap<String, Home>>,
    pods: HashMap<String, Home>,
    releases: HashMap<Home, Presence>,
    forgot: Option<Instant>,
}

/// A release on a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Home {
    node: String,
    namespace: String,
    revision: String,
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
        }
    }

    /// Follows the pods until `stop`. Errors of the API server are retried with backoff; what is known stays in force meanwhile.
    pub(crate) async fn follow(self, client: Client, stop: CancellationToken) {
        let pods: Api<SeenPod> = Api::all_with(client, &ApiResource::erase::<Pod>(&()));
        let config = watcher::Config::default().labels(TEMPLATE_HASH);
        let mut news = pin!(watcher::watcher(pods, config).default_backoff());
        while let Some(Some(event)) = stop.run_until_cancelled(news.next()).await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    tracing::warn!(%error, "watch of the pods failed, starting it again; until then new pods count for nothing");
                }
            }
        }
    }

    /// Whether `node` has pods of `revision` in `namespace`.
    pub(super) fn residence(&self, node: &str, namespace: &str, revision: &str) -> Residence {
        let home = Home {
            node: node.to_owned(),
            namespace: namespace.to_owned(),
            revision: revision.to_owned(),
        };
        let known = self.known();
        match known.releases.get(&home) {
            Some(presence) if presence.lasts() => Residence::Here { pods: presence.peak },
            _ if known.listed => Residence::Stranger,
            _ => Residence::Unlisted,
        }
    }

    fn take(&self, event: Event<SeenPod>) {
        let mut known = self.known();
        match event {
            Event::Init => known.listing = Some(HashMap::new()),
            Event::InitApply(pod) => {
                if let (Some(listing), Some((uid, home))) = (&mut known.listing, home(pod))
                    && listing.len() < self.most
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
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod's uid and where it is; nothing before it was scheduled.
fn home(pod: SeenPod) -> Option<(String, Home)> {
    let metadata = pod.metadata;
    let home = Home {
        node: pod.spec.node_name.filter(|node| !node.is_empty())?,
        namespace: metadata.namespace?,
        revision: metadata.labels?.remove(TEMPLATE_HASH)?,
    };
    Some((metadata.uid?, home))
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
        for (uid, home) in listing {
            self.enter(uid, home, most);
        }
        self.listed = true;
    }

    fn enter(&mut self, uid: String, home: Home, most: usize) {
        let full = self.pods.len() >= most;
        match self.pods.entry(uid) {
            // A pod never moves.
            Entry::Occupied(_) => return,
            Entry::Vacant(_) if full => return,
            Entry::Vacant(place) => place.insert(home.clone()),
        };
        let presence = self.releases.entry(home).or_default();
        presence.pods += 1;
        presence.peak = presence.peak.max(presence.pods);
        presence.left = None;
    }

    fn leave(&mut self, uid: &str) {
        let Some(home) = self.pods.remove(uid) else { return };
        if let Some(presence) = self.releases.get_mut(&home) {
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
        self.releases.retain(|_, presence| presence.lasts());
    }
}

#[cfg(test)]
impl Residents {
    /// Takes in a pod, as a watch whose list is whole would.
    pub(super) fn settle(&self, uid: &str, node: &str, namespace: &str, revision: &str) {
        let mut known = self.known();
        known.listed = true;
        let home = Home {
            node: node.to_owned(),
            namespace: namespace.to_owned(),
            revision: revision.to_owned(),
        };
        known.enter(uid.to_owned(), home, self.most);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HERE: Residence = Residence::Here { pods: 1 };

    fn residents(most: usize) -> Residents {
        Residents {
            most,
            ..Residents::new(Metrics::default())
        }
    }

    fn pod(uid: &str, node: &str, revision: &str) -> SeenPod {
        serde_json::from_value(json!({
            "metadata": {"uid": uid, "name": uid, "namespace": "shop", "labels": {TEMPLATE_HASH: revision}},
            "spec": {"nodeName": node, "containers": [{"name": "app"}]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    fn list(residents: &Residents, pods: Vec<SeenPod>) {
        residents.take(Event::Init);
        for pod in pods {
            residents.take(Event::InitApply(pod));
        }
        residents.take(Event::InitDone);
    }

    #[test]
    fn nobody_is_a_stranger_before_the_pods_were_listed() {
        let residents = residents(8);
        assert_eq!(residents.residence("a", "shop", "v2"), Residence::Unlisted);
        list(&residents, vec![pod("1", "a", "v2")]);
        assert_eq!(residents.residence("a", "shop", "v2"), HERE);
        for (node, namespace, revision) in [
            ("b", "shop", "v2"),
            ("a", "bank", "v2"),
            ("a", "shop", "v1"),
            ("a", "shop", ""),
        ] {
            assert_eq!(residents.residence(node, namespace, revision), Residence::Stranger);
        }
    }

    #[test]
    fn a_pod_counts_from_when_it_was_scheduled_and_as_often_as_it_is_there() {
        let residents = residents(8);
        list(&residents, vec![pod("1", "", "v2")]);
        assert_eq!(residents.residence("a", "shop", "v2"), Residence::Stranger);
        for uid in ["1", "2", "2"] {
            residents.take(Event::Apply(pod(uid, "a", "v2")));
        }
        assert_eq!(residents.residence("a", "shop", "v2"), Residence::Here { pods: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_report_may_speak_of_a_pod_that_is_gone_for_ten_minutes() {
        let residents = residents(8);
        list(&residents, vec![pod("1", "a", "v1"), pod("2", "a", "v2")]);
        residents.take(Event::Delete(pod("1", "a", "v1")));
        // A list that lacks a pod says that it is gone, too.
        list(&residents, vec![]);
        tokio::time::advance(Duration::from_secs(599)).await;
        assert_eq!(residents.residence("a", "shop", "v1"), HERE);
        assert_eq!(residents.residence("a", "shop", "v2"), HERE);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(residents.residence("a", "shop", "v1"), Residence::Stranger);
        residents.take(Event::Apply(pod("3", "a", "v3")));
        assert_eq!(residents.known().releases.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn beyond_the_bound_a_pod_is_a_stranger_until_another_one_leaves() {
        let residents = residents(1);
        list(&residents, vec![pod("1", "a", "v1"), pod("2", "a", "v2")]);
        residents.take(Event::Apply(pod("2", "a", "v2")));
        assert_eq!(residents.known().pods.len(), 1);
        residents.take(Event::Delete(pod("1", "a", "v1")));
        residents.take(Event::Apply(pod("2", "a", "v2")));
        assert_eq!(residents.residence("a", "shop", "v2"), HERE);
    }
}
