//! From the worker's numbers to an OTLP message.

use shoalwatch_pipeline::{
    otlp::{self, flag, integer, text, wire},
    red::{self, BOUNDS_SECONDS},
};

use super::SCOPE;
use crate::{
    enrichment::Resource,
    requests::{Numbers, Series, SeriesAttributes},
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

/// `http.server.request.duration` of every service, cumulative: an `ExportMetricsServiceRequest`. Empty where there are no services.
pub(super) fn metrics(numbers: &Numbers) -> Vec<u8> {
    let at_ns = numbers.at_ns;
    let mut out = Vec::new();
    for service in &numbers.services {
        let series = |Series { attributes, histogram }: &Series, out: &mut Vec<u8>| {
            data_point(attributes.as_ref(), histogram, at_ns, out);
        };
        resource_metrics(&service.resource, &mut out, |out| {
            service.series.iter().for_each(|of_service| series(of_service, out));
        });
    }
    if let Some(histogram) = &numbers.overflow {
        resource_metrics(&Resource::default(), &mut out, |out| {
            data_point(None, histogram, at_ns, out);
        });
    }
    out
}

fn resource_metrics(owner: &Resource, out: &mut Vec<u8>, data_points: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, RESOURCE_METRICS, |out| {
        wire::message(out, group::RESOURCE, |out| otlp::resource(owner.iter(), out));
        wire::message(out, group::SCOPE_METRICS, |out| {
            wire::message(out, group::SCOPE, |out| otlp::scope(SCOPE.0, SCOPE.1, out));
            wire::message(out, group::METRICS, |out| duration(out, data_points));
        });
    });
}

fn duration(out: &mut Vec<u8>, data_points: impl FnOnce(&mut Vec<u8>)) {
    wire::bytes(out, metric::NAME, b"http.server.request.duration");
    wire::bytes(out, metric::DESCRIPTION, b"Duration of HTTP server requests.");
    wire::bytes(out, metric::UNIT, b"s");
    wire::message(out, metric::HISTOGRAM, |out| {
        data_points(out);
        wire::varint(out, metric::AGGREGATION_TEMPORALITY, CUMULATIVE);
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
    if let Some(route) = &series.route {
        text(out, point::ATTRIBUTES, "http.route", route);
    }
    if series.status.is_failure() {
        text(out, point::ATTRIBUTES, "error.type", &series.status.to_string());
    }
}
