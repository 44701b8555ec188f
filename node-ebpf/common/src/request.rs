//! One finished request.

/// How many bytes of a request's head are kept: method, path and the first headers.
pub const HEAD_BYTES: usize = 512;

/// One record of the ring `EVENTS`, cut after [`head_len`](Self::head_len) bytes of [`head`](Self::head).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RequestRecord {
    /// When the read that began the head returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// When the write that carried the status line returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub end_ns: u64,
    /// The process that answered, in the initial pid namespace.
    pub tgid: u32,
    /// The thread that answered, in the initial pid namespace.
    pub tid: u32,
    /// The connection's file descriptor in that process.
    pub fd: u32,
    /// [`Task::service`](crate::Task::service) when the head was read.
    pub service: u32,
    /// [`Task::flags`](crate::Task::flags) when the head was read.
    pub flags: u32,
    /// What the write that carried the status line returned, in bytes.
    pub answer_bytes: u32,
    /// What the reads that filled `head` returned, in bytes; the head is cut where this exceeds `head_len`.
    pub read_bytes: u32,
    /// The answer's status code, 200 to 999.
    pub status: u16,
    /// How many bytes of `head` are valid.
    pub head_len: u16,
    /// The first bytes of the request.
    pub head: [u8; HEAD_BYTES],
}

impl RequestRecord {
    /// Bytes before the head.
    pub const HEADER_BYTES: usize = core::mem::offset_of!(Self, head);
}

const _: () = {
    assert!(RequestRecord::HEADER_BYTES == 48);
    assert!(size_of::<RequestRecord>() == 48 + HEAD_BYTES);
    assert!(core::mem::offset_of!(RequestRecord, tgid) == 16);
    assert!(core::mem::offset_of!(RequestRecord, status) == 44);
};
