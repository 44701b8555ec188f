//! One plain HTTP port for those who run the operator: `/live`, `/ready`, `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What must be in place before workers can be served. Leading is not among it: a follower is ready to take over.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<[AtomicBool; 4]>,
}

/// One thing that must be in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API server answered the last time it was asked.
    ApiServer,
    /// The certification authority is read or made, and shown to the workers.
    Authority,
    /// Workers can connect.
    Listening,
    /// The history is read, and joined with another replica's: this one may be relied on.
    History,
}

impl Part {
    const ALL: [Self; 4] = [Self::ApiServer, Self::Authority, Self::Listening, Self::History];

    /// What is missing where it is not in place.
    const fn missing(self) -> &'static str {
        match self {
            Self::ApiServer => "the API server does not answer",
            Self::Authority => "the certification authority is not in place",
            Self::Listening => "the distribution server does not listen",
            Self::History => "the history is not read, or not copied from another replica yet",
        }
    }
}

impl Readiness {
    /// Says whether `part` is in place now.
    pub fn set(&self, part: Part, in_place: bool) {
        self.parts[part as usize].store(in_place, Relaxed);
    }

    /// What is not in place, each a sentence; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let absent = |part: &Part| !self.parts[*part as usize].load(Relaxed);
        Part::ALL.into_iter().filter(absent).map(Part::missing).collect()
    }
}

/// What the port shows.
#[derive(Clone)]
struct Shown {
    readiness: Readiness,
    registry: Arc<Registry>,
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(readiness, registry))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shown { readiness, registry })
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, String) {
    let missing = shown.readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &shown.registry) {
        Ok(()) => Ok((
            [(
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks a real server on a free port; returns the whole answer.
    async fn ask(path: &str, readiness: &Readiness, registry: Registry) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, readiness.clone(), Arc::new(registry), stop.clone()));
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        serving.await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn it_lives_before_it_is_ready() {
        let answer = ask("/live", &Readiness::default(), Registry::default()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn it_is_ready_when_nothing_is_missing_and_says_what_is() {
        let readiness = Readiness::default();
        readiness.set(Part::ApiServer, true);
        readiness.set(Part::Authority, true);
        readiness.set(Part::History, true);
        let answer = ask("/ready", &readiness, Registry::default()).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.ends_with("\r\nthe distribution server does not listen\n"),
            "{answer}"
        );
        readiness.set(Part::Listening, true);
        let answer = ask("/ready", &readiness, Registry::default()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let mut registry = crate::metrics::registry();
        drop(crate::lease::Metrics::register(&mut registry));
        let answer = ask("/metrics", &Readiness::default(), registry).await;
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{answer}"
        );
        assert!(answer.contains("\nshoalwatch_lease_leading 0\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }
}
