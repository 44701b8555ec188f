//! Reads two counters from a Prometheus.

use std::time::Duration;

use form_urlencoded::Serializer;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shoalwatch_core::polled::{self, AnswerError};

use crate::http_client::{Address, Bounds, HttpClient, HttpError, REFUSED};

/// For each of both queries.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 1 << 20,
};

/// What is read, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    address: Address,
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
pub(crate) enum PollError {
    /// There is no answer.
    #[error("indicator.prometheus.{query}")]
    Http {
        query: &'static str,
        #[source]
        source: HttpError,
    },
    /// It is of no use.
    #[error("indicator.prometheus.{query} of {url}")]
    Answer {
        query: &'static str,
        url: String,
        #[source]
        source: AnswerError,
    },
}

impl PollError {
    /// The reason of `Evaluated=False`, and a label; a bounded word.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Http { source, .. } if source.is_refusal() => REFUSED,
            Self::Http { source, .. } => match source {
                HttpError::TooLarge { .. } => "AnswerTooLarge",
                HttpError::Timeout { .. } => "PrometheusTimeout",
                _ => "PrometheusUnreachable",
            },
            Self::Answer { source, .. } => source.category(),
        }
    }
}

#[cfg(test)]
impl PollError {
    /// A server that hangs.
    pub(crate) fn timed_out() -> Self {
        Self::Http {
            query: "total",
            source: HttpError::Timeout {
                origin: "http://prometheus:9090".to_owned(),
                after: BOUNDS.time,
            },
        }
    }
}

impl Source {
    /// `None`: there is no such address.
    pub(crate) fn new(url: &str, good: &str, total: &str) -> Option<Self> {
        let address = Address::read(url).ok()?;
        let digest = Sha256::digest([url, good, total].join("\0"));
        let digest = digest
            .first_chunk()
            .map(|begin| format!("{:016x}", u64::from_be_bytes(*begin)));
        Some(Self {
            address: Some(address).filter(|address| !address.path_and_query().contains('?'))?,
            good: good.to_owned(),
            total: total.to_owned(),
            digest: digest?,
        })
    }

    /// Host and port.
    pub(crate) fn server(&self) -> &str {
        self.address.authority()
    }

    /// What comes before `/api`.
    fn prefix(&self) -> &str {
        self.address.path_and_query().trim_end_matches('/')
    }

    fn query(&self, query: &str, at: Timestamp) -> Result<Address, HttpError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("query", query)
            .append_pair("time", &format!("{at:.3}"))
            .append_pair("timeout", &format!("{}s", BOUNDS.time.as_secs()));
        self.address
            .at(&format!("{}/api/v1/query?{}", self.prefix(), form.finish()))
    }

    /// Another one for other queries.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Asks for both as they were `at` one time.
pub(super) async fn read(client: &HttpClient, source: &Source, at: Timestamp) -> Result<Read, PollError> {
    let one = async |query: &'static str, text: &str| {
        let asked = async { client.get(&source.query(text, at)?, BOUNDS).await };
        let answer = asked.await;
        let answer = answer.map_err(|source| PollError::Http { query, source })?;
        polled::read(answer.status, &answer.body).map_err(|error| PollError::Answer {
            query,
            url: format!("{}{}", source.address, source.prefix()),
            source: error,
        })
    };
    let (total, good) = futures::join!(one("total", &source.total), one("good", &source.good));
    Ok(Read {
        total: total?,
        good: good?,
    })
}
