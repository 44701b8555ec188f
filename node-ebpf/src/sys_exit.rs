//! The tracer's one hook: every return of every system call.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext};
use shoalwatch_ebpf_common::Stat;

use crate::{
    buffer::Buffer,
    connection::{self, Caller},
    maps::TASKS,
    registers::Registers,
    stats::count,
};

/// Numbers of system calls on x86-64. `sendfile` is not among them: it never carries a status line.
mod number {
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const CLOSE: u64 = 3;
    pub(super) const READV: u64 = 19;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const ACCEPT: u64 = 43;
    pub(super) const SENDTO: u64 = 44;
    pub(super) const RECVFROM: u64 = 45;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const RECVMSG: u64 = 47;
    pub(super) const ACCEPT4: u64 = 288;
}

/// What a system call means for a connection. One arm each, so that the code behind it is compiled in once.
enum Call {
    Read(Buffer),
    Write(Buffer),
    Accept,
    Close,
}

/// `recv(2)`: the data stays in the socket and will be read again.
const MSG_PEEK: u64 = 2;

/// `TP_PROTO(struct pt_regs *regs, long ret)`
#[raw_tracepoint(tracepoint = "sys_exit")]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn sys_exit(ctx: RawTracePointContext) -> i32 {
    observe(ctx.arg(0), ctx.arg(1));
    0
}

/// From the cheapest question to the dearest: most calls of a machine end at the first.
#[inline(always)]
fn observe(pt_regs: *const u64, returned: i64) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let Some(task) = TASKS.get_ptr_mut(tgid) else {
        return;
    };
    if returned < 0 {
        return;
    }
    let Some(registers) = Registers::read(pt_regs) else {
        return count(Stat::ReadFailed);
    };
    if registers.is_32bit() {
        return count(Stat::Task32Bit);
    }
    let caller = Caller {
        tgid,
        tid: pid_tgid as u32,
        task,
    };
    dispatch(&caller, &registers, returned.cast_unsigned());
}

#[inline(always)]
fn dispatch(caller: &Caller, registers: &Registers, returned: u64) {
    let fd = registers.rdi as u32;
    let flat = Buffer::Flat {
        address: registers.rsi,
        len: registers.rdx,
    };
    let vector = Buffer::Vector {
        address: registers.rsi,
        pieces: registers.rdx,
    };
    let message = Buffer::Message { address: registers.rsi };
    let call = match registers.number {
        number::READ => Call::Read(flat),
        number::RECVFROM if registers.r10 & MSG_PEEK == 0 => Call::Read(flat),
        number::READV => Call::Read(vector),
        number::RECVMSG if registers.rdx & MSG_PEEK == 0 => Call::Read(message),
        number::WRITE | number::SENDTO => Call::Write(flat),
        number::WRITEV => Call::Write(vector),
        number::SENDMSG => Call::Write(message),
        number::ACCEPT | number::ACCEPT4 => Call::Accept,
        number::CLOSE => Call::Close,
        _ => return,
    };
    match call {
        Call::Read(buffer) => connection::read(caller, fd, buffer, returned),
        Call::Write(buffer) => connection::write(caller, fd, buffer, returned),
        Call::Accept => connection::open(caller, returned as u32),
        Call::Close => connection::close(caller, fd),
    }
}
