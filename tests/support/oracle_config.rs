//! A KubeSchedulerConfiguration as profiles, as far as the oracle's cases go.

use std::sync::Arc;

use serde_json::Value;
use simlet::model::Name;
use simlet::scheduler::framework::{Point, Profile};
use simlet::scheduler::plugins::resource_scoring::{ScoredResource, Strategy};
use simlet::scheduler::plugins::{self, Args, PodTopologySpread};

use super::oracle_objects;

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn scored(value: &Value) -> Vec<ScoredResource> {
    let resource = |one: &Value| {
        ScoredResource::new(one["name"].as_str().unwrap_or_default(), one["weight"].as_i64().unwrap_or(1))
    };
    match list(value) {
        [] => ScoredResource::cpu_and_memory(),
        some => some.iter().map(resource).collect(),
    }
}

fn args(profile: &Value, gates: &Value) -> Args {
    let mut args =
        Args { comparison_operators: gates["TaintTolerationComparisonOperators"] == true, ..Args::default() };
    for config in list(&profile["pluginConfig"]) {
        let given = &config["args"];
        let names = |value: &Value| list(value).iter().filter_map(|name| name.as_str().map(Name::new)).collect();
        match config["name"].as_str() {
            Some("NodeResourcesFit") => {
                let strategy = &given["scoringStrategy"];
                let shape = list(&strategy["requestedToCapacityRatio"]["shape"]);
                args.fit.strategy = match strategy["type"].as_str() {
                    Some("MostAllocated") => Strategy::MostAllocated,
                    Some("RequestedToCapacityRatio") => Strategy::RequestedToCapacityRatio(
                        shape
                            .iter()
                            .map(|point| {
                                (point["utilization"].as_i64().unwrap_or(0), point["score"].as_i64().unwrap_or(0))
                            })
                            .collect(),
                    ),
                    _ => Strategy::LeastAllocated,
                };
                args.fit.resources = scored(&strategy["resources"]);
                args.fit.ignored_resources = names(&given["ignoredResources"]);
                args.fit.ignored_resource_groups = names(&given["ignoredResourceGroups"]);
            }
            Some("NodeResourcesBalancedAllocation") => args.balanced.resources = scored(&given["resources"]),
            Some("NodeAffinity") => {
                args.node_affinity.added = (!given["addedAffinity"].is_null())
                    .then(|| Arc::new(oracle_objects::node_affinity(&given["addedAffinity"])));
            }
            Some("InterPodAffinity") => {
                args.inter_pod_affinity.hard_pod_affinity_weight = given["hardPodAffinityWeight"].as_i64().unwrap_or(1);
                args.inter_pod_affinity.ignore_preferred_terms_of_existing_pods =
                    given["ignorePreferredTermsOfExistingPods"] == true;
            }
            Some("PodTopologySpread") => {
                let constraints = list(&given["defaultConstraints"]).iter().map(oracle_objects::spread).collect();
                args.spread = PodTopologySpread::new((given["defaultingType"] == "List").then_some(constraints));
            }
            Some("DefaultPreemption") => {
                let number = |key: &str, default| given[key].as_u64().unwrap_or(default) as usize;
                args.preemption.min_candidate_nodes_percentage = number("minCandidateNodesPercentage", 10);
                args.preemption.min_candidate_nodes_absolute = number("minCandidateNodesAbsolute", 100);
            }
            _ => {}
        }
    }
    args
}

/// The profiles of a case's configuration; without one, the default profile.
pub fn profiles(case: &Value) -> Vec<Profile> {
    let gates = &case["featureGates"];
    match list(&case["config"]["profiles"]) {
        [] => vec![profile(&Value::Null, gates, 100)],
        some => some.iter().map(|one| profile(one, gates, 100)).collect(),
    }
}

fn profile(value: &Value, gates: &Value, percentage: u32) -> Profile {
    let scheduler = value["schedulerName"].as_str().unwrap_or("default-scheduler");
    let multi_point = &value["plugins"]["multiPoint"];
    let disabled = |point: &Value, name: &str| {
        list(&point["disabled"]).iter().any(|one| one["name"] == name || one["name"] == "*")
    };
    let mut all = plugins::defaults(args(value, gates));
    let enabled = list(&multi_point["enabled"]);
    let given = |name: &str| enabled.iter().find(|one| one["name"] == name);
    let mut last = Vec::new();
    all.retain(|(plugin, weight)| {
        let off = disabled(multi_point, plugin.name());
        if off && given(plugin.name()).is_some() {
            last.push((plugin.clone(), *weight));
        }
        !off
    });
    last.sort_by_key(|(plugin, _)| enabled.iter().position(|one| one["name"] == plugin.name()));
    all.extend(last);
    for (plugin, weight) in &mut all {
        if let Some(one) = given(plugin.name()) {
            *weight = one["weight"].as_i64().unwrap_or(1);
        }
    }
    let mut profile = Profile::new(scheduler, all);
    profile.percentage_of_nodes_to_score = percentage;
    for (key, point) in [("filter", Point::Filter), ("score", Point::Score)] {
        let given = &value["plugins"][key];
        if given.is_null() {
            continue;
        }
        let explicit: Vec<&str> = list(&given["enabled"]).iter().filter_map(|one| one["name"].as_str()).collect();
        let mut names = explicit.clone();
        let others = profile.names_at(point);
        names.extend(others.into_iter().filter(|name| !explicit.contains(name) && !disabled(given, name)));
        profile.set_point(point, &names);
        for one in list(&given["enabled"]) {
            if let (Some(name), Some(weight)) = (one["name"].as_str(), one["weight"].as_i64()) {
                profile.set_weight(name, weight);
            }
        }
    }
    profile
}
