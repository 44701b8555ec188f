//! Against servers of the tests' own, on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::logging::chain;

const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 8,
};
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request with the same bytes.
struct Server {
    address: Address,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn open(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(answer.into(), None).await
    }

    /// One that proves to be `name`, and its certificate.
    async fn secured(name: &str) -> (Self, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key.into()));
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        (Self::start(OK.to_vec(), Some(acceptor)).await, certificate)
    }

    async fn start(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}/secret?secret", listener.local_addr().unwrap());
        let connections: Arc<AtomicUsize> = Arc::default();
        let taken = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                let (answer, tls) = (answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answer).await,
                        // Whoever asked may not like the certificate.
                        Some(tls) => serve(tls.accept(stream).await?, &answer).await,
                    }
                });
            }
        });
        Self {
            address: Address::read(&address).unwrap(),
            connections,
            task,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> io::Result<()> {
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    while stream.read_line(&mut line).await? > 0 {
        if line == "\r\n" {
            stream.write_all(answer).await?;
            stream.flush().await?;
        }
        line.clear();
    }
    Ok(())
}

/// A client that knows a certificate.
fn knowing(certificate: CertificateDer<'static>) -> HttpClient {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = ClientConfig::builder().with_root_certificates(roots);
    HttpClient::with_tls("127.0.0.0/8".parse().unwrap(), tls.with_no_client_auth())
}

async fn post(client: &HttpClient, address: &Address) -> Result<u16, HttpError> {
    client.post(address, "a", Bytes::from_static(b"{}"), BOUNDS.time).await
}

/// Asks both ways; both must fail alike, and show nothing of the path.
async fn refused(client: &HttpClient, address: &Address) -> HttpError {
    let (got, posted) = (
        client.get(address, BOUNDS).await.unwrap_err(),
        post(client, address).await.unwrap_err(),
    );
    assert_eq!(got.category(), posted.category());
    for shown in [chain(&got), format!("{got:?}"), chain(&posted), format!("{posted:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains(&address.to_string()), "{shown}");
    }
    got
}

#[tokio::test]
async fn a_server_that_proves_its_name_is_asked_and_told() {
    let (server, certificate) = Server::secured("127.0.0.1").await;
    let client = knowing(certificate);
    let answer = client.get(&server.address, BOUNDS).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
    assert_eq!(post(&client, &server.address).await.unwrap(), 200);
}

#[tokio::test]
async fn a_server_that_does_not_prove_its_name_is_neither_asked_nor_told() {
    let (other, certificate) = Server::secured("other.example").await;
    assert_eq!(refused(&knowing(certificate), &other.address).await.category(), "tls");
    let (unknown, _) = Server::secured("127.0.0.1").await;
    assert_eq!(
        refused(&HttpClient::on_loopback(), &unknown.address).await.category(),
        "tls"
    );
}

#[tokio::test]
async fn what_is_asked_again_goes_over_the_same_connection_and_what_is_told_does_not() {
    let (asked, told) = (Server::open(OK).await, Server::open(OK).await);
    let client = HttpClient::on_loopback();
    for _ in 0..3 {
        client.get(&asked.address, BOUNDS).await.unwrap();
        post(&client, &told.address).await.unwrap();
    }
    assert_eq!((asked.connections(), told.connections()), (1, 3));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let elsewhere = Server::open(OK).await;
    let location = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.address
    );
    let server = Server::open(location).await;
    let client = HttpClient::on_loopback();
    assert_eq!(client.get(&server.address, BOUNDS).await.unwrap().status, 307);
    assert_eq!(post(&client, &server.address).await.unwrap(), 307);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_an_answer_may_take_is_bounded() {
    let long = Server::open("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789").await;
    let client = HttpClient::on_loopback();
    let error = client.get(&long.address, BOUNDS).await.unwrap_err();
    assert_eq!(error.category(), "too_large");
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(2 * HEAD));
    let endless = Server::open(endless).await;
    assert_eq!(refused(&client, &endless.address).await.category(), "http");
    let silent = Server::open("").await;
    let mut bounds = BOUNDS;
    bounds.time = Duration::from_millis(1);
    let error = client.get(&silent.address, bounds).await.unwrap_err();
    assert_eq!(error.category(), "timeout");
}

#[tokio::test]
async fn the_operators_own_host_is_refused_by_address_and_by_name() {
    let server = Server::open(OK).await;
    let client = HttpClient::new(Destinations::default());
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let address = Address::read(&format!("http://{host}:{port}/secret")).unwrap();
        let error = refused(&client, &address).await;
        assert_eq!(error.category(), "own_host", "{host}");
        assert!(error.to_string().contains("--allowed-destinations"), "{error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_is_not_listed_is_refused_with_the_flag_that_lists_it() {
    let client = HttpClient::new("hooks.example,10.0.0.0/8".parse().unwrap());
    let address = Address::read("https://192.0.2.1:8443/secret").unwrap();
    let error = refused(&client, &address).await;
    assert_eq!(error.category(), "not_allowed");
    assert!(
        error.to_string().contains("https://192.0.2.1:8443") && error.to_string().contains("--allowed-destinations"),
        "{error}"
    );
}

#[tokio::test]
async fn a_listed_name_leads_to_any_address_but_the_operators_own() {
    let server = Server::open(OK).await;
    let port = server.address.port();
    let address = Address::read(&format!("http://localhost:{port}/secret")).unwrap();
    let named = HttpClient::new("localhost".parse().unwrap());
    assert_eq!(refused(&named, &address).await.category(), "own_host");
    let meant = HttpClient::new("localhost,127.0.0.0/8".parse().unwrap());
    assert_eq!(meant.get(&address, BOUNDS).await.unwrap().status, 200);
}
