//! Recognition of HTTP/1.x heads from their first bytes, small enough for the verifier.
//!
//! Words are the bytes in memory order read as a little-endian integer, so a comparison is one instruction.

/// Request methods with the space that follows them. Constants and no table: a table would be one more map look-up each.
const GET: u64 = word_of(b"GET ");
const PUT: u64 = word_of(b"PUT ");
const POST: u64 = word_of(b"POST ");
const HEAD: u64 = word_of(b"HEAD ");
const PATCH: u64 = word_of(b"PATCH ");
const TRACE: u64 = word_of(b"TRACE ");
const DELETE: u64 = word_of(b"DELETE ");
const OPTIONS: u64 = word_of(b"OPTIONS ");
const CONNECT: u64 = word_of(b"CONNECT ");

/// A request method that the fast path knows. The numbers are those that user space gives the methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are HTTP's own")]
pub enum Method {
    Connect = 0,
    Delete = 1,
    Get = 2,
    Head = 3,
    Options = 4,
    Patch = 5,
    Post = 6,
    Put = 7,
    Trace = 9,
}

impl Method {
    /// How many numbers methods have, those included that only user space knows.
    pub const NUMBERS: usize = 11;

    /// Whether requests of this method commonly have a body.
    #[inline(always)]
    #[must_use]
    pub const fn expects_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }

    /// Bytes of the name and the space behind it: where the target begins.
    #[inline(always)]
    #[must_use]
    pub const fn target_at(self) -> usize {
        match self {
            Self::Get | Self::Put => 4,
            Self::Head | Self::Post => 5,
            Self::Patch | Self::Trace => 6,
            Self::Delete => 7,
            Self::Options | Self::Connect => 8,
        }
    }
}

/// Bytes of the longest method with its space: what [`begin`] looks at.
pub const METHOD_BYTES: usize = 8;

/// Bytes of a status line up to its code: what [`answer`] looks at.
pub const STATUS_BYTES: usize = 12;

/// `101 Switching Protocols`: what follows is no HTTP.
pub const SWITCHING: u16 = 101;

/// What follows a request's target, as far as its version's last digit.
pub const VERSION_WORD: u64 = word_of(b"HTTP/1.");

/// What the first bytes of a read are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A method and a space.
    Request(Method),
    /// All bytes there are, fewer than a method: the request may go on in the next read.
    Prefix,
    /// Anything else.
    Other,
}

/// What the first bytes of a write are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status line with this final code: 200 to 999, or 101, behind which there is no HTTP.
    Final(u16),
    /// A status line with another code below 200: one more will follow.
    Interim,
    /// Anything else.
    Other,
}

/// Classifies the first `len` bytes of a read; `word` holds the first eight of them.
#[inline(always)]
#[must_use]
pub fn begin(word: u64, len: usize) -> Begin {
    let is = |token: u64, bytes: usize| len >= bytes && word & mask(bytes) == token;
    let method = if is(GET, 4) {
        Method::Get
    } else if is(POST, 5) {
        Method::Post
    } else if is(PUT, 4) {
        Method::Put
    } else if is(HEAD, 5) {
        Method::Head
    } else if is(DELETE, 7) {
        Method::Delete
    } else if is(PATCH, 6) {
        Method::Patch
    } else if is(OPTIONS, 8) {
        Method::Options
    } else if is(CONNECT, 8) {
        Method::Connect
    } else if is(TRACE, 6) {
        Method::Trace
    } else if is_method_prefix(word, len) {
        return Begin::Prefix;
    } else {
        return Begin::Other;
    };
    Begin::Request(method)
}

#[inline(always)]
const fn is_method_prefix(word: u64, len: usize) -> bool {
    if len == 0 || len >= METHOD_BYTES {
        return false;
    }
    let (mask, word) = (mask(len), word & mask(len));
    (len < 4 && (word == GET & mask || word == PUT & mask))
        || (len < 5 && (word == POST & mask || word == HEAD & mask))
        || (len < 6 && (word == PATCH & mask || word == TRACE & mask))
        || (len < 7 && word == DELETE & mask)
        || word == OPTIONS & mask
        || word == CONNECT & mask
}

/// Classifies the first twelve bytes of a write: `word` holds the first eight, `next` the four that follow.
#[inline(always)]
#[must_use]
pub const fn answer(word: u64, next: u32) -> Answer {
    let [.., minor] = word.to_le_bytes();
    let [space, hundreds, tens, ones] = next.to_le_bytes();
    let is_line = word & mask(7) == word_of(b"HTTP/1.") && minor.is_ascii_digit() && space == b' ';
    if !is_line || !hundreds.is_ascii_digit() || !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return Answer::Other;
    }
    match digit(hundreds) * 100 + digit(tens) * 10 + digit(ones) {
        status @ (SWITCHING | 200..) => Answer::Final(status),
        100..200 => Answer::Interim,
        _ => Answer::Other,
    }
}

/// Whether the first `len` bytes of a write, fewer than [`STATUS_BYTES`], may be the beginning of a status line.
#[inline(always)]
#[must_use]
pub const fn is_answer_prefix(word: u64, len: usize) -> bool {
    len > 0 && (word ^ word_of(b"HTTP/1.")) & mask(if len < 7 { len } else { 7 }) == 0
}

#[inline(always)]
const fn digit(ascii: u8) -> u16 {
    (ascii - b'0') as u16
}

#[inline(always)]
const fn mask(bytes: usize) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (bytes * 8)) - 1 }
}

pub(crate) const fn word_of(token: &[u8]) -> u64 {
    let mut word = 0;
    let mut i = 0;
    while i < token.len() {
        word |= (token[i] as u64) << (i * 8);
        i += 1;
    }
    word
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const METHODS: [(&[u8], Method); 9] = [
        (b"GET ", Method::Get),
        (b"POST ", Method::Post),
        (b"PUT ", Method::Put),
        (b"HEAD ", Method::Head),
        (b"DELETE ", Method::Delete),
        (b"PATCH ", Method::Patch),
        (b"OPTIONS ", Method::Options),
        (b"CONNECT ", Method::Connect),
        (b"TRACE ", Method::Trace),
    ];

    fn word(bytes: &[u8]) -> u64 {
        word_of(&bytes[..bytes.len().min(8)])
    }

    fn begin_of(bytes: &[u8]) -> Begin {
        begin(word(bytes), bytes.len())
    }

    fn answer_of(bytes: &[u8; 12]) -> Answer {
        let (_, next) = bytes.split_last_chunk::<4>().unwrap();
        answer(word(bytes), u32::from_le_bytes(*next))
    }

    #[test]
    fn every_method_is_recognised_and_known_how_long_it_is() {
        for (name, method) in METHODS {
            let line = [name, b"/index.html HTTP/1.1\r\n"].concat();
            assert_eq!(begin_of(&line), Begin::Request(method));
            assert_eq!(method.target_at(), name.len());
        }
    }

    #[test]
    fn three_methods_have_bodies() {
        let with_body = METHODS.into_iter().filter(|(_, method)| method.expects_body());
        let names: Vec<_> = with_body.map(|(name, _)| name).collect();
        assert_eq!(names, [&b"POST "[..], b"PUT ", b"PATCH "]);
    }

    #[test]
    fn a_method_without_its_space_or_in_other_letters_is_not_a_request() {
        for line in [
            &b"GETS / HTTP/1.1"[..],
            b"get / HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"\r\nGET / HT",
            b"OPTIONS*",
        ] {
            assert_eq!(begin_of(line), Begin::Other, "{line:?}");
        }
    }

    #[test]
    fn a_status_line_is_final_from_200_on_and_where_it_ends_http() {
        assert_eq!(answer_of(b"HTTP/1.1 200"), Answer::Final(200));
        assert_eq!(answer_of(b"HTTP/1.0 503"), Answer::Final(503));
        assert_eq!(answer_of(b"HTTP/1.1 999"), Answer::Final(999));
        assert_eq!(answer_of(b"HTTP/1.1 100"), Answer::Interim);
        assert_eq!(answer_of(b"HTTP/1.1 101"), Answer::Final(101));
        assert_eq!(answer_of(b"HTTP/1.1 199"), Answer::Interim);
        assert_eq!(answer_of(b"HTTP/1.1 099"), Answer::Other);
        assert_eq!(answer_of(b"HTTP/2.0 200"), Answer::Other);
        assert_eq!(answer_of(b"HTTP/1.1-200"), Answer::Other);
        assert_eq!(answer_of(b"HTTP/1.x 200"), Answer::Other);
        assert_eq!(answer_of(b"HTTP/1.1 2x0"), Answer::Other);
    }

    proptest! {
        /// The word tricks against a plain comparison of strings.
        #[test]
        fn begin_agrees_with_string_comparison(
            method in prop::sample::select(&METHODS[..]),
            cut in 0_usize..=9,
            tail in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let (token, _) = method;
            let mut bytes = token[..cut.min(token.len())].to_vec();
            bytes.extend(tail);
            let whole = METHODS.iter().find(|(token, _)| bytes.starts_with(token));
            let expected = match whole {
                Some(&(_, method)) => Begin::Request(method),
                None if !bytes.is_empty() && METHODS.iter().any(|(token, _)| token.starts_with(&bytes)) => Begin::Prefix,
                None => Begin::Other,
            };
            prop_assert_eq!(begin_of(&bytes), expected);
        }

        #[test]
        fn a_beginning_of_a_status_line_is_known_at_every_length(len in 1_usize..12, noise in any::<u8>()) {
            let line = b"HTTP/1.1 200";
            prop_assert!(is_answer_prefix(word(&line[..len]), len));
            let mut other = *line;
            let at = (len - 1).min(6);
            other[at] = noise;
            prop_assert_eq!(is_answer_prefix(word(&other[..len]), len), noise == line[at]);
        }
    }
}
