//! Three replicas: whoever leads is taken away in the middle of a bad release, which another one, or its own successor, undoes once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use shoalwatch_e2e::{
    install::{self, SYSTEM},
    wait,
};

use crate::{
    bench::{Bench, bench},
    kill::kill,
    rollout::{Rollout, Terms},
};

const OPERATOR: &str = "statefulset/shoalwatch-operator";
const BAD: &[(&str, &str)] = &[("FAIL_RATIO", "0.2")];

#[tokio::test]
async fn a_bad_release_is_undone_once_although_the_leader_goes_away_over_it() -> Result<()> {
    let Some(bench) = bench("replicas").await? else {
        return Ok(());
    };
    bench
        .run(|| async {
            scale(&bench, 3).await?;
            let outcome = leaders_go(&bench).await;
            scale(&bench, 1).await?;
            outcome
        })
        .await
}

async fn leaders_go(bench: &Bench) -> Result<()> {
    let rollout = Rollout::begin(bench, Terms::new("99.9"), &[]).await?;
    let first = leader(bench).await?;
    // Its pod is asked to end: the Lease is free at once, and another one leads.
    begin_to_fail(&rollout, "bad-1").await?;
    bench
        .cluster
        .kubectl(&["-n", SYSTEM, "delete", "pod", &first, "--wait=false"])
        .await?;
    undone(&rollout, 1).await?;
    ensure!(leader(bench).await? != first, "{first} leads again");
    install::rolled_out(&bench.cluster, SYSTEM, OPERATOR).await?;
    if std::env::var_os("SHOALWATCH_CONTEXT").is_none() {
        // It dies: its Lease is taken over by its successor of the same name, or by another one when it has run out.
        begin_to_fail(&rollout, "bad-2").await?;
        let second = format!("statefulset.kubernetes.io/pod-name={}", leader(bench).await?);
        kill(&bench.cluster, SYSTEM, &second).await?;
        undone(&rollout, 2).await?;
    }
    rollout.end().await
}

/// A release that gives bad answers, and is not undone yet.
async fn begin_to_fail(rollout: &Rollout<'_>, name: &str) -> Result<()> {
    rollout.release(name, BAD).await?;
    rollout.bad_answers(5).await?;
    ensure!(
        rollout.running().await? == name,
        "it was undone before its judge was taken away"
    );
    Ok(())
}

/// So many releases were undone by now, each once.
async fn undone(rollout: &Rollout<'_>, count: usize) -> Result<()> {
    rollout.until_running("v1", Duration::from_mins(2)).await?;
    let slo = rollout.steps("Verified", count).await?;
    rollout.stays("v1", 500).await?;
    let timeline = slo.status.context("no status")?.timeline;
    let acts = timeline
        .iter()
        .filter(|entry| format!("{:?}", entry.step) == "Patched")
        .count();
    ensure!(acts == count, "{acts} acts for {count} releases: {timeline:#?}");
    rollout.rolled_out().await
}

async fn scale(bench: &Bench, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    bench
        .cluster
        .kubectl(&["-n", SYSTEM, "scale", OPERATOR, &replicas])
        .await?;
    install::rolled_out(&bench.cluster, SYSTEM, OPERATOR).await
}

/// The pod that holds the Lease.
async fn leader(bench: &Bench) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(bench.cluster.client.clone(), SYSTEM);
    wait::until("somebody leads", Duration::from_mins(1), || async {
        let lease = leases.get("shoalwatch-operator").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()))
    })
    .await
}
