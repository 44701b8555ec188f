//! The head of an HTTP/1.x request, seen through a bounded window (RFC 9112).
//!
//! Lenient where servers are lenient, so that no request that a server answers goes uncounted: bare LF ends a line, empty lines
//! before the request line are skipped, bytes from 0x80 are let through in targets, and a bad header line hides itself only.
//! Strict where bytes of another protocol could be mistaken for HTTP: the request line.

pub mod connection;
mod headers;
mod method;
mod target;

use crate::trace_context::TraceStateLines;
pub use method::Method;
pub use target::TargetForm;

/// Bytes of a request head that are looked at; what follows is ignored.
pub const MAX_WINDOW: usize = 512;

/// The version that a request line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`, and any higher minor version: its sender must be treated as speaking 1.1 (RFC 9112 section 2.3).
    Http11,
}

impl Version {
    /// The value of OpenTelemetry's `network.protocol.version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// What a window shows of a request head. Header values are there only if their whole line is in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// [`Method::Other`] for one that OpenTelemetry does not know.
    pub method: Method,
    /// The method as it was sent, for `http.request.method_original`.
    pub method_name: &'a str,
    /// The target without scheme, authority and query. `*` for the server as a whole, empty for the authority form.
    pub path: &'a [u8],
    /// The window ends before it is certain that the path does: the real one may be longer.
    pub path_cut: bool,
    /// How the target was written.
    pub form: TargetForm,
    /// Absent when the window ends before it.
    pub version: Option<Version>,
    /// Absent also when it was sent more than once: W3C Trace Context then wants a new trace.
    pub traceparent: Option<&'a [u8]>,
    /// The lines of `tracestate`, in order.
    pub tracestate: TraceStateLines<'a>,
    /// The first `user-agent`.
    pub user_agent: Option<&'a [u8]>,
    /// The window shows the empty line that ends the head.
    pub complete: bool,
}

/// Why bytes were not taken for the head of an HTTP/1.x request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHttp {
    /// The window ends within the method. More bytes may make it a request.
    #[error("the window ends within the method: read on from this byte")]
    Incomplete,
    /// No method and space at the first byte.
    #[error("no method at the first byte: another protocol, or a read from the middle of a message")]
    Method,
    /// The request target has none of the four forms of RFC 9112 section 3.2.
    #[error("the request target is neither path, URI, host and port, nor *: another protocol")]
    Target,
    /// The third word is not `HTTP/1.x`.
    #[error("the request line does not end with HTTP/1.x: another protocol")]
    Version,
    /// The client's preface, or a request line, of HTTP/2.
    #[error("HTTP/2: this connection needs the HTTP/2 parser")]
    Http2,
}

impl NotHttp {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Method => "method",
            Self::Target => "target",
            Self::Version => "version",
            Self::Http2 => "http2",
        }
    }
}

/// Reads what the first [`MAX_WINDOW`] bytes of a request say. Allocates nothing and never panics.
///
/// A shorter window of the same bytes gives the same method, and the same path or the beginning of it with `path_cut` set.
pub fn parse_head(window: &[u8]) -> Result<RequestHead<'_>, NotHttp> {
    let window = skip_empty_lines(&window[..window.len().min(MAX_WINDOW)]);
    let (method_name, rest) = method::split(window)?;
    let method = Method::from_name(method_name);
    let (target, rest) = target::split(rest)?;
    let (version, rest) = match rest {
        Some(rest) => split_version(rest)?,
        None => (None, None),
    };
    let target = target::parse(method, target)?;
    let headers = rest.map(headers::scan).unwrap_or_default();
    Ok(RequestHead {
        method,
        method_name,
        path: target.path,
        path_cut: target.path_cut,
        form: target.form,
        version,
        traceparent: headers.traceparent(),
        tracestate: headers.tracestate,
        user_agent: headers.user_agent,
        complete: headers.complete,
    })
}

/// RFC 9112 section 2.2: a server should ignore empty lines before the request line.
fn skip_empty_lines(mut window: &[u8]) -> &[u8] {
    while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = window {
        window = rest;
    }
    if window == b"\r" { &[] } else { window }
}

type VersionAndRest<'a> = (Option<Version>, Option<&'a [u8]>);

/// The version, as far as the window shows it, and the header lines if the request line is complete.
fn split_version(line: &[u8]) -> Result<VersionAndRest<'_>, NotHttp> {
    const NAME: &[u8] = b"HTTP/1.";
    let seen = line.len().min(NAME.len());
    if line[..seen] != NAME[..seen] {
        return Err(if line.starts_with(b"HTTP/2") {
            NotHttp::Http2
        } else {
            NotHttp::Version
        });
    }
    let version = match line.get(NAME.len()) {
        None => return Ok((None, None)),
        Some(b'0') => Version::Http10,
        Some(b'1'..=b'9') => Version::Http11,
        Some(_) => return Err(NotHttp::Version),
    };
    match &line[NAME.len() + 1..] {
        [] | [b'\r'] => Ok((Some(version), None)),
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => Ok((Some(version), Some(rest))),
        _ => Err(NotHttp::Version),
    }
}

#[cfg(test)]
mod tests;
