//! What is known of a revision since its first request.

use std::time::Duration;

use crate::{Counts, Millis, WorkerId};

/// Workers whose bad pods are told apart; two are enough to say "on more than one".
pub(super) const MAX_WITNESSES: usize = 8;

/// Counts and milestones since a revision's first request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests.
    pub counts: Counts,
    /// The first request of any kind.
    pub first_at: Option<Millis>,
    /// The newest request of any kind.
    pub last_at: Option<Millis>,
    /// The first bad answer.
    pub first_bad_at: Option<Millis>,
    /// The newest bad answer.
    pub last_bad_at: Option<Millis>,
    pub(super) bad_pods: u32,
}

/// Workers that saw bad answers, with the number of pods that gave them; at most 8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Witnesses(pub(super) Vec<(WorkerId, u32)>);

impl Totals {
    /// Pods that ever gave a bad answer; a lower limit.
    #[must_use]
    pub fn bad_pods(&self) -> u32 {
        self.bad_pods
    }

    /// Between the first and the newest bad answer.
    #[must_use]
    pub fn bad_span(&self) -> Duration {
        match (self.first_bad_at, self.last_bad_at) {
            (Some(first), Some(last)) => last.since(first),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, counts: Counts, at: Millis) {
        self.counts += counts;
        self.first_at = earliest(self.first_at, Some(at));
        self.last_at = self.last_at.max(Some(at));
        if counts.bad > 0 {
            self.first_bad_at = earliest(self.first_bad_at, Some(at));
            self.last_bad_at = self.last_bad_at.max(Some(at));
        }
    }

    /// Both, but for their pods.
    pub(super) fn merged(self, other: Self) -> Self {
        Self {
            counts: [self.counts, other.counts].into_iter().sum(),
            first_at: earliest(self.first_at, other.first_at),
            last_at: self.last_at.max(other.last_at),
            first_bad_at: earliest(self.first_bad_at, other.first_bad_at),
            last_bad_at: self.last_bad_at.max(other.last_bad_at),
            bad_pods: 0,
        }
    }
}

impl Witnesses {
    pub(super) fn add(&mut self, worker: &WorkerId, pods: u32) {
        if let Some((_, known)) = self.0.iter_mut().find(|(name, _)| name == worker) {
            *known = pods.max(*known);
        } else if self.0.len() < MAX_WITNESSES {
            self.0.push((worker.clone(), pods));
        }
    }

    pub(super) fn pods(&self) -> u32 {
        self.0.iter().fold(0, |sum, (_, pods)| sum.saturating_add(*pods))
    }
}

fn earliest(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    [one, other].into_iter().flatten().min()
}
