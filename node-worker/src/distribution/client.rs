//! The stream to one operator replica.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shoalwatch_node_api::{
    limits::DEGRADED,
    wire::{
        Ack, Hello, Nack, OperatorMessage, Push, SliReport, SliRow, WorkerMessage,
        distribution_client::DistributionClient, operator_message, worker_message,
    },
};
use shoalwatch_pipeline::sli::{Receiver, ReportRow};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tracing::{debug, info};

use super::{
    apply::ApplyError,
    credentials::{Authority, CredentialsError, authorization},
    programme::Programme,
};
use crate::{
    counters::{Count, Counters},
    in_force::InForce,
    requests::{EventLoop, LoopEnded, TimedReport},
};

/// Messages to the operator that wait at most.
const OUTBOX: usize = 16;
/// Bytes of a message from the operator: a configuration at its bounds has room.
const MAX_MESSAGE: usize = 16 << 20;
/// A report is sent so often even where nothing changed: a replica then knows that what comes next is new.
const QUIET: Duration = Duration::from_secs(10);

/// What the streams need to know.
pub(crate) struct ClientSettings {
    /// Of the operator's certificate; its addresses are its replicas'.
    pub(crate) host: String,
    pub(crate) authority: Authority,
    pub(crate) token_file: PathBuf,
    pub(crate) node_name: String,
    /// Random for each start.
    pub(crate) start_id: String,
    pub(crate) started: Instant,
    pub(crate) kernel_release: String,
    /// What this node cannot do.
    pub(crate) degraded: Vec<String>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// Before the connection.
    #[error("no credentials for the operator")]
    Credentials(#[from] CredentialsError),
    /// No connection.
    #[error("the operator cannot be reached at {replica}")]
    Connect {
        replica: SocketAddr,
        #[source]
        source: tonic::transport::Error,
    },
    /// The operator's word, or the connection's end.
    #[error("the operator ended the stream")]
    Refused(#[source] Box<Status>),
    /// Without an error.
    #[error("the operator closed the stream")]
    Closed,
    /// Everything is said.
    #[error("the worker stops")]
    Stopping,
    /// Nothing can be put in force any more.
    #[error(transparent)]
    Ended(#[from] LoopEnded),
}

/// What all streams share.
pub(super) struct Shared {
    pub(super) settings: ClientSettings,
    pub(super) programme: Programme,
    pub(super) events: EventLoop,
    pub(super) counters: Arc<Counters>,
    /// Receivers of reports so far: each stream is another one.
    pub(super) receivers: AtomicU64,
    /// True: say the last words. Whoever follows it has a stream open.
    pub(super) stop: Arc<watch::Sender<bool>>,
}

impl Shared {
    /// Follows one replica until its stream ends.
    pub(super) async fn follow(&self, replica: SocketAddr) -> StreamError {
        let receiver = Receiver(self.receivers.fetch_add(1, Ordering::Relaxed));
        let error = self.converse(replica, receiver).await;
        match self.events.leave(receiver).await {
            Ok(()) => error,
            Err(ended) => ended.into(),
        }
    }

    async fn converse(&self, replica: SocketAddr, receiver: Receiver) -> StreamError {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let stream = match self.open(replica, &outbox, messages).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        self.counters.one(Count::StreamOpened);
        info!(%replica, "stream to the operator is open");
        let session = Session {
            shared: self,
            receiver,
            outbox,
            welcomed: false,
            next_report: Instant::now(),
            spoke: None,
            last_words: None,
            stop: self.stop.subscribe(),
            in_force: self.programme.applier().in_force(),
        };
        session.run(stream).await
    }

    async fn open(
        &self,
        replica: SocketAddr,
        outbox: &mpsc::Sender<WorkerMessage>,
        messages: mpsc::Receiver<WorkerMessage>,
    ) -> Result<Streaming<OperatorMessage>, StreamError> {
        let channel = self.connect(replica).await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        let token = authorization(&self.settings.token_file).await?;
        request.metadata_mut().insert("authorization", token);
        send(outbox, worker_message::Message::Hello(self.hello().await)).await?;
        let mut client = DistributionClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let answer = client.sync(request).await.map_err(refused)?;
        Ok(answer.into_inner())
    }

    /// By address, because the name stands for all replicas; the certificate is for the name.
    async fn connect(&self, replica: SocketAddr) -> Result<Channel, StreamError> {
        let certificate = self.settings.authority.read().await?;
        let failed = |source| StreamError::Connect { replica, source };
        let tls = ClientTlsConfig::new()
            .ca_certificate(certificate)
            .domain_name(self.settings.host.as_str());
        Endpoint::from_shared(format!("https://{replica}"))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(failed)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(failed)
    }

    async fn hello(&self) -> Hello {
        let settings = &self.settings;
        Hello {
            node_name: settings.node_name.clone(),
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
            start_id: settings.start_id.clone(),
            applied: self.programme.applied().await.map(Into::into),
            kernel_release: settings.kernel_release.clone(),
            degraded: settings.degraded.iter().take(DEGRADED).cloned().collect(),
        }
    }
}

/// One stream.
struct Session<'a> {
    shared: &'a Shared,
    receiver: Receiver,
    outbox: mpsc::Sender<WorkerMessage>,
    /// The replica said who it is: it listens.
    welcomed: bool,
    next_report: Instant,
    /// When the last report was sent.
    spoke: Option<Instant>,
    /// The report after which the stream may end.
    last_words: Option<u64>,
    stop: watch::Receiver<bool>,
    in_force: watch::Receiver<Option<Arc<InForce>>>,
}

impl Session<'_> {
    async fn run(mut self, mut stream: Streaming<OperatorMessage>) -> StreamError {
        loop {
            let step = tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(message)) => self.obey(message).await,
                    Ok(None) => Err(StreamError::Closed),
                    Err(status) => Err(refused(status)),
                },
                () = sleep_until(self.next_report), if self.welcomed && self.last_words.is_none() => self.report().await,
                Ok(()) = self.in_force.changed() => {
                    self.next_report = self.next_report.min(Instant::now() + self.interval());
                    Ok(())
                }
                () = stopped(&mut self.stop), if self.last_words.is_none() => self.say_the_last_words().await,
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    async fn obey(&mut self, message: OperatorMessage) -> Result<(), StreamError> {
        use operator_message::Message;
        match message.message {
            Some(Message::Welcome(welcome)) => {
                self.shared.programme.note_term(welcome.term).await;
                debug!(role = ?welcome.role(), term = welcome.term, "the operator told its role");
                self.welcomed = true;
                Ok(())
            }
            Some(Message::Push(push)) => self.take(push).await,
            Some(Message::SliAck(ack)) if ack.start_id == self.shared.settings.start_id => {
                self.shared.counters.one(Count::ReportAcknowledged);
                self.shared.events.acknowledge(self.receiver, ack.sequence).await?;
                if self.last_words.is_some_and(|last| ack.sequence >= last) {
                    return Err(StreamError::Stopping);
                }
                Ok(())
            }
            // Of an earlier start, or of a newer operator: what is not known is not meant for this worker.
            Some(Message::SliAck(_)) | None => Ok(()),
        }
    }

    /// The answer says that the next request is judged by it, so it comes before the write to disk.
    async fn take(&mut self, push: Push) -> Result<(), StreamError> {
        let (version, nonce) = (push.version.clone(), push.nonce.clone());
        let programme = &self.shared.programme;
        match programme.put_in_force(push).await {
            Ok(stored) => {
                send(&self.outbox, worker_message::Message::Ack(Ack { version, nonce })).await?;
                if let Some(stored) = stored {
                    programme.keep(stored).await;
                }
                Ok(())
            }
            Err(ApplyError::Refused(refused)) => {
                let reason = refused.reason();
                let nack = Nack { version, nonce, reason };
                send(&self.outbox, worker_message::Message::Nack(nack)).await
            }
            Err(ApplyError::Ended(ended)) => Err(ended.into()),
        }
    }

    /// Rows that changed since the last acknowledged report, so what was not acknowledged in time goes again.
    async fn report(&mut self) -> Result<(), StreamError> {
        let timed = self.shared.events.report(self.receiver).await?;
        self.next_report = Instant::now() + self.interval();
        let due = self.spoke.is_none_or(|spoke| spoke.elapsed() >= QUIET);
        if timed.report.rows.is_empty() && !due {
            return Ok(());
        }
        self.send(timed).await
    }

    fn interval(&self) -> Duration {
        let in_force = self.in_force.borrow();
        let interval = in_force.as_ref().map(|in_force| in_force.report_interval());
        interval.unwrap_or(QUIET).min(QUIET)
    }

    async fn say_the_last_words(&mut self) -> Result<(), StreamError> {
        let timed = self.shared.events.report(self.receiver).await?;
        if timed.report.rows.is_empty() || !self.welcomed {
            return Err(StreamError::Stopping);
        }
        self.last_words = Some(timed.report.sequence);
        self.send(timed).await
    }

    async fn send(&mut self, timed: TimedReport) -> Result<(), StreamError> {
        let TimedReport { report, age } = timed;
        let settings = &self.shared.settings;
        let message = SliReport {
            start_id: settings.start_id.clone(),
            sequence: report.sequence,
            rows: report.rows.iter().map(row).collect(),
            age_ms: millis(age),
            start_age_ms: millis(settings.started.elapsed()).max(1),
        };
        self.shared.counters.one(Count::ReportSent);
        self.spoke = Some(Instant::now());
        send(&self.outbox, worker_message::Message::SliReport(message)).await
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Whoever could say so is gone, and this stream with it.
        std::future::pending::<()>().await;
    }
}

fn row(row: &ReportRow) -> SliRow {
    SliRow {
        sli_id: row.sli.as_ref().to_owned(),
        revision: row.revision.as_ref().to_owned(),
        good: row.good,
        bad: row.bad,
        incomplete: row.incomplete,
        pods: row.pods,
        bad_pods: row.bad_pods,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

async fn send(outbox: &mpsc::Sender<WorkerMessage>, message: worker_message::Message) -> Result<(), StreamError> {
    let message = WorkerMessage { message: Some(message) };
    outbox.send(message).await.map_err(|_closed| StreamError::Closed)
}

fn refused(status: Status) -> StreamError {
    StreamError::Refused(Box::new(status))
}
