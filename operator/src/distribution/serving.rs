//! From an address to workers that are served: authority, certificate, socket, server.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use kube::Client;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    auth::TokenReviewer,
    certificates::{
        self,
        keyring::Keyring,
        server_names,
        store::{self, StoreError},
    },
    metrics::Metrics,
    server::{self, Server},
};
use crate::{
    admin::{Part, Readiness},
    clock::SharedClock,
    logging::chain,
};

/// How often it is checked which authority signs, and that the ConfigMap that workers read still shows what they may trust.
pub(crate) const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How long connections may take to close when another authority signs, or at the end.
const DRAIN: Duration = Duration::from_secs(10);

/// The socket itself, of which each round has a copy.
pub(super) type Listener = std::net::TcpListener;

/// Why workers cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no authority that could be used.
    #[error("no certification authority")]
    Authority(#[source] StoreError),
    /// The server's own certificate could not be made.
    #[error("no certificate for the distribution server")]
    Certificate(#[source] certificates::Error),
    /// The port is taken, or forbidden.
    #[error("cannot listen on {address}: choose another with --distribution-addr")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error(transparent)]
    Server(#[from] server::Error),
}

/// Where and as whom workers are served.
pub(crate) struct Serving {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) pod_ip: Option<IpAddr>,
    pub(crate) address: SocketAddr,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    /// [`LOOK_EVERY`], but in tests.
    pub(crate) look_every: Duration,
    pub(crate) stop: CancellationToken,
}

impl Serving {
    /// Serves until told to stop. An API server that does not answer is waited for; an authority that cannot be used is
    /// an error at once.
    pub(crate) async fn run(self, server: Server<TokenReviewer>) -> Result<(), Error> {
        let stop = self.stop.clone();
        let Some(prepared) = stop.run_until_cancelled(self.prepare()).await else {
            return Ok(());
        };
        let (keyring, listener) = prepared?;
        self.readiness.set(Part::Listening, true);
        let ended = self.rounds(&server, &listener, keyring).await;
        self.readiness.set(Part::Listening, false);
        ended
    }

    pub(super) async fn rounds(
        &self,
        server: &Server<TokenReviewer>,
        listener: &Listener,
        mut keyring: Keyring,
    ) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            keyring = self.round(server, listener, keyring).await?;
        }
        Ok(())
    }

    pub(super) async fn prepare(&self) -> Result<(Keyring, Listener), Error> {
        let keyring = patiently(|| store::obtain(&self.client, &self.namespace, &*self.clock)).await?;
        patiently(|| self.publish(&keyring)).await?;
        self.readiness.set(Part::Authority, true);
        let listener = self.listen().await?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "workers can connect");
        }
        Ok((keyring, listener))
    }

    /// Serves with one certificate, until told to stop or until another authority signs; workers are asked to come back.
    async fn round(
        &self,
        server: &Server<TokenReviewer>,
        listener: &Listener,
        keyring: Keyring,
    ) -> Result<Keyring, Error> {
        let names = server_names(&self.namespace, self.pod_ip);
        let certificate = keyring.certify(names, self.clock.now()).map_err(Error::Certificate)?;
        let listener = listener.try_clone().and_then(TcpListener::from_std);
        let listener = listener.map_err(|source| self.unbound(source))?;
        let round = self.stop.child_token();
        let serving = async {
            let ended = tokio::select! {
                ended = server.until(&round).serve(listener, certificate) => ended,
                () = drained(&round) => Ok(()),
            };
            round.cancel();
            ended
        };
        let watching = async {
            let turned = round.run_until_cancelled(self.until_turned(&keyring)).await;
            round.cancel();
            turned
        };
        let (ended, turned) = tokio::join!(serving, watching);
        ended?;
        Ok(turned.unwrap_or(keyring))
    }

    /// The socket stays open between two rounds, so that nobody is refused meanwhile.
    async fn listen(&self) -> Result<Listener, Error> {
        let listener = TcpListener::bind(self.address).await;
        let listener = listener.and_then(TcpListener::into_std);
        listener.map_err(|source| self.unbound(source))
    }

    const fn unbound(&self, source: std::io::Error) -> Error {
        Error::Bind {
            address: self.address,
            source,
        }
    }

    async fn publish(&self, keyring: &Keyring) -> Result<(), StoreError> {
        self.metrics.ca_expires(keyring.expires());
        store::publish(self.client.clone(), &self.namespace, &keyring.bundle()).await
    }

    /// Keeps what workers trust as it should be, until another authority signs. A ConfigMap that somebody deleted or changed
    /// would keep new workers out.
    async fn until_turned(&self, served: &Keyring) -> Keyring {
        loop {
            sleep(self.look_every).await;
            match self.look().await {
                Ok(found) if !found.signs_like(served) => return found,
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    category = error.category(),
                    error = chain(&error),
                    "could not check what workers trust"
                ),
            }
        }
    }

    async fn look(&self) -> Result<Keyring, StoreError> {
        let keyring = store::obtain(&self.client, &self.namespace, &*self.clock).await?;
        self.publish(&keyring).await?;
        Ok(keyring)
    }
}

/// Some time after `round` was ended: whoever does not let go of its connection then is left behind.
async fn drained(round: &CancellationToken) {
    round.cancelled().await;
    sleep(DRAIN).await;
}

/// Tries until the API server answers.
async fn patiently<T, F>(attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times();
    attempt
        .retry(pauses)
        .when(StoreError::passes)
        .notify(|error, pause| {
            tracing::warn!(
                category = error.category(),
                error = chain(error),
                ?pause,
                "trying again"
            );
        })
        .await
        .map_err(Error::Authority)
}
