//! The spans of time in which a release may be found bad.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use crate::Counts;
use crate::counts::float;
use crate::history::{Alone, Bucket, Group, History, Moment, Print};
use crate::release::{Ledger, Role, TargetSnapshot};
use crate::spec::SloSpec;
use crate::stats::{Bets, Glance, Pair, evidence_worse};
use crate::{Millis, ReleaseId, Revision};

use super::evidence::{Case, Coverage};
use super::memory::{Memory, Terms};
use super::new_release::is_excused;

/// ln(1/1e-4): the error of undoing a good release, over its whole probation.
const BREACH_EVIDENCE: f64 = 9.210_340_371_976_184;
/// ln(1/1e-3): the error of calling a release worse than the stable one, over its whole probation.
const WORSE_EVIDENCE: f64 = 6.907_755_278_982_137;
/// ln(1/0.05): enough to say that the stable release fails too. That saves a release, so it is believed early.
const STABLE_FAILS_EVIDENCE: f64 = 2.995_732_273_553_991;
/// ln 3: the error is divided evenly among the short window, the long window, and the time since the first request.
const LN_SPANS: f64 = 1.098_612_288_668_109_8;
/// Between two looks.
const LOOKS: Duration = Duration::from_secs(1);
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

/// One stretch of time until now, in units, without the one that is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A unit's width: a second; for spans beyond 10 m ten seconds, beyond 69 m a minute.
    pub width: Duration,
    /// Its first unit, served in or not.
    pub begin: u32,
    /// The unit that is open.
    pub end: u32,
    /// Units in a probation: as many places a span may begin at.
    pub starts: u32,
}

/// What both releases did in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its time.
    pub frame: Frame,
    /// Units in which one of both served, in order of time.
    pub units: Vec<Unit>,
    /// It was judged, and whatever exceeds the threshold in it is doubted.
    pub(super) excused: bool,
}

/// A whole span, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    frame: Frame,
    units: &'a [Unit],
}

impl Frame {
    fn from(self, begin: u32) -> Self {
        Self { begin, ..self }
    }

    /// It, and its last half, quarter and so on that is longer than `least`.
    fn halves(self, least: Duration) -> impl DoubleEndedIterator<Item = Self> {
        let length = self.end - self.begin;
        // A width is whole seconds.
        let least = least.as_secs() / self.width.as_secs().max(1);
        let halvings = (1..u32::BITS).take_while(|halved| u64::from(length >> halved) > least);
        let most = u32::try_from(halvings.count()).unwrap_or(0);
        (0..=most).map(move |halved| self.from(self.end - (length >> halved)))
    }

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.width * (self.end - self.begin)
    }

    /// False only if units of which this is left cannot exceed the threshold of `bets`.
    fn may_exceed(self, bets: &Bets, glance: &Glance) -> bool {
        if bets.of_any_at_most(glance) <= BREACH_EVIDENCE {
            return false;
        }
        let most = bets.at_most(glance);
        most > BREACH_EVIDENCE && most > BREACH_EVIDENCE + self.price()
    }

    /// What it costs, in nats, to have chosen this beginning out of all.
    fn price(self) -> f64 {
        let begin = f64::from(self.begin);
        let share = if self.begin == 0 {
            0.5
        } else {
            0.25 / (begin * (begin + 1.0)) + 0.25 / f64::from(self.starts.max(1))
        };
        LN_SPANS - share.ln()
    }
}

impl Span {
    fn part(&self, frame: Frame) -> Part<'_> {
        let first = self.units.partition_point(|unit| unit.at < frame.begin);
        Part {
            frame,
            units: &self.units[first..],
        }
    }

    /// It, and its last half, quarter and so on that is longer than `least`: a failure that began on the way is less diluted there.
    pub(super) fn halves(&self, least: Duration) -> impl Iterator<Item = Part<'_>> {
        self.frame.halves(least).map(|frame| self.part(frame))
    }

    /// What came after the stable release's last request, where nothing is left to compare with.
    pub(super) fn alone(&self) -> Option<Part<'_>> {
        let last = self.units.iter().rfind(|unit| unit.stable.total() > 0)?;
        Some(self.part(self.frame.from(last.at + 1)))
    }
}

impl Part<'_> {
    /// Whether the new release exceeds the threshold of `bets`, its requests of a unit counted by `total`.
    pub(super) fn exceeds(&self, bets: &Bets, total: impl Fn(Counts) -> f64 + Copy) -> bool {
        let served = self.units.iter().filter(|unit| unit.new.total() > 0);
        let shares = served.map(|unit| (float(unit.new.bad) / total(unit.new)).min(1.0));
        bets.exceed(BREACH_EVIDENCE + self.frame.price(), shares)
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
        evidence_worse(pairs) > WORSE_EVIDENCE + self.frame.price()
    }

    pub(super) fn new_counts(&self) -> Counts {
        self.units.iter().map(|unit| unit.new).sum()
    }

    pub(super) fn stable_counts(&self) -> Counts {
        self.units.iter().map(|unit| unit.stable).sum()
    }

    /// How long it is.
    pub(super) fn length(&self) -> Duration {
        self.frame.length()
    }
}

/// Reads the spans of a release from the history.
pub(super) struct Spans<'a> {
    pub(super) spec: &'a SloSpec,
    pub(super) history: &'a History,
    pub(super) new: &'a Group<'a>,
    pub(super) stable: &'a Group<'a>,
    /// It has ready pods.
    pub(super) stable_is_ready: bool,
    /// Where the new one's answers begin to count.
    pub(super) from: Millis,
    pub(super) now: Millis,
}

/// Where a span is to be read.
#[derive(Clone, Copy)]
struct Place {
    reach: Duration,
    since: Millis,
    frame: Frame,
    /// The unit that the frame counts from.
    first: u32,
}

impl Spans<'_> {
    /// Of the short window, the long one, and all since the first request: those in which the new release may exceed the threshold. Sets
    /// [`Case::spans`] and [`Case::beside_stable`].
    pub(super) fn read(&self, case: &mut Case, memory: &mut Memory) {
        let rule = self.spec.rule();
        let window = |length| self.place(length, self.from.max(self.now.minus(length)));
        let long = window(rule.long);
        // The short window is the end of the long one.
        let calm = History::width(rule.short) == long.frame.width && self.is_calm(&long);
        let near = (!calm)
            .then(|| [(0, window(rule.short)), (1, long)])
            .into_iter()
            .flatten();
        let since_first = (2, self.place(rule.probation, self.from));
        let beside_stable = LazyCell::new(|| self.beside_stable());
        let mut worth = Vec::new();
        for (number, place) in near.chain([since_first]) {
            worth.extend(match (self.new.alone(place.reach), self.stable.alone(place.reach)) {
                (Some(new), Some(stable)) if place.frame.width > LOOKS => {
                    let (terms, revisions) = self.terms(case, &place, [&new, &stable]);
                    memory.recall(
                        number,
                        terms,
                        revisions,
                        || *beside_stable,
                        || {
                            let may_exceed = self.may_exceed(&place, &new, &stable);
                            let mut span = may_exceed.then(|| self.span(&place))?;
                            case.beside_stable = *beside_stable;
                            span.excused = is_excused(self.spec, case, &span);
                            Some(span)
                        },
                    )
                }
                (Some(new), Some(stable)) if !self.may_exceed(&place, &new, &stable) => None,
                _ => Some(Arc::new(self.span(&place))),
            });
        }
        case.beside_stable = !worth.is_empty() && *beside_stable;
        case.spans = worth;
    }

    fn beside_stable(&self) -> bool {
        let beside = self.now.since(self.from).min(self.spec.rule().long);
        self.stable_is_ready && self.stable.window(beside, self.now).total() >= STABLE_SERVES
    }

    fn terms<'a>(&self, case: &Case, place: &Place, releases: [&Alone<'a>; 2]) -> (Terms, [Option<&'a Revision>; 2]) {
        let end = place.first + place.frame.end;
        let prints = releases.map(|release| release.print(end));
        let terms = Terms {
            frame: place.frame,
            first: place.first,
            units: prints.map(|known| known.map_or_else(Print::default, |(_, print)| print)),
            evicted: self.history.evicted_revisions(),
            long: self.spec.rule().long,
            threshold: self.spec.bad_threshold(),
            coverage: case.coverage,
        };
        (terms, prints.map(|known| known.map(|(revision, _)| revision)))
    }

    fn place(&self, reach: Duration, since: Millis) -> Place {
        let width = History::width(reach);
        let index = |at: Millis| History::index(width, at);
        let first = index(self.from);
        let starts = self.spec.rule().probation.as_secs() / width.as_secs().max(1);
        let frame = Frame {
            width,
            begin: index(since) - first,
            end: index(self.now).saturating_sub(first),
            starts: u32::try_from(starts).unwrap_or(u32::MAX),
        };
        Place {
            reach,
            since,
            frame,
            first,
        }
    }

    fn span(&self, place: &Place) -> Span {
        let Place {
            reach,
            since,
            frame,
            first,
        } = *place;
        let indices = first + frame.begin..first + frame.end;
        let mut units = Vec::with_capacity(indices.len());
        let unit = |at: u32, new: Option<Counts>, stable: Option<Counts>| Unit {
            at: at - first,
            new: new.unwrap_or_default(),
            stable: stable.unwrap_or_default(),
        };
        if let (Some(new), Some(stable)) = (self.new.alone(reach), self.stable.alone(reach)) {
            let counts = |bucket: &Bucket| bucket.counts();
            let (all, new, stable) = (indices.len(), new.buckets(indices.clone()), stable.buckets(indices));
            if new.len() == all && stable.len() == all {
                // None is missing of either: most often they lie side by side.
                let both = new.zip(stable);
                units.extend(both.map(|(new, stable)| unit(new.index, Some(new.counts()), Some(stable.counts()))));
            } else {
                let index = |bucket: &Bucket| bucket.index;
                join(new, stable, index, |at, new, stable| {
                    units.push(unit(at, new.map(counts), stable.map(counts)));
                });
            }
        } else {
            let read = |group: &Group<'_>| group.moments(reach, since, self.now);
            let (index, counts) = (|moment: &Moment| moment.index, |moment: &Moment| moment.counts);
            join(
                read(self.new).iter(),
                read(self.stable).iter(),
                index,
                |at, new, stable| {
                    units.push(unit(at, new.map(counts), stable.map(counts)));
                },
            );
        }
        Span {
            frame,
            units,
            excused: false,
        }
    }

    /// True only if no part of a span, nor of one that ends with it in the same units, can exceed the threshold.
    fn is_calm(&self, place: &Place) -> bool {
        let Place { frame, first, .. } = *place;
        self.new.alone(place.reach).is_some_and(|new| {
            let all = new.up_to(first + frame.end).minus(new.up_to(first + frame.begin));
            self.spec.bets().of_any_at_most(&all.glance()) <= BREACH_EVIDENCE
        })
    }

    /// False only if no part of a span can exceed the threshold: what most looks at most releases end with, by the sums of the new
    /// release's own units.
    fn may_exceed(&self, place: &Place, new: &Alone<'_>, stable: &Alone<'_>) -> bool {
        let Place { frame, first, .. } = *place;
        let (bets, until) = (self.spec.bets(), new.up_to(first + frame.end));
        let glance = |begin: u32| until.minus(new.up_to(first + begin)).glance();
        let last_of_stable = stable.newest(first + frame.begin..first + frame.end);
        let mut alone = last_of_stable
            .map(|last| frame.from(last - first + 1))
            .filter(|alone| alone.begin < alone.end);
        let mut may_exceed = |part: Frame| part.may_exceed(bets, &glance(part.begin));
        frame.halves(self.spec.rule().long).rev().any(|half| {
            let later = alone.take_if(|alone| alone.begin >= half.begin);
            later.is_some_and(&mut may_exceed) || may_exceed(half)
        })
    }
}

/// Both in one order of time.
fn join<'a, T: 'a>(
    mut new: impl Iterator<Item = &'a T>,
    mut stable: impl Iterator<Item = &'a T>,
    index: impl Fn(&T) -> u32,
    mut each: impl FnMut(u32, Option<&T>, Option<&T>),
) {
    let (mut own, mut other) = (new.next(), stable.next());
    loop {
        let at = match (own, other) {
            (Some(own), Some(other)) => index(own).min(index(other)),
            (Some(only), None) | (None, Some(only)) => index(only),
            (None, None) => return,
        };
        let here = |next: &&T| index(next) == at;
        let (served, beside) = (own.filter(here), other.filter(here));
        each(at, served, beside);
        if served.is_some() {
            own = new.next();
        }
        if beside.is_some() {
            other = stable.next();
        }
    }
}

/// The known-good release to compare the current one with.
pub(super) struct Elder<'a> {
    release: Option<&'a ReleaseId>,
    /// Pods of it are ready.
    pub(super) ready: bool,
}

impl<'a> Elder<'a> {
    /// The one whose pods are ready beside it, else the one that served last: what hit it while both served is not forgotten when its
    /// last pod goes.
    pub(super) fn of(ledger: &'a Ledger, target: &TargetSnapshot, current: &ReleaseId) -> Self {
        let gone = || {
            let known = ledger.releases().iter();
            let known = known.filter(|each| each.role == Role::KnownGood && each.id != *current);
            Some(&known.max_by_key(|each| each.last_current)?.id)
        };
        let beside = ledger.stable_beside(current, target);
        Self {
            ready: beside.is_some(),
            release: beside.or_else(gone),
        }
    }

    /// Its revisions.
    pub(super) fn revisions<'t>(&self, target: &'t TargetSnapshot) -> impl Iterator<Item = &'t Revision>
    where
        'a: 't,
    {
        self.release
            .into_iter()
            .flat_map(|release| Ledger::revisions(target, release))
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
