//! Between `protocol/cri.rs` and the wire, for a client: a call becomes a request, a response becomes an answer. What both
//! a client and a server need stands at the top.
//!
//! Kubernetes: pkg/kubelet/kuberuntime/{labels,kuberuntime_sandbox,kuberuntime_container,kuberuntime_container_linux}.go for
//! what a kubelet sends. A container's number here is the first 16 digits of its id there, so that every run that sees the
//! container gives it the same number.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use prost::Message;
use prost::bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::kernel::{Duration, Moment, Time};
use crate::model::pod::{Protocol, Seccomp};
use crate::model::{Labels, Name, Text, Uid};
use crate::protocol::cri::{self, Answer, Call, Code, Error};

use super::proto::{self, Map};

/// Label of sandboxes and containers: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label of sandboxes and containers: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label of sandboxes and containers: the pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label of containers: their name in the pod.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Label of sandboxes and containers that a run of simlet made: which run. simlet's own; what it left is found by it.
pub const RUN: &str = "simlet.dev/run";
/// Annotation of sandboxes that a run of simlet made: their whole configuration, which a kubelet sends again with each
/// container, also one that did not make the sandbox itself. simlet's own.
pub const SANDBOX_CONFIG: &str = "simlet.dev/sandbox-config";

/// The id with this number as runtimes write ids: 64 hexadecimal digits, the number first.
pub fn hex(number: u64) -> String {
    let more = [1, 2, 3].map(|seed| format!("{:016x}", xxh3_64_with_seed(&number.to_be_bytes(), seed)));
    format!("{number:016x}{}", more.concat())
}

/// The number of an id: its first 16 hexadecimal digits, after `sha256:` if that is there. None for other ids.
pub fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    let first = digits.get(..16)?;
    // The parser of numbers takes a sign, too.
    if first.starts_with('+') { None } else { u64::from_str_radix(first, 16).ok() }
}

/// Moments of a run as nanoseconds since 1970 and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(
    /// When the run's time is zero, in nanoseconds since 1970.
    pub i64,
);

impl Epoch {
    /// Nanoseconds since 1970.
    pub fn nanos(self, time: Time) -> i64 {
        self.0.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The moment, also one before the run; 0, which says "never" on the wire, is its start.
    pub fn moment(self, nanos: i64) -> Moment {
        Moment::from_nanos(if nanos == 0 { 0 } else { nanos.saturating_sub(self.0) })
    }

    /// The moment in the run; what was before it is at its start, and so is 0, which says "never" on the wire.
    pub fn time(self, nanos: i64) -> Time {
        Time::from_nanos(u64::try_from(nanos.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// A map of the wire as labels.
pub fn labels(map: &Map) -> Labels {
    Labels::new(map.iter().map(|(key, value)| (Name::new(key), Name::new(value))))
}

/// Labels as a map of the wire.
pub fn map(labels: &Labels) -> Map {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// What a container may use, as on the wire.
pub fn resources_out(resources: &cri::LinuxResources) -> proto::LinuxContainerResources {
    proto::LinuxContainerResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        ..Default::default()
    }
}

/// What a container may use, from the wire.
pub fn resources_in(resources: &proto::LinuxContainerResources) -> cri::LinuxResources {
    cri::LinuxResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        single_process_oom_kill: false,
    }
}

/// A gRPC error as the kubelet sees it.
pub fn error_in(status: &tonic::Status) -> Error {
    let code = match status.code() {
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
        tonic::Code::Unimplemented => Code::Unimplemented,
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::ResourceExhausted => Code::ResourceExhausted,
        _ => Code::Unknown,
    };
    Error::new(code, status.message())
}

/// An error as gRPC sends it.
pub fn error_out(error: &Error) -> tonic::Status {
    let code = match error.code {
        Code::NotFound => tonic::Code::NotFound,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::Unknown => tonic::Code::Unknown,
    };
    tonic::Status::new(code, error.message.to_string())
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// `/runtime.v1.RuntimeService/Version`.
    pub path: &'static str,
    pub body: Bytes,
}

/// A client's knowledge of a runtime: whole ids by their numbers, and which pod they belong to.
#[derive(Clone, Debug)]
pub struct Wire {
    epoch: Epoch,
    /// The value of [`RUN`]; lists show only what carries it.
    run: String,
    /// What stands before the ids of containers in the API.
    runtime: String,
    ids: BTreeMap<u64, String>,
    sandboxes: BTreeMap<u64, proto::PodSandboxConfig>,
    /// The pod of each sandbox and container.
    pods: BTreeMap<u64, Uid>,
}

impl Wire {
    /// A client that has seen nothing yet. `run` marks what it makes, and it sees nothing else.
    pub fn new(epoch: Epoch, run: impl Into<String>) -> Wire {
        let run = run.into();
        let runtime = "containerd".to_owned();
        Wire { epoch, run, runtime, ids: BTreeMap::new(), sandboxes: BTreeMap::new(), pods: BTreeMap::new() }
    }

    /// Says what the runtime calls itself: `containerd`.
    pub fn of_runtime(mut self, name: &str) -> Wire {
        name.clone_into(&mut self.runtime);
        self
    }

    /// Says when the run's time is zero, if that was not known yet.
    pub fn begins(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Of a sandbox that was seen: its pod's namespace, name and uid.
    pub fn pod_of_sandbox(&self, sandbox: cri::SandboxId) -> Option<&proto::PodSandboxMetadata> {
        self.sandboxes.get(&sandbox.0)?.metadata.as_ref()
    }

    /// The whole id of a sandbox, container or image that was seen; else one that the runtime will not find.
    pub fn id(&self, number: u64) -> String {
        self.ids.get(&number).cloned().unwrap_or_else(|| hex(number))
    }

    /// The number of this id, which is remembered.
    pub fn learn(&mut self, id: &str) -> Result<u64, Error> {
        let number = number(id).ok_or_else(|| {
            Error::new(Code::Unknown, format!(r#"the runtime gave the id "{id}", which is not hexadecimal"#))
        })?;
        match self.ids.get(&number) {
            Some(known) if known == id => {}
            _ => {
                self.ids.insert(number, id.to_owned());
            }
        }
        Ok(number)
    }

    /// The request that a call is.
    pub fn request(&self, call: &Call) -> Outgoing {
        let body = match call {
            Call::Version => encode(&proto::VersionRequest { version: "0.1.0".to_owned() }),
            Call::Status => encode(&proto::StatusRequest { verbose: false }),
            Call::RunPodSandbox(config) => encode(&proto::RunPodSandboxRequest {
                config: Some(self.sandbox_config(config)),
                runtime_handler: config.runtime_handler.to_string(),
            }),
            Call::StopPodSandbox(id) | Call::RemovePodSandbox(id) => {
                encode(&proto::PodSandboxRequest { pod_sandbox_id: self.id(id.0) })
            }
            Call::PodSandboxStatus(id) => {
                encode(&proto::PodSandboxStatusRequest { pod_sandbox_id: self.id(id.0), verbose: false })
            }
            Call::ListPodSandbox { pod } => {
                let filter = proto::PodSandboxFilter { label_selector: self.selector(*pod), ..Default::default() };
                encode(&proto::ListPodSandboxRequest { filter: Some(filter) })
            }
            Call::CreateContainer { sandbox, config } => encode(&proto::CreateContainerRequest {
                pod_sandbox_id: self.id(sandbox.0),
                config: Some(self.container_config(*sandbox, config)),
                sandbox_config: self.sandboxes.get(&sandbox.0).cloned(),
            }),
            Call::StartContainer(id) | Call::RemoveContainer(id) => {
                encode(&proto::ContainerRequest { container_id: self.id(id.0) })
            }
            Call::StopContainer { container, timeout } => {
                encode(&proto::StopContainerRequest { container_id: self.id(container.0), timeout: seconds(*timeout) })
            }
            Call::ListContainers { pod } => {
                let filter = proto::ContainerFilter { label_selector: self.selector(*pod), ..Default::default() };
                encode(&proto::ListContainersRequest { filter: Some(filter) })
            }
            Call::ContainerStatus(id) => {
                encode(&proto::ContainerStatusRequest { container_id: self.id(id.0), verbose: false })
            }
            Call::UpdateContainerResources { container, resources } => {
                encode(&proto::UpdateContainerResourcesRequest {
                    container_id: self.id(container.0),
                    linux: Some(resources_out(resources)),
                    annotations: Map::new(),
                })
            }
            Call::UpdatePodSandboxResources { sandbox, resources } => {
                encode(&proto::UpdatePodSandboxResourcesRequest {
                    pod_sandbox_id: self.id(sandbox.0),
                    overhead: None,
                    resources: Some(resources_out(resources)),
                })
            }
            Call::ExecSync { container, command, timeout } => encode(&proto::ExecSyncRequest {
                container_id: self.id(container.0),
                cmd: texts(command),
                timeout: seconds(*timeout),
            }),
            Call::ListContainerStats => {
                let filter = proto::ContainerStatsFilter { label_selector: self.selector(None), ..Default::default() };
                encode(&proto::ListContainerStatsRequest { filter: Some(filter) })
            }
            Call::PullImage { image, auth, sandbox } => encode(&proto::PullImageRequest {
                image: image_spec(*image),
                auth: auth.map(|auth| proto::AuthConfig {
                    username: auth.username.to_string(),
                    password: auth.password.to_string(),
                    ..Default::default()
                }),
                sandbox_config: sandbox.as_ref().map(|config| self.sandbox_config(config)),
            }),
            Call::ImageStatus { image } => {
                encode(&proto::ImageStatusRequest { image: image_spec(*image), verbose: false })
            }
            Call::ListImages => encode(&proto::ListImagesRequest { filter: None }),
            Call::RemoveImage { image } => encode(&proto::RemoveImageRequest { image: image_spec(*image) }),
            Call::ImageFsInfo => encode(&proto::ImageFsInfoRequest {}),
            Call::UpdateRuntimeConfig { pod_cidr } => {
                let network_config = Some(proto::NetworkConfig { pod_cidr: pod_cidr.to_string() });
                let runtime_config = Some(proto::RuntimeConfig { network_config });
                encode(&proto::UpdateRuntimeConfigRequest { runtime_config })
            }
        };
        Outgoing { path: path(call), body }
    }

    /// What the runtime answered to `call`.
    pub fn answer(&mut self, call: &Call, body: Bytes) -> Result<Answer, Error> {
        Ok(match call {
            Call::Version => {
                let response: proto::VersionResponse = decode(body)?;
                Answer::Version {
                    runtime_name: Name::new(&response.runtime_name),
                    runtime_version: Name::new(&response.runtime_version),
                }
            }
            Call::Status => {
                let response: proto::StatusResponse = decode(body)?;
                let conditions = response.status.unwrap_or_default().conditions;
                let condition = |name: &str| match conditions.iter().find(|condition| condition.r#type == name) {
                    Some(condition) if condition.status => Ok(()),
                    Some(condition) => Err(Text::new(&condition.message)),
                    None => Err(Text::new(format!("the runtime did not report {name}"))),
                };
                Answer::Status { runtime_ready: condition("RuntimeReady"), network_ready: condition("NetworkReady") }
            }
            Call::RunPodSandbox(config) => {
                let response: proto::RunPodSandboxResponse = decode(body)?;
                let id = self.learn(&response.pod_sandbox_id)?;
                self.sandboxes.insert(id, self.sandbox_config(config));
                self.pods.insert(id, config.uid);
                Answer::Sandbox(cri::SandboxId(id))
            }
            Call::PodSandboxStatus(_) => {
                let response: proto::PodSandboxStatusResponse = decode(body)?;
                Answer::SandboxStatus(Box::new(self.sandbox_status(&response.status.unwrap_or_default())?))
            }
            Call::ListPodSandbox { .. } => {
                let response: proto::ListPodSandboxResponse = decode(body)?;
                let mut sandboxes = Vec::with_capacity(response.items.len());
                for sandbox in response.items {
                    sandboxes.extend(self.sandbox_summary(&sandbox)?);
                }
                Answer::Sandboxes(sandboxes)
            }
            Call::CreateContainer { sandbox, .. } => {
                let response: proto::CreateContainerResponse = decode(body)?;
                let id = self.learn(&response.container_id)?;
                if let Some(pod) = self.pods.get(&sandbox.0).copied() {
                    self.pods.insert(id, pod);
                }
                Answer::Container(cri::ContainerId(id))
            }
            Call::StartContainer(id) => Answer::Container(*id),
            Call::ListContainers { .. } => {
                let response: proto::ListContainersResponse = decode(body)?;
                let mut containers = Vec::with_capacity(response.containers.len());
                for container in response.containers {
                    containers.extend(self.container_summary(&container)?);
                }
                Answer::Containers(containers)
            }
            Call::ContainerStatus(_) => {
                let response: proto::ContainerStatusResponse = decode(body)?;
                Answer::ContainerStatus(Box::new(self.container_status(&response.status.unwrap_or_default())?))
            }
            Call::ExecSync { .. } => {
                let response: proto::ExecSyncResponse = decode(body)?;
                let output = [response.stdout, response.stderr].concat();
                let output = Text::new(String::from_utf8_lossy(&output));
                Answer::Exec { exit_code: response.exit_code, output }
            }
            Call::ListContainerStats => {
                let response: proto::ListContainerStatsResponse = decode(body)?;
                Answer::Stats(response.stats.iter().filter_map(|stats| self.stats(stats)).collect())
            }
            Call::PullImage { .. } => {
                let response: proto::PullImageResponse = decode(body)?;
                Answer::Image(cri::ImageId(self.learn_image(&response.image_ref)))
            }
            Call::ImageStatus { .. } => {
                let response: proto::ImageStatusResponse = decode(body)?;
                Answer::ImageStatus(response.image.map(|image| self.image(&image)))
            }
            Call::ListImages => {
                let response: proto::ListImagesResponse = decode(body)?;
                Answer::Images(response.images.iter().map(|image| self.image(image)).collect())
            }
            Call::ImageFsInfo => {
                let response: proto::ImageFsInfoResponse = decode(body)?;
                let filesystem = response.image_filesystems.into_iter().next().unwrap_or_default();
                let whole = |value: Option<proto::UInt64Value>| signed(value.unwrap_or_default().value);
                Answer::ImageFs { used_bytes: whole(filesystem.used_bytes), inodes_used: whole(filesystem.inodes_used) }
            }
            Call::StopPodSandbox(_)
            | Call::RemovePodSandbox(_)
            | Call::StopContainer { .. }
            | Call::RemoveContainer(_)
            | Call::UpdateContainerResources { .. }
            | Call::UpdatePodSandboxResources { .. }
            | Call::RemoveImage { .. }
            | Call::UpdateRuntimeConfig { .. } => Answer::Done,
        })
    }

    /// An event of GetContainerEvents; None if it is of a pod that this run did not make.
    pub fn event(&mut self, body: Bytes) -> Result<Option<cri::ContainerEvent>, Error> {
        let event: proto::ContainerEventResponse = decode(body)?;
        let number = self.learn(&event.container_id)?;
        let kind = match event.container_event_type() {
            proto::ContainerEventType::Created => cri::ContainerEventType::Created,
            proto::ContainerEventType::Started => cri::ContainerEventType::Started,
            proto::ContainerEventType::Stopped => cri::ContainerEventType::Stopped,
            proto::ContainerEventType::Deleted => cri::ContainerEventType::Deleted,
        };
        let sandbox = event.pod_sandbox_status.unwrap_or_default();
        let told = if sandbox.labels.get(RUN) == Some(&self.run) { self.pod_of(&sandbox.labels) } else { None };
        let Some(pod) = told.or_else(|| self.pods.get(&number).copied()) else {
            return Ok(None);
        };
        self.pods.insert(number, pod);
        let is_sandbox = sandbox.id == event.container_id || self.sandboxes.contains_key(&number);
        let container = if is_sandbox { None } else { Some(cri::ContainerId(number)) };
        Ok(Some(cri::ContainerEvent { pod, container, kind, created_at: self.epoch.time(event.created_at) }))
    }

    /// What this run's sandboxes and containers are found by, and those of one pod.
    fn selector(&self, pod: Option<Uid>) -> Map {
        let mut selector = Map::from([(RUN.to_owned(), self.run.clone())]);
        if let Some(pod) = pod {
            selector.insert(POD_UID.to_owned(), pod.to_string());
        }
        selector
    }

    fn pod_of(&self, labels: &Map) -> Option<Uid> {
        Uid::parse(labels.get(POD_UID)?)
    }

    fn sandbox_config(&self, config: &cri::PodSandboxConfig) -> proto::PodSandboxConfig {
        let mut labels = map(&config.labels);
        labels.insert(POD_NAME.to_owned(), config.name.to_string());
        labels.insert(POD_NAMESPACE.to_owned(), config.namespace.to_string());
        labels.insert(POD_UID.to_owned(), config.uid.to_string());
        labels.insert(RUN.to_owned(), self.run.clone());
        let security_context = proto::LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(config.host_network, config.security.pid, config.security.ipc)),
            run_as_user: config.security.run_as_user.map(|value| proto::Int64Value { value }),
            run_as_group: config.security.run_as_group.map(|value| proto::Int64Value { value }),
            supplemental_groups: config.security.supplemental_groups.clone(),
            privileged: config.security.privileged,
            // The sandbox's own container always has the runtime's profile.
            seccomp: Some(proto::SecurityProfile::default()),
            ..Default::default()
        };
        let mut made = proto::PodSandboxConfig {
            metadata: Some(proto::PodSandboxMetadata {
                name: config.name.to_string(),
                uid: config.uid.to_string(),
                namespace: config.namespace.to_string(),
                attempt: config.attempt,
            }),
            hostname: config.hostname.to_string(),
            log_directory: config.log_directory.to_string(),
            labels,
            annotations: map(&config.annotations),
            linux: Some(proto::LinuxPodSandboxConfig {
                cgroup_parent: config.cgroup_parent.to_string(),
                security_context: Some(security_context),
                sysctls: config.sysctls.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
                resources: config.resources.as_ref().map(resources_out),
                ..Default::default()
            }),
            dns_config: config.dns.as_ref().map(|dns| proto::DnsConfig {
                servers: names(&dns.servers),
                searches: names(&dns.searches),
                options: names(&dns.options),
            }),
            port_mappings: config.port_mappings.iter().map(port_mapping).collect(),
        };
        let text = digits(&made.encode_to_vec());
        made.annotations.insert(SANDBOX_CONFIG.to_owned(), text);
        made
    }

    fn container_config(&self, sandbox: cri::SandboxId, config: &cri::ContainerConfig) -> proto::ContainerConfig {
        let pod = self.sandboxes.get(&sandbox.0);
        let inherited = [POD_NAME, POD_NAMESPACE, POD_UID, RUN].into_iter().filter_map(|key| {
            let value = pod?.labels.get(key)?;
            Some((key.to_owned(), value.clone()))
        });
        let mut labels: Map = inherited.collect();
        labels.insert(CONTAINER_NAME.to_owned(), config.name.to_string());
        labels.insert(RUN.to_owned(), self.run.clone());
        let linux = pod.and_then(|pod| pod.linux.as_ref()?.security_context.as_ref());
        let usual = cri::ContainerSecurity { pid: cri::NamespaceMode::Container, ..Default::default() };
        let security = config.security.as_deref().unwrap_or(&usual);
        let is_open = config.privileged || security.unmasked;
        let host_network = linux.and_then(|security| security.namespace_options.as_ref());
        let host_network = host_network.is_some_and(|options| options.network() == proto::NamespaceMode::Node);
        let is_changed = !security.add_capabilities.is_empty() || !security.drop_capabilities.is_empty();
        let security_context = proto::LinuxContainerSecurityContext {
            privileged: config.privileged,
            namespace_options: Some(with_target(
                namespaces(host_network, security.pid, security.ipc),
                security.target.map(|target| self.id(target.0)),
            )),
            capabilities: is_changed.then(|| proto::Capability {
                add_capabilities: names(&security.add_capabilities),
                drop_capabilities: names(&security.drop_capabilities),
                ..Default::default()
            }),
            run_as_group: security.run_as_group.map(|value| proto::Int64Value { value }),
            run_as_username: security.run_as_username.to_string(),
            supplemental_groups: security.supplemental_groups.clone(),
            no_new_privs: security.no_new_privs,
            run_as_user: config.run_as_user.map(|value| proto::Int64Value { value }),
            readonly_rootfs: config.read_only_root,
            masked_paths: if is_open { Vec::new() } else { MASKED_PATHS.map(str::to_owned).to_vec() },
            readonly_paths: if is_open { Vec::new() } else { READONLY_PATHS.map(str::to_owned).to_vec() },
            seccomp: Some(match security.seccomp {
                None | Some(Seccomp::Unconfined) => profile(proto::ProfileType::Unconfined),
                Some(Seccomp::RuntimeDefault) => profile(proto::ProfileType::RuntimeDefault),
                Some(Seccomp::Localhost(file)) => proto::SecurityProfile {
                    localhost_ref: format!("/var/lib/kubelet/seccomp/{file}"),
                    ..profile(proto::ProfileType::Localhost)
                },
            }),
            ..Default::default()
        };
        let mount = |mount: &cri::Mount| proto::Mount {
            container_path: mount.container_path.to_string(),
            host_path: mount.host_path.to_string(),
            readonly: mount.read_only,
            propagation: mount.propagation as i32,
            ..Default::default()
        };
        let env = |(key, value): &(Name, Text)| proto::KeyValue { key: key.to_string(), value: value.to_string() };
        proto::ContainerConfig {
            metadata: Some(proto::ContainerMetadata { name: config.name.to_string(), attempt: config.attempt }),
            image: image_spec(config.image),
            command: texts(&config.command),
            args: texts(&config.args),
            working_dir: config.working_dir.to_string(),
            envs: config.envs.iter().map(env).collect(),
            mounts: config.mounts.iter().map(mount).collect(),
            labels,
            annotations: map(&config.annotations),
            log_path: config.log_path.to_string(),
            stdin: config.stdin,
            stdin_once: config.stdin_once,
            tty: config.tty,
            linux: Some(proto::LinuxContainerConfig {
                resources: Some(resources_out(&config.resources)),
                security_context: Some(security_context),
            }),
            ..Default::default()
        }
    }

    /// None for a sandbox of another program that took our label.
    fn sandbox_summary(&mut self, sandbox: &proto::PodSandbox) -> Result<Option<cri::SandboxSummary>, Error> {
        let Some(pod) = self.pod_of(&sandbox.labels) else { return Ok(None) };
        let id = self.learn(&sandbox.id)?;
        self.pods.insert(id, pod);
        let metadata = sandbox.metadata.clone().unwrap_or_default();
        self.sandboxes.entry(id).or_insert_with(|| {
            let kept = sandbox.annotations.get(SANDBOX_CONFIG).and_then(|text| bytes(text));
            let kept = kept.and_then(|bytes| proto::PodSandboxConfig::decode(bytes.as_slice()).ok());
            proto::PodSandboxConfig {
                metadata: sandbox.metadata.clone(),
                labels: sandbox.labels.clone(),
                annotations: sandbox.annotations.clone(),
                ..kept.unwrap_or_default()
            }
        });
        Ok(Some(cri::SandboxSummary {
            id: cri::SandboxId(id),
            pod,
            namespace: Name::new(&metadata.namespace),
            name: Name::new(&metadata.name),
            attempt: metadata.attempt,
            state: sandbox_state(sandbox.state()),
            created_at: self.epoch.time(sandbox.created_at),
        }))
    }

    fn sandbox_status(&mut self, status: &proto::PodSandboxStatus) -> Result<cri::SandboxStatus, Error> {
        let summary = self.sandbox_summary(&proto::PodSandbox {
            id: status.id.clone(),
            metadata: status.metadata.clone(),
            state: status.state,
            created_at: status.created_at,
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
            runtime_handler: status.runtime_handler.clone(),
        })?;
        let summary = summary.ok_or_else(|| not_ours(&status.id))?;
        let namespaces = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
        let host_network = namespaces.is_some_and(|options| options.network() == proto::NamespaceMode::Node);
        let ip = status.network.as_ref().and_then(|network| network.ip.parse::<Ipv4Addr>().ok());
        let runtime_id = Name::new(&status.id);
        Ok(cri::SandboxStatus { summary, ip: ip.filter(|_| !host_network), host_network, runtime_id })
    }

    fn container_summary(&mut self, container: &proto::Container) -> Result<Option<cri::ContainerSummary>, Error> {
        let Some(pod) = self.pod_of(&container.labels) else { return Ok(None) };
        let id = self.learn(&container.id)?;
        let sandbox = self.learn(&container.pod_sandbox_id)?;
        self.pods.insert(id, pod);
        let metadata = container.metadata.clone().unwrap_or_default();
        Ok(Some(cri::ContainerSummary {
            id: cri::ContainerId(id),
            sandbox: cri::SandboxId(sandbox),
            pod,
            name: Name::new(&metadata.name),
            attempt: metadata.attempt,
            image: image_name(container.image.as_ref()),
            state: container_state(container.state()),
            created_at: self.epoch.time(container.created_at),
        }))
    }

    /// A status does not name its sandbox; it is 0 where nothing is known of the container.
    fn container_status(&mut self, status: &proto::ContainerStatus) -> Result<cri::ContainerStatus, Error> {
        let pod = self.pod_of(&status.labels).ok_or_else(|| not_ours(&status.id))?;
        let id = self.learn(&status.id)?;
        self.pods.insert(id, pod);
        let sandbox = self.sandboxes.keys().rev().find(|sandbox| self.pods.get(sandbox) == Some(&pod));
        let metadata = status.metadata.clone().unwrap_or_default();
        let summary = cri::ContainerSummary {
            id: cri::ContainerId(id),
            sandbox: cri::SandboxId(sandbox.copied().unwrap_or(0)),
            pod,
            name: Name::new(&metadata.name),
            attempt: metadata.attempt,
            image: image_name(status.image.as_ref()),
            state: container_state(status.state()),
            created_at: self.epoch.time(status.created_at),
        };
        Ok(cri::ContainerStatus {
            summary,
            started_at: self.epoch.moment(status.started_at),
            finished_at: self.epoch.moment(status.finished_at),
            exit_code: status.exit_code,
            reason: Name::new(&status.reason),
            message: Text::new(&status.message),
            annotations: labels(&status.annotations),
            runtime_id: Name::from(format!("{}://{}", self.runtime, status.id)),
            image_ref: Name::new(&status.image_ref),
        })
    }

    fn stats(&self, stats: &proto::ContainerStats) -> Option<cri::ContainerStats> {
        let attributes = stats.attributes.as_ref()?;
        let value = |value: Option<&proto::UInt64Value>| value.map_or(0, |value| value.value);
        let cpu = stats.cpu.as_ref().and_then(|cpu| cpu.usage_core_nano_seconds.as_ref());
        let memory = stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref());
        let disk = stats.writable_layer.as_ref().and_then(|disk| disk.used_bytes.as_ref());
        Some(cri::ContainerStats {
            container: cri::ContainerId(number(&attributes.id)?),
            pod: self.pod_of(&attributes.labels)?,
            cpu_usage_core_nanos: value(cpu),
            memory_working_set_bytes: signed(value(memory)),
            filesystem_used_bytes: signed(value(disk)),
        })
    }

    fn image(&mut self, image: &proto::Image) -> cri::Image {
        cri::Image {
            id: cri::ImageId(self.learn_image(&image.id)),
            names: image.repo_tags.iter().chain(&image.repo_digests).map(|name| Name::new(name)).collect(),
            size_bytes: signed(image.size),
            user: image.uid.as_ref().map(|uid| uid.value),
            pinned: image.pinned,
        }
    }

    /// Older runtimes answer PullImage with a reference by digest; it has a number, too.
    fn learn_image(&mut self, id: &str) -> u64 {
        let digest = id.rsplit_once('@').map_or(id, |(_, digest)| digest);
        match number(digest) {
            Some(number) => {
                self.ids.insert(number, digest.to_owned());
                number
            }
            None => xxh3_64_with_seed(id.as_bytes(), 0),
        }
    }
}

/// Bytes as hexadecimal digits.
fn digits(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The bytes that the digits are.
pub fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// What containers may not see, as `procMount: Default` has it.
const MASKED_PATHS: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
];
/// What containers may only read.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(Name::to_string).collect()
}

fn port_mapping(mapping: &cri::PortMapping) -> proto::PortMapping {
    proto::PortMapping {
        protocol: match mapping.protocol {
            Protocol::Tcp => proto::Protocol::Tcp,
            Protocol::Udp => proto::Protocol::Udp,
            Protocol::Sctp => proto::Protocol::Sctp,
        }
        .into(),
        container_port: i32::from(mapping.container_port),
        host_port: i32::from(mapping.host_port),
        host_ip: mapping.host_ip.to_string(),
    }
}

/// The namespaces that a kubelet asks for.
fn namespaces(host_network: bool, pid: cri::NamespaceMode, ipc: cri::NamespaceMode) -> proto::NamespaceOption {
    let network = if host_network { proto::NamespaceMode::Node } else { proto::NamespaceMode::Pod };
    proto::NamespaceOption { network: network.into(), pid: pid as i32, ipc: ipc as i32, ..Default::default() }
}

/// An ephemeral container sees the processes of another one.
fn with_target(own: proto::NamespaceOption, target: Option<String>) -> proto::NamespaceOption {
    match target {
        Some(target_id) => proto::NamespaceOption { pid: proto::NamespaceMode::Target.into(), target_id, ..own },
        None => own,
    }
}

fn profile(kind: proto::ProfileType) -> proto::SecurityProfile {
    proto::SecurityProfile { profile_type: kind.into(), ..Default::default() }
}

fn image_spec(image: Name) -> Option<proto::ImageSpec> {
    let image = image.to_string();
    Some(proto::ImageSpec { user_specified_image: image.clone(), image, ..Default::default() })
}

/// As the user wrote it, where the runtime kept that.
fn image_name(image: Option<&proto::ImageSpec>) -> Name {
    image.map_or_else(Name::default, |spec| {
        let written = if spec.user_specified_image.is_empty() { &spec.image } else { &spec.user_specified_image };
        Name::new(written)
    })
}

fn sandbox_state(state: proto::PodSandboxState) -> cri::SandboxState {
    match state {
        proto::PodSandboxState::Ready => cri::SandboxState::Ready,
        proto::PodSandboxState::NotReady => cri::SandboxState::NotReady,
    }
}

fn container_state(state: proto::ContainerState) -> cri::ContainerState {
    match state {
        proto::ContainerState::Created => cri::ContainerState::Created,
        proto::ContainerState::Running => cri::ContainerState::Running,
        proto::ContainerState::Exited => cri::ContainerState::Exited,
        proto::ContainerState::Unknown => cri::ContainerState::Unknown,
    }
}

fn not_ours(id: &str) -> Error {
    Error::new(Code::NotFound, format!(r#""{id}" has no pod uid that this run gave: not found"#))
}

fn texts(words: &[Text]) -> Vec<String> {
    words.iter().map(Text::to_string).collect()
}

/// In whole seconds, rounded up: a wait is never shorter than was asked, and only none at all is 0.
fn seconds(length: Duration) -> i64 {
    i64::try_from(length.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A message's bytes.
pub fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// The message that the bytes are.
pub fn decode<M: Message + Default>(body: Bytes) -> Result<M, Error> {
    M::decode(body).map_err(|error| Error::new(Code::Unknown, format!("the runtime's answer can't be read: {error}")))
}

/// The path of a call's method.
fn path(call: &Call) -> &'static str {
    match call {
        Call::Version => "/runtime.v1.RuntimeService/Version",
        Call::Status => "/runtime.v1.RuntimeService/Status",
        Call::RunPodSandbox(_) => "/runtime.v1.RuntimeService/RunPodSandbox",
        Call::StopPodSandbox(_) => "/runtime.v1.RuntimeService/StopPodSandbox",
        Call::RemovePodSandbox(_) => "/runtime.v1.RuntimeService/RemovePodSandbox",
        Call::PodSandboxStatus(_) => "/runtime.v1.RuntimeService/PodSandboxStatus",
        Call::ListPodSandbox { .. } => "/runtime.v1.RuntimeService/ListPodSandbox",
        Call::CreateContainer { .. } => "/runtime.v1.RuntimeService/CreateContainer",
        Call::StartContainer(_) => "/runtime.v1.RuntimeService/StartContainer",
        Call::StopContainer { .. } => "/runtime.v1.RuntimeService/StopContainer",
        Call::RemoveContainer(_) => "/runtime.v1.RuntimeService/RemoveContainer",
        Call::ListContainers { .. } => "/runtime.v1.RuntimeService/ListContainers",
        Call::ContainerStatus(_) => "/runtime.v1.RuntimeService/ContainerStatus",
        Call::UpdateContainerResources { .. } => "/runtime.v1.RuntimeService/UpdateContainerResources",
        Call::UpdatePodSandboxResources { .. } => "/runtime.v1.RuntimeService/UpdatePodSandboxResources",
        Call::ExecSync { .. } => "/runtime.v1.RuntimeService/ExecSync",
        Call::ListContainerStats => "/runtime.v1.RuntimeService/ListContainerStats",
        Call::UpdateRuntimeConfig { .. } => "/runtime.v1.RuntimeService/UpdateRuntimeConfig",
        Call::PullImage { .. } => "/runtime.v1.ImageService/PullImage",
        Call::ImageStatus { .. } => "/runtime.v1.ImageService/ImageStatus",
        Call::ListImages => "/runtime.v1.ImageService/ListImages",
        Call::RemoveImage { .. } => "/runtime.v1.ImageService/RemoveImage",
        Call::ImageFsInfo => "/runtime.v1.ImageService/ImageFsInfo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::live::proto::{IMAGE_SERVICE, RUNTIME_SERVICE};

    #[test]
    fn ids_begin_with_their_number_and_all_64_digits_differ_between_numbers() {
        let id = hex(0xab);
        assert_eq!((id.len(), number(&id)), (64, Some(0xab)));
        assert_ne!(id.get(16..), hex(0xac).get(16..));
        assert_eq!(number("sha256:00000000000000ffcafe"), Some(255));
        for bad in ["", "abc", "+123456789abcdef0", "zzzzzzzzzzzzzzzz", "日本日本日本日本"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_container_in_a_sandbox_that_an_earlier_run_made_gets_the_whole_configuration_of_the_sandbox() {
        let config = cri::PodSandboxConfig {
            name: Name::new("web"),
            uid: Uid(42),
            log_directory: Name::new("/run/logs/web"),
            cgroup_parent: Name::new("/kubepods/podx"),
            host_network: true,
            ..Default::default()
        };
        let made = Wire::new(Epoch(0), "r1").sandbox_config(&config);
        let sandbox = proto::PodSandbox {
            id: hex(7),
            metadata: made.metadata.clone(),
            labels: made.labels.clone(),
            annotations: made.annotations.clone(),
            ..Default::default()
        };
        let mut wire = Wire::new(Epoch(0), "r1");
        let list = encode(&proto::ListPodSandboxResponse { items: vec![sandbox] });
        assert!(wire.answer(&Call::ListPodSandbox { pod: None }, list).is_ok());
        assert_eq!(wire.sandboxes.get(&7), Some(&made));
        assert_eq!(bytes(&digits(&[0, 171, 255])), Some(vec![0, 171, 255]));
        assert_eq!((bytes("0"), bytes("zz")), (None, None));
    }

    #[test]
    fn moments_survive_the_wire_and_never_is_the_start() {
        let epoch = Epoch(1_700_000_000_000_000_000);
        assert_eq!(epoch.time(epoch.nanos(Time::from_secs(7))), Time::from_secs(7));
        assert_eq!(epoch.time(0), Time::ZERO);
    }

    #[test]
    fn every_path_ends_with_the_name_of_its_call() {
        let config = |name: &str| Name::new(name);
        for call in [Call::Version, Call::ListImages, Call::ImageStatus { image: config("a") }] {
            let path = path(&call);
            assert!(path.ends_with(call.name()), "{path}");
            assert!(path.starts_with(RUNTIME_SERVICE) || path.starts_with(IMAGE_SERVICE), "{path}");
        }
    }

    #[test]
    fn a_list_shows_only_sandboxes_with_a_uid_that_a_run_gave_and_later_calls_use_their_whole_id() {
        let mut wire = Wire::new(Epoch(0), "r1");
        let sandbox = |id: &str, uid: String| proto::PodSandbox {
            id: id.to_owned(),
            metadata: Some(proto::PodSandboxMetadata { name: "web".to_owned(), ..Default::default() }),
            state: proto::PodSandboxState::NotReady.into(),
            created_at: 5,
            labels: Map::from([(POD_UID.to_owned(), uid)]),
            ..Default::default()
        };
        let id = "1234567890abcdef0000000000000000ffffffffffffffffffffffffffffffff";
        let items = vec![sandbox(id, Uid(42).to_string()), sandbox("fedcba0987654321", "mine".to_owned())];
        let body = encode(&proto::ListPodSandboxResponse { items });
        let Ok(Answer::Sandboxes(found)) = wire.answer(&Call::ListPodSandbox { pod: None }, body) else {
            panic!("sandboxes were answered");
        };
        assert_eq!(
            found.iter().map(|s| (s.id.0, s.pod, s.name.as_str(), s.state)).collect::<Vec<_>>(),
            [(0x1234_5678_90ab_cdef, Uid(42), "web", cri::SandboxState::NotReady)]
        );
        let outgoing = wire.request(&Call::StopPodSandbox(found[0].id));
        let request: proto::PodSandboxRequest = decode(outgoing.body).unwrap();
        assert_eq!((outgoing.path, request.pod_sandbox_id.as_str()), ("/runtime.v1.RuntimeService/StopPodSandbox", id));
    }
}
