//! What the worker itself costs.

use std::{fs, time::Duration};

use nix::sys::resource::{UsageWho, getrusage};

use super::text::Page;
use crate::loader::Price;

/// The metrics of this process and of its eBPF programs, now.
pub(crate) fn price(price: &Price) -> String {
    let mut page = Page::default();
    programs(&mut page, price);
    page.head("shoalwatch_bpf_map_memory_bytes", "gauge", "Memory of all eBPF maps");
    page.sample("shoalwatch_bpf_map_memory_bytes", &[], price.map_bytes());
    if let Some(time) = cpu_time() {
        page.head("process_cpu_seconds_total", "counter", "Processor time of the worker");
        page.sample("process_cpu_seconds_total", &[], time.as_secs_f64());
    }
    if let Some(bytes) = resident_bytes() {
        page.head(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the worker",
        );
        page.sample("process_resident_memory_bytes", &[], bytes);
    }
    page.finish()
}

/// Without BPF statistics there is no sample: zero would be read as free.
fn programs(page: &mut Page, price: &Price) {
    const TIME: &str = "shoalwatch_bpf_run_time_seconds_total";
    const RUNS: &str = "shoalwatch_bpf_runs_total";
    let programs: Vec<_> = price.programs().collect();
    page.head(
        TIME,
        "counter",
        "Time in the eBPF programs while BPF statistics were on",
    );
    for (name, work) in &programs {
        let time = Duration::from_nanos(work.run_time_ns);
        page.sample(TIME, &[("program", name)], time.as_secs_f64());
    }
    page.head(
        RUNS,
        "counter",
        "Runs of the eBPF programs while BPF statistics were on",
    );
    for (name, work) in &programs {
        page.sample(RUNS, &[("program", name)], work.runs);
    }
}

fn cpu_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let of = |seconds: i64, micros: i64| {
        Some(Duration::from_secs(u64::try_from(seconds).ok()?) + Duration::from_micros(u64::try_from(micros).ok()?))
    };
    let (user, system) = (usage.user_time(), usage.system_time());
    Some(of(user.tv_sec(), user.tv_usec())? + of(system.tv_sec(), system.tv_usec())?)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(page: &str, name: &str) -> Option<f64> {
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    #[test]
    fn a_process_tells_its_own_memory_and_time() {
        let page = price(&Price::default());
        assert!(
            value(&page, "process_resident_memory_bytes").is_some_and(|bytes| bytes > 4096.0),
            "{page}"
        );
        assert!(
            value(&page, "process_cpu_seconds_total").is_some_and(|seconds| seconds > 0.0),
            "{page}"
        );
    }

    #[test]
    fn programs_without_statistics_are_not_free_but_absent() {
        let page = price(&Price::default());
        assert!(!page.contains("shoalwatch_bpf_runs_total{"), "{page}");
        assert_eq!(value(&page, "shoalwatch_bpf_map_memory_bytes"), Some(0.0));
    }
}
