//! Who is on the other end of a stream, and for which node it may speak.

mod cache;
mod review;

use std::future::Future;

pub(crate) use review::TokenReviewer;
use tonic::{Code, Status, metadata::MetadataMap};

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The node whose kubelet the token was made for.
    pub(crate) node: String,
}

/// Finds out whom a token belongs to.
pub(crate) trait Authenticator: Send + Sync + 'static {
    /// The identity behind `token`, or why there is none.
    fn authenticate(&self, token: &str) -> impl Future<Output = Result<Identity, Refusal>> + Send;
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no token: send metadata `authorization: Bearer <token>`, a ServiceAccount token of the audience {worker} \
        (a replica of the operator: {replica})",
        worker = shoalwatch_node_api::TOKEN_AUDIENCE, replica = shoalwatch_node_api::REPLICA_AUDIENCE)]
    Missing,
    #[error("the token is not valid: expired, of another audience, or of a pod that is gone ({0})")]
    Invalid(String),
    #[error("the token belongs to {found}, and only {wanted} may connect")]
    Foreign { found: String, wanted: String },
    #[error(
        "the token names no node: its issuer must be Kubernetes 1.30 or later (feature ServiceAccountTokenPodNodeInfo)"
    )]
    NoNode,
    #[error("too many tokens wait to be reviewed")]
    Busy,
    #[error("the API server could not review the token")]
    Unavailable(#[source] Box<kube::Error>),
    #[error("the API server did not review the token in time")]
    Slow,
}

impl Refusal {
    /// A bounded name for metrics and logs.
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::Missing => "NoToken",
            Self::Invalid(_) => "InvalidToken",
            Self::Foreign { .. } => "ForeignToken",
            Self::NoNode => "TokenWithoutNode",
            Self::Busy | Self::Unavailable(_) | Self::Slow => "ReviewFailed",
        }
    }

    pub(crate) fn status(&self) -> Status {
        let code = match self {
            Self::Missing | Self::Invalid(_) => Code::Unauthenticated,
            Self::Foreign { .. } | Self::NoNode => Code::PermissionDenied,
            Self::Busy | Self::Unavailable(_) | Self::Slow => Code::Unavailable,
        };
        Status::new(code, self.to_string())
    }
}

/// The token that a call carries.
pub(crate) fn bearer(metadata: &MetadataMap) -> Result<&str, Refusal> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or(Refusal::Missing)
}
