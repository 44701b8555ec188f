//! What each fuzz target does with its bytes: it calls one parser and asserts what must hold for any bytes at all.
//!
//! `make fuzz` runs them under libFuzzer, which looks for bytes that reach new code. The test `corpus` of the crate replays the
//! files of `corpus/` through the same functions, so that what was once found stays found without libFuzzer.

mod connection;

pub use connection::connection;
use shoalwatch_ebpf_common::{HEAD_BYTES, ProcessEvent, RAW_BYTES, RawEvent, RawNews, RequestEvent};
use shoalwatch_protocols::{
    http1::{MAX_WINDOW, parse_head},
    http2::exports_spans,
    route::{MAX_SEGMENTS, MAX_TEMPLATE, shape_hash, template, template_into},
    trace_context::{MAX_TRACESTATE, OtState, TraceParent, TraceStateLines},
};

/// The path of an export of spans, as short as it can be written.
const SHORTEST_EXPORT: usize = 42;

/// Takes any bytes, and panics where something does not hold.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("connection", connection),
    ("event", event),
    ("head", head),
    ("raw", raw),
    ("route", route),
    ("traceparent", traceparent),
    ("tracestate", tracestate),
];

/// The head of a request. The first byte says where a second, shorter window ends, which must not tell another story.
pub fn head(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let part = parse_head(&data[..data.len().min(usize::from(*cut) * 2)]);
    let whole = parse_head(data);
    let (Ok(part), Ok(whole)) = (part, whole) else { return };
    assert_eq!((part.method, part.method_name), (whole.method, whole.method_name));
    assert!(whole.path.len() <= MAX_WINDOW && whole.path.starts_with(part.path));
    assert!(part.path_cut || (part.path, part.form, whole.path_cut) == (whole.path, whole.form, false));
    assert!(part.version.is_none() || part.version == whole.version);
    assert!(part.user_agent.is_none() || part.user_agent == whole.user_agent);
    assert!(part.traceparent.is_none() || whole.traceparent.is_none() || part.traceparent == whole.traceparent);
    assert!(!part.complete || part == whole);
}

/// The template of a path.
pub fn route(data: &[u8]) {
    let mut out = String::from("before");
    template_into(data, &mut out);
    assert!(out.len() <= MAX_TEMPLATE && out.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(out.matches('/').count() <= MAX_SEGMENTS + 1);
    assert_eq!(template(out.as_bytes()), out);
    assert_eq!(shape_hash(data), shape_hash(out.as_bytes()));
}

/// The value of `traceparent`.
pub fn traceparent(data: &[u8]) {
    let Ok(parent) = TraceParent::parse(data) else { return };
    assert!(parent.trace_id != [0; 16] && parent.parent_id != [0; 8]);
    let (trace, span) = (
        u128::from_be_bytes(parent.trace_id),
        u64::from_be_bytes(parent.parent_id),
    );
    let ids = format!("-{trace:032x}-{span:016x}-");
    assert_eq!(&data[2..53], ids.as_bytes());
    assert_eq!(
        parent.sampled,
        matches!(data[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
    );
}

/// The lines of `tracestate`, one a line of the input: written with what they say, they say the same.
pub fn tracestate(data: &[u8]) {
    let mut lines = TraceStateLines::default();
    data.split(|byte| *byte == b'\n').for_each(|line| lines.push(line));
    let (said, mut out, mut again) = (lines.ot(), Vec::new(), Vec::new());
    lines.write_with(said, &mut out);
    assert!(out.len() <= MAX_TRACESTATE && out.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let mut written = TraceStateLines::default();
    written.push(&out);
    if said != OtState::default() {
        assert_eq!(written.ot(), said);
    }
    written.write_with(written.ot(), &mut again);
    assert_eq!(again, out);
}

/// A record of the ring of connections that the kernel does not pair.
pub fn raw(data: &[u8]) {
    let Ok(event) = RawEvent::decode(data) else { return };
    match event.news {
        RawNews::Open { request, .. } | RawNews::Ended { request, .. } => {
            assert!(request.head.len() <= HEAD_BYTES && data.len() >= request.head.len());
            head(request.head);
        }
        RawNews::Segment { bytes, .. } | RawNews::Orphan { bytes, .. } => {
            assert!(bytes.len() <= RAW_BYTES && data.len() > bytes.len());
        }
        RawNews::Http2 { bytes } => {
            assert!(bytes.len() <= RAW_BYTES && data.len() > bytes.len());
            assert!(!exports_spans(bytes) || bytes.len() >= SHORTEST_EXPORT);
        }
        RawNews::Close { .. } => {}
    }
}

/// A record of the ring of requests, or of that of processes.
pub fn event(data: &[u8]) {
    if let Ok(event) = RequestEvent::decode(data) {
        assert!(event.head.len() <= HEAD_BYTES && data.len() >= event.head.len());
        assert!(event.end_ns >= event.start_ns && matches!(event.status, 0 | 101 | 200..=999));
        head(event.head);
    }
    if let Ok(event) = ProcessEvent::decode(data) {
        assert!(matches!(event.kind as u32, 1 | 2));
    }
}
