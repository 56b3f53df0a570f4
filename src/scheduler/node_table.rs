//! The scheduler's picture of the nodes and of what runs on them, kept up to date by what changes.
//!
//! Each node has a row; what the search reads of every node, its generation, is a dense column of its own. A generation is
//! a number that is never given twice: whatever was reckoned from a row stays true while its generation is the same.
//!
//! Kubernetes: pkg/scheduler/backend/cache/cache.go, pkg/scheduler/framework/types.go (NodeInfo). Attempts run one at a
//! time and change nothing, so there is no snapshot; only the order of nodes is as old as the last attempt's start.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::node::{HOSTNAME_LABEL, ZONE_LABEL};
use crate::model::{Bytes, MilliCpu, Name, Node, Pod, Resources, Selector, Uid};

use super::node_order::{NodeOrder, zone_of};
use super::pod_counts::PodCounts;
use super::pod_groups::PodGroups;
use super::pod_info::{HostPort, PodInfo};

/// A node's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The index of the row.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node with the pods that are on it, assumed ones included.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub id: NodeId,
    pub name: Name,
    /// An empty one while there are only pods that name it.
    pub node: Arc<Node>,
    /// In the order in which they came.
    pub pods: Vec<PodInfo>,
    /// The sum of the pods' requests.
    pub requested: Resources,
    /// The same with the defaults of scoring for what is not requested.
    pub non_zero: (MilliCpu, Bytes),
    /// A set, as Kubernetes has it: of two pods that were given the same port by hand, the first to go frees it.
    pub host_ports: Vec<HostPort>,
    present: bool,
    with_affinity: u32,
    with_required_anti_affinity: u32,
}

impl NodeInfo {
    /// What the node has for pods.
    pub fn allocatable(&self) -> &Resources {
        &self.node.status.allocatable
    }

    /// False while there are only pods that name the node.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Counts `pod` in.
    pub fn add_pod(&mut self, pod: PodInfo) {
        self.requested.add(&pod.spec.requests);
        self.non_zero.0 += pod.spec.non_zero.0;
        self.non_zero.1 += pod.spec.non_zero.1;
        for port in &pod.spec.host_ports {
            if !self.host_ports.contains(port) {
                self.host_ports.push(*port);
            }
        }
        self.with_affinity += u32::from(pod.spec.has_pod_affinity);
        self.with_required_anti_affinity += u32::from(pod.spec.has_required_anti_affinity);
        self.pods.push(pod);
    }

    /// Counts the pod with this uid out.
    pub fn remove_pod(&mut self, uid: Uid) -> Option<PodInfo> {
        let at = self.pods.iter().position(|pod| pod.uid() == uid)?;
        let pod = self.pods.remove(at);
        self.requested.subtract(&pod.spec.requests);
        self.non_zero.0 -= pod.spec.non_zero.0;
        self.non_zero.1 -= pod.spec.non_zero.1;
        for port in &pod.spec.host_ports {
            if let Some(at) = self.host_ports.iter().position(|existing| existing == port) {
                self.host_ports.swap_remove(at);
            }
        }
        self.with_affinity -= u32::from(pod.spec.has_pod_affinity);
        self.with_required_anti_affinity -= u32::from(pod.spec.has_required_anti_affinity);
        Some(pod)
    }
}

/// Which nodes have an image.
#[derive(Clone, Debug, Default)]
pub struct ImageState {
    /// As the first node said that had it.
    pub size_bytes: i64,
    /// How many nodes have it.
    pub count: u32,
    nodes: Vec<u64>,
}

impl ImageState {
    /// True if the node has it.
    pub fn is_on(&self, node: NodeId) -> bool {
        self.nodes.get(node.index() / 64).is_some_and(|word| word >> (node.index() % 64) & 1 == 1)
    }

    fn set(&mut self, node: NodeId, on: bool) {
        if self.is_on(node) == on {
            return;
        }
        let word = node.index() / 64;
        if self.nodes.len() <= word {
            self.nodes.resize(word + 1, 0);
        }
        self.nodes[word] ^= 1 << (node.index() % 64);
        self.count = if on { self.count + 1 } else { self.count - 1 };
    }
}

/// The zone and the hostname of each row, as its labels say them: what spreading reads of every feasible node for every
/// pod, without a walk to the node's labels.
#[derive(Clone, Debug)]
struct Topology {
    keys: [Name; 2],
    values: Vec<[Option<Name>; 2]>,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology { keys: [Name::new(ZONE_LABEL), Name::new(HOSTNAME_LABEL)], values: Vec::new() }
    }
}

impl Topology {
    fn set(&mut self, id: NodeId, node: &Node) {
        if self.values.len() <= id.index() {
            self.values.resize(id.index() + 1, [None; 2]);
        }
        self.values[id.index()] = self.keys.map(|key| node.meta.labels.get(key));
    }
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeTable {
    rows: Vec<NodeInfo>,
    topology: Topology,
    generations: Vec<u64>,
    last_generation: u64,
    free: Vec<NodeId>,
    by_name: FxHashMap<Name, NodeId>,
    zones: NodeOrder,
    order: Vec<NodeId>,
    order_is_old: bool,
    images: FxHashMap<Name, ImageState>,
    with_affinity: BTreeSet<NodeId>,
    with_required_anti_affinity: BTreeSet<NodeId>,
    counts: PodCounts,
    groups: Option<PodGroups>,
}

impl NodeTable {
    /// Number of nodes that there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Rows, those of nodes that are gone included.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// A node's row.
    pub fn get(&self, id: NodeId) -> &NodeInfo {
        &self.rows[id.index()]
    }

    /// What a node's labels have under `key`.
    pub fn label(&self, id: NodeId, key: Name) -> Option<Name> {
        match self.topology.keys.iter().position(|known| *known == key) {
            Some(at) => self.topology.values.get(id.index())?[at],
            None => self.get(id).node.meta.labels.get(key),
        }
    }

    /// The row of the node with this name, if the node is there.
    pub fn find(&self, name: Name) -> Option<NodeId> {
        self.by_name.get(&name).copied().filter(|id| self.rows[id.index()].present)
    }

    /// The generation that was given last: as long as it is the same, no row has changed.
    pub fn last_generation(&self) -> u64 {
        self.last_generation
    }

    /// Gives every row a new generation, because something else changed that answers about nodes depend on.
    pub fn touch_all(&mut self) {
        for generation in &mut self.generations {
            self.last_generation += 1;
            *generation = self.last_generation;
        }
    }

    /// The generation of a node's row.
    pub fn generation(&self, id: NodeId) -> u64 {
        self.generations[id.index()]
    }

    /// The nodes in the order in which they are tried, as it was at the last [`NodeTable::refresh_order`].
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// An image by its normalised name.
    pub fn image(&self, name: Name) -> Option<&ImageState> {
        self.images.get(&name)
    }

    /// How many pods of some selectors are where.
    pub fn counts(&self) -> &PodCounts {
        &self.counts
    }

    /// Counts the pods of `namespace` that `selector` selects from now on, by node and by these topology keys.
    pub fn keep_count(&mut self, namespace: Name, selector: &Selector, keys: &[Name]) {
        self.counts.keep(namespace, selector, keys, &self.rows);
    }

    /// The pods in groups, if they are kept so.
    pub fn groups(&self) -> Option<&PodGroups> {
        self.groups.as_ref()
    }

    /// Keeps the pods in groups from now on, over these topology keys and those that were asked for before.
    pub fn keep_groups(&mut self, keys: impl Iterator<Item = Name>) {
        let mut all: Vec<Name> = self.groups.as_ref().map(|groups| groups.keys().to_vec()).unwrap_or_default();
        let before = all.len();
        for key in keys {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        if all.len() > before || self.groups.is_none() {
            self.groups = Some(PodGroups::new(all, &self.rows));
        }
    }

    /// True if there are pods with terms of pod affinity or anti-affinity.
    pub fn has_affinity(&self) -> bool {
        !self.with_affinity.is_empty()
    }

    /// Nodes with pods that have terms of pod affinity or anti-affinity.
    pub fn with_affinity(&self) -> impl Iterator<Item = &NodeInfo> {
        self.with_affinity.iter().map(|id| self.get(*id)).filter(|node| node.present)
    }

    /// Nodes with pods that have required terms of pod anti-affinity.
    pub fn with_required_anti_affinity(&self) -> impl Iterator<Item = &NodeInfo> {
        self.with_required_anti_affinity.iter().map(|id| self.get(*id)).filter(|node| node.present)
    }

    /// An attempt begins: nodes that were added or removed take effect on the order. A change of a zone's label alone
    /// doesn't, until then (Kubernetes rebuilds its list only when the number of nodes may have changed).
    pub fn refresh_order(&mut self) {
        if self.order_is_old {
            self.zones.list(&mut self.order);
            self.order_is_old = false;
        }
    }

    /// A node was added or changed; gives what it was before.
    pub fn set_node(&mut self, node: &Arc<Node>) -> Option<Arc<Node>> {
        let id = self.row_of(node.meta.name);
        let row = &mut self.rows[id.index()];
        let old = std::mem::replace(&mut row.node, node.clone());
        let was_present = std::mem::replace(&mut row.present, true);
        self.topology.set(id, node);
        if !was_present || old.meta.labels != node.meta.labels {
            if was_present {
                self.counts.node(id, &old, -1);
            }
            self.counts.node(id, node, 1);
            if let Some(groups) = &mut self.groups {
                let row = &self.rows[id.index()];
                if was_present {
                    groups.node(row, &old, -1);
                }
                groups.node(row, node, 1);
            }
        }
        let zone = zone_of(&node.meta.labels);
        if !was_present {
            self.zones.add(id, zone);
            self.order_is_old = true;
        } else {
            let before = zone_of(&old.meta.labels);
            if before != zone {
                self.zones.remove(id, before);
                self.zones.add(id, zone);
            }
        }
        if !Arc::ptr_eq(&old.status.images, &node.status.images) {
            self.forget_images(id, &old);
            for image in node.status.images.iter() {
                for &name in &image.names {
                    let state = self.images.entry(name).or_default();
                    if state.count == 0 {
                        state.size_bytes = image.size_bytes;
                    }
                    state.set(id, true);
                }
            }
        }
        let same = was_present
            && old.spec == node.spec
            && old.meta.labels == node.meta.labels
            && old.status.allocatable == node.status.allocatable
            && old.meta.annotations == node.meta.annotations
            && old.status.declared_features == node.status.declared_features;
        if !same {
            self.touch(id);
        }
        was_present.then_some(old)
    }

    /// A node was deleted; pods that are still on it keep the row.
    pub fn remove_node(&mut self, name: Name) -> Option<Arc<Node>> {
        let id = self.find(name)?;
        let row = &mut self.rows[id.index()];
        row.present = false;
        let old = std::mem::take(&mut row.node);
        self.topology.set(id, &row.node);
        self.counts.node(id, &old, -1);
        if let Some(groups) = &mut self.groups {
            groups.node(&self.rows[id.index()], &old, -1);
        }
        self.zones.remove(id, zone_of(&old.meta.labels));
        self.order_is_old = true;
        self.forget_images(id, &old);
        self.touch(id);
        self.release_if_unused(id);
        Some(old)
    }

    /// Counts a pod in on the node of this name, which need not be there yet.
    pub fn add_pod(&mut self, node: Name, pod: PodInfo) {
        let id = self.row_of(node);
        self.counts.pod(&self.rows[id.index()], &pod.pod, 1);
        self.group(id, &pod.pod, 1);
        self.rows[id.index()].add_pod(pod);
        self.index_affinity(id);
        self.touch(id);
    }

    /// Counts a pod out.
    pub fn remove_pod(&mut self, node: Name, uid: Uid) -> Option<PodInfo> {
        let id = *self.by_name.get(&node)?;
        let pod = self.rows[id.index()].remove_pod(uid)?;
        self.counts.pod(&self.rows[id.index()], &pod.pod, -1);
        self.group(id, &pod.pod, -1);
        self.index_affinity(id);
        self.touch(id);
        self.release_if_unused(id);
        Some(pod)
    }

    /// The pod's object changed in ways that don't change what it requests.
    pub fn replace_pod(&mut self, node: Name, pod: PodInfo) {
        let Some(&id) = self.by_name.get(&node) else { return };
        let row = &self.rows[id.index()];
        let Some(at) = row.pods.iter().position(|existing| existing.uid() == pod.uid()) else { return };
        let old = &row.pods[at].pod;
        if old.is_terminating() != pod.pod.is_terminating() || old.meta.labels != pod.pod.meta.labels {
            self.counts.pod(row, old, -1);
            self.counts.pod(row, &pod.pod, 1);
        }
        if self.groups.is_some() {
            let old = old.clone();
            self.group(id, &old, -1);
            self.group(id, &pod.pod, 1);
        }
        self.rows[id.index()].pods[at] = pod;
    }

    fn row_of(&mut self, name: Name) -> NodeId {
        if let Some(&id) = self.by_name.get(&name) {
            return id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.rows.push(NodeInfo::default());
            self.generations.push(0);
            NodeId(self.rows.len() as u32 - 1)
        });
        self.rows[id.index()] = NodeInfo { id, name, ..NodeInfo::default() };
        self.by_name.insert(name, id);
        self.touch(id);
        id
    }

    fn release_if_unused(&mut self, id: NodeId) {
        let row = &self.rows[id.index()];
        // A row is not used again while the order of an attempt under way names it; orders are rebuilt before attempts.
        if !row.present && row.pods.is_empty() {
            self.by_name.remove(&row.name);
            self.free.push(id);
        }
    }

    fn group(&mut self, id: NodeId, pod: &Arc<Pod>, by: i64) {
        let row = &self.rows[id.index()];
        if let Some(groups) = self.groups.as_mut().filter(|_| row.present) {
            groups.pod(pod, &row.node, by);
        }
    }

    fn touch(&mut self, id: NodeId) {
        self.last_generation += 1;
        self.generations[id.index()] = self.last_generation;
    }

    fn index_affinity(&mut self, id: NodeId) {
        let row = &self.rows[id.index()];
        let keep = |set: &mut BTreeSet<NodeId>, wanted: bool| {
            if wanted {
                set.insert(id)
            } else {
                set.remove(&id)
            };
        };
        keep(&mut self.with_affinity, row.with_affinity > 0);
        keep(&mut self.with_required_anti_affinity, row.with_required_anti_affinity > 0);
    }

    fn forget_images(&mut self, id: NodeId, node: &Node) {
        for image in node.status.images.iter() {
            for name in &image.names {
                if let Some(state) = self.images.get_mut(name) {
                    state.set(id, false);
                    if state.count == 0 {
                        self.images.remove(name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Meta};

    fn node(name: &str, zone: &str) -> Arc<Node> {
        let labels = Labels::new([(Name::new("topology.kubernetes.io/zone"), Name::new(zone))]);
        Arc::new(Node { meta: Meta { labels, ..Meta::named("", name) }, ..Node::default() })
    }

    fn order(table: &mut NodeTable) -> String {
        table.refresh_order();
        let names: Vec<&str> = table.order().iter().map(|id| table.get(*id).name.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn nodes_come_round_robin_over_zones_and_a_zone_label_takes_effect_with_the_next_addition() {
        let mut table = NodeTable::default();
        for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")] {
            table.set_node(&node(name, zone));
        }
        assert_eq!(order(&mut table), "a1 b1 c1 a2 b2");
        table.set_node(&node("c1", "a"));
        assert_eq!(order(&mut table), "a1 b1 c1 a2 b2");
        table.set_node(&node("d1", "d"));
        assert_eq!(order(&mut table), "a1 b1 d1 a2 b2 c1");
    }

    #[test]
    fn a_row_is_kept_while_pods_name_it_and_its_generation_is_never_given_twice() {
        let mut table = NodeTable::default();
        table.add_pod(Name::new("n"), PodInfo::new(Arc::default()));
        assert_eq!(table.find(Name::new("n")), None);
        table.set_node(&node("n", "a"));
        let id = table.find(Name::new("n")).unwrap();
        let before = table.generation(id);
        assert_eq!(table.get(id).pods.len(), 1);
        assert_eq!(table.label(id, Name::new(ZONE_LABEL)), Some(Name::new("a")));
        table.remove_node(Name::new("n"));
        assert_eq!(table.label(id, Name::new(ZONE_LABEL)), None);
        table.remove_pod(Name::new("n"), Uid::NONE);
        table.set_node(&node("other", "a"));
        assert_eq!(table.find(Name::new("other")), Some(id));
        assert!(table.generation(id) > before);
    }
}
