//! TaintToleration: keeps pods off nodes with taints that they don't tolerate, and prefers nodes with fewer soft ones.
//!
//! *When you meet it:* dedicated node pools, nodes that are not ready or under pressure: "node(s) had untolerated taint(s)".
//! Filter looks at `NoSchedule` and `NoExecute`; the score counts `PreferNoSchedule` taints, the fewer the better.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go.

use crate::model::{Node, Pod, Taint, TaintEffect, Toleration};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreScore, PreScored, Scope, Score, State, Status, default_normalize,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct TaintToleration {
    /// The gate TaintTolerationComparisonOperators: tolerations with `Gt` and `Lt`.
    pub comparison_operators: bool,
}

/// True if the pod tolerates all taints of the node that keep pods off. `comparing`: by `Gt` and `Lt` too.
pub fn tolerates_hard_taints(node: &Node, pod: &Pod, comparing: bool) -> bool {
    let hard = |taint: &&Taint| taint.effect != TaintEffect::PreferNoSchedule;
    let tolerated = |taint: &Taint| pod.spec.tolerations.iter().any(|one| tolerates(one, taint, comparing));
    node.spec.taints.iter().filter(hard).all(tolerated)
}

fn tolerates(toleration: &Toleration, taint: &Taint, comparing: bool) -> bool {
    if comparing { toleration.tolerates_comparing(taint) } else { toleration.tolerates(taint) }
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn scope(&self) -> Scope {
        Scope::Node
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

impl Filter for TaintToleration {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        if tolerates_hard_taints(&node.node, &pod.pod, self.comparison_operators) {
            return Ok(());
        }
        Err(Status::unresolvable("node(s) had untolerated taint(s)"))
    }
}

impl PreScore for TaintToleration {
    fn pre_score(&self, _: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        Ok(PreScored::default())
    }
}

impl Score for TaintToleration {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<i64, Status> {
        let soft = TaintEffect::PreferNoSchedule;
        let tolerations = || {
            pod.pod.spec.tolerations.iter().filter(|toleration| toleration.effect.is_none_or(|effect| effect == soft))
        };
        let untolerated = node.node.spec.taints.iter().filter(|taint| {
            taint.effect == soft && !tolerations().any(|one| tolerates(one, taint, self.comparison_operators))
        });
        Ok(untolerated.count() as i64)
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn normalize(&self, _: Option<&dyn State>, _: &[NodeId], scores: &mut [i64]) {
        default_normalize(true, scores);
    }
}

impl EnqueueExtensions for TaintToleration {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_TAINT)),
            ClusterEvent::new(Resource::Pod, Action::POD_TOLERATION),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Node(old, Some(new)) => {
                let tolerated = |node: &Node| tolerates_hard_taints(node, &pod.pod, self.comparison_operators);
                tolerated(new) && old.is_none_or(|old| !tolerated(old))
            }
            Change::Pod(_, Some(new)) => new.meta.uid == pod.uid(),
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
