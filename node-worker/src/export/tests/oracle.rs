//! The message of metrics, built from the structs of opentelemetry-proto: what the bytes must mean.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric::Data,
    },
    resource::v1,
};
use shoalwatch_pipeline::{
    red::{self, BOUNDS_SECONDS},
    request::Role,
};

use crate::{
    enrichment::Resource,
    requests::{Numbers, SeriesAttributes, SeriesTarget},
};

/// `http.server.request.duration` and `http.client.request.duration` of every service, cumulative.
pub(super) fn metrics(numbers: &Numbers) -> ExportMetricsServiceRequest {
    let at_ns = numbers.at_ns;
    let services = numbers.services.iter().map(|service| {
        let points = |role| {
            let series = service.series.of(role).iter();
            series.map(|series| data_point(series.attributes.as_ref(), &series.histogram, at_ns))
        };
        let of_role = |role| metric(role, points(role).collect());
        let metrics = [of_role(Role::Server), of_role(Role::Client)];
        resource_metrics(&service.resource, metrics.into_iter().flatten().collect())
    });
    let shared: Vec<_> = [Role::Server, Role::Client]
        .into_iter()
        .filter_map(|role| {
            let histogram = numbers.overflow.of(role).as_ref()?;
            metric(role, vec![data_point(None, histogram, at_ns)])
        })
        .collect();
    let shared = (!shared.is_empty()).then(|| resource_metrics(&Resource::default(), shared));
    ExportMetricsServiceRequest {
        resource_metrics: services.chain(shared).collect(),
    }
}

fn metric(role: Role, data_points: Vec<HistogramDataPoint>) -> Option<Metric> {
    let role = match role {
        Role::Server => "server",
        Role::Client => "client",
    };
    (!data_points.is_empty()).then(|| Metric {
        name: format!("http.{role}.request.duration"),
        description: format!("Duration of HTTP {role} requests."),
        unit: "s".to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        })),
        ..Metric::default()
    })
}

fn resource_metrics(owner: &Resource, metrics: Vec<Metric>) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(resource(owner)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope()),
            metrics,
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
    let failed = match &series.target {
        SeriesTarget::Route(route) => {
            attributes.extend(route.iter().map(|route| text("http.route", route)));
            series.status.code().is_none_or(|code| code / 100 == 5)
        }
        SeriesTarget::Peer(peer) => {
            let address = peer.map_or("_OTHER".to_owned(), |peer| peer.ip().to_string());
            attributes.push(text("server.address", &address));
            let port = peer.map(|peer| attribute("server.port", Value::IntValue(peer.port().into())));
            attributes.extend(port);
            series.status.code().is_none_or(|code| code >= 400)
        }
    };
    if failed {
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
