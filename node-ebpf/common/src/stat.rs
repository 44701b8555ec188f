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
    /// Answers without a request that the fast path follows: asked before the worker looked, given up, or garbage.
    UnpairedAnswer = 3,
    /// Requests on connections that user space could not be told of, because the ring of transfers was full: from then on.
    GivenUp = 4,
    /// Connections that left the fast path: user space was told of all their transfers.
    Raw = 5,
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
    /// Finished requests counted in the kernel.
    Counted = 11,
    /// Kinds of answers that found no room in the map of counters; their requests were reported instead.
    CountersFull = 12,
    /// Requests of the kubelet's probes: not counted otherwise.
    Probe = 13,
    /// Requests of Prometheus: not counted otherwise.
    Scrape = 14,
    /// Requests that became no span: their randomness is below the threshold.
    DroppedProbability = 15,
    /// Requests that became no span: their probability is 0.
    DroppedNever = 16,
    /// Requests that became no span: their caller did not sample its own.
    DroppedParent = 17,
    /// Connections that were reset while their answer was awaited; whether it was written before is found out later.
    Reset = 18,
    /// Requests whose connection was closed without an answer.
    Aborted = 19,
    /// Requests that were counted and whose span found no room in the ring.
    SpanLost = 20,
    /// Requests that were counted among all other routes because the ring had no room for their own.
    RouteLost = 21,
    /// Transfers that found no room in their ring.
    RawFull = 22,
    /// Calls of observed processes that let the kernel transfer on its own (`io_uring`): any number of requests may go that way, so each
    /// call counts as one that was lost.
    IoUring = 23,
    /// Requests that became no span: their policy's limit per second is used up on this CPU.
    DroppedLimit = 24,
    /// Requests to others that belong to the request that their thread served.
    Joined = 25,
}

impl Stat {
    /// All counters, in the order of their numbers.
    pub const ALL: [Self; 26] = [
        Self::Requests,
        Self::Events,
        Self::RingFull,
        Self::UnpairedAnswer,
        Self::GivenUp,
        Self::Raw,
        Self::ReadFailed,
        Self::MapFull,
        Self::Task32Bit,
        Self::TasksFull,
        Self::ProcessRingFull,
        Self::Counted,
        Self::CountersFull,
        Self::Probe,
        Self::Scrape,
        Self::DroppedProbability,
        Self::DroppedNever,
        Self::DroppedParent,
        Self::Reset,
        Self::Aborted,
        Self::SpanLost,
        Self::RouteLost,
        Self::RawFull,
        Self::IoUring,
        Self::DroppedLimit,
        Self::Joined,
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
            Self::GivenUp => "given_up",
            Self::Raw => "raw",
            Self::ReadFailed => "read_failed",
            Self::MapFull => "map_full",
            Self::Task32Bit => "task_32bit",
            Self::TasksFull => "tasks_full",
            Self::ProcessRingFull => "process_ring_full",
            Self::Counted => "counted",
            Self::CountersFull => "counters_full",
            Self::Probe => "probe",
            Self::Scrape => "scrape",
            Self::DroppedProbability => "dropped_probability",
            Self::DroppedNever => "dropped_never",
            Self::DroppedParent => "dropped_parent",
            Self::Reset => "reset",
            Self::Aborted => "aborted",
            Self::SpanLost => "span_lost",
            Self::RouteLost => "route_lost",
            Self::RawFull => "raw_full",
            Self::IoUring => "io_uring",
            Self::DroppedLimit => "dropped_limit",
            Self::Joined => "joined",
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
