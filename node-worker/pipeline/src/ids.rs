//! Trace and span ids from a seed, and their hexadecimal form.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
};

/// A source of random ids: xoshiro256** (Blackman and Vigna). Its 256 bits of state let a thousand nodes draw for years without
/// sharing a stretch. Not for secrets.
#[derive(Debug, Clone)]
pub struct IdSource {
    state: [u64; 4],
}

impl IdSource {
    /// Equal seeds give equal ids: seed from the system's randomness. A seed of zeros only, which would give zeros for ever, is
    /// replaced by another constant.
    #[must_use]
    pub fn new(seed: [u64; 4]) -> Self {
        Self {
            state: if seed == [0; 4] { [1, 2, 3, 4] } else { seed },
        }
    }

    /// A new trace id, never all zero. Its low 56 bits decide sampling.
    pub fn trace_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        id[8..].copy_from_slice(&self.span_id());
        id
    }

    /// A new span id, never all zero.
    pub fn span_id(&mut self) -> [u8; 8] {
        loop {
            let id = self.next_u64();
            if id != 0 {
                return id.to_be_bytes();
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }
}

/// Ids that requests agree on which know one number in common. Other nodes, and a worker that is started anew, make others of it.
#[derive(Debug, Clone, Default)]
pub struct SharedIds {
    keys: RandomState,
}

impl SharedIds {
    /// A trace id, never all zero. Its low 56 bits, which decide sampling, are the number's.
    #[must_use]
    pub fn trace_id(&self, seed: NonZeroU64) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.keys.hash_one((seed, "trace")).to_be_bytes());
        id[8..].copy_from_slice(&seed.get().to_be_bytes());
        id
    }

    /// A span id, never all zero.
    #[must_use]
    pub fn span_id(&self, seed: NonZeroU64) -> [u8; 8] {
        self.keys.hash_one((seed, "span")).max(1).to_be_bytes()
    }
}

/// Appends the lower-case hexadecimal form.
pub fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 0xf)]);
    }
}

/// The lower-case hexadecimal form.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    push_hex(bytes, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_published_generator() {
        // The first outputs of xoshiro256** 1.0 from the state 1, 2, 3, 4.
        let mut ids = IdSource::new([1, 2, 3, 4]);
        let drawn: Vec<u64> = (0..4).map(|_| u64::from_be_bytes(ids.span_id())).collect();
        assert_eq!(
            drawn,
            [
                11520,
                1_509_978_240,
                1_215_971_899_390_074_240,
                1_216_172_134_540_287_360
            ]
        );
    }

    #[test]
    fn a_seed_of_zeros_still_gives_ids() {
        let mut ids = IdSource::new([0; 4]);
        assert_ne!(ids.trace_id(), [0; 16]);
        assert_ne!(ids.span_id(), ids.span_id());
    }

    #[test]
    fn a_zero_draw_is_skipped_because_a_zero_span_id_is_invalid() {
        // State 1 is what the next draw is made from.
        let mut ids = IdSource::new([1, 0, 0, 0]);
        assert_ne!(ids.span_id(), [0; 8]);
    }

    #[test]
    fn what_knows_the_same_number_has_the_same_ids_and_its_randomness() {
        let (ids, others) = (SharedIds::default(), SharedIds::default());
        let [one, two] = [0x80aa_bbcc_ddee_ff01, 2].map(|seed| NonZeroU64::new(seed).unwrap());
        assert_eq!(
            (ids.trace_id(one), ids.span_id(one)),
            (ids.trace_id(one), ids.span_id(one))
        );
        assert_eq!(ids.trace_id(one)[9..], [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x01]);
        assert_ne!(ids.trace_id(one)[..8], ids.span_id(one));
        assert_ne!(ids.span_id(one), ids.span_id(two));
        assert_ne!(ids.trace_id(one), others.trace_id(one));
        assert_ne!(ids.span_id(one), others.span_id(one));
    }

    #[test]
    fn hex_is_lower_case_and_padded() {
        assert_eq!(hex(&[0x00, 0x0a, 0xff]), "000aff");
    }
}
