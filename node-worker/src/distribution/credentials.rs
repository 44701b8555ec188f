//! What the stream to the operator is opened with. Read anew for each connection: tokens and certificates change while a worker runs.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use shoalwatch_node_api::{CA_CONFIG_MAP, CA_KEY};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Certificate,
};

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The token's file.
    #[error("the token {path:?} cannot be read: is the projected volume mounted?")]
    Token {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// No token can have such characters.
    #[error("the token {path:?} holds no token")]
    NoToken { path: PathBuf },
    /// The certificate's file.
    #[error("the operator's certificate {path:?} cannot be read")]
    Authority {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The API server's answer.
    #[error(
        "ConfigMap {CA_CONFIG_MAP} in namespace {namespace} cannot be read: the operator writes it, the worker needs `get` on it"
    )]
    ConfigMap {
        namespace: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// It is there, but not what was expected.
    #[error(
        "ConfigMap {CA_CONFIG_MAP} in namespace {namespace} has no {CA_KEY}: the operator writes it, wait for it or look at its log"
    )]
    NoAuthority { namespace: String },
}

/// Where the operator's certificate is found.
#[derive(Clone)]
pub(crate) enum Authority {
    /// A file.
    File(PathBuf),
    /// The ConfigMap that the operator writes.
    ConfigMap { client: Client, namespace: String },
}

impl Authority {
    pub(super) async fn read(&self) -> Result<Certificate, CredentialsError> {
        match self {
            Self::File(path) => {
                let pem = tokio::fs::read(path)
                    .await
                    .map_err(|source| CredentialsError::Authority {
                        path: path.clone(),
                        source,
                    })?;
                Ok(Certificate::from_pem(pem))
            }
            Self::ConfigMap { client, namespace } => from_config_map(client, namespace).await,
        }
    }
}

async fn from_config_map(client: &Client, namespace: &str) -> Result<Certificate, CredentialsError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api
        .get(CA_CONFIG_MAP)
        .await
        .map_err(|source| CredentialsError::ConfigMap {
            namespace: namespace.to_owned(),
            source: Box::new(source),
        })?;
    let pem = found.data.and_then(|mut data| data.remove(CA_KEY));
    pem.map(Certificate::from_pem)
        .ok_or_else(|| CredentialsError::NoAuthority {
            namespace: namespace.to_owned(),
        })
}

/// `Bearer …`, marked as secret so that no log shows it.
pub(super) async fn authorization(path: &PathBuf) -> Result<MetadataValue<Ascii>, CredentialsError> {
    let token = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| CredentialsError::Token {
            path: path.clone(),
            source,
        })?;
    let value = format!("Bearer {}", token.trim());
    let no_token = || CredentialsError::NoToken { path: path.clone() };
    if token.trim().is_empty() {
        return Err(no_token());
    }
    let mut value: MetadataValue<Ascii> = value.parse().map_err(|_control_character| no_token())?;
    value.set_sensitive(true);
    Ok(value)
}
