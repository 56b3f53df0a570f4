//! Addresses that the API server hands out: cluster IPs and node ports of Services, and the IP of a node that came
//! without.
//!
//! Kubernetes: pkg/registry/core/service/ipallocator, …/portallocator: a random free one.

use std::net::Ipv4Addr;

use rustc_hash::FxHashSet;

use crate::kernel::Stream;
use crate::model::service::{Service, ServiceType};

/// `--service-cluster-ip-range`: 10.96.0.0/12.
const SERVICE_NETWORK: u32 = 0x0a60_0000;
const SERVICE_ADDRESSES: u64 = 1 << 20;
/// The first addresses of the range are kept for those that are asked for: the API server's own is the first of all.
const RESERVED: u64 = 256;
/// `--service-node-port-range`.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Nodes that bring no address get one from 172.16.0.0/12, one after another.
const NODE_NETWORK: u32 = 0xac10_0000;

#[derive(Debug)]
pub(super) struct Addresses {
    stream: Stream,
    services: FxHashSet<Ipv4Addr>,
    ports: FxHashSet<u16>,
    nodes: u32,
}

impl Addresses {
    pub(super) fn new(stream: Stream) -> Addresses {
        Addresses { stream, services: FxHashSet::default(), ports: FxHashSet::default(), nodes: 0 }
    }

    pub(super) fn next_node(&mut self) -> Ipv4Addr {
        self.nodes += 1;
        Ipv4Addr::from(NODE_NETWORK + (self.nodes & 0x000f_ffff))
    }

    /// Gives the Service what its type needs and it doesn't have.
    pub(super) fn allocate(&mut self, service: &mut Service) {
        if service.kind == ServiceType::ExternalName {
            return;
        }
        if !service.headless {
            let taken = service.cluster_ip.filter(|ip| self.services.insert(*ip));
            service.cluster_ip = taken.or_else(|| self.free_address());
        }
        self.allocate_ports(service);
    }

    /// Gives a Service that is published on nodes the ports that it doesn't have.
    pub(super) fn allocate_ports(&mut self, service: &mut Service) {
        if matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer) {
            for port in &mut service.ports {
                if port.node_port == 0 {
                    port.node_port = self.free_port();
                } else {
                    self.ports.insert(port.node_port);
                }
            }
        }
    }

    /// Takes back what a Service had.
    pub(super) fn free(&mut self, service: &Service) {
        if let Some(ip) = service.cluster_ip {
            self.services.remove(&ip);
        }
        for port in &service.ports {
            self.ports.remove(&port.node_port);
        }
    }

    fn free_address(&mut self) -> Option<Ipv4Addr> {
        let usable = SERVICE_ADDRESSES - RESERVED - 1;
        if self.services.len() as u64 >= usable {
            return None;
        }
        let from = self.stream.below(usable);
        let address = |n: u64| Ipv4Addr::from(SERVICE_NETWORK + (RESERVED + n % usable) as u32);
        (from..from + usable).map(address).find(|ip| self.services.insert(*ip))
    }

    /// A free port, 0 if all are taken.
    fn free_port(&mut self) -> u16 {
        let (first, count) = (*NODE_PORTS.start(), NODE_PORTS.len() as u64);
        let from = self.stream.below(count);
        let port = |n: u64| first + (n % count) as u16;
        (from..from + count).map(port).find(|port| self.ports.insert(*port)).unwrap_or(0)
    }
}
