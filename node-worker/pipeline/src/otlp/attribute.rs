//! `KeyValue`, in whichever message and field it stands.

use super::wire;

const KEY: u32 = 1;
const VALUE: u32 = 2;

/// The kinds of `AnyValue` that are used.
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;

/// Appends an attribute with a string.
#[inline]
pub fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    any(out, field, key, |out| wire::bytes(out, STRING, value.as_bytes()));
}

/// Appends an attribute with a string that `write` makes. It must be UTF-8.
#[inline]
pub(super) fn written_text(out: &mut Vec<u8>, field: u32, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
    any(out, field, key, |out| wire::message(out, STRING, write));
}

/// Appends an attribute with a whole number.
#[inline]
pub fn integer(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    any(out, field, key, |out| wire::varint(out, INT, value));
}

/// Appends an attribute with a boolean.
#[inline]
pub fn flag(out: &mut Vec<u8>, field: u32, key: &str, value: bool) {
    any(out, field, key, |out| wire::varint(out, BOOL, value.into()));
}

#[inline]
fn any(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, field, |out| {
        wire::bytes(out, KEY, key.as_bytes());
        wire::message(out, VALUE, value);
    });
}
