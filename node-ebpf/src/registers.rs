//! The registers that a system call leaves behind (x86-64).

/// `cs` of a task in 32-bit mode, whose system calls have other numbers and layouts.
const USER32_CS: u64 = 0x23;

/// The kernel's `struct pt_regs`, whose layout programs in user space rely on (`asm/ptrace.h`): it does not change.
#[repr(C)]
pub(crate) struct Registers {
    _callee_saved: [u64; 7],
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

const _: () = assert!(core::mem::offset_of!(Registers, number) == 120 && core::mem::offset_of!(Registers, cs) == 136);

impl Registers {
    /// Whether the task runs 32-bit code.
    #[inline(always)]
    pub(crate) fn is_32bit(&self) -> bool {
        self.cs == USER32_CS
    }
}
