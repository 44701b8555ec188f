//! The worker's own HTTP server: `/live`, `/ready`, `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;

use crate::{counters::Counters, health::Health, in_force::InForce, loader::Price, prometheus, requests::EventLoop};

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) events: EventLoop,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<Health>,
    pub(crate) price: Arc<Price>,
    pub(crate) in_force: watch::Receiver<Option<Arc<InForce>>>,
}

/// The pages.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// The event loop answers.
async fn live(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.events.ping().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// A configuration is in force, and the probes are loaded or it is known why not: a restart would not mend that.
async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    let configured = admin.in_force.borrow().is_some();
    let mut lines: Vec<String> = admin
        .health
        .degraded
        .iter()
        .map(|what| format!("degraded: {what}\n"))
        .collect();
    if configured {
        lines.insert(0, "ready\n".to_owned());
        return (StatusCode::OK, lines.concat());
    }
    lines.insert(0, "waiting for a configuration from the operator\n".to_owned());
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat())
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let snapshot = match admin.events.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    };
    let in_force = admin.in_force.borrow().clone();
    let text = prometheus::page(&snapshot, &admin.counters, &admin.health, in_force.as_deref());
    let text = text + &prometheus::price(&admin.price);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
