//! The load tool: many connections at a time, and a book of every request.

use std::{net::SocketAddr, thread};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{asks::Ask, connection::Connection, harness::Outcome, servers::Counts};

/// Connections at a time, and the share of all requests that they send, in hundredths.
const PHASES: [(usize, usize); 4] = [(1, 5), (8, 25), (64, 30), (256, 40)];
/// Of so many connections one never lives longer than a request.
const CLOSING: usize = 8;
/// Of so many connections one pipelines.
const PIPELINING: usize = 3;

/// What a load consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) seed: u64,
}

impl Load {
    /// Returns every request by method, route and status; 0: it was not answered.
    pub(crate) fn run(&self, address: SocketAddr) -> Outcome<Counts> {
        let mut all = Counts::new();
        for (connections, share) in PHASES {
            let requests = self.requests * share / 100;
            let workers = (0..connections).map(|number| {
                let load = *self;
                let own = requests / connections + usize::from(number < requests % connections);
                thread::spawn(move || {
                    load.on_one(address, (connections, number), own)
                        .map_err(|error| error.to_string())
                })
            });
            for worker in workers.collect::<Vec<_>>() {
                for (request, count) in worker.join().map_err(|panic| format!("{panic:?}"))?? {
                    *all.entry(request).or_default() += count;
                }
            }
        }
        Ok(all)
    }

    fn on_one(&self, address: SocketAddr, (connections, number): (usize, usize), requests: usize) -> Outcome<Counts> {
        let seed = self.seed << 32 | (connections << 16 | number) as u64;
        let mut random = SmallRng::seed_from_u64(seed);
        let keeps_alive = number % CLOSING != CLOSING - 1;
        // Some requests are sent before the answers to earlier ones; on the other connections never.
        let pipelines = number % PIPELINING == PIPELINING - 1;
        let (mut connection, mut book) = (Connection::to(address), Counts::new());
        let mut left = requests;
        while left > 0 {
            let together = if pipelines && random.random_ratio(1, 5) {
                random.random_range(2..6).min(left)
            } else {
                1
            };
            left -= together;
            if together == 1 {
                let ask = Ask::draw(&mut random, keeps_alive);
                let got = connection.ask(&ask).map_err(|error| format!("{ask:?}: {error}"))?;
                enter(&mut book, &ask, got)?;
            } else {
                let asks: Vec<Ask> = (0..together).map(|_| Ask::simple(&mut random)).collect();
                let got = connection.ask_together(&asks)?;
                for (ask, got) in asks.iter().zip(got) {
                    enter(&mut book, ask, got)?;
                }
            }
        }
        Ok(book)
    }
}

fn enter(book: &mut Counts, ask: &Ask, got: u16) -> Outcome<()> {
    if got != ask.status {
        return Err(format!("{got} is the answer to {ask:?}").into());
    }
    *book.entry((format!("{} {}", ask.method, ask.route), got)).or_default() += 1;
    Ok(())
}
