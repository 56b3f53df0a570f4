//! Volumes of pods.

use serde_json::{Value, json};

use crate::model::pod::{ConfigSource, DownwardFile, KeyToPath, ProjectedSource, Volume, VolumeSource};
use crate::model::{Labels, Name};

use super::fields::{Fields, bytes};
use super::pod::{pull_policy, value_source};
use super::storage::claim_spec;

/// A volume.
pub(super) fn volume(volume: &Volume) -> Value {
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
        VolumeSource::ConfigMap { name, optional, items, default_mode } => {
            let mut fields = Fields::new();
            fields.put("defaultMode", *default_mode);
            fields.filled("items", keys(items)).put("name", name.as_str()).flag("optional", *optional);
            ("configMap", fields.done())
        }
        VolumeSource::Secret { name, optional, items, default_mode } => {
            let mut fields = Fields::new();
            fields.put("defaultMode", *default_mode);
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
        VolumeSource::Projected { sources, default_mode } => {
            let mut fields = Fields::new();
            fields.put("defaultMode", *default_mode);
            fields.put("sources", Value::Array(sources.iter().map(projected).collect()));
            ("projected", fields.done())
        }
        VolumeSource::DownwardApi { items, default_mode } => {
            let mut fields = Fields::new();
            fields.put("defaultMode", *default_mode).filled("items", downward_files(items));
            ("downwardAPI", fields.done())
        }
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

fn projected(source: &ProjectedSource) -> Value {
    let mut fields = Fields::new();
    let mut value = Fields::new();
    match source {
        ProjectedSource::Config { from, optional, items } => {
            let (field, name) = match from {
                ConfigSource::ConfigMap(name) => ("configMap", name),
                ConfigSource::Secret(name) => ("secret", name),
            };
            value.filled("items", keys(items)).put("name", name.as_str()).flag("optional", *optional);
            fields.put(field, value.done());
        }
        ProjectedSource::DownwardApi(items) => {
            value.filled("items", downward_files(items));
            fields.put("downwardAPI", value.done());
        }
        ProjectedSource::Token { path, audience, expiration_seconds } => {
            value.text("audience", audience);
            value.some("expirationSeconds", *expiration_seconds).put("path", path.as_str());
            fields.put("serviceAccountToken", value.done());
        }
        ProjectedSource::Other => {}
    }
    fields.done()
}

fn keys(items: &[KeyToPath]) -> Value {
    let print = |item: &KeyToPath| {
        let mut fields = Fields::new();
        fields.put("key", item.key.as_str()).some("mode", item.mode).put("path", item.path.as_str());
        fields.done()
    };
    Value::Array(items.iter().map(print).collect())
}

fn downward_files(items: &[DownwardFile]) -> Value {
    let print = |item: &DownwardFile| {
        let mut fields = Fields::new();
        let (field, value) = value_source(&item.value);
        if field == "fieldRef" {
            fields.put(field, value).some("mode", item.mode).put("path", item.path.as_str());
        } else {
            fields.some("mode", item.mode).put("path", item.path.as_str()).put(field, value);
        }
        fields.done()
    };
    Value::Array(items.iter().map(print).collect())
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
