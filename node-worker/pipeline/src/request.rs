//! One finished request, as all stages see it. Borrowed and `Copy`: nothing is allocated for it.

use crate::ids::IdSource;
use shoalwatch_protocols::trace_context::{OtState, Randomness, TraceParent};
use std::fmt;

pub use shoalwatch_protocols::http1::Method;

/// A service on this node, numbered by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// A pod on this node (or a process group outside Kubernetes), numbered by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub u32);

/// A route template of one service; see [`crate::routes::RouteTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The route of every request whose template has no number of its own.
    pub const OTHER: Self = Self(0);
}

/// A peer that one service calls; see [`crate::peers::PeerTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// The peer of every request whose address is not known or has no number of its own.
    pub const OTHER: Self = Self(0);
}

/// Which end of a request a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

/// Something of either role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByRole<T> {
    /// That of servers.
    pub server: T,
    /// That of clients.
    pub client: T,
}

impl<T> ByRole<T> {
    /// That of a role.
    pub const fn of(&self, role: Role) -> &T {
        match role {
            Role::Server => &self.server,
            Role::Client => &self.client,
        }
    }

    /// The same, to be changed.
    pub const fn of_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Server => &mut self.server,
            Role::Client => &mut self.client,
        }
    }

    /// Both, with their roles.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &T)> {
        [(Role::Server, &self.server), (Role::Client, &self.client)].into_iter()
    }
}

/// What a request went to, as far as metrics tell it apart. It says the role of the observed service, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The service answered: by this route.
    Route(RouteId),
    /// The service asked: this peer.
    Peer(PeerId),
}

impl Target {
    /// Which end the service was.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Route(_) => Role::Server,
            Self::Peer(_) => Role::Client,
        }
    }
}

/// How a request ended: with an answer's status code of three digits, or aborted.
///
/// Displayed as the value of `error.type`: the code, or `aborted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// The connection was closed, or the process ended, after a whole request and without an answer.
    pub const ABORTED: Self = Self(0);

    /// As the kernel records it: 0 for an aborted request, else the code as in [`new`](Self::new).
    #[must_use]
    pub const fn recorded(status: u16) -> Option<Self> {
        if status == Self::ABORTED.0 {
            Some(Self::ABORTED)
        } else {
            Self::new(status)
        }
    }

    /// From 100 to 999; absent for anything else.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if matches!(code, 100..=999) {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The value of `http.response.status_code`. Absent for an aborted request: the attribute is there only where a status was
    /// sent (OpenTelemetry's HTTP conventions).
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        if self.is_aborted() { None } else { Some(self.0) }
    }

    /// Whether there was no answer.
    #[must_use]
    pub const fn is_aborted(self) -> bool {
        self.0 == Self::ABORTED.0
    }

    /// Aborted, 5xx for a server, from 400 for a client: the span is an error and has an `error.type`. For codes OpenTelemetry's HTTP
    /// conventions want the code there; for what ends without one they leave the word to the instrumentation.
    #[must_use]
    pub const fn is_failure(self, role: Role) -> bool {
        self.is_aborted()
            || match role {
                Role::Server => matches!(self.0, 500..=599),
                Role::Client => self.0 >= 400,
            }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{code}"),
            None => f.write_str("aborted"),
        }
    }
}

/// The trace that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// That of the head's `traceparent`, or a new one.
    pub trace_id: [u8; 16],
    /// The span that the head's `traceparent` names, if there is one: of a server's caller, or what a client's application began for this
    /// call. Else, for a client, that of the request which the service was answering.
    pub parent_id: Option<[u8; 8]>,
    /// The caller's sampled flag, if there is a caller.
    pub parent_sampled: Option<bool>,
    /// No header says who the parent is.
    pub within: bool,
    /// What the caller's `tracestate` says about sampling.
    pub ot: OtState,
}

impl Trace {
    /// Joins the caller's trace, or begins one. Without a valid `traceparent` there is no `tracestate` either (W3C Trace Context,
    /// section 3.3): `ot` is then not used.
    pub fn join(parent: Option<TraceParent>, ot: OtState, ids: &mut IdSource) -> Self {
        match parent {
            Some(parent) => Self {
                trace_id: parent.trace_id,
                parent_id: Some(parent.parent_id),
                parent_sampled: Some(parent.sampled),
                within: false,
                ot,
            },
            None => Self::begin(ids.trace_id()),
        }
    }

    /// A new trace.
    #[must_use]
    pub const fn begin(trace_id: [u8; 16]) -> Self {
        Self {
            trace_id,
            parent_id: None,
            parent_sampled: None,
            within: false,
            ot: OtState { th: None, rv: None },
        }
    }

    /// That of the request which the service was answering when it asked: its span is the parent, and what its own caller decided is
    /// said of it too.
    #[must_use]
    pub const fn within(trace_id: [u8; 16], parent_id: [u8; 8], caller_sampled: Option<bool>) -> Self {
        Self {
            parent_id: Some(parent_id),
            parent_sampled: caller_sampled,
            within: true,
            ..Self::begin(trace_id)
        }
    }

    /// The trace with a randomness that somebody else decided by; that of a caller is left as it is.
    #[must_use]
    pub fn with_randomness(mut self, randomness: Randomness) -> Self {
        if self.parent_id.is_none() {
            let [_, low @ ..] = randomness.get().to_be_bytes();
            self.trace_id[9..].copy_from_slice(&low);
        }
        self
    }

    /// `rv` where the caller sent one, else the low 56 bits of the trace id.
    #[must_use]
    pub fn randomness(&self) -> Randomness {
        self.ot.rv.unwrap_or_else(|| Randomness::from_trace_id(&self.trace_id))
    }
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose process answered, or asked.
    pub service: ServiceId,
    /// First byte of the request read by a server or written by a client, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// The call with the final status line returned, or the connection was closed without one, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// The request's method.
    pub method: Method,
    /// What metrics call the route or the peer.
    pub target: Target,
    /// What rules call the route: the template even where the table is full, [`shoalwatch_protocols::route::OTHER`] where the path
    /// was not seen whole.
    pub template: &'a str,
    /// The final status, or that there was none.
    pub status: Status,
    /// The trace that the request belongs to.
    pub trace: Trace,
}

impl Request<'_> {
    /// Which end the service was.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.target.role()
    }

    /// Whether its span is an error; see [`Status::is_failure`].
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        self.status.is_failure(self.role())
    }

    /// Zero where the clock went backwards.
    #[must_use]
    pub const fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

#[cfg(test)]
pub(crate) mod tests;
