//! Requests counted in the kernel: routes that the worker taught, and one histogram for each kind of answer.

use crate::http1::Method;

/// Upper bounds of the buckets, inclusive, in nanoseconds: those of OpenTelemetry's HTTP conventions.
pub const BOUNDS_NS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];
/// Buckets of a [`Counter`]: the last one is above all bounds.
pub const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// What a route is known by: key of the map `ROUTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RouteKey {
    /// [`Task::service`](crate::Task::service).
    pub service: u32,
    /// A [`Role`](crate::Role).
    pub role: u32,
    /// The [shape](crate::shape) of the path for a server, [`peer_hash`](crate::peer_hash) for a client.
    pub shape: u64,
}

/// The row of each method for one route, by the method's number, and its policy's limit: entry of the map `ROUTE_ROWS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RouteRows {
    /// Places in the map `ROWS`, within its slot. The last one is nobody's.
    pub rows: [u16; Method::NUMBERS + 1],
    /// The place of the policy's limit in the map `LIMITS`, within its slot, and in `LIMITED`; 0: it has none.
    pub limit: u32,
}

/// What a histogram is known by: key of the map `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CounterKey {
    /// The number that the worker gave the route, or the service's number for all others.
    pub route: u32,
    /// The final status; 0: the answer never came.
    pub status: u16,
    /// A [`Method`](crate::http1::Method).
    pub method: u8,
    /// Always 0: there is no implicit padding.
    pub reserved: u8,
}

/// One cumulative histogram of one CPU. The number of requests is the sum of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// All durations, in nanoseconds.
    pub sum_ns: u64,
    /// Requests per bucket, not accumulated.
    pub buckets: [u64; BUCKETS],
}

impl Counter {
    /// Nothing counted yet.
    pub const EMPTY: Self = Self {
        sum_ns: 0,
        buckets: [0; BUCKETS],
    };

    /// Both together; what does not fit into 64 bits begins again at 0, as in the kernel.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        let mut sum = self;
        sum.sum_ns = sum.sum_ns.wrapping_add(other.sum_ns);
        for (bucket, more) in sum.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.wrapping_add(more);
        }
        sum
    }

    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        let mut more = self;
        more.sum_ns = more.sum_ns.wrapping_sub(earlier.sum_ns);
        for (bucket, before) in more.buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.wrapping_sub(before);
        }
        more
    }

    /// Requests counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The bucket of a duration.
#[inline(always)]
#[must_use]
pub const fn bucket(duration_ns: u64) -> usize {
    let mut at = 0;
    while at < BOUNDS_NS.len() && BOUNDS_NS[at] < duration_ns {
        at += 1;
    }
    at
}

const _: () = {
    assert!(size_of::<RouteKey>() == 16);
    assert!(size_of::<RouteRows>() == 28);
    assert!(size_of::<CounterKey>() == 8);
    assert!(size_of::<Counter>() == 8 + 8 * BUCKETS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        assert_eq!(bucket(0), 0);
        for (index, bound) in BOUNDS_NS.into_iter().enumerate() {
            assert_eq!((bucket(bound), bucket(bound + 1)), (index, index + 1));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
