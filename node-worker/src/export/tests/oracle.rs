//! The message of metrics, built from the structs of opentelemetry-proto: what the bytes must mean.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric::Data,
    },
    resource::v1,
};
use shoalwatch_pipeline::red::{self, BOUNDS_SECONDS};

use crate::{
    enrichment::Resource,
    requests::{Numbers, Series, SeriesAttributes},
};

/// `http.server.request.duration` of every service, cumulative.
pub(super) fn metrics(numbers: &Numbers) -> ExportMetricsServiceRequest {
    let at_ns = numbers.at_ns;
    let point = |series: &Series| data_point(series.attributes.as_ref(), &series.histogram, at_ns);
    let services = numbers.services.iter().map(|service| {
        let points = service.series.iter().map(point).collect();
        resource_metrics(&service.resource, points)
    });
    let shared = numbers.overflow.iter().map(|histogram| {
        let overflow = Resource::default();
        resource_metrics(&overflow, vec![data_point(None, histogram, at_ns)])
    });
    ExportMetricsServiceRequest {
        resource_metrics: services.chain(shared).collect(),
    }
}

fn resource_metrics(owner: &Resource, data_points: Vec<HistogramDataPoint>) -> ResourceMetrics {
    let metric = Metric {
        name: "http.server.request.duration".to_owned(),
        description: "Duration of HTTP server requests.".to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        })),
        ..Metric::default()
    };
    ResourceMetrics {
        resource: Some(resource(owner)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope()),
            metrics: vec![metric],
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    }
}

/// Without attributes it is the overflow series of OpenTelemetry's cardinality limits.
fn data_point(attributes: Option<&SeriesAttributes>, histogram: &red::Histogram, at_ns: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes.map_or_else(
            || vec![attribute("otel.metric.overflow", Value::BoolValue(true))],
            series_attributes,
        ),
        start_time_unix_nano: histogram.start_ns(),
        time_unix_nano: at_ns,
        count: histogram.count(),
        sum: Some(histogram.sum_seconds()),
        bucket_counts: histogram.buckets().to_vec(),
        explicit_bounds: BOUNDS_SECONDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn series_attributes(series: &SeriesAttributes) -> Vec<KeyValue> {
    let mut attributes = vec![text("http.request.method", series.method)];
    if let Some(code) = series.status.code() {
        attributes.push(attribute("http.response.status_code", Value::IntValue(code.into())));
    }
    attributes.push(text("url.scheme", "http"));
    if let Some(route) = &series.route {
        attributes.push(text("http.route", route));
    }
    if series.status.is_failure() {
        attributes.push(text("error.type", &series.status.to_string()));
    }
    attributes
}

fn resource(owner: &Resource) -> v1::Resource {
    v1::Resource {
        attributes: owner.iter().map(|(key, value)| text(key, value)).collect(),
        ..v1::Resource::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "shoalwatch".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
