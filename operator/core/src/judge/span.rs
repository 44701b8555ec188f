//! The spans of time in which a release may be found bad.

use std::time::Duration;

use crate::Counts;
use crate::counts::float;
use crate::history::{History, Moment};
use crate::release::{Ledger, Role, TargetSnapshot};
use crate::spec::SloSpec;
use crate::stats::{Bets, Pair, evidence_worse};
use crate::{Millis, ReleaseId, Revision};

use super::evidence::Coverage;

/// ln(1/1e-4): the error of undoing a good release, over its whole probation.
const BREACH_EVIDENCE: f64 = 9.210_340_371_976_184;
/// ln(1/1e-3): the error of calling a release worse than the stable one, over its whole probation.
const WORSE_EVIDENCE: f64 = 6.907_755_278_982_137;
/// ln(1/0.05): enough to say that the stable release fails too. That saves a release, so it is believed early.
const STABLE_FAILS_EVIDENCE: f64 = 2.995_732_273_553_991;
/// ln 3: the error is divided evenly among the short window, the long window, and the time since the first request.
const LN_SPANS: f64 = 1.098_612_288_668_109_8;
/// From this many requests on, the stable release counts as serving.
pub(super) const STABLE_SERVES: u64 = 10;

/// What both releases answered in one unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Units since the one of the new release's first judged request.
    pub at: u32,
    /// The new release.
    pub new: Counts,
    /// The stable release, whether it still serves or not.
    pub stable: Counts,
}

/// One stretch of time until now, without the unit that is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// A unit's width: a second; for spans beyond 10 m ten seconds, beyond 69 m a minute.
    pub width: Duration,
    /// Its first unit, served in or not.
    pub begin: u32,
    /// The unit that is open.
    pub end: u32,
    /// Units in a probation: as many places a span may begin at.
    pub starts: u32,
    /// Units in which one of both served, in order of time.
    pub units: Vec<Unit>,
}

/// A whole span, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    span: &'a Span,
    begin: u32,
    units: &'a [Unit],
}

impl Span {
    /// The whole of it.
    fn whole(&self) -> Part<'_> {
        Part {
            span: self,
            begin: self.begin,
            units: &self.units,
        }
    }

    /// Its last so many units.
    fn last(&self, units: u32) -> Part<'_> {
        let begin = self.end.saturating_sub(units).max(self.begin);
        let first = self.units.partition_point(|unit| unit.at < begin);
        Part {
            span: self,
            begin,
            units: &self.units[first..],
        }
    }

    /// It, and its last half, quarter and so on that is longer than `least`: a failure that began on the way is less diluted there.
    pub(super) fn halves(&self, least: Duration) -> impl Iterator<Item = Part<'_>> {
        let lengths = std::iter::successors(Some(self.end - self.begin), |length| Some(length / 2));
        let width = self.width;
        let halves = lengths.skip(1).take_while(move |length| width * *length > least);
        std::iter::once(self.whole()).chain(halves.map(|length| self.last(length)))
    }

    /// What came after the stable release's last request, where nothing is left to compare with.
    pub(super) fn alone(&self) -> Option<Part<'_>> {
        let last = self.units.iter().rposition(|unit| unit.stable.total() > 0)?;
        Some(Part {
            span: self,
            begin: self.units[last].at + 1,
            units: &self.units[last + 1..],
        })
    }
}

impl Part<'_> {
    /// Whether the new release exceeds the threshold of `bets`, its requests of a unit counted by `total`.
    pub(super) fn exceeds(&self, bets: &Bets, total: impl Fn(Counts) -> f64 + Copy) -> bool {
        let served = self.units.iter().filter(|unit| unit.new.total() > 0);
        let shares = served.map(|unit| (float(unit.new.bad) / total(unit.new)).min(1.0));
        bets.evidence(shares) > BREACH_EVIDENCE + self.price()
    }

    /// The lower bound of its bad ratio: the greatest threshold that it exceeds. `threshold` is where to begin.
    pub(super) fn bound(&self, threshold: f64, total: impl Fn(Counts) -> f64 + Copy) -> f64 {
        let over = |ratio| self.exceeds(&Bets::against(ratio), total);
        let (mut low, mut high) = if over(threshold) {
            (threshold, 1.0)
        } else {
            (0.0, threshold)
        };
        // To a millionth of it: three digits are shown.
        for _ in 0..20 {
            let middle = f64::midpoint(low, high);
            if over(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether the stable release exceeds the threshold too.
    pub(super) fn stable_fails(&self, threshold: f64) -> bool {
        let stable = self.stable_counts();
        crate::stats::evidence_above(float(stable.bad), float(stable.total()), threshold) > STABLE_FAILS_EVIDENCE
    }

    /// Whether the new release is worse than the stable one.
    pub(super) fn is_worse(&self, total: impl Fn(Counts) -> f64) -> bool {
        let pairs = self.units.iter().map(|unit| Pair {
            new: (float(unit.new.bad), total(unit.new)),
            stable: (float(unit.stable.bad), float(unit.stable.total())),
        });
        evidence_worse(pairs) > WORSE_EVIDENCE + self.price()
    }

    pub(super) fn new_counts(&self) -> Counts {
        self.units.iter().map(|unit| unit.new).sum()
    }

    pub(super) fn stable_counts(&self) -> Counts {
        self.units.iter().map(|unit| unit.stable).sum()
    }

    /// How long it is.
    pub(super) fn length(&self) -> Duration {
        self.span.width * (self.span.end - self.begin)
    }

    /// What it costs, in nats, to have chosen this beginning out of all.
    fn price(&self) -> f64 {
        let begin = f64::from(self.begin);
        let share = if self.begin == 0 {
            0.5
        } else {
            0.25 / (begin * (begin + 1.0)) + 0.25 / f64::from(self.span.starts.max(1))
        };
        LN_SPANS - share.ln()
    }
}

/// Reads the spans of a release from the history.
pub(super) struct Spans<'a> {
    pub(super) spec: &'a SloSpec,
    pub(super) history: &'a History,
    /// Revisions of the new release.
    pub(super) new: &'a [Revision],
    /// Revisions of the stable one.
    pub(super) stable: &'a [Revision],
    /// Where the new one's answers begin to count.
    pub(super) from: Millis,
    pub(super) now: Millis,
}

impl Spans<'_> {
    /// The short window, the long one, and all since the first request.
    pub(super) fn read(&self) -> Vec<Span> {
        let rule = self.spec.rule();
        let window = |length| self.span(length, self.from.max(self.now.minus(length)));
        vec![
            window(rule.short),
            window(rule.long),
            self.span(rule.probation, self.from),
        ]
    }

    fn span(&self, reach: Duration, since: Millis) -> Span {
        let width = History::width(reach);
        let index = |at: Millis| History::index(width, at);
        let first = index(self.from);
        let read = |revisions| self.history.moments_of(revisions, reach, since, self.now);
        let (new, stable) = (read(self.new), read(self.stable));
        let mut units = Vec::with_capacity(new.len() + stable.len());
        join(&new, &stable, |at, new, stable| {
            units.push(Unit {
                at: at - first,
                new,
                stable,
            });
        });
        let starts = self.spec.rule().probation.as_secs() / width.as_secs().max(1);
        Span {
            width,
            begin: index(since) - first,
            end: index(self.now).saturating_sub(first),
            starts: u32::try_from(starts).unwrap_or(u32::MAX),
            units,
        }
    }
}

/// Both lists in one order of time.
fn join(new: &[Moment], stable: &[Moment], mut each: impl FnMut(u32, Counts, Counts)) {
    let (mut new, mut stable) = (new.iter().peekable(), stable.iter().peekable());
    while let Some(at) = new.peek().into_iter().chain(stable.peek()).map(|next| next.index).min() {
        let counts = |next: Option<&Moment>| next.map_or_else(Counts::default, |next| next.counts);
        let own = counts(new.next_if(|next| next.index == at));
        let others = counts(stable.next_if(|next| next.index == at));
        each(at, own, others);
    }
}

/// The known-good release to compare `current` with.
pub(super) struct Elder {
    pub(super) revisions: Vec<Revision>,
    /// Pods of it are ready.
    pub(super) ready: bool,
}

impl Elder {
    /// The one whose pods are ready beside it, else the one that served last: what hit it while both served is not forgotten when its
    /// last pod goes.
    pub(super) fn of(ledger: &Ledger, target: &TargetSnapshot, current: &ReleaseId) -> Self {
        let gone = || {
            let known = ledger.releases().iter();
            let known = known.filter(|each| each.role == Role::KnownGood && each.id != *current);
            Some(known.max_by_key(|each| each.last_current)?.id.clone())
        };
        let beside = ledger.stable_beside(current, target);
        let ready = beside.is_some();
        let elder = beside.or_else(gone);
        Self {
            revisions: elder.map_or_else(Vec::new, |elder| Ledger::revisions(target, &elder)),
            ready,
        }
    }
}

/// All requests that were judged.
pub(super) fn seen(counts: Counts) -> f64 {
    float(counts.total())
}

/// All requests that there may have been: lost ones, and those of pods that nobody reports, were good.
pub(super) fn unseen_good(coverage: Coverage) -> impl Fn(Counts) -> f64 + Copy {
    let growth = coverage.growth();
    move |counts| float(counts.total().saturating_add(counts.incomplete)) * growth
}
