//! What the scheduler knows of CSI drivers: the drivers themselves, those of a node, their room, what they attached.
//!
//! Kubernetes: pkg/apis/storage/v1/defaults.go.

use std::sync::Arc;

use k8s_openapi::api::storage::v1 as storage;

use crate::model::storage::{CsiDriver, CsiNode, CsiNodeDriver, CsiStorageCapacity, VolumeAttachment};
use crate::model::{Bytes, Kind, Name, Object};

use super::context::{Context, name};
use super::path::Path;

impl Context<'_> {
    pub(super) fn csi_node(&mut self, node: &storage::CSINode) -> Object {
        let meta = self.meta(Kind::CSINode, &node.metadata);
        let drivers = node.spec.drivers.iter().map(|driver| CsiNodeDriver {
            name: Name::from(&driver.name),
            node_id: Name::from(&driver.node_id),
            limit: driver.allocatable.as_ref().and_then(|allocatable| allocatable.count),
        });
        Object::CSINode(Arc::new(CsiNode { meta, drivers: drivers.collect() }))
    }

    pub(super) fn csi_driver(&mut self, driver: &storage::CSIDriver) -> Object {
        let meta = self.meta(Kind::CSIDriver, &driver.metadata);
        Object::CSIDriver(Arc::new(CsiDriver {
            meta,
            storage_capacity: driver.spec.storage_capacity == Some(true),
            attach_required: driver.spec.attach_required != Some(false),
        }))
    }

    pub(super) fn csi_storage_capacity(&mut self, capacity: &storage::CSIStorageCapacity) -> Object {
        let meta = self.meta(Kind::CSIStorageCapacity, &capacity.metadata);
        if capacity.storage_class_name.is_empty() {
            self.required(&Path::Root.field("storageClassName"), "");
        }
        let topology = capacity.node_topology.as_ref();
        let topology = topology.map(|selector| self.selector(&Path::Root.field("nodeTopology"), selector));
        let mut amount = |field: &'static str, amount: Option<&_>| {
            amount.map(|amount| Bytes(self.quantity(&Path::Root.field(field), amount).value_rounding_up()))
        };
        Object::CSIStorageCapacity(Arc::new(CsiStorageCapacity {
            meta,
            storage_class: Name::from(&capacity.storage_class_name),
            topology,
            capacity: amount("capacity", capacity.capacity.as_ref()),
            maximum_volume_size: amount("maximumVolumeSize", capacity.maximum_volume_size.as_ref()),
        }))
    }

    pub(super) fn volume_attachment(&mut self, attachment: &storage::VolumeAttachment) -> Object {
        let meta = self.meta(Kind::VolumeAttachment, &attachment.metadata);
        Object::VolumeAttachment(Arc::new(VolumeAttachment {
            meta,
            attacher: Name::from(&attachment.spec.attacher),
            node: Name::from(&attachment.spec.node_name),
            volume: name(attachment.spec.source.persistent_volume_name.as_ref()),
            attached: attachment.status.as_ref().is_some_and(|status| status.attached),
        }))
    }
}
