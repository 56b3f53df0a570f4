//! A CRI v1 server in front of a simulated runtime: crictl, critest and a kubelet speak to it by a socket.
//!
//! The runtime's state machine is asked through a [`Port`]; what it does not keep of a request (labels, annotations, mounts,
//! DNS, whole security contexts) stays here and is given back as it came. Read `table` (what is kept), `calls` (the methods),
//! `answers` (state as messages), `output` and `logs` (what containers write).
//!
//! Left out: streaming (Exec, Attach, PortForward), checkpoints, metrics, and everything that needs a kernel: files in
//! containers other than mounted ones, sysctls, seccomp, traffic to pods.

mod answers;
mod calls;
mod images;
mod logs;
mod output;
mod table;
mod usage;

use std::convert::Infallible;
use std::future::Future;
use std::io;
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

use super::codec::{MAX_MESSAGE_SIZE, RawCodec};
use super::wire::{Epoch, error_out};
use table::Table;

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Answer, Error>>;

/// The way to the runtime: hands over a call, whose answer comes by the [`Reply`].
pub type Port = Arc<dyn Fn(Call, Reply) + Send + Sync>;

/// A server's state.
pub struct Server {
    port: Port,
    events: broadcast::Sender<ContainerEvent>,
    epoch: Epoch,
    /// The runtime sends events of containers.
    has_events: bool,
    table: Mutex<Table>,
}

impl Server {
    /// A server in front of the runtime behind `port`, whose events come by `events` and whose time began at `epoch`.
    pub fn new(port: Port, events: broadcast::Sender<ContainerEvent>, epoch: Epoch, has_events: bool) -> Server {
        Server { port, events, epoch, has_events, table: Mutex::new(Table::default()) }
    }

    /// Serves until `end`; the socket must not exist, and its file is removed at the end. `ready` is called once clients
    /// can connect.
    ///
    /// # Errors
    /// The socket can't be made, or no longer be served.
    pub async fn serve(self, socket: &Path, ready: impl FnOnce(), end: impl Future<Output = ()>) -> io::Result<()> {
        let listener = UnixListener::bind(socket)?;
        ready();
        let service = Front(Arc::new(self));
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
        (self.port)(call, reply);
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
                async move { Ok::<_, Status>(Response::new(server.unary(&path, request.into_inner()).await?)) }
            });
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// The messages of a stream.
type Items = mpsc::Receiver<Result<Bytes, Status>>;
