//! OTLP messages, written by hand in Protocol Buffers' wire format (opentelemetry-proto, version 1.10).
//!
//! Everything is appended to the caller's buffer, which keeps its capacity: once it is large enough, nothing is allocated. The
//! structs of the crate `opentelemetry-proto` say in tests what the bytes must mean; at run time they would cost some two
//! dozen allocations for each span.

mod attribute;
mod span;
pub mod wire;

pub use attribute::{flag, integer, text};
pub use span::HttpSpan;

/// Appends what is within a `Resource`.
pub fn resource<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    const ATTRIBUTES: u32 = 1;
    for (key, value) in attributes {
        text(out, ATTRIBUTES, key, value);
    }
}

/// Appends what is within an `InstrumentationScope`.
pub fn scope(name: &str, version: &str, out: &mut Vec<u8>) {
    const NAME: u32 = 1;
    const VERSION: u32 = 2;
    wire::bytes(out, NAME, name.as_bytes());
    wire::bytes(out, VERSION, version.as_bytes());
}
