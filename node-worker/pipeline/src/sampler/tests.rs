use super::*;
use crate::matching::RoutePattern;
use crate::request::tests::{request, status};
use crate::request::{Method, Status, Trace};
use proptest::prelude::*;
use shoalwatch_protocols::trace_context::{OtState, Randomness};

fn probability(text: &str) -> Probability {
    Probability::parse(text).unwrap()
}

fn spec(default: &str, rules: Vec<RuleSpec>) -> PolicySpec {
    PolicySpec {
        probability: probability(default),
        rules,
        parent: Parent::Honour,
        limit: None,
        dry_run: false,
    }
}

fn rule(name: &str, keep: &str) -> RuleSpec {
    RuleSpec {
        name: name.to_owned(),
        route: None,
        methods: Vec::new(),
        codes: Vec::new(),
        classes: Vec::new(),
        aborted: false,
        duration_at_least_ns: 0,
        probability: probability(keep),
    }
}

fn decide(spec: &PolicySpec, request: &Request<'_>) -> Judgement {
    Policy::compile(spec)
        .unwrap()
        .decide(request, request.trace.randomness(), request.trace.parent_sampled)
}

fn called(sampled: bool, th: Option<&str>) -> Trace {
    let th = th.and_then(|th| Threshold::parse(th.as_bytes()));
    Trace {
        parent_id: Some([1; 8]),
        parent_sampled: Some(sampled),
        ot: OtState {
            th,
            rv: Some(Randomness::from_low_bits(1 << 55)),
        },
        ..request().trace
    }
}

fn keep(th: Option<&str>) -> Decision {
    Decision::Keep {
        threshold: th.and_then(|th| Threshold::parse(th.as_bytes())),
    }
}

fn dropped(reason: DropReason) -> Decision {
    Decision::Drop { reason }
}

#[test]
fn a_decimal_becomes_the_threshold_of_the_specification() {
    for (text, th) in [
        ("1", "0"),
        ("1.0", "0"),
        ("0.5", "8"),
        ("0.25", "c"),
        ("0.01", "fd70a3d70a3d71"),
        ("0.75", "4"),
    ] {
        assert_eq!(
            probability(text).threshold().map(|th| th.to_string()).as_deref(),
            Some(th),
            "{text}"
        );
    }
    assert_eq!(probability("0.000").threshold(), None);
    assert_eq!(
        Probability::from_f64(1e-300).unwrap().threshold().map(Threshold::get),
        Some((1 << 56) - 1)
    );
    assert_eq!(
        probability("0.000000000000000001").threshold().map(Threshold::get),
        Some((1 << 56) - 1)
    );
}

#[test]
fn what_is_no_probability_is_refused() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "-0.1",
        "+1",
        "1e-3",
        "0,5",
        "0.0000000000000000001",
        "99999999999999999999",
        " 1",
    ] {
        assert_eq!(Probability::parse(text), Err(BadProbability::Format), "{text:?}");
    }
    assert_eq!(Probability::parse("1.000001"), Err(BadProbability::Range));
    for value in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
        assert_eq!(Probability::from_f64(value), Err(BadProbability::Range), "{value}");
    }
    assert_eq!(Probability::from_f64(-0.0), Ok(Probability::NEVER));
}

#[test]
fn an_unknown_method_or_status_is_refused_by_name() {
    let bad = RuleSpec {
        methods: vec!["PURGE".to_owned()],
        ..rule("cache", "1")
    };
    let error = Policy::compile(&spec("1", vec![bad])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("rules[cache].match.method: \"PURGE\" is not one of CONNECT"),
        "{error}"
    );
    let bad = RuleSpec {
        codes: vec![600],
        ..rule("odd", "1")
    };
    assert_eq!(Policy::compile(&spec("1", vec![bad])).unwrap_err().category(), "status");
    let bad = RuleSpec {
        classes: vec![6],
        ..rule("odd", "1")
    };
    assert_eq!(Policy::compile(&spec("1", vec![bad])).unwrap_err().category(), "status");
    let many = vec![rule("x", "1"); MAX_RULES + 1];
    assert_eq!(Policy::compile(&spec("1", many)), Err(BadPolicy::TooManyRules(33)));
}

#[test]
fn the_first_rule_that_matches_decides_even_if_a_later_one_would_keep() {
    let health = RuleSpec {
        route: Some(RoutePattern::Prefix("/health".into())),
        ..rule("health", "0")
    };
    let failures = RuleSpec {
        classes: vec![5],
        ..rule("failures", "1")
    };
    let policy = spec("0", vec![health, failures]);
    let failed = Request {
        status: status(503),
        template: "/healthz",
        ..request()
    };
    assert_eq!(
        decide(&policy, &failed),
        Judgement {
            decision: dropped(DropReason::Never),
            rule: Some(0)
        }
    );
    let failed = Request {
        template: "/cart",
        ..failed
    };
    assert_eq!(
        decide(&policy, &failed),
        Judgement {
            decision: keep(Some("0")),
            rule: Some(1)
        }
    );
    assert_eq!(
        decide(&policy, &request()),
        Judgement {
            decision: dropped(DropReason::Never),
            rule: None
        }
    );
}

#[test]
fn a_callers_decision_beats_a_probability_but_not_zero() {
    for (policy, sampled, expected) in [
        ("0.000001", true, keep(None)),
        ("1", false, dropped(DropReason::Parent)),
        ("0", true, dropped(DropReason::Never)),
    ] {
        let request = Request {
            trace: called(sampled, None),
            ..request()
        };
        assert_eq!(decide(&spec(policy, Vec::new()), &request).decision, expected);
        let by_rule = spec("0.5", vec![rule("all", policy)]);
        assert_eq!(decide(&by_rule, &request).decision, expected);
    }
}

#[test]
fn an_aborted_request_has_no_code_and_no_class_but_a_name() {
    let aborted = Request {
        status: Status::ABORTED,
        ..request()
    };
    let every_class = RuleSpec {
        classes: vec![1, 2, 3, 4, 5],
        ..rule("answered", "1")
    };
    let named = RuleSpec {
        aborted: true,
        ..rule("aborted", "1")
    };
    let rules = spec("0", vec![every_class, named, rule("any", "1")]);
    assert_eq!(decide(&rules, &aborted).rule, Some(1));
    assert_eq!(decide(&rules, &request()).rule, Some(0));
    let outside = Request {
        status: status(600),
        ..request()
    };
    assert_eq!(
        decide(&rules, &outside).rule,
        Some(2),
        "a name is not for codes that no class has"
    );
}

#[test]
fn a_policy_that_ignores_its_caller_decides_by_probability() {
    let ignoring = |probability| PolicySpec {
        parent: Parent::Ignore,
        ..spec(probability, Vec::new())
    };
    let unsampled = Request {
        trace: called(false, Some("c")),
        ..request()
    };
    assert_eq!(decide(&ignoring("0.5"), &unsampled).decision, keep(Some("8")));
    let sampled = Request {
        trace: called(true, Some("0")),
        ..request()
    };
    assert_eq!(
        decide(&ignoring("0.4"), &sampled).decision,
        dropped(DropReason::Probability)
    );
}

#[test]
fn the_callers_threshold_is_passed_on_unless_it_contradicts_the_flag() {
    let decision = |th| {
        decide(
            &spec("1", Vec::new()),
            &Request {
                trace: called(true, Some(th)),
                ..request()
            },
        )
        .decision
    };
    // The trace's randomness is exactly one half.
    assert_eq!(decision("8"), keep(Some("8")));
    assert_eq!(decision("80000000000001"), keep(None));
}

#[test]
fn the_limit_drops_what_everything_else_keeps() {
    let limit = Some(Limit {
        per_second: 1,
        burst: 2,
    });
    let mut sampler = Sampler::new(
        Policy::compile(&PolicySpec {
            limit,
            ..spec("1", Vec::new())
        })
        .unwrap(),
        0,
    );
    let request = Request {
        trace: called(true, None),
        ..request()
    };
    let verdicts: Vec<Decision> = (0..3).map(|_| sampler.decide(&request, 0).in_force).collect();
    assert_eq!(verdicts, [keep(None), keep(None), dropped(DropReason::RateLimited)]);
}

#[test]
fn what_is_dropped_anyway_takes_nothing_from_the_limit() {
    let limit = Some(Limit {
        per_second: 1,
        burst: 1,
    });
    let health = RuleSpec {
        route: Some(RoutePattern::Exact("/healthz".into())),
        ..rule("health", "0")
    };
    let policy = Policy::compile(&PolicySpec {
        limit,
        ..spec("1", vec![health])
    })
    .unwrap();
    let mut sampler = Sampler::new(policy, 0);
    assert!(
        !sampler
            .decide(
                &Request {
                    template: "/healthz",
                    ..request()
                },
                0
            )
            .would
            .is_keep()
    );
    assert!(sampler.decide(&request(), 0).would.is_keep());
}

#[test]
fn a_dry_run_exports_nothing_and_says_what_it_would_do() {
    let limit = Some(Limit {
        per_second: 1,
        burst: 1,
    });
    let policy = PolicySpec {
        limit,
        dry_run: true,
        ..spec("1", vec![rule("all", "0.9999999")])
    };
    let mut sampler = Sampler::new(Policy::compile(&policy).unwrap(), 0);
    let trace = Trace {
        ot: OtState {
            rv: Some(Randomness::from_low_bits(u64::MAX)),
            th: None,
        },
        ..request().trace
    };
    let request = Request { trace, ..request() };
    let (first, second) = (sampler.decide(&request, 0), sampler.decide(&request, 0));
    assert!(first.would.is_keep() && second.would == dropped(DropReason::RateLimited));
    assert_eq!([first.in_force, second.in_force], [dropped(DropReason::DryRun); 2]);
    assert_eq!(first.rule, Some(0));
}

#[test]
fn an_edited_policy_does_not_give_a_new_burst() {
    let policy = |per_second, burst, default| {
        Policy::compile(&PolicySpec {
            limit: Some(Limit { per_second, burst }),
            ..spec(default, Vec::new())
        })
        .unwrap()
    };
    let mut sampler = Sampler::new(policy(1, 1, "1"), 0);
    assert!(sampler.decide(&request(), 0).would.is_keep());
    sampler.replace(policy(100, 1_000, "1"), 0);
    assert_eq!(sampler.decide(&request(), 0).would, dropped(DropReason::RateLimited));
    assert!(sampler.decide(&request(), 10_000_000).would.is_keep());
    sampler.replace(Policy::compile(&spec("1", Vec::new())).unwrap(), 10_000_000);
    assert!((0..100).all(|_| sampler.decide(&request(), 10_000_000).would.is_keep()));
}

/// Rules as the documentation says them, read from the spec without compiling it.
fn naive_rule(spec: &PolicySpec, request: &Request<'_>) -> Option<usize> {
    let named = |rule: &RuleSpec| match request.status.code() {
        Some(code) => rule.codes.contains(&code.into()) || rule.classes.contains(&(u32::from(code) / 100)),
        None => rule.aborted,
    };
    let any_status = |rule: &RuleSpec| rule.codes.is_empty() && rule.classes.is_empty() && !rule.aborted;
    spec.rules.iter().position(|rule| {
        let route = match &rule.route {
            None => true,
            Some(RoutePattern::Exact(route)) => *request.template == **route,
            Some(RoutePattern::Prefix(route)) => request.template.get(..route.len()) == Some(route),
        };
        let method = rule.methods.is_empty() || rule.methods.iter().any(|name| name == request.method.as_str());
        let status = any_status(rule) || named(rule);
        route && method && status && u128::from(request.end_ns - request.start_ns) >= rule.duration_at_least_ns.into()
    })
}

const ROUTES: [&str; 4] = ["/", "/a", "/a/{id}", "/ab"];

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let pattern = (prop::sample::select(&ROUTES[..]), any::<bool>()).prop_map(|(route, exact)| {
        if exact {
            RoutePattern::Exact(route.into())
        } else {
            RoutePattern::Prefix(route.into())
        }
    });
    let methods = prop::sample::subsequence(&Method::ALL[..], 0..=2);
    let codes = prop::collection::vec(prop::sample::select(&[200u32, 404, 503][..]), 0..2);
    let statuses = (codes, prop::collection::vec(1u32..=5, 0..2), any::<bool>());
    (prop::option::of(pattern), methods, statuses, 0u64..4, 0.0..=1.0f64).prop_map(
        |(route, methods, (codes, classes, aborted), duration_at_least_ns, keep)| RuleSpec {
            name: String::new(),
            route,
            methods: methods.iter().map(|method| method.as_str().to_owned()).collect(),
            codes,
            classes,
            aborted,
            duration_at_least_ns,
            probability: Probability::from_f64(keep).unwrap(),
        },
    )
}

proptest! {
    #[test]
    fn compiled_rules_match_as_the_written_ones_do(
        rules in prop::collection::vec(any_rule(), 0..8),
        method in prop::sample::select(&Method::ALL[..]),
        template in prop::sample::select(&ROUTES[..]),
        recorded in prop::sample::select(&[0u16, 200, 201, 404, 500, 503][..]),
        duration in 0u64..5,
        bits: u64,
    ) {
        let spec = spec("0.5", rules);
        let status = Status::recorded(recorded).unwrap();
        let request = Request { method, template, status, start_ns: 7, end_ns: 7 + duration, ..request() };
        let randomness = Randomness::from_low_bits(bits);
        let judgement = Policy::compile(&spec)?.decide(&request, randomness, None);
        prop_assert_eq!(judgement.rule, naive_rule(&spec, &request));
        let applied = judgement.rule.map_or(spec.probability, |rule| spec.rules[rule].probability);
        let kept = applied.threshold().filter(|threshold| threshold.keeps(randomness));
        prop_assert_eq!(judgement.decision.is_keep(), kept.is_some());
    }

    #[test]
    fn a_higher_probability_keeps_a_superset(one in 0.0..=1.0f64, other in 0.0..=1.0f64, bits: u64) {
        let (low, high) = (one.min(other), one.max(other));
        let randomness = Randomness::from_low_bits(bits);
        let keeps = |value| Probability::from_f64(value).unwrap().threshold().is_some_and(|th| th.keeps(randomness));
        prop_assert!(!keeps(low) || keeps(high));
    }

    #[test]
    fn a_kept_span_carries_the_threshold_it_was_kept_by(value in 1e-6..=1.0f64, bits: u64) {
        let policy = PolicySpec { probability: Probability::from_f64(value)?, ..spec("0", Vec::new()) };
        let randomness = Randomness::from_low_bits(bits);
        if let Decision::Keep { threshold } = Policy::compile(&policy)?.decide(&request(), randomness, None).decision {
            let read_back = threshold.and_then(|threshold| Threshold::parse(threshold.to_string().as_bytes()));
            prop_assert_eq!(read_back, policy.probability.threshold());
            prop_assert!(read_back.is_some_and(|threshold| threshold.keeps(randomness)));
        }
    }

    #[test]
    fn the_share_of_randomness_that_is_kept_is_the_probability(places in 1usize..=9, digits in 1u64..1_000_000_000) {
        // A decimal's exact share of 2^56, by another way than the parser's: long division.
        let digits = digits % 10u64.pow(u32::try_from(places)?) ;
        prop_assume!(digits > 0);
        let text = format!("0.{digits:0places$}");
        let scale = 10f64.powi(i32::try_from(places)?);
        let threshold = probability(&text).threshold().map_or(0, Threshold::get);
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance of two parts in 2^52")]
        let (kept, expected) = (((1u64 << 56) - threshold) as f64, digits as f64 / scale * 2f64.powi(56));
        prop_assert!((kept - expected).abs() <= 0.5 + expected * 2f64.powi(-51), "{} {} {}", text, kept, expected);
    }

    #[test]
    fn a_double_and_its_decimal_are_at_most_eight_steps_apart(digits in 0u32..=1_000_000) {
        let value = f64::from(digits) / 1e6;
        let exact = probability(&format!("{}.{:06}", digits / 1_000_000, digits % 1_000_000));
        let steps = |probability: Probability| probability.threshold().map_or(1 << 56, Threshold::get);
        prop_assert!(steps(Probability::from_f64(value)?).abs_diff(steps(exact)) <= 8);
    }
}
