//! Finds a node for a pod: filters as many nodes as needed, scores the feasible ones, picks one.
//!
//! What plug-ins of [`Scope::Node`](super::framework::Scope) say of a spec and a node is kept in a class and asked again
//! only when the node's generation has moved, so the ten-thousandth pod of a Deployment costs a look at each node's
//! generation. Decisions are those of the plain evaluation in `explain`, which a test compares.
//!
//! Kubernetes: pkg/scheduler/schedule_one.go (schedulePod, findNodesThatFitPod, numFeasibleNodesToFind, prioritizeNodes,
//! selectHost), pkg/scheduler/framework/runtime/framework.go. In which order nodes are looked at: `race`.

use std::collections::BTreeSet;

use crate::model::Name;
use crate::protocol::api::Call;

use super::classes::{Class, Classes, FEASIBLE};
use super::fit_error::{FitError, NO_NODES};
use super::framework::{Code, DryRun, Failed, Nomination, Status, Trial};
use super::listers::World;
use super::node_table::{NodeId, NodeInfo};
use super::nominator::Nominator;
use super::pod_info::PodInfo;
use super::profile::{PluginIdx, PluginSet, Point, Profile};
use super::race::Order;
use super::states::{PreFilterResult, States, pre_filter};
use crate::model::Uid;

/// How many feasible nodes are enough of `nodes` (`numFeasibleNodesToFind`). A percentage of 0 is adaptive.
pub fn feasible_nodes_wanted(percentage: u32, nodes: usize) -> usize {
    const AT_LEAST: usize = 100;
    if nodes < AT_LEAST {
        return nodes;
    }
    let percentage = match percentage {
        0 => 50usize.saturating_sub(nodes / 125).max(5),
        given => given as usize,
    };
    if percentage >= 100 { nodes } else { (nodes * percentage / 100).max(AT_LEAST) }
}

/// Picks among equals as kube-scheduler 1.36 does: the scores are made a binary max-heap, the root wins. It draws nothing;
/// if all are equal it is the first.
pub fn select(totals: &[i64], heap: &mut Vec<u32>) -> usize {
    heap.clear();
    heap.extend(0..totals.len() as u32);
    let score = |heap: &[u32], at: usize| totals[heap[at] as usize];
    for from in (0..totals.len() / 2).rev() {
        let mut parent = from;
        loop {
            let mut child = 2 * parent + 1;
            if child >= heap.len() {
                break;
            }
            if child + 1 < heap.len() && score(heap, child + 1) > score(heap, child) {
                child += 1;
            }
            if score(heap, child) <= score(heap, parent) {
                break;
            }
            heap.swap(child, parent);
            parent = child;
        }
    }
    heap.first().map_or(0, |&first| first as usize)
}

/// A node was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub node: Name,
    /// How many nodes were filtered.
    pub evaluated: usize,
    /// How many of them passed.
    pub feasible: usize,
}

/// An attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Rejected, or an error.
    pub code: Code,
    /// The text of the condition.
    pub message: String,
    /// The plug-ins that rejected nodes or the pod; empty after errors and without nodes.
    pub rejectors: PluginSet,
    /// Those that said `Pending`.
    pub pending: PluginSet,
    /// What PostFilter did: None: nothing changes; Some(None): the nomination ends; Some(node): it is nominated.
    pub nomination: Option<Option<Nomination>>,
    /// What PostFilter asks of the API server.
    pub calls: Vec<Call>,
}

/// Searches nodes; keeps what is worth keeping between attempts.
#[derive(Debug, Default)]
pub struct Search {
    classes: Classes,
    /// `parallelism`; 0 is one worker, too.
    workers: usize,
    /// `nextStartNodeIndex`.
    start: usize,
    feasible: Vec<NodeId>,
    rejected: Vec<(NodeId, u32)>,
    totals: Vec<i64>,
    column: Vec<i64>,
    heap: Vec<u32>,
}

/// One search as it goes on.
struct Attempt<'a> {
    profile: &'a Profile,
    pod: &'a PodInfo,
    world: &'a World,
    nominator: &'a Nominator,
    states: &'a States,
    class: &'a super::classes::Local,
}

/// A status of this attempt rather than of the class has this bit in its number.
const OWN: u32 = 1 << 31;
/// The node was rejected by the plug-in of this number, whose reason nobody has asked for yet.
const UNASKED: u32 = 1 << 30;

impl Search {
    /// A search with so many workers; the default one has a single one, which takes the nodes in their order.
    pub fn parallel(workers: usize) -> Search {
        Search { workers, ..Search::default() }
    }

    /// Finds a node for `pod`. `random` says which worker is faster, and is for plug-ins whose Kubernetes original draws.
    pub fn schedule(
        &mut self,
        (number, profile): (usize, &Profile),
        pod: &PodInfo,
        world: &World,
        nominator: &Nominator,
        random: u64,
    ) -> Result<Chosen, Failure> {
        if world.nodes.is_empty() {
            return Err(Failure::error(Code::UnschedulableAndUnresolvable, NO_NODES.to_owned()));
        }
        let Search { classes, .. } = self;
        let Class { local, cache } = classes.get(number, profile, pod, world);
        let PreFilterResult { states, nodes: restricted, rejection, ran } =
            pre_filter(profile, Some(local), pod, world)
                .map_err(|status| Failure::error(Code::Error, status.message()))?;
        let attempt = Attempt { profile, pod, world, nominator, states: &states, class: local };
        let mut error = FitError::new(world.nodes.len());
        if let Some(status) = rejection {
            error.reject_all(&status);
            if let Some(plugin) = profile.plugins.iter().position(|plugin| plugin.name() == status.plugin) {
                error.rejectors.insert(plugin);
                if status.code == Code::Pending {
                    error.pending.insert(plugin);
                }
            }
            // Unless one plug-in ended PreFilter, those that narrowed the nodes have a share in it.
            if status.plugin.is_empty() || status.code != Code::UnschedulableAndUnresolvable {
                states.restricting.iter().for_each(|restricting| error.rejectors.insert(restricting));
            }
            return Err(attempt.post_filter(error, &[], &status, ran, random));
        }

        self.feasible.clear();
        self.rejected.clear();
        let mut own: Vec<Status> = Vec::new();

        // The node that the pod was nominated for is tried alone first.
        if let Some(node) = pod.pod.status.nominated_node.and_then(|name| world.nodes.find(name)) {
            let allowed = restricted.as_ref().is_none_or(|names| names.contains(&world.nodes.get(node).name));
            if allowed && attempt.verdict(cache, node, &mut own).map_err(Failure::from_plugin)? == FEASIBLE {
                let node = world.nodes.get(node).name;
                return Ok(Chosen { node, evaluated: 1, feasible: 1 });
            }
            own.clear();
        }

        let few: Vec<NodeId>;
        let nodes = match &restricted {
            None => world.nodes.order(),
            Some(names) => {
                few = names.iter().filter_map(|name| world.nodes.find(*name)).collect();
                &few
            }
        };
        let wanted = if profile.at(Point::Score).is_empty() {
            1
        } else {
            feasible_nodes_wanted(profile.percentage_of_nodes_to_score, nodes.len())
        };
        let mut failed = None;
        let start = self.start % nodes.len().max(1);
        for at in Order::new(nodes.len(), self.workers, random) {
            let at = start + at;
            let node = nodes[if at < nodes.len() { at } else { at - nodes.len() }];
            match attempt.verdict(cache, node, &mut own) {
                // One more than enough ends the search and is not counted.
                Ok(FEASIBLE) if self.feasible.len() == wanted => break,
                Ok(FEASIBLE) => self.feasible.push(node),
                Ok(status) => self.rejected.push((node, status)),
                Err(status) => {
                    failed = Some(status);
                    break;
                }
            }
        }
        let evaluated = self.feasible.len() + self.rejected.len();
        self.start = (self.start + evaluated) % world.nodes.len();
        if let Some(status) = failed {
            return Err(Failure::from_plugin(status));
        }

        match self.feasible.as_slice() {
            [] => {
                let absent = absent_status(&states, profile, restricted.as_ref());
                for (node, number) in &mut self.rejected {
                    if *number & OWN != 0 && *number & UNASKED != 0 {
                        *number = attempt.reason(*node, (*number & !(OWN | UNASKED)) as usize, &mut own);
                    }
                }
                let status = |number: u32| match number & OWN {
                    0 => cache.status(number),
                    _ => &own[(number & !OWN) as usize],
                };
                let nodes: Vec<(NodeId, &Status)> =
                    self.rejected.iter().map(|&(node, number)| (node, status(number))).collect();
                let plugin_of = |status: &Status| profile.plugins.iter().position(|one| one.name() == status.plugin);
                error.reject(&nodes, &absent, plugin_of);
                for restricting in states.restricting.iter() {
                    error.rejectors.insert(restricting);
                }
                Err(attempt.post_filter(error, &nodes, &absent, ran, random))
            }
            [only] => Ok(Chosen { node: world.nodes.get(*only).name, evaluated, feasible: 1 }),
            feasible => {
                attempt
                    .totals(cache, feasible, &mut self.totals, &mut self.column)
                    .map_err(|status| Failure::error(Code::Error, status.message()))?;
                let best = select(&self.totals, &mut self.heap);
                let node = world.nodes.get(feasible[best]).name;
                Ok(Chosen { node, evaluated, feasible: feasible.len() })
            }
        }
    }

    /// The feasible nodes of the last search with more than one, with their totals, in the order in which they were found.
    pub fn last_totals(&self) -> impl Iterator<Item = (NodeId, i64)> {
        self.feasible.iter().copied().zip(self.totals.iter().copied())
    }

    /// The nodes that the last search tried: those that passed, then those that did not.
    pub fn last_tried(&self) -> impl Iterator<Item = NodeId> {
        self.feasible.iter().copied().chain(self.rejected.iter().map(|(node, _)| *node))
    }
}

impl Failure {
    /// A failure that no plug-in's rejection explains.
    pub fn error(code: Code, message: String) -> Failure {
        Failure {
            code,
            message,
            rejectors: PluginSet::default(),
            pending: PluginSet::default(),
            nomination: Some(None),
            calls: Vec::new(),
        }
    }

    fn from_plugin(status: Status) -> Failure {
        Failure::error(Code::Error, format!("running \"{}\" filter plugin: {}", status.plugin, status.message()))
    }
}

/// The status of nodes that were not looked at.
fn absent_status(states: &States, profile: &Profile, restricted: Option<&BTreeSet<Name>>) -> Status {
    let mut status = Status {
        code: Code::UnschedulableAndUnresolvable,
        reasons: Default::default(),
        plugin: "",
        ends_nomination: false,
    };
    if restricted.is_some() {
        let mut names: Vec<&str> = states.restricting.iter().map(|idx| profile.plugins[idx].name()).collect();
        names.sort_unstable();
        status.reasons.push(format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" ")).into());
    }
    status
}

impl Attempt<'_> {
    /// FEASIBLE, or the number of the status of the first plug-in that rejects the node; an error of a plug-in ends the
    /// search.
    fn verdict(&self, cache: &mut super::classes::Cache, id: NodeId, own: &mut Vec<Status>) -> Result<u32, Status> {
        let node = self.world.nodes.get(id);
        // Most often nobody is nominated: then the node's row is not looked at here.
        let nominated = if self.nominator.is_empty() { &[] } else { self.nominator.on(node.name) };
        if !nominated.is_empty()
            && let Err(status) = self.filter_with_nominated(node, nominated)
        {
            return remember(own, status);
        }
        let local = cache.verdict(self.class, self.profile, self.pod, self.world, id);
        if self.states.cluster_filters.is_empty() {
            if local != FEASIBLE && cache.status(local).code == Code::Error {
                return Err(cache.status(local).clone());
            }
            return Ok(local);
        }
        let stops_at = if local == FEASIBLE { usize::MAX } else { cache.position(local) };
        for &(position, plugin) in &self.states.cluster_filters {
            if position > stops_at {
                break;
            }
            match self.passes(plugin, id) {
                Some(true) => {}
                Some(false) => return Ok(OWN | UNASKED | plugin as u32),
                None => {
                    if let Err(status) = self.run_filter(plugin, node, self.states) {
                        return remember(own, status);
                    }
                }
            }
        }
        if local != FEASIBLE && cache.status(local).code == Code::Error {
            return Err(cache.status(local).clone());
        }
        Ok(local)
    }

    fn run_filter(&self, plugin: PluginIdx, node: &NodeInfo, states: &States) -> Result<(), Status> {
        let Some(filter) = self.profile.plugins[plugin].as_filter() else { return Ok(()) };
        let state = states.get(plugin).or_else(|| self.class.pre_filter_state(plugin));
        let answer = filter.filter(state, self.pod, node, self.world);
        answer.map_err(|status| status.by(self.profile.plugins[plugin].name()))
    }

    /// What a plug-in says of a node without its reason, if it does.
    fn passes(&self, plugin: PluginIdx, node: NodeId) -> Option<bool> {
        let filter = self.profile.plugins[plugin].as_filter()?;
        let state = self.states.get(plugin).or_else(|| self.class.pre_filter_state(plugin));
        filter.passes(state, self.pod, node, self.world)
    }

    /// The number of the status with which a plug-in rejects a node, as it has already said that it does.
    fn reason(&self, node: NodeId, plugin: PluginIdx, own: &mut Vec<Status>) -> u32 {
        let status = self.run_filter(plugin, self.world.nodes.get(node), self.states);
        let status = status.expect_err("a plug-in says the same with and without its reason");
        remember(own, status).expect("a plug-in that fails does not answer without its reason")
    }

    /// All filters in order over a node as it is given.
    fn run_filters(&self, node: &NodeInfo, states: &States) -> Result<(), Status> {
        for &plugin in self.profile.at(Point::Filter) {
            if !states.skip.contains(plugin) {
                self.run_filter(plugin, node, states)?;
            }
        }
        Ok(())
    }

    /// The first of two passes: with the pods of equal or higher priority that are nominated for the node.
    fn filter_with_nominated(&self, node: &NodeInfo, nominated: &[PodInfo]) -> Result<(), Status> {
        let counted =
            nominated.iter().filter(|other| other.priority() >= self.pod.priority() && other.uid() != self.pod.uid());
        let mut with: Option<(NodeInfo, States)> = None;
        for other in counted {
            let (node, states) = with.get_or_insert_with(|| (node.clone(), self.states.duplicate()));
            node.add_pod(other.clone());
            states.add_pod(self.profile, self.pod, other, node, self.world);
        }
        with.map_or(Ok(()), |(node, states)| self.run_filters(&node, &states))
    }

    /// The weighted scores of `feasible` together.
    fn totals(
        &self,
        cache: &super::classes::Cache,
        feasible: &[NodeId],
        totals: &mut Vec<i64>,
        column: &mut Vec<i64>,
    ) -> Result<(), Status> {
        totals.clear();
        if self.profile.at(Point::Score).is_empty() {
            totals.resize(feasible.len(), 1);
            return Ok(());
        }
        let scoring = super::states::pre_score(self.profile, Some(self.class), self.pod, feasible, self.world)?;
        cache.sums(self.class, self.profile, self.pod, self.world, feasible, totals)?;
        for (place, &plugin) in self.class.normalizing.iter().enumerate() {
            cache.column(place, feasible, column);
            super::states::finish(self.profile, plugin, self.class.pre_score_state(plugin), feasible, column)?;
            add_weighted(totals, column, self.profile.weight(plugin));
        }
        for &plugin in self.profile.at(Point::Score) {
            if self.profile.is_local(plugin) || scoring.skip.contains(plugin) {
                continue;
            }
            let Some(score) = self.profile.plugins[plugin].as_score() else { continue };
            column.clear();
            column.resize(feasible.len(), 0);
            let state = scoring.get(plugin);
            score.score_all(state, self.pod, feasible, self.world, column)?;
            super::states::finish(self.profile, plugin, state, feasible, column)?;
            add_weighted(totals, column, self.profile.weight(plugin));
        }
        Ok(())
    }

    /// Runs PostFilter and makes the failure of what it says.
    fn post_filter(
        &self,
        error: FitError,
        nodes: &[(NodeId, &Status)],
        absent: &Status,
        ran: PluginSet,
        random: u64,
    ) -> Failure {
        let mut reasons: Vec<String> = Vec::new();
        let mut nomination = None;
        let mut calls = Vec::new();
        for &plugin in self.profile.at(Point::PostFilter) {
            let Some(post_filter) = self.profile.plugins[plugin].as_post_filter() else { continue };
            let pre_filter_ran = ran.contains(plugin);
            let failed =
                Failed { pod: self.pod, nodes, absent, pre_filter_ran, attempt: self, world: self.world, random };
            match post_filter.post_filter(&failed) {
                Ok(found) => {
                    reasons.clear();
                    nomination = Some(Some(found));
                    break;
                }
                Err(status) => {
                    let is_error = status.code == Code::Error;
                    // A plug-in that ran and found nothing ends an earlier nomination; one that did not, keeps it.
                    if is_error {
                        reasons = vec![status.message()];
                        nomination = None;
                        break;
                    }
                    nomination = status.ends_nomination.then_some(None);
                    reasons.push(status.message());
                    calls.extend(post_filter.calls(&failed));
                }
            }
        }
        Failure {
            code: Code::Unschedulable,
            message: error.text(&reasons.join(", ")),
            rejectors: error.rejectors,
            pending: error.pending,
            nomination,
            calls,
        }
    }
}

/// A node with the plug-ins' states as they would be.
struct Thought<'a> {
    attempt: &'a Attempt<'a>,
    node: NodeInfo,
    states: States,
}

impl DryRun for Attempt<'_> {
    fn trial(&self, node: NodeId) -> Box<dyn Trial + '_> {
        Box::new(Thought { attempt: self, node: self.world.nodes.get(node).clone(), states: self.states.duplicate() })
    }
}

impl Trial for Thought<'_> {
    fn remove(&mut self, pod: Uid) {
        let Attempt { profile, pod: own, world, .. } = self.attempt;
        if let Some(other) = self.node.remove_pod(pod) {
            self.states.remove_pod(profile, own, &other, &self.node, world);
        }
    }

    fn add(&mut self, pod: &PodInfo) {
        let Attempt { profile, pod: own, world, .. } = self.attempt;
        self.node.add_pod(pod.clone());
        self.states.add_pod(profile, own, pod, &self.node, world);
    }

    fn filter(&self) -> Result<(), Status> {
        let Attempt { profile, pod: own, world, nominator, .. } = self.attempt;
        let mut with = None;
        for other in nominator.on(self.node.name) {
            if other.priority() >= own.priority() && other.uid() != own.uid() {
                let (node, states) = with.get_or_insert_with(|| (self.node.clone(), self.states.duplicate()));
                node.add_pod(other.clone());
                states.add_pod(profile, own, other, node, world);
            }
        }
        if let Some((node, states)) = with {
            self.attempt.run_filters(&node, &states)?;
        }
        self.attempt.run_filters(&self.node, &self.states)
    }
}

fn remember(own: &mut Vec<Status>, status: Status) -> Result<u32, Status> {
    if status.code == Code::Error {
        return Err(status);
    }
    let at = own.iter().position(|existing| *existing == status).unwrap_or_else(|| {
        own.push(status);
        own.len() - 1
    });
    Ok(at as u32 | OWN)
}

fn add_weighted(totals: &mut [i64], column: &[i64], weight: i64) {
    for (total, score) in totals.iter_mut().zip(column) {
        *total += score * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_the_heap_wins_a_tie() {
        let mut heap = Vec::new();
        assert_eq!(select(&[5, 5, 5], &mut heap), 0);
        assert_eq!(select(&[1, 5, 5], &mut heap), 1);
        // The last pair is sifted first: index 3 rises over 1 and then stands before 2, its equal.
        assert_eq!(select(&[1, 2, 5, 5], &mut heap), 3);
        assert_eq!(select(&[7], &mut heap), 0);
    }

    #[test]
    fn large_clusters_are_searched_in_part() {
        let wanted = [99, 100, 500, 1000, 3000, 5000, 6000].map(|nodes| feasible_nodes_wanted(0, nodes));
        assert_eq!(wanted, [99, 100, 230, 420, 780, 500, 300]);
        assert_eq!(feasible_nodes_wanted(100, 5000), 5000);
        assert_eq!(feasible_nodes_wanted(1, 5000), 100);
    }
}
