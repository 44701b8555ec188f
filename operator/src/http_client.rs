//! GET of what is asked again and again: plain HTTP over connections that stay open, no redirects, and a bound for everything an answer
//! may take.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// How the operator names itself to servers that are not Kubernetes'.
pub(crate) const USER_AGENT: &str = concat!("shoalwatch-operator/", env!("CARGO_PKG_VERSION"));

/// Connections to one server that are kept open while nothing is asked, and how long.
const IDLE: (usize, Duration) = (8, Duration::from_mins(1));

/// Asks, and keeps connections open for the next time. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(Client<HttpConnector, Empty<Bytes>>);

/// The most that an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the first packet to the last byte of the body.
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

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection, or it broke.
    #[error("no answer: see that the address is right and that no NetworkPolicy is in the way")]
    Unreachable(#[source] legacy::Error),
    /// Not within the bounds.
    #[error("no whole answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Not within the bounds.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The connection broke in the middle of the body.
    #[error("the answer ended in the middle")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
    /// No request can be made of it.
    #[error("the address cannot be asked")]
    Address(#[source] http::Error),
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE.0)
            .pool_idle_timeout(IDLE.1)
            .build_http();
        Self(client)
    }

    /// What `uri` answers, whatever its status.
    pub(crate) async fn get(&self, uri: Uri, bounds: Bounds) -> Result<Answer, HttpError> {
        let asked = timeout(bounds.time, self.ask(uri, bounds.bytes)).await;
        asked.unwrap_or(Err(HttpError::Timeout(bounds.time)))
    }

    async fn ask(&self, uri: Uri, most: usize) -> Result<Answer, HttpError> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Empty::new())
            .map_err(HttpError::Address)?;
        let response = self.0.request(request).await.map_err(HttpError::Unreachable)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::TooLarge(most)
            } else {
                HttpError::Broken(error)
            }
        })?;
        let body = body.to_bytes();
        Ok(Answer { status, body })
    }
}
