//! What a dump leaves out but its running pods prove: the ConfigMaps and Secrets that they have mounted.
//!
//! `kubectl get nodes,pods,deploy` shows neither. Without them each kubelet would fail to mount the volumes of pods that
//! run, and a restarted container could not start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::config::ConfigData;
use crate::model::pod::{EnvValue, KeyToPath, ProjectedSource, VolumeSource};
use crate::model::{Key, Kind, Meta, Name, Object, Phase, Pod};

/// Those ConfigMaps and Secrets that running pods use and `existing` lacks, with the keys that are named.
pub(super) fn proven(existing: &[Object]) -> Vec<Object> {
    let mut keys_of: BTreeMap<Key, BTreeSet<Name>> = BTreeMap::new();
    for object in existing {
        if let Object::Pod(pod) = object
            && pod.status.phase == Phase::Running
        {
            uses(pod, &mut keys_of);
        }
    }
    for object in existing {
        keys_of.remove(&object.key());
    }
    let made = keys_of.into_iter().map(|(key, keys)| {
        let data = keys.into_iter().map(|key| (key, Arc::from([]))).collect();
        let config = Arc::new(ConfigData { meta: Meta::named(key.namespace, key.name), data, ..ConfigData::default() });
        if key.kind == Kind::Secret { Object::Secret(config) } else { Object::ConfigMap(config) }
    });
    made.collect()
}

fn uses(pod: &Pod, keys_of: &mut BTreeMap<Key, BTreeSet<Name>>) {
    let mut add = |kind: Kind, name: Name, optional: bool, keys: &[Name]| {
        if !optional {
            let key = Key { kind, namespace: pod.meta.namespace, name };
            keys_of.entry(key).or_default().extend(keys);
        }
    };
    let keys = |items: &[KeyToPath]| items.iter().map(|item| item.key).collect::<Vec<Name>>();
    for volume in pod.spec.volumes.iter() {
        match &volume.source {
            VolumeSource::ConfigMap { name, optional, items, .. } => {
                add(Kind::ConfigMap, *name, *optional, &keys(items));
            }
            VolumeSource::Secret { name, optional, items, .. } => add(Kind::Secret, *name, *optional, &keys(items)),
            VolumeSource::Projected { sources, .. } => {
                for source in sources {
                    if let ProjectedSource::Config { from, optional, items } = source {
                        let (kind, name) = from.kind_and_name();
                        add(kind, name, *optional, &keys(items));
                    }
                }
            }
            _ => {}
        }
    }
    for container in pod.spec.init_containers.iter().chain(pod.spec.containers.iter()) {
        for from in &container.env_from {
            let (kind, name) = from.from.kind_and_name();
            add(kind, name, from.optional, &[]);
        }
        for variable in &container.env {
            match variable.value {
                EnvValue::ConfigMapKey { config_map, key, optional } => {
                    add(Kind::ConfigMap, config_map, optional, &[key]);
                }
                EnvValue::SecretKey { secret, key, optional } => add(Kind::Secret, secret, optional, &[key]),
                _ => {}
            }
        }
    }
}
