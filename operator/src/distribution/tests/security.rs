//! Who is not let in, and what nobody gets to read.

use std::{cell::RefCell, io::Write, sync::Once};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing_subscriber::{filter::dynamic_filter_fn, fmt, prelude::*};

use super::{
    api::{Api, SECRET_TEXT, State},
    *,
};

thread_local! {
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Everything that is logged on this thread, by whichever crate and at whichever level, for as long as it lives.
///
/// The subscriber is everybody's: with one for this thread alone, an event that another test reaches first is not logged here.
struct Log;

impl Log {
    fn capture() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let here = dynamic_filter_fn(|_, _| LINES.with_borrow(Option::is_some));
            let lines = fmt::layer().with_ansi(false).with_writer(|| Line).with_filter(here);
            tracing_subscriber::registry().with(lines).init();
        });
        LINES.set(Some(Vec::new()));
        Self
    }

    fn text() -> String {
        LINES.with_borrow(|lines| String::from_utf8_lossy(lines.as_deref().unwrap_or_default()).into_owned())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.extend_from_slice(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn token(kind: &str) -> String {
    format!("{SECRET_TEXT}.{kind}")
}

/// What becomes of each token, and what the worker is told.
const REFUSED: [(&str, Code, &str); 5] = [
    ("expired", Code::Unauthenticated, "expired"),
    (
        "audience",
        Code::Unauthenticated,
        "its audience is not shoalwatch.dev/distribution",
    ),
    ("stranger", Code::PermissionDenied, "system:serviceaccount:shop:default"),
    ("nodeless", Code::PermissionDenied, "names no node"),
    ("garbled", Code::Unavailable, "could not review"),
];

#[tokio::test]
async fn only_a_workers_own_living_token_gets_in_and_no_token_is_told_to_anybody() {
    let _captured = Log::capture();
    let api = Api::start(State::default());
    let mut operator = operator_that_asks(api.reviewer(), leading(3)).await;
    let mut told = Vec::new();

    for nobody in [None, Some("")] {
        let status = operator.open(nobody).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    assert_eq!(api.state.borrow().reviews, 0, "nothing to ask the API server about");
    for (kind, code, reason) in REFUSED {
        let status = operator.open(Some(&token(kind))).await.err().unwrap();
        assert_eq!(status.code(), code, "{kind}: {status}");
        assert!(status.message().contains(reason), "{kind}: {status}");
        told.push(format!("{status:?}"));
    }
    let mut liar = operator.open(Some(&token("node.a"))).await.unwrap();
    liar.hello("b", None).await;
    let status = liar.end().await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    told.push(format!("{status:?}"));
    assert!(operator.distribution.fleet().borrow().workers.is_empty());
    assert!(operator.deliveries.try_recv().is_err());

    let mut worker = operator.open(Some(&token("node.a"))).await.unwrap();
    worker.hello("a", None).await;
    worker.welcome().await;
    worker.report(1, 1).await;
    let delivery = operator.delivery().await;
    told.push(format!("{delivery:?} {:?}", operator.distribution.fleet().borrow()));

    let log = Log::text();
    assert!(
        log.contains("worker refused") && log.contains("worker connected"),
        "{log}"
    );
    for line in log.lines().chain(told.iter().map(String::as_str)) {
        assert!(!line.contains(SECRET_TEXT), "{line}");
    }
}

#[tokio::test]
async fn who_speaks_plain_text_is_not_even_asked_for_a_token() {
    let api = Api::start(State::default());
    let operator = operator_that_asks(api.reviewer(), leading(3)).await;
    let plain = Channel::from_shared(format!("http://{}", operator.address)).unwrap();
    let opened = async { open(plain.connect().await.ok()?, Some(&token("node.a"))).await.ok() };
    assert!(opened.await.is_none());

    let mut raw = TcpStream::connect(operator.address).await.unwrap();
    // HTTP/2's preface and an empty SETTINGS frame.
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut heard = Vec::new();
    // However it is closed.
    drop(raw.read_to_end(&mut heard).await);
    // A TLS alert at most.
    assert!(heard.is_empty() || heard[0] == 0x15, "{heard:?}");
    assert_eq!(api.state.borrow().reviews, 0);
    assert!(operator.distribution.fleet().borrow().workers.is_empty());
}

#[tokio::test]
async fn a_worker_does_not_give_its_token_to_whom_it_does_not_trust() {
    let api = Api::start(State::default());
    let operator = operator_that_asks(api.reviewer(), leading(3)).await;
    let foreign = Authority::generate(SystemClock.now()).unwrap();
    assert!(connect(operator.address, foreign.certificate()).await.is_err());
    assert!(connect(operator.address, &operator.authority).await.is_ok());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_not_logged() {
    let _captured = Log::capture();
    let secret = serde_json::json!({"kind": "Secret", "apiVersion": "v1", "data": {"ca.key": SECRET_TEXT}});
    let api = Api::start(State {
        secret: Some(secret),
        ..State::default()
    });
    let error = certificates::store::obtain(&api.client, "test", &SystemClock)
        .await
        .unwrap_err();
    let told = crate::logging::chain(&error);
    assert!(told.contains("cannot be read from line 1"), "{told}");
    assert!(
        !told.contains(SECRET_TEXT) && !Log::text().contains(SECRET_TEXT),
        "{told}\n{}",
        Log::text()
    );
}

#[tokio::test]
async fn counts_of_pods_on_other_nodes_reach_nobody_and_are_acknowledged_once_the_pod_is_there() {
    let mut operator = operator(leading(3)).await;
    let mut elsewhere = operator.worker("b", None).await;
    elsewhere.report(1, 1).await;
    let refused = operator.delivery().await;
    assert_eq!((refused.node.as_str(), refused.report.rows.len()), ("b", 0));
    refused.done.send(()).unwrap();
    operator.residents.settle("web-2", "b", "shop", "v1");
    elsewhere.report(2, 1).await;
    let own = operator.delivery().await;
    assert_eq!(own.report.rows.len(), 1);
    own.done.send(()).unwrap();
    assert_eq!(
        elsewhere.sli_ack().await.sequence,
        2,
        "the first one was not acknowledged"
    );
}
