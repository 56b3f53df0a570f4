//! What the kubelet tells the runtime of a container.
//!
//! Kubernetes: generateContainerConfig in pkg/kubelet/kuberuntime/kuberuntime_container.go and
//! kuberuntime_container_linux.go, security_context.go, makeMounts in pkg/kubelet/kubelet_pods.go, newContainerAnnotations
//! in labels.go, pkg/kubelet/qos/policy.go. Texts that only a real runtime reads are made only where there is one
//! ([`Config::host`](super::config::Config)).

use std::fmt::Write;
use std::sync::Arc;

use crate::model::pod::{ContainerPort, Handler, PortRef, Protocol, RestartPolicy, VolumeMount, VolumeSource};
use crate::model::pod_resources::QosClass;
use crate::model::{Container, Labels, Name, Text};
use crate::protocol::cri::{
    CONTAINER_TYPE, ContainerConfig, ContainerId, ContainerSecurity, LinuxResources, Mount, NamespaceMode,
    RESTART_POLICY,
};

use super::config::Host;
use super::environment::{Environment, Facts};
use super::pod_actions::{HASH_ANNOTATION, container_hash};
use super::{expansion, images};

impl Facts<'_> {
    /// The configuration of this run of a container, whose processes an ephemeral container shares with `target`. An error says why it can't be made.
    pub fn container_config(
        &self,
        container: &Container,
        attempt: u32,
        environment: &Environment,
        target: Option<ContainerId>,
    ) -> Result<ContainerConfig, Text> {
        let log_path = match self.config.log_root {
            Some(_) => Name::from(format!("{}/{attempt}.log", container.name)),
            None => Name::default(),
        };
        let envs = self.variables(container, environment);
        Ok(ContainerConfig {
            name: container.name,
            attempt,
            image: images::with_default_tag(container.image),
            command: expansion::words(&container.command, &envs),
            args: expansion::words(&container.args, &envs),
            working_dir: container.working_dir,
            mounts: self.mounts(container, attempt, &envs)?,
            envs,
            log_path,
            resources: self.resources(container),
            run_as_user: container.security.run_as_user.or(self.pod.spec.security.run_as_user),
            privileged: container.security.privileged,
            read_only_root: container.security.read_only_root_filesystem,
            annotations: self.annotations(container, attempt),
            security: self.security(container, target),
            stdin: container.stdin,
            stdin_once: container.stdin_once,
            tty: container.tty,
        })
    }

    /// The folder or file of a volume on the host.
    fn volume_path(&self, host: &Host, volume: Name) -> Option<Name> {
        if let Some(volume) = self.pod.spec.volumes.iter().find(|known| known.name == volume) {
            return Some(host.volume_path(self.pod.meta.uid, volume));
        }
        None
    }

    fn mounts(&self, container: &Container, attempt: u32, envs: &[(Name, Text)]) -> Result<Vec<Mount>, Text> {
        let mut mounts = Vec::with_capacity(container.volume_mounts.len());
        for mount in &container.volume_mounts {
            let sub_path = sub_path(mount, envs)?;
            let host_path = match &self.config.host {
                Some(host) => match self.volume_path(host, mount.volume) {
                    Some(path) if sub_path.is_empty() => path,
                    Some(path) => Name::from(format!("{path}/{sub_path}")),
                    None => return Err(format!("unable to find volume \"{}\"", mount.volume).into()),
                },
                // Nobody looks there, but the simulated shell, which asks for the volume.
                None if sub_path.is_empty() => mount.volume,
                None => Name::from(format!("{}/{sub_path}", mount.volume)),
            };
            let read_only = mount.read_only || self.is_read_only(mount.volume);
            let propagation = mount.propagation;
            mounts.push(Mount { container_path: mount.path, host_path, read_only, propagation });
        }
        if let Some(host) = &self.config.host {
            let uid = self.pod.meta.uid;
            let is_mounted = |path: &str| container.volume_mounts.iter().any(|mount| *mount.path == *path);
            if self.pod.spec.automount_token && !is_mounted(SERVICE_ACCOUNT) {
                mounts.push(Mount {
                    container_path: Name::new(SERVICE_ACCOUNT),
                    host_path: host.token_path(uid),
                    read_only: true,
                    ..Mount::default()
                });
            }
            let mut file = |container_path: Name, host_path: Name| {
                mounts.push(Mount { container_path, host_path, ..Mount::default() });
            };
            if !is_mounted("/etc/hosts") {
                file(Name::new("/etc/hosts"), host.hosts_path(uid));
            }
            if !container.termination_message_path.is_empty() {
                let path = host.termination_log_path(uid, container.name, attempt);
                file(container.termination_message_path, path);
            }
        }
        Ok(mounts)
    }

    /// Volumes that the kubelet fills are never written by containers.
    fn is_read_only(&self, volume: Name) -> bool {
        let volume = self.pod.spec.volumes.iter().find(|known| known.name == volume);
        volume.is_some_and(|volume| {
            matches!(
                volume.source,
                VolumeSource::ConfigMap { .. }
                    | VolumeSource::Secret { .. }
                    | VolumeSource::Projected { .. }
                    | VolumeSource::DownwardApi { .. }
                    | VolumeSource::Claim { read_only: true, .. }
            )
        })
    }

    fn annotations(&self, container: &Container, attempt: u32) -> Labels {
        let of = |list: &[Container]| list.iter().any(|one| one.name == container.name);
        let (is_init, is_ephemeral) = (of(&self.pod.spec.init_containers), of(&self.pod.spec.ephemeral_containers));
        let kind = match (is_init, container.is_sidecar()) {
            (true, true) => "sidecar",
            (true, false) => "init",
            (false, _) => "regular",
        };
        let policy = match container.restart_policy.unwrap_or(self.pod.spec.restart_policy) {
            // Somebody sits before it, or it does what it was told to; an image's own shell without input ends.
            _ if is_ephemeral && (container.stdin || !container.command.is_empty()) => "Always",
            _ if is_ephemeral => "Never",
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never => "Never",
        };
        let basic = [
            (Name::new(HASH_ANNOTATION), container_hash(container)),
            (Name::new(CONTAINER_TYPE), Name::new(kind)),
            (Name::new(RESTART_POLICY), Name::new(policy)),
        ];
        if self.config.host.is_none() {
            return Labels::new(basic);
        }
        let message_policy = if container.message_from_logs { "FallbackToLogsOnError" } else { "File" };
        let mut all = basic.to_vec();
        let mut put = |key: &str, value: String| {
            all.push((Name::from(format!("io.kubernetes.{key}")), Name::from(value)));
        };
        put("container.restartCount", attempt.to_string());
        put("container.terminationMessagePath", container.termination_message_path.to_string());
        put("container.terminationMessagePolicy", message_policy.to_owned());
        put("pod.terminationGracePeriod", self.pod.spec.termination_grace.as_secs().to_string());
        if let Some(deletion) = &self.pod.meta.deletion {
            put("pod.deletionGracePeriod", deletion.grace.as_secs().to_string());
        }
        if let Some(hook) = &container.pre_stop {
            put("container.preStopHandler", handler_json(hook));
        }
        if !container.ports.is_empty() {
            let ports: Vec<String> = container.ports.iter().map(port_json).collect();
            put("container.ports", format!("[{}]", ports.join(",")));
        }
        Labels::new(all)
    }

    /// None if the container and its pod say nothing that is not usual.
    fn security(&self, container: &Container, target: Option<ContainerId>) -> Option<Arc<ContainerSecurity>> {
        let (own, pod) = (&container.security, &self.pod.spec.security);
        let mut groups = pod.supplemental_groups.clone();
        groups.extend(pod.fs_group.filter(|group| !pod.supplemental_groups.contains(group)));
        let security = ContainerSecurity {
            run_as_group: own.run_as_group.or(pod.run_as_group),
            run_as_username: Name::default(),
            supplemental_groups: groups,
            // Privileged containers may escalate whatever they say.
            no_new_privs: own.allow_privilege_escalation == Some(false) && !own.privileged,
            add_capabilities: own.add_capabilities.clone(),
            drop_capabilities: own.drop_capabilities.clone(),
            seccomp: own.seccomp.or(pod.seccomp),
            unmasked: own.unmasked || own.privileged,
            target: target.filter(|_| pid_mode(&self.pod.spec) == NamespaceMode::Container),
            pid: pid_mode(&self.pod.spec),
            ipc: ipc_mode(&self.pod.spec),
        };
        let usual = ContainerSecurity { pid: NamespaceMode::Container, ..ContainerSecurity::default() };
        (security != usual).then(|| Arc::new(security))
    }

    /// Shares, quota, memory limit and OOM score (pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go).
    pub fn resources(&self, container: &Container) -> LinuxResources {
        let requests = &container.resources.requests;
        let limit = self.pod.spec.cpu_limit(container);
        let request = requests.cpu.map_or(limit, |request| request.0);
        let settings = &self.config.kubelet;
        let period = (settings.cpu_cfs_quota_period.as_nanos() / 1000) as i64;
        // Who has CPUs for himself needs no quota (DisableCPUQuotaWithExclusiveCPUs).
        let exclusive = settings.static_cpu_manager
            && self.pod.spec.qos() == QosClass::Guaranteed
            && super::admission::whole_cpus(container).is_some();
        let quota =
            if limit > 0 && settings.cpu_cfs_quota && !exclusive { (limit * period / 1000).max(1000) } else { 0 };
        let node_critical = self.pod.spec.priority >= super::admission::CRITICAL_PRIORITY
            && self.pod.spec.priority_class == *SYSTEM_NODE_CRITICAL;
        let oom_score_adj = match self.pod.spec.qos() {
            _ if node_critical => -997,
            QosClass::Guaranteed => -997,
            QosClass::BestEffort => 1000,
            QosClass::Burstable => self.burstable_oom_score(container),
        };
        LinuxResources {
            cpu_period: period,
            cpu_quota: quota,
            cpu_shares: if request == 0 { 2 } else { (request * 1024 / 1000).clamp(2, 262_144) },
            memory_limit_in_bytes: self.pod.spec.memory_limit(container),
            oom_score_adj,
            single_process_oom_kill: self.config.kubelet.single_process_oom_kill == Some(true),
        }
    }
}

impl Facts<'_> {
    /// The more memory a container has requested, the later it is killed (GetContainerOOMScoreAdjust): what the pod requests
    /// beyond its containers is spread over them, and a sidecar lives as long as the least of those it serves.
    fn burstable_oom_score(&self, container: &Container) -> i64 {
        let spec = &self.pod.spec;
        let request = |one: &Container| {
            let memory = one.resources.requests.memory.or(one.resources.limits.memory);
            memory.map_or(0, |memory| i128::from(memory.0))
        };
        let of_pod = spec.resources.as_deref().and_then(|resources| resources.requests.memory);
        let more = of_pod.map_or(0, |of_pod| {
            let all = spec.aggregate(|one| one.resources.requests.amounts());
            let count = (spec.containers.len() + spec.init_containers.len()).max(1);
            (i128::from(of_pod.0) - i128::from(all.memory.0)).max(0) / count as i128
        });
        let capacity = i128::from(self.config.node.status.capacity.memory.0.max(1));
        let score = |memory: i128| 1000 - ((memory + more) * 1000 / capacity) as i64;
        let mut own = score(request(container));
        let is_sidecar = container.is_sidecar() && spec.init_containers.iter().any(|one| one.name == container.name);
        if is_sidecar && let Some(least) = spec.containers.iter().map(request).min() {
            own = own.min(score(least));
        }
        own.clamp(3, 999)
    }
}

/// Pods of this class are killed for lack of memory after all others.
const SYSTEM_NODE_CRITICAL: &str = "system-node-critical";

/// Where the token of the pod's service account is mounted.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Whose processes a container of this pod sees.
pub fn pid_mode(spec: &crate::model::PodSpec) -> NamespaceMode {
    match (spec.host_pid, spec.share_process_namespace) {
        (true, _) => NamespaceMode::Node,
        (false, true) => NamespaceMode::Pod,
        (false, false) => NamespaceMode::Container,
    }
}

/// Whose shared memory a container of this pod sees.
pub fn ipc_mode(spec: &crate::model::PodSpec) -> NamespaceMode {
    if spec.host_ipc { NamespaceMode::Node } else { NamespaceMode::Pod }
}

/// The sub-path of a mount with its variables replaced; empty: none.
fn sub_path(mount: &VolumeMount, envs: &[(Name, Text)]) -> Result<Text, Text> {
    let path = if mount.sub_path_expr.is_empty() {
        Text::from(mount.sub_path.as_str())
    } else {
        let mut missing: Vec<String> = Vec::new();
        let expanded = expansion::expand(&mount.sub_path_expr, |name| {
            let value = expansion::lookup(envs, name).filter(|value| !value.is_empty());
            if value.is_none() {
                missing.push(name.to_owned());
            }
            value
        });
        if !missing.is_empty() {
            missing.sort();
            missing.dedup();
            return Err(format!("missing value for {}", missing.join(", ")).into());
        }
        expanded.map_or_else(|| mount.sub_path_expr.as_str().into(), Text::from)
    };
    if path.starts_with('/') {
        return Err(format!("error SubPath `{path}` must not be an absolute path").into());
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("unable to provision SubPath `{path}`: must not contain '..'").into());
    }
    Ok(path)
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    let mut made = String::with_capacity(text.len() + 2);
    made.push('"');
    for c in text.chars() {
        match c {
            '"' => made.push_str("\\\""),
            '\\' => made.push_str("\\\\"),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            // As Go's encoder writes them.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(made, "\\u{:04x}", u32::from(c));
            }
            c => made.push(c),
        }
    }
    made.push('"');
    made
}

/// The members that are there, as a JSON object.
fn object(members: &[(&str, Option<String>)]) -> String {
    let each = members.iter().filter_map(|(key, value)| Some(format!("\"{key}\":{}", value.as_ref()?)));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| quoted(text))
}

fn port_json(port: &ContainerPort) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    object(&[
        ("name", filled(&port.name)),
        ("hostPort", (port.host_port != 0).then(|| port.host_port.to_string())),
        ("containerPort", Some(port.port.to_string())),
        ("protocol", filled(protocol)),
        ("hostIP", filled(&port.host_ip)),
    ])
}

fn handler_json(handler: &Handler) -> String {
    let port_ref = |port: &PortRef| {
        Some(match port {
            PortRef::Number(number) => number.to_string(),
            PortRef::Name(name) => quoted(name),
        })
    };
    match handler {
        Handler::Exec { command } => {
            let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
            let exec = object(&[("command", (!words.is_empty()).then(|| format!("[{}]", words.join(","))))]);
            object(&[("exec", Some(exec))])
        }
        Handler::HttpGet { path, port, host, https, headers } => {
            let each =
                |(name, value): &(Name, Text)| object(&[("name", Some(quoted(name))), ("value", Some(quoted(value)))]);
            let headers: Vec<String> = headers.iter().map(each).collect();
            let get = object(&[
                ("path", filled(path)),
                ("port", port_ref(port)),
                ("host", filled(host)),
                ("scheme", filled(if *https { "HTTPS" } else { "HTTP" })),
                ("httpHeaders", (!headers.is_empty()).then(|| format!("[{}]", headers.join(",")))),
            ]);
            object(&[("httpGet", Some(get))])
        }
        Handler::TcpSocket { port, host } => {
            let tcp = object(&[("port", port_ref(port)), ("host", filled(host))]);
            object(&[("tcpSocket", Some(tcp))])
        }
        Handler::Sleep(length) => {
            let sleep = object(&[("seconds", Some(length.as_secs().to_string()))]);
            object(&[("sleep", Some(sleep))])
        }
        Handler::Grpc { .. } => "{}".to_owned(),
    }
}
