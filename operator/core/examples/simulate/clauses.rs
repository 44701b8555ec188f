//! What each clause of the decision is there for: a judge who lacks it, and a row of the tables that this judge gets wrong.
//!
//! A clause is taken out by altering what is judged (the rule, the reports, the counts in evidence) or by overhearing a doubt; the
//! decision itself is the operator's and knows nothing of this.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shoalwatch_core::Millis;
use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Case, Coverage, Doubt, Finding, Memory, findings, gather_case, sure};
use shoalwatch_core::release::{Ledger, TargetSnapshot};
use shoalwatch_core::reports::Difference;
use shoalwatch_core::spec::{RollbackRule, SloSpec};

use crate::draw::Draw;
use crate::population::Kind;

/// Releases of a row that are lived through, with a clause and without it.
const RELEASES: u64 = 30;

/// A part of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    ShortWindow,
    LongWindow,
    SinceFirstRequest,
    LaterHalves,
    Burn,
    MaxBadRatio,
    RepeatedLooks,
    MinBadEvents,
    Spread,
    MissingWorkers,
    LostRequests,
    StableFailsToo,
    WorseThanStable,
    WarmUp,
}

/// {clause, its name, what goes wrong without it}.
const CLAUSES: [(Clause, &str, Kind); 14] = [
    (Clause::ShortWindow, "the short window", Kind::Bad(0)),
    (Clause::LongWindow, "the long window", Kind::Bad(1)),
    (
        Clause::SinceFirstRequest,
        "the time since the first request",
        Kind::Bad(2),
    ),
    (Clause::LaterHalves, "the later halves of that time", Kind::Bad(3)),
    (Clause::Burn, "`burn`", Kind::Bad(2)),
    (Clause::MaxBadRatio, "`maxBadRatio`", Kind::Bad(4)),
    (
        Clause::RepeatedLooks,
        "the correction for repeated looks",
        Kind::Good(11),
    ),
    (Clause::MinBadEvents, "`minBadEvents`", Kind::Good(3)),
    (Clause::Spread, "two pods or two seconds", Kind::Good(10)),
    (
        Clause::MissingWorkers,
        "pods that nobody reports are good",
        Kind::Good(8),
    ),
    (Clause::LostRequests, "lost requests are good", Kind::Good(9)),
    (
        Clause::StableFailsToo,
        "the stable release does not fail too",
        Kind::Good(12),
    ),
    (
        Clause::WorseThanStable,
        "the new one is worse than the stable one",
        Kind::Good(13),
    ),
    (Clause::WarmUp, "`warmup`", Kind::Good(4)),
];

/// What became of a row.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) clause: &'static str,
    pub(crate) kind: Kind,
    pub(crate) released: u64,
    /// Good ones undone, or bad ones missed, by the whole decision.
    pub(crate) wrong: usize,
    /// The same without the clause.
    pub(crate) wrong_without: usize,
}

/// Tries every clause, all at once.
pub(crate) fn proofs(seed: u64) -> Vec<Proof> {
    let proof = move |(clause, name, kind): (Clause, &'static str, Kind)| {
        let wrong = |without| {
            (0..RELEASES)
                .filter(|place| goes_wrong(kind, without, seed, *place))
                .count()
        };
        Proof {
            clause: name,
            kind,
            released: RELEASES,
            wrong: wrong(None),
            wrong_without: wrong(Some(clause)),
        }
    };
    std::thread::scope(|scope| {
        let threads = CLAUSES.map(|clause| scope.spawn(move || proof(clause)));
        threads.map(|thread| thread.join().expect("no panic")).into()
    })
}

fn goes_wrong(kind: Kind, without: Option<Clause>, seed: u64, place: u64) -> bool {
    let mut draw = Draw::new(seed ^ 0xc1a5, place);
    let undone = kind.release(&mut draw).live_without(without, draw).is_some();
    undone == matches!(kind, Kind::Good(_))
}

/// The operator's judge, or one who lacks a clause.
pub(crate) struct Judge {
    spec: SloSpec,
    /// What halves are compared with.
    halves: SloSpec,
    without: Option<Clause>,
    history: History,
    memory: Memory,
    recent: VecDeque<(Difference, Millis)>,
}

impl Judge {
    pub(crate) fn new(spec: &SloSpec, without: Option<Clause>) -> Self {
        let halves = RollbackRule {
            long: Duration::from_hours(1),
            ..spec.rule().clone()
        };
        let rule = without.map_or_else(|| spec.rule().clone(), |clause| clause.taken_out_of(spec.rule()));
        let with = |rule| {
            SloSpec::new(spec.name(), spec.objective(), spec.window().clone(), Some(&[]), rule).expect("a valid SLO")
        };
        let spec = with(rule);
        Self {
            halves: if without == Some(Clause::LaterHalves) {
                with(halves)
            } else {
                spec.clone()
            },
            spec,
            without,
            history: History::default(),
            memory: Memory::default(),
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn record(&mut self, report: &Difference, now: Millis) {
        match self.without {
            Some(Clause::Spread) => {
                let bad_pods = if report.counts.bad > 0 { 2 } else { 0 };
                self.history.record(
                    &Difference {
                        bad_pods,
                        ..report.clone()
                    },
                    now,
                );
            }
            // Every look is the first: the judge knows nothing but the last window.
            Some(Clause::RepeatedLooks) => {
                let oldest = now.minus(self.spec.rule().short);
                self.recent.retain(|(_, at)| *at > oldest);
                self.recent.push_back((report.clone(), now));
                self.history = History::default();
                for (report, at) in &self.recent {
                    self.history.record(report, *at);
                }
            }
            _ => self.history.record(report, now),
        }
    }

    /// Whether the new release is to be undone: why.
    pub(crate) fn condemns(&mut self, ledger: &Ledger, target: &TargetSnapshot, now: Millis) -> Option<String> {
        let mut release = gather_case(&self.spec, &self.history, ledger, target, &mut self.memory, now);
        let coverage = Coverage::of_target(target);
        let Some(clause) = self.without else {
            return sure(&self.spec, coverage, &release).map(|found| found.breach().reason);
        };
        clause.taken_out_of_evidence(&self.spec, &mut release);
        let ignored = clause.doubt();
        let sure = |found: &Finding| found.doubts().all(|doubt| Some(doubt) == ignored);
        let sure = findings(&self.halves, coverage, &release).find(sure);
        sure.map(|found| found.breach().reason)
    }
}

impl Clause {
    fn taken_out_of(self, rule: &RollbackRule) -> RollbackRule {
        let mut rule = rule.clone();
        match self {
            Self::Burn => rule.burn = 1e9,
            Self::MaxBadRatio => rule.max_bad_ratio = 1.0,
            Self::MinBadEvents => rule.min_bad_events = 1,
            Self::WarmUp => rule.warmup = Duration::ZERO,
            _ => {}
        }
        rule
    }

    fn taken_out_of_evidence(self, spec: &SloSpec, release: &mut Case) {
        let (short, long) = (spec.rule().short, spec.rule().long);
        match self {
            // While a window holds everything, it is as good as the time since the first request.
            Self::ShortWindow => release
                .spans
                .retain(|span| span.frame.begin == 0 || span.frame.length() > short + Duration::from_secs(1)),
            Self::LongWindow => release.spans.retain(|span| {
                let length = span.frame.length();
                span.frame.begin == 0
                    || length <= short + Duration::from_secs(1)
                    || length > long + Duration::from_secs(1)
            }),
            Self::SinceFirstRequest => release
                .spans
                .retain(|span| span.frame.length() <= long + Duration::from_secs(1)),
            Self::MissingWorkers => release.coverage.reporting = release.coverage.ready,
            Self::LostRequests => {
                let spans = release.spans.iter_mut().map(Arc::make_mut);
                for unit in spans.flat_map(|span| &mut span.units) {
                    unit.new.incomplete = 0;
                }
            }
            _ => {}
        }
    }

    /// The doubt that is overheard.
    fn doubt(self) -> Option<Doubt> {
        match self {
            Self::StableFailsToo => Some(Doubt::StableFailsToo),
            Self::WorseThanStable => Some(Doubt::NotWorseThanStable),
            _ => None,
        }
    }
}
