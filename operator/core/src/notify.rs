//! What a receiver of notifications is still to be told.
//!
//! Derived from what is, not from what happens: the alerts that fire and the rollback's timeline, against what the receiver was
//! told already ([`Told`], persisted). So a crash, a full queue or a receiver that is down for a while loses nothing that still
//! holds, and whatever is told twice carries the same id.
//!
//! - An alert that fires and was not told is news, and so is one that was told and does not fire any more. What came and went
//!   before it could be told is not.
//! - Each row of the timeline that tells of an act is news once, in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::rollback::{Step, TimelineRow};

/// What a receiver wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Alerts that begin and cease to fire.
    pub alerts: bool,
    /// Steps of rollbacks.
    pub rollbacks: bool,
}

/// What one receiver was told. Persisted as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Told {
    /// Alerts that it takes for firing, and since when they do.
    alerts: BTreeMap<String, Millis>,
    /// The last row of the timeline that it needs to know no more.
    row: Option<(Millis, Step)>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A tier fires since then.
    Firing {
        /// The tier.
        tier: String,
        /// Since when.
        since: Millis,
    },
    /// A tier that fired since then does so no more.
    Resolved {
        /// The tier.
        tier: String,
        /// Since when it had fired.
        since: Millis,
    },
    /// A step of a rollback.
    Rollback(TimelineRow),
}

impl Told {
    /// Of a receiver that is named for the first time: what is in the timeline already is past.
    #[must_use]
    pub fn beginning(timeline: &[TimelineRow]) -> Self {
        Self {
            alerts: BTreeMap::new(),
            row: timeline.last().map(place),
        }
    }

    /// Passes over what the receiver does not want, so that it is not told later either.
    pub fn pass_over(&mut self, wants: Wants, timeline: &[TimelineRow]) {
        if !wants.alerts {
            self.alerts.clear();
        }
        if !wants.rollbacks {
            self.row = timeline.last().map(place);
        }
    }

    /// What is to be told next; `None`: the receiver knows all it wants to.
    #[must_use]
    pub fn next(&self, wants: Wants, firing: &BTreeMap<String, Millis>, timeline: &[TimelineRow]) -> Option<News> {
        let rows = if wants.rollbacks { self.untold(timeline) } else { &[] };
        let row = rows.iter().find(|row| tells_of_an_act(row.step));
        row.cloned()
            .map(News::Rollback)
            .or_else(|| self.alert(firing).filter(|_| wants.alerts))
    }

    /// It was told, or given up.
    pub fn tell(&mut self, news: &News) {
        match news {
            News::Firing { tier, since } => {
                self.alerts.insert(tier.clone(), *since);
            }
            News::Resolved { tier, .. } => {
                self.alerts.remove(tier);
            }
            News::Rollback(row) => self.row = Some(place(row)),
        }
    }

    /// Rows are appended, and the oldest make room: what is known and not found was before all of them.
    fn untold<'t>(&self, timeline: &'t [TimelineRow]) -> &'t [TimelineRow] {
        let known = timeline.iter().rposition(|row| Some(place(row)) == self.row);
        known.map_or(timeline, |known| &timeline[known + 1..])
    }

    fn alert(&self, firing: &BTreeMap<String, Millis>) -> Option<News> {
        let new = firing.iter().find(|(tier, _)| !self.alerts.contains_key(*tier));
        let over = || self.alerts.iter().find(|(tier, _)| !firing.contains_key(*tier));
        let named = |(tier, since): (&String, &Millis)| (tier.clone(), *since);
        match new.map(named) {
            Some((tier, since)) => Some(News::Firing { tier, since }),
            None => over().map(named).map(|(tier, since)| News::Resolved { tier, since }),
        }
    }
}

impl News {
    /// The same however often it is told, and of nothing else: SLO, time and what happened. A step of an act goes by when the act was
    /// decided, which stands on the target, so that a leader that remembers nothing finds the same. At most 128 ASCII characters,
    /// for a uid of at most 36.
    #[must_use]
    pub fn id(&self, uid: &str) -> String {
        // A status, from which a new leader knows since when an alert fires, counts in seconds.
        let seconds = |since: &Millis| since.0.div_euclid(1_000);
        match self {
            Self::Firing { tier, since } => format!("{uid}.{}.{tier}.firing", seconds(since)),
            Self::Resolved { tier, since } => format!("{uid}.{}.{tier}.resolved", seconds(since)),
            Self::Rollback(row) => format!("{uid}.{}.{}", row.act.unwrap_or(row.at).0, row.step.as_str()),
        }
    }
}

fn place(row: &TimelineRow) -> (Millis, Step) {
    (row.at, row.step)
}

/// Whether somebody who is on call has to know: a release was undone or would have been, and how that ended.
fn tells_of_an_act(step: Step) -> bool {
    matches!(
        step,
        Step::WouldHavePatched | Step::Patched | Step::Recovered | Step::Verified | Step::Failed | Step::Contested
    )
}
