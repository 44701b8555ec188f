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
        self, server_names,
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

/// How often it is checked that the ConfigMap that workers read still shows the certificate.
const PUBLISH_EVERY: Duration = Duration::from_mins(1);

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
        let (authority, listener) = prepared?;
        let names = server_names(&self.namespace, self.pod_ip);
        let certificate = authority.certify(names, self.clock.now()).map_err(Error::Certificate)?;
        self.readiness.set(Part::Listening, true);
        let publishing = stop.run_until_cancelled(self.keep_published(authority.certificate()));
        let (end, _) = tokio::join!(server.serve(listener, certificate), publishing);
        self.readiness.set(Part::Listening, false);
        Ok(end?)
    }

    async fn prepare(&self) -> Result<(certificates::Authority, TcpListener), Error> {
        let authority = patiently(|| store::obtain(self.client.clone(), &self.namespace, &*self.clock)).await?;
        self.metrics.ca_expires(authority.expires());
        patiently(|| self.publish(authority.certificate())).await?;
        self.readiness.set(Part::Authority, true);
        let listener = TcpListener::bind(self.address).await;
        let listener = listener.map_err(|source| Error::Bind {
            address: self.address,
            source,
        })?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "workers can connect");
        }
        Ok((authority, listener))
    }

    async fn publish(&self, certificate: &str) -> Result<(), StoreError> {
        store::publish(self.client.clone(), &self.namespace, certificate).await
    }

    /// A ConfigMap that somebody deleted or changed would keep new workers out until the operator restarts.
    async fn keep_published(&self, certificate: &str) {
        loop {
            sleep(PUBLISH_EVERY).await;
            if let Err(error) = self.publish(certificate).await {
                tracing::warn!(error = chain(&error), "could not check what workers trust");
            }
        }
    }
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
