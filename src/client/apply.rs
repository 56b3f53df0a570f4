//! `kubectl apply -f`: for each object in the order of the files a GET, then a POST or a PATCH; after an error it goes on
//! with the next.
//!
//! The patch is a three-way merge: what stands in the file is set, what stood in the file that was applied before and is
//! gone is taken away, the rest stays as it is on the server. Here that is reckoned for labels and annotations, for what
//! the server fills in (addresses, nodes, bound volumes), and for the spec as a whole. A Deployment without `replicas` is
//! one of 1 replica in the model, so applying it again sets 1.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/apply/{apply.go,patcher.go}.

use std::sync::Arc;

use crate::model::pod::Container;
use crate::model::workload::PodTemplate;
use crate::model::{Labels, Meta, Object, Pod, PodSpec};
use crate::protocol::api::{Answer, Call, Status, StatusReason};

use super::{Hands, Progress, object_of};

/// An apply under way.
#[derive(Debug)]
pub(super) struct Apply {
    objects: Arc<[Object]>,
    /// The object that is next.
    at: usize,
    writing: bool,
}

impl Apply {
    pub(super) fn new(objects: Arc<[Object]>) -> Apply {
        Apply { objects, at: 0, writing: false }
    }

    pub(super) fn next(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(object) = self.objects.get(self.at) else { return Progress::Done };
        self.writing = false;
        if object.meta().name.is_empty() {
            // Kubernetes: apply needs a name, because it asks for the object first.
            let key = object.key();
            hands.say(key, "error: resource name may not be empty");
            self.at += 1;
            return self.next(hands);
        }
        hands.ask(0, Call::Get(object.key()));
        Progress::Waiting
    }

    pub(super) fn answered(&mut self, result: Result<Answer, Status>, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(object) = self.objects.get(self.at) else { return Progress::Done };
        let key = object.key();
        if self.writing {
            match result {
                Ok(_) => {
                    hands.applied.insert(key, object.clone());
                }
                Err(status) => hands.say_error(key, &status),
            }
            self.at += 1;
            return self.next(hands);
        }
        match object_of(result) {
            Ok(live) => {
                let last = hands.applied.get(&key);
                match merged(object, &live, last) {
                    Some(changed) => {
                        self.writing = true;
                        hands.ask(0, Call::Update(changed));
                        Progress::Waiting
                    }
                    None => {
                        hands.applied.insert(key, object.clone());
                        self.at += 1;
                        self.next(hands)
                    }
                }
            }
            Err(status) if status.reason == StatusReason::NotFound => {
                let mut object = object.clone();
                object.meta_mut().resource_version = 0;
                self.writing = true;
                hands.ask(0, Call::Create(object));
                Progress::Waiting
            }
            Err(status) => {
                hands.say_error(key, &status);
                self.at += 1;
                self.next(hands)
            }
        }
    }
}

/// The object on the server with what the file says; None if nothing changes.
fn merged(file: &Object, live: &Object, last: Option<&Object>) -> Option<Object> {
    let mut merged = file.clone();
    let last_meta = last.map(Object::meta);
    *merged.meta_mut() = merged_meta(file.meta(), live.meta(), last_meta);
    match (&mut merged, live) {
        (Object::Pod(new), Object::Pod(old)) => {
            let last = last.and_then(Object::as_pod);
            let new = Arc::make_mut(new);
            new.node = old.node;
            new.status = old.status.clone();
            new.spec = merged_pod_spec(&new.spec, old, last.map(Arc::as_ref));
        }
        (Object::Node(new), Object::Node(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            let last_taints = last.and_then(Object::as_node).map(|node| node.spec.taints.as_slice());
            // Taints are a list that is replaced whole where the file has it.
            if new.spec.taints.is_empty() && last_taints.is_none_or(<[_]>::is_empty) {
                new.spec.taints = old.spec.taints.clone();
            }
            if new.spec.provider_id.is_empty() {
                new.spec.provider_id = old.spec.provider_id;
            }
        }
        (Object::Deployment(new), Object::Deployment(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            keep_if_same(&mut new.template, &old.template);
        }
        (Object::ReplicaSet(new), Object::ReplicaSet(old))
        | (Object::ReplicationController(new), Object::ReplicationController(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            keep_if_same(&mut new.template, &old.template);
        }
        (Object::StatefulSet(new), Object::StatefulSet(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            keep_if_same(&mut new.template, &old.template);
        }
        (Object::DaemonSet(new), Object::DaemonSet(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            keep_if_same(&mut new.template, &old.template);
        }
        (Object::Job(new), Object::Job(old)) => {
            let new = Arc::make_mut(new);
            new.status = old.status.clone();
            if new.selector.is_none() {
                new.selector = old.selector.clone();
            }
            // The server adds its own labels to the template.
            let labels = old.template.labels.iter().filter(|(key, _)| new.template.labels.get(*key).is_none());
            let added: Vec<_> = labels.collect();
            if !added.is_empty() {
                let template = Arc::make_mut(&mut new.template);
                template.labels = Labels::new(template.labels.iter().chain(added));
            }
            keep_if_same(&mut new.template, &old.template);
        }
        (Object::CronJob(new), Object::CronJob(old)) => {
            let new = Arc::make_mut(new);
            new.last_schedule = old.last_schedule;
            new.last_successful = old.last_successful;
            new.active.clone_from(&old.active);
            let job = Arc::make_mut(&mut new.job_template);
            keep_if_same(&mut job.template, &old.job_template.template);
        }
        (Object::Service(new), Object::Service(old)) => {
            let new = Arc::make_mut(new);
            if !new.headless {
                new.cluster_ip = new.cluster_ip.or(old.cluster_ip);
            }
            for port in &mut new.ports {
                let same = old.ports.iter().find(|other| other.port == port.port && other.protocol == port.protocol);
                if port.node_port == 0 && new.kind == old.kind {
                    port.node_port = same.map_or(0, |other| other.node_port);
                }
            }
        }
        (Object::PersistentVolumeClaim(new), Object::PersistentVolumeClaim(old)) => {
            let new = Arc::make_mut(new);
            new.phase = old.phase;
            if new.volume.is_empty() {
                new.volume = old.volume;
            }
            // Admission gives the default class.
            new.spec.storage_class = new.spec.storage_class.or(old.spec.storage_class);
        }
        (Object::PersistentVolume(new), Object::PersistentVolume(old)) => {
            let new = Arc::make_mut(new);
            new.phase = old.phase;
            new.claim = new.claim.or(old.claim);
        }
        (Object::PodDisruptionBudget(new), Object::PodDisruptionBudget(old)) => {
            Arc::make_mut(new).status = old.status.clone();
        }
        (Object::ResourceQuota(new), Object::ResourceQuota(old)) => {
            Arc::make_mut(new).used.clone_from(&old.used);
        }
        _ => {}
    }
    let mut unplaced = merged.clone();
    unplaced.meta_mut().source = live.meta().source;
    (unplaced != *live).then_some(merged)
}

fn merged_meta(file: &Meta, live: &Meta, last: Option<&Meta>) -> Meta {
    let mut meta = live.clone();
    meta.labels = merged_labels(&file.labels, &live.labels, last.map(|meta| &meta.labels));
    meta.annotations = merged_labels(&file.annotations, &live.annotations, last.map(|meta| &meta.annotations));
    meta.source = file.source.or(live.source);
    // kubectl's patch carries no version, so it meets no conflict.
    meta.resource_version = live.resource_version;
    meta
}

/// What the file says, and what is on the server besides, but for what the last file said and this one does not.
fn merged_labels(file: &Labels, live: &Labels, last: Option<&Labels>) -> Labels {
    let dropped = |key| last.is_some_and(|last| last.get(key).is_some()) && file.get(key).is_none();
    Labels::new(live.iter().filter(|(key, _)| !dropped(*key)).chain(file.iter()))
}

/// A pod's spec may change in few places, and much of it is the server's: what differs from the last file is set.
fn merged_pod_spec(file: &Arc<PodSpec>, live: &Pod, last: Option<&Pod>) -> Arc<PodSpec> {
    if last.is_some_and(|last| Arc::ptr_eq(&last.spec, file) || *last.spec == **file) {
        return Arc::clone(&live.spec);
    }
    let mut spec = (**file).clone();
    let old = &live.spec;
    for toleration in old.tolerations.iter() {
        if !spec.tolerations.contains(toleration) {
            spec.tolerations = spec.tolerations.iter().chain([toleration]).cloned().collect();
        }
    }
    if spec.priority_class.is_empty() || spec.priority_class == old.priority_class {
        spec.priority = old.priority;
        spec.priority_class = old.priority_class;
        spec.preempts_never = old.preempts_never;
    }
    if spec.service_account.is_empty() {
        spec.service_account = old.service_account;
    }
    if spec.overhead.is_none() {
        spec.overhead.clone_from(&old.overhead);
    }
    // A file has no say about them: they have a subresource of their own.
    spec.ephemeral_containers = Arc::clone(&old.ephemeral_containers);
    if spec == **old { Arc::clone(old) } else { Arc::new(spec) }
}

/// A template that only stands elsewhere in the files is the same template, and must not begin a rollout.
fn keep_if_same(new: &mut Arc<PodTemplate>, live: &Arc<PodTemplate>) {
    if unplaced(new) == unplaced(live) {
        *new = Arc::clone(live);
    }
}

fn unplaced(template: &PodTemplate) -> PodTemplate {
    let without = |containers: &[Container]| {
        containers.iter().map(|container| Container { source: None, ..container.clone() }).collect::<Arc<[Container]>>()
    };
    let mut template = template.clone();
    let spec = Arc::make_mut(&mut template.spec);
    spec.source = None;
    spec.containers = without(&spec.containers);
    spec.init_containers = without(&spec.init_containers);
    template
}
