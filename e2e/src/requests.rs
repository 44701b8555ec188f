//! Requests as eBPF saw them, from a node worker's Prometheus endpoint.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    cluster::Cluster,
    install::{NODE_WORKER, SYSTEM, WORKER_PORT},
    prometheus::{self, Sample},
};

/// The metric of every request, in seconds.
pub const DURATION: &str = "http_server_request_duration_seconds";

/// Which requests are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `service.namespace`.
    pub namespace: String,
    /// `service.name`.
    pub service: String,
    /// The ReplicaSet of the pods that answered: its name tells the revision.
    pub replica_set: String,
    /// `http.request.method`.
    pub method: String,
    /// `http.route`.
    pub route: String,
    /// `http.response.status_code`; empty where there was no answer.
    pub status: String,
}

/// How many requests and how long they took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Requests.
    pub count: f64,
    /// (upper bound in seconds, requests up to it), rising.
    pub buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// This histogram less an earlier one of the same series.
    #[must_use]
    pub fn since(&self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self.clone() };
        let buckets = self
            .buckets
            .iter()
            .zip(&earlier.buckets)
            .map(|(now, then)| (now.0, now.1 - then.1));
        Self {
            count: self.count - earlier.count,
            buckets: buckets.collect(),
        }
    }

    /// Adds another one with the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets
                .iter_mut()
                .zip(&other.buckets)
                .for_each(|(sum, more)| sum.1 += more.1);
        }
    }

    /// A quantile in seconds, linear within its bucket as Prometheus does it.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.buckets.last().filter(|last| last.1 > 0.0)?.1;
        let rank = quantile * total;
        let mut below = (0.0, 0.0);
        for &(bound, cumulative) in &self.buckets {
            if cumulative >= rank {
                let share = if cumulative > below.1 {
                    (rank - below.1) / (cumulative - below.1)
                } else {
                    1.0
                };
                return Some(if bound.is_finite() {
                    below.0 + (bound - below.0) * share
                } else {
                    below.0
                });
            }
            below = (bound, cumulative);
        }
        None
    }
}

/// Everything that the workers of the cluster have seen so far.
pub async fn seen(cluster: &Cluster) -> Result<BTreeMap<Key, Histogram>> {
    let mut all = BTreeMap::new();
    for samples in worker_samples(cluster).await? {
        collect(&samples, &mut all);
    }
    Ok(all)
}

/// Each worker's samples.
pub async fn worker_samples(cluster: &Cluster) -> Result<Vec<Vec<Sample>>> {
    let mut all = Vec::new();
    for pod in cluster
        .pods(SYSTEM, NODE_WORKER)
        .await?
        .iter()
        .filter(|pod| crate::cluster::is_ready(pod))
    {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        all.push(prometheus::parse(
            &cluster.pod_http(SYSTEM, name, WORKER_PORT, "/metrics").await?,
        ));
    }
    Ok(all)
}

fn collect(samples: &[Sample], all: &mut BTreeMap<Key, Histogram>) {
    let mut series: BTreeMap<(Key, String), Histogram> = BTreeMap::new();
    for sample in samples {
        let Some(kind) = sample.name.strip_prefix(DURATION) else {
            continue;
        };
        let one = series
            .entry((key(sample), sample.label("k8s_pod_name").to_owned()))
            .or_default();
        match kind {
            "_count" => one.count = sample.value,
            "_bucket" => one.buckets.push((bound(sample.label("le")), sample.value)),
            _ => {}
        }
    }
    for ((key, _), histogram) in series {
        all.entry(key).or_default().add(&histogram);
    }
}

fn bound(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}

fn key(sample: &Sample) -> Key {
    let label = |name: &str| sample.label(name).to_owned();
    Key {
        namespace: label("service_namespace"),
        service: label("service_name"),
        replica_set: label("k8s_replicaset_name"),
        method: label("http_request_method"),
        route: label("http_route"),
        status: label("http_response_status_code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_linear_within_its_bucket() {
        let buckets = vec![(0.01, 50.0), (0.02, 100.0), (f64::INFINITY, 100.0)];
        let histogram = Histogram { count: 100.0, buckets };
        assert!((histogram.quantile(0.75).unwrap() - 0.015).abs() < 1e-9);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
