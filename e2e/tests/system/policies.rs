//! Policies change live.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shoalwatch_e2e::{collector, load::Load, shop::Service, wait};

use crate::bench::{Bench, bench};

#[tokio::test]
async fn a_policy_changes_what_is_sampled_without_a_failed_request_or_a_restart() -> Result<()> {
    let Some(bench) = bench("policies").await? else {
        return Ok(());
    };
    bench.run(|| change_live(&bench)).await
}

async fn change_live(bench: &Bench) -> Result<()> {
    bench.sample("0").await?;
    Service::new("checkout", 2)
        .deploy(&bench.cluster, &bench.namespace)
        .await?;
    let arguments = ["-target=checkout:8080", "-rate=200", "-connections=8"];
    let load = Load::start(&bench.cluster, &bench.namespace, "load", &arguments).await?;
    answered(bench, &load, 400).await?;
    let none = collector::accepted_spans(&bench.cluster).await?;
    answered(bench, &load, 400).await?;
    ensure!(
        same(collector::accepted_spans(&bench.cluster).await?, none),
        "spans at probability 0"
    );

    bench.write_policy("1").await?;
    let edited = Instant::now();
    bench.programmed().await?;
    let acknowledged = edited.elapsed();
    wait::until("spans at probability 1", Duration::from_secs(30), || async {
        Ok((collector::accepted_spans(&bench.cluster).await? > none).then_some(()))
    })
    .await?;
    println!(
        "acknowledged after {acknowledged:?}, a span at the Collector after {:?}",
        edited.elapsed()
    );

    bench.sample("0").await?;
    // What was sampled before is on its way for as long as a batch may wait.
    let settled = settled_spans(bench, &load).await?;
    answered(bench, &load, 400).await?;
    ensure!(
        same(collector::accepted_spans(&bench.cluster).await?, settled),
        "spans after the way back to 0"
    );
    ensure!(load.report(&bench.cluster).await?.failed == 0, "requests failed");
    ensure!(bench.restarts().await? == 0, "pods restarted");
    load.stop(&bench.cluster).await
}

/// Waits until so many more requests have been answered.
async fn answered(bench: &Bench, load: &Load, more: u64) -> Result<()> {
    let before = load.report(&bench.cluster).await?.sent;
    wait::until("the load goes on", Duration::from_mins(1), || async {
        Ok((load.report(&bench.cluster).await?.sent >= before + more).then_some(()))
    })
    .await
}

/// The Collector's count once 400 requests went by without a new span.
async fn settled_spans(bench: &Bench, load: &Load) -> Result<f64> {
    wait::until("no more spans", Duration::from_mins(1), || async {
        let before = collector::accepted_spans(&bench.cluster).await?;
        answered(bench, load, 400).await?;
        let after = collector::accepted_spans(&bench.cluster).await?;
        Ok(same(before, after).then_some(after))
    })
    .await
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}
