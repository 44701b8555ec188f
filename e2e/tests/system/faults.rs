//! Parts die under load: the last good policy stays in force, nothing is undone, all recover by themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoalwatch_e2e::{
    cluster::Cluster,
    collector,
    install::{NODE_WORKER, OPERATOR, SYSTEM},
    load::Load,
    shop::Service,
    wait,
};

use crate::{
    bench::{Bench, bench},
    kill::kill,
};

/// (namespace, selector): in this order.
const VICTIMS: [(&str, &str); 3] = [
    (SYSTEM, OPERATOR),
    (SYSTEM, NODE_WORKER),
    ("observability", "app=collector"),
];

#[tokio::test]
async fn each_part_recovers_from_sigkill_under_load() -> Result<()> {
    let Some(bench) = bench("faults").await? else {
        return Ok(());
    };
    if std::env::var_os("SHOALWATCH_CONTEXT").is_some() {
        println!("skipped: the processes of another cluster are out of reach");
        return Ok(());
    }
    bench.run(|| kill_each(&bench)).await
}

async fn kill_each(bench: &Bench) -> Result<()> {
    bench.sample("1").await?;
    Service::new("checkout", 1)
        .deploy(&bench.cluster, &bench.namespace)
        .await?;
    bench.cluster.apply(&slo(&bench.namespace)).await?;
    let arguments = ["-target=checkout:8080", "-rate=100", "-connections=4"];
    let load = Load::start(&bench.cluster, &bench.namespace, "load", &arguments).await?;
    spans_arrive(&bench.cluster).await?;
    let generation = generation(bench).await?;
    for (namespace, selector) in VICTIMS {
        kill(&bench.cluster, namespace, selector).await?;
        spans_arrive(&bench.cluster)
            .await
            .with_context(|| format!("after the death of {selector}"))?;
        wait::until("it is ready again", Duration::from_mins(1), || async {
            bench.cluster.ready_pod(namespace, selector).await.map(Some)
        })
        .await?;
    }
    bench.programmed().await?;
    evaluated(bench).await?;
    ensure!(
        self::generation(bench).await? == generation,
        "something wrote to the target"
    );
    ensure!(load.report(&bench.cluster).await?.failed == 0, "requests failed");
    load.stop(&bench.cluster).await
}

fn slo(namespace: &str) -> String {
    format!(
        "{{apiVersion: shoalwatch.dev/v1alpha1, kind: SLO, metadata: {{name: checkout, namespace: {namespace}}}, spec: {{\
         targetRef: {{group: apps, kind: Deployment, name: checkout}}, objective: '99', indicator: {{http: {{bad: [5xx]}}}}, \
         rollback: {{mode: Enforce}}}}}}"
    )
}

async fn generation(bench: &Bench) -> Result<Option<i64>> {
    Ok(bench.deployments().get("checkout").await?.metadata.generation)
}

/// The policy in force is seen by its work: further spans arrive.
async fn spans_arrive(cluster: &Cluster) -> Result<()> {
    let before = wait::until("the Collector answers", Duration::from_mins(1), || async {
        collector::accepted_spans(cluster).await.map(Some)
    })
    .await?;
    wait::until("further spans", Duration::from_mins(1), || async {
        let now = collector::accepted_spans(cluster).await?;
        // A Collector that was started anew counts from zero.
        Ok((now > before || (now > 0.0 && now < before)).then_some(()))
    })
    .await
}

async fn evaluated(bench: &Bench) -> Result<()> {
    wait::until("the SLO is healthy again", Duration::from_mins(1), || async {
        let status = bench.slos().get("checkout").await?.status.context("no status")?;
        let phase = format!("{:?}", status.phase);
        ensure!(phase.contains("Healthy"), "phase is {phase}");
        Ok(Some(()))
    })
    .await
}
