//! Releases of the shop's `checkout` under an SLO that is enforced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoalwatch_crds::Slo;
use shoalwatch_e2e::{install, load::Load, shop::Service, wait};

use crate::bench::Bench;

/// How a release is applied.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    ClientSide,
    ServerSide,
}

/// What a test releases, and what is promised of it.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) way: Way,
    /// Per cent.
    pub(crate) objective: &'static str,
    /// Of `spec.rollback`, beside the mode.
    pub(crate) rollback: &'static str,
    /// Requests per second.
    pub(crate) rate: u32,
}

impl Terms {
    pub(crate) const fn new(objective: &'static str) -> Self {
        Self {
            way: Way::ClientSide,
            objective,
            rollback: "",
            rate: 50,
        }
    }
}

/// `checkout` with customers, its first release known good.
pub(crate) struct Rollout<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) load: Load,
    terms: Terms,
}

impl<'a> Rollout<'a> {
    /// Releases v1, gives it customers, and waits until it is known good.
    pub(crate) async fn begin(bench: &'a Bench, terms: Terms, env: &[(&str, &str)]) -> Result<Self> {
        bench.cluster.apply(&slo(&bench.namespace, terms)).await?;
        apply(bench, terms, "v1", env, 0).await?;
        install::rolled_out(&bench.cluster, &bench.namespace, "deployment/checkout").await?;
        let rate = format!("-rate={}", terms.rate);
        let arguments = ["-target=checkout:8080", &rate, "-connections=8", "-per-connection=50"];
        let load = Load::start(&bench.cluster, &bench.namespace, "load", &arguments).await?;
        wait::until("v1 is known good", Duration::from_mins(1), || async {
            let slo = bench.slos().get("checkout").await?;
            let revisions = slo.status.map(|status| status.revisions).unwrap_or_default();
            let good = revisions.iter().any(|one| format!("{:?}", one.role) == "KnownGood");
            Ok(good.then_some(()))
        })
        .await?;
        Ok(Self { bench, load, terms })
    }

    /// Applies a release; returns at once.
    pub(crate) async fn release(&self, name: &str, env: &[(&str, &str)]) -> Result<()> {
        apply(self.bench, self.terms, name, env, 0).await
    }

    /// Applies a release that replaces a pod each so many seconds; returns at once.
    pub(crate) async fn release_slowly(&self, name: &str, env: &[(&str, &str)], min_ready_seconds: u32) -> Result<()> {
        apply(self.bench, self.terms, name, env, min_ready_seconds).await
    }

    /// Waits until all pods are of the template.
    pub(crate) async fn rolled_out(&self) -> Result<()> {
        install::rolled_out(&self.bench.cluster, &self.bench.namespace, "deployment/checkout").await
    }

    /// The release that the Deployment's template names.
    pub(crate) async fn running(&self) -> Result<String> {
        let deployment = self.bench.deployments().get("checkout").await?;
        let template = deployment.spec.context("no spec")?.template;
        let containers = template.spec.context("no pod spec")?.containers;
        let mut env = containers
            .into_iter()
            .flat_map(|container| container.env.unwrap_or_default());
        let release = env.find(|variable| variable.name == "RELEASE");
        release
            .and_then(|variable| variable.value)
            .context("no RELEASE in the template")
    }

    /// Waits until the template names this release.
    pub(crate) async fn until_running(&self, release: &str, within: Duration) -> Result<()> {
        wait::until(release, within, || async {
            Ok((self.running().await? == release).then_some(()))
        })
        .await
    }

    /// Waits until the SLO's timeline has so many rows of a step.
    pub(crate) async fn steps(&self, step: &str, count: usize) -> Result<Slo> {
        wait::until(step, Duration::from_mins(2), || async {
            let slo = self.bench.slos().get("checkout").await?;
            let timeline = slo.status.iter().flat_map(|status| &status.timeline);
            let seen = timeline.filter(|entry| format!("{:?}", entry.step) == step);
            let enough = seen.count() >= count;
            Ok(Some(slo).filter(|_| enough))
        })
        .await
    }

    /// Waits until customers got so many more bad answers.
    pub(crate) async fn bad_answers(&self, more: u64) -> Result<()> {
        let bad = async || Ok::<_, anyhow::Error>(self.load.report(&self.bench.cluster).await?.of_class('5'));
        let before = bad().await?;
        wait::until("bad answers", Duration::from_mins(1), || async {
            Ok((bad().await? >= before + more).then_some(()))
        })
        .await
    }

    /// So many further requests change nothing.
    pub(crate) async fn stays(&self, release: &str, requests: u64) -> Result<()> {
        let before = self.load.report(&self.bench.cluster).await?.sent;
        wait::until("further requests", Duration::from_mins(3), || async {
            Ok((self.load.report(&self.bench.cluster).await?.sent >= before + requests).then_some(()))
        })
        .await?;
        let now = self.running().await?;
        ensure!(now == release, "{now} runs instead of {release}");
        Ok(())
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.load.stop(&self.bench.cluster).await
    }
}

async fn apply(bench: &Bench, terms: Terms, name: &str, env: &[(&str, &str)], min_ready_seconds: u32) -> Result<()> {
    let env = [&[("RELEASE", name)], env].concat();
    let manifest = Service {
        min_ready_seconds,
        env: &env,
        ..Service::new("checkout", 2)
    }
    .manifest(&bench.namespace);
    match terms.way {
        Way::ClientSide => bench.cluster.apply(&manifest).await,
        Way::ServerSide => bench.cluster.apply_server_side(&manifest, "delivery").await,
    }
}

fn slo(namespace: &str, terms: Terms) -> String {
    let Terms {
        objective, rollback, ..
    } = terms;
    format!(
        "apiVersion: shoalwatch.dev/v1alpha1
kind: SLO
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{group: apps, kind: Deployment, name: checkout}}
  objective: '{objective}'
  indicator: {{http: {{bad: [5xx]}}}}
  rollback: {{mode: Enforce, {rollback}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: shoalwatch-rollback, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shoalwatch-rollback}}
subjects: [{{kind: ServiceAccount, name: shoalwatch-operator, namespace: {}}}]
",
        install::SYSTEM
    )
}
