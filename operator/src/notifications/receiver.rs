//! A receiver on loopback that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http_client::IDEMPOTENCY_KEY;

/// How one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With this status.
    Status(u16),
    /// With a redirect to there.
    Redirect(String),
    /// Never.
    Hang,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

#[derive(Clone)]
struct Desk {
    script: Arc<Mutex<VecDeque<Answer>>>,
    heard: mpsc::Sender<Heard>,
}

/// Answers 200 when the script is at its end.
pub(crate) struct Receiver {
    pub(crate) origin: String,
    heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn open(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, heard) = mpsc::channel(64);
        let desk = Desk {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            heard: sender,
        };
        let router = Router::new().fallback(take).with_state(desk);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { origin, heard, task }
    }

    /// The next request.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap()
    }

    /// Whether no request came that was not asked for.
    pub(crate) fn heard_no_more(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}

async fn take(State(desk): State<Desk>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get(IDEMPOTENCY_KEY).unwrap();
    let heard = Heard {
        path: uri.to_string(),
        key: key.to_str().unwrap().to_owned(),
        headers: headers.clone(),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let answer = desk.script.lock().unwrap().pop_front();
    // Nobody may want to hear it.
    let _gone = desk.heard.try_send(heard);
    match answer {
        None => StatusCode::OK.into_response(),
        Some(Answer::Status(code)) => StatusCode::from_u16(code).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Some(Answer::Hang) => std::future::pending().await,
    }
}
