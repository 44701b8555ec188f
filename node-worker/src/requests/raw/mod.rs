//! Connections that the kernel does not pair by itself: their transfers are paired here.
//!
//! ```text
//!   Open ──▶ Segment, Segment, … ──▶ Close         requests with their answers, as they come; at the close those without
//!   Ended, Close by a reset ──▶ Orphan              an answer written just before: waited for, then there was none
//! ```
//! What is emitted was paired with certainty, and each request once. What was not is counted as lost, by reason, and is good for no SLI:
//! where a connection is given up, the requests that were waiting and those that later transfers begin with; where the kernel told
//! no more of a connection, the requests that were waiting then. The connections themselves are as many as an option says; each takes
//! what a [`Connection`](shoalwatch_protocols::http1::connection::Connection) does.

mod early;
mod followed;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use shoalwatch_pipeline::loss::Loss;
use shoalwatch_protocols::{
    http1::connection::{Segment, Side},
    http2,
};

use super::came::Came;
use crate::{
    counters::{Count, Counters},
    loader::{RawEvent, RawKind, RawNews, RawRequest, RequestEvent, UnderWay, http1},
};
use early::EarlyAnswers;
use followed::{Followed, Owner, Reset};

/// Connections that are followed at once, unless an option says otherwise.
pub(crate) const DEFAULT_MAX_RAW_CONNECTIONS: usize = 1024;

/// How long an answer may be told after its connection was reset.
const RESET_NS: u64 = 1_000_000_000;
/// Looks into the ring that an answer may take as well: a look that was late may find a reset that is old.
const RESET_LOOKS: u64 = 2;
/// A connection without news for so long is forgotten: the kernel may have stopped telling of it.
const SILENCE_NS: u64 = 600_000_000_000;
/// How often such connections are looked for.
const SWEEP_NS: u64 = 10_000_000_000;

/// What is said of requests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said<'a> {
    /// One is over, in the form in which the kernel tells those that it did not count; and how much of it came.
    Request(RequestEvent<'a>, Came),
    /// Some could not be paired.
    Lost(Lost),
    /// A process exports spans of its own.
    Exports {
        /// The kernel's number of the service.
        service: u32,
        tgid: u32,
    },
}

/// Requests that could not be paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) loss: Loss,
    pub(super) requests: u64,
    /// The kernel's number of the service, and the process that it is of.
    pub(super) service: u32,
    pub(super) tgid: u32,
}

/// Who is told.
pub(super) type Hear<'a> = &'a mut dyn FnMut(Said<'_>);

/// All connections that are followed here.
#[derive(Debug)]
pub(super) struct RawConnections {
    max: usize,
    by_sock: HashMap<u64, Box<Followed>>,
    /// The addresses of those that were reset, in that order.
    resets: VecDeque<u64>,
    early: EarlyAnswers,
    looks: u64,
    next_sweep_ns: u64,
    counters: Arc<Counters>,
}

impl RawConnections {
    pub(super) fn new(max: usize, counters: Arc<Counters>) -> Self {
        Self {
            max,
            by_sock: HashMap::new(),
            resets: VecDeque::new(),
            early: EarlyAnswers::new(),
            looks: 0,
            next_sweep_ns: 0,
            counters,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_sock.len()
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// Takes one record. `now_ns`: the time of this look, on the monotonic clock.
    pub(super) fn take(&mut self, event: &RawEvent<'_>, now_ns: u64, hear: Hear<'_>) {
        self.counters.one(count_of(event.news.kind()));
        match event.news {
            RawNews::Open { under_way, request } => self.open(event, under_way, &request, now_ns, hear),
            RawNews::Segment { answer, bytes } => self.segment(event, transfer(event, answer, bytes), now_ns, hear),
            RawNews::Close { reset: false } => self.close(event, hear),
            RawNews::Close { reset: true } => self.reset(event, event.opened_ns, now_ns, hear),
            RawNews::Ended {
                reset: true,
                under_way,
                request,
            } => {
                self.open(event, under_way, &request, now_ns, hear);
                self.reset(event, request.start_ns, now_ns, hear);
            }
            RawNews::Ended {
                reset: false,
                under_way,
                request,
            } => {
                self.supersede(event.sock, hear);
                self.take_up(event, under_way, &request, now_ns, hear)
                    .close(event, hear);
            }
            RawNews::Orphan { answer, bytes, counted } => {
                self.orphan(event, transfer(event, answer, bytes), counted, hear);
            }
            RawNews::Http2 { bytes } if http2::exports_spans(bytes) => {
                hear(Said::Exports {
                    service: event.service,
                    tgid: event.tgid,
                });
            }
            RawNews::Http2 { .. } => {}
        }
    }

    fn open(
        &mut self,
        event: &RawEvent<'_>,
        under_way: UnderWay,
        request: &RawRequest<'_>,
        now_ns: u64,
        hear: Hear<'_>,
    ) {
        self.supersede(event.sock, hear);
        let followed = self.take_up(event, under_way, request, now_ns, hear);
        if self.by_sock.len() < self.max {
            self.counters.one(Count::RawFollowed);
            self.by_sock.insert(event.sock, followed);
        } else {
            self.counters.one(Count::RawRefused);
            followed.refuse(under_way == UnderWay::Waiting && !request.head.is_empty(), hear);
        }
    }

    fn take_up(
        &self,
        event: &RawEvent<'_>,
        under_way: UnderWay,
        request: &RawRequest<'_>,
        now_ns: u64,
        hear: Hear<'_>,
    ) -> Box<Followed> {
        let mut followed = Box::new(Followed::new(event, request.peer, now_ns));
        if followed.take_up(under_way, request, hear) {
            self.counters.one(Count::RawGivenUp);
        }
        followed
    }

    /// The address is another connection's now.
    fn supersede(&mut self, sock: u64, hear: Hear<'_>) {
        let Some(mut old) = self.by_sock.remove(&sock) else {
            return;
        };
        if old.reset.is_some() {
            self.resets.retain(|other| *other != sock);
            old.abort(hear);
        } else {
            self.counters.one(Count::RawUntold);
            old.lose_rest(hear);
        }
    }

    fn segment(&mut self, event: &RawEvent<'_>, segment: Segment<'_>, now_ns: u64, hear: Hear<'_>) {
        let owner = Owner::of(event, None);
        match self.followed(event) {
            Some(followed) => {
                followed.heard_ns = now_ns;
                if followed.feed(owner, segment, hear) {
                    self.counters.one(Count::RawGivenUp);
                }
            }
            None if segment.side == Side::Request && begins_request(segment.captured) => {
                owner.lose(Loss::RawUnknownConnection, 1, hear);
            }
            None => {}
        }
    }

    fn close(&mut self, event: &RawEvent<'_>, hear: Hear<'_>) {
        if self.followed(event).is_none_or(|followed| followed.reset.is_some()) {
            return;
        }
        if let Some(mut followed) = self.by_sock.remove(&event.sock) {
            followed.close(event, hear);
        }
    }

    /// `since_ns`: no answer that is waited for is older.
    fn reset(&mut self, event: &RawEvent<'_>, since_ns: u64, now_ns: u64, hear: Hear<'_>) {
        // What was not told of it may have been answers.
        if is_muted(event) {
            return self.close(event, hear);
        }
        let looks = self.looks;
        let Some(followed) = self.followed(event) else { return };
        if followed.is_given_up() {
            self.by_sock.remove(&event.sock);
            return;
        }
        if followed.reset.is_some() {
            return;
        }
        followed.reset = Some(Reset {
            time_ns: event.time_ns,
            until_ns: now_ns.saturating_add(RESET_NS),
            until_look: looks + RESET_LOOKS,
        });
        self.resets.push_back(event.sock);
        if let Some(early) = self.early.take(event.sock, since_ns) {
            self.answer_reset(event.sock, early.owner, (early.segment(), early.counted), hear);
        }
    }

    /// Its connection was reset before, or will be in a moment, or nobody knows it.
    fn orphan(&mut self, event: &RawEvent<'_>, segment: Segment<'_>, counted: bool, hear: Hear<'_>) {
        let line = status_line(segment.captured);
        let segment = if segment.total_len > segment.captured.len() as u64 {
            Segment {
                total_len: line.len() as u64,
                captured: &line,
                ..segment
            }
        } else {
            segment
        };
        if !self.answer_reset(event.sock, Owner::of(event, None), (segment, counted), hear) {
            self.early.push(event, &segment, counted);
        }
    }

    /// Returns whether the connection at that address was reset.
    fn answer_reset(
        &mut self,
        sock: u64,
        owner: Owner,
        (segment, counted): (Segment<'_>, bool),
        hear: Hear<'_>,
    ) -> bool {
        let Some(followed) = self.by_sock.get_mut(&sock).filter(|followed| followed.reset.is_some()) else {
            return false;
        };
        if counted {
            // Its only request: what the kernel pairs has not left the fast path.
            self.by_sock.remove(&sock);
            self.resets.retain(|other| *other != sock);
            return true;
        }
        if followed.feed(owner, segment, hear) {
            self.counters.one(Count::RawGivenUp);
        }
        true
    }

    /// The connection that a record is about.
    fn followed(&mut self, event: &RawEvent<'_>) -> Option<&mut Followed> {
        let followed = self.by_sock.get_mut(&event.sock)?;
        (followed.opened_ns == event.opened_ns).then_some(followed)
    }

    /// Everything that waited in the ring at `now_ns` was taken.
    pub(super) fn look_ends(&mut self, now_ns: u64, hear: Hear<'_>) {
        self.looks += 1;
        let looks = self.looks;
        self.settle(|reset| reset.until_ns <= now_ns && reset.until_look <= looks, hear);
        if now_ns >= self.next_sweep_ns {
            self.next_sweep_ns = now_ns.saturating_add(SWEEP_NS);
            self.forget_silent(now_ns, hear);
        }
    }

    /// Answers of connections that were reset are not waited for any longer.
    pub(super) fn settle_resets(&mut self, hear: Hear<'_>) {
        self.settle(|_| true, hear);
    }

    fn settle(&mut self, is_due: impl Fn(&Reset) -> bool, hear: Hear<'_>) {
        while let Some(sock) = self.resets.front() {
            let reset = self.by_sock.get(sock).and_then(|followed| followed.reset.as_ref());
            if reset.is_some_and(|reset| !is_due(reset)) {
                return;
            }
            if let Some(mut followed) = self.by_sock.remove(sock) {
                followed.abort(hear);
            }
            self.resets.pop_front();
        }
    }

    fn forget_silent(&mut self, now_ns: u64, hear: Hear<'_>) {
        let counters = &self.counters;
        self.by_sock.retain(|_, followed| {
            let silent = followed.reset.is_none() && now_ns.saturating_sub(followed.heard_ns) >= SILENCE_NS;
            if silent {
                counters.one(Count::RawUntold);
                followed.lose_rest(hear);
            }
            !silent
        });
    }
}

fn transfer<'a>(event: &RawEvent<'_>, answer: bool, bytes: &'a [u8]) -> Segment<'a> {
    Segment {
        side: if answer { Side::Answer } else { Side::Request },
        time_ns: event.time_ns,
        total_len: event.total_len.into(),
        captured: bytes,
    }
}

/// Whether the ring had no room for something that came before a close.
const fn is_muted(event: &RawEvent<'_>) -> bool {
    matches!(event.news, RawNews::Close { .. }) && event.total_len > 0
}

const fn count_of(kind: RawKind) -> Count {
    match kind {
        RawKind::Open => Count::RawOpen,
        RawKind::Segment => Count::RawSegment,
        RawKind::Close => Count::RawClose,
        RawKind::Ended => Count::RawEnded,
        RawKind::Orphan => Count::RawOrphan,
        RawKind::Http2 => Count::RawHttp2,
    }
}

/// The answer that begins so, as short as an answer can be: of a connection that is over nothing but the status matters, and the rest of
/// its line may lie in a part of the call that is not told.
fn status_line(bytes: &[u8]) -> Vec<u8> {
    let known = bytes.get(..http1::STATUS_BYTES).unwrap_or(bytes);
    [known, b"\r\n\r\n"].concat()
}

/// Whether a transfer begins with a request, as the kernel knows one.
fn begins_request(bytes: &[u8]) -> bool {
    let mut word = [0; http1::METHOD_BYTES];
    let len = bytes.len().min(word.len());
    word[..len].copy_from_slice(&bytes[..len]);
    matches!(http1::begin(u64::from_le_bytes(word), len), http1::Begin::Request(_))
}

#[cfg(test)]
mod tests;
