//! aya's permission to copy the map values as bytes.

#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait")]

use aya::Pod;

use crate::{Connection, Task};

// SAFETY: `#[repr(C)]`, integers only, and the size assertions show that there is no padding.
unsafe impl Pod for Task {}
// SAFETY: as above.
unsafe impl Pod for Connection {}
