//! The other replicas, as this one sees them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use shoalwatch_node_api::replicas::replicas_client::ReplicasClient;
use shoalwatch_node_api::replicas::{CopyRequest, Mark, Opening, Page};
use shoalwatch_node_api::{CA_CONFIG_MAP, CA_KEY};
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tracing::info;

use super::metrics::{CopyOutcome, Metrics};
use super::server::size;
use super::{COPY_BYTES, Decisions};
use crate::history::{Raw, Saved};
use crate::logging::chain;

/// Replicas that are asked at most.
const MAX_REPLICAS: usize = 8;
/// One lookup.
const LOOKUP: Duration = Duration::from_secs(2);
/// Until a replica says who it is.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// Why there is nothing from another replica.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody to ask.
    #[error("there is no other replica, or each of them begins itself")]
    Alone,
    #[error("the token {} cannot be read: is the projected volume mounted?", path.display())]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the token {} holds no token", .0.display())]
    NoToken(PathBuf),
    #[error("ConfigMap {CA_CONFIG_MAP} cannot be read: the operator needs get on it in its own namespace")]
    Authority(#[source] Box<kube::Error>),
    #[error("ConfigMap {CA_CONFIG_MAP} has no {CA_KEY} yet")]
    NoAuthority,
    #[error("replica {replica} cannot be reached")]
    Connect {
        replica: SocketAddr,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("replica {replica} gives no copy")]
    Refused {
        replica: SocketAddr,
        #[source]
        source: Box<Status>,
    },
    #[error("a replica's history is larger than {COPY_BYTES} bytes: it is not copied")]
    TooLarge,
    #[error("no replica answered in time")]
    Slow,
    #[error("no replica says that it leads")]
    NoLeader,
}

impl Error {
    /// A bounded name for logs.
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::Alone => "Alone",
            Self::Token { .. } | Self::NoToken(_) => "Token",
            Self::Authority(_) | Self::NoAuthority => "Authority",
            Self::Connect { .. } | Self::Slow => "Unreachable",
            Self::Refused { .. } => "Refused",
            Self::TooLarge => "TooLarge",
            Self::NoLeader => "NoLeader",
        }
    }

    /// Whether it may be another one soon.
    pub(super) const fn passes(&self) -> bool {
        !matches!(
            self,
            Self::Alone | Self::TooLarge | Self::Token { .. } | Self::NoToken(_)
        )
    }

    pub(super) const fn outcome(&self) -> CopyOutcome {
        match self {
            Self::Alone => CopyOutcome::Alone,
            Self::TooLarge => CopyOutcome::TooLarge,
            _ => CopyOutcome::Unanswered,
        }
    }

    /// The replica is there, and has nothing to give.
    fn begins_itself(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.code() == Code::FailedPrecondition)
    }
}

/// Where the other replicas are, and what opens their doors.
pub(crate) struct Peers {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// This replica's own address: it does not ask itself.
    pub(crate) own: Option<IpAddr>,
    /// Of the distribution servers.
    pub(crate) port: u16,
    /// A token of the operator's own ServiceAccount.
    pub(crate) token_file: PathBuf,
    pub(crate) metrics: Metrics,
    /// Instead of what the Service's name says.
    #[cfg(test)]
    pub(crate) listed: Option<Vec<SocketAddr>>,
}

/// The leader, as it was asked last.
pub(crate) struct Leader {
    replica: SocketAddr,
    channel: Channel,
    mark: Option<Mark>,
}

/// An answer that began.
struct Answer {
    opening: Opening,
    pages: Streaming<Page>,
}

impl Peers {
    /// All that another replica knows: the leader, if it answers.
    pub(super) async fn copy(&self) -> Result<Saved, Error> {
        let replicas = self.others().await;
        if replicas.is_empty() {
            return Err(Error::Alone);
        }
        let request = CopyRequest {
            whole: true,
            since: None,
        };
        let (mut found, mut failed) = (None, None);
        for replica in replicas {
            match self.ask(replica, request.clone()).await {
                Ok((answer, _)) => {
                    let leads = answer.opening.leading;
                    if leads || found.is_none() {
                        found = Some((replica, answer));
                    }
                    if leads {
                        break;
                    }
                }
                Err(error) if error.begins_itself() => {}
                Err(error) => failed = Some(error),
            }
        }
        let Some((replica, answer)) = found else {
            return Err(failed.unwrap_or(Error::Alone));
        };
        info!(%replica, leading = answer.opening.leading, "copying the history");
        let (raw, bytes) = rows(replica, answer.pages).await?;
        self.metrics.bytes(bytes);
        Ok(raw.read())
    }

    /// What the leader of `term` or a later one decided since it was asked last.
    pub(super) async fn decisions(&self, leader: &mut Option<Leader>, term: u64) -> Result<Decisions, Error> {
        let (mut known, answer) = match leader.take() {
            Some(known) => {
                let answer = self.first_word(known.replica, known.channel.clone(), only_since(known.mark.clone()));
                (known, answer.await?)
            }
            None => self.find_leader().await?,
        };
        if !answer.opening.leading || answer.opening.term < term {
            return Err(Error::NoLeader);
        }
        let (raw, _) = rows(known.replica, answer.pages).await?;
        known.mark = answer.opening.mark;
        *leader = Some(known);
        Ok(raw.records())
    }

    async fn find_leader(&self) -> Result<(Leader, Answer), Error> {
        let mut failed = None;
        for replica in self.others().await {
            match self.ask(replica, only_since(None)).await {
                Ok((answer, channel)) if answer.opening.leading => {
                    let mark = None;
                    return Ok((Leader { replica, channel, mark }, answer));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(Error::NoLeader))
    }

    async fn ask(&self, replica: SocketAddr, request: CopyRequest) -> Result<(Answer, Channel), Error> {
        let connecting = self.connect(replica);
        let channel = timeout(FIRST_WORD, connecting).await.unwrap_or(Err(Error::Slow))?;
        let answer = self.first_word(replica, channel.clone(), request).await?;
        Ok((answer, channel))
    }

    async fn first_word(&self, replica: SocketAddr, channel: Channel, request: CopyRequest) -> Result<Answer, Error> {
        let mut request = Request::new(request);
        request
            .metadata_mut()
            .insert("authorization", self.authorization().await?);
        let asking = async {
            let mut client = ReplicasClient::new(channel).max_decoding_message_size(COPY_BYTES);
            let mut pages = client.copy(request).await?.into_inner();
            let first = pages.message().await?.and_then(|page| page.opening);
            let opening = first.ok_or_else(|| Status::internal("the copy has no opening"))?;
            Ok(Answer { opening, pages })
        };
        let answer = timeout(FIRST_WORD, asking).await.map_err(|_elapsed| Error::Slow)?;
        answer.map_err(|status| refused(replica, status))
    }

    async fn connect(&self, replica: SocketAddr) -> Result<Channel, Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.authority().await?))
            .domain_name(self.host());
        let failed = |source| Error::Connect { replica, source };
        Endpoint::from_shared(format!("https://{replica}"))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(failed)?
            .connect_timeout(FIRST_WORD)
            .connect()
            .await
            .map_err(failed)
    }

    async fn authority(&self) -> Result<String, Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = maps.get_opt(CA_CONFIG_MAP).await;
        let found = found.map_err(|error| Error::Authority(Box::new(error)))?;
        let pem = found.and_then(|map| map.data?.remove(CA_KEY));
        pem.ok_or(Error::NoAuthority)
    }

    async fn authorization(&self) -> Result<MetadataValue<Ascii>, Error> {
        let path = &self.token_file;
        let token = tokio::fs::read_to_string(path).await.map_err(|source| Error::Token {
            path: path.clone(),
            source,
        })?;
        let token = token.trim();
        let value: Result<MetadataValue<Ascii>, _> = format!("Bearer {token}").parse();
        let mut value = value
            .ok()
            .filter(|_| !token.is_empty())
            .ok_or_else(|| Error::NoToken(path.clone()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Addresses of the other replicas. A name that is not known stands for nobody: the own address is behind it as soon as
    /// anybody's is.
    async fn others(&self) -> Vec<SocketAddr> {
        #[cfg(test)]
        if let Some(listed) = &self.listed {
            return listed.clone();
        }
        let looking = tokio::net::lookup_host((self.host(), self.port));
        let found = match timeout(LOOKUP, looking).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => {
                info!(error = chain(&error), "no replicas are found by name");
                Vec::new()
            }
            Err(_elapsed) => Vec::new(),
        };
        let others = found.into_iter().filter(|address| Some(address.ip()) != self.own);
        others.take(MAX_REPLICAS).collect()
    }

    fn host(&self) -> String {
        format!("shoalwatch-operator.{}.svc", self.namespace)
    }
}

/// Everything that comes, and its size.
async fn rows(replica: SocketAddr, mut pages: Streaming<Page>) -> Result<(Raw, usize), Error> {
    let (mut raw, mut bytes) = (Raw::default(), 0);
    while let Some(page) = pages.message().await.map_err(|status| refused(replica, status))? {
        bytes += page.entries.iter().map(size).sum::<usize>();
        if bytes > COPY_BYTES {
            return Err(Error::TooLarge);
        }
        page.entries.into_iter().for_each(|entry| raw.take(entry));
    }
    Ok((raw, bytes))
}

const fn only_since(since: Option<Mark>) -> CopyRequest {
    CopyRequest { whole: false, since }
}

fn refused(replica: SocketAddr, status: Status) -> Error {
    if status.code() == Code::ResourceExhausted {
        return Error::TooLarge;
    }
    Error::Refused {
        replica,
        source: Box::new(status),
    }
}
