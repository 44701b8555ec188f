//! Pairs requests with answers on one HTTP/1.x connection of which every transfer is known, in order (RFC 9112).
//!
//! The kernel follows the one common shape by itself. A connection that leaves it (split heads, pipelining, bodies that are read
//! after their answer) comes here as [`Segment`]s: what each transfer carried, of which only the beginning may be kept.
//!
//! ```text
//!   request side   blank lines ▸ head ▸ body by length or chunks ▸ …      each whole head waits in a queue
//!   answer side    status line ▸ head ▸ body by length, chunks or close   each final status takes the queue's front
//! ```
//!
//! An exchange is emitted once, when its final status line is whole; a request that is still waiting at the close is emitted
//! without a status. Both sides are lenient where servers and clients are (bare LF, empty lines before a head, chunk extensions),
//! and strict where lenience would make a guess: whatever leaves the end of a message open ([`Reason`]) ends the pairing, by name
//! and for good, and nothing more is emitted.
//!
//! **Gaps.** Bytes that a transfer carried and nobody kept may lie within a body, and over the line end behind a chunk. Anywhere
//! else they may hide a message, with one exception: no answer can be written before its request is read. Where no other request
//! had begun, a gap behind a final status line hides that answer's bytes only. The end of that answer is then not known; the
//! next one is known by its status line at the first byte of a transfer, the rule of the kernel.
//!
//! **Bounds.** A connection takes less than 1.5 KiB, and a queue of up to [`MAX_OUTSTANDING`] requests with
//! [`MAX_REQUEST_HEAD`] bytes each, about 34 KiB, which grows as it is needed and is kept for reuse; nothing else is allocated.
//! Time is linear in the bytes kept, whatever they are: there is no recursion, and only the request line is looked at twice.

mod answer;
mod body;
mod framing;
mod gave_up;
mod line;
mod request;

use answer::Answers;
pub use gave_up::{GaveUp, Reason};
use request::Requests;

/// Requests of one connection that may wait for their answers.
pub const MAX_OUTSTANDING: usize = 64;
/// Bytes of a request's head that an [`Exchange`] shows: as many as [`parse_head`](super::parse_head) reads.
pub const MAX_REQUEST_HEAD: usize = super::MAX_WINDOW;
/// Bytes that a head, a chunk's line or the trailers may have: what Go's server takes, the most among common servers.
pub const MAX_SECTION: usize = 1 << 20;

/// The direction of a transfer. At a server requests are read and answers written, at a client the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Answer,
}

/// What one system call transferred.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The direction.
    pub side: Side,
    /// When the system call returned, in nanoseconds on the clock of all other segments.
    pub time_ns: u64,
    /// Bytes transferred.
    pub total_len: u64,
    /// The first of these bytes; the rest is a gap. Bytes beyond `total_len` are not looked at.
    pub captured: &'a [u8],
}

/// A request with its answer, or a request that never got one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// When the first byte of the request was transferred.
    pub start_ns: u64,
    /// When the final status line was transferred to its end, or the connection was closed. At least `start_ns`.
    pub end_ns: u64,
    /// The first bytes of the request, at most [`MAX_REQUEST_HEAD`], nothing behind the head among them. Shorter than the head
    /// also where the answer came before the head's end.
    pub head: &'a [u8],
    /// The request was transferred to the end of its body before its answer, or before the close.
    pub whole: bool,
    /// 101 or 200 to 999; absent when the connection was closed before the answer.
    pub status: Option<u16>,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    requests: Requests,
    answers: Answers,
    gave_up: Option<GaveUp>,
}

impl Connection {
    /// A connection of which every transfer will be fed.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            requests: Requests::new(),
            answers: Answers::new(),
            gave_up: None,
        }
    }

    /// A connection whose earlier requests somebody else paired, all but perhaps the last: what is known of that one is fed as
    /// the first segment, with its own time and length. The rest of an earlier answer may still be written.
    #[must_use]
    pub const fn resumed() -> Self {
        Self {
            requests: Requests::new(),
            answers: Answers::resumed(),
            gave_up: None,
        }
    }

    /// The oldest request of a [`resumed`](Self::resumed) connection was answered before the second segment, and somebody else paired
    /// it: it is emitted no more, and the rest of its answer may still be written. A CONNECT is given up, because its answer says what
    /// follows.
    pub fn answered(&mut self) -> Result<(), GaveUp> {
        if let Some(gave_up) = self.gave_up {
            return Err(gave_up);
        }
        self.answers = Answers::resumed();
        self.requests.forget_first().map_err(|reason| self.give_up(reason))
    }

    /// Takes the next transfer and emits the exchanges that it finishes, in the order of their requests.
    ///
    /// After the first error every call returns that error again and emits nothing. What follows an answer that ends HTTP on
    /// the connection (101, or 2xx to CONNECT) is ignored.
    pub fn feed(&mut self, segment: Segment<'_>, emit: &mut impl FnMut(Exchange<'_>)) -> Result<(), GaveUp> {
        if let Some(gave_up) = self.gave_up {
            return Err(gave_up);
        }
        if self.answers.ended_http() {
            return Ok(());
        }
        let transfer = Transfer::of(segment);
        let result = match segment.side {
            Side::Request => self.requests.feed(transfer),
            Side::Answer => self.answers.feed(transfer, &mut self.requests, emit),
        };
        result.map_err(|reason| self.give_up(reason))
    }

    /// Emits the requests that were never answered. The connection is then as [`new`](Self::new), with its memory kept.
    pub fn close(&mut self, time_ns: u64, emit: &mut impl FnMut(Exchange<'_>)) {
        if self.gave_up.is_none() && !self.answers.ended_http() {
            self.requests.abort(time_ns, emit);
        }
        self.requests.reset();
        self.answers = Answers::new();
        self.gave_up = None;
    }

    /// Requests whose heads are whole and whose answers have not come, at most [`MAX_OUTSTANDING`].
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.requests.outstanding()
    }

    fn give_up(&mut self, reason: Reason) -> GaveUp {
        let unanswered = self.requests.outstanding();
        let gave_up = GaveUp { reason, unanswered };
        self.gave_up = Some(gave_up);
        self.requests.reset();
        gave_up
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// A segment without its direction.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    time_ns: u64,
    bytes: &'a [u8],
    /// Bytes behind `bytes` that were not kept.
    gap: u64,
}

impl<'a> Transfer<'a> {
    fn of(segment: Segment<'a>) -> Self {
        let total = usize::try_from(segment.total_len).unwrap_or(usize::MAX);
        let bytes = &segment.captured[..segment.captured.len().min(total)];
        Self {
            time_ns: segment.time_ns,
            bytes,
            gap: segment.total_len - bytes.len() as u64,
        }
    }
}

/// Skips CR and LF in front of a message.
fn skip_blank(input: &mut &[u8]) {
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    *input = &input[blank..];
}

#[cfg(test)]
mod tests;
