//! What SLOs look like on `/metrics`: the whole picture at once, so that an object's series end with the object.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use shoalwatch_core::burn::Severity;
use shoalwatch_core::time::written;

use super::observe::{Known, Slos};
use crate::controllers::world::Name;

/// Of one series. All series of an SLO share its name: of thousands of SLOs, names would weigh most.
#[derive(Debug, Default)]
struct Labels {
    slo: Option<Arc<Name>>,
    more: Vec<(&'static str, Cow<'static, str>)>,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(slo) = &self.slo {
            [("namespace", slo.namespace.as_str()), ("slo", slo.name.as_str())].encode(encoder)?;
        }
        self.more
            .iter()
            .try_for_each(|(name, value)| [(*name, &**value)].encode(encoder))
    }
}

/// The series of an SLO in a family of gauges.
type Series = fn(&Arc<Name>, &Known) -> Vec<(Labels, f64)>;

/// One family of series.
#[derive(Debug)]
struct Picture {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Gauges(Vec<(Labels, f64)>),
    Counters(Vec<(Labels, u64)>),
}

/// A picture of thousands of SLOs takes longer than one of ten, and is taken less often: at most this share of the time.
const SHARE: u32 = 100;

/// The picture that is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    pictures: Vec<Picture>,
    /// When the next one may be taken.
    due: Option<Instant>,
}

/// Shows it.
#[derive(Debug)]
pub(crate) struct Gauges(pub(crate) Samples);

impl Samples {
    /// Takes a new picture, unless the last one is too new for what it cost.
    pub(crate) fn take(&self, slos: &Slos) {
        let began = Instant::now();
        if self.shown().due.is_some_and(|due| began < due) {
            return;
        }
        let pictures = slos.pictures();
        let due = Some(Instant::now() + began.elapsed() * SHARE);
        *self.shown() = Shown { pictures, due };
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows nothing any more: another replica does.
    pub(crate) fn clear(&self) {
        *self.shown() = Shown::default();
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for picture in &self.0.shown().pictures {
            let kind = match picture.values {
                Values::Gauges(_) => MetricType::Gauge,
                Values::Counters(_) => MetricType::Counter,
            };
            let metric = encoder.encode_descriptor(picture.name, picture.help, None, kind)?;
            picture.encode(metric)?;
        }
        Ok(())
    }
}

impl Picture {
    fn encode(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        match &self.values {
            Values::Gauges(values) => {
                for (labels, value) in values {
                    ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
                }
            }
            Values::Counters(values) => {
                for (labels, value) in values {
                    ConstCounter::new(*value).encode(metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Slos {
    fn pictures(&self) -> Vec<Picture> {
        let named = self.known.iter().map(|(name, known)| (Arc::new(name.clone()), known));
        let known: Vec<(Arc<Name>, &Known)> = named.collect();
        let gauges = |name, help, of: Series| Picture {
            name,
            help,
            values: Values::Gauges(known.iter().flat_map(|(name, known)| of(name, known)).collect()),
        };
        let mut pictures = vec![
            gauges("slo_alert_active", "Whether an alert tier fires: 1 or 0", alerts),
            gauges(
                "slo_burn_rate",
                "How many times faster than allowed the budget is spent, by window",
                burns,
            ),
            gauges(
                "slo_budget_remaining_ratio",
                "Share of the error budget that is left; below 0 it is overspent",
                budget,
            ),
            gauges("slo_phase", "1 for the phase the SLO is in", phase),
            gauges("slo_rollback_state", "1 for the state the rollback is in", state),
        ];
        pictures.push(Picture {
            name: "slo_requests",
            help: "Requests taken in since the operator's start, by result",
            values: Values::Counters(known.iter().flat_map(|(name, known)| requests(name, known)).collect()),
        });
        pictures.extend(self.bounds());
        pictures
    }

    /// How full everything is that has a maximum, and what it cost.
    fn bounds(&self) -> Vec<Picture> {
        let gauge = |name, help, value: usize| Picture {
            name,
            help,
            values: Values::Gauges(vec![(Labels::default(), float(value))]),
        };
        let losses = self.reports.losses();
        let lost = [
            ("worker_limit", losses.worker_limit),
            ("closed_start", losses.closed_start),
            ("evicted_rows", losses.evicted_rows),
            ("uncounted_rows", losses.uncounted_rows),
            ("implausible_rows", losses.implausible_rows),
            ("unknown_sli", self.unknown_rows),
        ];
        let evicted = self.known.values().map(|known| known.history.evicted_revisions()).sum();
        vec![
            gauge(
                "sli_workers",
                "Workers whose counts are kept, of at most 5,000",
                self.reports.workers(),
            ),
            gauge(
                "polled_slos",
                "SLOs that are polled, of at most 1,000",
                self.polled_slos(),
            ),
            gauge("sli_rows", "Cumulative counts that are kept", self.reports.rows()),
            gauge(
                "slo_history_bytes",
                "Memory of all windows, at most 330 KiB for each SLO",
                self.known.values().map(|known| known.history.bucket_bytes()).sum(),
            ),
            Picture {
                name: "sli_not_counted",
                help: "Reports and rows that were not counted, by reason",
                values: Values::Counters(lost.map(|(reason, count)| (only("reason", reason), count)).into()),
            },
            Picture {
                name: "slo_history_evicted_revisions",
                help: "Revisions whose windows made room for newer ones",
                values: Values::Counters(vec![(Labels::default(), evicted)]),
            },
        ]
    }
}

fn labels<const N: usize>(name: &Arc<Name>, more: [(&'static str, Cow<'static, str>); N]) -> Labels {
    Labels {
        slo: Some(Arc::clone(name)),
        more: more.into(),
    }
}

fn only(label: &'static str, value: &'static str) -> Labels {
    Labels {
        slo: None,
        more: vec![(label, value.into())],
    }
}

fn alerts(name: &Arc<Name>, known: &Known) -> Vec<(Labels, f64)> {
    let alerts = known
        .evaluation
        .iter()
        .flat_map(|evaluation| &evaluation.verdict.alerts);
    let severity = |severity| match severity {
        Severity::Page => "page",
        Severity::Ticket => "ticket",
    };
    alerts
        .map(|alert| {
            let more = [
                ("alert", alert.tier.name.clone().into()),
                ("severity", severity(alert.tier.severity).into()),
            ];
            (labels(name, more), f64::from(u8::from(alert.firing)))
        })
        .collect()
}

fn burns(name: &Arc<Name>, known: &Known) -> Vec<(Labels, f64)> {
    let burns = known.evaluation.iter().flat_map(|evaluation| &evaluation.verdict.burn);
    burns
        .filter_map(|burn| Some((labels(name, [("window", written(burn.window).into())]), burn.rate?)))
        .collect()
}

fn budget(name: &Arc<Name>, known: &Known) -> Vec<(Labels, f64)> {
    let left = known
        .evaluation
        .as_ref()
        .and_then(|evaluation| evaluation.verdict.budget_remaining);
    left.map(|left| (labels(name, []), left)).into_iter().collect()
}

fn phase(name: &Arc<Name>, known: &Known) -> Vec<(Labels, f64)> {
    let phase = known
        .evaluation
        .as_ref()
        .map(|evaluation| evaluation.verdict.phase.as_str());
    phase
        .map(|phase| (labels(name, [("phase", phase.into())]), 1.0))
        .into_iter()
        .collect()
}

fn state(name: &Arc<Name>, known: &Known) -> Vec<(Labels, f64)> {
    let state = known.record.state.machine.state().as_str();
    vec![(labels(name, [("state", state.into())]), 1.0)]
}

fn requests(name: &Arc<Name>, known: &Known) -> Vec<(Labels, u64)> {
    let counts = known.counts;
    [
        ("good", counts.good),
        ("bad", counts.bad),
        ("incomplete", counts.incomplete),
    ]
    .map(|(result, count)| (labels(name, [("result", result.into())]), count))
    .into()
}

#[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^53")]
fn float(number: usize) -> f64 {
    number as f64
}
