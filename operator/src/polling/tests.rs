//! Against a Prometheus of the test's own, on loopback.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::logging::chain;

const LONG: Duration = Duration::from_mins(1);

/// What a server is asked, such as `query=up&time=1.500`, and what it answers: raw bytes, or nothing at all.
type Script = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&script), Arc::clone(&heard)));
            }
        });
        Self { url, asked, task }
    }

    async fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(move |asked| Some(answer(asked)))).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn source(&self) -> Source {
        Source::new(&self.url, "good", "total").unwrap()
    }
}

async fn serve(mut stream: TcpStream, script: Script, heard: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap().to_owned();
    heard.lock().unwrap().push(target.clone());
    match script(&target) {
        // Whoever asked may have hung up.
        Some(answer) => drop(stream.write_all(&answer).await),
        None => std::future::pending().await,
    }
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn vector(values: &[&str]) -> Value {
    let series = values
        .iter()
        .map(|value| json!({"metric": {"a": value}, "value": [1.5, value]}));
    json!({"status": "success", "data": {"resultType": "vector", "result": series.collect::<Vec<_>>()}})
}

fn ok(values: &[&str]) -> Vec<u8> {
    http("200 OK", vector(values).to_string().as_bytes())
}

async fn read(source: &Source) -> Result<Read, PollError> {
    let at = "2026-11-22T05:00:00.25Z".parse().unwrap();
    prometheus::read(&HttpClient::on_loopback(), source, at).await
}

async fn failure_of(answer: Vec<u8>) -> (&'static str, String) {
    let server = Server::answering(move |_| answer.clone()).await;
    let error = read(&server.source()).await.unwrap_err();
    (error.category(), chain(&error))
}

fn job(sli: &str, source: &Source) -> Job {
    Job {
        sli: SliId::from(sli),
        source: Arc::new(source.clone()),
    }
}

#[tokio::test]
async fn both_counters_are_asked_for_at_the_same_time_under_the_prefix_of_the_address() {
    let server = Server::answering(|asked| ok(&[if asked.contains("bad%22") { "7" } else { "9" }])).await;
    let url = format!("{}/tenant/", server.url);
    let source = Source::new(&url, "sum(a{code!=\"bad\"})", "sum(a) + 1").unwrap();
    assert_eq!(read(&source).await.unwrap(), Read { good: 7, total: 9 });
    let asked: BTreeSet<String> = server.asked().into_iter().collect();
    let with = |query| format!("/tenant/api/v1/query?query={query}&time=2026-11-22T05%3A00%3A00.250Z&timeout=5s");
    assert_eq!(
        asked,
        [with("sum%28a%7Bcode%21%3D%22bad%22%7D%29"), with("sum%28a%29+%2B+1")].into()
    );
}

#[tokio::test]
async fn every_bad_answer_has_a_reason_of_its_own() {
    let refused = json!({"status": "error", "errorType": "bad_data", "error": "parse error"}).to_string();
    let cases = [
        (ok(&[]), "NoSeries", "or vector(0)"),
        (ok(&["1", "2"]), "ManySeries", "2 series: sum()"),
        (ok(&["NaN"]), "NotACount", "NaN is no count"),
        (
            http("400 Bad Request", refused.as_bytes()),
            "QueryRefused",
            "bad_data: parse error",
        ),
        (http("502 Bad Gateway", b"<html>"), "NoPrometheus", "HTTP status 502"),
        (http("302 Found", b""), "NoPrometheus", "HTTP status 302"),
        (http("200 OK", b"{}"), "NoPrometheus", "no answer of Prometheus"),
        (
            http("200 OK", &vec![b' '; (1 << 20) + 1]),
            "AnswerTooLarge",
            "more than 1048576 bytes",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec(),
            "PrometheusUnreachable",
            "broke off",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            "PrometheusUnreachable",
            "without HTTP/1",
        ),
    ];
    for (answer, reason, words) in cases {
        let (category, told) = failure_of(answer).await;
        assert_eq!(category, reason, "{told}");
        assert!(told.contains(words), "{told}");
        assert!(told.starts_with("indicator.prometheus.total"), "{told}");
        assert!(told.contains("http://127.0.0.1:"), "{told}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let source = Source::new(&format!("http://{free}"), "good", "total").unwrap();
    let error = read(&source).await.unwrap_err();
    assert_eq!(error.category(), "PrometheusUnreachable");
    assert!(chain(&error).contains(&free.to_string()), "{}", chain(&error));
}

#[tokio::test]
async fn a_server_that_the_operator_may_not_ask_is_not_asked() {
    let server = Server::answering(|_| ok(&["1"])).await;
    let at = "2026-11-22T05:00:00Z".parse().unwrap();
    for list in ["", "prometheus.monitoring"] {
        let client = HttpClient::new(list.parse().unwrap());
        let error = prometheus::read(&client, &server.source(), at).await.unwrap_err();
        assert_eq!(error.category(), "DestinationRefused");
        assert!(chain(&error).contains("--allowed-destinations"), "{}", chain(&error));
    }
    assert!(server.asked().is_empty());
}

#[test]
fn only_addresses_without_a_query_and_credentials_are_sources() {
    let source = |url| Source::new(url, "a", "b");
    for url in ["http://a.b:9090", "https://a.b:9090/prom", "http://[::]:9090"] {
        assert!(source(url).is_some(), "{url}");
    }
    for url in [
        "a:9090",
        "http://",
        "http://a/?b",
        "http://a@b",
        "ftp://a",
        "http://a b",
    ] {
        assert_eq!(source(url), None, "{url}");
    }
    let other = Source::new("http://a.b:9090", "a", "c").unwrap();
    assert_ne!(source("http://a.b:9090").unwrap().digest(), other.digest());
}

#[tokio::test(start_paused = true)]
async fn each_slo_is_polled_every_fifteen_seconds() {
    let server = Server::answering(|_| ok(&["1"])).await;
    let (mut polls, poller) = channel(ManualClock::at("2026-11-22T05:00:00Z"), HttpClient::on_loopback());
    let poller = tokio::spawn(poller.run());
    polls.follow(vec![job("a", &server.source()), job("b", &server.source())]);
    let began = Instant::now();
    let mut seen = Vec::new();
    while began.elapsed() < EVERY * 10 {
        seen.push(polls.next().await.unwrap().sli);
    }
    let of = |sli: &str| seen.iter().filter(|each| each.as_str() == sli).count();
    assert!(
        (9..=11).contains(&of("a")) && (9..=11).contains(&of("b")),
        "{} and {}",
        of("a"),
        of("b")
    );
    polls.follow(vec![job("a", &server.source())]);
    while polls.next().await.unwrap().sli.as_str() == "b" {}
    for _ in 0..5 {
        assert_eq!(polls.next().await.unwrap().sli.as_str(), "a");
    }
    drop(polls);
    poller.await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_nobody_else_and_its_slos_say_so() {
    let hanging = Server::start(Arc::new(|_| None)).await;
    let server = Server::answering(|_| ok(&["1"])).await;
    let (mut polls, poller) = channel(Arc::new(SystemClock), HttpClient::on_loopback());
    let mut poller = poller;
    let many: Vec<Job> = (0..100)
        .map(|each| job(&format!("hangs-{each}"), &hanging.source()))
        .collect();
    polls.follow(many.into_iter().chain([job("works", &server.source())]).collect());
    poller.jobs.borrow_and_update();
    poller.follow();
    poller.turns.values_mut().for_each(|turn| turn.due = Instant::now());
    poller.begin_what_is_due();
    assert_eq!(poller.running.len(), PER_SERVER + 1);
    let poller = tokio::spawn(poller.run());
    let first = timeout(LONG, polls.next()).await.unwrap().unwrap();
    assert_eq!((first.sli.as_str(), first.found.is_ok()), ("works", true));
    let next = timeout(LONG, polls.next()).await.unwrap().unwrap();
    let error = next.found.unwrap_err();
    assert_eq!(error.category(), "PrometheusTimeout");
    assert!(
        chain(&error).ends_with("did not answer within 5 s"),
        "{}",
        chain(&error)
    );
    drop(polls);
    poller.abort();
}
