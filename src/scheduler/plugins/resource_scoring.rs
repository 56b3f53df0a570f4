//! How resources become scores: shared by NodeResourcesFit and NodeResourcesBalancedAllocation.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/noderesources (least_allocated.go, most_allocated.go,
//! requested_to_capacity_ratio.go, resource_allocation.go).

use crate::model::{Name, Resources};
use crate::scheduler::node_table::NodeInfo;

/// A resource that counts for a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoredResource {
    pub kind: ResourceKind,
    /// At least 1.
    pub weight: i64,
}

/// A resource by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    Cpu,
    Memory,
    EphemeralStorage,
    Extended(Name),
}

/// Allocatable, and requested with the pod.
pub type Amounts = (i64, i64);

impl ScoredResource {
    /// The resource of this name; a weight of 0 counts as 1.
    pub fn new(name: &str, weight: i64) -> ScoredResource {
        let kind = match name {
            "cpu" => ResourceKind::Cpu,
            "memory" => ResourceKind::Memory,
            "ephemeral-storage" => ResourceKind::EphemeralStorage,
            other => ResourceKind::Extended(Name::new(other)),
        };
        ScoredResource { kind, weight: weight.max(1) }
    }

    /// The default: CPU and memory, equally.
    pub fn cpu_and_memory() -> Vec<ScoredResource> {
        vec![ScoredResource::new("cpu", 1), ScoredResource::new("memory", 1)]
    }

    /// How much of this resource `amounts` names.
    pub fn of(&self, amounts: &Resources) -> i64 {
        match self.kind {
            ResourceKind::Cpu => amounts.cpu.0,
            ResourceKind::Memory => amounts.memory.0,
            ResourceKind::EphemeralStorage => amounts.ephemeral_storage.0,
            ResourceKind::Extended(name) => amounts.extended(name),
        }
    }

    /// With the non-zero requests of CPU and memory. None: the node has none of it, or it is an extended resource that the
    /// pod does not request.
    pub fn amounts_for_fit(&self, pod: &Resources, node: &NodeInfo) -> Option<Amounts> {
        let wanted = self.of(pod);
        let used = match self.kind {
            ResourceKind::Cpu => node.non_zero.0.0,
            ResourceKind::Memory => node.non_zero.1.0,
            _ => self.of(&node.requested),
        };
        self.amounts(wanted, used, node)
    }

    /// With the real requests.
    pub fn amounts_for_balance(&self, pod: &Resources, node: &NodeInfo) -> Option<Amounts> {
        self.amounts(self.of(pod), self.of(&node.requested), node)
    }

    fn amounts(&self, wanted: i64, used: i64, node: &NodeInfo) -> Option<Amounts> {
        if wanted == 0 && matches!(self.kind, ResourceKind::Extended(_)) {
            return None;
        }
        let allocatable = self.of(node.allocatable());
        (allocatable != 0).then_some((allocatable, used.saturating_add(wanted)))
    }
}

/// `scoringStrategy` of NodeResourcesFit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    LeastAllocated,
    MostAllocated,
    /// The points of the shape: utilisation in percent, and score from 0 to 10.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

impl Strategy {
    /// The score of a node from the amounts of its resources and their weights.
    pub fn score(&self, resources: impl Iterator<Item = (Amounts, i64)>) -> i64 {
        let (mut sum, mut weights) = (0i64, 0i64);
        for ((allocatable, requested), weight) in resources {
            match self {
                Strategy::LeastAllocated => {
                    let free = if requested > allocatable { 0 } else { share(allocatable - requested, allocatable) };
                    sum += free * weight;
                    weights += weight;
                }
                Strategy::MostAllocated => {
                    sum += share(requested.min(allocatable), allocatable) * weight;
                    weights += weight;
                }
                Strategy::RequestedToCapacityRatio(shape) => {
                    let used = if requested > allocatable { 100 } else { share(requested, allocatable) };
                    let score = on_shape(shape, used);
                    // Kubernetes leaves resources with a score of 0 out of the mean.
                    if score > 0 {
                        sum += score * weight;
                        weights += weight;
                    }
                }
            }
        }
        match (weights, self) {
            (0, _) => 0,
            // Rounded half away from zero; both are positive.
            (_, Strategy::RequestedToCapacityRatio(_)) => (2 * sum + weights) / (2 * weights),
            _ => sum / weights,
        }
    }
}

/// `part` of `whole` in percent, rounded down.
fn share(part: i64, whole: i64) -> i64 {
    match part.checked_mul(100) {
        Some(scaled) => scaled / whole,
        None => (i128::from(part) * 100 / i128::from(whole)) as i64,
    }
}

/// The score, 0 to 100, at this utilisation: piecewise linear between the shape's points.
fn on_shape(shape: &[(i64, i64)], utilisation: i64) -> i64 {
    for (at, &(x, y)) in shape.iter().enumerate() {
        if utilisation <= x {
            let Some(&(x0, y0)) = at.checked_sub(1).and_then(|before| shape.get(before)) else { return y * 10 };
            return y0 * 10 + (y - y0) * 10 * (utilisation - x0) / (x - x0).max(1);
        }
    }
    shape.last().map_or(0, |(_, y)| y * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_walked_linearly_and_kept_beyond_its_ends() {
        let shape = [(10, 0), (60, 10)];
        assert_eq!([0, 10, 35, 60, 90].map(|used| on_shape(&shape, used)), [0, 0, 50, 100, 100]);
    }
}
