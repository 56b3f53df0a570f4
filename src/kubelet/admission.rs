//! Admission at the node: whether a pod that was bound to it may run.
//!
//! Kubernetes: pkg/kubelet/lifecycle/predicate.go, AdmissionCheck in pkg/scheduler/eventhandlers.go. How critical pods push
//! others out stands in `preemption.rs`.

use crate::model::node::HOSTNAME_LABEL;
use crate::model::pod::Protocol;
use crate::model::pod_resources::QosClass;
use crate::model::taint::first_untolerated;
use crate::model::{Container, Labels, Name, Node, Pod, Resources, TaintEffect, Text};

use super::Kubelet;

/// Pods of this priority and above are critical.
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Why a pod may not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `OutOfcpu`, `NodeAffinity`, ….
    pub reason: Text,
    pub message: Text,
}

/// A resource of which there is too little for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub name: Name,
    pub requested: i64,
    pub used: i64,
    pub has: i64,
}

impl Shortage {
    /// How much would have to be freed.
    pub fn missing(self) -> i64 {
        self.requested - (self.has - self.used)
    }

    /// As the API shows it.
    pub fn rejection(self) -> Rejection {
        let Shortage { name, requested, used, has } = self;
        Rejection {
            reason: format!("OutOf{name}").into(),
            message: format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {has}"
            )
            .into(),
        }
    }
}

/// What the admitted pods use.
#[derive(Debug, Default)]
pub struct Admission {
    used: Resources,
    /// Host ports in use: address, protocol, port.
    ports: Vec<(Name, Protocol, u16)>,
}

impl Admission {
    /// Counts a pod.
    pub fn add(&mut self, pod: &Pod) {
        self.used.add(&pod.spec.requests());
        self.used.pods += 1;
        self.ports.extend(host_ports(pod));
    }

    /// Counts a pod no more.
    pub fn remove(&mut self, pod: &Pod) {
        self.used.subtract(&pod.spec.requests());
        self.used.pods -= 1;
        for port in host_ports(pod) {
            if let Some(at) = self.ports.iter().position(|other| *other == port) {
                self.ports.remove(at);
            }
        }
    }

    /// The general predicates, of which the first failure is reported.
    pub fn check(&self, pod: &Pod, node: &Node, allocatable: &Resources) -> Result<(), Rejection> {
        check_os(pod, node)?;
        if let Some(short) = self.shortages(&pod.spec.requests(), allocatable).next() {
            return Err(short.rejection());
        }
        self.check_placement(pod, node)
    }

    /// The predicates that are not about resources.
    pub fn check_placement(&self, pod: &Pod, node: &Node) -> Result<(), Rejection> {
        let labels = &node.meta.labels;
        let predicate = |name: &str, text: &str| Rejection {
            reason: name.into(),
            message: format!("Predicate {name} failed: {text}").into(),
        };
        if !matches_node(pod, node.meta.name, labels) {
            return Err(predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
        }
        if pod.node.is_some_and(|name| name != node.meta.name) {
            return Err(predicate("NodeName", "node(s) didn't match the requested node name"));
        }
        if host_ports(pod).any(|port| self.ports.iter().any(|other| conflict(port, *other))) {
            return Err(predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
        }
        let repelled = first_untolerated(&node.spec.taints, &pod.spec.tolerations, &[TaintEffect::NoExecute]).is_some();
        if repelled && !super::static_pods::is_static(pod) {
            return Err(predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate"));
        }
        Ok(())
    }

    /// The resources of which there is too little, in the order in which they are checked.
    pub fn shortages<'a>(&'a self, wants: &'a Resources, has: &'a Resources) -> impl Iterator<Item = Shortage> + 'a {
        let used = &self.used;
        let short = |name: &str, requested: i64, used: i64, has: i64| {
            (requested > 0 && requested > has - used).then(|| Shortage { name: Name::new(name), requested, used, has })
        };
        let named = [
            short("pods", 1, used.pods, has.pods),
            short("cpu", wants.cpu.0, used.cpu.0, has.cpu.0),
            short("memory", wants.memory.0, used.memory.0, has.memory.0),
            short("ephemeral-storage", wants.ephemeral_storage.0, used.ephemeral_storage.0, has.ephemeral_storage.0),
        ];
        // A resource that the node doesn't know was let through by whoever bound the pod.
        let extended = wants.extended.iter().filter_map(move |&(name, requested)| {
            let known = has.extended.iter().any(|(other, _)| *other == name);
            let (used, has) = (used.extended(name), has.extended(name));
            (known && requested > 0 && requested > has - used).then_some(Shortage { name, requested, used, has })
        });
        named.into_iter().flatten().chain(extended)
    }
}

/// Sysctls that any pod may set: they touch nothing but the pod's own namespaces.
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The whole CPUs that each container of a Guaranteed pod has for itself under the static CPU manager; init containers hand
/// theirs on to those that follow.
fn exclusive_cpus(pod: &Pod) -> Vec<i64> {
    if pod.spec.resources.is_some() || pod.spec.qos() != QosClass::Guaranteed {
        return Vec::new();
    }
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    sidecars.chain(pod.spec.containers.iter()).filter_map(whole_cpus).collect()
}

/// The CPUs of a container that asks for whole ones.
pub fn whole_cpus(container: &Container) -> Option<i64> {
    let cpu = container.resources.requests.cpu.or(container.resources.limits.cpu)?;
    (cpu.0 > 0 && cpu.0 % 1000 == 0).then_some(cpu.0 / 1000)
}

fn check_os(pod: &Pod, node: &Node) -> Result<(), Rejection> {
    let labels = &node.meta.labels;
    let os = Name::new("kubernetes.io/os");
    if let (Some(wanted), Some(has)) = (pod.meta.labels.get(os), labels.get(os))
        && wanted != has
    {
        return Err(rejection(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ));
    }
    if let Some(has) = labels.get(os)
        && !pod.spec.os.is_empty()
        && pod.spec.os != has
    {
        return Err(rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"));
    }
    Ok(())
}

fn rejection(reason: &str, message: &str) -> Rejection {
    Rejection { reason: reason.into(), message: message.into() }
}

fn matches_node(pod: &Pod, name: Name, labels: &Labels) -> bool {
    let has = |key: Name| match labels.get(key) {
        None if key == *HOSTNAME_LABEL => Some(name),
        found => found,
    };
    pod.spec.node_selector.iter().all(|(key, value)| has(key) == Some(value))
        && pod
            .spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_required.as_ref())
            .is_none_or(|required| required.matches(name, labels))
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = (Name, Protocol, u16)> + '_ {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    pod.spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port != 0)
        .map(|port| (port.host_ip, port.protocol, port.host_port))
}

/// The same port and protocol, on the same address or on all.
fn conflict(one: (Name, Protocol, u16), other: (Name, Protocol, u16)) -> bool {
    let all = |ip: Name| ip.is_empty() || ip == *"0.0.0.0";
    (one.1, one.2) == (other.1, other.2) && (all(one.0) || all(other.0) || one.0 == other.0)
}

impl Kubelet {
    /// Whether the pod may run on this node as the kubelet knows it.
    pub(super) fn admit(&self, pod: &Pod) -> Result<(), Rejection> {
        self.admit_under_pressure(pod)?;
        self.admit_sysctls(pod)?;
        self.admit_exclusive_cpus(pod)?;
        self.admission.check(pod, self.known_node(), &self.allocatable)?;
        self.admit_before_shutdown()
    }

    /// Sysctls that are neither safe nor allowed by the configuration (pkg/kubelet/sysctl/allowlist.go).
    fn admit_sysctls(&self, pod: &Pod) -> Result<(), Rejection> {
        let wrong = pod.spec.security.sysctls.iter().find_map(|(name, _)| {
            let name = name.replace('/', ".");
            let is_allowed = |pattern: &Name| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => *pattern == *name,
            };
            let allowed = SAFE_SYSCTLS.contains(&name.as_str())
                || self.config.kubelet.allowed_unsafe_sysctls.iter().any(is_allowed);
            let of_ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|of| name.starts_with(of));
            match allowed {
                false => Some(format!("\"{name}\" not allowlisted")),
                true if of_ipc && pod.spec.host_ipc => Some(format!("\"{name}\" not allowed with host ipc enabled")),
                true if !of_ipc && pod.spec.host_network => {
                    Some(format!("\"{name}\" not allowed with host net enabled"))
                }
                true => None,
            }
        });
        match wrong {
            Some(why) => Err(rejection("SysctlForbidden", &format!("forbidden sysctl: {why}"))),
            None => Ok(()),
        }
    }

    /// With the static CPU manager, whole CPUs of Guaranteed pods are theirs alone: there must be enough that nobody has
    /// (pkg/kubelet/cm/cpumanager/policy_static.go). Which CPUs, and where they lie, is not modelled.
    fn admit_exclusive_cpus(&self, pod: &Pod) -> Result<(), Rejection> {
        let settings = &self.config.kubelet;
        if !settings.static_cpu_manager {
            return Ok(());
        }
        let reserved = settings.system_reserved.cpu.0 + settings.kube_reserved.cpu.0;
        let taken: i64 = self
            .pods
            .values()
            .filter(|entry| entry.admitted)
            .map(|entry| exclusive_cpus(&entry.pod).iter().sum::<i64>())
            .sum();
        let mut free = self.config.node.status.capacity.cpu.0 / 1000 - (reserved + 999) / 1000 - taken;
        for requested in exclusive_cpus(pod) {
            if requested > free {
                let why =
                    format!("not enough cpus available to satisfy request: requested={requested}, available={free}");
                let message = format!("Allocate failed due to {why}, which is unexpected");
                return Err(rejection("UnexpectedAdmissionError", &message));
            }
            free -= requested;
        }
        Ok(())
    }

    /// The resources of which there is too little for the pod.
    pub(super) fn shortages(&self, pod: &Pod) -> Vec<Shortage> {
        self.admission.shortages(&pod.spec.requests(), &self.allocatable).collect()
    }

    /// Whether the pod might run here if there was enough of everything.
    pub(super) fn check_but_resources(&self, pod: &Pod) -> Result<(), Rejection> {
        check_os(pod, self.known_node())?;
        self.admission.check_placement(pod, self.known_node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node::NodeSpec;
    use crate::model::pod::{ContainerPort, PodSpec};
    use crate::model::{Bytes, Meta, MilliCpu, Taint};

    fn pod(change: impl FnOnce(&mut Container, &mut PodSpec)) -> Pod {
        let (mut container, mut spec) = (Container::default(), PodSpec::default());
        change(&mut container, &mut spec);
        spec.containers = [container].into();
        Pod { meta: Meta::named("default", "p"), spec: spec.into(), ..Pod::default() }
    }

    fn check(pod: &Pod, taint: Option<Taint>, others: &[Pod]) -> String {
        let mut admission = Admission::default();
        others.iter().for_each(|other| admission.add(other));
        let mut meta = Meta::named("", "n1");
        meta.labels = Labels::new([("disk".into(), "ssd".into())]);
        let node =
            Node { meta, spec: NodeSpec { taints: taint.into_iter().collect(), ..<_>::default() }, ..<_>::default() };
        let has = Resources { cpu: MilliCpu(2000), memory: Bytes(1000), pods: 2, ..Resources::default() };
        match admission.check(pod, &node, &has) {
            Ok(()) => "admitted".to_owned(),
            Err(rejection) => format!("{}: {}", rejection.reason, rejection.message),
        }
    }

    fn with_port(pod: &mut Container) {
        pod.ports = vec![ContainerPort {
            name: Name::default(),
            port: 80,
            host_port: 8080,
            host_ip: Name::default(),
            protocol: Protocol::Tcp,
        }];
    }

    #[test]
    fn a_pod_that_asks_for_too_much_is_out_of_that_resource() {
        let cpu = |millis| pod(|container, _| container.resources.requests.cpu = Some(MilliCpu(millis)));
        assert_eq!(check(&cpu(2000), None, &[]), "admitted");
        assert_eq!(
            check(&cpu(10_000), None, &[]),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 10000, used: 0, capacity: 2000"
        );
        assert_eq!(
            check(&cpu(600), None, &[cpu(1500)]),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
        );
        assert_eq!(
            check(&cpu(0), None, &[cpu(0), cpu(0)]),
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"
        );
    }

    #[test]
    fn selector_ports_and_no_execute_taints_are_checked_in_this_order() {
        let select = pod(|_, spec| spec.node_selector = Labels::new([("disk".into(), "hdd".into())]));
        assert_eq!(
            check(&select, None, &[]),
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        );
        let port = pod(|container, _| with_port(container));
        assert_eq!(
            check(&port, None, std::slice::from_ref(&port)),
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        );
        let plain = pod(|_, _| {});
        assert_eq!(
            check(&plain, Some(Taint::new("k", TaintEffect::NoExecute)), &[]),
            "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
        );
        assert_eq!(check(&plain, Some(Taint::new("k", TaintEffect::NoSchedule)), &[]), "admitted");
    }

    #[test]
    fn what_a_pod_used_is_free_when_it_is_gone() {
        let port = pod(|container, _| with_port(container));
        let mut admission = Admission::default();
        admission.add(&port);
        admission.remove(&port);
        assert!(admission.ports.is_empty());
        assert_eq!(admission.used, Resources::default());
    }
}
