//! Pods that are meant for a node but not on it yet: they wait for the victims of their preemption to go.
//!
//! Kubernetes: pkg/scheduler/backend/queue/nominator.go.

use rustc_hash::FxHashMap;

use crate::model::{Name, Uid};

use super::pod_info::PodInfo;

/// The nominated pods of each node, in the order of their nomination.
#[derive(Debug, Default)]
pub struct Nominator {
    by_node: FxHashMap<Name, Vec<PodInfo>>,
    node_of: FxHashMap<Uid, Name>,
}

impl Nominator {
    /// Nominates the pod for `node`; an earlier nomination of it ends.
    pub fn add(&mut self, pod: PodInfo, node: Name) {
        self.remove(pod.uid());
        self.node_of.insert(pod.uid(), node);
        self.by_node.entry(node).or_default().push(pod);
    }

    /// The pod is nominated no more; gives the node that it was nominated for.
    pub fn remove(&mut self, pod: Uid) -> Option<Name> {
        let node = self.node_of.remove(&pod)?;
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|existing| existing.uid() != pod);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
        Some(node)
    }

    /// True if no pod is nominated.
    pub fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    /// The pods nominated for a node.
    pub fn on(&self, node: Name) -> &[PodInfo] {
        if self.by_node.is_empty() {
            return &[];
        }
        self.by_node.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The node that a pod is nominated for.
    pub fn node_of(&self, pod: Uid) -> Option<Name> {
        self.node_of.get(&pod).copied()
    }
}
