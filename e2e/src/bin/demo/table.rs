//! The table of requests: what happened between two looks at the workers.

use std::{collections::BTreeMap, time::Duration};

use shoalwatch_e2e::requests::{Histogram, Key};

type Seen = BTreeMap<Key, Histogram>;

/// One row: service, revision and route.
#[derive(Default)]
struct Row {
    all: Histogram,
    errors: f64,
}

/// Requests per second, errors and p99 of each route and revision, with a heading.
pub(crate) fn requests(now: &Seen, then: &Seen, passed: Duration) -> Vec<String> {
    let heading = format!(
        "{:<10} {:<12} {:<5} {:<16} {:>8} {:>7} {:>9}",
        "SERVICE", "REVISION", "", "ROUTE", "REQ/S", "5XX", "P99"
    );
    let rows = rows(now, then)
        .into_iter()
        .map(|((service, revision, method, route), row)| {
            let rate = row.all.count / passed.as_secs_f64();
            let errors = 100.0 * row.errors / row.all.count;
            let p99 = row.all.quantile(0.99).map_or_else(|| "-".to_owned(), milliseconds);
            format!("{service:<10} {revision:<12} {method:<5} {route:<16} {rate:>8.1} {errors:>5.1} % {p99:>9}")
        });
    std::iter::once(heading).chain(rows).collect()
}

fn rows(now: &Seen, then: &Seen) -> BTreeMap<(String, String, String, String), Row> {
    let mut rows: BTreeMap<_, Row> = BTreeMap::new();
    for (key, histogram) in now {
        let since = histogram.since(then.get(key));
        if since.count < 1.0 || key.namespace != "shop" {
            continue;
        }
        let name = (
            key.service.clone(),
            revision(key),
            key.method.clone(),
            key.route.clone(),
        );
        let row = rows.entry(name).or_default();
        row.all.add(&since);
        row.errors += if key.status.starts_with('5') { since.count } else { 0.0 };
    }
    rows
}

/// A ReplicaSet's name is its Deployment's with the pod template's hash.
fn revision(key: &Key) -> String {
    key.replica_set.rsplit('-').next().unwrap_or_default().to_owned()
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}
