//! What admission does to a new pod: limits' defaults, service account, priority, default tolerations, its node's
//! topology, and the pod's own labels and namespace where its affinity means them.
//!
//! Kubernetes: plugin/pkg/admission/{limitranger,serviceaccount,priority,defaulttolerationseconds,podtopologylabels},
//! pkg/registry/core/pod/strategy.go (applyMatchLabelKeysAndMismatchLabelKeys; for spread constraints since 1.34).
//!
//! A thousand replicas bring one spec and get one: what was made of a shared spec is remembered.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{FeatureGates, forbidden, limits};
use crate::apiserver::store::Store;
use crate::kernel::Duration;
use crate::model::node::{REGION_LABEL, ZONE_LABEL};
use crate::model::policy::{LimitRange, PriorityClass};
use crate::model::taint::{NOT_READY, TaintEffect, TolerationOperator, UNREACHABLE};
use crate::model::{
    Affinity, Key, Kind, Labels, Name, Object, Pod, PodAffinityTerm, PodSpec, Requirement, Selector, Toleration,
    TopologySpreadConstraint,
};
use crate::protocol::api::Status;

/// How long pods stay on a node that is not ready or unreachable, unless they say otherwise.
const DEFAULT_TOLERATION: Duration = Duration::from_secs(300);
/// Specs that are remembered; when there are more, all are forgotten.
const MAX_SPECS: usize = 4096;

/// What was made of the shared specs of earlier pods. Each entry holds the spec it is known by, so that its address
/// stays its own.
#[derive(Debug, Default)]
pub(super) struct AdmittedSpecs {
    by_given: FxHashMap<(usize, Name), Admitted>,
    valid: FxHashMap<usize, Arc<PodSpec>>,
    /// The plug-in Priority is on.
    priority: bool,
    gates: FeatureGates,
}

#[derive(Debug)]
struct Admitted {
    given: Arc<PodSpec>,
    /// The labels of the pod it was made for, if they went into it.
    labels: Option<Labels>,
    spec: Arc<PodSpec>,
}

impl AdmittedSpecs {
    pub(super) fn new(priority: bool, gates: FeatureGates) -> AdmittedSpecs {
        AdmittedSpecs { priority, gates, ..AdmittedSpecs::default() }
    }

    pub(super) fn clear(&mut self) {
        self.by_given.clear();
        self.valid.clear();
    }

    pub(super) fn is_known_valid(&self, spec: &Arc<PodSpec>) -> bool {
        self.valid.contains_key(&address(spec))
    }

    pub(super) fn found_valid(&mut self, spec: &Arc<PodSpec>) {
        if Arc::strong_count(spec) > 1 {
            self.valid.insert(address(spec), spec.clone());
        }
    }

    fn get(&self, pod: &Pod) -> Option<Arc<PodSpec>> {
        let known = self.by_given.get(&(address(&pod.spec), pod.meta.namespace))?;
        debug_assert!(Arc::ptr_eq(&known.given, &pod.spec));
        let fits = known.labels.as_ref().is_none_or(|labels| *labels == pod.meta.labels);
        fits.then(|| known.spec.clone())
    }

    fn put(&mut self, pod: &Pod, spec: Arc<PodSpec>) {
        // A spec that only this pod has will not come again.
        if Arc::strong_count(&pod.spec) == 1 {
            return;
        }
        if self.by_given.len() >= MAX_SPECS {
            self.clear();
        }
        let labels = uses_labels(&pod.spec).then(|| pod.meta.labels.clone());
        let key = (address(&pod.spec), pod.meta.namespace);
        self.by_given.insert(key, Admitted { given: pod.spec.clone(), labels, spec });
    }
}

/// Where a spec lies: a key, nothing is read through it.
fn address(spec: &Arc<PodSpec>) -> usize {
    Arc::as_ptr(spec) as usize
}

pub(super) fn mutate(specs: &mut AdmittedSpecs, store: &Store, pod: &mut Arc<Pod>) -> Result<(), Status> {
    let pod = Arc::make_mut(pod);
    let spec = match specs.get(pod) {
        Some(spec) => spec,
        None => {
            let spec = admitted(store, pod, specs.priority, specs.gates)?;
            let spec = if spec == *pod.spec { pod.spec.clone() } else { Arc::new(spec) };
            specs.put(pod, spec.clone());
            spec
        }
    };
    pod.spec = spec;
    if let Some(node) = pod.node.filter(|_| specs.gates.pod_topology_labels).and_then(|node| store.node(node)) {
        for label in [ZONE_LABEL, REGION_LABEL].map(Name::new) {
            if let Some(value) = node.meta.labels.get(label) {
                pod.meta.labels = pod.meta.labels.with(label, value);
            }
        }
    }
    Ok(())
}

fn admitted(store: &Store, pod: &Pod, priority: bool, gates: FeatureGates) -> Result<PodSpec, Status> {
    let mut spec = PodSpec::clone(&pod.spec);
    drop_disabled_fields(&mut spec, gates);
    let refuse = |why: String| forbidden(Kind::Pod, pod.meta.name, why);
    let ranges = ranges(store, pod);
    limits::apply(&ranges, &mut spec);
    limits::check(&ranges, &spec).map_err(refuse)?;
    if spec.service_account.is_empty() {
        spec.service_account = Name::new("default");
    }
    if priority {
        set_priority(store, &mut spec).map_err(refuse)?;
    }
    add_tolerations(&mut spec);
    complete_affinity(pod, &mut spec, gates.selector_merge);
    Ok(spec)
}

/// The ranges of the pod's namespace.
fn ranges<'s>(store: &'s Store, pod: &Pod) -> Vec<&'s LimitRange> {
    let ranges = store.in_namespace(Kind::LimitRange, pod.meta.namespace).filter_map(|object| match object {
        Object::LimitRange(range) => Some(&**range),
        _ => None,
    });
    ranges.collect()
}

/// Whether the ranges of the namespace allow a pod with this spec, which is not new (LimitRanger at `pods/resize`).
pub(super) fn limits_allow(store: &Store, pod: &Pod) -> Result<(), Status> {
    limits::check(&ranges(store, pod), &pod.spec).map_err(|why| forbidden(Kind::Pod, pod.meta.name, why))
}

/// Priority: the class's number, the global default class's, or 0.
fn set_priority(store: &Store, spec: &mut PodSpec) -> Result<(), String> {
    let class: Option<&PriorityClass> = if spec.priority_class.is_empty() {
        let classes = store.iter(Kind::PriorityClass).filter_map(as_class).filter(|class| class.global_default);
        classes.min_by_key(|class| (class.value, class.meta.name))
    } else {
        let key = Key { kind: Kind::PriorityClass, namespace: Name::default(), name: spec.priority_class };
        let Some(class) = store.get(&key).and_then(as_class) else {
            return Err(format!("no PriorityClass with name {} was found", spec.priority_class));
        };
        Some(class)
    };
    let (value, never) = class.map_or((0, false), |class| (class.value, class.preempts_never));
    if spec.priority != 0 && spec.priority != value {
        return Err(format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} \
             from the given PriorityClass name",
            spec.priority
        ));
    }
    if spec.preempts_never && !never {
        return Err("the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller \
             computed PreemptLowerPriority from the given PriorityClass name"
            .to_owned());
    }
    spec.priority = value;
    spec.preempts_never = never;
    if let Some(class) = class {
        spec.priority_class = class.meta.name;
    }
    Ok(())
}

fn as_class(object: &Object) -> Option<&PriorityClass> {
    match object {
        Object::PriorityClass(class) => Some(class),
        _ => None,
    }
}

/// DefaultTolerationSeconds: five minutes on a node that is not ready or unreachable, unless the pod says something of
/// it.
fn add_tolerations(spec: &mut PodSpec) {
    let missing = [NOT_READY, UNREACHABLE].map(Name::new).into_iter().filter(|&key| {
        !spec.tolerations.iter().any(|toleration| {
            (toleration.key == key || toleration.key.is_empty())
                && toleration.effect.is_none_or(|effect| effect == TaintEffect::NoExecute)
        })
    });
    let missing: Vec<Toleration> = missing
        .map(|key| Toleration {
            key,
            operator: TolerationOperator::Exists,
            value: Name::default(),
            effect: Some(TaintEffect::NoExecute),
            seconds: Some(DEFAULT_TOLERATION),
        })
        .collect();
    if !missing.is_empty() {
        spec.tolerations = spec.tolerations.iter().cloned().chain(missing).collect();
    }
}

fn terms(affinity: &Affinity) -> impl Iterator<Item = &PodAffinityTerm> {
    let required = affinity.pod_required.iter().chain(&affinity.pod_anti_required);
    required.chain(affinity.pod_preferred.iter().chain(&affinity.pod_anti_preferred).map(|(_, term)| term))
}

/// True if the pod's labels go into its spec.
fn uses_labels(spec: &PodSpec) -> bool {
    spec.topology_spread.iter().any(|constraint| !constraint.match_label_keys.is_empty())
        || spec.affinity.as_deref().is_some_and(|affinity| {
            terms(affinity).any(|term| !(term.match_label_keys.is_empty() && term.mismatch_label_keys.is_empty()))
        })
}

/// Takes out what belongs to a feature that is switched off (`dropDisabledFields` in pkg/api/pod/util.go).
fn drop_disabled_fields(spec: &mut PodSpec, gates: FeatureGates) {
    if !gates.pod_level_resources {
        spec.resources = None;
    }
    let has_keys = |constraint: &TopologySpreadConstraint| !constraint.match_label_keys.is_empty();
    if !gates.match_label_keys_in_pod_topology_spread && spec.topology_spread.iter().any(has_keys) {
        let constraints = spec.topology_spread.iter().cloned();
        spec.topology_spread =
            constraints.map(|one| TopologySpreadConstraint { match_label_keys: Vec::new(), ..one }).collect();
    }
}

/// Writes out what the pod's affinity says by reference to the pod: its namespace and the values of its labels.
fn complete_affinity(pod: &Pod, spec: &mut PodSpec, merges_spread: bool) {
    let labels = &pod.meta.labels;
    if merges_spread && spec.topology_spread.iter().any(|constraint| !constraint.match_label_keys.is_empty()) {
        let mut constraints = spec.topology_spread.to_vec();
        for constraint in &mut constraints {
            merge_labels(&mut constraint.selector, labels, &constraint.match_label_keys, &[]);
        }
        spec.topology_spread = constraints.into();
    }
    let incomplete = |term: &PodAffinityTerm| {
        !term.match_label_keys.is_empty()
            || !term.mismatch_label_keys.is_empty()
            || (term.namespaces.is_empty() && term.namespace_selector.is_none())
    };
    let Some(affinity) = spec.affinity.as_deref().filter(|affinity| terms(affinity).any(incomplete)) else { return };
    let mut affinity = affinity.clone();
    let required = affinity.pod_required.iter_mut().chain(&mut affinity.pod_anti_required);
    let preferred = affinity.pod_preferred.iter_mut().chain(&mut affinity.pod_anti_preferred);
    for term in required.chain(preferred.map(|(_, term)| term)) {
        merge_labels(&mut term.selector, labels, &term.match_label_keys, &term.mismatch_label_keys);
        if term.namespaces.is_empty() && term.namespace_selector.is_none() {
            term.namespaces.push(pod.meta.namespace);
        }
    }
    spec.affinity = Some(Arc::new(affinity));
}

/// Adds to `selector` that the label of each of `same` is as the pod's, and of each of `other` is not.
fn merge_labels(selector: &mut Option<Selector>, labels: &Labels, same: &[Name], other: &[Name]) {
    let Some(selector) = selector else { return };
    let same = same.iter().filter_map(|&key| Some(Requirement::In(key, vec![labels.get(key)?])));
    let other = other.iter().filter_map(|&key| Some(Requirement::NotIn(key, vec![labels.get(key)?])));
    let mut requirements = selector.requirements.to_vec();
    for requirement in same.chain(other) {
        if !requirements.contains(&requirement) {
            requirements.push(requirement);
        }
    }
    if requirements.len() != selector.requirements.len() {
        *selector = Selector::new(requirements);
    }
}
