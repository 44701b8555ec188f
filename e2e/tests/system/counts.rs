//! Every request is counted: what arrives at the Collector is what the load tool sent.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use shoalwatch_e2e::{
    collector::{self, Counts},
    load::Load,
    requests,
    shop::Service,
    wait,
};

use crate::bench::{Bench, bench};

const SERVICES: [&str; 4] = ["web", "checkout", "catalog", "reviews"];
const PATHS: &str = "-paths=/items/{n}=5,POST /items/{n}=2,/missing=2,/fail=1";

/// Requests by "METHOD route status".
type Requests = BTreeMap<String, u64>;

/// nginx, Go, Python and Node, 20,000 requests each, keep-alive.
#[tokio::test]
async fn the_collectors_counts_equal_the_load_tools() -> Result<()> {
    let Some(bench) = bench("counts").await? else {
        return Ok(());
    };
    bench.run(|| all_services(&bench)).await
}

async fn all_services(bench: &Bench) -> Result<()> {
    let manifests = SERVICES.map(|name| Service::new(name, 1).manifest(&bench.namespace));
    bench.cluster.apply(&manifests.join("---\n")).await?;
    for name in SERVICES {
        shoalwatch_e2e::install::rolled_out(&bench.cluster, &bench.namespace, &format!("deployment/{name}")).await?;
    }
    bench.sample("0").await?;
    for name in SERVICES {
        one_service(bench, name).await?;
    }
    Ok(())
}

async fn one_service(bench: &Bench, name: &str) -> Result<()> {
    let target = format!("-target={name}:8080");
    let arguments = [target.as_str(), "-requests=20000", "-connections=8", PATHS];
    let load = Load::start(&bench.cluster, &bench.namespace, &format!("load-{name}"), &arguments).await?;
    let report = load.finish(&bench.cluster, Duration::from_mins(2)).await?;
    ensure!(report.failed == 0, "{name}: {} requests failed", report.failed);
    let sent = by_route(&report.answers);
    wait::until(&format!("{name} at the Collector"), Duration::from_mins(1), || async {
        let arrived = at_collector(
            &collector::request_counts(&bench.cluster).await?,
            &bench.namespace,
            name,
        );
        ensure!(
            arrived == sent,
            "the load tool sent {sent:?}, the Collector has {arrived:?}"
        );
        Ok(Some(()))
    })
    .await?;
    ensure!(
        at_prometheus(bench, name).await? == sent,
        "{name}: Prometheus' numbers are others than OTLP's"
    );
    load.stop(&bench.cluster).await
}

fn by_route(answers: &BTreeMap<String, u64>) -> Requests {
    let mut requests = Requests::new();
    for (key, count) in answers {
        let mut words = key.split(' ');
        let [method, path, status] = [(); 3].map(|()| words.next().unwrap_or_default());
        *requests
            .entry(format!("{method} {} {status}", path.replace("{n}", "{id}")))
            .or_default() += count;
    }
    requests
}

fn at_collector(counts: &Counts, namespace: &str, service: &str) -> Requests {
    let mut requests = Requests::new();
    for (attributes, count) in counts {
        let get = |key: &str| attributes.get(key).map_or("", String::as_str);
        if get("service.namespace") == namespace && get("service.name") == service {
            let key = format!(
                "{} {} {}",
                get("http.request.method"),
                get("http.route"),
                get("http.response.status_code")
            );
            *requests.entry(key).or_default() += count;
        }
    }
    requests
}

async fn at_prometheus(bench: &Bench, service: &str) -> Result<Requests> {
    let mut counts = Requests::new();
    for (key, histogram) in requests::seen(&bench.cluster).await? {
        if key.namespace == bench.namespace && key.service == service {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = histogram.count as u64;
            *counts
                .entry(format!("{} {} {}", key.method, key.route, key.status))
                .or_default() += count;
        }
    }
    Ok(counts)
}
