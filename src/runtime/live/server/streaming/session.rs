//! An executed command or an attached client: which stream is which, what goes where, and how the end is told.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand/{exec,httpstream,websocket}.go.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration as Length;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::Server;
use super::super::process::Remote;
use super::super::shell::{Piece, Size, Stream};
use super::spdy::{self, Frame};
use super::websocket::{self, Message};
use super::{Head, Streams, Wanted, refuse, switch, terminal};

/// The protocols over SPDY. All but the oldest two tell an exit code; those say the same in words.
const OVER_SPDY: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// The protocols over WebSocket.
const OVER_WEBSOCKET: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];

/// What a session tells the side that carries it.
enum Event {
    Piece(Piece),
    /// It is over: the exit code, or why it could not be.
    End(Result<i32, String>),
}

/// A session under way: what comes out of it, and where its input goes.
struct Session {
    events: mpsc::Receiver<Event>,
    input: Option<mpsc::UnboundedSender<Vec<u8>>>,
    size: Size,
}

impl Wanted {
    fn streams(&self) -> Streams {
        match self {
            Wanted::Exec { streams, .. } | Wanted::Attach { streams, .. } => *streams,
            Wanted::Forward { .. } => Streams { stdin: false, stdout: false, stderr: false, tty: false },
        }
    }
}

impl Server {
    /// Starts what is wanted. Dropping the session's receiver ends it.
    fn begin(self: &Arc<Server>, wanted: Wanted) -> Session {
        let streams = wanted.streams();
        let (events_in, events) = mpsc::channel(64);
        let (pieces, mut written) = mpsc::channel::<Piece>(64);
        let (input, read) = mpsc::unbounded_channel();
        let server = Arc::clone(self);
        let size = match &wanted {
            Wanted::Attach { container, .. } => self.processes.size_of(self.container_named(container)),
            _ => None,
        };
        let size = size.unwrap_or_default();
        let told = size.clone();
        tokio::spawn(async move {
            let outcome = async {
                let input = streams.stdin.then_some(read);
                match wanted {
                    Wanted::Exec { container, command, .. } => {
                        let (id, kept) = server.running(&container).await.map_err(|why| why.message().to_owned())?;
                        let remote = Remote { input, output: pieces, tty: streams.tty, size };
                        let remote = if streams.tty { terminal::behind(remote) } else { remote };
                        Ok(server.exec(id, &kept, command, remote).await)
                    }
                    Wanted::Attach { container, .. } => {
                        let (id, kept) = server.running(&container).await.map_err(|why| why.message().to_owned())?;
                        let remote = Remote { input, output: pieces, tty: streams.tty, size };
                        let remote = if streams.tty { terminal::behind(remote) } else { remote };
                        server.attach(id, &kept, remote).await;
                        Ok(0)
                    }
                    Wanted::Forward { .. } => Err("this is no session".to_owned()),
                }
            };
            tokio::pin!(outcome);
            let mut code = None;
            // Output that came before the end is told before it.
            loop {
                tokio::select! {
                    biased;
                    piece = written.recv() => match (piece, &code) {
                        (Some(piece), _) => {
                            if events_in.send(Event::Piece(piece)).await.is_err() {
                                return;
                            }
                        }
                        (None, Some(_)) => break,
                        // All writers are gone, so the end is near.
                        (None, None) => {
                            code = Some(outcome.await);
                            break;
                        }
                    },
                    ended = &mut outcome, if code.is_none() => code = Some(ended),
                    () = events_in.closed() => return,
                }
            }
            let _gone = events_in.send(Event::End(code.unwrap_or(Ok(0)))).await;
        });
        Session { events, input: streams.stdin.then_some(input), size: told }
    }

    /// A client that speaks SPDY: it makes a stream for each of error, stdin, stdout, stderr and resize.
    pub(super) async fn by_spdy(
        self: Arc<Server>,
        mut connection: BufReader<TcpStream>,
        head: &Head,
        wanted: Wanted,
    ) -> io::Result<()> {
        // Who names no protocol speaks the first one.
        let asks = head.values("x-stream-protocol-version").next().is_some();
        let Some(protocol) = head.chosen("x-stream-protocol-version", &OVER_SPDY).or((!asks).then_some("")) else {
            let text = "unable to upgrade: none of the protocols that were offered is supported";
            return refuse(&mut connection, "403 Forbidden", text).await;
        };
        let streams = wanted.streams();
        switch(&mut connection, "SPDY/3.1", &[("X-Stream-Protocol-Version", protocol)]).await?;
        let (source, mut sink) = tokio::io::split(connection);
        let mut frames = frames_of(source);
        let mut writer = spdy::Writer::default();
        let has_resize = streams.tty && matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
        let expected: Vec<&str> = [
            (true, "error"),
            (streams.stdin, "stdin"),
            (streams.stdout, "stdout"),
            (streams.stderr && !streams.tty, "stderr"),
            (has_resize, "resize"),
        ]
        .into_iter()
        .filter_map(|(wanted, name)| wanted.then_some(name))
        .collect();
        let mut ids: BTreeMap<String, u32> = BTreeMap::new();
        let mut early = Vec::new();
        // All streams must be there within a while.
        let collected = tokio::time::timeout(Length::from_secs(30), async {
            while !expected.iter().all(|name| ids.contains_key(*name)) {
                match frames.recv().await {
                    Some(Frame::SynStream { stream, headers, .. }) => {
                        sink.write_all(&writer.syn_reply(stream)).await?;
                        let kind = headers.into_iter().find(|(name, _)| name == "streamtype").map(|(_, kind)| kind);
                        ids.insert(kind.unwrap_or_default(), stream);
                    }
                    Some(Frame::Ping { id }) => sink.write_all(&spdy::Writer::ping(id)).await?,
                    Some(data @ Frame::Data { .. }) => early.push(data),
                    Some(_) => {}
                    None => return Err(io::Error::other("the client has gone")),
                }
            }
            Ok(())
        });
        collected.await.map_err(io::Error::other)??;
        let id = |name: &str| ids.get(name).copied();
        let mut session = self.begin(wanted);
        let mut early = early.into_iter();
        loop {
            if let Some(frame) = early.next() {
                session.take(frame, &id);
                continue;
            }
            tokio::select! {
                event = session.events.recv() => match event {
                    Some(Event::Piece((stream, bytes))) => {
                        let name = if stream == Stream::Out { "stdout" } else { "stderr" };
                        if let Some(id) = id(name) {
                            sink.write_all(&spdy::Writer::data(id, &bytes, false)).await?;
                        }
                    }
                    Some(Event::End(outcome)) => {
                        let error = id("error").unwrap_or(1);
                        let told = if protocol == "v4.channel.k8s.io" { status(&outcome) } else { words(&outcome) };
                        let mut last = spdy::Writer::data(error, told.as_bytes(), true);
                        for stream in ids.values().filter(|stream| **stream != error) {
                            last.extend(spdy::Writer::data(*stream, &[], true));
                        }
                        last.extend(spdy::Writer::go_away(ids.values().max().copied().unwrap_or(0)));
                        sink.write_all(&last).await?;
                        break;
                    }
                    None => break,
                },
                frame = frames.recv() => match frame {
                    Some(Frame::Ping { id }) => sink.write_all(&spdy::Writer::ping(id)).await?,
                    Some(Frame::SynStream { stream, .. }) => sink.write_all(&spdy::Writer::reset(stream)).await?,
                    Some(frame) => session.take(frame, &id),
                    // The client has gone, and with it its command.
                    None => return Ok(()),
                },
            }
        }
        sink.flush().await?;
        // The client closes when it has read all; one that does not is left.
        let _closed =
            tokio::time::timeout(Length::from_secs(5), async { while frames.recv().await.is_some() {} }).await;
        sink.shutdown().await
    }

    /// A client that speaks WebSocket: the first byte of each message says which stream it is of.
    pub(super) async fn by_websocket(
        self: Arc<Server>,
        mut connection: BufReader<TcpStream>,
        head: &Head,
        wanted: Wanted,
    ) -> io::Result<()> {
        let asks = head.values("sec-websocket-protocol").next().is_some();
        let chosen = head.chosen("sec-websocket-protocol", &OVER_WEBSOCKET);
        let (Some(key), Some(protocol)) = (head.value("sec-websocket-key"), chosen.or((!asks).then_some(""))) else {
            let text = "unable to upgrade: none of the protocols that were offered is supported";
            return refuse(&mut connection, "400 Bad Request", text).await;
        };
        let accept = websocket::accept(key);
        let mut fields = vec![("Sec-WebSocket-Accept", accept.as_str())];
        if !protocol.is_empty() {
            fields.push(("Sec-WebSocket-Protocol", protocol));
        }
        let streams = wanted.streams();
        switch(&mut connection, "websocket", &fields).await?;
        let (mut source, mut sink) = tokio::io::split(connection);
        let (messages_in, mut messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(message)) = websocket::read(&mut source).await {
                if messages_in.send(message).is_err() {
                    return;
                }
            }
        });
        // An empty message on the first stream that is read says that all is well.
        let first = if streams.stdout {
            1
        } else if streams.stderr {
            2
        } else {
            3
        };
        sink.write_all(&websocket::binary(&[first])).await?;
        let mut session = self.begin(wanted);
        let told = loop {
            tokio::select! {
                event = session.events.recv() => match event {
                    Some(Event::Piece((stream, bytes))) => {
                        let number = if stream == Stream::Out { 1 } else { 2 };
                        for chunk in bytes.chunks(32 << 10) {
                            sink.write_all(&websocket::binary(&[&[number], chunk].concat())).await?;
                        }
                    }
                    Some(Event::End(outcome)) => {
                        break if protocol.starts_with('v') { status(&outcome) } else { words(&outcome) };
                    }
                    None => return Ok(()),
                },
                message = messages.recv() => match message.map(|message| (message, session.input.as_ref())) {
                    Some((Message::Data(bytes), input)) => match bytes.split_first() {
                        Some((0, bytes)) => {
                            if let Some(input) = input {
                                let _gone = input.send(bytes.to_vec());
                            }
                        }
                        Some((4, bytes)) => session.resize(bytes),
                        // v5: a stream is closed.
                        Some((255, [0])) => session.input = None,
                        _ => {}
                    },
                    Some((Message::Ping(bytes), _)) => sink.write_all(&websocket::pong(&bytes)).await?,
                    Some((Message::Pong, _)) => {}
                    Some((Message::Close, _)) | None => return Ok(()),
                },
            }
        };
        sink.write_all(&websocket::binary(&[&[3], told.as_bytes()].concat())).await?;
        sink.write_all(&websocket::close()).await?;
        sink.flush().await?;
        let closed = async { while !matches!(messages.recv().await, None | Some(Message::Close)) {} };
        let _closed = tokio::time::timeout(Length::from_secs(5), closed).await;
        sink.shutdown().await
    }
}

impl Session {
    /// Takes what a client sent: input, or its end.
    fn take(&mut self, frame: Frame, id: &dyn Fn(&str) -> Option<u32>) {
        let stdin = id("stdin");
        match frame {
            Frame::Data { stream, bytes, .. } if Some(stream) == id("resize") => self.resize(&bytes),
            Frame::Data { stream, bytes, fin } if Some(stream) == stdin => {
                if let Some(input) = &self.input {
                    let _gone = input.send(bytes);
                }
                if fin {
                    self.input = None;
                }
            }
            Frame::Reset { stream } if Some(stream) == stdin => self.input = None,
            _ => {}
        }
    }

    /// `{"Width":80,"Height":24}`; one a message, as all clients send them.
    fn resize(&self, bytes: &[u8]) {
        let Ok(told) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
        let side =
            |name: &str| told.get(name).and_then(serde_json::Value::as_u64).and_then(|side| side.try_into().ok());
        if let (Some(columns), Some(rows)) = (side("Width"), side("Height")) {
            self.size.set(rows, columns);
        }
    }
}

/// The frames of a connection, which can be waited for beside other things.
pub(super) fn frames_of(source: impl AsyncRead + Unpin + Send + 'static) -> mpsc::UnboundedReceiver<Frame> {
    let (sender, frames) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut reader = spdy::Reader::new(source);
        while let Ok(Some(frame)) = reader.frame().await {
            if sender.send(frame).is_err() {
                return;
            }
        }
    });
    frames
}

/// The end as a `metav1.Status`.
fn status(outcome: &Result<i32, String>) -> String {
    let status = match outcome {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(why) => json!({
            "metadata": {},
            "status": "Failure",
            "message": why,
            "reason": "InternalError",
            "details": { "causes": [{ "message": why }] },
            "code": 500,
        }),
    };
    status.to_string()
}

/// The end as the older protocols tell it: nothing if all is well.
fn words(outcome: &Result<i32, String>) -> String {
    match outcome {
        Ok(0) => String::new(),
        Ok(code) => format!("command terminated with non-zero exit code: exit status {code}"),
        Err(why) => why.clone(),
    }
}
