//! A small blocking HTTP/1.1 client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::harness::Outcome;

/// One keep-alive connection, made anew where the server closes it.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    port: u16,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream, port })
    }

    /// A request without a body; returns the answer's status.
    pub(crate) fn get(&mut self, path: &str) -> Outcome<u16> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// A request whose body travels together with its head, or apart from it.
    pub(crate) fn post(&mut self, path: &str, body: &str, apart: bool) -> Outcome<u16> {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        if apart {
            self.send(head.as_bytes())?;
            self.send(body.as_bytes())?;
        } else {
            self.send(format!("{head}{body}").as_bytes())?;
        }
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads one answer with its body.
    pub(crate) fn answer(&mut self) -> Outcome<u16> {
        let (mut status, mut length, mut closes) = (None, 0, false);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the connection was closed before an answer".into());
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = Some(rest.get(..3).ok_or("short status line")?.parse()?);
            } else if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse()?,
                    "connection" => closes = value == "close",
                    _ => {}
                }
            } else if line.is_empty() {
                break;
            }
        }
        std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink())?;
        if closes {
            *self = Self::connect(self.port)?;
        }
        status.ok_or_else(|| "an answer without status".into())
    }
}
