//! Pods: the spec that replicas share, and the status of each.
//!
//! Kubernetes: staging/src/k8s.io/api/core/v1/types.go.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::kernel::{Duration, Moment, Time};

use super::condition::{self, Conditions};
use super::device::{ExtendedClaim, PodClaim};
use super::resources::ResourceList;
use super::{Affinity, Kind, Labels, Meta, Name, Resources, Source, Text, Toleration, TopologySpreadConstraint};

/// A pod. Its spec is shared with the other pods of its template; what differs between them stands here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub meta: Meta,
    pub spec: Arc<PodSpec>,
    /// `spec.nodeName`: set by the binding, or by the user.
    pub node: Option<Name>,
    pub status: PodStatus,
}

/// `spec` of a pod or of a pod template, after defaulting.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSpec {
    pub containers: Arc<[Container]>,
    /// In order; those with [`ContainerRestartPolicy::Always`] are sidecars.
    pub init_containers: Arc<[Container]>,
    /// `ephemeralContainers`: added to a pod that runs, for a look at it; started once, never again.
    pub ephemeral_containers: Arc<[Container]>,
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub termination_grace: Duration,
    /// `activeDeadlineSeconds`.
    pub active_deadline: Option<Duration>,
    pub node_selector: Labels,
    pub affinity: Option<Arc<Affinity>>,
    pub tolerations: Arc<[Toleration]>,
    pub topology_spread: Arc<[TopologySpreadConstraint]>,
    pub scheduler_name: Name,
    /// Resolved from the class by admission.
    pub priority: i32,
    pub priority_class: Name,
    /// `preemptionPolicy: Never`.
    pub preempts_never: bool,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    /// `enableServiceLinks`, true by default: services become environment variables.
    pub enable_service_links: bool,
    /// `dnsPolicy` and `dnsConfig`; None: ClusterFirst and nothing more.
    pub dns: Option<Arc<Dns>>,
    pub host_aliases: Vec<HostAlias>,
    /// `hostUsers`, true by default.
    pub host_users: bool,
    pub volumes: Arc<[Volume]>,
    pub service_account: Name,
    /// `automountServiceAccountToken`, true by default: the pod has a projected token volume.
    pub automount_token: bool,
    pub overhead: Option<Box<Resources>>,
    /// Pod-level resources (1.34).
    pub resources: Option<Box<ResourceRequirements>>,
    /// `readinessGates`: condition types.
    pub readiness_gates: Arc<[Name]>,
    pub scheduling_gates: Arc<[Name]>,
    pub hostname: Name,
    pub subdomain: Name,
    pub runtime_class: Name,
    /// `resourceClaims`: devices, each by a name that containers use.
    pub resource_claims: Arc<[PodClaim]>,
    pub image_pull_secrets: Arc<[Name]>,
    /// `spec.os.name`, empty if unset.
    pub os: Name,
    /// `securityContext` of the pod.
    pub security: SecurityContext,
    /// The line of the pod or of its template.
    pub source: Option<Source>,
}

impl Default for PodSpec {
    fn default() -> PodSpec {
        PodSpec {
            containers: Arc::new([]),
            init_containers: Arc::new([]),
            ephemeral_containers: Arc::new([]),
            restart_policy: RestartPolicy::Always,
            termination_grace: Duration::from_secs(30),
            active_deadline: None,
            node_selector: Labels::default(),
            affinity: None,
            tolerations: Arc::new([]),
            topology_spread: Arc::new([]),
            scheduler_name: Name::new("default-scheduler"),
            priority: 0,
            priority_class: Name::default(),
            preempts_never: false,
            host_network: false,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            enable_service_links: true,
            dns: None,
            host_aliases: Vec::new(),
            host_users: true,
            volumes: Arc::new([]),
            service_account: Name::default(),
            automount_token: true,
            overhead: None,
            resources: None,
            readiness_gates: Arc::new([]),
            scheduling_gates: Arc::new([]),
            hostname: Name::default(),
            subdomain: Name::default(),
            runtime_class: Name::default(),
            resource_claims: Arc::new([]),
            image_pull_secrets: Arc::new([]),
            os: Name::default(),
            security: SecurityContext::default(),
            source: None,
        }
    }
}

/// How a pod finds names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub policy: DnsPolicy,
    pub nameservers: Vec<Name>,
    pub searches: Vec<Name>,
    /// Names, and values where they have one.
    pub options: Vec<(Name, Option<Name>)>,
}

/// `dnsPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsPolicy {
    #[default]
    ClusterFirst,
    ClusterFirstWithHostNet,
    Default,
    None,
}

/// A line of a pod's `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAlias {
    pub ip: Name,
    pub hostnames: Vec<Name>,
}

/// When a pod's containers are started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    pub name: Name,
    /// As written, without a default tag.
    pub image: Name,
    pub image_pull_policy: ImagePullPolicy,
    /// Empty: the image's entry point.
    pub command: Arc<[Text]>,
    pub args: Arc<[Text]>,
    pub working_dir: Name,
    pub ports: Vec<ContainerPort>,
    pub env: Vec<EnvVar>,
    pub env_from: Vec<EnvFrom>,
    pub resources: ResourceRequirements,
    /// `resources.claims`: names of the pod's claims, each with a request of it (empty: all).
    pub claims: Vec<(Name, Name)>,
    pub liveness: Option<Arc<Probe>>,
    pub readiness: Option<Arc<Probe>>,
    pub startup: Option<Arc<Probe>>,
    pub post_start: Option<Arc<Handler>>,
    pub pre_stop: Option<Arc<Handler>>,
    /// `restartPolicy` of the container; for an init container `Always` makes it a sidecar.
    pub restart_policy: Option<RestartPolicy>,
    pub restart_rules: Vec<RestartRule>,
    /// `resizePolicy`: resources, and whether their resize restarts the container.
    pub resize_policy: Vec<(Name, bool)>,
    pub volume_mounts: Vec<VolumeMount>,
    pub security: SecurityContext,
    pub termination_message_path: Name,
    /// `terminationMessagePolicy: FallbackToLogsOnError`.
    pub message_from_logs: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    /// `targetContainerName` of an ephemeral container: it sees the processes of this one. Empty: none.
    pub target: Name,
    pub source: Option<Source>,
}

impl Container {
    /// True for an init container that keeps running beside the others.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }
}

/// `resources` of a container or pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceRequirements {
    pub requests: ResourceList,
    pub limits: ResourceList,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ImagePullPolicy {
    #[default]
    IfNotPresent,
    Always,
    Never,
}

/// A port that a container declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    pub name: Name,
    pub port: u16,
    /// 0: none.
    pub host_port: u16,
    /// Empty: all addresses.
    pub host_ip: Name,
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    pub name: Name,
    pub value: EnvValue,
}

/// Where an environment variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    Literal(Text),
    ConfigMapKey {
        config_map: Name,
        key: Name,
        optional: bool,
    },
    SecretKey {
        secret: Name,
        key: Name,
        optional: bool,
    },
    /// `fileKeyRef`: a key of a file in a volume.
    FileKey {
        volume: Name,
        path: Name,
        key: Name,
        optional: bool,
    },
    /// `fieldRef`, such as `status.podIP`.
    Field(Name),
    /// `resourceFieldRef`: container (empty: this one) and resource, such as `limits.memory`.
    ResourceField {
        container: Name,
        resource: Name,
        /// A quantity as written; empty: 1.
        divisor: Name,
    },
}

/// All keys of a ConfigMap or Secret as environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFrom {
    pub from: ConfigSource,
    pub prefix: Name,
    pub optional: bool,
}

/// A ConfigMap or a Secret of the pod's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    ConfigMap(Name),
    Secret(Name),
}

impl ConfigSource {
    /// Which object it is, in the pod's namespace.
    pub fn kind_and_name(self) -> (Kind, Name) {
        match self {
            ConfigSource::ConfigMap(name) => (Kind::ConfigMap, name),
            ConfigSource::Secret(name) => (Kind::Secret, name),
        }
    }
}

/// Where a volume appears in a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeMount {
    pub volume: Name,
    pub path: Name,
    pub sub_path: Name,
    /// `subPathExpr`, with `$(VAR)`.
    pub sub_path_expr: Name,
    pub read_only: bool,
    pub propagation: MountPropagation,
}

/// `mountPropagation`, by its number in CRI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MountPropagation {
    #[default]
    None = 0,
    HostToContainer = 1,
    Bidirectional = 2,
}

/// A key of a ConfigMap or Secret as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyToPath {
    pub key: Name,
    pub path: Name,
    pub mode: Option<i32>,
}

/// A fact of the pod as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownwardFile {
    pub path: Name,
    /// A field, or a resource of a container.
    pub value: EnvValue,
    pub mode: Option<i32>,
}

/// A source of a projected volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectedSource {
    Config {
        from: ConfigSource,
        optional: bool,
        items: Vec<KeyToPath>,
    },
    DownwardApi(Vec<DownwardFile>),
    Token {
        path: Name,
        audience: Name,
        expiration_seconds: Option<i64>,
    },
    /// `clusterTrustBundle`, `podCertificate`: nothing is made of them.
    Other,
}

/// The mode of a volume's files if nothing else is said (0644).
pub const DEFAULT_MODE: i32 = 0o644;

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub name: Name,
    pub source: VolumeSource,
}

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSource {
    EmptyDir {
        memory: bool,
        size_limit: Option<super::Bytes>,
    },
    HostPath {
        path: Name,
        kind: Name,
    },
    ConfigMap {
        name: Name,
        optional: bool,
        items: Vec<KeyToPath>,
        default_mode: i32,
    },
    Secret {
        name: Name,
        optional: bool,
        items: Vec<KeyToPath>,
        default_mode: i32,
    },
    /// `persistentVolumeClaim`.
    Claim {
        name: Name,
        read_only: bool,
    },
    /// A generic ephemeral volume: a claim of its own, called `<pod>-<volume>`.
    Ephemeral {
        template: Arc<super::storage::ClaimSpec>,
    },
    Projected {
        sources: Vec<ProjectedSource>,
        default_mode: i32,
    },
    DownwardApi {
        items: Vec<DownwardFile>,
        default_mode: i32,
    },
    Image {
        reference: Name,
        pull_policy: ImagePullPolicy,
    },
    /// A CSI inline volume or one of the in-tree kinds, by the driver's name: it mounts, nothing more.
    Other {
        driver: Name,
        id: Name,
        read_only: bool,
        /// What the id is unique in: of an RBD image the pool, then the monitors.
        within: Vec<Name>,
    },
}

/// A probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub handler: Handler,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    /// The probe's own `terminationGracePeriodSeconds`.
    pub termination_grace: Option<Duration>,
}

/// What a probe or a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    Exec { command: Vec<Text> },
    HttpGet { path: Name, port: PortRef, host: Name, https: bool, headers: Vec<(Name, Text)> },
    TcpSocket { port: PortRef, host: Name },
    Grpc { port: u16, service: Name },
    Sleep(Duration),
}

/// A port by number or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    Number(u16),
    Name(Name),
}

/// The parts of `securityContext` that change what a node does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityContext {
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub run_as_non_root: Option<bool>,
    pub fs_group: Option<i64>,
    pub privileged: bool,
    pub read_only_root_filesystem: bool,
    /// Container only.
    pub allow_privilege_escalation: Option<bool>,
    /// Container only, without `CAP_`.
    pub add_capabilities: Vec<Name>,
    pub drop_capabilities: Vec<Name>,
    pub seccomp: Option<Seccomp>,
    /// Container only: `procMount: Unmasked`.
    pub unmasked: bool,
    /// Pod only.
    pub supplemental_groups: Vec<i64>,
    /// Pod only: `sysctls`, names and values.
    pub sysctls: Vec<(Name, Name)>,
}

/// `seccompProfile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seccomp {
    RuntimeDefault,
    Unconfined,
    /// A file below the kubelet's seccomp folder.
    Localhost(Name),
}

/// `restartPolicyRules` of a container (1.35).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// `Restart`, or (true) `RestartAllContainers`.
    pub restart_all: bool,
    /// `NotIn` instead of `In`.
    pub negated: bool,
    pub exit_codes: Vec<i32>,
}

/// `status` of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodStatus {
    pub phase: Phase,
    pub reason: Name,
    pub message: Text,
    pub conditions: Conditions,
    /// In the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// Sorted by name, as the kubelet writes them.
    pub containers: Vec<ContainerStatus>,
    /// Sorted by name; nothing else of the status depends on them.
    pub ephemeral_containers: Vec<ContainerStatus>,
    /// When the kubelet first stored a status.
    pub start_time: Option<Time>,
    pub pod_ip: Option<Ipv4Addr>,
    pub host_ip: Option<Ipv4Addr>,
    pub nominated_node: Option<Name>,
    /// `resourceClaimStatuses`: the claims that were made from templates, by their names in the pod (None: none was).
    pub claims: Vec<(Name, Option<Name>)>,
    /// `extendedResourceClaimStatus`: the claim that the scheduler made for extended resources.
    pub extended_claim: Option<Arc<ExtendedClaim>>,
    /// Containers that have, or may use, other resources than their spec says, because a resize is under way.
    pub resizing: Option<Arc<[ContainerResize]>>,
}

/// A container whose resize is not done: `allocatedResources` and `resources` of its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerResize {
    pub name: Name,
    /// What the kubelet has set aside for it.
    pub allocated: ResourceRequirements,
    /// What it runs with.
    pub actual: ResourceRequirements,
}

/// A pod's phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl Phase {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
            Phase::Unknown => "Unknown",
        }
    }

    /// Succeeded or Failed: the pod never runs again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// The status of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStatus {
    pub name: Name,
    pub state: ContainerState,
    /// The run before this one.
    pub last_terminated: Option<Box<Terminated>>,
    pub ready: bool,
    pub started: Option<bool>,
    pub restart_count: u32,
    pub image: Name,
    /// 0: none yet.
    pub container_id: u64,
    /// `containerID` as a real runtime has it, `containerd://` and 64 digits; empty where the number is all there is.
    pub runtime_id: Name,
    /// `imageID`: the image's digest or id, as a real runtime says it.
    pub image_id: Name,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    Waiting { reason: Name, message: Text },
    Running { started_at: Moment },
    Terminated(Box<Terminated>),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terminated {
    pub exit_code: i32,
    pub signal: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: Name,
    pub message: Text,
    pub started_at: Moment,
    pub finished_at: Moment,
    pub container_id: u64,
    /// As in [`ContainerStatus`].
    pub runtime_id: Name,
}

impl Pod {
    /// True if the Ready condition is True.
    pub fn is_ready(&self) -> bool {
        condition::is_true(&self.status.conditions, "Ready")
    }

    /// True once the pod's deletion was asked for.
    pub fn is_terminating(&self) -> bool {
        self.meta.deletion.is_some()
    }

    /// True if the pod is neither terminal nor being deleted (`IsPodActive` of the controllers).
    pub fn is_active(&self) -> bool {
        !self.status.phase.is_terminal() && self.meta.deletion.is_none()
    }

    /// True if the pod has been Ready for `min_ready` (`IsPodAvailable`).
    pub fn is_available(&self, now: Time, min_ready: Duration) -> bool {
        match condition::find(&self.status.conditions, "Ready") {
            Some(ready) if ready.status == super::ConditionStatus::True => {
                min_ready.is_zero() || ready.last_transition.truncated_to_second() + min_ready <= now
            }
            _ => false,
        }
    }

    /// All restarts of all containers.
    pub fn restarts(&self) -> u32 {
        self.status.containers.iter().map(|status| status.restart_count).sum()
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }
}
