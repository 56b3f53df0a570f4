//! Garbage collector: deletes what belonged to an owner that is gone, in the background, in the foreground, or sets it free.
//!
//! A user meets it when a Deployment is deleted: its ReplicaSets and pods follow. Example:
//! `kubectl delete deployment web --cascade=foreground`.
//!
//! Kubernetes: pkg/controller/garbagecollector. Its live GETs are not sent, but they take their share of the client's rate.
//! An object has one owner here, and `blockOwnerDeletion` holds the owner up in the foreground only.

use crate::model::{Key, Kind, Name, Object};
use crate::protocol::api::{Call, DeleteOptions, Patch, Propagation, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::replica_set::failed_other_than_gone;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The garbage collector.
#[derive(Debug, Default)]
pub struct GarbageCollector;

fn has_finalizer(object: &Object, name: &str) -> bool {
    object.meta().finalizers.iter().any(|finalizer| **finalizer == *name)
}

/// True if the object waits for its dependents to be deleted first.
fn waits_for_dependents(object: &Object) -> bool {
    object.meta().deletion.is_some() && has_finalizer(object, FOREGROUND)
}

/// True if the object waits for its dependents to be set free.
fn waits_for_orphans(object: &Object) -> bool {
    object.meta().deletion.is_some() && has_finalizer(object, ORPHAN)
}

fn enqueue_dependents(owner: &Object, cx: &mut Context<'_>) {
    let mut keys: Vec<Key> = cx.cache.owned_by(owner.meta().uid).collect();
    keys.sort();
    keys.into_iter().for_each(|key| cx.enqueue(key));
}

impl GarbageCollector {
    /// Deletes the object if its owner is gone or waits for it.
    fn attempt_to_delete(&mut self, object: &Object, cx: &mut Context<'_>) -> Progress {
        let Some(reference) = object.meta().owner else { return Progress::Done };
        if object.meta().deletion.is_some() {
            return Progress::Done;
        }
        let owner = cx.cache.key_of(reference.uid).and_then(|key| cx.cache.get(key));
        let propagation = match owner {
            None if has_finalizer(object, ORPHAN) => Propagation::Orphan,
            None if has_finalizer(object, FOREGROUND) => Propagation::Foreground,
            None => Propagation::Background,
            Some(owner) if !waits_for_dependents(owner) => return Progress::Done,
            Some(_) if cx.cache.has_dependents(object.meta().uid) => Propagation::Foreground,
            Some(_) => Propagation::Background,
        };
        // The live GET of the object.
        cx.charge();
        let options = DeleteOptions { uid: Some(object.meta().uid), propagation, ..DeleteOptions::default() };
        cx.request(Call::Delete(object.key(), options));
        Progress::Wait
    }
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn component(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::Pod,
            Kind::Node,
            Kind::ReplicaSet,
            Kind::ReplicationController,
            Kind::Deployment,
            Kind::StatefulSet,
            Kind::DaemonSet,
            Kind::Job,
            Kind::CronJob,
            Kind::ControllerRevision,
            Kind::Service,
            Kind::EndpointSlice,
            Kind::PersistentVolumeClaim,
        ]
    }

    fn workers(&self) -> usize {
        20
    }

    fn qps_factor(&self) -> f64 {
        2.0
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let object = change.object();
        let owner = object.meta().owner;
        let Some(new) = change.new else {
            enqueue_dependents(object, cx);
            // The owner may have waited for this dependent.
            if let Some(key) = owner.and_then(|owner| cx.cache.key_of(owner.uid))
                && cx.cache.get(key).is_some_and(waits_for_dependents)
            {
                cx.enqueue(key);
            }
            return;
        };
        if waits_for_dependents(new) || waits_for_orphans(new) {
            if change.old.is_none_or(|old| old.meta().deletion.is_none()) {
                enqueue_dependents(new, cx);
            }
            cx.enqueue(change.key());
        }
        if let Some(owner) = owner
            && change.old.is_none()
        {
            let found = cx.cache.key_of(owner.uid).and_then(|key| cx.cache.get(key));
            // A dump seldom shows all owners; what it leaves out is not gone.
            if found.map_or(!owner.uid.is_foreign(), waits_for_dependents) {
                cx.enqueue(change.key());
            }
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        let Some(object) = cx.cache.get(key).cloned() else { return Progress::Done };
        let uid = object.meta().uid;
        if waits_for_orphans(&object) {
            let mut dependents: Vec<Key> = cx.cache.owned_by(uid).collect();
            dependents.sort();
            if dependents.is_empty() {
                cx.request(Call::Patch(key, Patch::RemoveFinalizer(Name::new(ORPHAN))));
            } else {
                dependents.into_iter().for_each(|key| cx.request(Call::Patch(key, Patch::Owner(None))));
            }
            return Progress::Wait;
        }
        if waits_for_dependents(&object) {
            let mut dependents = cx.cache.owned_by(uid).filter_map(|key| cx.cache.get(key));
            let blocked = dependents.any(|object| object.meta().owner.is_some_and(|owner| owner.block_deletion));
            if !blocked {
                cx.request(Call::Patch(key, Patch::RemoveFinalizer(Name::new(FOREGROUND))));
                return Progress::Wait;
            }
            return Progress::Done;
        }
        self.attempt_to_delete(&object, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        // Dependents are set free: now the owner may go.
        if let Some(object) = cx.cache.get(key)
            && waits_for_orphans(object)
            && !failed_other_than_gone(&replies)
            && cx.cache.has_dependents(object.meta().uid)
        {
            cx.request(Call::Patch(key, Patch::RemoveFinalizer(Name::new(ORPHAN))));
            return Progress::Done;
        }
        let failed = replies.iter().any(|reply| {
            let gone = [StatusReason::NotFound, StatusReason::Conflict];
            reply.as_ref().is_err_and(|status| !gone.contains(&status.reason))
        });
        if failed { Progress::Retry } else { Progress::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::model::Meta;
    use crate::model::workload::ReplicaSet;

    /// Deletes a ReplicaSet of two pods at 10 s in this way, and says what happened after.
    fn check(propagation: Propagation, expected: &[&str]) {
        let (selector, template) = app("app:1");
        let set =
            ReplicaSet { meta: Meta::named("default", "rs"), replicas: 2, selector, template, ..ReplicaSet::default() };
        let mut world = World::new(Config::default(), vec![Object::ReplicaSet(set.into())]);
        world.run_until(10.0);
        let key = Key::new(Kind::ReplicaSet, "default", "rs");
        let before = world.texts("").len();
        world.call(Call::Delete(key, DeleteOptions { propagation, ..DeleteOptions::default() }));
        world.run_until(20.0);
        let after = world.texts("").split_off(before);
        let kinds: Vec<&str> = after.iter().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(kinds, expected, "{after:?}");
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn in_the_background_the_owner_goes_first() {
        check(Propagation::Background, &["-ReplicaSet", "~Pod", "~Pod", "-Pod", "-Pod"]);
    }

    #[test]
    fn in_the_foreground_the_owner_goes_last() {
        check(Propagation::Foreground, &["~ReplicaSet", "~Pod", "~Pod", "-Pod", "-Pod", "-ReplicaSet"]);
    }

    #[test]
    fn orphans_live_on() {
        check(Propagation::Orphan, &["~ReplicaSet", "-ReplicaSet"]);
    }
}
