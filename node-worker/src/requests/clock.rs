//! Time: the kernel's records have `CLOCK_MONOTONIC`, telemetry wants the time since the Unix epoch.

use rustix::time::{ClockId, clock_gettime};

/// One moment on both clocks. Taken once per drain, so that no event costs a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) monotonic_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) unix_ns: u64,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            monotonic_ns: read(ClockId::Monotonic),
            unix_ns: read(ClockId::Realtime),
        }
    }

    /// The time since the Unix epoch of another moment of `CLOCK_MONOTONIC`.
    pub(crate) const fn unix(&self, monotonic_ns: u64) -> u64 {
        self.unix_ns
            .saturating_sub(self.monotonic_ns)
            .saturating_add(monotonic_ns)
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_distance_from_now() {
        let now = Now {
            monotonic_ns: 5_000,
            unix_ns: 1_000_000,
        };
        assert_eq!(now.unix(4_000), 999_000);
        assert_eq!(now.unix(5_000), 1_000_000);
    }
}
