//! The end of a connection: of TCP the kernel tells it, of a Unix socket it shows when it is looked for.
//!
//! A server that closes a connection without having answered ends its request as aborted, at once. One whose peer resets it may have
//! answered a moment before, in a call that did not return yet: user space is told of the request, waits for the answer, and then
//! decides. A client that closes its end for writing may still read the answer, so only the connection's end is its end.
//!
//! The state of one connection changes in an interrupt while a program looks at that of another one, and the kernel runs no program
//! within itself. So there are two that do the same: the second finds nothing left to do, unless the first was left out.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use shoalwatch_ebpf_common::{Connection, ConnectionState, Ending, Role, Stat, UnderWay};

use crate::{
    finish::{self, End},
    hold,
    maps::{CONNECTIONS, LOCALS, TASKS},
    raw, socket,
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
    look(&ctx);
    0
}

/// The same, a moment later.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn socket_state_again(ctx: RawTracePointContext) -> i32 {
    look(&ctx);
    0
}

#[inline(always)]
fn look(ctx: &RawTracePointContext) {
    let (sock, new): (u64, u32) = (ctx.arg(0), ctx.arg(2));
    if let state::ESTABLISHED | state::FIN_WAIT1 | state::CLOSE | state::LAST_ACK = new {
        change(sock, new);
    }
}

#[inline(always)]
fn change(sock: u64, new: u32) {
    let Some(connection) = CONNECTIONS.get_ptr_mut(sock) else {
        return;
    };
    // SAFETY: the map gave the pointer and it lives as long as the program runs.
    let connection = unsafe { &mut *connection };
    let closes = matches!(new, state::FIN_WAIT1 | state::LAST_ACK);
    if closes && connection.record.role == Role::Client as u8 {
        return;
    }
    // Whoever holds it will remove it.
    if hold::has_ended(connection) {
        return;
    }
    end(connection, sock, new == state::CLOSE);
}

/// Run by user space with a Unix socket's address, once a second for each: nothing in the kernel tells of its end.
#[raw_tracepoint]
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
fn local_end(ctx: RawTracePointContext) -> i32 {
    let sock: u64 = ctx.arg(0);
    if let Some(connection) = CONNECTIONS.get_ptr_mut(sock) {
        // SAFETY: as above.
        let connection = unsafe { &mut *connection };
        if !socket::is_another(connection, sock) {
            return 0;
        }
        end(connection, sock, false);
    }
    LOCALS.remove(sock).ok();
    0
}

#[inline(always)]
fn end(connection: &mut Connection, sock: u64, reset: bool) {
    let held = hold::end(connection, if reset { Ending::Reset } else { Ending::Closed });
    if connection.state != ConnectionState::Awaiting as u8 {
        if connection.opened_ns != 0 {
            raw::close(connection, sock, reset);
        }
    } else if !held.to_answer {
        end_awaiting(connection, sock, reset);
    }
    if !held.by_any {
        // Another program may have been faster: then there is nothing to remove.
        CONNECTIONS.remove(sock).ok();
    }
}

/// A reset is left to user space, unless it cannot be told.
#[inline(always)]
fn end_awaiting(connection: &mut Connection, sock: u64, reset: bool) {
    if reset {
        count(Stat::Reset);
        if raw::ended(connection, sock, UnderWay::Waiting, true) {
            return;
        }
    }
    if let Some(under_way) = abort(connection) {
        raw::ended(connection, sock, under_way, false);
    }
}

/// The request under way never gets an answer. One whose head was not even whole was none. Returns what user space has to see: another
/// request was read together with it, or the process that read it is gone and nothing is known of it here.
#[inline(always)]
fn abort(connection: &mut Connection) -> Option<UnderWay> {
    if connection.expects_body == 0 && connection.head_open == 1 {
        return None;
    }
    let Some(task) = TASKS.get_ptr_mut(connection.record.tgid) else {
        return Some(UnderWay::Waiting);
    };
    connection.record.tid = connection.record.tgid;
    connection.record.fd = 0;
    connection.record.answer_bytes = connection.asked_bytes;
    count(Stat::Aborted);
    finish::finish(connection, task, End::Aborted).then_some(UnderWay::Counted)
}
