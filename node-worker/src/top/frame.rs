//! One screen, of two readings of the page.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use super::samples::{Labels, Samples};

const BUCKET: &str = "http_server_request_duration_seconds_bucket";
const COUNT: &str = "http_server_request_duration_seconds_count";
/// Routes shown, the busiest first.
const ROWS: usize = 20;
/// Bounded things shown, the fullest first.
const FULLEST: usize = 4;
const MIB: f64 = 1024.0 * 1024.0;

/// What changed between two readings, as a screen of plain text.
pub(super) fn render(earlier: &Samples, now: &Samples, elapsed: Duration) -> String {
    let change = Change {
        earlier,
        now,
        seconds: elapsed.as_secs_f64().max(1e-3),
    };
    let mut screen = String::new();
    // Writing to a String cannot fail.
    let _infallible = change.write(&mut screen);
    screen
}

struct Change<'a> {
    earlier: &'a Samples,
    now: &'a Samples,
    seconds: f64,
}

/// The requests of one route in the time between two readings.
#[derive(Default)]
struct Route {
    requests: f64,
    errors: f64,
    /// (upper bound in seconds, requests up to it).
    buckets: Vec<(f64, f64)>,
}

impl Change<'_> {
    fn write(&self, screen: &mut String) -> fmt::Result {
        self.routes(screen)?;
        self.price(screen)?;
        self.fullness(screen)?;
        self.losses(screen)
    }

    /// By how much a metric grew; a worker that was started anew begins at zero.
    fn grown(&self, name: &str) -> Option<f64> {
        let now = self.now.sum(name)?;
        let earlier = self.earlier.sum(name).unwrap_or_default();
        Some(if now < earlier { now } else { now - earlier })
    }

    /// Each sample of a metric by how much it grew.
    fn each_grown<'b>(&'b self, name: &str) -> Vec<(&'b Labels, f64)> {
        let earlier: BTreeMap<_, _> = self.earlier.of(name).collect();
        let grown = |(labels, now): (&'b Labels, f64)| {
            let earlier = earlier.get(labels).copied().unwrap_or_default();
            (labels, if now < earlier { now } else { now - earlier })
        };
        self.now.of(name).map(grown).collect()
    }

    fn by_route(&self) -> Vec<((&str, &str), Route)> {
        let mut routes: BTreeMap<_, Route> = BTreeMap::new();
        for (labels, count) in self.each_grown(COUNT) {
            let route = routes.entry(key(labels)).or_default();
            route.requests += count;
            if labels.contains_key("error_type") {
                route.errors += count;
            }
        }
        for (labels, count) in self.each_grown(BUCKET) {
            let bound = labels.get("le").and_then(|bound| bound.parse().ok());
            if let (Some(bound), Some(route)) = (bound, routes.get_mut(&key(labels))) {
                route.add(bound, count);
            }
        }
        let mut routes: Vec<_> = routes.into_iter().filter(|(_, route)| route.requests > 0.0).collect();
        routes.sort_by(|(_, one), (_, other)| other.requests.total_cmp(&one.requests));
        routes
    }

    fn routes(&self, screen: &mut String) -> fmt::Result {
        let routes = self.by_route();
        writeln!(
            screen,
            "{:<24} {:<32} {:>9} {:>8} {:>9}",
            "SERVICE", "ROUTE", "REQ/S", "ERRORS", "P99"
        )?;
        for ((service, name), route) in routes.iter().take(ROWS) {
            writeln!(
                screen,
                "{:<24} {:<32} {:>9.1} {:>6.1} % {:>9}",
                printable(service, 24),
                printable(name, 32),
                route.requests / self.seconds,
                100.0 * route.errors / route.requests,
                route.p99()
            )?;
        }
        if routes.is_empty() {
            writeln!(screen, "no requests")?;
        }
        if let Some(more) = routes.len().checked_sub(ROWS).filter(|more| *more > 0) {
            writeln!(screen, "and {more} more")?;
        }
        Ok(())
    }

    fn price(&self, screen: &mut String) -> fmt::Result {
        let requests = self.grown(COUNT).filter(|requests| *requests > 0.0);
        let run_time = self.grown("shoalwatch_bpf_run_time_seconds_total");
        let cpu = self.grown("process_cpu_seconds_total").unwrap_or_default();
        let mib = |name| self.now.sum(name).unwrap_or_default() / MIB;
        let ebpf = match (run_time, requests) {
            (None, _) => "eBPF time is not taken (--bpf-stats)".to_owned(),
            (Some(time), None) => format!("eBPF {:.2} % of a core", 100.0 * time / self.seconds),
            (Some(time), Some(requests)) => format!("eBPF {:.0} ns per request", 1e9 * time / requests),
        };
        writeln!(
            screen,
            "\nPRICE     {ebpf} · worker {:.2} % of a core · RSS {:.1} MiB · maps {:.1} MiB",
            100.0 * cpu / self.seconds,
            mib("process_resident_memory_bytes"),
            mib("shoalwatch_bpf_map_memory_bytes")
        )
    }

    fn fullness(&self, screen: &mut String) -> fmt::Result {
        let capacity: BTreeMap<_, _> = self.now.of("shoalwatch_capacity").collect();
        let full = |(labels, used): (&Labels, f64)| {
            let max = capacity.get(labels).copied().filter(|max| *max > 0.0)?;
            let name = labels.get("of").map(|name| printable(name, 32)).unwrap_or_default();
            Some((used / max, format!("{name} {used} of {max}")))
        };
        let mut all: Vec<_> = self.now.of("shoalwatch_used").filter_map(full).collect();
        all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let fullest: Vec<_> = all.into_iter().take(FULLEST).map(|(_, text)| text).collect();
        writeln!(screen, "FULLEST   {}", fullest.join(" · "))
    }

    fn losses(&self, screen: &mut String) -> fmt::Result {
        let mut stages: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (labels, grown) in self.each_grown("shoalwatch_lost_total") {
            stages.entry(stage(labels)).or_default().1 += grown;
        }
        for (labels, all) in self.now.of("shoalwatch_lost_total") {
            stages.entry(stage(labels)).or_default().0 += all;
        }
        let tell = |(stage, (all, grown)): (String, (f64, f64))| format!("{stage} {all} (+{grown})");
        let stages: Vec<_> = stages.into_iter().map(tell).collect();
        writeln!(screen, "LOST      {}", stages.join(" · "))
    }
}

impl Route {
    fn add(&mut self, bound: f64, count: f64) {
        match self
            .buckets
            .iter_mut()
            .find(|(other, _)| other.total_cmp(&bound).is_eq())
        {
            Some((_, sum)) => *sum += count,
            None => self.buckets.push((bound, count)),
        }
    }

    /// As Prometheus' `histogram_quantile` finds it: linear in the bucket that holds it.
    fn p99(&self) -> String {
        let mut buckets = self.buckets.clone();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let wanted = 0.99 * buckets.last().map_or(0.0, |(_, all)| *all);
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, up_to) in buckets {
            if up_to >= wanted && up_to > below {
                return if bound.is_finite() {
                    milliseconds(low + (bound - low) * (wanted - below) / (up_to - below))
                } else {
                    format!("> {}", milliseconds(low))
                };
            }
            (low, below) = (bound, up_to);
        }
        String::new()
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

fn key(labels: &Labels) -> (&str, &str) {
    let label = |name, absent| labels.get(name).map_or(absent, String::as_str);
    (label("service_name", "(others)"), label("http_route", "(others)"))
}

fn stage(labels: &Labels) -> String {
    labels
        .get("stage")
        .map(|stage| printable(stage, 16))
        .unwrap_or_default()
}

/// What a terminal would obey comes from other people's requests: it is made visible. Too long is cut.
fn printable(text: &str, width: usize) -> String {
    let visible = |character: char| if character.is_control() { '·' } else { character };
    let mut shown: String = text.chars().take(width).map(visible).collect();
    if text.chars().nth(width).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
