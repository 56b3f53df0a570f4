//! What binds claims to volumes: which volumes a pod's claims would get on a node, and the choices that were made but not
//! yet written.
//!
//! Used by VolumeBinding only; the other volume plug-ins read what the API server has.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumebinding/binder.go, assume_cache.go;
//! staging/src/k8s.io/component-helpers/storage/volume/pv_helpers.go (FindMatchingVolume). Among volumes of equal size the
//! first by name is taken, where Kubernetes takes any.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::storage::{
    BIND_COMPLETED, ClaimPhase, PersistentVolume, PersistentVolumeClaim, SELECTED_NODE, StorageClass, VolumePhase,
};
use crate::model::{Meta, Name, Node, Uid};
use crate::scheduler::framework::{Reason, Status};
use crate::scheduler::listers::{Listers, World};
use crate::scheduler::pod_info::PodInfo;

use super::volume_binding::claims_of;

pub(super) const NODE_AFFINITY: &str = "node(s) didn't match PersistentVolume's node affinity";
const NOTHING_TO_BIND: &str = "node(s) didn't find available persistent volumes to bind";
const NO_SPACE: &str = "node(s) did not have enough free storage";
const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// Volumes and claims as they will be once the scheduler's choices are written.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    volumes: FxHashMap<Name, Arc<PersistentVolume>>,
    claims: FxHashMap<(Name, Name), Arc<PersistentVolumeClaim>>,
}

impl Assumed {
    /// The API server shows a newer volume.
    pub fn forget_volume(&mut self, name: Name) {
        self.volumes.remove(&name);
    }

    /// The API server shows a newer claim.
    pub fn forget_claim(&mut self, key: (Name, Name)) {
        self.claims.remove(&key);
    }
}

/// The claim as the binder sees it.
fn claim_of(world: &World, key: (Name, Name)) -> Option<&Arc<PersistentVolumeClaim>> {
    world.assumed.claims.get(&key).or_else(|| world.listers.claims.get(&key))
}

/// The volume as the binder sees it.
fn volume_of(world: &World, name: Name) -> Option<&Arc<PersistentVolume>> {
    world.assumed.volumes.get(&name).or_else(|| world.listers.volumes.get(&name))
}

/// An unbound claim whose class waits for the first consumer.
#[derive(Clone, Debug)]
struct Delayed {
    claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
    /// The volume that is meant for it, if there is one that would do.
    meant: Option<Arc<PersistentVolume>>,
    /// Free volumes that would do, the smallest first.
    free: Vec<Arc<PersistentVolume>>,
}

/// A pod's claims, sorted by what is to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// Those that have a node already, then the others, the smallest first.
    delayed: Vec<Delayed>,
}

/// What a pod's claims would get on a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) volumes: Vec<(Arc<PersistentVolumeClaim>, Arc<PersistentVolume>)>,
    /// Claims for which a volume is to be made.
    pub(super) provision: Vec<Arc<PersistentVolumeClaim>>,
}

/// True if the claim is bound for good.
fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    !claim.volume.is_empty() && claim.meta.annotations.get(Name::new(BIND_COMPLETED)).is_some()
}

/// True if the ephemeral claim was made for this pod.
pub(super) fn is_for_pod(claim: &Meta, pod: &PodInfo) -> Result<(), String> {
    if claim.owner.is_some_and(|owner| owner.uid == pod.uid()) {
        return Ok(());
    }
    Err(format!(
        "PVC {}/{} was not created for pod {} (pod is not owner)",
        claim.namespace,
        claim.name,
        pod.pod.full_name()
    ))
}

impl Claims {
    /// Looks at the pod's claims. `Ok(None)`: it has none.
    pub(super) fn of(pod: &PodInfo, world: &World) -> Result<Option<Claims>, Status> {
        if !pod.spec.has_claims {
            return Ok(None);
        }
        let namespace = pod.pod.meta.namespace;
        for (name, ephemeral) in claims_of(pod) {
            let Some(claim) = world.listers.claims.get(&(namespace, name)) else {
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
            if ephemeral {
                is_for_pod(&claim.meta, pod).map_err(Status::unresolvable)?;
            }
        }
        let mut claims = Claims::default();
        let mut immediate = false;
        for (name, _) in claims_of(pod) {
            let Some(claim) = claim_of(world, (namespace, name)) else { continue };
            if is_bound(claim) {
                claims.bound.push(claim.clone());
                continue;
            }
            let class = claim.spec.storage_class.and_then(|class| world.listers.storage_classes.get(&class));
            match class.filter(|class| class.wait_for_first_consumer) {
                // Claims that name their volume are the volume controller's to bind.
                Some(class) if claim.volume.is_empty() => claims.delayed.push(Delayed::new(claim, class, world)),
                _ => immediate = true,
            }
        }
        if immediate {
            return Err(Status::unresolvable("pod has unbound immediate PersistentVolumeClaims"));
        }
        claims.delayed.sort_by_key(|delayed| match delayed.selected() {
            Some(_) => (0, 0),
            None => (1, delayed.claim.spec.request.0),
        });
        Ok(Some(claims))
    }

    /// What the claims would get on `node`, or why they can't have it.
    pub(super) fn on(&self, node: &Node, world: &World) -> Result<Choice, Status> {
        let mut reasons: Vec<&'static str> = Vec::new();
        let mut missing = false;
        for claim in &self.bound {
            match volume_of(world, claim.volume) {
                Some(volume) if !is_reachable(volume, node) => {
                    reasons.push(NODE_AFFINITY);
                    break;
                }
                Some(_) => {}
                None => {
                    missing = true;
                    break;
                }
            }
        }
        let choice = self.choose(node, world);
        let choice = choice.map_err(|reason| reasons.push(reason)).unwrap_or_default();
        if missing {
            reasons.push(NO_VOLUME);
        }
        if reasons.is_empty() {
            return Ok(choice);
        }
        let mut status = Status::unresolvable(reasons[0]);
        status.reasons.extend(reasons.into_iter().skip(1).map(Reason::Borrowed));
        Err(status)
    }

    fn choose(&self, node: &Node, world: &World) -> Result<Choice, &'static str> {
        let mut choice = Choice::default();
        let mut provision: Vec<&Delayed> = Vec::new();
        if self.delayed.iter().filter_map(Delayed::selected).any(|selected| selected != node.meta.name) {
            return Err(NOTHING_TO_BIND);
        }
        for delayed in &self.delayed {
            if delayed.selected().is_some() {
                provision.push(delayed);
                continue;
            }
            match delayed.volume_on(node, &choice) {
                Some(volume) => choice.volumes.push((delayed.claim.clone(), volume.clone())),
                None => provision.push(delayed),
            }
        }
        for delayed in provision {
            delayed.can_be_provisioned(node, &world.listers)?;
            choice.provision.push(delayed.claim.clone());
        }
        Ok(choice)
    }
}

impl Delayed {
    fn new(claim: &Arc<PersistentVolumeClaim>, class: &Arc<StorageClass>, world: &World) -> Delayed {
        let mut delayed = Delayed { claim: claim.clone(), class: class.clone(), meant: None, free: Vec::new() };
        if delayed.selected().is_some() {
            return delayed;
        }
        for name in world.listers.volumes_of_class(class.meta.name) {
            let Some(volume) = volume_of(world, name) else { continue };
            let large_enough = volume.capacity >= claim.spec.request && volume.block == claim.spec.block;
            if !large_enough || volume.meta.deletion.is_some() {
                continue;
            }
            if is_meant_for(volume, claim) {
                delayed.meant.get_or_insert_with(|| volume.clone());
            } else if volume.claim.is_none()
                && volume.phase == VolumePhase::Available
                && claim.spec.selector.as_ref().is_none_or(|selector| selector.matches(&volume.meta.labels))
                && claim.spec.access_modes.iter().all(|mode| volume.access_modes.contains(mode))
            {
                delayed.free.push(volume.clone());
            }
        }
        delayed.free.sort_by_key(|volume| (volume.capacity, volume.meta.name));
        delayed
    }

    /// The node for which a volume is being made already.
    fn selected(&self) -> Option<Name> {
        self.claim.meta.annotations.get(Name::new(SELECTED_NODE))
    }

    fn volume_on(&self, node: &Node, taken: &Choice) -> Option<&Arc<PersistentVolume>> {
        if let Some(meant) = &self.meant {
            return is_reachable(meant, node).then_some(meant);
        }
        let is_taken = |volume: &PersistentVolume| taken.volumes.iter().any(|(_, t)| t.meta.name == volume.meta.name);
        self.free.iter().find(|volume| !is_taken(volume) && is_reachable(volume, node))
    }

    fn can_be_provisioned(&self, node: &Node, listers: &Listers) -> Result<(), &'static str> {
        let class = &self.class;
        if class.provisioner.is_empty() || class.provisioner == *"kubernetes.io/no-provisioner" {
            return Err(NOTHING_TO_BIND);
        }
        let topologies = &class.allowed_topologies;
        // A term without expressions is no constraint, unlike in node selectors (MatchTopologySelectorTerms).
        let allows = |term: &crate::model::NodeSelectorTerm| {
            term.expressions.iter().all(|one| one.matches(node.meta.labels.get(one.key)))
        };
        if !topologies.is_empty() && !topologies.iter().any(allows) {
            return Err(NOTHING_TO_BIND);
        }
        if !listers.csi_drivers.get(&class.provisioner).is_some_and(|driver| driver.storage_capacity) {
            return Ok(());
        }
        let has_room = listers.capacities_of_class(class.meta.name).any(|capacity| {
            capacity.limit().is_some_and(|limit| limit >= self.claim.spec.request)
                && capacity.topology.as_ref().is_some_and(|topology| topology.matches(&node.meta.labels))
        });
        if has_room { Ok(()) } else { Err(NO_SPACE) }
    }
}

/// True if the volume's claim is this one. A volume that is left from an earlier claim of the same name is not.
fn is_meant_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.claim == Some((claim.meta.namespace, claim.meta.name))
        && (volume.claim_uid == Uid::NONE || volume.claim_uid == claim.meta.uid)
}

/// True if the volume can be used from this node. Only the node's labels are looked at, never its name.
pub(super) fn is_reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.node_affinity.as_ref();
    affinity.is_none_or(|affinity| affinity.matches_labels(&node.meta.labels))
}

/// Takes the choice for the pod: until it is written, others see it here.
pub(super) fn assume(choice: &Choice, node: Name, world: &mut World) {
    for (claim, volume) in &choice.volumes {
        let mut volume = PersistentVolume::clone(volume);
        volume.claim = Some((claim.meta.namespace, claim.meta.name));
        volume.claim_uid = claim.meta.uid;
        world.assumed.volumes.insert(volume.meta.name, Arc::new(volume));
    }
    for claim in &choice.provision {
        let key = (claim.meta.namespace, claim.meta.name);
        let mut claim = PersistentVolumeClaim::clone(claim);
        claim.meta.annotations = claim.meta.annotations.with(Name::new(SELECTED_NODE), node);
        world.assumed.claims.insert(key, Arc::new(claim));
    }
}

/// Gives up what was assumed for the pod.
pub(super) fn give_up(pod: &PodInfo, world: &mut World) {
    for (name, _) in claims_of(pod) {
        let key = (pod.pod.meta.namespace, name);
        world.assumed.claims.remove(&key);
        world.assumed.volumes.retain(|_, volume| volume.claim != Some(key));
    }
}

/// What was assumed for the pod and is not written yet.
pub(super) fn unwritten(pod: &PodInfo, world: &World) -> (Vec<Arc<PersistentVolume>>, Vec<Arc<PersistentVolumeClaim>>) {
    let (mut volumes, mut claims) = (Vec::new(), Vec::new());
    for (name, _) in claims_of(pod) {
        let key = (pod.pod.meta.namespace, name);
        claims.extend(world.assumed.claims.get(&key).cloned());
        volumes.extend(world.assumed.volumes.values().filter(|volume| volume.claim == Some(key)).cloned());
    }
    volumes.sort_by_key(|volume| volume.meta.name);
    (volumes, claims)
}

/// True when all of the pod's claims are bound; an error when one can no longer be, as it was meant.
pub(super) fn are_bound(pod: &PodInfo, node: Name, world: &World) -> Result<bool, Status> {
    let mut all = true;
    for (name, _) in claims_of(pod) {
        let Some(claim) = claim_of(world, (pod.pod.meta.namespace, name)) else {
            return Err(Status::error(format!("binding volumes: persistentvolumeclaim \"{name}\" not found")));
        };
        if is_bound(claim) {
            continue;
        }
        all = false;
        let selected = claim.meta.annotations.get(Name::new(SELECTED_NODE));
        let class = claim.spec.storage_class.and_then(|class| world.listers.storage_classes.get(&class));
        let meant = || world.listers.volumes.values().any(|volume| is_meant_for(volume, claim));
        let waits = class.is_some_and(|class| class.wait_for_first_consumer);
        if claim.volume.is_empty() && waits && selected != Some(node) && !meant() {
            let text = format!("binding volumes: provisioning failed for PVC \"{name}\"");
            return Err(Status::error(text));
        }
    }
    Ok(all)
}
