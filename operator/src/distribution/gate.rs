//! Takes from a worker's report what it cannot know: counts of pods that are not on its node.

use std::{collections::HashMap, time::Duration};

use shoalwatch_node_api::wire::{SliReport, SliRow};
use tokio::time::Instant;

use super::residents::{Residence, Residents};

/// How long a worker is asked to send a row again whose pods the API server does not know (yet): both watch the same pods,
/// and one of them hears of a new one first.
const PATIENCE: Duration = Duration::from_secs(30);
/// Rows of one worker that are waited for at most.
const STRANGERS: usize = 256;

/// The gate of one stream.
#[derive(Debug)]
pub(super) struct Gate {
    residents: Residents,
    /// Indicator and revision, and since when they are sent.
    strangers: HashMap<(String, String), Instant>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sifted {
    /// Rows that were taken out.
    pub(super) refused: usize,
    /// The worker should send the report again: a row may pass then.
    pub(super) again: bool,
}

impl Gate {
    pub(super) fn new(residents: Residents) -> Self {
        Self {
            residents,
            strangers: HashMap::new(),
        }
    }

    /// Leaves in `report` what `node` can know.
    pub(super) fn sift(&mut self, node: &str, report: &mut SliReport) -> Sifted {
        let before = std::mem::take(&mut self.strangers);
        let all = report.rows.len();
        let mut again = false;
        report.rows.retain_mut(|row| match self.residence(node, row) {
            Residence::Here { pods } => {
                row.pods = row.pods.min(pods);
                row.bad_pods = row.bad_pods.min(row.pods);
                true
            }
            Residence::Unlisted => {
                again = true;
                false
            }
            Residence::Stranger => {
                again |= self.waits_for(row, &before);
                false
            }
        });
        Sifted {
            refused: all - report.rows.len(),
            again,
        }
    }

    fn residence(&self, node: &str, row: &SliRow) -> Residence {
        // An indicator's id begins with its SLO's namespace, which is its target's.
        let namespace = row.sli_id.split('/').next().unwrap_or_default();
        self.residents.residence(node, namespace, &row.revision)
    }

    fn waits_for(&mut self, row: &SliRow, before: &HashMap<(String, String), Instant>) -> bool {
        if self.strangers.len() >= STRANGERS {
            return false;
        }
        let key = (row.sli_id.clone(), row.revision.clone());
        let since = before.get(&key).copied().unwrap_or_else(Instant::now);
        self.strangers.insert(key, since);
        since.elapsed() < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::metrics::Metrics;

    fn gate() -> (Gate, Residents) {
        let residents = Residents::new(Metrics::default());
        residents.settle("1", "a", "shop", "v1");
        (Gate::new(residents.clone()), residents)
    }

    fn row(sli: &str, revision: &str) -> SliRow {
        SliRow {
            sli_id: sli.to_owned(),
            revision: revision.to_owned(),
            bad: 1_000,
            pods: 50,
            bad_pods: 60,
            ..SliRow::default()
        }
    }

    fn report(rows: Vec<SliRow>) -> SliReport {
        SliReport {
            rows,
            ..SliReport::default()
        }
    }

    const AGAIN: Sifted = Sifted {
        refused: 1,
        again: true,
    };
    const NEVER: Sifted = Sifted {
        refused: 1,
        again: false,
    };

    #[test]
    fn a_worker_speaks_for_as_many_pods_as_its_node_has() {
        let (mut gate, _) = gate();
        let mut report = report(vec![row("shop/web@u", "v1")]);
        assert_eq!(gate.sift("a", &mut report), Sifted::default());
        assert_eq!(
            (report.rows[0].bad, report.rows[0].pods, report.rows[0].bad_pods),
            (1_000, 1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_about_pods_elsewhere_does_not_pass_and_is_asked_for_again_for_half_a_minute() {
        let (mut gate, _) = gate();
        let rows = || report(vec![row("shop/web@u", "v1"), row("bank/web@u", "v1")]);
        let mut first = rows();
        assert_eq!(gate.sift("a", &mut first), AGAIN);
        assert_eq!(first.rows.len(), 1);
        tokio::time::advance(PATIENCE).await;
        assert_eq!(gate.sift("a", &mut rows()), NEVER);
        let mut foreign = rows();
        assert_eq!(gate.sift("b", &mut foreign).refused, 2, "another node has none of them");
    }

    #[test]
    fn a_row_passes_once_its_pod_is_known() {
        let (mut gate, residents) = gate();
        assert_eq!(gate.sift("a", &mut report(vec![row("shop/web@u", "v2")])), AGAIN);
        residents.settle("2", "a", "shop", "v2");
        assert_eq!(
            gate.sift("a", &mut report(vec![row("shop/web@u", "v2")])),
            Sifted::default()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_pods_were_listed_everything_is_asked_for_again() {
        let mut gate = Gate::new(Residents::new(Metrics::default()));
        for _ in 0..2 {
            assert_eq!(gate.sift("a", &mut report(vec![row("shop/web@u", "v1")])), AGAIN);
            tokio::time::advance(PATIENCE).await;
        }
    }

    #[test]
    fn a_worker_that_invents_releases_is_not_waited_for() {
        let (mut gate, _) = gate();
        let rows = (0..=STRANGERS)
            .map(|number| row("shop/web@u", &number.to_string()))
            .collect();
        gate.sift("a", &mut report(rows));
        assert_eq!(gate.strangers.len(), STRANGERS);
    }
}
