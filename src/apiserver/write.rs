//! Creation and update: what every write goes through, from names and admission to the watch event.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go and
//! …/registry/rest/{create,update}.go.

use std::sync::Arc;

use super::admission::quota::Usage;
use super::parts::{
    clears_status, copy_status, cut_times, has_generation, is_released, keep_identity, keep_same_template, spec_differs,
};
use super::watches::Change;
use super::{ApiServer, Fx, Store, admission, validation};
use crate::model::{Key, Meta, Object, Pod, Uid};
use crate::protocol::api::{Status, StatusReason};
use crate::trace::{self, Record};

/// Puts an object that is there from the beginning.
pub(super) fn store_initial(store: &mut Store, mut object: Object) {
    object.meta_mut().uid = store.next_uid(&object.key());
    store.put(object);
}

impl ApiServer {
    /// POST. The object as stored.
    pub(super) fn create(&mut self, mut object: Object, fx: &mut Fx) -> Result<Object, Status> {
        if let Object::Event(_) = object {
            return self.create_event(object, fx);
        }
        let kind = object.kind();
        self.name_new(&mut object)?;
        let key = object.key();
        admission::namespace_takes_new(&self.store, &key)?;
        if let Some(there) = self.store.get(&key) {
            return Err(already_exists(there));
        }
        let meta = object.meta_mut();
        meta.uid = self.store.next_uid(&key);
        meta.created = fx.now().truncated_to_second();
        meta.generation = u32::from(has_generation(kind));
        meta.deletion = None;
        meta.resource_version = 0;
        if clears_status(kind) {
            reset_status(&mut object, fx);
        }
        self.admission.mutate(&self.store, &mut object)?;
        cut_times(&mut object);
        if self.admission.is_known_valid(&object) {
            invalid(&object, validation::validate_meta(&object))?;
        } else {
            let mut problems = validation::validate(&object, self.gates());
            problems.extend(validation::validate_create(&object));
            invalid(&object, problems)?;
            self.admission.found_valid(&object);
        }
        let mut charged = Usage::default();
        if self.has_quotas(key.namespace) {
            charged = Usage::of(&object);
            self.check_quotas(&object, &charged)?;
        }
        let stored = self.store.put(object);
        fx.record(Record::Written(trace::Change::Created, stored.clone()));
        self.tell(Change::Created(&stored), fx);
        if self.has_quotas(key.namespace) {
            self.charge_quotas(key.namespace, &Usage::default(), &charged, fx);
        }
        Ok(stored)
    }

    /// PUT of everything but the status. The object as stored, which is the old one if nothing changed.
    pub(super) fn update(&mut self, mut object: Object, fx: &mut Fx) -> Result<Object, Status> {
        if let Object::Event(_) = object {
            return self.create_event(object, fx);
        }
        let old = self.current(&object)?;
        keep_identity(object.meta_mut(), old.meta());
        copy_status(&mut object, &old);
        self.admission.mutate_update(&self.store, &mut object, &old)?;
        self.replace_checked(&old, object, fx)
    }

    /// PUT of the status.
    pub(super) fn update_status(&mut self, object: Object, fx: &mut Fx) -> Result<Object, Status> {
        let old = self.current(&object)?;
        let mut new = old.clone();
        if !copy_status(&mut new, &object) {
            return Err(Status::new(StatusReason::NotFound, "the server could not find the requested resource"));
        }
        cut_times(&mut new);
        if let Object::Node(_) = new {
            invalid(&new, validation::validate(&new, self.gates()))?;
        }
        Ok(self.replace(&old, new, fx))
    }

    /// Stores `new`, a changed copy of `old`, if the changes are allowed; counts its generation.
    pub(super) fn replace_checked(&mut self, old: &Object, mut new: Object, fx: &mut Fx) -> Result<Object, Status> {
        keep_same_template(&mut new, old);
        let source = std::mem::replace(&mut new.meta_mut().source, old.meta().source);
        if new == *old {
            return Ok(old.clone());
        }
        new.meta_mut().source = source;
        let mut problems = validation::validate_update(old, &new);
        if spec_differs(old, &new) {
            if has_generation(new.kind()) {
                new.meta_mut().generation += 1;
            }
            problems.extend(validation::validate(&new, self.gates()));
        } else {
            problems.extend(validation::validate_meta(&new));
        }
        invalid(&new, problems)?;
        let stored = self.replace(old, new, fx);
        if let Object::ResourceQuota(quota) = &stored {
            self.charge_quotas(quota.meta.namespace, &Usage::default(), &Usage::default(), fx);
        }
        Ok(stored)
    }

    /// Stores `new`, a changed copy of `old`, and tells the watchers; nothing happens if nothing has changed. An object
    /// that was only waiting for its last finalizer goes.
    pub(super) fn replace(&mut self, old: &Object, new: Object, fx: &mut Fx) -> Object {
        if new == *old {
            return old.clone();
        }
        if is_released(new.meta()) && !old.meta().finalizers.is_empty() {
            return self.remove(old, fx);
        }
        self.replace_changed(old, new, fx)
    }

    /// [`ApiServer::replace`] of an object that is known to have changed and to stay.
    pub(super) fn replace_changed(&mut self, old: &Object, new: Object, fx: &mut Fx) -> Object {
        self.admission.changed(&new);
        let stored = self.store.put(new);
        fx.record(Record::Written(trace::Change::Modified, stored.clone()));
        self.tell(Change::Modified { old, new: &stored }, fx);
        if let (Object::Pod(old), Object::Pod(new)) = (old, &stored) {
            let ends = !old.status.phase.is_terminal() && new.status.phase.is_terminal();
            if ends && self.has_quotas(new.meta.namespace) {
                self.charge_quotas(new.meta.namespace, &Usage::of_pod(old), &Usage::of_pod(new), fx);
            }
        }
        stored
    }

    /// Removes an object from the store and tells the watchers. Its last state.
    pub(super) fn remove(&mut self, old: &Object, fx: &mut Fx) -> Object {
        let Some(gone) = self.store.remove(&old.key()) else { return old.clone() };
        self.admission.gone(&gone);
        if !matches!(gone, Object::Event(_)) {
            fx.record(Record::Written(trace::Change::Deleted, gone.clone()));
        }
        self.tell(Change::Deleted(&gone), fx);
        let namespace = gone.meta().namespace;
        if let Object::Lease(lease) = &gone {
            self.lease_gone(&lease.meta, fx);
        }
        if self.has_quotas(namespace) {
            self.charge_quotas(namespace, &Usage::of(&gone), &Usage::default(), fx);
        }
        gone
    }

    pub(super) fn tell(&mut self, change: Change<'_>, fx: &mut Fx) {
        // Drawn for every write, heard or not, so that a watcher more or less moves no other number.
        let latency = self.latency.watch.draw(&self.latency.config.watch_latency);
        self.watches.tell(change, self.latency.commit.max(fx.now()) + latency, fx);
    }

    /// The stored object that `object` was read as, if it still is.
    fn current(&self, object: &Object) -> Result<Object, Status> {
        let key = object.key();
        let old = self.get(&key)?;
        let (meta, now) = (object.meta(), old.meta());
        if meta.uid != Uid::NONE && meta.uid != now.uid {
            return Err(uid_conflict(&key, meta.uid, now.uid));
        }
        if meta.resource_version != 0 && meta.resource_version != now.resource_version {
            return Err(Status::conflict(&key));
        }
        Ok(old.clone())
    }

    /// Makes a name from `generateName` (names/generate.go, RetryGenerateName).
    fn name_new(&mut self, object: &mut Object) -> Result<(), Status> {
        let kind = object.kind();
        let Meta { name, generate_name, namespace, .. } = *object.meta();
        if !name.is_empty() {
            return Ok(());
        }
        if generate_name.is_empty() {
            let missing = validation::Invalid::new("metadata.name", "Required value: name or generateName is required");
            return invalid(object, vec![missing]);
        }
        let made = self.names.generate(&self.store, &Key { kind, namespace, name: generate_name });
        object.meta_mut().name = made;
        Ok(())
    }

    /// An Event: neither admission nor validation looks at it, and one with a known name has only counted on.
    fn create_event(&mut self, mut object: Object, fx: &mut Fx) -> Result<Object, Status> {
        let key = object.key();
        let known = self.store.get(&key).cloned();
        let meta = object.meta_mut();
        match &known {
            Some(known) => keep_identity(meta, known.meta()),
            None => {
                meta.uid = self.store.next_uid(&key);
                meta.created = fx.now().truncated_to_second();
            }
        }
        let stored = self.store.put_event(fx.now(), object);
        if let Object::Event(event) = &stored {
            fx.record(Record::Event(event.clone()));
        }
        match &known {
            Some(known) => self.tell(Change::Modified { old: known, new: &stored }, fx),
            None => self.tell(Change::Created(&stored), fx),
        }
        Ok(stored)
    }
}

/// 422 if anything is wrong with `object`.
pub(super) fn invalid(object: &Object, problems: Vec<validation::Invalid>) -> Result<(), Status> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Status::new(StatusReason::Invalid, validation::message(object.kind(), object.meta().name, &problems)))
}

/// 409 of a creation; a name is taken until its last holder is quite gone.
fn already_exists(there: &Object) -> Status {
    let mut status = Status::already_exists(&there.key());
    if there.meta().deletion.is_some() {
        status.message = format!("object is being deleted: {}", status.message).into();
    }
    status
}

/// 409 of a write that meant an object of the same name that is gone.
pub(super) fn uid_conflict(key: &Key, wanted: Uid, found: Uid) -> Status {
    let Key { kind, namespace, name } = key;
    let path = if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") };
    Status::new(
        StatusReason::Conflict,
        format!(
            "Operation cannot be fulfilled on {} \"{name}\": StorageError: invalid object, Code: 4, Key: /registry/{}/{path}, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
            admission::qualified(*kind),
            kind.plural(),
        ),
    )
}

/// The status that a new object begins with.
fn reset_status(object: &mut Object, fx: &Fx) {
    match object {
        Object::Pod(pod) => {
            let pod: &mut Pod = Arc::make_mut(pod);
            pod.status = Default::default();
            if !pod.spec.scheduling_gates.is_empty() {
                pod.status.conditions.push(super::pods::gated(fx.now()));
            }
        }
        Object::ReplicaSet(set) | Object::ReplicationController(set) => Arc::make_mut(set).status = Default::default(),
        Object::Deployment(deployment) => Arc::make_mut(deployment).status = Default::default(),
        Object::StatefulSet(set) => Arc::make_mut(set).status = Default::default(),
        Object::DaemonSet(set) => Arc::make_mut(set).status = Default::default(),
        Object::Job(job) => Arc::make_mut(job).status = Default::default(),
        Object::CronJob(cron_job) => {
            let cron_job = Arc::make_mut(cron_job);
            (cron_job.last_schedule, cron_job.last_successful) = (None, None);
            cron_job.active.clear();
        }
        Object::PodDisruptionBudget(budget) => Arc::make_mut(budget).status = Default::default(),
        Object::PersistentVolumeClaim(claim) => Arc::make_mut(claim).phase = Default::default(),
        Object::PersistentVolume(volume) => Arc::make_mut(volume).phase = Default::default(),
        Object::ResourceQuota(quota) => Arc::make_mut(quota).used.clear(),
        Object::ResourceClaim(claim) => Arc::make_mut(claim).status = Default::default(),
        _ => {}
    }
}
