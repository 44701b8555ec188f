//! SLOs whose counts are polled: what is to be asked for, and what came of it.

use std::sync::Arc;

use shoalwatch_core::polled::{self, Polling, Sample, Taken};
use shoalwatch_core::{Millis, SliId};
use tracing::debug;

use super::evaluate::Todo;
use super::observe::{Known, Slos};
use super::text::cut;
use crate::controllers::world::Name;
use crate::logging::chain;
use crate::polling::{Job, MOST, PollError, Polled, Read};

/// Longest message, in characters: a server's certificate may have many names.
const MESSAGE: usize = 1_000;

/// How the polling of an SLO goes.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Why the newest poll failed.
    failed: Option<(&'static str, String)>,
    /// More good requests than requests.
    contradicts: bool,
    /// There are too many SLOs that are polled.
    crowded: bool,
}

impl Slos {
    /// What is to be polled. Of too many SLOs the oldest are; the others say so.
    pub(crate) fn jobs(&mut self) -> Vec<Job> {
        let mut polled: Vec<&mut Known> = self.known.values_mut().filter(|known| known.is_polled()).collect();
        polled.sort_unstable_by(|one, other| (one.created, &one.sli).cmp(&(other.created, &other.sli)));
        for (place, known) in polled.iter_mut().enumerate() {
            known.watch.crowded = place >= MOST;
        }
        polled.iter().take(MOST).filter_map(|known| known.job()).collect()
    }

    /// Takes in what came of a poll: whose it was, and in one word what became of it.
    pub(crate) fn polled(&mut self, polled: Polled, now: Millis) -> Option<(Name, &'static str)> {
        let name = self.by_sli.get(&polled.sli)?.clone();
        let known = self.known.get_mut(&name)?;
        // The queries may be other ones by now.
        let source = known.good.as_ref()?.1.source()?;
        if *source != polled.source {
            return Some((name, "outdated"));
        }
        let digest = source.digest().to_owned();
        let outcome = match polled.found {
            Ok(read) => known.read(&digest, read, now.minus(polled.age), now),
            Err(error) => known.unread(&error),
        };
        Some((name, outcome))
    }

    /// SLOs that are polled, for a fullness metric.
    pub(super) fn polled_slos(&self) -> usize {
        self.known.values().filter(|known| known.is_polled()).count().min(MOST)
    }
}

impl Known {
    fn is_polled(&self) -> bool {
        self.good.as_ref().is_some_and(|(_, valid)| valid.source().is_some())
    }

    fn job(&self) -> Option<Job> {
        let source = Arc::clone(self.good.as_ref()?.1.source()?);
        let sli: SliId = self.sli.clone();
        Some(Job { sli, source })
    }

    fn read(&mut self, source: &str, read: Read, at: Millis, now: Millis) -> &'static str {
        let Read { good, total } = read;
        let sample = Sample { at, good, total };
        (self.watch.failed, self.watch.contradicts) = (None, sample.is_contradictory());
        let taken = self.record.meter.get_or_insert_default().take(source, sample);
        match taken {
            Taken::New(counts, placement) => {
                self.dirty = true;
                if !counts.is_empty() {
                    let difference = polled::difference(&self.sli, counts, placement);
                    self.history.record(&difference, now);
                    self.counts += counts;
                }
                "counted"
            }
            Taken::Unknown(why) => {
                self.dirty = true;
                debug!(sli = %self.sli, why = why.as_str(), "what is new in a poll is unknown");
                why.as_str()
            }
            Taken::Late => "late",
        }
    }

    fn unread(&mut self, error: &PollError) -> &'static str {
        debug!(sli = %self.sli, error = chain(error), "not polled");
        self.watch.failed = Some((error.category(), cut(&chain(error), MESSAGE)));
        error.category()
    }

    /// As it is told: one poll that was missed is nothing.
    fn polling(&self, now: Millis) -> Polling {
        let fails = |reason, message: &str| Polling::Fails {
            reason,
            message: message.to_owned(),
        };
        if self.watch.crowded {
            let message = format!(
                "more than {MOST} SLOs have indicator.prometheus, and this is one of the newest: it is not polled"
            );
            return fails("TooManyPolled", &message);
        }
        let read_at = self.record.meter.as_ref().and_then(polled::Meter::read_at);
        let fresh = read_at.is_some_and(|at| now.since(at) < polled::PATIENCE);
        match &self.watch.failed {
            Some((reason, message)) if !fresh => fails(reason, message),
            _ if self.watch.contradicts => Polling::Contradicts,
            _ => Polling::Well,
        }
    }

    /// Judges what was polled; there is nothing to be done but to tell of alerts.
    pub(super) fn evaluate_polled(&mut self, name: &Name, now: Millis) -> Option<Todo> {
        let polling = self.polling(now);
        let (_, valid) = self.good.as_ref()?;
        let evaluation = polled::evaluate(&valid.spec, &mut self.history, &polling, now);
        self.report_interval = evaluation.report_interval;
        self.evaluation = Some(evaluation);
        let alerts = self.follow_alerts(now);
        (!alerts.is_empty()).then(|| self.todo(name, Vec::new(), alerts))
    }
}
