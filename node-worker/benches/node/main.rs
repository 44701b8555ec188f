//! `make bench`: what the worker costs a node, each number beside its goal.
//!
//! Real nginx, the built worker, and a load tool in this process, over loopback. What is compared takes turns in one run, and a row is
//! the median of its rounds: so ratios hold on a busy machine. It needs root, because eBPF does, and ends with README's table.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of seconds, told with three digits"
)]

mod bpf;
#[path = "../../tests/worker_host/client.rs"]
mod client;
mod cost;
mod edits;
mod harness;
mod kernel_time;
mod load;
mod nginx;
mod on_off;
mod pipeline;
mod sink;
mod steady;
mod table;
mod worker;

use harness::{Cores, Outcome, find, stay_on};
use nginx::Nginx;
use sink::Sink;
use table::Table;

fn main() -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("run as root: `make bench` loads eBPF programs".into());
    }
    find("nginx").ok_or("nginx is missing: run `make prerequisites`")?;
    let mut rows = node()?;
    rows.extend(pipeline::rows()?);
    print!("{}", Table(rows));
    Ok(())
}

fn node() -> Outcome<Vec<table::Row>> {
    let cores = Cores::choose()?;
    let nginx = Nginx::start(cores.server)?;
    // The receiver's threads inherit it.
    stay_on(cores.client)?;
    let sink = Sink::start()?;
    let mut rows = on_off::rows(&nginx, &sink, cores)?;
    rows.extend(kernel_time::rows(&nginx, &sink, cores)?);
    rows.extend(steady::rows(&nginx, &sink, cores)?);
    rows.extend(edits::rows(&nginx, &sink, cores)?);
    Ok(rows)
}
