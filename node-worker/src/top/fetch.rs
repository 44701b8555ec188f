//! One page over HTTP.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// Longer than an event loop that is busy needs.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A page of 1,000 services with all their series is smaller.
const MAX_BYTES: u64 = 64 << 20;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the address is not of the form http://HOST:PORT/PATH")]
    Url,
    #[error("{0} has no address")]
    Name(String),
    #[error("the page cannot be read")]
    Io(#[from] io::Error),
    #[error("the answer is {0:?}, not 200")]
    Status(String),
}

/// The body of a page, at most 64 MiB of it.
pub(super) fn page(url: &str) -> Result<String, FetchError> {
    let (host, path) = split(url)?;
    let address = host.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| FetchError::Name(host.to_owned()))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Of HTTP/1.0, an answer ends with the connection and has no chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer)?;
    body(&String::from_utf8_lossy(&answer))
}

fn split(url: &str) -> Result<(&str, &str), FetchError> {
    let rest = url.strip_prefix("http://").ok_or(FetchError::Url)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let clean = |part: &str| !part.contains(|character: char| character.is_whitespace() || character.is_control());
    if !host.contains(':') || !clean(host) || !clean(path) {
        return Err(FetchError::Url);
    }
    Ok((host, if path.is_empty() { "/metrics" } else { path }))
}

fn body(answer: &str) -> Result<String, FetchError> {
    let line = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    match body {
        Some(body) if line.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(FetchError::Status(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused() {
        assert_eq!(split("http://here:9464/metrics").unwrap(), ("here:9464", "/metrics"));
        assert_eq!(split("http://[::1]:9464").unwrap(), ("[::1]:9464", "/metrics"));
        for url in [
            "https://here:1/metrics",
            "here:9464",
            "http://here/metrics",
            "http://here:1/a b\r\n",
        ] {
            assert!(matches!(split(url), Err(FetchError::Url)), "{url}");
        }
    }

    #[test]
    fn a_page_is_fetched_and_an_error_is_told() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nm 1\n", Some("m 1\n")),
            ("HTTP/1.0 503 Service Unavailable\r\n\r\nno", None),
            ("", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/metrics", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            assert_eq!(page(&url).ok().as_deref(), expected);
            assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.0\r\n"));
        }
    }
}
