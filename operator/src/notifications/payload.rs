//! What a receiver is told: JSON, version `v1`. Members are added, never changed or removed, within a version.

use hyper::body::Bytes;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelValue;
use serde::Serialize;
use shoalwatch_crds::slo::{Budget, Burn, Phase, RollbackState, Severity};

/// One piece, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) kind: Kind,
    /// The same whenever the same thing is told.
    pub(crate) id: String,
    /// The payload as JSON.
    pub(crate) body: Bytes,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, EncodeLabelValue)]
pub(crate) enum Kind {
    Alert,
    Rollback,
}

/// The JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload<'a> {
    /// `v1`.
    pub(crate) version: &'static str,
    /// As in the header `Idempotency-Key`.
    pub(crate) id: &'a str,
    /// When it happened, RFC 3339.
    pub(crate) time: Timestamp,
    pub(crate) event: Kind,
    /// As the reason of the Kubernetes Event.
    pub(crate) reason: &'static str,
    /// As its note.
    pub(crate) message: String,
    pub(crate) slo: Object<'a>,
    /// None where the SLO's requests are polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Object<'a>>,
    /// As in the status, when this was written; so are the following.
    pub(crate) phase: Option<Phase>,
    pub(crate) burn: Vec<Burn>,
    pub(crate) budget: Option<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alert: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rollback: Option<Rollback>,
}

/// A Kubernetes object.
#[derive(Debug, Serialize)]
pub(crate) struct Object<'a> {
    pub(crate) kind: &'static str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<&'a str>,
}

/// With event `Alert`.
#[derive(Debug, Serialize)]
pub(crate) struct Alert<'a> {
    pub(crate) name: &'a str,
    /// Absent: the tier is not in the SLO any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) severity: Option<Severity>,
    pub(crate) firing: bool,
    pub(crate) since: Timestamp,
}

/// With event `Rollback`: as `status.rollback`, when this was written.
#[derive(Debug, Serialize)]
pub(crate) struct Rollback {
    pub(crate) state: RollbackState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// As the payload says it.
pub(crate) const VERSION: &str = "v1";
