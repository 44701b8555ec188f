//! `cargo bench -p shoalwatch-pipeline --bench otlp`: what an event and a decision cost.
//!
//! Both ways of making bytes take turns in one run, and a row is the median of its rounds: so the ratio holds on a busy machine,
//! where nanoseconds do not. The fastest tenth of the rounds is nearer to what a quiet one would show.
#![expect(clippy::print_stdout, reason = "the rows are what this program is for")]

#[path = "../tests/hot_path/mod.rs"]
mod hot_path;
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::{
    fmt::{self, Display, Formatter},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use hot_path::{HotPath, RECORDS, SCOPE};
use prost::Message;
use shoalwatch_pipeline::{
    ids::IdSource,
    loss::LossCounters,
    otlp::HttpSpan,
    request::{Request, RouteId, ServiceId, Status, Target, Trace},
    sampler::Sampler,
};
use shoalwatch_protocols::{
    http1::{RequestHead, parse_head},
    route,
    trace_context::{Threshold, TraceParent},
};

const ROUNDS: usize = 201;
const SPANS: u32 = 512;
const DECISIONS: u32 = 4096;

/// A request that was decided to be kept.
struct Kept {
    head: RequestHead<'static>,
    service: u32,
    template: String,
    status: Status,
    trace: Trace,
}

impl Kept {
    fn request(&self) -> Request<'_> {
        Request {
            service: ServiceId(self.service),
            start_ns: 1_700_000_000_000_000_000,
            end_ns: 1_700_000_000_003_000_000,
            method: self.head.method,
            target: Target::Route(RouteId(1)),
            template: &self.template,
            status: self.status,
            trace: self.trace,
        }
    }
}

/// One event after the other: of each, what is kept.
fn kept() -> Vec<Kept> {
    let mut ids = IdSource::new([1, 2, 3, 4]);
    let kept = RECORDS.iter().cycle().map(|record| {
        let head = parse_head(record.head).expect("a head");
        let parent = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
        Kept {
            head,
            service: record.service,
            template: route::template(head.path),
            status: Status::new(record.status).expect("a status"),
            trace: Trace::join(parent, head.tracestate.ot(), &mut ids),
        }
    });
    kept.take(SPANS as usize).collect()
}

fn each_span(kept: &[Kept], mut use_span: impl FnMut(&HttpSpan<'_>, usize)) {
    for kept in kept {
        let span = HttpSpan {
            request: &kept.request(),
            head: &kept.head,
            peer: None,
            span_id: [7; 8],
            threshold: Threshold::new(0xfd_70a3_d70a_3d71),
        };
        use_span(black_box(&span), kept.service as usize);
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Nanoseconds for one of many.
struct Cost {
    median: f64,
    fastest_tenth: f64,
}

impl Cost {
    fn new(mut rounds: Vec<Duration>, count: u32) -> Self {
        rounds.sort_unstable();
        let of_one = |place: usize| rounds[place].as_secs_f64() * 1e9 / f64::from(count);
        Self {
            median: of_one(rounds.len() / 2),
            fastest_tenth: of_one(rounds.len() / 10),
        }
    }
}

impl Display for Cost {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} ns (fastest tenth {:.0} ns)",
            self.median, self.fastest_tenth
        )
    }
}

/// (by hand, by structs), for one span.
fn encodings() -> (Cost, Cost) {
    let kept = kept();
    let (mut queue, losses, resources) = (hot_path::queue(), LossCounters::default(), hot_path::resources());
    let owners: Vec<_> = (0..3).map(|service| Arc::new(hot_path::attributes(service))).collect();
    let (mut by_hand, mut by_structs) = (Vec::new(), Vec::new());
    let (mut hand, mut structs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        by_hand.push(time(|| {
            hand.clear();
            each_span(&kept, |span, service| {
                queue.push(&resources[service], 0, &losses, |out| span.write(out));
            });
            queue.take_due(0, black_box(&mut hand));
        }));
        by_structs.push(time(|| {
            structs.clear();
            let mut spans = Vec::with_capacity(kept.len());
            each_span(&kept, |span, service| {
                spans.push((Arc::clone(&owners[service]), oracle::span(span)));
            });
            let message = oracle::traces(SCOPE, spans);
            message.encode(black_box(&mut structs)).expect("room in memory");
        }));
    }
    assert!(
        !hand.is_empty() && hand.len().abs_diff(structs.len()) < 4 * kept.len(),
        "both do the same"
    );
    (Cost::new(by_hand, SPANS), Cost::new(by_structs, SPANS))
}

/// From a record to bytes, with parsing, counting and deciding.
fn whole_path() -> Cost {
    let mut path = HotPath::new();
    let rounds = (0..ROUNDS).map(|_| {
        time(|| {
            for record in RECORDS.iter().cycle().take(SPANS as usize) {
                path.take(black_box(record), 1);
            }
        })
    });
    Cost::new(rounds.collect(), SPANS)
}

/// One decision.
fn decisions(sampler: &mut Sampler) -> Cost {
    let kept = kept();
    let request = kept[0].request();
    let mut now_ns = 1;
    let rounds = (0..ROUNDS).map(|_| {
        time(|| {
            for _ in 0..DECISIONS {
                now_ns += 10_000;
                let verdict = sampler.decide(black_box(&request), now_ns);
                assert_eq!(black_box(verdict).rule, Some(15));
            }
        })
    });
    Cost::new(rounds.collect(), DECISIONS)
}

fn main() {
    let (hand, structs) = encodings();
    println!("event to OTLP bytes, by hand: {hand}, goal 300 ns");
    println!("event to OTLP bytes, by opentelemetry-proto's structs: {structs}");
    println!(
        "event to OTLP bytes, by hand / by structs: {:.2}",
        hand.median / structs.median
    );
    println!(
        "record to OTLP bytes, with parsing, counting and deciding: {}",
        whole_path()
    );
    let decision = decisions(&mut hot_path::sampler());
    println!("sampling decision, 16 rules by method and route, last matches, limiter on: {decision}, goal 30 ns");
}
