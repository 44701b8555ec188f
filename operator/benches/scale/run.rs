//! One cluster of one size, from its start to its rows of the table.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use shoalwatch_node_api::{CA_CONFIG_MAP, CA_KEY};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Outcome, Size,
    api::Api,
    edits::{self, Told},
    objects::{self, HOME, POLICIES, WORKLOADS, Workload},
    operator::{self, Operator},
    store::Asked,
    table::{Row, median},
    workers::{Door, Fleet, Worker},
};

/// How long steady states are looked at: more than two reports of every worker.
const WINDOW: Duration = Duration::from_secs(25);
/// What takes longer is broken rather than slow: all first statuses at 50 a second are written in half of it.
const PATIENCE: Duration = Duration::from_mins(8);
/// Nothing is pushed for so long: everybody has what it needs.
const SETTLED: Duration = Duration::from_secs(5);

/// Everything that runs.
pub(crate) struct Cluster {
    /// Ended before the operator is.
    workers: JoinSet<()>,
    pub(crate) size: Size,
    pub(crate) api: Api,
    pub(crate) operator: Operator,
    pub(crate) fleet: Arc<Fleet>,
}

/// A stretch of time.
struct Stretch {
    /// Share of one core.
    cpu: f64,
    /// The same of everything else here.
    others: f64,
    rows: f64,
    writes: f64,
    /// MiB a second, to files.
    written: f64,
    /// By verb and resource, the most frequent first.
    kinds: String,
}

pub(crate) async fn rows(size: Size) -> Outcome<Vec<Row>> {
    let began = Instant::now();
    let say = |what: &str| {
        eprintln!(
            "{:>4} workers, {:>4.0} s: {what}",
            size.workers,
            began.elapsed().as_secs_f64()
        );
    };
    let cluster = Cluster::start(size).await?;
    cluster.settle().await?;
    say("every worker has its configuration");
    let entries = cluster.fleet.entries.load(Relaxed) as f64 / cluster.fleet.pushes.load(Relaxed).max(1) as f64;
    let start = cluster.operator.cpu()?;
    let first = cluster.until_written().await?;
    say("every object has its status");
    let quiet = cluster.stretch().await?;
    let (calm, _) = cluster.operator.memory()?;
    cluster.fleet.reports.store(true, Relaxed);
    sleep(WINDOW / 2).await;
    let busy = cluster.stretch().await?;
    say("reports were measured");
    let everywhere = edits::everywhere(&cluster).await?;
    let namespaced = edits::in_one_namespace(&cluster).await?;
    let arrivals = edits::arrivals(&cluster).await?;
    say("edits were measured");
    let (now, peak) = cluster.operator.memory()?;
    let lost = cluster.fleet.ended.load(Relaxed);
    cluster.stop().await;
    if lost > 0 {
        return Err(format!("{lost} streams ended").into());
    }
    Ok(vec![
        edit(size, "an edit for all nodes", &everywhere, &busy),
        edit(size, "an edit in one namespace", &namespaced, &busy),
        edit(size, "a pod on a node new to its namespace", &arrivals, &busy),
        Row {
            what: format!("{} RSS of the operator", of(size)),
            goal: "≤ 300 MiB".to_owned(),
            result: format!("{peak:.0} MiB at most, {calm:.0} before the first report, {now:.0} at the end"),
            met: Some(peak <= 300.0),
            how: format!("VmHWM and VmRSS; {entries:.0} policies and SLOs in a configuration"),
        },
        Row {
            what: format!("{} CPU", of(size)),
            goal: String::new(),
            result: format!(
                "{:.1} % of a core, without reports {:.1} %: {}; the bench {:.1} %",
                100.0 * busy.cpu,
                100.0 * quiet.cpu,
                per_row(&busy, &quiet),
                100.0 * busy.others
            ),
            met: None,
            how: format!(
                "/proc/PID/stat over {} s each; every worker reports each 10 s. Until all had their configurations: {start:.1} s of CPU",
                WINDOW.as_secs()
            ),
        },
        Row {
            what: format!("{} disk writes", of(size)),
            goal: String::new(),
            result: format!("{:.2} MiB/s, without reports {:.2}", busy.written, quiet.written),
            met: None,
            how: "/proc/PID/io over the same stretches".to_owned(),
        },
        Row {
            what: format!("{} API writes", of(size)),
            goal: "≤ 50/s of status".to_owned(),
            result: format!(
                "{:.1}/s, without reports {:.1}/s; first statuses {first:.0}/s",
                busy.writes, quiet.writes
            ),
            met: Some(first <= 51.0),
            how: format!("counted by the API server; with reports: {}", busy.kinds),
        },
    ])
}

fn of(size: Size) -> String {
    let objects = size.namespaces * (2 * WORKLOADS + POLICIES);
    format!("{} workers, {objects} objects:", size.workers)
}

fn edit(size: Size, what: &str, told: &Told, busy: &Stretch) -> Row {
    let slowest = told.rounds.iter().copied().fold(0.0, f64::max);
    // What is reported meanwhile has its own row.
    let operator = told.used.iter().map(|used| used.operator - busy.cpu * used.passed);
    let others = told.used.iter().map(|used| used.others - busy.others * used.passed);
    let (operator, others) = (median(operator.collect()), median(others.collect()));
    Row {
        what: format!("{} {what} → ACK", of(size)),
        goal: "99 % ≤ 2 s".to_owned(),
        result: format!(
            "median {:.2} s, slowest {slowest:.2} s; all {:.2} s; {:.0} ms of CPU, of the bench {:.0} ms",
            median(told.rounds.clone()),
            told.all,
            1e3 * operator.max(0.0),
            1e3 * others.max(0.0)
        ),
        met: (!told.rounds.is_empty()).then_some(slowest <= 2.0),
        how: format!(
            "{} rounds, of 99 % of the workers concerned; {:.0} concerned, {:.0} pushes",
            told.rounds.len(),
            told.concerned,
            told.pushes
        ),
    }
}

fn per_row(busy: &Stretch, quiet: &Stretch) -> String {
    let each = (busy.cpu - quiet.cpu) / busy.rows * 1e6;
    format!("{:.0} rows/s, {each:.0} µs each with all that follows", busy.rows)
}

impl Cluster {
    async fn start(size: Size) -> Outcome<Self> {
        let api = Api::start(size).await?;
        let address = api.address;
        let operator = tokio::task::spawn_blocking(move || Operator::start(address)).await??;
        let trusted = api
            .store
            .get("configmaps", &(HOME.to_owned(), CA_CONFIG_MAP.to_owned()));
        let authority = trusted
            .as_ref()
            .and_then(|map| map["data"][CA_KEY].as_str())
            .ok_or("nobody to trust")?;
        let door = Door {
            address: operator.workers,
            authority: authority.to_owned(),
        };
        let fleet = Arc::new(Fleet::default());
        let mut runs: Vec<BTreeMap<_, _>> = vec![BTreeMap::new(); size.workers];
        for workload in Workload::all(size) {
            for replica in 0..objects::REPLICAS {
                let key = (objects::namespace(workload.namespace), workload.name());
                if let Some(runs) = runs.get_mut(workload.node(replica, size)) {
                    runs.insert(key, workload.revision());
                }
            }
        }
        let mut workers = JoinSet::new();
        for (node, runs) in runs.into_iter().enumerate() {
            let worker = Worker {
                node,
                fleet: Arc::clone(&fleet),
                runs,
            };
            workers.spawn(worker.run(door.clone()));
        }
        Ok(Self {
            workers,
            size,
            api,
            operator,
            fleet,
        })
    }

    async fn stop(mut self) {
        self.workers.shutdown().await;
    }

    /// Until every worker is connected and nothing is pushed any more.
    async fn settle(&self) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let (connected, pushes) = (self.fleet.connected.load(Relaxed), self.fleet.pushes.load(Relaxed));
            if pushes != last {
                (last, since) = (pushes, Instant::now());
            }
            let all = self.size.workers as u64;
            if connected == all && pushes >= all && since.elapsed() > SETTLED {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{connected} of {all} workers are connected, {pushes} configurations were pushed").into(),
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until no status waits; returns how many were written in the busiest second.
    async fn until_written(&self) -> Outcome<f64> {
        let deadline = Instant::now() + PATIENCE;
        let (mut before, mut busiest, mut idle) = (statuses(&self.api.store.asked()), 0.0_f64, 0);
        loop {
            // Where processes wait for the CPU a second is longer than one.
            let began = Instant::now();
            sleep(Duration::from_secs(1)).await;
            let now = statuses(&self.api.store.asked());
            busiest = busiest.max((now - before) as f64 / began.elapsed().as_secs_f64());
            idle = if now == before { idle + 1 } else { 0 };
            before = now;
            if idle >= 3 && self.operator.metric("shoalwatch_status_waiting").await? < 1.0 {
                return Ok(busiest);
            }
            if Instant::now() > deadline {
                return Err(format!("statuses are still written after {PATIENCE:?}").into());
            }
        }
    }

    async fn stretch(&self) -> Outcome<Stretch> {
        let look = || {
            Outcome::Ok((
                self.operator.cpu()?,
                self.fleet.rows.load(Relaxed),
                self.api.store.asked(),
                self.operator.written()?,
                operator::cpu("self")?,
            ))
        };
        let (began, before) = (Instant::now(), look()?);
        sleep(WINDOW).await;
        let (seconds, after) = (began.elapsed().as_secs_f64(), look()?);
        let mut kinds: Vec<_> = after
            .2
            .iter()
            .map(|(kind, count)| (count - before.2.get(kind).copied().unwrap_or_default(), kind))
            .filter(|(count, (verb, _))| *count > 0 && !["get", "list", "watch"].contains(&verb.as_str()))
            .collect();
        kinds.sort_by(|one, other| other.cmp(one));
        let words = kinds
            .iter()
            .map(|(count, (verb, resource))| format!("{:.1}/s {verb} {resource}", *count as f64 / seconds));
        Ok(Stretch {
            cpu: (after.0 - before.0) / seconds,
            others: (after.4 - before.4) / seconds,
            rows: (after.1 - before.1) as f64 / seconds,
            written: (after.3 - before.3) / seconds / f64::from(1 << 20),
            writes: kinds.iter().map(|(count, _)| *count as f64).sum::<f64>() / seconds,
            kinds: words.collect::<Vec<_>>().join(", "),
        })
    }
}

/// Writes of statuses since the start.
fn statuses(asked: &Asked) -> u64 {
    let of = asked.iter().filter(|((_, resource), _)| resource.ends_with("/status"));
    of.map(|(_, count)| count).sum()
}
