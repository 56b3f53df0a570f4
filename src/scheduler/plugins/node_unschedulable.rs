//! NodeUnschedulable: keeps pods off cordoned nodes.
//!
//! *When you meet it:* after `kubectl cordon` or `kubectl drain`: "node(s) were unschedulable". DaemonSet pods tolerate the
//! taint `node.kubernetes.io/unschedulable:NoSchedule` and pass.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go.

use crate::model::taint::UNSCHEDULABLE;
use crate::model::{Node, Pod, Taint, TaintEffect};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{EnqueueExtensions, Filter, Hint, Plugin, Scope, State, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug)]
pub struct NodeUnschedulable {
    taint: Taint,
}

impl Default for NodeUnschedulable {
    fn default() -> Self {
        NodeUnschedulable { taint: Taint::new(UNSCHEDULABLE, TaintEffect::NoSchedule) }
    }
}

impl NodeUnschedulable {
    fn tolerated(&self, pod: &Pod) -> bool {
        pod.spec.tolerations.iter().any(|toleration| toleration.tolerates(&self.taint))
    }
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn scope(&self) -> Scope {
        Scope::Node
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        if node.node.spec.unschedulable && !self.tolerated(&pod.pod) {
            return Err(Status::unresolvable("node(s) were unschedulable"));
        }
        Ok(())
    }
}

impl EnqueueExtensions for NodeUnschedulable {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_TAINT)),
            ClusterEvent::new(Resource::Pod, Action::POD_TOLERATION),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let cordoned = |node: &Node| node.spec.unschedulable;
        let helps = match *change {
            Change::Node(old, Some(new)) => !cordoned(new) && old.is_none_or(cordoned),
            Change::Pod(_, Some(new)) => new.meta.uid == pod.uid() && self.tolerated(new),
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
