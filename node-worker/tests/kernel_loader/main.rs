//! The loaded object against real system calls and real servers.
//!
//! Needs root, and for some tests nginx, Python, Go and Node: what is missing is a printed skip on a laptop and a failure
//! where `CI=true`. The tests share the machine's tracepoints and run one after the other.

mod client;
mod counting;
mod descriptors;
mod flips;
mod harness;
mod http2;
mod lifecycle;
mod losses;
mod namespaces;
mod pairing;
mod raw;
mod scenario;
mod servers;
mod threads;
mod tracepoints;

#[path = "../shared/receiver.rs"]
mod receiver;
#[path = "../shared/tracefs.rs"]
mod tracefs;
