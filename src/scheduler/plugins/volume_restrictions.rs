//! VolumeRestrictions: a claim with the access mode ReadWriteOncePod serves one pod of the whole cluster.
//!
//! *When you meet it:* the second replica of a Deployment whose claim is ReadWriteOncePod: "node(s) unavailable due to
//! PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumerestrictions/volume_restrictions.go. The conflicts of in-tree disks are
//! not modelled.

use crate::model::{Name, Object};
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
pub struct VolumeRestrictions;

/// The pod's exclusive claims, and how often others use them.
#[derive(Clone, Debug, Default)]
struct Exclusive {
    claims: Vec<Name>,
    uses: i64,
}

impl Exclusive {
    fn count(&mut self, pod: &PodInfo, other: &PodInfo, by: i64) {
        if other.pod.meta.namespace == pod.pod.meta.namespace && other.spec.has_claims {
            let uses = shared_claims(other).filter(|name| self.claims.contains(name)).count();
            self.uses += uses as i64 * by;
        }
    }
}

/// The names of the claims that the pod does not own itself.
fn shared_claims(pod: &PodInfo) -> impl Iterator<Item = Name> + '_ {
    claims_of(pod).filter(|(_, ephemeral)| !ephemeral).map(|(name, _)| name)
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
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

impl PreFilter for VolumeRestrictions {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        if !pod.spec.has_claims {
            return Ok(PreFiltered::skip());
        }
        let mut exclusive = Exclusive::default();
        for name in shared_claims(pod) {
            let Some(claim) = world.listers.claims.get(&(pod.pod.meta.namespace, name)) else {
                return Err(Status::unresolvable(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if claim.spec.access_modes.iter().any(|mode| *mode == *"ReadWriteOncePod") {
                exclusive.claims.push(name);
            }
        }
        if !exclusive.claims.is_empty() {
            for id in world.nodes.order() {
                world.nodes.get(*id).pods.iter().for_each(|other| exclusive.count(pod, other, 1));
            }
        }
        Ok(if exclusive.uses == 0 { PreFiltered::skip() } else { PreFiltered::with(exclusive) })
    }

    fn add_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, _: &NodeInfo, _: &World) {
        if let Some(exclusive) = state.as_any_mut().downcast_mut::<Exclusive>() {
            exclusive.count(pod, other, 1);
        }
    }

    fn remove_pod(&self, state: &mut dyn State, pod: &PodInfo, other: &PodInfo, _: &NodeInfo, _: &World) {
        if let Some(exclusive) = state.as_any_mut().downcast_mut::<Exclusive>() {
            exclusive.count(pod, other, -1);
        }
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, state: Option<&dyn State>, _: &PodInfo, _: &NodeInfo, _: &World) -> Result<(), Status> {
        match state_of::<Exclusive>(state) {
            Some(exclusive) if exclusive.uses > 0 => Err(Status::unschedulable(
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
            )),
            _ => Ok(()),
        }
    }
}

impl EnqueueExtensions for VolumeRestrictions {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::Pod, Action::DELETE),
            ClusterEvent::new(Resource::Node, Action::ADD),
            ClusterEvent::new(Resource::PersistentVolumeClaim, Action::ADD),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, _: &World) -> Hint {
        let helps = match *change {
            Change::Pod(Some(old), None) => {
                let other = PodInfo::new(std::sync::Arc::new(old.clone()));
                old.meta.namespace == pod.pod.meta.namespace
                    && shared_claims(&other).any(|name| shared_claims(pod).any(|own| own == name))
            }
            Change::Other(_, Some(Object::PersistentVolumeClaim(claim))) => {
                claim.meta.namespace == pod.pod.meta.namespace && shared_claims(pod).any(|name| name == claim.meta.name)
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
