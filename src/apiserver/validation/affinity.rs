//! Affinity and topology spread.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (validateAffinity, validateTopologySpreadConstraints).

use super::{Problems, names};
use crate::model::affinity::NodeSelectorOperator;
use crate::model::{
    Affinity, Name, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(field: &str, affinity: &Affinity, problems: &mut Problems) {
    if let Some(required) = &affinity.node_required {
        node_selector(&format!("{field}.nodeAffinity.{REQUIRED}"), required, problems);
    }
    for (idx, (weight, term)) in affinity.node_preferred.iter().enumerate() {
        let field = format!("{field}.nodeAffinity.{PREFERRED}[{idx}]");
        check_weight(&field, *weight, problems);
        node_term(&format!("{field}.preference"), term, problems);
    }
    let sides = [
        ("podAffinity", &affinity.pod_required, &affinity.pod_preferred),
        ("podAntiAffinity", &affinity.pod_anti_required, &affinity.pod_anti_preferred),
    ];
    for (side, required, preferred) in sides {
        for (idx, term) in required.iter().enumerate() {
            pod_term(&format!("{field}.{side}.{REQUIRED}[{idx}]"), term, problems);
        }
        for (idx, (weight, term)) in preferred.iter().enumerate() {
            let field = format!("{field}.{side}.{PREFERRED}[{idx}]");
            check_weight(&field, *weight, problems);
            pod_term(&format!("{field}.podAffinityTerm"), term, problems);
        }
    }
}

/// A node selector, of pods or volumes.
pub(super) fn node_selector(field: &str, selector: &NodeSelector, problems: &mut Problems) {
    let field = format!("{field}.nodeSelectorTerms");
    if selector.terms.is_empty() {
        problems.add(&field, "Required value: must have at least one node selector term");
    }
    for (idx, term) in selector.terms.iter().enumerate() {
        node_term(&format!("{field}[{idx}]"), term, problems);
    }
}

fn node_term(field: &str, term: &NodeSelectorTerm, problems: &mut Problems) {
    for (idx, requirement) in term.expressions.iter().enumerate() {
        let field = format!("{field}.matchExpressions[{idx}]");
        values(&field, requirement, problems);
        problems.grammar(&format!("{field}.key"), &requirement.key, names::qualified);
    }
    for (idx, requirement) in term.fields.iter().enumerate() {
        let field = format!("{field}.matchFields[{idx}]");
        if requirement.values.len() != 1 {
            problems.add(
                format!("{field}.values"),
                "Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            );
        }
        if requirement.key != *"metadata.name" {
            problems.invalid_text(format!("{field}.key"), &requirement.key, "not a valid field selector key");
        }
    }
}

fn values(field: &str, requirement: &NodeSelectorRequirement, problems: &mut Problems) {
    let field = format!("{field}.values");
    match requirement.operator {
        NodeSelectorOperator::In | NodeSelectorOperator::NotIn if requirement.values.is_empty() => {
            problems.add(field, "Required value: must be specified when `operator` is 'In' or 'NotIn'");
        }
        NodeSelectorOperator::Exists | NodeSelectorOperator::DoesNotExist if !requirement.values.is_empty() => {
            problems.forbidden(field, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        NodeSelectorOperator::Gt | NodeSelectorOperator::Lt if requirement.values.len() != 1 => {
            problems.add(field, "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        _ => {}
    }
}

fn check_weight(field: &str, weight: i64, problems: &mut Problems) {
    if !(1..=100).contains(&weight) {
        problems.invalid(format!("{field}.weight"), weight, "must be in the range 1-100");
    }
}

fn pod_term(field: &str, term: &PodAffinityTerm, problems: &mut Problems) {
    for (idx, namespace) in term.namespaces.iter().enumerate() {
        problems.grammar(&format!("{field}.namespaces[{idx}]"), namespace, names::label);
    }
    topology_key(field, term.topology_key, problems);
}

fn topology_key(field: &str, key: Name, problems: &mut Problems) {
    let field = format!("{field}.topologyKey");
    if key.is_empty() {
        problems.add(field, "Required value: can not be empty");
    } else {
        problems.grammar(&field, &key, names::qualified);
    }
}

/// `topologySpreadConstraints` of the pod spec at `field`.
pub(super) fn spread(field: &str, constraints: &[TopologySpreadConstraint], problems: &mut Problems) {
    for (idx, constraint) in constraints.iter().enumerate() {
        let field = format!("{field}.topologySpreadConstraints[{idx}]");
        if constraint.max_skew <= 0 {
            problems.invalid(format!("{field}.maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        topology_key(&field, constraint.topology_key, problems);
        let unsatisfiable = if constraint.hard { "DoNotSchedule" } else { "ScheduleAnyway" };
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.hard == constraint.hard
        };
        if constraints[idx + 1..].iter().any(same) {
            problems.duplicate(
                format!("{field}.{{topologyKey, whenUnsatisfiable}}"),
                format_args!("{{{}, {unsatisfiable}}}", constraint.topology_key),
            );
        }
        if let Some(domains) = constraint.min_domains {
            let field = format!("{field}.minDomains");
            if domains <= 0 {
                problems.invalid(&field, domains, "must be greater than 0");
            }
            if !constraint.hard {
                let why = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                problems.invalid(field, domains, why);
            }
        }
    }
}
