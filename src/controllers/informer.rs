//! The shared cache of watched objects, with the indexes that controllers need, so that the cost of an event does not
//! grow with the cluster.
//!
//! Kubernetes: staging/src/k8s.io/client-go/tools/cache (reflector, shared informer, indexer). The order in which objects
//! of one namespace are listed here depends on the history of the run only; who needs an order sorts.
#![expect(
    clippy::disallowed_methods,
    reason = "taking out of the middle of a large set must not cost its size; the order stays a function of the history, and who depends on an order sorts"
)]

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::model::policy::PodDisruptionBudget;
use crate::model::service::{EndpointSlice, Service};
use crate::model::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};
use crate::model::workload::{CronJob, DaemonSet, Deployment, Job, ReplicaSet, StatefulSet};
use crate::model::{Key, Kind, Name, Node, Object, Phase, Pod, Uid};

type Map<K, V> = IndexMap<K, V, FxBuildHasher>;
type Set<K> = IndexSet<K, FxBuildHasher>;

/// A change of an object, as the controllers' event handlers see it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What the cache held before; None for a new object.
    pub old: Option<&'a Object>,
    /// None for a deleted object.
    pub new: Option<&'a Object>,
}

impl<'a> Change<'a> {
    /// The object as it is, or as it was last.
    pub fn object(&self) -> &'a Object {
        self.new.or(self.old).expect("a change has an object")
    }

    /// The object's key.
    pub fn key(&self) -> Key {
        self.object().key()
    }

    /// The object's kind.
    pub fn kind(&self) -> Kind {
        self.object().kind()
    }

    /// The pod before and after, if the object is a pod.
    pub fn pods(&self) -> (Option<&'a Arc<Pod>>, Option<&'a Arc<Pod>>) {
        (self.old.and_then(Object::as_pod), self.new.and_then(Object::as_pod))
    }

    /// The node before and after, if the object is a node.
    pub fn nodes(&self) -> (Option<&'a Arc<Node>>, Option<&'a Arc<Node>>) {
        (self.old.and_then(Object::as_node), self.new.and_then(Object::as_node))
    }

    /// True if the deletion of the object was asked for with this change, or it is gone.
    pub fn deletion_begins(&self) -> bool {
        match (self.old, self.new) {
            (_, None) => true,
            (old, Some(new)) => new.meta().deletion.is_some() && old.is_none_or(|old| old.meta().deletion.is_none()),
        }
    }
}

/// How many pods of an owner are in which state; kept up to date with each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All pods that name the owner.
    pub total: i32,
    /// Neither terminal nor being deleted.
    pub active: i32,
    /// Active and Ready.
    pub ready: i32,
    /// Being deleted and not terminal.
    pub terminating: i32,
}

impl Tally {
    fn count(&mut self, pod: &Pod, by: i32) {
        self.total += by;
        if pod.is_active() {
            self.active += by;
            if pod.is_ready() {
                self.ready += by;
            }
        } else if pod.is_terminating() && !pod.status.phase.is_terminal() {
            self.terminating += by;
        }
    }
}

/// The objects, as far as the watches have told.
#[derive(Debug, Default)]
pub struct Cache {
    spaces: FxHashMap<(Kind, Name), Map<Name, Object>>,
    cluster: FxHashMap<Kind, Set<Key>>,
    /// By owner, the objects that name it.
    owned: FxHashMap<Uid, Set<Key>>,
    tallies: FxHashMap<Uid, Tally>,
    /// Pods by node.
    on_node: FxHashMap<Name, Set<Key>>,
    /// Pods without an owner, by namespace.
    orphans: FxHashMap<Name, Set<Name>>,
    uids: FxHashMap<Uid, Key>,
    /// Versions that own writes have reached and that no watch has shown yet.
    written: FxHashMap<Key, u64>,
}

macro_rules! getters {
    ($($name:ident: $kind:ident => $type:ty;)*) => {
        $(
            /// The object of this namespace and name, if the cache has it.
            pub fn $name(&self, namespace: Name, name: Name) -> Option<&Arc<$type>> {
                match self.get(Key { kind: Kind::$kind, namespace, name })? {
                    Object::$kind(object) => Some(object),
                    _ => None,
                }
            }
        )*
    };
}

impl Cache {
    getters! {
        pod: Pod => Pod;
        deployment: Deployment => Deployment;
        stateful_set: StatefulSet => StatefulSet;
        daemon_set: DaemonSet => DaemonSet;
        job: Job => Job;
        cron_job: CronJob => CronJob;
        service: Service => Service;
        endpoint_slice: EndpointSlice => EndpointSlice;
        budget: PodDisruptionBudget => PodDisruptionBudget;
        claim: PersistentVolumeClaim => PersistentVolumeClaim;
    }

    /// The node of this name.
    pub fn node(&self, name: Name) -> Option<&Arc<Node>> {
        self.get(Key { kind: Kind::Node, namespace: Name::default(), name })?.as_node()
    }

    /// The volume of this name.
    pub fn volume(&self, name: Name) -> Option<&Arc<PersistentVolume>> {
        match self.get(Key { kind: Kind::PersistentVolume, namespace: Name::default(), name })? {
            Object::PersistentVolume(volume) => Some(volume),
            _ => None,
        }
    }

    /// The storage class of this name.
    pub fn storage_class(&self, name: Name) -> Option<&Arc<StorageClass>> {
        match self.get(Key { kind: Kind::StorageClass, namespace: Name::default(), name })? {
            Object::StorageClass(class) => Some(class),
            _ => None,
        }
    }

    /// The ReplicaSet or ReplicationController of this key.
    pub fn replica_set(&self, key: Key) -> Option<&Arc<ReplicaSet>> {
        match self.get(key)? {
            Object::ReplicaSet(set) | Object::ReplicationController(set) => Some(set),
            _ => None,
        }
    }

    /// The object of this key.
    pub fn get(&self, key: Key) -> Option<&Object> {
        self.spaces.get(&(key.kind, key.namespace))?.get(&key.name)
    }

    /// The key of the object with this uid.
    pub fn key_of(&self, uid: Uid) -> Option<Key> {
        self.uids.get(&uid).copied()
    }

    /// The objects of a kind in a namespace (empty for cluster-scoped kinds).
    pub fn list(&self, kind: Kind, namespace: Name) -> impl Iterator<Item = &Object> {
        self.spaces.get(&(kind, namespace)).into_iter().flat_map(|space| space.values())
    }

    /// The keys of all objects of a kind, in every namespace.
    pub fn keys(&self, kind: Kind) -> impl Iterator<Item = Key> + '_ {
        self.cluster.get(&kind).into_iter().flat_map(|keys| keys.iter().copied())
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.list(Kind::Node, Name::default()).filter_map(Object::as_node)
    }

    /// The keys of the objects that name `owner` as their owner.
    pub fn owned_by(&self, owner: Uid) -> impl Iterator<Item = Key> + '_ {
        self.owned.get(&owner).into_iter().flat_map(|keys| keys.iter().copied())
    }

    /// True if some object names `owner` as its owner.
    pub fn has_dependents(&self, owner: Uid) -> bool {
        self.owned.get(&owner).is_some_and(|keys| !keys.is_empty())
    }

    /// The pods that name `owner` as their owner.
    pub fn pods_of(&self, owner: Uid) -> impl Iterator<Item = &Arc<Pod>> {
        self.owned_by(owner).filter(|key| key.kind == Kind::Pod).filter_map(|key| self.get(key)?.as_pod())
    }

    /// The ReplicaSets that name `owner` as their owner.
    pub fn replica_sets_of(&self, owner: Uid) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.owned_by(owner).filter(|key| key.kind == Kind::ReplicaSet).filter_map(|key| self.replica_set(key))
    }

    /// The pods of an owner, counted.
    pub fn tally(&self, owner: Uid) -> Tally {
        self.tallies.get(&owner).copied().unwrap_or_default()
    }

    /// The pods on a node.
    pub fn pods_on(&self, node: Name) -> impl Iterator<Item = &Arc<Pod>> {
        let keys = self.on_node.get(&node).into_iter().flatten();
        keys.filter_map(|&key| self.get(key)?.as_pod())
    }

    /// The pods of a namespace that nobody owns.
    pub fn orphans(&self, namespace: Name) -> impl Iterator<Item = &Arc<Pod>> {
        let names = self.orphans.get(&namespace).into_iter().flatten();
        names.filter_map(move |&name| self.pod(namespace, name))
    }

    /// True if an own write of this object has not yet come back through the watch.
    pub fn is_stale(&self, key: Key) -> bool {
        self.written.contains_key(&key)
    }

    /// Notes that an own write has brought `object` to its version. One that the cache doesn't have is awaited only if it
    /// was `created`: else it is gone already.
    pub fn wrote(&mut self, object: &Object, created: bool) {
        let (key, version) = (object.key(), object.meta().resource_version);
        if self.get(key).map_or(created, |known| known.meta().resource_version < version) {
            self.written.insert(key, version);
        }
    }

    /// Takes the object's new state in and gives back the old one.
    pub fn put(&mut self, object: Object) -> Option<Object> {
        let key = object.key();
        if self.written.get(&key).is_some_and(|&version| object.meta().resource_version >= version) {
            self.written.remove(&key);
        }
        let old = self.spaces.entry((key.kind, key.namespace)).or_default().insert(key.name, object.clone());
        match &old {
            Some(old) if old.meta().uid == object.meta().uid => self.reindex(key, Some(old), Some(&object)),
            Some(replaced) => {
                self.reindex(key, Some(replaced), None);
                self.reindex(key, None, Some(&object));
            }
            None => self.reindex(key, None, Some(&object)),
        }
        old
    }

    /// Takes the object out and gives it back.
    pub fn remove(&mut self, key: Key) -> Option<Object> {
        self.written.remove(&key);
        let old = self.spaces.get_mut(&(key.kind, key.namespace))?.swap_remove(&key.name)?;
        self.reindex(key, Some(&old), None);
        Some(old)
    }

    /// The keys of this kind that are not in `listed`: they went while the watch was broken.
    pub fn missing_from(&self, kind: Kind, listed: &[Object]) -> Vec<Key> {
        let there: rustc_hash::FxHashSet<Key> = listed.iter().map(Object::key).collect();
        let mut missing: Vec<Key> = self.keys(kind).filter(|key| !there.contains(key)).collect();
        missing.sort();
        missing
    }

    fn reindex(&mut self, key: Key, old: Option<&Object>, new: Option<&Object>) {
        let old_owner = old.and_then(|object| object.meta().owner).map(|owner| owner.uid);
        let new_owner = new.and_then(|object| object.meta().owner).map(|owner| owner.uid);
        if old.is_none() || new.is_none() {
            let all = self.cluster.entry(key.kind).or_default();
            match (old, new) {
                (_, Some(object)) => {
                    all.insert(key);
                    self.uids.insert(object.meta().uid, key);
                }
                (Some(object), None) => {
                    all.swap_remove(&key);
                    self.uids.remove(&object.meta().uid);
                }
                (None, None) => {}
            }
        }
        if old_owner != new_owner {
            if let Some(owner) = old_owner
                && let Some(keys) = self.owned.get_mut(&owner)
            {
                keys.swap_remove(&key);
                if keys.is_empty() {
                    self.owned.remove(&owner);
                }
            }
            if let Some(owner) = new_owner {
                self.owned.entry(owner).or_default().insert(key);
            }
        }
        if key.kind == Kind::Pod {
            self.reindex_pod(key, old.and_then(Object::as_pod), new.and_then(Object::as_pod));
        }
    }

    fn reindex_pod(&mut self, key: Key, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) {
        let owner = |pod: Option<&Arc<Pod>>| pod.and_then(|pod| pod.meta.owner).map(|owner| owner.uid);
        let node = |pod: Option<&Arc<Pod>>| pod.and_then(|pod| pod.node);
        if let (Some(uid), Some(pod)) = (owner(old), old) {
            let tally = self.tallies.entry(uid).or_default();
            tally.count(pod, -1);
            if tally.total == 0 {
                self.tallies.remove(&uid);
            }
        }
        if let (Some(uid), Some(pod)) = (owner(new), new) {
            self.tallies.entry(uid).or_default().count(pod, 1);
        }
        if node(old) != node(new) {
            if let Some(node) = node(old)
                && let Some(pods) = self.on_node.get_mut(&node)
            {
                pods.swap_remove(&key);
            }
            if let Some(node) = node(new) {
                self.on_node.entry(node).or_default().insert(key);
            }
        }
        let is_orphan = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| pod.meta.owner.is_none());
        if is_orphan(old) != is_orphan(new) {
            let orphans = self.orphans.entry(key.namespace).or_default();
            if is_orphan(new) {
                orphans.insert(key.name);
            } else {
                orphans.swap_remove(&key.name);
            }
        }
    }
}

/// The order in which Kubernetes ranks phases when it looks for pods to delete.
pub fn phase_rank(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    }
}
