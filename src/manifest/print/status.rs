//! The status of pods.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::manifest::epoch::Epoch;
use crate::model::pod::{
    ContainerResize, ContainerState, ContainerStatus, PodStatus, ResourceRequirements, Terminated,
};
use crate::model::{Condition, Container, Name, Pod, PodSpec, Resources};

use super::fields::{Fields, resource_list, resources};
use super::pod::requirements;

/// `status` of a pod; the QoS class is the spec's, and what was observed is the generation that there is.
pub(super) fn pod_status(pod: &Pod, epoch: Epoch) -> Value {
    let (status, spec) = (&pod.status, &*pod.spec);
    let mut fields = Fields::new();
    let all = status;
    // Since the kubelet's first status: not of a pod that it refused.
    let is_kept = status.start_time.is_some() && !status.containers.is_empty();
    if is_kept {
        fields.filled("allocatedResources", resources(&set_aside(status, spec).requests()));
    }
    let observed = (status.start_time.is_some() && pod.meta.generation > 0).then_some(pod.meta.generation);
    fields.list("conditions", &status.conditions, |condition| pod_condition(condition, observed, epoch));
    fields.list("containerStatuses", &status.containers, |status| {
        container_status(status, resources_of(all, status, &spec.containers), epoch)
    });
    fields.list("ephemeralContainerStatuses", &status.ephemeral_containers, |one| container_status(one, None, epoch));
    if let Some(extended) = status.extended_claim.as_deref() {
        let mappings: Vec<Value> = extended
            .mappings
            .iter()
            .map(|(container, resource, request)| {
                json!({"containerName": container.as_str(), "requestName": request.as_str(), "resourceName": resource.as_str()})
            })
            .collect();
        let claim = extended.claim.as_str();
        fields.put("extendedResourceClaimStatus", json!({"requestMappings": mappings, "resourceClaimName": claim}));
    }
    if let Some(ip) = status.host_ip {
        fields.put("hostIP", ip.to_string());
        fields.put("hostIPs", json!([{"ip": ip.to_string()}]));
    }
    fields.list("initContainerStatuses", &status.init_containers, |status| {
        container_status(status, resources_of(all, status, &spec.init_containers), epoch)
    });
    fields.text("message", &status.message);
    fields.some("nominatedNodeName", status.nominated_node.map(Name::as_str));
    fields.some("observedGeneration", observed);
    fields.put("phase", status.phase.as_str());
    if let Some(ip) = status.pod_ip {
        fields.put("podIP", ip.to_string());
        fields.put("podIPs", json!([{"ip": ip.to_string()}]));
    }
    fields.put("qosClass", spec.qos().as_str());
    fields.text("reason", &status.reason);
    fields.list("resourceClaimStatuses", &status.claims, |(name, claim)| {
        let mut fields = Fields::new();
        fields.put("name", name.as_str()).some("resourceClaimName", claim.map(Name::as_str));
        fields.done()
    });
    if is_kept {
        let cgroup = cgroup(status, spec);
        let mut actual = Fields::new();
        actual.filled("limits", resources(&cgroup.0)).filled("requests", resources(&cgroup.1));
        fields.put("resources", actual.done());
    }
    fields.time("startTime", epoch, status.start_time);
    fields.done()
}

fn pod_condition(condition: &Condition, observed: Option<u32>, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    // But for a resize nothing in Kubernetes sets it, and it is shown all the same.
    if condition.kind.starts_with("PodResize") {
        fields.put("lastProbeTime", epoch.rfc3339(condition.last_transition));
    } else {
        fields.put("lastProbeTime", Value::Null);
    }
    fields.put("lastTransitionTime", epoch.rfc3339(condition.last_transition));
    fields.text("message", &condition.message);
    let is_own = KUBELETS_CONDITIONS.contains(&condition.kind.as_str());
    fields.some("observedGeneration", observed.filter(|_| is_own));
    fields.text("reason", &condition.reason);
    fields.put("status", condition.status.as_str());
    fields.put("type", condition.kind.as_str());
    fields.done()
}

/// Conditions that the kubelet writes, with the generation that it has seen.
const KUBELETS_CONDITIONS: [&str; 9] = [
    "AllContainersRestarting",
    "ContainersReady",
    "DisruptionTarget",
    "Initialized",
    "PodReadyToStartContainers",
    "PodResizeInProgress",
    "PodResizePending",
    "PodScheduled",
    "Ready",
];

/// The spec with the resources that a resize has left so far, as `of` says.
fn with_resources<'a>(
    status: &'a PodStatus,
    spec: &'a PodSpec,
    of: fn(&ContainerResize) -> &ResourceRequirements,
) -> Cow<'a, PodSpec> {
    let Some(resizing) = status.resizing.as_deref() else { return Cow::Borrowed(spec) };
    let find = |name: Name| resizing.iter().find(|one| one.name == name).map(of);
    let list = |containers: &[Container]| -> Arc<[Container]> {
        let changed = containers.iter().map(|container| match find(container.name) {
            Some(resources) => Container { resources: resources.clone(), ..container.clone() },
            None => container.clone(),
        });
        changed.collect()
    };
    let resources = find(Name::default()).map(|resources| Box::new(resources.clone()));
    Cow::Owned(PodSpec {
        containers: list(&spec.containers),
        init_containers: list(&spec.init_containers),
        resources: resources.or_else(|| spec.resources.clone()),
        ..spec.clone()
    })
}

/// What is set aside for the pod.
fn set_aside<'a>(status: &'a PodStatus, spec: &'a PodSpec) -> Cow<'a, PodSpec> {
    with_resources(status, spec, |resize| &resize.allocated)
}

/// Limits and requests of the pod's cgroup: a limit only where every container has one, or the pod itself.
fn cgroup(status: &PodStatus, spec: &PodSpec) -> (Resources, Resources) {
    let spec = with_resources(status, spec, |resize| &resize.actual);
    let own = spec.resources.as_deref();
    let (mut limits, mut requests) = (spec.limits(), spec.requests());
    let sidecars = spec.init_containers.iter().filter(|one| one.is_sidecar());
    let all = || spec.containers.iter().chain(sidecars.clone());
    if own.and_then(|own| own.limits.cpu).is_none() && all().any(|one| one.resources.limits.cpu.is_none()) {
        limits.cpu = Default::default();
    }
    if own.and_then(|own| own.limits.memory).is_none() && all().any(|one| one.resources.limits.memory.is_none()) {
        limits.memory = Default::default();
    }
    for amounts in [&mut limits, &mut requests] {
        amounts.ephemeral_storage = Default::default();
        amounts.extended.clear();
    }
    (limits, requests)
}

/// What is set aside for a container, and what it runs with.
fn resources_of<'a>(
    status: &'a PodStatus,
    one: &ContainerStatus,
    list: &'a [Container],
) -> Option<(&'a ResourceRequirements, &'a ResourceRequirements)> {
    if one.container_id == 0 {
        return None;
    }
    let resizing = status.resizing.iter().flat_map(|all| all.iter()).find(|resizing| resizing.name == one.name);
    let shown = match resizing {
        Some(resizing) => (&resizing.allocated, &resizing.actual),
        None => {
            let resources = &list.iter().find(|container| container.name == one.name)?.resources;
            (resources, resources)
        }
    };
    Some(shown).filter(|(allocated, _)| **allocated != ResourceRequirements::default())
}

fn container_status(
    status: &ContainerStatus,
    resources: Option<(&ResourceRequirements, &ResourceRequirements)>,
    epoch: Epoch,
) -> Value {
    let mut fields = Fields::new();
    if let Some((allocated, _)) = resources {
        fields.filled("allocatedResources", resource_list(&allocated.requests));
    }
    if status.container_id != 0 {
        fields.put("containerID", container_id(status.container_id, status.runtime_id));
    }
    fields.put("image", status.image.as_str());
    fields.put("imageID", status.image_id.as_str());
    let last = status.last_terminated.as_deref().map(|last| json!({"terminated": terminated(last, epoch)}));
    fields.put("lastState", last.unwrap_or_else(|| json!({})));
    fields.put("name", status.name.as_str());
    fields.put("ready", status.ready);
    fields.some("resources", resources.map(|(_, actual)| requirements(actual)));
    fields.put("restartCount", status.restart_count);
    fields.some("started", status.started);
    let state = match &status.state {
        ContainerState::Waiting { reason, message } => {
            let mut waiting = Fields::new();
            waiting.text("message", message).text("reason", reason);
            json!({"waiting": waiting.done()})
        }
        ContainerState::Running { started_at } => json!({"running": {"startedAt": epoch.rfc3339(*started_at)}}),
        ContainerState::Terminated(ended) => json!({"terminated": terminated(ended, epoch)}),
    };
    fields.put("state", state);
    fields.done()
}

fn terminated(ended: &Terminated, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    if ended.container_id != 0 {
        fields.put("containerID", container_id(ended.container_id, ended.runtime_id));
    }
    fields.put("exitCode", ended.exit_code);
    fields.put("finishedAt", epoch.rfc3339(ended.finished_at));
    fields.text("message", &ended.message);
    fields.text("reason", &ended.reason);
    fields.number("signal", ended.signal);
    fields.put("startedAt", epoch.rfc3339(ended.started_at));
    fields.done()
}

/// A real runtime's own; else as long as one.
fn container_id(id: u64, runtime_id: Name) -> String {
    if runtime_id.is_empty() { format!("containerd://{id:064x}") } else { runtime_id.to_string() }
}
