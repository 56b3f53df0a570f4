//! What would let a pod in that fits nowhere: the least changes to the pod or to a node, or one more node. Each is tried
//! out with the filters themselves before it is told.
//!
//! A node is taken, and what its first rejecting plug-in objects to is changed in a copy of the pod (or of the node) until
//! the node accepts it. Of the nodes that are rejected for the same reason a few are tried, those that lack least.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::node::HOSTNAME_LABEL;
use crate::model::taint::{TolerationOperator, first_untolerated};
use crate::model::{Name, Node, Pod, Taint, TaintEffect, Text, Toleration};

use super::explain;
use super::framework::Status;
use super::listers::World;
use super::node_table::{NodeId, NodeInfo};
use super::nominator::Nominator;
use super::pod_info::{PodInfo, SpecInfo};
use super::profile::Profile;
use super::states::{PreFilterResult, pre_filter};

/// So many nodes of those that are rejected for the same reason are tried.
const TRIED: usize = 6;
/// So many changes at once are worth telling.
const MOST_CHANGES: usize = 4;
/// So many remedies are told.
const TOLD: usize = 4;
/// In a larger cluster another node is not tried out: it takes a copy of everything.
const COPIED: usize = 20_000;

/// Something that may be changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// So much less is asked for.
    Less(Name, i64),
    /// The pod tolerates a taint.
    Tolerate(String),
    /// It gives up a label of its nodeSelector.
    WithoutLabel(Name, Name),
    WithoutNodeAffinity,
    WithoutPodAffinity,
    WithoutAntiAffinity,
    WithoutHostPorts,
    /// A constraint over this key becomes ScheduleAnyway.
    SoftSpread(Name),
    /// A constraint over this key has this maxSkew.
    MaxSkew(Name, i64),
    /// The node gets well: this taint of Kubernetes' own goes.
    Recovers(Name),
    Uncordon,
}

/// A pod and a node as they would be.
struct Thought {
    pod: PodInfo,
    node: NodeInfo,
    changes: Vec<Change>,
}

/// The last answer: the next pod of a template that fits nowhere is told the same while no node changes.
#[derive(Debug, Default)]
pub struct Memo(Option<(Arc<Pod>, u64, Vec<Text>)>);

impl Memo {
    /// As [`remedies`].
    pub fn remedies(&mut self, profile: &Profile, pod: &PodInfo, world: &World, nominator: &Nominator) -> Vec<Text> {
        let generation = world.nodes.last_generation();
        // Claims and nominations may change without the nodes.
        let steady = nominator.is_empty() && !pod.spec.has_claims;
        if let Some((known, at, answer)) = &self.0
            && steady
            && *at == generation
            && Arc::ptr_eq(&known.spec, &pod.pod.spec)
            && known.meta.labels == pod.pod.meta.labels
            && known.meta.namespace == pod.pod.meta.namespace
        {
            return answer.clone();
        }
        let answer = remedies(profile, pod, world, nominator);
        self.0 = Some((Arc::clone(&pod.pod), generation, answer.clone())).filter(|_| steady);
        answer
    }
}

/// What would let the pod in, each on its own, the least first. Empty if nothing was found.
pub fn remedies(profile: &Profile, pod: &PodInfo, world: &World, nominator: &Nominator) -> Vec<Text> {
    let mut found: BTreeMap<Vec<Change>, (i64, Name)> = BTreeMap::new();
    for id in candidates(profile, pod, world, nominator) {
        let node = world.nodes.get(id);
        let Some(changes) = changes_for(profile, pod, node, world, nominator) else { continue };
        let amount: i64 = changes.iter().map(|change| change.amount(&pod.spec)).sum();
        let kinds = changes.iter().map(Change::without_amount).collect();
        let at = (amount, node.name);
        let told = found.entry(kinds).or_insert(at);
        *told = (*told).min(at);
    }
    // The changes themselves once more, for their amounts.
    let mut told: Vec<(usize, i64, String)> = Vec::new();
    for (amount, name) in found.into_values() {
        let Some(id) = world.nodes.find(name) else { continue };
        let Some(changes) = changes_for(profile, pod, world.nodes.get(id), world, nominator) else { continue };
        let words: Vec<String> = changes.iter().map(|change| change.words(name)).collect();
        told.push((changes.len(), amount, format!("{} (on {name})", words.join(" and "))));
    }
    told.sort();
    told.truncate(TOLD);
    let mut texts: Vec<Text> = told.into_iter().map(|(_, _, text)| Text::new(text)).collect();
    texts.extend(another_node(profile, pod, world, nominator).map(Text::new));
    texts
}

/// For each reason the nodes that lack least.
fn candidates(profile: &Profile, pod: &PodInfo, world: &World, nominator: &Nominator) -> Vec<NodeId> {
    let mut by_reason: BTreeMap<String, Vec<(i64, NodeId)>> = BTreeMap::new();
    let asked = pre_filter(profile, None, pod, world).ok();
    for &id in world.nodes.order() {
        let node = world.nodes.get(id);
        let reason = match &asked {
            Some(PreFilterResult { states, rejection: None, nodes, .. }) => {
                let outside = nodes.as_ref().is_some_and(|names| !names.contains(&node.name));
                match explain::filter(profile, states, pod, node, world, nominator) {
                    _ if outside => "not among the nodes that are named".to_owned(),
                    Err(status) => format!("{} {}", status.plugin, first_obstacle(&status, pod, node)),
                    Ok(()) => continue,
                }
            }
            _ => String::new(),
        };
        let missing: i64 = lacks(&pod.spec, node).iter().map(|(_, by)| *by).sum();
        by_reason.entry(reason).or_default().push((missing, id));
    }
    let mut candidates = Vec::new();
    for mut nodes in by_reason.into_values() {
        // A stable sort: of equal ones the first in the scheduler's order.
        nodes.sort_by_key(|(missing, _)| *missing);
        candidates.extend(nodes.into_iter().take(TRIED).map(|(_, id)| id));
    }
    candidates
}

/// What tells apart nodes with the same status: which taint it is.
fn first_obstacle(status: &Status, pod: &PodInfo, node: &NodeInfo) -> String {
    match status.plugin {
        "TaintToleration" => untolerated(pod, node).map(|taint| words_of(&taint)).unwrap_or_default(),
        _ => status.message(),
    }
}

/// The changes with which the node takes the pod; None if there are none that we know.
fn changes_for(
    profile: &Profile,
    pod: &PodInfo,
    node: &NodeInfo,
    world: &World,
    nominator: &Nominator,
) -> Option<Vec<Change>> {
    let mut thought = Thought { pod: pod.clone(), node: node.clone(), changes: Vec::new() };
    loop {
        let objection = ask(profile, &thought.pod, &thought.node, world, nominator);
        let Some(status) = objection else { return (!thought.changes.is_empty()).then_some(thought.changes) };
        if thought.changes.len() >= MOST_CHANGES || !thought.yield_to(&status, profile, world, nominator) {
            return None;
        }
    }
}

/// The first objection to the pod on the node; None if there is none.
fn ask(profile: &Profile, pod: &PodInfo, node: &NodeInfo, world: &World, nominator: &Nominator) -> Option<Status> {
    let PreFilterResult { states, nodes, rejection, .. } = match pre_filter(profile, None, pod, world) {
        Ok(result) => result,
        Err(status) => return Some(status),
    };
    if let Some(status) = rejection {
        return Some(status);
    }
    if nodes.is_some_and(|names| !names.contains(&node.name)) {
        let plugin = states.restricting.iter().next().map_or("", |idx| profile.plugins[idx].name());
        return Some(Status::unresolvable("the node is not named").by(plugin));
    }
    explain::filter(profile, &states, pod, node, world, nominator).err()
}

impl Thought {
    /// Changes what the status is about. False if nothing can be done.
    fn yield_to(&mut self, status: &Status, profile: &Profile, world: &World, nominator: &Nominator) -> bool {
        match status.plugin {
            "NodeResourcesFit" => self.ask_for_less(),
            "TaintToleration" => match untolerated(&self.pod, &self.node) {
                Some(taint) if taint.key.starts_with("node.kubernetes.io/") => {
                    self.change_node(Change::Recovers(taint.key), |node| {
                        node.spec.taints.retain(|other| other.key != taint.key);
                    })
                }
                Some(taint) => self.change_pod(Change::Tolerate(words_of(&taint)), |pod| {
                    let operator =
                        if taint.value.is_empty() { TolerationOperator::Exists } else { TolerationOperator::Equal };
                    let Taint { key, value, effect, .. } = taint;
                    let own = Toleration { key, operator, value, effect: Some(effect), seconds: None };
                    pod.tolerations = pod.tolerations.iter().cloned().chain([own]).collect();
                }),
                None => false,
            },
            "NodeUnschedulable" => self.change_node(Change::Uncordon, |node| {
                node.spec.unschedulable = false;
                node.spec.taints.retain(|taint| taint.key != *"node.kubernetes.io/unschedulable");
            }),
            "NodeAffinity" => self.select_otherwise(),
            "NodePorts" => self.change_pod(Change::WithoutHostPorts, |spec| {
                for containers in [&mut spec.containers, &mut spec.init_containers] {
                    *containers = containers
                        .iter()
                        .map(|container| {
                            let mut container = container.clone();
                            let mut ports = container.ports.to_vec();
                            ports.iter_mut().for_each(|port| port.host_port = 0);
                            container.ports = ports.into_iter().collect();
                            container
                        })
                        .collect();
                }
            }),
            "InterPodAffinity" => {
                let own = self.pod.pod.spec.affinity.clone().unwrap_or_default();
                let message = status.message();
                if message.contains("existing pods") {
                    return false;
                }
                let anti = message.contains("anti-affinity");
                if if anti { own.pod_anti_required.is_empty() } else { own.pod_required.is_empty() } {
                    return false;
                }
                let change = if anti { Change::WithoutAntiAffinity } else { Change::WithoutPodAffinity };
                self.change_pod(change, |spec| {
                    if let Some(affinity) = &mut spec.affinity {
                        let affinity = Arc::make_mut(affinity);
                        if anti { affinity.pod_anti_required.clear() } else { affinity.pod_required.clear() }
                    }
                })
            }
            "PodTopologySpread" => self.spread_otherwise(profile, world, nominator),
            _ => false,
        }
    }

    fn change_pod(&mut self, change: Change, how: impl FnOnce(&mut crate::model::PodSpec)) -> bool {
        let less = self.less();
        let mut pod = (*self.pod.pod).clone();
        how(Arc::make_mut(&mut pod.spec));
        self.pod = PodInfo::new(Arc::new(pod));
        for (name, by) in less {
            self.reduce(name, by);
        }
        self.changes.push(change);
        true
    }

    fn change_node(&mut self, change: Change, how: impl FnOnce(&mut Node)) -> bool {
        how(Arc::make_mut(&mut self.node.node));
        self.changes.push(change);
        true
    }

    /// What is already asked for less.
    fn less(&self) -> Vec<(Name, i64)> {
        let less = |change: &Change| match change {
            Change::Less(name, by) => Some((*name, *by)),
            _ => None,
        };
        self.changes.iter().filter_map(less).collect()
    }

    fn ask_for_less(&mut self) -> bool {
        let lacking = lacks(&self.pod.spec, &self.node);
        // To ask for nothing at all is no advice.
        let all_of_it = |(name, by): &(Name, i64)| *by >= asked_for(&self.pod.spec, *name);
        if lacking.iter().any(all_of_it) {
            return false;
        }
        for (name, by) in &lacking {
            self.reduce(*name, *by);
            self.changes.push(Change::Less(*name, *by));
        }
        !lacking.is_empty()
    }

    fn reduce(&mut self, name: Name, by: i64) {
        let spec = Arc::make_mut(&mut self.pod.spec);
        let requests = &mut spec.requests;
        match name.as_str() {
            "cpu" => requests.cpu.0 -= by,
            "memory" => requests.memory.0 -= by,
            "ephemeral-storage" => requests.ephemeral_storage.0 -= by,
            _ => requests.set_extended(name, requests.extended(name) - by),
        }
    }

    /// Gives up those labels of the nodeSelector that the node does not have; then the required node affinity.
    fn select_otherwise(&mut self) -> bool {
        let labels = &self.node.node.meta.labels;
        let missing: Vec<(Name, Name)> =
            self.pod.pod.spec.node_selector.iter().filter(|(key, value)| labels.get(*key) != Some(*value)).collect();
        if let Some(&(key, value)) = missing.first() {
            return self.change_pod(Change::WithoutLabel(key, value), |spec| {
                spec.node_selector = spec.node_selector.without(key);
            });
        }
        let required = self.pod.pod.spec.affinity.as_ref().is_some_and(|affinity| affinity.node_required.is_some());
        required
            && self.change_pod(Change::WithoutNodeAffinity, |spec| {
                if let Some(affinity) = &mut spec.affinity {
                    Arc::make_mut(affinity).node_required = None;
                }
            })
    }

    /// Finds a constraint that, with a slightly greater maxSkew or softened, lets the pod in.
    fn spread_otherwise(&mut self, profile: &Profile, world: &World, nominator: &Nominator) -> bool {
        let constraints = Arc::clone(&self.pod.pod.spec.topology_spread);
        let hard: Vec<usize> = (0..constraints.len()).filter(|&at| constraints[at].hard).collect();
        let before = (self.pod.clone(), self.changes.len());
        for &at in &hard {
            let key = constraints[at].topology_key;
            for more in 1..=3 {
                let skew = constraints[at].max_skew + more;
                self.change_pod(Change::MaxSkew(key, skew), |spec| {
                    let mut all = spec.topology_spread.to_vec();
                    all[at].max_skew = skew;
                    spec.topology_spread = all.into();
                });
                let objection = ask(profile, &self.pod, &self.node, world, nominator);
                if objection.is_none_or(|status| status.plugin != "PodTopologySpread") {
                    return true;
                }
                self.pod = before.0.clone();
                self.changes.truncate(before.1);
            }
        }
        let Some(&at) = hard.first() else { return false };
        let key = constraints[at].topology_key;
        self.change_pod(Change::SoftSpread(key), |spec| {
            let mut all = spec.topology_spread.to_vec();
            all[at].hard = false;
            spec.topology_spread = all.into();
        })
    }
}

/// How much of a resource is asked for.
fn asked_for(spec: &SpecInfo, name: Name) -> i64 {
    match name.as_str() {
        "cpu" => spec.requests.cpu.0,
        "memory" => spec.requests.memory.0,
        "ephemeral-storage" => spec.requests.ephemeral_storage.0,
        _ => spec.requests.extended(name),
    }
}

/// What the node lacks for the pod's requests, by resource.
fn lacks(spec: &SpecInfo, node: &NodeInfo) -> Vec<(Name, i64)> {
    let (wanted, there, used) = (&spec.requests, node.allocatable(), &node.requested);
    let mut lacking = Vec::new();
    let mut check = |name: Name, wanted: i64, there: i64, used: i64| {
        let missing = wanted - (there - used).max(0);
        if wanted > 0 && missing > 0 {
            lacking.push((name, missing));
        }
    };
    check(Name::new("cpu"), wanted.cpu.0, there.cpu.0, used.cpu.0);
    check(Name::new("memory"), wanted.memory.0, there.memory.0, used.memory.0);
    let (storage, has, taken) = (wanted.ephemeral_storage.0, there.ephemeral_storage.0, used.ephemeral_storage.0);
    check(Name::new("ephemeral-storage"), storage, has, taken);
    for &(name, amount) in &wanted.extended {
        check(name, amount, there.extended(name), used.extended(name));
    }
    lacking
}

/// The first taint that keeps the pod off the node.
fn untolerated(pod: &PodInfo, node: &NodeInfo) -> Option<Taint> {
    let hard = [TaintEffect::NoSchedule, TaintEffect::NoExecute];
    first_untolerated(&node.node.spec.taints, &pod.pod.spec.tolerations, &hard).cloned()
}

/// `pool=gpu:NoSchedule`.
fn words_of(taint: &Taint) -> String {
    let value = if taint.value.is_empty() { String::new() } else { format!("={}", taint.value) };
    format!("{}{value}:{}", taint.key, taint.effect.as_str())
}

impl Change {
    /// How much is changed: of requests in millionths of them, so that CPU and memory can be compared.
    fn amount(&self, spec: &SpecInfo) -> i64 {
        match self {
            Change::Less(name, by) => {
                let wanted = asked_for(spec, *name);
                (i128::from(*by) * 1_000_000 / i128::from(wanted.max(1))) as i64
            }
            Change::MaxSkew(_, skew) => *skew,
            _ => 0,
        }
    }

    fn without_amount(&self) -> Change {
        match self {
            Change::Less(name, _) => Change::Less(*name, 0),
            Change::MaxSkew(key, _) => Change::MaxSkew(*key, 0),
            other => other.clone(),
        }
    }

    fn words(&self, node: Name) -> String {
        match self {
            Change::Less(name, by) => format!("{} less {name}", amount(name, *by)),
            Change::Tolerate(taint) => format!("a toleration of {taint}"),
            Change::WithoutLabel(key, value) => {
                format!("no nodeSelector {key}={value} (or that label on {node})")
            }
            Change::WithoutNodeAffinity => "no required node affinity".to_owned(),
            Change::WithoutPodAffinity => "no required pod affinity".to_owned(),
            Change::WithoutAntiAffinity => "no required pod anti-affinity".to_owned(),
            Change::WithoutHostPorts => "no host ports".to_owned(),
            Change::SoftSpread(key) => format!("whenUnsatisfiable: ScheduleAnyway over {key}"),
            Change::MaxSkew(key, skew) => format!("maxSkew: {skew} over {key}"),
            Change::Recovers(key) => format!("{node} without the taint {key}"),
            Change::Uncordon => format!("{node} uncordoned"),
        }
    }
}

/// An amount as Kubernetes writes it, rounded up where it is bytes: `800m`, `2`, `512Mi`.
fn amount(name: &str, by: i64) -> String {
    match name {
        "cpu" if by % 1000 == 0 => (by / 1000).to_string(),
        "cpu" => format!("{by}m"),
        "memory" | "ephemeral-storage" => format!("{}Mi", (by + (1 << 20) - 1) >> 20),
        _ => by.to_string(),
    }
}

/// One more node like one that is there, empty and well, if that lets the pod in as it is.
fn another_node(profile: &Profile, pod: &PodInfo, world: &World, nominator: &Nominator) -> Option<String> {
    let pods: usize = world.nodes.order().iter().map(|id| world.nodes.get(*id).pods.len()).sum();
    if world.nodes.len() + pods > COPIED {
        return None;
    }
    let mut seen: Vec<Arc<Node>> = Vec::new();
    for &id in world.nodes.order() {
        let node = &world.nodes.get(id).node;
        let alike = |other: &Arc<Node>| {
            let hostname = Name::new(HOSTNAME_LABEL);
            other.status.allocatable == node.status.allocatable
                && other.spec.taints == node.spec.taints
                && other.meta.labels.without(hostname) == node.meta.labels.without(hostname)
        };
        if seen.iter().any(alike) {
            continue;
        }
        if seen.len() == TRIED {
            break;
        }
        seen.push(Arc::clone(node));
        let name = Name::from(format!("one-more-{}", node.meta.name));
        let mut fresh = (**node).clone();
        fresh.meta.name = name;
        fresh.meta.labels = fresh.meta.labels.with(Name::new(HOSTNAME_LABEL), name);
        fresh.spec.unschedulable = false;
        fresh.spec.taints.retain(|taint| !taint.key.starts_with("node.kubernetes.io/"));
        let mut world = world.clone();
        world.nodes.set_node(&Arc::new(fresh));
        world.nodes.refresh_order();
        let Some(id) = world.nodes.find(name) else { continue };
        if ask(profile, pod, world.nodes.get(id), &world, nominator).is_none() {
            return Some(format!("one more node like {}", node.meta.name));
        }
    }
    None
}

#[cfg(test)]
mod tests;
