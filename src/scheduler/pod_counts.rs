//! How many pods that a selector selects are on each node and in each domain, kept up to date as pods come and go, so that
//! spreading a Deployment's next pod need not count all pods of the cluster.
//!
//! Nothing of this exists in Kubernetes, which counts anew for every pod (podtopologyspread/scoring.go); the numbers are the
//! same.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::model::{Name, Node, Pod, Selector};

use super::node_table::{NodeId, NodeInfo};

/// So many counters are kept; the one that was not asked for longest goes.
const MOST: usize = 256;

/// The pods of a namespace that a selector selects and that are not being deleted.
#[derive(Clone, Debug)]
pub struct PodCounter {
    namespace: Name,
    selector: Selector,
    used: u64,
    by_node: Vec<u32>,
    /// By topology key and value; nodes without the key count under the empty value.
    by_domain: Vec<(Name, IndexMap<Name, i64, FxBuildHasher>)>,
}

impl PodCounter {
    /// The number of pods on a node.
    pub fn on(&self, node: NodeId) -> i64 {
        self.by_node.get(node.index()).map_or(0, |count| i64::from(*count))
    }

    /// The number of pods on all nodes with this value of `key`; None if the key is not counted.
    pub fn in_domain(&self, key: Name, value: Name) -> Option<i64> {
        let (_, domains) = self.by_domain.iter().find(|(known, _)| *known == key)?;
        Some(domains.get(&value).copied().unwrap_or(0))
    }

    fn counts(&self, pod: &Pod) -> bool {
        pod.meta.namespace == self.namespace && !pod.is_terminating() && self.selector.matches(&pod.meta.labels)
    }

    fn add(&mut self, node: &NodeInfo, by: i64) {
        let at = node.id.index();
        if self.by_node.len() <= at {
            self.by_node.resize(at + 1, 0);
        }
        self.by_node[at] = (i64::from(self.by_node[at]) + by).max(0) as u32;
        if node.is_present() {
            self.add_to_domains(&node.node, by);
        }
    }

    fn add_to_domains(&mut self, node: &Node, by: i64) {
        for (key, domains) in &mut self.by_domain {
            *domains.entry(node.meta.labels.get(*key).unwrap_or_default()).or_default() += by;
        }
    }
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub struct PodCounts {
    counters: Vec<PodCounter>,
    by_selector: FxHashMap<(Name, Selector), usize>,
    clock: u64,
}

impl PodCounts {
    /// The counter of this namespace and selector, if it is kept.
    pub fn find(&self, namespace: Name, selector: &Selector) -> Option<&PodCounter> {
        // The selector is looked up by value; cloning it is a reference count.
        self.by_selector.get(&(namespace, selector.clone())).map(|at| &self.counters[*at])
    }

    /// Keeps a counter from now on, over these topology keys. `nodes` are all rows.
    pub fn keep(&mut self, namespace: Name, selector: &Selector, keys: &[Name], nodes: &[NodeInfo]) {
        self.clock += 1;
        let key = (namespace, selector.clone());
        if let Some(&at) = self.by_selector.get(&key) {
            self.counters[at].used = self.clock;
            return;
        }
        let mut counter = PodCounter {
            namespace,
            selector: selector.clone(),
            used: self.clock,
            by_node: vec![0; nodes.len()],
            by_domain: keys.iter().map(|key| (*key, IndexMap::default())).collect(),
        };
        for node in nodes {
            let count = node.pods.iter().filter(|pod| counter.counts(&pod.pod)).count();
            if count > 0 {
                counter.add(node, count as i64);
            }
        }
        if self.counters.len() < MOST {
            self.by_selector.insert(key, self.counters.len());
            self.counters.push(counter);
            return;
        }
        if let Some(oldest) = (0..self.counters.len()).min_by_key(|at| self.counters[*at].used) {
            let gone = std::mem::replace(&mut self.counters[oldest], counter);
            self.by_selector.remove(&(gone.namespace, gone.selector));
            self.by_selector.insert(key, oldest);
        }
    }

    /// A pod came onto a node (1), or left it (-1).
    pub fn pod(&mut self, node: &NodeInfo, pod: &Pod, by: i64) {
        for counter in &mut self.counters {
            if counter.counts(pod) {
                counter.add(node, by);
            }
        }
    }

    /// A node with its labels came (1), or went (-1), with the pods that are on it.
    pub fn node(&mut self, id: NodeId, node: &Node, by: i64) {
        for counter in &mut self.counters {
            let pods = counter.on(id);
            if pods > 0 {
                counter.add_to_domains(node, pods * by);
            }
        }
    }
}
