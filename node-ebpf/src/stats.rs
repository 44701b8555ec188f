//! Counters of what happened and of what was given up.

use shoalwatch_ebpf_common::Stat;

use crate::maps::STATS;

/// Adds one. Atomic although the slot is this CPU's own: newer kernels may preempt a program.
#[inline(always)]
pub(crate) fn count(stat: Stat) {
    if let Some(slot) = STATS.get_ptr_mut(stat.index()) {
        // SAFETY: the map gave the pointer; it is aligned and lives as long as the program runs.
        unsafe { increment(slot) };
    }
}

/// Adds one, atomically.
///
/// # Safety
/// `number` must be aligned and valid.
#[inline(always)]
pub(crate) unsafe fn increment(number: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { add(number, 1) };
}

/// Adds, atomically. By hand: `AtomicU64::fetch_add` is hidden for this target, which cannot return the old value.
///
/// # Safety
/// `number` must be aligned and valid.
#[inline(always)]
#[cfg(target_arch = "bpf")]
pub(crate) unsafe fn add(number: *mut u64, more: u64) {
    // SAFETY: one atomic addition, which any kernel that this program loads on knows.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) more, options(nostack)) };
}

/// The same where the programs are only checked, not run.
///
/// # Safety
/// `number` must be aligned and valid.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn add(number: *mut u64, more: u64) {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: the caller's promise.
    unsafe { AtomicU64::from_ptr(number) }.fetch_add(more, Ordering::Relaxed);
}
