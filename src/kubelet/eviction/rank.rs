//! Who goes first: what pods use against what they have asked for, and the order that follows.
//!
//! Kubernetes: rankMemoryPressure, rankDiskPressureFunc, rankPIDPressure and the comparisons below them in
//! pkg/kubelet/eviction/helpers.go.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::pod::VolumeSource;
use crate::model::quantity::{Format, Quantity};
use crate::model::{Name, Pod, Uid};
use crate::protocol::stats::{Line, Summary};

use super::thresholds::{Observation, Signal, Threshold};

/// What a pod uses.
#[derive(Clone, Debug)]
pub struct Usage {
    pub uid: Uid,
    pub pod: Arc<Pod>,
    /// Something of it was measured.
    pub is_measured: bool,
    pub memory: Line,
    /// Writable layers, logs and volumes on the node's disk.
    pub rootfs: Line,
    pub logs: Line,
    pub volumes: Line,
    pub inodes: Line,
    pub processes: i64,
    pub containers: Vec<ContainerUse>,
}

/// What one of its containers uses.
#[derive(Clone, Copy, Debug)]
pub struct ContainerUse {
    pub name: Name,
    pub memory: i64,
    pub rootfs: Line,
    pub logs: Line,
    pub processes: i64,
}

impl Usage {
    /// What a measurement says of a pod.
    pub fn of(uid: Uid, pod: &Arc<Pod>, summary: &Summary) -> Usage {
        let mut usage = Usage {
            uid,
            pod: pod.clone(),
            is_measured: false,
            memory: Line::default(),
            rootfs: Line::default(),
            logs: Line::default(),
            volumes: Line::default(),
            inodes: Line::default(),
            processes: 0,
            containers: Vec::new(),
        };
        for container in summary.containers.iter().filter(|container| container.pod == uid) {
            usage.is_measured = true;
            usage.memory = usage.memory.plus(container.memory);
            usage.rootfs = usage.rootfs.plus(container.rootfs);
            usage.logs = usage.logs.plus(container.logs);
            usage.inodes = usage.inodes.plus(container.inodes);
            usage.processes += container.processes.amount;
            usage.containers.push(ContainerUse {
                name: container.name,
                memory: container.memory.amount,
                rootfs: container.rootfs,
                logs: container.logs,
                processes: container.processes.amount,
            });
        }
        for volume in summary.volumes.iter().filter(|volume| volume.pod == uid) {
            match source(pod, volume.volume) {
                // What is in memory belongs to who has written it.
                Some(VolumeSource::EmptyDir { memory: true, .. }) => {
                    usage.memory = usage.memory.plus(volume.used);
                    if let Some(first) = usage.containers.first_mut() {
                        first.memory = first.memory.saturating_add(volume.used.amount);
                    }
                }
                Some(source) if is_local(source) => usage.volumes = usage.volumes.plus(volume.used),
                _ => {}
            }
        }
        usage
    }

    /// What counts as ephemeral storage: with a disk of their own images and writable layers don't.
    pub fn ephemeral(&self, separate_images: bool) -> Line {
        let local = self.logs.plus(self.volumes);
        if separate_images { local } else { local.plus(self.rootfs) }
    }

    /// What the pod uses of what is scarce.
    fn used(&self, signal: Signal, separate_images: bool) -> i64 {
        match signal {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => self.memory.amount,
            Signal::NodeFsAvailable => self.ephemeral(separate_images).amount,
            Signal::ImageFsAvailable if separate_images => self.rootfs.amount,
            Signal::ImageFsAvailable => self.ephemeral(false).amount,
            Signal::NodeFsInodesFree | Signal::ImageFsInodesFree => self.inodes.amount,
            Signal::PidAvailable => self.processes,
        }
    }

    fn requested(&self, signal: Signal) -> i64 {
        let requests = self.pod.spec.requests();
        match signal {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => requests.memory.0,
            Signal::NodeFsAvailable | Signal::ImageFsAvailable => requests.ephemeral_storage.0,
            _ => 0,
        }
    }
}

/// The volume of this name.
pub fn source(pod: &Pod, name: Name) -> Option<&VolumeSource> {
    pod.spec.volumes.iter().find(|volume| volume.name == name).map(|volume| &volume.source)
}

/// Volumes on the node's own disk.
fn is_local(source: &VolumeSource) -> bool {
    matches!(
        source,
        VolumeSource::EmptyDir { .. }
            | VolumeSource::ConfigMap { .. }
            | VolumeSource::Secret { .. }
            | VolumeSource::Projected { .. }
            | VolumeSource::DownwardApi { .. }
    )
}

/// Sorts pods: who goes first comes first.
pub fn rank(pods: &mut [Usage], signal: Signal, separate_images: bool) {
    pods.sort_by_cached_key(|usage| {
        let over = usage.used(signal, separate_images) - usage.requested(signal);
        let priority = usage.pod.spec.priority;
        match signal {
            Signal::PidAvailable => (false, false, priority, Reverse(usage.processes), usage.uid),
            _ => (usage.is_measured, over <= 0, priority, Reverse(over), usage.uid),
        }
    });
}

/// What an evicted pod and its event say (`evictionMessage`).
pub fn message(usage: &Usage, threshold: &Threshold, seen: Observation, separate_images: bool) -> String {
    let resource = threshold.signal.resource();
    let binary = |amount: i64| Quantity::from_units(amount, Format::BinarySI);
    let mut message = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        threshold.quantity(seen.capacity),
        binary(seen.available)
    );
    for container in &usage.containers {
        let spec = usage.pod.spec.containers.iter().chain(usage.pod.spec.init_containers.iter());
        let Some(spec) = spec.into_iter().find(|spec| spec.name == container.name) else { continue };
        let requests = &spec.resources.requests;
        let (used, request) = match threshold.signal {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => {
                (container.memory, requests.memory.unwrap_or_default().0)
            }
            Signal::NodeFsAvailable | Signal::ImageFsAvailable => {
                let layers = if separate_images { Line::default() } else { container.rootfs };
                (container.logs.plus(layers).amount, requests.ephemeral_storage.unwrap_or_default().0)
            }
            _ => continue,
        };
        if used > request {
            message.push_str(&format!(
                "Container {} was using {}, request is {}, has larger consumption of {resource}. ",
                container.name,
                binary(used),
                binary(request)
            ));
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, Container, Meta, PodSpec};
    use crate::protocol::cri::ContainerId;
    use crate::protocol::stats::ContainerUsage;

    fn usage(uid: u64, priority: i32, request: i64, memory: Option<i64>, processes: i64) -> Usage {
        let mut container = Container { name: Name::new("main"), ..Container::default() };
        container.resources.requests.memory = (request > 0).then_some(Bytes(request));
        let spec = PodSpec { containers: [container].into(), priority, ..PodSpec::default() };
        let mut pod = Pod { meta: Meta::named("default", "p"), spec: spec.into(), ..Pod::default() };
        pod.meta.uid = Uid(uid);
        let mut summary = Summary::default();
        summary.containers.extend(memory.map(|memory| ContainerUsage {
            pod: Uid(uid),
            container: ContainerId(uid),
            name: Name::new("main"),
            memory: Line::constant(memory),
            rootfs: Line::default(),
            logs: Line::default(),
            inodes: Line::default(),
            processes: Line::constant(processes),
        }));
        Usage::of(Uid(uid), &Arc::new(pod), &summary)
    }

    fn ranked(mut pods: Vec<Usage>, signal: Signal) -> Vec<u64> {
        rank(&mut pods, signal, false);
        pods.into_iter().map(|usage| usage.uid.0).collect()
    }

    #[test]
    fn memory_goes_by_excess_then_priority_then_amount() {
        let pods = vec![
            usage(1, 0, 500, Some(400), 1),
            usage(2, 0, 100, Some(150), 1),
            usage(3, 0, 0, Some(90), 1),
            usage(4, 10, 0, Some(900), 1),
            usage(5, 0, 0, None, 1),
        ];
        assert_eq!(ranked(pods, Signal::MemoryAvailable), [5, 3, 2, 4, 1]);
    }

    #[test]
    fn processes_go_by_priority_then_number() {
        let pods = vec![usage(1, 5, 0, Some(1), 900), usage(2, 0, 0, Some(1), 3), usage(3, 0, 0, Some(1), 30)];
        assert_eq!(ranked(pods, Signal::PidAvailable), [3, 2, 1]);
    }

    #[test]
    fn the_message_names_containers_that_use_more_than_they_asked_for() {
        let threshold = &Threshold::of(&crate::kubelet::config::Eviction::default().thresholds[0]);
        let seen = Observation { available: 52 << 20, capacity: 1 << 30 };
        let pod = usage(1, 0, 500 << 20, Some(900 << 20), 1);
        assert_eq!(
            message(&pod, threshold, seen, false),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. Container main was using \
             900Mi, request is 500Mi, has larger consumption of memory. "
        );
        let modest = usage(1, 0, 500 << 20, Some(400 << 20), 1);
        assert!(message(&modest, threshold, seen, false).ends_with("available: 52Mi. "));
    }
}
