//! What a kubelet over a real runtime knows of its machine: its folders, its resolver.
//!
//! Kubernetes: pkg/kubelet/kubelet_getters.go, GetPath of each plug-in in pkg/volume. A kubelet whose containers are
//! simulated has none, so that no path is made for a pod that nobody looks at.

use crate::model::pod::{Volume, VolumeSource};
use crate::model::{Name, Text, Uid};
use crate::protocol::cri::DnsConfig;

/// The machine below a kubelet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// `--root-dir`, such as `/var/lib/kubelet`.
    pub root_dir: Name,
    /// `clusterDNS`; empty: pods use the machine's resolver.
    pub cluster_dns: Vec<Name>,
    /// `clusterDomain`, such as `cluster.local`.
    pub cluster_domain: Name,
    /// What `resolvConf` says.
    pub dns: DnsConfig,
    /// The machine's `/etc/hosts`, for pods on its network.
    pub hosts: Text,
}

impl Host {
    /// The folder of a pod.
    pub fn pod_dir(&self, pod: Uid) -> String {
        format!("{}/pods/{pod}", self.root_dir)
    }

    /// Where a volume is.
    pub fn volume_path(&self, pod: Uid, volume: &Volume) -> Name {
        let plugin = match &volume.source {
            VolumeSource::HostPath { path, .. } => return *path,
            VolumeSource::EmptyDir { .. } => "kubernetes.io~empty-dir",
            VolumeSource::ConfigMap { .. } => "kubernetes.io~configmap",
            VolumeSource::Secret { .. } => "kubernetes.io~secret",
            VolumeSource::Projected { .. } => "kubernetes.io~projected",
            VolumeSource::DownwardApi { .. } => "kubernetes.io~downward-api",
            VolumeSource::Claim { .. }
            | VolumeSource::Ephemeral { .. }
            | VolumeSource::Image { .. }
            | VolumeSource::Other { .. } => "kubernetes.io~csi",
        };
        Name::from(format!("{}/volumes/{plugin}/{}", self.pod_dir(pod), volume.name))
    }

    /// Where the volume is that admission adds for the service account's token.
    pub fn token_path(&self, pod: Uid) -> Name {
        Name::from(format!("{}/volumes/kubernetes.io~projected/kube-api-access", self.pod_dir(pod)))
    }

    /// The pod's `/etc/hosts`.
    pub fn hosts_path(&self, pod: Uid) -> Name {
        Name::from(format!("{}/etc-hosts", self.pod_dir(pod)))
    }

    /// Where a run of a container leaves its last words.
    pub fn termination_log_path(&self, pod: Uid, container: Name, attempt: u32) -> Name {
        Name::from(format!("{}/containers/{container}/{attempt:08x}", self.pod_dir(pod)))
    }
}
