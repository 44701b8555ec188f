use super::{MAX_SECTION, Reason};

/// Bytes at the front of a line that are kept: more than a status, a chunk's size or a header that tells a length needs.
const START: usize = 128;
/// ` HTTP/1.1` and the CR.
const END: usize = 10;

/// A line that comes in pieces. Only its start and its end are kept.
#[derive(Debug)]
pub(super) struct Line {
    start: [u8; START],
    end: [u8; END],
    len: usize,
    /// Bytes of the section that this line is in.
    section: usize,
    whole: bool,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            start: [0; START],
            end: [0; END],
            len: 0,
            section: 0,
            whole: false,
        }
    }

    /// Begins a head, a chunk's line or the trailers.
    pub(super) const fn begin_section(&mut self) {
        self.len = 0;
        self.section = 0;
        self.whole = false;
    }

    /// Takes bytes up to the line's LF and with it. Returns whether the line is whole; the next call then begins another.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<bool, Reason> {
        if self.whole {
            self.len = 0;
        }
        let line_feed = input.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = input.split_at(line_feed.unwrap_or(input.len()));
        *input = rest.get(1..).unwrap_or_default();
        self.push(piece);
        self.whole = line_feed.is_some();
        self.section += piece.len() + usize::from(self.whole);
        if self.section > MAX_SECTION {
            return Err(Reason::TooLong);
        }
        Ok(self.whole)
    }

    fn push(&mut self, piece: &[u8]) {
        let at = self.len.min(START);
        let kept = piece.len().min(START - at);
        self.start[at..at + kept].copy_from_slice(&piece[..kept]);
        let last = piece.len().min(END);
        self.end.copy_within(last.., 0);
        self.end[END - last..].copy_from_slice(&piece[piece.len() - last..]);
        self.len += piece.len();
    }

    /// Whether the line has no bytes yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.len == 0
    }

    /// The line's first bytes, without the CR that ends it.
    pub(super) fn start(&self) -> &[u8] {
        let start = &self.start[..self.len.min(START)];
        match start.strip_suffix(b"\r") {
            Some(start) if !self.is_cut() => start,
            _ => start,
        }
    }

    /// The line's last bytes, without the CR that ends it. What an earlier line left may stand in front of a short one.
    pub(super) fn end(&self) -> &[u8] {
        self.end.strip_suffix(b"\r").unwrap_or(&self.end)
    }

    /// Whether the line is longer than its [`start`](Self::start).
    pub(super) const fn is_cut(&self) -> bool {
        self.len > START
    }

    /// Whether there is nothing in the line but its end.
    pub(super) fn is_blank(&self) -> bool {
        self.start().is_empty()
    }
}
