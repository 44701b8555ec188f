//! Recognition of a client's first HTTP/2 frames from their first bytes (RFC 9113 sections 3.4 and 4.1).
//!
//! A connection's first request names its path in full; later ones may refer to it, so this is the only one worth a look.

use crate::http1::word_of;

/// What a client's connection begins with.
const PREFACE: u64 = word_of(b"PRI * HT");
/// Bytes before a frame's payload: length (3), type, flags, stream (4).
pub const FRAME_HEADER_BYTES: usize = 9;
/// Length below 65,536, of whatever flags.
const TYPE_AND_STREAM: u64 = u64::from_le_bytes([0xff, 0, 0, 0xff, 0, 0xff, 0xff, 0xff]);
const HEADERS: u64 = u64::from_le_bytes([0, 0, 0, 1, 0, 0, 0, 0]);
/// An empty SETTINGS of the connection, with the flag ACK.
const SETTINGS_ACK: u64 = u64::from_le_bytes([0, 0, 0, 4, 1, 0, 0, 0]);

/// Whether the first bytes that a client writes at once may hold, or be followed by, a connection's first request. `word`: the first
/// eight; `stream`: the ninth, a frame's stream where that is below 256.
#[inline(always)]
#[must_use]
pub const fn may_ask_first(word: u64, stream: u8) -> bool {
    word == PREFACE || word & TYPE_AND_STREAM == HEADERS && stream == 1 || word == SETTINGS_ACK && stream == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(bytes: &[u8; FRAME_HEADER_BYTES]) -> bool {
        may_ask_first(u64::from_le_bytes(*bytes.first_chunk().unwrap()), bytes[8])
    }

    #[test]
    fn a_preface_an_acknowledgement_and_the_first_streams_headers_may_be_the_first_request() {
        for bytes in [
            b"PRI * HTT",
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\x7f\x01\x04\0\0\0\x01",
            b"\0\xff\xff\x01\x25\0\0\0\x01",
        ] {
            assert!(may(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn later_requests_and_other_frames_are_not() {
        for bytes in [
            b"\0\0\x7f\x01\x04\0\0\0\x03",
            b"\0\0\x7f\x01\x04\0\0\x01\x01",
            b"\0\0\x7f\0\x01\0\0\0\x01",
            b"\0\0\x06\x04\0\0\0\0\0",
            b"\0\0\x04\x08\0\0\0\0\0",
            b"\x01\0\x7f\x01\x04\0\0\0\x01",
            b"GET / HTT",
        ] {
            assert!(!may(bytes), "{bytes:?}");
        }
    }
}
