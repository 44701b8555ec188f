//! Of HTTP/2 only a client's first request is told, and nothing of it is counted.

use std::{
    io::{self, Write},
    process,
    sync::Arc,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use shoalwatch_node_worker::loader::{Probes, RawNews, Stat};
use shoalwatch_protocols::http2::exports_spans;
use tonic::transport::Endpoint;

use crate::{
    harness::{Outcome, probes, turn},
    receiver::{Keep, receive},
    scenario::{Scenario, Told, task},
};

/// Takes whatever comes.
struct Anything;

impl Keep for Anything {
    fn spans(&self, _request: ExportTraceServiceRequest) {}
}

/// Exports twice on one connection, as an instrumented program does.
fn export() -> Outcome<()> {
    let (address, runtime) = receive(&Arc::new(Anything))?;
    runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut client = TraceServiceClient::new(channel);
        for _ in 0..2 {
            client.export(ExportTraceServiceRequest::default()).await?;
        }
        Ok(())
    })
}

/// How many records there were, and how many of them name an export.
fn told(probes: &mut Probes) -> (usize, usize) {
    let (mut records, mut exports) = (0, 0);
    probes.drain_raw(&mut |event| {
        records += 1;
        let exports_now = matches!(event.news, RawNews::Http2 { bytes } if exports_spans(bytes));
        exports += usize::from(exports_now && event.tgid == process::id());
    });
    (records, exports)
}

#[test]
fn a_programs_export_of_spans_is_told_once_for_a_connection() {
    let Some(_turn) = turn(&[]) else { return };
    let mut probes = probes().unwrap();
    probes.select(process::id(), task()).unwrap();
    export().unwrap();
    let (records, exports) = told(&mut probes);
    assert_eq!(exports, 1, "of {records}");
    assert_eq!(probes.stats().unwrap().get(Stat::Requests), 0);
    assert_eq!(probes.fullness().connections.used, 0);
}

#[test]
fn frames_are_told_in_their_parts_and_later_ones_not_at_all() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let (mut client, _server) = scenario.call().unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let parts: [&[u8]; 3] = [b"\0\0\0\x04\x01\0\0\0\0", b"\0\0\x04\x01\x04\0\0\0\x01", b"path"];
    let written = client.write_vectored(&parts.map(io::IoSlice::new)).unwrap();
    assert_eq!(written, parts.concat().len());
    client.write_all(b"\0\0\x04\x01\x04\0\0\0\x03path").unwrap();
    client.write_all(b"\0\0\x04\x08\0\0\0\0\0more").unwrap();
    let expected = [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\x04\x01\0\0\0\0",
        "\0\0\x04\x01\x04\0\0\0\x01",
        "path",
    ];
    assert_eq!(scenario.told(), expected.map(|part| Told::Http2(part.to_owned())));
}

#[test]
fn what_a_server_reads_of_http_2_is_not_told() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    pair.request(b"\0\0\x04\x01\x04\0\0\0\x01path").unwrap();
    assert_eq!(scenario.told(), []);
}
