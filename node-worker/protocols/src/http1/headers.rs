use super::method::is_token;
use crate::trace_context::TraceStateLines;

#[derive(Default)]
pub(super) struct Headers<'a> {
    traceparent: Option<&'a [u8]>,
    traceparent_again: bool,
    pub(super) tracestate: TraceStateLines<'a>,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) complete: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn traceparent(&self) -> Option<&'a [u8]> {
        self.traceparent.filter(|_| !self.traceparent_again)
    }

    fn take(&mut self, line: &'a [u8]) {
        let Some((name, value)) = split(line) else { return };
        // The first letter spares three comparisons for most headers.
        match name[0] | 0x20 {
            b't' if name.eq_ignore_ascii_case(b"traceparent") => {
                self.traceparent_again = self.traceparent.is_some();
                self.traceparent = Some(value);
            }
            b't' if name.eq_ignore_ascii_case(b"tracestate") => self.tracestate.push(value),
            b'u' if name.eq_ignore_ascii_case(b"user-agent") => {
                self.user_agent = self.user_agent.or(Some(value));
            }
            _ => {}
        }
    }
}

/// Reads the header lines that are whole. A bad line is skipped: the request is still one, its server answers 400.
pub(super) fn scan(mut rest: &[u8]) -> Headers<'_> {
    let mut headers = Headers::default();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.is_empty() {
            headers.complete = true;
            break;
        }
        headers.take(line);
        rest = &rest[end + 1..];
    }
    headers
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| !is_token(*byte))?;
    (colon > 0 && line[colon] == b':').then(|| (&line[..colon], line[colon + 1..].trim_ascii()))
}
