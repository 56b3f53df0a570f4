//! VolumeBinding: a pod's claims must be there, and their volumes reachable from the node.
//!
//! *When you meet it:* "pod has unbound immediate PersistentVolumeClaims", `persistentvolumeclaim "data" not found`, "node(s)
//! didn't match PersistentVolume's node affinity".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumebinding (volume_binding.go, binder.go). A claim of a class with
//! `WaitForFirstConsumer` takes the smallest volume that fits, or passes where its class can provision. Left out: storage
//! capacities, and the assumption of volumes between attempts.

use std::sync::Arc;

use crate::model::pod::VolumeSource;
use crate::model::storage::{ClaimPhase, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumePhase};
use crate::model::{Name, Node, Object};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, PreScore, PreScored, State, Status, state_of,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct VolumeBinding;

/// The pod's claims, sorted by what is to be done.
#[derive(Clone, Debug, Default)]
struct Claims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// Unbound, of a class that waits for the first consumer; the smallest first.
    delayed: Vec<(Arc<PersistentVolumeClaim>, Option<Arc<StorageClass>>)>,
}

/// The names of the claims that the pod's volumes use, with true for ephemeral ones.
pub fn claims_of(pod: &PodInfo) -> impl Iterator<Item = (Name, bool)> + '_ {
    pod.pod.spec.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Claim { name, .. } => Some((*name, false)),
        VolumeSource::Ephemeral { .. } => Some((Name::from(format!("{}-{}", pod.pod.meta.name, volume.name)), true)),
        _ => None,
    })
}

const NODE_AFFINITY: &str = "node(s) didn't match PersistentVolume's node affinity";
const NOTHING_TO_BIND: &str = "node(s) didn't find available persistent volumes to bind";
const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
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
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        if !pod.spec.has_claims {
            return Ok(PreFiltered::skip());
        }
        let mut claims = Claims::default();
        let mut immediate = false;
        for (name, ephemeral) in claims_of(pod) {
            let Some(claim) = world.listers.claims.get(&(pod.pod.meta.namespace, name)) else {
                return Err(Status::unresolvable(if ephemeral {
                    format!("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\"")
                } else {
                    format!("persistentvolumeclaim \"{name}\" not found")
                }));
            };
            if claim.phase == ClaimPhase::Lost {
                return Err(Status::unresolvable(format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                    claim.volume
                )));
            }
            if claim.meta.deletion.is_some() {
                return Err(Status::unresolvable(format!("persistentvolumeclaim \"{name}\" is being deleted")));
            }
            let class = claim.spec.storage_class.and_then(|class| world.listers.storage_classes.get(&class));
            let waits = class.is_some_and(|class| class.wait_for_first_consumer);
            if !claim.volume.is_empty() && claim.phase == ClaimPhase::Bound {
                claims.bound.push(claim.clone());
            } else if waits && claim.volume.is_empty() {
                claims.delayed.push((claim.clone(), class.cloned()));
            } else {
                immediate = true;
            }
        }
        if immediate {
            return Err(Status::unresolvable("pod has unbound immediate PersistentVolumeClaims"));
        }
        claims.delayed.sort_by_key(|(claim, _)| claim.spec.request);
        Ok(PreFiltered::with(claims))
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, state: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        let Some(claims) = state_of::<Claims>(state) else { return Ok(()) };
        for claim in &claims.bound {
            let volume = world.listers.volumes.get(&claim.volume).ok_or_else(|| Status::unresolvable(NO_VOLUME))?;
            if !reachable(volume, &node.node) {
                return Err(Status::unresolvable(NODE_AFFINITY));
            }
        }
        let mut taken: Vec<Name> = Vec::new();
        for (claim, class) in &claims.delayed {
            let free = world
                .listers
                .volumes
                .values()
                .filter(|volume| !taken.contains(&volume.meta.name) && suits(volume, claim))
                .filter(|volume| reachable(volume, &node.node))
                .min_by_key(|volume| (volume.capacity, volume.meta.name));
            match free {
                Some(volume) => taken.push(volume.meta.name),
                None if class.as_ref().is_some_and(|class| can_provision(class, &node.node)) => {}
                None => return Err(Status::unresolvable(NOTHING_TO_BIND)),
            }
        }
        Ok(())
    }
}

/// True if the volume can be used from this node.
fn reachable(volume: &PersistentVolume, node: &Node) -> bool {
    volume.node_affinity.as_ref().is_none_or(|affinity| affinity.matches(node.meta.name, &node.meta.labels))
}

/// True if the volume can be bound to the claim (`FindMatchingVolume`).
fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let meant_for_it = volume.claim == Some((claim.meta.namespace, claim.meta.name));
    let free = volume.claim.is_none() && volume.phase == VolumePhase::Available;
    (free || meant_for_it)
        && volume.meta.deletion.is_none()
        && volume.capacity >= claim.spec.request
        && volume.block == claim.spec.block
        && claim.spec.access_modes.iter().all(|mode| volume.access_modes.contains(mode))
        && (meant_for_it || volume.storage_class == claim.spec.storage_class.unwrap_or_default())
        && claim.spec.selector.as_ref().is_none_or(|selector| selector.matches(&volume.meta.labels))
}

/// True if the class can make a volume for this node.
fn can_provision(class: &StorageClass, node: &Node) -> bool {
    class.provisioner != *"kubernetes.io/no-provisioner"
        && !class.provisioner.is_empty()
        && (class.allowed_topologies.is_empty()
            || class.allowed_topologies.iter().any(|term| term.matches(node.meta.name, &node.meta.labels)))
}

impl PreScore for VolumeBinding {
    /// It scores only with the gate StorageCapacityScoring, which is off.
    fn pre_score(&self, _: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        Ok(PreScored::skip())
    }
}

impl EnqueueExtensions for VolumeBinding {
    fn events(&self) -> Vec<ClusterEvent> {
        let changed = Action::ADD.or(Action::UPDATE);
        vec![
            ClusterEvent::new(Resource::StorageClass, changed),
            ClusterEvent::new(Resource::PersistentVolumeClaim, changed),
            ClusterEvent::new(Resource::PersistentVolume, changed),
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_LABEL)),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Other(_, Some(Object::PersistentVolumeClaim(claim))) => {
                claim.meta.namespace == pod.pod.meta.namespace
                    && claims_of(pod).any(|(name, _)| name == claim.meta.name)
            }
            Change::Other(Some(Object::StorageClass(old)), Some(Object::StorageClass(new))) => {
                old.allowed_topologies != new.allowed_topologies
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
