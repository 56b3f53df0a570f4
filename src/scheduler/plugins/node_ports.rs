//! NodePorts: lets each port of a host to one pod only.
//!
//! *When you meet it:* a Deployment with `hostPort` and more replicas than nodes: "node(s) didn't have free ports for the
//! requested pod ports".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodeports/node_ports.go.

use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, Scope, State, Status,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::{HostPort, PodInfo, SpecInfo};

/// See the module.
#[derive(Debug, Default)]
pub struct NodePorts;

fn conflict(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|wanted| used.iter().any(|used| used.conflicts(wanted)))
}

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
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
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, pod: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        Ok(PreFiltered { skip: pod.spec.host_ports.is_empty(), ..PreFiltered::default() })
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        if conflict(&pod.spec.host_ports, &node.host_ports) {
            return Err(Status::unschedulable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}

impl EnqueueExtensions for NodePorts {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![ClusterEvent::new(Resource::Pod, Action::DELETE), ClusterEvent::new(Resource::Node, Action::ADD)]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Pod(Some(old), None) => {
                let had_a_node = old.node.is_some() || old.status.nominated_node.is_some();
                had_a_node && conflict(&pod.spec.host_ports, &SpecInfo::new(&old.spec).host_ports)
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
