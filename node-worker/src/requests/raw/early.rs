//! Answers that were told a moment before the reset of their connection: the two are told by different processors.

use std::collections::VecDeque;

use shoalwatch_protocols::http1::connection::{Segment, Side};

use super::followed::Owner;
use crate::loader::RawEvent;

/// Answers that are remembered: the one that is looked for came last, or nearly.
const MAX_EARLY: usize = 64;
/// Bytes of each: a status line.
const EARLY_BYTES: usize = 128;
/// How an answer begins.
const ANSWER: &[u8] = b"HTTP/1.";

/// One of them.
#[derive(Debug)]
pub(super) struct Early {
    sock: u64,
    pub(super) owner: Owner,
    time_ns: u64,
    total_len: u64,
    /// The kernel paired and counted it.
    pub(super) counted: bool,
    bytes: [u8; EARLY_BYTES],
    captured: usize,
}

impl Early {
    fn of(event: &RawEvent<'_>, segment: &Segment<'_>, counted: bool) -> Self {
        let bytes = segment.captured;
        let captured = bytes.len().min(EARLY_BYTES);
        let mut kept = [0; EARLY_BYTES];
        kept[..captured].copy_from_slice(&bytes[..captured]);
        Self {
            sock: event.sock,
            owner: Owner::of(event, None),
            time_ns: event.time_ns,
            total_len: segment.total_len,
            counted,
            bytes: kept,
            captured,
        }
    }

    pub(super) fn segment(&self) -> Segment<'_> {
        Segment {
            side: Side::Answer,
            time_ns: self.time_ns,
            total_len: self.total_len,
            captured: &self.bytes[..self.captured],
        }
    }
}

/// The latest of them.
#[derive(Debug)]
pub(super) struct EarlyAnswers(VecDeque<Early>);

impl EarlyAnswers {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(MAX_EARLY))
    }

    /// Remembers what may be an answer.
    pub(super) fn push(&mut self, event: &RawEvent<'_>, segment: &Segment<'_>, counted: bool) {
        if !counted && !segment.captured.starts_with(ANSWER) {
            return;
        }
        if self.0.len() == MAX_EARLY {
            self.0.pop_front();
        }
        self.0.push_back(Early::of(event, segment, counted));
    }

    /// The oldest on a connection that is not older than its request.
    pub(super) fn take(&mut self, sock: u64, since_ns: u64) -> Option<Early> {
        let found = |early: &Early| early.sock == sock && early.time_ns >= since_ns;
        let place = self.0.iter().position(found)?;
        self.0.remove(place)
    }
}
