//! The node worker's process.

use clap::Parser;
use shoalwatch_node_worker::{args::Args, run};

fn main() -> anyhow::Result<()> {
    run::run(Args::parse())
}
