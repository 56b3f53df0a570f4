//! The subresources of pods: binding and eviction.
//!
//! Kubernetes: pkg/registry/core/pod/storage/storage.go (BindingREST), …/eviction.go (EvictionREST),
//! plugin/pkg/admission/podtopologylabels.

use std::sync::Arc;

use super::patch::with_condition;
use super::{ApiServer, Fx};
use crate::kernel::{Duration, Time};
use crate::model::condition::{self, ConditionStatus};
use crate::model::node::{REGION_LABEL, ZONE_LABEL};
use crate::model::policy::PodDisruptionBudget;
use crate::model::{Condition, Key, Kind, Labels, Name, Object, Phase, Pod, Text, Uid};
use crate::protocol::api::{DeleteOptions, Status, StatusReason};

/// More evictions than this that the disruption controller has not confirmed are too many.
const MAX_DISRUPTED_PODS: usize = 2000;
/// When to try again while the disruption controller is behind.
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl ApiServer {
    /// POST to `pods/binding`.
    pub(super) fn bind(&mut self, key: Key, uid: Uid, node: Name, fx: &mut Fx) -> Result<(), Status> {
        let old = self.get(&key)?.clone();
        let Some(pod) = old.as_pod() else { return Err(Status::not_found(&key)) };
        let refuse = |why: String| {
            let name = key.name;
            let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
            Err(Status::new(StatusReason::Conflict, message))
        };
        if uid != Uid::NONE && uid != pod.meta.uid {
            return refuse(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                pod.meta.uid
            ));
        }
        if pod.is_terminating() {
            return refuse(format!("pod {} is being deleted, cannot be assigned to a host", key.name));
        }
        if let Some(node) = pod.node {
            return refuse(format!("pod {} is already assigned to node \"{node}\"", key.name));
        }
        if !pod.spec.scheduling_gates.is_empty() {
            return refuse(format!("pod {} has non-empty .spec.schedulingGates", key.name));
        }
        let mut new = Pod::clone(pod);
        new.node = Some(node);
        new.meta.labels = self.with_topology(&new.meta.labels, node);
        if self.gates().clearing_nominated_node_name {
            new.status.nominated_node = None;
        }
        let scheduled = Condition {
            kind: Name::new("PodScheduled"),
            status: ConditionStatus::True,
            reason: Name::default(),
            message: Text::default(),
            last_transition: fx.now(),
            last_update: fx.now(),
        };
        if let Some(conditions) = with_condition(&new.status.conditions, scheduled, false) {
            new.status.conditions = conditions;
        }
        self.replace_changed(&old, Object::Pod(Arc::new(new)), fx);
        Ok(())
    }

    /// A pod's labels and its node's zone and region.
    pub(super) fn with_topology(&self, labels: &Labels, node: Name) -> Labels {
        if !self.gates().pod_topology_labels {
            return labels.clone();
        }
        let Some(node) = self.store().node(node) else { return labels.clone() };
        [ZONE_LABEL, REGION_LABEL].into_iter().map(Name::new).fold(labels.clone(), |labels, key| {
            match node.meta.labels.get(key) {
                Some(value) if labels.get(key) != Some(value) => labels.with(key, value),
                _ => labels,
            }
        })
    }

    /// POST to `pods/eviction`.
    pub(super) fn evict(
        &mut self,
        key: Key,
        grace: Option<Duration>,
        dry_run: bool,
        fx: &mut Fx,
    ) -> Result<(), Status> {
        let old = self.get(&key)?.clone();
        let Some(pod) = old.as_pod() else { return Err(Status::not_found(&key)) };
        if !ignores_budgets(pod)
            && let Some(budget) = self.budget_of(pod)?
            && !evictable_unready(pod, &budget)
        {
            let charged = charge(&budget, key.name, fx.now())?;
            if !dry_run {
                let budget = Object::PodDisruptionBudget(budget);
                self.replace(&budget, Object::PodDisruptionBudget(Arc::new(charged)), fx);
            }
        }
        if dry_run {
            return Ok(());
        }
        let target = Condition {
            kind: Name::new("DisruptionTarget"),
            status: ConditionStatus::True,
            reason: Name::new("EvictionByEvictionAPI"),
            message: Text::new("Eviction API: evicting"),
            last_transition: fx.now(),
            last_update: fx.now(),
        };
        if let Some(conditions) = with_condition(&pod.status.conditions, target, false) {
            let mut new = Pod::clone(pod);
            new.status.conditions = conditions;
            self.replace_changed(&old, Object::Pod(Arc::new(new)), fx);
        }
        self.delete(&key, DeleteOptions { grace, ..DeleteOptions::default() }, fx)?;
        Ok(())
    }

    /// The one budget whose selector matches the pod.
    fn budget_of(&self, pod: &Pod) -> Result<Option<Arc<PodDisruptionBudget>>, Status> {
        let budgets = self.store().in_namespace(Kind::PodDisruptionBudget, pod.meta.namespace);
        let mut matching = budgets.filter_map(|object| match object {
            Object::PodDisruptionBudget(budget) => {
                budget.selector.as_ref().is_some_and(|selector| selector.matches(&pod.meta.labels)).then_some(budget)
            }
            _ => None,
        });
        let budget = matching.next().cloned();
        if matching.next().is_some() {
            return Err(Status::new(
                StatusReason::InternalError,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        Ok(budget)
    }
}

/// The condition of a new pod whose scheduling gates are closed (pkg/registry/core/pod/strategy.go).
pub(super) fn gated(now: Time) -> Condition {
    Condition {
        kind: Name::new("PodScheduled"),
        status: ConditionStatus::False,
        reason: Name::new("SchedulingGated"),
        message: Text::new("Scheduling is blocked due to non-empty scheduling gates"),
        last_transition: now,
        last_update: now,
    }
}

/// Pods that no budget protects (`canIgnorePDB`).
fn ignores_budgets(pod: &Pod) -> bool {
    pod.status.phase.is_terminal() || pod.status.phase == Phase::Pending || pod.is_terminating()
}

/// True if the pod isn't ready and may therefore go without being counted (`unhealthyPodEvictionPolicy`).
fn evictable_unready(pod: &Pod, budget: &PodDisruptionBudget) -> bool {
    let status = &budget.status;
    !pod.is_ready()
        && (budget.always_allow_unhealthy
            || (status.current_healthy >= status.desired_healthy && status.desired_healthy > 0))
}

/// The budget with one disruption less (`checkAndDecrement`).
fn charge(budget: &Arc<PodDisruptionBudget>, pod: Name, now: Time) -> Result<PodDisruptionBudget, Status> {
    let violated = "Cannot evict pod as it would violate the pod's disruption budget.";
    let forbidden = |why: &str| {
        let message = format!("poddisruptionbudgets.policy \"{}\" is forbidden: {why}", budget.meta.name);
        Err(Status::new(StatusReason::Forbidden, message))
    };
    let status = &budget.status;
    if status.observed_generation < budget.meta.generation {
        let behind = Status::new(StatusReason::TooManyRequests, violated);
        return Err(Status { retry_after: Some(RETRY_AFTER), ..behind });
    }
    if status.disruptions_allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status.disrupted_pods.len() > MAX_DISRUPTED_PODS {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if status.disruptions_allowed == 0 {
        return Err(Status::new(StatusReason::TooManyRequests, violated));
    }
    let mut charged = PodDisruptionBudget::clone(budget);
    let status = &mut charged.status;
    let second = now.truncated_to_second();
    status.disruptions_allowed -= 1;
    status.disrupted_pods.retain(|(name, _)| *name != pod);
    status.disrupted_pods.push((pod, second));
    if status.disruptions_allowed == 0 {
        let kind = Name::new("DisruptionAllowed");
        let reason = Name::new("InsufficientPods");
        condition::set(&mut status.conditions, second, kind, ConditionStatus::False, reason, Text::default());
    }
    Ok(charged)
}
