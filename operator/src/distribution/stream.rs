//! One worker's stream: a task that lives as long as the worker holds it open.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesOrdered};
use shoalwatch_node_api::wire::{self, operator_message::Message as Say, worker_message::Message as Heard};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{
    Delivery, Rejection,
    auth::Identity,
    bounds,
    conversation::{Answer, Conversation},
    end::End,
    gate::Gate,
    metrics::{DeliveryOutcome, Metrics},
    pusher::Target,
    residents::Residents,
    roster::{Roster, Seat},
};
use crate::{lease::Leadership, logging::chain};

/// How long a worker may take to say Hello.
const HELLO: Duration = Duration::from_secs(10);
/// How long a worker may leave a message unread.
const READ: Duration = Duration::from_secs(10);
/// Reports of one worker that wait to be ingested: beyond it the stream stops reading.
const INGESTING: usize = 8;
/// Messages that wait to be sent to one worker.
pub(super) const OUTBOX: usize = 4;

/// What a stream may hear or say, by the message that the other side is sent.
pub(super) type Outbox = mpsc::Sender<Result<wire::OperatorMessage, Status>>;

/// What all streams share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) target: watch::Receiver<Option<Arc<Target>>>,
    pub(super) roster: Roster,
    pub(super) residents: Residents,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) metrics: Metrics,
    pub(super) stop: CancellationToken,
}

/// What to acknowledge, if anything, and whether the report was ingested.
type Ingested = (Option<wire::SliAck>, Result<(), oneshot::error::RecvError>);

/// One worker's stream, after its token was found good.
pub(super) struct Stream {
    shared: Shared,
    inbox: Streaming<wire::WorkerMessage>,
    outbox: Outbox,
    conversation: Conversation,
    gate: Gate,
    /// A report for which the queue has no room yet: nothing more is read while it is here.
    waiting: Option<Delivery>,
    ingesting: FuturesOrdered<futures::future::BoxFuture<'static, Ingested>>,
}

impl Stream {
    pub(super) fn new(shared: Shared, inbox: Streaming<wire::WorkerMessage>, outbox: Outbox) -> Self {
        Self {
            gate: Gate::new(shared.residents.clone()),
            shared,
            inbox,
            outbox,
            conversation: Conversation::default(),
            waiting: None,
            ingesting: FuturesOrdered::new(),
        }
    }

    /// Runs until the stream ends, and tells the worker why.
    pub(super) async fn run(mut self, identity: Identity) {
        let end = match self.converse(&identity).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.shared.metrics.ended(end.category());
        let (category, error) = (end.category(), chain(&end));
        if end.is_fault() {
            tracing::warn!(node = identity.node, category, error, "worker stream ended");
        } else {
            tracing::info!(node = identity.node, category, error, "worker stream ended");
        }
        if let Some(status) = end.status() {
            // Whoever does not read its outbox is not told.
            drop(self.outbox.try_send(Err(status)));
        }
    }

    async fn converse(&mut self, identity: &Identity) -> Result<std::convert::Infallible, End> {
        let hello = self.hello(identity).await?;
        tracing::info!(
            node = hello.node_name,
            worker_version = hello.worker_version,
            kernel_release = hello.kernel_release,
            applied = hello.applied.as_ref().map(|version| version.hash.as_str()),
            degraded = hello.degraded.join("; "),
            "worker connected"
        );
        let seat = self.shared.roster.seat(&hello).map_err(End::Full)?;
        self.conversation = Conversation::new(hello.applied);
        loop {
            self.say_what_is_due(seat.node()).await?;
            self.wait(&seat).await?;
        }
    }

    async fn hello(&mut self, identity: &Identity) -> Result<wire::Hello, End> {
        let first = tokio::select! {
            first = timeout(HELLO, self.inbox.message()) => first,
            () = self.shared.stop.cancelled() => return Err(End::Stopping),
        };
        let first = first.map_err(|_elapsed| End::LateHello(HELLO))??;
        let Some(Heard::Hello(hello)) = first.ok_or(End::Closed)?.message else {
            return Err(End::NoHello);
        };
        bounds::hello(&hello).map_err(End::OutOfBounds)?;
        if hello.node_name != identity.node {
            return Err(End::ForeignNode {
                token: identity.node.clone(),
                hello: hello.node_name,
            });
        }
        Ok(hello)
    }

    /// Welcome before push, so that the worker knows the term before it is asked to obey it.
    async fn say_what_is_due(&mut self, node: &str) -> Result<(), End> {
        let leadership = *self.shared.leadership.borrow_and_update();
        let target = self
            .shared
            .target
            .borrow_and_update()
            .as_deref()
            .and_then(|target| target.of(node));
        if let Some(welcome) = self.conversation.welcome(leadership) {
            self.say(welcome).await?;
        }
        if let Some(push) = self.conversation.push(target.as_ref()) {
            self.shared.metrics.pushes.inc();
            self.say(push).await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: Say) -> Result<(), End> {
        let message = wire::OperatorMessage { message: Some(message) };
        match timeout(READ, self.outbox.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Closed),
            Err(_) => Err(End::SlowReader),
        }
    }

    /// Waits for whatever comes first, and deals with it.
    async fn wait(&mut self, seat: &Seat) -> Result<(), End> {
        let reads = self.waiting.is_none() && self.ingesting.len() < INGESTING;
        let queue = self.shared.deliveries.clone();
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(End::Stopping),
            () = seat.replaced.cancelled() => Err(End::Replaced),
            () = self.outbox.closed() => Err(End::Closed),
            changed = self.shared.leadership.changed() => changed.map_err(|_closed| End::Stopping),
            changed = self.shared.target.changed() => changed.map_err(|_closed| End::Stopping),
            heard = self.inbox.message(), if reads => self.hear(heard?.ok_or(End::Closed)?, seat),
            room = queue.reserve(), if self.waiting.is_some() => {
                let room = room.map_err(|_closed| End::Stopping)?;
                self.waiting.take().map_or(Ok(()), |delivery| { room.send(delivery); Ok(()) })
            }
            Some((ack, ingested)) = self.ingesting.next() => self.acknowledge(ack.filter(|_| ingested.is_ok())).await,
        }
    }

    fn hear(&mut self, message: wire::WorkerMessage, seat: &Seat) -> Result<(), End> {
        match message.message {
            Some(Heard::Ack(ack)) => self.hear_ack(ack, seat),
            Some(Heard::Nack(nack)) => self.hear_nack(nack, seat),
            Some(Heard::SliReport(report)) => self.hear_report(report, seat),
            Some(Heard::Hello(_)) => Err(End::SecondHello),
            None => Err(End::Empty),
        }
    }

    fn hear_ack(&mut self, ack: wire::Ack, seat: &Seat) -> Result<(), End> {
        bounds::ack(&ack).map_err(End::OutOfBounds)?;
        match self.conversation.ack(&ack.nonce, ack.version) {
            Answer::Newest(version) | Answer::Superseded(version) => {
                tracing::info!(
                    node = seat.node(),
                    version = version.hash,
                    "configuration in force on node"
                );
                self.shared.metrics.acks.inc();
                seat.applied(version);
                Ok(())
            }
            Answer::WrongVersion => Err(End::WrongVersion),
        }
    }

    fn hear_nack(&mut self, nack: wire::Nack, seat: &Seat) -> Result<(), End> {
        bounds::nack(&nack).map_err(End::OutOfBounds)?;
        let (node, reason) = (seat.node(), nack.reason);
        match self.conversation.nack(&nack.nonce, nack.version) {
            Answer::Newest(version) => {
                tracing::warn!(node, version = version.hash, reason, "configuration refused by node");
                self.shared.metrics.refused(&reason);
                seat.rejected(Rejection { version, reason });
                Ok(())
            }
            Answer::Superseded(version) => {
                tracing::info!(
                    node,
                    version = version.hash,
                    reason,
                    "superseded configuration refused by node"
                );
                self.shared.metrics.superseded_nacks.inc();
                seat.heard();
                Ok(())
            }
            Answer::WrongVersion => Err(End::WrongVersion),
        }
    }

    fn hear_report(&mut self, mut report: wire::SliReport, seat: &Seat) -> Result<(), End> {
        bounds::report(&report).map_err(End::OutOfBounds)?;
        seat.heard();
        let sifted = self.gate.sift(seat.node(), &mut report);
        self.shared
            .metrics
            .refused_rows
            .inc_by(u64::try_from(sifted.refused).unwrap_or(u64::MAX));
        let (done, ingested) = oneshot::channel();
        let ack = (!sifted.again).then(|| wire::SliAck {
            start_id: report.start_id.clone(),
            sequence: report.sequence,
        });
        self.ingesting.push_back(Box::pin(async move { (ack, ingested.await) }));
        self.waiting = Some(Delivery {
            node: seat.node().to_owned(),
            report,
            done,
        });
        Ok(())
    }

    async fn acknowledge(&mut self, ack: Option<wire::SliAck>) -> Result<(), End> {
        let Some(ack) = ack else {
            self.shared.metrics.delivered(DeliveryOutcome::Unacknowledged);
            return Ok(());
        };
        self.shared.metrics.delivered(DeliveryOutcome::Acknowledged);
        self.say(Say::SliAck(ack)).await
    }
}
