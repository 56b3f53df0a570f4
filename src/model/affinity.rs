//! Where a pod may and wants to run: node selectors, pod affinity, topology spread.

use super::{Labels, Name, Selector};

/// `spec.affinity`, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// `nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    pub node_required: Option<NodeSelector>,
    /// `nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution`: weight and term.
    pub node_preferred: Vec<(i64, NodeSelectorTerm)>,
    pub pod_required: Vec<PodAffinityTerm>,
    pub pod_preferred: Vec<(i64, PodAffinityTerm)>,
    pub pod_anti_required: Vec<PodAffinityTerm>,
    pub pod_anti_preferred: Vec<(i64, PodAffinityTerm)>,
}

/// Terms of which one must match. Without terms nothing matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelector {
    pub terms: Vec<NodeSelectorTerm>,
}

/// Requirements that must all match. An empty term matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelectorTerm {
    /// Over the node's labels.
    pub expressions: Vec<NodeSelectorRequirement>,
    /// Over the node's fields; Kubernetes knows `metadata.name` only.
    pub fields: Vec<NodeSelectorRequirement>,
}

/// One requirement of a node selector term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSelectorRequirement {
    pub key: Name,
    pub operator: NodeSelectorOperator,
    pub values: Vec<Name>,
}

/// A node selector's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeSelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl NodeSelectorRequirement {
    /// True if a label or field with this `value` (None: it is missing) meets the requirement.
    pub fn matches(&self, value: Option<Name>) -> bool {
        match self.operator {
            NodeSelectorOperator::In => value.is_some_and(|value| self.values.contains(&value)),
            NodeSelectorOperator::NotIn => value.is_none_or(|value| !self.values.contains(&value)),
            NodeSelectorOperator::Exists => value.is_some(),
            NodeSelectorOperator::DoesNotExist => value.is_none(),
            NodeSelectorOperator::Gt | NodeSelectorOperator::Lt => {
                let (Some(value), [limit]) = (value, self.values.as_slice()) else { return false };
                let (Ok(value), Ok(limit)) = (value.parse::<i64>(), limit.parse::<i64>()) else { return false };
                if self.operator == NodeSelectorOperator::Gt { value > limit } else { value < limit }
            }
        }
    }
}

impl NodeSelectorTerm {
    /// True if the node of this name with these labels matches.
    pub fn matches(&self, node: Name, labels: &Labels) -> bool {
        if self.expressions.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.expressions.iter().all(|requirement| requirement.matches(labels.get(requirement.key)))
            && self.fields.iter().all(|requirement| {
                let value = (requirement.key == *"metadata.name").then_some(node);
                requirement.matches(value)
            })
    }
}

impl NodeSelector {
    /// True if one of the terms matches.
    pub fn matches(&self, node: Name, labels: &Labels) -> bool {
        self.terms.iter().any(|term| term.matches(node, labels))
    }
}

/// Pods to be near to, or away from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAffinityTerm {
    /// None matches no pod.
    pub selector: Option<Selector>,
    /// The namespaces by name; with an empty list and no selector the pod's own, which the API server has filled in.
    pub namespaces: Vec<Name>,
    /// More namespaces, by their labels; an empty selector means all.
    pub namespace_selector: Option<Selector>,
    pub topology_key: Name,
    /// `matchLabelKeys` and `mismatchLabelKeys`, which the API server merges into `selector` at the pod's creation.
    pub match_label_keys: Vec<Name>,
    pub mismatch_label_keys: Vec<Name>,
}

/// `topologySpreadConstraints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologySpreadConstraint {
    pub max_skew: i64,
    pub topology_key: Name,
    /// `DoNotSchedule` (true) or `ScheduleAnyway`.
    pub hard: bool,
    pub selector: Option<Selector>,
    pub min_domains: Option<i64>,
    /// `nodeAffinityPolicy: Honor`, the default.
    pub honor_node_affinity: bool,
    /// `nodeTaintsPolicy: Honor`; the default is Ignore.
    pub honor_node_taints: bool,
    pub match_label_keys: Vec<Name>,
}
