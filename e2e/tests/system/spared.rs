//! What looks like a bad release and is none: nothing is undone.

use anyhow::{Result, ensure};
use shoalwatch_e2e::{install, shop::Service};

use crate::{
    bench::{Bench, bench},
    kill::kill,
    rollout::{Rollout, Terms},
};

type Env<'a> = &'a [(&'a str, &'a str)];

const NEEDS_STOCK: Env = &[("DEPENDS_ON", "http://stock:8080/")];
const COLD: Env = &[
    ("DEPENDS_ON", "http://stock:8080/"),
    ("UNREADY", "5s"),
    ("COLD_START", "15s"),
];
/// Bad answers of an outage: more than any rule asks for.
const OUTAGE: u64 = 200;

#[tokio::test]
async fn outages_of_others_cold_starts_probes_and_dead_workers_undo_nothing() -> Result<()> {
    let Some(bench) = bench("spared").await? else {
        return Ok(());
    };
    bench.run(|| spared(&bench)).await
}

async fn spared(bench: &Bench) -> Result<()> {
    stock(bench, 1).await?;
    let terms = Terms {
        rollback: "warmup: 30s, promoteAfter: {duration: 40s}",
        ..Terms::new("99.9")
    };
    let rollout = Rollout::begin(bench, terms, NEEDS_STOCK).await?;
    // The known good release fails: nothing would be better.
    outage(&rollout).await?;
    // The next one is not ready at first, and fails while it is cold.
    rollout.release("v2", COLD).await?;
    rollout.steps("ProbationStarted", 1).await?;
    rollout.bad_answers(100).await?;
    rollout.steps("Promoted", 1).await?;
    // The last one serves beside that for a while, and needs the same stock.
    rollout.release_slowly("v3", NEEDS_STOCK, 75).await?;
    rollout.steps("ProbationStarted", 2).await?;
    rollout.stays("v3", 1700).await?;
    both_serve(&rollout).await?;
    outage(&rollout).await?;
    both_serve(&rollout).await?;
    rollout.stays("v3", 500).await?;
    if std::env::var_os("SHOALWATCH_CONTEXT").is_none() {
        kill(&bench.cluster, install::SYSTEM, install::NODE_WORKER).await?;
    }
    rollout.stays("v3", 2000).await?;
    nothing_undone(&rollout).await?;
    rollout.end().await
}

/// The service that `checkout` needs.
async fn stock(bench: &Bench, replicas: u32) -> Result<()> {
    let service = Service {
        image: "checkout",
        ..Service::new("stock", replicas)
    };
    service.deploy(&bench.cluster, &bench.namespace).await
}

/// The stock is away until customers got many bad answers.
async fn outage(rollout: &Rollout<'_>) -> Result<()> {
    let running = rollout.running().await?;
    stock(rollout.bench, 0).await?;
    rollout.bad_answers(OUTAGE).await?;
    stock(rollout.bench, 1).await?;
    ensure!(rollout.running().await? == running, "{running} was undone");
    Ok(())
}

/// Whether the releases really are side by side, which the outage of both is about.
async fn both_serve(rollout: &Rollout<'_>) -> Result<()> {
    let deployment = rollout.bench.deployments().get("checkout").await?;
    let status = deployment.status.unwrap_or_default();
    let (updated, all) = (status.updated_replicas.unwrap_or(0), status.replicas.unwrap_or(0));
    ensure!(
        updated >= 1 && all > updated,
        "{updated} of {all} pods are of the new release: not both serve"
    );
    Ok(())
}

async fn nothing_undone(rollout: &Rollout<'_>) -> Result<()> {
    let slo = rollout.bench.slos().get("checkout").await?;
    let timeline = slo.status.map(|status| status.timeline).unwrap_or_default();
    let steps: Vec<String> = timeline.iter().map(|entry| format!("{:?}", entry.step)).collect();
    ensure!(!steps.iter().any(|step| step == "Patched"), "undone: {steps:?}");
    Ok(())
}
