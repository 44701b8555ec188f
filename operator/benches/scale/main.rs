//! `make bench-scale`: what the operator costs a cluster, each number beside its goal.
//!
//! The built operator, as a process of its own, between an API server in memory and simulated workers in this process, over
//! loopback: each worker has a TLS connection, a token and a stream of its own, acknowledges what it is pushed, and reports as
//! often as it is told. Objects grow with the nodes, as in clusters they do. It ends with README's table.
//!
//! `SCALE="workers:namespaces …"` chooses other sizes: a namespace has 8 Deployments, each with an SLO, and 4 policies.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::print_stderr, reason = "it says what it is at")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts and times of seconds, told with three digits"
)]

mod api;
mod edits;
mod objects;
mod operator;
mod run;
mod store;
#[path = "../../../node-worker/benches/node/table.rs"]
mod table;
mod workers;

use table::Table;

/// Result of everything here; the first error ends the benchmark.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Workers, and namespaces: the cluster of the goal last.
const SIZES: &str = "10:5 100:50 1000:500";

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) workers: usize,
    pub(crate) namespaces: usize,
}

impl Size {
    fn read(text: &str) -> Outcome<Self> {
        let (workers, namespaces) = text.split_once(':').ok_or("write SCALE=\"workers:namespaces …\"")?;
        Ok(Self {
            workers: workers.parse()?,
            namespaces: namespaces.parse()?,
        })
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    drop(rustls::crypto::ring::default_provider().install_default());
    let sizes = std::env::var("SCALE").ok().filter(|sizes| !sizes.is_empty());
    let sizes = sizes.unwrap_or_else(|| SIZES.to_owned());
    let mut rows = Vec::new();
    for size in sizes.split_whitespace() {
        rows.extend(run::rows(Size::read(size)?).await?);
    }
    print!("{}", Table(rows));
    Ok(())
}
