//! A pod's claims: which they are, whether they are there, and what of them is to be allocated.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go (foreachPodResourceClaim, PreFilter).

use std::sync::Arc;

use crate::model::device::{DeviceClass, ResourceClaim};
use crate::model::{Name, Pod};
use crate::scheduler::framework::Status;
use crate::scheduler::listers::World;
use crate::scheduler::pod_info::PodInfo;

/// The claims of a pod, as they are known.
pub(super) fn of_pod<'w>(pod: &Pod, world: &'w World) -> Result<Vec<&'w Arc<ResourceClaim>>, String> {
    let mut claims = Vec::with_capacity(pod.spec.resource_claims.len());
    for (_, found) in pod.claim_names() {
        let Some((name, is_own)) = found else {
            return Err(format!("pod \"{}\": ResourceClaim not created yet", pod.full_name()));
        };
        let Some(shown) = world.listers.resource_claims.get(&(pod.meta.namespace, name)) else {
            return Err(format!("resourceclaim.resource.k8s.io \"{name}\" not found"));
        };
        let claim = world.devices.newest(shown);
        if claim.meta.deletion.is_some() {
            return Err(format!("resourceclaim \"{name}\" is being deleted"));
        }
        if is_own && !claim.is_for(pod) {
            let (namespace, pod) = (claim.meta.namespace, pod.full_name());
            return Err(format!("ResourceClaim {namespace}/{name} was not created for pod {pod} (pod is not owner)"));
        }
        claims.push(claim);
    }
    Ok(claims)
}

/// A pod's claims, sorted by what is to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// All of them.
    pub(super) all: Vec<Arc<ResourceClaim>>,
    /// Those without an allocation.
    pub(super) open: Vec<Arc<ResourceClaim>>,
}

impl Claims {
    /// Looks at the claims of a pod that has some.
    pub(super) fn of(pod: &PodInfo, world: &World) -> Result<Claims, Status> {
        let mut claims = Claims::default();
        for claim in of_pod(&pod.pod, world).map_err(Status::unresolvable)? {
            if claim.status.allocation.is_some() {
                if !claim.has_room() && !claim.is_reserved_for(pod.uid()) {
                    return Err(Status::unresolvable("resourceclaim in use"));
                }
            } else {
                if world.devices.decided(claim.meta.uid).is_some() {
                    let name = format!("{}/{}", claim.meta.namespace, claim.meta.name);
                    let text = format!("resource claim {name} is in the process of being allocated");
                    return Err(Status::unresolvable(text));
                }
                for request in &claim.spec.requests {
                    for one in &request.alternatives {
                        if class(one.class, world).is_none() {
                            let (name, sub) = (request.name, one.name);
                            let path = if sub.is_empty() { name.to_string() } else { format!("{name}/{sub}") };
                            let text = format!("request {path}: device class {} does not exist", one.class);
                            return Err(Status::unresolvable(text));
                        }
                    }
                }
                claims.open.push(claim.clone());
            }
            claims.all.push(claim.clone());
        }
        Ok(claims)
    }
}

/// A device class.
pub(super) fn class(name: Name, world: &World) -> Option<Arc<DeviceClass>> {
    world.listers.device_classes.get(&name).cloned()
}
