//! PodTopologySpread: spreads pods over zones, hosts or any other domain.
//!
//! *When you meet it:* `topologySpreadConstraints`; and, without any, for each pod of a Service, ReplicaSet or StatefulSet,
//! which are spread softly over hosts and zones by default. Hard constraints read "node(s) didn't match pod topology spread
//! constraints".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/podtopologyspread (filtering.go, scoring.go, common.go).

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::model::node::{HOSTNAME_LABEL, ZONE_LABEL};
use crate::model::{Kind, Labels, Name, Node, Pod, Requirement, Selector, TopologySpreadConstraint};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, PreScore, PreScored, Score, State, Status,
    state_of,
};
use crate::scheduler::listers::{Listers, World};
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_counts::PodCounter;
use crate::scheduler::pod_groups::PodGroups;
use crate::scheduler::pod_info::PodInfo;

use super::node_affinity::pod_accepts;
use super::taint_toleration::tolerates_hard_taints;

/// See the module.
#[derive(Debug)]
pub struct PodTopologySpread {
    /// `defaultConstraints` for pods that have none, with `defaultingType: List`; None: System.
    pub default_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// The gate TaintTolerationComparisonOperators.
    pub comparison_operators: bool,
    hostname: Name,
    zone: Name,
}

impl Default for PodTopologySpread {
    fn default() -> Self {
        PodTopologySpread::new(None)
    }
}

/// A constraint with its whole selector.
#[derive(Clone, Debug)]
struct Constraint {
    max_skew: i64,
    key: Name,
    selector: Option<Selector>,
    min_domains: i64,
    honor_affinity: bool,
    honor_taints: bool,
    /// Tolerations with `Gt` and `Lt` count.
    comparing: bool,
}

impl Constraint {
    fn new(of: &TopologySpreadConstraint, labels: &Labels) -> Constraint {
        let merged = of.selector.as_ref().map(|selector| {
            let keys = of
                .match_label_keys
                .iter()
                .filter_map(|key| labels.get(*key).map(|value| Requirement::In(*key, vec![value])));
            let more: Vec<Requirement> = keys.collect();
            if more.is_empty() {
                selector.clone()
            } else {
                Selector::new(selector.requirements.iter().cloned().chain(more).collect())
            }
        });
        Constraint {
            max_skew: of.max_skew,
            key: of.topology_key,
            selector: merged,
            min_domains: of.min_domains.unwrap_or(1),
            honor_affinity: of.honor_node_affinity,
            honor_taints: of.honor_node_taints,
            comparing: false,
        }
    }

    fn includes(&self, pod: &Pod, node: &Node) -> bool {
        (!self.honor_affinity || pod_accepts(pod, node))
            && (!self.honor_taints || tolerates_hard_taints(node, pod, self.comparing))
    }

    /// True if an existing pod counts. An empty selector counts none, as Kubernetes has it.
    fn counts(&self, namespace: Name, other: &Pod) -> bool {
        other.meta.namespace == namespace
            && !other.is_terminating()
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| !selector.is_empty() && selector.matches(&other.meta.labels))
    }

    /// Tells of the pods of all groups that count, by domain.
    fn count_groups(&self, namespace: Name, groups: &PodGroups, mut add: impl FnMut(Name, i64)) {
        for group in groups.iter().filter(|group| self.counts(namespace, &group.pod)) {
            let domains = groups.in_domains(group, self.key);
            domains.into_iter().flat_map(|domains| &domains.by_value).for_each(|(value, count)| add(*value, *count));
        }
    }

    fn count_on(&self, namespace: Name, node: &NodeInfo) -> i64 {
        node.pods.iter().filter(|other| self.counts(namespace, &other.pod)).count() as i64
    }

    fn matches_itself(&self, pod: &Pod) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.meta.labels))
    }
}

type Domains = IndexMap<Name, i64, FxBuildHasher>;

/// What Filter needs: the hard constraints, each with the number of matching pods in each domain.
#[derive(Clone, Debug)]
struct Hard {
    constraints: Vec<HardConstraint>,
}

#[derive(Clone, Debug)]
struct HardConstraint {
    constraint: Constraint,
    /// 1 if the pod itself counts, once it is placed.
    itself: i64,
    domains: Domains,
    least: Least,
}

impl HardConstraint {
    fn new(constraint: Constraint, domains: Domains, pod: &Pod) -> HardConstraint {
        let (itself, least) = (i64::from(constraint.matches_itself(pod)), Least::of(&domains));
        HardConstraint { constraint, itself, domains, least }
    }

    /// True if one more pod in the domain of this value is no more than the skew allows.
    fn allows(&self, value: Name) -> bool {
        let least = if (self.domains.len() as i64) < self.constraint.min_domains { 0 } else { self.least.count() };
        let here = self.domains.get(&value).copied().unwrap_or(0);
        here + self.itself - least <= self.constraint.max_skew
    }
}

/// The two smallest domains. While pods are thought away and back, Kubernetes keeps no more than these up to date
/// (`criticalPaths`), so the smallest may be wrong; so it is here.
#[derive(Clone, Copy, Debug)]
struct Least([(Name, i64); 2]);

impl Least {
    fn of(domains: &Domains) -> Least {
        let none = (Name::default(), i64::from(i32::MAX));
        let mut least = Least([none; 2]);
        // Of equal counts the first by name, so that it does not matter how the domains were found.
        let two = domains.iter().fold([None; 2], |[first, second], (value, count)| {
            let this = Some((*count, *value));
            match () {
                () if first.is_none() || this < first => [this, first],
                () if second.is_none() || this < second => [first, this],
                () => [first, second],
            }
        });
        two.into_iter().flatten().for_each(|(count, value)| least.update(value, count));
        least
    }

    fn update(&mut self, value: Name, count: i64) {
        let [first, second] = &mut self.0;
        match (first.0 == value, second.0 == value) {
            (true, _) => first.1 = count,
            (_, true) => second.1 = count,
            _ if count < first.1 => {
                *second = *first;
                *first = (value, count);
            }
            _ if count < second.1 => *second = (value, count),
            _ => {}
        }
        if first.1 > second.1 {
            std::mem::swap(first, second);
        }
    }

    fn count(&self) -> i64 {
        self.0[0].1
    }
}

impl Hard {
    fn update(&mut self, pod: &Pod, other: &Pod, node: &NodeInfo, by: i64) {
        let labels = &node.node.meta.labels;
        let has = |hard: &HardConstraint| labels.get(hard.constraint.key).is_some();
        if other.meta.namespace != pod.meta.namespace || !self.constraints.iter().all(has) {
            return;
        }
        for HardConstraint { constraint, domains, least, .. } in &mut self.constraints {
            // Unlike in the first count, pods that are being deleted count here, and an empty selector selects all.
            if let Some(value) = labels.get(constraint.key)
                && constraint.matches_itself(other)
                && constraint.includes(pod, &node.node)
            {
                let count = domains.entry(value).or_default();
                *count += by;
                least.update(value, *count);
            }
        }
    }
}

/// What Score needs.
#[derive(Clone, Debug)]
struct Soft {
    constraints: Vec<SoftConstraint>,
    /// The selector of all constraints, where the world keeps its counts.
    counted: Option<Selector>,
    /// Feasible nodes that lack a key.
    ignored: Vec<NodeId>,
}

impl Soft {
    fn score(&self, namespace: Name, node: NodeId, world: &World, counter: Option<&PodCounter>) -> i64 {
        if self.ignored.contains(&node) {
            return 0;
        }
        let mut score = 0.0;
        for SoftConstraint { constraint, weight, domains } in &self.constraints {
            let Some(value) = world.nodes.label(node, constraint.key) else { continue };
            let count = match (domains, counter) {
                (Some(domains), _) => domains.get(&value).copied().unwrap_or(0),
                (None, Some(counter)) => counter.on(node),
                (None, None) => constraint.count_on(namespace, world.nodes.get(node)),
            };
            score += count as f64 * weight + (constraint.max_skew - 1) as f64;
        }
        libm::round(score) as i64
    }
}

#[derive(Clone, Debug)]
struct SoftConstraint {
    constraint: Constraint,
    weight: f64,
    /// None for hostnames, which are counted node by node.
    domains: Option<Domains>,
}

impl PodTopologySpread {
    /// With these `defaultConstraints`, or the system's.
    pub fn new(default_constraints: Option<Vec<TopologySpreadConstraint>>) -> PodTopologySpread {
        PodTopologySpread {
            default_constraints,
            comparison_operators: false,
            hostname: Name::new(HOSTNAME_LABEL),
            zone: Name::new(ZONE_LABEL),
        }
    }

    /// With the gate TaintTolerationComparisonOperators on or off.
    pub fn comparing(mut self, on: bool) -> PodTopologySpread {
        self.comparison_operators = on;
        self
    }

    fn constraints(&self, pod: &Pod, listers: &Listers, hard: bool) -> Vec<Constraint> {
        let own = &pod.spec.topology_spread;
        if !own.is_empty() {
            let wanted = own.iter().filter(|constraint| constraint.hard == hard);
            let constraint =
                |of| Constraint { comparing: self.comparison_operators, ..Constraint::new(of, &pod.meta.labels) };
            return wanted.map(constraint).collect();
        }
        let system;
        let defaults = match &self.default_constraints {
            Some(list) => list,
            None => {
                system = [self.system(self.hostname, 3), self.system(self.zone, 5)];
                &system[..]
            }
        };
        if !defaults.iter().any(|constraint| constraint.hard == hard) {
            return Vec::new();
        }
        let selector = default_selector(pod, listers);
        if selector.is_empty() {
            return Vec::new();
        }
        let wanted = defaults.iter().filter(|constraint| constraint.hard == hard);
        wanted
            .map(|constraint| Constraint {
                selector: Some(selector.clone()),
                comparing: self.comparison_operators,
                ..Constraint::new(constraint, &pod.meta.labels)
            })
            .collect()
    }

    /// The kept counts of the system's constraints, if these are they and every node counts for them.
    fn counter<'w>(&self, pod: &Pod, constraints: &[Constraint], world: &'w World) -> Option<&'w PodCounter> {
        let spec = &pod.spec;
        let everywhere = spec.node_selector.is_empty()
            && spec.affinity.as_deref().is_none_or(|affinity| affinity.node_required.is_none());
        if !spec.topology_spread.is_empty() || self.default_constraints.is_some() || !everywhere {
            return None;
        }
        world.nodes.counts().find(pod.meta.namespace, constraints.first()?.selector.as_ref()?)
    }

    fn system(&self, key: Name, max_skew: i64) -> TopologySpreadConstraint {
        TopologySpreadConstraint {
            max_skew,
            topology_key: key,
            hard: false,
            selector: None,
            min_domains: None,
            honor_node_affinity: true,
            honor_node_taints: false,
            match_label_keys: Vec::new(),
        }
    }
}

/// The groups, if all nodes count for all constraints and the groups are kept over their keys.
fn groups_for<'w>(pod: &Pod, constraints: &[Constraint], world: &'w World) -> Option<&'w PodGroups> {
    let groups = world.nodes.groups()?;
    let affinity = pod.spec.affinity.as_deref();
    let everywhere = pod.spec.node_selector.is_empty() && affinity.is_none_or(|one| one.node_required.is_none());
    let counts = |constraint: &Constraint| {
        (everywhere || !constraint.honor_affinity)
            && !constraint.honor_taints
            && groups.nodes_by(constraint.key).is_some()
    };
    constraints.iter().all(counts).then_some(groups)
}

/// The selectors of the Services and of the controller that select the pod, together (`helper.DefaultSelector`).
fn default_selector(pod: &Pod, listers: &Listers) -> Selector {
    let namespace = pod.meta.namespace;
    let mut requirements: Vec<Requirement> = Vec::new();
    let mut add = |selector: &Selector| {
        for requirement in selector.requirements.iter() {
            if !requirements.contains(requirement) {
                requirements.push(requirement.clone());
            }
        }
    };
    let from = (namespace, Name::default());
    for (_, service) in listers.services.range(from..).take_while(|((there, _), _)| *there == namespace) {
        if let Some(selector) = service.selector.as_ref().filter(|selector| selector.matches(&pod.meta.labels)) {
            add(selector);
        }
    }
    if let Some(owner) = pod.meta.owner {
        let key = (namespace, owner.name);
        let selector = match owner.kind {
            Kind::ReplicationController => listers.replication_controllers.get(&key).map(|owner| &owner.selector),
            Kind::ReplicaSet => listers.replica_sets.get(&key).map(|owner| &owner.selector),
            Kind::StatefulSet => listers.stateful_sets.get(&key).map(|owner| &owner.selector),
            _ => None,
        };
        selector.into_iter().for_each(add);
    }
    Selector::new(requirements)
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }
    fn prepare(&self, pod: &PodInfo, world: &mut World) {
        let own = &pod.pod.spec.topology_spread;
        if !own.is_empty() {
            world.nodes.keep_groups(own.iter().map(|constraint| constraint.topology_key));
        }
        if !own.is_empty() || self.default_constraints.is_some() {
            return;
        }
        let selector = default_selector(&pod.pod, &world.listers);
        if !selector.is_empty() {
            world.nodes.keep_count(pod.pod.meta.namespace, &selector, &[self.zone]);
        }
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        let constraints = self.constraints(&pod.pod, &world.listers, true);
        if constraints.is_empty() {
            return Ok(PreFiltered::skip());
        }
        if let Some(groups) = groups_for(&pod.pod, &constraints, world) {
            let constraints = constraints.into_iter().map(|constraint| {
                let values = groups.nodes_by(constraint.key).into_iter().flat_map(|nodes| nodes.by_value.keys());
                let mut domains: Domains = values.map(|value| (*value, 0)).collect();
                constraint.count_groups(pod.pod.meta.namespace, groups, |value, count| {
                    if let Some(domain) = domains.get_mut(&value) {
                        *domain += count;
                    }
                });
                HardConstraint::new(constraint, domains, &pod.pod)
            });
            return Ok(PreFiltered::with(Hard { constraints: constraints.collect() }));
        }
        let mut counted: Vec<(Constraint, Domains)> =
            constraints.into_iter().map(|constraint| (constraint, Domains::default())).collect();
        let namespace = pod.pod.meta.namespace;
        for id in world.nodes.order() {
            let node = world.nodes.get(*id);
            let labels = &node.node.meta.labels;
            if !counted.iter().all(|(constraint, _)| labels.get(constraint.key).is_some()) {
                continue;
            }
            for (constraint, domains) in &mut counted {
                if let Some(value) = labels.get(constraint.key)
                    && constraint.includes(&pod.pod, &node.node)
                {
                    *domains.entry(value).or_default() += constraint.count_on(namespace, node);
                }
            }
        }
        let constraints =
            counted.into_iter().map(|(constraint, domains)| HardConstraint::new(constraint, domains, &pod.pod));
        Ok(PreFiltered::with(Hard { constraints: constraints.collect() }))
    }

    fn add_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, _: &World) {
        if let Some(hard) = state.as_any_mut().downcast_mut::<Hard>() {
            hard.update(&pod.pod, &other.pod, node, 1);
        }
    }

    fn remove_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, _: &World) {
        if let Some(hard) = state.as_any_mut().downcast_mut::<Hard>() {
            hard.update(&pod.pod, &other.pod, node, -1);
        }
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, state: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        let Some(hard) = state_of::<Hard>(state) else { return Ok(()) };
        for one in &hard.constraints {
            let Some(value) = node.node.meta.labels.get(one.constraint.key) else {
                return Err(Status::unresolvable(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            if !one.allows(value) {
                return Err(Status::unschedulable("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }

    /// The values come from the table's columns: workers of a search look at nodes that lie far apart.
    fn passes(&self, state: Option<&dyn State>, _: &PodInfo, node: NodeId, world: &World) -> Option<bool> {
        let Some(hard) = state_of::<Hard>(state) else { return Some(true) };
        let suits =
            |one: &HardConstraint| world.nodes.label(node, one.constraint.key).is_some_and(|value| one.allows(value));
        Some(hard.constraints.iter().all(suits))
    }
}

impl PreScore for PodTopologySpread {
    fn pre_score(&self, pod: &PodInfo, feasible: &[NodeId], world: &World) -> Result<PreScored, Status> {
        let constraints = self.constraints(&pod.pod, &world.listers, false);
        if constraints.is_empty() {
            return Ok(PreScored::skip());
        }
        let all_keys = !pod.pod.spec.topology_spread.is_empty() || self.default_constraints.is_some();
        let has_all = |node: &NodeInfo, constraints: &[Constraint]| {
            constraints.iter().all(|constraint| node.node.meta.labels.get(constraint.key).is_some())
        };
        let mut ignored = Vec::new();
        let mut domains: Vec<Domains> = vec![Domains::default(); constraints.len()];
        for id in feasible {
            if all_keys && !has_all(world.nodes.get(*id), &constraints) {
                ignored.push(*id);
                continue;
            }
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                if constraint.key != self.hostname {
                    // A missing key counts as one more domain, the empty one.
                    domains.entry(world.nodes.label(*id, constraint.key).unwrap_or_default()).or_default();
                }
            }
        }
        let candidates = feasible.len() - ignored.len();
        let counter = self.counter(&pod.pod, &constraints, world);
        if let Some(counter) = counter {
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                for (value, count) in domains {
                    *count = counter.in_domain(constraint.key, *value).unwrap_or(0);
                }
            }
        }
        let groups = if counter.is_some() { None } else { groups_for(&pod.pod, &constraints, world) };
        if let Some(groups) = groups {
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                constraint.count_groups(pod.pod.meta.namespace, groups, |value, count| {
                    if let Some(domain) = domains.get_mut(&value) {
                        *domain += count;
                    }
                });
            }
        }
        let all = if counter.is_some() || groups.is_some() { &[] } else { world.nodes.order() };
        for id in all {
            let node = world.nodes.get(*id);
            if all_keys && !has_all(node, &constraints) {
                continue;
            }
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                let value = node.node.meta.labels.get(constraint.key).unwrap_or_default();
                if constraint.key == self.hostname || !domains.contains_key(&value) {
                    continue;
                }
                if constraint.includes(&pod.pod, &node.node) {
                    domains[&value] += constraint.count_on(pod.pod.meta.namespace, node);
                }
            }
        }
        let counted = counter.and_then(|_| constraints.first()?.selector.clone());
        let constraints = constraints.into_iter().zip(domains).map(|(constraint, domains)| {
            let by_host = constraint.key == self.hostname;
            let size = if by_host { candidates } else { domains.len() };
            let weight = libm::log((size + 2) as f64);
            SoftConstraint { constraint, weight, domains: (!by_host).then_some(domains) }
        });
        Ok(PreScored::with(Soft { constraints: constraints.collect(), counted, ignored }))
    }
}

impl Score for PodTopologySpread {
    fn score(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status> {
        let mut score = [0];
        self.score_all(state, pod, &[node.id], world, &mut score)?;
        Ok(score[0])
    }

    fn score_all(
        &self,
        state: Option<&dyn State>,
        pod: &PodInfo,
        nodes: &[NodeId],
        world: &World,
        scores: &mut [i64],
    ) -> Result<(), Status> {
        let Some(soft) = state_of::<Soft>(state) else { return Ok(()) };
        let namespace = pod.pod.meta.namespace;
        let counter = soft.counted.as_ref().and_then(|selector| world.nodes.counts().find(namespace, selector));
        for (node, score) in nodes.iter().zip(scores) {
            *score = soft.score(namespace, *node, world, counter);
        }
        Ok(())
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn normalize(&self, state: Option<&dyn State>, nodes: &[NodeId], scores: &mut [i64]) {
        let Some(soft) = state_of::<Soft>(state) else { return };
        let ignored = |node: &NodeId| soft.ignored.contains(node);
        let counted = || nodes.iter().zip(scores.iter()).filter(|(node, _)| !ignored(node)).map(|(_, score)| *score);
        let (min, max) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for (node, score) in nodes.iter().zip(scores.iter_mut()) {
            *score = match (ignored(node), max) {
                (true, _) => 0,
                (false, 0) => 100,
                (false, max) => 100 * (max + min - *score) / max,
            };
        }
    }
}

impl EnqueueExtensions for PodTopologySpread {
    fn events(&self) -> Vec<ClusterEvent> {
        let pod = Action::ADD.or(Action::POD_LABEL).or(Action::DELETE).or(Action::POD_TOLERATION);
        let node = Action::ADD.or(Action::DELETE).or(Action::NODE_LABEL).or(Action::NODE_TAINT);
        vec![ClusterEvent::new(Resource::Pod, pod), ClusterEvent::new(Resource::Node, node)]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, world: &World) -> Hint {
        let constraints = self.constraints(&pod.pod, &world.listers, true);
        let helps = match *change {
            Change::Pod(old, new) => pod_helps(&pod.pod, &constraints, old, new),
            Change::Node(old, new) => node_helps(&constraints, old, new),
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}

fn pod_helps(pod: &Pod, constraints: &[Constraint], old: Option<&Pod>, new: Option<&Pod>) -> bool {
    let Some(other) = new.or(old) else { return true };
    let itself = other.meta.uid == pod.meta.uid;
    let placed = other.node.is_some() || other.status.nominated_node.is_some();
    if !itself && (!placed || other.meta.namespace != pod.meta.namespace) {
        return false;
    }
    let matches = |constraint: &Constraint, pod: &Pod| constraint.matches_itself(pod);
    match (old, new) {
        (Some(old), Some(new)) => {
            let tolerates_anew = itself
                && old.spec.tolerations != new.spec.tolerations
                && constraints.iter().any(|constraint| constraint.honor_taints);
            tolerates_anew || constraints.iter().any(|constraint| matches(constraint, old) != matches(constraint, new))
        }
        _ => constraints.iter().any(|constraint| matches(constraint, other)),
    }
}

fn node_helps(constraints: &[Constraint], old: Option<&Node>, new: Option<&Node>) -> bool {
    let has_all = |node: &Node| constraints.iter().all(|constraint| node.meta.labels.get(constraint.key).is_some());
    match (old, new) {
        (Some(old), Some(new)) => {
            let (before, after) = (has_all(old), has_all(new));
            let moved = || {
                constraints
                    .iter()
                    .any(|constraint| old.meta.labels.get(constraint.key) != new.meta.labels.get(constraint.key))
            };
            before != after || (after && (moved() || old.spec.taints != new.spec.taints))
        }
        (None, Some(node)) | (Some(node), None) => has_all(node),
        (None, None) => true,
    }
}
