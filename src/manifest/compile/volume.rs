//! Volumes of pods, and the specs of claims.
//!
//! Kubernetes: pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go (ValidateVolumes).

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use crate::model::pod::{
    ConfigSource, DEFAULT_MODE, DownwardFile, EnvValue, KeyToPath, ProjectedSource, Volume, VolumeSource,
};
use crate::model::storage::ClaimSpec;
use crate::model::{Bytes, Name};

use super::container::{PULL_POLICIES, default_pull_policy, resource_field};
use super::context::{Context, name, text};
use super::path::Path;

/// True for the volume that admission adds for the service account's token, under a random name; a pod that has it comes
/// from a dump.
pub(super) fn is_token_volume_name(name: &str) -> bool {
    name.strip_prefix("kube-api-access-").is_some_and(|random| random.len() == 5)
}

impl Context<'_> {
    pub(super) fn volumes(&mut self, spec_at: &Path<'_>, volumes: &[core::Volume]) -> Arc<[Volume]> {
        let at = spec_at.field("volumes");
        let mut compiled: Vec<Volume> = Vec::with_capacity(volumes.len());
        for (index, volume) in volumes.iter().enumerate() {
            if is_token_volume_name(&volume.name) && volume.projected.is_some() {
                continue;
            }
            let here = at.index(index);
            self.dns_label(&here.field("name"), &volume.name);
            if !volume.name.is_empty() && compiled.iter().any(|other| other.name == *volume.name.as_str()) {
                self.duplicate(&here.field("name"), format!("{:?}", volume.name));
            }
            let source = self.volume_source(&here, volume);
            compiled.push(Volume { name: Name::from(&volume.name), source });
        }
        compiled.into()
    }

    fn volume_source(&mut self, at: &Path<'_>, volume: &core::Volume) -> VolumeSource {
        if let Some(empty_dir) = &volume.empty_dir {
            let here = at.field("emptyDir");
            let limit = empty_dir.size_limit.as_ref().map(|limit| self.quantity(&here.field("sizeLimit"), limit));
            let memory = empty_dir.medium.as_deref().is_some_and(|medium| medium == "Memory");
            return VolumeSource::EmptyDir { memory, size_limit: limit.map(|limit| Bytes(limit.value_rounding_up())) };
        }
        if let Some(path) = &volume.host_path {
            return VolumeSource::HostPath { path: Name::from(&path.path), kind: name(path.type_.as_ref()) };
        }
        if let Some(map) = &volume.config_map {
            if map.name.is_empty() {
                self.required(&at.field("configMap").field("name"), "");
            }
            let optional = map.optional == Some(true);
            let default_mode = map.default_mode.unwrap_or(DEFAULT_MODE);
            let items = keys(map.items.as_ref());
            return VolumeSource::ConfigMap { name: Name::from(&map.name), optional, items, default_mode };
        }
        if let Some(secret) = &volume.secret {
            let name = name(secret.secret_name.as_ref());
            if name.is_empty() {
                self.required(&at.field("secret").field("secretName"), "");
            }
            let optional = secret.optional == Some(true);
            let default_mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
            return VolumeSource::Secret { name, optional, items: keys(secret.items.as_ref()), default_mode };
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            if claim.claim_name.is_empty() {
                self.required(&at.field("persistentVolumeClaim").field("claimName"), "");
            }
            let read_only = claim.read_only == Some(true);
            return VolumeSource::Claim { name: Name::from(&claim.claim_name), read_only };
        }
        if let Some(ephemeral) = &volume.ephemeral {
            let here = at.field("ephemeral");
            let template_at = here.field("volumeClaimTemplate");
            let Some(template) = &ephemeral.volume_claim_template else {
                self.required(&template_at, "");
                return VolumeSource::DownwardApi { items: Vec::new(), default_mode: DEFAULT_MODE };
            };
            let spec = self.claim_spec(&template_at.field("spec"), &template.spec);
            return VolumeSource::Ephemeral { template: Arc::new(spec) };
        }
        if let Some(projected) = &volume.projected {
            return projected_source(projected);
        }
        if let Some(downward) = &volume.downward_api {
            return VolumeSource::DownwardApi {
                items: downward_files(downward.items.as_deref().unwrap_or_default()),
                default_mode: downward.default_mode.unwrap_or(DEFAULT_MODE),
            };
        }
        if let Some(image) = &volume.image {
            let reference = text(image.reference.as_ref());
            let here = at.field("image");
            if reference.is_empty() {
                self.required(&here.field("reference"), "");
            }
            let pull_policy = self.word_or(
                &here.field("pullPolicy"),
                image.pull_policy.as_ref(),
                default_pull_policy(reference),
                PULL_POLICIES,
            );
            return VolumeSource::Image { reference: Name::new(reference), pull_policy };
        }
        other_source(volume).unwrap_or(
            // Kubernetes makes an emptyDir of a volume that says nothing (SetDefaults_Volume).
            VolumeSource::EmptyDir { memory: false, size_limit: None },
        )
    }

    /// `spec` of a claim or of a claim template.
    pub(super) fn claim_spec(&mut self, at: &Path<'_>, spec: &core::PersistentVolumeClaimSpec) -> ClaimSpec {
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        let modes_at = at.field("accessModes");
        if modes.is_empty() {
            self.required(&modes_at, "at least 1 access mode is required");
        }
        for (index, mode) in modes.iter().enumerate() {
            self.word(&modes_at.index(index), mode, ACCESS_MODES);
        }
        let resources_at = at.field("resources");
        let request = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
        let request = match request {
            Some(request) => {
                let requests_at = resources_at.field("requests");
                let here = requests_at.key("storage");
                let amount = self.quantity(&here, request).value_rounding_up();
                if amount <= 0 {
                    self.bad(&here, format!("{:?}", request.0), "must be greater than zero");
                }
                Bytes(amount)
            }
            None => {
                self.required(&resources_at.key("storage"), "");
                Bytes(0)
            }
        };
        ClaimSpec {
            storage_class: spec.storage_class_name.as_ref().map(Name::from),
            request,
            access_modes: modes.iter().map(Name::from).collect(),
            selector: spec.selector.as_ref().map(|selector| self.selector(&at.field("selector"), selector)),
            block: self.volume_mode(&at.field("volumeMode"), spec.volume_mode.as_ref()),
        }
    }

    /// True for `Block`.
    pub(super) fn volume_mode(&mut self, at: &Path<'_>, mode: Option<&String>) -> bool {
        self.word_or(at, mode, false, &[("Block", true), ("Filesystem", false)])
    }
}

const ACCESS_MODES: &[(&str, ())] =
    &[("ReadOnlyMany", ()), ("ReadWriteMany", ()), ("ReadWriteOnce", ()), ("ReadWriteOncePod", ())];

fn projected_source(projected: &core::ProjectedVolumeSource) -> VolumeSource {
    let compile = |source: &core::VolumeProjection| {
        if let Some(map) = &source.config_map {
            let from = ConfigSource::ConfigMap(Name::from(&map.name));
            ProjectedSource::Config { from, optional: map.optional == Some(true), items: keys(map.items.as_ref()) }
        } else if let Some(secret) = &source.secret {
            let from = ConfigSource::Secret(Name::from(&secret.name));
            ProjectedSource::Config {
                from,
                optional: secret.optional == Some(true),
                items: keys(secret.items.as_ref()),
            }
        } else if let Some(downward) = &source.downward_api {
            ProjectedSource::DownwardApi(downward_files(downward.items.as_deref().unwrap_or_default()))
        } else if let Some(token) = &source.service_account_token {
            ProjectedSource::Token {
                path: Name::from(&token.path),
                audience: name(token.audience.as_ref()),
                expiration_seconds: token.expiration_seconds,
            }
        } else {
            ProjectedSource::Other
        }
    };
    VolumeSource::Projected {
        sources: projected.sources.iter().flatten().map(compile).collect(),
        default_mode: projected.default_mode.unwrap_or(DEFAULT_MODE),
    }
}

fn keys(items: Option<&Vec<core::KeyToPath>>) -> Vec<KeyToPath> {
    let compile = |item: &core::KeyToPath| KeyToPath {
        key: Name::from(&item.key),
        path: Name::from(&item.path),
        mode: item.mode,
    };
    items.into_iter().flatten().map(compile).collect()
}

/// A file without a source, which Kubernetes refuses, is left out.
fn downward_files(items: &[core::DownwardAPIVolumeFile]) -> Vec<DownwardFile> {
    let compile = |item: &core::DownwardAPIVolumeFile| {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => EnvValue::Field(Name::from(&field.field_path)),
            (None, Some(field)) => resource_field(field),
            (None, None) => return None,
        };
        Some(DownwardFile { path: Name::from(&item.path), value, mode: item.mode })
    };
    items.iter().filter_map(compile).collect()
}

/// The kinds of volumes that only mount, by driver and by what they mount.
fn other_source(volume: &core::Volume) -> Option<VolumeSource> {
    let (driver, id) = if let Some(csi) = &volume.csi {
        (csi.driver.as_str(), "")
    } else if let Some(disk) = &volume.aws_elastic_block_store {
        ("kubernetes.io/aws-ebs", disk.volume_id.as_str())
    } else if let Some(disk) = &volume.gce_persistent_disk {
        ("kubernetes.io/gce-pd", disk.pd_name.as_str())
    } else if let Some(disk) = &volume.azure_disk {
        ("kubernetes.io/azure-disk", disk.disk_name.as_str())
    } else if let Some(share) = &volume.azure_file {
        ("kubernetes.io/azure-file", share.share_name.as_str())
    } else if let Some(nfs) = &volume.nfs {
        ("kubernetes.io/nfs", nfs.server.as_str())
    } else if let Some(iscsi) = &volume.iscsi {
        ("kubernetes.io/iscsi", iscsi.iqn.as_str())
    } else if let Some(rbd) = &volume.rbd {
        ("kubernetes.io/rbd", rbd.image.as_str())
    } else if volume.cephfs.is_some() {
        ("kubernetes.io/cephfs", "")
    } else if let Some(glusterfs) = &volume.glusterfs {
        ("kubernetes.io/glusterfs", glusterfs.path.as_str())
    } else if volume.fc.is_some() {
        ("kubernetes.io/fc", "")
    } else if let Some(cinder) = &volume.cinder {
        ("kubernetes.io/cinder", cinder.volume_id.as_str())
    } else if let Some(flex) = &volume.flex_volume {
        ("kubernetes.io/flexvolume", flex.driver.as_str())
    } else if volume.flocker.is_some() {
        ("kubernetes.io/flocker", "")
    } else if let Some(git) = &volume.git_repo {
        ("kubernetes.io/git-repo", git.repository.as_str())
    } else if let Some(disk) = &volume.photon_persistent_disk {
        ("kubernetes.io/photon-pd", disk.pd_id.as_str())
    } else if let Some(portworx) = &volume.portworx_volume {
        ("kubernetes.io/portworx-volume", portworx.volume_id.as_str())
    } else if let Some(quobyte) = &volume.quobyte {
        ("kubernetes.io/quobyte", quobyte.volume.as_str())
    } else if volume.scale_io.is_some() {
        ("kubernetes.io/scaleio", "")
    } else if volume.storageos.is_some() {
        ("kubernetes.io/storageos", "")
    } else if let Some(disk) = &volume.vsphere_volume {
        ("kubernetes.io/vsphere-volume", disk.volume_path.as_str())
    } else {
        return None;
    };
    let read_only = match volume {
        core::Volume { gce_persistent_disk: Some(disk), .. } => disk.read_only,
        core::Volume { aws_elastic_block_store: Some(disk), .. } => disk.read_only,
        core::Volume { iscsi: Some(disk), .. } => disk.read_only,
        core::Volume { rbd: Some(disk), .. } => disk.read_only,
        _ => None,
    };
    let within = match &volume.rbd {
        // The pool's default (SetDefaults_RBDVolumeSource).
        Some(rbd) => std::iter::once(Name::new(rbd.pool.as_deref().unwrap_or("rbd")))
            .chain(rbd.monitors.iter().map(Name::from))
            .collect(),
        None => Vec::new(),
    };
    let (driver, id) = (Name::new(driver), Name::new(id));
    Some(VolumeSource::Other { driver, id, read_only: read_only == Some(true), within })
}
