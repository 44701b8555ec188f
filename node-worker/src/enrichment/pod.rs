//! From a pod to who its processes are.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::{
    identity::{Identity, IdentityKey},
    image,
    resource::Resource,
};

/// Label of a Deployment's pods: which of its templates made them.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The same of a StatefulSet's and a `DaemonSet`'s.
const CONTROLLER_REVISION: &str = "controller-revision-hash";
/// Annotations that set resource attributes, by OpenTelemetry's rules for Kubernetes.
const ATTRIBUTE_ANNOTATION: &str = "resource.opentelemetry.io/";
/// What the uid of a node's own manifest is in cgroup paths.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodFacts {
    /// As cgroup paths name the pod.
    pub(crate) uid: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    workload: Option<Workload>,
    revision: String,
    /// By name, in the order of the specification.
    containers: Vec<(String, Option<String>)>,
    /// Container ids as the runtime gave them, with the containers' names.
    ids: BTreeMap<String, String>,
    /// Everything but the container's own attributes.
    resource: Resource,
    /// Attributes that annotations set: they win.
    annotated: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Workload {
    attribute: &'static str,
    name: String,
}

impl PodFacts {
    /// Absent for a pod without uid or name, which no API server sends.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let (name, uid) = (metadata.name.as_deref()?, metadata.uid.as_deref()?);
        let annotations = metadata.annotations.clone().unwrap_or_default();
        let labels = metadata.labels.clone().unwrap_or_default();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let owner = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true));
        let workload = owner.and_then(|owner| workload(owner, labels.get(TEMPLATE_HASH)));
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        Some(Self {
            uid: annotations.get(CONFIG_HASH).map_or(uid, String::as_str).to_owned(),
            resource: pod_resource(name, uid, &namespace, node, owner, workload.as_ref()),
            revision: [TEMPLATE_HASH, CONTROLLER_REVISION]
                .iter()
                .find_map(|key| labels.get(*key).cloned())
                .unwrap_or_default(),
            containers: containers(pod),
            ids: container_ids(pod),
            annotated: annotations
                .into_iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(ATTRIBUTE_ANNOTATION)?.to_owned(), value)))
                .collect(),
            namespace,
            labels,
            workload,
        })
    }

    /// The container's name; absent until the kubelet has told its id, unless the pod has one container only.
    pub(crate) fn container(&self, container_id: &str) -> Option<&str> {
        match (self.ids.get(container_id), self.containers.as_slice()) {
            (Some(name), _) | (None, [(name, _)]) => Some(name),
            _ => None,
        }
    }

    /// Who a process in this container of the pod is.
    pub(crate) fn identity(&self, container: Option<&str>) -> Identity {
        Identity {
            key: IdentityKey::Container {
                pod_uid: self.uid.clone(),
                container: container.map(str::to_owned),
            },
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            workload: self.workload.as_ref().map(|workload| workload.name.clone()),
            container: container.map(str::to_owned),
            revision: self.revision.clone(),
            resource: Arc::new(self.container_resource(container)),
        }
    }

    fn container_resource(&self, container: Option<&str>) -> Resource {
        let mut resource = self.resource.clone();
        let pod = resource.get("k8s.pod.name").unwrap_or_default().to_owned();
        let instance: Vec<_> = [self.namespace.as_str(), &pod].into_iter().chain(container).collect();
        resource.set("service.instance.id", instance.join("."));
        resource.set(
            "service.name",
            self.workload.as_ref().map_or(&pod, |workload| &workload.name),
        );
        resource.set("service.namespace", self.namespace.as_str());
        if let Some(container) = container {
            resource.set("k8s.container.name", container);
            let image = self.containers.iter().find(|(name, _)| name == container);
            let version = image.and_then(|(_, image)| image::version(image.as_deref()?));
            resource.set("service.version", version.unwrap_or_default());
        }
        for (name, value) in &self.annotated {
            resource.set(name.clone(), value.as_str());
        }
        resource
    }
}

fn pod_resource(
    name: &str,
    uid: &str,
    namespace: &str,
    node: Option<&str>,
    owner: Option<&OwnerReference>,
    workload: Option<&Workload>,
) -> Resource {
    let mut resource = Resource::default();
    resource.set("k8s.namespace.name", namespace);
    resource.set("k8s.pod.name", name);
    resource.set("k8s.pod.uid", uid);
    resource.set("k8s.node.name", node.unwrap_or_default());
    if let Some(owner) = owner.filter(|owner| owner.kind == "ReplicaSet") {
        resource.set("k8s.replicaset.name", owner.name.as_str());
    }
    if let Some(workload) = workload {
        resource.set(workload.attribute, workload.name.as_str());
    }
    resource
}

/// What users call the workload. A Deployment is not named in its pods: its replica sets are `<name>-<template hash>`.
fn workload(owner: &OwnerReference, template_hash: Option<&String>) -> Option<Workload> {
    let deployment = || owner.name.strip_suffix(template_hash?.as_str())?.strip_suffix('-');
    let (attribute, name) = match owner.kind.as_str() {
        "ReplicaSet" => match deployment() {
            Some(name) => ("k8s.deployment.name", name),
            None => ("k8s.replicaset.name", owner.name.as_str()),
        },
        "StatefulSet" => ("k8s.statefulset.name", owner.name.as_str()),
        "DaemonSet" => ("k8s.daemonset.name", owner.name.as_str()),
        "Job" => ("k8s.job.name", owner.name.as_str()),
        _ => return None,
    };
    Some(Workload {
        attribute,
        name: name.to_owned(),
    })
}

fn containers(pod: &Pod) -> Vec<(String, Option<String>)> {
    let spec = pod.spec.as_ref();
    let init = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten();
    let main = spec.map(|spec| &spec.containers).into_iter().flatten();
    init.chain(main)
        .map(|container| (container.name.clone(), container.image.clone()))
        .collect()
}

fn container_ids(pod: &Pod) -> BTreeMap<String, String> {
    let Some(status) = &pod.status else {
        return BTreeMap::new();
    };
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|status| Some((bare_id(status)?, status.name.clone())))
        .collect()
}

/// Without the runtime's `containerd://`.
fn bare_id(status: &ContainerStatus) -> Option<String> {
    let (_, id) = status.container_id.as_deref()?.split_once("://")?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> PodFacts {
        PodFacts::of(&serde_json::from_value(json).unwrap()).unwrap()
    }

    fn checkout() -> serde_json::Value {
        serde_json::json!({
            "metadata": {
                "name": "checkout-7d41b-x2x", "namespace": "shop", "uid": "u-1",
                "labels": {"app": "checkout", "pod-template-hash": "7d41b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout-7d41b", "uid": "r", "controller": true}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "shop/checkout:v2"}, {"name": "proxy", "image": "envoy"}]},
            "status": {"containerStatuses": [
                {"name": "app", "containerID": "containerd://aaa", "image": "", "imageID": "", "ready": true, "restartCount": 0},
            ]},
        })
    }

    #[test]
    fn a_deployments_pod_is_named_after_the_deployment_and_its_template() {
        let pod = pod(checkout());
        let identity = pod.identity(pod.container("aaa"));
        assert_eq!(identity.workload.as_deref(), Some("checkout"));
        assert_eq!(identity.revision, "7d41b");
        let expected = [
            ("k8s.container.name", "app"),
            ("k8s.deployment.name", "checkout"),
            ("k8s.namespace.name", "shop"),
            ("k8s.node.name", "n1"),
            ("k8s.pod.name", "checkout-7d41b-x2x"),
            ("k8s.pod.uid", "u-1"),
            ("k8s.replicaset.name", "checkout-7d41b"),
            ("service.instance.id", "shop.checkout-7d41b-x2x.app"),
            ("service.name", "checkout"),
            ("service.namespace", "shop"),
            ("service.version", "v2"),
        ];
        assert_eq!(identity.resource.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_container_of_several_is_not_guessed_before_its_id_is_known() {
        let pod = pod(checkout());
        assert_eq!(pod.container("aaa"), Some("app"));
        assert_eq!(pod.container("bbb"), None);
    }

    #[test]
    fn the_only_container_is_known_before_its_id_is() {
        let mut json = checkout();
        json["spec"]["containers"].as_array_mut().unwrap().pop();
        json["status"] = serde_json::json!({});
        assert_eq!(pod(json).container("aaa"), Some("app"));
    }

    #[test]
    fn annotations_win_and_may_add_attributes() {
        let mut json = checkout();
        json["metadata"]["annotations"] = serde_json::json!({
            "resource.opentelemetry.io/service.name": "till",
            "resource.opentelemetry.io/team": "tills",
            "unrelated": "x",
        });
        let identity = pod(json).identity(Some("app"));
        assert_eq!(identity.resource.get("service.name"), Some("till"));
        assert_eq!(identity.resource.get("team"), Some("tills"));
        assert_eq!(identity.resource.get("unrelated"), None);
        assert_eq!(
            identity.workload.as_deref(),
            Some("checkout"),
            "an SLO's target is the Deployment, however it is called"
        );
    }

    #[test]
    fn a_replica_set_of_its_own_is_no_deployment() {
        let mut json = checkout();
        json["metadata"]["ownerReferences"][0]["name"] = "standalone".into();
        let identity = pod(json).identity(None);
        assert_eq!(identity.workload.as_deref(), Some("standalone"));
        assert_eq!(identity.resource.get("k8s.deployment.name"), None);
    }

    #[test]
    fn a_pod_without_owner_is_its_own_service() {
        let mut json = checkout();
        json["metadata"]["ownerReferences"] = serde_json::json!([]);
        let identity = pod(json).identity(Some("app"));
        assert_eq!(identity.workload, None);
        assert_eq!(identity.resource.get("service.name"), Some("checkout-7d41b-x2x"));
    }

    #[test]
    fn a_static_pod_has_the_uid_of_its_cgroup_path() {
        let mut json = checkout();
        json["metadata"]["annotations"] = serde_json::json!({"kubernetes.io/config.hash": "9a2c"});
        let pod = pod(json);
        assert_eq!(pod.uid, "9a2c");
        assert_eq!(pod.identity(None).resource.get("k8s.pod.uid"), Some("u-1"));
    }
}
