//! An operator's side of the streams, under a test's control.

use std::{net::Ipv4Addr, path::PathBuf, pin::Pin, time::Duration};

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
    port: u16,
    pub(super) ca_file: PathBuf,
    streams: mpsc::Receiver<Stream>,
    task: JoinHandle<()>,
    _folder: TempDir,
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
        let ca_file = folder.path().join("ca.crt");
        std::fs::write(&ca_file, certified.cert.pem()).unwrap();
        let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, streams) = mpsc::channel(4);
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(DistributionServer::new(Streams(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            port,
            ca_file,
            streams,
            task: tokio::spawn(async move { server.await.unwrap() }),
            _folder: folder,
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(super) async fn stream(&mut self) -> Stream {
        soon(self.streams.recv()).await.unwrap()
    }
}

impl Stream {
    pub(super) async fn next(&mut self) -> Message {
        soon(self.from_worker.message())
            .await
            .unwrap()
            .unwrap()
            .message
            .unwrap()
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
