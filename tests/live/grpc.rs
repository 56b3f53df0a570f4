//! gRPC servers for tests: one that stands between simlet and a runtime and fails as it is told, and one that says of
//! services whether they are well.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use prost::Message as _;
use prost::bytes::Bytes;
use simlet::runtime::live::codec::RawCodec;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::codegen::http;
use tonic::{Code, Request, Response, Status};

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;
type Handler = Arc<dyn Fn(String, Bytes) -> Answer + Send + Sync>;

/// Answers whatever method is asked for.
#[derive(Clone)]
struct Front(Handler);

impl tower::Service<http::Request<tonic::body::Body>> for Front {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let (handler, path) = (Arc::clone(&self.0), request.uri().path().to_owned());
        Box::pin(async move {
            let service = tower::service_fn(move |request: Request<Bytes>| {
                let answer = handler(path.clone(), request.into_inner());
                async move { answer.await.map(Response::new) }
            });
            Ok(tonic::server::Grpc::new(RawCodec).unary(service, request).await)
        })
    }
}

/// Runs until the test's process ends.
#[expect(clippy::disallowed_methods, reason = "what is real lives on another thread")]
fn in_the_background<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work());
    });
}

/// A socket before a runtime's.
pub struct Proxy {
    pub address: String,
    failing: Arc<Mutex<Vec<Failing>>>,
}

/// The next calls of a method fail whose request has these bytes in it.
struct Failing {
    method: &'static str,
    about: &'static str,
    times: usize,
    status: Status,
}

impl Proxy {
    /// Serves on `socket` what the runtime on `behind` answers.
    pub fn start(socket: PathBuf, behind: PathBuf) -> Proxy {
        let failing: Arc<Mutex<Vec<Failing>>> = Arc::default();
        let rules = Arc::clone(&failing);
        let address = format!("unix://{}", socket.display());
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("a socket that waits for nobody");
        in_the_background(move || async move {
            let connector = tower::service_fn(move |_| {
                let behind = behind.clone();
                async move { tokio::net::UnixStream::connect(behind).await.map(hyper_util::rt::TokioIo::new) }
            });
            let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
            let channel = endpoint.connect_with_connector_lazy(connector);
            let handler: Handler = Arc::new(move |path, body| {
                let method = path.rsplit('/').next().unwrap_or_default();
                let mut rules = rules.lock().expect("the rules");
                let is_about =
                    |text: &str| text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes());
                let met = |rule: &&mut Failing| rule.method == method && rule.times > 0 && is_about(rule.about);
                let rule = rules.iter_mut().find(met);
                let status = rule.map(|rule| {
                    rule.times -= 1;
                    rule.status.clone()
                });
                let mut runtime = tonic::client::Grpc::new(channel.clone());
                Box::pin(async move {
                    if let Some(status) = status {
                        return Err(status);
                    }
                    runtime.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
                    let path = path.parse().expect("a path");
                    runtime.unary(Request::new(body), path, RawCodec).await.map(Response::into_inner)
                })
            });
            let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
            let incoming = UnixListenerStream::new(listener);
            let served = tonic::transport::Server::builder().serve_with_incoming(Front(handler), incoming).await;
            served.expect("the proxy serves");
        });
        Proxy { address, failing }
    }

    /// From now on the next calls of a method, whose request has this text in it, fail so often.
    pub fn fails(&self, method: &'static str, about: &'static str, times: usize, code: Code, message: &str) {
        let status = Status::new(code, message);
        self.failing.lock().expect("the rules").push(Failing { method, about, times, status });
    }

    /// How many of the failures that were asked for are still to come.
    pub fn to_come(&self) -> usize {
        self.failing.lock().expect("the rules").iter().map(|rule| rule.times).sum()
    }
}

/// `grpc.health.v1`: a request has the service's name, the answer its state, both as their first field.
#[derive(Clone, PartialEq, prost::Message)]
struct Check {
    #[prost(string, tag = 1)]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct State {
    #[prost(int32, tag = 1)]
    status: i32,
}

/// Serves health checks on a port of all addresses, and gives the port: of the services, those named so are SERVING, all
/// others NOT_SERVING.
pub fn health(well: &'static [&'static str]) -> u16 {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that waits for nobody");
    let port = listener.local_addr().expect("its address").port();
    in_the_background(move || async move {
        let handler: Handler = Arc::new(move |path, body| {
            let known = path == "/grpc.health.v1.Health/Check";
            let check = Check::decode(body).unwrap_or_default();
            let status = if well.contains(&check.service.as_str()) { 1 } else { 2 };
            let answer = State { status }.encode_to_vec().into();
            Box::pin(async move { if known { Ok(answer) } else { Err(Status::unimplemented(path)) } })
        });
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let incoming = TcpListenerStream::new(listener);
        let served = tonic::transport::Server::builder().serve_with_incoming(Front(handler), incoming).await;
        served.expect("the health server serves");
    });
    port
}
