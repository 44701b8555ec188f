//! What is looked for in the header lines of a request: who asks, and in which trace.
//!
//! Words are eight bytes in memory order as a little-endian integer: line ends are found eight bytes at a time, and a name is
//! compared in two instructions. Anything out of the ordinary is left to user space, which reads the head again.

use crate::{HEAD_BYTES, http1::word_of};

/// The caller is the kubelet: no user sees the answer.
pub const PROBE: u32 = 1;
/// The caller is Prometheus.
pub const SCRAPE: u32 = 2;
/// Something that only user space reads: a `tracestate`, a second `traceparent`, one of another version.
pub const ASK: u32 = 4;

/// Header lines that are looked at, each with its name and no more words than it has; a head with more is read in user space.
const MAX_LINES: usize = 32;
/// Mark for heads with more lines.
const TOO_MANY: usize = 2;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const LINE_END: u64 = 0x0a * ONES;
/// Folds ASCII letters to lower case; what it does to other bytes it does to both sides.
const FOLD: u64 = 0x20 * ONES;
const TRACEPAR: u64 = word_of(b"tracepar");
const TRACESTA: u64 = word_of(b"tracesta");
const USER_AGE: u64 = word_of(b"user-age");
/// Bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Bytes of `kube-probe/`, and of `Prometheus/`.
const AGENT_BYTES: usize = 11;

/// What the header lines say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// [`PROBE`], [`SCRAPE`] and [`ASK`].
    pub flags: u32,
    /// Where the value of `traceparent` begins; 0: there is none.
    pub parent_at: usize,
    /// Where the head ends, behind its empty line; 0: not within what is kept of it.
    pub end: usize,
}

/// The caller's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace id, its high half first.
    pub trace: [u64; 2],
    /// The low 56 bits of the trace id.
    pub randomness: u64,
    /// The caller sampled its span.
    pub sampled: bool,
}

/// Whether the value of a `traceparent` begins at `at`.
#[inline(always)]
pub fn is_parent_at(at: usize, word: impl Fn(usize) -> u64) -> bool {
    let name = at.wrapping_sub(12);
    word(name) | FOLD == TRACEPAR
        && word(name.wrapping_add(8)) & mask(4) | FOLD & mask(4) == word_of(b"ent:")
        && word(name.wrapping_sub(1)) as u8 == b'\n'
}

/// Whether a target that ends at `end` is one that OTLP exports spans to over HTTP: from that user space knows that the process makes spans
/// of its own.
#[inline(always)]
pub fn is_export(end: usize, word: impl Fn(usize) -> u64) -> bool {
    word(end.wrapping_sub(10)) == word_of(b"/v1/trac") && word(end.wrapping_sub(8)) == word_of(b"1/traces")
}

/// Where the lines begin that are looked for; 0: there is none.
struct Lines {
    parent: usize,
    parents: usize,
    state: usize,
    agent: usize,
    end: usize,
}

/// Reads the header lines of a head of `len` bytes whose request line's target ends at `from`. `word` gives the eight bytes at an
/// offset below [`HEAD_BYTES`], of whatever lies behind the head too. `zero`: see [`shape::target`](crate::shape::target).
#[inline(always)]
pub fn headers(from: usize, len: usize, zero: impl Fn() -> usize, word: impl Fn(usize) -> u64) -> Headers {
    let lines = find(from, len, zero, &word);
    let mut flags = 0;
    // Whatever its name goes on with: only the last such line is known here.
    if lines.state != 0 {
        flags |= ASK;
    }
    if lines.agent != 0 && word(lines.agent + 8) & mask(3) | FOLD & mask(3) == word_of(b"nt:") {
        let at = lines.agent + 11;
        let at = at + usize::from(word(at) as u8 == b' ');
        if at + AGENT_BYTES <= len {
            flags |= caller(word(at), word(at + 8) & mask(3));
        }
    }
    let has_parent = lines.parent != 0 && word(lines.parent + 8) & mask(4) | FOLD & mask(4) == word_of(b"ent:");
    if lines.parents > 1 {
        flags |= ASK;
    }
    Headers {
        flags,
        parent_at: if has_parent { lines.parent + 12 } else { 0 },
        end: if lines.end > len { 0 } else { lines.end },
    }
}

#[inline(always)]
fn find(from: usize, len: usize, zero: impl Fn() -> usize, word: &impl Fn(usize) -> u64) -> Lines {
    let mut lines = Lines {
        parent: zero(),
        parents: zero(),
        state: zero(),
        agent: zero(),
        end: zero(),
    };
    let mut at = from;
    // One loop for words and lines: within a second one the verifier would follow every line's every word on its own.
    for _ in 0..HEAD_BYTES / 8 + MAX_LINES {
        // Not where in the head, as far as the verifier knows, for the same reason; and no copy may be known to be one.
        at = at.wrapping_add(zero());
        if at >= len {
            return lines;
        }
        let ends = line_ends(word(at));
        if ends == 0 {
            at = at.wrapping_add(8);
            continue;
        }
        at = at.wrapping_add(first_byte(ends) + 1).wrapping_add(zero());
        let name = word(at);
        match name | FOLD | beyond(at.wrapping_add(12), len) {
            TRACEPAR => {
                lines.parent = at.wrapping_add(zero());
                lines.parents += 1;
            }
            TRACESTA => lines.state = at.wrapping_add(zero()),
            USER_AGE => lines.agent = at.wrapping_add(zero()),
            _ => {}
        }
        let blank = empty_line(name);
        if blank != 0 {
            lines.end = at.wrapping_add(blank);
            return lines;
        }
    }
    lines.parents = TOO_MANY;
    lines
}

/// Bytes of the empty line that a word begins with; 0: with none. It ends the head.
#[inline(always)]
const fn empty_line(word: u64) -> usize {
    if word as u8 == b'\n' {
        1
    } else if word & mask(2) == word_of(b"\r\n") {
        2
    } else {
        0
    }
}

/// All bits where `at` lies behind `len`, else none. By arithmetic: a branch would double what the verifier has to follow.
#[inline(always)]
const fn beyond(at: usize, len: usize) -> u64 {
    (len as u64)
        .wrapping_sub(at as u64)
        .cast_signed()
        .wrapping_shr(u64::BITS - 1)
        .cast_unsigned()
}

/// Who asks, by the first [`AGENT_BYTES`] of a `User-Agent`: `kube-proxy` and `PrometheusOperator` are others.
#[inline(always)]
const fn caller(first: u64, rest: u64) -> u32 {
    const KUBE_PROBE: (u64, u64) = (word_of(b"kube-pro"), word_of(b"be/"));
    const PROMETHEUS: (u64, u64) = (word_of(b"Promethe"), word_of(b"us/"));
    if first == KUBE_PROBE.0 && rest == KUBE_PROBE.1 {
        PROBE
    } else if first == PROMETHEUS.0 && rest == PROMETHEUS.1 {
        SCRAPE
    } else {
        0
    }
}

/// Reads the value of a `traceparent`. `Err`: user space has to look at it. `Ok(None)`: it is none, and the trace begins here.
#[inline(always)]
#[expect(clippy::result_unit_err, reason = "what is wrong only user space says")]
pub fn parent(at: usize, len: usize, word: impl Fn(usize) -> u64) -> Result<Option<Parent>, ()> {
    let at = if word(at) as u8 == b' ' { at + 1 } else { at };
    let is_plain = word(at) & mask(3) == word_of(b"00-");
    let end = at + PARENT_BYTES;
    let behind = word(end);
    let is_end = behind as u8 == b'\n' || behind & mask(2) == word_of(b"\r\n");
    if !is_plain || end + 1 >= len || at > HEAD_BYTES - 64 || !is_end {
        return Err(());
    }
    let id = [
        hex(word(at + 3)),
        hex(word(at + 11)),
        hex(word(at + 19)),
        hex(word(at + 27)),
    ];
    let span = [hex(word(at + 36)), hex(word(at + 44))];
    let flags = hex(word(at + 53) & mask(2) | word_of(b"\x00\x00000000"));
    let dashes = word(at + 35) as u8 == b'-' && word(at + 52) as u8 == b'-';
    let [Some(first), Some(second), Some(third), Some(last)] = id else {
        return Ok(None);
    };
    let ([Some(high), Some(low)], Some(flags)) = (span, flags) else {
        return Ok(None);
    };
    if !dashes || first | second | third | last == 0 || high | low == 0 {
        return Ok(None);
    }
    Ok(Some(Parent {
        trace: [first << 32 | second, third << 32 | last],
        randomness: (third << 32 | last) & ((1 << 56) - 1),
        sampled: flags >> 24 & 1 == 1,
    }))
}

/// The high bit of every byte that is a line feed. Exact up to the first; above it a byte of 0x0b may look like one, which begins
/// no line that is looked for.
#[inline(always)]
const fn line_ends(word: u64) -> u64 {
    let zeroed = word ^ LINE_END;
    zeroed.wrapping_sub(ONES) & !zeroed & HIGHS
}

/// The index of the lowest byte whose high bit is set. By a multiplication: there is no instruction for it.
#[inline(always)]
pub(crate) const fn first_byte(highs: u64) -> usize {
    let lowest = (highs & highs.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize & 7
}

/// Eight lower-case hexadecimal digits as a number; none where one of them is something else.
#[inline(always)]
const fn hex(word: u64) -> Option<u64> {
    let digits = (word & (0x0f * ONES)) + 9 * ((word >> 6) & ONES);
    let from_ten = ((digits + 6 * ONES) >> 4) & ONES;
    let written = digits + 0x30 * ONES + 0x27 * from_ten;
    if written != word || digits & (0xf0 * ONES) != 0 {
        return None;
    }
    let bytes = (digits << 4 | digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes << 8 | bytes >> 16) & 0x0000_ffff_0000_ffff;
    Some((halves << 16 | halves >> 32) & 0xffff_ffff)
}

#[inline(always)]
const fn mask(bytes: usize) -> u64 {
    (1 << (bytes * 8)) - 1
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn word_at(bytes: &[u8], at: usize) -> u64 {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    }

    fn read(head: &str) -> (Headers, Option<Result<Option<Parent>, ()>>) {
        let word = |at| word_at(head.as_bytes(), at);
        let found = headers(5, head.len(), || 0, word);
        let parent = (found.parent_at > 0).then(|| parent(found.parent_at, head.len(), word));
        (found, parent)
    }

    fn head(lines: &str) -> String {
        std::format!("GET / HTTP/1.1\r\nHost: shop\r\n{lines}\r\n")
    }

    #[test]
    fn the_callers_trace_is_found_at_any_offset_and_in_any_case() {
        for padding in 0..40 {
            let lines = std::format!("X: {}\r\nTraceParent: {PARENT}\r\nAccept: */*\r\n", "a".repeat(padding));
            let expected = Parent {
                trace: [0x0af7_6519_16cd_43dd, 0x8448_eb21_1c80_319c],
                randomness: 0x48_eb21_1c80_319c,
                sampled: true,
            };
            assert_eq!(
                read(&head(&lines)),
                (read(&head(&lines)).0, Some(Ok(Some(expected)))),
                "{padding}"
            );
        }
    }

    #[test]
    fn an_export_of_spans_is_known_by_the_end_of_its_target() {
        for (target, expected) in [
            ("/v1/traces", true),
            ("/otlp/v1/traces", true),
            ("/v1/metrics", false),
            ("/v2/traces", false),
            ("/v1/traces/", false),
            ("/", false),
        ] {
            let head = std::format!("POST {target} HTTP/1.1\r\n");
            let end = "POST ".len() + target.len();
            assert_eq!(is_export(end, |at| word_at(head.as_bytes(), at)), expected, "{target}");
        }
    }

    #[test]
    fn a_place_is_that_of_a_traceparent_only_with_its_name_on_a_line_of_its_own() {
        let head = head(&std::format!("X-traceparent: {PARENT}\r\nTraceparent: {PARENT}\r\n"));
        let places = (13..head.len()).filter(|at| is_parent_at(*at, |at| word_at(head.as_bytes(), at)));
        assert!(places.eq([read(&head).0.parent_at]));
    }

    #[test]
    fn the_end_of_the_head_is_where_its_empty_line_ends() {
        for lines in ["", "A: 1\r\n", "Accept: text/html\r\nA:\r\n"] {
            let whole = head(lines);
            assert_eq!(read(&whole).0.end, whole.len(), "{whole}");
            assert_eq!(
                read(&std::format!("{whole}GET /next HTTP/1.1\r\n\r\n")).0.end,
                whole.len()
            );
            assert_eq!(read(&whole[..whole.len() - 1]).0.end, 0);
            assert_eq!(read(&whole[..whole.len() - 2]).0.end, 0);
        }
        assert_eq!(read("GET / HTTP/1.1\nA: 1\n\nbody").0.end, 21);
    }

    #[test]
    fn probes_and_scrapes_are_told_from_callers() {
        assert_eq!(read(&head("User-Agent: kube-probe/1.36\r\n")).0.flags, PROBE);
        assert_eq!(read(&head("user-agent:Prometheus/3.0\r\n")).0.flags, SCRAPE);
        assert_eq!(read(&head("User-Agent: curl/8\r\nX: kube-probe/1\r\n")).0.flags, 0);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_user_space() {
        let twice = std::format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n");
        assert_eq!(read(&head(&twice)).0.flags, ASK);
        assert_eq!(read(&head("tracestate: ot=rv:1\r\n")).0.flags, ASK);
        let newer = std::format!("traceparent: {}\r\n", PARENT.replacen("00", "01", 1));
        assert_eq!(read(&head(&newer)).1, Some(Err(())));
    }

    #[test]
    fn a_body_is_no_header() {
        let body = std::format!("{}traceparent: {PARENT}\r\n", head(""));
        assert_eq!(read(&body).1, None);
    }

    #[test]
    fn a_broken_traceparent_begins_a_new_trace() {
        for (from, to) in [
            ("0af7", "0aG7"),
            ("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            ("-b7", "_b7"),
            ("3331-01", "3331-0x"),
        ] {
            let lines = std::format!("traceparent: {}\r\n", PARENT.replacen(from, to, 1));
            assert_eq!(read(&head(&lines)).1, Some(Ok(None)), "{lines}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_words_are_read_as_std_reads_them(text in "[0-9a-gA-F:/]{8}") {
            let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let expected = u64::from_str_radix(&text, 16).ok().filter(|_| lower);
            prop_assert_eq!(hex(word_at(text.as_bytes(), 0)), expected);
        }
    }
}
