//! What becomes of a finished request: counted, judged, and sent where user space has to see it.
//!
//! A request whose route was taught is counted here, whether it becomes a span or not. One whose route is not known yet is sent,
//! and counted in user space; should the ring have no room for it, it is counted here among all other routes. So every request is
//! counted exactly once, and a full ring costs the name of a route or a span.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_ns,
        generated::{bpf_map_update_elem, bpf_ringbuf_output},
    },
};
use shoalwatch_ebpf_common::{
    BUCKETS, Connection, Counter, CounterKey, HEAD_BYTES, MAX_ROUTES, MAX_ROWS, NO_SPANS, ROUTES_FULL, RequestRecord,
    Role, RouteKey, Stat, Task, bucket, head,
    http1::{self, Begin},
    limit::MAX_LIMITS,
    peer_hash,
    sampling::{self, Decision, NEVER, RANDOMNESS, Row},
    shape,
};

use crate::{
    buffer,
    maps::{COUNTERS, EVENTS, LIMITED, LIMITS, ROUTE_ROWS, ROUTES, ROWS, SLOT},
    stats::{add, count, increment},
};

/// What a new counter is copied from.
static EMPTY: Counter = Counter::EMPTY;

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// The final status.
    Answer(u16),
    /// The connection was closed without one.
    Aborted,
}

/// What the head says.
struct Finding {
    /// It begins with a request line whose target is a path, and user space need not see it.
    readable: bool,
    /// The number of the route that was taught; 0: none was.
    route: u32,
    headers: head::Headers,
}

/// A request is over. Everything about it is in the connection's record, apart from how it ended. Returns whether another request was
/// read together with it.
#[inline(always)]
pub(crate) fn finish(connection: &mut Connection, task: *mut Task, end: End) -> bool {
    // SAFETY: the helper has no preconditions.
    connection.record.end_ns = unsafe { bpf_ktime_get_ns() };
    connection.record.status = match end {
        End::Answer(status) => status,
        End::Aborted => 0,
    };
    let finding = find(connection);
    judge(connection, task, end, &finding);
    goes_on(connection, finding.headers.end)
}

/// Notes what lies behind the head. Returns whether it begins like a request.
#[inline(always)]
fn goes_on(connection: &mut Connection, end: usize) -> bool {
    let record = &connection.record;
    let len = record.head_len as usize;
    let is_alone = end == len && record.read_bytes as usize == len;
    connection.extra = u8::from(!is_alone);
    !is_alone && connection.expects_body == 0 && begins_request(record, end, len)
}

/// Whether what lies behind a head that ends at `end`, if it does, begins like a request.
#[inline(always)]
pub(crate) fn begins_request(record: &RequestRecord, end: usize, len: usize) -> bool {
    end != 0 && end < len && !matches!(http1::begin(word(record, end), len - end), Begin::Other)
}

/// Counts the request, and sends it where user space has to see it.
#[inline(always)]
fn judge(connection: &mut Connection, task: *mut Task, end: End, finding: &Finding) {
    // Whether the body came whole, which makes it a request, only user space can say.
    let is_certain = matches!(end, End::Answer(_)) || connection.expects_body == 0;
    let record = &mut connection.record;
    let serves = record.role == Role::Server as u8;
    if serves && finding.headers.flags & (head::PROBE | head::SCRAPE) != 0 {
        let probe = finding.headers.flags & head::PROBE != 0;
        return count(if probe { Stat::Probe } else { Stat::Scrape });
    }
    // SAFETY: the map gave the pointer, and it lives as long as the program runs.
    let (full, others) = unsafe { of_role(&*task, record.role) };
    let route = match finding.route {
        _ if !is_certain => 0,
        0 if finding.readable && full => others,
        route => route,
    };
    record.decision = Decision::Undecided as u8;
    record.route = 0;
    record.counted = u8::from(route != 0 && tally(record, route));
    if record.counted == 1 {
        record.route = route;
        if !is_wanted(record, route, &finding.headers) {
            return;
        }
    }
    send(record, task, if is_certain { others } else { 0 });
}

/// Whether the service has all routes, or peers, that it may have, and the number of all others. Without a branch, which the verifier
/// would follow to the end twice.
#[inline(always)]
fn of_role(task: &Task, role: u8) -> (bool, u32) {
    let role = u32::from(role) & 1;
    (task.flags >> role & ROUTES_FULL != 0, task.others[role as usize])
}

/// The route and the header lines, read from the head.
#[inline(always)]
fn find(connection: &mut Connection) -> Finding {
    let record = &connection.record;
    let len = (record.head_len as usize).min(HEAD_BYTES);
    let mut finding = Finding {
        readable: false,
        route: 0,
        headers: head::Headers::default(),
    };
    // SAFETY: the connection's own field, which nobody writes.
    let zero = || unsafe { buffer::zero_at(&raw const connection.zero) };
    let Some(target) = shape::target(
        target_at(record),
        len,
        zero,
        |at| byte(record, at),
        |at| word(record, at),
    ) else {
        return finding;
    };
    // What follows the target ends the request line, or the request line is none.
    if word(record, target.end + 1) & 0x00ff_ffff_ffff_ffff != http1::VERSION_WORD {
        return finding;
    }
    finding.headers = headers(connection, target.end, len);
    let record = &connection.record;
    let shape = if record.role == Role::Client as u8 {
        if head::is_export(target.end, |at| word(record, at)) {
            return finding;
        }
        peer(record)
    } else {
        target.shape
    };
    finding.readable = true;
    finding.route = route(record, shape);
    finding
}

/// What the header lines say. A head as long as the connection's last one, with its `traceparent` in the same place, comes from the same
/// client, and is not looked through again.
#[inline(always)]
fn headers(connection: &mut Connection, end: usize, len: usize) -> head::Headers {
    let record = &connection.record;
    // SAFETY: the connection's own field, which nobody writes.
    let zero = || unsafe { buffer::zero_at(&raw const connection.zero) };
    let expected = end.wrapping_add(connection.parent_behind as usize).wrapping_add(zero());
    let as_before = connection.parent_behind != 0 && connection.rest_bytes == len.wrapping_sub(end) as u32;
    if as_before && head::is_parent_at(expected, |at| word(record, at)) {
        return head::Headers {
            flags: u32::from(connection.header_flags),
            parent_at: expected.wrapping_add(zero()),
            end: len,
        };
    }
    let found = head::headers(end.wrapping_add(zero()), len, zero, |at| word(record, at));
    let parent_at = found.parent_at.wrapping_add(zero());
    connection.header_flags = found.flags as u8;
    connection.rest_bytes = len.wrapping_sub(end) as u32;
    connection.parent_behind = if parent_at == 0 || found.end != len {
        0
    } else {
        parent_at.wrapping_sub(end) as u32
    };
    head::Headers { parent_at, ..found }
}

#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the head begins at a multiple of eight, as the layout asserts"
)]
fn target_at(record: &RequestRecord) -> usize {
    // SAFETY: the head is longer than a word, and aligned for one.
    let first = unsafe { record.head.as_ptr().cast::<u64>().read() };
    match http1::begin(first, http1::METHOD_BYTES) {
        Begin::Request(method) => method.target_at(),
        _ => HEAD_BYTES,
    }
}

#[inline(always)]
fn route(record: &RequestRecord, shape: u64) -> u32 {
    let key = RouteKey {
        service: record.service,
        role: u32::from(record.role),
        shape,
    };
    // SAFETY: a number is written once, before it can be found.
    match unsafe { ROUTES.get(key) } {
        Some(route) => *route,
        None => 0,
    }
}

#[inline(always)]
fn peer(record: &RequestRecord) -> u64 {
    let half = |at: usize| {
        // SAFETY: both halves lie within the address.
        u64::from_le(unsafe { record.peer_address.as_ptr().add(at).cast::<u64>().read_unaligned() })
    };
    peer_hash(half(0), half(8), record.peer_port)
}

#[inline(always)]
fn byte(record: &RequestRecord, at: usize) -> u8 {
    // SAFETY: offsets are masked to the head.
    unsafe { record.head.as_ptr().add(buffer::within_head(at)).read() }
}

/// Eight bytes from an offset; what lies behind the head belongs to the same map value.
#[inline(always)]
pub(crate) fn word(record: &RequestRecord, at: usize) -> u64 {
    // SAFETY: offsets are masked to the head, and the connection's slack follows it.
    unsafe { buffer::word_at(record.head.as_ptr().add(buffer::within_head(at))) }
}

/// Counts a request under a route. False: there is no room for one more kind of answer.
#[inline(always)]
fn tally(record: &RequestRecord, route: u32) -> bool {
    let key = CounterKey {
        route,
        status: record.status,
        method: record.method,
        reserved: 0,
    };
    let Some(counter) = counter(&key) else {
        count(Stat::CountersFull);
        return false;
    };
    let duration = record.end_ns.wrapping_sub(record.start_ns);
    // SAFETY: the map gave the pointer, and the bucket is one of its buckets.
    unsafe {
        add(&raw mut (*counter).sum_ns, duration);
        increment(
            (&raw mut (*counter).buckets)
                .cast::<u64>()
                .add(bucket(duration).min(BUCKETS - 1)),
        );
    }
    count(Stat::Counted);
    true
}

#[inline(always)]
fn counter(key: &CounterKey) -> Option<*mut Counter> {
    if let Some(counter) = COUNTERS.get_ptr_mut(key) {
        return Some(counter);
    }
    let map = (&raw const COUNTERS).cast_mut().cast();
    let (key_at, value_at) = (
        (&raw const *key).cast_mut().cast(),
        (&raw const EMPTY).cast_mut().cast(),
    );
    // SAFETY: key and value are of the map's types. Another CPU may be first: then its entry stays, as BPF_NOEXIST wants.
    unsafe { bpf_map_update_elem(map, key_at, value_at, NO_EXIST) };
    COUNTERS.get_ptr_mut(key)
}

/// `BPF_NOEXIST`
const NO_EXIST: u64 = 1;

/// Whether user space has to see a request that is counted.
#[inline(always)]
fn is_wanted(record: &mut RequestRecord, route: u32, headers: &head::Headers) -> bool {
    if record.flags & NO_SPANS != 0 {
        return false;
    }
    let decision = decide(record, route, headers);
    record.decision = decision as u8;
    match decision {
        Decision::Undecided | Decision::Keep => return true,
        Decision::Probability => count(Stat::DroppedProbability),
        Decision::Never => count(Stat::DroppedNever),
        Decision::Parent => count(Stat::DroppedParent),
        Decision::RateLimited => count(Stat::DroppedLimit),
    }
    false
}

#[inline(always)]
fn decide(record: &mut RequestRecord, route: u32, headers: &head::Headers) -> Decision {
    let Some(slot) = SLOT.get(0) else {
        return Decision::Undecided;
    };
    let slot = *slot & 1;
    let Some(rows) = ROUTE_ROWS.get(slot * MAX_ROUTES + route) else {
        return Decision::Undecided;
    };
    // SAFETY: methods are numbers below 16, and the rows of the last route end before the map's value does.
    let row = rows.rows[(record.method as usize).min(rows.rows.len() - 1)];
    let Some(row) = ROWS.get(slot * MAX_ROWS + u32::from(row)) else {
        return Decision::Undecided;
    };
    match by_row(record, row, headers) {
        Decision::Keep if !lets_through(slot, rows.limit, record.end_ns) => Decision::RateLimited,
        decision => decision,
    }
}

/// Whether the policy's limit leaves this CPU one more span. Another program may interrupt this one here: then one of them may take a
/// token too many, which the limit of user space puts right.
#[inline(always)]
fn lets_through(slot: u32, limit: u32, now_ns: u64) -> bool {
    if limit == 0 {
        return true;
    }
    let (Some(pace), Some(bucket)) = (LIMITS.get(slot * MAX_LIMITS + limit), LIMITED.get_ptr_mut(limit)) else {
        return true;
    };
    // SAFETY: the map gave the pointer; it is aligned, this CPU's own, and lives as long as the program runs.
    unsafe { (*bucket).take(pace, now_ns) }
}

#[inline(always)]
fn by_row(record: &mut RequestRecord, row: &Row, headers: &head::Headers) -> Decision {
    let duration = record.end_ns.wrapping_sub(record.start_ns);
    let threshold = row.threshold(record.status, duration);
    record.threshold = threshold;
    if threshold == NEVER || row.flags & sampling::UNDECIDED != 0 {
        return sampling::decide(threshold, row.flags, None, 0);
    }
    if headers.flags & head::ASK != 0 {
        return Decision::Undecided;
    }
    let len = (record.head_len as usize).min(HEAD_BYTES);
    let parent = if headers.parent_at == 0 {
        None
    } else {
        match head::parent(headers.parent_at, len, |at| word(record, at)) {
            Ok(parent) => parent,
            Err(()) => return Decision::Undecided,
        }
    };
    record.randomness = match parent {
        Some(parent) => parent.randomness,
        // Drawn when the request began.
        None if record.seed != 0 => record.randomness,
        None => random() & RANDOMNESS,
    };
    let parent = match parent {
        Some(parent) => Some(parent.sampled),
        None => caller_sampled(record),
    };
    if row.flags & sampling::HONOUR_PARENT != 0 && parent == Some(true) {
        // The caller decided, and with which probability is not known: no threshold is passed on.
        record.threshold = NEVER;
    }
    sampling::decide(threshold, row.flags, parent, record.randomness)
}

/// What the caller of the server's request decided that a client's belongs to.
#[inline(always)]
fn caller_sampled(record: &RequestRecord) -> Option<bool> {
    let [high, low] = record.caller;
    (record.seed != 0 && high | low != 0).then_some(record.caller_sampled == 1)
}

/// Bits that nobody foresees.
#[inline(always)]
pub(crate) fn random() -> u64 {
    // SAFETY: the helper has no preconditions.
    let (high, low) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    u64::from(high) << 32 | u64::from(low)
}

/// Hands the request to user space; `others`: what to count it under where there is no room.
#[inline(always)]
fn send(record: &mut RequestRecord, task: *mut Task, others: u32) {
    if output(record) {
        return count(Stat::Events);
    }
    count(Stat::RingFull);
    if record.counted == 1 {
        count(Stat::SpanLost);
    } else if others != 0 && tally(record, others) {
        count(Stat::RouteLost);
    } else {
        // SAFETY: the map gave the pointer; it is aligned and lives as long as the program runs.
        unsafe { increment(&raw mut (*task).lost) };
    }
}

#[inline(always)]
fn output(record: &mut RequestRecord) -> bool {
    let len = (RequestRecord::HEADER_BYTES as u64) + u64::from(record.head_len).min(HEAD_BYTES as u64);
    let from = (&raw mut *record).cast();
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the map is a ring buffer, and the record has `len` bytes. aya's own `output` wants a slice of constant length.
    unsafe { bpf_ringbuf_output(ring, from, len, u64::from(BPF_RB_NO_WAKEUP)) == 0 }
}
