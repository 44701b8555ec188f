//! Edits, and pods that land where their namespace was not: from the API write to the workers' ACKs.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    Outcome, Size,
    objects::{self, DEFAULT, HOME, Workload},
    operator,
    run::Cluster,
};

/// Edits of each sort.
const ROUNDS: usize = 5;
/// What takes longer is broken rather than slow.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two edits: longer than pushes are gathered for.
const PAUSE: Duration = Duration::from_secs(2);

/// From the write to the ACK, in seconds.
#[derive(Default)]
pub(crate) struct Told {
    /// Of 99 % of the workers concerned, in each round.
    pub(crate) rounds: Vec<f64>,
    /// Of all of them, in the slowest round.
    pub(crate) all: f64,
    /// Workers concerned by one edit, on average.
    pub(crate) concerned: f64,
    /// Pushes of one edit, on average.
    pub(crate) pushes: f64,
    /// What was used in each round, from the write to the end of the pause after the last ACK.
    pub(crate) used: Vec<Used>,
}

/// Seconds.
pub(crate) struct Used {
    pub(crate) passed: f64,
    /// Of CPU, by the operator.
    pub(crate) operator: f64,
    /// Of CPU, by everything else: the API server and the workers.
    pub(crate) others: f64,
}

/// Edits of the policy that is everybody's default.
pub(crate) async fn everywhere(cluster: &Cluster) -> Outcome<Told> {
    let all: BTreeSet<usize> = (0..cluster.size.workers).collect();
    let mut told = Told::default();
    for round in 0..ROUNDS {
        edit(cluster, HOME.to_owned(), DEFAULT, round, &all, &mut told).await?;
    }
    Ok(told)
}

/// Edits of policies of one namespace.
pub(crate) async fn in_one_namespace(cluster: &Cluster) -> Outcome<Told> {
    let mut told = Told::default();
    for round in 0..ROUNDS {
        let number = round * cluster.size.namespaces / ROUNDS;
        let concerned = nodes_of(number, cluster.size);
        edit(
            cluster,
            objects::namespace(number),
            "policy-0",
            round,
            &concerned,
            &mut told,
        )
        .await?;
    }
    Ok(told)
}

/// Pods scheduled to nodes that have none of their namespace.
pub(crate) async fn arrivals(cluster: &Cluster) -> Outcome<Told> {
    let mut told = Told::default();
    for round in 0..ROUNDS {
        let number = round * cluster.size.namespaces / ROUNDS;
        let taken = nodes_of(number, cluster.size);
        let strange = (0..cluster.size.workers).find(|node| !taken.contains(node));
        let Some(strange) = strange else { return Ok(told) };
        let workload = Workload {
            namespace: number,
            number: 0,
        };
        let id = format!("{}/policy-0", objects::namespace(number));
        let before = Before::of(cluster)?;
        cluster.fleet.expect(id, probability(round));
        cluster
            .api
            .store
            .put("pods", workload.pod(objects::REPLICAS + round, strange));
        wait(cluster, &BTreeSet::from([strange]), &before, &mut told).await?;
    }
    Ok(told)
}

fn nodes_of(namespace: usize, size: Size) -> BTreeSet<usize> {
    let workloads = (0..objects::WORKLOADS).map(|number| Workload { namespace, number });
    workloads
        .flat_map(|workload| (0..objects::REPLICAS).map(move |replica| workload.node(replica, size)))
        .collect()
}

fn probability(round: usize) -> f64 {
    (round + 2) as f64 / 100.0
}

async fn edit(
    cluster: &Cluster,
    namespace: String,
    name: &str,
    round: usize,
    concerned: &BTreeSet<usize>,
    told: &mut Told,
) -> Outcome<()> {
    let (wanted, before) = (probability(round), Before::of(cluster)?);
    cluster.fleet.expect(format!("{namespace}/{name}"), wanted);
    let place = (namespace, name.to_owned());
    let edited = cluster.api.store.change("samplingpolicies", &place, |policy| {
        policy["spec"]["probability"] = json!(wanted.to_string());
        policy["metadata"]["generation"] = json!(policy["metadata"]["generation"].as_u64().unwrap_or_default() + 1);
    });
    edited.ok_or("no such policy")?;
    wait(cluster, concerned, &before, told).await
}

/// What had been used before an edit.
struct Before {
    at: Instant,
    pushes: u64,
    operator: f64,
    others: f64,
}

impl Before {
    fn of(cluster: &Cluster) -> Outcome<Self> {
        Ok(Self {
            pushes: cluster.fleet.pushes.load(Relaxed),
            at: Instant::now(),
            operator: cluster.operator.cpu()?,
            others: operator::cpu("self")?,
        })
    }
}

async fn wait(cluster: &Cluster, concerned: &BTreeSet<usize>, before: &Before, told: &mut Told) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut times: Vec<Duration> = loop {
        let seen = cluster.fleet.seen();
        if concerned.iter().all(|node| seen.contains_key(node)) {
            break concerned.iter().filter_map(|node| seen.get(node).copied()).collect();
        }
        if Instant::now() > deadline {
            let missing = concerned.iter().filter(|node| !seen.contains_key(node)).count();
            return Err(format!(
                "{missing} of {} workers were not told within {PATIENCE:?}",
                concerned.len()
            )
            .into());
        }
        sleep(Duration::from_millis(5)).await;
    };
    times.sort_unstable();
    let most = times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied();
    told.rounds.push(most.unwrap_or_default().as_secs_f64());
    told.all = told.all.max(times.last().copied().unwrap_or_default().as_secs_f64());
    sleep(PAUSE).await;
    told.concerned += concerned.len() as f64 / ROUNDS as f64;
    let after = Before::of(cluster)?;
    told.pushes += (after.pushes - before.pushes) as f64 / ROUNDS as f64;
    told.used.push(Used {
        passed: (after.at - before.at).as_secs_f64(),
        operator: after.operator - before.operator,
        others: after.others - before.others,
    });
    Ok(())
}
