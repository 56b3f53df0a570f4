//! NodeAffinity: `nodeSelector`, required and preferred node affinity.
//!
//! *When you meet it:* a pod that asks for an instance type, a zone or, as DaemonSet pods do, for one node by its name:
//! "node(s) didn't match Pod's node affinity/selector". Where every required term names nodes (`matchFields`), only those are
//! looked at, and the others read "node(s) didn't satisfy plugin(s) [NodeAffinity]".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodeaffinity/node_affinity.go.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::affinity::NodeSelectorOperator;
use crate::model::{Affinity, Name, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, PreScore, PreScored, Scope, Score, State, Status,
    default_normalize,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct NodeAffinity {
    /// `addedAffinity` of the plug-in's arguments: holds for every pod.
    pub added: Option<Arc<Affinity>>,
}

/// True if the pod's own `nodeSelector` and required node affinity accept the node.
pub fn pod_accepts(pod: &Pod, node: &Node) -> bool {
    let labels = &node.meta.labels;
    pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && pod
            .spec
            .affinity
            .as_deref()
            .and_then(|affinity| affinity.node_required.as_ref())
            .is_none_or(|required| required.matches(node.meta.name, labels))
}

impl NodeAffinity {
    fn added_accepts(&self, node: &Node) -> bool {
        let required = self.added.as_deref().and_then(|added| added.node_required.as_ref());
        required.is_none_or(|required| required.matches(node.meta.name, &node.meta.labels))
    }

    fn accepts(&self, pod: &Pod, node: &Node) -> bool {
        self.added_accepts(node) && pod_accepts(pod, node)
    }

    fn preferred<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a (i64, NodeSelectorTerm)> {
        let own = pod.spec.affinity.as_deref().map_or(&[][..], |affinity| &affinity.node_preferred);
        let added = self.added.as_deref().map_or(&[][..], |added| &added.node_preferred);
        own.iter().chain(added)
    }
}

/// The nodes that these terms name: in a term all requirements must hold, over the terms one. None: some term names none.
fn named(terms: &[NodeSelectorTerm]) -> Option<BTreeSet<Name>> {
    let mut all = BTreeSet::new();
    for term in terms {
        let mut names: Option<BTreeSet<Name>> = None;
        for field in &term.fields {
            if field.key == *"metadata.name" && field.operator == NodeSelectorOperator::In {
                let these: BTreeSet<Name> = field.values.iter().copied().collect();
                names = Some(match names {
                    Some(before) => before.intersection(&these).copied().collect(),
                    None => these,
                });
            }
        }
        all.extend(names?);
    }
    Some(all)
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn scope(&self) -> Scope {
        Scope::Node
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for NodeAffinity {
    fn pre_filter(&self, pod: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        let spec = &pod.pod.spec;
        let required = spec.affinity.as_deref().and_then(|affinity| affinity.node_required.as_ref());
        let added = self.added.as_deref().is_some_and(|added| added.node_required.is_some());
        if required.is_none() && spec.node_selector.is_empty() && !added {
            return Ok(PreFiltered::skip());
        }
        let nodes = required.filter(|required| !required.terms.is_empty()).and_then(|required| named(&required.terms));
        if nodes.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(Status::unresolvable("pod affinity terms conflict"));
        }
        Ok(PreFiltered { nodes, ..PreFiltered::default() })
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        if !self.added_accepts(&node.node) {
            return Err(Status::unresolvable("node(s) didn't match scheduler-enforced node affinity"));
        }
        if !pod_accepts(&pod.pod, &node.node) {
            return Err(Status::unresolvable("node(s) didn't match Pod's node affinity/selector"));
        }
        Ok(())
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(&self, pod: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        let mut any = false;
        let mut wrong: Vec<String> = Vec::new();
        for (at, (weight, term)) in self.preferred(&pod.pod).enumerate() {
            any = true;
            // The API server lets values pass that are no label values; the scheduler then fails the attempt.
            for (expression, requirement) in term.expressions.iter().enumerate().filter(|_| *weight != 0) {
                let at = format!("[{at}].matchExpressions[{expression}].values");
                values_wrong(requirement, &at, &mut wrong);
            }
        }
        let mut distinct: Vec<String> = Vec::new();
        wrong.into_iter().for_each(|one| {
            if !distinct.contains(&one) {
                distinct.push(one);
            }
        });
        match distinct.as_slice() {
            [] => Ok(if any { PreScored::default() } else { PreScored::skip() }),
            [one] => Err(Status::error(one.clone())),
            several => Err(Status::error(format!("[{}]", several.join(", ")))),
        }
    }
}

/// What is wrong with a requirement's values (labels.NewRequirement).
fn values_wrong(requirement: &NodeSelectorRequirement, at: &str, wrong: &mut Vec<String>) {
    let compares = matches!(requirement.operator, NodeSelectorOperator::Gt | NodeSelectorOperator::Lt);
    for (place, value) in requirement.values.iter().enumerate().filter(|_| compares) {
        if value.parse::<i64>().is_err() {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            wrong.push(format!("{at}[{place}]: Invalid value: \"{value}\": {why}"));
        }
    }
    for (place, value) in requirement.values.iter().enumerate() {
        if let Some(problem) = label_value_problem(value) {
            wrong.push(format!("{at}[{place}][{}]: Invalid value: \"{value}\": {problem}", requirement.key));
        }
    }
}

/// Why `value` is no label value, as apimachinery's validation says it.
fn label_value_problem(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    let end = |c: char| c.is_ascii_alphanumeric();
    let ends = value.is_empty() || (value.starts_with(end) && value.ends_with(end));
    let middle = value.chars().all(|c| end(c) || matches!(c, '-' | '_' | '.'));
    (!(ends && middle)).then_some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

impl Score for NodeAffinity {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<i64, Status> {
        let matching = self.preferred(&pod.pod).filter(|(_, term)| term.matches(node.name, &node.node.meta.labels));
        Ok(matching.map(|(weight, _)| weight).sum())
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn normalize(&self, _: Option<&dyn State>, _: &[NodeId], scores: &mut [i64]) {
        default_normalize(false, scores);
    }
}

impl EnqueueExtensions for NodeAffinity {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_LABEL))]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Node(old, Some(new)) => {
                self.accepts(&pod.pod, new) && old.is_none_or(|old| !self.accepts(&pod.pod, old))
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
