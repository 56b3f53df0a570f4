//! What an update may not change.
//!
//! Kubernetes: the Validate…Update functions of pkg/apis/{core,apps,batch}/validation/validation.go.

use std::sync::Arc;

use super::small::selector_json;
use super::{Invalid, Problems};
use crate::model::device::DeviceNodes;
use crate::model::pod::Container;
use crate::model::workload::{Job, StatefulSet};
use crate::model::{Name, Object, PodSpec, Selector};

const IMMUTABLE: &str = "field is immutable";
const POD_SPEC: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const STATEFUL_SET_SPEC: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// What is wrong with the change from `old` to `new`, objects of the same kind with the same name.
pub fn validate_update(old: &Object, new: &Object) -> Vec<Invalid> {
    let mut problems = Problems::default();
    finalizers(old, new, &mut problems);
    match (old, new) {
        (Object::Pod(old), Object::Pod(new)) if (!Arc::ptr_eq(&old.spec, &new.spec) || old.node != new.node) => {
            pod_spec(&old.spec, &new.spec, old.node == new.node, &mut problems);
        }
        (Object::ReplicaSet(old), Object::ReplicaSet(new)) => selector(&old.selector, &new.selector, &mut problems),
        (Object::Deployment(old), Object::Deployment(new)) => selector(&old.selector, &new.selector, &mut problems),
        (Object::DaemonSet(old), Object::DaemonSet(new)) => selector(&old.selector, &new.selector, &mut problems),
        (Object::StatefulSet(old), Object::StatefulSet(new)) => stateful_set(old, new, &mut problems),
        (Object::Job(old), Object::Job(new)) => job(old, new, &mut problems),
        (Object::ConfigMap(old), Object::ConfigMap(new)) | (Object::Secret(old), Object::Secret(new)) => {
            if old.immutable && !new.immutable {
                problems.forbidden("immutable", "field is immutable when `immutable` is set");
            }
            if old.immutable && old.data != new.data {
                problems.forbidden("data", "field is immutable when `immutable` is set");
            }
        }
        (Object::PersistentVolumeClaim(old), Object::PersistentVolumeClaim(new)) => {
            let mut allowed = old.spec.clone();
            allowed.request = new.spec.request;
            // A claim gets its class and volume once, when it is bound.
            if allowed.storage_class.is_none() {
                allowed.storage_class = new.spec.storage_class;
            }
            let moved = !old.volume.is_empty() && old.volume != new.volume;
            if allowed != new.spec || moved {
                let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
                problems.forbidden("spec", why);
            }
        }
        (Object::PersistentVolume(old), Object::PersistentVolume(new)) if old.driver != new.driver => {
            problems
                .forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation");
        }
        (Object::ResourceClaim(old), Object::ResourceClaim(new)) if old.spec != new.spec => {
            problems.invalid("spec", "{…}", IMMUTABLE);
        }
        (Object::ResourceClaimTemplate(old), Object::ResourceClaimTemplate(new)) => {
            let same = old.spec == new.spec && old.labels == new.labels && old.annotations == new.annotations;
            if !same {
                problems.invalid("spec", "{…}", IMMUTABLE);
            }
        }
        (Object::ResourceSlice(old), Object::ResourceSlice(new)) => {
            if old.driver != new.driver {
                problems.invalid_text("spec.driver", &new.driver, IMMUTABLE);
            }
            if old.pool != new.pool {
                problems.invalid_text("spec.pool.name", &new.pool, IMMUTABLE);
            }
            let node = |nodes: &DeviceNodes| if let DeviceNodes::Node(name) = nodes { *name } else { Name::default() };
            if node(&old.nodes) != node(&new.nodes) {
                problems.invalid_text("spec.nodeName", &node(&new.nodes), IMMUTABLE);
            }
        }
        (Object::PriorityClass(old), Object::PriorityClass(new)) if old.value != new.value => {
            problems.forbidden("value", "may not be changed in an update.");
        }
        (Object::StorageClass(old), Object::StorageClass(new)) => {
            if old.provisioner != new.provisioner {
                problems.forbidden("provisioner", "updates to provisioner are forbidden.");
            }
            if old.retain != new.retain {
                problems.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
            }
            if old.wait_for_first_consumer != new.wait_for_first_consumer {
                let mode = if new.wait_for_first_consumer { "WaitForFirstConsumer" } else { "Immediate" };
                problems.invalid_text("volumeBindingMode", mode, IMMUTABLE);
            }
        }
        (Object::Service(old), Object::Service(new)) => {
            if let (Some(old), now) = (old.cluster_ip, new.cluster_ip)
                && now != Some(old)
            {
                let shown = now.map(|ip| format!("{ip:?}")).unwrap_or_default();
                problems.invalid("spec.clusterIPs[0]", format_args!("[\"{shown}\"]"), "may not change once set");
            }
        }
        _ => {}
    }
    problems.0
}

fn finalizers(old: &Object, new: &Object, problems: &mut Problems) {
    if old.meta().deletion.is_none() {
        return;
    }
    let fresh = new.meta().finalizers.iter().filter(|name| !old.meta().finalizers.contains(name));
    let fresh: Vec<String> = fresh.map(|name| format!("\"{name}\"")).collect();
    if !fresh.is_empty() {
        let found = fresh.join(", ");
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{found}}}"
        );
        problems.forbidden("metadata.finalizers", &why);
    }
}

fn selector(old: &Selector, new: &Selector, problems: &mut Problems) {
    if old != new {
        problems.invalid("spec.selector", selector_json(new), IMMUTABLE);
    }
}

fn stateful_set(old: &StatefulSet, new: &StatefulSet, problems: &mut Problems) {
    let fixed = old.selector == new.selector
        && old.service_name == new.service_name
        && old.parallel == new.parallel
        && old.claim_templates == new.claim_templates;
    if !fixed {
        problems.forbidden("spec", STATEFUL_SET_SPEC);
    }
}

fn job(old: &Job, new: &Job, problems: &mut Problems) {
    if old.completions != new.completions {
        // An Indexed Job is elastic: completions may follow parallelism.
        let elastic = new.indexed && new.completions == Some(new.parallelism);
        if !elastic {
            let shown = new.completions.map_or("null".to_owned(), |completions| completions.to_string());
            problems.invalid("spec.completions", shown, IMMUTABLE);
        }
    }
    if old.selector != new.selector {
        let shown = new.selector.as_ref().map_or("null".to_owned(), selector_json);
        problems.invalid("spec.selector", shown, IMMUTABLE);
    }
    // A suspended Job that has not begun may still be steered: node selector, affinity, tolerations, labels, gates.
    let steerable = old.suspend && old.status.start_time.is_none();
    if old.template != new.template && !(steerable && is_steered(&old.template.spec, &new.template.spec)) {
        problems.add("spec.template", format!("Invalid value: {}: {IMMUTABLE}", "{…}"));
    }
    if old.indexed != new.indexed {
        let mode = if new.indexed { "Indexed" } else { "NonIndexed" };
        problems.invalid_text("spec.completionMode", mode, IMMUTABLE);
    }
    if old.pod_failure_policy != new.pod_failure_policy {
        problems.add("spec.podFailurePolicy", format!("Invalid value: {}: {IMMUTABLE}", "{…}"));
    }
    if old.backoff_limit_per_index != new.backoff_limit_per_index {
        let shown = new.backoff_limit_per_index.map_or("null".to_owned(), |limit| limit.to_string());
        problems.invalid("spec.backoffLimitPerIndex", shown, IMMUTABLE);
    }
}

fn is_steered(old: &PodSpec, new: &PodSpec) -> bool {
    let mut allowed = old.clone();
    allowed.node_selector = new.node_selector.clone();
    allowed.affinity = new.affinity.clone();
    allowed.tolerations = new.tolerations.clone();
    allowed.scheduling_gates = new.scheduling_gates.clone();
    allowed.source = new.source;
    allowed == *new
}

fn pod_spec(old: &PodSpec, new: &PodSpec, same_node: bool, problems: &mut Problems) {
    if let Some(gate) = new.scheduling_gates.iter().find(|gate| !old.scheduling_gates.contains(gate)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{gate}'");
        problems.forbidden("spec.schedulingGates", &why);
    }
    match (old.active_deadline, new.active_deadline) {
        (Some(old), Some(new)) if new > old => {
            let why = "must be less than or equal to previous value";
            problems.invalid("spec.activeDeadlineSeconds", new.as_secs(), why);
        }
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            problems.add("spec.activeDeadlineSeconds", format!("Invalid value: null: {why}"));
        }
        _ => {}
    }
    let with_images = |old: &[Container], new: &[Container]| -> Arc<[Container]> {
        let pairs = old.iter().enumerate();
        pairs
            .map(|(idx, container)| Container {
                image: new.get(idx).map_or(container.image, |new| new.image),
                source: new.get(idx).and_then(|new| new.source),
                ..container.clone()
            })
            .collect()
    };
    let mut allowed = old.clone();
    allowed.containers = with_images(&old.containers, &new.containers);
    allowed.init_containers = with_images(&old.init_containers, &new.init_containers);
    allowed.active_deadline = new.active_deadline;
    allowed.scheduling_gates = new.scheduling_gates.clone();
    allowed.source = new.source;
    if old.tolerations.iter().all(|toleration| new.tolerations.contains(toleration)) {
        allowed.tolerations = new.tolerations.clone();
    }
    // A gated pod's scheduling constraints may be narrowed; that they only narrow is not checked.
    if !old.scheduling_gates.is_empty() {
        allowed.node_selector = new.node_selector.clone();
        allowed.affinity = new.affinity.clone();
    }
    if allowed != *new || !same_node {
        problems.forbidden("spec", POD_SPEC);
    }
}
