//! `KeyValue`, in whichever message and field it stands.
#![expect(
    clippy::inline_always,
    reason = "fields and keys are constants where they are used: a fifth of a span's time goes where the compiler does not see it"
)]

use super::wire;

const KEY: u32 = 1;
const VALUE: u32 = 2;

/// The kinds of `AnyValue` that are used.
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;

/// Appends an attribute with a string.
#[inline(always)]
pub fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    let any_value = wire::bytes_length(STRING, value.len());
    wire::head(
        out,
        field,
        wire::bytes_length(KEY, key.len()) + wire::bytes_length(VALUE, any_value),
    );
    wire::bytes(out, KEY, key.as_bytes());
    wire::head(out, VALUE, any_value);
    wire::bytes(out, STRING, value.as_bytes());
}

/// Appends an attribute with a string that `write` makes. It must be UTF-8.
#[inline(always)]
pub(super) fn written_text(out: &mut Vec<u8>, field: u32, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
    any(out, field, key, |out| wire::message(out, STRING, write));
}

/// Appends an attribute with a whole number.
#[inline(always)]
pub fn integer(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    any(out, field, key, |out| wire::varint(out, INT, value));
}

/// Appends an attribute with a boolean.
#[inline(always)]
pub fn flag(out: &mut Vec<u8>, field: u32, key: &str, value: bool) {
    any(out, field, key, |out| wire::varint(out, BOOL, value.into()));
}

#[inline(always)]
fn any(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, field, |out| {
        wire::bytes(out, KEY, key.as_bytes());
        wire::message(out, VALUE, value);
    });
}
