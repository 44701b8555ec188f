//! An API server in memory: as much of one as the operator talks to, over HTTP on loopback.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{Method, Request, Response, StatusCode},
};
use futures::stream;
use serde_json::{Value, json};
use shoalwatch_node_api::TOKEN_AUDIENCE;
use tokio::net::TcpListener;

use crate::{
    Outcome, Size,
    objects::{self, HOME, Workload},
    store::{Place, Store},
};

/// Bytes of one request at most.
const BODY: usize = 16 << 20;

/// The server; it ends with the process.
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) address: SocketAddr,
}

/// Which object or list a request is about.
struct Target {
    resource: String,
    place: Place,
    status: bool,
}

impl Api {
    pub(crate) async fn start(size: Size) -> Outcome<Self> {
        let store = Arc::new(Store::new());
        fill(&store, size);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(Arc::clone(&store));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { store, address })
    }
}

fn fill(store: &Store, size: Size) {
    store.put("samplingpolicies", objects::default_policy());
    store.put("daemonsets", objects::workers(size));
    for node in 0..size.workers {
        store.put("pods", objects::worker(node));
    }
    for namespace in 0..size.namespaces {
        for number in 0..objects::POLICIES {
            store.put("samplingpolicies", objects::policy(namespace, number));
        }
    }
    for workload in Workload::all(size) {
        store.put("slos", workload.slo());
        store.put("deployments", workload.deployment());
        store.put("replicasets", workload.replica_set());
        for replica in 0..objects::REPLICAS {
            store.put("pods", workload.pod(replica, workload.node(replica, size)));
        }
    }
}

async fn answer(State(store): State<Arc<Store>>, request: Request<Body>) -> Response<Body> {
    let Some(target) = Target::of(request.uri().path()) else {
        return failure(404, "NotFound");
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let method = request.method().clone();
    if method == Method::GET && target.place.1.is_empty() {
        let number = |name: &str| parameter(name).and_then(|text| text.parse::<u64>().ok());
        if parameter("watch").is_some() {
            store.note("watch", &target.resource);
            return watched(store, target.resource, number("resourceVersion").unwrap_or_default());
        }
        store.note("list", &target.resource);
        let (from, limit) = (
            number("continue").unwrap_or_default(),
            number("limit").unwrap_or(u64::MAX),
        );
        return listed(&store, &target, from as usize, limit as usize);
    }
    let body = to_bytes(request.into_body(), BODY).await.unwrap_or_default();
    // What is applied travels as YAML, of which JSON is a part.
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let resource = if target.status {
        format!("{}/status", target.resource)
    } else {
        target.resource.clone()
    };
    store.note(&method.as_str().to_lowercase(), &resource);
    match method {
        Method::GET => found(store.get(&target.resource, &target.place)),
        Method::POST => created(&store, &target, body),
        Method::PUT => replaced(&store, &target, body),
        Method::PATCH => applied(&store, &target, body),
        _ => failure(405, "MethodNotAllowed"),
    }
}

impl Target {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `namespaces/NAMESPACE` or nothing, resource, name, subresource.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        if parts.next()? == "apis" {
            parts.next()?;
        }
        parts.next()?;
        let mut resource = parts.next()?;
        let mut namespace = "";
        if resource == "namespaces" {
            namespace = parts.next()?;
            resource = parts.next()?;
        }
        let name = parts.next().unwrap_or_default();
        Some(Self {
            resource: resource.to_owned(),
            place: (namespace.to_owned(), name.to_owned()),
            status: parts.next() == Some("status"),
        })
    }
}

fn listed(store: &Store, target: &Target, from: usize, limit: usize) -> Response<Body> {
    let page = store.list(&target.resource, &target.place.0, from, limit);
    let next = page.next.map(|next| next.to_string());
    told(
        200,
        &json!({"kind": "List", "apiVersion": "v1", "items": page.items,
            "metadata": {"resourceVersion": page.version.to_string(), "continue": next.unwrap_or_default()}}),
    )
}

/// Lines for as long as the client reads.
fn watched(store: Arc<Store>, resource: String, from: u64) -> Response<Body> {
    let news = store.news.subscribe();
    let lines = stream::unfold(
        (store, resource, from, news),
        |(store, resource, from, mut news)| async move {
            loop {
                news.borrow_and_update();
                let (lines, newest) = store.since(&resource, from);
                if !lines.is_empty() {
                    let whole = Bytes::from(lines.concat());
                    return Some((
                        Ok::<_, std::convert::Infallible>(whole),
                        (store, resource, newest, news),
                    ));
                }
                news.changed().await.ok()?;
            }
        },
    );
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(
        "content-type",
        "application/json".parse().unwrap_or_else(|_| unreachable!()),
    );
    response
}

fn found(object: Option<Value>) -> Response<Body> {
    object.map_or_else(|| failure(404, "NotFound"), |object| told(200, &object))
}

fn created(store: &Store, target: &Target, mut body: Value) -> Response<Body> {
    match target.resource.as_str() {
        "tokenreviews" => {
            let node = body["spec"]["token"]
                .as_str()
                .and_then(|token| token.strip_prefix("token-of-"))
                .map(str::to_owned);
            body["status"] = json!({"authenticated": node.is_some(), "audiences": [TOKEN_AUDIENCE], "user": {
                "username": format!("system:serviceaccount:{HOME}:shoalwatch-node-worker"),
                "extra": {"authentication.kubernetes.io/node-name": [node]}}});
            told(201, &body)
        }
        "selfsubjectaccessreviews" => {
            body["status"] = json!({"allowed": true});
            told(201, &body)
        }
        // Only counted: an Event is nothing that the operator reads.
        "events" => told(201, &body),
        _ => {
            body["metadata"]["namespace"] = json!(target.place.0);
            told(201, &store.put(&target.resource, body))
        }
    }
}

fn replaced(store: &Store, target: &Target, body: Value) -> Response<Body> {
    let Some(known) = store.get(&target.resource, &target.place) else {
        return failure(404, "NotFound");
    };
    let version = &body["metadata"]["resourceVersion"];
    if !version.is_null() && *version != known["metadata"]["resourceVersion"] {
        return failure(409, "Conflict");
    }
    told(200, &store.put(&target.resource, body))
}

fn applied(store: &Store, target: &Target, mut body: Value) -> Response<Body> {
    if target.status {
        return found(store.change(&target.resource, &target.place, |object| {
            object["status"] = body["status"].take();
        }));
    }
    if target.resource == "events" {
        return told(200, &body);
    }
    body["metadata"]["namespace"] = json!(target.place.0);
    told(200, &store.put(&target.resource, body))
}

fn told(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    told(code, &status)
}
