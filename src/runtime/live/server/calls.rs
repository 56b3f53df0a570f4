//! The methods of RuntimeService, and which method a path names.

use std::path::PathBuf;
use std::sync::Arc;

use prost::bytes::Bytes;
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use crate::kernel::Duration;
use crate::model::Text;
use crate::protocol::cri::{self, Answer, Call, ContainerId, SandboxId};
use crate::runtime::live::proto::{self, IMAGE_SERVICE, Map, RUNTIME_SERVICE};
use crate::runtime::live::wire::{encode, hex, resources_in};

use super::logs::Log;
use super::process::pid_of;
use super::table::{self, matches, pod_number, resolve};
use super::worlds::{self, Parts, main_of, pid_mode};
use super::{Items, Server, answers, metrics, unexpected};

/// The message of a request.
pub(super) fn read<M: prost::Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| Status::invalid_argument(format!("the request can't be read: {error}")))
}

fn empty() -> Bytes {
    Bytes::new()
}

impl Server {
    /// Answers the method at `path`.
    pub(super) async fn unary(self: Arc<Server>, path: &str, body: Bytes) -> Result<Bytes, Status> {
        if let Some(method) = path.strip_prefix(IMAGE_SERVICE) {
            return self.image_method(method, body).await;
        }
        match path.strip_prefix(RUNTIME_SERVICE).unwrap_or("") {
            "Version" => self.version().await,
            "Status" => self.status(read(body)?).await,
            "RuntimeConfig" => Ok(encode(&proto::RuntimeConfigResponse {
                linux: Some(proto::LinuxRuntimeConfiguration { cgroup_driver: cgroup_driver().into() }),
            })),
            "UpdateRuntimeConfig" => self.update_runtime_config(read(body)?).await,
            "RunPodSandbox" => self.run_pod_sandbox(read(body)?).await,
            "StopPodSandbox" => self.stop_pod_sandbox(read(body)?).await,
            "RemovePodSandbox" => self.remove_pod_sandbox(read(body)?).await,
            "PodSandboxStatus" => self.pod_sandbox_status(read(body)?).await,
            "ListPodSandbox" => Ok(encode(&self.list_pod_sandbox(read(body)?).await?)),
            "UpdatePodSandboxResources" => self.update_pod_sandbox_resources(read(body)?),
            "CreateContainer" => self.create_container(read(body)?).await,
            "StartContainer" => self.start_container(read(body)?).await,
            "StopContainer" => self.stop_container(read(body)?).await,
            "RemoveContainer" => self.remove_container(read(body)?).await,
            "ListContainers" => Ok(encode(&self.list_containers(read(body)?).await?)),
            "ContainerStatus" => self.container_status(read(body)?).await,
            "UpdateContainerResources" => self.update_container_resources(read(body)?).await,
            "ReopenContainerLog" => self.reopen_container_log(read(body)?).await,
            "ExecSync" => self.exec_sync(read(body)?).await.map(|response| encode(&response)),
            "Exec" => self.exec_url(read(body)?).await,
            "Attach" => self.attach_url(read(body)?).await,
            "PortForward" => self.forward_url(read(body)?).await,
            "ContainerStats" => self.container_stats(read(body)?).await,
            "ListContainerStats" => Ok(encode(&self.list_container_stats(read(body)?).await?)),
            "PodSandboxStats" => self.pod_sandbox_stats(read(body)?).await,
            "ListPodSandboxStats" => Ok(encode(&self.list_pod_sandbox_stats(read(body)?).await?)),
            "ListMetricDescriptors" => Ok(metrics::descriptors()),
            "ListPodSandboxMetrics" => Ok(encode(&self.list_pod_sandbox_metrics().await?)),
            // As a runtime without CRIU: a kubelet then says that there is no such thing.
            "CheckpointContainer" => Err(Status::unimplemented(
                "CheckpointContainer is not supported: simulated containers have no processes to save",
            )),
            _ => Err(Status::unimplemented(format!("unknown method {path}"))),
        }
    }

    /// Answers the method at `path` bit by bit: events, and lists in one part.
    pub(super) async fn stream(self: &Arc<Server>, path: &str, body: Bytes) -> Result<Items, Status> {
        let method = path.rsplit('/').next().unwrap_or("");
        let whole = match method {
            "GetContainerEvents" => return self.container_events(),
            "StreamPodSandboxes" => encode(&self.list_pod_sandbox(read(body)?).await?),
            "StreamContainers" => encode(&self.list_containers(read(body)?).await?),
            "StreamContainerStats" => encode(&self.list_container_stats(read(body)?).await?),
            "StreamPodSandboxStats" => encode(&self.list_pod_sandbox_stats(read(body)?).await?),
            "StreamPodSandboxMetrics" => encode(&self.list_pod_sandbox_metrics().await?),
            "StreamImages" => encode(&self.list_images(read(body)?).await?),
            _ => return Err(Status::unimplemented(format!("unknown method {path}"))),
        };
        let (sender, items) = mpsc::channel(1);
        // A list without entries is a stream without parts.
        if !whole.is_empty() {
            sender.try_send(Ok(whole)).map_err(|_| Status::internal("the stream is full"))?;
        }
        Ok(items)
    }

    async fn version(&self) -> Result<Bytes, Status> {
        match self.ask(Call::Version).await? {
            Answer::Version { runtime_name, runtime_version } => Ok(encode(&proto::VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: runtime_name.to_string(),
                runtime_version: runtime_version.to_string(),
                runtime_api_version: "v1".to_owned(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn status(&self, request: proto::StatusRequest) -> Result<Bytes, Status> {
        let (runtime_ready, network_ready) = match self.ask(Call::Status).await? {
            Answer::Status { runtime_ready, network_ready } => (runtime_ready, network_ready),
            other => return Err(unexpected(&other)),
        };
        let condition = |name: &str, state: Result<(), Text>| proto::RuntimeCondition {
            r#type: name.to_owned(),
            status: state.is_ok(),
            reason: state.as_ref().err().map(|_| format!("{name}Not")).unwrap_or_default(),
            message: state.err().map(|why| why.to_string()).unwrap_or_default(),
        };
        let conditions = vec![condition("RuntimeReady", runtime_ready), condition("NetworkReady", network_ready)];
        let info = serde_json::json!({ "simulated": true, "sandboxes": self.table().sandboxes.len() });
        let features = proto::RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: true };
        Ok(encode(&proto::StatusResponse {
            status: Some(proto::RuntimeStatus { conditions }),
            info: if request.verbose { Map::from([("config".to_owned(), info.to_string())]) } else { Map::new() },
            runtime_handlers: vec![proto::RuntimeHandler { name: String::new(), features: Some(features) }],
            features: Some(proto::RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
            }),
        }))
    }

    async fn update_runtime_config(&self, request: proto::UpdateRuntimeConfigRequest) -> Result<Bytes, Status> {
        let network = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default();
        if !network.pod_cidr.is_empty() {
            self.ask(Call::UpdateRuntimeConfig { pod_cidr: network.pod_cidr.into() }).await?;
        }
        Ok(empty())
    }

    // Sandboxes.

    async fn run_pod_sandbox(&self, request: proto::RunPodSandboxRequest) -> Result<Bytes, Status> {
        let config = request.config.ok_or_else(|| Status::invalid_argument("a sandbox needs a configuration"))?;
        let metadata = config.metadata.clone().unwrap_or_default();
        if metadata.name.is_empty() || metadata.namespace.is_empty() || metadata.uid.is_empty() {
            return Err(Status::invalid_argument("a sandbox needs metadata with name, namespace and uid"));
        }
        check_user_namespace(&answers::namespaces(&config))?;
        let call = Call::RunPodSandbox(Arc::new(answers::sandbox_config(&config, &request.runtime_handler)));
        let key = (pod_number(&metadata.uid), metadata.attempt);
        let sandbox = table::Sandbox { config, handler: request.runtime_handler };
        // A second request while one is under way does not take its place.
        self.table().coming_sandboxes.entry(key).or_insert_with(|| sandbox.clone());
        let answer = self.ask(call).await;
        let mut table = self.table();
        table.coming_sandboxes.remove(&key);
        match answer? {
            Answer::Sandbox(id) => {
                table.sandboxes.insert(id.0, sandbox);
                table.newest.insert(key.0, id.0);
                Ok(encode(&proto::RunPodSandboxResponse { pod_sandbox_id: hex(id.0) }))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The number of the sandbox that a request names.
    pub(super) fn sandbox_named(&self, text: &str) -> SandboxId {
        SandboxId(resolve(text, self.table().sandboxes.keys()))
    }

    /// The number of the container that a request names.
    pub(super) fn container_named(&self, text: &str) -> ContainerId {
        ContainerId(resolve(text, self.table().containers.keys()))
    }

    async fn stop_pod_sandbox(&self, request: proto::PodSandboxRequest) -> Result<Bytes, Status> {
        self.ask(Call::StopPodSandbox(self.sandbox_named(&request.pod_sandbox_id))).await?;
        Ok(empty())
    }

    async fn remove_pod_sandbox(&self, request: proto::PodSandboxRequest) -> Result<Bytes, Status> {
        let id = self.sandbox_named(&request.pod_sandbox_id);
        self.ask(Call::RemovePodSandbox(id)).await?;
        self.table().forget_sandbox(id.0);
        Ok(empty())
    }

    async fn pod_sandbox_status(&self, request: proto::PodSandboxStatusRequest) -> Result<Bytes, Status> {
        let id = self.sandbox_named(&request.pod_sandbox_id);
        let (status, pod) = self.sandbox_status_of(id, &request.pod_sandbox_id).await?;
        let info = serde_json::json!({ "simulated": true, "pid": 0 });
        let containers_statuses = if self.has_events { self.container_statuses_of(pod).await? } else { Vec::new() };
        Ok(encode(&proto::PodSandboxStatusResponse {
            status: Some(status),
            info: if request.verbose { Map::from([("info".to_owned(), info.to_string())]) } else { Map::new() },
            containers_statuses,
            timestamp: now_nanos(),
        }))
    }

    async fn sandbox_status_of(
        &self,
        id: SandboxId,
        named: &str,
    ) -> Result<(proto::PodSandboxStatus, crate::model::Uid), Status> {
        if id.0 == 0 {
            return Err(not_found("sandbox", named));
        }
        match self.ask(Call::PodSandboxStatus(id)).await? {
            Answer::SandboxStatus(status) => {
                let mut table = self.table();
                let kept = table.sandbox(&status.summary);
                Ok((answers::sandbox_status(&status, kept, self.epoch), status.summary.pod))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn list_pod_sandbox(
        &self,
        request: proto::ListPodSandboxRequest,
    ) -> Result<proto::ListPodSandboxResponse, Status> {
        let filter = request.filter.unwrap_or_default();
        let found = match self.ask(Call::ListPodSandbox { pod: None }).await? {
            Answer::Sandboxes(found) => found,
            other => return Err(unexpected(&other)),
        };
        let mut table = self.table();
        let all = found.iter().map(|summary| {
            let kept = table.sandbox(summary);
            answers::sandbox(summary, kept, self.epoch)
        });
        let wanted = all.filter(|sandbox| {
            sandbox.metadata.is_some()
                && sandbox.id.starts_with(&filter.id)
                && filter.state.as_ref().is_none_or(|state| state.state == sandbox.state)
                && matches(&filter.label_selector, &sandbox.labels)
        });
        Ok(proto::ListPodSandboxResponse { items: wanted.collect() })
    }

    fn update_pod_sandbox_resources(&self, request: proto::UpdatePodSandboxResourcesRequest) -> Result<Bytes, Status> {
        let id = self.sandbox_named(&request.pod_sandbox_id);
        let mut table = self.table();
        let sandbox = table.sandboxes.get_mut(&id.0).ok_or_else(|| not_found("sandbox", &request.pod_sandbox_id))?;
        let linux = sandbox.config.linux.get_or_insert_default();
        linux.overhead = request.overhead.or(linux.overhead.take());
        linux.resources = request.resources.or(linux.resources.take());
        Ok(empty())
    }

    // Containers.

    async fn create_container(&self, request: proto::CreateContainerRequest) -> Result<Bytes, Status> {
        let config = request.config.ok_or_else(|| Status::invalid_argument("a container needs a configuration"))?;
        let metadata = config.metadata.clone().unwrap_or_default();
        if metadata.name.is_empty() {
            return Err(Status::invalid_argument("a container needs metadata with a name"));
        }
        let spec = config.image.clone().unwrap_or_default();
        if spec.image.is_empty() {
            return Err(Status::invalid_argument("a container needs an image"));
        }
        let sandbox = self.sandbox_named(&request.pod_sandbox_id);
        if sandbox.0 == 0 {
            return Err(not_found("sandbox", &request.pod_sandbox_id));
        }
        let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        if security.is_some_and(|security| {
            security.run_as_group.is_some() && security.run_as_user.is_none() && security.run_as_username.is_empty()
        }) {
            return Err(Status::invalid_argument("run_as_group is set, but neither run_as_user nor run_as_username"));
        }
        for mount in config.mounts.iter().filter(|mount| mount.recursive_read_only) {
            if !mount.readonly || mount.propagation() != proto::MountPropagation::Private {
                let path = &mount.container_path;
                let text = format!("mount {path}: recursive_read_only needs readonly and private propagation");
                return Err(Status::invalid_argument(text));
            }
        }
        let Some(super::images::Found { image, name, known }) = self.image_named(&spec.image).await? else {
            return Err(Status::not_found(format!(r#"failed to resolve image "{}": not found"#, spec.image)));
        };
        let mut config = config;
        self.check_image_mounts(&mut config).await?;
        let (user, user_name) = answers::user(&config, &known, &image);
        let folder = self.table().sandboxes.get(&sandbox.0).map(|kept| kept.config.log_directory.clone());
        let folder = folder.filter(|folder| !folder.is_empty() && !config.log_path.is_empty());
        let linux = config.linux.clone().unwrap_or_default();
        let understood = super::shell::is_understood(&main_of(&config));
        let asked = answers::container_config(&config, &name, understood);
        let call = Call::CreateContainer { sandbox, config: Arc::new(asked) };
        let mut container = table::Container {
            sandbox: sandbox.0,
            image_ref: image.repo_digests.first().unwrap_or(&image.id).clone(),
            image_id: image.id,
            image_tag: image.repo_tags.first().cloned(),
            user,
            known,
            understood,
            world: None,
            resources: linux.resources.unwrap_or_default(),
            log: folder.map(|folder| Log::new(PathBuf::from(folder).join(&config.log_path))),
            config,
        };
        let key = (sandbox.0, metadata.name, metadata.attempt);
        self.table().coming_containers.entry(key.clone()).or_insert_with(|| container.clone());
        let answer = self.ask(call).await;
        self.table().coming_containers.remove(&key);
        match answer? {
            Answer::Container(id) => {
                let pod = self.table().sandboxes.get(&sandbox.0).cloned().unwrap_or_default().config;
                let ip = self.ready_address(&hex(sandbox.0)).await.map(|ip| ip.to_string()).unwrap_or_default();
                let parts = Parts {
                    container: &container.config,
                    sandbox: &pod,
                    sandbox_id: &hex(sandbox.0),
                    ip: &ip,
                    image: &container.known,
                    user: &container.user,
                    user_name: &user_name,
                    pid: pid_of(id.0, pid_mode(&container.config)),
                };
                let mut world = worlds::world(&parts);
                self.may_end(&mut world, &pod, &container.config.metadata.clone().unwrap_or_default().name);
                container.world = Some(Arc::new(world));
                let mut table = self.table();
                table.containers.insert(id.0, container);
                Ok(encode(&proto::CreateContainerResponse { container_id: hex(id.0) }))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Mounted images must be there and read-only; their ids are filled in.
    async fn check_image_mounts(&self, config: &mut proto::ContainerConfig) -> Result<(), Status> {
        for mount in &mut config.mounts {
            let Some(spec) = &mut mount.image else { continue };
            if spec.image.is_empty() {
                mount.image = None;
                continue;
            }
            if !mount.readonly {
                let text = format!("mount {}: an image can only be mounted read-only", mount.container_path);
                return Err(Status::invalid_argument(text));
            }
            let Some(found) = self.image_named(&spec.image).await? else {
                return Err(Status::not_found(format!(r#"failed to resolve image "{}": not found"#, spec.image)));
            };
            spec.image_ref = found.image.id;
            if worlds::image_mount_files(mount, &found.known).is_none() {
                let text = format!("the image has no folder {:?} to be mounted", mount.image_sub_path);
                return Err(Status::invalid_argument(text));
            }
        }
        Ok(())
    }

    async fn start_container(self: &Arc<Server>, request: proto::ContainerRequest) -> Result<Bytes, Status> {
        let id = self.container_named(&request.container_id);
        let kept = self.table().containers.get(&id.0).cloned();
        let Some(kept) = kept else { return Err(not_found("container", &request.container_id)) };
        if let Some(log) = &kept.log {
            // Opened before, so that nothing that is written is lost.
            log.open().map_err(|error| {
                Status::unknown(format!("failed to create container log {}: {error}", log.path().display()))
            })?;
        }
        self.ask(Call::StartContainer(id)).await?;
        self.launch(id, &kept);
        Ok(empty())
    }

    async fn stop_container(&self, request: proto::StopContainerRequest) -> Result<Bytes, Status> {
        let container = self.container_named(&request.container_id);
        if container.0 == 0 {
            return Ok(empty());
        }
        match self.ask(Call::StopContainer { container, timeout: seconds(request.timeout) }).await {
            // What is not there has stopped.
            Err(status) if status.code() == tonic::Code::NotFound => Ok(empty()),
            answer => answer.map(|_| empty()),
        }
    }

    async fn remove_container(&self, request: proto::ContainerRequest) -> Result<Bytes, Status> {
        let id = self.container_named(&request.container_id);
        self.ask(Call::RemoveContainer(id)).await?;
        self.table().containers.remove(&id.0);
        Ok(empty())
    }

    pub(super) async fn list_containers(
        &self,
        request: proto::ListContainersRequest,
    ) -> Result<proto::ListContainersResponse, Status> {
        let filter = request.filter.unwrap_or_default();
        let found = match self.ask(Call::ListContainers { pod: None }).await? {
            Answer::Containers(found) => found,
            other => return Err(unexpected(&other)),
        };
        let mut table = self.table();
        let all = found.iter().map(|summary| {
            let kept = table.container(summary);
            answers::container(summary, kept, self.epoch)
        });
        let wanted = all.filter(|container| {
            container.metadata.is_some()
                && container.id.starts_with(&filter.id)
                && container.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
                && filter.state.as_ref().is_none_or(|state| state.state == container.state)
                && matches(&filter.label_selector, &container.labels)
        });
        Ok(proto::ListContainersResponse { containers: wanted.collect() })
    }

    async fn container_status(&self, request: proto::ContainerStatusRequest) -> Result<Bytes, Status> {
        let id = self.container_named(&request.container_id);
        if id.0 == 0 {
            return Err(not_found("container", &request.container_id));
        }
        let status = self.container_status_of(id).await?;
        let info = || {
            let kept = self.table().containers.get(&id.0).cloned().unwrap_or_default();
            let command: Vec<&String> = kept.config.command.iter().chain(&kept.config.args).collect();
            let sandbox = hex(kept.sandbox);
            serde_json::json!({ "simulated": true, "sandboxID": sandbox, "pid": 0, "command": command }).to_string()
        };
        Ok(encode(&proto::ContainerStatusResponse {
            status: Some(status),
            info: if request.verbose { Map::from([("info".to_owned(), info())]) } else { Map::new() },
        }))
    }

    pub(super) async fn container_status_of(&self, id: ContainerId) -> Result<proto::ContainerStatus, Status> {
        match self.ask(Call::ContainerStatus(id)).await? {
            Answer::ContainerStatus(status) => {
                let mut table = self.table();
                let kept = table.container(&status.summary);
                Ok(answers::container_status(&status, kept, self.epoch))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// A container that goes away in between is left out.
    async fn container_statuses_of(&self, pod: crate::model::Uid) -> Result<Vec<proto::ContainerStatus>, Status> {
        let found = match self.ask(Call::ListContainers { pod: Some(pod) }).await? {
            Answer::Containers(found) => found,
            other => return Err(unexpected(&other)),
        };
        let mut statuses = Vec::with_capacity(found.len());
        for summary in found {
            statuses.extend(self.container_status_of(summary.id).await.ok());
        }
        Ok(statuses)
    }

    async fn update_container_resources(
        &self,
        request: proto::UpdateContainerResourcesRequest,
    ) -> Result<Bytes, Status> {
        let container = self.container_named(&request.container_id);
        let kept = self.table().containers.get(&container.0).map(|kept| kept.resources.clone());
        let Some(before) = kept else { return Err(not_found("container", &request.container_id)) };
        let wanted = merged(before, request.linux.unwrap_or_default());
        self.ask(Call::UpdateContainerResources { container, resources: resources_in(&wanted) }).await?;
        if let Some(kept) = self.table().containers.get_mut(&container.0) {
            kept.resources = wanted;
        }
        Ok(empty())
    }

    async fn reopen_container_log(&self, request: proto::ContainerRequest) -> Result<Bytes, Status> {
        let id = self.container_named(&request.container_id);
        let kept = self.table().containers.get(&id.0).cloned();
        let Some(kept) = kept else { return Err(not_found("container", &request.container_id)) };
        if self.state_of(id).await != Some(cri::ContainerState::Running) {
            return Err(Status::unknown("container is not running"));
        }
        if let Some(log) = kept.log {
            log.open()
                .map_err(|error| Status::unknown(format!("failed to reopen {}: {error}", log.path().display())))?;
        }
        Ok(empty())
    }

    // Events.

    fn container_events(self: &Arc<Server>) -> Result<Items, Status> {
        if !self.has_events {
            return Err(Status::unimplemented("this runtime sends no events of containers"));
        }
        let (sender, items) = mpsc::channel(64);
        let mut events = self.events.subscribe();
        let server = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = sender.closed() => return,
                };
                match event {
                    Ok(event) => {
                        let Some(message) = server.event_message(&event).await else { continue };
                        if sender.send(Ok(encode(&message))).await.is_err() {
                            return;
                        }
                    }
                    // Who reads too slowly relists, as with a real runtime.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        Ok(items)
    }

    async fn event_message(&self, event: &cri::ContainerEvent) -> Option<proto::ContainerEventResponse> {
        let kind = match event.kind {
            cri::ContainerEventType::Created => proto::ContainerEventType::Created,
            cri::ContainerEventType::Started => proto::ContainerEventType::Started,
            cri::ContainerEventType::Stopped => proto::ContainerEventType::Stopped,
            cri::ContainerEventType::Deleted => proto::ContainerEventType::Deleted,
        };
        let newest = match self.ask(Call::ListPodSandbox { pod: Some(event.pod) }).await {
            Ok(Answer::Sandboxes(found)) => found.last().map(|summary| {
                self.table().sandbox(summary);
                summary.id.0
            }),
            _ => None,
        };
        let sandbox = newest.or_else(|| self.table().newest.get(&event.pod).copied())?;
        let status = self.sandbox_status_of(SandboxId(sandbox), "").await.ok().map(|(status, _)| status);
        let containers_statuses = self.container_statuses_of(event.pod).await.unwrap_or_default();
        Some(proto::ContainerEventResponse {
            container_id: hex(event.container.map_or(sandbox, |container| container.0)),
            container_event_type: kind.into(),
            created_at: self.epoch.nanos(event.created_at),
            pod_sandbox_status: status,
            containers_statuses,
        })
    }
}

/// Who manages cgroups on this machine: the kubelet follows its runtime, and would not start with systemd's driver where
/// there is none.
fn cgroup_driver() -> proto::CgroupDriver {
    let has_systemd = std::path::Path::new("/run/systemd/system").is_dir();
    if has_systemd { proto::CgroupDriver::Systemd } else { proto::CgroupDriver::Cgroupfs }
}

/// A user namespace is the pod's own with one range that begins at 0, or the machine's.
fn check_user_namespace(namespaces: &proto::NamespaceOption) -> Result<(), Status> {
    use proto::NamespaceMode::{Node, Pod};
    let Some(options) = &namespaces.userns_options else { return Ok(()) };
    let is_well_formed = |ranges: &[proto::IdMapping]| matches!(ranges, [only] if only.container_id == 0);
    match options.mode() {
        Node => Ok(()),
        Pod if is_well_formed(&options.uids) && options.uids == options.gids => Ok(()),
        Pod => Err(Status::invalid_argument(
            "a user namespace needs one range of ids, the same for users and groups, from 0",
        )),
        mode => Err(Status::invalid_argument(format!("user namespace mode {mode:?} is not supported"))),
    }
}

/// Only what is said changes.
fn merged(
    before: proto::LinuxContainerResources,
    wanted: proto::LinuxContainerResources,
) -> proto::LinuxContainerResources {
    let number = |before: i64, wanted: i64| if wanted == 0 { before } else { wanted };
    let text = |before: String, wanted: String| if wanted.is_empty() { before } else { wanted };
    let mut unified = before.unified;
    unified.extend(wanted.unified);
    proto::LinuxContainerResources {
        cpu_period: number(before.cpu_period, wanted.cpu_period),
        cpu_quota: number(before.cpu_quota, wanted.cpu_quota),
        cpu_shares: number(before.cpu_shares, wanted.cpu_shares),
        memory_limit_in_bytes: number(before.memory_limit_in_bytes, wanted.memory_limit_in_bytes),
        oom_score_adj: number(before.oom_score_adj, wanted.oom_score_adj),
        cpuset_cpus: text(before.cpuset_cpus, wanted.cpuset_cpus),
        cpuset_mems: text(before.cpuset_mems, wanted.cpuset_mems),
        hugepage_limits: if wanted.hugepage_limits.is_empty() {
            before.hugepage_limits
        } else {
            wanted.hugepage_limits
        },
        unified,
        memory_swap_limit_in_bytes: number(before.memory_swap_limit_in_bytes, wanted.memory_swap_limit_in_bytes),
    }
}

pub(super) fn not_found(what: &str, id: &str) -> Status {
    Status::not_found(format!(r#"an error occurred when try to find {what} "{id}": not found"#))
}

/// Nothing below zero.
fn seconds(seconds: i64) -> Duration {
    // The longest that nanoseconds can say.
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(u64::MAX / 1_000_000_000))
}

/// Now, in nanoseconds since 1970.
pub(super) fn now_nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
