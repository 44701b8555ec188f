//! The end of a connection, as the kernel's TCP tells it.
//!
//! A connection that the process itself closes without having answered ends its request as aborted, at once. One that the peer
//! resets may have been answered a moment before, in a call that did not return yet: it is only marked. The call's return settles
//! it, or the next connection at the same address, or the worker's sweep.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use shoalwatch_ebpf_common::{Connection, ConnectionState, Stat};

use crate::{
    finish::{self, End},
    maps::{CONNECTIONS, TASKS},
    stats::count,
};

/// States of TCP, as the kernel's `include/net/tcp_states.h` numbers them.
mod state {
    pub(super) const ESTABLISHED: u32 = 1;
    pub(super) const FIN_WAIT1: u32 = 4;
    pub(super) const CLOSE: u32 = 7;
    pub(super) const LAST_ACK: u32 = 9;
}

/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn socket_state(ctx: RawTracePointContext) -> i32 {
    let (sock, new): (u64, u32) = (ctx.arg(0), ctx.arg(2));
    if let state::ESTABLISHED | state::FIN_WAIT1 | state::CLOSE | state::LAST_ACK = new {
        change(sock, new);
    }
    0
}

#[inline(always)]
fn change(sock: u64, new: u32) {
    let Some(connection) = CONNECTIONS.get_ptr_mut(sock) else {
        return;
    };
    // SAFETY: the map gave the pointer and it lives as long as the program runs.
    let connection = unsafe { &mut *connection };
    let awaiting = connection.state == ConnectionState::Awaiting as u8;
    if awaiting && new == state::CLOSE {
        connection.reset = 1;
        return count(Stat::Reset);
    }
    if awaiting {
        abort(connection);
    }
    if new == state::ESTABLISHED || new == state::CLOSE {
        // Another program may have been faster: then there is nothing to remove.
        CONNECTIONS.remove(sock).ok();
    }
}

/// The request under way never gets an answer. One whose head was not even whole was none.
#[inline(always)]
fn abort(connection: &mut Connection) {
    connection.state = ConnectionState::Idle as u8;
    if connection.expects_body == 0 && connection.head_open == 1 {
        return;
    }
    let Some(task) = TASKS.get_ptr_mut(connection.record.tgid) else {
        return;
    };
    connection.record.tid = connection.record.tgid;
    connection.record.fd = 0;
    connection.record.answer_bytes = connection.asked_bytes;
    count(Stat::Aborted);
    finish::finish(connection, task, End::Aborted);
}
