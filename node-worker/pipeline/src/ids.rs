//! Trace and span ids from a seed, and their hexadecimal form.

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
    fn hex_is_lower_case_and_padded() {
        assert_eq!(hex(&[0x00, 0x0a, 0xff]), "000aff");
    }
}
