//! Which policy wins a pod, and when two plans are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::Millis;
use shoalwatch_core::policy::{
    Catalog, HttpStatus, Limit, MAX_POLICIES, NodePlan, Operator, PlanError, Policy, Probability, Requirement, Route,
    Rule, Scope, Selector, SliSpec, Touched, compile, overridden,
};

const ROOT: &str = "shoalwatch";

fn probability(text: &str) -> Probability {
    text.parse().expect("a probability")
}

fn policy(namespace: &str, name: &str) -> Policy {
    Policy {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created: Millis(1_000),
        priority: 0,
        selector: Selector::default(),
        probability: probability("0.01"),
        rules: Vec::new(),
        limit: None,
        honour_parent: true,
        dry_run: false,
    }
}

fn labelled(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Policy {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Policy {
        selector: Selector {
            match_labels: labels.collect(),
            ..Selector::default()
        },
        ..policy(namespace, name)
    }
}

fn sli(id: &str) -> SliSpec {
    SliSpec {
        id: id.into(),
        namespace: "shop".to_owned(),
        workload: "checkout".to_owned(),
        container: String::new(),
        bad: BTreeSet::from([HttpStatus::Class(5)]),
        slower_than: None,
        routes: BTreeSet::new(),
        report_interval: Duration::from_secs(10),
    }
}

fn plan(policies: &[Policy], slis: &[SliSpec]) -> NodePlan {
    compile(ROOT, policies, slis, &Scope::All, 1).expect("a plan")
}

fn order(policies: &[Policy]) -> Vec<String> {
    plan(policies, &[])
        .policies
        .iter()
        .map(|planned| planned.policy.id())
        .collect()
}

#[test]
fn its_namespace_then_priority_then_age_then_name_decide() {
    let high = Policy {
        priority: 10,
        created: Millis(9_000),
        ..policy("shop", "z-high")
    };
    let old = Policy {
        created: Millis(1),
        ..policy("shop", "z-old")
    };
    let root = Policy {
        priority: 1_000,
        created: Millis(0),
        ..policy(ROOT, "a-root")
    };
    let shuffled = [root, policy("shop", "b"), old, policy("shop", "a"), high];
    assert_eq!(
        order(&shuffled),
        ["shop/z-high", "shop/z-old", "shop/a", "shop/b", "shoalwatch/a-root"]
    );
    assert!(plan(&shuffled, &[]).policies.last().unwrap().everywhere);
}

#[test]
fn a_policy_that_never_applies_is_named_with_its_winner() {
    let winner = Policy {
        priority: 1,
        ..policy("shop", "all")
    };
    let loser = labelled("shop", "some", &[("app", "checkout")]);
    let elsewhere = policy("bank", "all");
    let found = overridden(ROOT, &[loser, elsewhere, winner, policy(ROOT, "default")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].policy.as_str(), found[0].by.as_str()),
        ("shop/some", "shop/all")
    );
}

#[test]
fn only_a_selector_that_surely_covers_overrides() {
    let strong = |labels: &[(&str, &str)]| Policy {
        priority: 1,
        ..labelled("shop", "strong", labels)
    };
    let weak = labelled("shop", "weak", &[("app", "checkout"), ("tier", "web")]);
    let beaten = |strong: Policy| !overridden(ROOT, &[strong, weak.clone()]).is_empty();
    assert!(beaten(strong(&[("app", "checkout")])));
    assert!(beaten(strong(&[("app", "checkout"), ("tier", "web")])));
    assert!(!beaten(strong(&[("app", "cart")])));
    assert!(!beaten(strong(&[("app", "checkout"), ("zone", "a")])));
    let mut exists = strong(&[]);
    let requirement = Requirement {
        key: "app".to_owned(),
        operator: Operator::Exists,
        values: BTreeSet::new(),
    };
    exists.selector.match_expressions.insert(requirement);
    assert!(
        !beaten(exists),
        "it does cover, but that is not proven by looking for equal requirements"
    );
}

#[test]
fn a_weaker_default_for_every_namespace_is_overridden_by_a_stronger_one() {
    let strong = Policy {
        priority: 1,
        ..policy(ROOT, "strong")
    };
    let found = overridden(ROOT, &[policy(ROOT, "weak"), strong]);
    assert_eq!(found[0].policy, "shoalwatch/weak");
}

/// Namespaces, and the workload that has pods there.
fn pods(of: &[(&str, &str)]) -> Scope {
    let mut pods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (namespace, workload) in of {
        pods.entry((*namespace).to_owned())
            .or_default()
            .insert((*workload).to_owned());
    }
    Scope::Pods(pods)
}

fn names(plan: &NodePlan) -> (Vec<String>, Vec<String>) {
    let policies = plan.policies.iter().map(|planned| planned.policy.id());
    let slis = plan.slis.iter().map(|sli| sli.id.as_str().to_owned());
    (policies.collect(), slis.collect())
}

#[test]
fn a_node_gets_what_its_pods_need_and_nothing_else() {
    let policies = [policy("shop", "a"), policy("bank", "b"), policy(ROOT, "c")];
    let slis = [
        sli("one"),
        SliSpec {
            workload: "cart".to_owned(),
            ..sli("two")
        },
    ];
    let plan = |scope: &Scope| names(&compile(ROOT, &policies, &slis, scope, 1).unwrap());
    let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let shop = strings(&["shop/a", "shoalwatch/c"]);
    assert_eq!(plan(&pods(&[("shop", "checkout")])), (shop.clone(), strings(&["one"])));
    assert_eq!(plan(&pods(&[("shop", "")])), (shop, vec![]));
    assert_eq!(
        plan(&pods(&[("bank", "checkout")])),
        (strings(&["bank/b", "shoalwatch/c"]), vec![])
    );
    assert_eq!(plan(&pods(&[])), (strings(&["shoalwatch/c"]), vec![]));
}

#[test]
fn a_cluster_may_have_more_of_everything_than_a_node() {
    let policies: Vec<_> = (0..1_000).map(|number| policy(&number.to_string(), "a")).collect();
    let slis: Vec<_> = (0..1_000)
        .map(|number| SliSpec {
            namespace: number.to_string(),
            ..sli(&number.to_string())
        })
        .collect();
    let plan = compile(ROOT, &policies, &slis, &pods(&[("7", "checkout"), ("8", "cart")]), 1).unwrap();
    assert_eq!((plan.policies.len(), plan.slis.len()), (2, 1));
}

#[test]
fn an_edit_touches_the_nodes_of_its_namespace_and_a_default_touches_all() {
    let catalog = |policies: &[Policy]| Catalog::new(ROOT, policies.to_vec(), vec![sli("one")]);
    let (shop, bank, root) = (policy("shop", "a"), policy("bank", "b"), policy(ROOT, "c"));
    let edited = Policy {
        probability: probability("0.5"),
        ..shop.clone()
    };
    let before = catalog(&[shop.clone(), bank.clone(), root.clone()]);
    let after = catalog(&[root.clone(), bank.clone(), edited]);
    let touched = after.touched_since(&before);
    assert_eq!(touched, Touched::Namespaces(BTreeSet::from(["shop".to_owned()])));
    assert!(touched.concerns(&pods(&[("shop", "")])) && touched.concerns(&Scope::All));
    assert!(!touched.concerns(&pods(&[("bank", "checkout")])));
    assert_eq!(
        catalog(&[shop.clone(), bank.clone()]).touched_since(&before),
        Touched::Everything
    );
    assert!(!before.touched_since(&before.clone()).concerns(&Scope::All));
    assert!(
        catalog(&[shop, root])
            .touched_since(&before)
            .concerns(&pods(&[("bank", "")]))
    );
}

#[test]
fn too_many_policies_make_no_plan() {
    let policies: Vec<_> = (0..=MAX_POLICIES)
        .map(|number| policy("shop", &number.to_string()))
        .collect();
    assert_eq!(
        compile(ROOT, &policies, &[], &Scope::All, 1),
        Err(PlanError::TooManyPolicies(257))
    );
    assert!(compile(ROOT, &policies[1..], &[], &Scope::All, 1).is_ok());
}

#[test]
fn the_term_is_no_part_of_the_hash() {
    let policies = [policy("shop", "a")];
    let (one, two) = (
        plan(&policies, &[]),
        compile(ROOT, &policies, &[], &Scope::All, 2).unwrap(),
    );
    assert_eq!(one.version.hash, two.version.hash);
    assert_ne!(one.version, two.version);
}

#[test]
fn the_hash_does_not_change_between_builds() {
    // A changed value here means: every node is pushed its plan once more after the upgrade.
    let hash = plan(&[labelled("shop", "a", &[("app", "x")])], &[sli("one")])
        .version
        .hash;
    assert_eq!(hash, "065c8112f4239eab5c1ecc05b3187b61defebd53056e2112606dd4422bf8b696");
}

/// Hashes of `base` and of each of its variants, made by `plan`.
fn hashes<T: Clone>(base: &T, changes: &[fn(&mut T)], plan: impl Fn(&T) -> NodePlan) -> BTreeSet<String> {
    let variants = changes.iter().map(|change| {
        let mut variant = base.clone();
        change(&mut variant);
        plan(&variant).version.hash
    });
    variants.chain([plan(base).version.hash]).collect()
}

fn limit(traces_per_second: u32, burst: u32) -> Limit {
    Limit {
        traces_per_second,
        burst,
    }
}

fn require(operator: Operator) -> BTreeSet<Requirement> {
    BTreeSet::from([Requirement {
        key: "app".to_owned(),
        operator,
        values: BTreeSet::new(),
    }])
}

#[test]
fn every_member_of_a_policy_changes_the_hash() {
    let rule = Rule {
        name: "r".to_owned(),
        route: None,
        methods: BTreeSet::new(),
        status: BTreeSet::new(),
        duration_at_least: None,
        probability: probability("1"),
    };
    let base = Policy {
        rules: vec![rule],
        ..policy("shop", "a")
    };
    let changes: &[fn(&mut Policy)] = &[
        |policy| policy.namespace = "bank".to_owned(),
        |policy| policy.name = "b".to_owned(),
        |policy| policy.probability = probability("0.02"),
        |policy| policy.rules.push(policy.rules[0].clone()),
        |policy| policy.honour_parent = false,
        |policy| policy.dry_run = true,
        |policy| policy.limit = Some(limit(1, 2)),
        |policy| policy.limit = Some(limit(2, 1)),
        |policy| drop(policy.selector.match_labels.insert("app".to_owned(), "x".to_owned())),
        |policy| policy.selector.match_expressions = require(Operator::Exists),
        |policy| policy.selector.match_expressions = require(Operator::DoesNotExist),
        |policy| policy.rules[0].name = "s".to_owned(),
        |policy| policy.rules[0].route = Some(Route::Exact("/a".to_owned())),
        |policy| policy.rules[0].route = Some(Route::Prefix("/a".to_owned())),
        |policy| policy.rules[0].methods = BTreeSet::from(["GET".to_owned()]),
        |policy| policy.rules[0].status = BTreeSet::from([HttpStatus::Class(5)]),
        |policy| policy.rules[0].status = BTreeSet::from([HttpStatus::Code(5)]),
        |policy| policy.rules[0].status = BTreeSet::from([HttpStatus::Aborted]),
        |policy| policy.rules[0].duration_at_least = Some(Duration::ZERO),
        |policy| policy.rules[0].duration_at_least = Some(Duration::from_nanos(1)),
        |policy| policy.rules[0].probability = probability("0"),
    ];
    let hashes = hashes(&base, changes, |policy| plan(std::slice::from_ref(policy), &[]));
    assert_eq!(hashes.len(), changes.len() + 1);
}

#[test]
fn every_member_of_an_indicator_changes_the_hash() {
    let changes: &[fn(&mut SliSpec)] = &[
        |sli| sli.id = "two".into(),
        |sli| sli.namespace = "bank".to_owned(),
        |sli| sli.workload = "cart".to_owned(),
        |sli| sli.container = "app".to_owned(),
        |sli| sli.bad = BTreeSet::from([HttpStatus::Code(503)]),
        |sli| sli.bad = BTreeSet::from([HttpStatus::Aborted]),
        |sli| sli.slower_than = Some(Duration::ZERO),
        |sli| sli.slower_than = Some(Duration::from_millis(250)),
        |sli| sli.routes = BTreeSet::from(["/a".to_owned()]),
        |sli| sli.report_interval = Duration::from_secs(1),
    ];
    let hashes = hashes(&sli("one"), changes, |sli| plan(&[], std::slice::from_ref(sli)));
    assert_eq!(hashes.len(), changes.len() + 1);
}

#[test]
fn priority_and_age_change_the_hash_only_with_the_order() {
    let pair = |priority, created: i64| {
        let other = Policy {
            priority,
            created: Millis(created),
            ..policy("shop", "b")
        };
        plan(&[policy("shop", "a"), other], &[]).version.hash
    };
    assert_eq!(pair(-1, 1_000), pair(-7, 1_000));
    assert_eq!(pair(0, 2_000), pair(0, 3_000));
    assert_ne!(pair(0, 1_000), pair(1, 1_000));
    assert_ne!(pair(0, 1_000), pair(0, 1));
}

#[test]
fn probabilities_and_statuses_are_read_strictly() {
    for text in ["0", "1", "0.01", "1.0", "0.5"] {
        assert!(text.parse::<Probability>().is_ok(), "{text}");
    }
    for text in ["", "-0.1", "1.01", "NaN", "inf", "1e-2", "+1", ".", "0,5", " 1"] {
        assert!(text.parse::<Probability>().is_err(), "{text:?}");
    }
    assert_eq!("5xx".parse(), Ok(HttpStatus::Class(5)));
    assert_eq!("503".parse(), Ok(HttpStatus::Code(503)));
    assert_eq!("Aborted".parse(), Ok(HttpStatus::Aborted));
    for text in [
        "", "6xx", "0xx", "5XX", "99", "600", "5000", "abc", "5x", "+50", "aborted", "Aborted ",
    ] {
        assert!(text.parse::<HttpStatus>().is_err(), "{text:?}");
    }
    assert_eq!(
        [HttpStatus::Class(5), HttpStatus::Code(404), HttpStatus::Aborted].map(|status| status.to_string()),
        ["5xx", "404", "Aborted"]
    );
    assert!(
        HttpStatus::Class(5).matches(503) && !HttpStatus::Class(5).matches(404) && HttpStatus::Code(404).matches(404)
    );
    assert!((0..=u16::MAX).all(|code| !HttpStatus::Aborted.matches(code)));
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let labels = prop::collection::btree_map("[ab]", "[xy]", 0..3);
    (0_usize..3, "[a-c]", -2_i32..3, 0_i64..3, labels).prop_map(|(namespace, name, priority, created, labels)| {
        let namespace = ["shop", "bank", ROOT][namespace];
        let selector = Selector {
            match_labels: labels,
            ..Selector::default()
        };
        Policy {
            priority,
            created: Millis(created),
            selector,
            ..policy(namespace, &name)
        }
    })
}

/// Kubernetes has one object per name.
fn distinct(policies: Vec<Policy>) -> Vec<Policy> {
    policies
        .into_iter()
        .map(|policy| (policy.id(), policy))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}

/// The winner by the letter of the rule, found without sorting.
fn naive_winner<'a>(policies: &'a [Policy], namespace: &str, labels: &BTreeMap<String, String>) -> Option<&'a Policy> {
    let selects = |policy: &&Policy| {
        let here = policy.namespace == namespace || policy.namespace == ROOT;
        here && policy
            .selector
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    let beats = |one: &Policy, other: &Policy| {
        let own = |policy: &Policy| policy.namespace == namespace;
        match (own(one), own(other)) {
            (true, false) => true,
            (false, true) => false,
            _ if one.priority != other.priority => one.priority > other.priority,
            _ if one.created != other.created => one.created < other.created,
            _ => one.name < other.name,
        }
    };
    let candidates: Vec<&Policy> = policies.iter().filter(selects).collect();
    let unbeaten = |policy: &&&Policy| {
        !candidates
            .iter()
            .any(|other| other.id() != policy.id() && beats(other, policy))
    };
    candidates.iter().find(unbeaten).copied()
}

proptest! {
    #[test]
    fn the_first_match_of_a_plan_is_the_winner_by_the_rule(
        policies in prop::collection::vec(any_policy(), 0..8),
        pod_labels in prop::collection::btree_map("[ab]", "[xy]", 0..3),
        namespace in 0_usize..3,
    ) {
        let (policies, namespace) = (distinct(policies), ["shop", "bank", ROOT][namespace]);
        let plan = plan(&policies, &[]);
        let first = plan.policies.iter().find(|planned| {
            let here = planned.everywhere || planned.policy.namespace == namespace;
            here && planned.policy.selector.match_labels.iter().all(|(key, value)| pod_labels.get(key) == Some(value))
        });
        let winner = naive_winner(&policies, namespace, &pod_labels);
        prop_assert_eq!(first.map(|planned| planned.policy.id()), winner.map(Policy::id));
        for lost in overridden(ROOT, &policies) {
            prop_assert_ne!(Some(lost.policy), winner.map(Policy::id), "an overridden policy won");
        }
    }

    #[test]
    fn narrowing_changes_nothing_for_the_pods_that_are_there(
        policies in prop::collection::vec(any_policy(), 0..8), namespace in 0_usize..3,
    ) {
        let (policies, namespace) = (distinct(policies), ["shop", "bank", ROOT][namespace]);
        let concerns = |plan: &NodePlan| -> Vec<String> {
            let here = plan.policies.iter().filter(|planned| planned.everywhere || planned.policy.namespace == namespace);
            here.map(|planned| planned.policy.id()).collect()
        };
        let narrow = compile(ROOT, &policies, &[], &pods(&[(namespace, "")]), 1).unwrap();
        prop_assert_eq!(concerns(&narrow), concerns(&plan(&policies, &[])));
        prop_assert_eq!(narrow.policies.len(), concerns(&narrow).len(), "something else came along");
        let before = Catalog::new(ROOT, policies.iter().skip(1).cloned().collect(), Vec::new());
        let after = Catalog::new(ROOT, policies, Vec::new());
        let scope = pods(&[(namespace, "")]);
        if before.plan(&scope, 1) != after.plan(&scope, 1) {
            prop_assert!(after.touched_since(&before).concerns(&scope), "a node would not hear of it");
        }
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(
        (policies, shuffled) in prop::collection::vec(any_policy(), 0..8).prop_map(distinct)
            .prop_flat_map(|policies| (Just(policies.clone()), Just(policies).prop_shuffle())),
    ) {
        prop_assert_eq!(plan(&policies, &[sli("a"), sli("b")]), plan(&shuffled, &[sli("b"), sli("a")]));
    }
}
