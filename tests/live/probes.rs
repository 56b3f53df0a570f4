//! Probes of a real pod over the network: gRPC, HTTP with redirects and headers, HTTPS.
//!
//! Images hold busybox only, so that the pods hand their ports on to servers of the test, through the gateway of their
//! network.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::machine::{Machine, wait_until};
use super::{SLEEPS, check, grpc, pod, read};

/// Serves HTTP on a port of all addresses, and gives the port.
#[expect(clippy::disallowed_methods, reason = "what is real lives on another thread")]
fn http() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that breaks off is its own affair.
            let _broken = answer(connection);
        }
    });
    port
}

/// `/start` leads to `/end` by two steps, which only a kubelet with the right header may see; `/away` leads elsewhere.
fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    // The beginning of TLS is no request.
    let mut first = [0];
    if connection.peek(&mut first)? == 1 && first == [0x16] {
        let _hello = connection.read(&mut [0; 4096])?;
        return connection
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
    }
    let mut lines = Vec::new();
    for line in BufReader::new(connection.try_clone()?).lines() {
        match line? {
            line if line.is_empty() => break,
            line => lines.push(line),
        }
    }
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let has = |expected: &str| lines.iter().any(|line| line == expected);
    let (status, more) = match path.as_str() {
        "/start" => ("302 Found", "Location: /half/way\r\n"),
        "/half/way" => ("307 Temporary Redirect", "Location: end?x=1\r\n"),
        "/half/end?x=1" if has("X-Token: t") && has("User-Agent: kube-probe/1.36") && has("Host: shop.example") => {
            ("200 OK", "")
        }
        "/away" => ("302 Found", "Location: http://elsewhere.example/\r\n"),
        _ => ("403 Forbidden", ""),
    };
    write!(connection, "HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// A server with a certificate that nobody knows.
struct Tls {
    port: u16,
    server: Child,
}

impl Tls {
    fn start(machine: &Machine) -> Tls {
        assert!(Path::new("/usr/bin/openssl").exists(), "/usr/bin/openssl is missing: apt-get install openssl");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let openssl = || {
            let mut command = Command::new("openssl");
            command.current_dir(&machine.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"];
        let made = openssl().args(made).args(["-subj", "/CN=nobody", "-days", "1"]).status();
        assert!(made.is_ok_and(|status| status.success()), "a certificate could not be made");
        let serve = ["s_server", "-quiet", "-www", "-cert", "cert.pem", "-key", "key.pem", "-accept"];
        let server = openssl().args(serve).arg(port.to_string()).spawn().expect("openssl starts");
        wait_until("openssl answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Tls { port, server }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

#[test]
fn probes_by_grpc_http_and_https_are_those_of_a_kubelet() {
    let machine = Machine::start(19);
    let tls = Tls::start(&machine);
    let (health, http) = (grpc::health(&["web"]), http());
    let relay = |port: u16| {
        format!(
            r#"command: [sh, -c, "exec busybox nc -ll -p 9000 -e busybox nc 10.201.19.1 {port}"], readinessProbe: "#
        )
    };
    let probed = |name: &str, port: u16, probe: &str| {
        let container = format!("{}{{{probe}, periodSeconds: 1}}", relay(port));
        pod(name, &container, "terminationGracePeriodSeconds: 0")
    };
    let hook = format!(
        "{SLEEPS}, lifecycle: {{postStart: {{httpGet: {{host: 127.0.0.1, port: {http}, path: /, scheme: HTTPS}}}}}}"
    );
    let hooked = pod("hooked", &hook, "terminationGracePeriodSeconds: 0");
    let headers = "httpHeaders: [{name: X-Token, value: t}, {name: Host, value: shop.example}]";
    let pods = [
        probed("grpc", health, "grpc: {port: 9000, service: web}"),
        probed("unwell", health, "grpc: {port: 9000, service: db}"),
        probed("led", http, &format!("httpGet: {{port: 9000, path: /start, {headers}}}")),
        probed("unnamed", http, "httpGet: {port: 9000, path: /start}"),
        probed("away", http, "httpGet: {port: 9000, path: /away}"),
        probed("secure", tls.port, "httpGet: {port: 9000, path: /, scheme: HTTPS}"),
        probed("insecure", http, "httpGet: {port: 9000, path: /, scheme: HTTPS}"),
        hooked,
    ];
    let rest = r#"
until: 12s
expect:
- {that: 'pods.all(p, p.ready == (p.name in ["away", "grpc", "hooked", "led", "secure"]))'}
- {that: 'events.exists(e, e.object == "Pod/unwell" && e.message == "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")")'}
- {that: 'events.exists(e, e.object == "Pod/unnamed" && e.message == "Readiness probe failed: HTTP probe failed with statuscode: 403")'}
- {that: 'events.exists(e, e.object == "Pod/away" && e.reason == "ProbeWarning" && e.message.startsWith("Readiness probe warning: Probe terminated redirects"))'}
- {that: 'events.exists(e, e.object == "Pod/hooked" && e.reason == "LifecycleHTTPFallback" && e.message.endsWith("got HTTP response, retry with HTTP succeeded"))'}
- {that: 'events.exists(e, e.object == "Pod/insecure" && e.message.endsWith("http: server gave HTTP response to HTTPS client"))'}
"#;
    check(&machine, "probed", &pods.concat(), rest);
    assert!(read(&machine, "probed/final/pods.yaml").contains("containerID: containerd://"));
}
