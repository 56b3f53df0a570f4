//! What a kubelet is told at its start: its node, the parts of KubeletConfiguration that change what it does, and the
//! circumstances of the start.
//!
//! Kubernetes: pkg/kubelet/apis/config/types.go, defaults in …/v1beta1/defaults.go.

use std::net::Ipv4Addr;

use crate::kernel::Duration;
use crate::model::{Name, Node, Resources};

use super::eviction::thresholds::{Signal, Threshold, default_hard};

pub use super::host::Host;

/// The settings of one kubelet.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node to register: name, labels, taints, capacity. Its allocatable is computed from the capacity and the
    /// reservations unless it is given.
    pub node: Node,
    /// The node's address: `hostIP` of its pods.
    pub node_ip: Ipv4Addr,
    pub start: StartKind,
    /// How the kubelet learns of changes in its runtime and of probes' results.
    pub observe: Observe,
    pub kubelet: KubeletConfiguration,
    /// `/var/log/pods` where containers are real; None where nobody reads logs, so that no path is made for each pod.
    pub log_root: Option<Name>,
    /// Where containers are real: the machine. None where nobody reads what follows from it.
    pub host: Option<std::sync::Arc<Host>>,
}

/// In which state of the node's life the kubelet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartKind {
    /// The node is new: the kubelet registers it.
    Registers,
    /// The process starts again on a node that the API server knows: after a crash, an update or a reboot.
    Restarts,
    /// The kubelet has been running since before the scenario: it is Ready, says nothing, and its time grids have any phase.
    WasRunning,
}

/// How the kubelet observes what changes outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// As Kubernetes does: it relists each second, probes each period, asks for the runtime's status each 5 s.
    Polling,
    /// It relists and probes on the same time grids, but only where it was told that something has changed. Asks for a
    /// runtime that sends [`ContainerEvent`](crate::protocol::cri::ContainerEvent)s and whose end is told by
    /// [`In::CriStream`](super::In::CriStream), and for probes that say how long they hold. What comes out is the same.
    Sleeping,
}

/// The fields of KubeletConfiguration that the kubelet reads, under their names.
#[derive(Clone, Debug)]
pub struct KubeletConfiguration {
    pub max_pods: i64,
    /// 0: no limit.
    pub pods_per_core: i64,
    pub serialize_image_pulls: bool,
    /// 0: no limit. Counts only with parallel pulls.
    pub max_parallel_image_pulls: u32,
    /// `registryPullQPS`; 0: no limit.
    pub registry_pull_qps: u32,
    pub registry_burst: u32,
    pub node_status_update_frequency: Duration,
    /// `crashLoopBackOff.maxContainerRestartPeriod`.
    pub max_container_restart_period: Duration,
    pub system_reserved: Resources,
    pub kube_reserved: Resources,
    /// `evictionHard`, `evictionSoft` with its grace periods, `evictionMinimumReclaim`.
    pub thresholds: Vec<Threshold>,
    pub eviction_pressure_transition_period: Duration,
    pub eviction_max_pod_grace_period: Duration,
    pub image_gc_high_threshold_percent: i32,
    pub image_gc_low_threshold_percent: i32,
    pub image_minimum_gc_age: Duration,
    /// Zero: never.
    pub image_maximum_gc_age: Duration,
    pub volume_stats_agg_period: Duration,
    pub single_process_oom_kill: bool,
    /// `shutdownGracePeriod` or `shutdownGracePeriodByPodPriority`, the lowest priority first; empty: none.
    pub shutdown_grace_periods: Vec<ShutdownPeriod>,
}

/// How long pods from this priority on get when the node shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownPeriod {
    pub priority: i32,
    pub period: Duration,
}

impl Default for KubeletConfiguration {
    fn default() -> KubeletConfiguration {
        KubeletConfiguration {
            max_pods: 110,
            pods_per_core: 0,
            serialize_image_pulls: true,
            max_parallel_image_pulls: 0,
            registry_pull_qps: 5,
            registry_burst: 10,
            node_status_update_frequency: Duration::from_secs(10),
            max_container_restart_period: Duration::from_secs(300),
            system_reserved: Resources::default(),
            kube_reserved: Resources::default(),
            thresholds: default_hard(),
            eviction_pressure_transition_period: Duration::from_secs(300),
            eviction_max_pod_grace_period: Duration::ZERO,
            image_gc_high_threshold_percent: 85,
            image_gc_low_threshold_percent: 80,
            image_minimum_gc_age: Duration::from_secs(120),
            image_maximum_gc_age: Duration::ZERO,
            volume_stats_agg_period: Duration::from_secs(60),
            single_process_oom_kill: false,
            shutdown_grace_periods: Vec::new(),
        }
    }
}

impl Config {
    /// The settings for `node` with Kubernetes' defaults, on a node that was running before.
    pub fn new(node: Node) -> Config {
        let node_ip = node.status.internal_ip.unwrap_or(Ipv4Addr::new(10, 0, 0, 1));
        Config {
            node,
            node_ip,
            start: StartKind::WasRunning,
            observe: Observe::Sleeping,
            kubelet: KubeletConfiguration::default(),
            log_root: None,
            host: None,
        }
    }

    /// The node's name.
    pub fn name(&self) -> Name {
        self.node.meta.name
    }

    /// What pods may request in all: capacity without the reservations and the hard eviction thresholds
    /// (pkg/kubelet/cm/node_container_manager_linux.go, GetNodeAllocatableReservation).
    pub fn allocatable(&self) -> Resources {
        let given = &self.node.status.allocatable;
        if *given != Resources::default() {
            return given.clone();
        }
        let mut left = self.capacity();
        left.subtract(&self.kubelet.system_reserved);
        left.subtract(&self.kubelet.kube_reserved);
        let capacity = &self.node.status.capacity;
        let hard = |signal: Signal, capacity: i64| {
            let mut hard = self.kubelet.thresholds.iter().filter(|threshold| threshold.grace.is_none());
            hard.find(|threshold| threshold.signal == signal).map_or(0, |threshold| threshold.value.of(capacity))
        };
        left.memory.0 -= hard(Signal::MemoryAvailable, capacity.memory.0);
        left.ephemeral_storage.0 -= hard(Signal::NodeFsAvailable, capacity.ephemeral_storage.0);
        left.raise_to(&Resources::default());
        left
    }

    /// The node's capacity with the number of pods that the configuration allows.
    pub fn capacity(&self) -> Resources {
        let mut capacity = self.node.status.capacity.clone();
        if capacity.pods == 0 {
            capacity.pods = self.kubelet.max_pods;
            if self.kubelet.pods_per_core > 0 {
                capacity.pods = capacity.pods.min(capacity.cpu.0 / 1000 * self.kubelet.pods_per_core);
            }
        }
        capacity
    }
}
