//! Selectors, affinity, tolerations, topology spread.

use serde_json::{Value, json};

use crate::model::affinity::NodeSelectorOperator;
use crate::model::taint::TolerationOperator;
use crate::model::{
    Affinity, Name, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, Requirement, Selector,
    Toleration, TopologySpreadConstraint,
};

use super::fields::Fields;

/// A label selector. Requirements that are one value of one key are printed as `matchLabels` as far as they may have
/// been written so: at the front, each key once, in order.
pub(super) fn selector(selector: &Selector) -> Value {
    let mut labels = Fields::new();
    let mut last: Option<Name> = None;
    let mut rest = selector.requirements.iter().peekable();
    while let Some(Requirement::In(key, values)) = rest.peek() {
        let [value] = values.as_slice() else { break };
        if last.is_some_and(|last| last >= *key) {
            break;
        }
        labels.put(key, value.as_str());
        last = Some(*key);
        rest.next();
    }
    let mut fields = Fields::new();
    fields.list("matchExpressions", rest, |requirement| {
        let (key, operator, values) = match requirement {
            Requirement::In(key, values) => (key, "In", values.as_slice()),
            Requirement::NotIn(key, values) => (key, "NotIn", values.as_slice()),
            Requirement::Exists(key) => (key, "Exists", [].as_slice()),
            Requirement::DoesNotExist(key) => (key, "DoesNotExist", [].as_slice()),
        };
        let mut fields = Fields::new();
        fields.put("key", key.as_str()).put("operator", operator).names("values", values);
        fields.done()
    });
    fields.filled("matchLabels", labels.done());
    fields.done()
}

/// `affinity`.
pub(super) fn affinity(affinity: &Affinity) -> Value {
    let mut node = Fields::new();
    node.list(
        PREFERRED,
        &affinity.node_preferred,
        |(weight, term)| json!({"preference": node_selector_term(term), "weight": weight}),
    );
    node.some(REQUIRED, affinity.node_required.as_ref().map(node_selector));
    let mut fields = Fields::new();
    fields.filled("nodeAffinity", node.done());
    fields.filled("podAffinity", pods(&affinity.pod_required, &affinity.pod_preferred));
    fields.filled("podAntiAffinity", pods(&affinity.pod_anti_required, &affinity.pod_anti_preferred));
    fields.done()
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn pods(required: &[PodAffinityTerm], preferred: &[(i64, PodAffinityTerm)]) -> Value {
    let mut fields = Fields::new();
    fields.list(
        PREFERRED,
        preferred,
        |(weight, term)| json!({"podAffinityTerm": pod_affinity_term(term), "weight": weight}),
    );
    fields.list(REQUIRED, required, pod_affinity_term);
    fields.done()
}

fn pod_affinity_term(term: &PodAffinityTerm) -> Value {
    let mut fields = Fields::new();
    fields.some("labelSelector", term.selector.as_ref().map(selector));
    fields.names("matchLabelKeys", &term.match_label_keys);
    fields.names("mismatchLabelKeys", &term.mismatch_label_keys);
    fields.some("namespaceSelector", term.namespace_selector.as_ref().map(selector));
    fields.names("namespaces", &term.namespaces);
    fields.put("topologyKey", term.topology_key.as_str());
    fields.done()
}

/// A node selector with its terms.
pub(super) fn node_selector(selector: &NodeSelector) -> Value {
    json!({"nodeSelectorTerms": selector.terms.iter().map(node_selector_term).collect::<Vec<Value>>()})
}

fn node_selector_term(term: &NodeSelectorTerm) -> Value {
    let mut fields = Fields::new();
    fields.list("matchExpressions", &term.expressions, node_requirement);
    fields.list("matchFields", &term.fields, node_requirement);
    fields.done()
}

fn node_requirement(requirement: &NodeSelectorRequirement) -> Value {
    let operator = match requirement.operator {
        NodeSelectorOperator::In => "In",
        NodeSelectorOperator::NotIn => "NotIn",
        NodeSelectorOperator::Exists => "Exists",
        NodeSelectorOperator::DoesNotExist => "DoesNotExist",
        NodeSelectorOperator::Gt => "Gt",
        NodeSelectorOperator::Lt => "Lt",
    };
    let mut fields = Fields::new();
    fields.put("key", requirement.key.as_str()).put("operator", operator).names("values", &requirement.values);
    fields.done()
}

/// `tolerations`. Kubernetes stores no default operator, so `Equal` is left out.
pub(super) fn tolerations(tolerations: &[Toleration]) -> Value {
    let print = |toleration: &Toleration| {
        let mut fields = Fields::new();
        fields.some("effect", toleration.effect.map(|effect| effect.as_str()));
        fields.text("key", &toleration.key);
        match toleration.operator {
            TolerationOperator::Equal => {}
            TolerationOperator::Exists => {
                fields.put("operator", "Exists");
            }
            TolerationOperator::Gt => {
                fields.put("operator", "Gt");
            }
            TolerationOperator::Lt => {
                fields.put("operator", "Lt");
            }
        }
        fields.some("tolerationSeconds", toleration.seconds.map(|seconds| seconds.as_secs()));
        fields.text("value", &toleration.value);
        fields.done()
    };
    Value::Array(tolerations.iter().map(print).collect())
}

/// `topologySpreadConstraints`.
pub(super) fn topology_spread(constraints: &[TopologySpreadConstraint]) -> Value {
    let print = |constraint: &TopologySpreadConstraint| {
        let mut fields = Fields::new();
        fields.some("labelSelector", constraint.selector.as_ref().map(selector));
        fields.names("matchLabelKeys", &constraint.match_label_keys);
        fields.put("maxSkew", constraint.max_skew);
        fields.some("minDomains", constraint.min_domains);
        if !constraint.honor_node_affinity {
            fields.put("nodeAffinityPolicy", "Ignore");
        }
        if constraint.honor_node_taints {
            fields.put("nodeTaintsPolicy", "Honor");
        }
        fields.put("topologyKey", constraint.topology_key.as_str());
        fields.put("whenUnsatisfiable", if constraint.hard { "DoNotSchedule" } else { "ScheduleAnyway" });
        fields.done()
    };
    Value::Array(constraints.iter().map(print).collect())
}
