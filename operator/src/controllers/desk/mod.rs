//! The one task that owns every state.

mod acts;
mod metrics;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use shoalwatch_core::Millis;
use shoalwatch_core::policy::{self, Overridden};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Error;
use super::keeper::Keeper;
use super::planner::{Planner, Unpublished};
use super::sampling_policy::{Policies, Published};
use super::slo::execute::{Hands, Outcome};
use super::slo::{Slos, Surroundings};
use super::world::{Change, Name, World};
use crate::clock::{SharedClock, SteadyClock};
use crate::distribution::{Delivery, Distribution, Fleet};
use crate::events::Events;
use crate::history::{Opened, Record};
use crate::http_client::HttpClient;
use crate::lease::Leadership;
use crate::notifications::Courier;
use crate::polling::{Polled, Polls};
use crate::retry::Backoff;
use crate::rollback::access::Answers;
use crate::status::{Key, Statuses};

pub(super) use metrics::Metrics;

/// How often SLOs are judged for what time alone may have moved; news are judged as they come.
const JUDGE_EVERY: Duration = Duration::from_millis(500);
/// For so long the SLOs of a target that changed are looked at each time: its pods get ready one by one.
const MOVES: Duration = Duration::from_secs(10);
/// SLOs judged at one go that have neither a release in probation nor anything else that hurries. Of 4,000 each has its turn
/// every 10 s, as often as workers report of them.
const CALM_AT_ONCE: usize = 200;
/// How often what changed is saved.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How often silent workers are looked for.
const FORGET_EVERY: Duration = Duration::from_mins(10);
/// Changes and deliveries taken in at one go.
const BATCH: usize = 256;

/// What a desk is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) distribution: Distribution,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) clock: SharedClock,
    pub(super) events: Events,
    pub(super) statuses: Statuses,
    pub(super) opened: Opened,
    pub(super) polls: Polls,
    pub(super) http: HttpClient,
    pub(super) metrics: Metrics,
}

pub(super) struct Desk {
    hands: Hands,
    distribution: Distribution,
    fleet: watch::Receiver<Arc<Fleet>>,
    leadership: watch::Receiver<Leadership>,
    clock: SteadyClock,
    statuses: Statuses,
    metrics: Metrics,

    world: World,
    policies: Policies,
    slos: Slos,
    access: Answers,
    published: Published,
    /// Policies that never apply.
    overridden: Vec<Overridden>,
    /// Why some nodes are not told the newest specs.
    unpublished: Option<Unpublished>,
    planner: Planner,
    /// Where this replica stood when plans were published last.
    published_under: Option<Leadership>,
    /// Policies or SLOs changed since they were looked at.
    kinds_changed: bool,
    /// What is in force changed since it was planned.
    specs_changed: bool,
    /// Something that the statuses of policies rest on changed since they were written.
    answers_changed: bool,

    keeper: Keeper,
    polls: Polls,
    tasks: JoinSet<Outcome>,
    asking: BTreeSet<String>,
    giving_back: BTreeSet<Name>,
    /// `ReplicaSets` whose pods are being looked at, and when that was begun last.
    looking: BTreeSet<Name>,
    looked: Option<Instant>,
    /// Targets that changed a moment ago, and when. No more than there are Deployments.
    moved: BTreeMap<Name, Instant>,
    /// Targets whose managers could not be put back, and when to try again; `None`: not before they change.
    not_before: BTreeMap<Name, Option<Instant>>,
    backoff: Backoff<Name>,
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            client,
            namespace,
            distribution,
            leadership,
            clock,
            events,
            statuses,
            opened,
            polls,
            http,
            metrics,
        } = parts;
        let mut opened = opened;
        let reports = std::mem::take(&mut opened.saved.reports);
        let saves = metrics.saves.clone();
        let clock = SteadyClock::new(clock);
        let now = Millis(clock.now().as_millisecond());
        let planner = Planner::new(distribution.residents(), &namespace);
        let term = leadership.borrow().term;
        let home: Arc<str> = namespace.into();
        let hands = Hands {
            courier: Courier::new(client.clone(), http, Arc::clone(&home), metrics.notifications.clone()),
            client,
            events,
            leadership: leadership.clone(),
            home,
            rollbacks: metrics.rollbacks.clone(),
        };
        Self {
            hands,
            fleet: distribution.fleet(),
            distribution,
            leadership,
            clock,
            statuses,
            metrics,
            world: World::default(),
            policies: Policies::default(),
            slos: Slos::remembering(reports, term, now),
            access: Answers::default(),
            published: Published::default(),
            overridden: Vec::new(),
            unpublished: None,
            planner,
            published_under: None,
            kinds_changed: true,
            specs_changed: true,
            answers_changed: true,
            keeper: Keeper::new(opened, saves),
            polls,
            tasks: JoinSet::new(),
            asking: BTreeSet::new(),
            giving_back: BTreeSet::new(),
            looking: BTreeSet::new(),
            looked: None,
            moved: BTreeMap::new(),
            not_before: BTreeMap::new(),
            backoff: Backoff::default(),
        }
    }

    /// Runs until told to stop, or until something it needs is gone.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut deliveries: mpsc::Receiver<Delivery>,
        mut decisions: mpsc::Receiver<Vec<(String, Record)>>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut judging = every(JUDGE_EVERY);
        let (mut saving, mut forgetting) = (every(SAVE_EVERY), every(FORGET_EVERY));
        let mut pods = self.distribution.residents().news();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => {
                    self.take_in(change.ok_or(Error::Watches)?);
                    for _ in 1..BATCH {
                        let Ok(change) = changes.try_recv() else { break };
                        self.take_in(change);
                    }
                    self.follow_kinds();
                }
                delivery = deliveries.recv() => {
                    let mut touched = self.ingest(delivery.ok_or(Error::Distribution)?);
                    for _ in 1..BATCH {
                        let Ok(delivery) = deliveries.try_recv() else { break };
                        touched.extend(self.ingest(delivery));
                    }
                    self.judge(&touched.into_iter().collect::<Vec<_>>());
                }
                Some(polled) = self.polls.next() => self.polled(polled),
                still_there = self.leadership.changed() => {
                    still_there.map_err(|_closed| Error::Leadership)?;
                    self.follow_leadership();
                }
                Ok(()) = pods.changed() => self.follow_pods(),
                Some(records) = decisions.recv() => self.learn(records),
                Some(outcome) = self.tasks.join_next() => self.outcome(outcome)?,
                _ = judging.tick() => self.tick(),
                _ = saving.tick() => self.save(),
                _ = forgetting.tick() => self.slos.forget_silent_workers(self.now()),
            }
        }
        self.save_last().await;
        Ok(())
    }

    fn now(&self) -> Millis {
        Millis(self.clock.now().as_millisecond())
    }

    /// Takes in what the leader decided, while this replica is none.
    fn learn(&mut self, records: Vec<(String, Record)>) {
        if self.leads() {
            return;
        }
        for (uid, record) in records {
            if let Some(record) = self.slos.learn(&uid, record, &self.world) {
                self.keeper.saved.learn(uid, record);
            }
        }
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().leading
    }

    fn take_in(&mut self, change: Change) {
        self.kinds_changed |= self.world.is_news(&change);
        self.answers_changed |= matches!(change, Change::Workers(_));
        if let Some(target) = change.target().filter(|_| self.leads()) {
            self.moved.insert(target, Instant::now());
        }
        let now = self.now();
        self.world.apply(change, now);
    }

    /// Looks at policies and SLOs again if any of them changed.
    fn follow_kinds(&mut self) {
        if !self.kinds_changed || !self.world.kinds_synced() {
            return;
        }
        self.kinds_changed = false;
        let now = self.now();
        let refused = self.refused();
        let good = self.policies.observe(&self.world, &self.keeper.saved.specs);
        self.keeper.keep(good);
        let lost = self.keeper.lost;
        let good = self.slos.observe(&self.world, &mut self.keeper.saved, lost, now);
        self.keeper.keep(good);
        self.count_refused(&refused);
        self.polls.follow(self.slos.jobs());
        if !self.not_before.is_empty() {
            let targets = self.slos.targets();
            self.not_before.retain(|target, _| targets.contains(target));
        }
        if self.policies.take_moved() | self.slos.take_moved() {
            let existing = self.objects();
            let uids = existing.iter().map(|key| key.uid.clone()).collect();
            self.keeper.forget_all_but(uids);
            self.statuses.retain(&existing);
        }
        let examined = self.slos.take_examined();
        if !self.leads() {
            return;
        }
        self.overridden = policy::overridden(&self.hands.home, self.policies.in_force());
        (self.specs_changed, self.answers_changed) = (true, true);
        self.publish();
        self.show(&examined);
    }

    /// A pod is on a node that may need to hear of it before the pod serves its first request.
    fn follow_pods(&mut self) {
        if self.leads() && self.world.kinds_synced() {
            self.publish();
            self.answers_changed = true;
        }
    }

    /// Keys of all objects there are, sorted.
    fn objects(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.policies.keys().chain(self.slos.keys()).collect();
        keys.sort_unstable();
        keys
    }

    /// Counts a delivery, and only then is it acknowledged. A follower does so too: when it leads it knows the recent past.
    fn ingest(&mut self, delivery: Delivery) -> BTreeSet<Name> {
        // Before the SLOs are known their rows would be taken for garbage.
        if !self.world.kinds_synced() {
            return BTreeSet::new();
        }
        let Delivery { node, report, done } = delivery;
        let ingested = self.slos.ingest(&node, report, self.now());
        if !ingested.again {
            self.keeper.acknowledge(done);
        }
        ingested.touched
    }

    /// Takes in what was polled; a follower does so too, as with [`Desk::ingest`].
    fn polled(&mut self, polled: Polled) {
        let Some((name, outcome)) = self.slos.polled(polled, self.now()) else {
            return;
        };
        self.metrics.polls.get_or_create(&metrics::Polls { outcome }).inc();
        self.judge(&[name]);
    }

    fn follow_leadership(&mut self) {
        let leadership = *self.leadership.borrow_and_update();
        info!(
            leading = leadership.leading,
            term = leadership.term,
            "leadership changed"
        );
        if leadership.leading {
            self.slos.take_over(&self.world, leadership.term, self.now());
            self.policies.take_over(&self.world);
        } else {
            self.tasks.abort_all();
            self.tasks = JoinSet::new();
            (self.asking, self.giving_back) = (BTreeSet::new(), BTreeSet::new());
            self.looking = BTreeSet::new();
            self.slos.stand_down();
            self.keeper.stand_down(&mut self.slos);
            self.metrics.samples.clear();
        }
        self.published_under = None;
        self.kinds_changed = true;
        self.follow_kinds();
        if leadership.leading && self.world.kinds_synced() {
            let names = self.slos.names();
            self.show(&names);
        }
    }

    /// Everything that time moves.
    fn tick(&mut self) {
        self.follow_kinds();
        if !self.leads() || !self.world.kinds_synced() {
            return;
        }
        self.ask_for_rights();
        let names = self.due();
        self.judge(&names);
        self.publish();
        self.show_policies();
        self.give_back_what_is_owed();
        self.follow_up();
        self.write_rules();
        self.metrics.samples.take(&self.slos);
    }

    /// SLOs that time may have moved, with those whose targets moved a moment ago.
    fn due(&mut self) -> Vec<Name> {
        self.moved.retain(|_, since| since.elapsed() < MOVES);
        self.slos.due(CALM_AT_ONCE, self.moved.keys())
    }

    fn judge(&mut self, names: &[Name]) {
        if names.is_empty() || !self.leads() {
            return;
        }
        let now = self.now();
        let fleet = Arc::clone(&self.fleet.borrow());
        let around = Surroundings {
            world: &self.world,
            fleet: &fleet,
            access: &self.access,
            home: &self.hands.home,
            unsaved: self.keeper.unsaved.as_deref(),
        };
        let todos = self.slos.evaluate(names, &around, now);
        self.execute(&todos);
        self.show(names);
        self.notify(names);
    }

    fn save(&mut self) {
        self.keeper.save(&mut self.slos, &mut self.tasks);
    }

    async fn save_last(&mut self) {
        self.tasks.shutdown().await;
        self.keeper.save_last(&mut self.slos).await;
    }
}

fn every(span: Duration) -> tokio::time::Interval {
    let mut interval = interval(span);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests;
