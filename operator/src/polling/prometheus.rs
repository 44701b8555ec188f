//! Reads two counters from a Prometheus.

use std::time::Duration;

use form_urlencoded::Serializer;
use http::Uri;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shoalwatch_core::polled::{self, AnswerError};

use crate::http_client::{Bounds, HttpClient, HttpError};

/// For each of both queries.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 1 << 20,
};

/// What is read, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    server: String,
    url: String,
    good: String,
    total: String,
    digest: String,
}

/// Both counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) good: u64,
    pub(crate) total: u64,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error("indicator.prometheus.{query} of {url}")]
pub(crate) struct PollError {
    query: &'static str,
    url: String,
    #[source]
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl PollError {
    /// The reason of `Evaluated=False`, and a label; a bounded word.
    pub(crate) fn category(&self) -> &'static str {
        match &self.why {
            Why::Http(HttpError::TooLarge(_)) => "AnswerTooLarge",
            Why::Http(HttpError::Timeout(_)) => "PrometheusTimeout",
            Why::Http(_) => "PrometheusUnreachable",
            Why::Answer(error) => error.category(),
        }
    }
}

#[cfg(test)]
impl PollError {
    /// A server that hangs.
    pub(crate) fn timed_out() -> Self {
        Self {
            query: "total",
            url: "http://prometheus:9090".to_owned(),
            why: HttpError::Timeout(BOUNDS.time).into(),
        }
    }
}

impl Source {
    /// `None`: there is no such address.
    pub(crate) fn new(url: &str, good: &str, total: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let plain = uri.scheme_str() == Some("http") && uri.query().is_none() && !url.contains('@');
        let server = uri.authority().filter(|_| plain)?.to_string();
        let digest = Sha256::digest([url, good, total].join("\0"));
        let digest = digest
            .first_chunk()
            .map(|begin| format!("{:016x}", u64::from_be_bytes(*begin)));
        Some(Self {
            server,
            url: url.trim_end_matches('/').to_owned(),
            good: good.to_owned(),
            total: total.to_owned(),
            digest: digest?,
        })
    }

    /// Host and port.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Another one for other queries.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Asks for both as they were `at` one time.
pub(super) async fn read(client: &HttpClient, source: &Source, at: Timestamp) -> Result<Read, PollError> {
    let one = async |query: &'static str, text: &str| {
        count(client, &source.url, text, at).await.map_err(|why| PollError {
            query,
            url: source.url.clone(),
            why,
        })
    };
    let (total, good) = futures::join!(one("total", &source.total), one("good", &source.good));
    Ok(Read {
        total: total?,
        good: good?,
    })
}

async fn count(client: &HttpClient, url: &str, query: &str, at: Timestamp) -> Result<u64, Why> {
    let answer = client.get(address(url, query, at)?, BOUNDS).await?;
    Ok(polled::read(answer.status, &answer.body)?)
}

fn address(url: &str, query: &str, at: Timestamp) -> Result<Uri, HttpError> {
    let mut form = Serializer::new(String::new());
    form.append_pair("query", query)
        .append_pair("time", &format!("{at:.3}"))
        .append_pair("timeout", &format!("{}s", BOUNDS.time.as_secs()));
    let uri = format!("{url}/api/v1/query?{}", form.finish());
    uri.parse()
        .map_err(|error: http::uri::InvalidUri| HttpError::Address(error.into()))
}
