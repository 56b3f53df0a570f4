//! A Deployment's status: its numbers, whether it is available, whether its rollout proceeds.
//!
//! Kubernetes: pkg/controller/deployment/{progress,sync}.go, …/util/deployment_util.go.

use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::condition::{self, Conditions};
use crate::model::workload::{Deployment, DeploymentStatus, ReplicaSet};
use crate::model::{Condition, ConditionStatus, Name, Text};

use super::deployment_sets::Limits;

const PROGRESSING: &str = "Progressing";
const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

fn has_deadline(deployment: &Deployment) -> bool {
    deployment.progress_deadline < Duration::from_secs(i32::MAX as u64)
}

fn make(kind: &str, status: ConditionStatus, reason: &str, message: impl Into<Text>, now: Time) -> Condition {
    Condition {
        kind: Name::new(kind),
        status,
        reason: Name::new(reason),
        message: message.into(),
        last_transition: now,
        last_update: now,
    }
}

/// Sets a condition, unless its status and reason are there already; it moves to the end.
fn set(conditions: &mut Conditions, mut new: Condition) {
    if let Some(current) = condition::find(conditions, &new.kind) {
        if current.status == new.status && current.reason == new.reason {
            return;
        }
        if current.status == new.status {
            new.last_transition = current.last_transition;
        }
    }
    conditions.retain(|condition| condition.kind != new.kind);
    conditions.push(new);
}

/// True if all replicas are updated and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    status.updated == deployment.replicas
        && status.replicas == deployment.replicas
        && status.available == deployment.replicas
        && status.observed_generation >= deployment.meta.generation
}

/// A new ReplicaSet was created: that is progress.
pub fn new_set_created(deployment: &mut Arc<Deployment>, name: Name, now: Time) {
    if has_deadline(deployment) {
        let message = format!("Created new replica set \"{name}\"");
        let condition = make(PROGRESSING, ConditionStatus::True, "NewReplicaSetCreated", message, now);
        set(&mut Arc::make_mut(deployment).status.conditions, condition);
    }
}

/// A ReplicaSet with the template was there already.
pub fn found_new_set(deployment: &mut Deployment, name: Name, now: Time) {
    if has_deadline(deployment) && condition::find(&deployment.status.conditions, PROGRESSING).is_none() {
        let message = format!("Found new replica set \"{name}\"");
        let condition = make(PROGRESSING, ConditionStatus::True, "FoundNewReplicaSet", message, now);
        set(&mut deployment.status.conditions, condition);
    }
}

/// The Deployment that tells of a ReplicaSet that could not be created; None if it tells already.
pub fn create_failed(deployment: &Deployment, message: String, now: Time) -> Option<Deployment> {
    let mut updated = deployment.clone();
    let condition = make(PROGRESSING, ConditionStatus::False, "ReplicaSetCreateError", message, now);
    set(&mut updated.status.conditions, condition);
    (updated != *deployment).then_some(updated)
}

/// The Deployment that tells that it was paused or resumed, if that is news.
pub fn paused_changed(deployment: &Deployment, now: Time) -> Option<Deployment> {
    if !has_deadline(deployment) {
        return None;
    }
    let current = condition::find(&deployment.status.conditions, PROGRESSING);
    if current.is_some_and(|current| current.reason == *TIMED_OUT) {
        return None;
    }
    let says_paused = current.is_some_and(|current| current.reason == *PAUSED);
    let (reason, message) = match (deployment.paused, says_paused) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return None,
    };
    let mut updated = deployment.clone();
    set(&mut updated.status.conditions, make(PROGRESSING, ConditionStatus::Unknown, reason, message, now));
    Some(updated)
}

/// The status that the ReplicaSets give; `with_progress` says whether the rollout is watched.
pub fn calculate(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    new: Option<usize>,
    with_progress: bool,
    now: Time,
) -> DeploymentStatus {
    let sum = |number: fn(&ReplicaSet) -> i32| sets.iter().map(|set| number(set)).sum::<i32>();
    let available = sum(|set| set.status.available);
    let mut status = DeploymentStatus {
        replicas: sum(|set| set.status.replicas),
        updated: new.map_or(0, |new| sets[new].status.replicas),
        ready: sum(|set| set.status.ready),
        available,
        unavailable: (sum(|set| set.replicas) - available).max(0),
        terminating: sum(|set| set.status.terminating),
        observed_generation: deployment.meta.generation,
        collision_count: deployment.status.collision_count,
        conditions: deployment.status.conditions.clone(),
    };
    let enough = available >= deployment.replicas - Limits::of(deployment).unavailable;
    let (reason, message) = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status.conditions, make("Available", enough.into(), reason, message, now));
    if with_progress {
        progress(deployment, sets, new, &mut status, now);
    }
    status
}

fn progress(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    new: Option<usize>,
    status: &mut DeploymentStatus,
    now: Time,
) {
    let subject = match new {
        Some(new) => format!("ReplicaSet \"{}\"", sets[new].meta.name),
        None => format!("Deployment \"{}\"", deployment.meta.name),
    };
    if !has_deadline(deployment) {
        status.conditions.retain(|condition| condition.kind != *PROGRESSING);
    } else {
        let current = condition::find(&deployment.status.conditions, PROGRESSING).cloned();
        let was_complete =
            status.replicas == status.updated && current.as_ref().is_some_and(|c| c.reason == *NEW_AVAILABLE);
        if was_complete {
            // It stays so, whatever becomes of single pods.
        } else if is_complete(deployment, status) {
            let message = format!("{subject} has successfully progressed.");
            set(&mut status.conditions, make(PROGRESSING, ConditionStatus::True, NEW_AVAILABLE, message, now));
        } else if has_progressed(&deployment.status, status) {
            let message = format!("{subject} is progressing.");
            let mut condition = make(PROGRESSING, ConditionStatus::True, "ReplicaSetUpdated", message, now);
            if let Some(current) = current
                && current.status == ConditionStatus::True
            {
                condition.last_transition = current.last_transition;
            }
            status.conditions.retain(|condition| condition.kind != *PROGRESSING);
            status.conditions.push(condition);
        } else if timed_out(deployment, status, now) {
            let message = format!("{subject} has timed out progressing.");
            set(&mut status.conditions, make(PROGRESSING, ConditionStatus::False, TIMED_OUT, message, now));
        }
    }
    let failing = match new {
        Some(new) => condition::find(&sets[new].status.conditions, "ReplicaFailure"),
        None => None,
    };
    let failing =
        failing.or_else(|| sets.iter().find_map(|set| condition::find(&set.status.conditions, "ReplicaFailure")));
    match failing {
        Some(failing) => set(
            &mut status.conditions,
            Condition { last_update: now, last_transition: failing.last_transition, ..failing.clone() },
        ),
        None => status.conditions.retain(|condition| condition.kind != *"ReplicaFailure"),
    }
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    now.updated > before.updated
        || now.replicas - now.updated < before.replicas - before.updated
        || now.ready > before.ready
        || now.available > before.available
}

fn timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Time) -> bool {
    let Some(current) = condition::find(&status.conditions, PROGRESSING) else { return false };
    match current.reason.as_str() {
        NEW_AVAILABLE => false,
        TIMED_OUT => true,
        _ => current.last_update.truncated_to_second() + deployment.progress_deadline < now,
    }
}

/// When the progress has to be looked at again, if no event comes before.
pub fn next_deadline(deployment: &Deployment, status: &DeploymentStatus, now: Time) -> Option<Time> {
    let current = condition::find(&status.conditions, PROGRESSING)?;
    let settled = current.reason == *TIMED_OUT || current.reason == *NEW_AVAILABLE;
    if !has_deadline(deployment) || settled || is_complete(deployment, status) {
        return None;
    }
    let deadline = current.last_update.truncated_to_second() + deployment.progress_deadline;
    // A deadline that is due within the second is only rate-limited in Kubernetes.
    if deadline < now + Duration::from_secs(1) {
        Some(now.max(deadline) + Duration::from_millis(5))
    } else {
        Some(deadline + Duration::from_secs(1))
    }
}
