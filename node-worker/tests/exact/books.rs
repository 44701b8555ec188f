//! Compares what the worker tells with what the load tool saw.

use std::{collections::BTreeMap, fmt};

use crate::{
    harness::Outcome,
    servers::Counts,
    worker::{Worker, label},
};

/// What the worker says of one moment.
pub(crate) struct Told {
    /// By method, route and status.
    pub(crate) requests: Counts,
    /// Requests that user space never saw, and that it saw and the kernel did not count.
    pub(crate) ring_full: u64,
    pub(crate) span_lost: u64,
    pub(crate) route_lost: u64,
    /// Spans that were made and not delivered.
    pub(crate) undelivered: u64,
    /// By what their policy decided.
    pub(crate) kept: u64,
    pub(crate) not_kept: u64,
    /// What should never be in these runs, by reason.
    pub(crate) faults: Vec<(&'static str, u64)>,
    /// Policies put in force since the start.
    pub(crate) policies: u64,
}

/// The kernel's reasons that stand for a request that was not told right.
const FAULTS: [&str; 9] = [
    "unpaired_answer",
    "read_failed",
    "map_full",
    "task_32bit",
    "tasks_full",
    "process_ring_full",
    "counters_full",
    "given_up",
    "raw_full",
];
/// Those after the ring, that are not about spans.
const DECODE_FAULTS: [&str; 7] = [
    "stage=\"raw\"",
    "stage=\"decode\"",
    "stage=\"enrich\"",
    "stage=\"limit\"",
    "reason=\"undecodable\"",
    "reason=\"recursion_miss\"",
    "reason=\"bad_record\"",
];

impl Told {
    pub(crate) fn by(worker: &Worker) -> Outcome<Self> {
        let lost = |label: &str| worker.metric("shoalwatch_lost_total", &[label]);
        let kernel = |reason: &str| lost(&format!("reason=\"{reason}\""));
        let decided = |label: &str| worker.metric("shoalwatch_sampling_decisions_total", &[label]);
        let mut faults = Vec::new();
        for reason in FAULTS {
            faults.push((reason, kernel(reason)?));
        }
        for label in DECODE_FAULTS {
            faults.push((label, lost(label)?));
        }
        faults.retain(|(_, count)| *count > 0);
        Ok(Self {
            requests: requests(worker)?,
            ring_full: kernel("ring_full")?,
            span_lost: kernel("span_lost")?,
            route_lost: kernel("route_lost")?,
            undelivered: lost("stage=\"queue\"")? + lost("stage=\"export\"")?,
            kept: decided("decision=\"kept\"")?,
            not_kept: decided("")? - decided("decision=\"kept\"")?,
            faults,
            policies: worker.metric("shoalwatch_config_updates_total", &["result=\"applied\""])?,
        })
    }

    /// Requests whose route is known, and those of which only their end is.
    pub(crate) fn total(&self) -> u64 {
        total(&self.requests)
    }

    /// Requests that were counted nowhere because the ring was full.
    pub(crate) const fn uncounted(&self) -> u64 {
        self.ring_full - self.span_lost - self.route_lost
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, ring_full {} (span_lost {}, route_lost {}, not counted {}), kept {} and not {}, undelivered {}, \
             policies {}, faults {:?}",
            self.total(),
            self.ring_full,
            self.span_lost,
            self.route_lost,
            self.uncounted(),
            self.kept,
            self.not_kept,
            self.undelivered,
            self.policies,
            self.faults
        )
    }
}

/// Every request by method, route and status.
pub(crate) fn requests(worker: &Worker) -> Outcome<Counts> {
    worker.samples("http_server_request_duration_seconds_count", "web", |line| {
        let of = |name| label(line, name).unwrap_or("_OTHER");
        format!("{} {}", of("http_request_method"), of("http_route"))
    })
}

pub(crate) fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// The same by the part of the key that remains.
pub(crate) fn by<K: Ord>(counts: &Counts, key: impl Fn(&str, u16) -> K) -> BTreeMap<K, u64> {
    let mut all = BTreeMap::new();
    for ((request, status), count) in counts {
        *all.entry(key(request, *status)).or_default() += count;
    }
    all
}

/// The first word of a request.
pub(crate) fn method(request: &str) -> String {
    request.split(' ').next().unwrap_or_default().to_owned()
}

/// The rest of it.
pub(crate) fn route(request: &str) -> String {
    request.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// What differs, for the message of a failure.
pub(crate) fn difference<K: Ord + Clone>(told: &BTreeMap<K, u64>, sent: &BTreeMap<K, u64>) -> Vec<(K, u64, u64)> {
    let keys: std::collections::BTreeSet<_> = told.keys().chain(sent.keys()).collect();
    let both = keys.into_iter().map(|key| {
        let of = |counts: &BTreeMap<K, u64>| counts.get(key).copied().unwrap_or(0);
        (key.clone(), of(told), of(sent))
    });
    both.filter(|(_, told, sent)| told != sent).collect()
}
