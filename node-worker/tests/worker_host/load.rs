//! A load of which every request is known.

use std::{net::SocketAddr, thread};

use crate::{
    client::Client,
    harness::Outcome,
    servers::{Counts, Server},
};

const STATUSES: [u16; 5] = [200, 201, 404, 500, 503];
const WORDS: [&str; 3] = ["alpha", "beta", "gamma"];
const CLIENTS: usize = 4;

/// Sends from several connections at a time; returns what was sent, by what was answered.
pub(crate) fn load(server: &Server, requests_per_client: usize) -> Outcome<Counts> {
    let address = server.address;
    let clients = (0..CLIENTS).map(|client| {
        thread::spawn(move || run_client(address, client, requests_per_client).map_err(|error| error.to_string()))
    });
    let mut all = Counts::new();
    for client in clients.collect::<Vec<_>>() {
        for (request, count) in client.join().map_err(|panic| format!("{panic:?}"))?? {
            *all.entry(request).or_default() += count;
        }
    }
    Ok(all)
}

fn run_client(address: SocketAddr, number: usize, requests: usize) -> Outcome<Counts> {
    let mut client = Client::connect(address)?;
    let mut sent = Counts::new();
    for request in 0..requests {
        let status = STATUSES[(number + request) % STATUSES.len()];
        let word = WORDS[request % WORDS.len()];
        let (got, _) = client.get(&format!("/status/{status}/{word}?request={request}"), "")?;
        // A number in a path is a value: this is what the worker has to make of it.
        *sent.entry((format!("/status/{{id}}/{word}"), got)).or_default() += 1;
    }
    Ok(sent)
}
