use serde_json::json;

use super::*;

const HERE: Residence = Residence::Here { pods: 1 };

fn residents(most: usize) -> Residents {
    Residents {
        most,
        ..Residents::new(Metrics::default())
    }
}

fn pod(uid: &str, node: &str, revision: &str) -> SeenPod {
    serde_json::from_value(json!({
        "metadata": {"uid": uid, "name": uid, "namespace": "shop", "labels": {TEMPLATE_HASH: revision}},
        "spec": {"nodeName": node, "containers": [{"name": "app"}]},
        "status": {"phase": "Running"},
    }))
    .unwrap()
}

fn list(residents: &Residents, pods: Vec<SeenPod>) {
    residents.take(Event::Init);
    for pod in pods {
        residents.take(Event::InitApply(pod));
    }
    residents.take(Event::InitDone);
}

#[test]
fn nobody_is_a_stranger_before_the_pods_were_listed() {
    let residents = residents(8);
    assert_eq!(residents.residence("a", "shop", "v2"), Residence::Unlisted);
    list(&residents, vec![pod("1", "a", "v2")]);
    assert_eq!(residents.residence("a", "shop", "v2"), HERE);
    for (node, namespace, revision) in [
        ("b", "shop", "v2"),
        ("a", "bank", "v2"),
        ("a", "shop", "v1"),
        ("a", "shop", ""),
    ] {
        assert_eq!(residents.residence(node, namespace, revision), Residence::Stranger);
    }
}

#[test]
fn a_pod_counts_from_when_it_was_scheduled_and_as_often_as_it_is_there() {
    let residents = residents(8);
    list(&residents, vec![pod("1", "", "v2")]);
    assert_eq!(residents.residence("a", "shop", "v2"), Residence::Stranger);
    for uid in ["1", "2", "2"] {
        residents.take(Event::Apply(pod(uid, "a", "v2")));
    }
    assert_eq!(residents.residence("a", "shop", "v2"), Residence::Here { pods: 2 });
}

#[tokio::test(start_paused = true)]
async fn a_late_report_may_speak_of_a_pod_that_is_gone_for_ten_minutes() {
    let residents = residents(8);
    list(&residents, vec![pod("1", "a", "v1"), pod("2", "a", "v2")]);
    residents.take(Event::Delete(pod("1", "a", "v1")));
    // A list that lacks a pod says that it is gone, too.
    list(&residents, vec![]);
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(residents.residence("a", "shop", "v1"), HERE);
    assert_eq!(residents.residence("a", "shop", "v2"), HERE);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(residents.residence("a", "shop", "v1"), Residence::Stranger);
    residents.take(Event::Apply(pod("3", "a", "v3")));
    let tenants: usize = residents.known().nodes.values().map(BTreeMap::len).sum();
    assert_eq!(tenants, 1, "what is gone is forgotten");
}

#[test]
fn beyond_the_bound_a_pod_is_a_stranger_until_another_one_leaves() {
    let residents = residents(1);
    list(&residents, vec![pod("1", "a", "v1"), pod("2", "a", "v2")]);
    residents.take(Event::Apply(pod("2", "a", "v2")));
    assert_eq!(residents.known().pods.len(), 1);
    assert_eq!(
        residents.sight(),
        Sight::Blind,
        "nobody knows what the node of the other needs"
    );
    residents.take(Event::Delete(pod("1", "a", "v1")));
    residents.take(Event::Apply(pod("2", "a", "v2")));
    assert_eq!(residents.residence("a", "shop", "v2"), HERE);
    list(&residents, vec![pod("2", "a", "v2")]);
    assert_eq!(residents.sight(), Sight::Whole);
}

/// As a controller makes it.
fn owned(uid: &str, node: &str, kind: &str, owner: &str, revision: &str) -> SeenPod {
    let mut pod = pod(uid, node, revision);
    if revision.is_empty() {
        pod.metadata.labels = None;
    }
    let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true}]);
    pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
    pod
}

fn shop(workloads: &[&str]) -> Scope {
    let workloads = workloads.iter().map(|name| (*name).to_owned()).collect();
    Scope::Pods(BTreeMap::from([("shop".to_owned(), workloads)]))
}

#[test]
fn a_node_needs_what_is_about_the_namespaces_and_workloads_of_its_pods() {
    let residents = residents(8);
    list(
        &residents,
        vec![
            owned("1", "a", "ReplicaSet", "checkout-7c9f", "7c9f"),
            owned("2", "a", "StatefulSet", "db", ""),
            owned("3", "b", "ReplicaSet", "bare", ""),
        ],
    );
    let mut bare = owned("4", "c", "Pod", "x", "");
    bare.metadata.owner_references = None;
    residents.take(Event::Apply(bare));
    let changed = residents.take_changed();
    let wanted = [
        ("a", Some(shop(&["checkout", "db"]))),
        ("b", Some(shop(&["bare"]))),
        ("c", Some(shop(&[]))),
    ];
    assert_eq!(changed, wanted.map(|(node, scope)| (node.to_owned(), scope)));
    assert_eq!(residents.take_changed(), []);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_again_changes_nothing_and_one_that_stays_away_does() {
    let residents = residents(8);
    list(&residents, vec![pod("1", "a", "v1")]);
    residents.take_changed();
    let mut news = residents.news();
    residents.take(Event::Delete(pod("1", "a", "v1")));
    residents.take(Event::Apply(pod("2", "a", "v1")));
    assert!(!news.has_changed().unwrap() && residents.take_changed().is_empty());
    residents.take(Event::Delete(pod("2", "a", "v1")));
    tokio::time::advance(REMEMBERED).await;
    residents.take(Event::Apply(pod("3", "b", "v1")));
    assert!(news.has_changed().unwrap());
    news.mark_unchanged();
    assert_eq!(
        residents.take_changed(),
        [("a".to_owned(), None), ("b".to_owned(), Some(shop(&[])))]
    );
}

#[test]
fn without_the_right_to_look_it_is_said_so_until_somebody_gives_it() {
    let residents = residents(8);
    let news = residents.news();
    assert_eq!(residents.sight(), Sight::Unlisted);
    residents.refused(false);
    assert_eq!(
        residents.sight(),
        Sight::Unlisted,
        "an API server that is down will be back"
    );
    residents.refused(true);
    assert_eq!((residents.sight(), news.has_changed().unwrap()), (Sight::Blind, true));
    list(&residents, vec![]);
    assert_eq!(residents.sight(), Sight::Whole);
}
