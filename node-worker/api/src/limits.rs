//! How large a configuration and a report may be. Both sides refuse more, so neither can fill the other's memory.

/// Sampling policies in one configuration.
pub const POLICIES: usize = 256;
/// Rules in one policy.
pub const RULES: usize = 32;
/// SLIs in one configuration.
pub const SLIS: usize = 512;
/// Host services in one configuration.
pub const HOST_SERVICES: usize = 64;
/// Rows in one SLI report.
pub const REPORT_ROWS: usize = 4096;
/// Sentences in [`Hello.degraded`](crate::wire::Hello).
pub const DEGRADED: usize = 8;
/// Bytes of a NACK's reason.
pub const REASON_BYTES: usize = 1024;
/// The shortest and the longest time between two SLI reports, in milliseconds.
pub const REPORT_INTERVAL_MS: std::ops::RangeInclusive<u32> = 200..=60_000;
/// Bytes of a name: node, start id, worker version, kernel release, SLI id, revision, nonce.
pub const NAME_BYTES: usize = 512;
/// Bytes of one encoded message, in either direction. Both sides refuse to decode more.
pub const MESSAGE_BYTES: usize = 4 << 20;
