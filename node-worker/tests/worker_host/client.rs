//! A small blocking HTTP/1.1 client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::Outcome;

/// One keep-alive connection, made anew where the server closes it.
pub(crate) struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: impl Into<SocketAddr>) -> Outcome<Self> {
        let address = address.into();
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self {
            address,
            stream: BufReader::new(stream),
        })
    }

    /// The answer's status and body.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Outcome<(u16, String)> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes())?;
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    pub(crate) fn answer(&mut self) -> Outcome<(u16, String)> {
        let status = self.line()?;
        let status = status.get(9..12).ok_or("no status line")?.parse()?;
        let (mut length, mut closes) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
            closes |= line == "connection: close";
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if closes {
            *self = Self::connect(self.address)?;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the connection was closed before an answer".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
