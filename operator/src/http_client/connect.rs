//! Connections to where the operator may go, and nowhere else.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::destinations::Refused;
use super::{Address, Destinations, HttpError};

/// How long an address of a name is tried, if there is a next one.
const EACH: Duration = Duration::from_secs(2);

/// Connects, and secures what is to be secured.
#[derive(Clone)]
pub(super) struct Connector {
    destinations: Arc<Destinations>,
    tls: TlsConnector,
}

/// Plain or secured.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.destinations, out)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Self::Response, HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(TokioIo::new(this.open(&Address::of(uri)).await?)) })
    }
}

impl Connector {
    pub(super) fn new(destinations: Destinations, tls: ClientConfig) -> Self {
        Self {
            destinations: Arc::new(destinations),
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    async fn open(&self, address: &Address) -> Result<Box<dyn Stream>, HttpError> {
        let stream = self.connect(address).await?;
        if !address.is_tls() {
            return Ok(Box::new(stream));
        }
        let no_tls = |source| HttpError::Tls {
            origin: address.to_string(),
            source: Arc::new(source),
        };
        let name = ServerName::try_from(address.host().to_owned());
        let name = name.map_err(|error| no_tls(io::Error::other(error)))?;
        let secured = self.tls.connect(name, stream).await.map_err(no_tls)?;
        Ok(Box::new(secured))
    }

    async fn connect(&self, address: &Address) -> Result<TcpStream, HttpError> {
        let origin = || address.to_string();
        let found = lookup_host((address.host(), address.port())).await;
        let found = found.map_err(|source| HttpError::Unknown {
            origin: origin(),
            source: Arc::new(source),
        })?;
        let allowed = self.allowed(address, found)?;
        let connected = first(&allowed).await.and_then(|stream| {
            // Requests are small, and each waits for its answer.
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        connected.map_err(|source| HttpError::Connect {
            origin: origin(),
            source: Arc::new(source),
        })
    }

    /// Those of the addresses that may be connected to.
    fn allowed(
        &self,
        address: &Address,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, HttpError> {
        let mut refused = HttpError::OwnHost {
            origin: address.to_string(),
        };
        let mut allowed = Vec::new();
        for to in found {
            match self.destinations.judge(address.host(), to.ip()) {
                Ok(()) => allowed.push(to),
                Err(Refused::OwnHost) => {}
                // What an administrator can mend is told first.
                Err(Refused::NotAllowed) => {
                    refused = HttpError::NotAllowed {
                        origin: address.to_string(),
                    };
                }
            }
        }
        if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
    }
}

/// The first that takes the connection.
async fn first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let Some((last, earlier)) = addresses.split_last() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    for address in earlier {
        if let Ok(Ok(stream)) = timeout(EACH, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    TcpStream::connect(last).await
}

/// Authorities are those that the machine or `SSL_CERT_FILE` names; an image without any has Mozilla's.
pub(super) fn system_tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
