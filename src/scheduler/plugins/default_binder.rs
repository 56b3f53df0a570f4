//! DefaultBinder: binds a pod to its node through the API.
//!
//! *When you meet it:* with every pod: the event `Scheduled` follows it.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/defaultbinder/default_binder.go.

use crate::model::Kind;
use crate::protocol::api::Call;
use crate::scheduler::framework::{Bind, Plugin, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

impl Bind for DefaultBinder {
    fn bind(&self, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<Option<Call>, Status> {
        let key = pod.pod.meta.key(Kind::Pod);
        Ok(Some(Call::Bind { pod: key, uid: pod.uid(), node: node.name }))
    }
}
