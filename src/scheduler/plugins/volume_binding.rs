//! VolumeBinding: a pod's claims must be there, and their volumes reachable from the node.
//!
//! *When you meet it:* "pod has unbound immediate PersistentVolumeClaims", `persistentvolumeclaim "data" not found`, "node(s)
//! didn't match PersistentVolume's node affinity", "node(s) did not have enough free storage".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumebinding/volume_binding.go. A claim of a class with
//! `WaitForFirstConsumer` takes the smallest volume that fits, or has one made where its class can; see `volume_binder`. Its
//! score is off by default (StorageCapacityScoring) and not modelled.

use crate::kernel::Duration;
use crate::model::pod::VolumeSource;
use crate::model::storage::SELECTED_NODE;
use crate::model::{Kind, Name, Object};
use crate::protocol::api::{Call, Patch};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    EnqueueExtensions, Filter, Hint, Plugin, PreBind, PreFilter, PreFiltered, PreScore, PreScored, Reserve, Score,
    State, Status, state_of,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

use super::node_volume_limits::MIGRATED_PLUGINS;
use super::volume_binder::{self, Claims};

/// See the module.
#[derive(Clone, Debug)]
pub struct VolumeBinding {
    /// `bindTimeoutSeconds`.
    pub bind_timeout: Duration,
}

impl Default for VolumeBinding {
    fn default() -> Self {
        VolumeBinding { bind_timeout: Duration::from_secs(600) }
    }
}

/// The names of the claims that the pod's volumes use, with true for ephemeral ones.
pub fn claims_of(pod: &PodInfo) -> impl Iterator<Item = (Name, bool)> + '_ {
    pod.pod.spec.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Claim { name, .. } => Some((*name, false)),
        VolumeSource::Ephemeral { .. } => Some((Name::from(format!("{}-{}", pod.pod.meta.name, volume.name)), true)),
        _ => None,
    })
}

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
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        Ok(match Claims::of(pod, world)? {
            Some(claims) => PreFiltered::with(claims),
            None => PreFiltered::skip(),
        })
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, state: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        let Some(claims) = state_of::<Claims>(state) else { return Ok(()) };
        claims.on(&node.node, world).map(|_| ())
    }
}

impl PreScore for VolumeBinding {
    /// It scores only with the gate StorageCapacityScoring, which is off.
    fn pre_score(&self, _: &PodInfo, _: &[NodeId], _: &World) -> Result<PreScored, Status> {
        Ok(PreScored::skip())
    }
}

impl Score for VolumeBinding {
    fn score(&self, _: Option<&dyn State>, _: &PodInfo, _: &NodeInfo, _: &World) -> Result<i64, Status> {
        Ok(0)
    }
}

impl Reserve for VolumeBinding {
    fn reserve(&self, pod: &PodInfo, node: Name, world: &mut World) -> Result<(), Status> {
        let Some(claims) = Claims::of(pod, world)? else { return Ok(()) };
        let Some(id) = world.nodes.find(node) else { return Ok(()) };
        let choice = claims.on(&world.nodes.get(id).node, world)?;
        volume_binder::assume(&choice, node, world);
        Ok(())
    }

    fn unreserve(&self, pod: &PodInfo, _: Name, world: &mut World) {
        if pod.spec.has_claims {
            volume_binder::give_up(pod, world);
        }
    }
}

impl PreBind for VolumeBinding {
    fn pre_bind(&self, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<Vec<Call>, Status> {
        if !pod.spec.has_claims {
            return Ok(Vec::new());
        }
        let (volumes, claims) = volume_binder::unwritten(pod, world);
        let volumes = volumes.into_iter().map(|volume| Call::Update(Object::PersistentVolume(volume)));
        let claims = claims.into_iter().map(|claim| {
            let selected = (Name::new(SELECTED_NODE), Some(node.name));
            Call::Patch(claim.meta.key(Kind::PersistentVolumeClaim), Patch::Annotations(vec![selected]))
        });
        Ok(volumes.chain(claims).collect())
    }

    fn is_done(&self, pod: &PodInfo, node: Name, world: &World) -> Result<bool, Status> {
        if pod.spec.has_claims { volume_binder::are_bound(pod, node, world) } else { Ok(true) }
    }

    fn poll(&self) -> (Duration, Duration) {
        (Duration::from_secs(1), self.bind_timeout)
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
            ClusterEvent::new(Resource::CSINode, changed),
            ClusterEvent::new(Resource::CSIDriver, Action::UPDATE),
            ClusterEvent::new(Resource::CSIStorageCapacity, changed),
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
            Change::Other(Some(Object::CSINode(old)), Some(Object::CSINode(new))) => {
                let migrated = Name::new(MIGRATED_PLUGINS);
                old.meta.annotations.get(migrated) != new.meta.annotations.get(migrated)
            }
            Change::Other(Some(Object::CSIDriver(old)), Some(Object::CSIDriver(new))) => old.storage_capacity
                && !new.storage_capacity
                && pod.pod.spec.volumes.iter().any(
                    |volume| matches!(&volume.source, VolumeSource::Other { driver, .. } if *driver == new.meta.name),
                ),
            Change::Other(Some(Object::CSIStorageCapacity(old)), Some(Object::CSIStorageCapacity(new))) => {
                new.limit() > old.limit()
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
