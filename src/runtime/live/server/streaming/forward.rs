//! PortForward: each connection is a pair of SPDY streams, one for data and one for errors, to a port of the pod. SPDY comes
//! by itself, as through a kubelet, or within a WebSocket, as `crictl port-forward --transport websocket` sends it.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/httpstream.go,
//! staging/src/k8s.io/client-go/tools/portforward/tunneling_connection.go. What listens there is whatever has
//! the pod's address: see `web` for the pods that answer.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::Status;

use crate::protocol::cri::{Answer, Call, SandboxState};

use super::super::calls::not_found;
use super::super::{Server, unexpected};
use super::session::frames_of;
use super::spdy::{self, Frame};
use super::websocket::{self, Message};
use super::{Head, refuse, switch};

const PROTOCOL: &str = "portforward.k8s.io";
/// The same within a WebSocket.
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";

/// Two streams that belong together.
#[derive(Default)]
struct Pair {
    data: Option<u32>,
    error: Option<u32>,
    port: u16,
}

/// What goes back to the client.
enum Back {
    Data(u32, Vec<u8>),
    End { data: u32, error: u32, why: Option<String> },
}

impl Server {
    /// The address under which a sandbox' ports are to be found; it must be ready.
    pub(in crate::runtime::live::server) async fn ready_address(&self, named: &str) -> Result<IpAddr, Status> {
        let id = self.sandbox_named(named);
        if id.0 == 0 {
            return Err(not_found("sandbox", named));
        }
        match self.ask(Call::PodSandboxStatus(id)).await? {
            Answer::SandboxStatus(status) if status.summary.state == SandboxState::NotReady => {
                Err(Status::unknown("sandbox container is not running"))
            }
            // A pod in the machine's network has the machine's ports.
            Answer::SandboxStatus(status) => Ok(status.ip.map_or(std::net::Ipv4Addr::LOCALHOST.into(), IpAddr::V4)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn forward(
        self: Arc<Server>,
        mut connection: BufReader<TcpStream>,
        head: &Head,
        sandbox: &str,
    ) -> io::Result<()> {
        if head.chosen("x-stream-protocol-version", &[PROTOCOL]).is_none() {
            return refuse(&mut connection, "403 Forbidden", "unable to upgrade: the protocol is portforward.k8s.io")
                .await;
        }
        let Ok(address) = self.ready_address(sandbox).await else {
            return refuse(&mut connection, "500 Internal Server Error", "the sandbox is not ready").await;
        };
        switch(&mut connection, "SPDY/3.1", &[("X-Stream-Protocol-Version", PROTOCOL)]).await?;
        let (source, sink) = tokio::io::split(connection);
        forward_over(source, sink, address).await
    }

    /// The same for a client whose SPDY is within a WebSocket's binary messages, cut anywhere.
    pub(super) async fn forward_by_websocket(
        self: Arc<Server>,
        mut connection: BufReader<TcpStream>,
        head: &Head,
        sandbox: &str,
    ) -> io::Result<()> {
        let chosen = head.chosen("sec-websocket-protocol", &[TUNNELLED]);
        let (Some(key), Some(protocol)) = (head.value("sec-websocket-key"), chosen) else {
            let text = "unable to upgrade: by WebSocket ports are forwarded with the protocol SPDY/3.1+portforward.k8s.io only";
            return refuse(&mut connection, "400 Bad Request", text).await;
        };
        let Ok(address) = self.ready_address(sandbox).await else {
            return refuse(&mut connection, "500 Internal Server Error", "the sandbox is not ready").await;
        };
        let accept = websocket::accept(key);
        let fields = [("Sec-WebSocket-Accept", accept.as_str()), ("Sec-WebSocket-Protocol", protocol)];
        switch(&mut connection, "websocket", &fields).await?;
        let (inside, outside) = tokio::io::duplex(64 << 10);
        let tunnel = tokio::spawn(tunnel(connection, outside));
        let (source, sink) = tokio::io::split(inside);
        let forwarded = forward_over(source, sink, address).await;
        tunnel.await.map_err(io::Error::other)??;
        forwarded
    }
}

/// Carries bytes between a WebSocket and what speaks SPDY, until either ends.
async fn tunnel(connection: BufReader<TcpStream>, outside: tokio::io::DuplexStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(connection);
    let (mut from_inside, mut to_inside) = tokio::io::split(outside);
    let (messages_in, mut messages) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(message)) = websocket::read(&mut from_client).await {
            if messages_in.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 32 << 10];
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(Message::Data(bytes)) => to_inside.write_all(&bytes).await?,
                Some(Message::Ping(bytes)) => to_client.write_all(&websocket::pong(&bytes)).await?,
                Some(Message::Pong) => {}
                Some(Message::Close) | None => break,
            },
            count = from_inside.read(&mut buffer) => match count? {
                0 => break,
                count => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    to_client.write_all(&websocket::binary(bytes)).await?;
                }
            },
        }
    }
    to_client.write_all(&websocket::close()).await?;
    to_client.shutdown().await
}

/// Forwards ports of `address` for a client that speaks SPDY, until it goes.
async fn forward_over(
    source: impl AsyncRead + Unpin + Send + 'static,
    mut sink: impl AsyncWrite + Unpin,
    address: IpAddr,
) -> io::Result<()> {
    let mut frames = frames_of(source);
    let mut writer = spdy::Writer::default();
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut inputs: BTreeMap<u32, mpsc::UnboundedSender<Vec<u8>>> = BTreeMap::new();
    let (back_in, mut back) = mpsc::channel(64);
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                None | Some(Frame::GoAway) => return sink.shutdown().await,
                Some(Frame::Ping { id }) => sink.write_all(&spdy::Writer::ping(id)).await?,
                Some(Frame::SynStream { stream, headers, .. }) => {
                    sink.write_all(&writer.syn_reply(stream)).await?;
                    let value = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
                    let pair = pairs.entry(value("requestid").to_owned()).or_default();
                    pair.port = value("port").parse().unwrap_or(0);
                    match value("streamtype") {
                        "error" => pair.error = Some(stream),
                        _ => pair.data = Some(stream),
                    }
                    if let Pair { data: Some(data), error: Some(error), port } = *pair {
                        pairs.remove(value("requestid"));
                        let (input, read) = mpsc::unbounded_channel();
                        inputs.insert(data, input);
                        tokio::spawn(carry((address, port), (data, error), read, back_in.clone()));
                    }
                }
                Some(Frame::Data { stream, bytes, fin }) => {
                    if let Some(input) = inputs.get(&stream) {
                        let _gone = input.send(bytes);
                    }
                    if fin {
                        inputs.remove(&stream);
                    }
                }
                Some(Frame::Reset { stream }) => {
                    inputs.remove(&stream);
                }
                Some(Frame::Other) => {}
            },
            Some(back) = back.recv() => match back {
                Back::Data(stream, bytes) => sink.write_all(&spdy::Writer::data(stream, &bytes, false)).await?,
                Back::End { data, error, why } => {
                    inputs.remove(&data);
                    let why = why.unwrap_or_default();
                    sink.write_all(&spdy::Writer::data(error, why.as_bytes(), true)).await?;
                    sink.write_all(&spdy::Writer::data(data, &[], true)).await?;
                }
            },
        }
    }
}

/// Carries one connection until both sides are done with it.
async fn carry(
    target: (IpAddr, u16),
    (data, error): (u32, u32),
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    back: mpsc::Sender<Back>,
) {
    let carried = async {
        let mut connection = TcpStream::connect(target).await?;
        let (mut from, mut to) = connection.split();
        let upload = async {
            while let Some(bytes) = input.recv().await {
                to.write_all(&bytes).await?;
            }
            to.shutdown().await
        };
        let download = async {
            let mut buffer = vec![0; 32 << 10];
            loop {
                let count = from.read(&mut buffer).await?;
                let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                if count == 0 || back.send(Back::Data(data, bytes)).await.is_err() {
                    return Ok(());
                }
            }
        };
        tokio::pin!(upload);
        // The pod's side says when it is over.
        tokio::select! {
            done = download => done,
            Err(why) = &mut upload => Err(why),
        }
    };
    let carried: io::Result<()> = carried.await;
    let port = target.1;
    let why = carried.err().map(|why| format!("failed to connect to port {port} inside the pod: {why}"));
    let _gone = back.send(Back::End { data, error, why }).await;
}
