//! What the workers say of themselves, as one value that anybody can watch.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shoalwatch_node_api::config::Version;

/// Every worker that this replica has heard of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Of all nodes' plans together; absent while this replica does not lead or nothing was published yet.
    pub target: Option<Version>,
    /// By node name. A worker stays for 10 minutes after its stream ended, so that "stale" can be told from "never there".
    /// At most [`MAX_WORKERS`](super::MAX_WORKERS).
    pub workers: BTreeMap<String, Worker>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Whether its stream to this replica is open.
    pub connected: bool,
    /// The last good configuration.
    pub applied: Option<Version>,
    /// The newest refusal; cleared by the next configuration that is applied.
    pub rejected: Option<Rejection>,
    /// What its node cannot do, each a sentence that says what would mend it.
    pub degraded: Vec<String>,
    /// Of the worker's program.
    pub worker_version: String,
    /// When its last message arrived, or its stream ended.
    pub last_seen: Timestamp,
}

/// A configuration that a worker refused whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What was refused.
    pub version: Version,
    /// Field path and what to write instead, in the worker's words.
    pub reason: String,
}
