//! The processes that are observed.

use crate::Role;

/// Flag of [`Task`]: the service has all routes it may have, and what is not among them is counted with all others.
pub const ROUTES_FULL: u32 = 1;
/// The same of the peers that the service asks.
pub const PEERS_FULL: u32 = ROUTES_FULL << Role::Client as u32;
/// Flag of [`Task`]: nothing becomes a span.
pub const NO_SPANS: u32 = 4;

/// [`Task::threads`] of a process whose threads serve one request each at a time: enough of them were seen to.
pub const ONE_EACH: u32 = 33;
/// The same of a process whose threads do not.
pub const MIXED: u32 = u32::MAX;

/// What the kernel keeps for one observed process, keyed by its tgid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// The worker's number for the service; copied into every request of this process.
    pub service: u32,
    /// [`ROUTES_FULL`], [`PEERS_FULL`] and [`NO_SPANS`]; copied into every request of this process.
    pub flags: u32,
    /// By [`Role`]: the numbers that all other routes of the service, and all other peers, are counted under; 0: such requests are
    /// only reported.
    pub others: [u32; 2],
    /// Counts what changes many descriptors at once; see [`descriptor_key`]. Written by the kernel only.
    pub generation: u32,
    /// 1 once a descriptor of this process stopped leading to a connection that lived on: a call on it may be under way, and its number
    /// another connection's when it returns. Written by the kernel only.
    pub strays: u32,
    /// How the threads of this process serve: 0: it asked nobody yet, which is when it matters; up to [`ONE_EACH`]: one more than the
    /// requests that were answered by the thread that read them; [`MIXED`]. Written by the kernel only.
    pub threads: u32,
    /// Always 0: there is no implicit padding.
    pub reserved: u32,
    /// Finished requests of this process that were neither counted nor found room in the ring. Incremented atomically.
    pub lost: u64,
}

/// The request that a thread serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Serving {
    /// The address of its connection's `struct sock`.
    pub sock: u64,
    /// Its [`RequestRecord::seed`](crate::RequestRecord::seed), which no other request of that connection has.
    pub seed: u64,
}

/// Entries of the map `SLOTS`.
pub const TASK_SLOTS: u32 = 1 << 14;

/// The entry of a process, which it may share with others.
#[inline(always)]
#[must_use]
pub const fn task_slot(tgid: u32) -> u32 {
    tgid % TASK_SLOTS
}

/// The key of the map `DESCRIPTORS`: process, generation and descriptor. None for numbers that no usual process has.
#[inline(always)]
#[must_use]
pub const fn descriptor_key(tgid: u32, generation: u32, fd: u32) -> Option<u64> {
    const FD_BITS: u32 = 20;
    if fd >> FD_BITS != 0 {
        return None;
    }
    Some((tgid as u64) << 32 | ((generation << FD_BITS) | fd) as u64)
}

const _: () = {
    assert!(size_of::<Task>() == 40);
    assert!(core::mem::offset_of!(Task, lost) == 32);
};
