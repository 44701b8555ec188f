//! What a thread serves, so that what it asks others meanwhile belongs to the same trace.
//!
//! A thread is evidence only where each serves one request at a time, from its first byte to its answer. So a process that asks others is
//! watched first: once a request is answered by a thread that did not read it, or a thread reads a second one while the first is under way,
//! its threads say nothing for as long as it lives, and it is watched no more. Event loops and goroutines are found out by this.
//!
//! A server's trace and span ids are made in user space from a number that is drawn here when its request begins. What its thread asks
//! others meanwhile gets the same number, and with it the same trace, the server's span as its parent, and the same randomness.

use shoalwatch_ebpf_common::{
    Connection, ConnectionState, HEAD_BYTES, MIXED, NO_SPANS, ONE_EACH, RequestRecord, Role, Serving, Stat, Task,
    head::{self, ASK},
    sampling::RANDOMNESS,
};

use crate::{
    buffer,
    connection::{Caller, Transfer},
    finish,
    hold::{self, Side},
    maps::{CONNECTIONS, SERVING},
    socket::Socket,
    stats::count,
};

/// Whether the threads of a process are watched.
#[inline(always)]
fn is_watched(task: *const Task) -> bool {
    // SAFETY: the map gave the pointer, and it lives as long as the program runs.
    let (threads, flags) = unsafe { ((*task).threads, (*task).flags) };
    threads != 0 && threads != MIXED && flags & NO_SPANS == 0
}

/// Notes who read a request that begins. Returns whether [`begun`] has to see it.
#[inline(always)]
pub(crate) fn begin(connection: &mut Connection, caller: &Caller) -> bool {
    let record = &mut connection.record;
    record.seed = 0;
    connection.reader = caller.tid;
    if !is_watched(caller.task) {
        if record.role == Role::Client as u8 {
            watch(caller.task);
        }
        return false;
    }
    if record.role == Role::Server as u8 {
        // Never 0.
        record.seed = finish::random() | 1 << 63;
        record.randomness = record.seed & RANDOMNESS;
        return true;
    }
    // SAFETY: as above.
    unsafe { (*caller.task).threads == ONE_EACH }
}

/// The process asks others: from now on its threads are watched, unless they were before.
#[inline(always)]
fn watch(task: *mut Task) {
    // SAFETY: as above. What two write at a time is the same.
    unsafe {
        if (*task).threads == 0 {
            (*task).threads = 1;
        }
    }
}

/// A server's request is answered.
#[inline(always)]
pub(crate) fn answer(connection: &Connection, caller: &Caller) {
    if connection.record.seed == 0 || connection.record.role == Role::Client as u8 {
        return;
    }
    // SAFETY: as above. Of two that add at a time one may be missing, and what was mixed is seen to be so again.
    unsafe {
        let threads = &mut (*caller.task).threads;
        if connection.reader != caller.tid {
            *threads = MIXED;
        } else if *threads < ONE_EACH {
            *threads += 1;
        }
    }
}

/// A request began on a connection of a process that is watched.
#[inline(always)]
pub(crate) fn begun(caller: &Caller, transfer: &Transfer) {
    let Some(socket) = Socket::of(caller, transfer.fd) else {
        return;
    };
    let Some(connection) = CONNECTIONS.get_ptr_mut(socket.sock) else {
        return;
    };
    // SAFETY: the map gave the pointer and it lives as long as the program runs.
    let connection = unsafe { &mut *connection };
    if connection.record.role != transfer.direction {
        return;
    }
    hold::take(connection, Side::Asks);
    if connection.state == ConnectionState::Awaiting as u8 {
        if connection.record.role == Role::Server as u8 {
            serve(caller, socket.sock, connection.record.seed);
        } else {
            ask(caller, &mut connection.record);
        }
    }
    hold::release(connection, Side::Asks, socket.sock, |_| {});
}

/// The thread serves a request, and no other.
#[inline(always)]
fn serve(caller: &Caller, sock: u64, seed: u64) {
    if let Some(before) = served(caller)
        && before.sock != sock
        && under_way(before).is_some()
    {
        // SAFETY: as above.
        unsafe { (*caller.task).threads = MIXED };
        return;
    }
    // Without room the thread serves nothing, as far as is known.
    SERVING.insert(caller.tid, Serving { sock, seed }, 0).ok();
}

/// The thread asks: what it asks belongs to what it serves.
#[inline(always)]
fn ask(caller: &Caller, record: &mut RequestRecord) {
    let Some(serving) = served(caller) else { return };
    let Some(server) = under_way(serving) else { return };
    // SAFETY: the map gave the pointer. It is only read; should its request end meanwhile, it was under way when this one began.
    let server = unsafe { &*server };
    let Some(parent) = parent(server) else { return };
    record.seed = serving.seed;
    record.randomness = parent.randomness;
    record.caller = parent.trace;
    record.caller_sampled = u8::from(parent.sampled);
    count(Stat::Joined);
}

/// The server's own caller, whose trace is zeros if it has none; nothing where only user space can read who that is.
#[inline(always)]
fn parent(server: &Connection) -> Option<head::Parent> {
    let record = &server.record;
    // SAFETY: the connection's own field, which nobody writes.
    let zero = || unsafe { buffer::zero_at(&raw const server.zero) };
    let len = (record.head_len as usize).min(HEAD_BYTES);
    let headers = head::headers(zero(), len, zero, |at| finish::word(record, at));
    if headers.flags & ASK != 0 {
        return None;
    }
    let nobody = head::Parent {
        trace: [0; 2],
        randomness: record.seed & RANDOMNESS,
        sampled: false,
    };
    if headers.parent_at == 0 {
        return Some(nobody);
    }
    let parent = head::parent(headers.parent_at, len, |at| finish::word(record, at));
    parent.ok().map(|parent| parent.unwrap_or(nobody))
}

/// What the thread began to serve last.
#[inline(always)]
fn served(caller: &Caller) -> Option<Serving> {
    // SAFETY: the value is copied at once; only the thread itself writes it.
    unsafe { SERVING.get(caller.tid) }.copied()
}

/// The connection of a request, if it was not answered yet.
#[inline(always)]
fn under_way(serving: Serving) -> Option<*mut Connection> {
    let connection = CONNECTIONS.get_ptr_mut(serving.sock)?;
    // SAFETY: as above.
    let (state, seed) = unsafe { ((*connection).state, (*connection).record.seed) };
    (state == ConnectionState::Awaiting as u8 && seed == serving.seed).then_some(connection)
}
