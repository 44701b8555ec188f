//! A kept request as an OTLP span.

use std::{fmt::Display, io::Write as _, net::SocketAddr};

use shoalwatch_protocols::{
    http1::{Method, RequestHead},
    route::OTHER,
    trace_context::{OtState, Threshold, TraceStateLines},
};

use super::{
    attribute::{integer, text, written_text},
    wire,
};
use crate::request::{Request, Role, Status};

/// Bytes of a path that are kept: what a head's window holds at most.
const MAX_PATH: usize = 512;

/// Fields of `Span`.
mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START_TIME_UNIX_NANO: u32 = 7;
    pub(super) const END_TIME_UNIX_NANO: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
}

/// `Status.code`, its only field that is used, and the value of an error.
const STATUS_CODE: u32 = 3;
const STATUS_CODE_ERROR: u64 = 2;
const SPAN_KIND_SERVER: u64 = 2;
const SPAN_KIND_CLIENT: u64 = 3;

/// W3C's `sampled`, and OTLP's two bits about the parent.
const SAMPLED: u32 = 0x1;
const CONTEXT_HAS_IS_REMOTE: u32 = 0x100;
const CONTEXT_IS_REMOTE: u32 = 0x200;

/// The span of a server that answered a request, or of a client that sent one, by OpenTelemetry's conventions for HTTP. The query is
/// left out: it may hold what nobody wants stored.
#[derive(Debug, Clone, Copy)]
pub struct HttpSpan<'a> {
    /// What was asked and answered.
    pub request: &'a Request<'a>,
    /// What else the request's head says.
    pub head: &'a RequestHead<'a>,
    /// Whom a client asked, if that is known. A server's is not told.
    pub peer: Option<SocketAddr>,
    /// The span's own id.
    pub span_id: [u8; 8],
    /// With which it was kept, if that is known.
    pub threshold: Option<Threshold>,
}

impl HttpSpan<'_> {
    /// Appends what is within a `Span`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let request = self.request;
        let trace = &request.trace;
        wire::bytes(out, field::TRACE_ID, &trace.trace_id);
        wire::bytes(out, field::SPAN_ID, &self.span_id);
        wire::message(out, field::TRACE_STATE, |out| self.trace_state(out));
        if let Some(parent) = &trace.parent_id {
            wire::bytes(out, field::PARENT_SPAN_ID, parent);
        }
        wire::message(out, field::NAME, |out| name(request, out));
        wire::varint(out, field::KIND, kind(request.role()));
        wire::fixed64(out, field::START_TIME_UNIX_NANO, request.start_ns);
        wire::fixed64(out, field::END_TIME_UNIX_NANO, request.end_ns);
        self.attributes(out);
        if request.is_failure() {
            wire::message(out, field::STATUS, |out| {
                wire::varint(out, STATUS_CODE, STATUS_CODE_ERROR);
            });
        }
        wire::fixed32(out, field::FLAGS, flags(request));
    }

    /// What the caller said, with the threshold of this decision.
    fn trace_state(&self, out: &mut Vec<u8>) {
        let ot = OtState {
            th: self.threshold,
            rv: self.request.trace.ot.rv,
        };
        match self.request.trace.parent_id {
            Some(_) if !self.request.trace.within => self.head.tracestate.write_with(ot, out),
            _ => TraceStateLines::default().write_with(ot, out),
        }
    }

    fn attributes(&self, out: &mut Vec<u8>) {
        let (request, head) = (self.request, self.head);
        attribute(out, "http.request.method", request.method.as_str());
        answer(request.status, out);
        attribute(out, "url.scheme", "http");
        if request.method == Method::Other {
            attribute(out, "http.request.method_original", head.method_name);
        }
        let path = &head.path[..head.path.len().min(MAX_PATH)];
        match request.role() {
            Role::Server if request.template != OTHER => attribute(out, "http.route", request.template),
            Role::Server => {}
            Role::Client => self.peer.iter().for_each(|peer| client(*peer, path, out)),
        }
        if !path.is_empty() {
            written_text(out, field::ATTRIBUTES, "url.path", |out| lossy(path, out));
        }
        if let Some(version) = head.version {
            attribute(out, "network.protocol.version", version.as_str());
        }
        if request.is_failure() {
            written_text(out, field::ATTRIBUTES, "error.type", |out| {
                error_type(request.status, out);
            });
        }
    }
}

/// What only the span of a client has. Its URL names the peer by address, since the name that was asked for is the caller's word; and
/// only a path can follow an authority, so CONNECT and `OPTIONS *` have none.
fn client(peer: SocketAddr, path: &[u8], out: &mut Vec<u8>) {
    written_text(out, field::ATTRIBUTES, "server.address", |out| {
        displayed(peer.ip(), out);
    });
    integer(out, field::ATTRIBUTES, "server.port", peer.port().into());
    if path.starts_with(b"/") {
        written_text(out, field::ATTRIBUTES, "url.full", |out| {
            displayed(format_args!("http://{peer}"), out);
            lossy(path, out);
        });
    }
}

fn displayed(value: impl Display, out: &mut Vec<u8>) {
    // A Vec takes everything.
    let _infallible = write!(out, "{value}");
}

#[expect(clippy::inline_always, reason = "keys are constants, as in `wire`")]
#[inline(always)]
fn attribute(out: &mut Vec<u8>, key: &str, value: &str) {
    text(out, field::ATTRIBUTES, key, value);
}

fn answer(status: Status, out: &mut Vec<u8>) {
    if let Some(code) = status.code() {
        integer(out, field::ATTRIBUTES, "http.response.status_code", code.into());
    }
}

const fn kind(role: Role) -> u64 {
    match role {
        Role::Server => SPAN_KIND_SERVER,
        Role::Client => SPAN_KIND_CLIENT,
    }
}

/// `{method} {route}` for a server, `{method}` for a client, without what would make the name's number of values unbounded.
fn name(request: &Request<'_>, out: &mut Vec<u8>) {
    let method = match request.method {
        Method::Other => "HTTP",
        known => known.as_str(),
    };
    out.extend_from_slice(method.as_bytes());
    if request.role() == Role::Server && request.template != OTHER {
        out.push(b' ');
        out.extend_from_slice(request.template.as_bytes());
    }
}

/// `sampled`, and whether the parent is in another process: a server's is, wherever there is one; a client's is the application's own.
const fn flags(request: &Request<'_>) -> u32 {
    let remote = match request.role() {
        Role::Server if request.trace.parent_id.is_some() => CONTEXT_IS_REMOTE,
        _ => 0,
    };
    SAMPLED | CONTEXT_HAS_IS_REMOTE | remote
}

/// The code, which has three digits, or what became of the answer.
fn error_type(status: Status, out: &mut Vec<u8>) {
    match status.code() {
        Some(code) => out.extend([code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + (digit & 0xf) as u8)),
        None => out.extend_from_slice(b"aborted"),
    }
}

/// A path may be any bytes, a string in Protocol Buffers must be UTF-8: what is none becomes U+FFFD, as in
/// [`String::from_utf8_lossy`].
fn lossy(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = str::from_utf8(bytes) {
        return out.extend_from_slice(text.as_bytes());
    }
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
