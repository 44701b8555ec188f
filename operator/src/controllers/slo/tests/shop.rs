//! A shop with one Deployment, its SLO and two nodes, and a clock that moves when it is told to.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use shoalwatch_core::Millis;
use shoalwatch_core::rollback::{Effect, Patch, PatchOutcome, Step};
use shoalwatch_crds::conditions;
use shoalwatch_node_api::wire::{SliReport, SliRow};

use super::super::evaluate::{Surroundings, Todo};
use super::super::observe::Slos;
use super::super::plan::Planned;
use crate::controllers::world::{Change, Name, World};
use crate::distribution::{Fleet, Worker};
use crate::history::Saved;
use crate::rollback::access::Answers;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const NODES: [&str; 2] = ["node-1", "node-2"];
const CREATED: &str = "2026-11-22T03:00:00Z";

pub(super) struct Shop {
    pub(super) world: World,
    pub(super) slos: Slos,
    pub(super) fleet: Fleet,
    pub(super) access: Answers,
    pub(super) saved: Saved,
    pub(super) unsaved: Option<String>,
    pub(super) now: Millis,
    version: u64,
    /// Cumulative (good, bad), by node, indicator and revision.
    counts: BTreeMap<(String, String, String), (u64, u64)>,
    sequence: u64,
    pub(super) patches: Vec<Patch>,
    pub(super) steps: Vec<String>,
    image: String,
    paused: bool,
    pub(super) stalled: bool,
    /// Sentences of all Events.
    pub(super) said: Vec<String>,
}

pub(super) fn name(name: &str) -> Name {
    Name {
        namespace: "shop".into(),
        name: name.into(),
    }
}

pub(super) fn slo(name: &str, generation: i64, spec: Value) -> Value {
    let mut whole = json!({
        "targetRef": {"name": "checkout"},
        "objective": "99.9",
        "indicator": {"http": {}},
        "rollback": {"mode": "Enforce"},
    });
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
    json!({
        "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "generation": generation,
            "creationTimestamp": CREATED},
        "spec": whole,
    })
}

/// The revision of an image: what a pod-template-hash would be.
pub(super) fn revision(image: &str) -> String {
    image.replace(':', "-")
}

impl Shop {
    /// v1 is rolled out and has been judged once; nothing was reported yet.
    pub(super) fn open(spec: Value) -> Self {
        let mut shop = Self::empty();
        shop.sync();
        shop.deploy("shop:1");
        shop.write_slo("checkout", 1, spec);
        shop.ready("shop:1", 4);
        shop.pass(5);
        shop
    }

    /// Without anything.
    pub(super) fn empty() -> Self {
        let worker = Worker {
            connected: true,
            ..Worker::default()
        };
        Self {
            world: World::default(),
            slos: Slos::default(),
            fleet: Fleet {
                target: None,
                workers: NODES.map(|node| (node.to_owned(), worker.clone())).into(),
            },
            access: Answers::default(),
            saved: Saved::default(),
            unsaved: None,
            now: Millis(1_800_000_000_000),
            version: 1,
            counts: BTreeMap::new(),
            sequence: 0,
            patches: Vec::new(),
            steps: Vec::new(),
            image: String::new(),
            paused: false,
            stalled: false,
            said: Vec::new(),
        }
    }

    pub(super) fn sync(&mut self) {
        for _ in 0..2 {
            self.change(Change::Policy(Box::new(Event::Init)));
            self.change(Change::Policy(Box::new(Event::InitDone)));
        }
        self.change(Change::Slo(Box::new(Event::Init)));
        self.change(Change::Slo(Box::new(Event::InitDone)));
        self.change(Change::Deployment(Box::new(Event::Init)));
        self.change(Change::Deployment(Box::new(Event::InitDone)));
        self.change(Change::ReplicaSet(Box::new(Event::Init)));
        self.change(Change::ReplicaSet(Box::new(Event::InitDone)));
    }

    fn change(&mut self, change: Change) {
        self.world.apply(change, self.now);
    }

    pub(super) fn write_slo(&mut self, name: &str, generation: i64, spec: Value) {
        self.write_raw(slo(name, generation, spec));
    }

    pub(super) fn write_raw(&mut self, slo: Value) {
        let guard: DeserializeGuard<shoalwatch_crds::Slo> = serde_json::from_value(slo).unwrap();
        self.change(Change::Slo(Box::new(Event::Apply(guard))));
        self.observe(false);
    }

    pub(super) fn delete_slo(&mut self, name: &str) {
        let guard = serde_json::from_value(slo(name, 1, json!({}))).unwrap();
        self.change(Change::Slo(Box::new(Event::Delete(guard))));
        self.observe(false);
    }

    pub(super) fn observe(&mut self, lost: bool) -> Vec<(String, Vec<u8>)> {
        self.slos.observe(&self.world, &mut self.saved, lost, self.now)
    }

    pub(super) fn deploy(&mut self, image: &str) {
        image.clone_into(&mut self.image);
        self.write_deployment(&json!({}));
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.write_deployment(&json!({}));
    }

    /// Writes the Deployment with these annotations.
    pub(super) fn write_deployment(&mut self, annotations: &Value) {
        self.version += 1;
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1",
                "resourceVersion": self.version.to_string(), "annotations": annotations, "generation": 1},
            "spec": {"replicas": 4, "paused": self.paused, "template": template(&self.image)},
            "status": {"observedGeneration": 1, "conditions": [{"type": "Progressing",
                "status": if self.stalled { "False" } else { "True" },
                "reason": if self.stalled { "ProgressDeadlineExceeded" } else { "ReplicaSetUpdated" }}]},
        });
        self.change(Change::Deployment(Box::new(Event::Apply(object_of(object)))));
    }

    pub(super) fn delete_deployment(&mut self) {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1"}});
        self.change(Change::Deployment(Box::new(Event::Delete(object_of(object)))));
    }

    pub(super) fn ready(&mut self, image: &str, pods: u32) {
        let object = set(image, pods);
        self.change(Change::ReplicaSet(Box::new(Event::Apply(object))));
    }

    /// A set has so many pods that are not ready.
    pub(super) fn waiting(&mut self, image: &str, pods: u32) {
        let mut object = set(image, 0);
        object.data["status"]["replicas"] = json!(pods);
        self.change(Change::ReplicaSet(Box::new(Event::Apply(object))));
    }

    pub(super) fn delete_set(&mut self, image: &str) {
        let object = set(image, 0);
        self.change(Change::ReplicaSet(Box::new(Event::Delete(object))));
    }

    /// Every node answers so many requests of a revision, of which so many badly, and reports at once.
    pub(super) fn serve(&mut self, image: &str, good: u64, bad: u64) {
        for node in NODES {
            self.serve_on(node, image, good, bad);
        }
    }

    pub(super) fn serve_on(&mut self, node: &str, image: &str, good: u64, bad: u64) {
        let slis: Vec<String> = self.slos.by_sli.keys().map(ToString::to_string).collect();
        let mut rows = Vec::new();
        for sli in slis {
            let key = (node.to_owned(), sli.clone(), revision(image));
            let counts = self.counts.entry(key).or_default();
            *counts = (counts.0 + good, counts.1 + bad);
            rows.push(SliRow {
                sli_id: sli,
                revision: revision(image),
                good: counts.0,
                bad: counts.1,
                incomplete: 0,
                pods: 2,
                bad_pods: u32::from(counts.1 > 0),
            });
        }
        self.report(node, rows);
    }

    pub(super) fn report(&mut self, node: &str, rows: Vec<SliRow>) {
        self.sequence += 1;
        let report = SliReport {
            start_id: format!("start-of-{node}"),
            sequence: self.sequence,
            rows,
            age_ms: 0,
            start_age_ms: 1,
        };
        self.slos.ingest(node, report, self.now);
    }

    /// Lets time pass, half a second at a time, and does what is to be done.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.now = self.now.plus(SECOND / 2);
            self.judge();
        }
    }

    /// Traffic on both revisions for so many seconds: {image, good, bad} on each node each second.
    pub(super) fn traffic(&mut self, seconds: u64, rates: &[(&str, u64, u64)]) {
        for _ in 0..seconds {
            for (image, good, bad) in rates {
                self.serve(image, *good, *bad);
            }
            self.pass(1);
        }
    }

    pub(super) fn judge(&mut self) {
        let names = self.slos.names();
        let around = Surroundings {
            world: &self.world,
            fleet: &self.fleet,
            access: &self.access,
            home: "shoalwatch",
            unsaved: self.unsaved.as_deref(),
        };
        let todos = self.slos.evaluate(&names, &around, self.now);
        for todo in todos {
            self.execute(todo);
        }
    }

    /// What the API server and the Deployment controller would do.
    fn execute(&mut self, todo: Todo) {
        for effect in todo.effects {
            match effect {
                Effect::Persist => {}
                Effect::Event { reason, message, .. } => {
                    self.steps.push(reason.as_str().to_owned());
                    self.said.push(message);
                }
                Effect::Patch(patch) => self.undo(&todo.slo, &todo.uid, &patch),
                Effect::Reobserve => self.slos.looked(&todo.slo, &todo.uid),
            }
        }
    }

    fn undo(&mut self, slo: &Name, uid: &str, patch: &Patch) {
        assert_eq!(
            patch.resource_version,
            self.version.to_string(),
            "decided on what is there"
        );
        self.patches.push(patch.clone());
        let (bad, good) = (self.image.clone(), patch.to_revision.as_str().replace('-', ":"));
        good.clone_into(&mut self.image);
        let proof = serde_json::to_string(&patch.record).unwrap();
        self.write_deployment(&json!({"shoalwatch.dev/rollback": proof}));
        if let Some(todo) = self.slos.acted(slo, uid, PatchOutcome::Applied, self.now) {
            self.execute(todo);
        }
        self.ready(&bad, 0);
        self.ready(&good, 4);
    }

    pub(super) fn plan(&mut self) -> Vec<Planned> {
        let names = self.slos.names();
        let around = Surroundings {
            world: &self.world,
            fleet: &self.fleet,
            access: &self.access,
            home: "shoalwatch",
            unsaved: self.unsaved.as_deref(),
        };
        self.slos.plan(&names, &around, self.now).collect()
    }

    /// {status, reason, message} of a condition of an SLO.
    pub(super) fn condition(&mut self, slo: &str, kind: &str) -> (String, String, String) {
        self.plan();
        let status = &self.slos.known[&name(slo)].status;
        let found = conditions::get(&status.conditions, kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    pub(super) fn saw(&self, step: Step) -> usize {
        self.steps.iter().filter(|seen| *seen == step.as_str()).count()
    }

    /// Kills the operator and starts it again, with what was saved.
    pub(super) fn restart(&mut self) {
        let snapshot = self.slos.unsaved();
        let saved = &mut self.saved;
        for (uid, record, windows) in snapshot.slos {
            let record = serde_json::from_slice(&record).unwrap();
            let windows = shoalwatch_core::history::History::decode(&windows).unwrap();
            saved.slos.insert(uid, (record, windows));
        }
        let reports = serde_json::from_slice(&snapshot.reports.unwrap()).unwrap();
        self.slos = Slos::remembering(reports, 1, self.now);
        self.observe(false);
    }
}

fn object_of(object: Value) -> DynamicObject {
    serde_json::from_value(object).unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "checkout"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn set(image: &str, ready: u32) -> DynamicObject {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!(revision(image));
    object_of(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("checkout-{}", revision(image)), "namespace": "shop",
            "creationTimestamp": CREATED, "labels": {"pod-template-hash": revision(image)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout", "uid": "uid-1",
                "controller": true}]},
        "spec": {"template": template},
        "status": {"readyReplicas": ready},
    }))
}
