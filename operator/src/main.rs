//! Thin: everything is in the library, where tests reach it.

use std::process::ExitCode;

use clap::Parser;
use shoalwatch_operator::{args::Args, runtime};

fn main() -> ExitCode {
    runtime::main(&Args::parse())
}
