use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{StatusMatcher, StatusString};

/// What is measured. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.http)", "name exactly one indicator: http, which may be {}"))]
pub struct Indicator {
    /// HTTP requests, counted by the nodes at the serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HttpIndicator")]
    pub http: Option<HttpIndicator>,
}

impl Indicator {
    /// The form of the INDICATOR column: `http 5xx,Aborted`.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
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

    /// Routes that count, compared whole. At most 32. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "routes")]
    pub routes: Vec<String>,

    /// Container whose answers count. Default: every container of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_name")]
    pub container: Option<String>,
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
            routes: Vec::new(),
            container: None,
        }
    }
}

fn routes(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "items": schema::route(generator),
    })
}
