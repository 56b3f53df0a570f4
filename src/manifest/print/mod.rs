//! From the model back to Kubernetes' objects, as `kubectl get -o json` and `-o yaml` show them: Kubernetes' own fields
//! in the order of the alphabet, times on the calendar, quantities in their canonical form.
//!
//! Only what the model holds is printed, so what is missing here has no effect in a run. Forms of equal meaning are not
//! told apart: `1Gi` and `1073741824`, `matchLabels` and an `In` of one value at the front.

mod device;
mod fields;
mod other;
mod placement;
mod pod;
mod status;
mod storage;
mod volume;
mod workload;

use serde_json::{Value, json};

use crate::model::{Kind, Meta, Object, Pod, Uid};

use super::epoch::Epoch;
use fields::Fields;
pub use fields::{bytes, cpu};

/// The object with all its fields.
pub fn json(object: &Object, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    // What the alphabet puts between apiVersion and kind, and between kind and metadata.
    if let Object::StorageClass(class) = object {
        let mut all = Fields::new();
        storage::storage_class(class, &mut all);
        return with_first(all, object, epoch);
    }
    if let Object::CSIStorageCapacity(capacity) = object {
        let mut all = Fields::new();
        storage::csi_storage_capacity(capacity, &mut all);
        return with_first(all, object, epoch);
    }
    fields.put("apiVersion", object.kind().api_version());
    match object {
        Object::ConfigMap(config) => other::config_data(config, false, &mut fields),
        Object::Secret(config) => other::config_data(config, true, &mut fields),
        Object::ControllerRevision(revision) => {
            fields.put("data", workload::revision_data(revision));
        }
        Object::EndpointSlice(slice) => {
            fields.put("addressType", "IPv4");
            fields.put("endpoints", other::endpoints(slice));
        }
        Object::Event(event) => other::event_before_kind(event, epoch, &mut fields),
        Object::PriorityClass(class) => {
            fields.flag("globalDefault", class.global_default);
        }
        _ => {}
    }
    fields.put("kind", object.kind().as_str());
    if let Object::Event(event) = object {
        other::event_before_meta(event, epoch, &mut fields);
    }
    fields.put("metadata", meta(object.meta(), object.kind(), epoch));
    match object {
        Object::Pod(one) => pod::pod(one, epoch, &mut fields),
        Object::Node(one) => other::node(one, epoch, &mut fields),
        Object::ReplicaSet(one) => workload::replica_set(one, epoch, &mut fields),
        Object::ReplicationController(one) => workload::replication_controller(one, epoch, &mut fields),
        Object::Deployment(one) => workload::deployment(one, epoch, &mut fields),
        Object::StatefulSet(one) => workload::stateful_set(one, epoch, &mut fields),
        Object::DaemonSet(one) => workload::daemon_set(one, epoch, &mut fields),
        Object::Job(one) => workload::job(one, epoch, &mut fields),
        Object::CronJob(one) => workload::cron_job(one, epoch, &mut fields),
        Object::ControllerRevision(one) => workload::controller_revision(one, &mut fields),
        Object::Service(one) => other::service(one, &mut fields),
        Object::EndpointSlice(one) => other::endpoint_ports(one, &mut fields),
        Object::Namespace(one) => {
            let phase = if one.meta.deletion.is_some() { "Terminating" } else { "Active" };
            fields.put("status", json!({"phase": phase}));
        }
        Object::ConfigMap(_) | Object::StorageClass(_) | Object::CSIStorageCapacity(_) => {}
        Object::Secret(one) => {
            fields.put("type", one.secret_type.as_str());
        }
        Object::PersistentVolumeClaim(one) => storage::claim(one, &mut fields),
        Object::PersistentVolume(one) => storage::volume(one, &mut fields),
        Object::CSINode(one) => storage::csi_node(one, &mut fields),
        Object::CSIDriver(one) => storage::csi_driver(one, &mut fields),
        Object::VolumeAttachment(one) => storage::volume_attachment(one, &mut fields),
        Object::DeviceClass(one) => device::device_class(one, &mut fields),
        Object::ResourceClaim(one) => device::resource_claim(one, epoch, &mut fields),
        Object::ResourceClaimTemplate(one) => device::resource_claim_template(one, &mut fields),
        Object::ResourceSlice(one) => device::resource_slice(one, &mut fields),
        Object::PodDisruptionBudget(one) => other::disruption_budget(one, epoch, &mut fields),
        Object::PriorityClass(one) => other::priority_class(one, &mut fields),
        Object::LimitRange(one) => other::limit_range(one, &mut fields),
        Object::ResourceQuota(one) => other::quota(one, &mut fields),
        Object::Lease(one) => other::lease(one, epoch, &mut fields),
        Object::Event(one) => other::event_after_meta(one, &mut fields),
    }
    fields.done()
}

/// The fields of a kind without spec and status, with those that all objects have, sorted.
fn with_first(mut fields: Fields, object: &Object, epoch: Epoch) -> Value {
    fields.put("apiVersion", object.kind().api_version());
    fields.put("kind", object.kind().as_str());
    fields.put("metadata", meta(object.meta(), object.kind(), epoch));
    let mut value = fields.done();
    if let Some(fields) = value.as_object_mut() {
        fields.sort_keys();
    }
    value
}

/// A pod without the greater part of its spec: what conditions mostly ask for (`status`, `metadata`, `spec.nodeName`,
/// `spec.priority`), several times cheaper than all of it.
pub fn pod_brief(one: &Pod, epoch: Epoch) -> Value {
    let mut fields = Fields::new();
    fields.put("apiVersion", Kind::Pod.api_version());
    fields.put("kind", Kind::Pod.as_str());
    fields.put("metadata", meta(&one.meta, Kind::Pod, epoch));
    pod::brief(one, epoch, &mut fields);
    fields.done()
}

/// `metadata`. What only a stored object has stands there once it has a uid.
fn meta(meta: &Meta, kind: Kind, epoch: Epoch) -> Value {
    let stored = meta.uid != Uid::NONE;
    let mut fields = Fields::new();
    fields.labels("annotations", &meta.annotations);
    if stored {
        fields.put("creationTimestamp", epoch.rfc3339(meta.created));
    }
    if let Some(deletion) = meta.deletion {
        fields.seconds("deletionGracePeriodSeconds", deletion.grace);
        fields.put("deletionTimestamp", epoch.rfc3339(deletion.at));
    }
    fields.names("finalizers", &meta.finalizers);
    fields.text("generateName", &meta.generate_name);
    fields.number("generation", meta.generation);
    fields.labels("labels", &meta.labels);
    fields.text("name", &meta.name);
    if kind.is_namespaced() {
        fields.text("namespace", &meta.namespace);
    }
    if let Some(owner) = meta.owner {
        let reference = json!([{
            "apiVersion": owner.kind.api_version(),
            "blockOwnerDeletion": owner.block_deletion,
            "controller": true,
            "kind": owner.kind.as_str(),
            "name": owner.name.as_str(),
            "uid": owner.uid.to_string(),
        }]);
        fields.put("ownerReferences", reference);
    }
    if meta.resource_version != 0 {
        fields.put("resourceVersion", meta.resource_version.to_string());
    }
    if stored {
        fields.put("uid", meta.uid.to_string());
    }
    fields.done()
}

/// These objects as one YAML `List`, as `kubectl get -o yaml` prints several.
pub fn yaml<'o>(objects: impl IntoIterator<Item = &'o Object>, epoch: Epoch) -> String {
    let items: Vec<Value> = objects.into_iter().map(|object| json(object, epoch)).collect();
    yaml_of(&json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}))
}

/// One object as YAML.
pub fn yaml_of(value: &Value) -> String {
    // A JSON value has nothing that YAML could refuse.
    serde_saphyr::to_string(value).unwrap_or_default()
}
