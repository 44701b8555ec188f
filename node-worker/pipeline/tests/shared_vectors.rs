//! What the kernel reads of a request, against what user space reads of it.

mod kernel;

use kernel::Record;
use proptest::prelude::*;
use shoalwatch_ebpf_common::{self as common, head, http1 as fast};
use shoalwatch_pipeline::red::{self, BOUNDS_SECONDS};
use shoalwatch_protocols::http1::{Method, TargetForm, parse_head};
use shoalwatch_protocols::route::{MAX_SEGMENT, shape_hash};
use shoalwatch_protocols::trace_context::{OtState, TraceParent};
use std::fmt;

/// `path <tab> template <tab> hash`, where `\xNN` in a path is a byte.
const VECTORS: &str = include_str!("../../protocols/vectors/route.tsv");

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split("\\x");
    let first = parts.next().unwrap_or_default().as_bytes().to_vec();
    parts.try_fold(first, |mut bytes, part| {
        let (byte, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(byte, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
        Some(bytes)
    })
}

fn get(target: &[u8]) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\n\r\n"].concat()
}

/// The kernel's number for a path, where it has one.
fn shape(path: &[u8]) -> Option<u64> {
    Record::of(&get(path)).target().map(|target| target.shape)
}

/// Whether the kernel promises a number for a path.
fn has_shape(path: &[u8]) -> bool {
    let visible = path.iter().all(|byte| !matches!(byte, 0..=b' ' | 0x7f));
    // Behind the segments that a template keeps nothing is looked at but the end.
    let kept = path.split(|byte| *byte == b'/').take(1 + common::shape::MAX_SEGMENTS);
    path.starts_with(b"/") && visible && kept.into_iter().all(|segment| segment.len() <= MAX_SEGMENT)
}

#[test]
fn the_kernel_numbers_the_vectors_as_they_are_written() {
    let mut numbered = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let [path, _, hash] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let path = unescape(path).unwrap();
        if path.contains(&b'?') {
            continue;
        }
        let expected = has_shape(&path).then(|| u64::from_str_radix(hash, 16).unwrap());
        assert_eq!(shape(&path), expected, "{line}");
        numbered += usize::from(expected.is_some());
    }
    assert!(numbered > 40, "the vectors are gone");
}

#[test]
fn methods_have_one_number_in_the_kernel_and_in_user_space() {
    let known = Method::ALL.into_iter().filter_map(|method| {
        let line = format!("{} / HTTP/1.1\r\n", method.as_str());
        let first = u64::from_le_bytes(*line.as_bytes().first_chunk()?);
        match fast::begin(first, fast::METHOD_BYTES) {
            fast::Begin::Request(fast) => Some((method, fast as u8)),
            _ => None,
        }
    });
    let known: Vec<_> = known.collect();
    assert!(
        known.iter().all(|(method, number)| *method as u8 == *number),
        "{known:?}"
    );
    let others = Method::ALL
        .into_iter()
        .filter(|method| known.iter().all(|(of, _)| of != method));
    assert_eq!(others.collect::<Vec<_>>(), [Method::Query, Method::Other]);
    assert!(
        Method::ALL
            .into_iter()
            .all(|method| (method as usize) < fast::Method::NUMBERS)
    );
}

#[test]
fn durations_have_the_same_buckets_in_the_kernel_and_in_user_space() {
    assert_eq!(red::BOUNDS_NS, common::BOUNDS_NS);
    for (seconds, nanoseconds) in BOUNDS_SECONDS.into_iter().zip(common::BOUNDS_NS) {
        assert_eq!(
            std::time::Duration::from_secs_f64(seconds).as_nanos(),
            u128::from(nanoseconds)
        );
    }
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-z{}*.-]{0,12}".prop_map(String::into_bytes),
        2 => "[0-9]{1,5}".prop_map(String::into_bytes),
        2 => "[0-9a-fA-F]{6,10}".prop_map(String::into_bytes),
        2 => "[0-9a-g]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9A-F]{4}-[0-9a-f]{11,12}".prop_map(String::into_bytes),
        1 => "[0-9a-f-]{36}".prop_map(String::into_bytes),
        1 => "[a-z]{62,66}".prop_map(String::into_bytes),
        1 => prop::collection::vec(prop_oneof![4 => b'!'..=b'~', 1 => any::<u8>()], 0..6),
    ]
}

fn path() -> impl Strategy<Value = Bytes> {
    let before = prop::sample::select(&["/", "/", "/", "/", "", "a/"][..]);
    (before, prop::collection::vec(segment(), 0..12))
        .prop_map(|(before, segments)| Bytes([before.as_bytes(), &segments.join(&b'/')].concat()))
        .prop_filter("it fits into a head and is no query", |path| {
            path.0.len() < 400 && !path.0.contains(&b'?')
        })
}

/// As callers name themselves: two of them are machinery.
const AGENTS: [&str; 7] = [
    "kube-probe/1.36",
    "Prometheus/3.0.0",
    "kube-probe",
    "kube-proxy/v1.36.0",
    "PrometheusOperator/0.90",
    "Promethe",
    "curl/8.1",
];
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Mostly what is looked for, now and then what looks like it.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => prop::sample::select(&["traceparent", "TraceParent", "TRACEPARENT", "user-agent", "User-Agent"][..]),
        2 => prop::sample::select(&["tracestate", "Tracestate", "tracepart", "tracestats", "tracestatus", "user-agency", "X"][..]),
    ];
    let parent = prop_oneof![
        4 => "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        1 => "00-0{32}-[0-9a-f]{16}-01",
        1 => "00-[0-9a-f]{32}-0{16}-01",
    ];
    let value = prop_oneof![
        6 => parent,
        1 => (0..PARENT.len(), "[ -~]").prop_map(|(at, other)| PARENT[..at].to_owned() + &other + &PARENT[at + 1..]),
        1 => prop::sample::select(&[PARENT, "01-", "00-", "", "ot=rv:00000000000001", "curl/8.1"][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&AGENTS[..]).prop_map(str::to_owned),
    ];
    let space = prop::sample::select(&["", " ", " ", " ", "  ", "\t"][..]);
    let end = prop::sample::select(&["\r\n", "\r\n", "\r\n", "\n", " \r\n"][..]);
    let known = (name, space, value, end).prop_map(|(name, space, value, end)| format!("{name}:{space}{value}{end}"));
    prop_oneof![4 => known, 1 => "[A-Z*a-z-]{1,9}: [ -~]{0,30}\r\n", 1 => "[ -~]{0,8}\r\n"]
}

/// A header line that says nothing here.
fn other_line() -> impl Strategy<Value = String> {
    "X-[a-z]{1,9}: [ -~]{0,30}\r\n"
}

/// Legible where a test fails.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn request() -> impl Strategy<Value = Bytes> {
    let lines = prop_oneof![3 => prop::collection::vec(line(), 0..4), 1 => prop::collection::vec(line(), 4..40)];
    let method = prop::sample::select(&["GET", "POST", "OPTIONS"][..]);
    let query = prop_oneof![Just(String::new()), "[?][!-~]{0,40}"];
    let target = prop::sample::select(&["/", "/users/12", "/a/b"][..]);
    (method, target, query, lines, any::<[u8; 16]>()).prop_map(|(method, target, query, lines, body)| {
        let head = format!("{method} {target}{query} HTTP/1.1\r\n{}\r\n", lines.concat());
        Bytes([head.as_bytes(), &body].concat())
    })
}

/// What lies in the kernel's memory behind a head: most often what an earlier one left there.
fn memory() -> impl Strategy<Value = Bytes> {
    prop_oneof![request(), prop::collection::vec(any::<u8>(), 1..64).prop_map(Bytes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_kernel_numbers_a_path_as_user_space_does(Bytes(path) in path()) {
        prop_assert_eq!(shape(&path), has_shape(&path).then(|| shape_hash(&path)));
    }

    #[test]
    fn a_path_that_the_kernel_numbers_is_whole_to_user_space_too(
        request in request(),
        cut in any::<prop::sample::Index>(),
        memory in memory(),
    ) {
        let record = Record::cut(&request.0, cut.index(request.0.len() + 1), &memory.0);
        if let Some(target) = record.target() {
            let head = parse_head(record.head());
            prop_assert!(head.is_ok(), "{:?}", head);
            let head = head?;
            prop_assert_eq!((head.form, head.path_cut, shape_hash(head.path)), (TargetForm::Origin, false, target.shape));
        }
    }

    #[test]
    fn the_kernel_reads_the_callers_trace_as_user_space_does(
        request in request(),
        cut in any::<prop::sample::Index>(),
        memory in memory(),
    ) {
        let record = Record::cut(&request.0, cut.index(request.0.len() + 1), &memory.0);
        if let Some(Ok(parent)) = record.headers().map(|headers| record.parent(&headers)) {
            let head = parse_head(record.head())?;
            let expected = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
            let expected = expected.map(|parent| (parent.randomness().get(), parent.sampled));
            prop_assert_eq!(parent.map(|parent| (parent.randomness, parent.sampled)), expected);
            prop_assert_eq!(head.tracestate.ot(), OtState::default());
        }
    }

    #[test]
    fn machinery_is_known_in_the_kernel_as_in_user_space(
        before in prop::collection::vec(other_line(), 0..9),
        name in prop::sample::select(&["User-Agent:", "user-agent: ", "USER-AGENT: "][..]),
        agent in prop_oneof![prop::sample::select(&AGENTS[..]).prop_map(str::to_owned), "[ -~]{0,20}"],
        after in prop::collection::vec(other_line(), 0..9),
        cut in any::<prop::sample::Index>(),
        memory in memory(),
    ) {
        // The kernel skips one space, as machinery writes it.
        prop_assume!(!agent.starts_with(' '));
        let line = format!("{name}{agent}\r\n");
        let request = format!("GET /healthz HTTP/1.1\r\n{}{line}{}\r\n", before.concat(), after.concat());
        let record = Record::cut(request.as_bytes(), cut.index(request.len() + 1), &memory.0);
        let flags = record.headers().map_or(0, |headers| headers.flags);
        let found = [head::PROBE, head::SCRAPE].map(|flag| flags & flag != 0);
        let head = parse_head(record.head());
        let seen = head.ok().and_then(|head| head.user_agent);
        // A line that is cut behind what the kernel compares is no line to user space, which gets no record of it then.
        let cut_line = seen.is_none() && found != [false; 2];
        let agent = if cut_line { agent.as_bytes() } else { seen.unwrap_or_default() };
        prop_assert_eq!(found, [&b"kube-probe/"[..], b"Prometheus/"].map(|name| agent.starts_with(name)));
    }
}
