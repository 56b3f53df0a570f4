//! DynamicResources: devices by resource claims. Only what pods without claims see of it is here.
//!
//! *When you meet it:* in every failure message: its PostFilter comes before preemption and says "no new claims to
//! deallocate"; if PreFilter ended before its turn it fails with "not found", and preemption is not tried.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go. Claims, device classes and slices are
//! not modelled.

use crate::scheduler::events::{Change, ClusterEvent};
use crate::scheduler::framework::{EnqueueExtensions, Hint};
use crate::scheduler::framework::{
    Failed, Nomination, Plugin, PostFilter, PreFilter, PreFiltered, Score, State, Status,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct DynamicResources;

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(&self, _: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        Ok(PreFiltered::skip())
    }
}

impl PostFilter for DynamicResources {
    fn post_filter(&self, failed: &Failed<'_>) -> Result<Nomination, Status> {
        if !failed.pre_filter_ran {
            return Err(Status::error("not found"));
        }
        Err(Status::unschedulable("no new claims to deallocate"))
    }
}

impl Score for DynamicResources {
    fn score(&self, _: Option<&dyn State>, _: &PodInfo, _: &NodeInfo, _: &World) -> Result<i64, Status> {
        Ok(0)
    }

    fn score_all(
        &self,
        _: Option<&dyn State>,
        _: &PodInfo,
        _: &[NodeId],
        _: &World,
        _: &mut [i64],
    ) -> Result<(), Status> {
        Ok(())
    }
}

impl EnqueueExtensions for DynamicResources {
    /// It rejects no pod without claims, so it waits for nothing.
    fn events(&self) -> Vec<ClusterEvent> {
        Vec::new()
    }

    fn hint(&self, _: &PodInfo, _: ClusterEvent, _: &Change<'_>, _: &World) -> Hint {
        Hint::Skip
    }
}
