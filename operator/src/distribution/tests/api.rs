//! An API server that keeps the operator's Secret and ConfigMap, and reviews tokens.

use serde_json::{Value, json};
use shoalwatch_node_api::TOKEN_AUDIENCE;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    clock::SystemClock,
    distribution::{auth::TokenReviewer, metrics::Metrics},
    testing::{Asked, api_server},
};

/// What every token here has in it, and nothing else may have.
pub(super) const SECRET_TEXT: &str = "s3cr3t";

/// What the API server keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) secret: Option<Value>,
    pub(super) config_map: Option<Value>,
    pub(super) reviews: usize,
}

pub(super) struct Api {
    pub(super) client: kube::Client,
    pub(super) state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    pub(super) fn start(state: State) -> Self {
        let (client, mut server) = api_server();
        let state = watch::Sender::new(state);
        let kept = state.clone();
        let task = tokio::spawn(async move {
            loop {
                server
                    .answer(|asked| {
                        let mut answer = (500, Value::Null);
                        kept.send_modify(|state| answer = state.answer(asked));
                        answer
                    })
                    .await;
            }
        });
        Self { client, state, task }
    }

    pub(super) fn reviewer(&self) -> TokenReviewer {
        let clock = std::sync::Arc::new(SystemClock);
        TokenReviewer::new(
            self.client.clone(),
            "test",
            "shoalwatch-node-worker",
            TOKEN_AUDIENCE,
            clock,
            Metrics::default(),
        )
    }

    /// Waits for what workers may trust to be so.
    pub(super) async fn until_trusted(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut state = self.state.subscribe();
        let seen = state.wait_for(|state| wanted(state.trusted()));
        let seen = tokio::time::timeout(super::PATIENCE, seen).await;
        seen.expect("the ConfigMap should come to be so")
            .unwrap()
            .trusted()
            .to_owned()
    }
}

impl State {
    pub(super) fn trusted(&self) -> &str {
        let map = self.config_map.as_ref();
        map.and_then(|map| map["data"]["ca.crt"].as_str()).unwrap_or_default()
    }

    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        let body = asked.body.clone();
        let (verb, path) = asked.what.split_once(' ').unwrap();
        match (verb, path.rsplit('/').take(2).last().unwrap()) {
            ("GET", "secrets") => found(self.secret.as_ref()),
            ("GET", "configmaps") => found(self.config_map.as_ref()),
            ("PATCH", "configmaps") => (200, self.config_map.insert(body).clone()),
            ("PUT", "secrets") => {
                let known = self
                    .secret
                    .as_ref()
                    .map(|secret| &secret["metadata"]["resourceVersion"]);
                if known != Some(&body["metadata"]["resourceVersion"]) {
                    return (409, failure(409, "Conflict"));
                }
                let secret = self.secret.insert(body);
                let version = secret["metadata"]["resourceVersion"].as_str().unwrap().len();
                secret["metadata"]["resourceVersion"] = json!("x".repeat(version + 1));
                (200, secret.clone())
            }
            ("POST", "test") => (201, self.secret.insert(body).clone()),
            ("POST", _) => {
                self.reviews += 1;
                (201, reviewed(body))
            }
            other => panic!("nobody should ask {other:?}"),
        }
    }
}

fn found(object: Option<&Value>) -> (u16, Value) {
    object.map_or_else(|| (404, failure(404, "NotFound")), |object| (200, object.clone()))
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason})
}

/// The review as Kubernetes answers it, with the token in it. A token says what becomes of it.
fn reviewed(mut review: Value) -> Value {
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    let worker = "system:serviceaccount:test:shoalwatch-node-worker";
    let good = |username: &str, audience: &str, extra: Value| json!({"authenticated": true, "audiences": [audience], "user": {"username": username, "extra": extra}});
    let of = |node: &str| json!({"authentication.kubernetes.io/node-name": [node]});
    let words: Vec<&str> = token.split('.').collect();
    review["status"] = match words[..] {
        [SECRET_TEXT, "node", node] => good(worker, TOKEN_AUDIENCE, of(node)),
        [SECRET_TEXT, "expired"] => json!({"authenticated": false, "error": format!("{token} has expired")}),
        [SECRET_TEXT, "audience"] => good(worker, "https://kubernetes.default.svc", of("a")),
        [SECRET_TEXT, "stranger"] => good("system:serviceaccount:shop:default", TOKEN_AUDIENCE, of("a")),
        [SECRET_TEXT, "nodeless"] => good(worker, TOKEN_AUDIENCE, json!({})),
        // What cannot be read is what kube would log whole.
        [SECRET_TEXT, "garbled"] => json!(token),
        _ => panic!("no such token: {token}"),
    };
    review
}
