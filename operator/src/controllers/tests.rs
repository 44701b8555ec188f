//! The controllers against a real API server. It is named by `SHOALWATCH_TEST_KUBECONFIG`, and its nodes must have the image
//! `SHOALWATCH_TEST_IMAGE` (a container that starts and stays); without the first these tests say so and do nothing.

mod statuses;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use shoalwatch_crds::slo::RollbackState;
use shoalwatch_crds::{SamplingPolicy, Slo, conditions, definition, names};
use shoalwatch_node_api::wire::{SliReport, SliRow};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Inputs, run};
use crate::clock::SystemClock;
use crate::distribution::{Delivery, Distribution, Fleet, Worker};
use crate::http_client::Destinations;
use crate::lease::Leadership;

const PATIENCE: Duration = Duration::from_mins(1);
const NODE: &str = "node-1";

/// The controllers look after every namespace, so there is one of them at a time.
static TURN: Mutex<()> = Mutex::const_new(());

struct Cluster {
    _turn: MutexGuard<'static, ()>,
    client: Client,
    namespace: String,
    deliveries: mpsc::Sender<Delivery>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), super::Error>>,
    _fleet: watch::Sender<Arc<Fleet>>,
    _lease: watch::Sender<Leadership>,
    data: tempfile::TempDir,
}

/// `None` without an API server.
async fn cluster(test: &str) -> Option<Cluster> {
    let Ok(path) = std::env::var("SHOALWATCH_TEST_KUBECONFIG") else {
        println!("skipped: SHOALWATCH_TEST_KUBECONFIG names no API server");
        return None;
    };
    drop(rustls::crypto::ring::default_provider().install_default());
    let kubeconfig = Kubeconfig::read_from(PathBuf::from(path)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let namespace = format!("{test}-{}", std::process::id());
    install(&client, &namespace).await;
    Some(start(client, namespace, TURN.lock().await))
}

async fn install(client: &Client, namespace: &str) {
    let apply = PatchParams::apply("test").force();
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in [definition::<SamplingPolicy>(), definition::<Slo>()] {
        kinds
            .patch(&kind.name_any(), &apply, &Patch::Apply(&kind))
            .await
            .unwrap();
    }
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(namespace, &apply, &Patch::Apply(home)).await.unwrap();
    eventually("the kinds are served", async || {
        Api::<Slo>::all(client.clone())
            .list(&ListParams::default())
            .await
            .is_ok()
            && Api::<SamplingPolicy>::all(client.clone())
                .list(&ListParams::default())
                .await
                .is_ok()
    })
    .await;
}

fn start(client: Client, namespace: String, turn: MutexGuard<'static, ()>) -> Cluster {
    let (lease, leadership) = watch::channel(Leadership { leading: true, term: 1 });
    let (distribution, _pusher, fleet) = Distribution::scripted(leadership.clone());
    let worker = Worker {
        connected: true,
        ..Worker::default()
    };
    let workers = BTreeMap::from([(NODE.to_owned(), worker)]);
    fleet.send_replace(Arc::new(Fleet { target: None, workers }));
    let (deliveries, delivered) = mpsc::channel(64);
    let (stop, data) = (CancellationToken::new(), tempfile::tempdir().unwrap());
    let controllers = run(Inputs {
        client: client.clone(),
        namespace: "shoalwatch-system".to_owned(),
        distribution,
        deliveries: delivered,
        leadership,
        data_dir: data.path().to_owned(),
        destinations: Destinations::default(),
        clock: Arc::new(SystemClock),
        replica: None,
        registry: &mut Registry::default(),
        stop: stop.clone(),
    });
    Cluster {
        _turn: turn,
        client,
        namespace,
        deliveries,
        stop,
        running: tokio::spawn(controllers),
        _fleet: fleet,
        _lease: lease,
        data,
    }
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn image() -> String {
    std::env::var("SHOALWATCH_TEST_IMAGE").unwrap_or_else(|_| "shoalcluster.local/pause:1".to_owned())
}

/// A manifest as a user has it. `more`: another variable.
fn manifest(version: &str, more: Option<&str>) -> Value {
    let mut env = vec![json!({"name": "VERSION", "value": version})];
    env.extend(more.map(|name| json!({"name": name, "value": "1"})));
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": {"app": "checkout"}},
                "spec": {"terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "app", "image": image(), "env": env}]},
            },
        },
    })
}

impl Cluster {
    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn slos(&self) -> Api<Slo> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn apply(&self, manifest: &Value) -> Result<Deployment, kube::Error> {
        self.deployments()
            .patch("checkout", &PatchParams::apply("kubectl"), &Patch::Apply(manifest))
            .await
    }

    async fn deployment(&self) -> Value {
        json!(self.deployments().get("checkout").await.unwrap())
    }

    async fn variables(&self) -> Value {
        self.deployment()
            .await
            .pointer("/spec/template/spec/containers/0/env")
            .cloned()
            .unwrap()
    }

    async fn slo(&self) -> Slo {
        self.slos().get("checkout").await.unwrap()
    }

    async fn write_slo(&self, mode: &str) {
        let slo = json!({
            "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO", "metadata": {"name": "checkout"},
            "spec": {"targetRef": {"name": "checkout"}, "objective": "99.9", "indicator": {"http": {}},
                "rollback": {"mode": mode}},
        });
        let apply = PatchParams::apply("kubectl");
        self.slos().patch("checkout", &apply, &Patch::Apply(slo)).await.unwrap();
    }

    /// The revision of the newest template once a pod of it is ready.
    async fn rolled_out(&self, version: &str) -> String {
        let found = watch::Sender::new(String::new());
        eventually("a pod of the new revision is ready", async || {
            let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
            let sets = sets.list(&ListParams::default()).await.unwrap();
            let ready = sets.items.iter().find(|set| {
                let set = json!(set);
                set.pointer("/spec/template/spec/containers/0/env/0/value") == Some(&json!(version))
                    && set.pointer("/status/readyReplicas") == Some(&json!(1))
            });
            ready.is_some_and(|set| {
                found.send_replace(set.labels()["pod-template-hash"].clone());
                true
            })
        })
        .await;
        found.borrow().clone()
    }

    async fn sli(&self) -> String {
        let uid: String = self.slo().await.uid().unwrap().chars().take(8).collect();
        format!("{}/checkout@{uid}", self.namespace)
    }

    async fn holds(&self, kind: &str) -> bool {
        let status = self.slo().await.status.unwrap_or_default();
        conditions::holds(&status.conditions, kind)
    }

    async fn is_in(&self, state: RollbackState) -> bool {
        let status = self.slo().await.status.unwrap_or_default();
        status.rollback.is_some_and(|rollback| rollback.state == state)
    }

    /// Reports of so many good and bad answers of these revisions each tenth of a second, until it is dropped; as of a
    /// worker of its own for each `begun`.
    fn traffic(&self, sli: String, rates: Vec<(String, u64, u64)>, begun: u64) -> Traffic {
        let deliveries = self.deliveries.clone();
        Traffic(tokio::spawn(async move {
            for beat in begun + 1.. {
                let row = |(revision, good, bad): &(String, u64, u64)| SliRow {
                    sli_id: sli.clone(),
                    revision: revision.clone(),
                    good: good * (beat - begun),
                    bad: bad * (beat - begun),
                    incomplete: 0,
                    pods: 1,
                    bad_pods: u32::from(*bad > 0),
                };
                let report = SliReport {
                    start_id: format!("start-{begun}"),
                    sequence: beat,
                    rows: rates.iter().map(row).collect(),
                    age_ms: 0,
                    start_age_ms: 1,
                };
                let (done, _acknowledged) = oneshot::channel();
                let node = NODE.to_owned();
                if deliveries.send(Delivery { node, report, done }).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }))
    }

    async fn finish(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        let namespaces: Api<Namespace> = Api::all(self.client);
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }
}

struct Traffic(JoinHandle<()>);

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn managers(deployment: &Value) -> Vec<(Value, Value)> {
    let entries = deployment.pointer("/metadata/managedFields").and_then(Value::as_array);
    let of_people = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] != "kube-controller-manager");
    of_people
        .map(|entry| (entry["manager"].clone(), entry["fieldsV1"].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_undone_on_a_real_api_server_and_the_next_one_applies_without_force() {
    let Some(cluster) = cluster("undo").await else { return };
    cluster.apply(&manifest("1", Some("ONLY_IN_1"))).await.unwrap();
    let good = cluster.rolled_out("1").await;
    cluster.write_slo("Enforce").await;
    let sli = cluster.sli().await;
    let calm = cluster.traffic(sli.clone(), vec![(good.clone(), 5, 0)], 0);
    eventually("the SLO could be rolled back", async || {
        cluster.holds(names::CONDITION_ROLLBACK_READY).await
    })
    .await;
    drop(calm);

    cluster.apply(&manifest("2", None)).await.unwrap();
    let before = managers(&cluster.deployment().await);
    let bad = cluster.rolled_out("2").await;
    let stormy = cluster.traffic(sli.clone(), vec![(bad.clone(), 4, 1)], 10_000);
    let begun = Instant::now();
    let original = manifest("1", Some("ONLY_IN_1"));
    let original = original.pointer("/spec/template/spec/containers/0/env").unwrap();
    eventually("the release is undone", async || cluster.variables().await == *original).await;
    println!("undone {:?} after its first bad answer", begun.elapsed());

    drop(stormy);
    let _calm = cluster.traffic(sli, vec![(good.clone(), 5, 0)], 20_000);
    eventually("the undone release is latched", async || {
        cluster.is_in(RollbackState::Latched).await
    })
    .await;
    eventually("nobody lost a field", async || {
        let now = managers(&cluster.deployment().await);
        let ours = now
            .iter()
            .find(|(manager, _)| manager == names::FIELD_MANAGER)
            .map(|(_, fields)| fields.clone());
        let annotation = json!({"f:metadata": {"f:annotations": {"f:shoalwatch.dev/rollback": {}}}});
        ours == Some(annotation)
            && before
                .iter()
                .all(|(manager, _)| now.iter().any(|(name, _)| name == manager))
    })
    .await;
    let status = cluster.slo().await.status.unwrap();
    let rollback = status.rollback.unwrap();
    assert_eq!((rollback.from, rollback.to), (Some(bad), Some(good)));
    println!("{}", serde_json::to_string_pretty(&status.timeline).unwrap());

    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    eventually("every step is an event", async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let of = |kind: &str, reason: &str| {
            events.items.iter().any(|event| {
                let regarding = event.regarding.as_ref().and_then(|object| object.kind.as_deref());
                regarding == Some(kind) && event.reason.as_deref() == Some(reason)
            })
        };
        ["Breached", "Patched", "Verified"]
            .iter()
            .all(|step| of("SLO", step) && of("Deployment", step))
    })
    .await;

    // Without force: nobody but kubectl manages the template. What only the first release had goes.
    cluster.apply(&manifest("3", None)).await.unwrap();
    assert_eq!(cluster.variables().await, json!([{"name": "VERSION", "value": "3"}]));
    cluster.finish().await;
}

/// `kubectl apply` of a manifest, as it is without options.
async fn kubectl_apply(cluster: &Cluster, manifest: &Value) -> Result<(), String> {
    let path = cluster.data.path().join("manifest.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let kubeconfig = std::env::var("SHOALWATCH_TEST_KUBECONFIG").unwrap();
    let mut command = std::process::Command::new("kubectl");
    command
        .env("KUBECONFIG", kubeconfig)
        .args(["apply", "-n", &cluster.namespace, "-f"])
        .arg(path);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("no kubectl: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_undo_the_next_release_goes_through_by_client_side_apply() {
    let Some(cluster) = cluster("client-side").await else {
        return;
    };
    kubectl_apply(&cluster, &manifest("1", None)).await.unwrap();
    let good = cluster.rolled_out("1").await;
    cluster.write_slo("Enforce").await;
    let sli = cluster.sli().await;
    let calm = cluster.traffic(sli.clone(), vec![(good, 5, 0)], 0);
    eventually("the SLO could be rolled back", async || {
        cluster.holds(names::CONDITION_ROLLBACK_READY).await
    })
    .await;
    drop(calm);
    kubectl_apply(&cluster, &manifest("2", Some("ONLY_IN_2")))
        .await
        .unwrap();
    let bad = cluster.rolled_out("2").await;
    let _stormy = cluster.traffic(sli, vec![(bad, 4, 1)], 10_000);
    let first = json!([{"name": "VERSION", "value": "1"}]);
    eventually("the release is undone", async || cluster.variables().await == first).await;
    eventually("kubectl manages the template again", async || {
        let deployment = cluster.deployment().await;
        let now = managers(&deployment);
        let mine = |manager: &str| {
            now.iter()
                .find(|(name, _)| name == manager)
                .map(|(_, fields)| fields.clone())
        };
        mine("kubectl-client-side-apply").is_some_and(|fields| fields.to_string().contains("f:value"))
            && mine(names::FIELD_MANAGER).is_some_and(|fields| fields.pointer("/f:spec").is_none())
    })
    .await;
    kubectl_apply(&cluster, &manifest("3", None)).await.unwrap();
    assert_eq!(cluster.variables().await, json!([{"name": "VERSION", "value": "3"}]));
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_that_a_killed_operator_did_not_put_back_are_put_back_by_the_next() {
    let Some(cluster) = cluster("killed").await else { return };
    cluster.apply(&manifest("2", None)).await.unwrap();
    let restored = json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "1"},
        {"op": "add", "path": "/metadata/annotations", "value": {names::ROLLBACK_ANNOTATION: "{}"}},
    ]);
    let restored: Patch<()> = Patch::Json(serde_json::from_value(restored).unwrap());
    let as_operator = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    cluster
        .deployments()
        .patch("checkout", &as_operator, &restored)
        .await
        .unwrap();
    let conflict = cluster.apply(&manifest("3", None)).await.unwrap_err();
    assert!(
        matches!(conflict, kube::Error::Api(status) if status.code == 409),
        "the operator manages the variable"
    );
    cluster.write_slo("Enforce").await;
    eventually("the next release applies", async || {
        cluster.apply(&manifest("3", None)).await.is_ok()
    })
    .await;
    cluster.finish().await;
}
