//! Load: the shop's `load` program as a pod, and what it tells.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use serde::Deserialize;

use crate::{cluster::Cluster, wait};

const PORT: u16 = 8081;

/// What came back so far.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Requests written, answered or not.
    pub sent: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Whether all of them are through.
    pub done: bool,
    /// Answers, by `METHOD path status`.
    pub answers: BTreeMap<String, u64>,
    /// Milliseconds since the load's start.
    pub up_ms: u64,
    /// When the last thousand 5xx came, in milliseconds since the load's start.
    pub bad_ms: Vec<u64>,
}

impl Report {
    /// Answers with a status of this class.
    #[must_use]
    pub fn of_class(&self, class: char) -> u64 {
        let of_class = |key: &str| key.rsplit(' ').next().is_some_and(|status| status.starts_with(class));
        self.answers
            .iter()
            .filter(|(key, _)| of_class(key))
            .map(|(_, count)| count)
            .sum()
    }
}

/// A load of its own for one test.
pub struct Load {
    namespace: String,
    pod: String,
}

impl Load {
    /// Starts a load pod; `arguments` are those of the program, without `-listen`.
    pub async fn start(cluster: &Cluster, namespace: &str, pod: &str, arguments: &[&str]) -> Result<Self> {
        let listed: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        cluster.apply(&manifest(namespace, pod, &listed.join(", "))).await?;
        let load = Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
        };
        wait::until("the load answers", Duration::from_mins(1), || async {
            load.report(cluster).await.map(Some)
        })
        .await?;
        Ok(load)
    }

    /// The load that a Deployment runs.
    pub async fn of_deployment(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self> {
        let pod = cluster.ready_pod(namespace, &format!("app={name}")).await?;
        Ok(Self {
            namespace: namespace.to_owned(),
            pod,
        })
    }

    /// What came back so far.
    pub async fn report(&self, cluster: &Cluster) -> Result<Report> {
        Ok(serde_json::from_str(
            &cluster.pod_http(&self.namespace, &self.pod, PORT, "/").await?,
        )?)
    }

    /// Waits until all requests are through.
    pub async fn finish(&self, cluster: &Cluster, within: Duration) -> Result<Report> {
        wait::until("the load's end", within, || async {
            Ok(Some(self.report(cluster).await?).filter(|report| report.done))
        })
        .await
    }

    /// Ends it.
    pub async fn stop(self, cluster: &Cluster) -> Result<()> {
        cluster
            .kubectl(&[
                "-n",
                &self.namespace,
                "delete",
                "pod",
                &self.pod,
                "--now",
                "--wait=false",
            ])
            .await
            .map(drop)
    }
}

fn manifest(namespace: &str, pod: &str, arguments: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: {namespace}, labels: {{app: {pod}}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: load
      image: shoalwatch.local/load:dev
      imagePullPolicy: IfNotPresent
      args: [{arguments}, '-listen=:{PORT}']
"
    )
}
