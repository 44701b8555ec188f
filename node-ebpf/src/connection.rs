//! Pairs the requests that are read from a connection with the answers that are written to it.
//!
//! ```text
//!            read: method and space                       write: status line, 200 or more
//!   Idle ───────────────────────────────▶ Awaiting ────────────────────────────────────────▶ Idle, one record
//!     │ read: a method's first letters        ▲ │ read: the head goes on: appended
//!     └──────────────▶ Beginning ─────────────┘ │ read: another request
//!                                               └──────▶ GivenUp, until the connection is closed
//! ```
//! Two threads may work on one connection at a time; the fields are then updated in some order, and the decoder in user
//! space takes any bytes. That is rarer than it sounds: an answer is written after its request was read.
//!
//! One thing is not told apart yet: a body that begins like a request and is read after its request was answered.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_ktime_get_ns, generated::bpf_ringbuf_output},
};
use shoalwatch_ebpf_common::{
    APPEND_BYTES, Connection, ConnectionState, HEAD_BYTES, RequestRecord, Stat, Task, connection_key,
    http1::{self, Answer, Begin},
};

use crate::{
    buffer::{self, Buffer, Piece},
    maps::{CONNECTIONS, EVENTS},
    stats::{count, increment},
};

/// What a new connection's entry is copied from.
static IDLE: Connection = Connection::IDLE;

/// The empty line that ends a head.
const HEAD_END: u32 = u32::from_le_bytes(*b"\r\n\r\n");

/// Who made the system call.
pub(crate) struct Caller {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) task: *mut Task,
}

/// A connection was accepted. What an earlier connection of that number left behind is overwritten.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, where it has no room"
)]
pub(crate) fn open(caller: &Caller, fd: u32) {
    if CONNECTIONS.insert(connection_key(caller.tgid, fd), &IDLE, 0).is_err() {
        count(Stat::MapFull);
    }
}

/// A descriptor was closed.
#[inline(always)]
pub(crate) fn close(caller: &Caller, fd: u32) {
    // Most closed descriptors are no connections: nothing to remove is no failure.
    CONNECTIONS.remove(connection_key(caller.tgid, fd)).ok();
}

/// Data was read from a descriptor.
#[inline(always)]
pub(crate) fn read(caller: &Caller, fd: u32, buffer: Buffer, returned: u64) {
    let Some((connection, piece)) = transfer(caller, fd, buffer, returned) else {
        return;
    };
    // A read of less than the first piece fills only that much of it.
    let piece = Piece {
        len: piece.len.min(returned),
        ..piece
    };
    if connection.state >= ConnectionState::Awaiting as u8 {
        read_on(connection, piece);
    } else {
        read_first(connection, caller, piece);
    }
}

/// Data was written to a descriptor. Its buffer is looked at even where only a part of it was taken: the rest follows.
#[inline(always)]
pub(crate) fn write(caller: &Caller, fd: u32, buffer: Buffer, returned: u64) {
    let Some((connection, piece)) = transfer(caller, fd, buffer, returned) else {
        return;
    };
    let awaiting = connection.state == ConnectionState::Awaiting as u8;
    if piece.len < http1::STATUS_BYTES as u64 {
        if awaiting && begins_answer(piece) {
            count(Stat::ShortAnswer);
            settle(connection);
        }
        return;
    }
    let Some([low, high, next]) = buffer::read::<[u32; http1::STATUS_BYTES / 4]>(piece.address) else {
        return;
    };
    let word = u64::from(high) << 32 | u64::from(low);
    let Answer::Final(status) = http1::answer(word, next) else {
        return;
    };
    if awaiting {
        finish(connection, caller, fd, status, returned);
    } else {
        count(Stat::UnpairedAnswer);
    }
}

/// Whether a piece too short for a status line may begin one.
#[inline(always)]
fn begins_answer(piece: Piece) -> bool {
    first_word(piece).is_some_and(|word| http1::is_answer_prefix(word, piece.len as usize))
}

/// The piece's first eight bytes as a word; zero where it has fewer.
#[inline(always)]
fn first_word(piece: Piece) -> Option<u64> {
    let mut word = 0_u64;
    let len = piece.len.min(size_of::<u64>() as u64);
    // SAFETY: `word` has 8 bytes, `len` is 8 at most.
    unsafe { buffer::copy((&raw mut word).cast(), len, piece.address) }.then_some(word)
}

/// The tracked connection of a transfer and the first part of its data; none for whatever else is read and written.
#[inline(always)]
fn transfer(caller: &Caller, fd: u32, buffer: Buffer, returned: u64) -> Option<(&'static mut Connection, Piece)> {
    if returned == 0 {
        return None;
    }
    let connection = CONNECTIONS.get_ptr_mut(connection_key(caller.tgid, fd))?;
    // SAFETY: the map gave the pointer and it lives as long as the program runs. Another thread of the process may hold it
    // too; see the module's documentation.
    Some((unsafe { &mut *connection }, buffer.first_piece()?))
}

/// A read while no request is under way: does it begin one?
#[inline(always)]
fn read_first(connection: &mut Connection, caller: &Caller, piece: Piece) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if connection.state == ConnectionState::Beginning as u8 {
        let before = (connection.record.head_len & (http1::METHOD_BYTES as u16 - 1)) as usize;
        if read_head(connection, before, piece) && begin(connection, caller, connection.record.start_ns) {
            return;
        }
    }
    if read_head(connection, 0, piece) {
        begin(connection, caller, now);
    }
}

/// Copies a piece into the head behind `before` bytes that are there already, at most 7.
#[inline(always)]
fn read_head(connection: &mut Connection, before: usize, piece: Piece) -> bool {
    let len = piece.len.min(HEAD_BYTES as u64);
    let record = &mut connection.record;
    // SAFETY: `before` is 7 at most, `len` is HEAD_BYTES at most, and APPEND_BYTES of slack follow the head.
    if !unsafe { buffer::copy(record.head.as_mut_ptr().add(before), len, piece.address) } {
        return false;
    }
    record.head_len = (before as u64 + len).min(HEAD_BYTES as u64) as u16;
    record.read_bytes = (before as u64 + piece.len) as u32;
    connection.head_open = u8::from(goes_on(record));
    true
}

/// Whether more of the head may come and be kept. A head that ends together with a body, or in the middle of a read, is
/// taken to go on: then the body is kept behind it, which does no harm.
#[inline(always)]
fn goes_on(record: &RequestRecord) -> bool {
    let end = record.head_len as usize;
    // What was cut leaves a gap: nothing may be appended behind it.
    let whole = record.read_bytes as usize == end && end < HEAD_BYTES;
    // SAFETY: `end` is below HEAD_BYTES.
    whole && !(end >= 4 && unsafe { record.head.as_ptr().add(end - 4).cast::<u32>().read_unaligned() } == HEAD_END)
}

/// Classifies the head. Returns whether it is a request, or may become one.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the head begins at a multiple of eight, as the layout asserts"
)]
fn begin(connection: &mut Connection, caller: &Caller, start_ns: u64) -> bool {
    let record = &mut connection.record;
    // SAFETY: the head is longer than a word, and aligned for one.
    let word = unsafe { record.head.as_ptr().cast::<u64>().read() };
    let state = match http1::begin(word, record.head_len as usize) {
        Begin::Request { expects_body } => {
            connection.expects_body = u8::from(expects_body);
            // SAFETY: the map gave the pointer, and it lives as long as the program runs.
            let task = unsafe { &*caller.task };
            record.service = task.service;
            record.flags = task.flags;
            count(Stat::Requests);
            ConnectionState::Awaiting
        }
        Begin::Prefix => ConnectionState::Beginning,
        Begin::Other => ConnectionState::Idle,
    };
    record.start_ns = start_ns;
    connection.state = state as u8;
    connection.ahead_len = 0;
    state as u8 != ConnectionState::Idle as u8
}

/// A read while an answer is awaited: more of the head, the body, or already the next request.
#[inline(always)]
fn read_on(connection: &mut Connection, piece: Piece) {
    let Some(word) = first_word(piece) else {
        return;
    };
    let len = piece.len.min(http1::METHOD_BYTES as u64);
    connection.ahead_len = 0;
    match http1::begin(word, len as usize) {
        Begin::Request { .. } if connection.expects_body == 0 => return give_up(connection),
        Begin::Prefix => {
            // Taken up if the answer comes before more is read: then it was the next request. Else it was not.
            connection.ahead = word.to_le_bytes();
            connection.ahead_len = len as u8;
            // SAFETY: the helper has no preconditions.
            connection.ahead_ns = unsafe { bpf_ktime_get_ns() };
        }
        _ => {}
    }
    if connection.head_open == 1 {
        append(connection, piece);
    }
}

/// A request came before the answer to an earlier one.
#[inline(always)]
fn give_up(connection: &mut Connection) {
    count(Stat::Requests);
    count(Stat::Pipelined);
    if connection.state == ConnectionState::Awaiting as u8 {
        count(Stat::Pipelined);
        connection.state = ConnectionState::GivenUp as u8;
        connection.head_open = 0;
    }
}

/// Adds a piece to a head that came in pieces, as far as there is room.
#[inline(always)]
fn append(connection: &mut Connection, piece: Piece) {
    let record = &mut connection.record;
    let before = record.head_len as usize;
    let len = piece.len.min(APPEND_BYTES as u64);
    if before >= HEAD_BYTES {
        return;
    }
    // SAFETY: `before` is below HEAD_BYTES, `len` is APPEND_BYTES at most, and that much slack follows the head.
    if unsafe { buffer::copy(record.head.as_mut_ptr().add(before), len, piece.address) } {
        record.head_len = (before as u64 + len).min(HEAD_BYTES as u64) as u16;
    }
    record.read_bytes = record.read_bytes.saturating_add(piece.len as u32);
    connection.head_open = u8::from(goes_on(record));
}

/// The awaited answer was written: one record leaves.
#[inline(always)]
fn finish(connection: &mut Connection, caller: &Caller, fd: u32, status: u16, returned: u64) {
    let record = &mut connection.record;
    // SAFETY: the helper has no preconditions.
    record.end_ns = unsafe { bpf_ktime_get_ns() };
    record.tgid = caller.tgid;
    record.tid = caller.tid;
    record.fd = fd;
    record.status = status;
    record.answer_bytes = returned as u32;
    send(record, caller);
    settle(connection);
}

#[inline(always)]
fn send(record: &mut RequestRecord, caller: &Caller) {
    let len = (RequestRecord::HEADER_BYTES as u64) + u64::from(record.head_len).min(HEAD_BYTES as u64);
    let from = (&raw mut *record).cast();
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the map is a ring buffer, and the record has `len` bytes. aya's own `output` wants a slice of constant length.
    if unsafe { bpf_ringbuf_output(ring, from, len, u64::from(BPF_RB_NO_WAKEUP)) } == 0 {
        count(Stat::Events);
        return;
    }
    count(Stat::RingFull);
    // SAFETY: the map gave the pointer; it is aligned and lives as long as the program runs.
    unsafe { increment(&raw mut (*caller.task).lost) };
}

/// Nothing is awaited any more; what was read ahead begins the next request.
#[inline(always)]
fn settle(connection: &mut Connection) {
    connection.state = ConnectionState::Idle as u8;
    if connection.ahead_len > 0 {
        connection.state = ConnectionState::Beginning as u8;
        let record = &mut connection.record;
        record.head[..8].copy_from_slice(&connection.ahead);
        record.head_len = u16::from(connection.ahead_len);
        record.start_ns = connection.ahead_ns;
        connection.ahead_len = 0;
    }
}
