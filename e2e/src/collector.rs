//! What arrived at the real OpenTelemetry Collector.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{cluster::Cluster, prometheus};

const NAMESPACE: &str = "observability";
const TELEMETRY_PORT: u16 = 8888;
const REQUESTS: &str = "http.server.request.duration";

/// Counts of requests by attributes of resource and data point.
pub type Counts = BTreeMap<BTreeMap<String, String>, u64>;

/// Spans that the Collector accepted since it started.
pub async fn accepted_spans(cluster: &Cluster) -> Result<f64> {
    let pod = cluster.ready_pod(NAMESPACE, "app=collector").await?;
    let text = cluster.pod_http(NAMESPACE, &pod, TELEMETRY_PORT, "/metrics").await?;
    let samples = prometheus::parse(&text);
    Ok(prometheus::sum(&samples, "otelcol_receiver_accepted_spans_total")
        + prometheus::sum(&samples, "otelcol_receiver_accepted_spans"))
}

/// The newest count of each series of requests that arrived, read from the log of its debug exporter.
pub async fn request_counts(cluster: &Cluster) -> Result<Counts> {
    let pod = cluster.ready_pod(NAMESPACE, "app=collector").await?;
    Ok(parse(&cluster.log(NAMESPACE, &pod).await?))
}

/// Sums the counts whose attributes include all of `wanted`.
#[must_use]
pub fn sum(counts: &Counts, wanted: &[(&str, &str)]) -> u64 {
    let matches = |attributes: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(key, value)| attributes.get(*key).is_some_and(|found| found == value))
    };
    counts
        .iter()
        .filter(|(attributes, _)| matches(attributes))
        .map(|(_, count)| count)
        .sum()
}

/// Where in the exporter's output a line stands.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Resource,
    Descriptor,
    Point,
    Other,
}

#[derive(Default)]
struct Reader {
    resource: BTreeMap<String, String>,
    point: BTreeMap<String, String>,
    requests: bool,
    counts: Counts,
}

fn parse(log: &str) -> Counts {
    let mut reader = Reader::default();
    let mut section = Section::Other;
    for line in log.lines() {
        section = reader.line(line, section);
    }
    reader.counts
}

impl Reader {
    fn line(&mut self, line: &str, section: Section) -> Section {
        if let Some(attribute) = line.trim_start().strip_prefix("-> ") {
            self.attribute(attribute, section);
            return section;
        }
        match line {
            "Resource attributes:" => self.resource.clear(),
            "Data point attributes:" => self.point.clear(),
            _ => self.count(line),
        }
        match line {
            "Resource attributes:" => Section::Resource,
            "Descriptor:" => Section::Descriptor,
            "Data point attributes:" => Section::Point,
            _ => Section::Other,
        }
    }

    fn attribute(&mut self, text: &str, section: Section) {
        let Some((key, value)) = text.split_once(": ") else {
            return;
        };
        match section {
            Section::Resource => drop(self.resource.insert(key.to_owned(), plain(value))),
            Section::Point => drop(self.point.insert(key.to_owned(), plain(value))),
            Section::Descriptor if key == "Name" => self.requests = value == REQUESTS,
            Section::Descriptor | Section::Other => {}
        }
    }

    fn count(&mut self, line: &str) {
        let Some(count) = line.strip_prefix("Count: ").filter(|_| self.requests) else {
            return;
        };
        let mut attributes = self.resource.clone();
        attributes.extend(self.point.clone());
        self.counts.insert(attributes, count.parse().unwrap_or(0));
    }
}

/// `Str(x)` and `Int(1)` without what says their type.
fn plain(value: &str) -> String {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "ResourceMetrics #0
Resource SchemaURL: 
Resource attributes:
     -> service.name: Str(checkout)
ScopeMetrics #0
Metric #0
Descriptor:
     -> Name: http.server.request.duration
     -> Unit: s
HistogramDataPoints #0
Data point attributes:
     -> http.response.status_code: Int(200)
StartTimestamp: 2026-01-01
Count: 5
Sum: 1.0
HistogramDataPoints #1
Data point attributes:
     -> http.response.status_code: Int(503)
Count: 2
";

    #[test]
    fn the_newest_count_of_each_series_is_kept() {
        let log = format!("{LOG}{}", LOG.replace("Count: 5", "Count: 9"));
        let counts = parse(&log);
        assert_eq!(sum(&counts, &[("service.name", "checkout")]), 11);
        assert_eq!(sum(&counts, &[("http.response.status_code", "503")]), 2);
    }
}
