//! The environment of a container: literal values, facts of the pod, keys of ConfigMaps and Secrets, services.
//!
//! Kubernetes: makeEnvironmentVariables, podFieldSelectorRuntimeValue, containerResourceRuntimeValue in
//! pkg/kubelet/kubelet_pods.go; pkg/api/v1/resource, pkg/fieldpath. `env` overrides `envFrom`, a later variable an earlier
//! one; a literal value may refer to what stands before it. Services come last (`services.rs`).
//! A simulated machine has no files that programs wrote: variables of a `fileKeyRef` are left out there. Kubernetes hands the
//! variables over in any order; here it is this one.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::config::ConfigData;
use crate::model::pod::EnvValue;
use crate::model::quantity::Quantity;
use crate::model::{Container, Key, Kind, Labels, Name, Pod, Text};

use super::config::Config;
use super::env_file::{self, EnvFile};
use super::expansion;

/// ConfigMaps and Secrets that a container's environment refers to.
#[derive(Debug, Default)]
pub struct Environment {
    /// Not read yet, the last first; true: may be missing.
    pub wanted: Vec<(Key, bool)>,
    pub found: Vec<(Key, Arc<ConfigData>)>,
    /// Files that are not read yet, the last first, and those that are.
    pub files_wanted: Vec<EnvFile>,
    pub files: Vec<EnvFile>,
    /// The variables that tell of services.
    pub services: Vec<(Name, Text)>,
}

impl Environment {
    /// What the container needs, nothing of it read yet.
    pub fn wanted(pod: &Pod, container: &Container) -> Environment {
        let mut wanted: Vec<(Key, bool)> = Vec::new();
        let mut want = |kind, name: Name, optional| {
            let key = Key { kind, namespace: pod.meta.namespace, name };
            match wanted.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known &= optional,
                None => wanted.push((key, optional)),
            }
        };
        for from in &container.env_from {
            let (kind, name) = from.from.kind_and_name();
            want(kind, name, from.optional);
        }
        for variable in &container.env {
            match &variable.value {
                EnvValue::ConfigMapKey { config_map, optional, .. } => want(Kind::ConfigMap, *config_map, *optional),
                EnvValue::SecretKey { secret, optional, .. } => want(Kind::Secret, *secret, *optional),
                _ => {}
            }
        }
        wanted.reverse();
        Environment { wanted, ..Environment::default() }
    }

    /// The files that the container's variables come from, where there is a machine to read them.
    pub fn want_files(&mut self, pod: &Pod, container: &Container, config: &Config) -> Result<(), Text> {
        let Some(host) = config.host.as_ref().filter(|_| !config.kubelet.feature_gates.no_env_files) else {
            return Ok(());
        };
        for variable in &container.env {
            let EnvValue::FileKey { volume: name, path, .. } = &variable.value else { continue };
            if self.files_wanted.iter().any(|known| known.volume == *name && known.path == *path) {
                continue;
            }
            let Some(volume) = pod.spec.volumes.iter().find(|volume| volume.name == *name) else {
                return Err(format!("cannot find the volume \"{name}\" referenced by FileKeyRef").into());
            };
            let host_path = Name::from(format!("{}/{path}", host.volume_path(pod.meta.uid, volume)));
            self.files_wanted.push(EnvFile { volume: *name, path: *path, host_path, content: None });
        }
        self.files_wanted.reverse();
        Ok(())
    }

    /// The value of a `fileKeyRef`: None if its file was not read, because nothing can be, or has no such key.
    fn file_value(&self, volume: Name, path: Name, key: Name) -> Result<Option<&str>, Text> {
        let Some(file) = self.files.iter().find(|file| file.volume == volume && file.path == path) else {
            return Ok(None);
        };
        // What exactly is wrong stands only in the kubelet's log.
        let broken = || Text::new("couldn't parse env file");
        let content = file.content.as_ref().ok_or_else(broken)?;
        // An empty value counts as none.
        let value = env_file::value(content, &key).map_err(|_| broken())?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn find(&self, kind: Kind, name: Name) -> Option<&ConfigData> {
        self.found.iter().find(|(key, _)| key.kind == kind && key.name == name).map(|(_, data)| &**data)
    }

    fn value(&self, kind: Kind, name: Name, key: Name) -> Option<Text> {
        let data = self.find(kind, name)?;
        data.data
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned().into())
    }

    /// Every key that a variable needs is there.
    pub fn check(&self, pod: &Pod, container: &Container) -> Result<(), Text> {
        for variable in &container.env {
            if let EnvValue::FileKey { volume, path, key, optional } = &variable.value {
                let value = self.file_value(*volume, *path, *key)?;
                let file = self.files.iter().find(|file| file.volume == *volume && file.path == *path);
                if let (None, false, Some(file)) = (value, *optional, file) {
                    let text = format!("environment variable key \"{key}\" not found in file \"{}\"", file.host_path);
                    return Err(text.into());
                }
                continue;
            }
            let (kind, name, key, optional, text) = match &variable.value {
                EnvValue::ConfigMapKey { config_map, key, optional } => {
                    (Kind::ConfigMap, *config_map, *key, *optional, "ConfigMap")
                }
                EnvValue::SecretKey { secret, key, optional } => (Kind::Secret, *secret, *key, *optional, "Secret"),
                _ => continue,
            };
            if !optional && self.find(kind, name).is_some_and(|data| !data.has_key(key)) {
                let full = format!("{}/{name}", pod.meta.namespace);
                return Err(format!("couldn't find key {key} in {text} {full}").into());
            }
        }
        Ok(())
    }
}

/// What values of a pod are made from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub pod: &'a Pod,
    pub pod_ip: Option<Ipv4Addr>,
    pub config: &'a Config,
}

impl Facts<'_> {
    /// The variables of a container, each once, in the order in which they are first named.
    pub fn variables(&self, container: &Container, environment: &Environment) -> Vec<(Name, Text)> {
        let mut made: Vec<(Name, Text)> = Vec::with_capacity(container.env.len());
        let put = |made: &mut Vec<(Name, Text)>, name: Name, value: Text| match made
            .iter_mut()
            .find(|(known, _)| *known == name)
        {
            Some((_, old)) => *old = value,
            None => made.push((name, value)),
        };
        for from in &container.env_from {
            let (kind, name) = from.from.kind_and_name();
            for (key, value) in environment.find(kind, name).map(|data| &data.data[..]).unwrap_or_default() {
                let name = if from.prefix.is_empty() { *key } else { Name::from(format!("{}{key}", from.prefix)) };
                put(&mut made, name, String::from_utf8_lossy(value).into_owned().into());
            }
        }
        let services = &environment.services;
        for variable in &container.env {
            let value = match &variable.value {
                EnvValue::Literal(value) => {
                    let known =
                        |name: &str| expansion::lookup(&made, name).or_else(|| expansion::lookup(services, name));
                    Some(expansion::expand(value, known).map_or_else(|| value.clone(), Text::from))
                }
                EnvValue::ConfigMapKey { config_map, key, .. } => environment.value(Kind::ConfigMap, *config_map, *key),
                EnvValue::SecretKey { secret, key, .. } => environment.value(Kind::Secret, *secret, *key),
                EnvValue::FileKey { .. } if self.config.kubelet.feature_gates.no_env_files => Some(Text::default()),
                EnvValue::FileKey { volume, path, key, .. } => {
                    environment.file_value(*volume, *path, *key).ok().flatten().map(Text::new)
                }
                value => Some(self.value(container, value)),
            };
            if let Some(value) = value {
                put(&mut made, variable.name, value);
            }
        }
        for (name, value) in services {
            if !made.iter().any(|(known, _)| known == name) {
                made.push((*name, value.clone()));
            }
        }
        made
    }

    /// A field of the pod or a resource of a container; `own` is the container that asks.
    pub fn value(&self, own: &Container, value: &EnvValue) -> Text {
        match value {
            EnvValue::Field(path) => self.field(path),
            EnvValue::ResourceField { container, resource, divisor } => {
                self.resource_field(own, *container, resource, divisor)
            }
            EnvValue::Literal(value) => value.clone(),
            EnvValue::ConfigMapKey { .. } | EnvValue::SecretKey { .. } | EnvValue::FileKey { .. } => Text::default(),
        }
    }

    fn field(&self, path: &str) -> Text {
        let meta = &self.pod.meta;
        let pod_ip = self.pod_ip.or(self.pod.spec.host_network.then_some(self.config.node_ip));
        match path {
            "metadata.name" => meta.name.as_str().into(),
            "metadata.namespace" => meta.namespace.as_str().into(),
            "metadata.uid" => meta.uid.to_string().into(),
            "metadata.labels" => map_text(&meta.labels),
            "metadata.annotations" => map_text(&meta.annotations),
            "spec.nodeName" => self.config.name().as_str().into(),
            "spec.serviceAccountName" => self.pod.spec.service_account.as_str().into(),
            "status.hostIP" | "status.hostIPs" => self.config.node_ip.to_string().into(),
            "status.podIP" | "status.podIPs" => pod_ip.map(|ip| ip.to_string()).unwrap_or_default().into(),
            _ => {
                let quoted = |prefix: &str, labels: &Labels| {
                    let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
                    labels.get(Name::new(key))
                };
                let found = quoted("metadata.labels['", &meta.labels)
                    .or_else(|| quoted("metadata.annotations['", &meta.annotations));
                found.unwrap_or_default().as_str().into()
            }
        }
    }

    fn resource_field(&self, own: &Container, of: Name, resource: &str, divisor: &str) -> Text {
        let spec = &self.pod.spec;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter());
        let container = if of.is_empty() { Some(own) } else { all.find(|one| one.name == of) };
        let Some(container) = container else { return Text::default() };
        let (limits, requests) = (&container.resources.limits, &container.resources.requests);
        let allocatable = self.config.allocatable();
        let divisor = divisor.parse::<Quantity>().ok();
        let up = |amount: i64, by: i64| {
            let by = i128::from(by.max(1));
            ((i128::from(amount) + by - 1).div_euclid(by)) as i64
        };
        let milli = |amount: i64| up(amount, divisor.map_or(0, Quantity::milli_rounding_up).max(0).max(1));
        let cores = |amount: i64| match divisor.map_or(0, Quantity::milli_rounding_up) {
            0 => up(amount, 1000),
            _ => milli(amount),
        };
        let whole = |amount: i64| up(amount, divisor.map_or(0, Quantity::value_rounding_up));
        let value = match resource {
            "limits.cpu" => cores(limits.cpu.unwrap_or(allocatable.cpu).0),
            "requests.cpu" => cores(requests.cpu.unwrap_or_default().0),
            "limits.memory" => whole(limits.memory.unwrap_or(allocatable.memory).0),
            "requests.memory" => whole(requests.memory.unwrap_or_default().0),
            "limits.ephemeral-storage" => whole(limits.ephemeral_storage.unwrap_or(allocatable.ephemeral_storage).0),
            "requests.ephemeral-storage" => whole(requests.ephemeral_storage.unwrap_or_default().0),
            _ => 0,
        };
        value.to_string().into()
    }
}

/// Labels as the downward API writes them: `key="value"` lines, without an end of the last line.
fn map_text(labels: &Labels) -> Text {
    let lines: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={:?}", value.as_str())).collect();
    lines.join("\n").into()
}
