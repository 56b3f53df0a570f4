//! Disruption budgets, priority classes, limits and quotas.
//!
//! Kubernetes: pkg/apis/policy/validation, pkg/apis/scheduling/validation, pkg/apis/core/v1/defaults.go
//! (SetDefaults_LimitRangeItem).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityText;

use crate::model::policy::{
    LimitRange, LimitRangeItem, PodDisruptionBudget, PodDisruptionBudgetStatus, PriorityClass, ResourceQuota,
};
use crate::model::resources::ResourceList;
use crate::model::{Kind, Name, Object};

use super::context::Context;
use super::path::Path;

/// The greatest value that a user's class may have.
const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;

impl Context<'_> {
    pub(super) fn disruption_budget(&mut self, budget: &policy::PodDisruptionBudget) -> Object {
        let meta = self.meta(Kind::PodDisruptionBudget, &budget.metadata);
        let at = Path::Root.field("spec");
        let none = policy::PodDisruptionBudgetSpec::default();
        let spec = budget.spec.as_ref().unwrap_or(&none);
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            self.bad(&at, "{…}", "minAvailable and maxUnavailable cannot be both set");
        }
        let min_at = at.field("minAvailable");
        let max_at = at.field("maxUnavailable");
        let status = budget.status.as_ref().map(|status| PodDisruptionBudgetStatus {
            disruptions_allowed: status.disruptions_allowed.unwrap_or(0),
            current_healthy: status.current_healthy.unwrap_or(0),
            desired_healthy: status.desired_healthy.unwrap_or(0),
            expected_pods: status.expected_pods.unwrap_or(0),
            observed_generation: status.observed_generation.and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
            disrupted_pods: status
                .disrupted_pods
                .iter()
                .flatten()
                .map(|(pod, since)| (Name::from(pod), self.time(since)))
                .collect(),
            conditions: status
                .conditions
                .iter()
                .flatten()
                .map(|c| {
                    let transition = Some(&c.last_transition_time);
                    self.condition(&c.type_, &c.status, Some(&c.reason), Some(&c.message), transition, None)
                })
                .collect(),
        });
        Object::PodDisruptionBudget(Arc::new(PodDisruptionBudget {
            meta,
            selector: spec.selector.as_ref().map(|selector| self.selector(&at.field("selector"), selector)),
            min_available: spec.min_available.as_ref().map(|value| self.int_or_percent(&min_at, value)),
            max_unavailable: spec.max_unavailable.as_ref().map(|value| self.int_or_percent(&max_at, value)),
            always_allow_unhealthy: self.word_or(
                &at.field("unhealthyPodEvictionPolicy"),
                spec.unhealthy_pod_eviction_policy.as_ref(),
                false,
                &[("AlwaysAllow", true), ("IfHealthyBudget", false)],
            ),
            status: status.unwrap_or_default(),
        }))
    }

    /// The replicas of a HorizontalPodAutoscaler, the least and the most: the kind is not simulated, but this slip is usual.
    ///
    /// Kubernetes: pkg/apis/autoscaling/validation/validation.go (validateHorizontalPodAutoscalerSpec).
    pub(super) fn autoscaler(&mut self, least: Option<i32>, most: i32) {
        let at = Path::Root.field("spec");
        if let Some(least) = least.filter(|&least| least < 1) {
            self.bad(&at.field("minReplicas"), least, "must be greater than or equal to 1");
        }
        if most < 1 {
            self.bad(&at.field("maxReplicas"), most, "must be greater than 0");
        }
        if least.is_some_and(|least| most < least) {
            self.bad(&at.field("maxReplicas"), most, "must be greater than or equal to `minReplicas`");
        }
    }

    pub(super) fn priority_class(&mut self, class: &scheduling::PriorityClass) -> Object {
        let meta = self.meta(Kind::PriorityClass, &class.metadata);
        let value = class.value.unwrap_or(0);
        let system = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
        if meta.name.starts_with("system-") {
            if !system.iter().any(|(name, _)| meta.name == **name) {
                let at = Path::Root.field("metadata");
                let detail = "priority class names with 'system-' prefix are reserved for system use only. error: is not a known system priority class";
                self.forbidden(&at.field("name"), detail);
            }
        } else if value > HIGHEST_USER_PRIORITY {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
            self.forbidden(&Path::Root.field("value"), &detail);
        }
        Object::PriorityClass(Arc::new(PriorityClass {
            meta,
            value,
            global_default: class.global_default == Some(true),
            preempts_never: self.word_or(
                &Path::Root.field("preemptionPolicy"),
                class.preemption_policy.as_ref(),
                false,
                &[("Never", true), ("PreemptLowerPriority", false)],
            ),
        }))
    }

    pub(super) fn limit_range(&mut self, range: &core::LimitRange) -> Object {
        let meta = self.meta(Kind::LimitRange, &range.metadata);
        let at = Path::Root.field("spec");
        let limits_at = at.field("limits");
        let items = range.spec.iter().flat_map(|spec| &spec.limits).enumerate().map(|(index, item)| {
            let here = limits_at.index(index);
            if item.type_.is_empty() {
                self.required(&here.field("type"), "");
            }
            let mut compiled = LimitRangeItem {
                kind: Name::from(&item.type_),
                default_limits: self.resource_list(&here.field("default"), item.default.as_ref()),
                default_requests: self.resource_list(&here.field("defaultRequest"), item.default_request.as_ref()),
                min: self.resource_list(&here.field("min"), item.min.as_ref()),
                max: self.resource_list(&here.field("max"), item.max.as_ref()),
            };
            if item.type_ == "Container" {
                fill(&mut compiled.default_limits, &compiled.max);
                let limits = compiled.default_limits.clone();
                fill(&mut compiled.default_requests, &limits);
                fill(&mut compiled.default_requests, &compiled.min);
            }
            compiled
        });
        let limits = items.collect();
        Object::LimitRange(Arc::new(LimitRange { meta, limits }))
    }

    pub(super) fn quota(&mut self, quota: &core::ResourceQuota) -> Object {
        let meta = self.meta(Kind::ResourceQuota, &quota.metadata);
        let hard_at = Path::Root.field("spec");
        let used_at = Path::Root.field("status");
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        Object::ResourceQuota(Arc::new(ResourceQuota {
            meta,
            hard: self.quota_amounts(&hard_at.field("hard"), hard),
            used: self.quota_amounts(&used_at.field("used"), used),
        }))
    }

    fn quota_amounts(&mut self, at: &Path<'_>, amounts: Option<&BTreeMap<String, QuantityText>>) -> Vec<(Name, i64)> {
        let compile = |(resource, amount): (&String, &QuantityText)| {
            let here = at.key(resource);
            let quantity = self.quantity(&here, amount);
            if quantity.is_negative() {
                self.bad(&here, format!("{:?}", quantity.to_string()), "must be greater than or equal to 0");
            }
            let milli = is_cpu(resource);
            let amount = if milli { quantity.milli_rounding_up() } else { quantity.value_rounding_up() };
            (Name::from(resource), amount)
        };
        amounts.into_iter().flatten().map(compile).collect()
    }
}

/// True for the resources of a quota that are counted in thousandths.
pub(crate) fn is_cpu(resource: &str) -> bool {
    matches!(resource, "cpu" | "requests.cpu" | "limits.cpu")
}

/// Takes what `list` does not name from `from`.
fn fill(list: &mut ResourceList, from: &ResourceList) {
    list.cpu = list.cpu.or(from.cpu);
    list.memory = list.memory.or(from.memory);
    list.ephemeral_storage = list.ephemeral_storage.or(from.ephemeral_storage);
    for &(name, amount) in &from.extended {
        if !list.extended.iter().any(|(existing, _)| *existing == name) {
            list.extended.push((name, amount));
        }
    }
    list.extended.sort_unstable();
}
