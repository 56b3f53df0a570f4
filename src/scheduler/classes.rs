//! What plug-ins of node scope said of a spec and each node, kept until the node changes.
//!
//! Pods that share a spec share a class. A class holds, for each node, the generation that it looked at, the verdict, the
//! weighted sum of the scores that need no normalising, and the raw scores that do. Nothing of this exists in Kubernetes,
//! which evaluates every node for every pod; decisions are the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::PodSpec;

use super::framework::{PreFiltered, PreScored, State, Status};
use super::listers::World;
use super::node_table::NodeId;
use super::pod_info::PodInfo;
use super::profile::{PluginIdx, Point, Profile};

/// The verdict of a node that all plug-ins of node scope accept; other verdicts are numbers of statuses.
pub const FEASIBLE: u32 = u32::MAX;

/// All classes keep together about this many entries; more are made only by forgetting the class not used for longest.
const MOST_ENTRIES: usize = 4_000_000;

/// The classes, by profile and spec.
#[derive(Debug, Default)]
pub struct Classes {
    by_spec: FxHashMap<(usize, usize), usize>,
    classes: Vec<Class>,
    clock: u64,
}

/// A spec in a profile.
#[derive(Debug)]
pub struct Class {
    pub local: Local,
    pub cache: Cache,
}

/// What plug-ins of node scope say of the spec alone.
pub struct Local {
    /// Kept so that its address means this spec.
    spec: Arc<PodSpec>,
    profile: usize,
    used: u64,
    pre_filters: Vec<Option<Result<PreFiltered, Status>>>,
    pre_scores: Vec<Option<Result<PreScored, Status>>>,
    /// Filter plug-ins of node scope that run, with their place among all.
    filters: Vec<(u32, PluginIdx)>,
    /// Score plug-ins of node scope that run and need no normalising.
    summed: Vec<PluginIdx>,
    /// Those that do.
    pub normalizing: Vec<PluginIdx>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("profile", &self.profile).field("filters", &self.filters).finish_non_exhaustive()
    }
}

/// What they say of each node.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Vec<Entry>,
    /// Raw scores: for each node as many as the class has normalising plug-ins.
    raw: Vec<i64>,
    /// Each different status once, with the place of its plug-in.
    statuses: Vec<(Status, u32)>,
}

/// One node. A generation of 0 was never given: nothing is known yet.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    generation: u64,
    verdict: u32,
    sum: i32,
}

/// The sum of a node whose score a plug-in could not give.
const FAILED: i32 = i32::MIN;

impl Classes {
    /// The class of the pod's spec.
    pub fn get(&mut self, number: usize, profile: &Profile, pod: &PodInfo, world: &World) -> &mut Class {
        self.clock += 1;
        let key = (number, Arc::as_ptr(&pod.pod.spec) as usize);
        let at = match self.by_spec.get(&key) {
            Some(&at) => at,
            None => {
                let at = self.make_room(world.nodes.rows());
                let recycled = self.classes.get_mut(at).map(|class| {
                    self.by_spec.remove(&(class.local.profile, Arc::as_ptr(&class.local.spec) as usize));
                    std::mem::take(&mut class.cache)
                });
                let class = Class::new(number, profile, pod, world, recycled.unwrap_or_default());
                if at == self.classes.len() {
                    self.classes.push(class);
                } else {
                    self.classes[at] = class;
                }
                self.by_spec.insert(key, at);
                at
            }
        };
        let class = &mut self.classes[at];
        class.local.used = self.clock;
        class
    }

    /// The place of a new class: one that nobody's pods use any more, or the oldest if there are too many, or a new one.
    fn make_room(&self, rows: usize) -> usize {
        let most = (MOST_ENTRIES / rows.max(1)).clamp(16, 4096);
        let oldest = || (0..self.classes.len()).min_by_key(|at| self.classes[*at].local.used);
        match oldest() {
            Some(at) if self.classes.len() >= most => at,
            Some(at) if Arc::strong_count(&self.classes[at].local.spec) == 1 => at,
            _ => self.classes.len(),
        }
    }
}

impl Class {
    fn new(number: usize, profile: &Profile, pod: &PodInfo, world: &World, mut cache: Cache) -> Class {
        cache.entries.fill(Entry::default());
        cache.statuses.clear();
        let local = Local::new(number, profile, pod, world);
        cache.raw.clear();
        Class { local, cache }
    }
}

impl Local {
    /// Asks the plug-ins of node scope about the spec.
    pub fn new(number: usize, profile: &Profile, pod: &PodInfo, world: &World) -> Local {
        let is_local = |idx: &&PluginIdx| profile.is_local(**idx);
        let mut local = Local {
            spec: pod.pod.spec.clone(),
            profile: number,
            used: 0,
            pre_filters: Vec::new(),
            pre_scores: Vec::new(),
            filters: Vec::new(),
            summed: Vec::new(),
            normalizing: Vec::new(),
        };
        local.pre_filters.resize_with(profile.plugins.len(), || None);
        local.pre_scores.resize_with(profile.plugins.len(), || None);
        for &idx in profile.at(Point::PreFilter).iter().filter(is_local) {
            let answer = profile.plugins[idx].as_pre_filter().map(|plugin| plugin.pre_filter(pod, world));
            local.pre_filters[idx] =
                answer.map(|answer| answer.map_err(|status| status.by(profile.plugins[idx].name())));
        }
        for &idx in profile.at(Point::PreScore).iter().filter(is_local) {
            local.pre_scores[idx] = profile.plugins[idx].as_pre_score().map(|plugin| plugin.pre_score(pod, &[], world));
        }
        for (position, &idx) in profile.at(Point::Filter).iter().enumerate().filter(|(_, idx)| is_local(idx)) {
            if !matches!(&local.pre_filters[idx], Some(Ok(PreFiltered { skip: true, .. }))) {
                local.filters.push((position as u32, idx));
            }
        }
        for &idx in profile.at(Point::Score).iter().filter(is_local) {
            let skips = !matches!(&local.pre_scores[idx], None | Some(Ok(PreScored { skip: false, .. })));
            let normalizes = profile.plugins[idx].as_score().is_some_and(|score| score.normalizes());
            match (skips, normalizes) {
                (true, _) => {}
                (false, true) => local.normalizing.push(idx),
                (false, false) => local.summed.push(idx),
            }
        }
        local
    }

    /// What a plug-in of node scope said at PreFilter.
    pub fn pre_filter(&self, plugin: PluginIdx) -> Option<&Result<PreFiltered, Status>> {
        self.pre_filters[plugin].as_ref()
    }

    /// What it left at PreFilter.
    pub fn pre_filter_state(&self, plugin: PluginIdx) -> Option<&dyn State> {
        match self.pre_filters[plugin].as_ref()? {
            Ok(answer) => answer.state.as_deref(),
            Err(_) => None,
        }
    }

    /// What it said at PreScore.
    pub fn pre_score(&self, plugin: PluginIdx) -> Option<&Result<PreScored, Status>> {
        self.pre_scores[plugin].as_ref()
    }

    /// What it left at PreScore.
    pub fn pre_score_state(&self, plugin: PluginIdx) -> Option<&dyn State> {
        match self.pre_scores[plugin].as_ref()? {
            Ok(answer) => answer.state.as_deref(),
            Err(_) => None,
        }
    }

    /// The first of the plug-ins of node scope that rejects the node, with its place among all Filter plug-ins.
    fn filter(&self, profile: &Profile, pod: &PodInfo, world: &World, id: NodeId) -> Result<(), (Status, u32)> {
        let node = world.nodes.get(id);
        for &(position, idx) in &self.filters {
            let plugin = &profile.plugins[idx];
            if let Some(filter) = plugin.as_filter() {
                let answer = filter.filter(self.pre_filter_state(idx), pod, node, world);
                answer.map_err(|status| (status.by(plugin.name()), position))?;
            }
        }
        Ok(())
    }

    fn raw_score(
        &self,
        profile: &Profile,
        plugin: PluginIdx,
        pod: &PodInfo,
        world: &World,
        id: NodeId,
    ) -> Result<i64, Status> {
        let score = profile.plugins[plugin].as_score();
        let state = self.pre_score_state(plugin);
        score.map_or(Ok(0), |score| score.score(state, pod, world.nodes.get(id), world))
    }

    /// The weighted sum of the scores that need no normalising.
    fn sum(&self, profile: &Profile, pod: &PodInfo, world: &World, id: NodeId) -> Result<i64, Status> {
        let mut sum = 0;
        for &plugin in &self.summed {
            let mut raw = [self.raw_score(profile, plugin, pod, world, id)?];
            super::states::finish(profile, plugin, self.pre_score_state(plugin), &[id], &mut raw)?;
            sum += raw[0] * profile.weight(plugin);
        }
        Ok(sum)
    }
}

impl Cache {
    /// FEASIBLE, or the number of the status with which a plug-in of node scope rejects the node.
    #[inline]
    pub fn verdict(&mut self, local: &Local, profile: &Profile, pod: &PodInfo, world: &World, id: NodeId) -> u32 {
        let generation = world.nodes.generation(id);
        if let Some(entry) = self.entries.get(id.index()).filter(|entry| entry.generation == generation) {
            return entry.verdict;
        }
        self.evaluate(local, profile, pod, world, id)
    }

    fn evaluate(&mut self, local: &Local, profile: &Profile, pod: &PodInfo, world: &World, id: NodeId) -> u32 {
        let width = local.normalizing.len();
        if self.entries.len() <= id.index() || self.raw.len() < self.entries.len() * width {
            self.entries.resize(world.nodes.rows().max(self.entries.len()), Entry::default());
            self.raw.resize(self.entries.len() * width, 0);
        }
        let mut entry = Entry { generation: world.nodes.generation(id), verdict: FEASIBLE, sum: 0 };
        match local.filter(profile, pod, world, id) {
            Err((status, position)) => entry.verdict = self.number_of(status, position),
            Ok(()) => {
                let sum = local.sum(profile, pod, world, id);
                entry.sum = sum.ok().and_then(|sum| i32::try_from(sum).ok()).unwrap_or(FAILED);
                for (place, &plugin) in local.normalizing.iter().enumerate() {
                    match local.raw_score(profile, plugin, pod, world, id) {
                        Ok(raw) => self.raw[id.index() * width + place] = raw,
                        Err(_) => entry.sum = FAILED,
                    }
                }
            }
        }
        self.entries[id.index()] = entry;
        entry.verdict
    }

    fn number_of(&mut self, status: Status, position: u32) -> u32 {
        let known = self.statuses.iter().position(|(known, place)| *place == position && *known == status);
        known.unwrap_or_else(|| {
            self.statuses.push((status, position));
            self.statuses.len() - 1
        }) as u32
    }

    /// The status of this number.
    pub fn status(&self, number: u32) -> &Status {
        &self.statuses[number as usize].0
    }

    /// The place among all Filter plug-ins of the one that said it.
    pub fn position(&self, number: u32) -> usize {
        self.statuses[number as usize].1 as usize
    }

    /// Appends the weighted sums of nodes that were found feasible. An error is that of the plug-in that could not score.
    pub fn sums(
        &self,
        local: &Local,
        profile: &Profile,
        pod: &PodInfo,
        world: &World,
        nodes: &[NodeId],
        sums: &mut Vec<i64>,
    ) -> Result<(), Status> {
        for &node in nodes {
            match self.entries[node.index()].sum {
                FAILED => {
                    sums.push(local.sum(profile, pod, world, node)?);
                    for &plugin in &local.normalizing {
                        local.raw_score(profile, plugin, pod, world, node)?;
                    }
                }
                sum => sums.push(i64::from(sum)),
            }
        }
        Ok(())
    }

    /// The raw scores of one normalising plug-in.
    pub fn column(&self, place: usize, nodes: &[NodeId], column: &mut Vec<i64>) {
        let width = self.raw.len() / self.entries.len().max(1);
        column.clear();
        column.extend(nodes.iter().map(|node| self.raw[node.index() * width + place]));
    }
}
