//! The runtime's state, and what is kept beside it, as CRI's messages.

use crate::kernel::Moment;
use crate::model::Labels;
use crate::protocol::cri::{self, ContainerStatus, SandboxStatus, SandboxSummary};
use crate::runtime::live::proto::{self, Map};
use crate::runtime::live::wire::{Epoch, hex};

use super::known::{self, Known};
use super::table::{Container, Sandbox, pod_number};

pub(super) fn sandbox_state(state: cri::SandboxState) -> proto::PodSandboxState {
    match state {
        cri::SandboxState::Ready => proto::PodSandboxState::Ready,
        cri::SandboxState::NotReady => proto::PodSandboxState::NotReady,
    }
}

pub(super) fn container_state(state: cri::ContainerState) -> proto::ContainerState {
    match state {
        cri::ContainerState::Created => proto::ContainerState::Created,
        cri::ContainerState::Running => proto::ContainerState::Running,
        cri::ContainerState::Exited => proto::ContainerState::Exited,
        cri::ContainerState::Unknown => proto::ContainerState::Unknown,
    }
}

pub(super) fn sandbox(summary: &SandboxSummary, kept: &Sandbox, epoch: Epoch) -> proto::PodSandbox {
    proto::PodSandbox {
        id: hex(summary.id.0),
        metadata: kept.config.metadata.clone(),
        state: sandbox_state(summary.state).into(),
        created_at: epoch.nanos(summary.created_at),
        labels: kept.config.labels.clone(),
        annotations: kept.config.annotations.clone(),
        runtime_handler: kept.handler.clone(),
    }
}

/// The namespaces that were asked for; none said is the pod's.
pub(super) fn namespaces(config: &proto::PodSandboxConfig) -> proto::NamespaceOption {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
}

pub(super) fn sandbox_status(status: &SandboxStatus, kept: &Sandbox, epoch: Epoch) -> proto::PodSandboxStatus {
    let summary = &status.summary;
    let ip = status.ip.map(|ip| ip.to_string()).unwrap_or_default();
    proto::PodSandboxStatus {
        id: hex(summary.id.0),
        metadata: kept.config.metadata.clone(),
        state: sandbox_state(summary.state).into(),
        created_at: epoch.nanos(summary.created_at),
        network: Some(proto::PodSandboxNetworkStatus { ip, additional_ips: Vec::new() }),
        linux: Some(proto::LinuxPodSandboxStatus {
            namespaces: Some(proto::Namespace { options: Some(namespaces(&kept.config)) }),
        }),
        labels: kept.config.labels.clone(),
        annotations: kept.config.annotations.clone(),
        runtime_handler: kept.handler.clone(),
    }
}

pub(super) fn container(summary: &cri::ContainerSummary, kept: &Container, epoch: Epoch) -> proto::Container {
    proto::Container {
        id: hex(summary.id.0),
        pod_sandbox_id: hex(summary.sandbox.0),
        metadata: kept.config.metadata.clone(),
        image: kept.config.image.clone(),
        image_ref: kept.image_id.clone(),
        state: container_state(summary.state).into(),
        created_at: epoch.nanos(summary.created_at),
        labels: kept.config.labels.clone(),
        annotations: kept.config.annotations.clone(),
        image_id: kept.image_id.clone(),
    }
}

pub(super) fn container_status(status: &ContainerStatus, kept: &Container, epoch: Epoch) -> proto::ContainerStatus {
    let summary = &status.summary;
    // Never is 0 on the wire.
    let moment = |time: Moment| if time == Moment::ZERO { 0 } else { epoch.nanos(time.time()) };
    let reason = match summary.state {
        cri::ContainerState::Exited => status.reason.to_string(),
        _ => String::new(),
    };
    proto::ContainerStatus {
        id: hex(summary.id.0),
        metadata: kept.config.metadata.clone(),
        state: container_state(summary.state).into(),
        created_at: epoch.nanos(summary.created_at),
        started_at: moment(status.started_at),
        finished_at: moment(status.finished_at),
        exit_code: status.exit_code,
        image: kept.config.image.clone().map(|spec| {
            let image = kept.image_tag.clone().unwrap_or_else(|| spec.image.clone());
            proto::ImageSpec { image, ..spec }
        }),
        image_ref: kept.image_ref.clone(),
        reason,
        message: status.message.to_string(),
        labels: kept.config.labels.clone(),
        annotations: kept.config.annotations.clone(),
        mounts: kept.config.mounts.clone(),
        log_path: kept.log.as_ref().map(|log| log.path().display().to_string()).unwrap_or_default(),
        resources: Some(proto::ContainerResources { linux: Some(kept.resources.clone()) }),
        image_id: kept.image_id.clone(),
        user: Some(proto::ContainerUser { linux: Some(kept.user.clone()) }),
        stop_signal: kept.config.stop_signal,
    }
}

/// Whom a container runs as, and the user's name: what was asked, else what the image says, else root.
pub(super) fn user(
    config: &proto::ContainerConfig,
    known: &Known,
    image: &proto::Image,
) -> (proto::LinuxContainerUser, String) {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default();
    let by_name = |name: &str| known::uid_of(name).or_else(|| name.parse().ok());
    let asked = security.run_as_user.as_ref().map(|user| user.value);
    let asked = asked.or_else(|| by_name(&security.run_as_username));
    let of_image = image.uid.as_ref().map(|user| user.value).or_else(|| by_name(&image.username));
    let uid = asked.or(of_image).unwrap_or(0);
    let gid = security.run_as_group.as_ref().map_or_else(|| known::group_of(uid, known), |group| group.value);
    let of_image = match (security.supplemental_groups_policy(), known.user.and_then(known::uid_of) == Some(uid)) {
        (proto::SupplementalGroupsPolicy::Merge, true) => known.groups,
        _ => &[],
    };
    let mut more: Vec<i64> = security.supplemental_groups.iter().chain(of_image).copied().collect();
    more.sort_unstable();
    more.dedup();
    more.retain(|group| *group != gid);
    let own = if uid == 1000 && known.user == Some("default-user") { Some("default-user") } else { None };
    let name = own.or_else(|| known::name_of(uid)).map_or_else(|| uid.to_string(), str::to_owned);
    let supplemental_groups = std::iter::once(gid).chain(more).collect();
    (proto::LinuxContainerUser { uid, gid, supplemental_groups }, name)
}

/// A sandbox's configuration for the runtime's model.
pub(super) fn sandbox_config(config: &proto::PodSandboxConfig, handler: &str) -> cri::PodSandboxConfig {
    let metadata = config.metadata.clone().unwrap_or_default();
    let linux = config.linux.as_ref();
    let host_network = namespaces(config).network() == proto::NamespaceMode::Node;
    cri::PodSandboxConfig {
        name: metadata.name.into(),
        namespace: metadata.namespace.into(),
        uid: pod_number(&metadata.uid),
        attempt: metadata.attempt,
        hostname: (&config.hostname).into(),
        labels: labels(&config.labels),
        annotations: labels(&config.annotations),
        log_directory: (&config.log_directory).into(),
        cgroup_parent: linux.map(|linux| (&linux.cgroup_parent).into()).unwrap_or_default(),
        host_network,
        runtime_handler: handler.into(),
        // What a model has no use for.
        ..cri::PodSandboxConfig::default()
    }
}

/// A container's configuration for the runtime's model; `image` is a name that it has. One whose end is not the model's
/// affair waits there, deaf to SIGTERM as the first process of a container is.
pub(super) fn container_config(config: &proto::ContainerConfig, image: &str, waits: bool) -> cri::ContainerConfig {
    let metadata = config.metadata.clone().unwrap_or_default();
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    let mount = |mount: &proto::Mount| cri::Mount {
        container_path: (&mount.container_path).into(),
        host_path: (&mount.host_path).into(),
        read_only: mount.readonly,
        ..cri::Mount::default()
    };
    cri::ContainerConfig {
        name: metadata.name.into(),
        attempt: metadata.attempt,
        image: image.into(),
        command: if waits {
            ["sleep".into(), "infinity".into()].into()
        } else {
            config.command.iter().map(|word| word.as_str().into()).collect()
        },
        args: if waits { [].into() } else { config.args.iter().map(|word| word.as_str().into()).collect() },
        working_dir: (&config.working_dir).into(),
        envs: config.envs.iter().map(|env| ((&env.key).into(), env.value.as_str().into())).collect(),
        mounts: config.mounts.iter().map(mount).collect(),
        log_path: (&config.log_path).into(),
        resources: crate::runtime::live::wire::resources_in(&linux.resources.unwrap_or_default()),
        run_as_user: security.run_as_user.map(|user| user.value),
        privileged: security.privileged,
        read_only_root: security.readonly_rootfs,
        annotations: labels(&config.annotations),
        // What a model has no use for.
        ..cri::ContainerConfig::default()
    }
}

fn labels(map: &Map) -> Labels {
    crate::runtime::live::wire::labels(map)
}
