//! One service of the shop, alone, in a namespace of its own.

use anyhow::Result;

use crate::{cluster::Cluster, install};

/// A Deployment and a Service of the same name, label `app`, port 8080.
pub struct Service<'a> {
    /// Of the Deployment, the Service and the container.
    pub name: &'a str,
    /// Such as `checkout`: one of the shop's images.
    pub image: &'a str,
    /// Pods.
    pub replicas: u32,
    /// How long a pod is ready before the next one is replaced.
    pub min_ready_seconds: u32,
    /// Environment: what makes one release differ from the next.
    pub env: &'a [(&'a str, &'a str)],
}

impl<'a> Service<'a> {
    /// The image of its own name, replaced as fast as pods become ready, with no environment.
    #[must_use]
    pub const fn new(name: &'a str, replicas: u32) -> Self {
        Self {
            name,
            image: name,
            replicas,
            min_ready_seconds: 0,
            env: &[],
        }
    }

    /// The YAML of both objects.
    #[must_use]
    pub fn manifest(&self, namespace: &str) -> String {
        let Self {
            name,
            image,
            replicas,
            min_ready_seconds,
            ..
        } = self;
        let env: Vec<_> = self
            .env
            .iter()
            .map(|(key, value)| format!("{{name: {key}, value: '{value}'}}"))
            .collect();
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  minReadySeconds: {min_ready_seconds}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: {name}
          image: shoalwatch.local/{image}:dev
          imagePullPolicy: IfNotPresent
          env: [{}]
          ports: [{{containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 8080}}]
",
            env.join(", ")
        )
    }

    /// Applies it by client-side apply and waits until it is rolled out.
    pub async fn deploy(&self, cluster: &Cluster, namespace: &str) -> Result<()> {
        cluster.apply(&self.manifest(namespace)).await?;
        install::rolled_out(cluster, namespace, &format!("deployment/{}", self.name)).await
    }
}
