//! VolumeZone: a pod's volumes must be in the node's zone and region, as the labels of the volumes say.
//!
//! *When you meet it:* volumes of cloud providers with zone labels: "node(s) had no available volume zone".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumezone/volume_zone.go.

use crate::model::{Labels, Name, Object};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, State, Status, state_of,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

use super::volume_binding::claims_of;

/// See the module.
#[derive(Debug, Default)]
pub struct VolumeZone;

/// The labels that count, the older ones with the newer one that may stand in on a node.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// A label of a volume: its key, the key that may stand in, the values that it allows.
type Topology = (Name, Name, Vec<Name>);

fn topologies(labels: &Labels) -> Vec<Topology> {
    // A label with an empty zone says nothing (LabelZonesToSet fails).
    let allowed = |value: Name| -> Option<Vec<Name>> {
        let zones = value.split("__").map(str::trim).map(|zone| (!zone.is_empty()).then(|| Name::new(zone)));
        zones.collect()
    };
    LABELS
        .iter()
        .filter_map(|(key, stand_in)| {
            let key = Name::new(key);
            Some((key, Name::new(stand_in), allowed(labels.get(key)?)?))
        })
        .collect()
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for VolumeZone {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        if !pod.spec.has_claims {
            return Ok(PreFiltered::skip());
        }
        let mut wanted: Vec<Topology> = Vec::new();
        for (name, ephemeral) in claims_of(pod) {
            if ephemeral {
                continue;
            }
            let Some(claim) = world.listers.claims.get(&(pod.pod.meta.namespace, name)) else {
                return Err(Status::unresolvable(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if claim.volume.is_empty() {
                let Some(class) = claim.spec.storage_class.filter(|class| !class.is_empty()) else {
                    return Err(Status::unresolvable("PersistentVolumeClaim had no pv name and storageClass name"));
                };
                match world.listers.storage_classes.get(&class) {
                    Some(class) if class.wait_for_first_consumer => continue,
                    Some(_) => return Err(Status::unresolvable("PersistentVolume had no name")),
                    None => {
                        return Err(Status::unresolvable(format!("storageclass.storage.k8s.io \"{class}\" not found")));
                    }
                }
            }
            match world.listers.volumes.get(&claim.volume) {
                Some(volume) => wanted.extend(topologies(&volume.meta.labels)),
                None => {
                    return Err(Status::unresolvable(format!("persistentvolume \"{}\" not found", claim.volume)));
                }
            }
        }
        Ok(if wanted.is_empty() { PreFiltered::skip() } else { PreFiltered::with(wanted) })
    }
}

impl Filter for VolumeZone {
    fn filter(&self, state: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        let Some(wanted) = state_of::<Vec<Topology>>(state) else { return Ok(()) };
        let labels = &node.node.meta.labels;
        if !LABELS.iter().any(|(key, _)| labels.iter().any(|(known, _)| known == *key)) {
            return Ok(());
        }
        let suits = |(key, stand_in, allowed): &Topology| {
            labels.get(*key).or_else(|| labels.get(*stand_in)).is_some_and(|value| allowed.contains(&value))
        };
        if wanted.iter().all(suits) {
            return Ok(());
        }
        Err(Status::unresolvable("node(s) had no available volume zone"))
    }
}

impl EnqueueExtensions for VolumeZone {
    fn events(&self) -> Vec<ClusterEvent> {
        let changed = Action::ADD.or(Action::UPDATE);
        vec![
            ClusterEvent::new(Resource::StorageClass, Action::ADD),
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_LABEL)),
            ClusterEvent::new(Resource::PersistentVolumeClaim, changed),
            ClusterEvent::new(Resource::PersistentVolume, changed),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Other(_, Some(Object::StorageClass(class))) => class.wait_for_first_consumer,
            Change::Other(_, Some(Object::PersistentVolumeClaim(claim))) => {
                claim.meta.namespace == pod.pod.meta.namespace
                    && claims_of(pod).any(|(name, ephemeral)| !ephemeral && name == claim.meta.name)
            }
            Change::Other(Some(Object::PersistentVolume(old)), Some(Object::PersistentVolume(new))) => {
                topologies(&old.meta.labels) != topologies(&new.meta.labels)
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
