//! From "this is wanted" to "this is in force": debounced, and only under the term that this replica leads.

use std::{sync::Arc, time::Duration};

use shoalwatch_node_api::config::Version;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    plans::{NodeTarget, Plans},
    roster::Roster,
};
use crate::lease::Leadership;

/// A change waits so long for another one, so that a `kubectl apply` of many objects is one push.
const QUIET: Duration = Duration::from_millis(100);
/// A stream of changes is cut after so long, so that the last one never waits for the next.
const AT_MOST: Duration = Duration::from_secs(1);

/// What was published last.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) plans: Arc<Plans>,
    /// Where this replica stood when it was published.
    pub(super) published: Leadership,
}

/// What every worker must run now.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Of all plans together.
    pub(super) version: Version,
    pub(super) plans: Arc<Plans>,
}

impl Target {
    /// What the worker of `node` must run.
    pub(super) fn of(&self, node: &str) -> Option<NodeTarget> {
        self.plans.of(node, self.version.term)
    }
}

/// The terms that this replica led.
#[derive(Clone, Copy, Debug, Default)]
struct Led {
    newest: u64,
    before: u64,
}

impl Led {
    const fn note(&mut self, leadership: Leadership) {
        if leadership.leading && leadership.term != self.newest {
            *self = Self {
                newest: leadership.term,
                before: self.newest,
            };
        }
    }

    /// Whether what was published while standing at `published` may be pushed under `now`: not when this replica lost
    /// the Lease in between, because another leader may have pushed something newer that this replica has not seen.
    const fn may_push(self, published: Leadership, now: Leadership) -> bool {
        now.leading
            && if published.leading {
                published.term == now.term
            } else {
                published.term >= self.before
            }
    }
}

/// The task between [`Distribution::publish`](super::Distribution::publish) and the streams.
#[derive(Debug)]
pub struct Pusher {
    wanted: watch::Receiver<Option<Wanted>>,
    leadership: watch::Receiver<Leadership>,
    target: Arc<watch::Sender<Option<Arc<Target>>>>,
    roster: Roster,
    led: Led,
}

impl Pusher {
    pub(super) fn new(
        wanted: watch::Receiver<Option<Wanted>>,
        leadership: watch::Receiver<Leadership>,
        target: Arc<watch::Sender<Option<Arc<Target>>>>,
        roster: Roster,
    ) -> Self {
        Self {
            wanted,
            leadership,
            target,
            roster,
            led: Led::default(),
        }
    }

    /// Runs until `stop`, or until nobody can publish or lead any more.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.settle().await;
                self.decide();
                let open = tokio::select! {
                    changed = self.wanted.changed() => changed.is_ok(),
                    changed = self.leadership.changed() => changed.is_ok(),
                };
                if !open {
                    return;
                }
                // A loss takes effect at once; only a change of what is wanted is worth waiting for.
                if !self.leadership.borrow().leading {
                    self.decide();
                }
            }
        })
        .await;
    }

    /// Waits until nothing changed for [`QUIET`], but no longer than [`AT_MOST`].
    async fn settle(&mut self) {
        let deadline = Instant::now() + AT_MOST;
        loop {
            let quiet = (Instant::now() + QUIET).min(deadline);
            tokio::select! {
                () = sleep_until(quiet) => return,
                changed = self.wanted.changed() => if changed.is_err() { return },
                changed = self.leadership.changed() => if changed.is_err() || !self.leadership.borrow().leading { return },
            }
        }
    }

    fn decide(&mut self) {
        let leadership = *self.leadership.borrow_and_update();
        self.led.note(leadership);
        let wanted = self.wanted.borrow_and_update().clone();
        let next = wanted
            .filter(|wanted| self.led.may_push(wanted.published, leadership))
            .map(|wanted| Target {
                version: Version {
                    term: leadership.term,
                    hash: wanted.plans.digest().to_owned(),
                },
                plans: wanted.plans,
            });
        let version = next.as_ref().map(|target| target.version.clone());
        let changed = self.target.send_if_modified(|target| {
            if target.as_ref().map(|target| &target.version) == version.as_ref() {
                return false;
            }
            *target = next.map(Arc::new);
            true
        });
        if changed {
            if let Some(Version { term, hash }) = &version {
                tracing::info!(term, hash, "target configuration changed");
            } else {
                tracing::info!("target configuration withdrawn");
            }
            self.roster.set_target(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use shoalwatch_node_api::config::{NodeConfig, SamplingPolicy, Selector};

    use super::*;
    use crate::distribution::{Distribution, Fleet};

    const fn leading(term: u64) -> Leadership {
        Leadership { leading: true, term }
    }

    const fn following(term: u64) -> Leadership {
        Leadership { leading: false, term }
    }

    /// A configuration that differs from every other one by its probability.
    fn config(probability: f64) -> NodeConfig {
        NodeConfig {
            policies: vec![SamplingPolicy {
                id: "shop/web".to_owned(),
                namespace: None,
                selector: Selector::default(),
                probability,
                rules: Vec::new(),
                limit: None,
                honour_parent: true,
                dry_run: false,
            }],
            ..NodeConfig::default()
        }
    }

    struct Running {
        distribution: Distribution,
        leadership: watch::Sender<Leadership>,
        fleet: watch::Receiver<Arc<Fleet>>,
    }

    fn run(first: Leadership) -> Running {
        let (leadership, changes) = watch::channel(first);
        let (distribution, pusher, _) = Distribution::scripted(changes);
        let fleet = distribution.fleet();
        tokio::spawn(pusher.run(CancellationToken::new()));
        Running {
            distribution,
            leadership,
            fleet,
        }
    }

    impl Running {
        async fn until(&mut self, target: Option<&Version>) {
            let there = self.fleet.wait_for(|fleet| fleet.target.as_ref() == target);
            let there = tokio::time::timeout(Duration::from_mins(1), there).await;
            assert!(there.is_ok_and(|there| there.is_ok()), "{target:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_become_one_target_after_a_tenth_of_a_second() {
        let mut running = run(leading(3));
        let began = Instant::now();
        let mut last = Version::default();
        for step in 0..50 {
            last = running.distribution.publish_to_all(config(f64::from(step) / 100.0));
        }
        running.fleet.mark_unchanged();
        running.fleet.changed().await.unwrap();
        assert_eq!(running.fleet.borrow().target.as_ref(), Some(&last));
        assert!(
            began.elapsed() >= QUIET && began.elapsed() < 2 * QUIET,
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn changes_without_a_pause_wait_a_second_at_most() {
        let mut running = run(leading(3));
        let distribution = running.distribution.clone();
        let began = Instant::now();
        tokio::spawn(async move {
            for step in 0..100_u32 {
                let _version = distribution.publish_to_all(config(f64::from(step) / 100.0));
                tokio::time::sleep(QUIET / 2).await;
            }
        });
        running.fleet.wait_for(|fleet| fleet.target.is_some()).await.unwrap();
        assert!(began.elapsed() <= AT_MOST + QUIET, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_follower_published_takes_force_when_it_leads_and_losing_the_lease_withdraws_it() {
        let mut running = run(following(3));
        let published = running.distribution.publish_to_all(config(0.1));
        tokio::time::sleep(2 * AT_MOST).await;
        assert_eq!(running.fleet.borrow().target, None);
        running.leadership.send_replace(leading(4));
        let version = Version { term: 4, ..published };
        running.until(Some(&version)).await;
        running.leadership.send_replace(following(4));
        running.until(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_published_before_the_lease_was_lost_is_not_pushed_after_it_was_won_again() {
        let mut running = run(leading(4));
        let version = running.distribution.publish_to_all(config(0.1));
        running.until(Some(&version)).await;
        running.leadership.send_replace(following(5));
        running.until(None).await;
        running.leadership.send_replace(leading(6));
        tokio::time::sleep(2 * AT_MOST).await;
        assert_eq!(running.fleet.borrow().target, None);
        let version = running.distribution.publish_to_all(config(0.1));
        assert_eq!(version.term, 6);
        running.until(Some(&version)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_while_leading_does_not_disturb_what_was_published_as_a_follower() {
        let mut running = run(following(3));
        let published = running.distribution.publish_to_all(config(0.1));
        running.leadership.send_replace(leading(4));
        let version = Version { term: 4, ..published };
        running.until(Some(&version)).await;
        // The same term again, as a renewal may announce it.
        running.leadership.send_replace(leading(4));
        tokio::time::sleep(2 * AT_MOST).await;
        assert_eq!(running.fleet.borrow().target.as_ref(), Some(&version));
    }

    #[tokio::test(start_paused = true)]
    async fn equal_content_changes_nothing() {
        let mut running = run(leading(3));
        let version = running.distribution.publish_to_all(config(0.1));
        running.until(Some(&version)).await;
        running.fleet.mark_unchanged();
        assert_eq!(running.distribution.publish_to_all(config(0.1)), version);
        tokio::time::sleep(2 * AT_MOST).await;
        assert!(!running.fleet.has_changed().unwrap());
    }
}
