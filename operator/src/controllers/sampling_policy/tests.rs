use std::collections::BTreeMap;

use kube::runtime::watcher::Event;
use prost::Message;
use serde_json::{Value, json};
use shoalwatch_core::Millis;
use shoalwatch_core::policy::{self, Catalog, Scope};
use shoalwatch_crds::sampling_policy::Nodes;
use shoalwatch_crds::{SamplingPolicyStatus, conditions};
use shoalwatch_node_api::config::{NodeConfig, Version};
use shoalwatch_node_api::{content_hash, wire};

use super::compile::Encoder;
use super::*;
use crate::controllers::planner::{Needs, Planner};
use crate::controllers::world::{Change, Name, World};
use crate::distribution::metrics::Metrics;
use crate::distribution::residents::Residents;
use crate::distribution::{Fleet, Rejection, Worker};
use crate::status::Urgency;

const NOW: Millis = Millis(1_800_000_000_000);

#[derive(Default)]
struct Office {
    world: World,
    policies: Policies,
    published: Published,
    fleet: Fleet,
    needs: Needs,
    desired: Option<u32>,
    saved: BTreeMap<String, Vec<u8>>,
}

fn policy(namespace: &str, name: &str, generation: i64, spec: &Value) -> Value {
    let mut whole = json!({"probability": "0.01"});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    json!({
        "apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SamplingPolicy",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"),
            "generation": generation, "creationTimestamp": "2026-11-22T03:00:00Z"},
        "spec": whole,
    })
}

impl Office {
    fn with_nodes(count: u32) -> Self {
        let worker = Worker {
            connected: true,
            ..Worker::default()
        };
        let nodes = (1..=count).map(|number| (format!("node-{number}"), worker.clone()));
        let fleet = Fleet {
            target: None,
            workers: nodes.collect(),
        };
        Self {
            fleet,
            desired: Some(count),
            ..Self::default()
        }
    }

    fn write(&mut self, namespace: &str, name: &str, generation: i64, spec: &Value) -> Vec<(String, Vec<u8>)> {
        let guard = serde_json::from_value(policy(namespace, name, generation, spec)).unwrap();
        self.world.apply(Change::Policy(Box::new(Event::Apply(guard))), NOW);
        self.policies.observe(&self.world, &self.saved)
    }

    fn in_force(&self) -> Vec<policy::Policy> {
        self.policies.in_force().cloned().collect()
    }

    fn config(&self) -> NodeConfig {
        let plan = policy::compile("shoalwatch", &self.in_force(), &[], &Scope::All, 41).unwrap();
        let encoded = Encoder::default().node_config(&plan);
        wire::NodeConfig::decode(&*encoded).unwrap().try_into().unwrap()
    }

    fn publish(&mut self) -> Version {
        let version = Version {
            term: 41,
            hash: content_hash(&self.config().into()),
        };
        let catalog = Catalog::new("shoalwatch", self.in_force(), Vec::new());
        let content = catalog.plan(&Scope::All, 41).unwrap().policies.into();
        self.published
            .remember([(version.hash.as_str(), &content)], catalog.policies());
        self.fleet.target = Some(version.clone());
        version
    }

    fn node(&mut self, number: u32) -> &mut Worker {
        self.fleet.workers.get_mut(&format!("node-{number}")).unwrap()
    }

    fn acknowledge(&mut self, number: u32, version: &Version) {
        let worker = self.node(number);
        (worker.applied, worker.rejected) = (Some(version.clone()), None);
    }

    fn refuse(&mut self, number: u32, version: &Version) {
        self.node(number).rejected = Some(Rejection {
            version: version.clone(),
            reason: "policies[0].rules[2]: no such thing".into(),
        });
    }

    fn plan(&mut self) -> Vec<plan::Planned> {
        let overridden = policy::overridden("shoalwatch", self.policies.in_force());
        let answers = Answers {
            fleet: &self.fleet,
            published: &self.published,
            needs: &self.needs,
            home: "shoalwatch",
            desired: self.desired,
            overridden: &overridden,
            unpublished: None,
        };
        let now = serde_json::from_value(json!("2026-11-22T05:00:00Z")).unwrap();
        self.policies.plan(&answers, &now)
    }

    fn status(&mut self, name: &str) -> SamplingPolicyStatus {
        self.plan();
        self.policies.known[&shop(name)].status.clone()
    }

    fn programmed(&mut self, name: &str) -> (String, String, String) {
        condition(&self.status(name), "Programmed")
    }
}

fn condition(status: &SamplingPolicyStatus, kind: &str) -> (String, String, String) {
    let found = conditions::get(&status.conditions, kind).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn shop(name: &str) -> Name {
    Name {
        namespace: "shop".into(),
        name: name.into(),
    }
}

#[test]
fn a_policy_is_programmed_when_every_node_runs_a_version_with_this_generation() {
    let mut office = Office::with_nodes(2);
    office.write("shop", "checkout", 1, &json!({}));
    let first = office.publish();
    assert_eq!(office.programmed("checkout").1, "Pending");
    office.acknowledge(1, &first);
    let status = office.status("checkout");
    assert_eq!(condition(&status, "Programmed").1, "Pending");
    assert_eq!(status.applied.as_deref(), Some("1/2"));
    office.acknowledge(2, &first);
    let status = office.status("checkout");
    assert_eq!(condition(&status, "Programmed").0, "True");
    let short = status.version.clone();
    assert!(
        short
            .as_ref()
            .is_some_and(|short| short.starts_with("41-") && short.len() == 11),
        "{short:?}"
    );

    // Another policy makes a new version: this one is in the old version too.
    office.write("shop", "other", 1, &json!({}));
    office.publish();
    assert_eq!(office.programmed("checkout").0, "True");
    assert_eq!(
        office.status("checkout").version,
        short,
        "which is nothing to tell of this one"
    );
    assert_eq!(office.programmed("other").1, "Pending");

    office.write("shop", "checkout", 2, &json!({"probability": "1"}));
    office.publish();
    assert_eq!(office.programmed("checkout").1, "Pending");
}

#[test]
fn a_refusal_shows_on_the_object_with_the_nodes_words() {
    let mut office = Office::with_nodes(7);
    office.write("shop", "checkout", 1, &json!({}));
    let version = office.publish();
    office.acknowledge(1, &version);
    for number in 2..=7 {
        office.refuse(number, &version);
    }
    let status = office.status("checkout");
    let (holds, reason, message) = condition(&status, "Programmed");
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "Rejected"));
    assert!(
        message.contains("node-2") && message.contains("no such thing"),
        "{message}"
    );
    let nodes = status.nodes.unwrap();
    assert_eq!((nodes.applied, nodes.rejected, nodes.stale), (1, 6, 0));
    assert_eq!(nodes.first_errors.len(), Nodes::FIRST_ERRORS_MAX);
}

#[test]
fn a_refusal_is_blamed_only_on_what_its_node_does_not_run() {
    let mut office = Office::with_nodes(1);
    office.write("shop", "checkout", 1, &json!({}));
    let first = office.publish();
    office.acknowledge(1, &first);
    office.write("shop", "other", 1, &json!({}));
    let second = office.publish();
    office.refuse(1, &second);
    assert_eq!(office.programmed("checkout").0, "True");
    assert_eq!(office.programmed("other").1, "Rejected");
}

#[test]
fn a_node_that_is_away_is_stale() {
    let mut office = Office::with_nodes(2);
    office.write("shop", "checkout", 1, &json!({}));
    let version = office.publish();
    office.acknowledge(1, &version);
    office.acknowledge(2, &version);
    office.node(2).connected = false;
    let nodes = office.status("checkout").nodes.unwrap();
    assert_eq!((nodes.desired, nodes.applied, nodes.stale), (2, 1, 1));
}

#[test]
fn only_nodes_that_need_a_policy_are_waited_for() {
    let mut office = Office::with_nodes(3);
    let residents = Residents::new(Metrics::default());
    residents.settle("1", "node-1", "shop", "v1");
    residents.settle("2", "virtual", "shop", "v1");
    let mut planner = Planner::new(residents, "shoalwatch");
    planner.follow(None);
    office.needs = planner.needs();
    for (namespace, name) in [("shop", "checkout"), ("bank", "all"), ("shoalwatch", "default")] {
        office.write(namespace, name, 1, &json!({}));
    }
    let version = office.publish();
    assert_eq!(
        office.status("checkout").applied.as_deref(),
        Some("0/1"),
        "nobody hears from the virtual node"
    );
    office.acknowledge(1, &version);
    assert_eq!(office.programmed("checkout").0, "True");
    let name = |namespace: &str, name: &str| Name {
        namespace: namespace.into(),
        name: name.into(),
    };
    let applied = |office: &Office, of| office.policies.known[&of].status.applied.clone();
    assert_eq!(applied(&office, name("shoalwatch", "default")).as_deref(), Some("1/3"));
    assert_eq!(applied(&office, name("bank", "all")).as_deref(), Some("0/0"));
    let idle = condition(&office.policies.known[&name("bank", "all")].status, "Programmed");
    assert!(idle.0 == "True" && idle.2.starts_with("no node has pods"), "{idle:?}");
}

#[test]
fn without_nodes_nothing_is_programmed() {
    let mut office = Office::with_nodes(0);
    office.write("shop", "checkout", 1, &json!({}));
    office.publish();
    assert_eq!(office.programmed("checkout").1, "NoNodes");
}

#[test]
fn a_spec_that_makes_no_sense_leaves_the_last_good_one_in_force() {
    let mut office = Office::with_nodes(1);
    office.write("shop", "checkout", 1, &json!({"probability": "0.5"}));
    let version = office.publish();
    office.acknowledge(1, &version);
    let before = office.config();
    office.write("shop", "checkout", 2, &json!({"probability": "50 %"}));
    assert_eq!(office.config(), before);
    let status = office.status("checkout");
    let (holds, reason, message) = condition(&status, "Accepted");
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "InvalidValue"));
    assert!(message.starts_with("spec.probability: "), "{message}");
    assert!(message.ends_with("generation 1 stays in force"), "{message}");
    assert_eq!(condition(&status, "Programmed").1, "NotAccepted");
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn the_last_good_spec_survives_a_restart() {
    let mut office = Office::with_nodes(1);
    let kept = office.write("shop", "checkout", 1, &json!({"probability": "0.5"}));
    let before = office.config();
    office.saved = kept.into_iter().collect();
    office.policies = Policies::default();
    office.write("shop", "checkout", 2, &json!({"probability": "no"}));
    assert_eq!(office.config(), before);
}

#[test]
fn an_invalid_object_does_not_keep_the_others_from_the_nodes() {
    let mut office = Office::with_nodes(1);
    office.write("shop", "broken", 1, &json!({"rules": "none"}));
    office.write("shop", "checkout", 1, &json!({}));
    let ids: Vec<_> = office.config().policies.into_iter().map(|policy| policy.id).collect();
    assert_eq!(ids, ["shop/checkout"]);
    let status = office.status("broken");
    assert_eq!(condition(&status, "Accepted").1, "Unreadable");
    assert_eq!(condition(&status, "Programmed").1, "NotAccepted");
}

#[test]
fn what_the_schema_cannot_refuse_is_refused_here() {
    let rule = |matches: Value| json!({"rules": [{"name": "a", "match": matches, "probability": "1"}]});
    let cases = [
        (
            rule(json!({"route": {"exact": "/", "prefix": "/"}})),
            "InvalidUnion",
            "spec.rules[0].match.route",
        ),
        (
            rule(json!({"status": ["Aborted", "999"]})),
            "InvalidValue",
            "spec.rules[0].match.status[1]",
        ),
        (
            rule(json!({"method": ["GET", "PURGE"]})),
            "InvalidValue",
            "spec.rules[0].match.method[1]",
        ),
        (
            rule(json!({"durationAtLeast": "a while"})),
            "InvalidValue",
            "spec.rules[0].match.durationAtLeast",
        ),
        (
            json!({"rules": [
                {"name": "a", "match": {"method": ["GET"]}, "probability": "1"},
                {"name": "a", "match": {"method": ["PUT"]}, "probability": "0"},
            ]}),
            "DuplicateName",
            "spec.rules",
        ),
        (
            json!({"limit": {"tracesPerSecond": 0}}),
            "InvalidValue",
            "spec.limit.tracesPerSecond",
        ),
        (
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Near", "values": ["x"]}]}}),
            "InvalidValue",
            "spec.selector.matchExpressions[0].operator",
        ),
        (
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}),
            "InvalidValue",
            "spec.selector.matchExpressions[0].values",
        ),
    ];
    for (spec, category, path) in cases {
        let mut office = Office::with_nodes(1);
        office.write("shop", "checkout", 1, &spec);
        let (_, reason, message) = condition(&office.status("checkout"), "Accepted");
        assert_eq!(reason, category, "{spec}: {message}");
        assert!(message.starts_with(path), "{spec}: {message}");
    }
}

#[test]
fn a_rule_can_name_exactly_the_methods_that_nodes_tell_apart() {
    use shoalwatch_crds::sampling_policy::METHODS;
    use shoalwatch_protocols::http1::Method;
    let apart = Method::ALL.into_iter().filter(|method| *method != Method::Other);
    let mut apart: Vec<_> = apart.map(Method::as_str).collect();
    apart.sort_unstable();
    assert_eq!(apart, METHODS);
}

#[test]
fn a_policy_arrives_at_the_nodes_as_it_was_written() {
    let mut office = Office::with_nodes(1);
    let spec = json!({
        "selector": {"matchLabels": {"app": "checkout"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        "probability": "0.25",
        "rules": [{"name": "slow", "match": {"route": {"prefix": "/pay"}, "method": ["POST"], "status": ["Aborted", "5xx", "404"],
            "durationAtLeast": "800ms"}, "probability": "1"}],
        "limit": {"tracesPerSecond": 100},
        "parent": "Ignore",
        "dryRun": true,
    });
    office.write("shop", "checkout", 1, &spec);
    let config = office.config();
    config.validate().unwrap();
    assert_eq!(
        json!(config.policies[0]),
        json!({
            "id": "shop/checkout", "namespace": "shop",
            "selector": {"matchLabels": {"app": "checkout"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            "probability": 0.25,
            "rules": [{"name": "slow", "route": {"prefix": "/pay"}, "methods": ["POST"], "status": ["404", "5xx", "Aborted"],
                "durationAtLeastNs": 800_000_000, "probability": 1.0}],
            "limit": {"tracesPerSecond": 100, "burst": 100},
            "honourParent": false, "dryRun": true,
        })
    );
}

#[test]
fn a_default_of_the_root_namespace_is_for_all_and_weaker_than_any_of_a_namespace() {
    let mut office = Office::with_nodes(1);
    office.write("shoalwatch", "default", 1, &json!({"priority": 1000}));
    office.write("shop", "weak", 1, &json!({}));
    office.write("shop", "strong", 1, &json!({"priority": 5}));
    let policies = office.config().policies;
    let order: Vec<_> = policies
        .iter()
        .map(|policy| (policy.id.as_str(), policy.namespace.as_deref()))
        .collect();
    assert_eq!(
        order,
        [
            ("shop/strong", Some("shop")),
            ("shop/weak", Some("shop")),
            ("shoalwatch/default", None)
        ]
    );
    let overridden = office.status("weak").overridden.unwrap();
    assert_eq!(overridden.by, ["shop/strong"]);
}

#[test]
fn an_order_that_stays_is_a_version_that_stays_and_the_policy_is_in_it() {
    let mut office = Office::with_nodes(1);
    office.write("shop", "checkout", 1, &json!({}));
    let version = office.publish();
    office.acknowledge(1, &version);
    office.write("shop", "checkout", 2, &json!({"priority": 7}));
    assert_eq!(office.publish(), version);
    assert_eq!(office.programmed("checkout").0, "True");
}

#[test]
fn only_changes_in_kind_are_urgent() {
    let mut office = Office::with_nodes(3);
    office.write("shop", "checkout", 1, &json!({}));
    let version = office.publish();
    assert_eq!(office.plan()[0].urgency, Urgency::Now);
    assert_eq!(office.plan(), []);
    office.acknowledge(1, &version);
    assert_eq!(office.plan()[0].urgency, Urgency::Numbers);
    office.acknowledge(2, &version);
    office.acknowledge(3, &version);
    assert_eq!(office.plan()[0].urgency, Urgency::Now);
}
