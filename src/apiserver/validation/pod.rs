//! Pods and pod templates: everything of the spec that is not a container's or the affinity's.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (ValidatePodSpec).

use super::{Problems, affinity, annotations, container, labels, names};
use crate::apiserver::admission::limits::{amount, amount_text, amounts};
use crate::model::pod::{ResourceRequirements, VolumeSource};
use crate::model::taint::{TaintEffect, TolerationOperator};
use crate::model::workload::PodTemplate;
use crate::model::{Name, Pod, PodSpec};

pub(super) fn pod(pod: &Pod, problems: &mut Problems) {
    spec("spec", &pod.spec, problems);
    if pod.node.is_some() && !pod.spec.scheduling_gates.is_empty() {
        problems.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
    }
}

/// A pod template at `field`.
pub(super) fn template(field: &str, template: &PodTemplate, problems: &mut Problems) {
    labels(&format!("{field}.metadata.labels"), &template.labels, problems);
    annotations(&format!("{field}.metadata.annotations"), &template.annotations, problems);
    if !template.spec.ephemeral_containers.is_empty() {
        let field = format!("{field}.spec.ephemeralContainers");
        problems.forbidden(field, "ephemeral containers not allowed in pod template");
    }
    spec(&format!("{field}.spec"), &template.spec, problems);
}

fn spec(field: &str, spec: &PodSpec, problems: &mut Problems) {
    let volumes = volumes(field, spec, problems);
    container::all(field, spec, &volumes, problems);
    if let Some(deadline) = spec.active_deadline {
        let seconds = deadline.as_secs();
        if !(1..=i32::MAX as u64).contains(&seconds) {
            let field = format!("{field}.activeDeadlineSeconds");
            problems.invalid(field, seconds, "must be between 1 and 2147483647, inclusive");
        }
    }
    if let Some(resources) = spec.resources.as_deref() {
        pod_level(field, spec, resources, problems);
    }
    labels(&format!("{field}.nodeSelector"), &spec.node_selector, problems);
    for (name, value) in [("serviceAccountName", spec.service_account), ("priorityClassName", spec.priority_class)] {
        if !value.is_empty() {
            problems.grammar(&format!("{field}.{name}"), &value, names::subdomain);
        }
    }
    for (name, value) in [("hostname", spec.hostname), ("subdomain", spec.subdomain)] {
        if !value.is_empty() {
            problems.grammar(&format!("{field}.{name}"), &value, names::label);
        }
    }
    gates(field, spec, problems);
    if let Some(affinity) = spec.affinity.as_deref() {
        affinity::affinity(&format!("{field}.affinity"), affinity, problems);
    }
    tolerations(field, spec, problems);
    affinity::spread(field, &spec.topology_spread, problems);
}

/// `resources` of the pod as a whole: no less than its containers ask for together, no less than one of them may use
/// (validatePodResources, validatePodResourceConsistency).
fn pod_level(field: &str, spec: &PodSpec, resources: &ResourceRequirements, problems: &mut Problems) {
    let of_pod = format!("{field}.resources");
    container::resources(&of_pod, resources, problems);
    for (which, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, _) in amounts(list) {
            if !matches!(name.as_str(), "cpu" | "memory") && !name.starts_with("hugepages-") {
                let why =
                    format!("Unsupported value: \"{name}\": supported values: \"cpu\", \"hugepages-\", \"memory\"");
                problems.add(format!("{of_pod}.{which}[{name}]"), why);
            }
        }
    }
    let sum = spec.aggregate(|container| container.resources.requests.amounts());
    for (name, sum) in [("cpu", sum.cpu.0), ("memory", sum.memory.0)] {
        let name = Name::new(name);
        if let Some(request) = amount(&resources.requests, name).filter(|request| *request < sum) {
            let why =
                format!("must be greater than or equal to aggregate container requests of {}", amount_text(name, sum));
            problems.invalid_text(format!("{of_pod}.requests[{name}]"), &amount_text(name, request), why);
        }
    }
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (idx, container) in containers.iter().enumerate() {
            for (name, limit) in amounts(&container.resources.limits) {
                if let Some(most) = amount(&resources.limits, name).filter(|most| limit > *most) {
                    let why = format!("must be less than or equal to pod limits of {}", amount_text(name, most));
                    let place = format!("{field}.{list}[{idx}].resources.limits[{name}]");
                    problems.invalid_text(place, &amount_text(name, limit), why);
                }
            }
        }
    }
}

/// Checks the volumes; their names, for the mounts.
fn volumes(field: &str, spec: &PodSpec, problems: &mut Problems) -> Vec<Name> {
    let mut seen: Vec<Name> = Vec::new();
    for (idx, volume) in spec.volumes.iter().enumerate() {
        let field = format!("{field}.volumes[{idx}]");
        if volume.name.is_empty() {
            problems.required(format!("{field}.name"));
        } else {
            problems.grammar(&format!("{field}.name"), &volume.name, names::label);
            if seen.contains(&volume.name) {
                problems.duplicate(format!("{field}.name"), volume.name);
            }
        }
        seen.push(volume.name);
        let empty = match &volume.source {
            VolumeSource::EmptyDir { size_limit: Some(limit), .. } if limit.0 < 0 => {
                let why = "SizeLimit field must be a valid resource quantity";
                problems.forbidden(format!("{field}.emptyDir.sizeLimit"), why);
                continue;
            }
            VolumeSource::HostPath { path, .. } if path.is_empty() => "hostPath.path",
            VolumeSource::ConfigMap { name, .. } if name.is_empty() => "configMap.name",
            VolumeSource::Secret { name, .. } if name.is_empty() => "secret.secretName",
            VolumeSource::Claim { name, .. } if name.is_empty() => "persistentVolumeClaim.claimName",
            _ => continue,
        };
        problems.required(format!("{field}.{empty}"));
    }
    seen
}

fn gates(field: &str, spec: &PodSpec, problems: &mut Problems) {
    for (idx, gate) in spec.scheduling_gates.iter().enumerate() {
        let field = format!("{field}.schedulingGates[{idx}]");
        problems.grammar(&field, gate, names::qualified);
        if spec.scheduling_gates[..idx].contains(gate) {
            problems.duplicate(field, gate);
        }
    }
}

fn tolerations(field: &str, spec: &PodSpec, problems: &mut Problems) {
    for (idx, toleration) in spec.tolerations.iter().enumerate() {
        let field = format!("{field}.tolerations[{idx}]");
        if !toleration.key.is_empty() {
            problems.grammar(&format!("{field}.key"), &toleration.key, names::qualified);
        }
        let operator = format!("{field}.operator");
        match toleration.operator {
            TolerationOperator::Equal if toleration.key.is_empty() => problems.invalid_text(
                operator,
                "Equal",
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ),
            TolerationOperator::Equal => problems.grammar(&operator, &toleration.value, names::label_value),
            TolerationOperator::Exists if !toleration.value.is_empty() => {
                problems.invalid_text(operator, &toleration.value, "value must be empty when `operator` is 'Exists'");
            }
            TolerationOperator::Exists => {}
            TolerationOperator::Gt | TolerationOperator::Lt if problems.1.taint_toleration_comparison_operators => {
                if crate::model::taint::integer(&toleration.value).is_none() {
                    let why = "value must be a valid integer when `operator` is 'Gt' or 'Lt'";
                    problems.invalid_text(format!("{field}.value"), &toleration.value, why);
                }
            }
            TolerationOperator::Gt | TolerationOperator::Lt => {
                let word = if toleration.operator == TolerationOperator::Gt { "Gt" } else { "Lt" };
                problems.add(operator, format!("Unsupported value: {word:?}: supported values: \"Equal\", \"Exists\""));
            }
        }
        if toleration.seconds.is_some() && toleration.effect != Some(TaintEffect::NoExecute) {
            let effect = toleration.effect.map_or("", TaintEffect::as_str);
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            problems.invalid_text(format!("{field}.effect"), effect, why);
        }
    }
}
