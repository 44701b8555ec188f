//! One connection that is followed.

use std::net::SocketAddr;

use shoalwatch_pipeline::loss::Loss;
use shoalwatch_protocols::http1::connection::{Connection, Exchange, Reason, Segment, Side};

use super::{Came, Hear, Lost, Said, begins_request, is_muted};
use crate::loader::{RawEvent, RawRequest, RequestEvent, Role, UnderWay, sampling::Decision};

/// Who made a system call on it, and what that process is to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    tgid: u32,
    tid: u32,
    fd: u32,
    service: u32,
    flags: u32,
    role: Role,
    peer: Option<SocketAddr>,
}

impl Owner {
    pub(super) const fn of(event: &RawEvent<'_>, peer: Option<SocketAddr>) -> Self {
        Self {
            tgid: event.tgid,
            tid: event.tid,
            fd: event.fd,
            service: event.service,
            flags: event.flags,
            role: event.role,
            peer,
        }
    }

    /// Of a request that nobody answered: as the kernel says it, no thread and no descriptor in particular.
    const fn alone(self) -> Self {
        Self {
            tid: self.tgid,
            fd: 0,
            ..self
        }
    }

    pub(super) fn lose(self, loss: Loss, requests: u64, hear: Hear<'_>) {
        if requests > 0 {
            hear(Said::Lost(Lost {
                loss,
                requests,
                service: self.service,
                tgid: self.tgid,
            }));
        }
    }

    /// In the form in which the kernel tells a request that it did not count. How many bytes were answered is nobody's question.
    fn tell(self, exchange: &Exchange<'_>, hear: Hear<'_>) {
        let came = if exchange.whole { Came::Whole } else { Came::InPart };
        let event = RequestEvent {
            start_ns: exchange.start_ns,
            end_ns: exchange.end_ns,
            randomness: 0,
            threshold: 0,
            seed: None,
            caller: None,
            peer: self.peer,
            tgid: self.tgid,
            tid: self.tid,
            fd: self.fd,
            service: self.service,
            flags: self.flags,
            answer_bytes: 0,
            read_bytes: 0,
            counted: None,
            status: exchange.status.unwrap_or(0),
            role: self.role,
            decision: Decision::Undecided,
            head: exchange.head,
        };
        hear(Said::Request(event, came));
    }
}

/// How the peer ended a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset {
    /// When.
    pub(super) time_ns: u64,
    /// Until then an answer may come that was written before.
    pub(super) until_ns: u64,
    /// … and until that look into the ring.
    pub(super) until_look: u64,
}

/// A connection that the kernel does not pair.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) opened_ns: u64,
    /// When there was news of it last.
    pub(super) heard_ns: u64,
    pub(super) reset: Option<Reset>,
    owner: Owner,
    /// The kernel counts the oldest request that waits.
    counted: bool,
    /// As what the requests of a connection that was given up are lost.
    gave_up: Option<Loss>,
    connection: Connection,
}

impl Followed {
    pub(super) const fn new(event: &RawEvent<'_>, peer: Option<SocketAddr>, now_ns: u64) -> Self {
        Self {
            opened_ns: event.opened_ns,
            heard_ns: now_ns,
            reset: None,
            owner: Owner::of(event, peer),
            counted: false,
            gave_up: None,
            connection: Connection::resumed(),
        }
    }

    pub(super) const fn is_given_up(&self) -> bool {
        self.gave_up.is_some()
    }

    /// Begins with the request that is under way. Returns whether the connection is given up by it.
    pub(super) fn take_up(&mut self, under_way: UnderWay, request: &RawRequest<'_>, hear: Hear<'_>) -> bool {
        let came = Segment {
            side: Side::Request,
            time_ns: request.start_ns,
            total_len: u64::from(request.read_bytes).max(request.head.len() as u64),
            captured: request.head,
        };
        // No answer is fed, so nothing is emitted.
        let mut fed = self.connection.feed(came, &mut |_| {});
        if under_way == UnderWay::Answered {
            fed = fed.and_then(|()| self.connection.answered());
        }
        self.counted = under_way == UnderWay::Counted;
        let Err(gave_up) = fed else { return false };
        // The answered one may be among those that wait, if it was not taken off before.
        let paired = usize::from(under_way != UnderWay::Waiting);
        self.counted = false;
        self.give_up(
            gave_up.reason,
            gave_up.unanswered.saturating_sub(paired).max(1 - paired),
            hear,
        );
        true
    }

    /// Takes a transfer that somebody made. Returns whether the connection is given up by it.
    pub(super) fn feed(&mut self, by: Owner, segment: Segment<'_>, hear: Hear<'_>) -> bool {
        let Owner { role, peer, .. } = self.owner;
        self.owner = Owner { role, peer, ..by };
        if let Some(loss) = self.gave_up {
            let lost = segment.side == Side::Request && begins_request(segment.captured);
            self.owner.lose(loss, lost.into(), hear);
            return false;
        }
        let (owner, counted) = (self.owner, &mut self.counted);
        let fed = self.connection.feed(segment, &mut |exchange| {
            if !std::mem::take(counted) {
                owner.tell(&exchange, hear);
            }
        });
        let Err(gave_up) = fed else { return false };
        let counted = usize::from(std::mem::take(&mut self.counted));
        self.give_up(gave_up.reason, gave_up.unanswered.saturating_sub(counted), hear);
        true
    }

    fn give_up(&mut self, reason: Reason, requests: usize, hear: Hear<'_>) {
        let loss = loss_of(reason);
        self.owner.lose(loss, requests as u64, hear);
        self.gave_up = Some(loss);
    }

    /// What was not answered will not be; but where not everything was told, it may have been.
    pub(super) fn close(&mut self, event: &RawEvent<'_>, hear: Hear<'_>) {
        if is_muted(event) {
            self.lose_rest(hear);
        } else {
            self.end(event.time_ns, hear);
        }
    }

    /// As [`close`](Self::close), for a connection that was reset.
    pub(super) fn abort(&mut self, hear: Hear<'_>) {
        if let Some(reset) = self.reset {
            self.end(reset.time_ns, hear);
        }
    }

    fn end(&mut self, time_ns: u64, hear: Hear<'_>) {
        let (owner, counted) = (self.owner.alone(), &mut self.counted);
        self.connection.close(time_ns, &mut |exchange| {
            if !std::mem::take(counted) {
                owner.tell(&exchange, hear);
            }
        });
    }

    /// The rest of the connection will not be looked at.
    pub(super) fn lose_rest(&self, hear: Hear<'_>) {
        self.lose_waiting(Loss::RawUntold, 0, hear);
    }

    /// The connection is not followed. `begun`: a request waits, although its head may not be whole.
    pub(super) fn refuse(&self, begun: bool, hear: Hear<'_>) {
        if !self.is_given_up() {
            self.lose_waiting(Loss::RawTableFull, begun.into(), hear);
        }
    }

    fn lose_waiting(&self, loss: Loss, known: usize, hear: Hear<'_>) {
        let counted = usize::from(self.counted);
        let waiting = self.connection.outstanding().saturating_sub(counted);
        self.owner.lose(loss, waiting.max(known) as u64, hear);
    }
}

pub(super) const fn loss_of(reason: Reason) -> Loss {
    match reason {
        Reason::RequestLine(_) => Loss::RawRequestLine,
        Reason::StatusLine => Loss::RawStatusLine,
        Reason::Unrequested => Loss::RawUnrequested,
        Reason::BeforeMethod => Loss::RawBeforeMethod,
        Reason::TooManyOutstanding => Loss::RawTooManyOutstanding,
        Reason::TooLong => Loss::RawTooLong,
        Reason::ContentLength => Loss::RawContentLength,
        Reason::TransferEncoding => Loss::RawTransferEncoding,
        Reason::Ambiguous => Loss::RawAmbiguous,
        Reason::Chunk => Loss::RawChunk,
        Reason::Gap => Loss::RawGap,
        Reason::LostAnswer => Loss::RawLostAnswer,
        Reason::Tunnel => Loss::RawTunnel,
    }
}
