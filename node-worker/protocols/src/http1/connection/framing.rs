use super::{Reason, body::Body, line::Line};

/// What the headers of one message say about the length of its body.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// The message is HTTP/1.0, which has no chunks.
    http10: bool,
    length: Option<u64>,
    coding: Coding,
    /// The first thing wrong. It matters only where the message may have a body.
    wrong: Option<Reason>,
    /// The line before was one of ours: a folded line would continue it.
    ours: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    /// Codings that do not mark the end of the body.
    Other,
    /// The last coding is `chunked`, and no other is.
    Chunked,
}

impl Framing {
    pub(super) const fn new(http10: bool) -> Self {
        Self {
            http10,
            length: None,
            coding: Coding::Absent,
            wrong: None,
            ours: false,
        }
    }

    /// Takes one header line.
    pub(super) fn header(&mut self, line: &Line) {
        let result = self.read(line);
        self.wrong = self.wrong.or(result.err());
    }

    fn read(&mut self, line: &Line) -> Result<(), Reason> {
        let bytes = line.start();
        if matches!(bytes, [b' ' | b'\t', ..]) {
            return if self.ours { Err(Reason::Ambiguous) } else { Ok(()) };
        }
        self.ours = false;
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else {
            return Ok(());
        };
        let (name, value) = (&bytes[..colon], &bytes[colon + 1..]);
        let is = |ours: &[u8]| name.trim_ascii().eq_ignore_ascii_case(ours);
        let (is_length, is_coding) = (is(b"content-length"), is(b"transfer-encoding"));
        self.ours = is_length || is_coding;
        match (is_length, is_coding) {
            (false, false) => Ok(()),
            // Some read `Content-Length : 5`, some do not.
            _ if name != name.trim_ascii() => Err(Reason::Ambiguous),
            (true, _) if line.is_cut() => Err(Reason::ContentLength),
            (true, _) => self.lengths(value),
            _ if line.is_cut() => Err(Reason::TransferEncoding),
            _ => self.codings(value),
        }
    }

    /// RFC 9112 section 6.3: a list of equal values is that value.
    fn lengths(&mut self, value: &[u8]) -> Result<(), Reason> {
        for element in value.split(|byte| *byte == b',') {
            let length = number(element.trim_ascii()).ok_or(Reason::ContentLength)?;
            if *self.length.get_or_insert(length) != length {
                return Err(Reason::ContentLength);
            }
        }
        Ok(())
    }

    fn codings(&mut self, value: &[u8]) -> Result<(), Reason> {
        for element in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if self.coding == Coding::Chunked {
                return Err(Reason::TransferEncoding);
            }
            let name = element
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            self.coding = match name.eq_ignore_ascii_case(b"chunked") {
                true if name == element => Coding::Chunked,
                // It has no parameters: whoever ignores them sees chunks, others do not.
                true => return Err(Reason::TransferEncoding),
                false => Coding::Other,
            };
        }
        Ok(())
    }

    fn checked(&self) -> Result<(), Reason> {
        let both = self.coding != Coding::Absent && self.length.is_some();
        let chunks_in_http10 = self.coding != Coding::Absent && self.http10;
        match self.wrong {
            Some(reason) => Err(reason),
            None if both || chunks_in_http10 => Err(Reason::Ambiguous),
            None => Ok(()),
        }
    }

    /// The body of a request; absent when there is none.
    pub(super) fn of_request(&self) -> Result<Option<Body>, Reason> {
        self.checked()?;
        match self.coding {
            Coding::Chunked => Ok(Some(Body::CHUNKED)),
            Coding::Other => Err(Reason::TransferEncoding),
            Coding::Absent => Ok(Body::of_length(self.length.unwrap_or(0))),
        }
    }

    /// The body of an answer that may have one; absent when it is empty.
    pub(super) fn of_answer(&self) -> Result<Option<Body>, Reason> {
        self.checked()?;
        Ok(match (self.coding, self.length) {
            (Coding::Chunked, _) => Some(Body::CHUNKED),
            (Coding::Absent, Some(length)) => Body::of_length(length),
            _ => Some(Body::UntilClose),
        })
    }
}

/// Decimal digits only: no sign, no space, nothing above 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
