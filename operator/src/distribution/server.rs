//! The listening side: TLS, authentication, and a task for each stream.

use std::{sync::Arc, time::Duration};

use shoalwatch_node_api::{
    limits,
    replicas::replicas_server::ReplicasServer,
    wire::{self, distribution_server as generated},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server as Transport, ServerTlsConfig, server::TcpIncoming},
};

use super::{
    Delivery, Distribution,
    auth::{Authenticator, bearer},
    certificates::ServerCertificate,
    metrics::Metrics,
    residents::Residents,
    stream::{OUTBOX, Shared, Stream},
};
use crate::{logging::chain, replicas::server::Copies};

/// A silent connection is pinged so often …
const PING_EVERY: Duration = Duration::from_secs(10);
/// … and given up when the answer takes so long: a dead peer is found within 20 s.
const PING_ANSWER: Duration = Duration::from_secs(10);
/// A worker needs one stream; a second may overlap while it reconnects.
const STREAMS_PER_CONNECTION: u32 = 4;
/// How long a peer may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often workers that have been gone for long are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// The server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Of TLS or of the listening socket.
    #[error("the distribution server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves the streams.
pub(crate) struct Server<A> {
    authenticator: Arc<A>,
    shared: Shared,
    streams: TaskTracker,
    copies: Option<Copies<A>>,
}

impl<A: Authenticator> Server<A> {
    pub(crate) fn new(
        distribution: &Distribution,
        authenticator: A,
        residents: Residents,
        deliveries: mpsc::Sender<Delivery>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            leadership: distribution.leadership.clone(),
            target: distribution.target.subscribe(),
            roster: distribution.roster.clone(),
            residents,
            deliveries,
            metrics,
            stop,
        };
        Self {
            authenticator: Arc::new(authenticator),
            shared,
            streams: TaskTracker::new(),
            copies: None,
        }
    }

    /// Serves other replicas too.
    pub(crate) fn with_copies(mut self, copies: Copies<A>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// The same server, to be served once until `stop`, which ends the streams too.
    pub(crate) fn until(&self, stop: &CancellationToken) -> Self {
        Self {
            authenticator: Arc::clone(&self.authenticator),
            shared: Shared {
                stop: stop.clone(),
                ..self.shared.clone()
            },
            streams: TaskTracker::new(),
            copies: self.copies.clone(),
        }
    }

    /// Serves until told to stop; then every stream is ended with UNAVAILABLE, and awaited.
    pub(crate) async fn serve(self, listener: TcpListener, certificate: ServerCertificate) -> Result<(), Error> {
        let identity = Identity::from_pem(certificate.certificate, certificate.key);
        let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        let (stop, roster, streams) = (
            self.shared.stop.clone(),
            self.shared.roster.clone(),
            self.streams.clone(),
        );
        let copies = self.copies.clone().map(ReplicasServer::new);
        let service = generated::DistributionServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES);
        let serving = Transport::builder()
            .tls_config(tls)
            .map_err(Error::Transport)?
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_ANSWER))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .add_service(service)
            .add_optional_service(copies)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop.clone().cancelled_owned(),
            );
        let forgetting = stop.run_until_cancelled(async {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                roster.forget();
            }
        });
        let (served, _) = tokio::join!(serving, forgetting);
        streams.close();
        streams.wait().await;
        served.map_err(Error::Transport)
    }
}

#[tonic::async_trait]
impl<A: Authenticator> generated::Distribution for Server<A> {
    type SyncStream = ReceiverStream<Result<wire::OperatorMessage, Status>>;

    async fn sync(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let peer = request.remote_addr().map(|address| address.to_string());
        let reviewed = match bearer(request.metadata()) {
            Ok(token) => self.authenticator.authenticate(token).await,
            Err(refusal) => Err(refusal),
        };
        let identity = reviewed.map_err(|refusal| {
            self.shared.metrics.ended(refusal.category());
            let error = chain(&refusal);
            tracing::warn!(peer, category = refusal.category(), error, "worker refused");
            refusal.status()
        })?;
        let (outbox, answers) = mpsc::channel(OUTBOX);
        let stream = Stream::new(self.shared.clone(), request.into_inner(), outbox);
        // The answer must not wait for the Hello: a client may send that only after it has the answer.
        self.streams.spawn(stream.run(identity));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
