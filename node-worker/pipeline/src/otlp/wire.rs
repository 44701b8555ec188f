//! Protocol Buffers' wire format (protobuf.dev, "Encoding").
//!
//! A field is written even if it has its type's default value: whether that says something is the caller's to know.
#![expect(
    clippy::inline_always,
    reason = "fields and keys are constants where they are used: a fifth of a span's time goes where the compiler does not see it"
)]

/// A varint of 64 bits has ten bytes at most.
const MAX_VARINT: usize = 10;

/// How a field's value is written.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    I64 = 1,
    Len = 2,
    I32 = 5,
}

/// Appends a whole number, an enumeration or a boolean.
#[inline(always)]
pub fn varint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_two(out, tag(field, WireType::Varint), value);
}

/// Appends a `fixed64`.
#[inline(always)]
pub fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, tag(field, WireType::I64));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `fixed32`.
#[inline(always)]
pub fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    put_varint(out, tag(field, WireType::I32));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double`.
#[inline(always)]
pub fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

/// Appends a string, bytes, or a message that is written already.
#[inline(always)]
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// Appends what stands in front of a message of `length` bytes.
#[inline(always)]
pub fn head(out: &mut Vec<u8>, field: u32, length: usize) {
    put_two(out, tag(field, WireType::Len), length as u64);
}

/// Appends a message, or a string that is made on the spot.
///
/// One byte is left for its length, which is enough for nearly all; a content from 128 bytes is moved up behind a longer one.
#[inline(always)]
pub fn message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    head(out, field, 0);
    let start = out.len();
    content(out);
    match short((out.len() - start) as u64) {
        Some(length) => out[start - 1] = length,
        None => make_room(out, start),
    }
}

/// How many bytes [`bytes`] appends for a value of this length.
#[must_use]
pub const fn bytes_length(field: u32, length: usize) -> usize {
    varint_length(tag(field, WireType::Len)) + varint_length(length as u64) + length
}

const fn varint_length(value: u64) -> usize {
    if value < 0x80 {
        return 1;
    }
    let bits = u64::BITS - value.leading_zeros();
    bits.div_ceil(7) as usize
}

const fn tag(field: u32, wire_type: WireType) -> u64 {
    (field << 3 | wire_type as u32) as u64
}

/// A value whose varint is one byte: nearly all tags and lengths.
#[inline(always)]
const fn short(value: u64) -> Option<u8> {
    if value < 0x80 { Some((value & 0x7f) as u8) } else { None }
}

#[inline(always)]
fn put_two(out: &mut Vec<u8>, first: u64, second: u64) {
    if let (Some(first), Some(second)) = (short(first), short(second)) {
        return out.extend_from_slice(&[first, second]);
    }
    put_varint(out, first);
    put_varint(out, second);
}

#[inline(always)]
fn put_varint(out: &mut Vec<u8>, value: u64) {
    match short(value) {
        Some(short) => out.push(short),
        None => out.extend_from_slice(&varint_bytes(value)[..varint_length(value)]),
    }
}

/// Seven bits a byte, lowest first; every byte but the last has its highest bit set.
fn varint_bytes(value: u64) -> [u8; MAX_VARINT] {
    let (mut bytes, mut rest) = ([0; MAX_VARINT], value);
    let last = varint_length(value) - 1;
    for byte in &mut bytes[..=last] {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    bytes[last] &= 0x7f;
    bytes
}

/// Moves the content from `start` up, so that its length fits in front of it.
#[cold]
fn make_room(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    let length = (end - start) as u64;
    let more = varint_length(length) - 1;
    out.resize(end + more, 0);
    out.copy_within(start..end, start + more);
    out[start - 1..start + more].copy_from_slice(&varint_bytes(length)[..=more]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specification's own way to write it.
    fn by_loop(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push((value & 0x7f) as u8);
        bytes
    }

    proptest! {
        #[test]
        fn a_varint_has_seven_bits_a_byte(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(&out, &by_loop(value));
            prop_assert_eq!(varint_length(value), out.len());
        }

        #[test]
        fn a_message_is_its_bytes_behind_their_length_wherever_it_stands(before in 0usize..3, field in 1u32..3000, length in 0usize..40_000) {
            let content = vec![7; length];
            let (mut whole, mut built) = (vec![1; before], vec![1; before]);
            bytes(&mut whole, field, &content);
            message(&mut built, field, |out| content.iter().for_each(|byte| out.push(*byte)));
            prop_assert_eq!(whole.len(), before + bytes_length(field, length));
            prop_assert_eq!(whole, built);
        }
    }

    #[test]
    fn the_examples_of_the_specification() {
        let mut out = Vec::new();
        varint(&mut out, 1, 150);
        bytes(&mut out, 2, b"testing");
        message(&mut out, 3, |out| varint(out, 1, 150));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01";
        assert_eq!(out, expected);
    }
}
