use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What became of a `SamplingPolicy`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SamplingPolicyStatus {
    /// Accepted: the spec makes sense. Programmed: every node samples as it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Number of rules in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub rules: Option<u32>,

    /// Nodes that sample as the policy says, of those that should: "3/3".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 32))]
    pub applied: Option<String>,

    /// What the nodes answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Nodes")]
    pub nodes: Option<Nodes>,

    /// Version of the policy that the nodes acknowledged, as term and hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 128))]
    pub version: Option<String>,

    /// Set while other policies win over this one on some pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Overridden")]
    pub overridden: Option<Overridden>,
}

/// What the nodes answered.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Nodes that should have the policy.
    #[serde(default)]
    pub desired: u32,

    /// Of those, nodes that sample as it says.
    #[serde(default)]
    pub applied: u32,

    /// Nodes that refused it; they keep the last good one.
    #[serde(default)]
    pub rejected: u32,

    /// Nodes that have not answered, or are away; they keep the last good one.
    #[serde(default)]
    pub stale: u32,

    /// Why nodes refused. At most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = Nodes::FIRST_ERRORS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub first_errors: Vec<FirstError>,
}

impl Nodes {
    /// Most entries of [`Nodes::first_errors`].
    pub const FIRST_ERRORS_MAX: usize = 5;

    /// The form of the APPLIED column: `3/3`.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("{}/{}", self.applied, self.desired)
    }
}

/// Why one node refused a policy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FirstError {
    /// Name of the node.
    #[schemars(length(max = 253))]
    pub node: String,

    /// What the node said.
    #[schemars(length(max = FirstError::MESSAGE_MAX))]
    pub message: String,
}

impl FirstError {
    /// Longest [`FirstError::message`], in characters; the API server refuses more.
    pub const MESSAGE_MAX: usize = 1024;
}

/// Which policies win over this one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// The policies that win, as namespace/name. At most 5.
    #[schemars(length(max = Overridden::BY_MAX), inner(length(max = 317)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub by: Vec<String>,
}

impl Overridden {
    /// Most entries of [`Overridden::by`].
    pub const BY_MAX: usize = 5;
}
