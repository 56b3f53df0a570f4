//! Which files a pod's volumes hold, and those that the kubelet gives each container besides.
//!
//! Kubernetes: MakePayload in pkg/volume/configmap and …/secret, CollectData in pkg/volume/downwardapi, collectData in
//! pkg/volume/projected, ensureHostsFile in pkg/kubelet/kubelet_pods.go. The token is a stand-in, and says so.

use std::sync::Arc;

use crate::model::config::ConfigData;
use crate::model::pod::{ConfigSource, DEFAULT_MODE, DownwardFile, EnvValue, KeyToPath, ProjectedSource, VolumeSource};
use crate::model::{Container, Key, Name, Text};
use crate::protocol::cri::ContainerConfig;
use crate::protocol::volume::{File, HostFile, HostPathType, Kind as VolumeKind, Volume};

use super::environment::Facts;
use super::host::Host;

/// What stands where a real kubelet would put a token that it asked the API server for.
const STAND_IN_TOKEN: &str = "simlet-stand-in-no-token-was-issued";

/// ConfigMaps and Secrets that were read.
pub type Found = [(Key, Arc<ConfigData>)];

impl Facts<'_> {
    /// The pod's volumes with their files. Volumes of other makers (claims, CSI, images) are not set up here. On a simulated
    /// machine a volume's path is its name.
    pub fn volumes(&self, host: Option<&Host>, found: &Found) -> Arc<[Volume]> {
        let uid = self.pod.meta.uid;
        let fs_group = self.pod.spec.security.fs_group;
        let mut made = Vec::new();
        for volume in self.pod.spec.volumes.iter() {
            let kind = match &volume.source {
                VolumeSource::EmptyDir { memory, size_limit } => {
                    VolumeKind::EmptyDir { memory: *memory, size_limit: *size_limit }
                }
                VolumeSource::HostPath { kind, .. } => {
                    VolumeKind::HostPath(HostPathType::parse(kind).unwrap_or_default())
                }
                VolumeSource::ConfigMap { name, items, default_mode, .. } => {
                    files(|all| self.config_files(found, ConfigSource::ConfigMap(*name), items, *default_mode, all))
                }
                VolumeSource::Secret { name, items, default_mode, .. } => {
                    files(|all| self.config_files(found, ConfigSource::Secret(*name), items, *default_mode, all))
                }
                VolumeSource::DownwardApi { items, default_mode } => {
                    files(|all| self.downward_files(items, *default_mode, all))
                }
                VolumeSource::Projected { sources, default_mode } => files(|all| {
                    for source in sources {
                        self.projected(found, source, *default_mode, all);
                    }
                }),
                VolumeSource::Claim { .. }
                | VolumeSource::Ephemeral { .. }
                | VolumeSource::Image { .. }
                | VolumeSource::Other { .. } => continue,
            };
            let path = host.map_or(volume.name, |host| host.volume_path(uid, volume));
            made.push(Volume { name: volume.name, path, kind, fs_group });
        }
        if let Some(host) = host
            && self.pod.spec.automount_token
        {
            let kind = files(|all| {
                put(all, Name::new("token"), STAND_IN_TOKEN.as_bytes().into(), DEFAULT_MODE, true);
                let namespace = self.pod.meta.namespace;
                put(all, Name::new("namespace"), namespace.as_bytes().into(), DEFAULT_MODE, false);
            });
            made.push(Volume { name: Name::new("kube-api-access"), path: host.token_path(uid), kind, fs_group });
        }
        made.into()
    }

    fn projected(&self, found: &Found, source: &ProjectedSource, mode: i32, all: &mut Vec<File>) {
        match source {
            ProjectedSource::Config { from, items, .. } => self.config_files(found, *from, items, mode, all),
            ProjectedSource::DownwardApi(items) => self.downward_files(items, mode, all),
            ProjectedSource::Token { path, .. } => put(all, *path, STAND_IN_TOKEN.as_bytes().into(), mode, true),
            ProjectedSource::Other => {}
        }
    }

    /// All keys, or those that are named at their paths.
    fn config_files(&self, found: &Found, from: ConfigSource, items: &[KeyToPath], mode: i32, all: &mut Vec<File>) {
        let (kind, name) = from.kind_and_name();
        let Some((_, data)) = found.iter().find(|(key, _)| key.kind == kind && key.name == name) else { return };
        for (key, content) in &data.data {
            if items.is_empty() {
                put(all, *key, content.clone(), mode, false);
            }
            for item in items.iter().filter(|item| item.key == *key) {
                put(all, item.path, content.clone(), item.mode.unwrap_or(mode), false);
            }
        }
    }

    fn downward_files(&self, items: &[DownwardFile], mode: i32, all: &mut Vec<File>) {
        let nobody = Container::default();
        for item in items {
            let own = match &item.value {
                EnvValue::ResourceField { .. } => self.pod.spec.containers.first().unwrap_or(&nobody),
                _ => &nobody,
            };
            let value = self.value(own, &item.value);
            put(all, item.path, value.as_bytes().into(), item.mode.unwrap_or(mode), false);
        }
    }

    /// The pod's `/etc/hosts`, and a place for the container's last words.
    pub fn container_files(&self, host: &Host, container: &Container, config: &ContainerConfig) -> Arc<[HostFile]> {
        let uid = self.pod.meta.uid;
        let hosts = HostFile { path: host.hosts_path(uid), content: self.hosts(host), mode: 0o644 };
        let log = host.termination_log_path(uid, container.name, config.attempt);
        let log = HostFile { path: log, content: Text::default(), mode: 0o666 };
        let is_mounted = |file: &HostFile| config.mounts.iter().any(|mount| mount.host_path == file.path);
        [hosts, log].into_iter().filter(is_mounted).collect()
    }

    fn hosts(&self, host: &Host) -> Text {
        let spec = &self.pod.spec;
        let mut text = if spec.host_network {
            format!("# Kubernetes-managed hosts file (host network).\n{}", host.hosts)
        } else {
            let name = super::sandbox_config::hostname(self.pod);
            let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
                            ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
                            fe00::2\tip6-allrouters\n"
                .to_owned();
            if let Some(ip) = self.pod_ip {
                text.push_str(&match (spec.subdomain.as_str(), self.pod.meta.namespace) {
                    ("", _) => format!("{ip}\t{name}\n"),
                    (domain, namespace) => {
                        format!("{ip}\t{name}.{domain}.{namespace}.svc.{}\t{name}\n", host.cluster_domain)
                    }
                });
            }
            text
        };
        if !spec.host_aliases.is_empty() {
            text.push_str("\n# Entries added by HostAliases.\n");
            for alias in &spec.host_aliases {
                let names: Vec<&str> = alias.hostnames.iter().map(|name| name.as_str()).collect();
                text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
            }
        }
        text.into()
    }
}

fn files(fill: impl FnOnce(&mut Vec<File>)) -> VolumeKind {
    let mut all = Vec::new();
    fill(&mut all);
    VolumeKind::Files(all.into())
}

/// A later file of the same path replaces an earlier one.
fn put(all: &mut Vec<File>, path: Name, content: Arc<[u8]>, mode: i32, stand_in: bool) {
    all.retain(|file| file.path != path);
    all.push(File { path, content, mode: mode as u32, stand_in });
}
