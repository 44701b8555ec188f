//! The end of all programs that run now.

#![expect(unsafe_code, reason = "rustix has no membarrier")]

use std::io;

/// `MEMBARRIER_CMD_GLOBAL`: returns after an RCU grace period, within which every eBPF program that ran at the call has ended.
const GLOBAL: libc::c_int = 1;

/// Returns when every eBPF program that was running has ended: some milliseconds.
pub(super) fn wait() -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
