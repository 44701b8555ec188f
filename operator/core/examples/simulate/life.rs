//! The life of one release: traffic, troubles, and the operator's look each second, until it is undone or its probation ends.

use std::time::Duration;

use shoalwatch_core::reports::Placement;
use shoalwatch_core::spec::{RollbackRule, SloSpec};
use shoalwatch_core::{Counts, Millis};

use crate::clauses::{Clause, Judge};
use crate::draw::{Draw, float};
use crate::pair::{difference, ledger, pair};
use crate::support::PODS;

/// Of each release.
pub(crate) const PROBATION: u32 = 1_800;
/// Some full minute.
const START: Millis = Millis(1_800_000_000_000);
/// Seconds of the clock that a start takes.
const STARTING: u32 = 3;
/// Seconds from gust to gust.
const GUSTS: f64 = 600.0;

/// What goes wrong, in seconds since the release's first request. A ratio is of answers that turn bad.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The release itself fails.
    Bad { from: f64, ratio: f64 },
    /// It fails for so long at the end of every ten minutes.
    Gusts { length: f64, ratio: f64 },
    /// Its first pod fails as it starts: all of so many answers in each of three seconds of the clock, within 1.1 s.
    Start { answers: u64 },
    /// It alone fails for a moment: a pod that hangs, a connection that is made anew.
    Blip { from: f64, to: f64, ratio: f64 },
    /// One of its clients repeats a request that fails, so many times more within each of some seconds.
    Storm { from: u32, to: u32, answers: u64 },
    /// Its caches are cold, within its warm-up.
    Cold { to: f64, ratio: f64 },
    /// What both need is down.
    Outage { from: f64, to: f64, ratio: f64 },
    /// What both need is down, and it needs that more: the stable one fails half as often.
    Uneven { from: f64, to: f64, ratio: f64 },
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
    pub(crate) sight: Sight,
}

/// What is seen of a new release. What fails, fails in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    All,
    /// One of its two pods is on a node whose worker is gone.
    HalfOfPods,
    /// Its workers say of every other request that it was lost.
    HalfOfRequests,
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
    pub(crate) fn live(&self, draw: Draw) -> Option<Undone> {
        self.live_without(None, draw)
    }

    /// Lives it under a judge who lacks a clause: what is judged is altered, not how.
    pub(crate) fn live_without(&self, clause: Option<Clause>, mut draw: Draw) -> Option<Undone> {
        let mut judge = Judge::new(&self.spec(), clause);
        let (ledger, mut target) = (ledger(START), pair(START));
        if self.sight == Sight::HalfOfPods {
            target.revisions[1].reporting_pods = PODS / 2;
        }
        let mut reports = ["v1-rs", "v2-rs"].map(|revision| difference(revision, Counts::default(), 0, START));
        for second in 0..PROBATION {
            let begin = START.plus(Duration::from_secs(second.into()));
            let serves = second < self.stable.1;
            target.revisions[0].ready_pods = if serves { PODS } else { 0 };
            let rates = [if serves { self.stable.0 } else { 0.0 }, self.rate];
            for (place, rate) in rates.into_iter().enumerate() {
                let report = &mut reports[place];
                report.counts = self.answers(&mut draw, place == 1, rate, second);
                let most = if self.starting(second) { 1 } else { PODS };
                report.bad_pods = u32::try_from(report.counts.bad).unwrap_or(most).min(most);
                report.placement = Placement::At(begin.plus(self.phase(second)));
                if !report.counts.is_empty() {
                    judge.record(report, begin.plus(Duration::from_secs(1)));
                }
            }
            let now = begin.plus(Duration::from_millis(1_100));
            if let Some(reason) = judge.condemns(&ledger, &target, now) {
                return Some(Undone { at: second + 1, reason });
            }
        }
        None
    }

    /// Whether its first pod starts, and fails.
    fn starting(&self, second: u32) -> bool {
        let starts = |trouble: &Trouble| matches!(trouble, Trouble::Start { .. });
        second < STARTING && self.troubles.iter().any(starts)
    }

    /// When in a second its answers fall.
    fn phase(&self, second: u32) -> Duration {
        Duration::from_millis(match second {
            0 if self.starting(second) => 950,
            2 if self.starting(second) => 50,
            _ => 500,
        })
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
                Trouble::Start { answers } if new && second < STARTING => return Counts::new(0, answers),
                Trouble::Storm { from, to, answers } if new && (from..to).contains(&second) => extra += answers,
                _ => ratio = ratio.max(trouble.ratio(new, second.into(), draw)),
            }
        }
        let sight = if new { self.sight } else { Sight::All };
        let requests = draw.poisson(if sight == Sight::All { rate } else { rate / 2.0 });
        let bad = draw.binomial(requests, ratio.min(1.0));
        Counts {
            incomplete: if sight == Sight::HalfOfRequests { requests } else { 0 },
            ..Counts::new(requests - bad, bad + extra)
        }
    }
}

impl Trouble {
    /// The share of a second's answers that it turns bad.
    fn ratio(self, new: bool, second: f64, draw: &mut Draw) -> f64 {
        let overlap = |from: f64, to: f64| (to.min(second + 1.0) - from.max(second)).max(0.0);
        match self {
            Self::Bad { from, ratio } if new => ratio * overlap(from, f64::INFINITY),
            Self::Blip { from, to, ratio } if new => ratio * overlap(from, to),
            Self::Gusts { length, ratio } if new => {
                let since = second - GUSTS * (second / GUSTS).floor();
                ratio * f64::from((GUSTS - length..GUSTS).contains(&since))
            }
            Self::Uneven { from, to, ratio } => ratio * overlap(from, to) * if new { 1.0 } else { 0.5 },
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
            Self::Bad { .. }
            | Self::Blip { .. }
            | Self::Gusts { .. }
            | Self::Cold { .. }
            | Self::Start { .. }
            | Self::Storm { .. } => 0.0,
        }
    }
}

/// What a test of the best kind needs on average to tell a ratio from the threshold at an error of 1e-4, in seconds: ln(1e4) nats at
/// KL(ratio ‖ threshold) a request (Wald 1945), but not before `minBadEvents` bad answers, and never less than one look.
pub(crate) fn best(ratio: f64, threshold: f64, rate: f64) -> f64 {
    let evidence = 1e4_f64.ln() / shoalwatch_core::stats::divergence(ratio, threshold);
    let events = float(RollbackRule::default().min_bad_events) / ratio;
    (evidence.max(events) / rate).ceil().max(1.0)
}
