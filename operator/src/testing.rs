//! An API server that answers from a script: for tests of what is said to it, and of what its answers do.

use std::{future::Future, pin::pin};

use http::{Request, Response};
use kube::client::{Body, Client};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle, SendResponse};

/// The server's side of a [`Client`].
pub(crate) struct ApiServer(pub(crate) Handle<Request<Body>, Response<Body>>);

/// One request, its body parsed.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Such as `GET /api/v1/namespaces/x/secrets/y`; without the query.
    pub(crate) what: String,
    /// As it stands in the address.
    pub(crate) query: String,
    /// Empty where there is none.
    pub(crate) content_type: String,
    /// Null where there is none.
    pub(crate) body: Value,
}

/// A client, and the server that it talks to.
pub(crate) fn api_server() -> (Client, ApiServer) {
    let (service, handle) = mock::pair();
    (Client::new(service, "default"), ApiServer(handle))
}

impl ApiServer {
    /// Waits for the next request and answers it.
    pub(crate) async fn answer(&mut self, answer: impl FnOnce(&Asked) -> (u16, Value)) -> Asked {
        let (asked, respond) = self.next().await.expect("the client is gone");
        let (code, body) = answer(&asked);
        respond.send_response(response(code, &body));
        asked
    }

    /// The next request, and where its answer goes; `None`: the client is gone.
    pub(crate) async fn next(&mut self) -> Option<(Asked, SendResponse<Response<Body>>)> {
        let (request, respond) = pin!(self.0.next_request()).await?;
        let what = format!("{} {}", request.method(), request.uri().path());
        let query = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = request.into_body().collect_bytes().await.expect("a whole body");
        let asked = Asked {
            what,
            query,
            content_type,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        };
        Some((asked, respond))
    }

    /// Answers the next request with what was sent, as a create that succeeds does.
    pub(crate) async fn accept(&mut self) -> Asked {
        self.answer(|asked| (201, asked.body.clone())).await
    }

    /// Refuses the next request with a code and a reason, as a `Status` says it.
    pub(crate) async fn refuse(&mut self, code: u16, reason: &str) -> Asked {
        self.answer(|_| (code, failure(code, reason))).await
    }

    /// Whether the client asks nothing while `work` goes on.
    pub(crate) async fn silent_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            request = self.0.next_request() => {
                let asked = request.map(|(request, _)| format!("{} {}", request.method(), request.uri()));
                panic!("nothing should be asked, but {asked:?} was");
            }
        }
    }
}

/// An answer as a server sends it.
pub(crate) fn response(code: u16, body: &Value) -> Response<Body> {
    let response = Response::builder()
        .status(code)
        .body(Body::from(body.to_string().into_bytes()));
    response.expect("a response")
}

pub(crate) fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}
