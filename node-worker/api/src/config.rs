//! What one node must do, as validated types.
//!
//! The same types are read from `--config FILE` (YAML or JSON) and from the last-good file, so unknown fields are
//! refused: a misspelt field in a hand-written file would otherwise be silently without effect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one node must do. Whole: what is not in it ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeConfig {
    /// In order of precedence: the first whose namespace and selector match a pod wins it whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<SamplingPolicy>,
    /// What is counted as good and bad, one entry for each SLO.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slis: Vec<Sli>,
    /// Processes outside Kubernetes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_services: Vec<HostService>,
}

/// A configuration as a file holds it: with the version that the operator gave it, if one did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredConfig {
    /// Absent in a file written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What to do.
    #[serde(default)]
    pub config: NodeConfig,
}

/// Which configuration is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// The leader's Lease term: a worker refuses an older one.
    pub term: u64,
    /// Lower-case hex SHA-256 of the configuration: see [`content_hash`](crate::content_hash).
    pub hash: String,
}

/// How the requests of the selected processes are sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingPolicy {
    /// `namespace/name`.
    pub id: String,
    /// Absent: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Absent or empty: everything in the namespace.
    #[serde(default, skip_serializing_if = "Selector::is_empty")]
    pub selector: Selector,
    /// 0 to 1, for what no rule matches.
    pub probability: f64,
    /// First match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// At most so many traces; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// An incoming sampled flag beats rules; only the limit and probability 0 beat it.
    #[serde(default = "yes")]
    pub honour_parent: bool,
    /// Decide and mark, but export as without this policy.
    #[serde(default)]
    pub dry_run: bool,
}

const fn yes() -> bool {
    true
}

/// One exception to a policy's probability. Every condition that is set must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Unique within the policy.
    pub name: String,
    /// Absent: any route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteMatch>,
    /// Upper-case HTTP methods; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusMatcher>,
    /// Nanoseconds from the request's arrival to its status line, or to the close without one; 0: any.
    #[serde(default)]
    pub duration_at_least_ns: u64,
    /// 0 to 1.
    pub probability: f64,
}

/// Which routes a rule means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteMatch {
    /// This route only.
    Exact(String),
    /// Every route that begins so.
    Prefix(String),
}

/// Which ends of requests are meant: HTTP status codes, written `"503"` or `"5xx"`, or `Aborted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StatusMatcher {
    /// 100 to 599.
    Code(u16),
    /// The first digit, 1 to 5.
    Class(u8),
    /// The connection was closed, or the process ended, after a whole request and without an answer. No code and no class means it.
    Aborted,
}

impl StatusMatcher {
    const ABORTED: &'static str = "Aborted";

    /// Whether an answer with `status` is one of those meant.
    #[must_use]
    pub const fn matches(self, status: u16) -> bool {
        match self {
            Self::Code(code) => status == code,
            Self::Class(class) => status / 100 == class as u16,
            Self::Aborted => false,
        }
    }
}

/// A status matcher that is neither a code nor a class nor `Aborted`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no status: write a code such as \"503\", a class such as \"5xx\", or Aborted")]
pub struct NoStatus(String);

impl TryFrom<String> for StatusMatcher {
    type Error = NoStatus;

    fn try_from(text: String) -> Result<Self, NoStatus> {
        let class = text
            .strip_suffix("xx")
            .and_then(|digit| digit.parse().ok())
            .filter(|class| (1..=5).contains(class));
        let code = || text.parse().ok().filter(|code| (100..=599).contains(code));
        let aborted = (text == Self::ABORTED).then_some(Self::Aborted);
        aborted
            .or(class.map(Self::Class))
            .or_else(|| code().map(Self::Code))
            .ok_or(NoStatus(text))
    }
}

impl From<StatusMatcher> for String {
    fn from(matcher: StatusMatcher) -> Self {
        match matcher {
            StatusMatcher::Code(code) => code.to_string(),
            StatusMatcher::Class(class) => format!("{class}xx"),
            StatusMatcher::Aborted => StatusMatcher::ABORTED.to_owned(),
        }
    }
}

/// A cap on sampled traces, per node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// The lasting rate.
    pub traces_per_second: u32,
    /// How many at once after a pause.
    pub burst: u32,
}

/// A Kubernetes label selector; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// All of these labels with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// And all of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

impl Selector {
    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the values are meant.
    pub operator: Operator,
    /// For `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Kubernetes' selector operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label's value is one of the values.
    In,
    /// The label is absent or its value is none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// What is counted as good and bad for one SLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sli {
    /// Unique; names the rows of reports and metrics.
    pub id: String,
    /// The workload's namespace.
    pub namespace: String,
    /// The Deployment, or the host service.
    pub workload: String,
    /// Absent: every container of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Which requests are bad; all others are good, aborted ones too. May be absent where `slower_than_ns` is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<StatusMatcher>,
    /// Nanoseconds; 0: durations do not matter. Otherwise a request is bad too when its final status line took longer, or never
    /// came. One of the upper bounds of `http.server.request.duration`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slower_than_ns: u64,
    /// Route templates; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Milliseconds between reports of changed rows, within [`REPORT_INTERVAL_MS`](crate::limits::REPORT_INTERVAL_MS).
    #[serde(default = "ten_seconds")]
    pub report_interval_ms: u32,
}

const fn ten_seconds() -> u32 {
    10_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Processes outside Kubernetes. Every condition that is set must hold, and one must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostService {
    /// Becomes `service.name`.
    pub name: String,
    /// Becomes `service.namespace`; policies and SLIs match on it.
    #[serde(default)]
    pub namespace: String,
    /// Last component of the executable's path, such as `nginx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// An argument of the command line contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument_contains: Option<String>,
    /// What selectors see, as if these were a pod's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
