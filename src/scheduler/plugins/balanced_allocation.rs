//! NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory the pod makes more evenly used.
//!
//! *When you meet it:* in the scores of every pod with requests. Since 1.36 it compares the node with and without the pod:
//! about 75 where nothing changes, up to 100 where the pod evens the node out, down to 50 where it does the opposite.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go.

use smallvec::SmallVec;

use crate::model::Resources;
use crate::scheduler::framework::{Plugin, PreScore, PreScored, Scope, Score, State, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

use super::resource_scoring::ScoredResource;

/// See the module.
#[derive(Debug)]
pub struct NodeResourcesBalancedAllocation {
    /// The resources that count; their weights don't.
    pub resources: Vec<ScoredResource>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        NodeResourcesBalancedAllocation { resources: ScoredResource::cpu_and_memory() }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn scope(&self) -> Scope {
        Scope::Node
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreScore for NodeResourcesBalancedAllocation {
    fn pre_score(&self, pod: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        let any = self.resources.iter().any(|resource| resource.of(&pod.spec.requests) != 0);
        Ok(if any { PreScored::default() } else { PreScored::skip() })
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<i64, Status> {
        let with = self.balance(&pod.spec.requests, &pod.spec.requests, node);
        let without = self.balance(&pod.spec.requests, &Resources::default(), node);
        Ok(50 + (50 + with - without) / 2)
    }
}

impl NodeResourcesBalancedAllocation {
    /// 100 for evenly used, down to 50, with `added` on the node; resources that `pod` doesn't use are left out.
    fn balance(&self, pod: &Resources, added: &Resources, node: &NodeInfo) -> i64 {
        let shares: SmallVec<[f64; 4]> = self
            .resources
            .iter()
            .filter_map(|resource| {
                let (allocatable, requested) = resource.amounts_for_balance(pod, node)?;
                let requested = requested - resource.of(pod) + resource.of(added);
                Some((requested as f64 / allocatable as f64).min(1.0))
            })
            .collect();
        let deviation = match shares.as_slice() {
            [] | [_] => 0.0,
            [one, other] => ((one - other) / 2.0).abs(),
            more => {
                let mean = more.iter().sum::<f64>() / more.len() as f64;
                let squares: f64 = more.iter().map(|share| (share - mean) * (share - mean)).sum();
                libm::sqrt(squares / more.len() as f64)
            }
        };
        ((1.0 - deviation) * 100.0) as i64
    }
}
