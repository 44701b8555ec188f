use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Somebody who is told of alerts and rollbacks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Name of the receiver, unique in the SLO: a DNS label.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,

    /// What is told. `Alert`: a tier begins to fire, and ceases to. `Rollback`: a release was undone, the good one serves
    /// again or did not come up, somebody keeps applying the bad one; with mode `DryRun`, a release would have been undone.
    /// Default: both.
    #[serde(default = "all_events")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub events: Vec<NotifiedEvent>,

    /// Where it is told.
    pub webhook: Webhook,
}

/// What receivers are told of: Alert or Rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum NotifiedEvent {
    /// An alert tier began or ceased to fire.
    Alert,
    /// A step of a rollback.
    Rollback,
}

fn all_events() -> Vec<NotifiedEvent> {
    vec![NotifiedEvent::Alert, NotifiedEvent::Rollback]
}

/// An HTTP server that takes a POST with JSON for each event, and answers 2xx. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.url) != has(self.urlSecretRef)",
    "write exactly one of url and urlSecretRef; one with a secret in it belongs into a Secret"
))]
pub struct Webhook {
    /// Its address, such as `https://hooks.example/slo`: http or https, a name or an IP address, up to 2048 characters. Redirects are
    /// not followed. Addresses of the operator's own host (loopback, link-local) are refused, and where the operator's flag
    /// --allowed-destinations is set, all that it does not list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::url")]
    pub url: Option<String>,

    /// A Secret that holds the address, if that is one: it is read for each attempt and shown nowhere. The operator needs a Role
    /// in the namespace that lets it get this Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretKeyRef")]
    pub url_secret_ref: Option<SecretKeyRef>,
}

/// A key of a Secret in the SLO's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(schema_with = "schema::secret_name")]
    pub name: String,

    /// Key in its data.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}
