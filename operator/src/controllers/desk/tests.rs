mod cluster;
mod crashes;
mod failover;
mod operator;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use prometheus_client::registry::Registry;
use serde_json::json;
use shoalwatch_core::rollback::{Effect, Patch, PatchOutcome, RollbackRecord};
use shoalwatch_crds::{SamplingPolicy, Slo};
use shoalwatch_node_api::wire::SliReport;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use std::time::Duration;

use super::metrics::Refused;
use super::*;
use crate::clock::ManualClock;
use crate::controllers::slo::{Gauges, Todo};
use crate::events;
use crate::history;
use crate::http_client::HttpClient;
use crate::status::{self, Budget};
use crate::testing::{ApiServer, api_server};

struct Room {
    desk: Desk,
    server: ApiServer,
    lease: watch::Sender<Leadership>,
    _events: events::Publisher,
    _writer: status::Writer,
    data: TempDir,
}

async fn room(leading: bool) -> Room {
    room_of(leading, |_| {}).await
}

async fn room_of(leading: bool, prepare: impl FnOnce(&Distribution)) -> Room {
    let (client, server) = api_server();
    let (lease, leadership) = watch::channel(Leadership { leading, term: 1 });
    let mut registry = Registry::default();
    let (distribution, _pusher, _fleet) = Distribution::scripted(leadership.clone());
    prepare(&distribution);
    let (events, publisher) = events::channel(client.clone(), &mut registry);
    let (statuses, writer) = status::channel(client.clone(), leadership.clone(), Budget::default(), &mut registry);
    let data = TempDir::new().unwrap();
    let desk = Desk::new(Parts {
        client,
        namespace: "shoalwatch-system".to_owned(),
        distribution,
        leadership,
        clock: ManualClock::at("2026-11-22T05:00:00Z"),
        events,
        statuses,
        opened: history::open(data.path()).await,
        polls: crate::polling::channel(ManualClock::at("2026-11-22T05:00:00Z"), HttpClient::on_loopback()).0,
        http: HttpClient::on_loopback(),
        metrics: Metrics::register(&mut registry),
    });
    Room {
        desk,
        server,
        lease,
        _events: publisher,
        _writer: writer,
        data,
    }
}

fn slo(name: &str) -> DeserializeGuard<Slo> {
    let slo = json!({
        "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": {"targetRef": {"name": "checkout"}, "objective": "99.9", "indicator": {"http": {}}},
    });
    serde_json::from_value(slo).unwrap()
}

fn policy(probability: &str, generation: i64) -> DeserializeGuard<SamplingPolicy> {
    let policy = json!({
        "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SamplingPolicy",
        "metadata": {"name": "all", "namespace": "shop", "uid": "uid-of-all", "generation": generation},
        "spec": {"probability": probability},
    });
    serde_json::from_value(policy).unwrap()
}

impl Room {
    fn policies(&mut self, events: Vec<Event<DeserializeGuard<SamplingPolicy>>>) {
        for event in events {
            self.desk.take_in(Change::Policy(Box::new(event)));
        }
        self.desk.follow_kinds();
    }

    fn slos(&mut self, events: Vec<Event<DeserializeGuard<Slo>>>) {
        for event in events {
            self.desk.take_in(Change::Slo(Box::new(event)));
        }
        self.desk.follow_kinds();
    }

    /// One policy and one SLO, all known.
    fn furnish(&mut self) {
        self.policies(vec![Event::Init, Event::InitApply(policy("0.5", 1)), Event::InitDone]);
        self.slos(vec![Event::Init, Event::InitApply(slo("checkout")), Event::InitDone]);
    }

    fn deliver(&mut self) -> oneshot::Receiver<()> {
        let (done, acknowledged) = oneshot::channel();
        let report = SliReport {
            start_id: "start".to_owned(),
            sequence: 1,
            ..SliReport::default()
        };
        let node = "node-1".to_owned();
        self.desk.ingest(Delivery { node, report, done });
        acknowledged
    }

    fn lead(&mut self, leading: bool, term: u64) {
        self.lease.send_replace(Leadership { leading, term });
        self.desk.follow_leadership();
    }

    /// Of every plan there is.
    fn hashes(&self) -> Vec<String> {
        self.desk.planner.contents().map(|(hash, _)| hash.to_owned()).collect()
    }

    fn published(&self) -> Option<(u64, usize)> {
        let leadership = self.desk.published_under?;
        Some((leadership.term, self.desk.planner.policies().count()))
    }
}

#[tokio::test]
async fn nothing_is_published_before_every_kind_is_known() {
    let mut room = room(true).await;
    room.policies(vec![Event::Init, Event::InitApply(policy("0.5", 1)), Event::InitDone]);
    assert_eq!(room.published(), None, "the nodes would stop measuring every SLO");
    room.slos(vec![Event::Init, Event::InitDone]);
    assert_eq!(room.published(), Some((1, 1)));
}

#[tokio::test]
async fn a_follower_publishes_nothing_but_takes_in_what_workers_count() {
    let mut room = room(false).await;
    assert_eq!(
        room.deliver().try_recv(),
        Err(TryRecvError::Closed),
        "before the SLOs are known the worker keeps it"
    );
    room.furnish();
    room.desk.tick();
    assert_eq!(room.published(), None);
    let mut acknowledged = room.deliver();
    room.desk.save();
    let saved = room.desk.tasks.join_next().await.unwrap();
    room.desk.outcome(saved).unwrap();
    assert_eq!(acknowledged.try_recv(), Ok(()));
    room.lead(true, 2);
    assert_eq!(room.published(), Some((2, 1)));
}

#[tokio::test]
async fn every_term_is_published_anew() {
    let mut room = room(true).await;
    room.furnish();
    room.lead(false, 1);
    assert_eq!(room.published(), None);
    room.lead(true, 3);
    assert_eq!(room.published(), Some((3, 1)));
}

#[tokio::test]
async fn a_report_is_acknowledged_when_it_is_on_the_disk() {
    let mut room = room(true).await;
    room.furnish();
    let mut acknowledged = room.deliver();
    assert_eq!(acknowledged.try_recv(), Err(TryRecvError::Empty));
    room.desk.save();
    let saved = room.desk.tasks.join_next().await.unwrap();
    room.desk.outcome(saved).unwrap();
    assert_eq!(acknowledged.try_recv(), Ok(()));
}

#[tokio::test]
async fn a_lost_lease_ends_every_request_and_drops_every_acknowledgement() {
    let mut room = room(true).await;
    room.furnish();
    let mut acknowledged = room.deliver();
    room.desk.tasks.spawn(std::future::pending());
    room.lead(false, 1);
    assert!(room.desk.tasks.is_empty());
    assert_eq!(acknowledged.try_recv(), Err(TryRecvError::Closed));
}

#[tokio::test]
async fn more_slos_than_nodes_can_take_leave_the_last_configuration_in_force() {
    let mut room = room(true).await;
    room.furnish();
    let before = room.hashes();
    let crowd = (0..policy::MAX_SLIS).map(|number| Event::Apply(slo(&format!("slo-{number}"))));
    room.slos(crowd.collect());
    room.policies(vec![Event::Apply(policy("1", 2))]);
    assert_eq!(room.hashes(), before);
    room.desk.tick();
    let unpublished = room.desk.unpublished.clone();
    assert!(unpublished.is_some_and(|these| these.why.contains("512")));
    room.slos(vec![Event::Delete(slo("slo-0"))]);
    assert_eq!(room.desk.unpublished, None);
    assert_ne!(room.hashes(), before);
}

#[tokio::test]
async fn nothing_is_published_before_it_is_known_what_runs_where() {
    let mut room = room_of(true, |distribution| distribution.residents().see_again()).await;
    room.furnish();
    room.desk.tick();
    assert_eq!(room.published(), None, "a node would lose what it does");
    let residents = room.desk.distribution.residents();
    residents.settle_of("checkout", "1", "a", "shop", "v1");
    room.desk.follow_pods();
    assert_eq!(room.published(), Some((1, 1)));
    assert_eq!(room.hashes().len(), 2, "of a, and of nodes without pods");
}

#[tokio::test]
async fn a_refused_spec_is_counted_once() {
    let mut room = room(true).await;
    room.furnish();
    room.policies(vec![Event::Apply(policy("lots", 2))]);
    room.policies(vec![Event::Apply(policy("lots", 2))]);
    let refused = Refused {
        kind: "SamplingPolicy",
        category: "InvalidValue",
    };
    assert_eq!(room.desk.metrics.refused.get_or_create(&refused).get(), 1);
}

#[tokio::test]
async fn the_series_of_an_slo_end_with_it() {
    let mut registry = Registry::default();
    let mut room = room(true).await;
    registry.register_collector(Box::new(Gauges(room.desk.metrics.samples.clone())));
    room.furnish();
    let shown = |registry: &Registry| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    };
    room.desk.tick();
    let text = shown(&registry);
    let series = "slo_requests_total{namespace=\"shop\",slo=\"checkout\",result=\"bad\"} 0";
    assert!(text.contains(series), "{text}");
    room.slos(vec![Event::Delete(slo("checkout"))]);
    // A new picture is taken when the last one is old enough for what it cost.
    let gone = tokio::time::timeout(Duration::from_mins(1), async {
        while shown(&registry).contains("checkout") {
            room.desk.tick();
            tokio::task::yield_now().await;
        }
    });
    gone.await.unwrap();
}

fn act() -> Todo {
    let name = Name {
        namespace: "shop".into(),
        name: "checkout".into(),
    };
    let record = RollbackRecord {
        from: "bad".into(),
        to: "good".into(),
        slo: "shop/checkout".into(),
        time: Millis(1),
        count: 1,
    };
    Todo {
        slo: name.clone(),
        uid: "uid-of-checkout".into(),
        target: Some(name),
        target_uid: Some("uid-1".into()),
        effects: vec![
            Effect::Persist,
            Effect::Patch(Patch {
                target_uid: "uid-1".into(),
                resource_version: "41".into(),
                from: "bad".into(),
                to_revision: "6c9f7".into(),
                record,
            }),
        ],
        alerts: Vec::new(),
    }
}

async fn answer_review(server: &mut ApiServer, allowed: bool) {
    let asked = server
        .answer(|asked| {
            let mut review = asked.body.clone();
            review["status"] = json!({"allowed": allowed});
            (201, review)
        })
        .await;
    let attributes = &asked.body["spec"]["resourceAttributes"];
    let expected = json!({"namespace": "shop", "verb": "patch", "group": "apps", "resource": "deployments"});
    assert_eq!(attributes, &expected);
}

async fn outcome_of(room: &mut Room, allowed: bool) -> PatchOutcome {
    room.desk.execute(&[act()]);
    answer_review(&mut room.server, allowed).await;
    let ended = room.server.silent_during(room.desk.tasks.join_next()).await;
    match ended.unwrap().unwrap() {
        Outcome::Acted { outcome, .. } => outcome,
        other => panic!("an act should have ended, not {other:?}"),
    }
}

#[tokio::test]
async fn without_the_right_nothing_is_asked_of_the_target_and_the_remedy_is_told() {
    let mut room = room(true).await;
    let PatchOutcome::Forbidden(message) = outcome_of(&mut room, false).await else {
        panic!("forbidden was expected");
    };
    assert!(
        message.contains("--serviceaccount=shoalwatch-system:shoalwatch-operator"),
        "{message}"
    );
}

#[tokio::test]
async fn a_right_that_turns_out_to_be_missing_is_asked_for_anew() {
    let mut room = room(true).await;
    let Todo { slo, uid, .. } = act();
    room.desk.access.learn("shop", Some(true), Instant::now());
    assert!(!room.desk.access.is_stale("shop", Instant::now()));
    let acted = Outcome::Acted {
        target: slo.clone(),
        slo,
        uid,
        outcome: PatchOutcome::Forbidden("deployments is forbidden".to_owned()),
        after: None,
    };
    room.desk.outcome(Ok(acted)).unwrap();
    assert!(room.desk.access.is_stale("shop", Instant::now()));
}

#[tokio::test]
async fn a_lease_lost_at_the_last_moment_keeps_the_patch_from_being_sent() {
    let mut room = room(true).await;
    room.lease.send_replace(Leadership {
        leading: false,
        term: 1,
    });
    assert_eq!(outcome_of(&mut room, true).await, PatchOutcome::Conflict);
}

#[tokio::test]
async fn the_state_is_on_the_disk_before_the_patch_is_sent() {
    let mut room = room(true).await;
    room.furnish();
    room.desk.execute(&[act()]);
    answer_review(&mut room.server, true).await;
    drop(room.desk);
    // Reading waits until the desk's store has let go.
    let saved = history::open(room.data.path()).await.saved;
    assert!(saved.slos.contains_key("uid-of-checkout"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_refuses_its_managers_is_not_asked_all_the_time() {
    let mut room = room(true).await;
    let target = act().slo;
    room.desk.gave_back(target.clone(), Some("server"));
    let due = room.desk.not_before[&target].unwrap();
    assert!(due > Instant::now());
    room.desk.gave_back(target.clone(), None);
    assert!(!room.desk.not_before.contains_key(&target));
}
