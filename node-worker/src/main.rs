//! The node worker's process.

use clap::Parser;
use shoalwatch_node_worker::{
    args::{Args, Command},
    run, top,
};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.command {
        Some(Command::Top(top)) => top::run(top),
        None => run::run(args),
    }
}
