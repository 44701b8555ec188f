//! The watches that feed the [`World`](super::World).

use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error as KubeError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use serde::de::DeserializeOwned;
use shoalwatch_crds::{SamplingPolicy, Slo};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use super::Change;
use crate::retry;

/// Changes that wait to be taken in; beyond them the watches wait.
pub(crate) const QUEUE: usize = 256;
/// Objects of one page of a list: they are read whole before anything of them is dropped, and memory grows to the largest page.
const PAGE: u32 = 100;
/// The workers' DaemonSet in the operator's namespace, as the manifests install it.
pub(crate) const WORKERS: &str = "shoalwatch-node-worker";

/// A watch that failed, by kind and category.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    kind: &'static str,
    category: &'static str,
}

/// Failures of watches.
pub(crate) type Failures = Family<Labels, Counter>;

/// Starts all watches. They end when the receiver is gone.
#[must_use]
pub(crate) fn start(client: &Client, home: &str, failures: &Failures) -> (JoinSet<()>, mpsc::Receiver<Change>) {
    let (changes, receiver) = mpsc::channel(QUEUE);
    let feed = Feed {
        changes,
        failures: failures.clone(),
    };
    let mut tasks = JoinSet::new();
    let all = listed();
    let policies: Api<DeserializeGuard<SamplingPolicy>> = Api::all(client.clone());
    tasks.spawn(
        feed.clone()
            .follow(policies, all.clone(), "SamplingPolicy", Change::Policy),
    );
    let slos: Api<DeserializeGuard<Slo>> = Api::all(client.clone());
    tasks.spawn(feed.clone().follow(slos, all.clone(), "SLO", Change::Slo));
    let deployments = dynamic(client, &ApiResource::erase::<Deployment>(&()));
    tasks.spawn(
        feed.clone()
            .follow(deployments, all.clone(), "Deployment", Change::Deployment),
    );
    let sets = dynamic(client, &ApiResource::erase::<ReplicaSet>(&()));
    tasks.spawn(feed.clone().follow(sets, all.clone(), "ReplicaSet", Change::ReplicaSet));
    let workers: Api<DynamicObject> = Api::namespaced_with(client.clone(), home, &ApiResource::erase::<DaemonSet>(&()));
    let only = all.fields(&format!("metadata.name={WORKERS}"));
    tasks.spawn(feed.follow(workers, only, "DaemonSet", Change::Workers));
    (tasks, receiver)
}

/// How everything is listed, before it is watched.
pub(crate) fn listed() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn dynamic(client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(client.clone(), resource)
}

#[derive(Clone)]
struct Feed {
    changes: mpsc::Sender<Change>,
    failures: Failures,
}

impl Feed {
    async fn follow<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        kind: &'static str,
        wrap: fn(Box<Event<K>>) -> Change,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, config).default_backoff());
        let targets = matches!(kind, "Deployment" | "ReplicaSet");
        let mut forbidden = false;
        while let Some(event) = events.next().await {
            let now_forbidden = matches!(&event, Err(error) if is_forbidden(error));
            if targets && now_forbidden != forbidden {
                forbidden = now_forbidden;
                if self.changes.send(Change::Forbidden(kind, forbidden)).await.is_err() {
                    return;
                }
            }
            match event {
                Ok(event) => {
                    if self.changes.send(wrap(Box::new(event))).await.is_err() {
                        return;
                    }
                }
                Err(error) => self.note(kind, &error),
            }
        }
    }

    fn note(&self, kind: &'static str, error: &watcher::Error) {
        let category = cause(error).map_or("watch", retry::category);
        warn!(%error, kind, "watch failed, starting it again");
        self.failures.get_or_create(&Labels { kind, category }).inc();
    }
}

fn cause(error: &watcher::Error) -> Option<&KubeError> {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => Some(cause),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    cause(error).is_some_and(|cause| retry::category(cause) == "forbidden")
}
