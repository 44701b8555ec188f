//! What is counted equals what was sent, exactly, wherever it is told.

use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};

use crate::{
    client::Client,
    harness::{Outcome, turn, wait_for},
    load::load,
    servers::{Counts, Server},
    sink::Sink,
    worker::{ConfigFile, Worker},
};

fn bad(counts: &Counts) -> u64 {
    counts
        .iter()
        .filter(|((_, status), _)| *status >= 500)
        .map(|(_, count)| count)
        .sum()
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn measure(server: &Server, requests_per_client: usize) -> Outcome<()> {
    let sink = Sink::start()?;
    let config = ConfigFile::new(&[("web", server)], "0")?;
    let worker = Worker::start(&config, Some(&sink))?;
    worker.wait_for_processes(server.processes)?;
    let sent = load(server, requests_per_client)?;
    let total: u64 = sent.values().sum();
    wait_for("the OTLP counts", || {
        Ok((sink.counts("web").values().sum::<u64>() >= total).then_some(()))
    })
    .map_err(|error| format!("{error}: {:?} of {sent:?}, {:#?}", sink.counts("web"), worker.log()))?;
    assert_eq!(sink.counts("web"), sent, "over OTLP");
    assert_eq!(worker.counts("web")?, sent, "at /metrics");
    let sli = |result| worker.metric("shoalwatch_sli_requests_total", &["sli=\"web\"", result]);
    assert_eq!(sli("result=\"bad\"")?, bad(&sent));
    assert_eq!(sli("result=\"good\"")?, total - bad(&sent));
    assert_eq!(sli("result=\"incomplete\"")?, 0);
    assert_eq!(
        worker.metric("shoalwatch_lost_total", &[])?,
        0,
        "{:?}",
        worker.page("/metrics")?.1
    );
    assert!(sink.spans().is_empty(), "probability 0");
    Ok(())
}

#[test]
fn every_request_to_python_is_told_once_over_otlp_and_at_metrics() {
    let Some(_turn) = turn(&["python3"]) else { return };
    // It writes head and body apart, and waits for the client's delayed acknowledgement between them.
    measure(&Server::script("python3", "server.py").unwrap(), 50).unwrap();
}

#[test]
fn every_request_to_nginx_is_told_once_over_otlp_and_at_metrics() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    measure(&Server::nginx().unwrap(), 500).unwrap();
}

#[test]
fn every_request_to_go_is_told_once_over_otlp_and_at_metrics() {
    let Some(_turn) = turn(&["go"]) else { return };
    measure(&Server::go().unwrap(), 500).unwrap();
}

#[test]
fn every_request_to_node_is_told_once_over_otlp_and_at_metrics() {
    let Some(_turn) = turn(&["node"]) else { return };
    measure(&Server::script("node", "server.js").unwrap(), 500).unwrap();
}

#[test]
fn slow_answers_are_bad_for_an_sli_with_a_threshold_and_the_histogram_agrees() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    config.set("0", "slowerThanNs: 50000000").unwrap();
    let worker = Worker::start(&config, None).unwrap();
    worker.wait_for_processes(1).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    // The first of a route comes as an event, the others are counted in the kernel.
    for path in ["/status/500/x", "/late/60/x"].repeat(20) {
        client.get(path, "").unwrap();
    }
    wait_for("the requests", || {
        Ok((worker.counts("web")?.values().sum::<u64>() == 40).then_some(()))
    })
    .unwrap();
    let metric = |name, label| worker.metric(name, &["web", label]).unwrap();
    let in_time = metric("http_server_request_duration_seconds_bucket", "le=\"0.05\"");
    let sli = |result| metric("shoalwatch_sli_requests_total", result);
    assert_eq!((sli("result=\"good\""), sli("result=\"bad\"")), (in_time, 40 - in_time));
    assert!(in_time <= 20, "{in_time}");
}

#[test]
fn probes_and_scrapes_are_counted_apart() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let worker = Worker::start(&config, None).unwrap();
    worker.wait_for_processes(1).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    for agent in ["kube-probe/1.33", "Prometheus/3.5.0", "curl/8"] {
        let (status, _) = client
            .get("/status/500/x", &format!("User-Agent: {agent}\r\n"))
            .unwrap();
        assert_eq!(status, 500);
    }
    let expected = Counts::from([(("/status/{id}/x".to_owned(), 500), 1)]);
    let seen = wait_for("the request", || {
        Ok(Some(worker.counts("web")?).filter(|counts| !counts.is_empty()))
    })
    .unwrap();
    assert_eq!(seen, expected);
    for kind in ["kind=\"kube-probe\"", "kind=\"prometheus\""] {
        assert_eq!(
            worker.metric("shoalwatch_unjudged_requests_total", &[kind]).unwrap(),
            1,
            "{kind}"
        );
    }
    assert_eq!(
        worker
            .metric("shoalwatch_sli_requests_total", &["result=\"bad\""])
            .unwrap(),
        1
    );
}

#[test]
fn a_caller_s_trace_goes_on_in_the_span() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let sink = Sink::start().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0.5").unwrap();
    let worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    let (id, parent) = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
    for (flag, path) in [("00", "/status/200/dropped"), ("01", "/status/503/kept?secret=1")] {
        client
            .get(path, &format!("traceparent: 00-{id:032x}-{parent:016x}-{flag}\r\n"))
            .unwrap();
    }
    let spans = wait_for("the span", || Ok(Some(sink.spans()).filter(|spans| !spans.is_empty()))).unwrap();
    let [(service, span)] = spans.as_slice() else {
        unreachable!("{spans:?}")
    };
    assert_eq!((service.as_str(), span.name.as_str()), ("web", "GET /status/{id}/kept"));
    assert_eq!((number(&span.trace_id), number(&span.parent_span_id)), (id, parent));
    assert_eq!(span.status.as_ref().map(Status::code), Some(StatusCode::Error));
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    assert!(!format!("{span:?}").contains("secret"));
}
