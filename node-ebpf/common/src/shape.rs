//! The shape of a request's path: the same 64-bit number for all paths of one route template.
//!
//! The rule is the one that user space writes templates by: a segment that is a number, a UUID, a longer hexadecimal word, too
//! long or escaped counts as `{id}`, and only so many segments are told apart. The number is the FNV-1a hash of the template,
//! taken byte by byte without writing it, so that the kernel can know a route by it.

use crate::head::first_byte;

/// Segments of a path that a template keeps.
pub const MAX_SEGMENTS: usize = 8;
/// Bytes of a segment that is longer: a path with such a segment has no shape here.
pub const MAX_SEGMENT: usize = 64;
/// Bytes of a query that are looked through for its end, in words of eight.
const QUERY_WORDS: usize = 32;

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// What a segment counts of its bytes, one lane of 16 bits each.
const DIGIT: u64 = 1;
const HEX: u64 = 1 << 16;
const UUID_DASH: u64 = 1 << 32;
const ODD: u64 = 1 << 48;
const LANE: u64 = 0xffff;
/// What ends or splits a path lies outside the lanes' reach.
const SLASH: u64 = 1 << 60;
const DASH: u64 = 1 << 61;
const QUERY: u64 = 1 << 62;
const END: u64 = 1 << 63;
/// Bytes that no target has: a request line with one of them is not HTTP.
const FORBIDDEN: u64 = END | QUERY;
/// Bytes of a UUID, and those of them that are digits.
const UUID_LENGTH: u64 = 36;
const UUID_DIGITS: u64 = 32;
/// Where the dashes of a UUID stand.
const UUID_DASHES: u64 = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;

/// What each byte is. One load, for the verifier walks every path through every byte.
static CLASSES: [u64; 256] = classes();

const fn classes() -> [u64; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
}

const fn class(byte: u8) -> u64 {
    match byte {
        b'0'..=b'9' => DIGIT | HEX,
        b'a'..=b'f' | b'A'..=b'F' => HEX,
        b'-' => DASH,
        b'/' => SLASH,
        b'?' => QUERY,
        b' ' => END,
        0..b' ' | 0x7f => FORBIDDEN,
        b'%' | 0x80.. => ODD,
        _ => 0,
    }
}

/// A request's target, where it has a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The hash of the path's template.
    pub shape: u64,
    /// Where the space behind the target stands.
    pub end: usize,
}

/// The segment that is being read.
#[derive(Clone, Copy)]
struct Segment {
    /// The template's hash before it.
    before: u64,
    counts: u64,
    length: u64,
}

/// Arithmetic in place of branches: each branch would double what the verifier has to follow.
impl Segment {
    /// 1 for a value, 0 for a word.
    #[inline(always)]
    const fn is_value(self) -> u64 {
        let (digits, hex) = (self.counts & LANE, (self.counts >> 16) & LANE);
        let (dashes, odd) = ((self.counts >> 32) & LANE, self.counts >> 48);
        let number = is_zero(digits ^ self.length) & at_least(self.length, 1);
        let hex_word = is_zero(hex ^ self.length) & at_least(self.length, 8) & at_least(digits, 1);
        let uuid = is_zero((self.length ^ UUID_LENGTH) | (hex ^ UUID_DIGITS) | (dashes ^ (UUID_LENGTH - UUID_DIGITS)));
        at_least(odd, 1) | number | hex_word | uuid
    }

    /// The template's hash with this segment in it, as it stands or as a value.
    #[inline(always)]
    const fn close(self, hash: u64) -> u64 {
        let value = mix(mix(mix(mix(self.before, b'{'), b'i'), b'd'), b'}');
        hash ^ ((hash ^ value) & self.is_value().wrapping_neg())
    }
}

/// 1 where it is 0, else 0.
#[inline(always)]
const fn is_zero(number: u64) -> u64 {
    (!number & number.wrapping_sub(1)) >> 63
}

/// 1 where `one` is not below `other`, else 0; for numbers below 2^63.
#[inline(always)]
const fn at_least(one: u64, other: u64) -> u64 {
    (one.wrapping_sub(other) >> 63) ^ 1
}

#[inline(always)]
const fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(PRIME)
}

/// Reads the target that begins at `start`, of a head with `len` bytes. None for one that is no path, is not whole, or has a segment
/// of more than [`MAX_SEGMENT`] bytes. `byte` and `word` give one byte and eight of the head, whatever the offset.
///
/// `zero` gives 0. Where it comes from memory, each time anew, the verifier cannot know that, takes nothing that is counted here for
/// a constant, and need not follow every way through a path apart from the others. For the same reason a loop has one exit or does
/// one thing.
#[inline(always)]
pub fn target(
    start: usize,
    len: usize,
    zero: impl Fn() -> usize,
    byte: impl Fn(usize) -> u8,
    word: impl Fn(usize) -> u64,
) -> Option<Target> {
    let mut at = start.wrapping_add(zero());
    let mut hash = OFFSET_BASIS;
    let mut class = CLASSES[byte(at) as usize];
    for slashes in 0..=MAX_SEGMENTS {
        if class & SLASH == 0 {
            break;
        }
        hash = mix(hash, b'/');
        if slashes == MAX_SEGMENTS {
            hash = mix(hash, b'*');
            class = QUERY;
            break;
        }
        let before = hash;
        let mut counts = zero() as u64;
        let mut ended = None;
        for length in 0..=MAX_SEGMENT {
            let next = at.wrapping_add(length + 1);
            if next >= len {
                return None;
            }
            let this = byte(next);
            class = CLASSES[this as usize];
            if class & (SLASH | QUERY | END) != 0 {
                ended = Some(length);
                break;
            }
            let dash = (class / DASH) & UUID_DASHES.wrapping_shr(length as u32) & 1;
            counts += (class & !DASH) + dash * UUID_DASH;
            hash = mix(hash, this);
        }
        let length = ended?.wrapping_add(zero());
        let segment = Segment {
            before,
            counts,
            length: length as u64,
        };
        hash = segment.close(hash);
        at = at.wrapping_add(length + 1);
    }
    if hash == OFFSET_BASIS {
        return None;
    }
    if class & QUERY != 0 && class & END == 0 {
        at = skip_query(at, len, &zero, &word)?;
    } else if class & QUERY != 0 {
        return None;
    }
    Some(Target { shape: hash, end: at })
}

/// Where the space behind a query stands.
#[inline(always)]
fn skip_query(from: usize, len: usize, zero: &impl Fn() -> usize, word: &impl Fn(usize) -> u64) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    for index in 0..QUERY_WORDS {
        let at = from.wrapping_add(index * 8);
        if at >= len {
            return None;
        }
        let bytes = word(at);
        let delete = bytes ^ (0x7f * ONES);
        let ends = (bytes.wrapping_sub(0x21 * ONES) & !bytes | delete.wrapping_sub(ONES) & !delete) & (0x80 * ONES);
        if ends != 0 {
            let end = at.wrapping_add(first_byte(ends)).wrapping_add(zero());
            return (end < len && word(end) as u8 == b' ').then_some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn of(line: &str) -> Option<Target> {
        let mut bytes = Vec::from(line);
        bytes.resize(line.len() + 1024, b' ');
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        target(0, line.len(), || 0, |at| bytes[at], word)
    }

    fn same(one: &str, other: &str) -> bool {
        let shape = |path: &str| of(&std::format!("{path} HTTP/1.1")).map(|target| target.shape);
        shape(one).is_some() && shape(one) == shape(other)
    }

    #[test]
    fn values_are_one_and_words_are_their_own() {
        assert!(same("/users/123", "/users/7"));
        assert!(same("/users/123", "/users/{id}"));
        assert!(same("/o/550e8400-e29b-41d4-a716-446655440000", "/o/1"));
        assert!(same("/o/deadbee1", "/o/1"));
        assert!(!same("/o/deadbeef", "/o/1"));
        assert!(same("/o/a%20b?x=/1", "/o/1"));
        assert!(!same("/users/", "/users"));
        assert!(same("/1/2/3/4/5/6/7/8/9", "/a1234567/2/3/4/5/6/7/8/x/y"));
        assert!(!same("/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7/8/9"));
    }

    #[test]
    fn what_is_no_whole_path_has_no_shape() {
        for line in [
            "* HTTP/1.1",
            "http://x/ HTTP/1.1",
            "/a",
            "/a?b=c",
            " HTTP/1.1",
            "/a\tb HTTP/1.1",
            "/a?\u{7f} HTTP/1.1",
            "/a?b\t HTTP/1.1",
        ] {
            assert_eq!(of(line), None, "{line:?}");
        }
        let long = |length| of(&std::format!("/{} HTTP/1.1", "a".repeat(length)));
        assert!(long(MAX_SEGMENT).is_some());
        assert_eq!(long(MAX_SEGMENT + 1), None);
        assert_eq!(of("/a?b HTTP/1.1").unwrap().end, 4);
        assert_eq!(of("/ab HTTP/1.1").unwrap().end, 3);
    }
}
