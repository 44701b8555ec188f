//! W3C Trace Context, level 1 and 2, and OpenTelemetry's member of `tracestate`.
//!
//! A request's randomness is `rv` where `tracestate` has it, else the low 56 bits of the trace id; a span is kept when it is not
//! below the threshold `T = (1 − p) × 2^56`, so that everybody who samples one trace with the same `p` decides alike, and a
//! higher `p` keeps a superset (OpenTelemetry OTEP 235).

mod probability;
mod traceparent;
mod tracestate;

pub use probability::{RANDOMNESS_BITS, Randomness, Threshold};
pub use traceparent::{BadTraceParent, TraceParent};
pub use tracestate::{MAX_OT_VALUE, MAX_TRACESTATE, OtState, TraceStateLines};

/// The value of one lower-case hexadecimal digit, the only case that W3C and OpenTelemetry allow here.
const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
