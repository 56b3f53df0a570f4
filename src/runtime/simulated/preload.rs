//! What runs already when a run begins: the containers of a dump's pods.

use std::sync::Arc;

use crate::model::pod::RestartPolicy;
use crate::model::{Container, ContainerState, Kind, Labels, Name, Phase, Pod};
use crate::protocol::cri::{
    Answer, ContainerConfig, ContainerId, LinuxResources, PodSandboxConfig, SandboxId, SandboxState,
};
use crate::trace::Effects;

use super::behavior::{CONTAINER_TYPE, RESTART_POLICY};
use super::images::PresentImage;
use super::runtime::Runtime;
use super::sandboxes::SandboxJob;
use super::{In, Out};

impl Runtime {
    /// Starts the sandbox and the containers of a pod that the API server shows as running here, as if they had been
    /// started before: without a pull, at the attempt that their restart count says. Their programs begin now.
    pub fn preload(&mut self, pod: &Pod, fx: &mut Effects<In, Out>) {
        if pod.status.phase != Phase::Running {
            return;
        }
        let config = Arc::new(PodSandboxConfig {
            name: pod.meta.name,
            namespace: pod.meta.namespace,
            uid: pod.meta.uid,
            attempt: 0,
            hostname: pod.meta.name,
            labels: pod.meta.labels.clone(),
            annotations: pod.meta.annotations.clone(),
            log_directory: Name::default(),
            cgroup_parent: Name::default(),
            host_network: pod.spec.host_network,
            runtime_handler: pod.spec.runtime_class,
            ..PodSandboxConfig::default()
        });
        let id = SandboxId(self.new_id());
        let ip = if pod.spec.host_network { None } else { pod.status.pod_ip.or_else(|| self.network.allocate().ok()) };
        self.insert_sandbox(&SandboxJob::unasked(id, config), SandboxState::Ready, ip, fx);
        let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
        for container in sidecars.chain(pod.spec.containers.iter()) {
            self.preload_container(pod, container, id, fx);
        }
    }

    fn preload_container(&mut self, pod: &Pod, container: &Container, sandbox: SandboxId, fx: &mut Effects<In, Out>) {
        let mut statuses = pod.status.containers.iter().chain(&pod.status.init_containers);
        let Some(status) = statuses.find(|status| status.name == container.name) else { return };
        if !matches!(status.state, ContainerState::Running { .. }) {
            return;
        }
        if !self.images.has(container.image) {
            self.images.add(&PresentImage::of_size(container.image, 0));
        }
        let kind = if container.is_sidecar() { "sidecar" } else { "regular" };
        // What ends by itself after a moment would not have been seen running; but a Job's pods end some time.
        let proven = pod.meta.owner.is_none_or(|owner| owner.kind != Kind::Job);
        let policy = match container.restart_policy.unwrap_or(pod.spec.restart_policy) {
            _ if proven => "Always",
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never => "Never",
        };
        let annotations =
            [(CONTAINER_TYPE, kind), (RESTART_POLICY, policy)].map(|(key, value)| (Name::new(key), Name::new(value)));
        let memory = container.resources.limits.memory.map_or(0, |limit| limit.0);
        let config = ContainerConfig {
            name: container.name,
            attempt: status.restart_count,
            image: container.image,
            command: Arc::clone(&container.command),
            args: Arc::clone(&container.args),
            working_dir: container.working_dir,
            envs: Vec::new(),
            mounts: Vec::new(),
            log_path: Name::default(),
            resources: LinuxResources { memory_limit_in_bytes: memory, ..LinuxResources::default() },
            run_as_user: container.security.run_as_user,
            privileged: container.security.privileged,
            read_only_root: container.security.read_only_root_filesystem,
            annotations: Labels::new(annotations),
            ..ContainerConfig::default()
        };
        if let Ok(Answer::Container(ContainerId(id))) = self.created(sandbox, Arc::new(config), fx) {
            // A program that can't be started was not running in the dump either: its behaviour says otherwise now.
            let _ = self.started(ContainerId(id), fx);
        }
    }
}
