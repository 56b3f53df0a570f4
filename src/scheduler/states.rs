//! What the plug-ins keep during one attempt, and the runs of PreFilter, PreScore and NormalizeScore over all of them.
//!
//! Kubernetes: pkg/scheduler/framework/runtime/framework.go (RunPreFilterPlugins, RunPreScorePlugins, RunScorePlugins).

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::model::Name;

use super::classes::Local;
use super::framework::{Code, PreFiltered, State, Status};
use super::listers::World;
use super::node_table::{NodeId, NodeInfo};
use super::pod_info::PodInfo;
use super::profile::{PluginIdx, PluginSet, Point, Profile};

/// The states that plug-ins left in this attempt, and which of them sit it out.
#[derive(Default)]
pub struct States {
    /// Plug-ins that returned Skip.
    pub skip: PluginSet,
    /// Plug-ins that narrowed the nodes.
    pub restricting: PluginSet,
    /// Filter plug-ins of cluster scope that run: their place among all Filter plug-ins, and which.
    pub cluster_filters: SmallVec<[(usize, PluginIdx); 8]>,
    states: Vec<Option<Box<dyn State>>>,
}

impl States {
    /// A plug-in's state, if it left one.
    pub fn get(&self, plugin: PluginIdx) -> Option<&dyn State> {
        self.states.get(plugin).and_then(Option::as_deref)
    }

    fn set(&mut self, plugin: PluginIdx, state: Option<Box<dyn State>>) {
        if state.is_some() {
            if self.states.len() <= plugin {
                self.states.resize_with(plugin + 1, || None);
            }
            self.states[plugin] = state;
        }
    }

    /// A copy for a dry run.
    pub fn duplicate(&self) -> States {
        States {
            skip: self.skip,
            restricting: self.restricting,
            cluster_filters: self.cluster_filters.clone(),
            states: self.states.iter().map(|state| state.as_deref().map(State::duplicate)).collect(),
        }
    }

    /// `other` is thought to be on `node`.
    pub fn add_pod(&mut self, profile: &Profile, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, world: &World) {
        for (idx, state) in self.states.iter_mut().enumerate() {
            if let (Some(state), Some(plugin)) = (state, profile.plugins[idx].as_pre_filter()) {
                plugin.add_pod(state.as_mut(), pod, other, node, world);
            }
        }
    }

    /// `other` is thought away from `node`.
    pub fn remove_pod(&mut self, profile: &Profile, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, world: &World) {
        for (idx, state) in self.states.iter_mut().enumerate() {
            if let (Some(state), Some(plugin)) = (state, profile.plugins[idx].as_pre_filter()) {
                plugin.remove_pod(state.as_mut(), pod, other, node, world);
            }
        }
    }
}

/// What PreFilter came to.
pub struct PreFilterResult {
    pub states: States,
    /// The only nodes that come into question; None: all.
    pub nodes: Option<BTreeSet<Name>>,
    /// The pod was rejected for all nodes.
    pub rejection: Option<Status>,
    /// Plug-ins whose PreFilter ran.
    pub ran: PluginSet,
}

/// Runs PreFilter. With `local`, plug-ins of node scope are not asked again. An error is a plug-in's failure.
pub fn pre_filter(
    profile: &Profile,
    local: Option<&Local>,
    pod: &PodInfo,
    world: &World,
) -> Result<PreFilterResult, Status> {
    let mut states = States::default();
    let mut nodes: Option<BTreeSet<Name>> = None;
    let mut rejection: Option<Status> = None;
    let mut ran = PluginSet::default();
    for &idx in profile.at(Point::PreFilter) {
        let plugin = &profile.plugins[idx];
        ran.insert(idx);
        let kept = local.and_then(|local| local.pre_filter(idx));
        let fresh;
        let answer: Result<(bool, &Option<BTreeSet<Name>>), Status> = match kept {
            Some(Ok(kept)) => Ok((kept.skip, &kept.nodes)),
            Some(Err(status)) => Err(status.clone()),
            None => {
                let Some(pre_filter) = plugin.as_pre_filter() else { continue };
                match pre_filter.pre_filter(pod, world) {
                    Ok(PreFiltered { skip, state, nodes }) => {
                        states.set(idx, state);
                        fresh = nodes;
                        Ok((skip, &fresh))
                    }
                    Err(status) => Err(status.by(plugin.name())),
                }
            }
        };
        match answer {
            Ok((true, _)) => states.skip.insert(idx),
            Ok((false, None)) => {}
            Ok((false, Some(names))) => {
                states.restricting.insert(idx);
                let both: BTreeSet<Name> = match &nodes {
                    Some(before) => before.intersection(names).copied().collect(),
                    None => names.clone(),
                };
                if both.is_empty() {
                    rejection = Some(nothing_left(profile, states.restricting));
                    return Ok(PreFilterResult { states, nodes: None, rejection, ran });
                }
                nodes = Some(both);
            }
            Err(status) => match status.code {
                Code::Unschedulable | Code::Pending => rejection = Some(status),
                Code::Error => {
                    let text = format!("running PreFilter plugin \"{}\": {}", plugin.name(), status.message());
                    return Err(Status::error(text).by(plugin.name()));
                }
                _ => return Ok(PreFilterResult { states, nodes: None, rejection: Some(status), ran }),
            },
        }
    }
    for (position, &idx) in profile.at(Point::Filter).iter().enumerate() {
        if !profile.is_local(idx) && !states.skip.contains(idx) {
            states.cluster_filters.push((position, idx));
        }
    }
    Ok(PreFilterResult { states, nodes, rejection, ran })
}

fn nothing_left(profile: &Profile, restricting: PluginSet) -> Status {
    let mut names: Vec<&str> = restricting.iter().map(|idx| profile.plugins[idx].name()).collect();
    names.sort_unstable();
    Status::unresolvable(match names.as_slice() {
        [one] => format!("node(s) didn't satisfy plugin {one}"),
        _ => format!("node(s) didn't satisfy plugin(s) [{}] simultaneously", names.join(" ")),
    })
}

/// Runs PreScore over the feasible nodes. With `local`, plug-ins of node scope are not asked again (nor have a state here).
pub fn pre_score(
    profile: &Profile,
    local: Option<&Local>,
    pod: &PodInfo,
    feasible: &[NodeId],
    world: &World,
) -> Result<States, Status> {
    let mut states = States::default();
    for &idx in profile.at(Point::PreScore) {
        let plugin = &profile.plugins[idx];
        let failed = |status: &Status| {
            Status::error(format!("running PreScore plugin \"{}\": {}", plugin.name(), status.message()))
                .by(plugin.name())
        };
        match local.and_then(|local| local.pre_score(idx)) {
            Some(Ok(kept)) => {
                if kept.skip {
                    states.skip.insert(idx);
                }
            }
            Some(Err(status)) => return Err(failed(status)),
            None => {
                let Some(pre_score) = plugin.as_pre_score() else { continue };
                let scored = pre_score.pre_score(pod, feasible, world).map_err(|status| failed(&status))?;
                if scored.skip {
                    states.skip.insert(idx);
                }
                states.set(idx, scored.state);
            }
        }
    }
    Ok(states)
}

/// Normalises the raw scores of one plug-in and checks their range.
pub fn finish(
    profile: &Profile,
    plugin: PluginIdx,
    state: Option<&dyn State>,
    nodes: &[NodeId],
    scores: &mut [i64],
) -> Result<(), Status> {
    let plugin = &profile.plugins[plugin];
    if let Some(score) = plugin.as_score().filter(|score| score.normalizes()) {
        score.normalize(state, nodes, scores);
    }
    match scores.iter().find(|score| !(0..=100).contains(*score)) {
        None => Ok(()),
        Some(score) => Err(Status::error(format!(
            "plugin \"{}\" returns an invalid score {score}, it should in the range of [0, 100] after normalizing",
            plugin.name()
        ))
        .by(plugin.name())),
    }
}
