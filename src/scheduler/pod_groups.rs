//! The pods of the cluster by what terms of affinity and spreading see of them: namespace, labels, own affinity, whether they
//! are being deleted. Replicas of a template are one group, so a term is held against each group instead of each pod; a group
//! knows how many of its pods are in each domain.
//!
//! Nothing of this exists in Kubernetes, which looks at all pods for each pod; the numbers are the same. Kept only once a pod
//! needs it.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::model::{Labels, Name, Node, Pod};

use super::node_table::{NodeId, NodeInfo};

/// How many pods there are in each domain of one topology key.
#[derive(Clone, Debug, Default)]
pub struct InDomains {
    /// By the key's value; never 0.
    pub by_value: FxHashMap<Name, i64>,
    pub total: i64,
    /// The same by the domain's number, once there are so many that most nodes find something: a search that asks for each
    /// node then reads a column instead of looking up a value. Empty until then.
    by_number: Vec<i32>,
}

/// A group's pods are counted by the domains' numbers, too, when they are in at least one of so many domains.
const SPARSE: usize = 16;

impl InDomains {
    fn add(&mut self, value: Name, by: i64, domains: &Domains) {
        self.total += by;
        let count = self.by_value.entry(value).or_default();
        *count += by;
        let count = *count;
        if count == 0 {
            self.by_value.remove(&value);
        }
        if !self.by_number.is_empty() {
            self.number(value, count, domains);
        } else if self.by_value.len() * SPARSE >= domains.numbers.len() && self.by_value.len() >= SPARSE {
            self.by_number.resize(domains.numbers.len(), 0);
            for (value, number) in &domains.numbers {
                let count = self.by_value.get(value).copied().unwrap_or(0);
                self.by_number[*number as usize] = i32::try_from(count).unwrap_or(i32::MAX);
            }
        }
    }

    fn number(&mut self, value: Name, count: i64, domains: &Domains) {
        let Some(&number) = domains.numbers.get(&value) else { return };
        if self.by_number.len() <= number as usize {
            self.by_number.resize(domains.numbers.len(), 0);
        }
        self.by_number[number as usize] = i32::try_from(count).unwrap_or(i32::MAX);
    }

    /// Adds `factor` times what there is to a column by the domains' numbers.
    fn add_to(&self, column: &mut [i64], factor: i64, domains: &Domains) {
        if self.by_number.is_empty() {
            // Sums, whose order is of no account.
            self.by_value.iter().for_each(|(value, count)| {
                if let Some(sum) = domains.numbers.get(value).and_then(|number| column.get_mut(*number as usize)) {
                    *sum += factor * count;
                }
            });
            return;
        }
        for (sum, count) in column.iter_mut().zip(&self.by_number) {
            *sum += factor * i64::from(*count);
        }
    }

    /// How many there are in a domain.
    #[inline]
    pub fn at(&self, domain: Domain) -> i64 {
        if self.by_number.is_empty() {
            return self.by_value.get(&domain.value).copied().unwrap_or(0);
        }
        self.by_number.get(domain.number as usize).map_or(0, |count| i64::from(*count))
    }
}

/// A value of a topology key, and its number among those that were ever there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    pub value: Name,
    number: u32,
}

impl Domain {
    /// What a column of [`PodGroups::sums`] has for it.
    #[inline]
    pub fn of(self, column: &[i64]) -> i64 {
        column.get(self.number as usize).copied().unwrap_or(0)
    }
}

/// The domains of one topology key.
#[derive(Clone, Debug, Default)]
struct Domains {
    numbers: IndexMap<Name, u32, FxBuildHasher>,
    /// That of each node; None for nodes that are gone or have no value.
    of_node: Vec<Option<Domain>>,
}

impl Domains {
    fn set(&mut self, node: NodeId, value: Option<Name>) {
        if self.of_node.len() <= node.index() {
            self.of_node.resize(node.index() + 1, None);
        }
        self.of_node[node.index()] = value.map(|value| {
            let next = self.numbers.len() as u32;
            Domain { value, number: *self.numbers.entry(value).or_insert(next) }
        });
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
    /// In the order of the keys.
    domains: Vec<Domains>,
    /// Nodes by the values of each key, and how many have no value.
    nodes: Vec<(InDomains, usize)>,
}

impl PodGroups {
    /// The groups of the pods on `rows`, over these keys.
    pub fn new(keys: Vec<Name>, rows: &[NodeInfo]) -> PodGroups {
        let nodes = keys.iter().map(|_| Default::default()).collect();
        let domains = keys.iter().map(|_| Domains::default()).collect();
        let mut groups = PodGroups { keys, nodes, domains, ..PodGroups::default() };
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

    /// The place of a key among the keys, if it is kept.
    pub fn place_of(&self, key: Name) -> Option<usize> {
        self.keys.iter().position(|known| *known == key)
    }

    /// The domain of the key at `place` that a node is in.
    #[inline]
    pub fn domain(&self, place: usize, node: NodeId) -> Option<Domain> {
        self.domains.get(place)?.of_node.get(node.index()).copied().flatten()
    }

    /// The sums over several groups' pods, each times a factor, in the domains of the key at `place`: a column by domain.
    pub fn sums<'g>(&self, place: usize, groups: impl Iterator<Item = (i64, &'g InDomains)>) -> Arc<[i64]> {
        let Some(domains) = self.domains.get(place) else { return Arc::new([]) };
        let mut column = vec![0; domains.numbers.len()];
        groups.for_each(|(factor, group)| group.add_to(&mut column, factor, domains));
        column.into()
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
        for ((key, counts), domains) in self.keys.iter().zip(&mut group.domains).zip(&self.domains) {
            if let Some(value) = node.meta.labels.get(*key) {
                Arc::make_mut(counts).add(value, by, domains);
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
        for ((key, (nodes, without)), domains) in self.keys.iter().zip(&mut self.nodes).zip(&mut self.domains) {
            let value = node.meta.labels.get(*key);
            domains.set(row.id, value.filter(|_| by > 0));
            match value {
                Some(value) => nodes.add(value, by, domains),
                None if by > 0 => *without += 1,
                None => *without = without.saturating_sub(1),
            }
        }
        for pod in &row.pods {
            self.pod(&pod.pod, node, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Meta};
    use crate::scheduler::node_table::NodeTable;
    use crate::scheduler::pod_info::PodInfo;

    const KEY: &str = "kubernetes.io/hostname";

    fn node(number: usize, value: Option<usize>) -> Arc<Node> {
        let value = value.map(|value| (Name::new(KEY), Name::from(format!("host-{value}"))));
        let labels = Labels::new(value);
        Arc::new(Node { meta: Meta { labels, ..Meta::named("", format!("node-{number}")) }, ..Node::default() })
    }

    fn pod(uid: u64) -> PodInfo {
        let meta = Meta { uid: crate::model::Uid(uid), ..Meta::named("default", format!("pod-{uid}")) };
        PodInfo::new(Arc::new(Pod { meta, ..Pod::default() }))
    }

    /// The pods in each node's domain, by the column and by the map, which must agree.
    #[track_caller]
    fn check(table: &NodeTable, nodes: usize, wanted: impl Fn(usize) -> Option<i64>) {
        let groups = table.groups().expect("they are kept");
        for number in 0..nodes {
            let id = table.find(Name::from(format!("node-{number}"))).expect("the node is there");
            let domain = groups.domain(0, id);
            let count = |domain: Domain| groups.iter().map(|group| group.domains[0].at(domain)).sum::<i64>();
            let looked_up = |domain: Domain| {
                let counts = groups.iter().filter_map(|group| group.domains[0].by_value.get(&domain.value));
                counts.sum::<i64>()
            };
            assert_eq!(domain.map(count), wanted(number), "node {number}");
            assert_eq!(domain.map(looked_up), wanted(number), "node {number}");
        }
    }

    #[test]
    fn domains_are_counted_the_same_by_number_and_by_value() {
        const NODES: usize = 60;
        let mut table = NodeTable::default();
        for number in 0..NODES {
            table.set_node(&node(number, Some(number)));
        }
        table.keep_groups([Name::new(KEY)].into_iter());
        // Few pods are looked up, many are read from the column.
        for number in 0..NODES - 10 {
            table.add_pod(Name::from(format!("node-{number}")), pod(number as u64));
            check(&table, NODES, |other| Some(i64::from(other <= number)));
        }
        // Nodes get and lose the label, and share a value.
        table.set_node(&node(0, None));
        table.set_node(&node(1, Some(2)));
        table.set_node(&node(NODES, Some(1000)));
        table.add_pod(Name::from(format!("node-{NODES}")), pod(1000));
        let shown = |other: usize| match other {
            0 => None,
            1 | 2 => Some(2),
            NODES => Some(1),
            other => Some(i64::from(other < NODES - 10)),
        };
        check(&table, NODES + 1, shown);
        for number in 3..NODES - 10 {
            table.remove_pod(Name::from(format!("node-{number}")), crate::model::Uid(number as u64));
        }
        check(&table, NODES + 1, |other| if (3..NODES).contains(&other) { Some(0) } else { shown(other) });
    }
}
