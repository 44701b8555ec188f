//! Who answers a request.

use std::{collections::BTreeMap, sync::Arc};

use super::resource::Resource;

/// Tells identities apart, and stays the same when a container restarts: its series go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum IdentityKey {
    /// One container of one pod; the name is absent while the kubelet has not told it.
    Container {
        /// As cgroup paths name the pod.
        pod_uid: String,
        /// The container's name in the pod.
        container: Option<String>,
    },
    /// Processes outside Kubernetes.
    Host {
        /// `service.namespace`.
        namespace: String,
        /// `service.name`.
        name: String,
    },
}

/// One container of one pod, or one host service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) key: IdentityKey,
    /// What policies and SLIs call the namespace.
    pub(crate) namespace: String,
    /// What selectors see.
    pub(crate) labels: BTreeMap<String, String>,
    /// The Deployment (or other owner), or the host service.
    pub(crate) workload: Option<String>,
    pub(crate) container: Option<String>,
    /// The pod template's hash; empty outside Kubernetes.
    pub(crate) revision: String,
    pub(crate) resource: Arc<Resource>,
}

impl Identity {
    /// What counts as one pod.
    pub(crate) fn pod(&self) -> &str {
        match &self.key {
            IdentityKey::Container { pod_uid, .. } => pod_uid,
            IdentityKey::Host { name, .. } => name,
        }
    }
}
