//! Which part of an object is its status, which its spec: the difference between the main resource and `/status`.
//!
//! Kubernetes: pkg/registry/*/strategy.go (PrepareForUpdate of each kind's strategy and status strategy).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::pod::ContainerState;
use crate::model::workload::{Job, PodTemplate};
use crate::model::{Condition, Container, Deletion, Kind, Meta, Object, PodSpec};

macro_rules! status_fields {
    ($($kind:ident: $($field:ident),+;)*) => {
        /// Gives `into` the status of `from`, an object of the same kind. False if the kind has no status.
        pub(super) fn copy_status(into: &mut Object, from: &Object) -> bool {
            match (into, from) {
                $((Object::$kind(into), Object::$kind(from)) => {
                    let into = Arc::make_mut(into);
                    $(into.$field = from.$field.clone();)+
                    true
                })*
                _ => false,
            }
        }
    };
}

status_fields! {
    Pod: status;
    Node: status;
    ReplicaSet: status;
    ReplicationController: status;
    Deployment: status;
    StatefulSet: status;
    DaemonSet: status;
    Job: status;
    CronJob: last_schedule, last_successful, active;
    PersistentVolumeClaim: phase;
    PersistentVolume: phase;
    PodDisruptionBudget: status;
    ResourceQuota: used;
    ResourceClaim: status;
}

/// True if a new object of this kind begins without the status that its creator gave it. Nodes keep theirs: the kubelet
/// registers with it.
pub(super) fn clears_status(kind: Kind) -> bool {
    kind != Kind::Node
}

/// True for kinds whose generation counts changes of their spec.
pub(super) fn has_generation(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::ReplicaSet
            | Kind::ReplicationController
            | Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::Job
            | Kind::CronJob
            | Kind::PodDisruptionBudget
            | Kind::EndpointSlice
    )
}

/// True if the specs of two objects of the same kind differ, in the sense of `metadata.generation`: for Deployments the
/// annotations count too, and a pod's binding doesn't.
pub(super) fn spec_differs(old: &Object, new: &Object) -> bool {
    if matches!(old, Object::Deployment(_)) && old.meta().annotations != new.meta().annotations {
        return true;
    }
    if let (Object::Pod(old), Object::Pod(new)) = (old, new) {
        return !Arc::ptr_eq(&old.spec, &new.spec) && old.spec != new.spec;
    }
    let mut alike = new.clone();
    *alike.meta_mut() = old.meta().clone();
    copy_status(&mut alike, old);
    alike != *old
}

/// A pod spec without the lines where a user wrote it.
fn unsourced(spec: &PodSpec) -> PodSpec {
    let bare = |containers: &[Container]| -> Arc<[Container]> {
        containers.iter().map(|container| Container { source: None, ..container.clone() }).collect()
    };
    PodSpec {
        source: None,
        containers: bare(&spec.containers),
        init_containers: bare(&spec.init_containers),
        ephemeral_containers: bare(&spec.ephemeral_containers),
        ..PodSpec::clone(spec)
    }
}

/// True if two templates differ in nothing but the lines where they were written.
fn is_same_template(one: &Arc<PodTemplate>, other: &Arc<PodTemplate>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.labels == other.labels
            && one.annotations == other.annotations
            && unsourced(&one.spec) == unsourced(&other.spec))
}

fn template_mut(object: &mut Object) -> Option<&mut Arc<PodTemplate>> {
    Some(match object {
        Object::Deployment(deployment) => &mut Arc::make_mut(deployment).template,
        Object::ReplicaSet(set) | Object::ReplicationController(set) => &mut Arc::make_mut(set).template,
        Object::StatefulSet(set) => &mut Arc::make_mut(set).template,
        Object::DaemonSet(set) => &mut Arc::make_mut(set).template,
        Object::Job(job) => &mut Arc::make_mut(job).template,
        _ => return None,
    })
}

fn template(object: &Object) -> Option<&Arc<PodTemplate>> {
    Some(match object {
        Object::Deployment(deployment) => &deployment.template,
        Object::ReplicaSet(set) | Object::ReplicationController(set) => &set.template,
        Object::StatefulSet(set) => &set.template,
        Object::DaemonSet(set) => &set.template,
        Object::Job(job) => &job.template,
        _ => return None,
    })
}

/// Gives `new` the template, or a pod the spec, of `old` if it differs in nothing but the lines where it was written: a
/// file that was moved or edited elsewhere is no rollout.
pub(super) fn keep_same_template(new: &mut Object, old: &Object) {
    match (&mut *new, old) {
        (Object::Pod(new), Object::Pod(old)) => {
            if !Arc::ptr_eq(&new.spec, &old.spec) && unsourced(&new.spec) == unsourced(&old.spec) {
                Arc::make_mut(new).spec = old.spec.clone();
            }
            return;
        }
        (Object::CronJob(new), Object::CronJob(old)) => {
            let (given, kept) = (&new.job_template, &old.job_template);
            let mut alike = Job::clone(given);
            alike.meta.source = kept.meta.source;
            if is_same_template(&given.template, &kept.template) {
                alike.template = kept.template.clone();
            }
            if alike == **kept {
                Arc::make_mut(new).job_template = kept.clone();
            }
            return;
        }
        _ => {}
    }
    let (Some(kept), Some(given)) = (template(old), template(new)) else { return };
    if Arc::ptr_eq(kept, given) || !is_same_template(kept, given) {
        return;
    }
    if let Some(given) = template_mut(new) {
        *given = kept.clone();
    }
}

/// What an update can't change: name, uid, times, deletion (AS/registry/rest/update.go, BeforeUpdate).
pub(super) fn keep_identity(new: &mut Meta, old: &Meta) {
    new.namespace = old.namespace;
    new.name = old.name;
    new.uid = old.uid;
    new.generation = old.generation;
    new.created = old.created;
    new.deletion = old.deletion;
    new.generate_name = old.generate_name;
    new.resource_version = old.resource_version;
    if new.source.is_none() {
        new.source = old.source;
    }
}

/// Cuts the times of an object's status to the second, as they are when they have been written as JSON and read again.
pub(super) fn cut_times(object: &mut Object) {
    match object {
        Object::Pod(pod) => cut_pod_times(&mut Arc::make_mut(pod).status),
        Object::Node(node) => cut_all(&mut Arc::make_mut(node).status.conditions),
        Object::ReplicaSet(set) | Object::ReplicationController(set) => {
            cut_all(&mut Arc::make_mut(set).status.conditions);
        }
        Object::Deployment(deployment) => cut_all(&mut Arc::make_mut(deployment).status.conditions),
        Object::StatefulSet(set) => cut_all(&mut Arc::make_mut(set).status.conditions),
        Object::DaemonSet(set) => cut_all(&mut Arc::make_mut(set).status.conditions),
        Object::Job(job) => {
            let status = &mut Arc::make_mut(job).status;
            cut_all(&mut status.conditions);
            for time in [&mut status.start_time, &mut status.completion_time].into_iter().flatten() {
                *time = time.truncated_to_second();
            }
        }
        Object::CronJob(cron_job) => {
            let cron_job = Arc::make_mut(cron_job);
            for time in [&mut cron_job.last_schedule, &mut cron_job.last_successful].into_iter().flatten() {
                *time = time.truncated_to_second();
            }
        }
        Object::PodDisruptionBudget(budget) => {
            let status = &mut Arc::make_mut(budget).status;
            cut_all(&mut status.conditions);
            for (_, time) in &mut status.disrupted_pods {
                *time = time.truncated_to_second();
            }
        }
        _ => {}
    }
}

/// The same for a pod's status alone.
pub(super) fn cut_pod_times(status: &mut crate::model::PodStatus) {
    cut_all(&mut status.conditions);
    if let Some(time) = &mut status.start_time {
        *time = time.truncated_to_second();
    }
    let regular = status.init_containers.iter_mut().chain(&mut status.containers);
    for container in regular.chain(&mut status.ephemeral_containers) {
        let ended = match &mut container.state {
            ContainerState::Terminated(ended) => Some(ended),
            ContainerState::Running { started_at } => {
                *started_at = started_at.truncated_to_second();
                None
            }
            ContainerState::Waiting { .. } => None,
        };
        for ended in ended.into_iter().chain(container.last_terminated.as_mut()) {
            ended.started_at = ended.started_at.truncated_to_second();
            ended.finished_at = ended.finished_at.truncated_to_second();
        }
    }
}

fn cut_all(conditions: &mut [Condition]) {
    conditions.iter_mut().for_each(cut);
}

/// Cuts a condition's times to the second.
pub(super) fn cut(condition: &mut Condition) {
    condition.last_transition = condition.last_transition.truncated_to_second();
    condition.last_update = condition.last_update.truncated_to_second();
}

/// The deletion mark of objects that are not deleted gracefully (`markAsDeleting`), which wait for their finalizers.
pub(super) fn mark_deleting(meta: &mut Meta, now: crate::kernel::Time) {
    if meta.deletion.is_none() {
        if meta.generation > 0 {
            meta.generation += 1;
        }
        meta.deletion = Some(Deletion { at: now.truncated_to_second(), grace: crate::kernel::Duration::ZERO });
    }
}

/// True if an object that is being deleted waits for nothing any more.
pub(super) fn is_released(meta: &Meta) -> bool {
    meta.finalizers.is_empty() && meta.deletion.is_some_and(|deletion| deletion.grace.is_zero())
}

/// The finalizers without `name`.
pub(super) fn without(finalizers: &[crate::model::Name], name: &str) -> SmallVec<[crate::model::Name; 1]> {
    finalizers.iter().copied().filter(|finalizer| *finalizer != *name).collect()
}
