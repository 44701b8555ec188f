//! Ending the processes of a pod, on this machine.

use std::fs;

use anyhow::{Context, Result, ensure};
use shoalwatch_e2e::cluster::Cluster;
use tokio::process::Command;

/// SIGKILL to the processes of a pod's container, found by their cgroup: from inside, a container's first process
/// cannot be killed.
pub(crate) async fn kill(cluster: &Cluster, namespace: &str, selector: &str) -> Result<()> {
    let pods = cluster.pods(namespace, selector).await?;
    let uid = pods
        .into_iter()
        .next()
        .and_then(|pod| pod.metadata.uid)
        .context("no such pod")?;
    let victims = processes_of(&uid)?;
    ensure!(!victims.is_empty(), "pod {uid} has no process here");
    for pid in victims {
        // One that is gone already is as dead as wanted.
        let _gone = Command::new("kill").args(["-KILL", &pid.to_string()]).status().await?;
    }
    Ok(())
}

fn processes_of(uid: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        let cgroup = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let command = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if cgroup.contains(uid) && !command.contains("pause") {
            found.push(pid);
        }
    }
    Ok(found)
}
