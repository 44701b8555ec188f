//! Why a receiver was not told.

use std::io;

use super::address::NoAddress;
use super::post::PATIENCE;

/// Why a receiver was not told. Names its scheme, host and port, and nothing else of its address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It answered, and not with 2xx.
    #[error("{origin} answered {code}")]
    Answer { origin: String, code: u16 },
    /// It sent the operator elsewhere.
    #[error("{origin} answered {code}, a redirect, and these are not followed: write the address that it leads to")]
    Redirect { origin: String, code: u16 },
    /// It took too long.
    #[error("{origin} did not answer within {} s", PATIENCE.as_secs())]
    Timeout { origin: String },
    /// Its name leads nowhere.
    #[error("the name of {origin} is not known to DNS")]
    Unknown {
        origin: String,
        #[source]
        source: io::Error,
    },
    /// Its name leads to the operator itself.
    #[error("{origin} is an address of the operator's own host (loopback, link-local): write one of the receiver")]
    OwnHost { origin: String },
    /// It does not listen, or cannot be reached.
    #[error("no connection to {origin}: look whether it listens, and whether a NetworkPolicy forbids it")]
    Connect {
        origin: String,
        #[source]
        source: io::Error,
    },
    /// It is not who it says it is, or speaks no TLS.
    #[error("no TLS with {origin}: its certificate must be valid, and of an authority that the operator knows")]
    Tls {
        origin: String,
        #[source]
        source: io::Error,
    },
    /// It does not speak HTTP/1.
    #[error("{origin} broke off or answered without HTTP/1")]
    Http {
        origin: String,
        #[source]
        source: hyper::Error,
    },
    /// The request has a form that HTTP does not know.
    #[error("no request to {origin} can be written: look at its address")]
    Unwritable {
        origin: String,
        #[source]
        source: http::Error,
    },
    /// The right to read the Secret is missing.
    #[error("the operator may not get Secret {name}: {remedy}")]
    SecretForbidden { name: String, remedy: String },
    /// There is no such Secret, or it has no such key.
    #[error("there is no Secret {name} with the key {key}: create it in the SLO's namespace")]
    SecretMissing { name: String, key: String },
    /// The Secret holds something else.
    #[error("what Secret {name} holds under {key} {problem}")]
    SecretInvalid {
        name: String,
        key: String,
        problem: NoAddress,
    },
    /// The API server did not give it.
    #[error("the API server did not give Secret {name} ({why}); tried again")]
    SecretUnavailable { name: String, why: &'static str },
}

impl Failure {
    /// A bounded word for metrics and Events.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Answer { code: 408 | 429, .. } => "throttled",
            Self::Answer { code: 400..=499, .. } => "refused",
            Self::Answer { .. } => "server",
            Self::Redirect { .. } => "redirect",
            Self::Timeout { .. } => "timeout",
            Self::Unknown { .. } => "dns",
            Self::OwnHost { .. } => "own_host",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Http { .. } => "http",
            Self::Unwritable { .. } => "unwritable",
            Self::SecretForbidden { .. } => "secret_forbidden",
            Self::SecretMissing { .. } => "secret_missing",
            Self::SecretInvalid { .. } => "secret_invalid",
            Self::SecretUnavailable { .. } => "secret_unavailable",
        }
    }

    /// As [`Backoff`](crate::retry::Backoff) knows it: what only a change can mend is not tried again.
    pub(super) fn for_backoff(&self) -> &'static str {
        match self.category() {
            "refused" | "redirect" | "own_host" | "unwritable" => "invalid",
            other => other,
        }
    }
}
