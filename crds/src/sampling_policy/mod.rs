//! `SamplingPolicy`: which traces of which pods are exported.

mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{DurationString, RatioString, StatusString};

pub use status::{FirstError, Nodes, Overridden, SamplingPolicyStatus};

/// Which traces of which pods are exported. For each pod exactly one policy wins whole: one of its own namespace before one of
/// the operator's root namespace, then the higher priority, then the older, then the first by name.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "shoalwatch.dev",
    version = "v1alpha1",
    kind = "SamplingPolicy",
    plural = "samplingpolicies",
    shortname = "sp",
    category = "shoalwatch",
    namespaced,
    status = "SamplingPolicyStatus",
    derive = "PartialEq",
    doc = "A SamplingPolicy says which traces of which pods are exported. Nodes apply a change within a second, without restarting anything.",
    printcolumn(name = "Probability", type_ = "string", json_path = ".spec.probability"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules"),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.applied",
        description = "Nodes that sample as the policy says, of those that should"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SamplingPolicySpec {
    /// Pods that the policy is for. Default: all pods of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,

    /// Of two policies for one pod in one namespace the higher priority wins, from -1000000 to 1000000. Default: 0.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,

    /// Share of the traces that is exported where no rule matches: a decimal from "0" to "1", in quotes.
    pub probability: RatioString,

    /// Exceptions, in order: the first rule that matches a request decides. At most 32. Default: none.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<SamplingRule>,

    /// Upper limit per node, after the rules. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub limit: Option<Limit>,

    /// What an incoming sampled flag (W3C traceparent) does. Honour: it beats the rules; only the limit and a probability "0" beat
    /// it. Ignore: the policy alone decides. Default: Honour.
    #[serde(default)]
    pub parent: ParentPolicy,

    /// Decide and count, but leave to the next policy for the pod what is exported; without one, nothing is. Default: false.
    #[serde(default)]
    pub dry_run: bool,
}

/// One exception from the policy's probability.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SamplingRule {
    /// Name of the rule, unique in the policy: a DNS label.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,

    /// Which requests: every member that is named must hold.
    #[serde(rename = "match")]
    pub matches: RequestMatch,

    /// Share of these requests' traces that is exported: a decimal from "0" to "1", in quotes.
    pub probability: RatioString,
}

/// Which requests a rule is for. Every member that is named must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.route) || has(self.method) || has(self.status) || has(self.durationAtLeast)",
        "name at least one of route, method, status, durationAtLeast; for all other requests there is spec.probability")
)]
pub struct RequestMatch {
    /// Route of the request. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RouteMatch")]
    pub route: Option<RouteMatch>,

    /// HTTP methods, in capitals; one of them must be the request's. From 1 to 16. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "methods")]
    pub method: Vec<String>,

    /// HTTP status codes ("503") or classes ("5xx"), in quotes; one of them must be the answer's. Aborted is for requests whose
    /// connection was closed, or whose process ended, without an answer. From 1 to 16. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub status: Vec<StatusString>,

    /// The answer, or the close without one, took at least this long, such as 800ms. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DurationString")]
    #[x_kube(validation = schema::longer_than_zero())]
    pub duration_at_least: Option<DurationString>,
}

/// How a route is compared. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.exact) != has(self.prefix)", "write exactly one of exact and prefix"))]
pub struct RouteMatch {
    /// The whole route is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::route")]
    pub exact: Option<String>,

    /// The route begins with these characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::route")]
    pub prefix: Option<String>,
}

/// The one member that a [`RouteMatch`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutePattern<'a> {
    /// The whole route is this.
    Exact(&'a str),
    /// The route begins with this.
    Prefix(&'a str),
}

impl RouteMatch {
    /// The member that is named, if it is exactly one (which the schema ensures).
    #[must_use]
    pub fn pattern(&self) -> Option<RoutePattern<'_>> {
        match (&self.exact, &self.prefix) {
            (Some(exact), None) => Some(RoutePattern::Exact(exact)),
            (None, Some(prefix)) => Some(RoutePattern::Prefix(prefix)),
            _ => None,
        }
    }
}

/// Upper limit of exported traces on each node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Traces per second and node, from 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub traces_per_second: u32,

    /// Traces that may come at once after a quiet time, from 1 to 1000000. Default: as many as tracesPerSecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
}

impl Limit {
    /// Traces that may come at once: `burst`, or a second's worth.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(self.traces_per_second)
    }
}

/// What an incoming sampled flag does: Honour or Ignore.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum ParentPolicy {
    /// It beats the rules.
    #[default]
    Honour,
    /// The policy alone decides.
    Ignore,
}

/// Methods that a rule can name: those that telemetry tells apart. All others are `_OTHER` there, and a node refuses what it
/// cannot tell apart.
pub const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

fn methods(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let rule = format!("self.matches('^({})$')", METHODS.join("|"));
    schemars::json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": rule,
                "message": "write the method in capitals, such as GET; only those of HTTP's standards are known",
            }],
        },
    })
}
