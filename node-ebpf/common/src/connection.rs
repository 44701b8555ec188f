//! What the kernel remembers of one connection between a request and its answer.

use crate::RequestRecord;

/// How many bytes one more read can add to a head that came in pieces.
///
/// The verifier checks offset and length of a copy each on its own, so the head has this much room behind it.
pub const APPEND_BYTES: usize = 256;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionState {
    /// The next read may begin a request.
    Idle = 0,
    /// Some first bytes of a method were read and nothing else: Go's server reads a single byte ahead.
    Beginning = 1,
    /// A request was read, its answer was not written yet.
    Awaiting = 2,
    /// The connection leaves the fast path: from here on user space is told of every transfer.
    Raw = 3,
    /// It was [`Raw`](Self::Raw) and its ring had no room once. Until the connection is closed its requests are counted and not
    /// paired.
    GivenUp = 4,
    /// What is transferred is no HTTP any more: behind an answer 101, or 2xx to CONNECT.
    Tunnel = 5,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Ending {
    /// By its owner's closing it.
    Closed = 1,
    /// By its peer's reset: a call that pairs an answer meanwhile has to tell user space, which may have been told that there was none.
    Reset = 2,
}

/// The value of the map `CONNECTIONS`. All zero is an idle connection of a server.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Connection {
    /// A [`ConnectionState`].
    pub state: u8,
    /// 1 while more of the head may come and there is room for it.
    pub head_open: u8,
    /// 1 when the request's method commonly has a body: what is read before the answer is that body.
    pub expects_body: u8,
    /// How many bytes of `ahead` are valid, 0 to 7.
    pub ahead_len: u8,
    /// Of a raw connection: where its request stood when it became one, an [`UnderWay`](crate::UnderWay).
    pub under_way: u8,
    /// What the header lines of the last request that was looked through said; see [`head::Headers`](crate::head::Headers).
    pub header_flags: u8,
    /// 1 where more than its head was read of the last request: a body, or another request.
    pub extra: u8,
    /// Who goes first where a request and an answer are looked at.
    pub turn: u8,
    /// The first bytes of what may be the next request, read before the current one was seen answered.
    pub ahead: [u8; 8],
    /// When `ahead` was read.
    pub ahead_ns: u64,
    /// The address of its `struct sock`.
    pub sock: u64,
    /// Of a raw connection: when user space was first told of it; 0: not yet.
    pub opened_ns: u64,
    /// Bytes of the current request so far, its body included.
    pub asked_bytes: u32,
    /// How far behind the target the `traceparent` of the last request that was looked through lay; 0: there was none.
    pub parent_behind: u32,
    /// How far behind the target that request ended.
    pub rest_bytes: u32,
    /// How it ended, an [`Ending`]: written by whoever ends it, read by whoever works on it meanwhile.
    pub ending: u16,
    /// 1 while a program looks at a request of it, and while one looks at an answer.
    pub held: [u8; 2],
    /// Always 0, which the verifier does not know: see [`shape::target`](crate::shape::target).
    pub zero: u64,
    /// So many bytes of the current request were read before the transfer that showed that it is one, 0 to 7.
    pub begun_len: u8,
    /// Always 0.
    pub reserved: [u8; 7],
    /// The thread that read the current request, or wrote it.
    pub reader: u32,
    /// Of a Unix socket: the number of its file, which tells it from a later one at its address. 0: it is none.
    pub inode: u32,
    /// The current request, sent as it lies here.
    pub record: RequestRecord,
    /// Room that a copy to the end of the head may run over; never sent.
    pub slack: [u8; APPEND_BYTES],
}

impl Connection {
    /// An idle connection of a server.
    pub const IDLE: Self = Self {
        state: ConnectionState::Idle as u8,
        head_open: 0,
        expects_body: 0,
        ahead_len: 0,
        under_way: 0,
        header_flags: 0,
        extra: 0,
        turn: 0,
        ahead: [0; 8],
        ahead_ns: 0,
        sock: 0,
        opened_ns: 0,
        asked_bytes: 0,
        parent_behind: 0,
        rest_bytes: 0,
        ending: 0,
        held: [0; 2],
        zero: 0,
        begun_len: 0,
        reserved: [0; 7],
        reader: 0,
        inode: 0,
        record: RequestRecord::EMPTY,
        slack: [0; APPEND_BYTES],
    };
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Connection>() == 80 + size_of::<RequestRecord>() + APPEND_BYTES);
    assert!(offset_of!(Connection, record) == 80);
    // The kernel side reads the head's first bytes as one word.
    assert!((offset_of!(Connection, record) + RequestRecord::HEADER_BYTES).is_multiple_of(8));
    assert!(offset_of!(Connection, slack) == offset_of!(Connection, record) + size_of::<RequestRecord>());
};
