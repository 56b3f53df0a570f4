//! Services and the endpoints behind them.

use std::net::Ipv4Addr;

use super::pod::{PortRef, Protocol};
use super::{Meta, Name, Selector};

/// A Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    pub meta: Meta,
    /// None: no selector, so its endpoints are somebody else's.
    pub selector: Option<Selector>,
    pub ports: Vec<ServicePort>,
    pub kind: ServiceType,
    /// `clusterIP: None`.
    pub headless: bool,
    pub cluster_ip: Option<Ipv4Addr>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    pub external_name: Name,
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub name: Name,
    pub port: u16,
    pub target: PortRef,
    pub protocol: Protocol,
    /// 0: none.
    pub node_port: u16,
}

/// How a Service is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    #[default]
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSlice {
    pub meta: Meta,
    pub service: Name,
    pub ports: Vec<(Name, u16, Protocol)>,
    /// Sorted by pod name.
    pub endpoints: Vec<Endpoint>,
}

/// One pod behind a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub pod: Name,
    pub ip: Ipv4Addr,
    pub node: Option<Name>,
    pub zone: Option<Name>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}
