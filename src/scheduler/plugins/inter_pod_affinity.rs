//! InterPodAffinity: pods near to, or away from, other pods.
//!
//! *When you meet it:* `podAffinity` and `podAntiAffinity`: "node(s) didn't match pod anti-affinity rules". Required
//! anti-affinity of pods that are there already holds for newcomers too.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/interpodaffinity (filtering.go, scoring.go).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::model::{Affinity, Labels, Name, Node, Pod, PodAffinityTerm};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, PreScore, PreScored, Score, State, Status,
    state_of,
};
use crate::scheduler::listers::{Listers, World};
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_groups::{InDomains, PodGroup, PodGroups};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug)]
pub struct InterPodAffinity {
    /// `hardPodAffinityWeight`: what a required affinity term of an existing pod counts in the score.
    pub hard_pod_affinity_weight: i64,
    /// `ignorePreferredTermsOfExistingPods`.
    pub ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        InterPodAffinity { hard_pod_affinity_weight: 1, ignore_preferred_terms_of_existing_pods: false }
    }
}

/// A topology key with a value: a domain.
type Domain = (Name, Name);
type Counts = FxHashMap<Domain, i64>;

/// True if `other` is one of the pods that `owner`'s term means.
fn means(term: &PodAffinityTerm, owner: &Pod, other: &Pod, listers: &Listers) -> bool {
    let namespace = other.meta.namespace;
    let own_only = term.namespaces.is_empty() && term.namespace_selector.is_none();
    let in_namespace = (own_only && namespace == owner.meta.namespace)
        || term.namespaces.contains(&namespace)
        || term.namespace_selector.as_ref().is_some_and(|selector| {
            let there = listers.namespaces.get(&namespace);
            selector.matches(there.map_or(&Labels::default(), |namespace| &namespace.meta.labels))
        });
    in_namespace && term.selector.as_ref().is_some_and(|selector| selector.matches(&other.meta.labels))
}

fn terms(pod: &Pod, of: fn(&Affinity) -> &Vec<PodAffinityTerm>) -> &[PodAffinityTerm] {
    pod.spec.affinity.as_deref().map_or(&[], |affinity| of(affinity).as_slice())
}

fn weighted(pod: &Pod, of: fn(&Affinity) -> &Vec<(i64, PodAffinityTerm)>) -> &[(i64, PodAffinityTerm)] {
    pod.spec.affinity.as_deref().map_or(&[], |affinity| of(affinity).as_slice())
}

fn domain(term: &PodAffinityTerm, node: &Node) -> Option<Domain> {
    node.meta.labels.get(term.topology_key).map(|value| (term.topology_key, value))
}

fn means_all(terms: &[PodAffinityTerm], owner: &Pod, other: &Pod, listers: &Listers) -> bool {
    !terms.is_empty() && terms.iter().all(|term| means(term, owner, other, listers))
}

/// Up to so many groups are asked one by one.
const FEW_GROUPS: usize = 3;

/// A topology key, its place in the list of keys, a factor, and the counts of a group.
type Shared = (Name, usize, i64, Arc<InDomains>);

/// Counts by domain: those of whole groups of pods, shared with the groups, and others.
#[derive(Clone, Debug, Default)]
struct Layers {
    /// Topology key with its place among those of the groups, factor, and pods by the key's value.
    shared: SmallVec<[Shared; 2]>,
    /// The same added up, by the place of the key, where there are so many groups that this is less work than to ask each of
    /// them for each node. Empty else.
    added_up: SmallVec<[(usize, Arc<[i64]>); 1]>,
    own: Counts,
    /// How many pods there are in all domains together.
    pods: i64,
}

impl Layers {
    fn share(&mut self, key: Name, factor: i64, groups: &PodGroups, group: &PodGroup) {
        let Some(place) = groups.place_of(key) else { return };
        if let Some(domains) = groups.in_domains(group, key).filter(|domains| domains.total != 0) {
            self.shared.push((key, place, factor, domains.clone()));
            self.pods += domains.total;
        }
    }

    /// Adds up what was shared, if that is much.
    fn add_up(mut self, groups: &PodGroups) -> Layers {
        if self.shared.len() > FEW_GROUPS {
            for place in 0..groups.keys().len() {
                let of_key = || self.shared.iter().filter(|(_, at, ..)| *at == place);
                if of_key().next().is_some() {
                    let sums = groups.sums(place, of_key().map(|(_, _, factor, domains)| (*factor, &**domains)));
                    self.added_up.push((place, sums));
                }
            }
        }
        self
    }

    fn add(&mut self, domain: Option<Domain>, by: i64, pods: i64) {
        if let Some(domain) = domain {
            *self.own.entry(domain).or_default() += by;
            self.pods += pods;
        }
    }

    /// True if there is nothing in any domain.
    fn is_empty(&self) -> bool {
        self.pods == 0
    }

    fn at(&self, domain: Domain) -> i64 {
        let (key, value) = domain;
        let shared = self.shared.iter().filter(|(of, ..)| *of == key);
        let shared = shared.map(|(_, _, factor, domains)| factor * domains.by_value.get(&value).copied().unwrap_or(0));
        shared.sum::<i64>() + if self.own.is_empty() { 0 } else { self.own.get(&domain).copied().unwrap_or(0) }
    }

    /// True if the node is in a domain that counts.
    fn holds(&self, node: &NodeInfo, world: &World) -> bool {
        if self.is_empty() {
            return false;
        }
        if !self.own.is_empty() {
            return node.node.meta.labels.iter().any(|domain| self.at(domain) > 0);
        }
        self.shared.iter().any(|(key, _, _, domains)| {
            world.nodes.label(node.id, *key).is_some_and(|value| domains.by_value.contains_key(&value))
        })
    }

    /// True if there is something in one of the domains that a node is in; None if that can't be read from the groups alone.
    #[inline]
    fn any_at(&self, node: NodeId, groups: &PodGroups) -> Option<bool> {
        if !self.added_up.is_empty() && self.own.is_empty() {
            let there = |(place, column): &(usize, Arc<[i64]>)| {
                groups.domain(*place, node).is_some_and(|domain| domain.of(column) > 0)
            };
            return Some(self.added_up.iter().any(there));
        }
        let there = |(_, place, _, domains): &(Name, usize, i64, Arc<InDomains>)| {
            groups.domain(*place, node).is_some_and(|domain| domains.at(domain) > 0)
        };
        self.own.is_empty().then(|| self.shared.iter().any(there))
    }

    /// Whether there is something in the domains that a node is in by all `terms`; None if that can't be read from the groups
    /// alone.
    fn all_at(&self, terms: &[PodAffinityTerm], node: NodeId, groups: &PodGroups) -> Option<Near> {
        if !self.own.is_empty() {
            return None;
        }
        let mut near = Near::Yes;
        for term in terms {
            let place = groups.place_of(term.topology_key)?;
            let Some(domain) = groups.domain(place, node) else {
                return Some(Near::Nowhere);
            };
            if !self.added_up.is_empty() {
                let mut columns = self.added_up.iter().filter(|(at, _)| *at == place);
                if !columns.any(|(_, column)| domain.of(column) > 0) {
                    near = Near::No;
                }
                continue;
            }
            let mut shared = self.shared.iter().filter(|(key, ..)| *key == term.topology_key);
            if !shared.any(|(.., domains)| domains.at(domain) > 0) {
                near = Near::No;
            }
        }
        Some(near)
    }

    /// What all domains of a node come to.
    fn sum(&self, node: &NodeInfo, world: &World) -> i64 {
        if let (false, true, Some(groups)) = (self.added_up.is_empty(), self.own.is_empty(), world.nodes.groups()) {
            let sums =
                self.added_up.iter().filter_map(|(place, column)| Some(groups.domain(*place, node.id)?.of(column)));
            return sums.sum();
        }
        let shared = self.shared.iter().map(|(key, _, factor, domains)| {
            let value = world.nodes.label(node.id, *key);
            factor * value.and_then(|value| domains.by_value.get(&value).copied()).unwrap_or(0)
        });
        let own = || node.node.meta.labels.iter().filter_map(|domain| self.own.get(&domain)).sum::<i64>();
        shared.sum::<i64>() + if self.own.is_empty() { 0 } else { own() }
    }
}

/// Whether a node is near to what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Near {
    Yes,
    No,
    /// It has no value of one of the keys.
    Nowhere,
}

/// What Filter needs.
#[derive(Clone, Debug, Default)]
struct Required {
    /// Existing pods whose required anti-affinity means the pod.
    existing_anti: Layers,
    /// Existing pods that all of the pod's affinity terms mean.
    affinity: Layers,
    /// Existing pods that one of the pod's anti-affinity terms means.
    anti: Layers,
}

impl Required {
    fn count_existing(&mut self, pod: &Pod, other: &Pod, node: &Node, listers: &Listers, by: i64) {
        for term in terms(other, |affinity| &affinity.pod_anti_required) {
            if means(term, other, pod, listers) {
                self.existing_anti.add(domain(term, node), by, by);
            }
        }
    }

    /// All pods, group by group.
    fn of_groups(pod: &Pod, groups: &PodGroups, listers: &Listers) -> Required {
        let mut required = Required::default();
        let affinity = terms(pod, |affinity| &affinity.pod_required);
        let anti = terms(pod, |affinity| &affinity.pod_anti_required);
        for group in groups.iter() {
            for term in terms(&group.pod, |affinity| &affinity.pod_anti_required) {
                if means(term, &group.pod, pod, listers) {
                    required.existing_anti.share(term.topology_key, 1, groups, group);
                }
            }
            if means_all(affinity, pod, &group.pod, listers) {
                affinity.iter().for_each(|term| required.affinity.share(term.topology_key, 1, groups, group));
            }
            for term in anti.iter().filter(|term| means(term, pod, &group.pod, listers)) {
                required.anti.share(term.topology_key, 1, groups, group);
            }
        }
        let Required { existing_anti, affinity, anti } = required;
        Required {
            existing_anti: existing_anti.add_up(groups),
            affinity: affinity.add_up(groups),
            anti: anti.add_up(groups),
        }
    }

    fn count_own(&mut self, pod: &Pod, other: &Pod, node: &Node, listers: &Listers, by: i64) {
        let affinity = terms(pod, |affinity| &affinity.pod_required);
        if means_all(affinity, pod, other, listers) {
            for term in affinity {
                self.affinity.add(domain(term, node), by, by);
            }
        }
        for term in terms(pod, |affinity| &affinity.pod_anti_required) {
            if means(term, pod, other, listers) {
                self.anti.add(domain(term, node), by, by);
            }
        }
    }
}

/// The topology keys of all terms of a pod.
fn keys_of(pod: &Pod) -> impl Iterator<Item = Name> + '_ {
    pod.spec.affinity.as_deref().into_iter().flat_map(|affinity| {
        let required = affinity.pod_required.iter().chain(&affinity.pod_anti_required);
        let preferred = affinity.pod_preferred.iter().chain(&affinity.pod_anti_preferred);
        required.chain(preferred.map(|(_, term)| term)).map(|term| term.topology_key)
    })
}

/// The groups, if they are kept over the keys of all terms that there are.
fn groups_for<'w>(pod: &Pod, world: &'w World) -> Option<&'w PodGroups> {
    let groups = world.nodes.groups()?;
    let known = |key: Name| groups.keys().contains(&key);
    let all = keys_of(pod).all(known) && groups.iter().all(|group| keys_of(&group.pod).all(known));
    all.then_some(groups)
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }
    fn prepare(&self, pod: &PodInfo, world: &mut World) {
        if pod.spec.has_pod_affinity || world.nodes.has_affinity() {
            let mut keys: Vec<Name> = keys_of(&pod.pod).collect();
            match world.nodes.groups() {
                Some(groups) => keys.extend(groups.iter().flat_map(|group| keys_of(&group.pod))),
                None => {
                    let others = world.nodes.with_affinity().flat_map(|node| &node.pods);
                    keys.extend(others.flat_map(|other| keys_of(&other.pod)));
                }
            }
            world.nodes.keep_groups(keys.into_iter());
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

impl PreFilter for InterPodAffinity {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        let mut required = Required::default();
        let listers = &world.listers;
        let own = !terms(&pod.pod, |affinity| &affinity.pod_required).is_empty() || pod.spec.has_required_anti_affinity;
        if !own && !world.nodes.has_affinity() {
            return Ok(PreFiltered::skip());
        }
        if let Some(groups) = groups_for(&pod.pod, world) {
            let required = Required::of_groups(&pod.pod, groups, listers);
            let skip = !own && required.existing_anti.is_empty();
            return Ok(if skip { PreFiltered::skip() } else { PreFiltered::with(required) });
        }
        for node in world.nodes.with_required_anti_affinity() {
            for other in node.pods.iter().filter(|other| other.spec.has_required_anti_affinity) {
                required.count_existing(&pod.pod, &other.pod, &node.node, listers, 1);
            }
        }
        if !own && required.existing_anti.is_empty() {
            return Ok(PreFiltered::skip());
        }
        if own {
            for id in world.nodes.order() {
                let node = world.nodes.get(*id);
                for other in &node.pods {
                    required.count_own(&pod.pod, &other.pod, &node.node, listers, 1);
                }
            }
        }
        Ok(PreFiltered::with(required))
    }

    fn add_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, world: &World) {
        if let Some(required) = state.as_any_mut().downcast_mut::<Required>() {
            required.count_existing(&pod.pod, &other.pod, &node.node, &world.listers, 1);
            required.count_own(&pod.pod, &other.pod, &node.node, &world.listers, 1);
        }
    }

    fn remove_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, world: &World) {
        if let Some(required) = state.as_any_mut().downcast_mut::<Required>() {
            required.count_existing(&pod.pod, &other.pod, &node.node, &world.listers, -1);
            required.count_own(&pod.pod, &other.pod, &node.node, &world.listers, -1);
        }
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        let Some(required) = state_of::<Required>(state) else { return Ok(()) };
        let affinity = terms(&pod.pod, |affinity| &affinity.pod_required);
        let mut satisfied = true;
        for term in affinity {
            let Some(domain) = domain(term, &node.node) else { return Err(not_near()) };
            satisfied &= required.affinity.at(domain) > 0;
        }
        // The first pod of a group that wants to be together may go anywhere.
        let first = || required.affinity.is_empty() && means_all(affinity, &pod.pod, &pod.pod, &world.listers);
        if !satisfied && !first() {
            return Err(not_near());
        }
        let near = |counts: &Layers, term: &PodAffinityTerm| {
            let value = world.nodes.label(node.id, term.topology_key);
            value.is_some_and(|value| counts.at((term.topology_key, value)) > 0)
        };
        if terms(&pod.pod, |affinity| &affinity.pod_anti_required).iter().any(|term| near(&required.anti, term)) {
            return Err(Status::unschedulable("node(s) didn't match pod anti-affinity rules"));
        }
        if required.existing_anti.holds(node, world) {
            return Err(Status::unschedulable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn passes(&self, state: Option<&dyn State>, pod: &PodInfo, node: NodeId, world: &World) -> Option<bool> {
        let Some(required) = state_of::<Required>(state) else { return Some(true) };
        let groups = world.nodes.groups()?;
        let affinity = terms(&pod.pod, |affinity| &affinity.pod_required);
        if !affinity.is_empty() {
            let near = required.affinity.all_at(affinity, node, groups)?;
            let first = || required.affinity.is_empty() && means_all(affinity, &pod.pod, &pod.pod, &world.listers);
            if near == Near::Nowhere || (near == Near::No && !first()) {
                return Some(false);
            }
        }
        Some(!required.anti.any_at(node, groups)? && !required.existing_anti.any_at(node, groups)?)
    }
}

fn not_near() -> Status {
    Status::unresolvable("node(s) didn't match pod affinity rules")
}

impl InterPodAffinity {
    /// Adds what an existing pod means for the pod's score to the domains that it is in.
    fn weigh(&self, pod: &Pod, other: &Pod, listers: &Listers, mut add: impl FnMut(&PodAffinityTerm, i64)) {
        for (weight, term) in weighted(pod, |affinity| &affinity.pod_preferred) {
            if means(term, pod, other, listers) {
                add(term, *weight);
            }
        }
        for (weight, term) in weighted(pod, |affinity| &affinity.pod_anti_preferred) {
            if means(term, pod, other, listers) {
                add(term, -weight);
            }
        }
        if self.hard_pod_affinity_weight > 0 {
            for term in terms(other, |affinity| &affinity.pod_required) {
                if means(term, other, pod, listers) {
                    add(term, self.hard_pod_affinity_weight);
                }
            }
        }
        for (weight, term) in weighted(other, |affinity| &affinity.pod_preferred) {
            if means(term, other, pod, listers) {
                add(term, *weight);
            }
        }
        for (weight, term) in weighted(other, |affinity| &affinity.pod_anti_preferred) {
            if means(term, other, pod, listers) {
                add(term, -weight);
            }
        }
    }
}

impl PreScore for InterPodAffinity {
    fn pre_score(&self, pod: &PodInfo, _: &[NodeId], world: &World) -> Result<PreScored, Status> {
        let prefers = !weighted(&pod.pod, |affinity| &affinity.pod_preferred).is_empty()
            || !weighted(&pod.pod, |affinity| &affinity.pod_anti_preferred).is_empty();
        if !prefers && self.ignore_preferred_terms_of_existing_pods {
            return Ok(PreScored::skip());
        }
        if !prefers && !world.nodes.has_affinity() {
            return Ok(PreScored::skip());
        }
        let listers = &world.listers;
        let mut scores = Layers::default();
        if let Some(groups) = groups_for(&pod.pod, world) {
            for group in groups.iter() {
                let share = |term: &PodAffinityTerm, by| scores.share(term.topology_key, by, groups, group);
                self.weigh(&pod.pod, &group.pod, listers, share);
            }
            scores = scores.add_up(groups);
        } else if prefers {
            for id in world.nodes.order() {
                let node = world.nodes.get(*id);
                for other in &node.pods {
                    let add = |term: &PodAffinityTerm, by| scores.add(domain(term, &node.node), by, 1);
                    self.weigh(&pod.pod, &other.pod, listers, add);
                }
            }
        } else {
            for node in world.nodes.with_affinity() {
                for other in node.pods.iter().filter(|other| other.spec.has_pod_affinity) {
                    let add = |term: &PodAffinityTerm, by| scores.add(domain(term, &node.node), by, 1);
                    self.weigh(&pod.pod, &other.pod, listers, add);
                }
            }
        }
        Ok(if scores.is_empty() { PreScored::skip() } else { PreScored::with(scores) })
    }
}

impl Score for InterPodAffinity {
    fn score(&self, state: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status> {
        Ok(state_of::<Layers>(state).map_or(0, |scores| scores.sum(node, world)))
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn normalize(&self, _: Option<&dyn State>, _: &[NodeId], scores: &mut [i64]) {
        let (min, max) = (scores.iter().min().copied().unwrap_or(0), scores.iter().max().copied().unwrap_or(0));
        for score in scores {
            let share = if max == min { 0.0 } else { (*score - min) as f64 / (max - min) as f64 };
            *score = (100.0 * share) as i64;
        }
    }
}

impl EnqueueExtensions for InterPodAffinity {
    fn events(&self) -> Vec<ClusterEvent> {
        let pod = Action::ADD.or(Action::POD_LABEL).or(Action::DELETE);
        vec![
            ClusterEvent::new(Resource::Pod, pod),
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_LABEL)),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, world: &World) -> Hint {
        let helps = match *change {
            Change::Pod(old, new) => pod_helps(&pod.pod, old, new, &world.listers),
            Change::Node(old, Some(new)) => node_helps(&pod.pod, old, new),
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}

fn pod_helps(pod: &Pod, old: Option<&Pod>, new: Option<&Pod>, listers: &Listers) -> bool {
    let Some(other) = new.or(old) else { return true };
    if other.meta.uid == pod.meta.uid {
        return true;
    }
    if other.node.is_none() && other.status.nominated_node.is_none() {
        return false;
    }
    let affinity = terms(pod, |affinity| &affinity.pod_required);
    let anti = terms(pod, |affinity| &affinity.pod_anti_required);
    let near = |other: &Pod| means_all(affinity, pod, other, listers);
    let away = |other: &Pod| means_all(anti, pod, other, listers);
    let keeps_off = |other: &Pod| {
        terms(other, |affinity| &affinity.pod_anti_required).iter().any(|term| means(term, other, pod, listers))
    };
    match (old, new) {
        (Some(old), Some(new)) => (!near(old) && near(new)) || (away(old) && !away(new)),
        (None, Some(new)) => near(new),
        (Some(old), None) => away(old) || keeps_off(old),
        (None, None) => true,
    }
}

fn node_helps(pod: &Pod, old: Option<&Node>, new: &Node) -> bool {
    let value = |node: &Node, term: &PodAffinityTerm| node.meta.labels.get(term.topology_key);
    let affinity = terms(pod, |affinity| &affinity.pod_required);
    let anti = terms(pod, |affinity| &affinity.pod_anti_required);
    match old {
        None => affinity.iter().any(|term| value(new, term).is_some()) || !anti.is_empty(),
        Some(old) => {
            let appeared = |term: &PodAffinityTerm| value(new, term).is_some() && value(old, term) != value(new, term);
            let vanished = |term: &PodAffinityTerm| value(old, term).is_some() && value(old, term) != value(new, term);
            affinity.iter().any(appeared) || anti.iter().any(vanished)
        }
    }
}
