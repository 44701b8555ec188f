//! Gives other replicas what is on the disk here.

use std::sync::Arc;

use shoalwatch_node_api::replicas::{self, CopyRequest, Entry, Opening, Page};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::warn;

use super::COPY_BYTES;
use super::metrics::Metrics;
use crate::distribution::auth::{Authenticator, bearer};
use crate::history::{Copy, Store};
use crate::lease::Leadership;
use crate::logging::chain;

/// Copies that are given at once: as many as there may be other replicas.
const AT_ONCE: usize = 4;
/// Pages that wait to be sent.
const PAGES: usize = 2;

type Sender = mpsc::Sender<Result<Page, Status>>;

/// The service.
pub(crate) struct Copies<A> {
    authenticator: Arc<A>,
    store: watch::Receiver<Option<Store>>,
    leadership: watch::Receiver<Leadership>,
    turns: Arc<Semaphore>,
    metrics: Metrics,
}

impl<A> Clone for Copies<A> {
    fn clone(&self) -> Self {
        Self {
            authenticator: Arc::clone(&self.authenticator),
            store: self.store.clone(),
            leadership: self.leadership.clone(),
            turns: Arc::clone(&self.turns),
            metrics: self.metrics.clone(),
        }
    }
}

impl<A: Authenticator> Copies<A> {
    pub(crate) fn new(
        authenticator: A,
        store: watch::Receiver<Option<Store>>,
        leadership: watch::Receiver<Leadership>,
        metrics: Metrics,
    ) -> Self {
        Self {
            authenticator: Arc::new(authenticator),
            store,
            leadership,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            metrics,
        }
    }

    async fn let_in(&self, request: &Request<CopyRequest>) -> Result<(), Status> {
        let reviewed = match bearer(request.metadata()) {
            Ok(token) => self.authenticator.authenticate(token).await,
            Err(refusal) => Err(refusal),
        };
        reviewed.map(drop).map_err(|refusal| {
            self.metrics.refused(refusal.category());
            let peer = request.remote_addr().map(|address| address.to_string());
            warn!(peer, error = chain(&refusal), "replica refused");
            refusal.status()
        })
    }
}

#[tonic::async_trait]
impl<A: Authenticator> replicas::replicas_server::Replicas for Copies<A> {
    type CopyStream = ReceiverStream<Result<Page, Status>>;

    async fn copy(&self, request: Request<CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        self.let_in(&request).await?;
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            self.metrics.refused("Busy");
            return Err(Status::unavailable("too many replicas copy at once: try again"));
        };
        let Some(store) = self.store.borrow().clone() else {
            self.metrics.refused("Beginning");
            return Err(Status::failed_precondition(
                "this replica begins itself, or has no disk: ask another one",
            ));
        };
        let request = request.into_inner();
        // Before it is read: whoever leads now has saved what it decided before.
        let Leadership { leading, term } = *self.leadership.borrow();
        let copy = if request.whole {
            store.copy()
        } else {
            store.decisions(request.since.as_ref())
        };
        let opening = Opening {
            leading,
            term,
            mark: Some(copy.mark.clone()),
        };
        let (sender, pages) = mpsc::channel(PAGES);
        tokio::spawn(send(opening, copy, sender, turn));
        self.metrics.served();
        Ok(Response::new(ReceiverStream::new(pages)))
    }
}

async fn send(opening: Opening, mut copy: Copy, sender: Sender, _turn: OwnedSemaphorePermit) {
    let opening = Page {
        opening: Some(opening),
        entries: Vec::new(),
    };
    let mut sent = sender.send(Ok(opening)).await;
    let mut bytes = 0;
    while let (Ok(()), Some(page)) = (&sent, copy.pages.recv().await) {
        let page = match page {
            Ok(entries) => {
                bytes += entries.iter().map(size).sum::<usize>();
                Ok(Page { opening: None, entries })
            }
            Err(error) => Err(Status::internal(chain(&error))),
        };
        let page = if bytes > COPY_BYTES {
            Err(Status::resource_exhausted(format!(
                "the history is larger than {COPY_BYTES} bytes: it is not copied"
            )))
        } else {
            page
        };
        let ends = page.is_err();
        sent = sender.send(page).await;
        if ends {
            return;
        }
    }
}

/// Bytes of a row.
pub(super) fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}
