//! Volumes of pods.

use serde_json::{Value, json};

use crate::model::pod::{ConfigSource, Volume, VolumeSource};
use crate::model::{Labels, Name};

use super::fields::{Fields, bytes};
use super::pod::pull_policy;
use super::storage::claim_spec;

/// A volume. Where files appear in it is not held, so keys are printed without their paths.
pub(super) fn volume(volume: &Volume) -> Value {
    let keys = |items: &[Name]| Value::Array(items.iter().map(|key| json!({"key": key.as_str()})).collect());
    let (field, source) = match &volume.source {
        VolumeSource::EmptyDir { memory, size_limit } => {
            let mut fields = Fields::new();
            if *memory {
                fields.put("medium", "Memory");
            }
            fields.some("sizeLimit", size_limit.map(bytes));
            ("emptyDir", fields.done())
        }
        VolumeSource::HostPath { path, kind } => ("hostPath", json!({"path": path.as_str(), "type": kind.as_str()})),
        VolumeSource::ConfigMap { name, optional, items } => {
            let mut fields = Fields::new();
            fields.filled("items", keys(items)).put("name", name.as_str()).flag("optional", *optional);
            ("configMap", fields.done())
        }
        VolumeSource::Secret { name, optional, items } => {
            let mut fields = Fields::new();
            fields.filled("items", keys(items)).flag("optional", *optional).put("secretName", name.as_str());
            ("secret", fields.done())
        }
        VolumeSource::Claim { name, read_only } => {
            let mut fields = Fields::new();
            fields.put("claimName", name.as_str()).flag("readOnly", *read_only);
            ("persistentVolumeClaim", fields.done())
        }
        VolumeSource::Ephemeral { template } => (
            "ephemeral",
            json!({"volumeClaimTemplate": {"spec": claim_spec(template, Name::default(), &Labels::default())}}),
        ),
        VolumeSource::Projected { sources, token } => ("projected", projected(sources, *token)),
        VolumeSource::DownwardApi => ("downwardAPI", json!({})),
        VolumeSource::Image { reference, pull_policy: policy } => {
            ("image", json!({"pullPolicy": pull_policy(*policy), "reference": reference.as_str()}))
        }
        VolumeSource::Other { driver, id, read_only, within } => disk(driver, id, *read_only, within),
    };
    let mut fields = Fields::new();
    if field < "name" {
        fields.put(field, source).put("name", volume.name.as_str());
    } else {
        fields.put("name", volume.name.as_str()).put(field, source);
    }
    fields.done()
}

fn projected(sources: &[(ConfigSource, bool)], token: bool) -> Value {
    let mut list: Vec<Value> = Vec::new();
    if token {
        list.push(json!({"serviceAccountToken": {"path": "token"}}));
    }
    for (source, optional) in sources {
        let (field, name) = match source {
            ConfigSource::ConfigMap(name) => ("configMap", name),
            ConfigSource::Secret(name) => ("secret", name),
        };
        let mut reference = Fields::new();
        reference.put("name", name.as_str()).flag("optional", *optional);
        let mut fields = Fields::new();
        fields.put(field, reference.done());
        list.push(fields.done());
    }
    json!({"sources": list})
}

/// Each in-tree plug-in with its field in a volume, and the field there that names what it mounts.
const PLUGINS: &[(&str, &str, &str)] = &[
    ("kubernetes.io/aws-ebs", "awsElasticBlockStore", "volumeID"),
    ("kubernetes.io/azure-disk", "azureDisk", "diskName"),
    ("kubernetes.io/azure-file", "azureFile", "shareName"),
    ("kubernetes.io/cephfs", "cephfs", ""),
    ("kubernetes.io/cinder", "cinder", "volumeID"),
    ("kubernetes.io/fc", "fc", ""),
    ("kubernetes.io/flexvolume", "flexVolume", "driver"),
    ("kubernetes.io/flocker", "flocker", ""),
    ("kubernetes.io/gce-pd", "gcePersistentDisk", "pdName"),
    ("kubernetes.io/git-repo", "gitRepo", "repository"),
    ("kubernetes.io/glusterfs", "glusterfs", "path"),
    ("kubernetes.io/host-path", "hostPath", "path"),
    ("kubernetes.io/iscsi", "iscsi", "iqn"),
    ("kubernetes.io/local-volume", "local", "path"),
    ("kubernetes.io/nfs", "nfs", "server"),
    ("kubernetes.io/photon-pd", "photonPersistentDisk", "pdID"),
    ("kubernetes.io/portworx-volume", "portworxVolume", "volumeID"),
    ("kubernetes.io/quobyte", "quobyte", "volume"),
    ("kubernetes.io/rbd", "rbd", "image"),
    ("kubernetes.io/scaleio", "scaleIO", ""),
    ("kubernetes.io/storageos", "storageos", ""),
    ("kubernetes.io/vsphere-volume", "vsphereVolume", "volumePath"),
];

/// The field and the value of a pod's volume of this driver.
fn disk(driver: &str, id: &str, read_only: bool, within: &[Name]) -> (&'static str, Value) {
    let (field, value) = plugin(driver, id);
    let Value::Object(mut map) = value else { return (field, value) };
    if let [pool, monitors @ ..] = within {
        let monitors: Vec<&str> = monitors.iter().map(|monitor| monitor.as_str()).collect();
        map.insert("monitors".to_owned(), json!(monitors));
        map.insert("pool".to_owned(), json!(pool.as_str()));
    }
    if read_only {
        map.insert("readOnly".to_owned(), json!(true));
    }
    map.sort_keys();
    (field, Value::Object(map))
}

/// The field and the value of a volume of this driver.
pub(super) fn plugin(driver: &str, id: &str) -> (&'static str, Value) {
    match PLUGINS.iter().find(|(plugin, _, _)| *plugin == driver) {
        Some((_, field, id_field)) => {
            let mut fields = Fields::new();
            if !id_field.is_empty() {
                fields.text(id_field, id);
            }
            (field, fields.done())
        }
        None => {
            let mut fields = Fields::new();
            fields.put("driver", driver).text("volumeHandle", id);
            ("csi", fields.done())
        }
    }
}
