//! The bad ratio of an SLO over a window, in `PromQL`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::text::{exactly, literal, number};
use super::{Measure, Subject};
use crate::policy::HttpStatus;
use crate::time::written;

/// Requests, as node workers export them.
const COUNT: &str = "http_server_request_duration_seconds_count";
/// Requests that took no longer than `le`.
const BUCKET: &str = "http_server_request_duration_seconds_bucket";
/// A request that was never answered has no status code.
const ABORTED: &str = "error_type=\"aborted\"";
const NOT_ABORTED: &str = "error_type!=\"aborted\"";

/// Bad ÷ all. 0 where nothing was ever bad, `NaN` without traffic (which exceeds nothing), absent without series.
pub(super) fn bad_ratio(subject: &Subject<'_>, window: Duration) -> String {
    let series = Series {
        common: common(subject),
        window: written(window),
    };
    let all = format!("sum({})", series.rate(COUNT, &[]));
    match subject.measure {
        Measure::Bad(statuses) => {
            let bad = series.bad(statuses);
            format!("(sum({bad}) or 0 * {all}) / {all}")
        }
        Measure::SlowerThan(threshold) => {
            let in_time = series.rate(BUCKET, &[&bound(threshold), NOT_ABORTED]);
            format!("({all} - (sum({in_time}) or 0 * {all})) / {all}")
        }
    }
}

struct Series {
    common: String,
    window: String,
}

impl Series {
    fn rate(&self, metric: &str, further: &[&str]) -> String {
        let matchers: Vec<&str> = [self.common.as_str()].iter().chain(further).copied().collect();
        format!("rate({metric}{{{}}}[{}])", matchers.join(","), self.window)
    }

    /// Codes and `Aborted` are told by different labels; no series has both.
    fn bad(&self, statuses: &BTreeSet<HttpStatus>) -> String {
        let codes: Vec<String> = statuses.iter().copied().filter_map(code).collect();
        let by_code = (!codes.is_empty()).then(|| {
            let matcher = format!("http_response_status_code=~{}", literal(&codes.join("|")));
            self.rate(COUNT, &[&matcher])
        });
        let aborted = statuses
            .contains(&HttpStatus::Aborted)
            .then(|| self.rate(COUNT, &[ABORTED]));
        by_code.into_iter().chain(aborted).collect::<Vec<_>>().join(" or ")
    }
}

fn code(status: HttpStatus) -> Option<String> {
    match status {
        HttpStatus::Code(code) => Some(code.to_string()),
        HttpStatus::Class(class) => Some(format!("{class}..")),
        HttpStatus::Aborted => None,
    }
}

/// What every series of the SLO has. Overflow series have no status: they are neither good nor bad.
fn common(subject: &Subject<'_>) -> String {
    let mut matchers = vec![
        format!("k8s_namespace_name={}", literal(subject.namespace)),
        format!("k8s_deployment_name={}", literal(subject.workload)),
        "otel_metric_overflow=\"\"".to_owned(),
    ];
    if !subject.container.is_empty() {
        matchers.push(format!("k8s_container_name={}", literal(subject.container)));
    }
    if !subject.routes.is_empty() {
        let routes: Vec<String> = subject.routes.iter().map(|route| exactly(route)).collect();
        matchers.push(format!("http_route=~{}", literal(&routes.join("|"))));
    }
    matchers.join(",")
}

/// Prometheus 3 stores the bound `1` as `1.0`, earlier ones as it is exported.
fn bound(threshold: Duration) -> String {
    let bound = number(threshold.as_secs_f64());
    if bound.contains('.') {
        format!("le={}", literal(&bound))
    } else {
        format!("le=~{}", literal(&format!("{bound}|{bound}\\.0")))
    }
}
