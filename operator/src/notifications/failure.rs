//! Why a receiver was not told.

use crate::http_client::{HttpError, NoAddress, REFUSED};

/// Why a receiver was not told. Names its scheme, host and port, and nothing else of its address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It answered, and not with 2xx.
    #[error("{origin} answered {code}")]
    Answer { origin: String, code: u16 },
    /// It sent the operator elsewhere.
    #[error("{origin} answered {code}, a redirect, and these are not followed: write the address that it leads to")]
    Redirect { origin: String, code: u16 },
    /// It did not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
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
            Self::Http(error) => error.category(),
            Self::SecretForbidden { .. } => "secret_forbidden",
            Self::SecretMissing { .. } => "secret_missing",
            Self::SecretInvalid { .. } => "secret_invalid",
            Self::SecretUnavailable { .. } => "secret_unavailable",
        }
    }

    /// The reason of `NotificationsDelivered=False`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Http(error) if error.is_refusal() => REFUSED,
            _ => "GivenUp",
        }
    }

    /// As [`Backoff`](crate::retry::Backoff) knows it: what only a change can mend is not tried again.
    pub(super) fn for_backoff(&self) -> &'static str {
        match self.category() {
            "refused" | "redirect" | "own_host" | "not_allowed" | "unwritable" => "invalid",
            other => other,
        }
    }
}
