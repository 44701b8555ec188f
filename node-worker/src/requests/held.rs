//! Requests of processes whose pod is not known yet.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroU64};

use super::came::Came;
use crate::loader::{Caller, RequestEvent, Role, sampling::Decision};

/// Requests that wait at most, on the whole node.
const MAX_HELD: usize = 4096;

/// A request, kept beyond its place in the ring.
#[derive(Debug)]
pub(super) struct HeldRequest {
    start_ns: u64,
    end_ns: u64,
    status: u16,
    role: Role,
    seed: Option<NonZeroU64>,
    caller: Option<Caller>,
    peer: Option<SocketAddr>,
    head: Box<[u8]>,
    pub(super) came: Came,
}

impl HeldRequest {
    /// As it came from the ring, as far as it is looked at.
    pub(super) fn as_event(&self, tgid: u32, service: u32) -> RequestEvent<'_> {
        RequestEvent {
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            randomness: 0,
            threshold: 0,
            seed: self.seed,
            caller: self.caller,
            peer: self.peer,
            tgid,
            tid: tgid,
            fd: 0,
            service,
            flags: 0,
            answer_bytes: 0,
            read_bytes: 0,
            counted: None,
            status: self.status,
            role: self.role,
            decision: Decision::Undecided,
            head: &self.head,
        }
    }
}

/// By process, in the order in which they were answered.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_tgid: HashMap<u32, Vec<HeldRequest>>,
    total: usize,
}

impl Held {
    /// False when too many wait.
    pub(super) fn push(&mut self, event: &RequestEvent<'_>, came: Came) -> bool {
        if self.total >= MAX_HELD {
            return false;
        }
        self.total += 1;
        self.by_tgid.entry(event.tgid).or_default().push(HeldRequest {
            start_ns: event.start_ns,
            end_ns: event.end_ns,
            status: event.status,
            role: event.role,
            seed: event.seed,
            caller: event.caller,
            peer: event.peer,
            head: event.head.into(),
            came,
        });
        true
    }

    pub(super) fn take(&mut self, tgid: u32) -> Vec<HeldRequest> {
        let held = self.by_tgid.remove(&tgid).unwrap_or_default();
        self.total -= held.len();
        held
    }

    pub(super) const fn len(&self) -> usize {
        self.total
    }

    pub(super) const fn max() -> usize {
        MAX_HELD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tgid: u32, head: &[u8]) -> RequestEvent<'_> {
        RequestEvent {
            start_ns: 1,
            end_ns: 2,
            randomness: 0,
            threshold: 0,
            seed: None,
            caller: None,
            peer: None,
            tgid,
            tid: tgid,
            fd: 0,
            service: 0,
            flags: 0,
            answer_bytes: 0,
            read_bytes: 0,
            counted: None,
            status: 200,
            role: Role::Server,
            decision: Decision::Undecided,
            head,
        }
    }

    #[test]
    fn requests_wait_in_order_for_their_own_process() {
        let mut held = Held::default();
        for (tgid, head) in [(1, b"a"), (2, b"b"), (1, b"c")] {
            assert!(held.push(&event(tgid, head), Came::Whole));
        }
        let heads: Vec<_> = held.take(1).into_iter().map(|request| request.head).collect();
        assert_eq!(heads, [Box::from(*b"a"), Box::from(*b"c")]);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn the_node_holds_at_most_so_many_and_has_room_again_when_they_are_taken() {
        let mut held = Held::default();
        for _ in 0..MAX_HELD {
            assert!(held.push(&event(1, b"x"), Came::Whole));
        }
        assert!(!held.push(&event(2, b"x"), Came::Whole));
        held.take(1);
        assert!(held.push(&event(2, b"x"), Came::Whole));
    }
}
