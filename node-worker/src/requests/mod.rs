//! The event loop: one thread that owns everything a request changes.
//!
//! It fetches the kernel's records at least every [`TICK`], and at once when it is sent a command; so nothing is shared, nothing is
//! locked, and a configuration is in force from one request to the next.

mod came;
mod clock;
#[cfg(test)]
mod fake_kernel;
mod held;
mod kernel;
mod lesson;
mod numbers;
mod observer;
mod processes;
mod raw;
mod services;
mod taught;
mod traffic;

use std::{
    sync::Arc,
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use shoalwatch_pipeline::{
    folding::RowTable,
    loss::Loss,
    sli::{Receiver, Report},
};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

#[cfg(test)]
pub(crate) use fake_kernel::FakeKernel;
pub(crate) use kernel::{Blind, Kernel};
#[cfg(test)]
pub(crate) use numbers::tests::example as example_numbers;
pub(crate) use numbers::{Numbers, SeriesAttributes, SeriesTarget, Snapshot};
pub(crate) use raw::DEFAULT_MAX_RAW_CONNECTIONS;

use crate::{
    counters::Counters,
    discovery::{Exits, ProcFs},
    enrichment::PodIndex,
    export::SpanOutlet,
    in_force::InForce,
    loader::Stats,
};
use clock::Now;
use held::Held;
use observer::Observer;
use processes::Processes;
use raw::RawConnections;
use services::Services;
use taught::Taught;
use traffic::Traffic;

/// The longest time that a record waits in the ring.
const TICK: Duration = Duration::from_millis(10);
/// How often `/proc` is looked at for what the kernel's news missed.
const RESCAN_NS: u64 = 5_000_000_000;
/// The same where the kernel cannot tell all news: servers that fork workers are found only so.
const FAST_RESCAN_NS: u64 = 250_000_000;
/// How soon after a process is selected: it may have forked before it was.
const SOON_NS: u64 = 200_000_000;
/// How often the kernel's losses are attributed, and Unix sockets that are gone are looked for.
const LOSSES_NS: u64 = 1_000_000_000;
/// Commands that wait at most; their senders wait then.
const COMMANDS: usize = 64;

/// What the rest of the worker asks of the loop.
enum Command {
    Configure(Arc<InForce>, oneshot::Sender<bool>),
    Pods(PodIndex),
    Numbers(oneshot::Sender<Numbers>),
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    Ping(oneshot::Sender<()>),
    Report(Receiver, oneshot::Sender<TimedReport>),
    Acknowledge(Receiver, u64),
    Leave(Receiver),
    Stop(oneshot::Sender<()>),
}

/// A report with the age of its newest count.
#[derive(Debug)]
pub(crate) struct TimedReport {
    pub(crate) report: Report,
    pub(crate) age: Duration,
}

/// The loop's thread ended, which only a fault in it can do before the worker stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event loop ended: restart the worker, and report the panic in its log")]
pub(crate) struct LoopEnded;

/// How the loop is started.
pub(crate) struct Setup {
    pub(crate) kernel: Box<dyn Kernel>,
    pub(crate) proc_fs: ProcFs,
    pub(crate) node_name: String,
    /// Whether pods will be told of.
    pub(crate) kubernetes: bool,
    pub(crate) max_services: usize,
    pub(crate) max_raw_connections: usize,
    /// Where kept spans go; absent: they are not made.
    pub(crate) spans: Option<SpanOutlet>,
    pub(crate) counters: Arc<Counters>,
}

/// The way to a running loop.
#[derive(Clone, Debug)]
pub(crate) struct EventLoop {
    commands: mpsc::Sender<Command>,
    thread: Thread,
}

impl EventLoop {
    /// Starts the thread. It ends after [`stop`](Self::stop).
    pub(crate) fn start(setup: Setup) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let exits = Exits::new()?;
        let join = thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || Runner::new(setup, exits, receiver).run())?;
        let thread = join.thread().clone();
        Ok((Self { commands, thread }, join))
    }

    /// Returns when the next request is judged by it. False: the kernel still decides by what was in force before.
    pub(crate) async fn configure(&self, in_force: Arc<InForce>) -> Result<bool, LoopEnded> {
        self.ask(|reply| Command::Configure(in_force, reply)).await
    }

    /// The node's pods, all of them.
    pub(crate) async fn pods(&self, pods: PodIndex) -> Result<(), LoopEnded> {
        self.send(Command::Pods(pods)).await
    }

    pub(crate) async fn numbers(&self) -> Result<Numbers, LoopEnded> {
        self.ask(Command::Numbers).await
    }

    /// With what is beside the numbers of requests.
    pub(crate) async fn snapshot(&self) -> Result<Box<Snapshot>, LoopEnded> {
        self.ask(Command::Snapshot).await
    }

    /// Returns when the loop was there.
    pub(crate) async fn ping(&self) -> Result<(), LoopEnded> {
        self.ask(Command::Ping).await
    }

    /// The SLI rows that changed since the last report that `receiver` acknowledged.
    pub(crate) async fn report(&self, receiver: Receiver) -> Result<TimedReport, LoopEnded> {
        self.ask(|reply| Command::Report(receiver, reply)).await
    }

    pub(crate) async fn acknowledge(&self, receiver: Receiver, sequence: u64) -> Result<(), LoopEnded> {
        self.send(Command::Acknowledge(receiver, sequence)).await
    }

    /// Nothing more will be asked for `receiver`.
    pub(crate) async fn leave(&self, receiver: Receiver) -> Result<(), LoopEnded> {
        self.send(Command::Leave(receiver)).await
    }

    /// Returns after the last records were taken and the last spans handed on.
    pub(crate) async fn stop(&self) -> Result<(), LoopEnded> {
        self.ask(Command::Stop).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, LoopEnded> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_dropped| LoopEnded)
    }

    async fn send(&self, command: Command) -> Result<(), LoopEnded> {
        self.commands.send(command).await.map_err(|_closed| LoopEnded)?;
        self.thread.unpark();
        Ok(())
    }
}

/// The thread's own part.
struct Runner {
    observer: Observer,
    commands: mpsc::Receiver<Command>,
    spans: Option<SpanOutlet>,
    next_rescan: u64,
    next_losses: u64,
}

impl Runner {
    fn new(setup: Setup, exits: Exits, commands: mpsc::Receiver<Command>) -> Self {
        let traffic = Traffic::new(Arc::clone(&setup.counters), setup.max_services, setup.spans.is_some());
        Self {
            observer: Observer {
                kernel: setup.kernel,
                exits,
                proc_fs: setup.proc_fs,
                node_name: setup.node_name.into(),
                in_force: Arc::default(),
                pods: None,
                kubernetes: setup.kubernetes,
                processes: Processes::default(),
                services: Services::new(setup.max_services),
                held: Held::default(),
                raw: RawConnections::new(setup.max_raw_connections, Arc::clone(&setup.counters)),
                traffic,
                counters: setup.counters,
                selected_lately: false,
                unseen: 0,
                taught: Taught::default(),
                rows: RowTable::default(),
                duties_changed: false,
                refused_until_ns: 0,
                counted_unix_ns: Now::read().unix_ns,
                kernel_counts: Stats::default(),
            },
            commands,
            spans: setup.spans,
            next_rescan: 0,
            next_losses: 0,
        }
    }

    fn run(mut self) {
        loop {
            thread::park_timeout(TICK);
            // What came while the ring was looked into waits for the next look: an answer knows all that happened before it was
            // asked for. And the records that wait were made under the configuration that is in force until now.
            let commands = self.commands.len();
            self.tick(commands > 0);
            let stopped = self.obey(commands);
            if let Some(stopped) = stopped {
                self.finish();
                // Nobody waits any more: there is nobody to tell.
                let _unheard = stopped.send(());
                return;
            }
        }
    }

    /// `asked`: the answer is to know all that happened until now.
    fn tick(&mut self, asked: bool) {
        let now = Now::read();
        let observer = &mut self.observer;
        observer.take_news(now);
        // Ends are read before the ring is, and obeyed after: by then their last requests were taken.
        let ended = observer.exits.ended().unwrap_or_else(|error| {
            warn!(%error, "ends of processes cannot be read");
            Vec::new()
        });
        // While it is still known whose they were.
        if asked || !ended.is_empty() || now.monotonic_ns >= self.next_losses {
            observer.kernel.end_locals();
        }
        observer.take_requests(now);
        observer.end_all(&ended, now);
        observer.settle_pending(now);
        if std::mem::take(&mut observer.selected_lately) {
            self.next_rescan = self.next_rescan.min(now.monotonic_ns + SOON_NS);
        }
        if now.monotonic_ns >= self.next_rescan {
            let pause = if observer.kernel.tells_all_news() {
                RESCAN_NS
            } else {
                FAST_RESCAN_NS
            };
            self.next_rescan = now.monotonic_ns + pause;
            observer.rescan(now);
        }
        if now.monotonic_ns >= self.next_losses {
            self.next_losses = now.monotonic_ns + LOSSES_NS;
            observer.count(now);
            observer.attribute_losses(now);
        }
        observer.follow_duties(now);
        self.hand_on_spans(now, false);
    }

    /// Full batches, and those that waited for long enough. What the exporter has no room for stays in the queue.
    fn hand_on_spans(&mut self, now: Now, all: bool) {
        let (Some(queue), Some(outlet)) = (&mut self.observer.traffic.spans, &self.spans) else {
            return;
        };
        outlet.fill(|message| {
            if all {
                queue.take_any(message)
            } else {
                queue.take_due(now.monotonic_ns, message)
            }
        });
    }

    /// Returns whom to tell when the loop has to stop.
    fn obey(&mut self, commands: usize) -> Option<oneshot::Sender<()>> {
        for _ in 0..commands {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            let now = Now::read();
            let observer = &mut self.observer;
            // Whoever asked and went away does not mind that the answer is lost.
            match command {
                Command::Configure(in_force, reply) => {
                    let _unheard = reply.send(observer.configure(in_force, now));
                }
                Command::Pods(pods) => observer.set_pods(pods, now),
                Command::Numbers(reply) => {
                    let _unheard = reply.send(observer.numbers(now));
                }
                Command::Snapshot(reply) => {
                    let _unheard = reply.send(Box::new(observer.snapshot(now)));
                }
                Command::Ping(reply) => {
                    let _unheard = reply.send(());
                }
                Command::Report(receiver, reply) => {
                    observer.count(now);
                    let _unheard = reply.send(observer.traffic.timed_report(receiver, now));
                }
                Command::Acknowledge(receiver, sequence) => observer.traffic.slis.acknowledge(receiver, sequence),
                Command::Leave(receiver) => observer.traffic.slis.leave(receiver),
                Command::Stop(reply) => return Some(reply),
            }
        }
        None
    }

    fn finish(&mut self) {
        let now = Now::read();
        self.observer.take_requests(now);
        self.observer.settle_resets(now);
        self.observer.count(now);
        self.hand_on_spans(now, true);
        if let Some(queue) = &mut self.observer.traffic.spans {
            queue.discard(Loss::QueueShutdown, &self.observer.counters.losses);
        }
    }
}
