//! What an `SLO` says, made sure that it makes sense.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shoalwatch_core::burn::{Objective, Severity, TierSpec};
use shoalwatch_core::calendar::{Calendar, Unit, Zone};
use shoalwatch_core::policy::{HttpStatus, SliSpec};
use shoalwatch_core::spec::{self, Mode, PromoteAfter, RollbackRule};
use shoalwatch_core::{SliId, burn};
use shoalwatch_crds::SloSpec;
use shoalwatch_crds::slo::{
    self, AlertTier, HttpIndicator, Indicator, LatencyIndicator, PrometheusIndicator, Requests, Rollback, RollbackMode,
    default_alerts,
};
use shoalwatch_crds::values::DurationString;

use super::notify::{self, Receiver};
use super::rules;
use crate::controllers::invalid::{Invalid, at_most, read};
use crate::controllers::sampling_policy::http_status;
use crate::controllers::world::Name;
use crate::polling::Source;

/// Most routes of an indicator, as in the schema.
const MAX_ROUTES: usize = 32;
/// Most statuses of an indicator, as in the schema.
const MAX_STATUSES: usize = 16;
/// Longest query, as in the schema.
const MAX_QUERY: usize = 2_048;
/// Between two polls lies a quarter of it: in less an alert would see nothing at times.
const SHORTEST_POLLED: Duration = Duration::from_mins(1);

/// An SLO that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Valid {
    /// What is judged.
    pub(super) spec: spec::SloSpec,
    /// Whose pods are meant; `None` where something else is polled.
    pub(super) target: Option<Name>,
    /// The indicator in short.
    pub(super) indicator: Option<String>,
    /// The object that Prometheus' rules are written to.
    pub(super) rules: Option<(slo::RulesKind, slo::RulesObject)>,
    /// Who is told of alerts and rollbacks.
    pub(super) receivers: Vec<Receiver>,
    measured: Measured,
}

/// Where the counts come from.
#[derive(Clone, Debug, PartialEq)]
enum Measured {
    ByNodes(Seen),
    ByPolls(Arc<Source>),
}

/// What nodes measure.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    bad: BTreeSet<HttpStatus>,
    slower_than: Option<Duration>,
    routes: BTreeSet<String>,
    container: String,
}

impl Valid {
    /// What nodes measure for it, if they do.
    pub(super) fn sli(&self, id: &SliId, report_interval: Duration) -> Option<SliSpec> {
        let (Measured::ByNodes(seen), Some(target)) = (&self.measured, &self.target) else {
            return None;
        };
        let Seen {
            bad,
            slower_than,
            routes,
            container,
        } = seen.clone();
        Some(SliSpec {
            id: id.clone(),
            namespace: target.namespace.clone(),
            workload: target.name.clone(),
            container,
            bad,
            slower_than,
            routes,
            report_interval,
        })
    }

    /// What is polled for it, if anything is.
    pub(super) fn source(&self) -> Option<&Arc<Source>> {
        match &self.measured {
            Measured::ByPolls(source) => Some(source),
            Measured::ByNodes(_) => None,
        }
    }
}

/// The SLO as it can be measured and judged.
pub(super) fn validate(name: &Name, spec: &SloSpec) -> Result<Valid, Invalid> {
    let measured = measured(&spec.indicator)?;
    let window = window(&spec.window)?;
    let tiers = tiers(&spec.alerts)?;
    let target = target(name, spec)?;
    if target.is_none() {
        polled_only(spec, tiers.as_deref())?;
    }
    let judged = spec::SloSpec::new(
        name.to_string(),
        objective(spec)?,
        window,
        tiers.as_deref(),
        rule(&spec.rollback)?,
    )?;
    Ok(Valid {
        spec: judged,
        target,
        indicator: spec.indicator.summary(),
        rules: rules::object(spec.rules.as_ref()),
        receivers: notify::receivers(name, &spec.notifications)?,
        measured,
    })
}

fn target(name: &Name, spec: &SloSpec) -> Result<Option<Name>, Invalid> {
    match (&spec.target_ref, &spec.indicator.prometheus) {
        (Some(target), None) => Ok(Some(Name {
            namespace: name.namespace.clone(),
            name: target.name.clone(),
        })),
        (None, Some(_)) => Ok(None),
        _ => Err(Invalid::Union {
            path: "spec".to_owned(),
            wanted: "write targetRef, or indicator.prometheus, whose queries say what is measured",
        }),
    }
}

/// What cannot be said of something that is polled.
fn polled_only(spec: &SloSpec, tiers: Option<&[TierSpec]>) -> Result<(), Invalid> {
    let refuse = |path: String, problem: &str| Invalid::Value {
        path,
        problem: problem.to_owned(),
    };
    if spec.rollback.mode != RollbackMode::Off {
        let problem = "with indicator.prometheus nothing can be undone: leave it out";
        return Err(refuse("spec.rollback".to_owned(), problem));
    }
    if spec.rules.is_some() {
        let problem = "rules are written over what node workers export: with indicator.prometheus leave them out";
        return Err(refuse("spec.rules".to_owned(), problem));
    }
    match tiers.into_iter().flatten().find(|tier| tier.short < SHORTEST_POLLED) {
        Some(tier) => {
            let problem = "indicator.prometheus is polled every 15s: write a window of 1m or more";
            Err(refuse(format!("spec.alerts[{}].short", tier.name), problem))
        }
        None => Ok(()),
    }
}

fn measured(indicator: &Indicator) -> Result<Measured, Invalid> {
    match (&indicator.http, &indicator.latency, &indicator.prometheus) {
        (Some(http), None, None) => Ok(Measured::ByNodes(Seen {
            bad: bad(http)?,
            slower_than: None,
            routes: routes("spec.indicator.http.routes", &http.requests)?,
            container: http.requests.container.clone().unwrap_or_default(),
        })),
        (None, Some(latency), None) => Ok(Measured::ByNodes(Seen {
            bad: BTreeSet::new(),
            slower_than: Some(threshold(latency)?),
            routes: routes("spec.indicator.latency.routes", &latency.requests)?,
            container: latency.requests.container.clone().unwrap_or_default(),
        })),
        (None, None, Some(prometheus)) => Ok(Measured::ByPolls(Arc::new(source(prometheus)?))),
        _ => Err(Invalid::Union {
            path: "spec.indicator".to_owned(),
            wanted: "name exactly one indicator: http, which may be {}, latency or prometheus",
        }),
    }
}

fn source(prometheus: &PrometheusIndicator) -> Result<Source, Invalid> {
    let PrometheusIndicator { url, good, total } = prometheus;
    for (query, text) in [("good", good), ("total", total)] {
        if !(1..=MAX_QUERY).contains(&text.len()) {
            return Err(Invalid::Value {
                path: format!("spec.indicator.prometheus.{query}"),
                problem: format!("write a query of 1 to {MAX_QUERY} bytes"),
            });
        }
    }
    Source::new(url, good, total).ok_or_else(|| Invalid::Value {
        path: "spec.indicator.prometheus.url".to_owned(),
        problem: format!("{url:?} is no address: write one such as http://prometheus.monitoring:9090"),
    })
}

fn routes(path: &'static str, written: &Requests) -> Result<BTreeSet<String>, Invalid> {
    at_most(path, written.routes.len(), MAX_ROUTES)?;
    Ok(written.routes.iter().cloned().collect())
}

fn threshold(latency: &LatencyIndicator) -> Result<Duration, Invalid> {
    const PATH: &str = "spec.indicator.latency.threshold";
    let threshold = read(PATH, &latency.threshold)?;
    if LatencyIndicator::THRESHOLDS.contains(&threshold) {
        return Ok(threshold.as_duration());
    }
    let bounds = LatencyIndicator::THRESHOLDS.map(|bound| bound.to_string());
    Err(Invalid::Value {
        path: PATH.to_owned(),
        problem: format!("{threshold} is between two bounds: write one of {}", bounds.join(", ")),
    })
}

fn window(window: &slo::Window) -> Result<spec::Window, Invalid> {
    match (&window.rolling, &window.calendar) {
        (Some(rolling), None) => Ok(span("spec.window.rolling", rolling)?.into()),
        (None, Some(written)) => {
            let zone = Zone::named(&written.time_zone).ok_or_else(|| Invalid::Value {
                path: "spec.window.calendar.timeZone".to_owned(),
                problem: format!(
                    "{:?} is no time zone of the IANA database: write one such as Europe/Berlin",
                    written.time_zone
                ),
            })?;
            let unit = unit(written.unit);
            Ok(spec::Window::Calendar(Calendar { unit, zone }))
        }
        _ => Err(Invalid::Union {
            path: "spec.window".to_owned(),
            wanted: "name exactly one window: rolling or calendar",
        }),
    }
}

fn unit(unit: slo::CalendarUnit) -> Unit {
    match unit {
        slo::CalendarUnit::Day => Unit::Day,
        slo::CalendarUnit::Week => Unit::Week,
        slo::CalendarUnit::Month => Unit::Month,
        slo::CalendarUnit::Quarter => Unit::Quarter,
        slo::CalendarUnit::Year => Unit::Year,
    }
}

fn objective(spec: &SloSpec) -> Result<Objective, Invalid> {
    read("spec.objective", &spec.objective)?;
    let parsed = spec.objective.as_str().parse::<Objective>();
    parsed.map_err(|error| Invalid::Value {
        path: "spec.objective".to_owned(),
        problem: error.to_string(),
    })
}

/// `None`: the defaults, of which those that cannot fire are left out. The API server writes the defaults into every object,
/// so a list that equals them is one that nobody wrote.
fn tiers(alerts: &[AlertTier]) -> Result<Option<Vec<TierSpec>>, Invalid> {
    if alerts == default_alerts() {
        return Ok(None);
    }
    at_most("spec.alerts", alerts.len(), burn::MAX_TIERS)?;
    alerts.iter().map(tier).collect::<Result<_, _>>().map(Some)
}

fn tier(tier: &AlertTier) -> Result<TierSpec, Invalid> {
    let path = |member: &str| format!("spec.alerts[{}].{member}", tier.name);
    Ok(TierSpec {
        name: tier.name.clone(),
        severity: match tier.severity {
            slo::Severity::Page => Severity::Page,
            slo::Severity::Ticket => Severity::Ticket,
        },
        budget_percent: read(path("budgetPercent"), &tier.budget_percent)?.ratio().as_f64() * 100.0,
        long: span(path("long"), &tier.long)?,
        short: span(path("short"), &tier.short)?,
    })
}

fn rule(rollback: &Rollback) -> Result<RollbackRule, Invalid> {
    let within = |member: &str| format!("spec.rollback.{member}");
    let spans = |member: &str, written| span(within(member), written);
    Ok(RollbackRule {
        mode: match rollback.mode {
            RollbackMode::Off => Mode::Off,
            RollbackMode::DryRun => Mode::DryRun,
            RollbackMode::Enforce => Mode::Enforce,
        },
        burn: read(within("burn"), &rollback.burn)?.as_f64(),
        max_bad_ratio: read(within("maxBadRatio"), &rollback.max_bad_ratio)?.as_f64(),
        short: spans("windows.short", &rollback.windows.short)?,
        long: spans("windows.long", &rollback.windows.long)?,
        min_bad_events: rollback.min_bad_events.into(),
        warmup: spans("warmup", &rollback.warmup)?,
        probation: spans("probation", &rollback.probation)?,
        promote_after: PromoteAfter {
            duration: spans("promoteAfter.duration", &rollback.promote_after.duration)?,
            good_events: rollback.promote_after.good_events.into(),
        },
        cooldown: spans("cooldown", &rollback.cooldown)?,
        also_on: rollback.also_on.iter().copied().map(also_on).collect(),
        ..RollbackRule::default()
    })
}

fn also_on(failure: slo::AlsoOn) -> spec::AlsoOn {
    match failure {
        slo::AlsoOn::ProgressDeadlineExceeded => spec::AlsoOn::ProgressDeadlineExceeded,
        slo::AlsoOn::CrashLoop => spec::AlsoOn::CrashLoop,
    }
}

fn bad(http: &HttpIndicator) -> Result<BTreeSet<HttpStatus>, Invalid> {
    at_most("spec.indicator.http.bad", http.bad.len(), MAX_STATUSES)?;
    if http.bad.is_empty() {
        return Err(Invalid::Value {
            path: "spec.indicator.http.bad".to_owned(),
            problem: "write at least one status, such as \"5xx\"".to_owned(),
        });
    }
    let statuses = http.bad.iter().enumerate();
    statuses
        .map(|(place, status)| read(format!("spec.indicator.http.bad[{place}]"), status).map(http_status))
        .collect()
}

fn span(path: impl Into<String>, written: &DurationString) -> Result<Duration, Invalid> {
    Ok(read(path, written)?.as_duration())
}
