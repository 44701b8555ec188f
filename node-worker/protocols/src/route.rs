//! From a path to a route template of low cardinality, without knowing the application's routes.
//!
//! The rule is small enough for the kernel to repeat byte by byte. A segment is replaced by `{id}` when it is
//! - digits only,
//! - a UUID (8-4-4-4-12 hexadecimal digits), in either case,
//! - at least 8 hexadecimal digits, one of them a decimal digit (so `deadbeef` and `facade` stay words),
//! - longer than [`MAX_SEGMENT`] bytes, or
//! - has a byte that no plain route has: `%`, a control character, a space, or anything from 0x7f.
//!
//! Only the first [`MAX_SEGMENTS`] segments are kept; all that follow are one `*`. Empty segments and a trailing slash are kept:
//! to a router they are other routes. Templating a template changes nothing.
//!
//! `vectors/route.tsv` is the contract between all implementations.

/// Segments of a path that a template keeps.
pub const MAX_SEGMENTS: usize = 8;
/// Bytes of a segment that a template keeps.
pub const MAX_SEGMENT: usize = 64;
/// Bytes that a template has at most.
pub const MAX_TEMPLATE: usize = (MAX_SEGMENTS + 1) * (MAX_SEGMENT + 1);
/// `http.route` of requests whose template did not fit into a bound, and of those whose path is not known whole.
pub const OTHER: &str = "_OTHER";

const VALUE: &[u8] = b"{id}";
const REST: &[u8] = b"*";

/// Writes the template of a path without query into `out`, replacing what was there. Allocates only while `out` is shorter than
/// [`MAX_TEMPLATE`].
pub fn template_into(path: &[u8], out: &mut String) {
    out.clear();
    // A kept segment has visible ASCII only, so bytes are characters.
    each_piece(path, |piece| out.extend(piece.iter().copied().map(char::from)));
}

/// [`template_into`] for callers that want a string of their own.
#[must_use]
pub fn template(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    template_into(path, &mut out);
    out
}

/// The 64-bit FNV-1a hash of the template, without writing it: what the kernel knows a route by.
#[must_use]
pub fn shape_hash(path: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = OFFSET_BASIS;
    each_piece(path, |piece| {
        for byte in piece {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    });
    hash
}

fn each_piece(path: &[u8], mut emit: impl FnMut(&[u8])) {
    // Before the first slash there is an empty piece, which is no segment.
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            emit(b"/");
        }
        if index > MAX_SEGMENTS {
            return emit(REST);
        }
        emit(if Segment::read(segment).is_value() {
            VALUE
        } else {
            segment
        });
    }
}

/// What has to be counted of a segment to know whether it is a value: no look back, no look ahead.
#[derive(Default)]
struct Segment {
    length: usize,
    digits: usize,
    hex_digits: usize,
    uuid_dashes: usize,
    odd: bool,
}

impl Segment {
    fn read(bytes: &[u8]) -> Self {
        let mut segment = Self::default();
        for byte in bytes {
            segment.push(*byte);
        }
        segment
    }

    fn push(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => {
                self.digits += 1;
                self.hex_digits += 1;
            }
            b'a'..=b'f' | b'A'..=b'F' => self.hex_digits += 1,
            b'-' if matches!(self.length, 8 | 13 | 18 | 23) => self.uuid_dashes += 1,
            0..=b' ' | b'%' | 0x7f.. => self.odd = true,
            _ => {}
        }
        self.length += 1;
    }

    const fn is_value(&self) -> bool {
        let number = self.length > 0 && self.digits == self.length;
        let hex = self.length >= 8 && self.hex_digits == self.length && self.digits > 0;
        let uuid = self.length == 36 && self.hex_digits == 32 && self.uuid_dashes == 4;
        self.odd || self.length > MAX_SEGMENT || number || hex || uuid
    }
}

#[cfg(test)]
mod tests;
