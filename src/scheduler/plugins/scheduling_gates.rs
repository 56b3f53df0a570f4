//! SchedulingGates: keeps a pod out of the queue while it has `spec.schedulingGates`.
//!
//! *When you meet it:* `kubectl get pods` shows `SchedulingGated`; no event says so. The condition is the API server's.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/schedulinggates/scheduling_gates.go.

use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{EnqueueExtensions, Hint, Plugin, PreEnqueue, Status};
use crate::scheduler::listers::World;
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodInfo, _: &World) -> Result<(), Status> {
        let gates = &pod.pod.spec.scheduling_gates;
        if gates.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = gates.iter().map(|gate| gate.as_str()).collect();
        Err(Status::unresolvable(format!("waiting for scheduling gates: [{}]", names.join(" "))))
    }
}

impl EnqueueExtensions for SchedulingGates {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![ClusterEvent::new(Resource::Pod, Action::POD_GATES_ELIMINATED)]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        match *change {
            Change::Pod(_, Some(new)) if new.meta.uid != pod.uid() => Hint::Skip,
            _ => Hint::Queue,
        }
    }
}
