//! The tracer's one hook: every return of every system call. How the kernel tells of it: [`exit`](crate::exit).

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use shoalwatch_ebpf_common::Stat;

use crate::{
    buffer::Buffer,
    connection::{self, Caller, Direction, Next, Transfer},
    exit::Exit,
    maps::{NEXT, TASKS},
    process, raw,
    registers::Registers,
    socket,
    stats::{count, increment},
    threads,
};

/// System calls on x86-64 that matter, by number. `sendfile` is not among them: it never carries a status line.
///
/// Tables and no comparisons: what the verifier reads from them it takes for unknown, so it need not follow every call through
/// everything that comes after.
const CALLS: usize = 512;
static LAYOUTS: [u8; CALLS] = layouts();
static DIRECTIONS: [u8; CALLS] = directions();

/// How a call names its data, or the descriptors that it changes.
mod layout {
    pub(super) const NONE: u8 = 0;
    /// Address and length.
    pub(super) const FLAT: u8 = 1;
    /// The same, and flags of `recv(2)` in the fourth argument.
    pub(super) const FLAT_FLAGS: u8 = 2;
    /// An array of `iovec`s and their number.
    pub(super) const VECTOR: u8 = 3;
    /// A `msghdr`.
    pub(super) const MESSAGE: u8 = 4;
    /// The same, and flags of `recv(2)` in the third argument.
    pub(super) const MESSAGE_FLAGS: u8 = 5;
    /// The descriptor in the first argument is closed.
    pub(super) const CLOSES: u8 = 6;
    /// The result is a descriptor, new or changed.
    pub(super) const OPENS: u8 = 7;
    /// All descriptors change, and no other thread is left.
    pub(super) const CHANGES_ALL: u8 = 8;
    /// The kernel transfers on its own, where no call returns.
    pub(super) const UNSEEN: u8 = 9;
    /// Many descriptors are closed.
    pub(super) const CLOSES_MANY: u8 = 10;
}

mod number {
    pub(super) const READ: usize = 0;
    pub(super) const WRITE: usize = 1;
    pub(super) const OPEN: usize = 2;
    pub(super) const CLOSE: usize = 3;
    pub(super) const READV: usize = 19;
    pub(super) const WRITEV: usize = 20;
    pub(super) const DUP: usize = 32;
    pub(super) const DUP2: usize = 33;
    pub(super) const SOCKET: usize = 41;
    pub(super) const ACCEPT: usize = 43;
    pub(super) const SENDTO: usize = 44;
    pub(super) const RECVFROM: usize = 45;
    pub(super) const SENDMSG: usize = 46;
    pub(super) const RECVMSG: usize = 47;
    pub(super) const EXECVE: usize = 59;
    pub(super) const OPENAT: usize = 257;
    pub(super) const UNSHARE: usize = 272;
    pub(super) const ACCEPT4: usize = 288;
    pub(super) const DUP3: usize = 292;
    pub(super) const EXECVEAT: usize = 322;
    pub(super) const IO_URING_SETUP: usize = 425;
    pub(super) const IO_URING_ENTER: usize = 426;
    pub(super) const CLOSE_RANGE: usize = 436;
}

const fn layouts() -> [u8; CALLS] {
    let mut layouts = [layout::NONE; CALLS];
    layouts[number::READ] = layout::FLAT;
    layouts[number::WRITE] = layout::FLAT;
    layouts[number::SENDTO] = layout::FLAT;
    layouts[number::RECVFROM] = layout::FLAT_FLAGS;
    layouts[number::READV] = layout::VECTOR;
    layouts[number::WRITEV] = layout::VECTOR;
    layouts[number::SENDMSG] = layout::MESSAGE;
    layouts[number::RECVMSG] = layout::MESSAGE_FLAGS;
    layouts[number::CLOSE] = layout::CLOSES;
    layouts[number::OPEN] = layout::OPENS;
    layouts[number::OPENAT] = layout::OPENS;
    layouts[number::SOCKET] = layout::OPENS;
    layouts[number::ACCEPT] = layout::OPENS;
    layouts[number::ACCEPT4] = layout::OPENS;
    layouts[number::DUP] = layout::OPENS;
    layouts[number::DUP2] = layout::OPENS;
    layouts[number::DUP3] = layout::OPENS;
    layouts[number::EXECVE] = layout::CHANGES_ALL;
    layouts[number::EXECVEAT] = layout::CHANGES_ALL;
    layouts[number::UNSHARE] = layout::CLOSES_MANY;
    layouts[number::CLOSE_RANGE] = layout::CLOSES_MANY;
    layouts[number::IO_URING_SETUP] = layout::UNSEEN;
    layouts[number::IO_URING_ENTER] = layout::UNSEEN;
    layouts
}

/// By the numbers of [`Role`](shoalwatch_ebpf_common::Role): who sends requests by that call's direction.
const fn directions() -> [u8; CALLS] {
    let mut directions = [Direction::In as u8; CALLS];
    directions[number::WRITE] = Direction::Out as u8;
    directions[number::SENDTO] = Direction::Out as u8;
    directions[number::WRITEV] = Direction::Out as u8;
    directions[number::SENDMSG] = Direction::Out as u8;
    directions
}

/// `recv(2)`: the data stays in the socket and will be read again.
const MSG_PEEK: u64 = 2;

/// The whole tracer, from a return to what it means for its connection.
#[inline(always)]
pub(crate) fn follow<E: Exit>(exit: &E) {
    let Some((caller, transfer)) = observe(exit) else {
        return;
    };
    let next = match connection::follow(&caller, &transfer) {
        Next::Done | Next::Paired => return,
        Next::Raw => 0,
        Next::Begun => 1,
        Next::Http2 => 2,
    };
    // SAFETY: nothing here is dropped late; where the call fails the transfer is not told, which the next one of its connection is
    // told of, or what the request belongs to is not known.
    unsafe { NEXT.tail_call(exit, next) };
}

/// What [`follow`] goes on with for a request whose thread may tell what it belongs to.
#[inline(always)]
pub(crate) fn begin(exit: &impl Exit) {
    if let Some((caller, transfer)) = observe(exit) {
        threads::begun(&caller, &transfer);
    }
}

/// What [`follow`] goes on with for a client that may speak HTTP/2.
#[inline(always)]
pub(crate) fn ask(exit: &impl Exit) {
    if let Some((caller, transfer)) = observe(exit) {
        raw::ask(&caller, &transfer);
    }
}

/// What [`follow`] goes on with for a connection that is not paired here.
#[inline(always)]
pub(crate) fn tell(exit: &impl Exit) {
    if let Some((caller, transfer)) = observe(exit) {
        raw::tell(&caller, &transfer);
    }
}

/// From the cheapest question to the dearest: most calls of a machine end at the first.
#[inline(always)]
fn observe(exit: &impl Exit) -> Option<(Caller, Transfer)> {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let returned = exit.returned();
    if returned < 0 || !process::may_be_observed(tgid) {
        return None;
    }
    let task = TASKS.get_ptr_mut(tgid)?;
    // SAFETY: the verifier knows the pointer's type, and the kernel survives a bad address in such a load.
    let registers = unsafe { &*exit.registers() };
    if registers.is_32bit() {
        count(Stat::Task32Bit);
        return None;
    }
    let caller = Caller {
        tgid,
        tid: pid_tgid as u32,
        task,
    };
    let transfer = dispatch(&caller, registers, returned.cast_unsigned())?;
    Some((caller, transfer))
}

/// What the call transferred; none where it transferred nothing that matters.
#[inline(always)]
fn dispatch(caller: &Caller, registers: &Registers, returned: u64) -> Option<Transfer> {
    let number = registers.number as usize;
    if number >= CALLS {
        return None;
    }
    let (address, length) = (registers.rsi, registers.rdx);
    let buffer = match LAYOUTS[number] {
        layout::FLAT => Buffer::Flat { address, len: length },
        layout::FLAT_FLAGS if registers.r10 & MSG_PEEK == 0 => Buffer::Flat { address, len: length },
        layout::VECTOR => Buffer::Vector {
            address,
            pieces: length,
        },
        layout::MESSAGE => Buffer::Message { address },
        layout::MESSAGE_FLAGS if registers.rdx & MSG_PEEK == 0 => Buffer::Message { address },
        layout::CLOSES => {
            socket::forget(caller, registers.rdi as u32);
            return None;
        }
        layout::OPENS => {
            socket::forget(caller, returned as u32);
            return None;
        }
        layout::CHANGES_ALL => {
            socket::forget_all(caller.task);
            return None;
        }
        layout::CLOSES_MANY => {
            socket::forget_all(caller.task);
            socket::expect_strays(caller.task);
            return None;
        }
        layout::UNSEEN => {
            count(Stat::IoUring);
            // SAFETY: the map gave the pointer; it is aligned and lives as long as the program runs.
            unsafe { increment(&raw mut (*caller.task).lost) };
            return None;
        }
        _ => return None,
    };
    (returned > 0).then_some(Transfer {
        fd: registers.rdi as u32,
        buffer,
        returned,
        direction: DIRECTIONS[number],
    })
}
