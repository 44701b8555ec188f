//! An SLO as rules for Prometheus, so that its alerts reach whoever an Alertmanager reaches, also while the operator is away.
//!
//! A recording rule for each window that a tier looks at, `slo:bad_requests:ratio_rate<window>{namespace, slo}`, then an alert
//! for each tier, which fires while both its windows exceed `burn × (1 − objective)`: the multiwindow, multi-burn-rate alerts
//! of *The Site Reliability Workbook*, chapter 5, with the burns that [`crate::burn`] judges by. They are rules over what
//! node workers export, `http_server_request_duration_seconds`, with its own label names. What an SLO says stays a text in them.
//!
//! [`crate::burn::Tier::fires_after`] says when each fires; `promtool test rules` holds the rendered rules to that, within two
//! scrapes. Two things differ from the operator's own alerts: Prometheus does not see the increase that a series is born with,
//! and a window needs two scrapes, so tiers below [`MIN_WINDOW`] are left out.

mod query;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::burn::{Objective, Severity, Tier};
use crate::policy::HttpStatus;
use crate::time::written;
use text::{number, plain};

/// The shortest window in which Prometheus, which scrapes every 15 s to 60 s, can see anything.
pub const MIN_WINDOW: Duration = Duration::from_mins(1);
/// The name of every alert; the label `tier` tells which it is.
pub const ALERT: &str = "SLOBudgetBurns";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The namespace of the SLO and of its target.
    pub namespace: &'a str,
    /// The SLO's name.
    pub slo: &'a str,
    /// The Deployment's name.
    pub workload: &'a str,
    /// The container; empty: all.
    pub container: &'a str,
    /// Routes; empty: all.
    pub routes: &'a BTreeSet<String>,
    /// What is bad.
    pub measure: Measure<'a>,
}

/// What is bad.
#[derive(Clone, Copy, Debug)]
pub enum Measure<'a> {
    /// These statuses; at least one.
    Bad(&'a BTreeSet<HttpStatus>),
    /// Longer than this, which is a bound of the histogram, or no answer.
    SlowerThan(Duration),
}

/// What is promised.
#[derive(Clone, Copy, Debug)]
pub struct Promise<'a> {
    /// The share of good requests.
    pub objective: Objective,
    /// The window of the budget.
    pub window: Duration,
    /// Tiers that can fire.
    pub tiers: &'a [Tier],
}

/// A rule file, and the `spec` of a `PrometheusRule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleFile {
    /// One group: its rules are evaluated in order, at one point in time.
    pub groups: [Group; 1],
}

/// Rules that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Unique within a file.
    pub name: String,
    /// In the order in which they need each other.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Rule {
    /// A series that is computed from others.
    Recording {
        /// Its name.
        record: String,
        /// `PromQL`.
        expr: String,
        /// Its labels.
        labels: BTreeMap<&'static str, String>,
    },
    /// An alert.
    Alerting {
        /// Its name.
        alert: &'static str,
        /// `PromQL`; the alert fires for every series that is there.
        expr: String,
        /// Further labels.
        labels: BTreeMap<&'static str, String>,
        /// What is told.
        annotations: BTreeMap<&'static str, String>,
    },
}

/// What an SLO comes to in Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The rules.
    pub file: RuleFile,
    /// Names of tiers that Prometheus cannot judge.
    pub left_out: Vec<String>,
}

/// Renders the rules; `None` if there is no tier that Prometheus can judge. The same SLO always renders the same.
#[must_use]
pub fn render(subject: &Subject<'_>, promise: &Promise<'_>) -> Option<Rendered> {
    let (tiers, short): (Vec<&Tier>, Vec<&Tier>) = promise.tiers.iter().partition(|tier| tier.short >= MIN_WINDOW);
    if tiers.is_empty() {
        return None;
    }
    let windows: BTreeSet<Duration> = tiers.iter().flat_map(|tier| [tier.short, tier.long]).collect();
    let mut rules = vec![Rule::Recording {
        record: "slo:objective:ratio".to_owned(),
        expr: number(promise.objective.ratio()),
        labels: labels(subject),
    }];
    rules.extend(windows.into_iter().map(|window| Rule::Recording {
        record: recorded(window),
        expr: query::bad_ratio(subject, window),
        labels: labels(subject),
    }));
    rules.extend(tiers.into_iter().map(|tier| alert(subject, promise, tier)));
    let name = format!("shoalwatch/{}/{}", subject.namespace, subject.slo);
    Some(Rendered {
        file: RuleFile {
            groups: [Group { name, rules }],
        },
        left_out: short.into_iter().map(|tier| tier.name.clone()).collect(),
    })
}

fn recorded(window: Duration) -> String {
    format!("slo:bad_requests:ratio_rate{}", written(window))
}

fn labels(subject: &Subject<'_>) -> BTreeMap<&'static str, String> {
    [("namespace", plain(subject.namespace)), ("slo", plain(subject.slo))].into()
}

fn alert(subject: &Subject<'_>, promise: &Promise<'_>, tier: &Tier) -> Rule {
    let of = format!(
        "{{namespace={},slo={}}}",
        text::literal(subject.namespace),
        text::literal(subject.slo)
    );
    let (burn, budget) = (number(tier.burn), number(promise.objective.error_budget()));
    let exceeds = |window| format!("{}{of} > {burn} * {budget}", recorded(window));
    let severity = match tier.severity {
        Severity::Page => "page",
        Severity::Ticket => "ticket",
    };
    Rule::Alerting {
        alert: ALERT,
        expr: format!("{} and {}", exceeds(tier.long), exceeds(tier.short)),
        labels: [("severity", severity.to_owned()), ("tier", plain(&tier.name))].into(),
        annotations: annotations(subject, promise, tier),
    }
}

fn annotations(subject: &Subject<'_>, promise: &Promise<'_>, tier: &Tier) -> BTreeMap<&'static str, String> {
    let (namespace, slo) = (plain(subject.namespace), plain(subject.slo));
    let (long, short) = (written(tier.long), written(tier.short));
    let spent = tier.burn * tier.long.as_secs_f64() / promise.window.as_secs_f64() * 100.0;
    let summary = format!(
        "SLO {namespace}/{slo} spends its error budget {} times too fast or faster",
        number(tier.burn)
    );
    let description = format!(
        "{{{{ $value | humanizePercentage }}}} of the requests to Deployment {} were bad in the last {long}, and in the last {short} \
         it went on. That is more than {} % of the budget of {} within {long}. See: kubectl -n {namespace} describe slo {slo}",
        plain(subject.workload),
        number(spent),
        written(promise.window),
    );
    [("summary", summary), ("description", description)].into()
}
