//! The senders against a receiver in this process.

mod oracle;

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::any_value::Value,
    metrics::v1::{AggregationTemporality, HistogramDataPoint, metric::Data},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use shoalwatch_pipeline::loss::Loss;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::counters::Count;

/// What the receiver will answer, and what it was sent.
#[derive(Default)]
struct Script {
    answers: VecDeque<Result<ExportTraceServiceResponse, Status>>,
    received: Vec<ExportTraceServiceRequest>,
}

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Script>>);

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut script = self.lock();
        script.received.push(request.into_inner());
        let answer = script
            .answers
            .pop_front()
            .unwrap_or_else(|| Ok(ExportTraceServiceResponse::default()));
        answer.map(Response::new)
    }
}

async fn receiver(answers: Vec<Result<ExportTraceServiceResponse, Status>>) -> (Receiver, Channel) {
    let receiver = Receiver::default();
    receiver.lock().answers.extend(answers);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder()
        .add_service(TraceServiceServer::new(receiver.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (receiver, channel::open(&endpoint, None).unwrap())
}

/// A message with so many spans.
fn message(count: usize) -> ExportTraceServiceRequest {
    let spans = vec![Span::default(); count];
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

/// Sends a message with so many spans and waits until the exporter has no more.
async fn export(channel: Channel, count: usize) -> Arc<Counters> {
    let counters = Arc::new(Counters::default());
    let (outlet, receiver) = SpanOutlet::new(QUEUED, CONCURRENT);
    let mut left = Some(message(count));
    outlet.fill(|buffer| {
        let Some(message) = left.take() else { return 0 };
        message.encode(buffer).unwrap();
        count
    });
    drop(outlet);
    export_spans(channel, receiver, Arc::clone(&counters)).await;
    counters
}

#[tokio::test]
async fn a_busy_receiver_is_tried_again_with_the_same_message() {
    let (sink, channel) = receiver(vec![Err(Status::unavailable("busy")), Err(Status::aborted("again"))]).await;
    let counters = export(channel, 3).await;
    let received = &sink.lock().received;
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|received| *received == message(3)), "{received:?}");
    assert_eq!(counters.get(Count::TracesRetried), 2);
    assert_eq!(counters.get(Count::SpansExported), 3);
    assert!(counters.losses.iter().all(|(_, count)| count == 0));
}

#[tokio::test]
async fn a_refusal_for_good_is_not_tried_again_and_its_spans_are_counted_as_lost() {
    let (sink, channel) = receiver(vec![Err(Status::invalid_argument("no"))]).await;
    let counters = export(channel, 3).await;
    assert_eq!(sink.lock().received.len(), 1);
    assert_eq!(counters.losses.get(Loss::ExportRefused), 3);
    assert_eq!(counters.get(Count::TracesFailed), 1);
}

#[tokio::test]
async fn what_a_receiver_left_out_is_counted_as_lost_and_the_rest_as_sent() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "too old".into(),
        }),
    };
    let (_receiver, channel) = receiver(vec![Ok(partial)]).await;
    let counters = export(channel, 5).await;
    assert_eq!(counters.losses.get(Loss::ExportPartial), 2);
    assert_eq!(counters.get(Count::SpansExported), 3);
    assert_eq!(counters.get(Count::TracesPartial), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_receiver_is_given_up_after_a_minute_and_counted() {
    let channel = channel::open("http://127.0.0.1:1", None).unwrap();
    let counters = export(channel, 4).await;
    assert_eq!(counters.losses.get(Loss::ExportGivenUp), 4);
    assert!(
        counters.get(Count::TracesRetried) >= 12,
        "{}",
        counters.get(Count::TracesRetried)
    );
}

#[test]
fn an_endpoint_that_cannot_work_says_what_to_write() {
    let reason = |endpoint: &str| channel::open(endpoint, None).unwrap_err().to_string();
    assert!(reason("not a url").contains("http://collector:4317"));
    assert!(reason("https://collector:4317").contains("--otlp-ca-file"));
}

#[test]
fn numbers_are_cumulative_histograms_of_their_resource_with_the_conventions_bounds() {
    let numbers = crate::requests::example_numbers();
    let request = ExportMetricsServiceRequest::decode(encode::metrics(&numbers).as_slice()).unwrap();
    assert_eq!(request, oracle::metrics(&numbers));
    let [of_service, of_all] = request.resource_metrics.as_slice() else {
        unreachable!("{request:?}")
    };
    let [metric, _calls] = of_service.scope_metrics[0].metrics.as_slice() else {
        unreachable!("{of_service:?}")
    };
    assert_eq!(
        (metric.name.as_str(), metric.unit.as_str()),
        ("http.server.request.duration", "s")
    );
    let Some(Data::Histogram(histogram)) = &metric.data else {
        unreachable!("{metric:?}")
    };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    let [point, aborted, overflow] = histogram.data_points.as_slice() else {
        unreachable!("{histogram:?}")
    };
    assert_eq!(
        (point.count, point.start_time_unix_nano, point.time_unix_nano),
        (4, 1_000, 5_000)
    );
    assert_eq!(point.bucket_counts, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]);
    assert_eq!((point.explicit_bounds.len(), point.explicit_bounds[8]), (14, 0.75));
    assert!((point.sum.unwrap_or_default() - 61.403).abs() < 1e-9);
    let keys = |point: &HistogramDataPoint| {
        let keys = point.attributes.iter().map(|attribute| attribute.key.clone());
        keys.collect::<Vec<_>>()
    };
    let expected = [
        "http.request.method",
        "http.response.status_code",
        "url.scheme",
        "http.route",
        "error.type",
    ];
    assert_eq!(keys(point), expected);
    let without_code = ["http.request.method", "url.scheme", "http.route", "error.type"];
    assert_eq!(keys(aborted), without_code);
    let error = aborted.attributes[3]
        .value
        .as_ref()
        .and_then(|value| value.value.clone());
    assert_eq!(error, Some(Value::StringValue("aborted".to_owned())));
    assert_eq!(overflow.attributes[0].key, "otel.metric.overflow");
    assert!(
        of_all
            .resource
            .as_ref()
            .is_some_and(|resource| resource.attributes.is_empty())
    );
}

#[test]
fn calls_are_a_metric_of_their_own_by_the_address_of_their_peer() {
    let numbers = crate::requests::example_numbers();
    let request = ExportMetricsServiceRequest::decode(encode::metrics(&numbers).as_slice()).unwrap();
    let [_, metric] = request.resource_metrics[0].scope_metrics[0].metrics.as_slice() else {
        unreachable!("{request:?}")
    };
    assert_eq!(
        (metric.name.as_str(), metric.unit.as_str()),
        ("http.client.request.duration", "s")
    );
    let Some(Data::Histogram(histogram)) = &metric.data else {
        unreachable!("{metric:?}")
    };
    let attributes = |point: &HistogramDataPoint| {
        let attributes = point.attributes.iter().map(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            let text = match value {
                Some(Value::StringValue(text)) => text.clone(),
                Some(Value::IntValue(number)) => number.to_string(),
                other => format!("{other:?}"),
            };
            format!("{}={text}", attribute.key)
        });
        attributes.collect::<Vec<_>>().join(" ")
    };
    let told: Vec<_> = histogram
        .data_points
        .iter()
        .map(|point| (attributes(point), point.count))
        .collect();
    let expected = [
        (
            "http.request.method=GET http.response.status_code=404 url.scheme=http server.address=10.0.0.1 server.port=8080 \
             error.type=404",
            2,
        ),
        (
            "http.request.method=GET http.response.status_code=200 url.scheme=http server.address=_OTHER",
            1,
        ),
        (
            "http.request.method=GET url.scheme=http server.address=10.0.0.1 server.port=8080 error.type=aborted",
            1,
        ),
    ];
    assert_eq!(told, expected.map(|(attributes, count)| (attributes.to_owned(), count)));
}
