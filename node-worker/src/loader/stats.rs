//! What the kernel counted, and how full its maps are.

use shoalwatch_ebpf_common::Stat;

/// Counters since the probes were loaded, summed over all CPUs. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub(super) counts: [u64; Stat::COUNT],
    /// Records of the rings that could not be decoded: object and worker disagree.
    pub undecodable: u64,
    /// Runs of programs that the kernel left out, because the program was running on that processor already: system calls, or ends of
    /// connections, that nobody saw. 0 below Linux 5.12, which does not tell.
    pub recursion_misses: u64,
}

impl Stats {
    /// One counter.
    #[must_use]
    pub fn get(&self, stat: Stat) -> u64 {
        self.counts[stat as usize]
    }

    /// Connections, processes and requests that were not followed, without knowing whose they were.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let causes = [Stat::MapFull, Stat::TasksFull, Stat::ReadFailed];
        self.recursion_misses + causes.into_iter().map(|stat| self.get(stat)).sum::<u64>()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_saw_is_what_found_no_room_what_could_not_be_read_and_what_the_kernel_left_out() {
        let stats = Stats {
            recursion_misses: 1000,
            ..Stats::default()
        };
        let stats = stats
            .with(Stat::MapFull, 100)
            .with(Stat::TasksFull, 10)
            .with(Stat::ReadFailed, 1)
            .with(Stat::RingFull, 5);
        assert_eq!(stats.unseen(), 1111);
    }
}
