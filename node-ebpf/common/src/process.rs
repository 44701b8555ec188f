//! News of processes: who was born, who became another program.

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessKind {
    /// A process (observed or not) runs a new program.
    Exec = 1,
    /// An observed process forked; the child is observed already, but its inherited sockets are not known yet.
    Fork = 2,
}

/// One record of the ring `PROCESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessRecord {
    /// When, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub time_ns: u64,
    /// A [`ProcessKind`].
    pub kind: u32,
    /// The process (tgid) that runs a new program, or the child of a fork.
    pub tgid: u32,
    /// The forking process for a fork, else 0.
    pub parent: u32,
    /// Always 0: there is no implicit padding.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<ProcessRecord>() == 24);
    assert!(core::mem::offset_of!(ProcessRecord, tgid) == 12);
};
