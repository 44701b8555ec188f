//! Versions: the content hash.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::wire;

/// The configuration's version: lower-case hex SHA-256 of its encoding.
///
/// Prost writes fields in the order of their tags and maps in the order of their keys, so equal configurations have
/// equal hashes on every machine and in every release that knows the same fields.
#[must_use]
pub fn content_hash(config: &wire::NodeConfig) -> String {
    encoded_hash(&config.encode_to_vec())
}

/// The same, of a configuration that is encoded already.
#[must_use]
pub fn encoded_hash(config: &[u8]) -> String {
    Sha256::digest(config)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            hex.push(nibble(byte >> 4));
            hex.push(nibble(byte & 0xf));
            hex
        })
}

fn nibble(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}
