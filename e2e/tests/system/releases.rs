//! Releases: a bad one is undone, once, and the next good one goes through.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shoalwatch_crds::Slo;
use shoalwatch_e2e::{install, load::Load, shop::Service, wait};

use crate::bench::{Bench, bench};

type Env<'a> = &'a [(&'a str, &'a str)];

const V1: Env = &[("RELEASE", "v1")];
const BAD: Env = &[("RELEASE", "v2"), ("FAIL_RATIO", "0.2")];
const SLIGHTLY_BAD: Env = &[("RELEASE", "v2"), ("FAIL_RATIO", "0.01")];
const V3: Env = &[("RELEASE", "v3")];

/// How a release is applied.
#[derive(Clone, Copy)]
enum Way {
    ClientSide,
    ServerSide,
}

#[tokio::test]
async fn a_bad_release_is_undone_and_a_good_one_goes_through_by_client_side_apply() -> Result<()> {
    let Some(bench) = bench("releases-client").await? else {
        return Ok(());
    };
    bench.run(|| undone_then_good(&bench, Way::ClientSide)).await
}

#[tokio::test]
async fn a_bad_release_is_undone_and_a_good_one_goes_through_by_server_side_apply_without_force() -> Result<()> {
    let Some(bench) = bench("releases-server").await? else {
        return Ok(());
    };
    bench.run(|| undone_then_good(&bench, Way::ServerSide)).await
}

#[tokio::test]
async fn a_release_within_its_objective_is_not_undone() -> Result<()> {
    let Some(bench) = bench("releases-slight").await? else {
        return Ok(());
    };
    bench.run(|| not_undone(&bench)).await
}

async fn undone_then_good(bench: &Bench, way: Way) -> Result<()> {
    let load = judged_v1(bench, way).await?;
    release(bench, way, BAD).await?;
    let released = Instant::now();
    wait::until("the patch", Duration::from_mins(1), || async {
        Ok((running(bench).await? == "v1").then_some(()))
    })
    .await?;
    println!("undone {:?} after it was released", released.elapsed());
    let slo = step(bench, "Verified").await?;
    println!("{:#?}", slo.status.context("no status")?.timeline);
    install::rolled_out(&bench.cluster, &bench.namespace, "deployment/checkout").await?;
    stays(bench, &load, "v1").await?;
    release(bench, way, V3).await?;
    install::rolled_out(&bench.cluster, &bench.namespace, "deployment/checkout").await?;
    stays(bench, &load, "v3").await?;
    load.stop(&bench.cluster).await
}

async fn not_undone(bench: &Bench) -> Result<()> {
    let load = judged_v1(bench, Way::ClientSide).await?;
    release(bench, Way::ClientSide, SLIGHTLY_BAD).await?;
    install::rolled_out(&bench.cluster, &bench.namespace, "deployment/checkout").await?;
    stays(bench, &load, "v2").await?;
    let bad = load.report(&bench.cluster).await?.of_class('5');
    ensure!(bad >= 10, "only {bad} bad answers: the rule was never near its minimum");
    load.stop(&bench.cluster).await
}

/// v1 under an SLO that is enforced, with customers, and known good.
async fn judged_v1(bench: &Bench, way: Way) -> Result<Load> {
    bench.cluster.apply(&slo(&bench.namespace)).await?;
    release(bench, way, V1).await?;
    install::rolled_out(&bench.cluster, &bench.namespace, "deployment/checkout").await?;
    let arguments = [
        "-target=checkout:8080",
        "-rate=50",
        "-connections=8",
        "-per-connection=50",
    ];
    let load = Load::start(&bench.cluster, &bench.namespace, "load", &arguments).await?;
    wait::until("v1 is known good", Duration::from_mins(1), || async {
        let slo = bench.slos().get("checkout").await?;
        let revisions = slo.status.map(|status| status.revisions).unwrap_or_default();
        Ok(revisions
            .iter()
            .any(|one| format!("{:?}", one.role) == "KnownGood")
            .then_some(()))
    })
    .await?;
    Ok(load)
}

fn slo(namespace: &str) -> String {
    format!(
        "apiVersion: shoalwatch.dev/v1alpha1
kind: SLO
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{group: apps, kind: Deployment, name: checkout}}
  objective: '99'
  indicator: {{http: {{bad: [5xx]}}}}
  rollback: {{mode: Enforce}}
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

async fn release(bench: &Bench, way: Way, env: Env<'_>) -> Result<()> {
    let manifest = Service {
        name: "checkout",
        image: "checkout",
        replicas: 2,
        env,
    }
    .manifest(&bench.namespace);
    match way {
        Way::ClientSide => bench.cluster.apply(&manifest).await,
        Way::ServerSide => bench.cluster.apply_server_side(&manifest, "delivery").await,
    }
}

/// The release that the Deployment's template names.
async fn running(bench: &Bench) -> Result<String> {
    let template = bench
        .deployments()
        .get("checkout")
        .await?
        .spec
        .context("no spec")?
        .template;
    let containers = template.spec.context("no pod spec")?.containers;
    let env = containers
        .into_iter()
        .flat_map(|container| container.env.unwrap_or_default());
    let release = env
        .into_iter()
        .find(|variable| variable.name == "RELEASE")
        .and_then(|variable| variable.value);
    release.context("no RELEASE in the template")
}

/// Waits for a step of the SLO's timeline.
async fn step(bench: &Bench, step: &str) -> Result<Slo> {
    wait::until(step, Duration::from_mins(2), || async {
        let slo = bench.slos().get("checkout").await?;
        let timeline = slo.status.iter().flat_map(|status| &status.timeline);
        let there = timeline
            .map(|entry| format!("{:?}", entry.step))
            .any(|seen| seen == step);
        Ok(Some(slo).filter(|_| there))
    })
    .await
}

/// Two thousand further requests change nothing.
async fn stays(bench: &Bench, load: &Load, release: &str) -> Result<()> {
    let before = load.report(&bench.cluster).await?.sent;
    wait::until("two thousand requests", Duration::from_mins(2), || async {
        let now = running(bench).await?;
        ensure!(now == release, "{now} runs instead of {release}");
        Ok((load.report(&bench.cluster).await?.sent >= before + 2000).then_some(()))
    })
    .await?;
    let now = running(bench).await?;
    ensure!(now == release, "{now} runs instead of {release}");
    Ok(())
}
