//! The page `/metrics`: the same request numbers that go out over OTLP, and what the worker says about itself.

mod price;
mod text;

use shoalwatch_pipeline::{
    loss::Stage,
    red::{BOUNDS_SECONDS, Histogram},
    request::Role,
};
use shoalwatch_protocols::route::OTHER;

use crate::{
    counters::Counters,
    health::Health,
    in_force::InForce,
    loader::Stat,
    requests::{Numbers, SeriesAttributes, SeriesTarget, Snapshot},
};
pub(crate) use price::price;
use text::Page;

/// Renders everything of one moment.
pub(crate) fn page(snapshot: &Snapshot, counters: &Counters, health: &Health, in_force: Option<&InForce>) -> String {
    let mut page = Page::default();
    requests(&mut page, Role::Server, &snapshot.numbers);
    requests(&mut page, Role::Client, &snapshot.numbers);
    slis(&mut page, snapshot);
    losses(&mut page, snapshot, counters);
    kernel(&mut page, snapshot);
    fullness(&mut page, snapshot);
    config(&mut page, in_force);
    for (count, value) in counters.iter() {
        page.head(count.metric(), "counter", count.help());
        page.sample(count.metric(), count.labels(), value);
    }
    page.head("shoalwatch_probes_info", "gauge", "Whether the eBPF probes are loaded");
    page.sample("shoalwatch_probes_info", &[("state", health.probes())], 1);
    page.finish()
}

/// A histogram's name, those of its samples, and what it is.
struct Metric {
    name: &'static str,
    bucket: &'static str,
    sum: &'static str,
    count: &'static str,
    help: &'static str,
}

const SERVER: Metric = Metric {
    name: "http_server_request_duration_seconds",
    bucket: "http_server_request_duration_seconds_bucket",
    sum: "http_server_request_duration_seconds_sum",
    count: "http_server_request_duration_seconds_count",
    help: "Duration of HTTP server requests",
};

const CLIENT: Metric = Metric {
    name: "http_client_request_duration_seconds",
    bucket: "http_client_request_duration_seconds_bucket",
    sum: "http_client_request_duration_seconds_sum",
    count: "http_client_request_duration_seconds_count",
    help: "Duration of HTTP client requests",
};

fn requests(page: &mut Page, role: Role, numbers: &Numbers) {
    let metric = match role {
        Role::Server => SERVER,
        Role::Client => CLIENT,
    };
    page.head(metric.name, "histogram", metric.help);
    for service in &numbers.services {
        let owner: Vec<_> = service
            .resource
            .iter()
            .map(|(name, value)| (label_name(name), value))
            .collect();
        for series in service.series.of(role) {
            let own = series.attributes.as_ref().map(series_labels);
            let own = own.unwrap_or_else(|| vec![("otel_metric_overflow", "true".to_owned())]);
            let owner = owner.iter().map(|(name, value)| (name.as_str(), *value));
            let own = own.iter().map(|(name, value)| (*name, value.as_str()));
            histogram(page, &metric, &owner.chain(own).collect::<Vec<_>>(), &series.histogram);
        }
    }
    if let Some(overflow) = numbers.overflow.of(role) {
        histogram(page, &metric, &[("otel_metric_overflow", "true")], overflow);
    }
}

fn series_labels(series: &SeriesAttributes) -> Vec<(&'static str, String)> {
    let mut labels = vec![("http_request_method", series.method.to_owned())];
    if let Some(code) = series.status.code() {
        labels.push(("http_response_status_code", code.to_string()));
    }
    labels.push(("url_scheme", "http".to_owned()));
    match &series.target {
        SeriesTarget::Route(route) => labels.extend(route.iter().map(|route| ("http_route", route.to_string()))),
        SeriesTarget::Peer(Some(peer)) => {
            labels.push(("server_address", peer.ip().to_string()));
            labels.push(("server_port", peer.port().to_string()));
        }
        SeriesTarget::Peer(None) => labels.push(("server_address", OTHER.to_owned())),
    }
    labels.extend(series.error_type().map(|error| ("error_type", error)));
    labels
}

/// Prometheus counts every bucket with those below it.
fn histogram(page: &mut Page, metric: &Metric, labels: &[(&str, &str)], histogram: &Histogram) {
    let mut below = 0;
    let bounds = BOUNDS_SECONDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.buckets()) {
        below += count;
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
        page.sample(metric.bucket, &labels, below);
    }
    page.sample(metric.sum, labels, histogram.sum_seconds());
    page.sample(metric.count, labels, below);
}

/// `k8s.pod.name` becomes `k8s_pod_name`, as the OpenTelemetry exporter for Prometheus does it.
fn label_name(attribute: &str) -> String {
    let valid = |character: char| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '_'
        }
    };
    let name: String = attribute.chars().map(valid).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

fn slis(page: &mut Page, snapshot: &Snapshot) {
    page.head(
        "shoalwatch_sli_requests_total",
        "counter",
        "Requests as SLIs judged them, since the worker's start",
    );
    for row in &snapshot.slis {
        for (result, count) in [("good", row.good), ("bad", row.bad), ("incomplete", row.incomplete)] {
            let labels = [
                ("sli", row.sli.as_ref()),
                ("revision", row.revision.as_ref()),
                ("result", result),
            ];
            page.sample("shoalwatch_sli_requests_total", &labels, count);
        }
    }
    page.head(
        "shoalwatch_sli_pods",
        "gauge",
        "Pods under observation for an SLI, and those of them that ever answered badly",
    );
    for row in &snapshot.slis {
        for (state, count) in [("observed", row.pods), ("bad", row.bad_pods)] {
            let labels = [
                ("sli", row.sli.as_ref()),
                ("revision", row.revision.as_ref()),
                ("state", state),
            ];
            page.sample("shoalwatch_sli_pods", &labels, u64::from(count));
        }
    }
}

fn losses(page: &mut Page, snapshot: &Snapshot, counters: &Counters) {
    const NAME: &str = "shoalwatch_lost_total";
    page.head(NAME, "counter", "What was lost, by stage and reason");
    // The kernel tells its own reasons, more finely.
    for (loss, count) in counters.losses.iter().filter(|(loss, _)| loss.stage() != Stage::Kernel) {
        page.sample(
            NAME,
            &[("stage", loss.stage().as_str()), ("reason", loss.reason())],
            count,
        );
    }
    for (stat, count) in snapshot.kernel.iter().filter(|(stat, _)| is_loss(*stat)) {
        page.sample(NAME, &[("stage", "kernel"), ("reason", stat.name())], count);
    }
    for (reason, count) in [
        ("undecodable", snapshot.kernel.undecodable),
        ("recursion_miss", snapshot.kernel.recursion_misses),
    ] {
        page.sample(NAME, &[("stage", "kernel"), ("reason", reason)], count);
    }
    page.head(
        "shoalwatch_overflowed_requests_total",
        "counter",
        "Requests counted without what there was no room for",
    );
    page.sample(
        "shoalwatch_overflowed_requests_total",
        &[("bound", "series")],
        snapshot.overflowed,
    );
    page.sample(
        "shoalwatch_overflowed_requests_total",
        &[("bound", "routes")],
        snapshot.routes_refused,
    );
    page.sample(
        "shoalwatch_overflowed_requests_total",
        &[("bound", "peers")],
        snapshot.peers_refused,
    );
}

/// The others are steps of a request's way, or told by other metrics.
const fn is_loss(stat: Stat) -> bool {
    matches!(
        stat,
        Stat::RingFull
            | Stat::UnpairedAnswer
            | Stat::GivenUp
            | Stat::RawFull
            | Stat::IoUring
            | Stat::ReadFailed
            | Stat::MapFull
            | Stat::Task32Bit
            | Stat::TasksFull
            | Stat::ProcessRingFull
            | Stat::CountersFull
            | Stat::SpanLost
            | Stat::RouteLost
    )
}

fn kernel(page: &mut Page, snapshot: &Snapshot) {
    const NAME: &str = "shoalwatch_kernel_requests_total";
    page.head(NAME, "counter", "Requests as the eBPF programs saw them");
    let steps = [
        ("begun", Stat::Requests),
        ("counted", Stat::Counted),
        ("reported", Stat::Events),
        ("aborted", Stat::Aborted),
        ("reset", Stat::Reset),
        ("joined", Stat::Joined),
    ];
    for (step, stat) in steps {
        page.sample(NAME, &[("step", step)], snapshot.kernel.get(stat));
    }
}

fn fullness(page: &mut Page, snapshot: &Snapshot) {
    page.head(
        "shoalwatch_used",
        "gauge",
        "Entries in use of everything that has a maximum",
    );
    for gauge in &snapshot.gauges {
        page.sample("shoalwatch_used", &[("of", gauge.name)], gauge.used as u64);
    }
    page.head("shoalwatch_capacity", "gauge", "The maximum of everything that has one");
    for gauge in &snapshot.gauges {
        page.sample("shoalwatch_capacity", &[("of", gauge.name)], gauge.max as u64);
    }
}

fn config(page: &mut Page, in_force: Option<&InForce>) {
    page.head("shoalwatch_config_info", "gauge", "The configuration in force");
    let Some(in_force) = in_force else { return };
    let version = in_force.version.clone().unwrap_or_default();
    page.sample(
        "shoalwatch_config_info",
        &[("term", version.term.to_string().as_str()), ("hash", &version.hash)],
        1,
    );
}

#[cfg(test)]
mod tests;
