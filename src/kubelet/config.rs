//! What a kubelet is told at its start: its node, the parts of KubeletConfiguration that change what it does, and the
//! circumstances of the start.
//!
//! Kubernetes: pkg/kubelet/apis/config/types.go, defaults in …/v1beta1/defaults.go.

use std::net::Ipv4Addr;

use crate::kernel::{Duration, Time};
use crate::model::quantity::Format;
use crate::model::{Bytes, Name, Node, Resources, Taint};

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
    /// When the process first starts: zero but for a node that joins later.
    pub joins: Time,
    /// How the kubelet learns of changes in its runtime and of probes' results.
    pub observe: Observe,
    pub kubelet: KubeletConfiguration,
    /// `/var/log/pods` where containers are real; None where nobody reads logs, so that no path is made for each pod.
    pub log_root: Option<Name>,
    /// What each call of the runtime takes is recorded, though containers are not real.
    pub record_calls: bool,
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

/// What a KubeletConfiguration says and the kubelet reads, under the fields' names; [`configuration`](super::configuration)
/// makes it from a file. What a file may say besides has no effect and is listed there.
#[derive(Clone, Debug, PartialEq)]
pub struct KubeletConfiguration {
    pub max_pods: i64,
    /// 0: no limit.
    pub pods_per_core: i64,
    /// The most processes of a pod; -1: as many as the node allows.
    pub pod_pids_limit: i64,
    /// The folder of static pods; empty: none was named. Scenarios put pods there whatever its name is.
    pub static_pod_path: Name,
    pub file_check_frequency: Duration,
    /// The longest time without looking at a pod again; jittered by half upwards.
    pub sync_frequency: Duration,
    pub serialize_image_pulls: bool,
    /// 0: no limit. Counts only with parallel pulls.
    pub max_parallel_image_pulls: u32,
    /// `registryPullQPS`; 0: no limit.
    pub registry_pull_qps: u32,
    pub registry_burst: u32,
    /// An image younger than this is never garbage.
    pub image_minimum_gc_age: Duration,
    /// An image unused for longer is garbage; zero: never for its age.
    pub image_maximum_gc_age: Duration,
    /// From which usage of the disk on images are collected, and down to which.
    pub image_gc_high_threshold_percent: i64,
    pub image_gc_low_threshold_percent: i64,
    pub node_status_update_frequency: Duration,
    /// How often an unchanged status is written.
    pub node_status_report_frequency: Duration,
    /// The lease is renewed each quarter of it.
    pub node_lease_duration: Duration,
    /// How many images the node's status names; -1: all.
    pub node_status_max_images: i64,
    /// `volumeStatsAggPeriod`: how often what volumes hold is measured.
    pub volume_stats_agg_period: Duration,
    /// The deadline of most CRI calls; twice as long for a sandbox.
    pub runtime_request_timeout: Duration,
    /// The first wait of a container in a crash loop.
    pub initial_container_restart_period: Duration,
    /// `crashLoopBackOff.maxContainerRestartPeriod`.
    pub max_container_restart_period: Duration,
    pub system_reserved: Resources,
    pub kube_reserved: Resources,
    pub eviction: Eviction,
    /// `shutdownGracePeriodByPodPriority`, or what the two older fields say in its terms: from which priority on how long
    /// pods have when the node shuts down, in ascending order. Empty: the kubelet does not notice shutdowns.
    pub shutdown_grace_periods: Vec<(i32, Duration)>,
    /// `singleProcessOOMKill`: the kernel's OOM killer takes one process and not its container's all. None: as the cgroup
    /// version has it, which is all with version 2.
    pub single_process_oom_kill: Option<bool>,
    /// Whether CPU limits are enforced, and in which period.
    pub cpu_cfs_quota: bool,
    pub cpu_cfs_quota_period: Duration,
    /// `cpuManagerPolicy: static`: Guaranteed pods with whole CPUs have them for themselves, without a quota.
    pub static_cpu_manager: bool,
    /// `memoryManagerPolicy: Static`.
    pub static_memory_manager: bool,
    pub allowed_unsafe_sysctls: Vec<Name>,
    /// Taints of a node that registers.
    pub register_with_taints: Vec<Taint>,
    pub provider_id: Name,
    pub feature_gates: FeatureGates,
}

/// When the kubelet takes pods off the node, and what it reclaims.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// Hard ones first, each in the signals' order.
    pub thresholds: Vec<Threshold>,
    /// How long a condition stays after it was last observed.
    pub pressure_transition_period: Duration,
    /// The longest grace of a pod at a soft threshold; 0: none at all.
    pub max_pod_grace_period: Duration,
}

/// One of `evictionHard` or `evictionSoft`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    /// Less than this is too little.
    pub amount: Amount,
    /// How an amount that is no percentage was written, and is shown.
    pub format: Format,
    /// How long it must be too little before a pod goes; None: the threshold is hard.
    pub grace: Option<Duration>,
    /// By how much more it must be enough again.
    pub minimum_reclaim: Option<Amount>,
}

/// What eviction looks at (pkg/kubelet/eviction/api/types.go). containerfs follows one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    MemoryAvailable,
    NodefsAvailable,
    NodefsInodesFree,
    ImagefsAvailable,
    ImagefsInodesFree,
    PidAvailable,
}

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Bytes, inodes or processes.
    Quantity(i64),
    /// Of the capacity, in percent. Kubernetes divides it by 100 in single precision, which shows in `allocatable`.
    Percent(f32),
}

/// The feature gates that change what is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    /// `ChangeContainerStatusOnKubeletRestart`, as Kubernetes before 1.35 has it: containers aren't ready after a restart of
    /// the kubelet until they are probed again.
    pub change_container_status_on_kubelet_restart: bool,
    /// `EnvFiles` is off: variables of a `fileKeyRef` are empty.
    pub no_env_files: bool,
}

impl Signal {
    pub const ALL: [Signal; 6] = [
        Signal::MemoryAvailable,
        Signal::NodefsAvailable,
        Signal::NodefsInodesFree,
        Signal::ImagefsAvailable,
        Signal::ImagefsInodesFree,
        Signal::PidAvailable,
    ];

    /// `memory.available`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::MemoryAvailable => "memory.available",
            Signal::NodefsAvailable => "nodefs.available",
            Signal::NodefsInodesFree => "nodefs.inodesFree",
            Signal::ImagefsAvailable => "imagefs.available",
            Signal::ImagefsInodesFree => "imagefs.inodesFree",
            Signal::PidAvailable => "pid.available",
        }
    }
}

impl Amount {
    /// How much that is where there is `capacity`, rounded down.
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Amount::Quantity(amount) => amount,
            Amount::Percent(percent) => (capacity as f64 * f64::from(percent / 100.0)) as i64,
        }
    }
}

impl Eviction {
    /// What hard thresholds keep free of a node with `capacity`, which pods may not request
    /// (pkg/kubelet/cm/node_container_manager_linux.go, hardEvictionReservation).
    pub fn reserved(&self, capacity: &Resources) -> Resources {
        let of = |signal, capacity: Bytes| Bytes(self.hard(signal).map_or(0, |amount| amount.of(capacity.0)));
        Resources {
            memory: of(Signal::MemoryAvailable, capacity.memory),
            ephemeral_storage: of(Signal::NodefsAvailable, capacity.ephemeral_storage),
            ..Resources::default()
        }
    }

    /// The hard threshold of a signal.
    pub fn hard(&self, signal: Signal) -> Option<Amount> {
        let is_it = |one: &&Threshold| one.signal == signal && one.grace.is_none();
        self.thresholds.iter().find(is_it).map(|one| one.amount)
    }
}

impl Default for Eviction {
    /// pkg/kubelet/apis/config/v1beta1/defaults_linux.go.
    fn default() -> Eviction {
        let format = Format::BinarySI;
        let hard = |signal, amount| Threshold { signal, amount, format, grace: None, minimum_reclaim: None };
        let percent = Amount::Percent;
        Eviction {
            thresholds: vec![
                hard(Signal::MemoryAvailable, Amount::Quantity(100 << 20)),
                hard(Signal::NodefsAvailable, percent(10.0)),
                hard(Signal::NodefsInodesFree, percent(5.0)),
                hard(Signal::ImagefsAvailable, percent(15.0)),
                hard(Signal::ImagefsInodesFree, percent(5.0)),
            ],
            pressure_transition_period: Duration::from_secs(300),
            max_pod_grace_period: Duration::ZERO,
        }
    }
}

impl Default for KubeletConfiguration {
    fn default() -> KubeletConfiguration {
        let secs = Duration::from_secs;
        KubeletConfiguration {
            max_pods: 110,
            pods_per_core: 0,
            pod_pids_limit: -1,
            static_pod_path: Name::default(),
            file_check_frequency: secs(20),
            sync_frequency: secs(60),
            serialize_image_pulls: true,
            max_parallel_image_pulls: 0,
            registry_pull_qps: 5,
            registry_burst: 10,
            image_minimum_gc_age: secs(120),
            image_maximum_gc_age: Duration::ZERO,
            image_gc_high_threshold_percent: 85,
            image_gc_low_threshold_percent: 80,
            node_status_update_frequency: secs(10),
            node_status_report_frequency: secs(300),
            node_lease_duration: secs(40),
            node_status_max_images: 50,
            volume_stats_agg_period: secs(60),
            runtime_request_timeout: secs(120),
            initial_container_restart_period: secs(10),
            max_container_restart_period: secs(300),
            system_reserved: Resources::default(),
            kube_reserved: Resources::default(),
            eviction: Eviction::default(),
            shutdown_grace_periods: Vec::new(),
            single_process_oom_kill: None,
            cpu_cfs_quota: true,
            cpu_cfs_quota_period: Duration::from_millis(100),
            static_cpu_manager: false,
            static_memory_manager: false,
            allowed_unsafe_sysctls: Vec::new(),
            register_with_taints: Vec::new(),
            provider_id: Name::default(),
            feature_gates: FeatureGates::default(),
        }
    }
}

/// What a kubelet 1.36 with default feature gates says that it can do (`status.declaredFeatures`).
const DECLARED_FEATURES: [&str; 4] = [
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
];

impl Config {
    /// The settings for `node` with Kubernetes' defaults, on a node that was running before.
    pub fn new(mut node: Node) -> Config {
        // A node of which nobody says which kubelet it has, has one of these rules.
        if node.status.kubelet_version.is_empty() && node.status.declared_features.is_empty() {
            node.status.declared_features = DECLARED_FEATURES.map(Name::new).to_vec();
        }
        let node_ip = node.status.internal_ip.unwrap_or(Ipv4Addr::new(10, 0, 0, 1));
        Config {
            node,
            node_ip,
            start: StartKind::WasRunning,
            joins: Time::ZERO,
            observe: Observe::Sleeping,
            kubelet: KubeletConfiguration::default(),
            log_root: None,
            record_calls: false,
            host: None,
        }
    }

    /// The node's name.
    pub fn name(&self) -> Name {
        self.node.meta.name
    }

    /// True if what each call of the runtime takes is recorded: always where containers are real.
    pub fn records_calls(&self) -> bool {
        self.record_calls || self.log_root.is_some()
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
        left.subtract(&self.kubelet.eviction.reserved(&self.node.status.capacity));
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
