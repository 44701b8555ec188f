//! One call of an OTLP service with a message whose bytes are ready.
//!
//! What is sent is written by hand, so the answer is read without opentelemetry-proto too: for every signal it is the same two
//! fields.

use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// `ExportTraceServiceResponse`, and that of every other signal.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`: what was rejected is spans here, data points there.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// A client of one of the services.
#[derive(Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
    method: PathAndQuery,
}

impl Client {
    pub(super) fn traces(channel: Channel) -> Self {
        Self::new(channel, TRACES)
    }

    pub(super) fn metrics(channel: Channel) -> Self {
        Self::new(channel, METRICS)
    }

    fn new(channel: Channel, method: &'static str) -> Self {
        Self {
            grpc: Grpc::new(channel),
            method: PathAndQuery::from_static(method),
        }
    }

    /// One attempt.
    pub(super) async fn export(&mut self, message: Bytes) -> Result<Answer, Status> {
        let not_ready = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        self.grpc.ready().await.map_err(not_ready)?;
        let method = self.method.clone();
        let answer = self.grpc.unary(Request::new(message), method, ReadyBytes).await?;
        Ok(answer.into_inner())
    }
}

/// Sends bytes as they are. tonic frames a message in a buffer of its own: this copy is the only one an attempt makes.
struct ReadyBytes;

impl Codec for ReadyBytes {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for ReadyBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.reserve(message.len());
        frame.put_slice(&message);
        Ok(())
    }
}

impl Decoder for ReadyBytes {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        let malformed = |error: prost::DecodeError| Status::internal(error.to_string());
        Answer::decode(message).map(Some).map_err(malformed)
    }
}
