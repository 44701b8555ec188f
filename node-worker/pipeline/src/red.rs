//! Rate, errors and duration: cumulative histograms per {service, route or peer, method, status}, as OpenTelemetry's
//! `http.server.request.duration` and `http.client.request.duration`.
//!
//! The number of series of each of the two metrics is bounded as OpenTelemetry's metrics SDK bounds it (specification, "Cardinality limits"): a measurement
//! that would need one too many goes to a series with the only attribute `otel.metric.overflow=true`. No measurement is lost or
//! counted twice, whatever the bounds. Since services are resources, each has an overflow series of its own; services beyond
//! their bound share one.

mod histogram;

use crate::request::{ByRole, Method, Request, Role, ServiceId, Status, Target};
use std::collections::HashMap;

pub use histogram::{BOUNDS_SECONDS, Histogram};
/// [`BOUNDS_SECONDS`] in nanoseconds: those that the kernel counts by.
pub use shoalwatch_ebpf_common::{BOUNDS_NS, BUCKETS};

/// Bounds of a [`RedMetrics`], for each of its two metrics: what a node calls takes no room from what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedLimits {
    /// Series of all services, overflow series apart.
    pub series: usize,
    /// Series of one service: one talkative service must not take all. OpenTelemetry's default.
    pub series_per_service: usize,
    /// Overflow series: services that may have one of their own.
    pub services: usize,
}

impl Default for RedLimits {
    fn default() -> Self {
        Self {
            series: 10_000,
            series_per_service: 2_000,
            services: 1_000,
        }
    }
}

/// What tells one series from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Whose process answered, or asked.
    pub service: ServiceId,
    /// `http.route`, or `server.address` and `server.port`
    pub target: Target,
    /// `http.request.method`
    pub method: Method,
    /// `http.response.status_code`, and `error.type` where it failed
    pub status: Status,
}

impl From<&Request<'_>> for SeriesKey {
    fn from(request: &Request<'_>) -> Self {
        let Request {
            service,
            target,
            method,
            status,
            ..
        } = *request;
        Self {
            service,
            target,
            method,
            status,
        }
    }
}

/// Which series a histogram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesId {
    /// One with its attributes.
    Series(SeriesKey),
    /// `otel.metric.overflow=true` of one service.
    ServiceOverflow(ServiceId, Role),
    /// `otel.metric.overflow=true` of all services that were too many.
    Overflow(Role),
}

/// The histograms of all services on this node.
#[derive(Debug, Default)]
pub struct RedMetrics {
    limits: RedLimits,
    series: HashMap<SeriesKey, Histogram>,
    opened: ByRole<usize>,
    per_service: ByRole<HashMap<ServiceId, usize>>,
    service_overflow: ByRole<HashMap<ServiceId, Histogram>>,
    overflow: ByRole<Option<Histogram>>,
    overflowed: u64,
}

impl RedMetrics {
    /// Without any series.
    #[must_use]
    pub fn new(limits: RedLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Counts one request.
    pub fn record(&mut self, request: &Request<'_>) {
        let key = SeriesKey::from(request);
        let histogram = match self.series.get_mut(&key) {
            Some(histogram) => histogram,
            None => self.open(key, request.start_ns),
        };
        histogram.record(request.duration_ns());
    }

    /// Counts requests that were counted elsewhere, such as in the kernel, since `start_ns`: how many per bucket of [`BOUNDS_SECONDS`], and the
    /// sum of their durations.
    pub fn add(&mut self, key: SeriesKey, start_ns: u64, buckets: &[u64; BUCKETS], sum_ns: u64) {
        let histogram = match self.series.get_mut(&key) {
            Some(histogram) => histogram,
            None => self.open(key, start_ns),
        };
        histogram.add(buckets, sum_ns);
    }

    /// A new series where there is room, else the overflow series. A series begins with its first request.
    fn open(&mut self, key: SeriesKey, start_ns: u64) -> &mut Histogram {
        let role = key.target.role();
        let (opened, per_service) = (self.opened.of_mut(role), self.per_service.of_mut(role));
        let of_service = per_service.get(&key.service).copied().unwrap_or(0);
        if *opened < self.limits.series && of_service < self.limits.series_per_service {
            *opened += 1;
            per_service.insert(key.service, of_service + 1);
            return self.series.entry(key).or_insert_with(|| Histogram::new(start_ns));
        }
        self.overflowed += 1;
        let owners = self.service_overflow.of_mut(role);
        if owners.contains_key(&key.service) || owners.len() < self.limits.services {
            owners.entry(key.service).or_insert_with(|| Histogram::new(start_ns))
        } else {
            self.overflow
                .of_mut(role)
                .get_or_insert_with(|| Histogram::new(start_ns))
        }
    }

    /// All series, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SeriesId, &Histogram)> {
        let series = self
            .series
            .iter()
            .map(|(key, histogram)| (SeriesId::Series(*key), histogram));
        let services = self.service_overflow.iter().flat_map(|(role, owners)| {
            owners
                .iter()
                .map(move |(service, histogram)| (SeriesId::ServiceOverflow(*service, role), histogram))
        });
        let shared = self
            .overflow
            .iter()
            .filter_map(|(role, histogram)| Some((SeriesId::Overflow(role), histogram.as_ref()?)));
        series.chain(services).chain(shared)
    }

    /// Forgets a service that is gone, once its last counts were exported. What it put into the shared overflow series stays.
    pub fn remove_service(&mut self, service: ServiceId) {
        self.series.retain(|key, _| key.service != service);
        for role in [Role::Server, Role::Client] {
            *self.opened.of_mut(role) -= self.per_service.of_mut(role).remove(&service).unwrap_or(0);
            self.service_overflow.of_mut(role).remove(&service);
        }
    }

    /// Series with attributes of servers or of clients, for a fullness metric against [`RedLimits::series`].
    #[must_use]
    pub const fn len(&self, role: Role) -> usize {
        *self.opened.of(role)
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Requests that went to an overflow series.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> RedLimits {
        self.limits
    }
}

#[cfg(test)]
mod tests;
