//! The load tool: one thread with many keep-alive connections. It writes to all of them before it reads from the first, so that it
//! seldom sleeps, and a server on one core has always something to do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::harness::Outcome;

const CONNECTIONS: usize = 32;
/// Bytes of each request's head, as a service behind a gateway sees them.
const HEAD_BYTES: usize = 500;
const FIXED: [&str; 8] = [
    "/",
    "/cart",
    "/catalog",
    "/catalog/shoes",
    "/checkout",
    "/health/ready",
    "/api/v1/prices",
    "/static/app.js",
];

/// Which paths are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// The same eight again and again.
    Fixed,
    /// A number that was never seen before.
    Ids,
    /// Twelve random letters.
    Slugs,
}

impl Paths {
    pub(crate) const ALL: [Self; 3] = [Self::Fixed, Self::Ids, Self::Slugs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed paths",
            Self::Ids => "unique ids",
            Self::Slugs => "random slugs",
        }
    }

    fn push(self, head: &mut Vec<u8>, number: u64, random: u64) -> std::io::Result<()> {
        match self {
            Self::Fixed => head.write_all(FIXED[number as usize % FIXED.len()].as_bytes()),
            Self::Ids => write!(head, "/orders/{number}"),
            Self::Slugs => {
                head.extend_from_slice(b"/posts/");
                let letter = |place: u32| b'a' + (random >> (5 * place) & 31).min(25) as u8;
                head.extend((0..12).map(letter));
                Ok(())
            }
        }
    }
}

/// Requests that were answered, in how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
}

impl Done {
    pub(crate) fn per_second(self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Open connections to a server.
pub(crate) struct Load {
    connections: Vec<TcpStream>,
    head: Vec<u8>,
    answer: Vec<u8>,
    random: u64,
    sent: u64,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr) -> Outcome<Self> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            Ok(stream)
        };
        let connections = (0..CONNECTIONS).map(|_| connect()).collect::<Outcome<_>>()?;
        let mut load = Self {
            connections,
            head: Vec::with_capacity(HEAD_BYTES),
            answer: Vec::new(),
            random: 0x9E37_79B9_7F4A_7C15,
            sent: 0,
        };
        load.learn_answer()?;
        Ok(load)
    }

    /// Answered since the connections were opened.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// As fast as the server answers.
    pub(crate) fn saturate(&mut self, paths: Paths, time: Duration) -> Outcome<Done> {
        let (start, before) = (Instant::now(), self.sent);
        while start.elapsed() < time {
            self.round(paths, CONNECTIONS)?;
        }
        Ok(self.done(start, before))
    }

    /// At a rate, in a round each millisecond; a machine that cannot follow gives a lower rate.
    pub(crate) fn pace(&mut self, paths: Paths, per_millisecond: usize, time: Duration) -> Outcome<Done> {
        let (start, before) = (Instant::now(), self.sent);
        let mut due = start;
        while start.elapsed() < time {
            self.round(paths, per_millisecond.min(CONNECTIONS))?;
            due += Duration::from_millis(1);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(self.done(start, before))
    }

    fn done(&self, start: Instant, before: u64) -> Done {
        Done {
            requests: self.sent - before,
            elapsed: start.elapsed(),
        }
    }

    fn round(&mut self, paths: Paths, count: usize) -> Outcome<()> {
        for connection in 0..count {
            self.write_head(paths)?;
            self.connections[connection].write_all(&self.head)?;
        }
        for connection in &mut self.connections[..count] {
            connection.read_exact(&mut self.answer)?;
            if !self.answer.starts_with(b"HTTP/1.1 200 ") {
                return Err(String::from_utf8_lossy(&self.answer).into());
            }
        }
        Ok(())
    }

    /// `traceparent` is where the headers of a proxy are: after the client's short ones, before its cookies.
    fn write_head(&mut self, paths: Paths) -> Outcome<()> {
        let (high, low) = (self.next_random(), self.next_random());
        self.head.clear();
        self.head.extend_from_slice(b"GET ");
        paths.push(&mut self.head, self.sent, high)?;
        write!(
            self.head,
            " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\r\n\
             Accept: text/html,application/json;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n\
             traceparent: 00-{high:016x}{low:016x}-{low:016x}-00\r\nCookie: session="
        )?;
        self.head.resize(HEAD_BYTES - 4, b'c');
        self.head.extend_from_slice(b"\r\n\r\n");
        self.sent += 1;
        Ok(())
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random | 1
    }

    /// All answers have the length of the first one.
    fn learn_answer(&mut self) -> Outcome<()> {
        self.write_head(Paths::Fixed)?;
        let head = self.head.clone();
        let connection = self.connections.first_mut().ok_or("no connection")?;
        connection.write_all(&head)?;
        let mut answer = vec![0; 4096];
        let length = connection.read(&mut answer)?;
        answer.truncate(length);
        self.answer = answer;
        Ok(())
    }
}
