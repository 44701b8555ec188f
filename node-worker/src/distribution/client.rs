//! The stream to one operator replica.

use std::{path::PathBuf, sync::Arc, time::Duration};

use shoalwatch_node_api::{
    config::{NodeConfig, StoredConfig, Version},
    limits::DEGRADED,
    wire::{
        Ack, Hello, Nack, OperatorMessage, Push, SliReport, SliRow, Welcome, WorkerMessage,
        distribution_client::DistributionClient, operator_message, welcome::Role, worker_message,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tracing::{debug, info, warn};

use super::{
    apply::{Applier, ApplyError},
    credentials::{Authority, CredentialsError, authorization},
    last_good::{LastGood, LastGoodError},
};
use crate::{
    counters::{Count, Counters},
    export::Backoff,
    in_force::Refused,
    requests::{EventLoop, LoopEnded, TimedReport},
};

/// Messages to the operator that wait at most.
const OUTBOX: usize = 16;
/// Bytes of a message from the operator: a configuration at its bounds has room.
const MAX_MESSAGE: usize = 16 << 20;
/// A stream that lasted so long was a good one: the next attempt comes soon.
const GOOD_STREAM: Duration = Duration::from_secs(10);

/// What the stream needs to know.
pub(crate) struct ClientSettings {
    /// `https://…`
    pub(crate) endpoint: String,
    pub(crate) authority: Authority,
    pub(crate) token_file: PathBuf,
    pub(crate) node_name: String,
    /// Random for each start.
    pub(crate) start_id: String,
    pub(crate) kernel_release: String,
    /// What this node cannot do.
    pub(crate) degraded: Vec<String>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// Before the connection.
    #[error("no credentials for the operator")]
    Credentials(#[from] CredentialsError),
    /// No connection.
    #[error("the operator cannot be reached at {endpoint}")]
    Connect {
        endpoint: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The operator's word, or the connection's end.
    #[error("the operator ended the stream")]
    Refused(#[source] Box<Status>),
    /// Without an error.
    #[error("the operator closed the stream")]
    Closed,
    /// Nothing can be put in force any more.
    #[error(transparent)]
    Ended(#[from] LoopEnded),
}

/// Follows one operator replica.
pub(crate) struct OperatorClient {
    settings: ClientSettings,
    applier: Applier,
    events: EventLoop,
    last_good: LastGood,
    counters: Arc<Counters>,
    /// The newest that any message named since the start; what comes from an older one is refused. Not kept on disk: a restart of
    /// the workers mends a cluster whose Lease was made anew.
    newest_term: u64,
    applied: Option<Version>,
}

impl OperatorClient {
    pub(crate) fn new(
        settings: ClientSettings,
        applier: Applier,
        events: EventLoop,
        last_good: LastGood,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            settings,
            applier,
            events,
            last_good,
            counters,
            newest_term: 0,
            applied: None,
        }
    }

    /// Puts the last good configuration in force, and then whatever the operator sends; returns only when nothing can be put in
    /// force any more.
    pub(crate) async fn run(mut self) -> LoopEnded {
        if let Err(ended) = self.restore().await {
            return ended;
        }
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let error = match self.follow().await {
                StreamError::Ended(ended) => return ended,
                error => error,
            };
            self.counters.one(Count::StreamFailed);
            if began.elapsed() >= GOOD_STREAM {
                backoff.reset();
            }
            let pause = backoff.pause();
            warn!(
                error = &error as &dyn std::error::Error,
                ?pause,
                "stream to the operator ended, what is in force stays"
            );
            sleep(pause).await;
        }
    }

    async fn restore(&mut self) -> Result<(), LoopEnded> {
        let last_good = self.last_good.clone();
        let read = blocking(move || last_good.read()).await;
        let stored = match read {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(()),
            Err(error) => {
                let corrupt = matches!(error, LastGoodError::Corrupt { .. });
                self.counters.one(if corrupt {
                    Count::LastGoodCorrupt
                } else {
                    Count::LastGoodFailed
                });
                warn!(
                    error = &error as &dyn std::error::Error,
                    "starting without the last good configuration"
                );
                return Ok(());
            }
        };
        let version = stored.version.clone();
        match self.applier.apply(stored).await {
            Ok(_) => {
                self.counters.one(Count::LastGoodRead);
                self.applied = version;
                Ok(())
            }
            Err(ApplyError::Refused(_)) => {
                self.counters.one(Count::LastGoodCorrupt);
                self.last_good.move_aside();
                Ok(())
            }
            Err(ApplyError::Ended(ended)) => Err(ended),
        }
    }

    async fn follow(&mut self) -> StreamError {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let stream = match self.open(&outbox, messages).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        self.counters.one(Count::StreamOpened);
        info!(endpoint = self.settings.endpoint, "stream to the operator is open");
        let session = Session {
            client: self,
            outbox,
            leader: false,
            next_report: Instant::now(),
        };
        session.run(stream).await
    }

    async fn open(
        &self,
        outbox: &mpsc::Sender<WorkerMessage>,
        messages: mpsc::Receiver<WorkerMessage>,
    ) -> Result<Streaming<OperatorMessage>, StreamError> {
        let channel = self.connect().await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        let token = authorization(&self.settings.token_file).await?;
        request.metadata_mut().insert("authorization", token);
        send(outbox, worker_message::Message::Hello(self.hello())).await?;
        let mut client = DistributionClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let answer = client.sync(request).await.map_err(refused)?;
        Ok(answer.into_inner())
    }

    async fn connect(&self) -> Result<Channel, StreamError> {
        let certificate = self.settings.authority.read().await?;
        let failed = |source| StreamError::Connect {
            endpoint: self.settings.endpoint.clone(),
            source,
        };
        Endpoint::from_shared(self.settings.endpoint.clone())
            .and_then(|endpoint| endpoint.tls_config(ClientTlsConfig::new().ca_certificate(certificate)))
            .map_err(failed)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(failed)
    }

    fn hello(&self) -> Hello {
        let settings = &self.settings;
        Hello {
            node_name: settings.node_name.clone(),
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
            start_id: settings.start_id.clone(),
            applied: self.applied.clone().map(Into::into),
            kernel_release: settings.kernel_release.clone(),
            degraded: settings.degraded.iter().take(DEGRADED).cloned().collect(),
        }
    }

    /// Absent: it is in force already.
    async fn put_in_force(&mut self, push: Push) -> Result<Option<StoredConfig>, ApplyError> {
        let stored = self.check(push).map_err(|refused| self.applier.refuse(refused))?;
        if stored.version == self.applied {
            return Ok(None);
        }
        self.applier.apply(stored.clone()).await?;
        self.applied.clone_from(&stored.version);
        Ok(Some(stored))
    }

    fn check(&mut self, push: Push) -> Result<StoredConfig, Refused> {
        let version = push.version.ok_or(Refused::Missing("version"))?;
        if version.term < self.newest_term {
            return Err(Refused::OlderTerm {
                offered: version.term,
                newest: self.newest_term,
            });
        }
        self.newest_term = version.term;
        let config = push.config.ok_or(Refused::Missing("config"))?;
        Ok(StoredConfig {
            version: Some(version.into()),
            config: NodeConfig::try_from(config)?,
        })
    }

    async fn keep(&self, stored: StoredConfig) {
        let last_good = self.last_good.clone();
        match blocking(move || last_good.write(&stored)).await {
            Ok(()) => self.counters.one(Count::LastGoodWritten),
            Err(error) => {
                self.counters.one(Count::LastGoodFailed);
                warn!(
                    error = &error as &dyn std::error::Error,
                    "a restart of this worker would begin without this configuration"
                );
            }
        }
    }
}

/// One stream.
struct Session<'a> {
    client: &'a mut OperatorClient,
    outbox: mpsc::Sender<WorkerMessage>,
    leader: bool,
    next_report: Instant,
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
                () = sleep_until(self.next_report), if self.leader => self.report().await,
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    async fn obey(&mut self, message: OperatorMessage) -> Result<(), StreamError> {
        use operator_message::Message;
        match message.message {
            Some(Message::Welcome(welcome)) => self.welcome(welcome).await,
            Some(Message::Push(push)) => self.take(push).await,
            Some(Message::SliAck(ack)) if ack.start_id == self.client.settings.start_id => {
                self.client.counters.one(Count::ReportAcknowledged);
                Ok(self.client.events.acknowledge(ack.sequence).await?)
            }
            // Of an earlier start, or of a newer operator: what is not known is not meant for this worker.
            Some(Message::SliAck(_)) | None => Ok(()),
        }
    }

    async fn welcome(&mut self, welcome: Welcome) -> Result<(), StreamError> {
        let client = &mut *self.client;
        client.newest_term = client.newest_term.max(welcome.term);
        let leads = welcome.role() == Role::Leader && welcome.term >= client.newest_term;
        if leads && !self.leader {
            client.events.report_all_again().await?;
            self.next_report = Instant::now();
        }
        self.leader = leads;
        debug!(leads, term = welcome.term, "the operator told its role");
        Ok(())
    }

    /// The answer says that the next request is judged by it, so it comes before the write to disk.
    async fn take(&mut self, push: Push) -> Result<(), StreamError> {
        let (version, nonce) = (push.version.clone(), push.nonce.clone());
        match self.client.put_in_force(push).await {
            Ok(stored) => {
                send(&self.outbox, worker_message::Message::Ack(Ack { version, nonce })).await?;
                self.next_report = self.next_report.min(Instant::now() + self.interval());
                if let Some(stored) = stored {
                    self.client.keep(stored).await;
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
        let TimedReport { report, age } = self.client.events.report().await?;
        self.next_report = Instant::now() + self.interval();
        if report.rows.is_empty() {
            return Ok(());
        }
        let rows = report.rows.into_iter().map(|row| SliRow {
            sli_id: row.sli.as_ref().to_owned(),
            revision: row.revision.as_ref().to_owned(),
            good: row.good,
            bad: row.bad,
            incomplete: row.incomplete,
            pods: row.pods,
            bad_pods: row.bad_pods,
        });
        let message = SliReport {
            start_id: self.client.settings.start_id.clone(),
            sequence: report.sequence,
            rows: rows.collect(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        };
        self.client.counters.one(Count::ReportSent);
        send(&self.outbox, worker_message::Message::SliReport(message)).await
    }

    fn interval(&self) -> Duration {
        let in_force = self.client.applier.in_force();
        let interval = in_force.borrow().as_ref().map(|in_force| in_force.report_interval());
        interval.unwrap_or(GOOD_STREAM)
    }
}

async fn send(outbox: &mpsc::Sender<WorkerMessage>, message: worker_message::Message) -> Result<(), StreamError> {
    let message = WorkerMessage { message: Some(message) };
    outbox.send(message).await.map_err(|_closed| StreamError::Closed)
}

fn refused(status: Status) -> StreamError {
    StreamError::Refused(Box::new(status))
}

/// Disks may be slow.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LastGoodError> + Send + 'static,
) -> Result<T, LastGoodError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LastGoodError::Io {
            path: PathBuf::new(),
            source: std::io::Error::other(error),
        }),
    }
}
