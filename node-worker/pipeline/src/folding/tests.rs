use super::*;
use crate::matching::RoutePattern;
use crate::request::{Request, Status, Trace, tests::request};
use crate::sampler::{Decision, DropReason, Parent, PolicySpec, Probability, RuleSpec};
use proptest::prelude::*;
use shoalwatch_ebpf_common::sampling::{self, BOUNDS, COLUMNS};
use shoalwatch_protocols::trace_context::{Randomness, Threshold};

const ROUTES: [&str; 4] = ["/", "/a", "/a/{id}", "_OTHER"];
const DURATIONS: [u64; 6] = [0, 1, 2, 1_000_000_000, u64::MAX - 1, u64::MAX];

fn spec(keep: f64, rules: Vec<RuleSpec>) -> PolicySpec {
    PolicySpec {
        probability: Probability::from_f64(keep).unwrap(),
        rules,
        parent: Parent::Honour,
        limit: None,
        dry_run: false,
    }
}

fn rule(keep: f64) -> RuleSpec {
    RuleSpec {
        name: String::new(),
        route: None,
        methods: Vec::new(),
        codes: Vec::new(),
        classes: Vec::new(),
        aborted: false,
        duration_at_least_ns: 0,
        probability: Probability::from_f64(keep).unwrap(),
    }
}

fn for_code(code: u32, keep: f64) -> RuleSpec {
    RuleSpec {
        codes: vec![code],
        ..rule(keep)
    }
}

fn from_duration(duration_at_least_ns: u64, keep: f64) -> RuleSpec {
    RuleSpec {
        duration_at_least_ns,
        ..rule(keep)
    }
}

fn row_of(spec: &PolicySpec) -> Row {
    row(&Policy::compile(spec).unwrap(), "/", Method::Get)
}

fn keep() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64]
}

fn route() -> impl Strategy<Value = Option<RoutePattern>> {
    prop_oneof![
        2 => Just(None),
        1 => prop::sample::select(&ROUTES[..]).prop_map(|route| Some(RoutePattern::Exact(route.into()))),
        1 => prop::sample::select(&ROUTES[..]).prop_map(|route| Some(RoutePattern::Prefix(route.into()))),
    ]
}

/// Codes, classes, and whether aborted requests are meant.
fn statuses() -> impl Strategy<Value = (Vec<u32>, Vec<u32>, bool)> {
    let codes = prop::collection::vec(
        prop_oneof![prop::sample::select(&[200, 404, 503, 599][..]), 100..600u32],
        0..3,
    );
    (codes, prop::collection::vec(1..=5u32, 0..2), prop::bool::weighted(0.2))
}

/// With one of so many durations above 0.
fn any_rule(durations: usize) -> impl Strategy<Value = RuleSpec> {
    let methods = prop::sample::subsequence(&Method::ALL[..], 0..=2);
    let durations = prop::sample::select(&DURATIONS[..=durations]);
    (route(), methods, statuses(), durations, keep()).prop_map(
        |(route, methods, (codes, classes, aborted), duration_at_least_ns, keep)| RuleSpec {
            route,
            methods: methods.iter().map(|method| method.as_str().to_owned()).collect(),
            codes,
            classes,
            aborted,
            duration_at_least_ns,
            ..rule(keep)
        },
    )
}

fn any_policy(rules: usize, durations: usize) -> impl Strategy<Value = PolicySpec> {
    let rules = prop::collection::vec(any_rule(durations), 0..=rules);
    (keep(), rules, any::<bool>()).prop_map(|(keep, rules, honour)| PolicySpec {
        parent: if honour { Parent::Honour } else { Parent::Ignore },
        ..spec(keep, rules)
    })
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    template: &'static str,
    method: Method,
    status: u16,
    duration_ns: u64,
    parent: Option<bool>,
    randomness: u64,
}

impl Asked {
    fn kernel(&self, policy: &Policy) -> (u64, sampling::Decision) {
        let row = row(policy, self.template, self.method);
        let threshold = row.threshold(self.status, self.duration_ns);
        let randomness = Randomness::from_low_bits(self.randomness).get();
        (
            threshold,
            sampling::decide(threshold, row.flags, self.parent, randomness),
        )
    }

    fn user_space(&self, policy: &Policy) -> Decision {
        let trace = Trace {
            parent_sampled: self.parent,
            ..request().trace
        };
        let request = Request {
            template: self.template,
            method: self.method,
            status: Status::recorded(self.status).unwrap(),
            start_ns: 0,
            end_ns: self.duration_ns,
            trace,
            ..request()
        };
        policy
            .decide(&request, Randomness::from_low_bits(self.randomness), self.parent)
            .decision
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let status = prop_oneof![
        prop::sample::select(&[0, 200, 404, 503, 599, 600, 999][..]),
        100..=999u16
    ];
    let bound = (prop::sample::select(&DURATIONS[..]), 0..3u64);
    let duration = prop_oneof![
        bound.prop_map(|(bound, more)| bound.saturating_sub(1).saturating_add(more)),
        any::<u64>()
    ];
    (
        prop::sample::select(&ROUTES[..]),
        prop::sample::select(&Method::ALL[..]),
        status,
        duration,
        any::<Option<bool>>(),
        any::<u64>(),
    )
        .prop_map(|(template, method, status, duration_ns, parent, randomness)| Asked {
            template,
            method,
            status,
            duration_ns,
            parent,
            randomness,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_kernel_decides_as_user_space_does(spec in any_policy(8, DURATIONS.len() - 1), asked in asked()) {
        let policy = Policy::compile(&spec)?;
        let (threshold, kernel) = asked.kernel(&policy);
        let user_space = asked.user_space(&policy);
        let drop = |reason| Decision::Drop { reason };
        let by_caller = spec.parent == Parent::Honour && asked.parent.is_some();
        match kernel {
            sampling::Decision::Undecided => {}
            sampling::Decision::Keep => {
                let threshold = Threshold::new(threshold);
                prop_assert!(threshold.is_some());
                // A caller that says no threshold gives none; else it is the one to be written.
                let threshold = threshold.filter(|_| !by_caller);
                prop_assert_eq!(user_space, Decision::Keep { threshold });
                prop_assert!(threshold.is_none_or(|th| th.keeps(Randomness::from_low_bits(asked.randomness))));
            }
            sampling::Decision::Probability => prop_assert_eq!(user_space, drop(DropReason::Probability)),
            sampling::Decision::Never => prop_assert_eq!(user_space, drop(DropReason::Never)),
            sampling::Decision::Parent => prop_assert_eq!(user_space, drop(DropReason::Parent)),
            sampling::Decision::RateLimited => prop_assert!(false, "a row has no limit"),
        }
    }

    #[test]
    fn a_policy_of_four_rules_and_three_durations_is_decided_in_the_kernel(spec in any_policy(4, BOUNDS), asked in asked()) {
        let (_, kernel) = asked.kernel(&Policy::compile(&spec)?);
        prop_assert_ne!(kernel, sampling::Decision::Undecided);
    }

    #[test]
    fn a_higher_probability_keeps_a_superset(
        spec in any_policy(4, BOUNDS),
        asked in asked(),
        which in any::<prop::sample::Index>(),
        other in keep(),
    ) {
        let mut higher = spec.clone();
        let raised = match which.index(spec.rules.len() + 1).checked_sub(1) {
            Some(rule) => &mut higher.rules[rule].probability,
            None => &mut higher.probability,
        };
        *raised = (*raised).max(Probability::from_f64(other)?);
        let [(_, low), (_, high)] = [&spec, &higher].map(|spec| asked.kernel(&Policy::compile(spec).unwrap()));
        let undecided = high == sampling::Decision::Undecided;
        prop_assert!(undecided || low != sampling::Decision::Keep || high == sampling::Decision::Keep);
    }

    #[test]
    fn what_no_request_can_reach_changes_no_row(spec in any_policy(8, 4), asked in asked(), unreached in any_rule(5)) {
        let rows = |spec: &PolicySpec| Policy::compile(spec).map(|policy| row(&policy, asked.template, asked.method));
        let mut twice = spec.clone();
        twice.rules.extend(spec.rules.clone());
        prop_assert_eq!(rows(&twice)?, rows(&spec)?);
        let mut ended = spec;
        ended.rules.push(rule(0.5));
        let shorter = rows(&ended)?;
        ended.rules.push(unreached);
        prop_assert_eq!(rows(&ended)?, shorter);
    }

    #[test]
    fn a_route_has_the_row_of_each_method_by_its_number(specs in prop::collection::vec(any_policy(6, 4), 1..4)) {
        let mut table = RowTable::new();
        for spec in &specs {
            let policy = Policy::compile(spec)?;
            for template in ROUTES {
                let places = route_rows(&mut table, Some(&policy), template);
                for method in Method::ALL {
                    let place = usize::from(places.rows[method as usize]);
                    prop_assert_eq!(table.rows()[place], row(&policy, template, method));
                }
                prop_assert_eq!(places.rows[Method::ALL.len()], NEVER);
            }
        }
        prop_assert_eq!((table.rows()[0], table.rows()[1]), (Row::NEVER, Row::UNDECIDED));
        let again = |index| table.rows()[..index].contains(&table.rows()[index]);
        prop_assert!(!(0..table.rows().len()).any(again));
    }
}

#[test]
fn a_method_that_a_rule_names_has_a_row_of_its_own() {
    let writes = RuleSpec {
        methods: vec!["POST".to_owned(), "PUT".to_owned()],
        ..rule(1.0)
    };
    let policy = Policy::compile(&spec(0.5, vec![writes])).unwrap();
    let mut table = RowTable::new();
    let places = route_rows(&mut table, Some(&policy), "/").rows;
    for method in Method::ALL {
        let expected = if matches!(method, Method::Post | Method::Put) {
            3
        } else {
            2
        };
        assert_eq!(places[method as usize], expected, "{method:?}");
    }
    assert_eq!(table.rows().len(), 4);
}

#[test]
fn nothing_is_kept_of_what_no_policy_covers() {
    let mut table = RowTable::new();
    assert_eq!(route_rows(&mut table, None, "/"), RouteRows::default());
    let nothing = Policy::compile(&spec(0.0, vec![for_code(500, 0.0)])).unwrap();
    assert_eq!(route_rows(&mut table, Some(&nothing), "/"), RouteRows::default());
    assert_eq!(table.rows()[usize::from(NEVER)], Row::NEVER);
}

#[test]
fn a_dry_run_is_left_to_user_space() {
    let policy = PolicySpec {
        dry_run: true,
        ..spec(0.0, Vec::new())
    };
    assert_eq!(row_of(&policy), Row::UNDECIDED);
}

#[test]
fn durations_count_where_they_change_something() {
    let with = |keep: fn(u64) -> f64, rules: u64| {
        let longest_first = (1..=rules).rev();
        row_of(&spec(
            0.0,
            longest_first.map(|ns| from_duration(ns, keep(ns))).collect(),
        ))
    };
    let distinct: fn(u64) -> f64 = |ns| if ns % 2 == 0 { 0.25 } else { 0.75 };
    assert_eq!(with(distinct, 3).bounds_ns, [1, 2, 3]);
    assert_eq!(with(distinct, 4), Row::UNDECIDED);
    let same = with(|_| 0.25, 20);
    assert_eq!(same.bounds_ns, [1, u64::MAX, u64::MAX]);
    assert_eq!(same, with(|_| 0.25, 1));
}

#[test]
fn statuses_count_where_they_differ() {
    let codes = |count: usize, keep: fn(usize) -> f64| {
        let codes = (200..).zip(0..count);
        row_of(&spec(
            0.0,
            codes.map(|(code, index)| for_code(code, keep(index))).collect(),
        ))
    };
    // One more column is that of all others.
    let distinct: fn(usize) -> f64 = |index| 1.0 / f64::from(u32::try_from(index + 1).unwrap());
    let full = codes(COLUMNS - 1, distinct);
    assert_eq!(usize::from(*full.column.iter().max().unwrap()), COLUMNS - 1);
    assert_eq!(codes(COLUMNS, distinct), Row::UNDECIDED);
    assert_eq!(codes(COLUMNS, |_| 0.5).column.iter().max(), Some(&1));
}

#[test]
fn an_aborted_request_is_none_with_a_code_that_no_rule_can_name() {
    let named = RuleSpec {
        aborted: true,
        ..rule(1.0)
    };
    let row = row_of(&spec(0.0, vec![named.clone()]));
    assert_eq!([row.threshold(0, 0), row.threshold(600, 0)], [0, sampling::NEVER]);
    let row = row_of(&spec(1.0, vec![for_code(500, 0.0), named]));
    assert_eq!(
        [0, 600, 500].map(|status| row.threshold(status, 0)),
        [0, 0, sampling::NEVER]
    );
}

#[test]
fn a_full_table_leaves_new_rows_to_user_space_and_counts_them() {
    let mut table = RowTable::default();
    let numbered = |number: u64| {
        let mut row = Row::NEVER;
        row.thresholds[0][0] = number;
        row
    };
    let free = u64::from(MAX_ROWS) - 2;
    let places: Vec<u16> = (0..free + 3).map(|number| table.place(numbered(number))).collect();
    let expected = (2..MAX_ROWS).map(|place| u16::try_from(place).unwrap());
    assert_eq!(places, expected.chain([UNDECIDED; 3]).collect::<Vec<_>>());
    assert_eq!((table.rows().len(), table.overflowed()), (MAX_ROWS as usize, 3));
    assert_eq!(table.place(numbered(7)), 9, "what is there is found");
    assert_eq!(
        (table.place(Row::NEVER), table.place(Row::UNDECIDED)),
        (NEVER, UNDECIDED)
    );
    assert_eq!(table.overflowed(), 3);
}
