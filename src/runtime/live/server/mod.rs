//! A CRI v1 server in front of a simulated runtime: crictl, critest and a kubelet speak to it by a socket.
//!
//! The runtime's state machine is asked through a [`Port`]; what it does not keep of a request (labels, annotations, mounts,
//! DNS, whole security contexts) stays here and is given back as it came. Read `table` (what is kept), `calls` and `images`
//! (the methods), `answers` (state as messages), `usage` and `metrics`; then `process` (what runs in containers), `worlds`,
//! `files` and `known` (what it finds around it), `shell` (what it does), `logs` (what it leaves), `streaming` (Exec, Attach,
//! PortForward) and `web` (pods that answer HTTP).
//!
//! Left out: checkpoints, and what needs a kernel: isolation, mounts made in containers, traffic other than HTTP.

mod answers;
mod calls;
mod files;
mod images;
mod known;
mod logs;
mod metrics;
mod process;
mod shell;
mod streaming;
mod table;
mod usage;
mod web;
mod worlds;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use prost::bytes::Bytes;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::codegen::http;
use tonic::{Request, Response, Status};
use tower::Service;

use crate::protocol::cri::{Answer, Call, ContainerEvent, Error};
use crate::protocol::probe;
use crate::runtime::simulated::Fault;

use super::codec::{MAX_MESSAGE_SIZE, RawCodec};
use super::wire::{Epoch, error_out};
use process::Processes;
use streaming::Promises;
use table::Table;

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Answer, Error>>;

/// The way to the runtime: hands over a call, whose answer comes by the [`Reply`].
pub type Port = Arc<dyn Fn(Call, Reply) + Send + Sync>;

/// The way to what befalls simulated containers: programs that end by what they do.
pub type Faults = Arc<dyn Fn(Fault) + Send + Sync>;

/// The way to what a simulated program answers to a request of its network.
pub type Probes = Arc<dyn Fn(probe::Request, oneshot::Sender<probe::Outcome>) + Send + Sync>;

/// The ways to a runtime's model.
pub struct Links {
    pub calls: Port,
    pub faults: Faults,
    pub probes: Probes,
}

/// A server's state.
pub struct Server {
    links: Links,
    events: broadcast::Sender<ContainerEvent>,
    epoch: Epoch,
    /// The runtime sends events of containers.
    has_events: bool,
    table: Mutex<Table>,
    processes: Processes,
    promises: Promises,
}

impl Server {
    /// A server in front of the runtime behind `links`, whose events come by `events` and whose time began at `epoch`.
    pub fn new(links: Links, events: broadcast::Sender<ContainerEvent>, epoch: Epoch, has_events: bool) -> Server {
        let (table, processes, promises) = (Mutex::default(), Processes::default(), Promises::default());
        Server { links, events, epoch, has_events, table, processes, promises }
    }

    /// Serves until `end`; the socket must not exist, and its file is removed at the end. `ready` is called once clients
    /// can connect.
    ///
    /// # Errors
    /// The socket can't be made, or no longer be served.
    pub async fn serve(self, socket: &Path, ready: impl FnOnce(), end: impl Future<Output = ()>) -> io::Result<()> {
        let listener = UnixListener::bind(socket)?;
        // As a real runtime's: for its owner and its group.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
        let server = Arc::new(self);
        let streams = server.listen_for_streams().await?;
        tokio::spawn(Arc::clone(&server).reap(server.events.subscribe()));
        tokio::spawn(Arc::clone(&server).serve_streams(streams));
        ready();
        let service = Front(server);
        let serving =
            tonic::transport::Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener));
        // Streams of events never end by themselves: they are cut off.
        let served = tokio::select! {
            served = serving => served.map_err(io::Error::other),
            () = end => Ok(()),
        };
        let removed = std::fs::remove_file(socket);
        served.and(removed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks the runtime.
    async fn ask(&self, call: Call) -> Result<Answer, Status> {
        let (reply, answer) = oneshot::channel();
        (self.links.calls)(call, reply);
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.status_of(&error)),
            Err(_) => Err(Status::unavailable("the runtime has ended")),
        }
    }

    /// The error with ids as this server writes them; a reserved name is `AlreadyExists`.
    fn status_of(&self, error: &Error) -> Status {
        let status = error_out(error);
        let message = table::whole_ids(status.message());
        let code = if message.contains("is reserved for") { tonic::Code::AlreadyExists } else { status.code() };
        Status::new(code, message)
    }
}

/// A folder of the machine's file system that images and containers are said to lie on.
fn storage() -> String {
    let usual = "/var/lib";
    if Path::new(usual).is_dir() { usual.to_owned() } else { "/".to_owned() }
}

/// The runtime answered something else than it was asked: never seen.
fn unexpected(answer: &Answer) -> Status {
    Status::internal(format!("an answer of another call: {answer:?}"))
}

/// What takes requests from the socket.
#[derive(Clone)]
struct Front(Arc<Server>);

type HttpResponse = http::Response<tonic::body::Body>;

impl Service<http::Request<tonic::body::Body>> for Front {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let server = Arc::clone(&self.0);
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(RawCodec)
                .max_decoding_message_size(MAX_MESSAGE_SIZE)
                .max_encoding_message_size(MAX_MESSAGE_SIZE);
            let is_stream = path.ends_with("/GetContainerEvents") || path.contains("Service/Stream");
            if is_stream {
                let service = tower::service_fn(move |request: Request<Bytes>| {
                    let (server, path) = (Arc::clone(&server), path.clone());
                    async move {
                        let items = server.stream(&path, request.into_inner()).await?;
                        Ok::<_, Status>(Response::new(ReceiverStream::new(items)))
                    }
                });
                return Ok(grpc.server_streaming(service, request).await);
            }
            let service = tower::service_fn(move |request: Request<Bytes>| {
                let (server, path) = (Arc::clone(&server), path.clone());
                async move {
                    let body = request.into_inner();
                    // What a client no longer waits for is finished all the same, so that nothing is half made; but a
                    // command dies with its client.
                    let answer = if path.ends_with("/ExecSync") {
                        server.unary(&path, body).await
                    } else {
                        let working = tokio::spawn(async move { server.unary(&path, body).await });
                        working.await.map_err(|error| Status::internal(error.to_string()))?
                    };
                    Ok::<_, Status>(Response::new(answer?))
                }
            });
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// The messages of a stream.
type Items = mpsc::Receiver<Result<Bytes, Status>>;
