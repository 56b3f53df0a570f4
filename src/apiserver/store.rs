//! The store: what etcd holds, with the one version that every write raises, and the indexes that requests need.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/storage. History is not kept: a watch begins with a list, so that no
//! one asks for an old version. Lists by namespace or labels walk the kind's objects; only pods by node and the few
//! objects that admission looks at for each pod (budgets, quotas, limits) have indexes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::identity::{Identity, Uids};
use super::table::Table;
use crate::kernel::{Duration, Time};
use crate::model::{Key, Kind, Name, Node, Object, Pod, Uid};

/// How long an Event is kept after it was last written (`--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// The first version: etcd's first revision.
const FIRST_VERSION: u64 = 1;

/// All objects of the cluster.
#[derive(Debug)]
pub struct Store {
    /// By kind, in the order of [`Kind::ALL`].
    tables: Box<[Table]>,
    version: u64,
    uids: Uids,
    /// The pods of each node, in the order in which they came there.
    by_node: FxHashMap<Name, Vec<(Name, Name)>>,
    /// Names of the objects of [`indexed_by_namespace`] kinds, in text order.
    by_namespace: FxHashMap<(Kind, Name), SmallVec<[Name; 2]>>,
    /// When Events may be over, the earliest first.
    event_ends: VecDeque<(Time, Name, Name)>,
    /// Changes that no part of a cluster may make, found when they were written.
    broken: Vec<String>,
}

/// Kinds that admission or eviction looks up by namespace for each pod.
fn indexed_by_namespace(kind: Kind) -> bool {
    matches!(kind, Kind::PodDisruptionBudget | Kind::ResourceQuota | Kind::LimitRange)
}

impl Store {
    pub(super) fn new(identity: Identity) -> Store {
        Store {
            tables: Kind::ALL.iter().map(|_| Table::default()).collect(),
            version: FIRST_VERSION,
            uids: Uids::new(identity),
            by_node: FxHashMap::default(),
            by_namespace: FxHashMap::default(),
            event_ends: VecDeque::new(),
            broken: Vec::new(),
        }
    }

    /// The version of the last write, of whatever kind. It only grows.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.table(key.kind).get(key.namespace, key.name)
    }

    /// The pod of this namespace and name.
    pub fn pod(&self, namespace: Name, name: Name) -> Option<&Arc<Pod>> {
        self.table(Kind::Pod).get(namespace, name)?.as_pod()
    }

    /// The node of this name.
    pub fn node(&self, name: Name) -> Option<&Arc<Node>> {
        self.table(Kind::Node).get(Name::default(), name)?.as_node()
    }

    /// How many objects of this kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.table(kind).len()
    }

    /// The objects of a kind, the oldest first.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.table(kind).iter()
    }

    /// The objects of a kind in the order of their keys, as `kubectl get` lists them. Sorts: for lists, not for events.
    pub fn sorted(&self, kind: Kind) -> Vec<&Object> {
        let mut objects: Vec<&Object> = self.iter(kind).collect();
        objects.sort_by_key(|object| (object.meta().namespace, object.meta().name));
        objects
    }

    /// The pods that are bound to a node, in the order in which they came there.
    pub fn pods_of(&self, node: Name) -> impl Iterator<Item = &Arc<Pod>> {
        let names = self.by_node.get(&node).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|&(namespace, name)| self.pod(namespace, name))
    }

    /// The budgets, quotas or limits of a namespace, in the order of their names.
    pub(super) fn in_namespace(&self, kind: Kind, namespace: Name) -> impl Iterator<Item = &Object> {
        debug_assert!(indexed_by_namespace(kind), "{kind:?} has no such index");
        let names = self.by_namespace.get(&(kind, namespace)).map(SmallVec::as_slice).unwrap_or_default();
        names.iter().filter_map(move |&name| self.table(kind).get(namespace, name))
    }

    /// A uid for a new object with this key.
    pub(super) fn next_uid(&mut self, key: &Key) -> Uid {
        self.uids.next(key)
    }

    /// True if an object with this key is there, or was earlier where that is known ([`Identity::Named`]).
    pub(super) fn has_had(&self, key: &Key) -> bool {
        self.get(key).is_some() || self.uids.has_had(key)
    }

    /// Stores `object`, new or in the place of the one with its key, under the next version. The object as stored.
    pub(super) fn put(&mut self, mut object: Object) -> Object {
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        let before = self.tables[object.kind() as usize].put(object.clone());
        if before.is_none() {
            self.uids.give(object.meta().uid);
        }
        if let Object::Pod(pod) = &object {
            let before = before.as_ref().and_then(Object::as_pod);
            if let Some(before) = before {
                self.check_history(before, pod);
            }
            let old_node = before.and_then(|before| before.node);
            if old_node != pod.node {
                self.move_pod((pod.meta.namespace, pod.meta.name), old_node, pod.node);
            }
        } else if before.is_none() && indexed_by_namespace(object.kind()) {
            let meta = object.meta();
            let names = self.by_namespace.entry((object.kind(), meta.namespace)).or_default();
            if let Err(at) = names.binary_search(&meta.name) {
                names.insert(at, meta.name);
            }
        }
        object
    }

    /// Removes the object with this key under the next version: its last state, with the version of its removal.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Object> {
        let mut object = self.tables[key.kind as usize].remove(key.namespace, key.name)?;
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        if let Object::Pod(pod) = &object {
            self.move_pod((key.namespace, key.name), pod.node, None);
        } else if indexed_by_namespace(key.kind)
            && let Some(names) = self.by_namespace.get_mut(&(key.kind, key.namespace))
        {
            names.retain(|name| *name != key.name);
        }
        Some(object)
    }

    /// Stores an Event and drops those whose time is over.
    pub(super) fn put_event(&mut self, now: Time, event: Object) -> Object {
        while let Some(&(end, namespace, name)) = self.event_ends.front() {
            if end > now {
                break;
            }
            self.event_ends.pop_front();
            let table = &mut self.tables[Kind::Event as usize];
            let written = match table.get(namespace, name) {
                Some(Object::Event(event)) => event.last,
                _ => continue,
            };
            // Written again since: a later entry ends it.
            if written + EVENT_TTL <= now {
                table.remove(namespace, name);
            }
        }
        let meta = event.meta();
        self.event_ends.push_back((now + EVENT_TTL, meta.namespace, meta.name));
        self.put(event)
    }

    /// A bound pod stays on its node, an ended one stays ended.
    fn check_history(&mut self, before: &Pod, now: &Pod) {
        if before.meta.uid != now.meta.uid {
            self.broken.push(format!("pod {} became another without a deletion", now.full_name()));
        }
        if before.node.is_some() && before.node != now.node {
            self.broken.push(format!("pod {} moved from {:?} to {:?}", now.full_name(), before.node, now.node));
        }
        if before.status.phase.is_terminal() && before.status.phase != now.status.phase {
            let (before, after) = (before.status.phase.as_str(), now.status.phase.as_str());
            self.broken.push(format!("pod {} was {before} and became {after}", now.full_name()));
        }
    }

    fn move_pod(&mut self, pod: (Name, Name), from: Option<Name>, to: Option<Name>) {
        if let Some(from) = from
            && let Some(pods) = self.by_node.get_mut(&from)
        {
            pods.retain(|other| *other != pod);
            if pods.is_empty() {
                self.by_node.remove(&from);
            }
        }
        if let Some(to) = to {
            self.by_node.entry(to).or_default().push(pod);
        }
    }

    /// Changes that no part of a cluster may make (a pod that moves, an end that is undone), in the order in which they
    /// were written. Costs nothing to ask: for each event of a run.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    fn table(&self, kind: Kind) -> &Table {
        &self.tables[kind as usize]
    }

    /// What is wrong with the store or was ever written that may not be; nothing, unless simlet has a bug. Walks
    /// everything: for tests and for the end of a run.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = self.broken.clone();
        let mut uids = FxHashSet::default();
        let mut versions = FxHashSet::default();
        let mut on_nodes: BTreeMap<Name, usize> = BTreeMap::new();
        for &kind in Kind::ALL {
            for object in self.iter(kind) {
                let (key, meta) = (object.key(), object.meta());
                if object.kind() != kind || self.get(&key) != Some(object) {
                    wrong.push(format!("{key} is not found by its key"));
                }
                if meta.uid == Uid::NONE || !uids.insert(meta.uid) {
                    wrong.push(format!("{key} has no uid of its own"));
                }
                if meta.resource_version > self.version || !versions.insert(meta.resource_version) {
                    wrong.push(format!("{key} has version {}, which is not its own", meta.resource_version));
                }
                if kind.is_namespaced() == meta.namespace.is_empty() {
                    wrong.push(format!("{key} is in namespace \"{}\"", meta.namespace));
                }
                if indexed_by_namespace(kind)
                    && !self.in_namespace(kind, meta.namespace).any(|other| other.key() == key)
                {
                    wrong.push(format!("{key} is missing from the index by namespace"));
                }
                let Object::Pod(pod) = object else { continue };
                let Some(node) = pod.node else { continue };
                *on_nodes.entry(node).or_default() += 1;
                match self.pods_of(node).filter(|other| other.meta.uid == meta.uid).count() {
                    1 => {}
                    times => wrong.push(format!("{key} is {times} times among the pods of {node}")),
                }
            }
        }
        if self.by_node.len() != on_nodes.len() {
            wrong.push(format!("{} nodes have pods by the index, {} by the pods", self.by_node.len(), on_nodes.len()));
        }
        for (node, pods) in on_nodes {
            let indexed = self.by_node.get(&node).map_or(0, Vec::len);
            if indexed != pods {
                wrong.push(format!("node {node} has {indexed} pods by the index, {pods} by the pods"));
            }
        }
        wrong
    }
}
