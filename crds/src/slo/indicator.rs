use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{DurationString, StatusMatcher, StatusString, TimeSpan};

/// What is measured. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.http), has(self.latency), has(self.prometheus)].exists_one(named, named)",
    "name exactly one indicator: http, which may be {}, latency or prometheus"
))]
pub struct Indicator {
    /// HTTP requests, counted by the nodes at the serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HttpIndicator")]
    pub http: Option<HttpIndicator>,

    /// HTTP requests that are answered in time, whatever the answer: a failure in time is good here, and bad for an SLO with
    /// http. Counted by the nodes at the serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LatencyIndicator")]
    pub latency: Option<LatencyIndicator>,

    /// Whatever a Prometheus counts, for services that no node sees: a queue, a function, a gateway of somebody else. Without
    /// targetRef, rules and rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PrometheusIndicator")]
    pub prometheus: Option<PrometheusIndicator>,
}

impl Indicator {
    /// The form of the INDICATOR column: `http 5xx,Aborted`, `latency 250ms` or `prometheus`.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        if self.prometheus.is_some() {
            return Some("prometheus".to_owned());
        }
        if let Some(latency) = &self.latency {
            return Some(format!("latency {}", latency.threshold.as_str()));
        }
        let http = self.http.as_ref()?;
        let bad: Vec<_> = http.bad.iter().map(StatusString::as_str).collect();
        Some(format!("http {}", bad.join(",")))
    }
}

/// HTTP requests: server side, each counted once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpIndicator {
    /// What counts as bad: status codes ("503") or classes ("5xx"), in quotes, and Aborted: the connection was closed, or the
    /// process ended, after a whole request and without an answer. From 1 to 16. Default: "5xx" and Aborted.
    #[serde(default = "HttpIndicator::default_bad")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub bad: Vec<StatusString>,

    /// Which requests count.
    #[serde(flatten)]
    pub requests: Requests,
}

impl HttpIndicator {
    fn default_bad() -> Vec<StatusString> {
        vec![StatusString::new("5xx"), StatusMatcher::Aborted.into()]
    }
}

impl Default for HttpIndicator {
    fn default() -> Self {
        Self {
            bad: Self::default_bad(),
            requests: Requests::default(),
        }
    }
}

/// HTTP requests that are answered in time (SRE workbook, "Implementing SLOs": the share of all requests that is faster than the
/// threshold; failures are the availability SLO's).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyIndicator {
    /// A request is bad if its final status line took longer than this from the request's first byte, or never came. One of the
    /// bounds that nodes count by: 5ms, 10ms, 25ms, 50ms, 75ms, 100ms, 250ms, 500ms, 750ms, 1s, 2s500ms, 5s, 7s500ms, 10s.
    #[x_kube(validation = schema::one_of(&LatencyIndicator::THRESHOLDS))]
    pub threshold: DurationString,

    /// Which requests count.
    #[serde(flatten)]
    pub requests: Requests,
}

impl LatencyIndicator {
    /// What a threshold can be: the bounds of `http.server.request.duration`, by which nodes count. Between two of them they
    /// cannot tell who was in time.
    pub const THRESHOLDS: [TimeSpan; 14] = [
        TimeSpan::from_millis(5),
        TimeSpan::from_millis(10),
        TimeSpan::from_millis(25),
        TimeSpan::from_millis(50),
        TimeSpan::from_millis(75),
        TimeSpan::from_millis(100),
        TimeSpan::from_millis(250),
        TimeSpan::from_millis(500),
        TimeSpan::from_millis(750),
        TimeSpan::from_millis(1_000),
        TimeSpan::from_millis(2_500),
        TimeSpan::from_millis(5_000),
        TimeSpan::from_millis(7_500),
        TimeSpan::from_millis(10_000),
    ];
}

/// Which of a pod's requests count; all, where nothing is said.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Routes that count, compared whole. At most 32. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "routes")]
    pub routes: Vec<String>,

    /// Container whose answers count. Default: every container of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_name")]
    pub container: Option<String>,
}

/// Good and all requests as two counters of a Prometheus, each an instant query for one number that only rises, such as
/// `sum(http_requests_total{job="x"})`. The operator asks both for one instant, every 15s, and counts what they rose by.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusIndicator {
    /// Where its HTTP API is, or that of a Thanos, Mimir or `VictoriaMetrics`: what comes before /api/v1/query, such as
    /// `"http://prometheus.monitoring:9090"`. http or https, without credentials. From 8 to 512 characters. The operator asks none of
    /// its own host's addresses (loopback, link-local), and where its flag --allowed-destinations is set, only those that it lists.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = (
        "self.matches('^https?://[A-Za-z0-9.:_\\\\[\\\\]-]+(/[A-Za-z0-9._~%/-]*)?$')",
        "write an address that begins with http:// or https:// and has no credentials, query or fragment, such as http://prometheus.monitoring:9090"
    ))]
    pub url: String,

    /// `PromQL`: how many requests were good since the counter began; at most those of total. From 1 to 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    pub good: String,

    /// `PromQL`: how many there were, good and bad. From 1 to 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    pub total: String,
}

fn routes(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "items": schema::route(generator),
    })
}
