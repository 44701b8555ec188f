//! The test process as its own server: every system call of the server's side is chosen by the test.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process,
};

use shoalwatch_node_worker::loader::{LoaderOptions, Probes, Stat};

use crate::harness::Outcome;

/// The service that scenarios select themselves as.
pub(crate) const SERVICE: u32 = 7;
/// The flags that scenarios select themselves with.
pub(crate) const FLAGS: u32 = 0x55;

/// A request as the probes saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) head: String,
}

pub(crate) fn seen(status: u16, head: &str) -> Seen {
    Seen {
        status,
        head: head.to_owned(),
    }
}

/// Loaded probes that observe this process, and a listening socket of it.
pub(crate) struct Scenario {
    pub(crate) probes: Probes,
    listener: TcpListener,
}

/// A connection: what the client writes, and the observed end that the server reads and writes.
pub(crate) struct Pair {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
}

impl Scenario {
    pub(crate) fn new() -> Outcome<Self> {
        Self::with(&LoaderOptions::default())
    }

    pub(crate) fn with(options: &LoaderOptions) -> Outcome<Self> {
        let mut probes = Probes::load(options)?;
        probes.select(process::id(), SERVICE, FLAGS)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok(Self { probes, listener })
    }

    /// A new connection, accepted under the probes' eyes.
    pub(crate) fn connect(&self) -> Outcome<Pair> {
        let client = TcpStream::connect(self.listener.local_addr()?)?;
        client.set_nodelay(true)?;
        let (server, _) = self.listener.accept()?;
        server.set_nodelay(true)?;
        Ok(Pair { client, server })
    }

    /// What was seen since the last call.
    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        self.probes.drain(&mut |event| {
            assert_eq!(
                (event.service, event.flags, event.tgid),
                (SERVICE, FLAGS, process::id())
            );
            assert!(event.start_ns > 0 && event.start_ns < event.end_ns, "{event:?}");
            let head = String::from_utf8_lossy(event.head).into_owned();
            all.push(Seen {
                status: event.status,
                head,
            });
        });
        all
    }

    pub(crate) fn stat(&self, stat: Stat) -> Outcome<u64> {
        Ok(self.probes.stats()?.get(stat))
    }
}

impl Pair {
    /// The client sends, and the server reads exactly that in one call.
    pub(crate) fn request(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.client.write_all(bytes)?;
        let mut buffer = vec![0; bytes.len()];
        Ok(self.server.read_exact(&mut buffer)?)
    }

    /// The server writes in one call, and the client takes it.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.server.write_all(bytes)?;
        let mut buffer = vec![0; bytes.len()];
        Ok(self.client.read_exact(&mut buffer)?)
    }

    /// One whole exchange.
    pub(crate) fn exchange(&mut self, request: &str, answer: &str) -> Outcome<()> {
        self.request(request.as_bytes())?;
        self.answer(answer.as_bytes())
    }
}
