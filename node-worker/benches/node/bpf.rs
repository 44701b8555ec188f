//! What the kernel says of a process's eBPF programs and maps, in the process's `/proc/PID/fdinfo`.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Add, Sub},
    os::fd::OwnedFd,
};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

use crate::harness::Outcome;

/// BPF statistics are on while this lives.
pub(crate) struct Statistics {
    _held: OwnedFd,
}

impl Statistics {
    pub(crate) fn enable() -> Outcome<Self> {
        Ok(Self {
            _held: enable_stats(Stats::RunTime)?,
        })
    }
}

/// What a program did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) time_ns: u64,
    pub(crate) runs: u64,
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            time_ns: self.time_ns - earlier.time_ns,
            runs: self.runs - earlier.runs,
        }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            time_ns: self.time_ns + other.time_ns,
            runs: self.runs + other.runs,
        }
    }
}

/// A process's programs by name.
pub(crate) type Programs = BTreeMap<String, Work>;

/// The programs that a process holds.
pub(crate) fn programs(pid: u32) -> Outcome<Programs> {
    let mut by_id = BTreeMap::new();
    for info in fdinfo(pid)? {
        // Links name their program too, without its work.
        let fields = ["prog_id", "run_time_ns", "run_cnt"].map(|name| field(&info, name));
        if let [Some(id), Some(time_ns), Some(runs)] = fields {
            by_id.insert(id, Work { time_ns, runs });
        }
    }
    let mut programs = Programs::new();
    for info in loaded_programs() {
        let info = info?;
        if let Some(work) = by_id.get(&u64::from(info.id())) {
            programs.insert(info.name_as_str().unwrap_or_default().to_owned(), *work);
        }
    }
    Ok(programs)
}

/// Of each program what it did since.
pub(crate) fn since(now: &Programs, earlier: &Programs) -> Programs {
    let work = |(name, work): (&String, &Work)| {
        let before = earlier.get(name).copied().unwrap_or_default();
        (name.clone(), *work - before)
    };
    now.iter().map(work).collect()
}

/// All programs together.
pub(crate) fn sum(programs: &Programs) -> Work {
    programs.values().fold(Work::default(), |sum, work| sum + *work)
}

/// Bytes of the maps that a process holds.
pub(crate) fn map_memory(pid: u32) -> Outcome<u64> {
    let maps = fdinfo(pid)?
        .into_iter()
        .filter_map(|info| Some((field(&info, "map_id")?, field(&info, "memlock")?)));
    // A map that is held by two descriptors is counted once.
    Ok(maps.collect::<BTreeMap<_, _>>().into_values().sum())
}

fn fdinfo(pid: u32) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"))?;
    // A descriptor may be closed meanwhile.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Ok(texts.collect())
}

fn field(info: &str, name: &str) -> Option<u64> {
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}
