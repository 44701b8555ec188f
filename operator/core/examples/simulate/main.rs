//! How sure the judge is: lives of good and of bad releases, judged by the operator's own code, printed as the README's table.
//!
//! `make simulate`, or `cargo run -p shoalwatch-core --example simulate -- [SEED [RELEASES]]`.

mod draw;
mod life;
mod population;
mod table;

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|word| {
        word.parse::<u64>()
            .map_err(|error| io::Error::other(format!("{word}: {error}: write simulate [SEED [RELEASES]]")))
    });
    let seed = numbers.next().transpose()?.unwrap_or(1);
    let releases = numbers.next().transpose()?.unwrap_or(10_000);
    let mut out = io::stdout().lock();
    let good = table::good(seed, releases, &mut out)?;
    writeln!(out)?;
    let bad = table::bad(seed, releases, &mut out)?;
    if good && bad {
        Ok(())
    } else {
        Err(io::Error::other("a good release was undone, or a bad one missed"))
    }
}
