//! NodeResourcesFit: a pod goes only where what it requests is free, and by default rather where much is.
//!
//! *When you meet it:* "Insufficient cpu", "Insufficient memory", "Too many pods". If the request exceeds the node's whole
//! allocatable, preemption can't help either. The strategy of the score is the plug-in's argument.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/noderesources/fit.go, resource_allocation.go.

use smallvec::SmallVec;

use crate::model::{Name, Node, Object, Resources};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    Code, EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, PreScore, PreScored, Reason, Scope, Score,
    State, Status,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::{PodInfo, SpecInfo};

use super::resource_scoring::{ScoredResource, Strategy};

/// See the module.
#[derive(Debug)]
pub struct NodeResourcesFit {
    pub strategy: Strategy,
    /// The resources that count for the score, with their weights.
    pub resources: Vec<ScoredResource>,
    /// Extended resources that Filter leaves alone.
    pub ignored_resources: Vec<Name>,
    /// The same by group: the part of the name before `/`.
    pub ignored_resource_groups: Vec<Name>,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        NodeResourcesFit {
            strategy: Strategy::LeastAllocated,
            resources: ScoredResource::cpu_and_memory(),
            ignored_resources: Vec::new(),
            ignored_resource_groups: Vec::new(),
        }
    }
}

impl NodeResourcesFit {
    fn ignores(&self, resource: Name) -> bool {
        let Some((group, _)) = resource.split_once('/') else { return false };
        self.ignored_resources.contains(&resource) || self.ignored_resource_groups.iter().any(|name| *name == *group)
    }

    /// What a node with this much allocatable and used lacks for `requests`; true with it if even the empty node is too
    /// small.
    fn lacks(
        &self,
        requests: &Resources,
        allocatable: &Resources,
        used: &Resources,
        pods: usize,
        by_devices: &dyn Fn(Name) -> bool,
    ) -> (SmallVec<[Reason; 1]>, bool) {
        let mut reasons: SmallVec<[Reason; 1]> = SmallVec::new();
        let mut hopeless = false;
        if pods as i64 + 1 > allocatable.pods {
            reasons.push("Too many pods".into());
        }
        let mut check = |request: i64, total: i64, used: i64, reason: &dyn Fn() -> Reason| {
            if request > 0 && request > total.saturating_sub(used) {
                reasons.push(reason());
                hopeless |= request > total;
            }
        };
        check(requests.cpu.0, allocatable.cpu.0, used.cpu.0, &|| "Insufficient cpu".into());
        check(requests.memory.0, allocatable.memory.0, used.memory.0, &|| "Insufficient memory".into());
        let (storage, there, taken) =
            (requests.ephemeral_storage, allocatable.ephemeral_storage, used.ephemeral_storage);
        check(storage.0, there.0, taken.0, &|| "Insufficient ephemeral-storage".into());
        for &(name, amount) in &requests.extended {
            if !self.ignores(name) && !by_devices(name) {
                check(amount, allocatable.extended(name), used.extended(name), &|| {
                    format!("Insufficient {name}").into()
                });
            }
        }
        (reasons, hopeless)
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn scope(&self) -> Scope {
        Scope::Node
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for NodeResourcesFit {
    fn pre_filter(&self, _: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        Ok(PreFiltered::default())
    }
}

impl Filter for NodeResourcesFit {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        // What a device class stands for, and the node has not itself, is DynamicResources' to find.
        let by_devices = |name: Name| {
            node.allocatable().extended(name) == 0
                && world.devices.has_classes()
                && world.devices.class_of(name).is_some()
        };
        let (reasons, hopeless) =
            self.lacks(&pod.spec.requests, node.allocatable(), &node.requested, node.pods.len(), &by_devices);
        if reasons.is_empty() {
            return Ok(());
        }
        let code = if hopeless { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable };
        Err(Status { code, reasons, plugin: "", ends_nomination: false })
    }
}

impl PreScore for NodeResourcesFit {
    fn pre_score(&self, _: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        Ok(PreScored::default())
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<i64, Status> {
        let scored = self.resources.iter().filter_map(|resource| {
            let amounts = resource.amounts_for_fit(&pod.spec.scoring, node)?;
            Some((amounts, resource.weight))
        });
        Ok(self.strategy.score(scored))
    }
}

impl EnqueueExtensions for NodeResourcesFit {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::Pod, Action::DELETE.or(Action::POD_SCALE_DOWN)),
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_ALLOCATABLE)),
            ClusterEvent::new(Resource::DeviceClass, Action::ADD.or(Action::UPDATE)),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, world: &World) -> Hint {
        let requests = &pod.spec.requests;
        let helps = match *change {
            Change::Other(_, Some(Object::DeviceClass(class))) => {
                let mut wanted = requests.extended.iter().filter(|(_, amount)| *amount > 0);
                wanted.any(|(name, _)| world.devices.class_of(*name) == Some(class.meta.name))
            }
            Change::Pod(Some(old), None) => old.node.is_some() || old.status.nominated_node.is_some(),
            Change::Pod(Some(old), Some(new)) => {
                let less = |before: &Resources, after: &Resources| {
                    (requests.cpu.0 > 0 && after.cpu < before.cpu)
                        || (requests.memory.0 > 0 && after.memory < before.memory)
                        || (requests.ephemeral_storage.0 > 0 && after.ephemeral_storage < before.ephemeral_storage)
                        || requests
                            .extended
                            .iter()
                            .any(|(name, amount)| *amount > 0 && after.extended(*name) < before.extended(*name))
                };
                new.meta.uid == pod.uid()
                    || (new.node.is_some() && less(&SpecInfo::of(old).requests, &SpecInfo::of(new).requests))
            }
            Change::Node(old, Some(new)) => {
                self.fits_empty(requests, new) && old.is_none_or(|old| grew(requests, old, new))
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}

impl NodeResourcesFit {
    fn fits_empty(&self, requests: &Resources, node: &Node) -> bool {
        let nothing = |_: Name| false;
        self.lacks(requests, &node.status.allocatable, &Resources::default(), 0, &nothing).0.is_empty()
    }
}

/// True if the node now allows more pods, or more of something that is requested.
fn grew(requests: &Resources, old: &Node, new: &Node) -> bool {
    let (before, after) = (&old.status.allocatable, &new.status.allocatable);
    after.pods > before.pods
        || (requests.cpu.0 > 0 && after.cpu > before.cpu)
        || (requests.memory.0 > 0 && after.memory > before.memory)
        || (requests.ephemeral_storage.0 > 0 && after.ephemeral_storage > before.ephemeral_storage)
        || requests.extended.iter().any(|&(name, amount)| amount > 0 && after.extended(name) > before.extended(name))
}
