//! Nodes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::condition::Conditions;
use super::{Meta, Name, Resources, Taint};

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub meta: Meta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

/// `spec` of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSpec {
    /// Cordoned.
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    pub provider_id: Name,
}

/// `status` of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeStatus {
    pub capacity: Resources,
    pub allocatable: Resources,
    pub conditions: Conditions,
    pub internal_ip: Option<Ipv4Addr>,
    /// The greatest images first, at most 50.
    pub images: Arc<[NodeImage]>,
    /// `containerd://2.1.4` and the like.
    pub runtime_version: Name,
    pub kubelet_version: Name,
    pub os_image: Name,
    /// Changes with each boot.
    pub boot_id: u64,
    /// `declaredFeatures`, in the order of the alphabet (1.36).
    pub declared_features: Vec<Name>,
}

/// An image that a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeImage {
    /// Digest first, then tags.
    pub names: Vec<Name>,
    pub size_bytes: i64,
}

/// `topology.kubernetes.io/zone`.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// `topology.kubernetes.io/region`.
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// `kubernetes.io/hostname`.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

impl Node {
    /// The node's zone, if it has the label.
    pub fn zone(&self) -> Option<Name> {
        self.meta.labels.get(Name::new(ZONE_LABEL))
    }

    /// True if the Ready condition is True.
    pub fn is_ready(&self) -> bool {
        super::condition::is_true(&self.status.conditions, "Ready")
    }
}
