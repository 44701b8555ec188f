//! A request's whole path through this crate, as the worker's event loop goes it.

use std::sync::Arc;

use shoalwatch_pipeline::{
    batch::{BatchLimits, SpanQueue},
    ids::IdSource,
    loss::LossCounters,
    otlp::{self, HttpSpan},
    red::RedMetrics,
    request::{Request, ServiceId, Status, Target, Trace},
    routes::{RouteLimits, RouteTable},
    sampler::{Decision, Limit, Parent, Policy, PolicySpec, Probability, RuleSpec, Sampler},
};
use shoalwatch_protocols::{
    http1::parse_head,
    route,
    trace_context::{Threshold, TraceParent},
};

pub(crate) const SCOPE: (&str, &str) = ("shoalwatch", "0.1.0");
const RULES: usize = 16;

/// A record from the ring, as far as it matters here.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) service: u32,
    pub(crate) head: &'static [u8],
    pub(crate) status: u16,
}

/// What browsers and services send; one has a path that is no UTF-8, one a long `tracestate`.
pub(crate) const RECORDS: [Record; 6] = [
    record(
        0,
        200,
        b"GET /api/v1/carts/8215/items HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
          Accept: application/json\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    ),
    record(
        0,
        503,
        b"GET /api/v1/carts/0b2f4b0e-6c5d-4a7b-9f3e-2a1b3c4d5e6f HTTP/1.1\r\nHost: shop.example\r\n\
          traceparent: 00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01\r\ntracestate: ot=rv:fedcba98765432,vendor=1\r\n\r\n",
    ),
    record(1, 200, b"GET /api/v1/products?page=2 HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"),
    record(
        1,
        201,
        b"POST /api/v1/orders HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 512\r\n\
          traceparent: 00-0af7651916cd43dd8448eb211c80319e-b7ad6b7169203331-01\r\n\
          tracestate: congo=t61rcWkgMzE0MTU5MjY1MzU4OTc5MzIzODQ2MjY0MzM4MzI3OTUwMjg4NDE5NzE2OTM5OTM3NTEwNTgyMDk3NDk0NDU5,rojo=00f067aa0ba902b7\r\n\r\n",
    ),
    record(2, 404, b"GET /caf\xe9/menu HTTP/1.0\r\n\r\n"),
    record(2, 200, b"BREW /api/v1/pots/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
];

const fn record(service: u32, status: u16, head: &'static [u8]) -> Record {
    Record { service, head, status }
}

/// The attributes of a pod's container.
pub(crate) fn attributes(service: u32) -> Vec<(String, String)> {
    let attributes = [
        ("service.name", format!("checkout-{service}")),
        ("service.namespace", "shop".to_owned()),
        ("service.instance.id", "shop.checkout-7d41b9c5f-x2x9k.app".to_owned()),
        ("k8s.namespace.name", "shop".to_owned()),
        ("k8s.pod.name", "checkout-7d41b9c5f-x2x9k".to_owned()),
        ("k8s.pod.uid", "0b2f4b0e-6c5d-4a7b-9f3e-2a1b3c4d5e6f".to_owned()),
        ("k8s.deployment.name", "checkout".to_owned()),
        ("k8s.container.name", "app".to_owned()),
        ("k8s.node.name", "node-1".to_owned()),
    ];
    attributes.map(|(key, value)| (key.to_owned(), value)).into()
}

/// As the worker keeps them: written once.
pub(crate) fn resources() -> Vec<Arc<[u8]>> {
    let resource = |service| {
        let mut bytes = Vec::new();
        let attributes = attributes(service);
        otlp::resource(
            attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())),
            &mut bytes,
        );
        bytes.into()
    };
    (0..3).map(resource).collect()
}

pub(crate) fn queue() -> SpanQueue {
    let mut scope = Vec::new();
    otlp::scope(SCOPE.0, SCOPE.1, &mut scope);
    SpanQueue::new(BatchLimits::default(), scope.into())
}

/// Sixteen rules with a method and a route; all but the last have the beginning of the requests' routes and not their end. Keeps
/// everything, under a limit that is never reached.
pub(crate) fn sampler() -> Sampler {
    let rule = |number| {
        let route = if number + 1 == RULES {
            "/".into()
        } else {
            format!("/api/v1/carts/{{id}}/rule-{number}")
        };
        RuleSpec {
            name: format!("rule-{number}"),
            route: Some(shoalwatch_pipeline::matching::RoutePattern::Prefix(route.into())),
            methods: ["GET", "POST", "_OTHER"].map(str::to_owned).into(),
            codes: Vec::new(),
            aborted: false,
            classes: Vec::new(),
            duration_at_least_ns: 0,
            probability: Probability::ALWAYS,
        }
    };
    let policy = PolicySpec {
        probability: Probability::NEVER,
        rules: (0..RULES).map(rule).collect(),
        parent: Parent::Ignore,
        limit: Some(Limit {
            per_second: u32::MAX,
            burst: 0,
        }),
        dry_run: false,
    };
    Sampler::new(Policy::compile(&policy).expect("a policy"), 0)
}

/// The loop's state.
pub(crate) struct HotPath {
    ids: IdSource,
    routes: RouteTable,
    red: RedMetrics,
    sampler: Sampler,
    queue: SpanQueue,
    resources: Vec<Arc<[u8]>>,
    losses: LossCounters,
    template: String,
    message: Vec<u8>,
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
}

impl HotPath {
    pub(crate) fn new() -> Self {
        Self {
            ids: IdSource::new([1, 2, 3, 4]),
            routes: RouteTable::new(RouteLimits::default()),
            red: RedMetrics::default(),
            sampler: sampler(),
            queue: queue(),
            resources: resources(),
            losses: LossCounters::default(),
            template: String::with_capacity(route::MAX_TEMPLATE),
            message: Vec::new(),
            spans: 0,
            bytes: 0,
        }
    }

    /// From a record to bytes, counted, judged and kept; each full batch leaves as a message.
    pub(crate) fn take(&mut self, record: &Record, now_ns: u64) {
        let head = parse_head(record.head).expect("a head");
        let service = ServiceId(record.service);
        route::template_into(head.path, &mut self.template);
        let parent = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
        let request = Request {
            service,
            start_ns: now_ns,
            end_ns: now_ns + 3_000_000,
            method: head.method,
            target: Target::Route(self.routes.intern(service, &self.template)),
            template: &self.template,
            status: Status::new(record.status).expect("a status"),
            trace: Trace::join(parent, head.tracestate.ot(), &mut self.ids),
        };
        self.red.record(&request);
        let Decision::Keep { threshold } = self.sampler.decide(&request, now_ns).in_force else {
            return;
        };
        let span = HttpSpan {
            request: &request,
            head: &head,
            peer: None,
            span_id: self.ids.span_id(),
            threshold: threshold.or(Some(Threshold::ALWAYS)),
        };
        let resource = &self.resources[record.service as usize];
        self.queue.push(resource, now_ns, &self.losses, |out| span.write(out));
        self.message.clear();
        self.spans += self.queue.take_due(now_ns, &mut self.message);
        self.bytes += self.message.len();
    }
}
