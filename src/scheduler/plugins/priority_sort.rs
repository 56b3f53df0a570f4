//! PrioritySort: the active queue by priority, then by the time of queueing.
//!
//! *When you meet it:* whenever more pods wait than can be placed at once.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/queuesort/priority_sort.go.

use crate::kernel::Time;
use crate::scheduler::framework::{Plugin, QueueSort, SortKey};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        Some(self)
    }
}

impl QueueSort for PrioritySort {
    fn key(&self, pod: &PodInfo, queued: Time) -> SortKey {
        SortKey { rank: -i64::from(pod.priority()), time: queued }
    }
}
