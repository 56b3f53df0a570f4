//! The streams of Exec, Attach and PortForward: a client asks for a URL by gRPC and connects to it within a minute, by SPDY
//! or by WebSocket.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/pkg/cri/streaming and its remotecommand/{httpstream,websocket}.go. Read `session`
//! for what is said, `spdy` and `websocket` for how, `terminal` for `-t`.

mod forward;
mod session;
mod spdy;
mod terminal;
mod websocket;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as Length;

use prost::bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tonic::Status;

use crate::runtime::live::proto;
use crate::runtime::live::wire::encode;

use super::Server;

/// What somebody may connect to.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Exec { container: String, command: Vec<String>, streams: Streams },
    Attach { container: String, streams: Streams },
    Forward { sandbox: String },
}

/// Which streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Streams {
    /// What a real streaming server accepts.
    fn checked(self) -> Result<Streams, Status> {
        if !self.stdin && !self.stdout && !self.stderr {
            return Err(Status::invalid_argument("one of `stdin`, `stdout`, or `stderr` must be set"));
        }
        if self.tty && self.stderr {
            return Err(Status::invalid_argument("`tty` and `stderr` cannot both be true"));
        }
        Ok(self)
    }
}

/// Where streams are served, and what was promised to whom.
#[derive(Default)]
pub(super) struct Promises(Mutex<State>);

#[derive(Default)]
struct State {
    address: Option<SocketAddr>,
    last: u64,
    open: BTreeMap<String, (Wanted, Instant)>,
}

/// A promise is kept for so long.
const PATIENCE: Length = Length::from_secs(60);
/// There are no more open promises than this, as in a real streaming server.
const MOST: usize = 1000;

impl Promises {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL under which `wanted` can be had once.
    fn url(&self, kind: &str, wanted: Wanted) -> Result<String, Status> {
        let mut state = self.state();
        let address = state.address.ok_or_else(|| Status::unavailable("streams are not served yet"))?;
        let now = Instant::now();
        state.open.retain(|_, (_, until)| *until > now);
        if state.open.len() >= MOST {
            return Err(Status::resource_exhausted("maximum number of in-flight requests exceeded"));
        }
        state.last += 1;
        let token = token(state.last)?;
        state.open.insert(token.clone(), (wanted, now + PATIENCE));
        Ok(format!("http://{address}/{kind}/{token}"))
    }

    fn take(&self, token: &str) -> Option<Wanted> {
        let (wanted, until) = self.state().open.remove(token)?;
        (until > Instant::now()).then_some(wanted)
    }
}

/// Nobody guesses it.
fn token(number: u64) -> Result<String, Status> {
    use std::io::Read;
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| Status::internal(format!("no random numbers: {error}")))?;
    Ok(format!("{:032x}{number:x}", u128::from_be_bytes(bytes)))
}

fn answer(url: String) -> Bytes {
    encode(&proto::StreamingResponse { url })
}

impl Server {
    pub(super) async fn exec_url(&self, request: proto::ExecRequest) -> Result<Bytes, Status> {
        let proto::ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request;
        if cmd.is_empty() {
            return Err(Status::invalid_argument("a command is needed"));
        }
        let streams = Streams { stdin, stdout, stderr, tty }.checked()?;
        self.running(&container_id).await?;
        let wanted = Wanted::Exec { container: container_id, command: cmd, streams };
        self.promises.url("exec", wanted).map(answer)
    }

    pub(super) async fn attach_url(&self, request: proto::AttachRequest) -> Result<Bytes, Status> {
        let proto::AttachRequest { container_id, stdin, tty, stdout, stderr } = request;
        let streams = Streams { stdin, stdout, stderr, tty }.checked()?;
        self.running(&container_id).await?;
        self.promises.url("attach", Wanted::Attach { container: container_id, streams }).map(answer)
    }

    pub(super) async fn forward_url(&self, request: proto::PortForwardRequest) -> Result<Bytes, Status> {
        self.ready_address(&request.pod_sandbox_id).await?;
        self.promises.url("portforward", Wanted::Forward { sandbox: request.pod_sandbox_id }).map(answer)
    }

    /// Serves streams on a port of loopback until the server ends.
    pub(super) async fn serve_streams(self: Arc<Server>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    let server = Arc::clone(&self);
                    tokio::spawn(async move {
                        // A client that breaks off is its own affair.
                        let _broken = server.stream_connection(connection).await;
                    });
                }
                // Too many open files: some will be closed.
                Err(_) => tokio::time::sleep(Length::from_millis(100)).await,
            }
        }
    }

    /// A port of loopback for streams.
    pub(super) async fn listen_for_streams(&self) -> io::Result<TcpListener> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        self.promises.state().address = Some(listener.local_addr()?);
        Ok(listener)
    }

    async fn stream_connection(self: Arc<Server>, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut connection = BufReader::new(connection);
        let head = tokio::time::timeout(Length::from_secs(30), Head::read(&mut connection)).await;
        let Ok(Some(head)) = head.map_err(io::Error::other)? else {
            return refuse(&mut connection, "400 Bad Request", "this is no HTTP request").await;
        };
        let wanted = match head.path.split('/').collect::<Vec<&str>>().as_slice() {
            ["", "exec" | "attach" | "portforward", token] => self.promises.take(token.split('?').next().unwrap_or("")),
            _ => None,
        };
        let Some(wanted) = wanted else {
            let text = "there is no such stream: its token was used, or is older than a minute";
            return refuse(&mut connection, "404 Not Found", text).await;
        };
        let upgrade = head.value("upgrade").unwrap_or("").to_ascii_lowercase();
        match (upgrade.as_str(), wanted) {
            ("spdy/3.1", Wanted::Forward { sandbox }) => self.forward(connection, &head, &sandbox).await,
            ("spdy/3.1", wanted) => self.by_spdy(connection, &head, wanted).await,
            ("websocket", Wanted::Forward { sandbox }) => self.forward_by_websocket(connection, &head, &sandbox).await,
            ("websocket", wanted) => self.by_websocket(connection, &head, wanted).await,
            _ => {
                let text = "unable to upgrade: the request must ask for SPDY/3.1 or websocket";
                refuse(&mut connection, "400 Bad Request", text).await
            }
        }
    }
}

/// The head of a request; names of fields are in lower case.
struct Head {
    path: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// None if it is no HTTP, or too long.
    async fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
        let mut limited = connection.take(16 << 10);
        let mut line = String::new();
        limited.read_line(&mut line).await?;
        let path = match line.split_whitespace().collect::<Vec<&str>>().as_slice() {
            ["GET" | "POST", path, version] if version.starts_with("HTTP/1.") => (*path).to_owned(),
            _ => return Ok(None),
        };
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            limited.read_line(&mut line).await?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None if line == "\r\n" || line == "\n" => return Ok(Some(Head { path, fields })),
                None => return Ok(None),
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// What several fields, or one with commas, offer.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(field, _)| field == name);
        fields.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The first that the client offers and that is among `ours`.
    fn chosen<'a>(&'a self, name: &'a str, ours: &[&'static str]) -> Option<&'static str> {
        self.values(name).find_map(|offered| ours.iter().copied().find(|other| *other == offered))
    }
}

async fn refuse(connection: &mut BufReader<TcpStream>, status: &str, text: &str) -> io::Result<()> {
    let length = text.len() + 1;
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n");
    connection.write_all(format!("{head}\r\n{text}\n").as_bytes()).await?;
    connection.shutdown().await
}

async fn switch(connection: &mut BufReader<TcpStream>, upgrade: &str, more: &[(&str, &str)]) -> io::Result<()> {
    let fields: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{fields}\r\n");
    connection.write_all(head.as_bytes()).await
}
