//! The load tool's end of a connection: sends as it is told, and reads what HTTP/1.1 says is the answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    asks::{Ask, BODY, Body, End},
    harness::Outcome,
};

/// One connection after the other to the same server.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
    /// It is the last one of its connection.
    closes: bool,
}

impl Connection {
    pub(crate) const fn to(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// The answer's status, 0 where there is none.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Outcome<u16> {
        for piece in ask.pieces()? {
            self.stream()?.get_mut().write_all(&piece)?;
        }
        if ask.body == Body::Continued {
            let head = self.head()?;
            if head.status != 100 {
                // The server does not want the body, and waits for it no longer than the connection lives.
                self.read_body(&head, ask.method)?;
                self.stream = None;
                return Ok(head.status);
            }
            self.stream()?.get_mut().write_all(BODY)?;
        }
        let status = match ask.end {
            End::Kept => return self.answer(ask.method),
            End::Closed | End::Http10 => self.answer(ask.method)?,
            End::Unread => self.peek()?,
            End::Hold => 0,
            End::Drop => self.end()?,
        };
        self.stream = None;
        Ok(status)
    }

    /// Several requests in one call, one more before the first answer; then all answers.
    pub(crate) fn ask_together(&mut self, asks: &[Ask]) -> Outcome<Vec<u16>> {
        let mut all = Vec::new();
        for ask in asks {
            all.push(ask.pieces()?.concat());
        }
        let last = all.pop().ok_or("nothing to ask")?;
        let stream = self.stream()?;
        stream.get_mut().write_all(&all.concat())?;
        stream.get_mut().write_all(&last)?;
        asks.iter().map(|ask| self.answer(ask.method)).collect()
    }

    fn stream(&mut self) -> Outcome<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_mins(1)))?;
            self.stream = Some(BufReader::with_capacity(1024, stream));
        }
        self.stream.as_mut().ok_or_else(|| "no stream".into())
    }

    fn answer(&mut self, method: &str) -> Outcome<u16> {
        let head = loop {
            let head = self.head()?;
            if head.status >= 200 {
                break head;
            }
        };
        self.read_body(&head, method)?;
        if head.closes {
            self.stream = None;
        }
        Ok(head.status)
    }

    fn read_body(&mut self, head: &Head, method: &str) -> Outcome<()> {
        let has_body = method != "HEAD" && !matches!(head.status, 204 | 304);
        match head.length {
            _ if !has_body => {}
            _ if head.chunked => self.skip_chunks()?,
            Some(length) => self.skip(length)?,
            None => {
                std::io::copy(self.stream()?, &mut std::io::sink())?;
            }
        }
        Ok(())
    }

    /// The status without taking anything out of the socket: closed like this it is reset.
    fn peek(&mut self) -> Outcome<u16> {
        let mut line = [0; 12];
        while self.stream()?.get_ref().peek(&mut line)? < line.len() {}
        status(std::str::from_utf8(&line)?)
    }

    /// The server closes, whether it took all or not.
    fn end(&mut self) -> Outcome<u16> {
        match self.stream()?.read(&mut [0]) {
            Ok(0) => Ok(0),
            Ok(_) => Err("an answer in place of the end".into()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn head(&mut self) -> Outcome<Head> {
        let mut head = Head {
            status: status(&self.line()?)?,
            length: None,
            chunked: false,
            closes: false,
        };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok(head);
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                head.length = Some(value.trim().parse()?);
            }
            head.closes |= line == "connection: close";
            head.chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
    }

    fn skip_chunks(&mut self) -> Outcome<()> {
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            self.skip(size)?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn skip(&mut self, length: usize) -> Outcome<()> {
        let stream = self.stream()?.by_ref();
        let copied = std::io::copy(&mut stream.take(length as u64), &mut std::io::sink())?;
        if copied == length as u64 {
            Ok(())
        } else {
            Err("the connection was closed within an answer".into())
        }
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream()?.read_line(&mut line)? == 0 {
            return Err("the connection was closed before an answer".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn status(line: &str) -> Outcome<u16> {
    let code = line.get(9..12).ok_or_else(|| format!("no status line: {line:?}"))?;
    Ok(code.parse()?)
}
