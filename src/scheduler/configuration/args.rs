//! The arguments of plug-ins: defaults, validation in Kubernetes' words, and what becomes of them.
//!
//! Kubernetes: pkg/scheduler/apis/config/v1/defaults.go, pkg/scheduler/apis/config/validation/validation_pluginargs.go.

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::affinity::NodeSelectorOperator;
use crate::model::{Affinity, Name};
use crate::scheduler::plugins::resource_scoring::{ScoredResource, Strategy};
use crate::scheduler::plugins::{Args, PodTopologySpread};

use super::types::{self, NodeSelectorTerm, PluginArgs, ResourceSpec, UtilizationShapePoint};
use super::words;
use crate::model::configuration::Problems;

/// Checks the arguments and enters them.
pub(super) fn apply(given: &PluginArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    match given {
        PluginArgs::DefaultPreemption(given) => preemption(given, path, args, problems),
        PluginArgs::InterPodAffinity(given) => inter_pod_affinity(given, path, args, problems),
        PluginArgs::NodeAffinity(given) => node_affinity(given, path, args, problems),
        PluginArgs::NodeResourcesFit(given) => fit(given, path, args, problems),
        PluginArgs::NodeResourcesBalancedAllocation(given) => balanced(given, path, args, problems),
        PluginArgs::PodTopologySpread(given) => spread(given, path, args, problems),
        PluginArgs::VolumeBinding(given) => volume_binding(given, path, args, problems),
        PluginArgs::DynamicResources(given) => dynamic_resources(given, path, args, problems),
    }
}

fn preemption(given: &types::DefaultPreemptionArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let percentage = given.min_candidate_nodes_percentage.unwrap_or(10);
    let absolute = given.min_candidate_nodes_absolute.unwrap_or(100);
    let at = |field: &str| format!("{path}.{field}");
    if !(0..=100).contains(&percentage) {
        problems.invalid(at("minCandidateNodesPercentage"), percentage, "not in valid range [0, 100]");
    }
    if absolute < 0 {
        problems.invalid(at("minCandidateNodesAbsolute"), absolute, "not in valid range [0, inf)");
    }
    if percentage == 0 && absolute == 0 {
        let why = "cannot be zero at the same time as minCandidateNodesAbsolute";
        problems.invalid(at("minCandidateNodesPercentage"), percentage, why);
        let why = "cannot be zero at the same time as minCandidateNodesPercentage";
        problems.invalid(at("minCandidateNodesAbsolute"), absolute, why);
    }
    args.preemption.min_candidate_nodes_percentage = percentage.max(0) as usize;
    args.preemption.min_candidate_nodes_absolute = absolute.max(0) as usize;
}

fn inter_pod_affinity(given: &types::InterPodAffinityArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let weight = given.hard_pod_affinity_weight.unwrap_or(1);
    if !(0..=100).contains(&weight) {
        problems.invalid(format!("{path}.hardPodAffinityWeight"), weight, "not in valid range [0, 100]");
    }
    args.inter_pod_affinity.hard_pod_affinity_weight = i64::from(weight);
    args.inter_pod_affinity.ignore_preferred_terms_of_existing_pods = given.ignore_preferred_terms_of_existing_pods;
}

fn node_affinity(given: &types::NodeAffinityArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let Some(added) = &given.added_affinity else { return };
    let mut affinity = Affinity::default();
    if let Some(required) = &added.required_during_scheduling_ignored_during_execution {
        let path = format!("{path}.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution");
        let terms = required.node_selector_terms.iter().enumerate();
        let terms =
            terms.map(|(index, one)| term(one, &format!("{path}.nodeSelectorTerms[{index}]"), problems)).collect();
        affinity.node_required = Some(crate::model::NodeSelector { terms });
    }
    for (index, preferred) in added.preferred_during_scheduling_ignored_during_execution.iter().enumerate() {
        let path = format!("{path}.addedAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]");
        let term = term(&preferred.preference, &path, problems);
        affinity.node_preferred.push((i64::from(preferred.weight), term));
    }
    args.node_affinity.added = Some(Arc::new(affinity));
}

fn term(given: &NodeSelectorTerm, path: &str, problems: &mut Problems) -> crate::model::NodeSelectorTerm {
    let mut requirements = |list: &[types::NodeSelectorRequirement], field: &str, is_field: bool| {
        let mut all = Vec::new();
        for (index, one) in list.iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            all.extend(requirement(one, &path, is_field, problems));
        }
        all
    };
    crate::model::NodeSelectorTerm {
        expressions: requirements(&given.match_expressions, "matchExpressions", false),
        fields: requirements(&given.match_fields, "matchFields", true),
    }
}

/// Kubernetes: staging/src/k8s.io/component-helpers/scheduling/corev1/nodeaffinity (nodeSelectorRequirementsAsSelector),
/// apimachinery's labels.NewRequirement.
fn requirement(
    given: &types::NodeSelectorRequirement,
    path: &str,
    is_field: bool,
    problems: &mut Problems,
) -> Option<crate::model::NodeSelectorRequirement> {
    const OPERATORS: [(&str, NodeSelectorOperator); 6] = [
        ("In", NodeSelectorOperator::In),
        ("NotIn", NodeSelectorOperator::NotIn),
        ("Exists", NodeSelectorOperator::Exists),
        ("DoesNotExist", NodeSelectorOperator::DoesNotExist),
        ("Gt", NodeSelectorOperator::Gt),
        ("Lt", NodeSelectorOperator::Lt),
    ];
    let known = OPERATORS.iter().find(|(word, _)| *word == given.operator);
    let values_at = || format!("{path}.values");
    let Some((_, operator)) = known.filter(|(word, _)| !is_field || matches!(*word, "In" | "NotIn")) else {
        let text = format!("not a valid selector operator: {:?}", given.operator);
        problems.invalid(format!("{path}.operator"), format_args!("{:?}", given.operator), &text);
        return None;
    };
    if !is_field && let Some(problem) = words::label_key(&given.key) {
        problems.invalid(format!("{path}.key"), format_args!("{:?}", given.key), &problem);
    }
    let values = given.values.len();
    let shown = format!("[{}]", given.values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(","));
    match operator {
        _ if is_field && values != 1 => problems.invalid(values_at(), &shown, "must have one element"),
        _ if is_field => {}
        NodeSelectorOperator::In | NodeSelectorOperator::NotIn if values == 0 => {
            problems.invalid(values_at(), &shown, "for 'in', 'notin' operators, values set can't be empty");
        }
        NodeSelectorOperator::Exists | NodeSelectorOperator::DoesNotExist if values != 0 => {
            problems.invalid(values_at(), &shown, "values set must be empty for exists and does not exist");
        }
        NodeSelectorOperator::Gt | NodeSelectorOperator::Lt if values != 1 => {
            problems.invalid(values_at(), &shown, "for 'Gt', 'Lt' operators, exactly one value is required");
        }
        NodeSelectorOperator::Gt | NodeSelectorOperator::Lt
            if given.values.iter().any(|value| value.parse::<i64>().is_err()) =>
        {
            problems.invalid(
                format!("{path}.values[0]"),
                format_args!("{:?}", given.values[0]),
                "for 'Gt', 'Lt' operators, the value must be an integer",
            );
        }
        _ => {}
    }
    for (index, value) in given.values.iter().enumerate() {
        if !is_field && let Some(problem) = words::label_value(value) {
            let path = format!("{path}.values[{index}][{}]", given.key);
            problems.invalid(path, format_args!("{value:?}"), problem);
        }
    }
    Some(crate::model::NodeSelectorRequirement {
        key: Name::new(&given.key),
        operator: *operator,
        values: given.values.iter().map(Name::from).collect(),
    })
}

/// Resources with their weights: none are CPU and memory, a weight of 0 is 1.
fn resources(given: &[ResourceSpec]) -> Vec<ScoredResource> {
    if given.is_empty() {
        return ScoredResource::cpu_and_memory();
    }
    given.iter().map(|one| ScoredResource::new(&one.name, one.weight)).collect()
}

fn weight_of(given: &ResourceSpec) -> i64 {
    if given.weight == 0 { 1 } else { given.weight }
}

fn fit(given: &types::NodeResourcesFitArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    for (index, resource) in given.ignored_resources.iter().enumerate() {
        if let Some(problem) = words::label_key(resource) {
            problems.invalid(format!("{path}.ignoredResources[{index}]"), format_args!("{resource:?}"), &problem);
        }
    }
    for (index, group) in given.ignored_resource_groups.iter().enumerate() {
        let at = format!("{path}.ignoredResourceGroups[{index}]");
        if group.contains('/') {
            problems.invalid(at.clone(), format_args!("{group:?}"), "resource group name can't contain '/'");
        }
        if let Some(problem) = words::label_key(group) {
            problems.invalid(at, format_args!("{group:?}"), &problem);
        }
    }
    args.fit.ignored_resources = given.ignored_resources.iter().map(Name::from).collect();
    args.fit.ignored_resource_groups = given.ignored_resource_groups.iter().map(Name::from).collect();
    let Some(strategy) = &given.scoring_strategy else { return };
    let path = format!("{path}.scoringStrategy");
    for (index, resource) in strategy.resources.iter().enumerate() {
        let weight = weight_of(resource);
        if !(1..=100).contains(&weight) {
            let why = format!("resource weight of {} not in valid range (0, 100]", resource.name);
            problems.invalid(format!("{path}.resources[{index}].weight"), weight, &why);
        }
    }
    let ratio = strategy.requested_to_capacity_ratio.as_ref();
    let ratio_at = format!("{path}.requestedToCapacityRatio");
    args.fit.resources = resources(&strategy.resources);
    args.fit.strategy = match strategy.kind.as_str() {
        "LeastAllocated" => Strategy::LeastAllocated,
        "MostAllocated" => Strategy::MostAllocated,
        "RequestedToCapacityRatio" => {
            let Some(ratio) = ratio else {
                problems.required(ratio_at, "must be specified when type is RequestedToCapacityRatio");
                return;
            };
            shape(&ratio.shape, &format!("{ratio_at}.shape"), problems);
            let point = |one: &UtilizationShapePoint| (i64::from(one.utilization), i64::from(one.score));
            Strategy::RequestedToCapacityRatio(ratio.shape.iter().map(point).collect())
        }
        other => {
            let known = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];
            problems.not_supported(format!("{path}.type"), other, &known);
            Strategy::LeastAllocated
        }
    };
    if ratio.is_some() && strategy.kind != "RequestedToCapacityRatio" {
        problems.forbidden(ratio_at, "must be nil when type is not RequestedToCapacityRatio");
    }
}

fn shape(points: &[UtilizationShapePoint], path: &str, problems: &mut Problems) {
    if points.is_empty() {
        problems.required(path.to_owned(), "at least one point must be specified");
    }
    if let Some(at) = points.windows(2).position(|pair| pair[0].utilization >= pair[1].utilization) {
        let why = "values must be sorted in increasing order";
        problems.invalid(format!("{path}[{}].utilization", at + 1), points[at + 1].utilization, why);
    }
    for (index, point) in points.iter().enumerate() {
        if !(0..=100).contains(&point.utilization) {
            let why = "not in valid range [0, 100]";
            problems.invalid(format!("{path}[{index}].utilization"), point.utilization, why);
        }
        if !(0..=10).contains(&point.score) {
            problems.invalid(format!("{path}[{index}].score"), point.score, "not in valid range [0, 10]");
        }
    }
}

fn balanced(given: &types::NodeResourcesBalancedAllocationArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    for (index, resource) in given.resources.iter().enumerate() {
        let path = format!("{path}.resources[{index}]");
        if given.resources[..index].iter().any(|before| before.name == resource.name) {
            problems.duplicate(format!("{path}.name"), &resource.name);
        }
        if weight_of(resource) != 1 {
            problems.invalid(format!("{path}.weight"), resource.weight, "must be 1");
        }
    }
    args.balanced.resources = resources(&given.resources);
}

fn spread(given: &types::PodTopologySpreadArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let kind = if given.defaulting_type.is_empty() { "System" } else { &given.defaulting_type };
    let kind_at = format!("{path}.defaultingType");
    match kind {
        "List" => {}
        "System" if given.default_constraints.is_empty() => {}
        "System" => problems.invalid(kind_at, "\"System\"", "when .defaultConstraints are not empty"),
        other => problems.not_supported(kind_at, other, &["System", "List"]),
    }
    let mut constraints = Vec::new();
    for (index, one) in given.default_constraints.iter().enumerate() {
        let path = format!("{path}.defaultConstraints[{index}]");
        if one.max_skew <= 0 {
            problems.invalid(format!("{path}.maxSkew"), one.max_skew, "not in valid range (0, inf)");
        }
        let key_at = format!("{path}.topologyKey");
        if one.topology_key.is_empty() {
            problems.required(key_at, "can not be empty");
        } else if let Some(problem) = words::label_key(&one.topology_key) {
            problems.invalid(key_at, format_args!("{:?}", one.topology_key), &problem);
        }
        match one.when_unsatisfiable.as_str() {
            "DoNotSchedule" | "ScheduleAnyway" => {}
            "" => problems.required(format!("{path}.whenUnsatisfiable"), "can not be empty"),
            other => {
                let known = ["DoNotSchedule", "ScheduleAnyway"];
                problems.not_supported(format!("{path}.whenUnsatisfiable"), other, &known);
            }
        }
        if one.label_selector.is_some() {
            let why = "constraint must not define a selector, as they deduced for each pod";
            problems.forbidden(format!("{path}.labelSelector"), why);
        }
        let same = |before: &types::TopologySpreadConstraint| {
            before.topology_key == one.topology_key && before.when_unsatisfiable == one.when_unsatisfiable
        };
        if given.default_constraints[..index].iter().any(same) {
            problems.duplicate(path, &format!("{{{}, {}}}", one.topology_key, one.when_unsatisfiable));
        }
        constraints.push(crate::model::TopologySpreadConstraint {
            max_skew: i64::from(one.max_skew),
            topology_key: Name::new(&one.topology_key),
            hard: one.when_unsatisfiable == "DoNotSchedule",
            selector: None,
            min_domains: one.min_domains.map(i64::from),
            honor_node_affinity: one.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_node_taints: one.node_taints_policy.as_deref() == Some("Honor"),
            match_label_keys: one.match_label_keys.iter().map(Name::from).collect(),
        });
    }
    args.spread = PodTopologySpread::new((kind == "List").then_some(constraints));
}

fn volume_binding(given: &types::VolumeBindingArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let seconds = given.bind_timeout_seconds.unwrap_or(600);
    if seconds < 0 {
        let why = "invalid BindTimeoutSeconds, should not be a negative value";
        problems.invalid(format!("{path}.bindTimeoutSeconds"), seconds, why);
    }
    if let Some(shape) = &given.shape {
        let why = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring";
        let points = shape.iter().map(|one| format!("{{{},{}}}", one.utilization, one.score));
        let shown = format!("[{}]", points.collect::<Vec<_>>().join(","));
        problems.invalid(format!("{path}.shape"), shown, why);
    }
    args.volume_binding.bind_timeout = Duration::from_secs(seconds.max(0).unsigned_abs());
}

fn dynamic_resources(given: &types::DynamicResourcesArgs, path: &str, args: &mut Args, problems: &mut Problems) {
    let at = |field: &str| format!("{path}.{field}");
    if let Some(text) = &given.filter_timeout
        && words::is_negative(text, at("filterTimeout"), problems)
    {
        problems.invalid(at("filterTimeout"), format_args!("{text:?}"), "must be zero or positive");
    }
    if let Some(text) = &given.binding_timeout {
        let negative = words::is_negative(text, at("bindingTimeout"), problems);
        let short = Duration::parse_go(text).is_some_and(|length| length < Duration::from_secs(1));
        if negative || short {
            problems.invalid(at("bindingTimeout"), format_args!("{text:?}"), "must be at least 1 second");
        } else if let Some(length) = Duration::parse_go(text) {
            args.devices.binding_timeout = length;
        }
    }
}
