//! An API server in memory, with one Deployment and everybody who writes to it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::notifications::Ears;
use crate::testing::{Asked, failure};

const TARGET: &str = "/apis/apps/v1/namespaces/shop/deployments/checkout";
const SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
const STATUS: &str = "/apis/shoalwatch.dev/v1alpha1/namespaces/shop/slos/checkout/status";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
const PODS: u32 = 4;

/// What the API server stores, and the world around it.
pub(super) struct Cluster {
    pub(super) now: Timestamp,
    pub(super) deployment: Value,
    /// Ready pods, by image.
    pub(super) sets: BTreeMap<String, u32>,
    pub(super) slo: Value,
    /// {reason, note} of every Event on the SLO.
    pub(super) events: Vec<(String, String)>,
    /// What the receiver of the SLO was told.
    pub(super) told: Ears,
    /// Proofs of the acts that landed.
    pub(super) acts: Vec<Value>,
    /// What was asked for, in order.
    pub(super) asked: Vec<String>,
    version: u64,
    /// When the template changed last.
    changed: Timestamp,
    /// Who applies which image again, five seconds after it is gone.
    pub(super) heals: Option<(&'static str, &'static str)>,
}

impl Cluster {
    pub(super) fn new(now: Timestamp) -> Self {
        let mut cluster = Self {
            now,
            deployment: json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1", "resourceVersion": "1",
                    "annotations": {}, "managedFields": []},
                "spec": {"replicas": PODS, "template": null},
            }),
            sets: BTreeMap::new(),
            slo: json!({
                "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO",
                "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-of-checkout", "generation": 1,
                    "creationTimestamp": "2026-11-22T03:00:00Z"},
                "spec": {"targetRef": {"name": "checkout"}, "objective": "99.9", "indicator": {"http": {}},
                    "rollback": {"mode": "Enforce"}, "notifications": [{"name": "oncall", "events": ["Rollback"],
                        "webhook": {"url": "https://hooks.example/x"}}]},
            }),
            events: Vec::new(),
            told: Ears::default(),
            acts: Vec::new(),
            asked: Vec::new(),
            version: 1,
            changed: now,
            heals: None,
        };
        cluster.apply("shop:1", "kubectl");
        cluster.sets.insert("shop:1".to_owned(), PODS);
        cluster
    }

    /// Somebody applies an image by server-side apply.
    pub(super) fn apply(&mut self, image: &str, manager: &str) {
        self.deployment["spec"]["template"] = template(image);
        let fields = json!({"f:spec": {"f:template": {"f:spec": {}}}});
        self.deployment["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Apply",
            "apiVersion": "apps/v1", "time": self.now.to_string(), "fieldsType": "FieldsV1", "fieldsV1": fields}]);
        self.rolled();
    }

    fn rolled(&mut self) {
        self.changed = self.now;
        let image = self.image();
        self.sets.entry(image).or_default();
        self.touched();
    }

    fn touched(&mut self) {
        self.version += 1;
        self.deployment["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    pub(super) fn image(&self) -> String {
        let image = &self.deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap_or_default().to_owned()
    }

    /// Time has passed: pods follow the template within a second, and a writer heals what it takes for drift.
    pub(super) fn pass(&mut self, now: Timestamp) {
        self.now = now;
        let since = now.duration_since(self.changed).as_millis();
        let current = self.image();
        if since >= 1_000 {
            for (image, ready) in &mut self.sets {
                *ready = if *image == current { PODS } else { 0 };
            }
        }
        if let Some((image, manager)) = self.heals
            && since >= 5_000
            && current != image
        {
            self.apply(image, manager);
        }
    }

    pub(super) fn objects(&self) -> (DynamicObject, Vec<DynamicObject>) {
        let sets = self.sets.iter().map(|(image, ready)| object(set(image, *ready)));
        (object(self.deployment.clone()), sets.collect())
    }

    /// Does what is asked and answers.
    pub(super) fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        self.asked.push(asked.what.clone());
        let (method, path) = asked.what.split_once(' ').unwrap_or_default();
        match (method, path) {
            ("POST", REVIEW) => {
                let mut review = asked.body.clone();
                review["status"] = json!({"allowed": true});
                (201, review)
            }
            ("GET", TARGET) => (200, self.deployment.clone()),
            ("GET", SETS) => (200, self.list(&asked.query)),
            ("PATCH", TARGET) => self.patch(&asked.body),
            ("PATCH", STATUS) => {
                self.slo["status"] = asked.body["status"].clone();
                (200, self.slo.clone())
            }
            ("POST", EVENTS) => {
                self.hear(&asked.body);
                (201, asked.body.clone())
            }
            ("PATCH", path) if path.starts_with(EVENTS) => (200, asked.body.clone()),
            _ => (404, failure(404, "NotFound")),
        }
    }

    fn hear(&mut self, event: &Value) {
        if event["regarding"]["kind"] == "SLO" {
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            self.events.push((text("reason"), text("note")));
        }
    }

    fn list(&self, query: &str) -> Value {
        let wanted = |image: &&String| query.contains(&format!("%3D{}", revision(image)));
        let items: Vec<_> = self.sets.keys().filter(wanted).map(|image| set(image, 0)).collect();
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSetList", "metadata": {}, "items": items})
    }

    /// A JSON patch with the operations that the operator uses, all of it or nothing.
    fn patch(&mut self, operations: &Value) -> (u16, Value) {
        let operations = operations.as_array().cloned().unwrap_or_default();
        let test = &operations[0];
        assert_eq!(
            (test["op"].as_str(), test["path"].as_str()),
            (Some("test"), Some("/metadata/resourceVersion")),
            "never without a precondition"
        );
        if test["value"] != self.deployment["metadata"]["resourceVersion"] {
            return (422, failure(422, "Invalid"));
        }
        for each in &operations[1..] {
            match each["path"].as_str().unwrap_or_default() {
                "/spec/template" => {
                    self.deployment["spec"]["template"] = each["value"].clone();
                    self.take_over();
                }
                "/metadata/managedFields" => self.deployment["metadata"]["managedFields"] = each["value"].clone(),
                "/metadata/annotations/shoalwatch.dev~1rollback" => {
                    self.deployment["metadata"]["annotations"]["shoalwatch.dev/rollback"] = each["value"].clone();
                    self.acts.push(each["value"].clone());
                    self.rolled();
                }
                other => panic!("nobody writes {other}"),
            }
        }
        self.touched();
        (200, self.deployment.clone())
    }

    /// Who writes a field becomes its manager.
    fn take_over(&mut self) {
        let fields = json!({"f:metadata": {"f:annotations": {"f:shoalwatch.dev/rollback": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}});
        let entry = json!({"manager": "shoalwatch-operator", "operation": "Update", "apiVersion": "apps/v1",
            "time": self.now.to_string(), "fieldsType": "FieldsV1", "fieldsV1": fields});
        if let Some(entries) = self.deployment["metadata"]["managedFields"].as_array_mut() {
            entries.push(entry);
        }
    }

    /// Whether the operator still manages a field of the template.
    pub(super) fn owes_fields(&self) -> bool {
        let entries = self.deployment["metadata"]["managedFields"].as_array();
        let ours = |entry: &&Value| entry["manager"] == "shoalwatch-operator";
        entries
            .into_iter()
            .flatten()
            .filter(ours)
            .any(|entry| entry["fieldsV1"]["f:spec"].is_object())
    }

    /// Steps of the timeline, as the SLO's status has it.
    pub(super) fn timeline(&self) -> Vec<String> {
        let rows = self.slo["status"]["timeline"].as_array();
        let step = |row: &Value| row["step"].as_str().unwrap_or_default().to_owned();
        rows.into_iter().flatten().map(step).collect()
    }

    pub(super) fn rollback(&self) -> &Value {
        &self.slo["status"]["rollback"]
    }
}

/// The revision of an image: what a pod-template-hash would be.
pub(super) fn revision(image: &str) -> String {
    image.replace(':', "-")
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "checkout"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn set(image: &str, ready: u32) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!(revision(image));
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("checkout-{}", revision(image)), "namespace": "shop",
            "creationTimestamp": "2026-11-22T03:00:00Z", "labels": {"pod-template-hash": revision(image)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout", "uid": "uid-1",
                "controller": true}]},
        "spec": {"template": template},
        "status": {"replicas": ready, "readyReplicas": ready},
    })
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}
