//! NodeDeclaredFeatures: a pod that needs a feature of the kubelet goes only where the node declares it.
//!
//! *When you meet it:* since 1.36, with pods that use what older kubelets don't know, while a cluster is being upgraded:
//! "node(s) didn't match Pod's required features".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodedeclaredfeatures,
//! staging/src/k8s.io/component-helpers/nodedeclaredfeatures/features.

use smallvec::SmallVec;

use crate::model::PodSpec;
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, Scope, State, Status,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct NodeDeclaredFeatures;

/// The features that a pod needs. Others that nodes declare matter to updates of pods only, not to scheduling.
pub fn required_features(spec: &PodSpec) -> SmallVec<[&'static str; 2]> {
    let mut features = SmallVec::new();
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter());
    if containers.any(|container| container.restart_rules.iter().any(|rule| rule.restart_all)) {
        features.push("RestartAllContainersOnContainerExits");
    }
    if spec.host_network && !spec.host_users {
        features.push("UserNamespacesHostNetworkSupport");
    }
    features
}

impl Plugin for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatures"
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

impl PreFilter for NodeDeclaredFeatures {
    fn pre_filter(&self, pod: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        let none = required_features(&pod.pod.spec).is_empty();
        Ok(if none { PreFiltered::skip() } else { PreFiltered::default() })
    }
}

impl Filter for NodeDeclaredFeatures {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        let declared = &node.node.status.declared_features;
        let has = |feature: &&str| declared.iter().any(|name| **name == **feature);
        if required_features(&pod.pod.spec).iter().all(has) {
            return Ok(());
        }
        Err(Status::unresolvable("node(s) didn't match Pod's required features"))
    }
}

impl EnqueueExtensions for NodeDeclaredFeatures {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_DECLARED_FEATURE)),
            ClusterEvent::new(Resource::Pod, Action::UPDATE),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Node(Some(old), Some(new)) => old.status.declared_features != new.status.declared_features,
            Change::Pod(Some(old), Some(new)) => {
                new.meta.uid == pod.uid() && required_features(&old.spec) != required_features(&new.spec)
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
