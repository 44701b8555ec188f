//! Protocol parsers over byte slices that other people wrote.
//!
//! Everything here is pure: no I/O, no clock, no allocation on the way through a request, no panic on any bytes. A parser sees a
//! bounded *window* of a conversation, cut wherever the kernel had to cut it, and says what is certain: a value that the cut
//! may have shortened is flagged or left out, never guessed.
//!
//! - [`http1`]: the head of an HTTP/1.x request, and the pairing of a connection's requests with their answers.
//! - [`http2`]: whether a client exports spans of its own.
//! - [`trace_context`]: W3C `traceparent` and `tracestate`, OpenTelemetry's consistent sampling probabilities.
//! - [`route`]: from a path to a template of low cardinality, and its hash.
#![forbid(unsafe_code)]

pub mod http1;
pub mod http2;
pub mod route;
pub mod trace_context;
