//! One finished request.

/// How many bytes of a request's head are kept: method, path and the first headers.
pub const HEAD_BYTES: usize = 512;

/// Which end of a connection a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// It reads requests.
    Server = 0,
    /// It writes them.
    Client = 1,
}

/// One record of the ring `EVENTS`, cut after [`head_len`](Self::head_len) bytes of [`head`](Self::head).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RequestRecord {
    /// When the call that began the head returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// When the call that carried the status line returned, or the connection was closed without one; on `CLOCK_MONOTONIC`, in
    /// nanoseconds.
    pub end_ns: u64,
    /// The 56 bits that the kernel decided by: of the caller's trace, else random.
    pub randomness: u64,
    /// The threshold that the kernel decided by; [`NEVER`](crate::sampling::NEVER) where the caller decided.
    pub threshold: u64,
    /// What a server's trace and span ids are made from where its threads may ask others meanwhile, and the same number where one of them
    /// does: there the request belongs to the server's. 0: nothing is known of that.
    pub seed: u64,
    /// A client's that belongs to a server's: the trace of the server's caller, its high half first; zeros: there is none. Without a
    /// `seed` it says nothing.
    pub caller: [u64; 2],
    /// A client's peer: its IPv6 address, or an IPv4 address mapped to one.
    pub peer_address: [u8; 16],
    /// A client's peer: its port.
    pub peer_port: u16,
    /// 1: the server's caller sampled its span.
    pub caller_sampled: u8,
    /// Always 0: there is no implicit padding.
    pub reserved: [u8; 5],
    /// The process that answered (or asked, for a client), in the initial pid namespace.
    pub tgid: u32,
    /// The thread that did, in the initial pid namespace.
    pub tid: u32,
    /// The connection's file descriptor in that process; 0 where it was closed.
    pub fd: u32,
    /// [`Task::service`](crate::Task::service) when the head was read.
    pub service: u32,
    /// [`Task::flags`](crate::Task::flags) when the head was read.
    pub flags: u32,
    /// What the call that carried the status line returned, in bytes; for a request without an answer the bytes of the request that
    /// came, its body included.
    pub answer_bytes: u32,
    /// What the calls that filled `head` returned, in bytes; the head is cut where this exceeds `head_len`.
    pub read_bytes: u32,
    /// The number of the route it was counted under; 0 where it was not counted.
    pub route: u32,
    /// The answer's status code, 200 to 999; 0: the connection ended without an answer.
    pub status: u16,
    /// How many bytes of `head` are valid.
    pub head_len: u16,
    /// A [`Role`].
    pub role: u8,
    /// A [`Decision`](crate::sampling::Decision).
    pub decision: u8,
    /// 1: the request is in the kernel's counters already.
    pub counted: u8,
    /// A [`Method`](crate::http1::Method).
    pub method: u8,
    /// The first bytes of the request.
    pub head: [u8; HEAD_BYTES],
}

impl RequestRecord {
    /// Bytes before the head.
    pub const HEADER_BYTES: usize = core::mem::offset_of!(Self, head);
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        start_ns: 0,
        end_ns: 0,
        randomness: 0,
        threshold: 0,
        seed: 0,
        caller: [0; 2],
        peer_address: [0; 16],
        peer_port: 0,
        caller_sampled: 0,
        reserved: [0; 5],
        tgid: 0,
        tid: 0,
        fd: 0,
        service: 0,
        flags: 0,
        answer_bytes: 0,
        read_bytes: 0,
        route: 0,
        status: 0,
        head_len: 0,
        role: 0,
        decision: 0,
        counted: 0,
        method: 0,
        head: [0; HEAD_BYTES],
    };
}

/// What a client's peer is known by in place of a route.
#[inline(always)]
#[must_use]
pub const fn peer_hash(high: u64, low: u64, port: u16) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (high ^ (port as u64) << 48).wrapping_mul(PRIME) ^ low;
    let folded = (mixed ^ mixed >> 32).wrapping_mul(PRIME);
    folded ^ folded >> 29
}

const _: () = {
    assert!(RequestRecord::HEADER_BYTES == 120);
    assert!(size_of::<RequestRecord>() == 120 + HEAD_BYTES);
    assert!(core::mem::offset_of!(RequestRecord, tgid) == 80);
    assert!(core::mem::offset_of!(RequestRecord, status) == 112);
};
