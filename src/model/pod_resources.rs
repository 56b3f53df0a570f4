//! What a pod asks for as a whole, and its QoS class.
//!
//! Kubernetes: staging/src/k8s.io/component-helpers/resource/helpers.go (PodRequests), pkg/apis/core/v1/helper/qos/qos.go.

use super::pod::{Container, PodSpec, ResourceRequirements};
use super::resources::{ResourceList, Resources};

/// A pod's quality of service class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosClass {
    BestEffort,
    Burstable,
    Guaranteed,
}

impl QosClass {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::BestEffort => "BestEffort",
            QosClass::Burstable => "Burstable",
            QosClass::Guaranteed => "Guaranteed",
        }
    }
}

impl PodSpec {
    /// What the pod requests: the containers and sidecars together, or the greatest init container with the sidecars before
    /// it, whichever is more; pod-level requests replace it resource by resource; the overhead comes on top.
    pub fn requests(&self) -> Resources {
        let mut total = self.aggregate(|container| container.resources.requests.amounts());
        if let Some(pod_level) = &self.resources {
            replace(&mut total, &pod_level.requests);
        }
        if let Some(overhead) = &self.overhead {
            total.add(overhead);
        }
        total
    }

    /// The pod's limits, by the same rule (PodLimits); the overhead counts where there is a limit.
    pub fn limits(&self) -> Resources {
        let mut total = self.aggregate(|container| container.resources.limits.amounts());
        if let Some(pod_level) = &self.resources {
            replace(&mut total, &pod_level.limits);
        }
        if let Some(overhead) = &self.overhead {
            let mut more = Resources::clone(overhead);
            if total.cpu.0 == 0 {
                more.cpu.0 = 0;
            }
            if total.memory.0 == 0 {
                more.memory.0 = 0;
            }
            if total.ephemeral_storage.0 == 0 {
                more.ephemeral_storage.0 = 0;
            }
            total.add(&more);
        }
        total
    }

    /// The memory limit that counts for a container: its own, else the pod's; 0: none (getMemoryLimit in
    /// pkg/kubelet/kuberuntime/kuberuntime_container_linux.go).
    pub fn memory_limit(&self, container: &Container) -> i64 {
        let own = container.resources.limits.memory.map_or(0, |limit| limit.0);
        let of_pod = || self.resources.as_deref().and_then(|resources| resources.limits.memory);
        if own != 0 { own } else { of_pod().map_or(0, |limit| limit.0) }
    }

    /// The CPU limit that counts for a container, in thousandths of a core, by the same rule.
    pub fn cpu_limit(&self, container: &Container) -> i64 {
        let own = container.resources.limits.cpu.map_or(0, |limit| limit.0);
        let of_pod = || self.resources.as_deref().and_then(|resources| resources.limits.cpu);
        if own != 0 { own } else { of_pod().map_or(0, |limit| limit.0) }
    }

    /// The sum and maximum rule of [`PodSpec::requests`] over what `amount` says of each container.
    pub fn aggregate(&self, amount: impl Fn(&Container) -> Resources) -> Resources {
        let mut total = Resources::default();
        for container in self.containers.iter() {
            total.add(&amount(container));
        }
        let mut sidecars = Resources::default();
        let mut peak = Resources::default();
        for container in self.init_containers.iter() {
            let mut now = amount(container);
            if container.is_sidecar() {
                total.add(&now);
                sidecars.add(&now);
                now = sidecars.clone();
            } else {
                now.add(&sidecars);
            }
            peak.raise_to(&now);
        }
        total.raise_to(&peak);
        total
    }

    /// The pod's QoS class; only CPU and memory count, and pod-level resources go before those of the containers.
    pub fn qos(&self) -> QosClass {
        let pod_level = self.resources.as_deref();
        let named = |level: &&ResourceRequirements| !(level.requests.is_empty() && level.limits.is_empty());
        if let Some(pod_level) = pod_level.filter(named) {
            return class_of([(&pod_level.requests, &pod_level.limits)].into_iter());
        }
        let all = self.init_containers.iter().chain(self.containers.iter());
        class_of(all.map(|container| (&container.resources.requests, &container.resources.limits)))
    }
}

fn replace(total: &mut Resources, pod_level: &ResourceList) {
    if let Some(cpu) = pod_level.cpu {
        total.cpu = cpu;
    }
    if let Some(memory) = pod_level.memory {
        total.memory = memory;
    }
    for &(name, amount) in &pod_level.extended {
        total.set_extended(name, amount);
    }
}

fn class_of<'a>(all: impl Iterator<Item = (&'a ResourceList, &'a ResourceList)>) -> QosClass {
    let mut anything = false;
    let mut guaranteed = true;
    for (requests, limits) in all {
        let zero = |list: &ResourceList| {
            list.cpu.is_none_or(|cpu| cpu.0 == 0) && list.memory.is_none_or(|memory| memory.0 == 0)
        };
        anything |= !zero(requests) || !zero(limits);
        let equal_cpu =
            limits.cpu.is_some_and(|limit| limit.0 > 0 && requests.cpu.is_none_or(|request| request == limit));
        let equal_memory =
            limits.memory.is_some_and(|limit| limit.0 > 0 && requests.memory.is_none_or(|request| request == limit));
        guaranteed &= equal_cpu && equal_memory;
    }
    match (anything, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}
