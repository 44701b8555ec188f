//! The built worker on a bare machine: real servers, `--config`, an OTLP receiver in this process.
//!
//! Needs root. Without it the tests are skipped, in CI they fail.

mod calling;
mod client;
mod counting;
mod harness;
mod living;
mod load;
mod price;
mod servers;
mod sink;
mod worker;
