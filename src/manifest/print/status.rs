//! The status of pods.

use serde_json::{Value, json};

use crate::manifest::epoch::Epoch;
use crate::model::pod::{ContainerState, ContainerStatus, PodStatus, ResourceRequirements, Terminated};
use crate::model::{Condition, Container, Name, PodSpec};

use super::fields::{Fields, resource_list};
use super::pod::requirements;

/// `status` of a pod; the QoS class is the spec's.
pub(super) fn pod_status(status: &PodStatus, spec: &PodSpec, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    let all = status;
    let of_pod = resources_of_pod(status, spec);
    if let Some((allocated, _)) = of_pod {
        fields.filled("allocatedResources", resource_list(&allocated.requests));
    }
    fields.list("conditions", &status.conditions, |condition| pod_condition(condition, epoch));
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
    if let Some((_, actual)) = of_pod {
        fields.filled("resources", requirements(actual));
    }
    fields.time("startTime", epoch, status.start_time);
    fields.done()
}

fn pod_condition(condition: &Condition, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    // Nothing in Kubernetes sets it, and it is shown all the same.
    fields.put("lastProbeTime", Value::Null);
    fields.put("lastTransitionTime", epoch.rfc3339(condition.last_transition));
    fields.text("message", &condition.message);
    fields.text("reason", &condition.reason);
    fields.put("status", condition.status.as_str());
    fields.put("type", condition.kind.as_str());
    fields.done()
}

/// The same for the pod as a whole, if it says something as such and is on its node.
fn resources_of_pod<'a>(
    status: &'a PodStatus,
    spec: &'a PodSpec,
) -> Option<(&'a ResourceRequirements, &'a ResourceRequirements)> {
    let own = spec.resources.as_deref().filter(|_| status.start_time.is_some())?;
    let resizing = status.resizing.iter().flat_map(|all| all.iter()).find(|resizing| resizing.name.is_empty());
    Some(resizing.map_or((own, own), |resizing| (&resizing.allocated, &resizing.actual)))
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
