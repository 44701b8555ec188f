//! The kernel's own counters.

/// A counter of the per-CPU array `STATS`; its number is the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stat {
    /// Request heads recognised.
    Requests = 0,
    /// Finished requests handed to the ring.
    Events = 1,
    /// Finished requests lost because the ring was full.
    RingFull = 2,
    /// Answers without a request that the fast path follows: read before the worker looked, given up, or garbage.
    UnpairedAnswer = 3,
    /// Requests given up because one was read before the answer to an earlier one: both, and all that follow on that
    /// connection.
    Pipelined = 4,
    /// Requests given up because the answer's status line came in pieces.
    ShortAnswer = 5,
    /// Reads of the observed process's memory that failed.
    ReadFailed = 6,
    /// Connections that found no room in the map.
    MapFull = 7,
    /// System calls of observed 32-bit tasks, which are not followed.
    Task32Bit = 8,
    /// Children of observed processes that found no room in the map of tasks.
    TasksFull = 9,
    /// News of processes lost because their ring was full.
    ProcessRingFull = 10,
}

impl Stat {
    /// All counters, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Requests,
        Self::Events,
        Self::RingFull,
        Self::UnpairedAnswer,
        Self::Pipelined,
        Self::ShortAnswer,
        Self::ReadFailed,
        Self::MapFull,
        Self::Task32Bit,
        Self::TasksFull,
        Self::ProcessRingFull,
    ];
    /// How many counters there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The counter's index in `STATS`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The counter's name, fit for a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Events => "events",
            Self::RingFull => "ring_full",
            Self::UnpairedAnswer => "unpaired_answer",
            Self::Pipelined => "pipelined",
            Self::ShortAnswer => "short_answer",
            Self::ReadFailed => "read_failed",
            Self::MapFull => "map_full",
            Self::Task32Bit => "task_32bit",
            Self::TasksFull => "tasks_full",
            Self::ProcessRingFull => "process_ring_full",
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < Stat::COUNT {
        assert!(Stat::ALL[i] as usize == i);
        i += 1;
    }
};
