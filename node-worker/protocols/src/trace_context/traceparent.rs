use super::{Randomness, hex_digit};

/// `version-trace_id-parent_id-flags`, the whole of version 00 and the part of later versions that is read.
const LENGTH: usize = 55;

/// What the caller of a request says about its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// The caller's span. Not all zero.
    pub parent_id: [u8; 8],
    /// The caller may have recorded its span.
    pub sampled: bool,
}

/// Why a `traceparent` was not used: the trace starts anew here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTraceParent {
    /// Too short, too long, or a dash is missing.
    #[error("traceparent is not version-traceid-parentid-flags")]
    Shape,
    /// Upper case, or no hexadecimal digit.
    #[error("traceparent has a character that is not a lower-case hexadecimal digit")]
    Digit,
    /// `ff` is reserved as invalid.
    #[error("traceparent has the forbidden version ff")]
    Version,
    /// An id of zeros only.
    #[error("traceparent has an id that is all zero")]
    ZeroId,
}

impl BadTraceParent {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Digit => "digit",
            Self::Version => "version",
            Self::ZeroId => "zero_id",
        }
    }
}

impl TraceParent {
    /// Reads a header value without surrounding space. Versions above 00 may be longer, after one more dash.
    pub fn parse(value: &[u8]) -> Result<Self, BadTraceParent> {
        let (head, tail) = value.split_at_checked(LENGTH).ok_or(BadTraceParent::Shape)?;
        if [head[2], head[35], head[52]] != [b'-'; 3] {
            return Err(BadTraceParent::Shape);
        }
        let [version]: [u8; 1] = hex(&head[..2])?;
        match (version, tail) {
            (0xff, _) => return Err(BadTraceParent::Version),
            (_, []) | (1.., [b'-', ..]) => {}
            _ => return Err(BadTraceParent::Shape),
        }
        let trace_id: [u8; 16] = hex(&head[3..35])?;
        let parent_id: [u8; 8] = hex(&head[36..52])?;
        let [flags]: [u8; 1] = hex(&head[53..])?;
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(BadTraceParent::ZeroId);
        }
        Ok(Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
        })
    }

    /// The randomness of the trace id, to be used where `tracestate` has no `rv`.
    #[must_use]
    pub const fn randomness(&self) -> Randomness {
        Randomness::from_trace_id(&self.trace_id)
    }
}

fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], BadTraceParent> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_digit(pair[0]), hex_digit(pair[1])) else {
            return Err(BadTraceParent::Digit);
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}
