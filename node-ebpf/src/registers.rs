//! The registers that a system call leaves behind (x86-64).

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Where the slice that is read begins in the kernel's `pt_regs`.
const FIRST_OFFSET: usize = 56;
/// `cs` of a task in 32-bit mode, whose system calls have other numbers and layouts.
const USER32_CS: u64 = 0x23;

/// Bytes 56 to 144 of `pt_regs`, in its order.
#[repr(C)]
pub(crate) struct Registers {
    /// Fourth argument.
    pub(crate) r10: u64,
    _r9: u64,
    _r8: u64,
    _ax: u64,
    _cx: u64,
    /// Third argument.
    pub(crate) rdx: u64,
    /// Second argument.
    pub(crate) rsi: u64,
    /// First argument.
    pub(crate) rdi: u64,
    /// The call's number.
    pub(crate) number: u64,
    _ip: u64,
    cs: u64,
}

const _: () = assert!(size_of::<Registers>() == 144 - FIRST_OFFSET);

impl Registers {
    /// Reads them from the tracepoint's first argument.
    #[inline(always)]
    pub(crate) fn read(pt_regs: *const u64) -> Option<Self> {
        // SAFETY: the helper checks the address and fails on one that cannot be read.
        unsafe { bpf_probe_read_kernel(pt_regs.wrapping_byte_add(FIRST_OFFSET).cast::<Self>()) }.ok()
    }

    /// Whether the task runs 32-bit code.
    #[inline(always)]
    pub(crate) fn is_32bit(&self) -> bool {
        self.cs == USER32_CS
    }
}
