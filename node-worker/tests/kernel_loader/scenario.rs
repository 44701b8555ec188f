//! The test process as its own server: every system call of the server's side is chosen by the test.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    ops::Deref,
    os::fd::{AsFd, OwnedFd},
    process,
};

use rustix::pipe::{SpliceFlags, splice};
use shoalwatch_node_worker::loader::{LoaderOptions, NO_SPANS, Probes, RawNews, Stat, Task, UnderWay};

use crate::harness::{Outcome, load};

/// The service that scenarios select themselves as.
pub(crate) const SERVICE: u32 = 7;
/// The flags that scenarios select themselves with.
pub(crate) const FLAGS: u32 = NO_SPANS;

/// A process as scenarios select it.
pub(crate) fn task() -> Task {
    Task {
        service: SERVICE,
        flags: FLAGS,
        ..Task::default()
    }
}

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

/// A record of the ring of transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The request under way, as far as it was kept.
    Open(UnderWay, String),
    /// Whether the peer reset it, and the request under way.
    Ended(bool, UnderWay, String),
    Asked(String),
    Answered(String),
    Orphan(String),
    /// So many bytes of the record before were not kept.
    Gap(usize),
    /// Whether the peer reset it.
    Close(bool),
    Http2(String),
}

/// Loaded probes that observe this process, and a listening socket of it.
pub(crate) struct Scenario {
    pub(crate) probes: Probes,
    listener: TcpListener,
}

/// A connection: what the client writes, and the observed end that the server reads and writes.
pub(crate) struct Pair {
    pub(crate) client: Stranger,
    pub(crate) server: TcpStream,
}

/// A socket that is read and written by `splice`, which the probes do not follow: so the client's end is a stranger's, although it is
/// in the observed process too.
pub(crate) struct Stranger {
    socket: TcpStream,
    out_of_pipe: OwnedFd,
    into_pipe: OwnedFd,
}

impl Stranger {
    fn new(socket: TcpStream) -> io::Result<Self> {
        let (out_of_pipe, into_pipe) = rustix::pipe::pipe()?;
        Ok(Self {
            socket,
            out_of_pipe,
            into_pipe,
        })
    }
}

impl Deref for Stranger {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.socket
    }
}

impl Write for Stranger {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = rustix::io::write(&self.into_pipe, &bytes[..bytes.len().min(4096)])?;
        let mut left = written;
        while left > 0 {
            left -= splice(
                &self.out_of_pipe,
                None,
                self.socket.as_fd(),
                None,
                left,
                SpliceFlags::empty(),
            )?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stranger {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(4096);
        let read = splice(
            self.socket.as_fd(),
            None,
            &self.into_pipe,
            None,
            most,
            SpliceFlags::empty(),
        )?;
        self.out_of_pipe_exactly(&mut bytes[..read])?;
        Ok(read)
    }
}

impl Stranger {
    fn out_of_pipe_exactly(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = rustix::io::read(&self.out_of_pipe, &mut *bytes)?;
            bytes = &mut bytes[read..];
        }
        Ok(())
    }
}

impl Scenario {
    pub(crate) fn new() -> Outcome<Self> {
        Self::with(&LoaderOptions::default())
    }

    pub(crate) fn with(options: &LoaderOptions) -> Outcome<Self> {
        let mut probes = load(options)?;
        probes.select(process::id(), task())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok(Self { probes, listener })
    }

    /// A new connection, accepted under the probes' eyes.
    pub(crate) fn connect(&self) -> Outcome<Pair> {
        let client = TcpStream::connect(self.listener.local_addr()?)?;
        client.set_nodelay(true)?;
        let (server, _) = self.listener.accept()?;
        server.set_nodelay(true)?;
        Ok(Pair {
            client: Stranger::new(client)?,
            server,
        })
    }

    /// A new connection of which the probes see the client's end only.
    pub(crate) fn call(&self) -> Outcome<(TcpStream, Stranger)> {
        let client = TcpStream::connect(self.listener.local_addr()?)?;
        let (server, _) = self.listener.accept()?;
        Ok((client, Stranger::new(server)?))
    }

    /// Where calls go.
    pub(crate) fn port(&self) -> Outcome<u16> {
        Ok(self.listener.local_addr()?.port())
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

    /// What was told of connections that the kernel does not pair, since the last call.
    pub(crate) fn told(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        self.probes.drain_raw(&mut |event| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.push(match event.news {
                RawNews::Open { under_way, request } => Told::Open(under_way, text(request.head)),
                RawNews::Ended {
                    reset,
                    under_way,
                    request,
                } => Told::Ended(reset, under_way, text(request.head)),
                RawNews::Segment { answer: false, bytes } => Told::Asked(text(bytes)),
                RawNews::Segment { answer: true, bytes } => Told::Answered(text(bytes)),
                RawNews::Orphan { bytes, .. } => Told::Orphan(text(bytes)),
                RawNews::Close { reset } => Told::Close(reset),
                RawNews::Http2 { bytes } => Told::Http2(text(bytes)),
            });
            let (kept, whole) = match event.news {
                RawNews::Open { request, .. } | RawNews::Ended { request, .. } => {
                    (request.head.len(), request.read_bytes)
                }
                RawNews::Segment { bytes, .. } | RawNews::Orphan { bytes, .. } | RawNews::Http2 { bytes } => {
                    (bytes.len(), event.total_len)
                }
                RawNews::Close { .. } => (0, event.total_len),
            };
            if whole as usize != kept {
                all.push(Told::Gap(whole as usize - kept));
            }
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
