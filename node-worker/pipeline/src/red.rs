//! Rate, errors and duration: cumulative histograms per {service, route, method, status}, as OpenTelemetry's
//! `http.server.request.duration`.
//!
//! The number of series is bounded as OpenTelemetry's metrics SDK bounds it (specification, "Cardinality limits"): a measurement
//! that would need one too many goes to a series with the only attribute `otel.metric.overflow=true`. No measurement is lost or
//! counted twice, whatever the bounds. Since services are resources, each has an overflow series of its own; services beyond
//! their bound share one.

mod histogram;

use crate::request::{Method, Request, RouteId, ServiceId, Status};
use std::collections::HashMap;

pub use histogram::{BOUNDS_SECONDS, Histogram};
/// [`BOUNDS_SECONDS`] in nanoseconds: those that the kernel counts by.
pub use shoalwatch_ebpf_common::{BOUNDS_NS, BUCKETS};

/// Bounds of a [`RedMetrics`].
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
    /// Whose process took it.
    pub service: ServiceId,
    /// `http.route`
    pub route: RouteId,
    /// `http.request.method`
    pub method: Method,
    /// `http.response.status_code`, and `error.type` where it failed
    pub status: Status,
}

impl From<&Request<'_>> for SeriesKey {
    fn from(request: &Request<'_>) -> Self {
        let Request {
            service,
            route,
            method,
            status,
            ..
        } = *request;
        Self {
            service,
            route,
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
    ServiceOverflow(ServiceId),
    /// `otel.metric.overflow=true` of all services that were too many.
    Overflow,
}

/// The histograms of all services on this node.
#[derive(Debug, Default)]
pub struct RedMetrics {
    limits: RedLimits,
    series: HashMap<SeriesKey, Histogram>,
    per_service: HashMap<ServiceId, usize>,
    service_overflow: HashMap<ServiceId, Histogram>,
    overflow: Option<Histogram>,
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
        let of_service = self.per_service.get(&key.service).copied().unwrap_or(0);
        if self.series.len() < self.limits.series && of_service < self.limits.series_per_service {
            self.per_service.insert(key.service, of_service + 1);
            return self.series.entry(key).or_insert_with(|| Histogram::new(start_ns));
        }
        self.overflowed += 1;
        let own =
            self.service_overflow.contains_key(&key.service) || self.service_overflow.len() < self.limits.services;
        if own {
            self.service_overflow
                .entry(key.service)
                .or_insert_with(|| Histogram::new(start_ns))
        } else {
            self.overflow.get_or_insert_with(|| Histogram::new(start_ns))
        }
    }

    /// All series, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SeriesId, &Histogram)> {
        let series = self
            .series
            .iter()
            .map(|(key, histogram)| (SeriesId::Series(*key), histogram));
        let services = self
            .service_overflow
            .iter()
            .map(|(id, histogram)| (SeriesId::ServiceOverflow(*id), histogram));
        series
            .chain(services)
            .chain(self.overflow.iter().map(|histogram| (SeriesId::Overflow, histogram)))
    }

    /// Forgets a service that is gone, once its last counts were exported. What it put into the shared overflow series stays.
    pub fn remove_service(&mut self, service: ServiceId) {
        self.series.retain(|key, _| key.service != service);
        self.per_service.remove(&service);
        self.service_overflow.remove(&service);
    }

    /// Series with attributes, for a fullness metric against [`RedLimits::series`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
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
