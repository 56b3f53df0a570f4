//! What plug-ins read besides the pod and the node: every other object that the scheduler watches.
//!
//! Kubernetes: the informers' listers that plug-ins take from the framework handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::config::Namespace;
use crate::model::device::{DeviceClass, ResourceClaim, ResourceSlice};
use crate::model::policy::PodDisruptionBudget;
use crate::model::service::Service;
use crate::model::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment,
};
use crate::model::workload::{ReplicaSet, StatefulSet};
use crate::model::{Key, Kind, Name, Object};

use super::node_table::NodeTable;
use super::plugins::dynamic_resources::catalog::Devices;
use super::plugins::volume_binder::Assumed;
use super::preemption::Preemptions;

/// All that an attempt looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub nodes: NodeTable,
    pub listers: Listers,
    /// What VolumeBinding chose and the API server does not show yet.
    pub assumed: Assumed,
    /// What is known of devices beside the objects.
    pub devices: Devices,
    /// Pods that wait for their victims to go.
    pub preemptions: Preemptions,
}

impl World {
    /// Stores an object of one of [`Listers::KINDS`] as the API server shows it; gives the one that it replaces.
    pub fn insert(&mut self, object: &Object) -> Option<Object> {
        self.forget(&object.key());
        let old = self.listers.insert(object);
        self.follow(old.as_ref(), Some(object));
        old
    }

    /// Takes out the object with this key.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.forget(key);
        let old = self.listers.remove(key);
        self.follow(old.as_ref(), None);
        old
    }

    /// Keeps what is known of devices true.
    fn follow(&mut self, old: Option<&Object>, new: Option<&Object>) {
        match (old, new) {
            (Some(Object::ResourceSlice(_)), _) | (_, Some(Object::ResourceSlice(_))) => {
                let slice = |object: Option<&Object>| match object {
                    Some(Object::ResourceSlice(slice)) => Some(slice.clone()),
                    _ => None,
                };
                self.devices.set_slice(slice(old).as_ref(), slice(new).as_ref());
            }
            (Some(Object::ResourceClaim(_)), _) | (_, Some(Object::ResourceClaim(_))) => {
                let claim = |object: Option<&Object>| match object {
                    Some(Object::ResourceClaim(claim)) => Some(claim.clone()),
                    _ => None,
                };
                let (old, new) = (claim(old), claim(new));
                // Another claim under the name of one whose deletion the watch has not shown.
                if let (Some(was), Some(is)) = (&old, &new)
                    && was.meta.uid != is.meta.uid
                {
                    self.devices.set_claim(Some(was), None);
                }
                self.devices.set_claim(old.as_ref(), new.as_ref());
            }
            (Some(Object::DeviceClass(_)), _) | (_, Some(Object::DeviceClass(_))) => {
                let class = |object: Option<&Object>| match object {
                    Some(Object::DeviceClass(class)) => Some(class.clone()),
                    _ => None,
                };
                if self.devices.set_class(class(old).as_ref(), class(new).as_ref()) {
                    // Which extended resources a node need not have itself is part of what is kept of nodes.
                    self.nodes.touch_all();
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self, key: &Key) {
        match key.kind {
            Kind::PersistentVolume => self.assumed.forget_volume(key.name),
            Kind::PersistentVolumeClaim => self.assumed.forget_claim((key.namespace, key.name)),
            _ => {}
        }
    }
}

/// Objects by name, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Listers {
    pub namespaces: BTreeMap<Name, Arc<Namespace>>,
    pub services: BTreeMap<(Name, Name), Arc<Service>>,
    pub replica_sets: BTreeMap<(Name, Name), Arc<ReplicaSet>>,
    pub replication_controllers: BTreeMap<(Name, Name), Arc<ReplicaSet>>,
    pub stateful_sets: BTreeMap<(Name, Name), Arc<StatefulSet>>,
    pub claims: BTreeMap<(Name, Name), Arc<PersistentVolumeClaim>>,
    pub volumes: BTreeMap<Name, Arc<PersistentVolume>>,
    pub storage_classes: BTreeMap<Name, Arc<StorageClass>>,
    pub disruption_budgets: BTreeMap<(Name, Name), Arc<PodDisruptionBudget>>,
    pub csi_nodes: BTreeMap<Name, Arc<CsiNode>>,
    pub csi_drivers: BTreeMap<Name, Arc<CsiDriver>>,
    pub csi_storage_capacities: BTreeMap<(Name, Name), Arc<CsiStorageCapacity>>,
    pub volume_attachments: BTreeMap<Name, Arc<VolumeAttachment>>,
    pub device_classes: BTreeMap<Name, Arc<DeviceClass>>,
    pub resource_claims: BTreeMap<(Name, Name), Arc<ResourceClaim>>,
    pub resource_slices: BTreeMap<Name, Arc<ResourceSlice>>,
    /// Node and attachment.
    attached: BTreeSet<(Name, Name)>,
}

impl Listers {
    /// The kinds that are kept here.
    pub const KINDS: [Kind; 16] = [
        Kind::Namespace,
        Kind::Service,
        Kind::ReplicaSet,
        Kind::ReplicationController,
        Kind::StatefulSet,
        Kind::PersistentVolumeClaim,
        Kind::PersistentVolume,
        Kind::StorageClass,
        Kind::PodDisruptionBudget,
        Kind::CSINode,
        Kind::CSIDriver,
        Kind::CSIStorageCapacity,
        Kind::VolumeAttachment,
        Kind::DeviceClass,
        Kind::ResourceClaim,
        Kind::ResourceSlice,
    ];

    /// The volumes of a class, in order.
    pub fn volumes_of_class(&self, class: Name) -> impl Iterator<Item = Name> + '_ {
        self.volumes.values().filter(move |volume| volume.storage_class == class).map(|volume| volume.meta.name)
    }

    /// What is known of the room for volumes of a class.
    pub fn capacities_of_class(&self, class: Name) -> impl Iterator<Item = &Arc<CsiStorageCapacity>> {
        self.csi_storage_capacities.values().filter(move |capacity| capacity.storage_class == class)
    }

    /// The attachments of volumes to a node.
    pub fn attached_to(&self, node: Name) -> impl Iterator<Item = &Arc<VolumeAttachment>> {
        let from = (node, Name::default());
        let of_node = self.attached.range(from..).take_while(move |(on, _)| *on == node);
        of_node.filter_map(|(_, attachment)| self.volume_attachments.get(attachment))
    }

    /// Stores an object of one of [`Listers::KINDS`]; gives the one that it replaces.
    pub fn insert(&mut self, object: &Object) -> Option<Object> {
        let meta = object.meta();
        let (name, both) = (meta.name, (meta.namespace, meta.name));
        match object {
            Object::Namespace(new) => self.namespaces.insert(name, new.clone()).map(Object::Namespace),
            Object::Service(new) => self.services.insert(both, new.clone()).map(Object::Service),
            Object::ReplicaSet(new) => self.replica_sets.insert(both, new.clone()).map(Object::ReplicaSet),
            Object::ReplicationController(new) => {
                self.replication_controllers.insert(both, new.clone()).map(Object::ReplicationController)
            }
            Object::StatefulSet(new) => self.stateful_sets.insert(both, new.clone()).map(Object::StatefulSet),
            Object::PersistentVolumeClaim(new) => {
                self.claims.insert(both, new.clone()).map(Object::PersistentVolumeClaim)
            }
            Object::PersistentVolume(new) => self.volumes.insert(name, new.clone()).map(Object::PersistentVolume),
            Object::StorageClass(new) => self.storage_classes.insert(name, new.clone()).map(Object::StorageClass),
            Object::PodDisruptionBudget(new) => {
                self.disruption_budgets.insert(both, new.clone()).map(Object::PodDisruptionBudget)
            }
            Object::CSINode(new) => self.csi_nodes.insert(name, new.clone()).map(Object::CSINode),
            Object::CSIDriver(new) => self.csi_drivers.insert(name, new.clone()).map(Object::CSIDriver),
            Object::CSIStorageCapacity(new) => {
                self.csi_storage_capacities.insert(both, new.clone()).map(Object::CSIStorageCapacity)
            }
            Object::VolumeAttachment(new) => {
                self.attached.insert((new.node, name));
                self.volume_attachments.insert(name, new.clone()).map(Object::VolumeAttachment)
            }
            Object::DeviceClass(new) => self.device_classes.insert(name, new.clone()).map(Object::DeviceClass),
            Object::ResourceClaim(new) => self.resource_claims.insert(both, new.clone()).map(Object::ResourceClaim),
            Object::ResourceSlice(new) => self.resource_slices.insert(name, new.clone()).map(Object::ResourceSlice),
            _ => None,
        }
    }

    /// Takes out the object with this key.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        let both = (key.namespace, key.name);
        match key.kind {
            Kind::Namespace => self.namespaces.remove(&key.name).map(Object::Namespace),
            Kind::Service => self.services.remove(&both).map(Object::Service),
            Kind::ReplicaSet => self.replica_sets.remove(&both).map(Object::ReplicaSet),
            Kind::ReplicationController => {
                self.replication_controllers.remove(&both).map(Object::ReplicationController)
            }
            Kind::StatefulSet => self.stateful_sets.remove(&both).map(Object::StatefulSet),
            Kind::PersistentVolumeClaim => self.claims.remove(&both).map(Object::PersistentVolumeClaim),
            Kind::PersistentVolume => self.volumes.remove(&key.name).map(Object::PersistentVolume),
            Kind::StorageClass => self.storage_classes.remove(&key.name).map(Object::StorageClass),
            Kind::PodDisruptionBudget => self.disruption_budgets.remove(&both).map(Object::PodDisruptionBudget),
            Kind::CSINode => self.csi_nodes.remove(&key.name).map(Object::CSINode),
            Kind::CSIDriver => self.csi_drivers.remove(&key.name).map(Object::CSIDriver),
            Kind::CSIStorageCapacity => self.csi_storage_capacities.remove(&both).map(Object::CSIStorageCapacity),
            Kind::VolumeAttachment => {
                let gone = self.volume_attachments.remove(&key.name);
                gone.iter().for_each(|gone| {
                    self.attached.remove(&(gone.node, key.name));
                });
                gone.map(Object::VolumeAttachment)
            }
            Kind::DeviceClass => self.device_classes.remove(&key.name).map(Object::DeviceClass),
            Kind::ResourceClaim => self.resource_claims.remove(&both).map(Object::ResourceClaim),
            Kind::ResourceSlice => self.resource_slices.remove(&key.name).map(Object::ResourceSlice),
            _ => None,
        }
    }

    /// The keys of all objects of a kind, in order.
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        let namespaced = |names: Vec<(Name, Name)>| -> Vec<Key> {
            names.into_iter().map(|(namespace, name)| Key { kind, namespace, name }).collect()
        };
        let plain = |names: Vec<Name>| -> Vec<Key> {
            names.into_iter().map(|name| Key { kind, namespace: Name::default(), name }).collect()
        };
        match kind {
            Kind::Namespace => plain(self.namespaces.keys().copied().collect()),
            Kind::Service => namespaced(self.services.keys().copied().collect()),
            Kind::ReplicaSet => namespaced(self.replica_sets.keys().copied().collect()),
            Kind::ReplicationController => namespaced(self.replication_controllers.keys().copied().collect()),
            Kind::StatefulSet => namespaced(self.stateful_sets.keys().copied().collect()),
            Kind::PersistentVolumeClaim => namespaced(self.claims.keys().copied().collect()),
            Kind::PersistentVolume => plain(self.volumes.keys().copied().collect()),
            Kind::StorageClass => plain(self.storage_classes.keys().copied().collect()),
            Kind::PodDisruptionBudget => namespaced(self.disruption_budgets.keys().copied().collect()),
            Kind::CSINode => plain(self.csi_nodes.keys().copied().collect()),
            Kind::CSIDriver => plain(self.csi_drivers.keys().copied().collect()),
            Kind::CSIStorageCapacity => namespaced(self.csi_storage_capacities.keys().copied().collect()),
            Kind::VolumeAttachment => plain(self.volume_attachments.keys().copied().collect()),
            Kind::DeviceClass => plain(self.device_classes.keys().copied().collect()),
            Kind::ResourceClaim => namespaced(self.resource_claims.keys().copied().collect()),
            Kind::ResourceSlice => plain(self.resource_slices.keys().copied().collect()),
            _ => Vec::new(),
        }
    }
}
