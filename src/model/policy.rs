//! Disruption budgets, priority classes, quotas and limits.

use super::condition::Conditions;
use super::resources::ResourceList;
use super::workload::IntOrPercent;
use super::{Meta, Name, Selector};

/// A PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDisruptionBudget {
    pub meta: Meta,
    /// None matches no pod, an empty one all of the namespace.
    pub selector: Option<Selector>,
    pub min_available: Option<IntOrPercent>,
    pub max_unavailable: Option<IntOrPercent>,
    /// `unhealthyPodEvictionPolicy: AlwaysAllow`.
    pub always_allow_unhealthy: bool,
    pub status: PodDisruptionBudgetStatus,
}

/// `status` of a PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDisruptionBudgetStatus {
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    pub expected_pods: i32,
    pub observed_generation: u32,
    /// Pods whose eviction was granted and that the controller has not yet seen go.
    pub disrupted_pods: Vec<(Name, crate::kernel::Time)>,
    pub conditions: Conditions,
}

/// A PriorityClass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriorityClass {
    pub meta: Meta,
    pub value: i32,
    pub global_default: bool,
    pub preempts_never: bool,
}

/// A LimitRange: one entry for each `type`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitRange {
    pub meta: Meta,
    pub limits: Vec<LimitRangeItem>,
}

/// One entry of a LimitRange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitRangeItem {
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    pub kind: Name,
    pub default_limits: ResourceList,
    pub default_requests: ResourceList,
    pub min: ResourceList,
    pub max: ResourceList,
}

/// A ResourceQuota.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceQuota {
    pub meta: Meta,
    /// By Kubernetes' name (`requests.cpu`, `pods`, `count/jobs.batch`), in thousandths for CPU, else whole units.
    pub hard: Vec<(Name, i64)>,
    pub used: Vec<(Name, i64)>,
}
