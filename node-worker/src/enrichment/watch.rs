//! Follows the pods of this node.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tracing::{debug, warn};

use super::{index::PodIndex, pod::PodFacts};
use crate::requests::{EventLoop, LoopEnded};

/// Tells the event loop of every change, as long as there is one. Errors of the API server are retried with backoff; the pods known
/// so far stay in force meanwhile.
pub(crate) async fn follow_pods(client: Client, node_name: &str, events: EventLoop) -> LoopEnded {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node_name}"));
    let news = watcher::watcher(Api::<Pod>::all(client), config).default_backoff();
    let mut news = std::pin::pin!(news);
    let mut pods = Pods::default();
    while let Some(event) = news.next().await {
        match event {
            Ok(event) => {
                if pods.take(event)
                    && let Err(ended) = events.pods(pods.index.clone()).await
                {
                    return ended;
                }
            }
            Err(error) => warn!(%error, "watch of the node's pods failed, retrying"),
        }
    }
    // A watch with backoff has no end.
    std::future::pending().await
}

/// The index, and the one that a new list is filling.
#[derive(Default)]
struct Pods {
    index: PodIndex,
    listing: Option<PodIndex>,
}

impl Pods {
    /// Returns whether the index changed.
    fn take(&mut self, event: Event<Pod>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(PodIndex::default());
                false
            }
            Event::InitApply(pod) => {
                if let (Some(listing), Some(pod)) = (&mut self.listing, PodFacts::of(&pod)) {
                    listing.insert(pod);
                }
                false
            }
            Event::InitDone => {
                self.index = self.listing.take().unwrap_or_default();
                debug!(pods = self.index.len(), "listed the node's pods");
                true
            }
            Event::Apply(pod) => PodFacts::of(&pod).is_some_and(|pod| self.index.insert(pod)),
            Event::Delete(pod) => PodFacts::of(&pod).is_some_and(|pod| self.index.remove(&pod.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Pod {
        let json = serde_json::json!({"metadata": {"name": uid, "namespace": "shop", "uid": uid}});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_new_list_replaces_the_old_one_only_when_it_is_whole() {
        let mut pods = Pods::default();
        let mut step = |event, changed, known| {
            assert_eq!(pods.take(event), changed);
            assert_eq!(pods.index.len(), known);
        };
        step(Event::Init, false, 0);
        step(Event::InitApply(pod("a")), false, 0);
        step(Event::InitDone, true, 1);
        step(Event::Apply(pod("b")), true, 2);
        step(Event::Apply(pod("b")), false, 2);
        step(Event::Init, false, 2);
        step(Event::InitApply(pod("c")), false, 2);
        step(Event::InitDone, true, 1);
        step(Event::Delete(pod("c")), true, 0);
        step(Event::Delete(pod("c")), false, 0);
    }
}
