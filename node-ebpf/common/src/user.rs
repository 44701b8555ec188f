//! aya's permission to copy the map values as bytes.

#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait")]

use aya::Pod;

use crate::{Connection, Counter, CounterKey, RouteKey, RouteRows, Task, limit::Pace, sampling::Row};

// SAFETY: `#[repr(C)]`, integers only, and the size assertions show that there is no padding.
unsafe impl Pod for Task {}
// SAFETY: as above.
unsafe impl Pod for Connection {}
// SAFETY: as above.
unsafe impl Pod for RouteKey {}
// SAFETY: as above.
unsafe impl Pod for CounterKey {}
// SAFETY: as above.
unsafe impl Pod for Counter {}
// SAFETY: as above.
unsafe impl Pod for RouteRows {}
// SAFETY: as above.
unsafe impl Pod for Row {}
// SAFETY: as above.
unsafe impl Pod for Pace {}
