//! The connection to the receiver.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Why telemetry cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadEndpoint {
    /// No URL, or no certificate in the file.
    #[error("the OTLP endpoint {endpoint:?} cannot be used: write it as http://collector:4317")]
    Unusable {
        endpoint: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// TLS without anything to trust.
    #[error("the OTLP endpoint {0:?} is https: name the certificate to trust with --otlp-ca-file")]
    NoAuthority(String),
    /// The certificate's file.
    #[error("the certificate {path:?} for the OTLP endpoint cannot be read")]
    Authority {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A connection that is made with its first use, and again whenever it breaks.
pub(super) fn open(endpoint: &str, ca_file: Option<&Path>) -> Result<Channel, BadEndpoint> {
    let unusable = |source| BadEndpoint::Unusable {
        endpoint: endpoint.to_owned(),
        source,
    };
    let parsed = Endpoint::from_shared(endpoint.to_owned())
        .map_err(unusable)?
        .connect_timeout(Duration::from_secs(5))
        .timeout(ATTEMPT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    if parsed.uri().scheme_str() != Some("https") {
        return Ok(parsed.connect_lazy());
    }
    let path = ca_file.ok_or_else(|| BadEndpoint::NoAuthority(endpoint.to_owned()))?;
    let pem = std::fs::read(path).map_err(|source| BadEndpoint::Authority {
        path: path.to_owned(),
        source,
    })?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    Ok(parsed.tls_config(tls).map_err(unusable)?.connect_lazy())
}
