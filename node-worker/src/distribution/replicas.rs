//! All replicas of the operator: which there are, and a stream to each.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    apply::Applier,
    client::{ClientSettings, Shared, StreamError},
    last_good::LastGood,
    programme::Programme,
};
use crate::{
    counters::{Count, Counters},
    export::Backoff,
    requests::{EventLoop, LoopEnded},
};

/// Replicas that are followed at most.
const MAX_REPLICAS: usize = 8;
/// How often they are looked up …
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// … and while one of them is not there, which may have another address by now.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// One lookup.
const LOOKUP: Duration = Duration::from_secs(5);
/// A stream that lasted so long was a good one: the next attempt comes soon.
const GOOD_STREAM: Duration = Duration::from_secs(10);
/// How long the last report may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Says where the replicas are.
pub(crate) type Resolve = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// All addresses of a name, of the family that the resolver prefers: a replica with two must not be followed twice.
pub(crate) fn dns(host: String, port: u16) -> Resolve {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
            let first = found.first().map(SocketAddr::is_ipv4);
            Ok(found
                .into_iter()
                .filter(|address| Some(address.is_ipv4()) == first)
                .collect())
        })
    })
}

/// Follows all replicas.
pub(crate) struct OperatorClient {
    shared: Arc<Shared>,
    resolve: Resolve,
    /// The replicas as last looked up.
    listed: watch::Sender<BTreeSet<SocketAddr>>,
}

/// Lets the streams say what was counted last.
pub(crate) struct LastWords(Arc<watch::Sender<bool>>);

impl LastWords {
    /// Returns when every replica has heard them, or after two seconds.
    pub(crate) async fn say_the_last_words(&self) {
        self.0.send_replace(true);
        if timeout(LAST_WORDS, self.0.closed()).await.is_err() {
            warn!("not every replica of the operator heard what was counted last");
        }
    }
}

/// How following a replica ended.
enum Gone {
    /// It is not listed any more.
    Unlisted(SocketAddr),
    Ended(LoopEnded),
}

impl OperatorClient {
    pub(crate) fn new(
        settings: ClientSettings,
        resolve: Resolve,
        applier: Applier,
        events: EventLoop,
        last_good: LastGood,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Shared {
            settings,
            programme: Programme::new(applier, last_good, Arc::clone(&counters)),
            events,
            counters,
            receivers: AtomicU64::new(0),
            stop: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
            resolve,
            listed: watch::Sender::default(),
        }
    }

    pub(crate) fn last_words(&self) -> LastWords {
        LastWords(Arc::clone(&self.shared.stop))
    }

    /// Puts the last good configuration in force, and then whatever the leader sends; returns only when nothing can be put in
    /// force any more.
    pub(crate) async fn run(self) -> LoopEnded {
        if let Err(ended) = self.shared.programme.restore().await {
            return ended;
        }
        let mut followed = BTreeSet::new();
        let mut streams = JoinSet::new();
        loop {
            let every = self.look().await;
            for replica in self.listed.borrow().iter() {
                if followed.insert(*replica) {
                    streams.spawn(follow(Arc::clone(&self.shared), *replica, self.listed.subscribe()));
                }
            }
            tokio::select! {
                () = sleep(every) => {}
                Some(gone) = streams.join_next() => match gone {
                    Ok(Gone::Unlisted(replica)) => {
                        info!(%replica, "replica of the operator is gone");
                        followed.remove(&replica);
                    }
                    Ok(Gone::Ended(ended)) => return ended,
                    Err(_panicked) => return LoopEnded,
                },
            }
        }
    }

    /// Looks up the replicas; says when to look again.
    async fn look(&self) -> Duration {
        let found = timeout(LOOKUP, (self.resolve)()).await;
        let found = found.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
        match found {
            Ok(found) => {
                self.list(found);
                // Streams that are open hold the other ends of `stop`.
                if self.shared.stop.receiver_count() >= self.listed.borrow().len().max(1) {
                    LOOK_EVERY
                } else {
                    LOOK_AGAIN
                }
            }
            Err(error) => {
                self.shared.counters.one(Count::ReplicasUnresolved);
                let host = &self.shared.settings.host;
                warn!(%error, host, "the operator's replicas cannot be looked up, those known are kept");
                LOOK_AGAIN
            }
        }
    }

    fn list(&self, found: Vec<SocketAddr>) {
        let found: BTreeSet<_> = found.into_iter().collect();
        let surplus = found.len().saturating_sub(MAX_REPLICAS);
        let listed: BTreeSet<_> = found.into_iter().take(MAX_REPLICAS).collect();
        let news = self.listed.send_if_modified(|last| {
            let news = *last != listed;
            *last = listed;
            news
        });
        if news && surplus > 0 {
            warn!(
                surplus,
                "more replicas of the operator than {MAX_REPLICAS}: the others are not followed"
            );
            self.shared.counters.add(Count::ReplicaRefused, surplus as u64);
        }
    }
}

/// Follows one replica for as long as it is listed.
async fn follow(shared: Arc<Shared>, replica: SocketAddr, listed: watch::Receiver<BTreeSet<SocketAddr>>) -> Gone {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let error = match shared.follow(replica).await {
            StreamError::Ended(ended) => return Gone::Ended(ended),
            // The process is about to end.
            StreamError::Stopping => std::future::pending().await,
            error => error,
        };
        shared.counters.one(Count::StreamFailed);
        if began.elapsed() >= GOOD_STREAM {
            backoff.reset();
        }
        if !listed.borrow().contains(&replica) {
            return Gone::Unlisted(replica);
        }
        let pause = backoff.pause();
        warn!(
            error = &error as &dyn std::error::Error,
            ?pause,
            "stream to the operator ended, what is in force stays"
        );
        sleep(pause).await;
    }
}
