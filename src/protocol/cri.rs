//! The Container Runtime Interface v1: the same calls, states and error codes. The kubelet speaks to its runtime, simulated
//! or real, only by these.
//!
//! Kubernetes: staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto. Ids are numbers here and 64 hexadecimal digits
//! on the wire, of which a real runtime's whole ones come along to be shown; the `io.kubernetes.*` labels follow from the metadata and are added where messages leave for a real runtime.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::kernel::{Duration, Moment, Time};
use crate::model::pod::{MountPropagation, Protocol, Seccomp};
use crate::model::{Labels, Name, Text, Uid};

use super::pull::AuthConfig;

/// A call of the kubelet; the answer comes with the same `id`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: CallId,
    pub call: Call,
}

/// The kubelet's number for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A PodSandbox's id, given by the runtime. Never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(pub u64);

/// A container's id, given by the runtime. Never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub u64);

/// The calls that the kubelet uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Version,
    Status,
    RunPodSandbox(Arc<PodSandboxConfig>),
    StopPodSandbox(SandboxId),
    RemovePodSandbox(SandboxId),
    PodSandboxStatus(SandboxId),
    ListPodSandbox {
        pod: Option<Uid>,
    },
    CreateContainer {
        sandbox: SandboxId,
        config: Arc<ContainerConfig>,
    },
    StartContainer(ContainerId),
    /// SIGTERM, then after `timeout` SIGKILL; zero kills at once.
    StopContainer {
        container: ContainerId,
        timeout: Duration,
    },
    RemoveContainer(ContainerId),
    ListContainers {
        pod: Option<Uid>,
    },
    ContainerStatus(ContainerId),
    UpdateContainerResources {
        container: ContainerId,
        resources: LinuxResources,
    },
    /// In-place resize of what a pod's containers may use together.
    UpdatePodSandboxResources {
        sandbox: SandboxId,
        resources: LinuxResources,
    },
    /// `timeout` zero: none.
    ExecSync {
        container: ContainerId,
        command: Arc<[Text]>,
        timeout: Duration,
    },
    ListContainerStats,
    PullImage {
        image: Name,
        auth: Option<AuthConfig>,
        sandbox: Option<Arc<PodSandboxConfig>>,
    },
    ImageStatus {
        image: Name,
    },
    ListImages,
    RemoveImage {
        image: Name,
    },
    ImageFsInfo,
    UpdateRuntimeConfig {
        pod_cidr: Name,
    },
}

impl Call {
    /// The call's name in CRI, as in `cri.jsonl` recordings: `RunPodSandbox`.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Version => "Version",
            Call::Status => "Status",
            Call::RunPodSandbox(_) => "RunPodSandbox",
            Call::StopPodSandbox(_) => "StopPodSandbox",
            Call::RemovePodSandbox(_) => "RemovePodSandbox",
            Call::PodSandboxStatus(_) => "PodSandboxStatus",
            Call::ListPodSandbox { .. } => "ListPodSandbox",
            Call::CreateContainer { .. } => "CreateContainer",
            Call::StartContainer(_) => "StartContainer",
            Call::StopContainer { .. } => "StopContainer",
            Call::RemoveContainer(_) => "RemoveContainer",
            Call::ListContainers { .. } => "ListContainers",
            Call::ContainerStatus(_) => "ContainerStatus",
            Call::UpdateContainerResources { .. } => "UpdateContainerResources",
            Call::UpdatePodSandboxResources { .. } => "UpdatePodSandboxResources",
            Call::ExecSync { .. } => "ExecSync",
            Call::ListContainerStats => "ListContainerStats",
            Call::PullImage { .. } => "PullImage",
            Call::ImageStatus { .. } => "ImageStatus",
            Call::ListImages => "ListImages",
            Call::RemoveImage { .. } => "RemoveImage",
            Call::ImageFsInfo => "ImageFsInfo",
            Call::UpdateRuntimeConfig { .. } => "UpdateRuntimeConfig",
        }
    }
}

/// `PodSandboxConfig`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSandboxConfig {
    pub name: Name,
    pub namespace: Name,
    pub uid: Uid,
    pub attempt: u32,
    pub hostname: Name,
    /// The pod's labels; `io.kubernetes.pod.*` follow from the fields above.
    pub labels: Labels,
    pub annotations: Labels,
    pub log_directory: Name,
    pub cgroup_parent: Name,
    pub host_network: bool,
    pub runtime_handler: Name,
    /// None: the runtime leaves the container's `/etc/resolv.conf` as the image has it.
    pub dns: Option<Arc<DnsConfig>>,
    pub port_mappings: Vec<PortMapping>,
    pub security: SandboxSecurity,
    /// Names and values.
    pub sysctls: Vec<(Name, Name)>,
    /// `podPidsLimit`: processes of the pod's containers together; 0: as many as the machine allows. The kubelet writes it into
    /// the pod's cgroup; no runtime is told.
    pub pids_limit: i64,
    /// The sum of the containers' resources; None if no real runtime is told.
    pub resources: Option<LinuxResources>,
}

/// `DNSConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    pub servers: Vec<Name>,
    pub searches: Vec<Name>,
    /// `ndots:5`.
    pub options: Vec<Name>,
}

/// `PortMapping`: each port of each container, also those without a host port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub protocol: Protocol,
    pub container_port: u16,
    /// 0: none.
    pub host_port: u16,
    /// Empty: all addresses.
    pub host_ip: Name,
}

/// `LinuxSandboxSecurityContext`. Its seccomp profile is always the runtime's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxSecurity {
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    /// With `fsGroup` among them.
    pub supplemental_groups: Vec<i64>,
    /// True if a container of the pod is.
    pub privileged: bool,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
}

/// `NamespaceMode`, by its number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceMode {
    /// Shared by the pod's containers.
    #[default]
    Pod = 0,
    /// Each container has its own: the kubelet's choice for processes.
    Container = 1,
    /// The node's.
    Node = 2,
}

/// What of `LinuxContainerSecurityContext` most containers leave as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSecurity {
    pub run_as_group: Option<i64>,
    /// The image's user, if it is a name and the pod asks for no number.
    pub run_as_username: Name,
    /// With `fsGroup` among them.
    pub supplemental_groups: Vec<i64>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    pub add_capabilities: Vec<Name>,
    pub drop_capabilities: Vec<Name>,
    /// None: unconfined, the kubelet's default.
    pub seccomp: Option<Seccomp>,
    /// `procMount: Unmasked`; else the paths that runtimes mask are masked.
    pub unmasked: bool,
    /// It shares the processes of this container (`NamespaceMode_TARGET`), whatever `pid` says.
    pub target: Option<ContainerId>,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
}

/// Annotation of a container's configuration: `init`, `sidecar` or `regular`. simlet's own, for the simulated runtime, which
/// must guess what a program does of which nothing is known but why it is there.
pub const CONTAINER_TYPE: &str = "simlet.dev/container-type";
/// Annotation of a container's configuration: when it is started again, `Always`, `OnFailure` or `Never`. simlet's own.
pub const RESTART_POLICY: &str = "simlet.dev/restart-policy";

/// `ContainerConfig`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerConfig {
    pub name: Name,
    pub attempt: u32,
    pub image: Name,
    /// Empty: the image's entry point.
    pub command: Arc<[Text]>,
    pub args: Arc<[Text]>,
    pub working_dir: Name,
    pub envs: Vec<(Name, Text)>,
    pub mounts: Vec<Mount>,
    /// `<name>/<attempt>.log` in the sandbox's log directory.
    pub log_path: Name,
    pub resources: LinuxResources,
    pub run_as_user: Option<i64>,
    pub privileged: bool,
    pub read_only_root: bool,
    /// `io.kubernetes.container.restartCount`, hash, grace period and the like.
    pub annotations: Labels,
    /// Shared by the containers of a template; None: nothing but what is usual.
    pub security: Option<Arc<ContainerSecurity>>,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
}

/// A mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    pub container_path: Name,
    /// With the sub-path, if it has one.
    pub host_path: Name,
    pub read_only: bool,
    pub propagation: MountPropagation,
}

/// `LinuxContainerResources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinuxResources {
    /// In microseconds.
    pub cpu_period: i64,
    /// In microseconds; 0: none.
    pub cpu_quota: i64,
    pub cpu_shares: i64,
    /// 0: none.
    pub memory_limit_in_bytes: i64,
    pub oom_score_adj: i64,
    /// The OOM killer takes one process of the container instead of all (`memory.oom.group` 0).
    pub single_process_oom_kill: bool,
}

/// An answer of the runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub id: CallId,
    pub result: Result<Answer, Error>,
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Version {
        runtime_name: Name,
        runtime_version: Name,
    },
    Status {
        runtime_ready: Result<(), Text>,
        network_ready: Result<(), Text>,
    },
    Sandbox(SandboxId),
    SandboxStatus(Box<SandboxStatus>),
    Sandboxes(Vec<SandboxSummary>),
    Container(ContainerId),
    ContainerStatus(Box<ContainerStatus>),
    Containers(Vec<ContainerSummary>),
    Exec {
        exit_code: i32,
        output: Text,
    },
    Stats(Vec<ContainerStats>),
    /// The image's id after a pull.
    Image(ImageId),
    /// None: the image is not there.
    ImageStatus(Option<Image>),
    Images(Vec<Image>),
    ImageFs {
        used_bytes: i64,
        inodes_used: i64,
    },
    Done,
}

/// An image's id (digest of its configuration), as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u64);

/// An image that the runtime has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    pub names: Vec<Name>,
    /// As the runtime reckons: of the compressed layers (containerd), or on the disk.
    pub size_bytes: i64,
    pub user: Option<i64>,
    pub pinned: bool,
}

/// The state of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SandboxState {
    Ready,
    NotReady,
}

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// An entry of ListPodSandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxSummary {
    pub id: SandboxId,
    pub pod: Uid,
    pub namespace: Name,
    pub name: Name,
    pub attempt: u32,
    pub state: SandboxState,
    pub created_at: Time,
}

/// `PodSandboxStatus`.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxStatus {
    pub summary: SandboxSummary,
    /// None with the host's network.
    pub ip: Option<Ipv4Addr>,
    pub host_network: bool,
    /// A real runtime's own id, whole; empty for a simulated one.
    pub runtime_id: Name,
}

/// An entry of ListContainers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerSummary {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub pod: Uid,
    pub name: Name,
    pub attempt: u32,
    pub image: Name,
    pub state: ContainerState,
    pub created_at: Time,
}

/// `ContainerStatus`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStatus {
    pub summary: ContainerSummary,
    pub started_at: Moment,
    pub finished_at: Moment,
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …; empty while it runs.
    pub reason: Name,
    pub message: Text,
    /// What the kubelet put there at creation.
    pub annotations: Labels,
    /// As the API shows it, with a real runtime's own id: `containerd://` and 64 digits; empty for a simulated one.
    pub runtime_id: Name,
    /// `image_ref`: the image by its digest, or its id; empty for a simulated one.
    pub image_ref: Name,
}

/// Usage of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    pub container: ContainerId,
    pub pod: Uid,
    /// CPU time since the container's start, in nanoseconds.
    pub cpu_usage_core_nanos: u64,
    pub memory_working_set_bytes: i64,
    pub filesystem_used_bytes: i64,
}

/// An error with its gRPC code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {code:?} desc = {message}")]
pub struct Error {
    pub code: Code,
    pub message: Text,
}

impl Error {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<Text>) -> Error {
        Error { code, message: message.into() }
    }
}

/// The gRPC codes that the kubelet tells apart, and `Unknown` for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Unknown,
    NotFound,
    DeadlineExceeded,
    Unimplemented,
    Unavailable,
    ResourceExhausted,
}

/// An event of GetContainerEvents. A kubelet whose runtime sends them need not relist while nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    pub pod: Uid,
    /// None: the sandbox itself.
    pub container: Option<ContainerId>,
    pub kind: ContainerEventType,
    pub created_at: Time,
}

/// What happened to a container or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEventType {
    Created,
    Started,
    Stopped,
    Deleted,
}
