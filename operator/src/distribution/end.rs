//! Why a stream ended.

use tonic::{Code, Status};

use super::{bounds::OutOfBounds, roster::Full};

/// Why a stream ended: what the worker is told, and what is counted.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the worker closed the stream")]
    Closed,
    #[error("the connection was lost")]
    Lost(#[source] Status),
    #[error("no Hello came first: send it once, before anything else")]
    NoHello,
    #[error("no Hello came within {0:?}")]
    LateHello(std::time::Duration),
    #[error("a second Hello: open a new stream instead")]
    SecondHello,
    #[error("a message without content: the worker may be newer than the operator")]
    Empty,
    #[error("out of bounds: {0}")]
    OutOfBounds(OutOfBounds),
    #[error("a message is larger than {most} bytes", most = shoalwatch_node_api::limits::MESSAGE_BYTES)]
    TooLarge(#[source] Status),
    #[error("the token is node {token:?}'s, and hello.node_name is {hello:?}")]
    ForeignNode { token: String, hello: String },
    #[error("an answer names another version than the push of its nonce")]
    WrongVersion,
    #[error("{0}")]
    Full(Full),
    #[error("a newer stream of this node took over")]
    Replaced,
    #[error("the worker does not read")]
    SlowReader,
    #[error("the operator is stopping")]
    Stopping,
}

impl End {
    /// A bounded name for metrics and logs.
    pub(super) const fn category(&self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::Lost(_) => "Lost",
            Self::NoHello | Self::LateHello(_) | Self::SecondHello | Self::Empty => "Protocol",
            Self::OutOfBounds(_) | Self::TooLarge(_) => "OutOfBounds",
            Self::ForeignNode { .. } => "ForeignNode",
            Self::WrongVersion => "WrongVersion",
            Self::Full(_) => "Full",
            Self::Replaced => "Replaced",
            Self::SlowReader => "SlowReader",
            Self::Stopping => "Stopping",
        }
    }

    /// Whether the worker is at fault, so that somebody should look at it.
    pub(super) const fn is_fault(&self) -> bool {
        !matches!(self, Self::Closed | Self::Lost(_) | Self::Replaced | Self::Stopping)
    }

    /// What the worker is told; nothing where it has gone.
    pub(super) fn status(&self) -> Option<Status> {
        let code = match self {
            Self::Closed | Self::Lost(_) => return None,
            Self::NoHello
            | Self::LateHello(_)
            | Self::SecondHello
            | Self::Empty
            | Self::OutOfBounds(_)
            | Self::TooLarge(_)
            | Self::WrongVersion => Code::InvalidArgument,
            Self::ForeignNode { .. } => Code::PermissionDenied,
            Self::Full(_) => Code::ResourceExhausted,
            Self::Replaced => Code::Aborted,
            Self::SlowReader | Self::Stopping => Code::Unavailable,
        };
        Some(Status::new(code, self.to_string()))
    }
}

impl From<Status> for End {
    /// A message that could not be read: too large for the decoder is the worker's fault, all else is the network's.
    fn from(status: Status) -> Self {
        match status.code() {
            Code::OutOfRange => Self::TooLarge(status),
            _ => Self::Lost(status),
        }
    }
}
