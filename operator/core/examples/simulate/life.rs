//! The life of one release: traffic, troubles, and the operator's look each second, until it is undone or its probation ends.

use std::time::Duration;

use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Coverage, find, gather_release};
use shoalwatch_core::release::{Ledger, RevisionSnapshot, TargetSnapshot};
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis};

use crate::draw::{Draw, float};

/// Of each release.
pub(crate) const PROBATION: u32 = 1_800;
/// Some full minute.
const START: Millis = Millis(1_800_000_000_000);
const PODS: u32 = 2;

/// What goes wrong, in seconds since the release's first request. A ratio is of answers that turn bad.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The release itself fails.
    Bad { from: f64, ratio: f64 },
    /// It alone fails for a moment: a pod that hangs, a connection that is made anew.
    Blip { from: f64, to: f64, ratio: f64 },
    /// One of its clients repeats a request that fails, so many times more within each of some seconds.
    Storm { from: u32, to: u32, answers: u64 },
    /// Its caches are cold, within its warm-up.
    Cold { to: f64, ratio: f64 },
    /// What both need is down.
    Outage { from: f64, to: f64, ratio: f64 },
    /// What both need comes and goes, so long up and so long down.
    Flapping {
        from: f64,
        to: f64,
        ratio: f64,
        period: f64,
    },
    /// What both need fails more and more.
    Leak { from: f64, to: f64, ratio: f64 },
}

/// One release to be.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) objective: &'static str,
    pub(crate) warmup: Duration,
    /// Requests a second of the new release.
    pub(crate) rate: f64,
    /// Requests a second of the stable one, and how long it serves beside it.
    pub(crate) stable: (f64, u32),
    /// What fails of either at any time.
    pub(crate) background: f64,
    pub(crate) troubles: Vec<Trouble>,
    /// One of its two pods is on a node whose worker is gone. What fails, fails on the other one.
    pub(crate) half_seen: bool,
}

/// What became of it: when it was undone, in seconds since its first request, and why.
#[derive(Clone, Debug)]
pub(crate) struct Undone {
    pub(crate) at: u32,
    pub(crate) reason: String,
}

impl Life {
    /// Lives it. Every second's answers are recorded as the operator records them, and judged by what the operator judges with. No
    /// release is let off by a promotion: all are judged until their probation ends.
    pub(crate) fn live(&self, mut draw: Draw) -> Option<Undone> {
        let spec = self.spec();
        let (ledger, mut target) = (ledger(), target());
        target.revisions[1].reporting_pods = if self.half_seen { 1 } else { PODS };
        let mut history = History::default();
        let mut report = [difference("v1-rs"), difference("v2-rs")];
        for second in 0..PROBATION {
            let begin = START.plus(Duration::from_secs(second.into()));
            let serves = second < self.stable.1;
            target.revisions[0].ready_pods = if serves { PODS } else { 0 };
            let rates = [if serves { self.stable.0 } else { 0.0 }, self.rate];
            for (place, rate) in rates.into_iter().enumerate() {
                let report = &mut report[place];
                report.counts = self.answers(&mut draw, place == 1, rate, second);
                report.bad_pods = u32::try_from(report.counts.bad).unwrap_or(PODS).min(PODS);
                report.placement = Placement::At(begin.plus(Duration::from_millis(500)));
                if !report.counts.is_empty() {
                    history.record(report, begin.plus(Duration::from_millis(900)));
                }
            }
            let now = begin.plus(Duration::from_millis(1_100));
            let coverage = Coverage::of_target(&target);
            let release = gather_release(&spec, &history, &ledger, &target, now);
            let found = find(&spec, coverage, &release).filter(|found| found.doubt.is_none());
            if let Some(found) = found {
                return Some(Undone {
                    at: second + 1,
                    reason: found.breach().reason,
                });
            }
        }
        None
    }

    /// The ratio beyond which it is bad.
    pub(crate) fn threshold(&self) -> f64 {
        self.spec().bad_threshold()
    }

    fn spec(&self) -> SloSpec {
        let rule = RollbackRule {
            warmup: self.warmup,
            ..RollbackRule::default()
        };
        let objective = self.objective.parse().expect("an objective");
        SloSpec::new("shop/checkout", objective, Duration::from_hours(720), Some(&[]), rule).expect("a valid SLO")
    }

    /// One second of a release.
    fn answers(&self, draw: &mut Draw, new: bool, rate: f64, second: u32) -> Counts {
        if rate <= 0.0 {
            return Counts::default();
        }
        let mut ratio = self.background;
        let mut extra = 0;
        for trouble in &self.troubles {
            match *trouble {
                Trouble::Storm { from, to, answers } if new && (from..to).contains(&second) => extra += answers,
                _ => ratio = ratio.max(trouble.ratio(new, second.into(), draw)),
            }
        }
        let seen = if new && self.half_seen { rate / 2.0 } else { rate };
        let requests = draw.poisson(seen);
        let bad = draw.binomial(requests, ratio.min(1.0));
        Counts::new(requests - bad, bad + extra)
    }
}

impl Trouble {
    /// The share of a second's answers that it turns bad.
    fn ratio(self, new: bool, second: f64, draw: &mut Draw) -> f64 {
        let overlap = |from: f64, to: f64| (to.min(second + 1.0) - from.max(second)).max(0.0);
        match self {
            Self::Bad { from, ratio } if new => ratio * overlap(from, f64::INFINITY),
            Self::Blip { from, to, ratio } if new => ratio * overlap(from, to),
            Self::Cold { to, ratio } if new => ratio * overlap(0.0, to),
            // A shared failure is not equally hard on both at each moment.
            Self::Outage { from, to, ratio } => ratio * overlap(from, to) * draw.between(0.8, 1.2),
            Self::Flapping {
                from,
                to,
                ratio,
                period,
            } => {
                let down = ((second - from) / period).rem_euclid(2.0) < 1.0;
                if down {
                    ratio * overlap(from, to) * draw.between(0.8, 1.2)
                } else {
                    0.0
                }
            }
            Self::Leak { from, to, ratio } => {
                let share = ((second - from) / (to - from)).clamp(0.0, 1.0);
                ratio * share * overlap(from, to)
            }
            Self::Bad { .. } | Self::Blip { .. } | Self::Cold { .. } | Self::Storm { .. } => 0.0,
        }
    }
}

fn difference(revision: &str) -> Difference {
    Difference {
        sli: "slo".into(),
        revision: revision.into(),
        worker: "node".into(),
        counts: Counts::default(),
        bad_pods: 0,
        placement: Placement::At(START),
    }
}

fn target() -> TargetSnapshot {
    let revision = |release: &str, created: Millis| RevisionSnapshot {
        revision: format!("{release}-rs").into(),
        release: release.into(),
        created,
        ready_pods: PODS,
        reporting_pods: PODS,
        first_ready_at: None,
        crashing: None,
    };
    TargetSnapshot {
        uid: "uid".to_owned(),
        resource_version: "1".to_owned(),
        paused: false,
        deleting: false,
        replicas: PODS,
        revision_history_limit: 10,
        release: "v2".into(),
        revisions: vec![revision("v1", Millis(0)), revision("v2", START)],
        rollback: None,
        accept: None,
        never: false,
        writer: None,
        stalled: false,
        gitops: None,
    }
}

/// `v1` is known to be good, `v2` is new.
fn ledger() -> Ledger {
    let mut before = target();
    before.release = "v1".into();
    before.revisions.truncate(1);
    let probation = Duration::from_secs(PROBATION.into());
    let mut ledger = Ledger::default();
    ledger.observe(&before, probation, START.minus(Duration::from_hours(1)));
    ledger.observe(&target(), probation, START);
    ledger
}

/// What a test of the best kind needs on average to tell a ratio from the threshold at an error of 1e-4, in seconds: ln(1e4) nats at
/// KL(ratio ‖ threshold) a request (Wald 1945), but not before `minBadEvents` bad answers, and never less than one look.
pub(crate) fn best(ratio: f64, threshold: f64, rate: f64) -> f64 {
    let evidence = 1e4_f64.ln() / shoalwatch_core::stats::divergence(ratio, threshold);
    let events = float(RollbackRule::default().min_bad_events) / ratio;
    (evidence.max(events) / rate).ceil().max(1.0)
}
