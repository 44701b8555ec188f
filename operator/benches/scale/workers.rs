//! Workers without a kernel: they do what they are told at once, and count requests that nobody made.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prost::Message;
use shoalwatch_node_api::wire::{
    Ack, Hello, NodeConfig, Push, SliReport, SliRow, WorkerMessage, distribution_client::DistributionClient,
    operator_message::Message as Said, worker_message::Message as Say,
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{Outcome, objects};

/// Bytes of a push at most, as a worker takes them.
const MESSAGE: usize = 16 << 20;

/// What the workers have in common with whoever measures them.
#[derive(Default)]
pub(crate) struct Fleet {
    /// Configurations that arrived, their policies and SLIs together, and bytes.
    pub(crate) pushes: AtomicU64,
    pub(crate) entries: AtomicU64,
    /// Rows of SLI reports that were sent.
    pub(crate) rows: AtomicU64,
    /// Whether they report.
    pub(crate) reports: AtomicBool,
    pub(crate) connected: AtomicU64,
    /// Streams that ended.
    pub(crate) ended: AtomicU64,
    awaited: Mutex<Option<Awaited>>,
}

/// A policy that somebody edited.
struct Awaited {
    policy: String,
    probability: f64,
    since: Instant,
    seen: BTreeMap<usize, Duration>,
}

impl Fleet {
    /// From now on, notes who is pushed `policy` with `probability`.
    pub(crate) fn expect(&self, policy: String, probability: f64) {
        *self.awaited() = Some(Awaited {
            policy,
            probability,
            since: Instant::now(),
            seen: BTreeMap::new(),
        });
    }

    /// Who has acknowledged it, and after how long.
    pub(crate) fn seen(&self) -> BTreeMap<usize, Duration> {
        self.awaited()
            .as_ref()
            .map(|awaited| awaited.seen.clone())
            .unwrap_or_default()
    }

    fn awaited(&self) -> MutexGuard<'_, Option<Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self, node: usize, config: &NodeConfig) {
        self.pushes.fetch_add(1, Relaxed);
        self.entries
            .fetch_add((config.policies.len() + config.slis.len()) as u64, Relaxed);
        let mut awaited = self.awaited();
        let Some(awaited) = awaited.as_mut() else { return };
        let wanted = awaited.probability;
        let has = |policy: &shoalwatch_node_api::wire::SamplingPolicy| {
            policy.id == awaited.policy && (policy.probability - wanted).abs() < 1e-9
        };
        if config.policies.iter().any(has) {
            let after = awaited.since.elapsed();
            awaited.seen.entry(node).or_insert(after);
        }
    }
}

/// Where the operator is, and whom to trust.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) authority: String,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) node: usize,
    pub(crate) fleet: Arc<Fleet>,
    /// Template hashes of what runs on its node, by namespace and workload.
    pub(crate) runs: BTreeMap<(String, String), String>,
}

impl Worker {
    /// Until the stream ends.
    pub(crate) async fn run(self, door: Door) {
        let (node, fleet) = (self.node, Arc::clone(&self.fleet));
        if let Err(error) = self.follow(door).await {
            eprintln!("worker {node}: {error}");
        }
        fleet.ended.fetch_add(1, Relaxed);
    }

    async fn follow(self, door: Door) -> Outcome<()> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&door.authority));
        let endpoint = Endpoint::from_shared(format!("https://{}", door.address))?.tls_config(tls)?;
        let channel = endpoint.connect().await?;
        let (outbox, messages) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(messages));
        let node = objects::node(self.node);
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer token-of-{node}").parse()?);
        let hello = Hello {
            node_name: node,
            worker_version: "0.1.0".to_owned(),
            start_id: self.start(),
            kernel_release: "6.12.0".to_owned(),
            ..Hello::default()
        };
        say(&outbox, Say::Hello(hello)).await?;
        let mut client = DistributionClient::new(channel).max_decoding_message_size(MESSAGE);
        let mut stream = client.sync(request).await?.into_inner();
        self.fleet.connected.fetch_add(1, Relaxed);
        let mut rows = Vec::new();
        let mut every = Duration::from_secs(10);
        let mut sequence = 0;
        let began = Instant::now();
        // Spread, as real workers are by their starts.
        let mut due = Instant::now() + every.mul_f64((self.node * 7919 % 1_000) as f64 / 1_000.0);
        loop {
            let wait = sleep(due.saturating_duration_since(Instant::now()));
            tokio::select! {
                said = stream.message() => match said?.and_then(|said| said.message) {
                    Some(Said::Push(Push { version, nonce, config })) => {
                        let config = NodeConfig::decode(config.unwrap_or_default())?;
                        (rows, every) = self.rows(&config, rows);
                        say(&outbox, Say::Ack(Ack { version, nonce })).await?;
                        self.fleet.acknowledged(self.node, &config);
                    }
                    Some(_) => {}
                    None => return Err("the stream ended".into()),
                },
                () = wait => {
                    due = Instant::now() + every;
                    if self.fleet.reports.load(Relaxed) && !rows.is_empty() {
                        sequence += 1;
                        for row in &mut rows {
                            row.good += 50;
                        }
                        self.fleet.rows.fetch_add(rows.len() as u64, Relaxed);
                        say(&outbox, Say::SliReport(self.report(&rows, sequence, began.elapsed()))).await?;
                    }
                }
            }
        }
    }

    fn report(&self, rows: &[SliRow], sequence: u64, up: Duration) -> SliReport {
        SliReport {
            start_id: self.start(),
            sequence,
            rows: rows.to_vec(),
            age_ms: 0,
            start_age_ms: up.as_millis() as u64,
        }
    }

    fn start(&self) -> String {
        format!("start-of-{}", self.node)
    }

    /// The rows of the SLIs that have pods here, counts kept, and how often to report.
    fn rows(&self, config: &NodeConfig, before: Vec<SliRow>) -> (Vec<SliRow>, Duration) {
        let mut before: BTreeMap<_, _> = before.into_iter().map(|row| (row.sli_id.clone(), row)).collect();
        let mut every = 10_000;
        let mut rows = Vec::new();
        for sli in &config.slis {
            let Some(revision) = self.runs.get(&(sli.namespace.clone(), sli.workload.clone())) else {
                continue;
            };
            every = every.min(sli.report_interval_ms);
            rows.push(before.remove(&sli.id).unwrap_or_else(|| SliRow {
                sli_id: sli.id.clone(),
                revision: revision.clone(),
                pods: 1,
                ..SliRow::default()
            }));
        }
        (rows, Duration::from_millis(every.into()))
    }
}

async fn say(outbox: &mpsc::Sender<WorkerMessage>, message: Say) -> Outcome<()> {
    let message = WorkerMessage { message: Some(message) };
    outbox
        .send(message)
        .await
        .map_err(|_closed| "the stream is closed".into())
}
