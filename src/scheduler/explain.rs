//! The plain evaluation: every plug-in asked about every node, nothing kept. It explains an attempt node by node, and is
//! what the fast search must agree with.
//!
//! Kubernetes: pkg/scheduler/framework/runtime/framework.go (RunFilterPluginsWithNominatedPods, RunScorePlugins).

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::model::{Name, Text};
use crate::trace::{Diagnosis, NodeVerdict, Verdict};

use super::framework::Status;
use super::listers::World;
use super::node_table::{NodeId, NodeInfo};
use super::nominator::Nominator;
use super::plugins::dynamic_resources;
use super::pod_info::PodInfo;
use super::profile::{PluginIdx, PluginSet, Point, Profile};
use super::remedy::Memo;
use super::states::{self, PreFilterResult, States};

/// What every plug-in said.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Plug-ins whose PreFilter returned Skip.
    pub pre_filter_skip: PluginSet,
    /// PreFilter narrowed the nodes to these.
    pub restricted: Option<BTreeSet<Name>>,
    /// PreFilter rejected the pod.
    pub rejection: Option<Status>,
    /// What Filter said of each node that comes into question.
    pub filter: Vec<(NodeId, Result<(), Status>)>,
    /// Plug-ins whose PreScore returned Skip.
    pub pre_score_skip: PluginSet,
    /// The feasible nodes.
    pub feasible: Vec<NodeId>,
    /// Plug-in, raw scores and weighted normalised scores of the feasible nodes.
    pub scores: Vec<(PluginIdx, Vec<i64>, Vec<i64>)>,
}

impl Evaluation {
    /// The totals of the feasible nodes.
    pub fn totals(&self) -> Vec<i64> {
        let sum = |at: usize| self.scores.iter().map(|(_, _, weighted)| weighted[at]).sum();
        (0..self.feasible.len()).map(sum).collect()
    }
}

/// Asks every plug-in about the pod and `nodes`. An error is the failure of a plug-in.
pub fn evaluate(
    profile: &Profile,
    pod: &PodInfo,
    world: &World,
    nominator: &Nominator,
    nodes: &[NodeId],
) -> Result<Evaluation, Status> {
    let PreFilterResult { states, nodes: restricted, rejection, .. } = states::pre_filter(profile, None, pod, world)?;
    let mut found = Evaluation { pre_filter_skip: states.skip, restricted, rejection, ..Evaluation::default() };
    if found.rejection.is_some() {
        return Ok(found);
    }
    for &id in nodes {
        let node = world.nodes.get(id);
        if found.restricted.as_ref().is_some_and(|names| !names.contains(&node.name)) {
            continue;
        }
        let verdict = filter(profile, &states, pod, node, world, nominator);
        if verdict.is_ok() {
            found.feasible.push(id);
        }
        found.filter.push((id, verdict));
    }
    if found.feasible.is_empty() {
        return Ok(found);
    }
    let scoring = states::pre_score(profile, None, pod, &found.feasible, world)?;
    found.pre_score_skip = scoring.skip;
    for &idx in profile.at(Point::Score) {
        let Some(score) = profile.plugins[idx].as_score().filter(|_| !scoring.skip.contains(idx)) else { continue };
        let state = scoring.get(idx);
        let raw: Result<Vec<i64>, Status> =
            found.feasible.iter().map(|id| score.score(state, pod, world.nodes.get(*id), world)).collect();
        let raw = raw?;
        let mut weighted = raw.clone();
        states::finish(profile, idx, state, &found.feasible, &mut weighted)?;
        weighted.iter_mut().for_each(|score| *score *= profile.weight(idx));
        found.scores.push((idx, raw, weighted));
    }
    Ok(found)
}

pub(super) fn filter(
    profile: &Profile,
    states: &States,
    pod: &PodInfo,
    node: &NodeInfo,
    world: &World,
    nominator: &Nominator,
) -> Result<(), Status> {
    let run = |node: &NodeInfo, states: &States| {
        for &idx in profile.at(Point::Filter).iter().filter(|idx| !states.skip.contains(**idx)) {
            if let Some(filter) = profile.plugins[idx].as_filter() {
                let verdict = filter.filter(states.get(idx), pod, node, world);
                verdict.map_err(|status| status.by(profile.plugins[idx].name()))?;
            }
        }
        Ok(())
    };
    let nominated = nominator.on(node.name).iter();
    let counted: Vec<&PodInfo> =
        nominated.filter(|other| other.priority() >= pod.priority() && other.uid() != pod.uid()).collect();
    if !counted.is_empty() {
        let (mut with, mut states) = (node.clone(), states.duplicate());
        for other in counted {
            with.add_pod(other.clone());
            states.add_pod(profile, pod, other, &with, world);
        }
        run(&with, &states)?;
    }
    run(node, states)
}

/// Every node's verdict, by name; nodes that are not among `tried` were not looked at.
pub fn diagnosis(
    profile: &Profile,
    pod: &PodInfo,
    world: &World,
    nominator: &Nominator,
    tried: &[NodeId],
    memo: &mut Memo,
) -> Diagnosis {
    let Ok(found) = evaluate(profile, pod, world, nominator, tried) else { return Diagnosis::default() };
    let totals = found.totals();
    let filtered: FxHashMap<NodeId, &Result<(), Status>> =
        found.filter.iter().map(|(id, answer)| (*id, answer)).collect();
    let place: FxHashMap<NodeId, usize> = found.feasible.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut nodes: Vec<NodeVerdict> = Vec::with_capacity(world.nodes.len());
    for &id in world.nodes.order() {
        let node = world.nodes.get(id).name;
        let verdict = match filtered.get(&id) {
            Some(Err(status)) => {
                let mut verdict = rejected(status);
                // Kubernetes says no more than that it can't be.
                if status.plugin == "DynamicResources"
                    && let Verdict::Rejected { reasons, .. } = &mut verdict
                {
                    reasons.extend(dynamic_resources::obstacle(pod, world.nodes.get(id), world).map(Text::new));
                }
                verdict
            }
            Some(Ok(())) => {
                let at = place.get(&id).copied();
                at.map_or(Verdict::NotTried, |at| Verdict::Scored {
                    total: totals[at],
                    scores: found
                        .scores
                        .iter()
                        .map(|(idx, raw, weighted)| (Name::new(profile.plugins[*idx].name()), raw[at], weighted[at]))
                        .collect(),
                })
            }
            None => found.rejection.as_ref().map_or(Verdict::NotTried, rejected),
        };
        nodes.push(NodeVerdict { node, verdict });
    }
    nodes.sort_by_key(|verdict| verdict.node);
    let weight =
        |(idx, ..): &(PluginIdx, Vec<i64>, Vec<i64>)| (Name::new(profile.plugins[*idx].name()), profile.weight(*idx));
    let weights = found.scores.iter().map(weight).collect();
    let remedies = if found.feasible.is_empty() { memo.remedies(profile, pod, world, nominator) } else { Vec::new() };
    Diagnosis { nodes, weights, remedies }
}

fn rejected(status: &Status) -> Verdict {
    let reasons = status.reasons.iter().map(Text::new).collect();
    Verdict::Rejected { plugin: Name::new(status.plugin), reasons }
}
