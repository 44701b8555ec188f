//! Installing Shoalwatch, the Collector and the shop, and waiting until they work.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};

use crate::{cluster::Cluster, wait};

/// Where Shoalwatch lives.
pub const SYSTEM: &str = "shoalwatch-system";
/// The operator's pods.
pub const OPERATOR: &str = "app.kubernetes.io/component=operator";
/// The node workers' pods.
pub const NODE_WORKER: &str = "app.kubernetes.io/component=node-worker";
/// The node worker's Prometheus port.
pub const WORKER_PORT: u16 = 9464;

/// A folder of `manifests/`.
#[must_use]
pub fn manifests(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests")
        .join(folder)
}

/// Installs Shoalwatch from `manifests/` and waits until operator and workers are ready.
pub async fn shoalwatch(cluster: &Cluster) -> Result<()> {
    cluster.apply_folder(&manifests("demo/install")).await?;
    let crds = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/samplingpolicies.shoalwatch.dev",
        "crd/slos.shoalwatch.dev",
    ];
    cluster.kubectl(&crds).await?;
    rolled_out(cluster, SYSTEM, "statefulset/shoalwatch-operator").await?;
    rolled_out(cluster, SYSTEM, "daemonset/shoalwatch-node-worker").await
}

/// Installs the Collector and waits until it is ready.
pub async fn collector(cluster: &Cluster) -> Result<()> {
    cluster.apply_folder(&manifests("demo/collector")).await?;
    rolled_out(cluster, "observability", "deployment/collector").await
}

/// Installs the shop and waits until all of it is ready.
pub async fn shop(cluster: &Cluster) -> Result<()> {
    cluster.apply_folder(&manifests("demo/shop")).await?;
    for name in ["checkout", "catalog", "web", "load"] {
        rolled_out(cluster, "shop", &format!("deployment/{name}")).await?;
    }
    Ok(())
}

/// Waits until a workload's newest template is what runs, and all of it is ready.
pub async fn rolled_out(cluster: &Cluster, namespace: &str, workload: &str) -> Result<()> {
    let arguments = ["-n", namespace, "rollout", "status", workload, "--timeout=120s"];
    let said = cluster.kubectl(&arguments).await?;
    // kubectl ends well for a workload that does not roll out by itself.
    ensure!(!said.contains("not supported"), "{workload}: {said}");
    Ok(())
}

/// Waits until the first worker says that its probes are in place.
pub async fn worker_pod(cluster: &Cluster) -> Result<String> {
    wait::until("a ready node worker", Duration::from_mins(1), || async {
        cluster.ready_pod(SYSTEM, NODE_WORKER).await.map(Some)
    })
    .await
}
