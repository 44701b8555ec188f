//! How sure the judge is: lives of good and of bad releases, judged by the operator's own code, printed as the README's tables.
//!
//! `make simulate`, or `cargo run -p shoalwatch-core --example simulate -- [SEED [RELEASES]]`.

mod clauses;
mod draw;
mod life;
#[path = "../../tests/support/pair.rs"]
mod pair;
mod population;
#[path = "../../tests/support/mod.rs"]
mod support;
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
    writeln!(out)?;
    let hard = table::hard(seed, releases, &mut out)?;
    writeln!(out)?;
    let needed = table::clauses(seed, &mut out)?;
    if !(good && bad && hard) {
        return Err(io::Error::other("a good release was undone, or a bad one missed"));
    }
    if !needed {
        return Err(io::Error::other("nothing goes wrong without one of the clauses"));
    }
    Ok(())
}
