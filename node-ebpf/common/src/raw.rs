//! What the kernel tells of a connection that it does not pair by itself: every transfer, in order, bounded.
//!
//! ```text
//!   fast path gives up ──▶ Open: the request under way ──▶ Segment, Segment, … ──▶ Close
//!   ends on the fast path, unanswered ──▶ Ended: the request under way; an Orphan may follow
//!   a client may begin HTTP/2 ──▶ Http2, with nothing before or behind it
//! ```
//! A connection is known by the address of its `struct sock` and the time it was opened: the kernel uses addresses again.

use crate::RequestRecord;

/// How many bytes of a transfer one record carries; a longer piece takes several.
pub const RAW_BYTES: usize = 1024;
/// How many bytes a small record has room for: most transfers on connections that pipeline have no more.
pub const RAW_SMALL_BYTES: usize = 200;
/// Records that what may be a first HTTP/2 request takes, one for each part of the call: frames and their payloads may be parts.
pub const MAX_HTTP2_RECORDS: usize = 4;
/// Records that one system call's data may take; what lies behind is not kept.
pub const MAX_RAW_RECORDS: usize = 16;

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RawKind {
    /// A connection is told from here on. `bytes`: the [`RequestRecord`] that was under way, as far as its head was kept.
    Open = 1,
    /// A transfer, or a part of one.
    Segment = 2,
    /// The connection ended.
    Close = 3,
    /// A connection that the fast path followed ended while an answer was awaited: [`RawKind::Open`] and [`RawKind::Close`] in one.
    /// Where the peer reset it, the process may have written the answer a moment before; then it comes as an
    /// [`RawKind::Orphan`].
    Ended = 4,
    /// An answer on a connection of which nothing is known, in the form of a [`RawKind::Segment`]; `opened_ns` is 0. Where the kernel
    /// paired and counted it while the connection was reset, it is marked as [`UnderWay::Counted`] and holds nothing.
    Orphan = 5,
    /// What a client wrote on a connection that is not followed, which may be its first HTTP/2 request, in the form of a
    /// [`RawKind::Segment`]; `opened_ns` is 0.
    Http2 = 6,
}

/// Where the request of a [`RawKind::Open`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UnderWay {
    /// Its answer has not come.
    Waiting = 0,
    /// Its answer follows in the next segment, and the kernel counted and reported the pair already.
    Counted = 1,
    /// It was answered before, counted and reported by the kernel, and of that answer nothing follows but perhaps its rest. What was
    /// read behind its head may be further requests.
    Answered = 2,
}

/// One record of the ring `RAW`, with room for so many bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawRecord<const ROOM: usize = RAW_BYTES> {
    /// When the system call returned, or the connection ended; on `CLOCK_MONOTONIC`, in nanoseconds.
    pub time_ns: u64,
    /// The address of the connection's `struct sock`.
    pub sock: u64,
    /// When the connection was opened in this ring, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub opened_ns: u64,
    /// How many bytes of the connection this record stands for; more than `captured`: the rest was not kept. Of a close: more than 0
    /// where not every transfer was told.
    pub total_len: u32,
    /// The process, in the initial pid namespace; of a close: the one that made the last request.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// The connection's file descriptor in that process; 0 where it is not known.
    pub fd: u32,
    /// [`Task::service`](crate::Task::service).
    pub service: u32,
    /// [`Task::flags`](crate::Task::flags).
    pub flags: u32,
    /// How many of `bytes` are valid.
    pub captured: u16,
    /// A [`RawKind`].
    pub kind: u8,
    /// Of a segment: 1 for an answer, 0 for a request. Of an end: 1 where the peer reset the connection.
    pub mark: u8,
    /// Of an opening, an end and an orphan: an [`UnderWay`].
    pub under_way: u8,
    /// A [`Role`](crate::Role).
    pub role: u8,
    /// Always 0: there is no implicit padding.
    pub reserved: u16,
    /// What was transferred.
    pub bytes: [u8; ROOM],
}

impl<const ROOM: usize> RawRecord<ROOM> {
    /// Bytes before the transferred ones.
    pub const HEADER_BYTES: usize = core::mem::offset_of!(Self, bytes);
}

const _: () = {
    assert!(RawRecord::<RAW_BYTES>::HEADER_BYTES == 56);
    assert!(
        size_of::<RawRecord>() == 56 + RAW_BYTES && size_of::<RawRecord<RAW_SMALL_BYTES>>() == 56 + RAW_SMALL_BYTES
    );
    assert!(size_of::<RequestRecord>() <= RAW_BYTES);
};
