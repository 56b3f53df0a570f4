//! CRI v1 on the wire: its messages, with the field numbers of Kubernetes 1.36, and the names of its methods.
//!
//! Kubernetes: staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto. Written by hand as a table, so that building simlet
//! needs no protobuf compiler; what a message has beyond these fields (Windows, checkpoints) is skipped when read.

/// `runtime.v1.RuntimeService`, before a method's name in a request's path.
pub const RUNTIME_SERVICE: &str = "/runtime.v1.RuntimeService/";
/// `runtime.v1.ImageService`, before a method's name in a request's path.
pub const IMAGE_SERVICE: &str = "/runtime.v1.ImageService/";

/// A map of labels, annotations or the like.
pub type Map = std::collections::BTreeMap<String, String>;

/// Structs from lines that read as in protobuf: `kind name = number;`.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => {
        $(message!($(#[$doc])* $name {} $($fields)*);)*
    };
}

/// One struct: takes its fields line by line.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident {$($done:tt)*}) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name { $($done)* }
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} map $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(btree_map = "string, string", tag = $t)] pub $f: Map,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} repeated string $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(string, repeated, tag = $t)] pub $f: Vec<String>,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} repeated int64 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(int64, repeated, tag = $t)] pub $f: Vec<i64>,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} repeated int32 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(int32, repeated, tag = $t)] pub $f: Vec<i32>,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} repeated $m:ident $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(message, repeated, tag = $t)] pub $f: Vec<$m>,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} enum $e:ident $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(enumeration($e), tag = $t)] pub $f: i32,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} string $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(string, tag = $t)] pub $f: String,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} bytes $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(bytes = "vec", tag = $t)] pub $f: Vec<u8>,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} bool $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(bool, tag = $t)] pub $f: bool,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} int32 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(int32, tag = $t)] pub $f: i32,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} int64 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(int64, tag = $t)] pub $f: i64,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} uint32 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(uint32, tag = $t)] pub $f: u32,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} uint64 $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(uint64, tag = $t)] pub $f: u64,} $($rest)*);
    };
    ($(#[$d:meta])* $n:ident {$($done:tt)*} $m:ident $f:ident = $t:tt; $($rest:tt)*) => {
        message!($(#[$d])* $n {$($done)* #[prost(message, optional, tag = $t)] pub $f: Option<$m>,} $($rest)*);
    };
}

/// Enumerations, with their values.
macro_rules! enumerations {
    ($($(#[$doc:meta])* $name:ident { $($value:ident = $number:literal),+ $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
        #[repr(i32)]
        pub enum $name { $($value = $number),+ }
    )*};
}

enumerations! {
    /// The protocol of a port mapping.
    Protocol { Tcp = 0, Udp = 1, Sctp = 2 }
    /// How mounts made later travel between host and container.
    MountPropagation { Private = 0, HostToContainer = 1, Bidirectional = 2 }
    /// Whose namespace it is.
    NamespaceMode { Pod = 0, Container = 1, Node = 2, Target = 3 }
    /// How supplemental groups are put together.
    SupplementalGroupsPolicy { Merge = 0, Strict = 1 }
    /// Which security profile.
    ProfileType { RuntimeDefault = 0, Unconfined = 1, Localhost = 2 }
    /// The state of a sandbox.
    PodSandboxState { Ready = 0, NotReady = 1 }
    /// The state of a container.
    ContainerState { Created = 0, Running = 1, Exited = 2, Unknown = 3 }
    /// What happened to a container.
    ContainerEventType { Created = 0, Started = 1, Stopped = 2, Deleted = 3 }
    /// Whether a metric only grows.
    MetricType { Counter = 0, Gauge = 1 }
    /// Who manages cgroups.
    CgroupDriver { Systemd = 0, Cgroupfs = 1 }
}

// The runtime itself.
messages! {
    /// Version, asked.
    VersionRequest { string version = 1; }
    /// Version, answered.
    VersionResponse { string version = 1; string runtime_name = 2; string runtime_version = 3; string runtime_api_version = 4; }
    /// Status, asked.
    StatusRequest { bool verbose = 1; }
    /// `RuntimeReady` or `NetworkReady`.
    RuntimeCondition { string r#type = 1; bool status = 2; string reason = 3; string message = 4; }
    /// All conditions.
    RuntimeStatus { repeated RuntimeCondition conditions = 1; }
    /// What a handler can do.
    RuntimeHandlerFeatures { bool recursive_read_only_mounts = 1; bool user_namespaces = 2; }
    /// A handler of RuntimeClasses.
    RuntimeHandler { string name = 1; RuntimeHandlerFeatures features = 2; }
    /// What the runtime can do.
    RuntimeFeatures { bool supplemental_groups_policy = 1; bool user_namespaces_host_network = 2; }
    /// Status, answered.
    StatusResponse {
        RuntimeStatus status = 1; map info = 2; repeated RuntimeHandler runtime_handlers = 3; RuntimeFeatures features = 4;
    }
    /// RuntimeConfig, asked.
    RuntimeConfigRequest {}
    /// Linux' part of the runtime's configuration.
    LinuxRuntimeConfiguration { enum CgroupDriver cgroup_driver = 1; }
    /// RuntimeConfig, answered.
    RuntimeConfigResponse { LinuxRuntimeConfiguration linux = 1; }
    /// The pods' network.
    NetworkConfig { string pod_cidr = 1; }
    /// What the kubelet tells the runtime.
    RuntimeConfig { NetworkConfig network_config = 1; }
    /// UpdateRuntimeConfig, asked.
    UpdateRuntimeConfigRequest { RuntimeConfig runtime_config = 1; }
    /// Nothing to say: the answer of calls that only succeed.
    Empty {}
}

// Sandboxes.
messages! {
    /// A pod's resolv.conf.
    DnsConfig { repeated string servers = 1; repeated string searches = 2; repeated string options = 3; }
    /// A port of the host.
    PortMapping { enum Protocol protocol = 1; int32 container_port = 2; int32 host_port = 3; string host_ip = 4; }
    /// A range of user or group ids.
    IdMapping { uint32 host_id = 1; uint32 container_id = 2; uint32 length = 3; }
    /// A pod's user namespace.
    UserNamespace { enum NamespaceMode mode = 1; repeated IdMapping uids = 2; repeated IdMapping gids = 3; }
    /// The namespaces of a sandbox or container.
    NamespaceOption {
        enum NamespaceMode network = 1; enum NamespaceMode pid = 2; enum NamespaceMode ipc = 3; string target_id = 4;
        UserNamespace userns_options = 5;
    }
    /// A number that may be absent.
    Int64Value { int64 value = 1; }
    /// A number that may be absent.
    UInt64Value { uint64 value = 1; }
    /// SELinux' label.
    SeLinuxOption { string user = 1; string role = 2; string r#type = 3; string level = 4; }
    /// A seccomp or AppArmor profile.
    SecurityProfile { enum ProfileType profile_type = 1; string localhost_ref = 2; }
    /// The security of a sandbox.
    LinuxSandboxSecurityContext {
        NamespaceOption namespace_options = 1; SeLinuxOption selinux_options = 2; Int64Value run_as_user = 3;
        bool readonly_rootfs = 4; repeated int64 supplemental_groups = 5; bool privileged = 6;
        string seccomp_profile_path = 7; Int64Value run_as_group = 8; SecurityProfile seccomp = 9;
        SecurityProfile apparmor = 10; enum SupplementalGroupsPolicy supplemental_groups_policy = 11;
    }
    /// Linux' part of a sandbox's configuration.
    LinuxPodSandboxConfig {
        string cgroup_parent = 1; LinuxSandboxSecurityContext security_context = 2; map sysctls = 3;
        LinuxContainerResources overhead = 4; LinuxContainerResources resources = 5;
    }
    /// What names a sandbox.
    PodSandboxMetadata { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
    /// A sandbox's configuration.
    PodSandboxConfig {
        PodSandboxMetadata metadata = 1; string hostname = 2; string log_directory = 3; DnsConfig dns_config = 4;
        repeated PortMapping port_mappings = 5; map labels = 6; map annotations = 7; LinuxPodSandboxConfig linux = 8;
    }
    /// RunPodSandbox, asked.
    RunPodSandboxRequest { PodSandboxConfig config = 1; string runtime_handler = 2; }
    /// RunPodSandbox, answered.
    RunPodSandboxResponse { string pod_sandbox_id = 1; }
    /// StopPodSandbox, RemovePodSandbox and PortForward's sandbox, PodSandboxStats: a sandbox.
    PodSandboxRequest { string pod_sandbox_id = 1; }
    /// PodSandboxStatus, asked.
    PodSandboxStatusRequest { string pod_sandbox_id = 1; bool verbose = 2; }
    /// An address.
    PodIp { string ip = 1; }
    /// A sandbox's addresses.
    PodSandboxNetworkStatus { string ip = 1; repeated PodIp additional_ips = 2; }
    /// A sandbox's namespaces.
    Namespace { NamespaceOption options = 2; }
    /// Linux' part of a sandbox's status.
    LinuxPodSandboxStatus { Namespace namespaces = 1; }
    /// A sandbox's status.
    PodSandboxStatus {
        string id = 1; PodSandboxMetadata metadata = 2; enum PodSandboxState state = 3; int64 created_at = 4;
        PodSandboxNetworkStatus network = 5; LinuxPodSandboxStatus linux = 6; map labels = 7; map annotations = 8;
        string runtime_handler = 9;
    }
    /// PodSandboxStatus, answered.
    PodSandboxStatusResponse {
        PodSandboxStatus status = 1; map info = 2; repeated ContainerStatus containers_statuses = 3; int64 timestamp = 4;
    }
    /// A state to filter by.
    PodSandboxStateValue { enum PodSandboxState state = 1; }
    /// Which sandboxes.
    PodSandboxFilter { string id = 1; PodSandboxStateValue state = 2; map label_selector = 3; }
    /// ListPodSandbox, asked.
    ListPodSandboxRequest { PodSandboxFilter filter = 1; }
    /// A sandbox in a list.
    PodSandbox {
        string id = 1; PodSandboxMetadata metadata = 2; enum PodSandboxState state = 3; int64 created_at = 4;
        map labels = 5; map annotations = 6; string runtime_handler = 7;
    }
    /// ListPodSandbox, answered; StreamPodSandboxes answers with such lists.
    ListPodSandboxResponse { repeated PodSandbox items = 1; }
    /// UpdatePodSandboxResources, asked.
    UpdatePodSandboxResourcesRequest {
        string pod_sandbox_id = 1; LinuxContainerResources overhead = 2; LinuxContainerResources resources = 3;
    }
}

// Containers.
messages! {
    /// A variable, or any pair.
    KeyValue { string key = 1; string value = 2; }
    /// Huge pages of one size.
    HugepageLimit { string page_size = 1; uint64 limit = 2; }
    /// What a container may use; 0 and empty: not said.
    LinuxContainerResources {
        int64 cpu_period = 1; int64 cpu_quota = 2; int64 cpu_shares = 3; int64 memory_limit_in_bytes = 4;
        int64 oom_score_adj = 5; string cpuset_cpus = 6; string cpuset_mems = 7;
        repeated HugepageLimit hugepage_limits = 8; map unified = 9; int64 memory_swap_limit_in_bytes = 10;
    }
    /// Linux capabilities.
    Capability {
        repeated string add_capabilities = 1; repeated string drop_capabilities = 2;
        repeated string add_ambient_capabilities = 3;
    }
    /// The security of a container.
    LinuxContainerSecurityContext {
        Capability capabilities = 1; bool privileged = 2; NamespaceOption namespace_options = 3;
        SeLinuxOption selinux_options = 4; Int64Value run_as_user = 5; string run_as_username = 6;
        bool readonly_rootfs = 7; repeated int64 supplemental_groups = 8; string apparmor_profile = 9;
        string seccomp_profile_path = 10; bool no_new_privs = 11; Int64Value run_as_group = 12;
        repeated string masked_paths = 13; repeated string readonly_paths = 14; SecurityProfile seccomp = 15;
        SecurityProfile apparmor = 16; enum SupplementalGroupsPolicy supplemental_groups_policy = 17;
    }
    /// Linux' part of a container's configuration.
    LinuxContainerConfig { LinuxContainerResources resources = 1; LinuxContainerSecurityContext security_context = 2; }
    /// Whom a container runs as.
    LinuxContainerUser { int64 uid = 1; int64 gid = 2; repeated int64 supplemental_groups = 3; }
    /// Whom a container runs as.
    ContainerUser { LinuxContainerUser linux = 1; }
    /// What a container may use.
    ContainerResources { LinuxContainerResources linux = 1; }
    /// A mount.
    Mount {
        string container_path = 1; string host_path = 2; bool readonly = 3; bool selinux_relabel = 4;
        enum MountPropagation propagation = 5; repeated IdMapping uid_mappings = 6; repeated IdMapping gid_mappings = 7;
        bool recursive_read_only = 8; ImageSpec image = 9; string image_sub_path = 10;
    }
    /// A device of the host.
    Device { string container_path = 1; string host_path = 2; string permissions = 3; }
    /// A device by CDI.
    CdiDevice { string name = 1; }
    /// What names a container in its sandbox.
    ContainerMetadata { string name = 1; uint32 attempt = 2; }
    /// A container's configuration. `stop_signal` 23 is SIGTERM, 13 SIGKILL, 0 the runtime's choice.
    ContainerConfig {
        ContainerMetadata metadata = 1; ImageSpec image = 2; repeated string command = 3; repeated string args = 4;
        string working_dir = 5; repeated KeyValue envs = 6; repeated Mount mounts = 7; repeated Device devices = 8;
        map labels = 9; map annotations = 10; string log_path = 11; bool stdin = 12; bool stdin_once = 13; bool tty = 14;
        LinuxContainerConfig linux = 15; repeated CdiDevice cdi_devices = 17; int32 stop_signal = 18;
    }
    /// CreateContainer, asked.
    CreateContainerRequest { string pod_sandbox_id = 1; ContainerConfig config = 2; PodSandboxConfig sandbox_config = 3; }
    /// CreateContainer, answered.
    CreateContainerResponse { string container_id = 1; }
    /// StartContainer, RemoveContainer, ReopenContainerLog, ContainerStats: a container.
    ContainerRequest { string container_id = 1; }
    /// StopContainer, asked; the timeout in seconds.
    StopContainerRequest { string container_id = 1; int64 timeout = 2; }
    /// A state to filter by.
    ContainerStateValue { enum ContainerState state = 1; }
    /// Which containers.
    ContainerFilter { string id = 1; ContainerStateValue state = 2; string pod_sandbox_id = 3; map label_selector = 4; }
    /// ListContainers, asked.
    ListContainersRequest { ContainerFilter filter = 1; }
    /// A container in a list.
    Container {
        string id = 1; string pod_sandbox_id = 2; ContainerMetadata metadata = 3; ImageSpec image = 4; string image_ref = 5;
        enum ContainerState state = 6; int64 created_at = 7; map labels = 8; map annotations = 9; string image_id = 10;
    }
    /// ListContainers, answered; StreamContainers answers with such lists.
    ListContainersResponse { repeated Container containers = 1; }
    /// ContainerStatus, asked.
    ContainerStatusRequest { string container_id = 1; bool verbose = 2; }
    /// A container's status.
    ContainerStatus {
        string id = 1; ContainerMetadata metadata = 2; enum ContainerState state = 3; int64 created_at = 4;
        int64 started_at = 5; int64 finished_at = 6; int32 exit_code = 7; ImageSpec image = 8; string image_ref = 9;
        string reason = 10; string message = 11; map labels = 12; map annotations = 13; repeated Mount mounts = 14;
        string log_path = 15; ContainerResources resources = 16; string image_id = 17; ContainerUser user = 18;
        int32 stop_signal = 19;
    }
    /// ContainerStatus, answered.
    ContainerStatusResponse { ContainerStatus status = 1; map info = 2; }
    /// UpdateContainerResources, asked.
    UpdateContainerResourcesRequest { string container_id = 1; LinuxContainerResources linux = 2; map annotations = 4; }
    /// ExecSync, asked; the timeout in seconds.
    ExecSyncRequest { string container_id = 1; repeated string cmd = 2; int64 timeout = 3; }
    /// ExecSync, answered.
    ExecSyncResponse { bytes stdout = 1; bytes stderr = 2; int32 exit_code = 3; }
    /// Exec, asked.
    ExecRequest {
        string container_id = 1; repeated string cmd = 2; bool tty = 3; bool stdin = 4; bool stdout = 5; bool stderr = 6;
    }
    /// Attach, asked.
    AttachRequest { string container_id = 1; bool stdin = 2; bool tty = 3; bool stdout = 4; bool stderr = 5; }
    /// PortForward, asked.
    PortForwardRequest { string pod_sandbox_id = 1; repeated int32 port = 2; }
    /// Exec, Attach and PortForward, answered: where to connect to.
    StreamingResponse { string url = 1; }
    /// GetContainerEvents, asked.
    GetEventsRequest {}
    /// An event of GetContainerEvents.
    ContainerEventResponse {
        string container_id = 1; enum ContainerEventType container_event_type = 2; int64 created_at = 3;
        PodSandboxStatus pod_sandbox_status = 4; repeated ContainerStatus containers_statuses = 5;
    }
}

// Usage.
messages! {
    /// CPU used.
    CpuUsage { int64 timestamp = 1; UInt64Value usage_core_nano_seconds = 2; UInt64Value usage_nano_cores = 3; }
    /// Memory used.
    MemoryUsage {
        int64 timestamp = 1; UInt64Value working_set_bytes = 2; UInt64Value available_bytes = 3; UInt64Value usage_bytes = 4;
        UInt64Value rss_bytes = 5; UInt64Value page_faults = 6; UInt64Value major_page_faults = 7;
    }
    /// Swap used.
    SwapUsage { int64 timestamp = 1; UInt64Value swap_available_bytes = 2; UInt64Value swap_usage_bytes = 3; }
    /// Which file system.
    FilesystemIdentifier { string mountpoint = 1; }
    /// Disk used.
    FilesystemUsage {
        int64 timestamp = 1; FilesystemIdentifier fs_id = 2; UInt64Value used_bytes = 3; UInt64Value inodes_used = 4;
    }
    /// What an interface carried.
    NetworkInterfaceUsage {
        string name = 1; UInt64Value rx_bytes = 2; UInt64Value rx_errors = 3; UInt64Value tx_bytes = 4;
        UInt64Value tx_errors = 5;
    }
    /// What all interfaces carried.
    NetworkUsage {
        int64 timestamp = 1; NetworkInterfaceUsage default_interface = 2; repeated NetworkInterfaceUsage interfaces = 3;
    }
    /// Processes.
    ProcessUsage { int64 timestamp = 1; UInt64Value process_count = 2; }
    /// Whose usage it is.
    ContainerAttributes { string id = 1; ContainerMetadata metadata = 2; map labels = 3; map annotations = 4; }
    /// What a container uses.
    ContainerStats {
        ContainerAttributes attributes = 1; CpuUsage cpu = 2; MemoryUsage memory = 3; FilesystemUsage writable_layer = 4;
        SwapUsage swap = 5;
    }
    /// Which containers.
    ContainerStatsFilter { string id = 1; string pod_sandbox_id = 2; map label_selector = 3; }
    /// ContainerStats, answered.
    ContainerStatsResponse { ContainerStats stats = 1; }
    /// ListContainerStats, asked.
    ListContainerStatsRequest { ContainerStatsFilter filter = 1; }
    /// ListContainerStats, answered; StreamContainerStats answers with such lists.
    ListContainerStatsResponse { repeated ContainerStats stats = 1; }
    /// Whose usage it is.
    PodSandboxAttributes { string id = 1; PodSandboxMetadata metadata = 2; map labels = 3; map annotations = 4; }
    /// Linux' part of what a sandbox uses.
    LinuxPodSandboxStats {
        CpuUsage cpu = 1; MemoryUsage memory = 2; NetworkUsage network = 3; ProcessUsage process = 4;
        repeated ContainerStats containers = 5;
    }
    /// What a sandbox uses.
    PodSandboxStats { PodSandboxAttributes attributes = 1; LinuxPodSandboxStats linux = 2; }
    /// Which sandboxes.
    PodSandboxStatsFilter { string id = 1; map label_selector = 2; }
    /// PodSandboxStats, answered.
    PodSandboxStatsResponse { PodSandboxStats stats = 1; }
    /// ListPodSandboxStats, asked.
    ListPodSandboxStatsRequest { PodSandboxStatsFilter filter = 1; }
    /// ListPodSandboxStats, answered; StreamPodSandboxStats answers with such lists.
    ListPodSandboxStatsResponse { repeated PodSandboxStats stats = 1; }
}

// Metrics.
messages! {
    /// A metric's name, what it means, and what its values are labelled with.
    MetricDescriptor { string name = 1; string help = 2; repeated string label_keys = 3; }
    /// ListMetricDescriptors, answered.
    ListMetricDescriptorsResponse { repeated MetricDescriptor descriptors = 1; }
    /// A value; 0 as its time: it may be old.
    Metric {
        string name = 1; int64 timestamp = 2; enum MetricType metric_type = 3; repeated string label_values = 4;
        UInt64Value value = 5;
    }
    /// A container's metrics.
    ContainerMetrics { string container_id = 1; repeated Metric metrics = 2; }
    /// A sandbox' metrics, with its containers'.
    PodSandboxMetrics {
        string pod_sandbox_id = 1; repeated Metric metrics = 2; repeated ContainerMetrics container_metrics = 3;
    }
    /// ListPodSandboxMetrics, answered; StreamPodSandboxMetrics answers with such lists.
    ListPodSandboxMetricsResponse { repeated PodSandboxMetrics pod_metrics = 1; }
}

// Images.
messages! {
    /// An image's name, digest or id.
    ImageSpec {
        string image = 1; map annotations = 2; string user_specified_image = 18; string runtime_handler = 19;
        string image_ref = 20;
    }
    /// Which images.
    ImageFilter { ImageSpec image = 1; }
    /// ListImages, asked.
    ListImagesRequest { ImageFilter filter = 1; }
    /// An image of the node.
    Image {
        string id = 1; repeated string repo_tags = 2; repeated string repo_digests = 3; uint64 size = 4; Int64Value uid = 5;
        string username = 6; ImageSpec spec = 7; bool pinned = 8;
    }
    /// ListImages, answered; StreamImages answers with such lists.
    ListImagesResponse { repeated Image images = 1; }
    /// ImageStatus, asked.
    ImageStatusRequest { ImageSpec image = 1; bool verbose = 2; }
    /// ImageStatus, answered; no image: it is not there.
    ImageStatusResponse { Image image = 1; map info = 2; }
    /// Who pulls.
    AuthConfig {
        string username = 1; string password = 2; string auth = 3; string server_address = 4; string identity_token = 5;
        string registry_token = 6;
    }
    /// PullImage, asked.
    PullImageRequest { ImageSpec image = 1; AuthConfig auth = 2; PodSandboxConfig sandbox_config = 3; }
    /// PullImage, answered.
    PullImageResponse { string image_ref = 1; }
    /// RemoveImage, asked.
    RemoveImageRequest { ImageSpec image = 1; }
    /// ImageFsInfo, asked.
    ImageFsInfoRequest {}
    /// ImageFsInfo, answered.
    ImageFsInfoResponse { repeated FilesystemUsage image_filesystems = 1; repeated FilesystemUsage container_filesystems = 2; }
}
