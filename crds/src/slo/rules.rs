use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the alerts are written as rules for Prometheus. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.prometheusRule) != has(self.configMap)",
    "write exactly one of prometheusRule, for the Prometheus Operator, and configMap; each may be {}"
))]
pub struct Rules {
    /// A `PrometheusRule` of the Prometheus Operator, beside the SLO: slo-NAME. The operator needs the `ClusterRole`
    /// shoalwatch-prometheus-rules in the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RulesObject")]
    pub prometheus_rule: Option<RulesObject>,

    /// A `ConfigMap` beside the SLO, slo-NAME, with one rule file, NAMESPACE.NAME.rules.yaml. The operator needs the
    /// `ClusterRole` shoalwatch-config-map-rules in the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RulesObject")]
    pub config_map: Option<RulesObject>,
}

/// The object that holds the rules.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RulesObject {
    /// Labels of the object, by which Prometheus finds it. At most 16. Default: none.
    #[serde(default)]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
}

/// What kind of object holds the rules.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum RulesKind {
    /// A `PrometheusRule`.
    PrometheusRule,
    /// A `ConfigMap`.
    ConfigMap,
}

impl Rules {
    /// The one member that is named, if it is exactly one (which the schema ensures).
    #[must_use]
    pub fn object(&self) -> Option<(RulesKind, &RulesObject)> {
        match (&self.prometheus_rule, &self.config_map) {
            (Some(object), None) => Some((RulesKind::PrometheusRule, object)),
            (None, Some(object)) => Some((RulesKind::ConfigMap, object)),
            _ => None,
        }
    }
}

impl RulesKind {
    /// As in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusRule => "PrometheusRule",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// The object that was written for an SLO.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WrittenRules {
    /// Its kind: `PrometheusRule` or `ConfigMap`.
    pub kind: RulesKind,

    /// Its name, in the SLO's namespace.
    #[schemars(length(max = 253))]
    pub name: String,
}

fn labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$')",
                "message": "write the value of a label: letters, digits, hyphens, underscores and dots, starting and ending with a letter or digit",
            }],
        },
    })
}
