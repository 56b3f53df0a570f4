//! Where pods may run: label selectors, node selectors, affinity, tolerations, topology spread.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (validateAffinity, ValidateTolerations,
//! validateTopologySpreadConstraints), staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::kernel::Duration;
use crate::model::affinity::NodeSelectorOperator;
use crate::model::taint::TolerationOperator;
use crate::model::{
    Affinity, Name, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, Requirement, Selector,
    Taint, TaintEffect, Toleration, TopologySpreadConstraint,
};

use super::context::{Context, name, text};
use super::path::Path;

const EFFECTS: &[(&str, TaintEffect)] = &[
    ("NoSchedule", TaintEffect::NoSchedule),
    ("PreferNoSchedule", TaintEffect::PreferNoSchedule),
    ("NoExecute", TaintEffect::NoExecute),
];

fn names(list: Option<&Vec<String>>) -> Vec<Name> {
    list.into_iter().flatten().map(Name::from).collect()
}

impl Context<'_> {
    /// A label selector.
    pub(super) fn selector(&mut self, at: &Path<'_>, selector: &meta::LabelSelector) -> Selector {
        let labels = self.labels(&at.field("matchLabels"), selector.match_labels.as_ref());
        let mut requirements: Vec<Requirement> =
            labels.iter().map(|(key, value)| Requirement::In(key, vec![value])).collect();
        let expressions_at = at.field("matchExpressions");
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let here = expressions_at.index(index);
            self.label_key(&here.field("key"), &expression.key);
            let key = Name::from(&expression.key);
            let values = names(expression.values.as_ref());
            let values_at = here.field("values");
            match expression.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    self.required(&values_at, "must be specified when `operator` is 'In' or 'NotIn'");
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    self.forbidden(&values_at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                }
                "In" => requirements.push(Requirement::In(key, values)),
                "NotIn" => requirements.push(Requirement::NotIn(key, values)),
                "Exists" => requirements.push(Requirement::Exists(key)),
                "DoesNotExist" => requirements.push(Requirement::DoesNotExist(key)),
                other => self.bad(&here.field("operator"), format!("{other:?}"), "not a valid selector operator"),
            }
        }
        Selector::new(requirements)
    }

    fn optional_selector(&mut self, at: &Path<'_>, selector: Option<&meta::LabelSelector>) -> Option<Selector> {
        selector.map(|selector| self.selector(at, selector))
    }

    /// A required node selector: of affinity, of volumes.
    pub(super) fn node_selector(&mut self, at: &Path<'_>, selector: &core::NodeSelector) -> NodeSelector {
        let terms_at = at.field("nodeSelectorTerms");
        if selector.node_selector_terms.is_empty() {
            self.required(&terms_at, "must have at least one node selector term");
        }
        let terms = selector.node_selector_terms.iter().enumerate();
        NodeSelector {
            terms: terms.map(|(index, term)| self.node_selector_term(&terms_at.index(index), term)).collect(),
        }
    }

    fn node_selector_term(&mut self, at: &Path<'_>, term: &core::NodeSelectorTerm) -> NodeSelectorTerm {
        let expressions_at = at.field("matchExpressions");
        let fields_at = at.field("matchFields");
        let fields = self.node_requirements(&fields_at, term.match_fields.as_deref().unwrap_or_default());
        for (index, field) in fields.iter().enumerate() {
            if field.key != *"metadata.name" {
                let here = fields_at.index(index);
                self.bad(&here.field("key"), format!("{:?}", field.key.as_str()), "not a valid field selector key");
            }
        }
        let expressions =
            self.node_requirements(&expressions_at, term.match_expressions.as_deref().unwrap_or_default());
        NodeSelectorTerm { expressions, fields }
    }

    fn node_requirements(
        &mut self,
        at: &Path<'_>,
        requirements: &[core::NodeSelectorRequirement],
    ) -> Vec<NodeSelectorRequirement> {
        let compile = |(index, requirement): (usize, &core::NodeSelectorRequirement)| {
            let here = at.index(index);
            self.label_key(&here.field("key"), &requirement.key);
            let values = names(requirement.values.as_ref());
            let values_at = here.field("values");
            let operator = match requirement.operator.as_str() {
                "In" => NodeSelectorOperator::In,
                "NotIn" => NodeSelectorOperator::NotIn,
                "Exists" => NodeSelectorOperator::Exists,
                "DoesNotExist" => NodeSelectorOperator::DoesNotExist,
                "Gt" => NodeSelectorOperator::Gt,
                "Lt" => NodeSelectorOperator::Lt,
                other => {
                    self.bad(&here.field("operator"), format!("{other:?}"), "not a valid selector operator");
                    return None;
                }
            };
            match operator {
                NodeSelectorOperator::In | NodeSelectorOperator::NotIn if values.is_empty() => {
                    self.required(&values_at, "must be specified when `operator` is 'In' or 'NotIn'");
                }
                NodeSelectorOperator::Exists | NodeSelectorOperator::DoesNotExist if !values.is_empty() => {
                    self.forbidden(&values_at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                }
                NodeSelectorOperator::Gt | NodeSelectorOperator::Lt if values.len() != 1 => {
                    self.required(&values_at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
                }
                _ => {}
            }
            Some(NodeSelectorRequirement { key: Name::from(&requirement.key), operator, values })
        };
        requirements.iter().enumerate().filter_map(compile).collect()
    }

    fn weight(&mut self, at: &Path<'_>, weight: i32) -> i64 {
        if !(1..=100).contains(&weight) {
            self.bad(&at.field("weight"), weight, "must be in the range 1-100");
        }
        i64::from(weight)
    }

    /// `spec.affinity`; None if nothing is in it.
    pub(super) fn affinity(&mut self, at: &Path<'_>, affinity: Option<&core::Affinity>) -> Option<Arc<Affinity>> {
        let affinity = affinity?;
        let mut compiled = Affinity::default();
        if let Some(node) = &affinity.node_affinity {
            let here = at.field("nodeAffinity");
            if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
                compiled.node_required = Some(self.node_selector(&here.field(REQUIRED), required));
            }
            let preferred_at = here.field(PREFERRED);
            let preferred = node.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            for (index, term) in preferred.enumerate() {
                let here = preferred_at.index(index);
                let weight = self.weight(&here, term.weight);
                let term = self.node_selector_term(&here.field("preference"), &term.preference);
                compiled.node_preferred.push((weight, term));
            }
        }
        if let Some(pods) = &affinity.pod_affinity {
            let here = at.field("podAffinity");
            compiled.pod_required = self.required_terms(
                &here.field(REQUIRED),
                pods.required_during_scheduling_ignored_during_execution.as_ref(),
            );
            compiled.pod_preferred = self.preferred_terms(
                &here.field(PREFERRED),
                pods.preferred_during_scheduling_ignored_during_execution.as_ref(),
            );
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            let here = at.field("podAntiAffinity");
            compiled.pod_anti_required = self.required_terms(
                &here.field(REQUIRED),
                pods.required_during_scheduling_ignored_during_execution.as_ref(),
            );
            compiled.pod_anti_preferred = self.preferred_terms(
                &here.field(PREFERRED),
                pods.preferred_during_scheduling_ignored_during_execution.as_ref(),
            );
        }
        (compiled != Affinity::default()).then(|| Arc::new(compiled))
    }

    fn required_terms(&mut self, at: &Path<'_>, terms: Option<&Vec<core::PodAffinityTerm>>) -> Vec<PodAffinityTerm> {
        let terms = terms.into_iter().flatten().enumerate();
        terms.map(|(index, term)| self.pod_affinity_term(&at.index(index), term)).collect()
    }

    fn preferred_terms(
        &mut self,
        at: &Path<'_>,
        terms: Option<&Vec<core::WeightedPodAffinityTerm>>,
    ) -> Vec<(i64, PodAffinityTerm)> {
        let compile = |(index, term): (usize, &core::WeightedPodAffinityTerm)| {
            let here = at.index(index);
            let weight = self.weight(&here, term.weight);
            (weight, self.pod_affinity_term(&here.field("podAffinityTerm"), &term.pod_affinity_term))
        };
        terms.into_iter().flatten().enumerate().map(compile).collect()
    }

    fn pod_affinity_term(&mut self, at: &Path<'_>, term: &core::PodAffinityTerm) -> PodAffinityTerm {
        if term.topology_key.is_empty() {
            self.required(&at.field("topologyKey"), "can not be empty");
        }
        PodAffinityTerm {
            selector: self.optional_selector(&at.field("labelSelector"), term.label_selector.as_ref()),
            namespaces: names(term.namespaces.as_ref()),
            namespace_selector: self
                .optional_selector(&at.field("namespaceSelector"), term.namespace_selector.as_ref()),
            topology_key: Name::from(&term.topology_key),
            match_label_keys: names(term.match_label_keys.as_ref()),
            mismatch_label_keys: names(term.mismatch_label_keys.as_ref()),
        }
    }

    pub(super) fn tolerations(&mut self, at: &Path<'_>, tolerations: &[core::Toleration]) -> Arc<[Toleration]> {
        let compile = |(index, toleration): (usize, &core::Toleration)| {
            let here = at.index(index);
            let operator_at = here.field("operator");
            let operator = match text(toleration.operator.as_ref()) {
                "Gt" if self.comparing => TolerationOperator::Gt,
                "Lt" if self.comparing => TolerationOperator::Lt,
                _ => self.word_or(
                    &operator_at,
                    toleration.operator.as_ref(),
                    TolerationOperator::Equal,
                    &[("Equal", TolerationOperator::Equal), ("Exists", TolerationOperator::Exists)],
                ),
            };
            let key = name(toleration.key.as_ref());
            if !key.is_empty() {
                self.label_key(&here.field("key"), &key);
            } else if operator != TolerationOperator::Exists {
                let detail =
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
                self.bad(&operator_at, format!("{:?}", text(toleration.operator.as_ref())), detail);
            }
            let value = name(toleration.value.as_ref());
            if operator == TolerationOperator::Exists && !value.is_empty() {
                self.bad(
                    &operator_at,
                    format!("{:?}", value.as_str()),
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            let effect = match text(toleration.effect.as_ref()) {
                "" => None,
                effect => self.word(&here.field("effect"), effect, EFFECTS),
            };
            if toleration.toleration_seconds.is_some() && effect != Some(TaintEffect::NoExecute) {
                let effect = text(toleration.effect.as_ref());
                let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
                self.bad(&here.field("effect"), format!("{effect:?}"), detail);
            }
            let seconds = toleration
                .toleration_seconds
                .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(u64::from(u32::MAX))));
            Toleration { key, operator, value, effect, seconds }
        };
        tolerations.iter().enumerate().map(compile).collect()
    }

    /// Taints of a node.
    pub(super) fn taints(&mut self, at: &Path<'_>, taints: &[core::Taint]) -> Vec<Taint> {
        let mut compiled: Vec<Taint> = Vec::with_capacity(taints.len());
        for (index, taint) in taints.iter().enumerate() {
            let here = at.index(index);
            self.label_key(&here.field("key"), &taint.key);
            self.label_value(&here.field("value"), text(taint.value.as_ref()));
            let Some(effect) = self.word(&here.field("effect"), &taint.effect, EFFECTS) else { continue };
            let taint = Taint {
                key: Name::from(&taint.key),
                value: name(taint.value.as_ref()),
                effect,
                added: taint.time_added.as_ref().map(|added| self.time(added)),
            };
            if compiled.iter().any(|other| other.is_same(&taint)) {
                self.duplicate(&here, format!("\"{}:{}\"", taint.key, effect.as_str()));
                continue;
            }
            compiled.push(taint);
        }
        compiled
    }

    pub(super) fn topology_spread(
        &mut self,
        at: &Path<'_>,
        constraints: &[core::TopologySpreadConstraint],
    ) -> Arc<[TopologySpreadConstraint]> {
        for (index, constraint) in constraints.iter().enumerate() {
            let same = |other: &core::TopologySpreadConstraint| {
                other.topology_key == constraint.topology_key
                    && other.when_unsatisfiable == constraint.when_unsatisfiable
            };
            if constraints.iter().skip(index + 1).any(same) {
                let here = at.index(index);
                let value = format!("\"{{{}, {}}}\"", constraint.topology_key, constraint.when_unsatisfiable);
                self.duplicate(&here.field("{topologyKey, whenUnsatisfiable}"), value);
            }
        }
        let compile = |(index, constraint): (usize, &core::TopologySpreadConstraint)| {
            let here = at.index(index);
            if constraint.max_skew <= 0 {
                self.bad(&here.field("maxSkew"), constraint.max_skew, "must be greater than 0");
            }
            if constraint.topology_key.is_empty() {
                self.required(&here.field("topologyKey"), "can not be empty");
            }
            let hard = self
                .word(
                    &here.field("whenUnsatisfiable"),
                    &constraint.when_unsatisfiable,
                    &[("DoNotSchedule", true), ("ScheduleAnyway", false)],
                )
                .unwrap_or(true);
            if let Some(min_domains) = constraint.min_domains {
                let min_at = here.field("minDomains");
                if min_domains <= 0 {
                    self.bad(&min_at, min_domains, "must be greater than 0");
                } else if !hard {
                    let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                    self.bad(&min_at, min_domains, detail);
                }
            }
            let policies = &[("Honor", true), ("Ignore", false)];
            TopologySpreadConstraint {
                max_skew: i64::from(constraint.max_skew),
                topology_key: Name::from(&constraint.topology_key),
                hard,
                selector: self.optional_selector(&here.field("labelSelector"), constraint.label_selector.as_ref()),
                min_domains: constraint.min_domains.map(i64::from),
                honor_node_affinity: self.word_or(
                    &here.field("nodeAffinityPolicy"),
                    constraint.node_affinity_policy.as_ref(),
                    true,
                    policies,
                ),
                honor_node_taints: self.word_or(
                    &here.field("nodeTaintsPolicy"),
                    constraint.node_taints_policy.as_ref(),
                    false,
                    policies,
                ),
                match_label_keys: names(constraint.match_label_keys.as_ref()),
            }
        };
        constraints.iter().enumerate().map(compile).collect()
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
