//! From one record of the ring to numbers and spans.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use shoalwatch_pipeline::{
    batch::{BatchLimits, SpanQueue},
    ids::{IdSource, SharedIds},
    loss::Loss,
    otlp::{self, HttpSpan},
    peers::{PeerLimits, PeerTable},
    red::{RedLimits, RedMetrics, SeriesKey},
    request::{self, Method, PeerId, Request, ServiceId, Status, Target, Trace},
    routes::{RouteLimits, RouteTable},
    sampler::{Decision, DropReason, Limit, Policy, Sampler, Verdict},
    sli::{Counted, Receiver, ReportRow, SliCounters, SliLimits},
};
use shoalwatch_protocols::{
    http1::{NotHttp, RequestHead, parse_head},
    route::{self, OTHER},
    trace_context::{Randomness, Threshold, TraceParent},
};

use super::{
    TimedReport,
    came::Came,
    clock::Now,
    lesson::{Lesson, shape},
    services::{Service, Services},
    taught::More,
};
use crate::{
    counters::{Count, Counters},
    export::SCOPE,
    in_force::{InForce, NamedPolicy},
    loader::{NO_SPANS, RequestEvent, Role, limit::MAX_LIMITS, sampling},
};

/// The state that requests change.
pub(super) struct Traffic {
    counters: Arc<Counters>,
    ids: IdSource,
    shared_ids: SharedIds,
    pub(super) routes: RouteTable,
    pub(super) peers: PeerTable,
    pub(super) red: RedMetrics,
    pub(super) slis: SliCounters,
    /// Monotonic time of the newest count of any SLI.
    counted_ns: u64,
    samplers: Vec<InForcePolicy>,
    /// Absent where nobody takes spans.
    pub(super) spans: Option<SpanQueue>,
    template: String,
    /// Services that were seen exporting spans since the last look.
    exporting: Vec<ServiceId>,
}

/// A policy in force, by its id.
struct InForcePolicy {
    id: Box<str>,
    sampler: Sampler,
    /// Of its limit in the kernel, and its own for as long as it is in force: what was let through stays used there too.
    place: u32,
}

/// Where OTLP/HTTP exports spans to
/// (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
const OTLP_TRACES: &[u8] = b"/v1/traces";
/// Services that are learnt from one look into the rings at most; the others come again.
const MAX_EXPORTING: usize = 64;

impl Traffic {
    pub(super) fn new(counters: Arc<Counters>, max_services: usize, with_spans: bool) -> Self {
        let red = RedLimits {
            services: max_services,
            ..RedLimits::default()
        };
        let routes = RouteLimits {
            services: max_services,
            ..RouteLimits::default()
        };
        let peers = PeerLimits {
            services: max_services,
            ..PeerLimits::default()
        };
        Self {
            counters,
            ids: IdSource::new(rand::random()),
            shared_ids: SharedIds::default(),
            routes: RouteTable::new(routes),
            peers: PeerTable::new(peers),
            red: RedMetrics::new(red),
            slis: SliCounters::new(SliLimits::default()),
            counted_ns: 0,
            samplers: Vec::new(),
            spans: with_spans.then(span_queue),
            template: String::with_capacity(route::MAX_TEMPLATE),
            exporting: Vec::new(),
        }
    }

    /// From the next request on. What a policy's limit let through already stays used.
    pub(super) fn configure(&mut self, in_force: &InForce, now: Now) {
        let old = std::mem::take(&mut self.samplers).into_iter();
        let mut old: HashMap<_, _> = old.map(|old| (old.id.clone(), old)).collect();
        let known = |named: &&NamedPolicy| old.contains_key(&named.id);
        let taken: HashSet<u32> = in_force
            .policies()
            .filter(known)
            .map(|named| old[&named.id].place)
            .collect();
        let mut free = (1..).filter(|place| !taken.contains(place));
        self.samplers = in_force
            .policies()
            .map(|named| {
                let policy = named.policy.clone();
                if let Some(mut known) = old.remove(&named.id) {
                    known.sampler.replace(policy, now.monotonic_ns);
                    return known;
                }
                InForcePolicy {
                    id: named.id.clone(),
                    sampler: Sampler::new(policy, now.monotonic_ns),
                    place: free.next().unwrap_or(0),
                }
            })
            .collect();
        self.slis.configure(in_force.sli_definitions());
    }

    /// Counts and judges one request of a service; what the kernel did of that already is left to it. Returns the route that the
    /// kernel could count by itself.
    pub(super) fn take(
        &mut self,
        event: &RequestEvent<'_>,
        came: Came,
        id: ServiceId,
        service: &Service,
        now: Now,
    ) -> Option<Lesson> {
        let head = match parse_head(event.head) {
            Ok(head) => head,
            Err(error) => {
                self.count_not_http(error);
                return None;
            }
        };
        if let Some(kind) = unjudged(&head).filter(|_| event.role == Role::Server) {
            self.counters.one(kind);
            return None;
        }
        let Some(status) = Status::recorded(event.status) else {
            self.counters.losses.add(Loss::BadStatus, 1);
            return None;
        };
        if status.is_aborted() && came == Came::InPart {
            self.counters.one(Count::HalfRequest);
            return None;
        }
        let mut template = std::mem::take(&mut self.template);
        template_of(&head, &mut template);
        let parent = head.traceparent.and_then(|value| TraceParent::parse(value).ok());
        let request = Request {
            service: id,
            start_ns: now.unix(event.start_ns),
            end_ns: now.unix(event.end_ns),
            method: head.method,
            target: self.target(event, id, &template),
            template: &template,
            status,
            trace: match parent {
                Some(_) => Trace::join(parent, head.tracestate.ot(), &mut self.ids),
                None => self.begin_trace(event),
            },
        };
        let mut lesson = None;
        if event.counted.is_none() {
            self.red.record(&request);
            // What a service asked others says nothing about what it answered.
            if event.role == Role::Server {
                self.judge(&request, service, event.end_ns);
            }
            lesson = shape(event, &head).map(|shape| Lesson {
                service: id,
                target: request.target,
                shape,
            });
        }
        self.decide(event, request, &head, service, now);
        self.template = template;
        if event.role == Role::Client && head.method == Method::Post && head.path.ends_with(OTLP_TRACES) {
            self.note_exporting(id);
        }
        lesson
    }

    /// The trace of a request whose head names none.
    fn begin_trace(&mut self, event: &RequestEvent<'_>) -> Trace {
        let Some(seed) = event.seed else {
            return Trace::begin(self.ids.trace_id());
        };
        if event.role == Role::Server {
            return Trace::begin(self.shared_ids.trace_id(seed));
        }
        let trace_id = event
            .caller
            .map_or_else(|| self.shared_ids.trace_id(seed), |caller| caller.trace_id);
        let sampled = event.caller.map(|caller| caller.sampled);
        Trace::within(trace_id, self.shared_ids.span_id(seed), sampled)
    }

    /// It was seen exporting spans.
    pub(super) fn note_exporting(&mut self, id: ServiceId) {
        if self.exporting.len() < MAX_EXPORTING && !self.exporting.contains(&id) {
            self.exporting.push(id);
        }
    }

    /// Services that were seen exporting spans since the last call.
    pub(super) fn take_exporting(&mut self) -> Vec<ServiceId> {
        std::mem::take(&mut self.exporting)
    }

    /// Makes a span of it if the kernel said so, or if the policy does where the kernel left it to user space.
    fn decide(
        &mut self,
        event: &RequestEvent<'_>,
        mut request: Request<'_>,
        head: &RequestHead<'_>,
        service: &Service,
        now: Now,
    ) {
        if event.flags & NO_SPANS != 0 || service.instrumented {
            return;
        }
        let threshold = match event.decision {
            sampling::Decision::Keep => {
                request.trace = request
                    .trace
                    .with_randomness(Randomness::from_low_bits(event.randomness));
                self.allow(service, now).then(|| Threshold::new(event.threshold))
            }
            _ => self.sample(&request, service, now),
        };
        if let Some(threshold) = threshold {
            self.keep(event, &request, head, service, threshold, now);
        }
    }

    /// The limit of the policy that the kernel decided by.
    fn allow(&mut self, service: &Service, now: Now) -> bool {
        let policy = service.policies.last();
        let Some(InForcePolicy { sampler, .. }) = policy.and_then(|policy| self.samplers.get_mut(*policy)) else {
            // The policy that kept it is not in force any more.
            self.counters.one(Count::SpanNever);
            return false;
        };
        let allowed = sampler.allows(now.monotonic_ns);
        self.counters.one(if allowed {
            Count::SpanKept
        } else {
            Count::SpanRateLimited
        });
        self.counters.losses.add(Loss::RateLimited, (!allowed).into());
        allowed
    }

    /// Takes in what the kernel counted since `since_ns` (Unix time).
    pub(super) fn add(&mut self, more: &More<'_>, service: &Service, since_ns: u64, now: Now) {
        let (Some(status), Some(method)) = (Status::recorded(more.status), method(more.method)) else {
            return self.counters.losses.add(Loss::BadStatus, more.counter.count());
        };
        let key = SeriesKey {
            service: more.route.service,
            target: more.route.target,
            method,
            status,
        };
        self.red.add(key, since_ns, &more.counter.buckets, more.counter.sum_ns);
        if more.route.target.role() == request::Role::Client {
            return;
        }
        for row in &service.rows {
            let counted = self
                .slis
                .record_many(*row, service.pod, &more.route.template, status, &more.counter.buckets);
            if matches!(counted, Counted::Good | Counted::Bad) {
                self.counted_ns = now.monotonic_ns;
            }
        }
    }

    /// A policy in force, by its place.
    pub(super) fn policy(&self, place: usize) -> Option<&Policy> {
        self.samplers.get(place).map(|known| known.sampler.policy())
    }

    /// Where the kernel keeps the limit of a policy; 0: it has none, or there are too many.
    pub(super) fn limit_place(&self, policy: usize) -> u32 {
        let known = self.samplers.get(policy);
        let limited = known.filter(|known| known.place < MAX_LIMITS && known.sampler.policy().limit().is_some());
        limited.map_or(0, |known| known.place)
    }

    /// All limits that the kernel keeps, with their places.
    pub(super) fn limits(&self) -> impl Iterator<Item = (u32, Limit)> {
        let limits = self.samplers.iter();
        limits.filter_map(|known| Some((known.place, known.sampler.policy().limit()?)))
    }

    fn count_not_http(&self, error: NotHttp) {
        let (count, loss) = match error {
            NotHttp::Incomplete => (Count::NotHttpIncomplete, Loss::HeadCut),
            NotHttp::Method => (Count::NotHttpMethod, Loss::NotHttp),
            NotHttp::Target => (Count::NotHttpTarget, Loss::NotHttp),
            NotHttp::Version => (Count::NotHttpVersion, Loss::NotHttp),
            NotHttp::Http2 => (Count::NotHttpHttp2, Loss::NotHttp),
        };
        self.counters.one(count);
        self.counters.losses.add(loss, 1);
    }

    /// The route of what was answered, the peer of what was asked.
    fn target(&mut self, event: &RequestEvent<'_>, service: ServiceId, template: &str) -> Target {
        match event.role {
            Role::Server => Target::Route(self.routes.intern(service, template)),
            Role::Client => Target::Peer(
                event
                    .peer
                    .map_or(PeerId::OTHER, |peer| self.peers.intern(service, peer)),
            ),
        }
    }

    fn judge(&mut self, request: &Request<'_>, service: &Service, end_ns: u64) {
        for row in &service.rows {
            if matches!(
                self.slis.record(*row, service.pod, request),
                Counted::Good | Counted::Bad
            ) {
                self.counted_ns = self.counted_ns.max(end_ns);
            }
        }
    }

    /// With which threshold the request is kept, if it is. A policy that only runs dry passes it on to the next.
    #[expect(
        clippy::option_option,
        reason = "the sampler's own distinction: kept, and whether with a known threshold"
    )]
    fn sample(&mut self, request: &Request<'_>, service: &Service, now: Now) -> Option<Option<Threshold>> {
        for policy in &service.policies {
            let Some(InForcePolicy { sampler, .. }) = self.samplers.get_mut(*policy) else {
                continue;
            };
            let verdict = sampler.decide(request, now.monotonic_ns);
            self.counters.one(decided(&verdict));
            match verdict.in_force {
                Decision::Keep { threshold } => return Some(threshold),
                Decision::Drop {
                    reason: DropReason::DryRun,
                } => {}
                Decision::Drop { reason } => {
                    self.counters
                        .losses
                        .add(Loss::RateLimited, (reason == DropReason::RateLimited).into());
                    return None;
                }
            }
        }
        None
    }

    fn keep(
        &mut self,
        event: &RequestEvent<'_>,
        request: &Request<'_>,
        head: &RequestHead<'_>,
        service: &Service,
        threshold: Option<Threshold>,
        now: Now,
    ) {
        let Some(spans) = &mut self.spans else { return };
        let span = HttpSpan {
            request,
            head,
            peer: event.peer,
            // What the service asks others meanwhile names it as its parent.
            span_id: match event.seed {
                Some(seed) if event.role == Role::Server => self.shared_ids.span_id(seed),
                _ => self.ids.span_id(),
            },
            threshold,
        };
        spans.push(&service.otlp, now.monotonic_ns, &self.counters.losses, |out| {
            span.write(out);
        });
    }

    /// Forgets what belongs to services that are gone.
    pub(super) fn forget(&mut self, services: &[ServiceId]) {
        for service in services {
            self.red.remove_service(*service);
            self.routes.remove_service(*service);
            self.peers.remove_service(*service);
        }
    }

    /// Requests of a service that were lost in the kernel: they are good for no SLI.
    pub(super) fn lose(&mut self, services: &Services, service: ServiceId, lost: u64, now: Now) {
        let Some(service) = services.get(service).filter(|_| lost > 0) else {
            return;
        };
        for row in &service.rows {
            self.slis.lose(*row, lost);
            self.counted_ns = now.monotonic_ns;
        }
    }

    /// What changed since `receiver` last acknowledged, with the age of its newest count.
    pub(super) fn timed_report(&mut self, receiver: Receiver, now: Now) -> TimedReport {
        let age = if self.counted_ns == 0 {
            0
        } else {
            now.monotonic_ns.saturating_sub(self.counted_ns)
        };
        TimedReport {
            report: self.slis.report(receiver),
            age: Duration::from_nanos(age),
        }
    }

    /// Every row of the SLIs in force, by name.
    pub(super) fn sli_rows(&self) -> Vec<ReportRow> {
        let mut rows: Vec<_> = self.slis.reported().collect();
        rows.sort_unstable_by(|one, other| (&one.sli, &one.revision).cmp(&(&other.sli, &other.revision)));
        rows
    }
}

/// A path that the window cut may be any longer one: its route is not known.
fn template_of(head: &RequestHead<'_>, template: &mut String) {
    if head.path_cut || head.path.is_empty() {
        template.clear();
        template.push_str(OTHER);
    } else {
        route::template_into(head.path, template);
    }
}

fn method(number: u8) -> Option<Method> {
    Method::ALL.into_iter().find(|method| *method as u8 == number)
}

fn span_queue() -> SpanQueue {
    let mut scope = Vec::new();
    otlp::scope(SCOPE.0, SCOPE.1, &mut scope);
    SpanQueue::new(BatchLimits::default(), scope.into())
}

/// Requests of the machinery around a service: its users never see them fail.
fn unjudged(head: &RequestHead<'_>) -> Option<Count> {
    match head.user_agent? {
        agent if agent.starts_with(b"kube-probe/") => Some(Count::KubeProbe),
        agent if agent.starts_with(b"Prometheus/") => Some(Count::PrometheusScrape),
        _ => None,
    }
}

const fn decided(verdict: &Verdict) -> Count {
    match (verdict.in_force, verdict.would) {
        (Decision::Keep { .. }, _) => Count::SpanKept,
        (Decision::Drop { reason }, would) => match reason {
            DropReason::Probability => Count::SpanProbability,
            DropReason::Never => Count::SpanNever,
            DropReason::Parent => Count::SpanParent,
            DropReason::RateLimited => Count::SpanRateLimited,
            DropReason::DryRun if would.is_keep() => Count::SpanDryRunKept,
            DropReason::DryRun => Count::SpanDryRunDropped,
        },
    }
}
