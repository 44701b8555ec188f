//! Releases: a bad one is undone, once, and the next good one goes through.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoalwatch_crds::{Slo, values::TimeSpan};
use shoalwatch_e2e::load::Report;

use crate::{
    bench::{Bench, bench},
    rollout::{Rollout, Terms, Way},
};

type Env<'a> = &'a [(&'a str, &'a str)];

const BAD: Env = &[("FAIL_RATIO", "0.2")];
const SLIGHTLY_BAD: Env = &[("FAIL_RATIO", "0.01")];
const OUT: Env = &[("FAIL_RATIO", "1")];

/// From the answer that completes the evidence to the patch.
const GOAL: Duration = Duration::from_secs(3);

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

/// `ROUNDS` says how many; three where nobody does.
#[tokio::test]
async fn every_bad_release_is_undone_within_three_seconds_of_its_evidence() -> Result<()> {
    let Some(bench) = bench("releases-rounds").await? else {
        return Ok(());
    };
    bench.run(|| every_round(&bench)).await
}

#[tokio::test]
async fn an_outage_at_one_request_a_second_is_undone() -> Result<()> {
    let Some(bench) = bench("releases-slow").await? else {
        return Ok(());
    };
    bench.run(|| slow_outage(&bench)).await
}

async fn undone_then_good(bench: &Bench, way: Way) -> Result<()> {
    let terms = Terms {
        way,
        ..Terms::new("99")
    };
    let rollout = Rollout::begin(bench, terms, &[]).await?;
    rollout.release("v2", BAD).await?;
    rollout.until_running("v1", Duration::from_mins(1)).await?;
    let slo = rollout.steps("Verified", 1).await?;
    println!("{:#?}", slo.status.context("no status")?.timeline);
    rollout.rolled_out().await?;
    rollout.stays("v1", 2000).await?;
    rollout.release("v3", &[]).await?;
    rollout.rolled_out().await?;
    rollout.stays("v3", 2000).await?;
    rollout.end().await
}

async fn not_undone(bench: &Bench) -> Result<()> {
    let rollout = Rollout::begin(bench, Terms::new("99"), &[]).await?;
    rollout.release("v2", SLIGHTLY_BAD).await?;
    rollout.rolled_out().await?;
    rollout.stays("v2", 2000).await?;
    let bad = rollout.load.report(&bench.cluster).await?.of_class('5');
    ensure!(bad >= 10, "only {bad} bad answers: the rule was never near its minimum");
    rollout.end().await
}

async fn every_round(bench: &Bench) -> Result<()> {
    let rounds = std::env::var("ROUNDS").map_or(Ok(3), |rounds| rounds.parse::<usize>())?;
    let rollout = Rollout::begin(bench, Terms::new("99.9"), &[]).await?;
    for round in 1..=rounds {
        let before = rollout.load.report(&bench.cluster).await?.up_ms;
        rollout.release(&format!("bad-{round}"), BAD).await?;
        rollout.until_running("v1", Duration::from_mins(2)).await?;
        let report = rollout.load.report(&bench.cluster).await?;
        let slo = undone(&rollout).await?;
        let reason = slo
            .status
            .and_then(|status| status.rollback?.reason)
            .context("no reason")?;
        let late = since_evidence(&report, before, &reason)?;
        println!("round {round} of {rounds}: patched {late:?} after its evidence: {reason}");
        ensure!(late <= GOAL, "patched {late:?} after its evidence");
        rollout.rolled_out().await?;
    }
    rollout.end().await
}

/// Waits until the undo is verified.
async fn undone(rollout: &Rollout<'_>) -> Result<Slo> {
    shoalwatch_e2e::wait::until("the undo is verified", Duration::from_mins(2), || async {
        let slo = rollout.bench.slos().get("checkout").await?;
        let state = slo.status.as_ref().and_then(|status| status.rollback.as_ref());
        let latched = state.is_some_and(|rollback| format!("{:?}", rollback.state) == "Latched");
        Ok(Some(slo).filter(|_| latched))
    })
    .await
}

/// How long ago the bad answers that the reason names were complete, by the load's own clock. Seconds are judged whole, so the stretch
/// that the reason names may have begun up to a second earlier.
fn since_evidence(report: &Report, from_ms: u64, reason: &str) -> Result<Duration> {
    let words: Vec<&str> = reason.split(' ').collect();
    let [count, "bad", "of", _, "in", span, ..] = words[..] else {
        anyhow::bail!("not understood: {reason}");
    };
    let count: usize = count.parse()?;
    let span: TimeSpan = span.parse()?;
    let bad: Vec<u64> = report.bad_ms.iter().copied().filter(|at| *at >= from_ms).collect();
    let within = |stretch: &&[u64]| stretch[count - 1] - stretch[0] <= span.as_millis() + 1000;
    let complete = bad
        .windows(count)
        .find(within)
        .context("the load saw fewer bad answers")?[count - 1];
    Ok(Duration::from_millis(report.up_ms - complete))
}

async fn slow_outage(bench: &Bench) -> Result<()> {
    let terms = Terms {
        rate: 1,
        ..Terms::new("99.9")
    };
    let rollout = Rollout::begin(bench, terms, &[]).await?;
    rollout.release("v2", OUT).await?;
    rollout.until_running("v1", Duration::from_mins(3)).await?;
    rollout.steps("Patched", 1).await?;
    rollout.end().await
}
