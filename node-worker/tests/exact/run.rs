//! One server, one load, one worker: and the books have to agree.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    books::{Told, by, difference, method, route, total},
    harness::{Outcome, turn, wait_for},
    load::Load,
    servers::{Calls, Counts, Server},
    sink::Sink,
    worker::{ConfigFile, Worker},
};

/// How often the policy is edited.
const FLIP: Duration = Duration::from_millis(100);
/// What it is in turn: probabilities, with the rules that follow them.
const POLICIES: [&str; 5] = [
    "0",
    "0.01",
    "1",
    "0.01, rules: [{name: failures, status: [5xx, Aborted], probability: 1}]",
    "0, rules: [{name: posts, methods: [POST], probability: 1}, {name: orders, route: {prefix: \"/status/{id}/orders\"}, \
     probability: 0.5}]",
];

/// Under what a load is counted.
#[derive(Clone, Copy, Debug)]
struct Mode {
    name: &'static str,
    /// Bytes of the ring; absent: the default.
    ring: Option<u32>,
    /// Else everything is kept.
    flips: bool,
}

const MODES: [Mode; 3] = [
    Mode {
        name: "flips",
        ring: None,
        flips: true,
    },
    Mode {
        name: "flips, tiny ring",
        ring: Some(4096),
        flips: true,
    },
    Mode {
        name: "all kept, tiny ring",
        ring: Some(4096),
        flips: false,
    },
];

/// A whole number of the environment.
fn asked_for(name: &str, default: usize) -> Outcome<usize> {
    Ok(std::env::var(name).map_or(Ok(default), |value| value.parse())?)
}

/// Repeats the load in every mode. A line tells of each; the error, how many differed.
fn measure(name: &str, server: &Server) -> Outcome<()> {
    let (runs, requests) = (asked_for("RUNS", 1)?, asked_for("REQUESTS", 5000)?);
    let mut failed = 0;
    for (run, mode) in (1..=runs).flat_map(|run| MODES.map(|mode| (run, mode))) {
        let seed = run as u64;
        let line = once(server, &Load { requests, seed }, mode).unwrap_or_else(|error| {
            failed += 1;
            format!("FAILED: {error}")
        });
        eprintln!("{name}, {}, run {run} of {runs}: {line}", mode.name);
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(format!(
            "{name}: {failed} of {} loads were not counted exactly",
            runs * MODES.len()
        )
        .into())
    }
}

fn once(server: &Server, load: &Load, mode: Mode) -> Outcome<String> {
    let sink = Sink::start()?;
    let config = ConfigFile::new(&[("web", server)], "1")?;
    let mut worker = match mode.ring {
        None => Worker::start(&config, Some(&sink))?,
        Some(bytes) => Worker::start_as(&config, Some(&sink), |command| {
            command.arg("--ring-bytes").arg(bytes.to_string());
        })?,
    };
    worker.wait_for_processes(server.processes)?;
    let began = Instant::now();
    let sent = under_flips(&config, mode.flips, || load.run(server.address))?;
    let took = began.elapsed();
    let told = level(&worker, &sink, &sent)?;
    compare(&told, &sent, mode)?;
    let (counts, spans) = (worker.counts("web")?, sink.span_count());
    assert_eq!(worker.calls("web")?, Calls::new(), "it asked nobody");
    worker.process.signal(Signal::TERM)?;
    assert!(worker.process.wait()?.success(), "{:#?}", worker.log());
    assert_eq!(
        sink.counts("web"),
        counts,
        "the last numbers over OTLP, and those at /metrics"
    );
    assert_eq!(sink.calls("web"), Calls::new());
    assert_eq!(sink.span_count(), spans, "spans that came late");
    check_spans(&sink, &sent);
    Ok(format!(
        "{} requests, {} aborted, {} policies, {spans} spans, ring_full {} (span_lost {}, route_lost {}), undelivered {}, \
         {:.1} s",
        total(&sent),
        by(&sent, |_, status| status).get(&0).copied().unwrap_or(0),
        told.policies,
        told.ring_full,
        told.span_lost,
        told.route_lost,
        told.undelivered,
        took.as_secs_f64()
    ))
}

/// Edits the policy again and again while a story is told.
fn under_flips(config: &ConfigFile, flips: bool, story: impl FnOnce() -> Outcome<Counts>) -> Outcome<Counts> {
    let over = AtomicBool::new(!flips);
    thread::scope(|scope| {
        let editing = scope.spawn(|| {
            for policy in POLICIES.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                config.set_probability(policy).map_err(|error| error.to_string())?;
                thread::sleep(FLIP);
            }
            Ok::<(), String>(())
        });
        let told = story();
        over.store(true, Ordering::Relaxed);
        editing.join().map_err(|panic| format!("{panic:?}"))??;
        told
    })
}

/// Waits until everything is told that was sent; what is wrong then stays wrong.
fn level(worker: &Worker, sink: &Sink, sent: &Counts) -> Outcome<Told> {
    let waited = wait_for("everything that was sent", || {
        let told = Told::by(worker)?;
        let is_level = told.total() + told.uncounted() >= total(sent)
            && told.kept + told.not_kept + told.ring_full >= total(sent)
            && sink.span_count() as u64 + told.undelivered >= told.kept;
        if is_level {
            Ok(Some(told))
        } else {
            let spans = sink.span_count();
            let end = |request: &str, status| (method(request), status);
            let wrong = difference(&by(&told.requests, end), &by(sent, end));
            Err(format!("told and sent {wrong:?}, {spans} spans, {told}").into())
        }
    });
    waited.map_err(|error| format!("{error}, log {:#?}", worker.log()).into())
}

fn compare(told: &Told, sent: &Counts, mode: Mode) -> Outcome<()> {
    let check = |holds: bool, what: &str| {
        let message = || format!("{what}: {told}").into();
        holds.then_some(()).ok_or_else(message)
    };
    check(told.faults.is_empty(), "faults")?;
    // Of a request with a body that was never answered only user space can say whether it came whole: it is told of nowhere else.
    let end = |request: &str, status| match (method(request), status) {
        (method, 0) if method == "POST" || method == "PUT" => ("with a body".to_owned(), 0),
        end => end,
    };
    let mut ends = by(&told.requests, end);
    *ends.entry(("with a body".to_owned(), 0)).or_default() += told.uncounted();
    let wrong = difference(&ends, &by(sent, end));
    check(wrong.is_empty(), &format!("told and sent {wrong:?}"))?;
    if mode.ring.is_none() {
        check(told.ring_full == 0, "a ring with room")?;
        let wrong = difference(&told.requests, sent);
        check(wrong.is_empty(), &format!("told and sent {wrong:?}"))?;
    }
    let others = by(&told.requests, |request, _| route(request)).remove("_OTHER");
    check(others.unwrap_or(0) == told.route_lost, "routes without a name")?;
    check(
        told.kept + told.not_kept + told.ring_full == total(sent),
        "each decided about once, or named lost",
    )?;
    check(!mode.flips || told.policies > 1, "policies that were flipped")?;
    check(mode.flips || told.not_kept == 0, "probability 1")
}

/// No span of a request that was never sent, nor two of one.
fn check_spans(sink: &Sink, sent: &Counts) {
    let mut left = by(sent, |request, _| request.to_owned());
    for (service, span) in sink.spans() {
        assert_eq!(service, "web");
        let left = left
            .get_mut(&span.name)
            .and_then(|left| left.checked_sub(1).map(|less| *left = less));
        assert!(left.is_some(), "one span too many: {span:?}");
    }
}

#[test]
fn nginx_is_counted_exactly() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    measure("nginx", &Server::nginx().unwrap()).unwrap();
}

#[test]
fn go_is_counted_exactly() {
    let Some(_turn) = turn(&["go"]) else { return };
    measure("Go", &Server::go().unwrap()).unwrap();
}

#[test]
fn python_is_counted_exactly() {
    let Some(_turn) = turn(&["python3"]) else { return };
    measure("Python", &python().unwrap()).unwrap();
}

#[test]
fn node_is_counted_exactly() {
    let Some(_turn) = turn(&["node"]) else { return };
    measure("Node", &Server::script("node", "server.js").unwrap()).unwrap();
}

#[test]
fn java_is_counted_exactly() {
    let Some(_turn) = turn(&["javac"]) else { return };
    measure("Java", &Server::script("java", "Server.java").unwrap()).unwrap();
}

fn python() -> Outcome<Server> {
    Server::script_with("python3", "server.py", &["at-once"])
}
