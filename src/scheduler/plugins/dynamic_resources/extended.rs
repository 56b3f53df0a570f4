//! Extended resources that a device class stands for: a pod that asks for `example.com/gpu: 1` gets a device of the class,
//! where its node does not have the resource itself.
//!
//! The claim for it is decided with the node and made before the pod is bound.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/dynamicresources/extendeddynamicresources.go (gate DRAExtendedResource,
//! beta and on in 1.36).

use std::sync::Arc;

use crate::model::device::{
    DeviceClaim, DeviceRequest, EXTENDED_RESOURCE_CLAIM, ExactRequest, ExtendedClaim, ResourceClaim,
};
use crate::model::{Container, Kind, Labels, Meta, Name, OwnerReference, Pod, Resources, Uid};
use crate::scheduler::framework::Status;
use crate::scheduler::listers::World;
use crate::scheduler::pod_info::PodInfo;

use super::catalog::{extended_uid, is_extended};

/// True for a resource that a class may stand for: `example.com/gpu`, and what begins with the implicit prefix.
fn may_be_device(resource: Name) -> bool {
    let domain = resource.split_once('/').map_or("", |(domain, _)| domain);
    !domain.is_empty() && (!domain.ends_with("kubernetes.io") || domain == "deviceclass.resource.kubernetes.io")
}

/// True if the pod asks for a resource that a class stands for.
pub(super) fn asks(pod: &PodInfo, world: &World) -> bool {
    let mut requested = pod.spec.requests.extended.iter();
    world.devices.has_classes()
        && requested.any(|&(name, amount)| amount > 0 && may_be_device(name) && world.devices.class_of(name).is_some())
}

/// The claim that was made for the pod's extended resources in an attempt before.
pub(super) fn left_over<'w>(pod: &Pod, world: &'w World) -> Option<&'w Arc<ResourceClaim>> {
    let from = (pod.meta.namespace, Name::default());
    let of_namespace = world.listers.resource_claims.range(from..);
    of_namespace
        .take_while(|((namespace, _), _)| *namespace == pod.meta.namespace)
        .map(|(_, claim)| claim)
        .find(|claim| claim.is_for(pod) && is_extended(claim))
}

/// The claim that the pod needs on a node with this much allocatable; None if it needs none.
pub(super) fn claim_on(
    pod: &PodInfo,
    allocatable: &Resources,
    world: &World,
) -> Result<Option<(ResourceClaim, ExtendedClaim)>, Status> {
    let mut wanted: Vec<(Name, Name)> = Vec::new();
    for &(resource, amount) in &pod.spec.requests.extended {
        if amount == 0 || !may_be_device(resource) {
            continue;
        }
        let there = allocatable.extended.iter().find(|(name, _)| *name == resource);
        match world.devices.class_of(resource) {
            Some(class) if there.is_none_or(|(_, amount)| *amount == 0) => wanted.push((resource, class)),
            _ if there.is_none() => return Err(Status::unresolvable("cannot fit resource")),
            _ => {}
        }
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    wanted.sort_unstable();
    Ok(Some(claim_for(&pod.pod, &wanted)))
}

/// The claim for these resources and their classes, with what of it is whose.
fn claim_for(pod: &Pod, wanted: &[(Name, Name)]) -> (ResourceClaim, ExtendedClaim) {
    let containers: Vec<&Container> = pod.spec.init_containers.iter().chain(pod.spec.containers.iter()).collect();
    let inits = pod.spec.init_containers.len();
    let is_short = |index: usize| index < inits && containers.get(index).is_some_and(|one| !one.is_sidecar());
    let mut requests: Vec<DeviceRequest> = Vec::new();
    let mut mappings = Vec::new();
    for &(resource, class) in wanted {
        let mut long: Vec<Option<DeviceRequest>> = vec![None; containers.len()];
        for (index, container) in containers.iter().enumerate().filter(|(index, _)| !is_short(*index)) {
            let (request, mapped) = request_of(index, container, resource, class, &[]);
            long[index] = request;
            mappings.extend(mapped);
        }
        // Init containers run one after another: they share the most that one of them needs beyond what the others have.
        let mut most: Option<DeviceRequest> = None;
        let mut of_inits = Vec::new();
        let mut names = Vec::new();
        for (index, container) in containers.iter().enumerate().filter(|(index, _)| is_short(*index)) {
            let (request, mapped) = request_of(index, container, resource, class, &long[index..]);
            if let Some(request) = request {
                names.push(request.name);
                if most.as_ref().is_none_or(|most| count(most) < count(&request)) {
                    most = Some(request);
                }
            }
            of_inits.extend(mapped);
        }
        for (container, resource, request) in of_inits {
            let request = most.as_ref().filter(|_| names.contains(&request)).map_or(request, |most| most.name);
            mappings.push((container, resource, request));
        }
        requests.extend(most);
        requests.extend(long.into_iter().flatten());
    }
    requests.sort_by_key(|request| request.name);
    let owner = OwnerReference { kind: Kind::Pod, name: pod.meta.name, uid: pod.meta.uid, block_deletion: false };
    let stem = Name::from(format!("{}-extended-resources-", pod.meta.name));
    let name = Name::from(format!("{stem}{}", suffix(pod.meta.uid)));
    let meta = Meta {
        uid: extended_uid(pod.meta.uid),
        generate_name: stem,
        owner: Some(owner),
        annotations: Labels::new([(Name::new(EXTENDED_RESOURCE_CLAIM), Name::new("true"))]),
        ..Meta::named(pod.meta.namespace, name)
    };
    let spec = Arc::new(DeviceClaim { requests, constraints: Vec::new() });
    (ResourceClaim { meta, spec, ..ResourceClaim::default() }, ExtendedClaim { claim: name, mappings })
}

fn count(request: &DeviceRequest) -> i64 {
    request.alternatives.first().and_then(|one| one.count).unwrap_or(0)
}

/// Five characters as the API server's that differ from pod to pod.
fn suffix(pod: Uid) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = pod.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let mut text = String::new();
    for _ in 0..5 {
        text.push(char::from(LETTERS[(rest % LETTERS.len() as u64) as usize]));
        rest /= LETTERS.len() as u64;
    }
    text
}

/// What a container asks for beyond the devices of `reusable` requests, and whose devices it uses.
fn request_of(
    index: usize,
    container: &Container,
    resource: Name,
    class: Name,
    reusable: &[Option<DeviceRequest>],
) -> (Option<DeviceRequest>, Vec<(Name, Name, Name)>) {
    let requested = &container.resources.requests;
    let Some(&(_, wanted)) = requested.extended.iter().find(|(name, amount)| *name == resource && *amount > 0) else {
        return (None, Vec::new());
    };
    let (mut mappings, mut sum) = (Vec::new(), 0);
    for request in reusable.iter().flatten() {
        sum += count(request);
        mappings.push((container.name, resource, request.name));
        if sum >= wanted {
            return (None, mappings);
        }
    }
    // The request's number is the resource's among all that the container asks for, by name.
    let before = |name: &str| name < resource.as_str();
    let place = requested.extended.iter().filter(|(name, _)| before(name)).count()
        + usize::from(requested.cpu.is_some() && before("cpu"))
        + usize::from(requested.memory.is_some() && before("memory"))
        + usize::from(requested.ephemeral_storage.is_some() && before("ephemeral-storage"));
    let name = Name::from(format!("container-{index}-request-{place}"));
    mappings.push((container.name, resource, name));
    let exact = ExactRequest { class, count: Some(wanted - sum), ..ExactRequest::default() };
    (Some(DeviceRequest { name, alternatives: vec![exact], is_list: false }), mappings)
}
