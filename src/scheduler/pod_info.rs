//! What the scheduler reckons once for each pod spec: requests, ports, claims; shared by all pods of a template.
//!
//! Kubernetes: pkg/scheduler/framework/types.go (PodInfo, calculatePodResources), pkg/scheduler/util/pod_resources.go.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::condition;
use crate::model::pod::{ContainerResize, Protocol, VolumeSource};
use crate::model::resources::ResourceList;
use crate::model::{Bytes, Container, MilliCpu, Name, Pod, PodSpec, Resources, Uid};

/// CPU that scoring assumes for a container without a CPU request.
pub const DEFAULT_MILLI_CPU: MilliCpu = MilliCpu(100);
/// Memory that scoring assumes for a container without a memory request: 200 MiB.
pub const DEFAULT_MEMORY: Bytes = Bytes(200 * 1024 * 1024);

/// A pod with what its spec asks for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub spec: Arc<SpecInfo>,
}

impl PodInfo {
    /// The pod with its spec reckoned anew; [`SpecCache::pod`] shares it between pods of one template.
    pub fn new(pod: Arc<Pod>) -> PodInfo {
        let spec = Arc::new(SpecInfo::of(&pod));
        PodInfo { pod, spec }
    }

    /// The pod's uid.
    pub fn uid(&self) -> Uid {
        self.pod.meta.uid
    }

    /// The pod's priority.
    pub fn priority(&self) -> i32 {
        self.pod.spec.priority
    }
}

/// A port of the host that a pod wants for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `0.0.0.0` means every address.
    pub ip: Name,
    pub protocol: Protocol,
    pub port: u16,
}

impl HostPort {
    /// True if both can't be had on one node: same protocol and port, and equal addresses or one that means all.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        let any = |ip: Name| ip == *"0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(self.ip) || any(other.ip))
    }
}

/// What a pod spec asks for.
#[derive(Clone, Debug, Default)]
pub struct SpecInfo {
    /// `PodRequests`: what filters and the balance score count.
    pub requests: Resources,
    /// The same with 100m and 200 MiB for containers that don't say: what a pod on a node counts for in scores.
    pub non_zero: (MilliCpu, Bytes),
    /// What the pod to be placed counts for in scores. Kubernetes 1.36 ignores pod-level resources here.
    pub scoring: Resources,
    pub host_ports: Vec<HostPort>,
    /// True if a volume is a claim, its own or shared.
    pub has_claims: bool,
    /// Any term of pod affinity or anti-affinity.
    pub has_pod_affinity: bool,
    /// A required term of pod anti-affinity.
    pub has_required_anti_affinity: bool,
    /// Images of init containers and containers with `:latest` where no tag is, then those of image volumes.
    pub images: Vec<Name>,
}

impl SpecInfo {
    /// Reckons the pod: its spec and, while it is resized in place, what its containers have and may use.
    pub fn of(pod: &Pod) -> SpecInfo {
        match &pod.status.resizing {
            Some(resizing) => SpecInfo::new(&while_resized(pod, resizing)),
            None => SpecInfo::new(&pod.spec),
        }
    }

    /// True if two states of a pod with the same spec count for the same.
    pub fn counts_alike(one: &Pod, other: &Pod) -> bool {
        let infeasible = |pod: &Pod| pod.status.resizing.is_some() && is_infeasible(pod);
        one.status.resizing == other.status.resizing && infeasible(one) == infeasible(other)
    }

    /// Reckons `spec`.
    pub fn new(spec: &PodSpec) -> SpecInfo {
        let requests = spec.requests();
        let affinity = spec.affinity.as_deref();
        let images = spec.init_containers.iter().chain(spec.containers.iter()).map(|container| container.image);
        let image_volumes = spec.volumes.iter().filter_map(|volume| match &volume.source {
            VolumeSource::Image { reference, .. } => Some(*reference),
            _ => None,
        });
        SpecInfo {
            non_zero: non_zero(spec, &requests),
            scoring: scoring(spec),
            requests,
            host_ports: host_ports(spec),
            has_claims: spec
                .volumes
                .iter()
                .any(|volume| matches!(volume.source, VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. })),
            has_pod_affinity: affinity.is_some_and(|affinity| {
                !(affinity.pod_required.is_empty()
                    && affinity.pod_preferred.is_empty()
                    && affinity.pod_anti_required.is_empty()
                    && affinity.pod_anti_preferred.is_empty())
            }),
            has_required_anti_affinity: affinity.is_some_and(|affinity| !affinity.pod_anti_required.is_empty()),
            images: images.chain(image_volumes).map(with_tag).collect(),
        }
    }
}

/// True if the node can't ever give what the pod now wants.
fn is_infeasible(pod: &Pod) -> bool {
    condition::find(&pod.status.conditions, "PodResizePending")
        .is_some_and(|condition| condition.reason == *"Infeasible")
}

/// The spec with the greatest of what each container wants, was allocated and has; without what it wants, if that is
/// infeasible (determineContainerReqs).
fn while_resized(pod: &Pod, resizing: &[ContainerResize]) -> PodSpec {
    let infeasible = is_infeasible(pod);
    let counted = |container: &Container| {
        let Some(resize) = resizing.iter().find(|resize| resize.name == container.name) else {
            return container.clone();
        };
        let mut container = container.clone();
        let had = greater(&resize.actual.requests, &resize.allocated.requests);
        let wanted = &container.resources.requests;
        container.resources.requests = if infeasible { had } else { greater(wanted, &had) };
        container
    };
    let mut spec = PodSpec::clone(&pod.spec);
    spec.containers = spec.containers.iter().map(counted).collect();
    spec.init_containers = spec.init_containers.iter().map(counted).collect();
    spec
}

/// The greater of two requests, resource by resource.
fn greater(one: &ResourceList, other: &ResourceList) -> ResourceList {
    let mut extended = one.extended.clone();
    for &(name, amount) in &other.extended {
        match extended.binary_search_by(|(existing, _)| existing.cmp(&name)) {
            Ok(at) => extended[at].1 = extended[at].1.max(amount),
            Err(at) => extended.insert(at, (name, amount)),
        }
    }
    ResourceList {
        cpu: one.cpu.max(other.cpu),
        memory: one.memory.max(other.memory),
        ephemeral_storage: one.ephemeral_storage.max(other.ephemeral_storage),
        extended,
    }
}

/// `name:latest` if the name has neither tag nor digest (normalizedImageName in imagelocality).
fn with_tag(image: Name) -> Name {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { image } else { Name::from(format!("{image}:latest")) }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().filter(|container| container.is_sidecar());
    let all = sidecars.chain(spec.containers.iter());
    all.flat_map(|container| container.ports.iter())
        .filter(|port| port.host_port > 0)
        .map(|port| HostPort {
            ip: if port.host_ip.is_empty() { Name::new("0.0.0.0") } else { port.host_ip },
            protocol: port.protocol,
            port: port.host_port,
        })
        .collect()
}

/// A container's requests with the defaults for those of CPU and memory that are missing (0 is not missing).
fn with_defaults(container: &Container, cpu: Option<MilliCpu>, memory: Option<Bytes>) -> Resources {
    let requests = &container.resources.requests;
    let mut amounts = requests.amounts();
    amounts.cpu = requests.cpu.or(cpu).unwrap_or_default();
    amounts.memory = requests.memory.or(memory).unwrap_or_default();
    amounts
}

fn scoring(spec: &PodSpec) -> Resources {
    let mut total = spec.aggregate(|container| with_defaults(container, Some(DEFAULT_MILLI_CPU), Some(DEFAULT_MEMORY)));
    if let Some(overhead) = &spec.overhead {
        total.add(overhead);
    }
    total
}

fn non_zero(spec: &PodSpec, requests: &Resources) -> (MilliCpu, Bytes) {
    let pod_level = spec.resources.as_deref().filter(|level| !(level.requests.is_empty() && level.limits.is_empty()));
    let Some(pod_level) = pod_level else {
        let total = scoring(spec);
        return (total.cpu, total.memory);
    };
    // With pod-level resources a default stands in only where nothing in the whole pod says anything.
    let says = |get: fn(&Container) -> bool| spec.containers.iter().chain(spec.init_containers.iter()).any(get);
    let overhead = |get: fn(&Resources) -> i64| spec.overhead.as_deref().is_some_and(|overhead| get(overhead) > 0);
    let cpu_said = pod_level.requests.cpu.is_some()
        || overhead(|overhead| overhead.cpu.0)
        || says(|container| container.resources.requests.cpu.is_some());
    let memory_said = pod_level.requests.memory.is_some()
        || overhead(|overhead| overhead.memory.0)
        || says(|container| container.resources.requests.memory.is_some());
    let cpu = (!cpu_said).then_some(DEFAULT_MILLI_CPU);
    let memory = (!memory_said).then_some(DEFAULT_MEMORY);
    let assumed = spec.aggregate(|container| with_defaults(container, cpu, memory));
    (if cpu_said { requests.cpu } else { assumed.cpu }, if memory_said { requests.memory } else { assumed.memory })
}

/// Shares a [`SpecInfo`] between the pods that share a spec.
#[derive(Debug, Default)]
pub struct SpecCache {
    /// By the spec's address, which the `Arc` beside it keeps from being used again.
    known: FxHashMap<usize, (Arc<PodSpec>, Arc<SpecInfo>)>,
    /// Specs that nobody uses any more are dropped when there are this many.
    sweep_at: usize,
}

impl SpecCache {
    /// The pod with what its spec asks for.
    pub fn pod(&mut self, pod: &Arc<Pod>) -> PodInfo {
        if pod.status.resizing.is_some() {
            return PodInfo::new(pod.clone());
        }
        let key = Arc::as_ptr(&pod.spec) as usize;
        if let Some((_, spec)) = self.known.get(&key) {
            return PodInfo { pod: pod.clone(), spec: spec.clone() };
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, (spec, _)| Arc::strong_count(spec) > 1);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        let info = PodInfo::new(pod.clone());
        self.known.insert(key, (pod.spec.clone(), info.spec.clone()));
        info
    }
}
