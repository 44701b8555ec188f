//! Tells user space of every transfer of a connection that is not paired here: see [`RawRecord`].
//!
//! Nothing is understood here but where data lies. What finds no room in the ring ends the telling: with a transfer missing nobody
//! could say which answer is whose.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_ktime_get_ns, generated},
    maps::ring_buf::RingBufEntry,
};
use shoalwatch_ebpf_common::{
    Connection, ConnectionState, HEAD_BYTES, MAX_HTTP2_RECORDS, MAX_RAW_RECORDS, RAW_BYTES, RAW_SMALL_BYTES, RawKind,
    RawRecord, RequestRecord, Stat, UnderWay, head,
};

use crate::{
    buffer::{self, Pieces},
    connection::{self, Caller, Transfer},
    finish,
    hold::{self, Side},
    maps::{CONNECTIONS, RAW},
    socket::Socket,
    stats::{count, increment},
};

/// Room of the records.
const SMALL: u64 = RAW_SMALL_BYTES as u64;
const LARGE: u64 = RAW_BYTES as u64;
/// A segment's `mark`.
const ANSWER: u8 = 1;

/// Tells one transfer.
#[inline(always)]
pub(crate) fn tell(caller: &Caller, transfer: &Transfer) {
    let Some(socket) = Socket::of(caller, transfer.fd) else {
        return;
    };
    let Some(connection) = CONNECTIONS.get_ptr_mut(socket.sock) else {
        return orphan(caller, transfer, socket.sock);
    };
    // SAFETY: the map gave the pointer and it lives as long as the program runs. What two threads of one connection write at a time is
    // told in some order.
    let connection = unsafe { &mut *connection };
    if connection.state == ConnectionState::Awaiting as u8 {
        if !holds_several(connection) {
            return;
        }
        connection::leave_untold(connection);
    }
    if connection.state != ConnectionState::Raw as u8 {
        return;
    }
    let side = if connection.record.role == transfer.direction {
        Side::Asks
    } else {
        Side::Answers
    };
    hold::take(connection, side);
    if !open(connection, socket.sock) || !segments(connection, caller, transfer, socket.sock) {
        give_up(connection, caller);
    }
    hold::release(connection, side, socket.sock, |_| {});
}

/// Whether a read of more than the head's room holds another request behind its first, as far as the room shows.
#[inline(always)]
fn holds_several(connection: &Connection) -> bool {
    let record = &connection.record;
    // SAFETY: the connection's own field, which nobody writes.
    let zero = || unsafe { buffer::zero_at(&raw const connection.zero) };
    let end = head::headers(zero(), HEAD_BYTES, zero, |at| finish::word(record, at)).end;
    finish::begins_request(record, end, HEAD_BYTES)
}

/// With a transfer missing the rest says nothing. From here on requests are only counted.
#[inline(always)]
fn give_up(connection: &mut Connection, caller: &Caller) {
    connection.state = ConnectionState::GivenUp as u8;
    // SAFETY: the map gave the pointer; it is aligned and lives as long as the program runs.
    unsafe { increment(&raw mut (*caller.task).lost) };
}

/// Opens the connection in the ring, unless it is open.
#[inline(always)]
fn open(connection: &mut Connection, sock: u64) -> bool {
    if connection.opened_ns != 0 {
        return true;
    }
    // SAFETY: the helper has no preconditions.
    connection.opened_ns = unsafe { bpf_ktime_get_ns() };
    count(Stat::Raw);
    tell_request(connection, sock, RawKind::Open, connection.under_way, 0) && tell_ahead(connection, sock)
}

/// The connection ended.
#[inline(always)]
pub(crate) fn close(connection: &Connection, sock: u64, reset: bool) {
    let Some(mut entry) = reserve::<RAW_SMALL_BYTES>() else {
        return;
    };
    header(&mut entry, connection, (sock, RawKind::Close), u8::from(reset));
    // SAFETY: the record is the ring's.
    unsafe { (*entry.as_mut_ptr()).total_len = u32::from(connection.state == ConnectionState::GivenUp as u8) };
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// A connection of the fast path ended with a request that user space has to see. Returns whether it could be told.
#[inline(always)]
pub(crate) fn ended(connection: &mut Connection, sock: u64, under_way: UnderWay, reset: bool) -> bool {
    // SAFETY: the helper has no preconditions.
    connection.opened_ns = unsafe { bpf_ktime_get_ns() };
    tell_request(connection, sock, RawKind::Ended, under_way as u8, u8::from(reset))
}

/// The request under way, as far as its head was kept.
#[inline(always)]
fn tell_request(connection: &mut Connection, sock: u64, kind: RawKind, under_way: u8, mark: u8) -> bool {
    let Some(mut entry) = reserve::<RAW_BYTES>() else {
        return false;
    };
    header(&mut entry, connection, (sock, kind), mark);
    let to = entry.as_mut_ptr();
    // With what was read of its body.
    connection.record.read_bytes = connection.asked_bytes;
    let head_len = connection.record.head_len.min(HEAD_BYTES as u16);
    // SAFETY: a record of the ring has room for a request's record, which is a part of the connection's.
    unsafe {
        (*to).under_way = under_way;
        (*to).captured = RequestRecord::HEADER_BYTES as u16 + head_len;
        generated::bpf_probe_read_kernel(
            (&raw mut (*to).bytes).cast(),
            size_of::<RequestRecord>() as u32,
            (&raw const connection.record).cast(),
        );
    }
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}

/// What was read ahead of the next request, which the request's record does not hold.
#[inline(always)]
fn tell_ahead(connection: &mut Connection, sock: u64) -> bool {
    // Where the head was open it is a part of what was kept of it.
    if connection.ahead_len == 0 || connection.head_open == 1 {
        return true;
    }
    let Some(mut entry) = reserve::<RAW_SMALL_BYTES>() else {
        return false;
    };
    header(&mut entry, connection, (sock, RawKind::Segment), 0);
    let to = entry.as_mut_ptr();
    // SAFETY: a record of the ring has room for eight bytes.
    unsafe {
        (*to).time_ns = connection.ahead_ns;
        (*to).captured = u16::from(connection.ahead_len);
        (*to).total_len = u32::from(connection.ahead_len);
        (&raw mut (*to).bytes).cast::<[u8; 8]>().write(connection.ahead);
    }
    connection.ahead_len = 0;
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}

/// What the call transferred, in pieces.
#[inline(always)]
fn segments(connection: &Connection, caller: &Caller, transfer: &Transfer, sock: u64) -> bool {
    let mark = u8::from(transfer.direction != connection.record.role);
    let Some(mut pieces) = transfer.buffer.pieces() else {
        return false;
    };
    // SAFETY: the connection's own field, which nobody writes.
    let zero = || unsafe { buffer::zero_at(&raw const connection.zero) as u64 };
    let mut left = transfer.returned;
    for _ in 0..MAX_RAW_RECORDS {
        // The verifier would follow every way through the loop apart from the others, for what it knows of these numbers.
        pieces.blur(zero);
        left = left.wrapping_add(zero());
        if left == 0 {
            return true;
        }
        let Some(len) = pieces.available() else {
            break;
        };
        let len = len.min(left).min(LARGE);
        if len == 0 {
            continue;
        }
        if !segment(connection, caller, (sock, transfer.fd, mark), &pieces, (len, len)) {
            return false;
        }
        pieces.advance(len);
        left -= len;
    }
    left == 0 || segment(connection, caller, (sock, transfer.fd, mark), &pieces, (0, left))
}

/// One record: `len` bytes kept, `total` transferred.
#[inline(always)]
fn segment(
    connection: &Connection,
    caller: &Caller,
    (sock, fd, mark): (u64, u32, u8),
    pieces: &Pieces,
    (len, total): (u64, u64),
) -> bool {
    let about = (sock, RawKind::Segment, mark);
    let from = (pieces.address(), len, total);
    if len <= SMALL {
        transfer_record::<RAW_SMALL_BYTES, SMALL>(connection, caller, fd, about, from)
    } else {
        transfer_record::<RAW_BYTES, LARGE>(connection, caller, fd, about, from)
    }
}

/// `from`: where the bytes lie, how many of them are kept, and how many were transferred.
#[inline(always)]
fn transfer_record<const ROOM: usize, const MAX: u64>(
    connection: &Connection,
    caller: &Caller,
    fd: u32,
    (sock, kind, mark): (u64, RawKind, u8),
    from: (u64, u64, u64),
) -> bool {
    let Some(mut entry) = reserve::<ROOM>() else {
        return false;
    };
    header(&mut entry, connection, (sock, kind), mark);
    fill::<ROOM, MAX>(&mut entry, caller, fd, from);
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}

#[inline(always)]
fn fill<const ROOM: usize, const MAX: u64>(
    entry: &mut RingBufEntry<RawRecord<ROOM>>,
    caller: &Caller,
    fd: u32,
    (address, len, total): (u64, u64, u64),
) {
    let to = entry.as_mut_ptr();
    // SAFETY: the record is the ring's, `copy` writes no more bytes than it has room for, and the map gave the pointer to the task.
    unsafe {
        (*to).tgid = caller.tgid;
        (*to).tid = caller.tid;
        (*to).fd = fd;
        (*to).service = (*caller.task).service;
        (*to).flags = (*caller.task).flags;
        (*to).total_len = total as u32;
        let copied = buffer::copy::<MAX>((&raw mut (*to).bytes).cast(), len, address);
        (*to).captured = if copied { len as u16 } else { 0 };
    }
}

/// What a client writes on a connection that is not known, which may be its first HTTP/2 request: its first parts, and of each as much as
/// a record holds.
#[inline(always)]
pub(crate) fn ask(caller: &Caller, transfer: &Transfer) {
    let Some(socket) = Socket::of(caller, transfer.fd) else {
        return;
    };
    let Some(mut pieces) = transfer.buffer.pieces() else {
        return;
    };
    // Of zeros that it knows the compiler would have a function write them, which old kernels do not bear beside tail calls.
    let unknown = core::hint::black_box(&UNKNOWN);
    for _ in 0..MAX_HTTP2_RECORDS {
        let Some(len) = pieces.available() else {
            return;
        };
        let about = (socket.sock, RawKind::Http2, 0);
        let from = (pieces.address(), len.min(LARGE), len);
        transfer_record::<RAW_BYTES, LARGE>(unknown, caller, transfer.fd, about, from);
        pieces.advance(len);
    }
}

/// An answer on a connection that is not known: it may belong to one that was reset while the call ran.
#[inline(always)]
fn orphan(caller: &Caller, transfer: &Transfer, sock: u64) {
    let Some(piece) = transfer.buffer.first_piece() else {
        return;
    };
    let len = piece.len.min(transfer.returned).min(SMALL);
    let about = (sock, RawKind::Orphan, ANSWER);
    let from = (piece.address, len, transfer.returned);
    transfer_record::<RAW_SMALL_BYTES, SMALL>(&UNKNOWN, caller, transfer.fd, about, from);
}

/// An answer that was paired and counted although its connection was reset: user space may take it for unanswered.
#[inline(always)]
pub(crate) fn late(connection: &Connection) {
    let Some(mut entry) = reserve::<RAW_SMALL_BYTES>() else {
        return;
    };
    header(&mut entry, connection, (connection.sock, RawKind::Orphan), ANSWER);
    // SAFETY: the record is the ring's.
    unsafe { (*entry.as_mut_ptr()).under_way = UnderWay::Counted as u8 };
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// What nothing is known of.
static UNKNOWN: Connection = Connection::IDLE;

/// Room for a record; its lack is counted.
#[inline(always)]
fn reserve<const ROOM: usize>() -> Option<RingBufEntry<RawRecord<ROOM>>> {
    let entry = RAW.reserve::<RawRecord<ROOM>>(0);
    if entry.is_none() {
        count(Stat::RawFull);
    }
    entry
}

/// Fills everything but what was transferred.
#[inline(always)]
fn header<const ROOM: usize>(
    entry: &mut RingBufEntry<RawRecord<ROOM>>,
    connection: &Connection,
    (sock, kind): (u64, RawKind),
    mark: u8,
) {
    let to = entry.as_mut_ptr();
    let record = &connection.record;
    // SAFETY: the record is the ring's.
    unsafe {
        (*to).time_ns = bpf_ktime_get_ns();
        (*to).sock = sock;
        (*to).opened_ns = connection.opened_ns;
        (*to).total_len = 0;
        (*to).tgid = record.tgid;
        (*to).tid = record.tid;
        (*to).fd = record.fd;
        (*to).service = record.service;
        (*to).flags = record.flags;
        (*to).captured = 0;
        (*to).kind = kind as u8;
        (*to).mark = mark;
        (*to).under_way = 0;
        (*to).role = record.role;
        (*to).reserved = 0;
    }
}
