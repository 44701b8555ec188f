//! Pods of a `ReplicaSet` that crash again and again.
//!
//! Pods are not watched: in a large cluster that would cost more than everything else together. They are listed, by their
//! template hash, only while a release in probation has pods that are not ready.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::ResourceExt;
use shoalwatch_core::release::Crashing;
use tokio::time::timeout;

use super::deployment::RequestError;
use super::release::TEMPLATE_HASH_LABEL;

/// How long the request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Most pods looked at; more say nothing that these do not.
const MAX_PODS: u32 = 64;
/// Restarts of a container before it counts: the first ones may be a dependency that was not there yet.
const RESTARTS: i32 = 3;

/// Looks at the pods of one set.
pub async fn crashing(client: &Client, namespace: &str, set: &str, revision: &str) -> Result<Crashing, RequestError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let wanted = ListParams::default()
        .labels(&format!("{TEMPLATE_HASH_LABEL}={revision}"))
        .limit(MAX_PODS);
    let listed = timeout(REQUEST, pods.list(&wanted)).await;
    let listed = listed
        .map_err(|_elapsed| RequestError::Timeout)?
        .map_err(RequestError::Api)?;
    let of_set = |pod: &&Pod| {
        pod.owner_references()
            .iter()
            .any(|owner| owner.kind == "ReplicaSet" && owner.name == set)
    };
    Ok(listed.items.iter().filter(of_set).fold(Crashing::default(), counted))
}

fn counted(sum: Crashing, pod: &Pod) -> Crashing {
    let restarts = looping(pod);
    Crashing {
        pods: sum.pods + 1,
        crashing: sum.crashing + u32::from(restarts.is_some()),
        restarts: sum.restarts.max(restarts.unwrap_or(0)),
    }
}

/// Restarts of the container that waits for its next one longest; `None`: none does.
fn looping(pod: &Pod) -> Option<u32> {
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let waits = all.filter(|container| container.restart_count >= RESTARTS && is_backing_off(container));
    waits
        .filter_map(|container| u32::try_from(container.restart_count).ok())
        .max()
}

fn is_backing_off(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::api_server;

    fn pod(set: &str, reason: &str, restarts: u32) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "shop",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": "u"}]},
            "status": {"containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false,
                "restartCount": restarts, "state": {"waiting": {"reason": reason}}}]}})
    }

    async fn seen(pods: &[Value]) -> Crashing {
        let (client, mut server) = api_server();
        let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods});
        let (found, asked) = tokio::join!(
            crashing(&client, "shop", "checkout-7d41b", "7d41b"),
            server.answer(|_| (200, list))
        );
        assert_eq!(asked.what, "GET /api/v1/namespaces/shop/pods");
        assert!(
            asked.query.contains("labelSelector=pod-template-hash%3D7d41b"),
            "{}",
            asked.query
        );
        assert!(asked.query.contains("limit=64"), "{}", asked.query);
        found.unwrap()
    }

    #[tokio::test]
    async fn pods_that_wait_after_three_restarts_are_counted() {
        let loops = |restarts| pod("checkout-7d41b", "CrashLoopBackOff", restarts);
        let pods = [
            loops(3),
            loops(9),
            loops(2),
            pod("checkout-7d41b", "ImagePullBackOff", 3),
        ];
        let expected = Crashing {
            pods: 4,
            crashing: 2,
            restarts: 9,
        };
        assert_eq!(seen(&pods).await, expected);
    }

    #[tokio::test]
    async fn pods_of_another_set_and_pods_without_status_are_no_proof() {
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout-7d41b", "uid": "u"}]}});
        let found = seen(&[pod("cart-7d41b", "CrashLoopBackOff", 9), bare]).await;
        assert_eq!((found.pods, found.crashing, found.is_looping()), (1, 0, false));
    }
}
