//! NodeVolumeLimits: no more volumes of a CSI driver on a node than its CSINode says that it takes.
//!
//! *When you meet it:* many small pods with a volume each on one large node: "node(s) exceed max volume count".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/nodevolumelimits/csi.go. Of CSI migration the names of drivers are known; the
//! handles stay as they are.

use rustc_hash::FxHashSet;

use crate::model::pod::VolumeSource;
use crate::model::storage::{CsiNode, PersistentVolumeClaim};
use crate::model::{Name, Object, Pod};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{EnqueueExtensions, Filter, Hint, Plugin, PreFilter, PreFiltered, State, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::NodeInfo;
use crate::scheduler::pod_info::PodInfo;

use super::volume_binder::is_for_pod;
use super::volume_binding::claims_of;

/// See the module.
#[derive(Debug, Default)]
pub struct NodeVolumeLimits;

/// The annotation of a CSINode that lists the in-tree plug-ins that CSI drivers stand in for.
pub(super) const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";

/// In-tree plug-ins with the CSI drivers that took their place.
const MIGRATED: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

fn csi_name(plugin: Name) -> Option<Name> {
    MIGRATED.iter().find(|(name, _)| plugin == **name).map(|(_, driver)| Name::new(driver))
}

/// The CSI driver for what names `driver`: itself, or the one that took the place of the in-tree plug-in on this node.
fn driver_on(driver: Name, csi_node: Option<&CsiNode>) -> Option<Name> {
    let Some(successor) = csi_name(driver) else {
        // Other in-tree plug-ins have no CSI driver.
        return (!driver.is_empty() && !driver.starts_with("kubernetes.io/")).then_some(driver);
    };
    let migrated = csi_node?.meta.annotations.get(Name::new(MIGRATED_PLUGINS))?;
    migrated.split(',').any(|plugin| driver == *plugin).then_some(successor)
}

/// A volume that is attached to nodes: driver and handle.
type Volume = (Name, Name);

/// The volume behind a claim. What is not bound yet counts by the driver of its class, under a handle of its own.
fn volume_of(claim: &PersistentVolumeClaim, csi_node: Option<&CsiNode>, world: &World) -> Option<Volume> {
    if let Some(volume) = world.listers.volumes.get(&claim.volume).filter(|_| !claim.volume.is_empty()) {
        let driver = driver_on(volume.driver, csi_node)?;
        return (!volume.handle.is_empty()).then_some((driver, volume.handle));
    }
    let class = claim.spec.storage_class.filter(|class| !class.is_empty())?;
    let class = world.listers.storage_classes.get(&class)?;
    let driver = match csi_name(class.provisioner) {
        Some(_) => driver_on(class.provisioner, csi_node)?,
        None => class.provisioner,
    };
    let handle = Name::from(format!("unbound {}/{}", claim.meta.namespace, claim.meta.name));
    (!driver.is_empty()).then_some((driver, handle))
}

/// True if the volume may count: a claim, or an in-tree disk whose place a CSI driver may have taken.
fn may_count(source: &VolumeSource) -> bool {
    match source {
        VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. } => true,
        VolumeSource::Other { driver, .. } => csi_name(*driver).is_some(),
        _ => false,
    }
}

fn inline_volumes<'a>(pod: &'a Pod, csi_node: Option<&'a CsiNode>) -> impl Iterator<Item = Volume> + 'a {
    pod.spec.volumes.iter().filter_map(move |volume| match &volume.source {
        VolumeSource::Other { driver, id, .. } => {
            csi_name(*driver)?;
            Some((driver_on(*driver, csi_node)?, *id))
        }
        _ => None,
    })
}

/// The pod's volumes. Of a pod that is there already, claims that are missing are passed over.
fn volumes_of(pod: &PodInfo, is_new: bool, csi_node: Option<&CsiNode>, world: &World) -> Result<Vec<Volume>, Status> {
    let mut volumes: Vec<Volume> = inline_volumes(&pod.pod, csi_node).collect();
    for (name, ephemeral) in claims_of(pod) {
        let namespace = pod.pod.meta.namespace;
        let Some(claim) = world.listers.claims.get(&(namespace, name)) else {
            if is_new {
                let text = format!("looking up PVC {namespace}/{name}: persistentvolumeclaim \"{name}\" not found");
                return Err(Status::unresolvable(text));
            }
            continue;
        };
        if ephemeral {
            is_for_pod(&claim.meta, pod).map_err(Status::error)?;
        }
        volumes.extend(volume_of(claim, csi_node, world));
    }
    Ok(volumes)
}

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
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

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(&self, pod: &PodInfo, _: &World) -> Result<PreFiltered, Status> {
        let any = pod.pod.spec.volumes.iter().any(|volume| may_count(&volume.source));
        Ok(if any { PreFiltered::default() } else { PreFiltered::skip() })
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        let csi_node = world.listers.csi_nodes.get(&node.name).map(|node| &**node);
        let mut new: FxHashSet<Volume> = volumes_of(pod, true, csi_node, world)?.into_iter().collect();
        let limits = || csi_node.into_iter().flat_map(|csi_node| &csi_node.drivers).filter(|one| one.limit.is_some());
        if new.is_empty() || limits().next().is_none() {
            return Ok(());
        }
        let mut there: FxHashSet<Volume> = FxHashSet::default();
        for other in &node.pods {
            if other.pod.spec.volumes.iter().any(|volume| may_count(&volume.source)) {
                there.extend(volumes_of(other, false, csi_node, world)?);
            }
        }
        // Volumes of other pods on the node need no room of their own; those that are merely attached do.
        new.retain(|volume| !there.contains(volume));
        there.extend(world.listers.attached_to(node.name).filter_map(|attachment| {
            let volume = world.listers.volumes.get(&attachment.volume)?;
            let is_csi = !volume.driver.starts_with("kubernetes.io/") && !volume.handle.is_empty();
            is_csi.then_some((attachment.attacher, volume.handle))
        }));
        let count =
            |volumes: &FxHashSet<Volume>, driver: Name| volumes.iter().filter(|(of, _)| *of == driver).count() as i64;
        let exceeded = limits().any(|driver| {
            let more = count(&new, driver.name);
            more > 0 && driver.limit.is_some_and(|limit| count(&there, driver.name) + more > i64::from(limit))
        });
        if exceeded { Err(Status::unschedulable("node(s) exceed max volume count")) } else { Ok(()) }
    }
}

impl EnqueueExtensions for NodeVolumeLimits {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::new(Resource::CSINode, Action::ADD.or(Action::UPDATE)),
            ClusterEvent::new(Resource::Pod, Action::DELETE),
            ClusterEvent::new(Resource::PersistentVolumeClaim, Action::ADD),
            ClusterEvent::new(Resource::VolumeAttachment, Action::DELETE),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, world: &World) -> Hint {
        let helps = match *change {
            Change::Other(Some(Object::CSINode(old)), Some(Object::CSINode(new))) => new.drivers.iter().any(|driver| {
                let before = old.drivers.iter().find(|before| before.name == driver.name).and_then(|one| one.limit);
                driver.limit > Some(before.unwrap_or(0))
            }),
            Change::Pod(Some(old), None) => {
                let was_somewhere = old.node.is_some() || old.status.nominated_node.is_some();
                was_somewhere && old.spec.volumes.iter().any(|volume| may_count(&volume.source))
            }
            Change::Other(_, Some(Object::PersistentVolumeClaim(claim))) => {
                claim.meta.namespace == pod.pod.meta.namespace
                    && claims_of(pod).any(|(name, _)| name == claim.meta.name)
            }
            Change::Other(Some(Object::VolumeAttachment(gone)), None) => {
                claims_of(pod).next().is_some() || {
                    let csi_node = world.listers.csi_nodes.get(&gone.node).map(|node| &**node);
                    inline_volumes(&pod.pod, csi_node).any(|(driver, _)| driver == gone.attacher)
                }
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}
