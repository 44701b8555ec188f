//! What the operator asks of servers that are not Kubernetes', because an SLO names them: plain or TLS, kept connections, and a bound
//! for everything that an answer may take.
//!
//! **Reach.** Who may write an SLO makes the operator connect. So each address that a name leads to is judged when it is connected to
//! ([`Destinations`]), redirects are not followed, and no error shows more of an address than scheme, host and port.

mod address;
mod connect;
mod destinations;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header, request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;

use connect::Connector;

pub(crate) use address::{Address, NoAddress};
pub(crate) use destinations::Destinations;

/// How the operator names itself.
const USER_AGENT: &str = concat!("shoalwatch-operator/", env!("CARGO_PKG_VERSION"));
/// Connections to one server that are kept open while nothing is asked, and how long.
const IDLE: (usize, Duration) = (8, Duration::from_mins(1));
/// Longest head of an answer, in bytes.
const HEAD: usize = 16 << 10;
/// The reason of a condition, where the operator does not want to go where an SLO sends it.
pub(crate) const REFUSED: &str = "DestinationRefused";
/// Equal for equal pieces. Source: draft-ietf-httpapi-idempotency-key-header.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Asks, and keeps connections open for the next time. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(Client<Connector, Full<Bytes>>);

/// The most that an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the look at DNS to the last byte of the body.
    pub(crate) time: Duration,
    /// Of the body.
    pub(crate) bytes: usize,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why there is no answer. Names scheme, host and port of the server, and nothing else of its address.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The name leads nowhere.
    #[error("the name of {origin} is not known to DNS")]
    Unknown {
        origin: String,
        #[source]
        source: Arc<io::Error>,
    },
    /// The name leads to the operator itself, or to what lends it its rights.
    #[error(
        "{origin} is an address of the operator's own host or of its cloud (loopback, link-local, metadata): write one of the \
         server, or have an administrator add its block to --allowed-destinations"
    )]
    OwnHost { origin: String },
    /// An administrator allows others only.
    #[error(
        "{origin} is none of the operator's allowed destinations: have an administrator add it to --allowed-destinations"
    )]
    NotAllowed { origin: String },
    /// It does not listen, or cannot be reached.
    #[error("no connection to {origin}: look whether it listens, and whether a NetworkPolicy forbids it")]
    Connect {
        origin: String,
        #[source]
        source: Arc<io::Error>,
    },
    /// It is not who it says it is, or speaks no TLS.
    #[error("no TLS with {origin}: its certificate must be valid, and of an authority that the operator knows")]
    Tls {
        origin: String,
        #[source]
        source: Arc<io::Error>,
    },
    /// Not within the bounds.
    #[error("{origin} did not answer within {} s", .after.as_secs())]
    Timeout { origin: String, after: Duration },
    /// Not within the bounds.
    #[error("the answer of {origin} has more than {bytes} bytes")]
    TooLarge { origin: String, bytes: usize },
    /// It does not speak HTTP/1, or not to the end.
    #[error("{origin} broke off or answered without HTTP/1")]
    Http {
        origin: String,
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The request has a form that HTTP does not know.
    #[error("no request to {origin} can be written: look at its address")]
    Unwritable {
        origin: String,
        #[source]
        source: Arc<http::Error>,
    },
}

impl HttpError {
    /// A bounded word for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "dns",
            Self::OwnHost { .. } => "own_host",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Http { .. } => "http",
            Self::Unwritable { .. } => "unwritable",
        }
    }

    /// Whether the operator does not want to go there.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::OwnHost { .. } | Self::NotAllowed { .. })
    }
}

impl HttpClient {
    /// One that trusts the authorities of the machine.
    pub(crate) fn new(destinations: Destinations) -> Self {
        Self::with_tls(destinations, connect::system_tls())
    }

    fn with_tls(destinations: Destinations, tls: ClientConfig) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE.0)
            .pool_idle_timeout(IDLE.1)
            .http1_max_buf_size(HEAD)
            .build(Connector::new(destinations, tls));
        Self(client)
    }

    /// What `address` answers, whatever its status. The connection stays open for the next one.
    pub(crate) async fn get(&self, address: &Address, bounds: Bounds) -> Result<Answer, HttpError> {
        let request = Request::get(address.uri()).header(header::ACCEPT, "application/json");
        within(bounds.time, address, async {
            let response = self.ask(address, request, Bytes::new()).await?;
            let status = response.status().as_u16();
            let body = whole(response.into_body(), address, bounds.bytes).await?;
            Ok(Answer { status, body })
        })
        .await
    }

    /// Posts JSON, and says with what status it was answered; nothing else of the answer is read. Receivers are told seldom, so the
    /// connection is not kept: the name is looked up each time, and none can be stale.
    pub(crate) async fn post(
        &self,
        address: &Address,
        id: &str,
        json: Bytes,
        time: Duration,
    ) -> Result<u16, HttpError> {
        let request = Request::post(address.uri())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(IDEMPOTENCY_KEY, id);
        let response = within(time, address, self.ask(address, request, json)).await?;
        Ok(response.status().as_u16())
    }

    async fn ask(
        &self,
        address: &Address,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpError> {
        let request = request.header(header::USER_AGENT, USER_AGENT).body(Full::new(body));
        let request = request.map_err(|error| address.unwritable(error))?;
        let asked = self.0.request(request).await;
        asked.map_err(|error| unanswered(error, address))
    }

    /// One that knows no authority and goes nowhere but to loopback.
    #[cfg(test)]
    pub(crate) fn on_loopback() -> Self {
        let nobody = ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        Self::with_tls("127.0.0.0/8".parse().unwrap(), nobody.with_no_client_auth())
    }
}

async fn within<T>(
    time: Duration,
    address: &Address,
    asking: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    timeout(time, asking).await.unwrap_or_else(|_elapsed| {
        let origin = address.to_string();
        Err(HttpError::Timeout { origin, after: time })
    })
}

async fn whole(body: Incoming, address: &Address, most: usize) -> Result<Bytes, HttpError> {
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|error| {
        let origin = address.to_string();
        if error.is::<LengthLimitError>() {
            HttpError::TooLarge { origin, bytes: most }
        } else {
            let source = error.into();
            HttpError::Http { origin, source }
        }
    })?;
    Ok(body.to_bytes())
}

/// What the connector said, if it was the connector.
fn unanswered(error: legacy::Error, address: &Address) -> HttpError {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<HttpError>());
    cause.cloned().unwrap_or_else(|| HttpError::Http {
        origin: address.to_string(),
        source: Arc::new(error),
    })
}
