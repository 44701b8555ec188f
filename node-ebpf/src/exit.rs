//! The two ways in which the kernel tells that a system call returns, and the programs of each: the same four for both.
//!
//! `tp_btf/sys_exit` needs nothing but the right to load programs. But from Linux 7.0 on a thread can be preempted within such a
//! program, and the kernel leaves the program out for every other thread of that processor until it goes on. The perf tracepoint
//! `raw_syscalls/sys_exit` is never preempted, and costs about the same; it needs tracefs and the right to perf events, and the kernel
//! leaves it out while a map is changed by somebody who was preempted over it. The loader takes one of them.
//!
//! Both give the registers where they lie, without a copy.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_task_btf, generated::bpf_task_pt_regs},
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use crate::{registers::Registers, sys_exit};

/// A system call that returns.
pub(crate) trait Exit: EbpfContext {
    /// What it returns.
    fn returned(&self) -> i64;
    /// The registers as it leaves them.
    fn registers(&self) -> *const Registers;
}

/// `TP_PROTO(struct pt_regs *regs, long ret)`
impl Exit for BtfTracePointContext {
    #[inline(always)]
    fn returned(&self) -> i64 {
        self.arg(1)
    }

    #[inline(always)]
    fn registers(&self) -> *const Registers {
        self.arg(0)
    }
}

/// `struct trace_event_raw_sys_exit`, which is told to user space in the tracepoint's `format` file.
#[repr(C)]
struct Record {
    _common: u64,
    _number: i64,
    returned: i64,
}

impl Exit for TracePointContext {
    #[inline(always)]
    fn returned(&self) -> i64 {
        let record: *const Record = self.as_ptr().cast();
        // SAFETY: the context of such a program is the record, and the verifier bounds the access.
        unsafe { (*record).returned }
    }

    #[inline(always)]
    fn registers(&self) -> *const Registers {
        // SAFETY: the verifier knows what both return; it lives as long as the program runs.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as *const Registers }
    }
}

#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    sys_exit::follow(&ctx);
    0
}

#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn request_begun(ctx: BtfTracePointContext) -> i32 {
    sys_exit::begin(&ctx);
    0
}

#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn raw_transfer(ctx: BtfTracePointContext) -> i32 {
    sys_exit::tell(&ctx);
    0
}

#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn http2_begun(ctx: BtfTracePointContext) -> i32 {
    sys_exit::ask(&ctx);
    0
}

#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn perf_sys_exit(ctx: TracePointContext) -> u32 {
    sys_exit::follow(&ctx);
    0
}

#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn perf_request_begun(ctx: TracePointContext) -> u32 {
    sys_exit::begin(&ctx);
    0
}

#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn perf_raw_transfer(ctx: TracePointContext) -> u32 {
    sys_exit::tell(&ctx);
    0
}

#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn perf_http2_begun(ctx: TracePointContext) -> u32 {
    sys_exit::ask(&ctx);
    0
}
