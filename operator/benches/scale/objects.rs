//! The cluster: as many objects of each kind as its size says, each as large as a small real one.

use serde_json::{Value, json};

use crate::Size;

/// Deployments of a namespace, each with an SLO.
pub(crate) const WORKLOADS: usize = 8;
/// Sampling policies of a namespace.
pub(crate) const POLICIES: usize = 4;
/// Pods of a Deployment.
pub(crate) const REPLICAS: usize = 2;
/// Where the operator lives.
pub(crate) const HOME: &str = "shoalwatch";
/// The default of the whole cluster.
pub(crate) const DEFAULT: &str = "default";
const CREATED: &str = "2026-11-22T04:00:00Z";

/// One Deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) namespace: usize,
    pub(crate) number: usize,
}

/// A namespace's name.
pub(crate) fn namespace(number: usize) -> String {
    format!("team-{number}")
}

/// A node's name.
pub(crate) fn node(number: usize) -> String {
    format!("node-{number}")
}

impl Workload {
    /// All of a cluster.
    pub(crate) fn all(size: Size) -> impl Iterator<Item = Self> {
        (0..size.namespaces).flat_map(|namespace| (0..WORKLOADS).map(move |number| Self { namespace, number }))
    }

    pub(crate) fn name(self) -> String {
        format!("app-{}", self.number)
    }

    /// The template hash of its only release.
    pub(crate) fn revision(self) -> String {
        format!("7c9{:03}f{}", self.namespace, self.number)
    }

    fn uid(self) -> String {
        format!("00000000-0000-4000-8000-{:06}{:06}", self.namespace, self.number)
    }

    /// The node of each pod: neighbours of a namespace share some, as schedulers do not know namespaces.
    pub(crate) fn node(self, replica: usize, size: Size) -> usize {
        let pod = (self.namespace * WORKLOADS + self.number) * REPLICAS + replica;
        (pod * 7919 + self.namespace) % size.workers
    }

    fn template(self) -> Value {
        let name = self.name();
        let variables: Vec<Value> = (0..8)
            .map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("a value of setting {number}")}))
            .collect();
        json!({
            "metadata": {"labels": {"app": name, "team": namespace(self.namespace)}, "annotations": {"prometheus.io/scrape": "true"}},
            "spec": {"containers": [{
                "name": "app", "image": format!("registry.example/{name}:1.0.0"), "env": variables,
                "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 5},
            }], "restartPolicy": "Always", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30},
        })
    }

    pub(crate) fn deployment(self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.name(), "namespace": namespace(self.namespace), "uid": self.uid(), "generation": 1,
                "creationTimestamp": CREATED, "labels": {"app": self.name()},
                "managedFields": [{"manager": "argocd-controller", "operation": "Apply", "apiVersion": "apps/v1", "time": CREATED,
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:spec": {}}}}}]},
            "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": self.name()}}, "template": self.template()},
            "status": {"observedGeneration": 1, "replicas": REPLICAS, "readyReplicas": REPLICAS, "updatedReplicas": REPLICAS},
        })
    }

    pub(crate) fn replica_set(self) -> Value {
        let mut template = self.template();
        template["metadata"]["labels"]["pod-template-hash"] = json!(self.revision());
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("{}-{}", self.name(), self.revision()), "namespace": namespace(self.namespace),
                "uid": format!("{}-rs", self.uid()), "generation": 1, "creationTimestamp": CREATED,
                "labels": {"app": self.name(), "pod-template-hash": self.revision()},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name(), "uid": self.uid(),
                    "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"replicas": REPLICAS, "template": template},
            "status": {"replicas": REPLICAS, "readyReplicas": REPLICAS, "observedGeneration": 1},
        })
    }

    /// `replica` on the node of that number.
    pub(crate) fn pod(self, replica: usize, on: usize) -> Value {
        let mut template = self.template();
        template["spec"]["nodeName"] = json!(node(on));
        template["metadata"] = json!({
            "name": format!("{}-{}-p{replica}", self.name(), self.revision()), "namespace": namespace(self.namespace),
            "uid": format!("{}-p{replica}", self.uid()), "creationTimestamp": CREATED,
            "labels": {"app": self.name(), "team": namespace(self.namespace), "pod-template-hash": self.revision()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{}-{}", self.name(), self.revision()),
                "uid": format!("{}-rs", self.uid()), "controller": true, "blockOwnerDeletion": true}],
        });
        template["apiVersion"] = json!("v1");
        template["kind"] = json!("Pod");
        template["status"] =
            json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
        template
    }

    pub(crate) fn slo(self) -> Value {
        json!({
            "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO",
            "metadata": {"name": self.name(), "namespace": namespace(self.namespace), "uid": format!("{:08}-slo", self.uid_number()),
                "generation": 1, "creationTimestamp": CREATED},
            "spec": {"targetRef": {"name": self.name()}, "objective": "99.9", "indicator": {"http": {}}, "rollback": {"mode": "Enforce"}},
        })
    }

    fn uid_number(self) -> usize {
        self.namespace * WORKLOADS + self.number
    }
}

/// A policy: of the first half of the Deployments each policy of a namespace takes one.
pub(crate) fn policy(of: usize, number: usize) -> Value {
    policy_of(
        &namespace(of),
        &format!("policy-{number}"),
        &json!({"matchLabels": {"app": format!("app-{number}")}}),
    )
}

/// What holds where no other policy does.
pub(crate) fn default_policy() -> Value {
    policy_of(HOME, DEFAULT, &Value::Null)
}

fn policy_of(namespace: &str, name: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SamplingPolicy",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("policy-{namespace}-{name}"), "generation": 1,
            "creationTimestamp": CREATED},
        "spec": {"selector": selector, "probability": "0.01", "rules": [
            {"name": "failures", "match": {"status": ["5xx"]}, "probability": "1"},
            {"name": "slow", "match": {"durationAtLeast": "800ms"}, "probability": "1"},
            {"name": "orders", "match": {"route": {"exact": "/orders"}, "method": ["POST"]}, "probability": "0.5"},
        ]},
    })
}

/// The workers' DaemonSet.
pub(crate) fn workers(size: Size) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "shoalwatch-node-worker", "namespace": HOME, "uid": "workers"},
        "spec": {}, "status": {"desiredNumberScheduled": size.workers},
    })
}

/// Its pod on a node.
pub(crate) fn worker(on: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("shoalwatch-node-worker-{on}"), "namespace": HOME, "uid": format!("worker-{on}"),
            "labels": {"app.kubernetes.io/component": "node-worker", "controller-revision-hash": "1"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "shoalwatch-node-worker", "uid": "workers",
                "controller": true}]},
        "spec": {"nodeName": node(on), "containers": [{"name": "worker"}]},
    })
}
