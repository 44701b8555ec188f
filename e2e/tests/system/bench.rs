//! What every test of this tier begins with and looks at.

use std::{env, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition};
use kube::Api;
use shoalwatch_crds::{SamplingPolicy, Slo};
use shoalwatch_e2e::{cluster::Cluster, install, wait};

/// A cluster with Shoalwatch and the Collector, and a namespace for one test. Nothing where there is no cluster and no
/// CI: then the test is skipped, and says so.
pub(crate) async fn bench(namespace: &str) -> Result<Option<Bench>> {
    let cluster = match Cluster::connect().await {
        Ok(cluster) => cluster,
        Err(error) if env::var_os("CI").is_none() => {
            println!("skipped: {error:#}");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    install::shoalwatch(&cluster).await?;
    install::collector(&cluster).await?;
    cluster.create_namespace(namespace).await?;
    Ok(Some(Bench {
        cluster,
        namespace: namespace.to_owned(),
    }))
}

/// One test's place.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

impl Bench {
    /// Runs the test, shows the namespace's state when it fails, and deletes the namespace.
    pub(crate) async fn run<F: Future<Output = Result<()>>>(&self, test: impl FnOnce() -> F) -> Result<()> {
        let outcome = test().await;
        if outcome.is_err() {
            self.dump().await;
        }
        self.cluster.delete_namespace(&self.namespace).await?;
        outcome
    }

    async fn dump(&self) {
        let namespace = self.namespace.as_str();
        for arguments in [
            vec![
                "-n",
                namespace,
                "get",
                "samplingpolicies,slos,deployments,replicasets",
                "-o",
                "yaml",
                "--show-managed-fields",
            ],
            vec!["-n", namespace, "get", "pods", "-o", "wide"],
            vec![
                "-n",
                namespace,
                "get",
                "events",
                "--sort-by=.metadata.creationTimestamp",
            ],
            vec!["-n", install::SYSTEM, "get", "pods", "-o", "wide"],
            vec!["-n", install::SYSTEM, "logs", "-l", install::OPERATOR, "--tail=100"],
            vec!["-n", install::SYSTEM, "logs", "-l", install::NODE_WORKER, "--tail=100"],
        ] {
            let said = self
                .cluster
                .kubectl(&arguments)
                .await
                .unwrap_or_else(|error| format!("{error:#}"));
            println!("--- kubectl {}\n{said}", arguments.join(" "));
        }
    }

    /// Applies a SamplingPolicy for all of the namespace, and waits until every node has acknowledged it.
    pub(crate) async fn sample(&self, probability: &str) -> Result<()> {
        self.write_policy(probability).await?;
        self.programmed().await
    }

    /// Applies a SamplingPolicy for all of the namespace.
    pub(crate) async fn write_policy(&self, probability: &str) -> Result<()> {
        let namespace = &self.namespace;
        let manifest = format!(
            "{{apiVersion: shoalwatch.dev/v1alpha1, kind: SamplingPolicy, metadata: {{name: all, namespace: {namespace}}}, \
             spec: {{probability: '{probability}'}}}}"
        );
        self.cluster.apply(&manifest).await
    }

    /// Waits until every node has acknowledged the policy as it is written now.
    pub(crate) async fn programmed(&self) -> Result<()> {
        let policies: Api<SamplingPolicy> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        wait::until("the policy is programmed", Duration::from_secs(30), || async {
            let policy = policies.get("all").await?;
            let conditions = policy
                .status
                .as_ref()
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default();
            let programmed = find(conditions, "Programmed");
            ensure!(programmed.is_some(), "no condition yet");
            Ok(programmed
                .filter(|one| one.status == "True" && one.observed_generation == policy.metadata.generation)
                .map(drop))
        })
        .await
    }

    pub(crate) fn slos(&self) -> Api<Slo> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Restarts of all containers of the namespace.
    pub(crate) async fn restarts(&self) -> Result<i32> {
        let pods = self.cluster.pods(&self.namespace, "").await?;
        let statuses = pods
            .into_iter()
            .filter_map(|pod| pod.status?.container_statuses)
            .flatten();
        Ok(statuses.map(|status| status.restart_count).sum())
    }
}

/// A condition by its type.
pub(crate) fn find<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a Condition> {
    conditions.iter().find(|one| one.type_ == name)
}
