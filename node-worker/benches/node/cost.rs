//! What a process costs, and how busy a core is.

use std::{fs, time::Duration};

use crate::harness::Outcome;

/// Time that all threads of a process had on a core, to the nanosecond.
pub(crate) fn cpu_time(pid: u32) -> Outcome<Duration> {
    let mut nanoseconds = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_core = text.split(' ').next().ok_or("schedstat")?;
        nanoseconds += on_core.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident bytes of a process without the rings that it shares with the kernel: those are map memory.
pub(crate) fn resident_bytes(pid: u32) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let (mut bytes, mut is_map) = (0, false);
    for line in text.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let kibibytes: u64 = size.trim().trim_end_matches(" kB").parse()?;
            bytes += if is_map { 0 } else { kibibytes << 10 };
        } else if line.split(' ').next().is_some_and(|first| first.contains('-')) {
            is_map = line.contains("anon_inode:bpf-map");
        }
    }
    Ok(bytes)
}

/// (busy, all) time of a core since the machine's start, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreTime {
    busy: u64,
    all: u64,
}

impl CoreTime {
    pub(crate) fn read(core: usize) -> Outcome<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let prefix = format!("cpu{core} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .ok_or("no such core")?;
        let ticks = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        let all = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self { busy: all - idle, all })
    }

    /// 0 to 1.
    pub(crate) fn busy_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy) as f64 / (self.all - earlier.all).max(1) as f64
    }
}
