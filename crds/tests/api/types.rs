//! What the types say of themselves.

use serde_json::{Value, json};
use shoalwatch_crds::SloSpec;
use shoalwatch_crds::sampling_policy::{Limit, Nodes, RouteMatch, RoutePattern};
use shoalwatch_crds::slo::{Indicator, default_alerts};

fn slo_spec(alerts: Value) -> SloSpec {
    let mut spec = json!({"targetRef": {"name": "a"}, "objective": "99", "indicator": {"http": {}}});
    spec["alerts"] = alerts;
    serde_json::from_value(spec).unwrap()
}

#[test]
fn alerts_that_the_api_server_wrote_are_not_explicit() {
    let written_by_the_server = serde_json::to_value(default_alerts()).unwrap();
    assert_eq!(slo_spec(written_by_the_server.clone()).explicit_alerts(), None);
    assert_eq!(slo_spec(json!([])).explicit_alerts(), Some(&[][..]));
    let one = json!([written_by_the_server[0]]);
    assert_eq!(slo_spec(one).explicit_alerts().map(<[_]>::len), Some(1));
}

#[test]
fn a_route_has_a_pattern_only_with_exactly_one_member() {
    let pattern = |exact: Option<&str>, prefix: Option<&str>| {
        let route = RouteMatch {
            exact: exact.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
        };
        match route.pattern() {
            Some(RoutePattern::Exact(exact)) => format!("exact {exact}"),
            Some(RoutePattern::Prefix(prefix)) => format!("prefix {prefix}"),
            None => "none".to_owned(),
        }
    };
    assert_eq!(pattern(Some("/a"), None), "exact /a");
    assert_eq!(pattern(None, Some("/b")), "prefix /b");
    assert_eq!(pattern(Some("/a"), Some("/b")), "none");
    assert_eq!(pattern(None, None), "none");
}

#[test]
fn a_limit_without_a_burst_lets_a_second_through_at_once() {
    let limit = |json| serde_json::from_value::<Limit>(json).unwrap().burst();
    assert_eq!(limit(json!({"tracesPerSecond": 100})), 100);
    assert_eq!(limit(json!({"tracesPerSecond": 100, "burst": 7})), 7);
}

#[test]
fn columns_are_filled_with_short_texts() {
    let indicator: Indicator = serde_json::from_value(json!({"http": {"bad": ["5xx", "429"]}})).unwrap();
    assert_eq!(indicator.summary().as_deref(), Some("http 5xx,429"));
    let default: Indicator = serde_json::from_value(json!({"http": {}})).unwrap();
    assert_eq!(default.summary().as_deref(), Some("http 5xx,Aborted"));
    assert_eq!(Indicator::default().summary(), None);
    let polled = json!({"prometheus": {"url": "http://a:9090", "good": "a", "total": "b"}});
    let polled: Indicator = serde_json::from_value(polled).unwrap();
    assert_eq!(polled.summary().as_deref(), Some("prometheus"));
    let nodes = Nodes {
        desired: 3,
        applied: 2,
        ..Nodes::default()
    };
    assert_eq!(nodes.summary(), "2/3");
}
