//! Policies and indicators as plain data, valid member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Millis, SliId};

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a decimal in [0, 1].
    #[error("`{0}` is not a probability: write a decimal from \"0\" to \"1\", such as \"0.01\"")]
    Probability(String),
    /// Neither a code nor a class nor `Aborted`.
    #[error("`{0}` is not a status: write a code such as \"503\", a class such as \"5xx\", or Aborted")]
    Status(String),
}

/// A share of traces to keep, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// As a float, 0 to 1.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Probability {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value = text
            .parse::<f64>()
            .ok()
            .filter(|value| plain && (0.0..=1.0).contains(value));
        value.map(Self).ok_or_else(|| ValueError::Probability(text.to_owned()))
    }
}

/// An HTTP status, a class of them, or that there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpStatus {
    /// 100 to 599.
    Code(u16),
    /// 1 to 5: `5` is `5xx`.
    Class(u8),
    /// The connection was closed, or the process ended, after a whole request and without an answer. No code and no class means it.
    Aborted,
}

impl HttpStatus {
    /// Whether an answer with `code` is meant.
    #[must_use]
    pub fn matches(self, code: u16) -> bool {
        match self {
            Self::Code(own) => own == code,
            Self::Class(class) => code / 100 == u16::from(class),
            Self::Aborted => false,
        }
    }
}

impl FromStr for HttpStatus {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ValueError::Status(text.to_owned());
        match text.as_bytes() {
            b"Aborted" => Ok(Self::Aborted),
            [class @ b'1'..=b'5', b'x', b'x'] => Ok(Self::Class(class - b'0')),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().map(Self::Code).or(Err(refused())),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for HttpStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "{code}"),
            Self::Class(class) => write!(formatter, "{class}xx"),
            Self::Aborted => formatter.write_str("Aborted"),
        }
    }
}

/// A Kubernetes label selector; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Labels a pod must carry.
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must hold.
    pub match_expressions: BTreeSet<Requirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for `Exists` and `DoesNotExist`.
    pub values: BTreeSet<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of them, or is absent.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

impl Selector {
    /// Whether every pod that `narrower` selects is surely selected by this one: its requirements are all found there.
    #[must_use]
    pub fn surely_covers(&self, narrower: &Self) -> bool {
        let labels = self
            .match_labels
            .iter()
            .all(|(key, value)| narrower.match_labels.get(key) == Some(value));
        labels && self.match_expressions.is_subset(&narrower.match_expressions)
    }
}

/// Which routes a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// This route template.
    Exact(String),
    /// Routes that begin so.
    Prefix(String),
}

/// One rule; members that are empty or absent match everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique within the policy.
    pub name: String,
    /// The route.
    pub route: Option<Route>,
    /// HTTP methods, upper case.
    pub methods: BTreeSet<String>,
    /// Statuses.
    pub status: BTreeSet<HttpStatus>,
    /// The shortest duration.
    pub duration_at_least: Option<Duration>,
    /// The share of matching traces to keep.
    pub probability: Probability,
}

/// A cap per node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Sustained.
    pub traces_per_second: u32,
    /// At once.
    pub burst: u32,
}

/// A sampling policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its namespace; in the root namespace it is a default for every namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Millis,
    /// The higher one wins.
    pub priority: i32,
    /// Which pods.
    pub selector: Selector,
    /// For what no rule matches.
    pub probability: Probability,
    /// The first that matches wins.
    pub rules: Vec<Rule>,
    /// The cap.
    pub limit: Option<Limit>,
    /// An incoming sampled flag beats rules.
    pub honour_parent: bool,
    /// Decide and count, drop nothing.
    pub dry_run: bool,
}

impl Policy {
    /// `namespace/name`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The indicator of one SLO, as nodes measure it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliSpec {
    /// Unique and stable for the SLO's life.
    pub id: SliId,
    /// The target's namespace.
    pub namespace: String,
    /// The target Deployment.
    pub workload: String,
    /// The container; empty: every one.
    pub container: String,
    /// Statuses that are bad.
    pub bad: BTreeSet<HttpStatus>,
    /// A request is bad too when its final status line took longer, or never came.
    pub slower_than: Option<Duration>,
    /// Route templates; empty: all.
    pub routes: BTreeSet<String>,
    /// How often changed counts are reported.
    pub report_interval: Duration,
}
