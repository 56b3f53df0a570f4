//! NodeName: lets a pod that names its node only there.
//!
//! *When you meet it:* never, in practice: a pod created with `spec.nodeName` does not pass the scheduler at all.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodename/node_name.go.

use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::Scope;
use crate::scheduler::framework::{EnqueueExtensions, Filter, Hint, Plugin, State, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
    fn scope(&self) -> Scope {
        // The pod's own node name is not in its spec here, but a pod that has one is never scheduled.
        Scope::Node
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl Filter for NodeName {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        match pod.pod.node {
            Some(name) if name != node.name => {
                Err(Status::unresolvable("node(s) didn't match the requested node name"))
            }
            _ => Ok(()),
        }
    }
}

impl EnqueueExtensions for NodeName {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![ClusterEvent::new(Resource::Node, Action::ADD)]
    }

    fn hint(&self, _: &PodInfo, _: ClusterEvent, _: &Change<'_>, _: &World) -> Hint {
        Hint::Queue
    }
}
