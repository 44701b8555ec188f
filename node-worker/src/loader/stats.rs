//! What the kernel counted, and how full its maps are.

use shoalwatch_ebpf_common::Stat;

/// Counters since the probes were loaded, summed over all CPUs. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub(super) counts: [u64; Stat::COUNT],
    /// Records of the rings that could not be decoded: object and worker disagree.
    pub undecodable: u64,
}

impl Stats {
    /// One counter.
    #[must_use]
    pub fn get(&self, stat: Stat) -> u64 {
        self.counts[stat as usize]
    }

    #[cfg(test)]
    pub(crate) const fn with(mut self, stat: Stat, count: u64) -> Self {
        self.counts[stat as usize] = count;
        self
    }

    /// All counters of the kernel.
    pub fn iter(&self) -> impl Iterator<Item = (Stat, u64)> {
        Stat::ALL.into_iter().zip(self.counts)
    }
}

/// How full one map is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries in use.
    pub used: u32,
    /// Entries that fit.
    pub max: u32,
}

/// How full the maps are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fullness {
    /// Observed processes.
    pub tasks: Usage,
    /// Tracked connections.
    pub connections: Usage,
    /// Kinds of answers counted in the kernel.
    pub counters: Usage,
    /// Routes that were taught.
    pub routes: Usage,
}
