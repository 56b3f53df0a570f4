//! The client of a runtime's socket: calls with their deadlines, and what is wrong with a socket in words for people.
//!
//! Kubernetes: staging/src/k8s.io/cri-client/pkg/{remote_runtime,remote_image}.go.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use prost::bytes::Bytes;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::kernel::Duration;
use crate::protocol::cri::{Answer, Call, Code, Error};

use super::codec::{MAX_MESSAGE_SIZE, RawCodec};
use super::wire::{self, Outgoing, Wire};

/// `runtimeRequestTimeout`, of most calls.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A runtime's socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    channel: Channel,
}

/// What is wrong with a runtime, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The address is of another kind.
    #[error("{0} is not the address of a unix socket; write unix:///run/containerd/containerd.sock")]
    NotUnix(String),
    /// No such file.
    #[error("there is no socket {0}: start the runtime (systemctl start containerd), or name the socket that it has")]
    NoSocket(String),
    /// Nobody listens.
    #[error("nobody answers on {0}: start the runtime (systemctl start containerd), or name the socket that it has")]
    Refused(String),
    /// The user may not open it.
    #[error("no permission to open {0}: a runtime's socket usually belongs to root")]
    Permission(String),
    /// A file, or something that does not speak gRPC.
    #[error("{0} is not the socket of a container runtime: {1}{docker}", docker = of_docker(.0))]
    NotCri(String, String),
    /// It takes connections, and says nothing.
    #[error("the runtime on {0} does not answer within 10 s: see what it does (journalctl -u containerd)")]
    Silent(String),
    /// gRPC without CRI v1.
    #[error(
        "the runtime on {0} has no CRI v1: take `cri` out of `disabled_plugins` in /etc/containerd/config.toml, or take a \
         newer runtime (containerd 1.6, CRI-O 1.25, cri-dockerd 0.3)"
    )]
    NoCri(String),
    /// It says so itself.
    #[error("the runtime on {0} is not ready: {1}")]
    NotReady(String, String),
    /// Pods could get no addresses.
    #[error(
        "the runtime on {0} has no network for pods: {1}; install CNI plug-ins (containernetworking-plugins) and a \
         configuration in its conf_dir (/etc/cni/net.d)"
    )]
    NoNetwork(String, String),
}

/// What a runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `containerd`.
    pub name: String,
    /// `1.6.20~ds1`.
    pub version: String,
}

impl Client {
    /// A client of `unix:///path`, or of a path. Nothing is connected yet; must be called in a tokio runtime.
    ///
    /// # Errors
    /// It is another kind of address.
    pub fn new(address: &str) -> Result<Client, Problem> {
        let path = match address.strip_prefix("unix://") {
            Some(path) => path,
            None if address.starts_with('/') => address,
            None => return Err(Problem::NotUnix(address.to_owned())),
        };
        let socket = PathBuf::from(path);
        let path = socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The name is only for HTTP/2's headers.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Ok(Client { socket, channel })
    }

    /// A client of a gRPC server in a pod. None if it can't be reached.
    pub async fn over_tcp(address: &str) -> Option<Client> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint.connect().await.ok()?;
        Some(Client { socket: PathBuf::new(), channel })
    }

    /// Carries out a call. `wire` is shared with the other calls of the same node.
    ///
    /// # Errors
    /// As the kubelet sees them.
    pub async fn call(&self, wire: &std::sync::Mutex<Wire>, call: &Call) -> Result<Answer, Error> {
        let outgoing = lock(wire).request(call);
        let body = self.unary(outgoing, deadline(call)).await.map_err(|status| self.error(&status))?;
        lock(wire).answer(call, body)
    }

    /// One request, one response.
    ///
    /// # Errors
    /// The runtime's, or those of the connection; `DeadlineExceeded` after `deadline`.
    pub async fn unary(&self, outgoing: Outgoing, deadline: Option<Duration>) -> Result<Bytes, Status> {
        let work = async {
            let mut grpc = tonic::client::Grpc::new(self.channel.clone())
                .max_decoding_message_size(MAX_MESSAGE_SIZE)
                .max_encoding_message_size(MAX_MESSAGE_SIZE);
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = tonic::codegen::http::uri::PathAndQuery::from_static(outgoing.path);
            grpc.unary(Request::new(outgoing.body), path, RawCodec).await.map(tonic::Response::into_inner)
        };
        match deadline {
            None => work.await,
            Some(deadline) => {
                let deadline = std::time::Duration::from_nanos(deadline.as_nanos());
                let late = |_| Err(Status::deadline_exceeded("context deadline exceeded"));
                tokio::time::timeout(deadline, work).await.unwrap_or_else(late)
            }
        }
    }

    /// The stream of GetContainerEvents.
    ///
    /// # Errors
    /// `Unimplemented` where the runtime has none.
    pub async fn events(&self) -> Result<tonic::Streaming<Bytes>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path =
            tonic::codegen::http::uri::PathAndQuery::from_static("/runtime.v1.RuntimeService/GetContainerEvents");
        // The request has no fields.
        grpc.server_streaming(Request::new(Bytes::new()), path, RawCodec).await.map(tonic::Response::into_inner)
    }

    /// In the words of Go's client where the connection is what failed.
    fn error(&self, status: &Status) -> Error {
        match connection_problem(status) {
            Some(problem) => {
                let text = match problem {
                    Some(kind) => format!(
                        "connection error: desc = \"transport: Error while dialing: dial unix {}: connect: {}\"",
                        self.socket.display(),
                        words(kind)
                    ),
                    None => "error reading from server: EOF".to_owned(),
                };
                Error::new(Code::Unavailable, text)
            }
            None => wire::error_in(status),
        }
    }

    /// Looks whether a runtime is there that can run pods.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn hello(&self) -> Result<Hello, Problem> {
        let shown = self.socket.display().to_string();
        look_at(&self.socket).await?;
        let wire = std::sync::Mutex::new(Wire::new(wire::Epoch(0), ""));
        let ask = async |call: &Call| {
            let outgoing = lock(&wire).request(call);
            let body = self.unary(outgoing, Some(Duration::from_secs(10))).await.map_err(|status| {
                if status.code() == tonic::Code::Unimplemented {
                    Problem::NoCri(shown.clone())
                } else if status.code() == tonic::Code::DeadlineExceeded {
                    Problem::Silent(shown.clone())
                } else if connection_problem(&status).is_some() {
                    Problem::NotCri(shown.clone(), "it does not speak gRPC".to_owned())
                } else {
                    Problem::NotReady(shown.clone(), status.message().to_owned())
                }
            })?;
            let answer = lock(&wire).answer(call, body);
            answer.map_err(|error| Problem::NotCri(shown.clone(), error.message.to_string()))
        };
        let Answer::Version { runtime_name, runtime_version } = ask(&Call::Version).await? else {
            return Err(Problem::NoCri(shown.clone()));
        };
        if let Answer::Status { runtime_ready, network_ready } = ask(&Call::Status).await? {
            runtime_ready.map_err(|why| Problem::NotReady(shown.clone(), why.to_string()))?;
            network_ready.map_err(|why| Problem::NoNetwork(shown.clone(), why.to_string()))?;
        }
        Ok(Hello { name: runtime_name.to_string(), version: runtime_version.to_string() })
    }
}

/// What Docker's users have to know.
fn of_docker(socket: &str) -> &'static str {
    let is_docker = socket.ends_with("docker.sock");
    if is_docker { "; Docker Engine has CRI only behind cri-dockerd (unix:///run/cri-dockerd.sock)" } else { "" }
}

/// How long a call may take; None: for ever.
fn deadline(call: &Call) -> Option<Duration> {
    match call {
        Call::RunPodSandbox(_) => Some(REQUEST_TIMEOUT * 2),
        Call::StopContainer { timeout, .. } => Some(REQUEST_TIMEOUT + *timeout),
        Call::ExecSync { timeout, .. } => (!timeout.is_zero()).then(|| REQUEST_TIMEOUT + *timeout),
        Call::PullImage { .. } => None,
        _ => Some(REQUEST_TIMEOUT),
    }
}

/// The wire, also after a task panicked with it.
pub fn lock(wire: &std::sync::Mutex<Wire>) -> std::sync::MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn look_at(socket: &Path) -> Result<(), Problem> {
    let shown = socket.display().to_string();
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => Problem::NoSocket(shown),
            io::ErrorKind::PermissionDenied => Problem::Permission(shown),
            io::ErrorKind::ConnectionRefused if is_socket(socket) => Problem::Refused(shown),
            io::ErrorKind::ConnectionRefused => Problem::NotCri(shown, "it is no socket".to_owned()),
            _ => Problem::NotCri(shown, error.to_string()),
        }),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// If a status stands for a connection that failed: the system's error where it could not be made.
fn connection_problem(status: &Status) -> Option<Option<io::ErrorKind>> {
    let mut source = status.source();
    let mut is_ours = false;
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(Some(error.kind()));
        }
        is_ours |= error.is::<tonic::transport::Error>() || error.is::<tonic::ConnectError>();
        source = error.source();
    }
    is_ours.then_some(None)
}

fn words(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => "connection refused",
    }
}
