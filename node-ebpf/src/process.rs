//! News of processes: a fork of an observed one is observed at once, an exec is reported.

use aya_ebpf::{
    Global,
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use shoalwatch_ebpf_common::{ProcessKind, ProcessRecord, Stat, Task, task_slot};

use crate::{
    maps::{PROCESSES, SLOTS, TASKS},
    stats::count,
};

/// `clone(2)`: the new task is a thread of its creator's process.
const CLONE_THREAD: u64 = 0x1_0000;

/// Offset of `pid` in `struct task_struct`; the loader sets it from the running kernel's types.
#[unsafe(no_mangle)]
static TASK_PID: Global<u32> = Global::new(0);

/// Whether a process may be among the observed ones: the question that every call of the machine is asked. A hash would cost three
/// times as much.
#[inline(always)]
pub(crate) fn may_be_observed(tgid: u32) -> bool {
    SLOTS.get(task_slot(tgid)).is_some_and(|taken| *taken != 0)
}

/// Any process runs a new program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(_ctx: RawTracePointContext) -> i32 {
    report(ProcessKind::Exec, current_tgid(), 0);
    0
}

/// An observed process forks: its child inherits being observed, before it runs.
///
/// `TP_PROTO(struct task_struct *task, u64 clone_flags)`
#[raw_tracepoint(tracepoint = "task_newtask")]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn process_fork(ctx: RawTracePointContext) -> i32 {
    let (new, clone_flags): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    if clone_flags & CLONE_THREAD != 0 {
        return 0;
    }
    let parent = current_tgid();
    // SAFETY: no reference outlives this program, and the fields copied are written as a whole by the loader only.
    let Some(task) = (unsafe { TASKS.get(parent) }) else {
        return 0;
    };
    let pid = new.wrapping_add(u64::from(TASK_PID.load())) as *const u32;
    // SAFETY: the helper fails on an address that cannot be read.
    let Ok(child) = (unsafe { bpf_probe_read_kernel(pid) }) else {
        count(Stat::ReadFailed);
        return 0;
    };
    let task = Task {
        lost: 0,
        strays: 0,
        threads: 0,
        // What descriptors of an earlier process of this number led to is not what this one's lead to.
        // SAFETY: the helper has no preconditions.
        generation: (unsafe { bpf_ktime_get_ns() } >> 10) as u32,
        ..*task
    };
    if TASKS.insert(child, task, 0).is_err() {
        count(Stat::TasksFull);
    }
    if let Some(taken) = SLOTS.get_ptr_mut(task_slot(child)) {
        // SAFETY: the map gave the pointer. Others write the same.
        unsafe { *taken = 1 };
    }
    report(ProcessKind::Fork, child, parent);
    0
}

#[inline(always)]
fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn report(kind: ProcessKind, tgid: u32, parent: u32) {
    let record = ProcessRecord {
        // SAFETY: the helper has no preconditions.
        time_ns: unsafe { bpf_ktime_get_ns() },
        kind: kind as u32,
        tgid,
        parent,
        reserved: 0,
    };
    match PROCESSES.reserve::<ProcessRecord>(0) {
        Some(mut slot) => {
            slot.write(record);
            slot.submit(u64::from(BPF_RB_NO_WAKEUP));
        }
        None => count(Stat::ProcessRingFull),
    }
}
