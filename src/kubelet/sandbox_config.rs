//! What the kubelet tells the runtime of a pod's sandbox.
//!
//! Kubernetes: generatePodSandboxConfig in pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, GetPodDNS in
//! pkg/kubelet/network/dns/dns.go, GeneratePodHostNameAndDomain in pkg/kubelet/kubelet_pods.go.

use std::sync::Arc;

use crate::model::pod::{Dns, DnsPolicy};
use crate::model::pod_resources::QosClass;
use crate::model::{Container, Name, Pod};
use crate::protocol::cri::{DnsConfig, LinuxResources, PodSandboxConfig, PortMapping, SandboxSecurity};

use super::container_config::{ipc_mode, pid_mode};
use super::environment::Facts;
use super::host::Host;

/// Where a pod's configuration comes from: annotation of the sandbox.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// The most of a kind that a resolver takes (pkg/apis/core/validation, MaxDNSNameservers, MaxDNSSearchPaths).
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
/// The longest name that the kernel takes.
const LONGEST_HOSTNAME: usize = 63;

impl Facts<'_> {
    /// The sandbox of the pod.
    pub fn sandbox_config(&self, attempt: u32) -> PodSandboxConfig {
        let pod = self.pod;
        let meta = &pod.meta;
        let class = match pod.spec.qos() {
            QosClass::Guaranteed => "/kubepods",
            QosClass::Burstable => "/kubepods/burstable",
            QosClass::BestEffort => "/kubepods/besteffort",
        };
        let config = PodSandboxConfig {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            attempt,
            hostname: hostname(pod),
            labels: meta.labels.clone(),
            annotations: meta.annotations.clone(),
            log_directory: Name::default(),
            cgroup_parent: Name::new(class),
            host_network: pod.spec.host_network,
            runtime_handler: pod.spec.runtime_class,
            security: sandbox_security(pod),
            sysctls: pod.spec.security.sysctls.clone(),
            pids_limit: self.config.kubelet.pod_pids_limit.max(0),
            ..PodSandboxConfig::default()
        };
        let config = match self.config.log_root {
            Some(root) => PodSandboxConfig {
                log_directory: Name::from(format!("{root}/{}_{}_{}", meta.namespace, meta.name, meta.uid)),
                cgroup_parent: Name::from(format!("{class}/pod{}", meta.uid)),
                ..config
            },
            None => config,
        };
        match &self.config.host {
            // A simulated runtime works out what containers use together only where the pod says more than they do.
            None if pod.spec.resources.is_some() => {
                PodSandboxConfig { resources: Some(self.pod_resources()), ..config }
            }
            Some(host) => PodSandboxConfig {
                annotations: meta.annotations.with(Name::new(CONFIG_SOURCE), Name::new("api")),
                dns: Some(Arc::new(dns(pod, host))),
                port_mappings: port_mappings(pod),
                resources: Some(self.pod_resources()),
                ..config
            },
            None => config,
        }
    }

    /// What the pod's containers may use together (ResourceConfigForPod in pkg/kubelet/cm/helpers_linux.go): what the pod
    /// says itself goes before the sums.
    pub fn pod_resources(&self) -> LinuxResources {
        let containers = || self.running_containers();
        let mut all = LinuxResources::default();
        for container in containers() {
            let one = self.resources(container);
            all.cpu_period = one.cpu_period;
            all.cpu_shares += one.cpu_shares;
            all.cpu_quota += one.cpu_quota;
            all.memory_limit_in_bytes += one.memory_limit_in_bytes;
        }
        // Without a limit of one container the pod has none.
        if containers().any(|container| container.resources.limits.cpu.is_none()) {
            all.cpu_quota = 0;
        }
        if containers().any(|container| container.resources.limits.memory.is_none()) {
            all.memory_limit_in_bytes = 0;
        }
        let Some(own) = self.pod.spec.resources.as_deref() else { return all };
        let (requests, limits) = (self.pod.spec.requests(), &own.limits);
        all.cpu_shares = (requests.cpu.0 * 1024 / 1000).clamp(2, 262_144);
        if let Some(cpu) = limits.cpu.filter(|_| self.config.kubelet.cpu_cfs_quota) {
            all.cpu_quota = (cpu.0 * all.cpu_period / 1000).max(1000);
        }
        if let Some(memory) = limits.memory {
            all.memory_limit_in_bytes = memory.0;
        }
        all
    }

    /// The regular containers and the sidecars.
    fn running_containers(&self) -> impl Iterator<Item = &Container> {
        let spec = &self.pod.spec;
        spec.containers.iter().chain(spec.init_containers.iter().filter(|container| container.is_sidecar()))
    }
}

/// Empty on the node's network, whose name is the node's.
pub fn hostname(pod: &Pod) -> Name {
    if pod.spec.host_network {
        return Name::default();
    }
    let name = if pod.spec.hostname.is_empty() { pod.meta.name } else { pod.spec.hostname };
    if name.len() <= LONGEST_HOSTNAME {
        return name;
    }
    let cut: String = name.chars().take(LONGEST_HOSTNAME).collect();
    Name::new(cut.trim_end_matches(['-', '.']))
}

fn sandbox_security(pod: &Pod) -> SandboxSecurity {
    let spec = &pod.spec;
    let security = &spec.security;
    let mut groups = security.supplemental_groups.clone();
    groups.extend(security.fs_group.filter(|group| !security.supplemental_groups.contains(group)));
    let mut all = spec.init_containers.iter().chain(spec.containers.iter());
    SandboxSecurity {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        supplemental_groups: groups,
        privileged: all.any(|container| container.security.privileged),
        pid: pid_mode(spec),
        ipc: ipc_mode(spec),
    }
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let spec = &pod.spec;
    let sidecars = spec.init_containers.iter().filter(|container| container.is_sidecar());
    let ports = sidecars.chain(spec.containers.iter()).flat_map(|container| &container.ports);
    let mapping = |port: &crate::model::pod::ContainerPort| PortMapping {
        protocol: port.protocol,
        container_port: port.port,
        host_port: port.host_port,
        host_ip: port.host_ip,
    };
    ports.map(mapping).collect()
}

/// How the pod finds names.
fn dns(pod: &Pod, host: &Host) -> DnsConfig {
    let usual = Dns::default();
    let asked = pod.spec.dns.as_deref().unwrap_or(&usual);
    let in_cluster = match asked.policy {
        DnsPolicy::ClusterFirst => !pod.spec.host_network,
        DnsPolicy::ClusterFirstWithHostNet => true,
        DnsPolicy::Default | DnsPolicy::None => false,
    };
    let mut made = match asked.policy {
        DnsPolicy::None => DnsConfig::default(),
        _ if in_cluster && !host.cluster_dns.is_empty() => {
            let (domain, namespace) = (host.cluster_domain, pod.meta.namespace);
            let mut searches = Vec::new();
            if !domain.is_empty() {
                searches.push(Name::from(format!("{namespace}.svc.{domain}")));
                searches.push(Name::from(format!("svc.{domain}")));
                searches.push(domain);
            }
            searches.extend(&host.dns.searches);
            DnsConfig { servers: host.cluster_dns.clone(), searches, options: vec![Name::new("ndots:5")] }
        }
        _ => host.dns.clone(),
    };
    made.servers.extend(&asked.nameservers);
    once(&mut made.servers, MAX_NAMESERVERS);
    made.searches.extend(&asked.searches);
    once(&mut made.searches, MAX_SEARCHES);
    for (name, value) in &asked.options {
        made.options.retain(|option| option.split(':').next() != Some(name.as_str()));
        made.options.push(match value {
            Some(value) => Name::from(format!("{name}:{value}")),
            None => *name,
        });
    }
    made
}

/// Each name once, and no more than these.
fn once(names: &mut Vec<Name>, most: usize) {
    let mut kept: Vec<Name> = Vec::with_capacity(names.len());
    for name in names.drain(..) {
        if !kept.contains(&name) && kept.len() < most {
            kept.push(name);
        }
    }
    *names = kept;
}
