//! The pods of the cluster by what terms of affinity and spreading see of them: namespace, labels, own affinity, whether they
//! are being deleted. Replicas of a template are one group, so a term is held against each group instead of each pod; a group
//! knows how many of its pods are in each domain.
//!
//! Nothing of this exists in Kubernetes, which looks at all pods for each pod; the numbers are the same. Kept only once a pod
//! needs it.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{Labels, Name, Node, Pod};

use super::node_table::NodeInfo;

/// How many pods there are in each domain of one topology key.
#[derive(Clone, Debug, Default)]
pub struct InDomains {
    /// By the key's value; never 0.
    pub by_value: FxHashMap<Name, i64>,
    pub total: i64,
}

impl InDomains {
    fn add(&mut self, value: Name, by: i64) {
        self.total += by;
        let count = self.by_value.entry(value).or_default();
        *count += by;
        if *count == 0 {
            self.by_value.remove(&value);
        }
    }
}

/// Pods that are alike.
#[derive(Clone, Debug)]
pub struct PodGroup {
    /// One of them, or one that was.
    pub pod: Arc<Pod>,
    pods: usize,
    /// In the order of the keys.
    domains: Vec<Arc<InDomains>>,
}

type GroupKey = (Name, Labels, usize, bool);

fn key_of(pod: &Pod) -> GroupKey {
    let affinity = pod.spec.affinity.as_ref().map_or(0, |affinity| Arc::as_ptr(affinity) as usize);
    (pod.meta.namespace, pod.meta.labels.clone(), affinity, pod.is_terminating())
}

/// All groups, over these topology keys.
#[derive(Clone, Debug, Default)]
pub struct PodGroups {
    keys: Vec<Name>,
    groups: Vec<PodGroup>,
    by_key: FxHashMap<GroupKey, usize>,
    /// Nodes by the values of each key, and how many have no value.
    nodes: Vec<(InDomains, usize)>,
}

impl PodGroups {
    /// The groups of the pods on `rows`, over these keys.
    pub fn new(keys: Vec<Name>, rows: &[NodeInfo]) -> PodGroups {
        let nodes = keys.iter().map(|_| Default::default()).collect();
        let mut groups = PodGroups { keys, nodes, ..PodGroups::default() };
        for row in rows.iter().filter(|row| row.is_present()) {
            groups.node(row, &row.node, 1);
        }
        groups
    }

    /// The keys.
    pub fn keys(&self) -> &[Name] {
        &self.keys
    }

    /// The groups, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &PodGroup> {
        self.groups.iter()
    }

    fn place_of(&self, key: Name) -> Option<usize> {
        self.keys.iter().position(|known| *known == key)
    }

    /// A group's pods by the domains of `key`; None if that is not kept.
    pub fn in_domains<'g>(&self, group: &'g PodGroup, key: Name) -> Option<&'g Arc<InDomains>> {
        group.domains.get(self.place_of(key)?)
    }

    /// The nodes by the values of `key`; None if that is not kept, or if a node has none.
    pub fn nodes_by(&self, key: Name) -> Option<&InDomains> {
        let (nodes, without) = self.nodes.get(self.place_of(key)?)?;
        (*without == 0).then_some(nodes)
    }

    /// A pod came onto (1) or left (-1) a node that is there.
    pub fn pod(&mut self, pod: &Arc<Pod>, node: &Node, by: i64) {
        let key = key_of(pod);
        let at = match self.by_key.get(&key) {
            Some(&at) => at,
            None => {
                let domains = self.keys.iter().map(|_| Arc::default()).collect();
                self.groups.push(PodGroup { pod: pod.clone(), pods: 0, domains });
                self.by_key.insert(key.clone(), self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[at];
        group.pods = if by > 0 { group.pods + 1 } else { group.pods.saturating_sub(1) };
        for (key, domains) in self.keys.iter().zip(&mut group.domains) {
            if let Some(value) = node.meta.labels.get(*key) {
                Arc::make_mut(domains).add(value, by);
            }
        }
        if group.pods == 0 {
            self.by_key.remove(&key);
            self.groups.swap_remove(at);
            if let Some(moved) = self.groups.get(at) {
                self.by_key.insert(key_of(&moved.pod), at);
            }
        }
    }

    /// A node came (1) or went (-1) with its pods. `node` has its labels.
    pub fn node(&mut self, row: &NodeInfo, node: &Node, by: i64) {
        for (key, (nodes, without)) in self.keys.iter().zip(&mut self.nodes) {
            match node.meta.labels.get(*key) {
                Some(value) => nodes.add(value, by),
                None if by > 0 => *without += 1,
                None => *without = without.saturating_sub(1),
            }
        }
        for pod in &row.pods {
            self.pod(&pod.pod, node, by);
        }
    }
}
