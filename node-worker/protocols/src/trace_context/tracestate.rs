use super::{Randomness, Threshold};

/// Characters that the value of the `ot` member may have; a longer one is not read.
pub const MAX_OT_VALUE: usize = 256;
/// Characters and members that a `tracestate` is written with at most (W3C Trace Context section 3.3.1).
pub const MAX_TRACESTATE: usize = 512;
const MAX_MEMBERS: usize = 32;
const MAX_LINES: usize = 4;

/// The `tracestate` header lines of one request, which together are one list. At most four are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceStateLines<'a> {
    lines: [&'a [u8]; MAX_LINES],
    count: usize,
}

impl<'a> TraceStateLines<'a> {
    /// Appends a line; a fifth is ignored.
    pub fn push(&mut self, line: &'a [u8]) {
        if let Some(slot) = self.lines.get_mut(self.count) {
            *slot = line;
            self.count += 1;
        }
    }

    /// The lines in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lines.into_iter().take(self.count)
    }

    /// What OpenTelemetry's member says; empty where there is none.
    #[must_use]
    pub fn ot(&self) -> OtState {
        self.ot_value().map(OtState::parse).unwrap_or_default()
    }

    /// Members as (key, value). Spaces around them are allowed.
    fn members(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .filter_map(|member| split_at(member, b'='))
    }

    /// The leftmost is the one written last (W3C section 3.5: a changed member moves to the front), so it wins.
    fn ot_value(&self) -> Option<&'a [u8]> {
        self.members().find(|(key, _)| *key == b"ot").map(|(_, value)| value)
    }

    /// Appends the list with `ot` in front, as whoever changed a member must, and everybody else's members behind it. Other
    /// keys within the `ot` member stay. What does not fit into [`MAX_TRACESTATE`] is left out from the right. All of it is ASCII.
    pub fn write_with(&self, ot: OtState, out: &mut Vec<u8>) {
        let start = out.len();
        ot.write(self.ot_value().unwrap_or_default(), out);
        let has_ot = out.len() > start;
        let others = self
            .members()
            .filter(|(key, value)| *key != b"ot" && printable(key) && printable(value));
        for (key, value) in others.take(MAX_MEMBERS - usize::from(has_ot)) {
            let written = out.len() - start;
            if written + 1 + key.len() + 1 + value.len() > MAX_TRACESTATE {
                break;
            }
            if written > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// OpenTelemetry's member of `tracestate`, `ot=th:…;rv:…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OtState {
    /// The threshold with which the parent was sampled.
    pub th: Option<Threshold>,
    /// The trace's explicit randomness.
    pub rv: Option<Randomness>,
}

impl OtState {
    /// Reads the member's value. Of a key that comes twice the last valid one wins, as in OpenTelemetry's own parser.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut state = Self::default();
        if value.len() > MAX_OT_VALUE {
            return state;
        }
        for (key, value) in value
            .split(|byte| *byte == b';')
            .filter_map(|pair| split_at(pair, b':'))
        {
            match key {
                b"th" => state.th = Threshold::parse(value).or(state.th),
                b"rv" => state.rv = Randomness::parse(value).or(state.rv),
                _ => {}
            }
        }
        state
    }

    fn write(self, old: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if let Some(th) = self.th {
            out.extend_from_slice(b"ot=th:");
            th.write(out);
        }
        if let Some(rv) = self.rv {
            start_pair(start, out);
            out.extend_from_slice(b"rv:");
            rv.write(out);
        }
        if old.len() > MAX_OT_VALUE {
            return;
        }
        for pair in old.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let foreign = split_at(pair, b':').is_some_and(|(key, _)| key != b"th" && key != b"rv");
            if foreign && printable(pair) && out.len() - start + 1 + pair.len() <= "ot=".len() + MAX_OT_VALUE {
                start_pair(start, out);
                out.extend_from_slice(pair);
            }
        }
    }
}

fn start_pair(start: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(if out.len() == start { b"ot=" } else { b";" });
}

fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
}

fn printable(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}
