//! Exec, Attach and PortForward as crictl and critest use them: by SPDY/3.1 and by WebSocket, with clients of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

/// What came on a stream, by its name.
type Heard = std::collections::BTreeMap<String, String>;

impl Runtime {
    async fn exec_url(&self, id: &str, command: &[&str], tty: bool, stdin: bool) -> Result<String, Status> {
        let request = proto::ExecRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            tty,
            stdin,
            stdout: true,
            stderr: !tty,
        };
        Ok(self.call::<proto::StreamingResponse>("Exec", request).await?.url)
    }

    async fn attach_url(&self, id: &str, stdin: bool) -> Result<String, Status> {
        let request =
            proto::AttachRequest { container_id: id.to_owned(), stdin, tty: false, stdout: true, stderr: true };
        Ok(self.call::<proto::StreamingResponse>("Attach", request).await?.url)
    }
}

/// Connects to a URL and asks for an upgrade; the connection and the head of the answer.
fn upgrade(url: &str, method: &str, fields: &[(&str, &str)]) -> (TcpStream, String) {
    let rest = url.strip_prefix("http://").expect("a URL");
    let (host, path) = rest.split_once('/').expect("a path");
    assert!(host.starts_with("127.0.0.1:"), "{url}");
    let mut connection = TcpStream::connect(host).expect("the stream server is there");
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(connection, "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n{fields}\r\n")
        .expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if connection.read(&mut byte).expect("an answer") == 0 {
            break;
        }
        head.push(byte[0]);
    }
    (connection, String::from_utf8(head).expect("text"))
}

/// A client that speaks SPDY as Kubernetes' do.
struct Spdy {
    connection: TcpStream,
    /// Within a WebSocket's messages; what of the last one was not read yet.
    tunnelled: bool,
    unread: Vec<u8>,
    names: Vec<String>,
    begun: bool,
    /// Streams that were accepted, and that were closed.
    replies: usize,
    closed: usize,
}

impl Spdy {
    fn connect(url: &str, protocols: &[&str]) -> Spdy {
        let mut fields = vec![("Upgrade", "SPDY/3.1")];
        fields.extend(protocols.iter().map(|protocol| ("X-Stream-Protocol-Version", *protocol)));
        let (connection, head) = upgrade(url, "POST", &fields);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains(&format!("X-Stream-Protocol-Version: {}\r\n", protocols[0])), "{head}");
        Spdy { connection, tunnelled: false, unread: vec![], names: vec![], begun: false, replies: 0, closed: 0 }
    }

    /// Connects as `crictl port-forward --transport websocket` does.
    fn in_websocket(url: &str) -> Spdy {
        let protocol = "SPDY/3.1+portforward.k8s.io";
        let connection = websocket(url, protocol);
        Spdy { connection, tunnelled: true, unread: vec![], names: vec![], begun: false, replies: 0, closed: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        if !self.tunnelled {
            return self.connection.write_all(bytes).expect("sent");
        }
        // In pieces, masked with zeros.
        for piece in bytes.chunks(100) {
            let head = [0x82, 0x80 | u8::try_from(piece.len()).expect("short"), 0, 0, 0, 0];
            self.connection.write_all(&[&head, piece].concat()).expect("sent");
        }
    }

    /// Reads so many bytes; none at the end of the connection.
    fn receive(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.tunnelled && self.unread.len() < count {
            let message = message(&mut self.connection)?;
            self.unread.extend(message);
        }
        if self.tunnelled {
            return Some(self.unread.drain(..count).collect());
        }
        let mut bytes = vec![0; count];
        self.connection.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// Makes a stream, and gives its number.
    fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = u32::try_from(self.names.len()).expect("few") * 2 + 1;
        self.names.push(headers[0].1.to_owned());
        let text = |text: &str| [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat();
        let mut plain = u32::try_from(headers.len()).expect("few").to_be_bytes().to_vec();
        for (name, value) in headers {
            plain.extend([text(name), text(value)].concat());
        }
        let mut body = [&id.to_be_bytes()[..], &[0; 6]].concat();
        if !self.begun {
            body.extend([0x78, 0x01]);
            self.begun = true;
        }
        let length = u16::try_from(plain.len()).expect("short");
        body.extend(
            [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &plain, &[0, 0, 0, 0xff, 0xff]].concat(),
        );
        self.frame(&[0x80, 3, 0, 1], 0, &body);
        id
    }

    fn data(&mut self, stream: u32, bytes: &[u8], fin: bool) {
        self.frame(&stream.to_be_bytes(), u8::from(fin), bytes);
    }

    fn frame(&mut self, head: &[u8; 4], flags: u8, body: &[u8]) {
        let [_, x, y, z] = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.send(&[&head[..], &[flags, x, y, z], body].concat());
    }

    /// Everything until all streams are closed, or until `enough`.
    fn hear(&mut self, enough: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = Heard::new();
        while !enough(&heard) {
            let Some(head) = self.receive(8) else { break };
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            let body = self.receive(length).expect("a whole frame");
            if head[0] & 0x80 == 0 {
                let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
                let name = self.names[id / 2].clone();
                heard.entry(name).or_default().push_str(std::str::from_utf8(&body).expect("text"));
                self.closed += usize::from(head[4] & 1 == 1);
            } else {
                self.replies += usize::from(head[3] == 2);
            }
            if self.closed == self.names.len() {
                assert_eq!(self.replies, self.names.len(), "each stream was accepted");
                break;
            }
        }
        heard
    }
}

/// Everything that a command leads to, by SPDY.
fn by_spdy(url: &str, streams: &[&str], input: &[u8]) -> Heard {
    let mut client = Spdy::connect(url, &["v4.channel.k8s.io", "v3.channel.k8s.io"]);
    for name in streams {
        client.open(&[("Streamtype", name)]);
    }
    if let Some(at) = streams.iter().position(|name| *name == "stdin") {
        client.data(u32::try_from(at).expect("few") * 2 + 1, input, true);
    }
    client.hear(|_| false)
}

/// A WebSocket with this protocol.
fn websocket(url: &str, protocol: &str) -> TcpStream {
    let fields = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", protocol),
    ];
    let (connection, head) = upgrade(url, "GET", &fields);
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(head.contains(&format!("Sec-WebSocket-Protocol: {protocol}\r\n")), "{head}");
    connection
}

/// The next message of a WebSocket; none at its end.
fn message(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    connection.read_exact(&mut head).expect("a frame");
    let length = match head[1] {
        126 => {
            let mut two = [0; 2];
            connection.read_exact(&mut two).expect("a length");
            usize::from(u16::from_be_bytes(two))
        }
        short => usize::from(short),
    };
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a whole frame");
    (head[0] != 0x88).then_some(body)
}

/// Everything that a command leads to, by WebSocket.
fn by_websocket(url: &str, protocol: &str, input: Option<&[u8]>) -> Heard {
    let mut connection = websocket(url, protocol);
    let mut send = |bytes: &[u8]| {
        // Masked with zeros.
        let frame = [&[0x82, 0x80 | u8::try_from(bytes.len()).expect("short"), 0, 0, 0, 0], bytes].concat();
        connection.write_all(&frame).expect("sent");
    };
    if let Some(input) = input {
        send(&[&[0], input].concat());
        send(&[255, 0]);
    }
    let mut heard = Heard::new();
    while let Some(body) = message(&mut connection) {
        let name = ["stdin", "stdout", "stderr", "error"][usize::from(body[0])];
        heard.entry(name.to_owned()).or_default().push_str(std::str::from_utf8(&body[1..]).expect("text"));
    }
    heard
}

fn part(heard: &Heard, name: &str) -> String {
    heard.get(name).cloned().unwrap_or_default()
}

/// The end as v4 tells it: the code.
fn end(heard: &Heard) -> String {
    let status: serde_json::Value = serde_json::from_str(&part(heard, "error")).expect("a status");
    match status["status"].as_str() {
        Some("Success") => "0".to_owned(),
        _ => status["details"]["causes"][0]["message"].as_str().expect("a cause").to_owned(),
    }
}

const COMMANDS: [(&[&str], &str, &str, &str); 5] = [
    (&["echo", "-n", "hello"], "hello", "", "0"),
    (&["sh", "-c", "echo out; echo err >&2; exit 7"], "out\n", "err\n", "7"),
    (&["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.05; done"], "1\n2\n3\n", "", "0"),
    (&["nslookup", "web"], "", "exec: \"nslookup\": executable file not found in $PATH\n", "127"),
    (&["ls", "/nothing"], "", "ls: /nothing: No such file or directory\n", "1"),
];

/// A server with a pod in which `top` runs.
async fn with_top(name: &str) -> (Runtime, String, String) {
    let runtime = start(name, &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    let id = runtime.started(&sandbox, &config("app", &["top"])).await;
    (runtime, sandbox, id)
}

#[tokio::test]
async fn a_command_is_executed_by_spdy_and_its_code_comes_on_the_error_stream() {
    let (runtime, _, id) = with_top("spdy").await;
    for (command, out, err, code) in COMMANDS {
        let url = runtime.exec_url(&id, command, false, false).await.unwrap();
        let heard = by_spdy(&url, &["error", "stdout", "stderr"], b"");
        assert_eq!((part(&heard, "stdout"), part(&heard, "stderr")), (out.to_owned(), err.to_owned()), "{command:?}");
        assert_eq!(end(&heard), code, "{command:?}");
    }
    let url = runtime.exec_url(&id, &["cat"], false, true).await.unwrap();
    let heard = by_spdy(&url, &["error", "stdin", "stdout", "stderr"], b"a\nb");
    assert_eq!((part(&heard, "stdout").as_str(), end(&heard).as_str()), ("a\nb", "0"), "input goes through");
}

#[tokio::test]
async fn a_command_is_executed_by_websocket_too() {
    let (runtime, _, id) = with_top("websocket").await;
    for protocol in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        for (command, out, err, code) in COMMANDS {
            let url = runtime.exec_url(&id, command, false, false).await.unwrap();
            let heard = by_websocket(&url, protocol, None);
            assert_eq!((part(&heard, "stdout").as_str(), part(&heard, "stderr").as_str()), (out, err), "{command:?}");
            assert_eq!(end(&heard), code, "{command:?}");
        }
    }
    let url = runtime.exec_url(&id, &["cat"], false, true).await.unwrap();
    let heard = by_websocket(&url, "v5.channel.k8s.io", Some(b"through\n"));
    assert_eq!((part(&heard, "stdout").as_str(), end(&heard).as_str()), ("through\n", "0"));
}

#[tokio::test]
async fn a_terminal_shows_what_is_typed_and_a_command_with_one_needs_no_input_to_end() {
    let (runtime, _, id) = with_top("terminal").await;
    let url = runtime.exec_url(&id, &["echo", "-n", "hello"], true, true).await.unwrap();
    let mut client = Spdy::connect(&url, &["v4.channel.k8s.io"]);
    for name in ["error", "stdin", "stdout", "resize"] {
        client.open(&[("Streamtype", name)]);
    }
    assert_eq!(part(&client.hear(|_| false), "stdout"), "hello");
    let url = runtime.exec_url(&id, &["sh"], true, true).await.unwrap();
    let mut client = Spdy::connect(&url, &["v4.channel.k8s.io"]);
    let ids = ["error", "stdin", "stdout", "resize"].map(|name| client.open(&[("Streamtype", name)]));
    client.data(ids[3], br#"{"Width":80,"Height":24}"#, false);
    client.data(ids[1], b"hostname\rstty size\rexit 3\r", false);
    let heard = client.hear(|_| false);
    assert_eq!(end(&heard), "3");
    let shown = part(&heard, "stdout");
    assert!(shown.contains("hostname\r\n") && shown.contains("web\r\n") && shown.contains("/ # "), "{shown:?}");
    assert!(shown.contains("24 80\r\n"), "the terminal has the size that was told: {shown:?}");
}

#[tokio::test]
async fn a_url_is_good_once_and_only_for_who_asks_rightly() {
    let (runtime, sandbox, id) = with_top("urls").await;
    let url = runtime.exec_url(&id, &["true"], false, false).await.unwrap();
    by_spdy(&url, &["error", "stdout", "stderr"], b"");
    let spdy = ("Upgrade", "SPDY/3.1");
    let status = |url: &str, fields: &[(&str, &str)]| upgrade(url, "POST", fields).1[9..12].to_owned();
    assert_eq!(status(&url, &[spdy]), "404", "it was used");
    let url = runtime.exec_url(&id, &["true"], false, false).await.unwrap();
    assert_eq!(status(&url, &[("Upgrade", "h2c")]), "400");
    let url = runtime.exec_url(&id, &["true"], false, false).await.unwrap();
    assert_eq!(status(&url, &[spdy, ("X-Stream-Protocol-Version", "v9.channel.k8s.io")]), "403");
    assert_eq!(status(&url.replace("/exec/", "/shell/"), &[spdy]), "404");

    let exec = |tty, stdout, stderr| proto::ExecRequest {
        container_id: id.clone(),
        cmd: vec!["true".to_owned()],
        tty,
        stdin: false,
        stdout,
        stderr,
    };
    assert_eq!(code(runtime.done("Exec", exec(true, true, true)).await), Code::InvalidArgument);
    assert_eq!(code(runtime.done("Exec", exec(false, false, false)).await), Code::InvalidArgument);
    assert_eq!(code(runtime.exec_url("nothing", &["true"], false, false).await), Code::NotFound);
    assert_eq!(code(runtime.attach_url("nothing", false).await), Code::NotFound);
    let waits = runtime.create(&sandbox, &config("waits", &["top"])).await.unwrap();
    assert_eq!(code(runtime.exec_url(&waits, &["true"], false, false).await), Code::Unknown, "it does not run");
}

#[tokio::test]
async fn a_shell_with_input_is_attached_to_and_ends_with_its_only_client() {
    let (runtime, sandbox, _) = with_top("attach").await;
    let shell = proto::ContainerConfig { stdin: true, stdin_once: true, ..config("shell", &["/bin/sh"]) };
    let id = runtime.started(&sandbox, &shell).await;
    assert_eq!(runtime.status(&id).await.unwrap().state(), proto::ContainerState::Running, "it waits for input");
    let mut client = Spdy::connect(&runtime.attach_url(&id, true).await.unwrap(), &["v4.channel.k8s.io"]);
    let ids = ["error", "stdin", "stdout", "stderr"].map(|name| client.open(&[("Streamtype", name)]));
    client.data(ids[1], b"echo -n hello\n", false);
    let heard = client.hear(|heard| heard.contains_key("stdout"));
    assert_eq!(part(&heard, "stdout"), "hello");
    client.data(ids[1], b"", true);
    assert_eq!(end(&client.hear(|_| false)), "0");
    assert_eq!(runtime.exited(&id).await.exit_code, 0);
    // One that only writes is listened to.
    let ticks =
        runtime.started(&sandbox, &config("ticks", &["sh", "-c", "while true; do echo tick; sleep 0.1; done"])).await;
    let mut client = Spdy::connect(&runtime.attach_url(&ticks, false).await.unwrap(), &["v4.channel.k8s.io"]);
    for name in ["error", "stdout", "stderr"] {
        client.open(&[("Streamtype", name)]);
    }
    let heard = client.hear(|heard| part(heard, "stdout").matches("tick\n").count() > 1);
    assert!(part(&heard, "stdout").starts_with("tick\n"));
}

#[tokio::test]
async fn a_command_ends_with_its_container() {
    let (runtime, _, id) = with_top("killed").await;
    let url = runtime.exec_url(&id, &["sh", "-c", "echo begun; sleep 1d"], false, false).await.unwrap();
    let mut client = Spdy::connect(&url, &["v4.channel.k8s.io"]);
    for name in ["error", "stdout", "stderr"] {
        client.open(&[("Streamtype", name)]);
    }
    client.hear(|heard| part(heard, "stdout") == "begun\n");
    runtime.done("StopContainer", proto::StopContainerRequest { container_id: id, timeout: 0 }).await.unwrap();
    assert_eq!(end(&client.hear(|_| false)), "137");
}

/// Port 18080 answers, 18081 does not.
fn check_forwarding(client: &mut Spdy) {
    let pair = |client: &mut Spdy, port: &str, request: &str| {
        let headers = |kind| [("Streamtype", kind), ("Port", port), ("Requestid", request)];
        let error = client.open(&headers("error"));
        client.data(error, b"", true);
        client.open(&headers("data"))
    };
    let data = pair(client, "18080", "0");
    client.data(data, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false);
    let heard = client.hear(|heard| part(heard, "data").contains("simulated"));
    assert!(part(&heard, "data").starts_with("HTTP/1.1 200 OK\r\n"), "{heard:?}");
    pair(client, "18081", "1");
    let heard = client.hear(|heard| !part(heard, "error").is_empty());
    assert!(part(&heard, "error").contains("failed to connect to port 18081 inside the pod"), "{heard:?}");
}

#[tokio::test]
async fn a_port_of_a_pod_is_forwarded_by_spdy_and_within_a_websocket_and_one_where_nobody_listens_is_an_error() {
    let (runtime, sandbox, _) = with_top("forward").await;
    let mut served = config("served", &[]);
    served.annotations = map(&[("io.kubernetes.container.ports", r#"[{"containerPort":18080,"protocol":"TCP"}]"#)]);
    runtime.started(&sandbox, &served).await;
    let request = proto::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![] };
    let url = runtime.call::<proto::StreamingResponse>("PortForward", request).await.unwrap().url;
    check_forwarding(&mut Spdy::connect(&url, &["portforward.k8s.io"]));
    let request = proto::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![] };
    let url = runtime.call::<proto::StreamingResponse>("PortForward", request).await.unwrap().url;
    check_forwarding(&mut Spdy::in_websocket(&url));
    let nothing = proto::PortForwardRequest { pod_sandbox_id: "nothing".to_owned(), port: vec![] };
    assert_eq!(code(runtime.done("PortForward", nothing).await), Code::NotFound);
}
