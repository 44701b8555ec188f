//! Tests for `promtool test rules`: a failure that begins and ends, and when each tier must fire because of it.
//!
//! A tier is looked at every `long ÷ 120`, which is also how often is scraped. Prometheus sees a window of n scrapes by n − 1
//! differences, so a tier must fire, and reset, within two scrapes of what the formula says.

use std::time::Duration;

use serde_json::{Value, json};
use shoalwatch_core::burn::Tier;
use shoalwatch_core::rules::{ALERT, Rule};
use shoalwatch_core::time::written;

use super::slos::Slo;

/// Scrapes within the long window; so many pass before a failure.
const SCRAPES: u32 = 120;
/// Requests between two scrapes.
const REQUESTS: f64 = 1_000.0;
/// How long a failure goes on after it fired.
const GOES_ON: u32 = 20;

/// Increases of a counter: so much at each of so many scrapes.
type Course = Vec<(f64, u32)>;

pub(super) fn tests(slo: &Slo, tier: &Tier) -> Value {
    let every = tier.long / SCRAPES;
    let wanted = [1.0, 1.5 * tier.threshold];
    let ratios = wanted.iter().filter(|ratio| **ratio > tier.threshold && **ratio <= 1.0);
    let mut tests: Vec<Value> = ratios.map(|ratio| failing(slo, tier, *ratio, every)).collect();
    tests.push(quiet("just below the threshold", slo, tier, every, &below(slo, tier)));
    tests.push(quiet(
        "traffic ends while all is bad",
        slo,
        tier,
        every,
        &traffic_ends(slo),
    ));
    tests.push(quiet("only others fail", slo, tier, every, &others(slo)));
    if slo.alerts.tiers.len() == 1 {
        tests.push(told(slo, tier, every));
    }
    json!({
        "rule_files": [format!("{}.rules.yaml", slo.name)],
        "evaluation_interval": written(every),
        "tests": tests,
    })
}

/// A failure fires the tier when the formula says, and it resets when the formula says.
fn failing(slo: &Slo, tier: &Tier, ratio: f64, every: Duration) -> Value {
    let scrapes = |span: Duration| span.as_secs_f64() / every.as_secs_f64();
    let (fires, resets) = (
        scrapes(tier.fires_after(ratio).unwrap()),
        scrapes(tier.resets_after(ratio).unwrap()),
    );
    let ends = SCRAPES + after(fires) + GOES_ON;
    let firing = |scrape| expectation(tier, every, scrape, true);
    let silent = |scrape| expectation(tier, every, scrape, false);
    let mut expected = vec![silent(SCRAPES)];
    expected.extend(before(fires).map(|scrape| silent(SCRAPES + scrape)));
    expected.extend([firing(SCRAPES + after(fires)), firing(ends)]);
    expected.extend(before(resets).map(|scrape| firing(ends + scrape)));
    expected.push(silent(ends + after(resets)));
    let lasts = ends - SCRAPES;
    json!({
        "name": format!("{} of {}: {ratio:.4} bad", tier.name, slo.name),
        "interval": written(every),
        "input_series": course(slo, ratio, &[(0.0, SCRAPES), (1.0, lasts), (0.0, GOES_ON)]),
        "promql_expr_test": expected,
    })
}

/// Two scrapes before the formula's time, as far as it is later than that.
fn before(scrapes: f64) -> Option<u32> {
    (0..SCRAPES)
        .take_while(|scrape| f64::from(*scrape) + 1.0 < scrapes)
        .last()
        .filter(|scrape| *scrape > 0)
        .map(|scrape| scrape - 1)
}

/// The first scrape after the formula's time.
fn after(scrapes: f64) -> u32 {
    (0..=SCRAPES + 1).find(|scrape| f64::from(*scrape) > scrapes).unwrap()
}

fn quiet(name: &str, slo: &Slo, tier: &Tier, every: Duration, series: &[Value]) -> Value {
    let looks = [SCRAPES, SCRAPES + 1, SCRAPES + GOES_ON, 2 * SCRAPES + 1];
    json!({
        "name": format!("{} of {}: {name}", tier.name, slo.name),
        "interval": written(every),
        "input_series": series,
        "promql_expr_test": looks.map(|scrape| expectation(tier, every, scrape, false)),
    })
}

fn below(slo: &Slo, tier: &Tier) -> Vec<Value> {
    course(slo, 0.99 * tier.threshold, &[(0.0, SCRAPES), (1.0, SCRAPES + 1)])
}

/// The series stay, and nothing is counted any more; long after, the windows are empty.
fn traffic_ends(slo: &Slo) -> Vec<Value> {
    let parts = [(REQUESTS, 1), (0.0, 2 * SCRAPES)];
    [
        series(slo, &slo.workload, true, &parts),
        series(slo, &slo.workload, false, &[(0.0, 2 * SCRAPES + 1)]),
    ]
    .concat()
}

/// Another Deployment fails, and so does what the SLO leaves out of its own.
fn others(slo: &Slo) -> Vec<Value> {
    let all = [(REQUESTS, 2 * SCRAPES + 1)];
    let mut others = series(slo, "other", true, &all);
    others.extend(series(slo, &slo.workload, false, &all));
    others.extend(left_out(slo).into_iter().map(|labels| input(COUNT, &labels, &all)));
    others
}

/// What is told, whole, of an SLO with a single tier.
fn told(slo: &Slo, tier: &Tier, every: Duration) -> Value {
    let file = slo.rendered().file;
    let Some(Rule::Alerting {
        labels, annotations, ..
    }) = file.groups[0].rules.last()
    else {
        unreachable!("an SLO has alerts");
    };
    let description = annotations["description"].replace("{{ $value | humanizePercentage }}", "100%");
    json!({
        "name": format!("{} of {}: what is told", tier.name, slo.name),
        "interval": written(every),
        "input_series": course(slo, 1.0, &[(0.0, SCRAPES), (1.0, SCRAPES)]),
        "alert_rule_test": [{
            "alertname": ALERT,
            "eval_time": written(every * (2 * SCRAPES)),
            "exp_alerts": [{
                "exp_labels": {"namespace": "shop", "slo": slo.name, "severity": labels["severity"], "tier": labels["tier"]},
                "exp_annotations": {"summary": annotations["summary"], "description": description},
            }],
        }],
    })
}

fn expectation(tier: &Tier, every: Duration, scrape: u32, firing: bool) -> Value {
    let samples = if firing {
        json!([{"labels": "{}", "value": 1}])
    } else {
        json!([])
    };
    json!({
        "expr": format!("sum(ALERTS{{alertname=\"{ALERT}\",alertstate=\"firing\",tier=\"{}\"}})", tier.name),
        "eval_time": written(every * scrape),
        "exp_samples": samples,
    })
}

const COUNT: &str = "http_server_request_duration_seconds_count";
const BUCKET: &str = "http_server_request_duration_seconds_bucket";

/// Good and bad requests whose bad share is `ratio` in the parts that fail.
fn course(slo: &Slo, ratio: f64, parts: &[(f64, u32)]) -> Vec<Value> {
    let of = |share: &dyn Fn(f64) -> f64| -> Course {
        let parts = parts.iter();
        parts
            .map(|(fails, scrapes)| (REQUESTS * share(ratio * fails), *scrapes))
            .collect()
    };
    let mut all = series(slo, &slo.workload, true, &of(&|bad| bad));
    all.extend(series(slo, &slo.workload, false, &of(&|bad| 1.0 - bad)));
    all
}

/// Series of bad or of good requests, shared out among all kinds of them.
fn series(slo: &Slo, workload: &str, bad: bool, parts: &[(f64, u32)]) -> Vec<Value> {
    let kinds = if bad { bad_kinds(slo) } else { good_kinds(slo) };
    let share = 1.0 / f64::from(u32::try_from(kinds.len()).unwrap());
    let parts: Course = parts.iter().map(|(each, scrapes)| (each * share, *scrapes)).collect();
    let mut all = Vec::new();
    for (kind, in_time) in kinds {
        let route = slo.routes.first().map_or("/", String::as_str);
        let labels = owned(workload, "app", route) + kind;
        all.push(input(COUNT, &labels, &parts));
        if slo.slower_than.is_some() {
            let none: Course = parts.iter().map(|(_, scrapes)| (0.0, *scrapes)).collect();
            // As Prometheus 3 stores the bound 1.
            all.push(input(
                BUCKET,
                &format!("{labels},le=\"1.0\""),
                if in_time { &parts } else { &none },
            ));
        }
    }
    all
}

/// Labels of bad requests, and whether they were answered in time.
fn bad_kinds(slo: &Slo) -> Vec<(&'static str, bool)> {
    const ABORTED: &str = ",error_type=\"aborted\"";
    match slo.name {
        "search" => vec![
            (",http_response_status_code=\"429\"", false),
            (",http_response_status_code=\"502\",error_type=\"502\"", false),
        ],
        "pay" => vec![(",http_response_status_code=\"200\"", false), (ABORTED, true)],
        "cart" => vec![(ABORTED, false)],
        _ => vec![
            (",http_response_status_code=\"503\",error_type=\"503\"", false),
            (ABORTED, false),
        ],
    }
}

/// Labels of good requests; those of the latency SLO share a series with the slow ones.
fn good_kinds(slo: &Slo) -> Vec<(&'static str, bool)> {
    match slo.name {
        "pay" => vec![
            (",http_response_status_code=\"204\"", true),
            (",http_response_status_code=\"500\",error_type=\"500\"", true),
        ],
        _ => vec![
            (",http_response_status_code=\"200\"", true),
            (",http_response_status_code=\"404\"", true),
        ],
    }
}

/// Labels of requests of the same Deployment that are none of the SLO's.
fn left_out(slo: &Slo) -> Vec<String> {
    let bad = ",http_response_status_code=\"503\",error_type=\"503\"";
    let mut labels = vec![owned(&slo.workload, "app", "/") + ",otel_metric_overflow=\"true\"" + bad];
    labels.push(owned(&slo.workload, "app", "/find").replace("\"shop\"", "\"shop-2\"") + bad);
    if !slo.container.is_empty() {
        labels.push(owned(&slo.workload, "proxy", "/find") + bad);
    }
    if !slo.routes.is_empty() {
        labels.push(owned(&slo.workload, "app", "/v1x0/items/{id}") + bad);
    }
    labels
}

fn owned(workload: &str, container: &str, route: &str) -> String {
    format!(
        "k8s_namespace_name=\"shop\",k8s_deployment_name=\"{workload}\",k8s_container_name=\"{container}\",http_route=\"{route}\""
    )
}

/// A counter in `promtool`'s notation: `a+bxn` is n + 1 samples.
fn input(metric: &str, labels: &str, parts: &[(f64, u32)]) -> Value {
    let (mut values, mut total) = (vec!["0".to_owned()], 0.0);
    for (each, scrapes) in parts.iter().filter(|(_, scrapes)| *scrapes > 0) {
        let first = total + each;
        values.push(format!("{first:.6}+{each:.6}x{}", scrapes - 1));
        total += each * f64::from(*scrapes);
    }
    json!({"series": format!("{metric}{{{labels}}}"), "values": values.join(" ")})
}
