//! What a cluster is made of.

use std::sync::Arc;

use crate::kernel::{Distribution, Duration};
use crate::model::{Name, Object, Pod};
use crate::runtime::simulated::behavior::Rule;
use crate::runtime::simulated::{Machine, Profile};
use crate::{apiserver, controllers, kubelet, registry, scheduler};

/// Everything that a run depends on, but for what is done to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seed of all random streams.
    pub seed: u64,
    pub nodes: Vec<NodeConfig>,
    /// The registries; images of a host that none of them serves come from the last.
    pub registries: Vec<registry::Config>,
    /// What the programs in containers do.
    pub behaviors: Arc<[Rule]>,
    pub apiserver: apiserver::Config,
    pub scheduler: scheduler::Config,
    pub controllers: controllers::Config,
    /// One way between the API server and a client on another machine.
    pub api_latency: Distribution,
    /// From a machine's power-on until its kubelet starts.
    pub boot_time: Duration,
    /// What the API server holds at the start: a dump, the nodes of a running cluster. Pods that a node runs are running
    /// there.
    pub initial: Vec<Object>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The kubelet, with the Node object that it registers.
    pub kubelet: kubelet::Config,
    pub runtime: NodeRuntime,
    /// What its kubelet's manifest folder holds at the start.
    pub static_pods: Arc<[Arc<Pod>]>,
    /// Its disks, and what others than pods use, where the runtime is simulated.
    pub machine: Machine,
}

impl NodeConfig {
    /// A node without static pods.
    pub fn new(kubelet: kubelet::Config, runtime: NodeRuntime) -> NodeConfig {
        let machine = Machine::of(&kubelet.node.status.capacity);
        NodeConfig { kubelet, runtime, static_pods: Arc::new([]), machine }
    }
}

/// Who answers a node's kubelet.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one a node, and nearly all of them are simulated")]
pub enum NodeRuntime {
    /// The simulated runtime, with this profile.
    Simulated(Profile),
    /// Nobody in the cluster: what the kubelet says goes through the port [`Outside`](super::Outside), and what comes back
    /// is brought by the clock.
    Outside,
}

impl NodeRuntime {
    /// True if what its pulls take was measured.
    pub fn has_measured_pulls(&self) -> bool {
        matches!(self, NodeRuntime::Simulated(profile) if profile.pull_per_mebibyte.is_some())
    }
}

impl Config {
    /// Periodic work is done at every point of its time grid instead of sleeping while nothing changes. Slow: the
    /// reference that sleeping must equal.
    pub fn set_polling(&mut self) {
        for node in &mut self.nodes {
            node.kubelet.observe = kubelet::Observe::Polling;
        }
    }

    /// The node of this name.
    pub fn node_mut(&mut self, name: Name) -> Option<&mut NodeConfig> {
        self.nodes.iter_mut().find(|node| node.kubelet.name() == name)
    }
}
