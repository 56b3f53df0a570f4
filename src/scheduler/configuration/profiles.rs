//! Which plug-ins a profile runs where: the defaults, what the file enables and disables, MultiPoint spread over the
//! extension points.
//!
//! Kubernetes: pkg/scheduler/apis/config/v1/default_plugins.go (mergePlugins),
//! pkg/scheduler/framework/runtime/framework.go (NewFramework, updatePluginList, expandMultiPointPlugins, getScoreWeights).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::scheduler::framework::{Plugin, Profile};
use crate::scheduler::plugins::{self, Args};
use crate::scheduler::profile::{PluginIdx, Point};

use super::NOT_SIMULATED;
use super::types::{KubeSchedulerProfile, PluginSet};
use crate::model::configuration::Problems;

/// A plug-in that a profile has at a point or at MultiPoint, and where the file says so.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    weight: i64,
    /// Empty for a default.
    path: String,
}

/// The extension points in the order in which kube-scheduler fills them, with their names in the file and in messages.
const POINTS: [(Point, &str, &str); 12] = [
    (Point::PreFilter, "preFilter", "PreFilterPlugin"),
    (Point::Filter, "filter", "FilterPlugin"),
    (Point::PostFilter, "postFilter", "PostFilterPlugin"),
    (Point::Reserve, "reserve", "ReservePlugin"),
    (Point::PreScore, "preScore", "PreScorePlugin"),
    (Point::Score, "score", "ScorePlugin"),
    (Point::PreBind, "preBind", "PreBindPlugin"),
    (Point::Bind, "bind", "BindPlugin"),
    (Point::PostBind, "postBind", "PostBindPlugin"),
    (Point::Permit, "permit", "PermitPlugin"),
    (Point::PreEnqueue, "preEnqueue", "PreEnqueuePlugin"),
    (Point::QueueSort, "queueSort", "QueueSortPlugin"),
];

/// The plug-ins of the file in place of and behind the defaults (`mergePluginSet`).
fn merge(defaults: &[Entry], set: &PluginSet, path: &str) -> Vec<Entry> {
    let own: Vec<Entry> = set
        .enabled
        .iter()
        .enumerate()
        .map(|(index, plugin)| Entry {
            name: plugin.name.clone(),
            weight: i64::from(plugin.weight.unwrap_or(0)),
            path: format!("{path}.enabled[{index}]"),
        })
        .collect();
    let mut used = vec![false; own.len()];
    let mut merged = Vec::new();
    for default in defaults.iter().filter(|default| !is_disabled(set, &default.name)) {
        // Of a name that stands twice the last counts.
        match own.iter().rposition(|entry| entry.name == default.name) {
            Some(at) => {
                used[at] = true;
                merged.push(own[at].clone());
            }
            None => merged.push(default.clone()),
        }
    }
    merged.extend(own.into_iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry));
    merged
}

fn is_disabled(set: &PluginSet, name: &str) -> bool {
    set.disabled.iter().any(|plugin| plugin.name == "*" || plugin.name == name)
}

/// Makes a profile. `path` is where it stands in the file. None if kube-scheduler would not start with it.
pub(super) fn profile(
    given: &KubeSchedulerProfile,
    path: &str,
    scheduler_name: &str,
    args: Args,
    others: &[Arc<dyn Plugin>],
    problems: &mut Problems,
) -> Option<Profile> {
    let none = Default::default();
    let plugins = given.plugins.as_ref().unwrap_or(&none);
    let path = format!("{path}.plugins");
    let registry: Vec<(Arc<dyn Plugin>, i64)> =
        plugins::defaults(args).into_iter().chain(others.iter().map(|plugin| (plugin.clone(), 0))).collect();
    let defaults: Vec<Entry> = registry[..registry.len() - others.len()]
        .iter()
        .map(|(plugin, weight)| Entry { name: plugin.name().to_owned(), weight: *weight, path: String::new() })
        .collect();
    let multi_point = merge(&defaults, &plugins.multi_point, &format!("{path}.multiPoint"));
    let explicit: Vec<(&str, &PluginSet, Vec<Entry>)> = plugins
        .points()
        .into_iter()
        .map(|(field, set)| (field, set, merge(&[], set, &format!("{path}.{field}"))))
        .collect();

    // In MultiPoint order, then those that only points name.
    let mut chosen: Vec<Arc<dyn Plugin>> = Vec::new();
    let index_of = |name: &str, chosen: &[Arc<dyn Plugin>]| chosen.iter().position(|plugin| plugin.name() == name);
    for entry in multi_point.iter().chain(explicit.iter().flat_map(|(_, _, entries)| entries)) {
        let there = registry.iter().find(|(plugin, _)| plugin.name() == entry.name);
        if let Some((plugin, _)) = there.filter(|_| index_of(&entry.name, &chosen).is_none()) {
            chosen.push(plugin.clone());
        }
    }
    let start = format!("initializing profiles: creating profile for scheduler name {scheduler_name}: ");
    let fail = |entry: &Entry, text: String, problems: &mut Problems| {
        problems.say(entry.path.clone(), format!("{start}{text}"));
        None::<Profile>
    };

    let mut points: [SmallVec<[PluginIdx; 16]>; 12] = Default::default();
    for ((point, _, interface), (_, _, entries)) in POINTS.iter().zip(&explicit) {
        for entry in entries.iter().filter(|entry| !NOT_SIMULATED.contains(&entry.name.as_str())) {
            let Some(idx) = index_of(&entry.name, &chosen) else {
                return fail(entry, format!("{interface} {:?} does not exist", entry.name), problems);
            };
            if !point.is_implemented_by(&*chosen[idx]) {
                return fail(entry, format!("plugin {:?} does not extend {interface} plugin", entry.name), problems);
            }
            if points[*point as usize].contains(&idx) {
                let text = format!("plugin {:?} already registered as {interface:?}", entry.name);
                return fail(entry, text, problems);
            }
            points[*point as usize].push(idx);
        }
    }
    for ((point, _, interface), (_, set, _)) in POINTS.iter().zip(&explicit) {
        if set.disabled.iter().any(|plugin| plugin.name == "*") {
            continue;
        }
        let own = points[*point as usize].clone();
        let (mut overriding, mut more): (SmallVec<[PluginIdx; 16]>, SmallVec<[PluginIdx; 16]>) = Default::default();
        for entry in multi_point.iter().filter(|entry| !NOT_SIMULATED.contains(&entry.name.as_str())) {
            let Some(idx) = index_of(&entry.name, &chosen) else {
                return fail(entry, format!("{interface} {:?} does not exist", entry.name), problems);
            };
            if !point.is_implemented_by(&*chosen[idx]) || is_disabled(set, &entry.name) {
                continue;
            }
            if own.contains(&idx) {
                overriding.push(idx);
            } else if more.contains(&idx) {
                let text = format!("plugin {:?} already registered as {interface:?}", entry.name);
                return fail(entry, text, problems);
            } else {
                more.push(idx);
            }
        }
        // First those of the point that MultiPoint has too, then MultiPoint's others, then the point's others.
        let (first, last): (Vec<PluginIdx>, Vec<PluginIdx>) = own.iter().partition(|idx| overriding.contains(idx));
        points[*point as usize] = first.into_iter().chain(more).chain(last).collect();
    }

    let here = Entry { name: String::new(), weight: 0, path };
    let sorting = points[Point::QueueSort as usize].len();
    if sorting != 1 {
        let text = format!(
            "only one queue sort plugin required for profile with scheduler name {scheduler_name:?}, but got {sorting}"
        );
        return fail(&here, text, problems);
    }
    if points[Point::Bind as usize].is_empty() {
        let text = format!("at least one bind plugin is needed for profile with scheduler name {scheduler_name:?}");
        return fail(&here, text, problems);
    }
    // What a point says of a weight counts before what MultiPoint says.
    let score = POINTS.iter().position(|(point, _, _)| *point == Point::Score).and_then(|at| explicit.get(at));
    let score: &[Entry] = score.map_or(&[], |(_, _, entries)| entries);
    let weights = chosen.iter().map(|plugin| {
        let entry = score.iter().chain(&multi_point).find(|entry| entry.name == plugin.name());
        entry.map_or(1, |entry| if entry.weight == 0 { 1 } else { entry.weight })
    });
    let weights = weights.collect();
    Some(Profile::assembled(scheduler_name, chosen, points, weights))
}
