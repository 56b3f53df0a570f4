//! Claims, volumes and storage classes.
//!
//! Kubernetes: pkg/apis/core/v1/defaults.go, pkg/apis/storage/v1/defaults.go.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;

use crate::model::affinity::NodeSelectorOperator;
use crate::model::storage::{
    BETA_CLASS_ANNOTATION, ClaimPhase, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumePhase,
};
use crate::model::{Bytes, Kind, Labels, Name, NodeSelectorRequirement, NodeSelectorTerm, Object, Uid};

use super::context::{Context, name};
use super::path::Path;

/// The annotation of the class that claims without one get.
pub(super) const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The class of a claim or volume (`GetPersistentVolumeClaimClass` in component-helpers/storage/volume).
pub(super) fn class_of(annotations: &Labels, field: Option<Name>) -> Option<Name> {
    annotations.get(Name::new(BETA_CLASS_ANNOTATION)).or(field)
}

impl Context<'_> {
    pub(super) fn claim(&mut self, claim: &core::PersistentVolumeClaim) -> Object {
        let meta = self.meta(Kind::PersistentVolumeClaim, &claim.metadata);
        let none = core::PersistentVolumeClaimSpec::default();
        let spec = claim.spec.as_ref().unwrap_or(&none);
        let phase = self.status_word(
            claim.status.as_ref().and_then(|status| status.phase.as_ref()),
            ClaimPhase::Pending,
            &[("Bound", ClaimPhase::Bound), ("Lost", ClaimPhase::Lost), ("Pending", ClaimPhase::Pending)],
        );
        let mut compiled = self.claim_spec(&Path::Root.field("spec"), spec);
        compiled.storage_class = class_of(&meta.annotations, compiled.storage_class);
        Object::PersistentVolumeClaim(Arc::new(PersistentVolumeClaim {
            meta,
            spec: compiled,
            volume: name(spec.volume_name.as_ref()),
            phase,
        }))
    }

    pub(super) fn volume(&mut self, volume: &core::PersistentVolume) -> Object {
        let meta = self.meta(Kind::PersistentVolume, &volume.metadata);
        let at = Path::Root.field("spec");
        let none = core::PersistentVolumeSpec::default();
        let spec = volume.spec.as_ref().unwrap_or(&none);
        let capacity_at = at.field("capacity");
        let capacity = match spec.capacity.as_ref().and_then(|capacity| capacity.get("storage")) {
            Some(capacity) => self.quantity(&capacity_at.key("storage"), capacity).value_rounding_up(),
            None => {
                self.required(&capacity_at, "");
                0
            }
        };
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        if modes.is_empty() {
            self.required(&at.field("accessModes"), "");
        }
        let affinity_at = at.field("nodeAffinity");
        let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let driver = driver(spec);
        if driver.is_empty() {
            self.required(&at, "must specify a volume type");
        }
        let phase = self.status_word(
            volume.status.as_ref().and_then(|status| status.phase.as_ref()),
            VolumePhase::Pending,
            &[
                ("Available", VolumePhase::Available),
                ("Bound", VolumePhase::Bound),
                ("Failed", VolumePhase::Failed),
                ("Pending", VolumePhase::Pending),
                ("Released", VolumePhase::Released),
            ],
        );
        let storage_class = class_of(&meta.annotations, spec.storage_class_name.as_ref().map(Name::from));
        Object::PersistentVolume(Arc::new(PersistentVolume {
            meta,
            capacity: Bytes(capacity),
            access_modes: modes.iter().map(Name::from).collect(),
            storage_class: storage_class.unwrap_or_default(),
            block: self.volume_mode(&at.field("volumeMode"), spec.volume_mode.as_ref()),
            claim_uid: spec
                .claim_ref
                .as_ref()
                .and_then(|claim| claim.uid.as_ref())
                .map_or(Uid::NONE, |uid| self.uids.read(uid)),
            claim: spec.claim_ref.as_ref().map(|claim| (name(claim.namespace.as_ref()), name(claim.name.as_ref()))),
            node_affinity: required.map(|required| self.node_selector(&affinity_at.field("required"), required)),
            driver: Name::new(driver),
            handle: Name::new(handle(spec)),
            retain: self.word_or(
                &at.field("persistentVolumeReclaimPolicy"),
                spec.persistent_volume_reclaim_policy.as_ref(),
                true,
                &[("Delete", false), ("Recycle", false), ("Retain", true)],
            ),
            phase,
        }))
    }

    pub(super) fn storage_class(&mut self, class: &storage::StorageClass) -> Object {
        let meta = self.meta(Kind::StorageClass, &class.metadata);
        if class.provisioner.is_empty() {
            self.required(&Path::Root.field("provisioner"), "");
        }
        let topologies = class.allowed_topologies.iter().flatten().map(|term| NodeSelectorTerm {
            expressions: term
                .match_label_expressions
                .iter()
                .flatten()
                .map(|expression| NodeSelectorRequirement {
                    key: Name::from(&expression.key),
                    operator: NodeSelectorOperator::In,
                    values: expression.values.iter().map(Name::from).collect(),
                })
                .collect(),
            fields: Vec::new(),
        });
        let allowed_topologies = topologies.collect();
        let is_default = meta.annotations.get(Name::new(DEFAULT_CLASS)).is_some_and(|value| value == *"true");
        Object::StorageClass(Arc::new(StorageClass {
            meta,
            provisioner: Name::from(&class.provisioner),
            wait_for_first_consumer: self.word_or(
                &Path::Root.field("volumeBindingMode"),
                class.volume_binding_mode.as_ref(),
                false,
                &[("Immediate", false), ("WaitForFirstConsumer", true)],
            ),
            is_default,
            retain: self.word_or(
                &Path::Root.field("reclaimPolicy"),
                class.reclaim_policy.as_ref(),
                false,
                &[("Delete", false), ("Retain", true)],
            ),
            allowed_topologies,
        }))
    }
}

/// What names the volume to its driver, for those that are attached to nodes.
fn handle(spec: &core::PersistentVolumeSpec) -> &str {
    if let Some(csi) = &spec.csi {
        &csi.volume_handle
    } else if let Some(disk) = &spec.aws_elastic_block_store {
        &disk.volume_id
    } else if let Some(disk) = &spec.gce_persistent_disk {
        &disk.pd_name
    } else if let Some(disk) = &spec.azure_disk {
        &disk.disk_uri
    } else if let Some(cinder) = &spec.cinder {
        &cinder.volume_id
    } else if let Some(disk) = &spec.vsphere_volume {
        &disk.volume_path
    } else {
        ""
    }
}

/// The CSI driver, or the name of the in-tree kind's plug-in.
fn driver(spec: &core::PersistentVolumeSpec) -> &str {
    if let Some(csi) = &spec.csi {
        return &csi.driver;
    }
    let kinds = [
        ("kubernetes.io/host-path", spec.host_path.is_some()),
        ("kubernetes.io/local-volume", spec.local.is_some()),
        ("kubernetes.io/nfs", spec.nfs.is_some()),
        ("kubernetes.io/aws-ebs", spec.aws_elastic_block_store.is_some()),
        ("kubernetes.io/gce-pd", spec.gce_persistent_disk.is_some()),
        ("kubernetes.io/azure-disk", spec.azure_disk.is_some()),
        ("kubernetes.io/azure-file", spec.azure_file.is_some()),
        ("kubernetes.io/cephfs", spec.cephfs.is_some()),
        ("kubernetes.io/cinder", spec.cinder.is_some()),
        ("kubernetes.io/fc", spec.fc.is_some()),
        ("kubernetes.io/flexvolume", spec.flex_volume.is_some()),
        ("kubernetes.io/flocker", spec.flocker.is_some()),
        ("kubernetes.io/glusterfs", spec.glusterfs.is_some()),
        ("kubernetes.io/iscsi", spec.iscsi.is_some()),
        ("kubernetes.io/photon-pd", spec.photon_persistent_disk.is_some()),
        ("kubernetes.io/portworx-volume", spec.portworx_volume.is_some()),
        ("kubernetes.io/quobyte", spec.quobyte.is_some()),
        ("kubernetes.io/rbd", spec.rbd.is_some()),
        ("kubernetes.io/scaleio", spec.scale_io.is_some()),
        ("kubernetes.io/storageos", spec.storageos.is_some()),
        ("kubernetes.io/vsphere-volume", spec.vsphere_volume.is_some()),
    ];
    kinds.into_iter().find(|(_, is_set)| *is_set).map_or("", |(plugin, _)| plugin)
}
