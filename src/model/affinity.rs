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
                // A limit that is no label value, such as -2, makes the term invalid, and an invalid term matches nothing.
                if !limit.starts_with(|c: char| c.is_ascii_digit()) {
                    return false;
                }
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

impl NodeSelectorTerm {
    /// True if a node with these labels matches, of whose name nothing is known: fields then count for nothing.
    fn matches_labels(&self, labels: &Labels) -> bool {
        let is_empty = self.expressions.is_empty() && self.fields.is_empty();
        !is_empty && self.expressions.iter().all(|requirement| requirement.matches(labels.get(requirement.key)))
    }
}

impl NodeSelector {
    /// True if one of the terms matches a node with these labels, of whose name nothing is known (the affinity of volumes).
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.terms.iter().any(|term| term.matches_labels(labels))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: NodeSelectorOperator, values: &[&str]) -> NodeSelectorRequirement {
        NodeSelectorRequirement {
            key: Name::new(key),
            operator,
            values: values.iter().map(|value| Name::new(value)).collect(),
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_a_limit_that_is_no_label_value_matches_nothing() {
        let of = |operator, limit: &str, value: &str| {
            requirement("n", operator, &[limit]).matches((!value.is_empty()).then(|| Name::new(value)))
        };
        let (gt, lt) = (NodeSelectorOperator::Gt, NodeSelectorOperator::Lt);
        for (operator, limit, value, matches) in [
            (gt, "9", "10", true),
            (gt, "10", "10", false),
            (lt, "10", "9", true),
            (gt, "9", "ten", false),
            (gt, "nine", "10", false),
            (gt, "-2", "10", false),
            (lt, "10", "", false),
        ] {
            assert_eq!(of(operator, limit, value), matches, "{value} {operator:?} {limit}");
        }
    }

    #[test]
    fn without_a_name_the_fields_of_a_term_count_for_nothing() {
        let labels = Labels::new([(Name::new("zone"), Name::new("a"))]);
        let term = |expressions: Vec<NodeSelectorRequirement>, fields| NodeSelectorTerm { expressions, fields };
        let named = || vec![requirement("metadata.name", NodeSelectorOperator::In, &["n1"])];
        let zone = |value| vec![requirement("zone", NodeSelectorOperator::In, &[value])];
        for (term, matches) in [
            (term(vec![], named()), true),
            (term(zone("a"), named()), true),
            (term(zone("b"), named()), false),
            (term(vec![], vec![]), false),
        ] {
            assert_eq!(NodeSelector { terms: vec![term.clone()] }.matches_labels(&labels), matches, "{term:?}");
        }
    }
}
