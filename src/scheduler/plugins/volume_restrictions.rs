//! VolumeRestrictions: a claim with the access mode ReadWriteOncePod serves one pod of the whole cluster, and some in-tree
//! disks one pod of a node.
//!
//! *When you meet it:* the second replica of a Deployment whose claim is ReadWriteOncePod: "node(s) unavailable due to
//! PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/volumerestrictions/volume_restrictions.go.

use crate::model::pod::VolumeSource;
use crate::model::{Name, Object, Pod};
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

/// The pod's exclusive claims, and how many of them others use.
#[derive(Clone, Debug, Default)]
struct Exclusive {
    claims: Vec<Name>,
    uses: i64,
    /// The pod has in-tree disks that may be in conflict with others.
    disks: bool,
}

impl Exclusive {
    fn count(&mut self, pod: &PodInfo, other: &PodInfo, by: i64) {
        if other.pod.meta.namespace == pod.pod.meta.namespace && other.spec.has_claims {
            let uses = shared_claims(other).filter(|name| self.claims.contains(name)).count();
            self.uses += uses as i64 * by;
        }
    }
}

/// An in-tree disk that several pods can't have on one node as they like.
#[derive(Clone, Copy, Debug)]
struct Disk<'a> {
    driver: Name,
    id: Name,
    read_only: bool,
    within: &'a [Name],
}

fn disks(pod: &Pod) -> impl Iterator<Item = Disk<'_>> {
    const DRIVERS: [&str; 4] =
        ["kubernetes.io/aws-ebs", "kubernetes.io/gce-pd", "kubernetes.io/iscsi", "kubernetes.io/rbd"];
    pod.spec.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Other { driver, id, read_only, within } if DRIVERS.iter().any(|one| *driver == **one) => {
            Some(Disk { driver: *driver, id: *id, read_only: *read_only, within })
        }
        _ => None,
    })
}

impl Disk<'_> {
    /// True if pods with the two can't be on one node. An EBS disk is never shared, the others only for reading.
    fn conflicts(&self, other: &Disk<'_>) -> bool {
        let same = self.driver == other.driver && self.id == other.id;
        let shared = self.read_only && other.read_only && self.driver != *"kubernetes.io/aws-ebs";
        same && !shared && self.same_place(other)
    }

    /// RBD images are the same if the pools are and a monitor is.
    fn same_place(&self, other: &Disk<'_>) -> bool {
        match (self.within, other.within) {
            ([pool, monitors @ ..], [other_pool, others @ ..]) => {
                pool == other_pool && monitors.iter().any(|monitor| others.contains(monitor))
            }
            _ => true,
        }
    }
}

fn in_conflict(pod: &Pod, other: &Pod) -> bool {
    disks(pod).any(|disk| disks(other).any(|there| disk.conflicts(&there)))
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
        let mut exclusive = Exclusive { disks: disks(&pod.pod).next().is_some(), ..Exclusive::default() };
        for name in shared_claims(pod) {
            let Some(claim) = world.listers.claims.get(&(pod.pod.meta.namespace, name)) else {
                return Err(Status::unresolvable(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if claim.spec.access_modes.iter().any(|mode| *mode == *"ReadWriteOncePod") {
                exclusive.claims.push(name);
            }
        }
        if !exclusive.claims.is_empty() {
            // At first a claim counts once, however many pods use it.
            let mut used: Vec<Name> = Vec::new();
            let namespace = pod.pod.meta.namespace;
            let others = world.nodes.order().iter().flat_map(|id| &world.nodes.get(*id).pods);
            for other in others.filter(|other| other.spec.has_claims && other.pod.meta.namespace == namespace) {
                used.extend(shared_claims(other).filter(|name| exclusive.claims.contains(name)));
            }
            used.sort_unstable();
            used.dedup();
            exclusive.uses = used.len() as i64;
        }
        let skip = exclusive.uses == 0 && !exclusive.disks;
        Ok(if skip { PreFiltered::skip() } else { PreFiltered::with(exclusive) })
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
    fn filter(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, _: &World) -> Result<(), Status> {
        let exclusive = state_of::<Exclusive>(state);
        if exclusive.is_some_and(|exclusive| exclusive.disks)
            && node.pods.iter().any(|other| in_conflict(&pod.pod, &other.pod))
        {
            return Err(Status::unschedulable("node(s) had no available disk"));
        }
        match exclusive {
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
                let shares = || shared_claims(&other).any(|name| shared_claims(pod).any(|own| own == name));
                old.meta.namespace == pod.pod.meta.namespace && (in_conflict(&pod.pod, old) || shares())
            }
            Change::Other(_, Some(Object::PersistentVolumeClaim(claim))) => {
                claim.meta.namespace == pod.pod.meta.namespace && shared_claims(pod).any(|name| name == claim.meta.name)
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
