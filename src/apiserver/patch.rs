//! Patches: a change of one part of an object that needs no version, because the server reads, changes and writes in
//! one go.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go; for pod statuses
//! pkg/kubelet/status/status_manager.go (mergePodStatus), whose order of the conditions is kept: those of others first,
//! then the kubelet's.

use std::sync::Arc;

use super::parts::{self, cut, cut_pod_times};
use super::write::uid_conflict;
use super::{ApiServer, Fx, claims, validation};
use crate::model::condition::Conditions;
use crate::model::{Condition, Key, Labels, Name, Object, Pod, PodStatus, Uid};
use crate::protocol::api::{Patch, Status, StatusReason};

impl ApiServer {
    /// PATCH. The object as stored.
    pub(super) fn patch(&mut self, key: Key, patch: Patch, fx: &mut Fx) -> Result<Object, Status> {
        let old = self.get(&key)?.clone();
        match (patch, &old) {
            (Patch::PodStatus { uid, status }, Object::Pod(pod)) => self.patch_pod_status(&old, pod, uid, *status, fx),
            (Patch::Condition(condition), Object::Pod(pod)) => {
                let Some(conditions) = with_condition(&pod.status.conditions, condition, false) else { return Ok(old) };
                let new = Pod { status: PodStatus { conditions, ..pod.status.clone() }, ..Pod::clone(pod) };
                Ok(self.replace_changed(&old, Object::Pod(Arc::new(new)), fx))
            }
            (Patch::Condition(condition), Object::Node(node)) => {
                let Some(conditions) = with_condition(&node.status.conditions, condition, true) else { return Ok(old) };
                let mut new = node.clone();
                Arc::make_mut(&mut new).status.conditions = conditions;
                Ok(self.replace_changed(&old, Object::Node(new), fx))
            }
            (Patch::NominatedNode(node), Object::Pod(pod)) => {
                if pod.status.nominated_node == node {
                    return Ok(old);
                }
                let mut new = pod.clone();
                Arc::make_mut(&mut new).status.nominated_node = node;
                Ok(self.replace_changed(&old, Object::Pod(new), fx))
            }
            (Patch::Resize(changes), Object::Pod(pod)) => self.resize(&old, pod, &changes, fx),
            (Patch::PodClaims(claims), Object::Pod(pod)) => {
                let mut new = pod.clone();
                Arc::make_mut(&mut new).status.claims = claims;
                Ok(self.replace(&old, Object::Pod(new), fx))
            }
            (Patch::ExtendedClaim(claim), Object::Pod(pod)) => {
                let mut new = pod.clone();
                Arc::make_mut(&mut new).status.extended_claim = Some(claim);
                Ok(self.replace(&old, Object::Pod(new), fx))
            }
            (Patch::Claim(change), Object::ResourceClaim(claim)) => {
                let new = claims::changed(claim, change)?;
                Ok(self.replace(&old, Object::ResourceClaim(Arc::new(new)), fx))
            }
            (Patch::EphemeralContainers(list), Object::Pod(pod)) => self.ephemeral_containers(&old, pod, list, fx),
            (Patch::RemoveFinalizer(name), _) => {
                let mut new = old.clone();
                new.meta_mut().finalizers = parts::without(&old.meta().finalizers, &name);
                Ok(self.replace(&old, new, fx))
            }
            (patch, _) => {
                let new = changed(&key, &old, patch)?;
                self.replace_checked(&old, new, fx)
            }
        }
    }

    fn patch_pod_status(
        &mut self,
        old: &Object,
        pod: &Pod,
        uid: Uid,
        mut status: PodStatus,
        fx: &mut Fx,
    ) -> Result<Object, Status> {
        if uid != pod.meta.uid {
            return Err(uid_conflict(&pod.meta.key(crate::model::Kind::Pod), uid, pod.meta.uid));
        }
        let others = pod.status.conditions.iter().filter(|condition| {
            let kind = condition.kind;
            // Those of a resize are the kubelet's; without them it is over.
            !status.conditions.iter().any(|other| other.kind == kind) && !kind.starts_with("PodResize")
        });
        let others: Conditions = others.cloned().collect();
        status.conditions.insert_many(0, others);
        status.conditions.shrink_to_fit();
        status.nominated_node = pod.status.nominated_node;
        status.claims.clone_from(&pod.status.claims);
        status.extended_claim.clone_from(&pod.status.extended_claim);
        status.start_time = status.start_time.or(pod.status.start_time);
        cut_pod_times(&mut status);
        if status == pod.status {
            return Ok(old.clone());
        }
        let new = Pod { meta: pod.meta.clone(), spec: pod.spec.clone(), node: pod.node, status };
        Ok(self.replace_changed(old, Object::Pod(Arc::new(new)), fx))
    }
}

/// `conditions` with `condition` in the place of the one of its type; None if that changes nothing. A condition whose
/// status stays keeps its transition time; its update time alone is a change for nodes (heartbeats) only.
pub(super) fn with_condition(
    conditions: &[Condition],
    mut condition: Condition,
    heartbeats: bool,
) -> Option<Conditions> {
    cut(&mut condition);
    let mut new: Conditions = conditions.iter().cloned().collect();
    match new.iter_mut().find(|existing| existing.kind == condition.kind) {
        None => new.push(condition),
        Some(existing) => {
            if existing.status == condition.status {
                condition.last_transition = existing.last_transition;
            }
            let same = existing.status == condition.status
                && existing.reason == condition.reason
                && existing.message == condition.message
                && !(heartbeats && existing.last_update != condition.last_update);
            if same {
                return None;
            }
            *existing = condition;
        }
    }
    Some(new)
}

/// `old` with `patch` applied; an error if objects of this kind have no such field.
fn changed(key: &Key, old: &Object, patch: Patch) -> Result<Object, Status> {
    let mut new = old.clone();
    match (patch, &mut new) {
        (Patch::Taints { add, remove }, Object::Node(node)) => {
            let taints = &mut Arc::make_mut(node).spec.taints;
            taints.retain(|taint| !remove.iter().any(|gone| gone.is_same(taint)));
            for taint in add {
                match taints.iter_mut().find(|existing| existing.is_same(&taint)) {
                    Some(existing) => *existing = taint,
                    None => taints.push(taint),
                }
            }
        }
        (Patch::Unschedulable(unschedulable), Object::Node(node)) => {
            Arc::make_mut(node).spec.unschedulable = unschedulable;
        }
        (Patch::Replicas(replicas), object) => {
            let field = match object {
                Object::Deployment(deployment) => &mut Arc::make_mut(deployment).replicas,
                Object::ReplicaSet(set) | Object::ReplicationController(set) => &mut Arc::make_mut(set).replicas,
                Object::StatefulSet(set) => &mut Arc::make_mut(set).replicas,
                _ => return Err(no_such_field()),
            };
            *field = replicas;
            if replicas < 0 {
                let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
                let problem = validation::Invalid::new("spec.replicas", message);
                let message = format!("Scale.autoscaling \"{}\" is invalid: {problem}", key.name);
                return Err(Status::new(StatusReason::Invalid, message));
            }
        }
        (Patch::Labels(changes), object) => {
            let meta = object.meta_mut();
            meta.labels = with_changes(&meta.labels, &changes);
        }
        (Patch::Annotations(changes), object) => {
            let meta = object.meta_mut();
            meta.annotations = with_changes(&meta.annotations, &changes);
        }
        (Patch::Owner(owner), object) => object.meta_mut().owner = owner,
        (Patch::Template(template), object) => match object {
            Object::Deployment(deployment) => Arc::make_mut(deployment).template = template,
            Object::ReplicaSet(set) | Object::ReplicationController(set) => Arc::make_mut(set).template = template,
            Object::StatefulSet(set) => Arc::make_mut(set).template = template,
            Object::DaemonSet(set) => Arc::make_mut(set).template = template,
            Object::Job(job) => Arc::make_mut(job).template = template,
            _ => return Err(no_such_field()),
        },
        (Patch::Suspend(suspend), Object::Job(job)) => Arc::make_mut(job).suspend = suspend,
        (Patch::Suspend(suspend), Object::CronJob(cron_job)) => Arc::make_mut(cron_job).suspend = suspend,
        (Patch::Paused(paused), Object::Deployment(deployment)) => Arc::make_mut(deployment).paused = paused,
        _ => return Err(no_such_field()),
    }
    Ok(new)
}

fn with_changes(labels: &Labels, changes: &[(Name, Option<Name>)]) -> Labels {
    changes.iter().fold(labels.clone(), |labels, &(key, value)| match value {
        Some(value) => labels.with(key, value),
        None => labels.without(key),
    })
}

/// A patch of a field or a subresource that the kind doesn't have.
fn no_such_field() -> Status {
    Status::new(StatusReason::NotFound, "the server could not find the requested resource")
}
