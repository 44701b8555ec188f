//! What an observed process asks others is counted by its peer, exactly, and nowhere else.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use crate::{
    client::Client,
    harness::{Outcome, Process, find, turn, wait_for},
    servers::{Calls, Counts, Server, server_file},
    sink::{Sink, text},
    worker::{ConfigFile, Worker},
};

const NAME: &str = "caller-of-others";

/// A Python process that asks as it is told.
struct Caller {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Caller {
    fn start() -> Outcome<Self> {
        let mut command = Command::new(find("python3").ok_or("python3")?);
        command.arg(server_file("client.py")).arg(NAME);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        Ok(Self {
            input: process.0.stdin.take().ok_or("no stdin")?,
            output: BufReader::new(process.0.stdout.take().ok_or("no stdout")?),
            _process: process,
        })
    }

    /// The answer's status, 0 where none came.
    fn ask(&mut self, peer: SocketAddr, path: &str) -> Outcome<u16> {
        writeln!(self.input, "{peer} {path}")?;
        let mut status = String::new();
        self.output.read_line(&mut status)?;
        Ok(status.trim().parse()?)
    }
}

/// Reads the head of one request from each of so many connections, and closes them.
fn closing_server(connections: usize) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).flatten() {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
        }
    });
    Ok(address)
}

#[test]
fn every_call_of_python_is_told_once_and_is_no_event_of_an_sli() {
    let Some(_turn) = turn(&["python3", "node"]) else {
        return;
    };
    // Nobody observes the servers.
    let server = Server::script("node", "server.js").unwrap();
    let closing = closing_server(3).unwrap();
    let mut caller = Caller::start().unwrap();
    let sink = Sink::start().unwrap();
    let config = ConfigFile::selecting(&[("web", &format!("argumentContains: {NAME}"))], "1").unwrap();
    let worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    let mut sent = Calls::new();
    for request in 0..200 {
        let (peer, status) = match request % 50 {
            49 if request > 50 => (closing, 0),
            _ => (server.address, [200, 201, 404, 500, 503][request % 5]),
        };
        let got = caller
            .ask(peer, &format!("/status/{status}/x?secret={request}"))
            .unwrap();
        assert_eq!(got, status);
        *sent.entry((peer.to_string(), status)).or_default() += 1;
    }
    let told = wait_for("the OTLP counts", || {
        Ok(Some(sink.calls("web")).filter(|told| *told == sent))
    });
    told.unwrap_or_else(|error| unreachable!("{error}: {:?} of {sent:?}, {:#?}", sink.calls("web"), worker.log()));
    assert_eq!(worker.calls("web").unwrap(), sent, "at /metrics");
    assert_eq!(
        (sink.counts("web"), worker.counts("web").unwrap()),
        (Counts::new(), Counts::new()),
        "it answered nothing"
    );
    assert_eq!(worker.metric("shoalwatch_sli_requests_total", &[]).unwrap(), 0);
    assert_eq!(worker.metric("shoalwatch_lost_total", &[]).unwrap(), 0);
    let spans = wait_for(
        "the spans",
        || Ok(Some(sink.spans()).filter(|spans| spans.len() == 200)),
    )
    .unwrap();
    let mut urls: BTreeMap<String, u64> = BTreeMap::new();
    for (_, span) in &spans {
        assert_eq!((span.name.as_str(), span.kind()), ("GET", SpanKind::Client));
        *urls.entry(text(&span.attributes, "url.full")).or_default() += 1;
    }
    let expected = sent
        .iter()
        .map(|((peer, status), count)| (format!("http://{peer}/status/{status}/x"), *count));
    assert_eq!(urls, expected.collect());
}

/// Spans of a kind, by the last part of their path.
fn by_name(sink: &Sink, kind: SpanKind) -> BTreeMap<String, Span> {
    let of_kind = sink.spans().into_iter().filter(|(_, span)| span.kind() == kind);
    let named = of_kind.map(|(_, span)| {
        let path = text(&span.attributes, "url.path");
        (path.rsplit('/').next().unwrap_or_default().to_owned(), span)
    });
    named.collect()
}

/// What is relayed by one connection: every third request has a caller, who sampled every second one of those.
fn relay(server: SocketAddr, to: SocketAddr, name: &str, requests: u64) -> Outcome<()> {
    let mut client = Client::connect(server)?;
    for number in 0..requests {
        let (id, sampled) = (rand::random::<u128>(), number % 2);
        let caller = match number % 3 {
            0 => format!("traceparent: 00-{id:032x}-00000000000000aa-0{sampled}\r\n"),
            _ => String::new(),
        };
        let (status, _) = client.get(&format!("/relay/{}/200/{name}-{number}", to.port()), &caller)?;
        assert_eq!(status, 200);
    }
    Ok(())
}

#[test]
fn what_python_asks_while_it_answers_is_in_the_same_trace_and_kept_or_dropped_with_it() {
    let Some(_turn) = turn(&["python3", "node"]) else {
        return;
    };
    let (server, other) = (
        Server::script("python3", "server.py").unwrap(),
        Server::script("node", "server.js").unwrap(),
    );
    let sink = Sink::start().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0.5").unwrap();
    let worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    relay(server.address, other.address, "first", 40).unwrap();
    let before = joined(&worker).unwrap();
    assert!(before > 0, "its threads were not seen to serve one request each");
    relay_by(&["a", "b", "c", "d"], &server, &other).unwrap();
    assert_eq!(joined(&worker).unwrap() - before, 400);
    let pairs = wait_for("pairs of spans", || {
        let (mut outer, mut inner) = (by_name(&sink, SpanKind::Server), by_name(&sink, SpanKind::Client));
        outer.retain(|name, _| !name.starts_with("first"));
        inner.retain(|name, _| !name.starts_with("first"));
        let level =
            worker.metric("shoalwatch_sampling_decisions_total", &["decision=\"kept\""])? == sink.span_count() as u64;
        let same = outer.keys().eq(inner.keys());
        Ok((level && same && !outer.is_empty()).then_some((outer, inner)))
    });
    let (outer, inner) = pairs.unwrap();
    assert!((100..300).contains(&outer.len()), "{} of 400 at one half", outer.len());
    for (name, inner) in &inner {
        let outer = &outer[name];
        assert_eq!(
            (&inner.trace_id, &inner.parent_span_id),
            (&outer.trace_id, &outer.span_id),
            "{name}"
        );
        assert!(outer.start_time_unix_nano < inner.start_time_unix_nano, "{name}");
        assert!(outer.end_time_unix_nano > inner.end_time_unix_nano, "{name}");
    }
}

/// Relays by several connections at a time.
fn relay_by(names: &[&str], server: &Server, to: &Server) -> Outcome<()> {
    let one = |name: &str| relay(server.address, to.address, name, 100).map_err(|error| error.to_string());
    thread::scope(|scope| {
        let running: Vec<_> = names.iter().map(|name| scope.spawn(|| one(name))).collect();
        for connection in running {
            connection.join().map_err(|_panic| "a connection panicked")??;
        }
        Ok(())
    })
}

/// Calls that were taken for a part of what their thread served.
fn joined(worker: &Worker) -> Outcome<u64> {
    worker.metric("shoalwatch_kernel_requests_total", &["step=\"joined\""])
}

#[test]
fn goroutines_prove_nothing_and_what_they_ask_stays_apart() {
    let Some(_turn) = turn(&["go", "node"]) else { return };
    let (server, other) = (Server::go().unwrap(), Server::script("node", "server.js").unwrap());
    let config = ConfigFile::new(&[("web", &server)], "1").unwrap();
    let worker = Worker::start(&config, None).unwrap();
    worker.wait_for_processes(1).unwrap();
    relay_by(&["a", "b", "c", "d"], &server, &other).unwrap();
    relay_by(&["e"], &server, &other).unwrap();
    assert_eq!(joined(&worker).unwrap(), 0);
}
