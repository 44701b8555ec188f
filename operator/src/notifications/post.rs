//! One POST over a connection of its own.
//!
//! Receivers are told seldom, so no connection is kept: each resolves the name anew, and none can be stale.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::is_elsewhere;
use super::{Address, Failure, Parcel};
use crate::http_client::USER_AGENT;

/// How long resolving, connecting and answering may take together.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Longest head of an answer, in bytes.
const HEAD: usize = 16 << 10;
/// Equal for equal pieces. Source: draft-ietf-httpapi-idempotency-key-header.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

#[derive(Clone)]
pub(super) struct Post {
    tls: TlsConnector,
    pub(super) loopback: bool,
    pub(super) patience: Duration,
}

impl Post {
    pub(super) fn new() -> Self {
        Self {
            tls: TlsConnector::from(Arc::new(tls())),
            loopback: false,
            patience: PATIENCE,
        }
    }

    /// Posts one piece; 2xx is success. Of the answer only its status is read.
    pub(super) async fn send(&self, address: &Address, parcel: &Parcel) -> Result<(), Failure> {
        let sent = timeout(self.patience, self.exchange(address, parcel)).await;
        let code = sent.map_err(|_elapsed| Failure::Timeout {
            origin: address.to_string(),
        })??;
        let origin = address.to_string();
        match code {
            200..=299 => Ok(()),
            300..=399 => Err(Failure::Redirect { origin, code }),
            _ => Err(Failure::Answer { origin, code }),
        }
    }

    async fn exchange(&self, address: &Address, parcel: &Parcel) -> Result<u16, Failure> {
        let origin = || address.to_string();
        let stream = self.connect(address).await?;
        if !address.is_tls() {
            return converse(stream, address, parcel).await;
        }
        let name = ServerName::try_from(address.host().to_owned());
        let name = name.map_err(|source| Failure::Tls {
            origin: origin(),
            source: std::io::Error::other(source),
        })?;
        let secured = self.tls.connect(name, stream).await;
        let secured = secured.map_err(|source| Failure::Tls {
            origin: origin(),
            source,
        })?;
        converse(secured, address, parcel).await
    }

    async fn connect(&self, address: &Address) -> Result<TcpStream, Failure> {
        let origin = || address.to_string();
        let found = lookup_host((address.host(), address.port())).await;
        let found = found.map_err(|source| Failure::Unknown {
            origin: origin(),
            source,
        })?;
        let allowed: Vec<SocketAddr> = found.filter(|to| self.loopback || is_elsewhere(to.ip())).collect();
        if allowed.is_empty() {
            return Err(Failure::OwnHost { origin: origin() });
        }
        let connected = TcpStream::connect(&*allowed).await;
        connected.map_err(|source| Failure::Connect {
            origin: origin(),
            source,
        })
    }
}

/// The status of the answer.
async fn converse<S>(stream: S, address: &Address, parcel: &Parcel) -> Result<u16, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |source| Failure::Http {
        origin: address.to_string(),
        source,
    };
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let request = Request::post(address.path_and_query())
        .header(header::HOST, address.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header(IDEMPOTENCY_KEY, &parcel.id)
        .body(Full::<Bytes>::from(parcel.body.clone()));
    let request = request.map_err(|source| Failure::Unwritable {
        origin: address.to_string(),
        source,
    })?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may end with the answer, which is there then.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    Ok(answer.map_err(broken)?.status().as_u16())
}

/// Authorities are those that the machine or `SSL_CERT_FILE` names; an image without any has Mozilla's.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
