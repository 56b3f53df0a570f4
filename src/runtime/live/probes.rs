//! Probes and hooks, done for real: HTTP, TCP and gRPC against the pod's address, commands in the container.
//!
//! Kubernetes: pkg/probe/{http,tcp,grpc,exec}, pkg/kubelet/lifecycle/handlers.go, whose words these are.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kernel::Duration;
use crate::model::pod::{Handler, PortRef};
use crate::model::{Container, Name, Text};
use crate::protocol::cri::{Answer, Call, Code, ContainerId};
use crate::protocol::probe::{Outcome, Purpose, Request};

use super::client::Client;
use super::tls;
use super::wire::{Outgoing, Wire};

/// A body longer than this is cut (pkg/probe/http/http.go, maxRespBodyLength).
const LONGEST_BODY: usize = 10 * 1024;
/// As Go's HTTP client.
const MOST_REDIRECTS: usize = 10;

/// Does it.
pub async fn probe(client: &Client, wire: &Mutex<Wire>, request: &Request) -> Outcome {
    let Some(spec) = request.spec.get(request.index as usize) else {
        return Outcome::Error("no such container".into());
    };
    let handler = match request.purpose {
        Purpose::Startup => spec.startup.as_ref().map(|probe| &probe.handler),
        Purpose::Readiness => spec.readiness.as_ref().map(|probe| &probe.handler),
        Purpose::Liveness => spec.liveness.as_ref().map(|probe| &probe.handler),
        Purpose::PostStart => spec.post_start.as_deref(),
        Purpose::PreStop => spec.pre_stop.as_deref(),
    };
    let is_hook = matches!(request.purpose, Purpose::PostStart | Purpose::PreStop);
    let timeout = request.timeout;
    match handler {
        None => Outcome::Error(format!("missing probe handler for {}", spec.name).into()),
        Some(Handler::Exec { command }) => exec(client, wire, request.container, command, timeout, is_hook).await,
        Some(Handler::HttpGet { path, port, host, https, headers }) => match port_of(*port, spec) {
            Err(problem) => Outcome::Error(problem),
            Ok(port) => {
                let host = if host.is_empty() { request.ip.to_string() } else { host.to_string() };
                let start = Url { https: *https, host, port, path: path.to_string() };
                let outcome = http(start.clone(), headers, timeout, is_hook).await;
                match &outcome {
                    // A hook whose server has no TLS is done without, as Kubernetes did it before it knew HTTPS there.
                    Outcome::Failure(why) if is_hook && *https && why.ends_with(tls::HTTP_RESPONSE) => {
                        let address = start.address();
                        match http(Url { https: false, ..start }, headers, timeout, is_hook).await {
                            Outcome::Success => Outcome::Warning(
                                format!(
                                    "request to HTTPS lifecycle hook {address} got HTTP response, retry with HTTP succeeded"
                                )
                                .into(),
                            ),
                            _ => outcome,
                        }
                    }
                    _ => outcome,
                }
            }
        },
        Some(Handler::TcpSocket { port, host }) => match port_of(*port, spec) {
            Err(problem) => Outcome::Error(problem),
            Ok(_) if is_hook => Outcome::Failure("invalid handler".into()),
            Ok(port) => tcp(*host, request.ip, port, timeout).await,
        },
        Some(Handler::Grpc { port, service, .. }) => {
            if is_hook {
                return Outcome::Failure("invalid handler".into());
            }
            grpc(request.ip, *port, service, timeout).await
        }
        Some(Handler::Sleep(length)) => {
            tokio::time::sleep(plain(*length)).await;
            Outcome::Success
        }
    }
}

fn plain(length: Duration) -> std::time::Duration {
    std::time::Duration::from_nanos(length.as_nanos())
}

/// Within `timeout`, unless that is zero.
async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
    if timeout.is_zero() { Some(work.await) } else { tokio::time::timeout(plain(timeout), work).await.ok() }
}

fn port_of(port: PortRef, spec: &Container) -> Result<u16, Text> {
    match port {
        PortRef::Number(port) => Ok(port),
        PortRef::Name(name) => match spec.ports.iter().find(|declared| declared.name == name) {
            Some(declared) => Ok(declared.port),
            None => Err(format!("couldn't find port: {name} in {}", spec.name).into()),
        },
    }
}

async fn exec(
    client: &Client,
    wire: &Mutex<Wire>,
    container: ContainerId,
    command: &[Text],
    timeout: Duration,
    is_hook: bool,
) -> Outcome {
    let call = Call::ExecSync { container, command: command.into(), timeout };
    match client.call(wire, &call).await {
        Ok(Answer::Exec { exit_code: 0, .. }) => Outcome::Success,
        Ok(Answer::Exec { exit_code, output }) if is_hook => {
            let words = words(command);
            Outcome::Failure(format!("command '{words}' exited with {exit_code}: {output}").into())
        }
        Ok(Answer::Exec { output, .. }) => Outcome::Failure(output),
        Ok(_) => Outcome::Error("unexpected answer of the runtime".into()),
        Err(error) if error.code == Code::DeadlineExceeded => {
            let words = words(command);
            Outcome::Failure(format!("command timed out: \"{words}\" timed out after {timeout}").into())
        }
        Err(error) if is_hook => Outcome::Failure(error.to_string().into()),
        Err(error) => Outcome::Error(error.to_string().into()),
    }
}

fn words(command: &[Text]) -> String {
    command.iter().map(Text::as_str).collect::<Vec<_>>().join(" ")
}

async fn tcp(host: Name, ip: Ipv4Addr, port: u16, timeout: Duration) -> Outcome {
    let address = if host.is_empty() { format!("{ip}:{port}") } else { format!("{host}:{port}") };
    match within(timeout, TcpStream::connect(&address)).await {
        Some(Ok(_)) => Outcome::Success,
        Some(Err(error)) => Outcome::Failure(dial_error(&address, &error).into()),
        None => Outcome::Failure(format!("dial tcp {address}: i/o timeout").into()),
    }
}

fn dial_error(address: &str, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: {why}")
}

#[derive(Clone, Debug)]
struct Url {
    https: bool,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn target(&self) -> String {
        if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) }
    }

    fn get(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("Get \"{scheme}://{}{}\"", self.address(), self.target())
    }

    /// Where a `Location` leads: None if it is another host, to which probes do not go.
    fn follow(&self, location: &str) -> Option<Url> {
        let (https, rest) = match (location.strip_prefix("http://"), location.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) if location.contains("://") => return None,
            (None, None) => return Some(Url { path: self.beside(location), ..self.clone() }),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, if https { 443 } else { 80 }),
        };
        (host == self.host).then(|| Url { https, host: host.to_owned(), port, path: format!("/{path}") })
    }

    /// The path of a reference without a host, which may be relative to this one.
    fn beside(&self, location: &str) -> String {
        if location.starts_with('/') {
            return location.to_owned();
        }
        let target = self.target();
        let path = target.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if location.starts_with('?') { format!("{path}{location}") } else { format!("{folder}/{location}") }
    }
}

struct HttpAnswer {
    status: u16,
    location: Option<String>,
    /// What came with the head, at most [`LONGEST_BODY`].
    body: String,
}

async fn http(start: Url, headers: &[(Name, Text)], timeout: Duration, is_hook: bool) -> Outcome {
    let timed_out =
        format!("{}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", start.get());
    let work = async {
        let mut url = start.clone();
        for _ in 0..MOST_REDIRECTS {
            let answer = get(&url, headers).await.map_err(|why| format!("{}: {why}", url.get()))?;
            let next = answer.location.as_deref().filter(|_| (300..400).contains(&answer.status) && !is_hook);
            match next.map(|location| url.follow(location)) {
                Some(Some(next)) => url = next,
                // Another host is not asked: the answer counts as success, with a warning.
                Some(None) => return Ok((answer.status, Some(answer.body))),
                None => return Ok((answer.status, None)),
            }
        }
        Err(format!("{}: stopped after 10 redirects", start.get()))
    };
    match within(timeout, work).await {
        // Any response will do for a hook.
        Some(Ok((_, Some(body)))) => {
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}").into())
        }
        Some(Ok((status, None))) if is_hook || (200..400).contains(&status) => Outcome::Success,
        Some(Ok((status, None))) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}").into()),
        Some(Err(why)) => Outcome::Failure(why.into()),
        None => Outcome::Failure(timed_out.into()),
    }
}

/// One request, until its head is there: nothing but a warning shows a body.
async fn get(url: &Url, headers: &[(Name, Text)]) -> Result<HttpAnswer, String> {
    let address = url.address();
    let stream = TcpStream::connect(&address).await.map_err(|error| dial_error(&address, &error))?;
    if url.https {
        let stream = tls::connect(&url.host, stream).await?;
        return exchange(stream, url, headers).await;
    }
    exchange(stream, url, headers).await
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &Url,
    headers: &[(Name, Text)],
) -> Result<HttpAnswer, String> {
    let address = url.address();
    let mut request = format!("GET {} HTTP/1.1\r\n", url.target());
    let usual = [("Host", address.as_str()), ("User-Agent", "kube-probe/1.36"), ("Accept", "*/*")];
    let is_said = |name: &str| headers.iter().any(|(said, _)| said.eq_ignore_ascii_case(name));
    for (name, value) in usual.into_iter().filter(|(name, _)| !is_said(name)) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    // An empty value leaves a header out, as kubelet users expect of `Accept`.
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let read = stream.read(&mut buffer).await.map_err(|error| format!("read tcp {address}: {error}"))?;
        head.extend_from_slice(&buffer[..read]);
        let is_whole = head.windows(4).any(|four| four == b"\r\n\r\n") || head.windows(2).any(|two| two == b"\n\n");
        if read == 0 || is_whole || head.len() > LONGEST_BODY {
            break;
        }
    }
    if head.is_empty() {
        return Err("EOF".to_owned());
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let Some(status) = status else {
        return Err(format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response \"{first}\""));
    };
    let location = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    let body = text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")).map_or("", |(_, body)| body);
    Ok(HttpAnswer { status, location, body: body.to_owned() })
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = 1)]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`; 1 is SERVING.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = 1)]
    status: i32,
}

async fn grpc(ip: Ipv4Addr, port: u16, service: &str, timeout: Duration) -> Outcome {
    use prost::Message as _;
    let address = format!("{ip}:{port}");
    let body = HealthCheckRequest { service: service.to_owned() }.encode_to_vec().into();
    let work = async {
        let client = Client::over_tcp(&address).await?;
        let path = "/grpc.health.v1.Health/Check";
        Some(client.unary(Outgoing { path, body }, None).await)
    };
    let timed_out = || {
        let text =
            format!("timeout: failed to connect service \"{address}\" within {timeout}: context deadline exceeded");
        Outcome::Failure(text.into())
    };
    match within(timeout, work).await {
        None | Some(None) => timed_out(),
        Some(Some(Ok(body))) => match HealthCheckResponse::decode(body) {
            Ok(response) if response.status == 1 => Outcome::Success,
            Ok(response) => {
                let name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
                let name = name.get(usize::try_from(response.status).unwrap_or(0)).unwrap_or(&"UNKNOWN");
                Outcome::Failure(format!("service unhealthy (responded with \"{name}\")").into())
            }
            Err(error) => Outcome::Failure(format!("error: health rpc probe failed: {error}").into()),
        },
        Some(Some(Err(status))) => match status.code() {
            tonic::Code::Unimplemented => {
                let text = format!(
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                    status.message()
                );
                Outcome::Failure(text.into())
            }
            tonic::Code::DeadlineExceeded => {
                Outcome::Failure(format!("timeout: health rpc did not complete within {timeout}").into())
            }
            _ => Outcome::Failure(format!("error: health rpc probe failed: {}", status.message()).into()),
        },
    }
}
