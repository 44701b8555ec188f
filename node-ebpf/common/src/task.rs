//! The processes that are observed.

/// What the kernel keeps for one observed process, keyed by its tgid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// The worker's number for the service; copied into every request of this process.
    pub service: u32,
    /// The worker's marks on this process; copied into every request of this process and not read by the kernel.
    pub flags: u32,
    /// Finished requests of this process whose record found no room in the ring. Incremented atomically.
    pub lost: u64,
}

const _: () = {
    assert!(size_of::<Task>() == 16);
    assert!(core::mem::offset_of!(Task, lost) == 8);
};
