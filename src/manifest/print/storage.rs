//! Claims, volumes and storage classes.

use serde_json::{Value, json};

use crate::model::storage::{
    BETA_CLASS_ANNOTATION, ClaimPhase, ClaimSpec, ClaimTemplate, CsiDriver, CsiNode, CsiStorageCapacity,
    PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment, VolumePhase,
};
use crate::model::{Labels, Name, Uid};

use super::fields::{Fields, bytes};
use super::placement::{node_selector, selector};
use super::volume::plugin;

pub(super) fn claim(claim: &PersistentVolumeClaim, fields: &mut Fields) {
    fields.put("spec", claim_spec(&claim.spec, claim.volume, &claim.meta.annotations));
    let mut status = Fields::new();
    if claim.phase == ClaimPhase::Bound {
        status.names("accessModes", &claim.spec.access_modes);
        status.put("capacity", json!({"storage": bytes(claim.spec.request)}));
    }
    let phase = match claim.phase {
        ClaimPhase::Pending => "Pending",
        ClaimPhase::Bound => "Bound",
        ClaimPhase::Lost => "Lost",
    };
    status.put("phase", phase);
    fields.put("status", status.done());
}

/// The class as a field; None where an annotation names it.
fn class_field(class: Option<Name>, annotations: &Labels) -> Option<Name> {
    class.filter(|_| annotations.get(Name::new(BETA_CLASS_ANNOTATION)).is_none())
}

/// `spec` of a claim with these annotations; `volume` is empty while unbound.
pub(super) fn claim_spec(spec: &ClaimSpec, volume: Name, annotations: &Labels) -> Value {
    let mut fields = Fields::new();
    fields.names("accessModes", &spec.access_modes);
    fields.put("resources", json!({"requests": {"storage": bytes(spec.request)}}));
    fields.some("selector", spec.selector.as_ref().map(selector));
    fields.some("storageClassName", class_field(spec.storage_class, annotations).map(Name::as_str));
    fields.put("volumeMode", volume_mode(spec.block));
    fields.text("volumeName", &volume);
    fields.done()
}

/// One of a StatefulSet's `volumeClaimTemplates`.
pub(super) fn claim_template(template: &ClaimTemplate) -> Value {
    let mut metadata = Fields::new();
    metadata.labels("annotations", &template.annotations);
    metadata.labels("labels", &template.labels);
    metadata.put("name", template.name.as_str());
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata.done(),
        "spec": claim_spec(&template.spec, Name::default(), &template.annotations),
        "status": {"phase": "Pending"},
    })
}

fn volume_mode(block: bool) -> &'static str {
    if block { "Block" } else { "Filesystem" }
}

pub(super) fn volume(volume: &PersistentVolume, fields: &mut Fields) {
    let (field, source) = plugin(&volume.driver, &volume.handle);
    let mut source = Some(source);
    let mut spec = Fields::new();
    spec.names("accessModes", &volume.access_modes);
    if field < "capacity" {
        spec.some(field, source.take());
    }
    spec.put("capacity", json!({"storage": bytes(volume.capacity)}));
    if field < "claimRef" {
        spec.some(field, source.take());
    }
    if let Some((namespace, name)) = volume.claim {
        let mut reference = Fields::new();
        // A reference that a user wrote has neither kind nor version; Kubernetes' own has.
        reference.text("name", &name).text("namespace", &namespace);
        if volume.claim_uid != Uid::NONE {
            reference.put("uid", volume.claim_uid.to_string());
        }
        spec.put("claimRef", reference.done());
    }
    if field < "nodeAffinity" {
        spec.some(field, source.take());
    }
    spec.some(
        "nodeAffinity",
        volume.node_affinity.as_ref().map(|required| json!({"required": node_selector(required)})),
    );
    spec.put("persistentVolumeReclaimPolicy", if volume.retain { "Retain" } else { "Delete" });
    spec.some(field, source);
    let class = class_field(Some(volume.storage_class), &volume.meta.annotations);
    spec.text("storageClassName", &class.unwrap_or_default());
    spec.put("volumeMode", volume_mode(volume.block));
    fields.put("spec", spec.done());
    let phase = match volume.phase {
        VolumePhase::Pending => "Pending",
        VolumePhase::Available => "Available",
        VolumePhase::Bound => "Bound",
        VolumePhase::Released => "Released",
        VolumePhase::Failed => "Failed",
    };
    fields.put("status", json!({"phase": phase}));
}

pub(super) fn storage_class(class: &StorageClass, before_meta: &mut Fields) {
    before_meta.list("allowedTopologies", &class.allowed_topologies, |term| {
        let expressions: Vec<Value> = term
            .expressions
            .iter()
            .map(|expression| {
                let values: Vec<&str> = expression.values.iter().map(|value| value.as_str()).collect();
                json!({"key": expression.key.as_str(), "values": values})
            })
            .collect();
        json!({"matchLabelExpressions": expressions})
    });
    before_meta.put("provisioner", class.provisioner.as_str());
    before_meta.put("reclaimPolicy", if class.retain { "Retain" } else { "Delete" });
    let mode = if class.wait_for_first_consumer { "WaitForFirstConsumer" } else { "Immediate" };
    before_meta.put("volumeBindingMode", mode);
}

pub(super) fn csi_node(node: &CsiNode, fields: &mut Fields) {
    let drivers = node.drivers.iter().map(|driver| {
        let mut fields = Fields::new();
        fields.some("allocatable", driver.limit.map(|limit| json!({"count": limit})));
        fields.put("name", driver.name.as_str()).put("nodeID", driver.node_id.as_str());
        fields.done()
    });
    fields.put("spec", json!({"drivers": Value::Array(drivers.collect())}));
}

pub(super) fn csi_driver(driver: &CsiDriver, fields: &mut Fields) {
    fields.put("spec", json!({"attachRequired": driver.attach_required, "storageCapacity": driver.storage_capacity}));
}

pub(super) fn csi_storage_capacity(capacity: &CsiStorageCapacity, before_meta: &mut Fields) {
    before_meta.some("capacity", capacity.capacity.map(bytes));
    before_meta.some("maximumVolumeSize", capacity.maximum_volume_size.map(bytes));
    before_meta.some("nodeTopology", capacity.topology.as_ref().map(selector));
    before_meta.put("storageClassName", capacity.storage_class.as_str());
}

pub(super) fn volume_attachment(attachment: &VolumeAttachment, fields: &mut Fields) {
    let mut source = Fields::new();
    source.text("persistentVolumeName", &attachment.volume);
    let (attacher, node) = (attachment.attacher.as_str(), attachment.node.as_str());
    fields.put("spec", json!({"attacher": attacher, "nodeName": node, "source": source.done()}));
    fields.put("status", json!({"attached": attachment.attached}));
}
