//! Pods that answer HTTP. A container whose program is known to serve, or which declares ports, listens on the pod's address
//! if this machine has it: addresses of 127.0.0.0/8 always, others where a user routed them to this machine. So a kubelet's
//! HTTP and TCP probes, port-forward and hostPort find somebody.
//!
//! While the container runs, a request is answered as the model says that its program answers: with 200 or, where a
//! scenario's behaviours say so, with another status, not at all, or by a closed connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration as Length;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::kernel::Duration;
use crate::model::pod::{Handler, PortRef, Probe};
use crate::model::{self, Name};
use crate::protocol::cri::ContainerId;
use crate::protocol::probe;
use crate::runtime::live::proto;

use super::Server;
use super::table::Container;

/// Annotation of a container's configuration by the kubelet: its ports, in JSON.
const PORTS: &str = "io.kubernetes.container.ports";

impl Server {
    /// Serves while the container's main process runs: to be dropped with it.
    pub(super) async fn answer_http(self: Arc<Server>, id: ContainerId, kept: Container) {
        let sandbox = self.table().sandboxes.get(&kept.sandbox).cloned().unwrap_or_default().config;
        let Ok(address) = self.ready_address(&crate::runtime::live::wire::hex(kept.sandbox)).await else { return };
        let mut serving = JoinSet::new();
        for place in places(&kept, &sandbox, address) {
            // An address that is not this machine's, or a port that is taken: nobody answers there.
            if let Ok(listener) = TcpListener::bind(place).await {
                serving.spawn(listen(listener, Arc::clone(&self), id));
            }
        }
        while serving.join_next().await.is_some() {}
    }

    /// What the container's program answers to a request of this path now: a status, or none.
    async fn answer_of(&self, id: ContainerId, path: &str, port: u16) -> Option<u16> {
        let handler = Handler::HttpGet {
            path: path.into(),
            port: PortRef::Number(port),
            host: Name::default(),
            https: false,
            headers: Vec::new(),
        };
        let probe = Probe {
            handler,
            initial_delay: Duration::ZERO,
            period: LONGEST_ANSWER,
            timeout: LONGEST_ANSWER,
            success_threshold: 1,
            failure_threshold: 1,
            termination_grace: None,
        };
        let spec = model::Container { readiness: Some(Arc::new(probe)), ..Default::default() };
        let request = probe::Request {
            id: probe::ProbeId::default(),
            container: id,
            ip: Ipv4Addr::LOCALHOST,
            purpose: probe::Purpose::Readiness,
            spec: [spec].into(),
            index: 0,
            timeout: LONGEST_ANSWER,
        };
        let (sender, outcome) = oneshot::channel();
        (self.links.probes)(request, sender);
        match outcome.await {
            Ok(probe::Outcome::Success | probe::Outcome::Warning(_)) => Some(200),
            // The model says it in a kubelet's words.
            Ok(probe::Outcome::Failure(text)) => text.rsplit_once("statuscode: ")?.1.parse().ok(),
            Ok(probe::Outcome::Error(_)) | Err(_) => None,
        }
    }
}

/// A program that hangs does so for this long.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// Where a container listens.
fn places(kept: &Container, sandbox: &proto::PodSandboxConfig, address: IpAddr) -> Vec<SocketAddr> {
    let own = ports(kept);
    let mut places: Vec<SocketAddr> = own.iter().map(|port| SocketAddr::new(address, *port)).collect();
    for mapping in &sandbox.port_mappings {
        let (Ok(inside), Ok(outside)) = (u16::try_from(mapping.container_port), u16::try_from(mapping.host_port))
        else {
            continue;
        };
        if outside != 0 && own.contains(&inside) {
            // Only this machine reaches a simulated program.
            let asked = mapping.host_ip.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback);
            places.push(SocketAddr::new(asked.unwrap_or(Ipv4Addr::LOCALHOST).into(), outside));
        }
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// The ports that a container declares, else the one that its image is known for.
fn ports(kept: &Container) -> Vec<u16> {
    let declared = kept.config.annotations.get(PORTS);
    let declared = declared.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let declared = declared.as_ref().and_then(|ports| ports.as_array()).into_iter().flatten();
    let is_tcp = |port: &&serde_json::Value| {
        port.get("protocol").and_then(|protocol| protocol.as_str()).is_none_or(|protocol| protocol == "TCP")
    };
    let numbers = declared.filter(is_tcp).filter_map(|port| port.get("containerPort")?.as_u64());
    let mut ports: Vec<u16> = numbers.filter_map(|port| u16::try_from(port).ok()).collect();
    if ports.is_empty() && kept.known.http_port != 0 && kept.config.command.is_empty() {
        ports.push(kept.known.http_port);
    }
    ports
}

async fn listen(listener: TcpListener, server: Arc<Server>, id: ContainerId) {
    let mut clients = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                clients.spawn(serve(client, Arc::clone(&server), id));
            }
            Err(_) => tokio::time::sleep(Length::from_millis(100)).await,
        }
        while clients.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, server: Arc<Server>, id: ContainerId) {
    let port = client.local_addr().map_or(0, |address| address.port());
    let serving = async {
        let mut client = BufReader::new(client);
        // Requests follow each other on a connection; bodies are not read.
        loop {
            let mut line = String::new();
            client.read_line(&mut line).await?;
            if !line.contains(" HTTP/1.") {
                return client.shutdown().await;
            }
            let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            let mut length = 0;
            loop {
                length += line.len();
                line.clear();
                if client.read_line(&mut line).await? == 0 || length > 16 << 10 {
                    return client.shutdown().await;
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let Some(status) = server.answer_of(id, &path, port).await else { return client.shutdown().await };
            let text = "simlet: a simulated program answers\n";
            let reason = if (200..400).contains(&status) { "OK" } else { "as simulated" };
            let head =
                format!("HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n", text.len());
            client.write_all(format!("{head}\r\n{text}").as_bytes()).await?;
        }
    };
    let _broken: Result<std::io::Result<()>, _> = tokio::time::timeout(Length::from_secs(300), serving).await;
}
