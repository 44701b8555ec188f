//! Pairs requests with answers, for servers and for clients.
//!
//! ```text
//!           request side: method and space              answer side: status line, 200 or more
//!   Idle ───────────────────────────────▶ Awaiting ────────────────────────────────────────▶ Idle, one request
//!     │ a method's first letters              ▲ │ request side: the head goes on: appended
//!     └──────────────▶ Beginning ─────────────┘ │ another request, or an answer of another shape
//!                                               └──────▶ Raw, until the connection is closed
//! ```
//! A server reads requests and writes answers; a client writes requests and reads answers. Which of the two a process is, the
//! first request of a connection says.
//!
//! Two threads may work on one connection at a time: see [`hold`].
//!
//! One thing is not told apart: a body that begins like a request and is read after its request was answered.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use shoalwatch_ebpf_common::{
    APPEND_BYTES, Connection, ConnectionState, Ending, HEAD_BYTES, RequestRecord, Role, Stat, Task, UnderWay,
    http1::{self, Answer, Begin, Method},
    http2,
};

use crate::{
    ahead,
    buffer::{self, Buffer, Piece},
    finish::{self, End},
    hold::{self, Side},
    maps::{CONNECTIONS, LOCALS},
    raw,
    socket::{self, Kind, Socket},
    stats::count,
    threads,
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

/// Which way data went, numbered as the [`Role`] of who sends requests that way.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Direction {
    In = Role::Server as u8,
    Out = Role::Client as u8,
}

/// Data was read from a descriptor or written to it.
pub(crate) struct Transfer {
    pub(crate) fd: u32,
    pub(crate) buffer: Buffer,
    /// How many bytes, at least one.
    pub(crate) returned: u64,
    /// A [`Direction`].
    pub(crate) direction: u8,
}

/// What becomes of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing more.
    Done,
    /// [`raw`](crate::raw) has to see it.
    Raw,
    /// Nothing more: it was an answer, and is counted.
    Paired,
    /// [`threads`](crate::threads) have to see it.
    Begun,
    /// User space has to see it: it may be an HTTP/2 request.
    Http2,
}

/// Follows one transfer.
#[inline(always)]
pub(crate) fn follow(caller: &Caller, transfer: &Transfer) -> Next {
    let &Transfer {
        fd,
        buffer,
        returned,
        direction,
    } = transfer;
    let Some(socket) = Socket::of(caller, fd) else {
        return Next::Done;
    };
    let Some(piece) = buffer.first_piece() else {
        return Next::Done;
    };
    // A read of less than the first piece fills only that much of it. A write's buffer is looked at even where only a part of it
    // was taken: the rest follows.
    let len = if direction == Direction::In as u8 {
        piece.len.min(returned)
    } else {
        piece.len
    };
    let piece = Piece { len, ..piece };
    let Some(connection) = CONNECTIONS.get_ptr_mut(socket.sock) else {
        return meet(caller, socket, piece, (direction, returned));
    };
    // SAFETY: the map gave the pointer and it lives as long as the program runs. Whoever else works on it waits.
    let connection = unsafe { &mut *connection };
    if socket::is_another(connection, socket.sock) {
        replace(connection, socket.sock, direction);
    }
    if connection.state >= ConnectionState::Raw as u8 {
        return off_the_path(connection, piece, direction);
    }
    if connection.record.role == direction {
        hold::take(connection, Side::Asks);
        let next = request_side(connection, caller, piece, returned);
        hold::release(connection, Side::Asks, socket.sock, |_| {});
        return if ahead::is_untold(connection) { Next::Raw } else { next };
    }
    hold::take(connection, Side::Answers);
    let next = answer_side(connection, caller, fd, piece, returned);
    let held = &raw mut *connection;
    hold::release(held, Side::Answers, socket.sock, |ending| {
        if next == Next::Paired && ending == Ending::Reset as u16 {
            raw::late(connection);
        }
    });
    next
}

/// The first transfer of a Unix socket at an address where another one's end was not noticed yet: what was under way there ends.
#[inline(always)]
fn replace(connection: &mut Connection, sock: u64, direction: u8) {
    if connection.state == ConnectionState::Awaiting as u8 {
        raw::ended(connection, sock, UnderWay::Waiting, false);
    } else if connection.opened_ns != 0 {
        raw::close(connection, sock, false);
    }
    connection.inode = socket::inode(sock);
    connection.state = ConnectionState::Idle as u8;
    connection.record.role = direction;
    connection.ahead_len = 0;
    connection.opened_ns = 0;
}

/// A transfer of a connection that left the fast path.
#[inline(always)]
fn off_the_path(connection: &Connection, piece: Piece, direction: u8) -> Next {
    if connection.state == ConnectionState::Raw as u8 {
        return Next::Raw;
    }
    if connection.state == ConnectionState::GivenUp as u8 && connection.record.role == direction {
        let len = piece.len.min(http1::METHOD_BYTES as u64) as usize;
        if let Some(Begin::Request(_)) = first_word(piece).map(|word| http1::begin(word, len)) {
            count(Stat::Requests);
            count(Stat::GivenUp);
        }
    }
    Next::Done
}

/// Whether the body of a request comes only now that the request was answered; the next request may follow in the same call. Where some
/// of the body was read before, nobody knows how much of it is to come, and it is left to look like nothing.
#[inline(always)]
fn is_late_body(connection: &Connection, piece: Piece) -> bool {
    let record = &connection.record;
    let head_only = u32::from(record.head_len) == record.read_bytes && record.read_bytes == connection.asked_bytes;
    if connection.expects_body == 0 || connection.state != ConnectionState::Idle as u8 || !head_only {
        return false;
    }
    let len = piece.len.min(http1::METHOD_BYTES as u64) as usize;
    first_word(piece).is_some_and(|word| matches!(http1::begin(word, len), Begin::Other))
}

/// The connection leaves the fast path; the transfer at hand is the first that is told.
#[inline(always)]
fn leave(connection: &mut Connection, under_way: UnderWay) -> Next {
    connection.state = ConnectionState::Raw as u8;
    connection.under_way = under_way as u8;
    Next::Raw
}

/// The connection leaves the fast path with the transfer that showed its request, which is told from its first byte; what was read of
/// the request before is told ahead of it.
#[inline(always)]
pub(crate) fn leave_untold(connection: &mut Connection) -> Next {
    connection.ahead.copy_from_slice(&connection.record.head[..8]);
    connection.ahead_len = connection.begun_len;
    connection.ahead_ns = connection.record.start_ns;
    connection.head_open = 0;
    connection.record.head_len = 0;
    connection.asked_bytes = 0;
    leave(connection, UnderWay::Waiting)
}

/// The first transfer of a socket: it becomes a connection when it begins with a request.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, where it has no room"
)]
fn meet(caller: &Caller, socket: Socket, piece: Piece, (direction, returned): (u8, u64)) -> Next {
    let Some(word) = first_word(piece) else {
        return Next::Done;
    };
    match http1::begin(word, piece.len.min(http1::METHOD_BYTES as u64) as usize) {
        Begin::Request(_) => {}
        Begin::Prefix if direction == Direction::In as u8 => {}
        _ => {
            let answers = piece.len >= http1::STATUS_BYTES as u64 && http1::is_answer_prefix(word, http1::METHOD_BYTES);
            let asks = direction == Direction::Out as u8 && may_ask_first(piece, word);
            return match (answers, asks) {
                (true, _) => Next::Raw,
                (_, true) => Next::Http2,
                _ => Next::Done,
            };
        }
    }
    let kind = socket.kind();
    if kind == Kind::Other {
        return Next::Done;
    }
    if CONNECTIONS.insert(socket.sock, &IDLE, 0).is_err() {
        count(Stat::MapFull);
        return Next::Done;
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(socket.sock) else {
        return Next::Done;
    };
    // SAFETY: as in `follow`.
    let connection = unsafe { &mut *connection };
    connection.sock = socket.sock;
    if kind == Kind::Local {
        connection.inode = socket::inode(socket.sock);
        // It has room for as many as there are connections.
        LOCALS.insert(socket.sock, 0, 0).ok();
    }
    connection.record.role = direction;
    if direction == Direction::Out as u8 {
        socket.name_peer(&mut connection.record);
    }
    request_side(connection, caller, piece, returned)
}

/// Whether a piece may be, or begin with, a connection's first HTTP/2 request. `word`: its first eight bytes.
#[inline(always)]
fn may_ask_first(piece: Piece, word: u64) -> bool {
    let framed = piece.len >= http2::FRAME_HEADER_BYTES as u64;
    // Only frames need the ninth byte, and nothing else is worth a look at it.
    let stream = || buffer::read::<u8>(piece.address.wrapping_add(size_of::<u64>() as u64));
    framed
        && (http2::may_ask_first(word, 0) || http2::may_ask_first(word, 1))
        && stream().is_some_and(|stream| http2::may_ask_first(word, stream))
}

#[inline(always)]
fn request_side(connection: &mut Connection, caller: &Caller, piece: Piece, returned: u64) -> Next {
    if connection.state == ConnectionState::Awaiting as u8 {
        return go_on(connection, piece, returned);
    }
    ahead::take_up(connection);
    if is_late_body(connection, piece) {
        return leave(connection, UnderWay::Answered);
    }
    begin_request(connection, caller, piece);
    if connection.state != ConnectionState::Awaiting as u8 {
        return Next::Done;
    }
    let watched = threads::begin(connection, caller);
    // The head goes on in another part of the same call.
    if connection.head_open == 1 && returned > piece.len {
        return leave_untold(connection);
    }
    let behind = returned.saturating_sub(piece.len) as u32;
    connection.asked_bytes = connection.asked_bytes.saturating_add(behind);
    // More than the head's room may be several requests; those that have bodies are told apart later, if at all.
    if piece.len > HEAD_BYTES as u64 && connection.expects_body == 0 {
        return Next::Raw;
    }
    if watched { Next::Begun } else { Next::Done }
}

#[inline(always)]
fn answer_side(connection: &mut Connection, caller: &Caller, fd: u32, piece: Piece, returned: u64) -> Next {
    let awaiting = connection.state == ConnectionState::Awaiting as u8;
    if piece.len < http1::STATUS_BYTES as u64 {
        if awaiting && begins_answer(piece) {
            return leave(connection, UnderWay::Waiting);
        }
        return Next::Done;
    }
    let Some([low, high, next]) = buffer::read::<[u32; http1::STATUS_BYTES / 4]>(piece.address) else {
        return Next::Done;
    };
    let word = u64::from(high) << 32 | u64::from(low);
    match http1::answer(word, next) {
        Answer::Final(status) if awaiting => {
            let more = end_request(connection, caller, fd, status, returned);
            after_answer(connection, more)
        }
        Answer::Final(_) => unpaired(connection),
        Answer::Interim if awaiting => leave(connection, UnderWay::Waiting),
        _ => Next::Done,
    }
}

#[inline(always)]
fn end_request(connection: &mut Connection, caller: &Caller, fd: u32, status: u16, returned: u64) -> bool {
    let record = &mut connection.record;
    record.tgid = caller.tgid;
    record.tid = caller.tid;
    record.fd = fd;
    record.answer_bytes = returned as u32;
    threads::answer(connection, caller);
    // SAFETY: the connection's own field, which nobody writes.
    let zero = unsafe { buffer::zero_at(&raw const connection.zero) };
    // The verifier would follow what comes now once for every kind of status.
    let status = status.wrapping_add(zero as u16);
    finish::finish(connection, caller.task, End::Answer(status))
}

/// How the connection goes on; `more`: another request was read together with the one that is answered. One store says it, and nothing
/// else is touched: where the other side could wait no longer, it is at work on the next request already.
#[inline(always)]
fn after_answer(connection: &mut Connection, more: bool) -> Next {
    if ends_http(&connection.record) {
        connection.state = ConnectionState::Tunnel as u8;
        return Next::Paired;
    }
    if more {
        return leave(connection, UnderWay::Counted);
    }
    connection.state = ConnectionState::Idle as u8;
    Next::Paired
}

/// Whether what follows an answer is no HTTP any more (RFC 9110 sections 9.3.6 and 15.2.2).
#[inline(always)]
fn ends_http(record: &RequestRecord) -> bool {
    record.status == http1::SWITCHING || record.method == Method::Connect as u8 && record.status < 300
}

/// An answer while none is awaited: of a request that was read together with the last one, if of any.
#[inline(always)]
fn unpaired(connection: &mut Connection) -> Next {
    if connection.extra == 1 {
        return leave(connection, UnderWay::Answered);
    }
    count(Stat::UnpairedAnswer);
    Next::Done
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
    unsafe { buffer::copy::<{ size_of::<u64>() as u64 }>((&raw mut word).cast(), len, piece.address) }.then_some(word)
}

/// Data on the request side while no request is under way: does it begin one?
#[inline(always)]
fn begin_request(connection: &mut Connection, caller: &Caller, piece: Piece) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if connection.state == ConnectionState::Beginning as u8 {
        let before = (connection.record.head_len & (http1::METHOD_BYTES as u16 - 1)) as usize;
        connection.begun_len = before as u8;
        if read_head(connection, before, piece) && begin(connection, caller, connection.record.start_ns) {
            return;
        }
    }
    connection.begun_len = 0;
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
    if !unsafe { buffer::copy::<{ HEAD_BYTES as u64 }>(record.head.as_mut_ptr().add(before), len, piece.address) } {
        return false;
    }
    record.head_len = (before as u64 + len).min(HEAD_BYTES as u64) as u16;
    record.read_bytes = (before as u64 + piece.len) as u32;
    connection.asked_bytes = record.read_bytes;
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
    // Of a number that is kept in memory older verifiers forget how small it is.
    let last = buffer::within_head(end.wrapping_sub(4));
    // SAFETY: `last` is below HEAD_BYTES, and slack follows the head.
    whole && !(end >= 4 && unsafe { buffer::word_at(record.head.as_ptr().add(last)) } as u32 == HEAD_END)
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
        Begin::Request(method) => {
            enter(connection, caller, method);
            ConnectionState::Awaiting
        }
        Begin::Prefix => ConnectionState::Beginning,
        Begin::Other => ConnectionState::Idle,
    };
    connection.record.start_ns = start_ns;
    connection.state = state as u8;
    connection.ahead_len = 0;
    state as u8 != ConnectionState::Idle as u8
}

#[inline(always)]
fn enter(connection: &mut Connection, caller: &Caller, method: Method) {
    connection.expects_body = u8::from(method.expects_body());
    let record = &mut connection.record;
    // SAFETY: the map gave the pointer, and it lives as long as the program runs.
    let task = unsafe { &*caller.task };
    record.service = task.service;
    record.flags = task.flags;
    record.method = method as u8;
    record.tgid = caller.tgid;
    count(Stat::Requests);
}

/// Data on the request side while an answer is awaited: more of the head, the body, or already the next request.
#[inline(always)]
fn go_on(connection: &mut Connection, piece: Piece, returned: u64) -> Next {
    let Some(word) = first_word(piece) else {
        return Next::Done;
    };
    let len = piece.len.min(http1::METHOD_BYTES as u64);
    connection.ahead_len = 0;
    match http1::begin(word, len as usize) {
        Begin::Request(_) if connection.expects_body == 0 => return leave(connection, UnderWay::Waiting),
        Begin::Prefix => {
            // Taken up if the answer comes before more is read: then it was the next request. Else it was not.
            connection.ahead = word.to_le_bytes();
            connection.ahead_len = len as u8;
            // SAFETY: the helper has no preconditions.
            connection.ahead_ns = unsafe { bpf_ktime_get_ns() };
        }
        _ => {}
    }
    // What is told apart from the request is none of its bytes.
    if connection.head_open == 1 || connection.ahead_len == 0 {
        connection.asked_bytes = connection.asked_bytes.saturating_add(returned.max(piece.len) as u32);
    }
    // Whoever pairs the answer may be sending the head just now.
    if connection.head_open == 1 && !hold::is_held_to_answer(connection) {
        append(connection, piece);
    }
    Next::Done
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
    let at = buffer::within_head(before);
    // SAFETY: `at` is below HEAD_BYTES, `len` is APPEND_BYTES at most, and that much slack follows the head.
    if unsafe { buffer::copy::<{ APPEND_BYTES as u64 }>(record.head.as_mut_ptr().add(at), len, piece.address) } {
        record.head_len = (before as u64 + len).min(HEAD_BYTES as u64) as u16;
    }
    record.read_bytes = record.read_bytes.saturating_add(piece.len as u32);
    connection.head_open = u8::from(goes_on(record));
}
