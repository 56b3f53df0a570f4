//! What watches bring: the picture of the cluster is updated, and the queue hears what changed.
//!
//! Kubernetes: pkg/scheduler/eventhandlers.go.

use std::sync::Arc;

use crate::model::{Key, Kind, Name, Node, Object, Pod, Uid};
use crate::protocol::api::{Call, Watch, WatchEvent};

use super::cycle::PendingCall;
use super::events::{self, Action, ClusterEvent, OwnedChange, Resource};
use super::listers::Listers;
use super::pod_info::SpecInfo;
use super::{Fx, In, Known, Place, Scheduler, Timer, watched};

impl Scheduler {
    pub(super) fn watch(&mut self, watch: Watch, fx: &mut Fx) {
        self.call(Call::Watch(watch), PendingCall::Watch(watch), fx);
    }

    pub(super) fn watch_later(&mut self, watch: Watch, fx: &mut Fx) {
        fx.wake_after(self.config.rewatch_after, In::Timer(Timer::Rewatch { start: self.start, watch }));
    }

    pub(super) fn watch_event(&mut self, event: &WatchEvent, fx: &mut Fx) {
        match event {
            WatchEvent::Listed(watch, objects) => {
                self.drop_missing(watch.kind, objects, fx);
                objects.iter().for_each(|object| self.upsert(object, fx));
                if !self.listed.contains(&watch.kind) {
                    self.listed.push(watch.kind);
                }
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.upsert(object, fx),
            WatchEvent::Deleted(object) => self.remove(object, fx),
            WatchEvent::Broken(watch) => {
                // All go over one connection: what was not answered yet never will be.
                self.connection_lost(fx);
                self.watch_later(*watch, fx);
            }
        }
    }

    /// True when all first lists have come.
    pub(super) fn is_synced(&self) -> bool {
        self.listed.len() == watched().count()
    }

    fn upsert(&mut self, object: &Object, fx: &mut Fx) {
        match object {
            Object::Pod(pod) if pod.status.phase.is_terminal() => self.pod_gone(pod, fx),
            Object::Pod(pod) => self.pod(pod, fx),
            Object::Node(node) => self.node(node, fx),
            other => {
                let old = self.world.insert(other);
                let Some(resource) = resource_of(other.kind()) else { return };
                let action = if old.is_some() { Action::UPDATE } else { Action::ADD };
                let event = OwnedChange::new(ClusterEvent::new(resource, action), old, Some(other.clone()));
                self.queue.event(event, fx.cause(), queue_context!(self, fx));
            }
        }
    }

    fn remove(&mut self, object: &Object, fx: &mut Fx) {
        match object {
            Object::Pod(pod) => self.pod_gone(pod, fx),
            Object::Node(node) => self.node_gone(node.meta.name, fx),
            other => {
                let old = self.world.remove(&other.key());
                let Some(resource) = resource_of(other.kind()).filter(|_| old.is_some()) else { return };
                let event = OwnedChange::new(ClusterEvent::new(resource, Action::DELETE), old, None);
                self.queue.event(event, fx.cause(), queue_context!(self, fx));
            }
        }
    }

    /// A new list replaces what was known: what is not in it was deleted meanwhile.
    fn drop_missing(&mut self, kind: Kind, objects: &[Object], fx: &mut Fx) {
        match kind {
            Kind::Pod => {
                let mut there: Vec<Uid> = objects.iter().map(|object| object.meta().uid).collect();
                there.sort_unstable();
                let missing = |known: &&Known| there.binary_search(&known.info.uid()).is_err();
                let mut gone: Vec<Arc<Pod>> =
                    self.pods.values().filter(missing).map(|known| known.info.pod.clone()).collect();
                gone.sort_by_key(|pod| pod.meta.uid);
                gone.iter().for_each(|pod| self.pod_gone(pod, fx));
            }
            Kind::Node => {
                let mut there: Vec<Name> = objects.iter().map(|object| object.meta().name).collect();
                there.sort_unstable();
                self.world.nodes.refresh_order();
                let names = self.world.nodes.order().iter().map(|id| self.world.nodes.get(*id).name);
                let gone: Vec<Name> = names.filter(|name| there.binary_search(name).is_err()).collect();
                gone.into_iter().for_each(|name| self.node_gone(name, fx));
            }
            kind if Listers::KINDS.contains(&kind) => {
                let mut there: Vec<Key> = objects.iter().map(Object::key).collect();
                there.sort_unstable();
                for key in self.world.listers.keys(kind) {
                    if there.binary_search(&key).is_err() {
                        self.world.remove(&key);
                    }
                }
            }
            _ => {}
        }
    }

    fn node(&mut self, node: &Arc<Node>, fx: &mut Fx) {
        match self.world.nodes.set_node(node) {
            None => {
                let new = Some(Object::Node(node.clone()));
                let event = OwnedChange::new(ClusterEvent::new(Resource::Node, Action::ADD), None, new);
                self.queue.event(event, fx.cause(), queue_context!(self, fx));
            }
            Some(old) => {
                for event in events::node_update(&old, node) {
                    let (old, new) = (Object::Node(old.clone()), Object::Node(node.clone()));
                    let event = OwnedChange::new(event, Some(old), Some(new));
                    self.queue.event(event, fx.cause(), queue_context!(self, fx));
                }
            }
        }
    }

    fn node_gone(&mut self, name: Name, fx: &mut Fx) {
        if let Some(old) = self.world.nodes.remove_node(name) {
            let event = ClusterEvent::new(Resource::Node, Action::DELETE);
            let event = OwnedChange::new(event, Some(Object::Node(old)), None);
            self.queue.event(event, fx.cause(), queue_context!(self, fx));
        }
    }

    fn pod(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let uid = pod.meta.uid;
        let info = self.specs.pod(pod);
        let before = self.pods.get(&uid).cloned();
        match (pod.node, before) {
            (Some(node), Some(Known { info: old, place: Place::Assigned(was) })) if was == node => {
                let resized = !SpecInfo::counts_alike(&old.pod, pod);
                if Arc::ptr_eq(&old.pod.spec, &pod.spec) && old.pod.meta.labels == pod.meta.labels && !resized {
                    self.world.nodes.replace_pod(node, info.clone());
                } else {
                    self.world.nodes.remove_pod(node, uid);
                    self.world.nodes.add_pod(node, info.clone());
                }
                self.pods.insert(uid, Known { info, place: Place::Assigned(node) });
                self.pod_changed(&old.pod, pod, Resource::AssignedPod, fx);
            }
            (Some(node), before) => {
                match before.map(|known| known.place) {
                    // The binding that we asked for.
                    Some(Place::Assumed(was)) if was == node && pod.status.resizing.is_none() => {
                        self.world.nodes.replace_pod(node, info.clone());
                    }
                    Some(Place::Assumed(was) | Place::Assigned(was)) => {
                        self.world.nodes.remove_pod(was, uid);
                        self.world.nodes.add_pod(node, info.clone());
                    }
                    _ => self.world.nodes.add_pod(node, info.clone()),
                }
                self.pods.insert(uid, Known { info, place: Place::Assigned(node) });
                self.nominator.remove(uid);
                self.queue.delete(uid);
                self.events.forget(uid);
                let event = ClusterEvent::new(Resource::AssignedPod, Action::ADD);
                let event = OwnedChange::new(event, None, Some(Object::Pod(pod.clone())));
                self.queue.event(event, fx.cause(), queue_context!(self, fx));
            }
            (None, None) => {
                let name = pod.spec.scheduler_name;
                let profile = self.config.profiles.iter().position(|profile| profile.scheduler_name == name);
                let Some(profile) = profile else { return };
                self.pods.insert(uid, Known { info: info.clone(), place: Place::Unassigned });
                if let Some(node) = pod.status.nominated_node {
                    self.nominator.add(info.clone(), node);
                }
                self.queue.add(info, profile, fx.cause(), queue_context!(self, fx));
            }
            (None, Some(Known { info: old, place: Place::Unassigned })) => {
                self.pods.insert(uid, Known { info: info.clone(), place: Place::Unassigned });
                let (before, after) = (old.pod.status.nominated_node, pod.status.nominated_node);
                // A nomination that is in memory only stays.
                let in_memory = || self.nominator.node_of(uid).filter(|_| before.is_none());
                match after.or_else(in_memory) {
                    Some(node) => self.nominator.add(info.clone(), node),
                    None => {
                        self.nominator.remove(uid);
                    }
                }
                let changes: Vec<OwnedChange> = events::pod_update(&old.pod, pod, Resource::UnscheduledPod)
                    .into_iter()
                    .map(|event| {
                        let (old, new) = (Object::Pod(old.pod.clone()), Object::Pod(pod.clone()));
                        OwnedChange::new(event, Some(old), Some(new))
                    })
                    .collect();
                self.queue.update(info, &changes, fx.cause(), queue_context!(self, fx));
                // Lesser pods counted it on the node that it was nominated for.
                if before.is_some() && before != after {
                    self.room_for_lesser(&old.pod, fx);
                }
            }
            // An assumed pod that changes before its binding is seen stays where it is, unless it is being deleted.
            (None, Some(Known { place, .. })) => {
                if let Place::Assumed(node) = place {
                    self.world.nodes.replace_pod(node, info.clone());
                }
                self.pods.insert(uid, Known { info, place });
                if let (Place::Assumed(node), true) = (place, pod.is_terminating()) {
                    self.forget(uid, node, fx);
                }
            }
        }
    }

    fn pod_changed(&mut self, old: &Arc<Pod>, new: &Arc<Pod>, resource: Resource, fx: &mut Fx) {
        for event in events::pod_update(old, new, resource) {
            let (old, new) = (Object::Pod(old.clone()), Object::Pod(new.clone()));
            let event = OwnedChange::new(event, Some(old), Some(new));
            self.queue.event(event, fx.cause(), queue_context!(self, fx));
        }
    }

    /// A pod is nominated no more: for those of its priority and below it is as if it had been on the node, and went.
    fn room_for_lesser(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let event = OwnedChange::new(ClusterEvent::ASSIGNED_POD_DELETE, Some(Object::Pod(pod.clone())), None);
        self.queue.event_for(event, pod.spec.priority, fx.cause(), queue_context!(self, fx));
    }

    /// The pod was deleted, or has ended.
    fn pod_gone(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let uid = pod.meta.uid;
        let Some(known) = self.pods.remove(&uid) else { return };
        self.events.forget(uid);
        self.world.preemptions.forget(uid);
        self.nominator.remove(uid);
        match known.place {
            Place::Unassigned => {
                self.queue.delete(uid);
                if pod.status.nominated_node.is_some() {
                    self.room_for_lesser(pod, fx);
                }
                return;
            }
            Place::Assumed(node) => {
                self.unreserve(&known.info, node);
                self.world.nodes.remove_pod(node, uid);
            }
            Place::Assigned(node) => {
                self.world.nodes.remove_pod(node, uid);
            }
        }
        // The last state that the watch shows names the node even where we only assumed it.
        let mut last = pod.clone();
        if let (None, Place::Assumed(node)) = (last.node, known.place) {
            Arc::make_mut(&mut last).node = Some(node);
        }
        let event = OwnedChange::new(ClusterEvent::ASSIGNED_POD_DELETE, Some(Object::Pod(last)), None);
        self.queue.event(event, fx.cause(), queue_context!(self, fx));
    }
}

fn resource_of(kind: Kind) -> Option<Resource> {
    match kind {
        Kind::PersistentVolume => Some(Resource::PersistentVolume),
        Kind::PersistentVolumeClaim => Some(Resource::PersistentVolumeClaim),
        Kind::StorageClass => Some(Resource::StorageClass),
        Kind::CSINode => Some(Resource::CSINode),
        Kind::CSIDriver => Some(Resource::CSIDriver),
        Kind::CSIStorageCapacity => Some(Resource::CSIStorageCapacity),
        Kind::VolumeAttachment => Some(Resource::VolumeAttachment),
        Kind::DeviceClass => Some(Resource::DeviceClass),
        Kind::ResourceClaim => Some(Resource::ResourceClaim),
        Kind::ResourceSlice => Some(Resource::ResourceSlice),
        _ => None,
    }
}
