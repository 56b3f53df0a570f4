//! Which fields of what was read have no effect here: those that are not printed of what became of them.
//!
//! So this list needs no upkeep: a field that the model learns is printed, and no longer listed. Values that say what
//! Kubernetes would assume anyway are not listed, nor is what the API server keeps for itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::Object;

use super::Decoded;
use super::epoch::Epoch;
use super::print;

/// Fields without effect, by kind, and how many objects have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotModelled {
    fields: BTreeMap<(&'static str, String), usize>,
}

impl NotModelled {
    /// Adds what is in `decoded` and not in the object that was compiled from it.
    pub fn note(&mut self, decoded: &Decoded, compiled: &Object, epoch: Epoch) {
        let Some(read) = value_of(decoded) else { return };
        let kept = print::json(compiled, epoch);
        let mut missing = Vec::new();
        compare(&read, Some(&kept), &mut String::new(), &mut missing);
        missing.sort();
        missing.dedup();
        for field in missing {
            *self.fields.entry((compiled.kind().as_str(), field)).or_default() += 1;
        }
    }

    /// Kind, field (`spec.template.spec.dnsConfig`; `[]` for any item of a list) and number of objects, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, usize)> + '_ {
        self.fields.iter().map(|((kind, field), count)| (*kind, field.as_str(), *count))
    }

    /// True if everything has an effect.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

fn value_of(decoded: &Decoded) -> Option<Value> {
    fn value(object: &impl Serialize) -> Option<Value> {
        serde_json::to_value(object).ok()
    }
    match decoded {
        Decoded::Pod(object) => value(object),
        Decoded::Node(object) => value(object),
        Decoded::Namespace(object) => value(object),
        Decoded::ReplicaSet(object) => value(object),
        Decoded::ReplicationController(object) => value(object),
        Decoded::Deployment(object) => value(object),
        Decoded::StatefulSet(object) => value(object),
        Decoded::DaemonSet(object) => value(object),
        Decoded::Job(object) => value(object),
        Decoded::CronJob(object) => value(object),
        Decoded::Service(object) => value(object),
        Decoded::EndpointSlice(object) => value(object),
        Decoded::PersistentVolumeClaim(object) => value(object),
        Decoded::PersistentVolume(object) => value(object),
        Decoded::StorageClass(object) => value(object),
        Decoded::CSINode(object) => value(object),
        Decoded::CSIDriver(object) => value(object),
        Decoded::CSIStorageCapacity(object) => value(object),
        Decoded::VolumeAttachment(object) => value(object),
        Decoded::DeviceClass(object) => value(object),
        Decoded::ResourceClaim(object) => value(object),
        Decoded::ResourceClaimTemplate(object) => value(object),
        Decoded::ResourceSlice(object) => value(object),
        Decoded::PodDisruptionBudget(object) => value(object),
        Decoded::PriorityClass(object) => value(object),
        Decoded::LimitRange(object) => value(object),
        Decoded::ResourceQuota(object) => value(object),
        // Their fields are all held, or are nobody's wish.
        _ => None,
    }
}

/// What the API server or kubectl writes, wherever it stands.
const NOBODYS_WISH: &[&str] = &[
    "metadata.creationTimestamp",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.namespace",
    "status",
];

/// Values that Kubernetes would assume anyway, by the field's name.
const ASSUMED: &[(&str, &str)] = &[
    ("allowVolumeExpansion", "true"),
    ("apiVersion", "v1"),
    ("allowPrivilegeEscalation", "true"),
    ("automountServiceAccountToken", "true"),
    ("defaultMode", "420"),
    ("divisor", "0"),
    ("dnsPolicy", "ClusterFirst"),
    ("enableServiceLinks", "true"),
    ("externalTrafficPolicy", "Cluster"),
    ("internalTrafficPolicy", "Cluster"),
    ("ipFamilyPolicy", "SingleStack"),
    ("nodeAffinityPolicy", "Honor"),
    ("nodeTaintsPolicy", "Ignore"),
    ("operator", "Equal"),
    ("preemptionPolicy", "PreemptLowerPriority"),
    ("sessionAffinity", "None"),
    ("unhealthyPodEvictionPolicy", "IfHealthyBudget"),
    ("whenDeleted", "Retain"),
    ("whenScaled", "Retain"),
];

fn compare(read: &Value, kept: Option<&Value>, path: &mut String, missing: &mut Vec<String>) {
    if NOBODYS_WISH.contains(&path.as_str()) || says_nothing(read, path) {
        return;
    }
    let Some(kept) = kept else {
        missing.push(path.clone());
        return;
    };
    match (read, kept) {
        (Value::Object(read), Value::Object(kept)) => {
            // A selector has two forms of equal meaning.
            if kept.contains_key("matchLabels") || kept.contains_key("matchExpressions") {
                return;
            }
            for (field, value) in read {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(field);
                compare(value, kept.get(field), path, missing);
                path.truncate(length);
            }
        }
        (Value::Array(read), Value::Array(kept)) => {
            let length = path.len();
            path.push_str("[]");
            for (index, item) in read.iter().enumerate() {
                let name = item.get("name");
                let same = match name {
                    Some(_) => kept.iter().find(|other| other.get("name") == name),
                    None => kept.get(index),
                };
                compare(item, same, path, missing);
            }
            path.truncate(length);
        }
        // A value that changed its form: a quantity, a default.
        _ => {}
    }
}

/// True for what is as good as absent.
fn says_nothing(value: &Value, path: &str) -> bool {
    let field = path.rsplit('.').next().unwrap_or(path);
    let assumed = |text: &str| ASSUMED.iter().any(|(name, default)| *name == field && *default == text);
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => assumed("true"),
        Value::Number(number) => number.as_i64() == Some(0) || assumed(&number.to_string()),
        Value::String(text) => text.is_empty() || assumed(text),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => {
            // The token volume of a dump's pods is `automountServiceAccountToken`.
            fields.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("kube-api-access-"))
                || fields.iter().all(|(field, value)| says_nothing(value, field))
        }
    }
}
