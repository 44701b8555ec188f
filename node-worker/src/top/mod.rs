//! `shoalwatch-node-worker top`: a running worker's numbers, and what it costs, on the terminal.
//!
//! It reads the worker's page `/metrics` each second, and shows what changed between two readings; so it needs no right but to reach
//! the page.

mod fetch;
mod frame;
mod samples;

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::args::TopArgs;
use samples::Samples;

const PERIOD: Duration = Duration::from_secs(1);
/// The cursor to the corner, and everything below it away.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows a frame each second until the process is ended; with `once`, one frame.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let (mut earlier, mut read_at) = (read(&args.url)?, Instant::now());
    loop {
        thread::sleep(PERIOD);
        let (now, at) = (read(&args.url)?, Instant::now());
        let frame = frame::render(&earlier, &now, at - read_at);
        show(&frame, args.once).context("the terminal cannot be written to")?;
        if args.once {
            return Ok(());
        }
        (earlier, read_at) = (now, at);
    }
}

fn read(url: &str) -> anyhow::Result<Samples> {
    let page =
        fetch::page(url).with_context(|| format!("--url {url}: is the worker running, and its admin address?"))?;
    Ok(Samples::parse(&page))
}

fn show(frame: &str, once: bool) -> io::Result<()> {
    let mut terminal = io::stdout().lock();
    let clear = if once { "" } else { CLEAR };
    write!(terminal, "{clear}{frame}")?;
    terminal.flush()
}
