//! The built worker counts exactly: what it tells equals what the load tool saw, whatever the load, the policies and the ring.
//!
//! Needs root, nginx, Go, Python, Node and Java. `RUNS` and `REQUESTS` say how often and how many; `make exact` asks for 20 times
//! 100,000 of each server.

mod asks;
mod books;
mod connection;
mod games;
mod load;
mod run;

#[path = "../worker_host/client.rs"]
mod client;
#[path = "../worker_host/harness.rs"]
mod harness;
#[path = "../worker_host/servers.rs"]
mod servers;
#[path = "../worker_host/sink.rs"]
mod sink;
#[path = "../worker_host/worker.rs"]
mod worker;
