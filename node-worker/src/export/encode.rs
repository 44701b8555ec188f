//! From the worker's numbers to an OTLP message.

use shoalwatch_pipeline::{
    otlp::{self, flag, integer, text, wire},
    red::{self, BOUNDS_SECONDS},
    request::Role,
};
use shoalwatch_protocols::route::OTHER;

use super::SCOPE;
use crate::{
    enrichment::Resource,
    requests::{Numbers, SeriesAttributes, SeriesTarget},
};

/// `ExportMetricsServiceRequest.resource_metrics`
const RESOURCE_METRICS: u32 = 1;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;

/// Fields of `ResourceMetrics` and `ScopeMetrics`.
mod group {
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_METRICS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const METRICS: u32 = 2;
}

/// Fields of `Metric` and `Histogram`.
mod metric {
    pub(super) const NAME: u32 = 1;
    pub(super) const DESCRIPTION: u32 = 2;
    pub(super) const UNIT: u32 = 3;
    pub(super) const HISTOGRAM: u32 = 9;
    pub(super) const DATA_POINTS: u32 = 1;
    pub(super) const AGGREGATION_TEMPORALITY: u32 = 2;
}

/// Fields of `HistogramDataPoint`.
mod point {
    pub(super) const START_TIME_UNIX_NANO: u32 = 2;
    pub(super) const TIME_UNIX_NANO: u32 = 3;
    pub(super) const COUNT: u32 = 4;
    pub(super) const SUM: u32 = 5;
    pub(super) const BUCKET_COUNTS: u32 = 6;
    pub(super) const EXPLICIT_BOUNDS: u32 = 7;
    pub(super) const ATTRIBUTES: u32 = 9;
}

/// What `Metric` says of itself.
const SERVER: (&[u8], &[u8]) = (b"http.server.request.duration", b"Duration of HTTP server requests.");
const CLIENT: (&[u8], &[u8]) = (b"http.client.request.duration", b"Duration of HTTP client requests.");

/// A series' attributes, absent for an overflow series, and its numbers.
type Point<'a> = (Option<&'a SeriesAttributes>, &'a red::Histogram);

/// `http.server.request.duration` and `http.client.request.duration` of every service, cumulative: an `ExportMetricsServiceRequest`.
/// Empty where there are no services.
pub(super) fn metrics(numbers: &Numbers) -> Vec<u8> {
    let mut out = Vec::new();
    for service in &numbers.services {
        resource_metrics(&service.resource, &mut out, |out| {
            for (role, series) in service.series.iter() {
                let points = series.iter().map(|of| (of.attributes.as_ref(), &of.histogram));
                duration(role, points, numbers.at_ns, out);
            }
        });
    }
    let overflow = &numbers.overflow;
    if overflow.iter().any(|(_, histogram)| histogram.is_some()) {
        resource_metrics(&Resource::default(), &mut out, |out| {
            for (role, histogram) in overflow.iter() {
                duration(role, histogram.iter().map(|of| (None, of)), numbers.at_ns, out);
            }
        });
    }
    out
}

fn resource_metrics(owner: &Resource, out: &mut Vec<u8>, metrics: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, RESOURCE_METRICS, |out| {
        wire::message(out, group::RESOURCE, |out| otlp::resource(owner.iter(), out));
        wire::message(out, group::SCOPE_METRICS, |out| {
            wire::message(out, group::SCOPE, |out| otlp::scope(SCOPE.0, SCOPE.1, out));
            metrics(out);
        });
    });
}

/// A metric without data points is left out.
fn duration<'a>(role: Role, points: impl ExactSizeIterator<Item = Point<'a>>, at_ns: u64, out: &mut Vec<u8>) {
    if points.len() == 0 {
        return;
    }
    let (name, description) = match role {
        Role::Server => SERVER,
        Role::Client => CLIENT,
    };
    wire::message(out, group::METRICS, |out| {
        wire::bytes(out, metric::NAME, name);
        wire::bytes(out, metric::DESCRIPTION, description);
        wire::bytes(out, metric::UNIT, b"s");
        wire::message(out, metric::HISTOGRAM, |out| {
            for (attributes, histogram) in points {
                data_point(attributes, histogram, at_ns, out);
            }
            wire::varint(out, metric::AGGREGATION_TEMPORALITY, CUMULATIVE);
        });
    });
}

/// Without attributes it is the overflow series of OpenTelemetry's cardinality limits.
fn data_point(attributes: Option<&SeriesAttributes>, histogram: &red::Histogram, at_ns: u64, out: &mut Vec<u8>) {
    wire::message(out, metric::DATA_POINTS, |out| {
        wire::fixed64(out, point::START_TIME_UNIX_NANO, histogram.start_ns());
        wire::fixed64(out, point::TIME_UNIX_NANO, at_ns);
        wire::fixed64(out, point::COUNT, histogram.count());
        wire::double(out, point::SUM, histogram.sum_seconds());
        let counts = histogram.buckets().iter().flat_map(|count| count.to_le_bytes());
        wire::message(out, point::BUCKET_COUNTS, |out| out.extend(counts));
        let bounds = BOUNDS_SECONDS.iter().flat_map(|bound| bound.to_le_bytes());
        wire::message(out, point::EXPLICIT_BOUNDS, |out| out.extend(bounds));
        match attributes {
            Some(series) => series_attributes(series, out),
            None => flag(out, point::ATTRIBUTES, "otel.metric.overflow", true),
        }
    });
}

fn series_attributes(series: &SeriesAttributes, out: &mut Vec<u8>) {
    text(out, point::ATTRIBUTES, "http.request.method", series.method);
    if let Some(code) = series.status.code() {
        integer(out, point::ATTRIBUTES, "http.response.status_code", code.into());
    }
    text(out, point::ATTRIBUTES, "url.scheme", "http");
    match &series.target {
        SeriesTarget::Route(Some(route)) => text(out, point::ATTRIBUTES, "http.route", route),
        SeriesTarget::Route(None) => {}
        SeriesTarget::Peer(Some(peer)) => {
            text(out, point::ATTRIBUTES, "server.address", &peer.ip().to_string());
            integer(out, point::ATTRIBUTES, "server.port", peer.port().into());
        }
        SeriesTarget::Peer(None) => text(out, point::ATTRIBUTES, "server.address", OTHER),
    }
    if let Some(error) = series.error_type() {
        text(out, point::ATTRIBUTES, "error.type", &error);
    }
}
