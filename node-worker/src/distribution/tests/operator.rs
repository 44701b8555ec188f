//! An operator's side of the streams, under a test's control.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use shoalwatch_node_api::wire::{
    Hello, OperatorMessage, WorkerMessage,
    distribution_server::{Distribution, DistributionServer},
    worker_message::Message,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig},
};

/// A server with a certificate of its own.
pub(super) struct Operator {
    pub(super) address: SocketAddr,
    pub(super) ca_file: PathBuf,
    /// Certificate and key.
    identity: (String, String),
    streams: mpsc::Receiver<Stream>,
    task: JoinHandle<()>,
    folder: Arc<TempDir>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One worker's stream.
pub(super) struct Stream {
    pub(super) authorization: String,
    pub(super) to_worker: mpsc::Sender<Result<OperatorMessage, Status>>,
    from_worker: Streaming<WorkerMessage>,
}

impl Operator {
    pub(super) async fn start() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), certified.cert.pem()).unwrap();
        let identity = (certified.cert.pem(), certified.signing_key.serialize_pem());
        Self::serve(identity, Arc::new(folder)).await
    }

    /// Another replica, with the same certificate.
    pub(super) async fn another(&self) -> Self {
        Self::serve(self.identity.clone(), Arc::clone(&self.folder)).await
    }

    async fn serve(identity: (String, String), folder: Arc<TempDir>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(4);
        let shown = Identity::from_pem(&identity.0, &identity.1);
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(shown))
            .unwrap()
            .add_service(DistributionServer::new(Streams(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            address,
            ca_file: folder.path().join("ca.crt"),
            identity,
            streams,
            task: tokio::spawn(async move { server.await.unwrap() }),
            folder,
        }
    }

    pub(super) async fn stream(&mut self) -> Stream {
        soon(self.streams.recv()).await.unwrap()
    }
}

impl Stream {
    pub(super) async fn next(&mut self) -> Message {
        self.hear().await.unwrap()
    }

    /// `None`: the worker ended the stream.
    pub(super) async fn hear(&mut self) -> Option<Message> {
        soon(self.from_worker.message()).await.ok().flatten()?.message
    }

    pub(super) async fn hello(&mut self) -> Hello {
        match self.next().await {
            Message::Hello(hello) => hello,
            other => unreachable!("{other:?}"),
        }
    }
}

/// Fails after a time that no healthy machine needs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}

struct Streams(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl Distribution for Streams {
    type SyncStream = Pin<Box<dyn futures::Stream<Item = Result<OperatorMessage, Status>> + Send>>;

    async fn sync(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let authorization = request
            .metadata()
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let (to_worker, messages) = mpsc::channel(8);
        let stream = Stream {
            authorization,
            to_worker,
            from_worker: request.into_inner(),
        };
        self.0.send(stream).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
