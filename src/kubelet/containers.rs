//! The start of one container: its image, its configuration, CreateContainer, StartContainer, its postStart hook.
//!
//! Kubernetes: startContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go, generatePodSandboxConfig in
//! kuberuntime_sandbox.go, makeEnvironmentVariables in pkg/kubelet/kubelet_pods.go.

use std::sync::Arc;

use crate::kernel::Time;
use crate::model::config::ConfigData;
use crate::model::pod::{ConfigSource, EnvValue, Handler, RestartPolicy};
use crate::model::pod_resources::QosClass;
use crate::model::{Container, ContainerState, EventType, Key, Kind, Labels, Name, Object, Pod, PodStatus, Text, Uid};
use crate::protocol::api::{self, StatusReason};
use crate::protocol::cri::{
    Answer, CONTAINER_TYPE, Call, ContainerConfig, ContainerId, Error, LinuxResources, Mount, PodSandboxConfig,
    RESTART_POLICY,
};
use crate::protocol::probe::{Outcome as ProbeOutcome, Purpose};
use crate::trace::{Stage, StageEdge};

use super::calls::{ApiOwner, CriOwner, ProbeOwner};
use super::kill::KillTarget;
use super::pod_actions::{ContainerRef, HASH_ANNOTATION, container_hash};
use super::runtime_status::RuntimeStatus;
use super::sync_pod::{Step, Sync};
use super::{Fx, In, Kubelet, Timer, images};

/// Where the start of a container stands.
#[derive(Debug)]
pub enum StartStep {
    /// ImageStatus: is the image there?
    InspectImage,
    Pull,
    /// What the environment refers to is read.
    Environment(Box<Environment>),
    /// ImageStatus: the image's user.
    ImageUser(Box<Environment>),
    Create,
    Start(ContainerId),
    /// The hook runs, since then.
    PostStart(ContainerId, Time),
    /// The hook failed with this message, and the container is killed.
    HookFailed(Text),
}

/// ConfigMaps and Secrets that a container's environment refers to.
#[derive(Debug, Default)]
pub struct Environment {
    /// Not read yet, the last first; true: may be missing.
    wanted: Vec<(Key, bool)>,
    found: Vec<(Key, Arc<ConfigData>)>,
}

impl Kubelet {
    /// The image is there: on with the container's configuration.
    pub(super) fn image_is_there(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let name = container.name;
        let environment = Box::new(Environment::wanted(&entry.pod, container));
        self.stage(uid, name, Stage::Pull, StageEdge::End, fx);
        sync.step = Step::Start(StartStep::Environment(environment));
        self.environment_on(uid, sync, one, fx);
    }

    fn environment_on(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let Step::Start(StartStep::Environment(environment)) = &mut sync.step else { return };
        if let Some((key, _)) = environment.wanted.last() {
            let key = *key;
            self.put_sync(uid, sync);
            return self.calls.api(ApiOwner::Environment(uid), api::Call::Get(key), fx);
        }
        let environment = std::mem::take(environment);
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        if let Err(message) = check_environment(&entry.pod, container, &environment) {
            return self.config_failed(uid, sync, one, message, fx);
        }
        let image = images::with_default_tag(container.image);
        sync.step = Step::Start(StartStep::ImageUser(environment));
        self.put_sync(uid, sync);
        self.calls.cri(CriOwner::Worker(uid), Call::ImageStatus { image }, fx);
    }

    /// The API server answered about a ConfigMap or Secret of the environment.
    pub(super) fn environment_answered(&mut self, uid: Uid, result: Result<api::Answer, api::Status>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        let Some(one) = sync.actions.start.get(sync.start).copied() else { return self.put_sync(uid, sync) };
        let Step::Start(StartStep::Environment(environment)) = &mut sync.step else { return self.put_sync(uid, sync) };
        let Some((key, optional)) = environment.wanted.pop() else { return self.put_sync(uid, sync) };
        match result {
            Ok(api::Answer::Object(Object::ConfigMap(data) | Object::Secret(data))) => {
                environment.found.push((key, data));
            }
            Err(error) if error.reason == StatusReason::NotFound && optional => {}
            Err(error) if error.reason == StatusReason::NotFound => {
                let kind = if key.kind == Kind::Secret { "secret" } else { "configmap" };
                let message = format!("{kind} \"{}\" not found", key.name).into();
                return self.config_failed(uid, sync, one, message, fx);
            }
            Err(_) | Ok(_) => {
                let kind = if key.kind == Kind::Secret { "secret" } else { "configmap" };
                let message = format!("failed to sync {kind} cache: timed out waiting for the condition").into();
                return self.config_failed(uid, sync, one, message, fx);
            }
        }
        self.environment_on(uid, sync, one, fx);
    }

    fn config_failed(&mut self, uid: Uid, sync: Box<Sync>, one: ContainerRef, message: Text, fx: &mut Fx) {
        self.start_error(uid, one, &message, fx);
        self.start_failed(uid, sync, "CreateContainerConfigError", message, fx);
    }

    /// Warning `Failed`, `Error: …`.
    pub(super) fn start_error(&mut self, uid: Uid, one: ContainerRef, message: &str, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let message = Text::from(format!("Error: {message}"));
        self.pod_event(&pod, Some(one), EventType::Warning, "Failed", message, fx);
    }

    /// The runtime answered a call of a container's start.
    pub(super) fn start_answered(&mut self, uid: Uid, mut sync: Box<Sync>, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(one) = sync.actions.start.get(sync.start).copied() else { return self.put_sync(uid, sync) };
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else { return };
        let name = container.name;
        let Step::Start(step) = &mut sync.step else { return self.put_sync(uid, sync) };
        match (step, result) {
            (StartStep::InspectImage, result) => self.image_inspected(uid, sync, one, result, fx),
            (StartStep::ImageUser(environment), Ok(Answer::ImageStatus(image))) => {
                let environment = std::mem::take(environment);
                self.create_container(uid, sync, one, image.and_then(|image| image.user), environment, fx);
            }
            (StartStep::ImageUser(_), result) => {
                let message = result.err().map(|error| error.to_string()).unwrap_or_default();
                self.config_failed(uid, sync, one, message.into(), fx);
            }
            (StartStep::Create, Ok(Answer::Container(id))) => {
                sync.step = Step::Start(StartStep::Start(id));
                self.put_sync(uid, sync);
                self.stage(uid, name, Stage::Create, StageEdge::End, fx);
                self.pod_event(&pod, Some(one), EventType::Normal, "Created", Text::new("Container created"), fx);
                self.stage(uid, name, Stage::Start, StageEdge::Begin, fx);
                self.calls.cri(CriOwner::Worker(uid), Call::StartContainer(id), fx);
            }
            (StartStep::Create, result) => {
                let message = result.err().map(|error| error.message).unwrap_or_default();
                self.stage(uid, name, Stage::Create, StageEdge::Failed(message.clone()), fx);
                self.start_error(uid, one, &message, fx);
                self.start_failed(uid, sync, "CreateContainerError", message, fx);
            }
            (StartStep::Start(id), Ok(_)) => {
                let id = *id;
                self.stage(uid, name, Stage::Start, StageEdge::End, fx);
                self.pod_event(&pod, Some(one), EventType::Normal, "Started", Text::new("Container started"), fx);
                self.post_start(uid, sync, one, id, fx);
            }
            (StartStep::Start(_), Err(error)) => {
                let message = error.message;
                self.stage(uid, name, Stage::Start, StageEdge::Failed(message.clone()), fx);
                self.start_error(uid, one, &message, fx);
                self.start_failed(uid, sync, "RunContainerError", message, fx);
            }
            _ => self.put_sync(uid, sync),
        }
    }

    fn create_container(
        &mut self,
        uid: Uid,
        mut sync: Box<Sync>,
        one: ContainerRef,
        image_user: Option<i64>,
        environment: Box<Environment>,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else { return };
        let attempt = attempt(container, &sync.runtime, &entry.status.status);
        let user = container.security.run_as_user.or(pod.spec.security.run_as_user);
        let non_root = container.security.run_as_non_root.or(pod.spec.security.run_as_non_root) == Some(true);
        if non_root && user.or(image_user).unwrap_or(0) == 0 {
            let what = if user == Some(0) {
                "container's runAsUser breaks non-root policy"
            } else {
                "container has runAsNonRoot and image will run as root"
            };
            let full = format!("{}_{}({uid})", pod.meta.name, pod.meta.namespace);
            let message = format!("{what} (pod: \"{full}\", container: {})", container.name);
            return self.config_failed(uid, sync, one, message.into(), fx);
        }
        let Some(sandbox) = sync.sandbox else {
            return self.start_failed(uid, sync, "CreateContainerError", Text::default(), fx);
        };
        let shown = &entry.status.status;
        let ip = self.pleg.cached(uid).and_then(|runtime| runtime.ip()).or(shown.pod_ip);
        let facts = Facts { pod: &pod, environment: &environment, pod_ip: ip, config: &self.config };
        let config = Arc::new(facts.container_config(container, attempt));
        sync.step = Step::Start(StartStep::Create);
        self.put_sync(uid, sync);
        self.stage(uid, container.name, Stage::Create, StageEdge::Begin, fx);
        self.calls.cri(CriOwner::Worker(uid), Call::CreateContainer { sandbox, config }, fx);
    }

    fn post_start(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, id: ContainerId, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let name = container.name;
        let Some(hook) = container.post_start.clone() else { return self.start_succeeded(uid, sync, fx) };
        sync.step = Step::Start(StartStep::PostStart(id, fx.now()));
        self.put_sync(uid, sync);
        self.stage(uid, name, Stage::PostStart, StageEdge::Begin, fx);
        match *hook {
            Handler::Sleep(length) => fx.wake_after(length, In::Timer(Timer::PostStart { pod: uid })),
            _ => self.ask_hook(uid, one, id, Purpose::PostStart, ProbeOwner::PostStart(uid), fx),
        }
    }

    /// The postStart hook has ended.
    pub(super) fn post_start_answered(&mut self, uid: Uid, outcome: ProbeOutcome, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        let one = sync.actions.start.get(sync.start).copied();
        let (Some(one), Step::Start(StartStep::PostStart(id, _))) = (one, &sync.step) else {
            return self.put_sync(uid, sync);
        };
        let id = *id;
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else { return };
        let text = match outcome {
            ProbeOutcome::Success => {
                self.stage(uid, container.name, Stage::PostStart, StageEdge::End, fx);
                return self.start_succeeded(uid, sync, fx);
            }
            ProbeOutcome::Failure(text) | ProbeOutcome::Error(text) => text,
        };
        let full = format!("{}_{}({uid})", pod.meta.name, pod.meta.namespace);
        let hook = container.post_start.as_deref().map(hook_text).unwrap_or_default();
        let message = Text::from(format!(
            "{hook} for Container \"{}\" in Pod \"{full}\" failed - error: {text}, message: \"\"",
            container.name
        ));
        self.stage(uid, container.name, Stage::PostStart, StageEdge::Failed(message.clone()), fx);
        let event = Text::new("PostStartHook failed");
        self.pod_event(&pod, Some(one), EventType::Warning, "FailedPostStartHook", event, fx);
        sync.step = Step::Start(StartStep::HookFailed(message));
        self.put_sync(uid, sync);
        let event = Text::new("FailedPostStartHook");
        let target = KillTarget { id, name: container.name, container: Some(one), message: event, probe: None };
        self.kill(uid, vec![target], None, false, Vec::new(), fx);
    }

    /// A postStart hook that sleeps has slept enough.
    pub(super) fn post_start_tick(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(super::pod_worker::Task::Sync(sync)) = &entry.worker.task else { return };
        let Step::Start(StartStep::PostStart(_, since)) = sync.step else { return };
        let one = sync.actions.start.get(sync.start).and_then(|one| one.of(&entry.pod.spec));
        if let Some(Handler::Sleep(length)) = one.and_then(|container| container.post_start.as_deref())
            && fx.now() >= since + *length
        {
            self.post_start_answered(uid, ProbeOutcome::Success, fx);
        }
    }

    /// The container whose hook failed is dead.
    pub(super) fn hook_kill_done(&mut self, uid: Uid, sync: Box<Sync>, fx: &mut Fx) {
        let Step::Start(StartStep::HookFailed(message)) = &sync.step else { return self.put_sync(uid, sync) };
        let message = message.clone();
        self.start_failed(uid, sync, "PostStartHookError", message, fx);
    }
}

/// A hook as the kubelet's errors begin.
fn hook_text(hook: &Handler) -> String {
    match hook {
        Handler::Exec { command } => {
            let words: Vec<&str> = command.iter().map(|word| word.as_str()).collect();
            format!("Exec lifecycle hook ([{}])", words.join(" "))
        }
        Handler::HttpGet { path, .. } => format!("HTTP lifecycle hook ({path})"),
        _ => "Lifecycle hook".to_owned(),
    }
}

/// Which run of the container this will be: `restartCount`.
fn attempt(container: &Container, runtime: &RuntimeStatus, shown: &PodStatus) -> u32 {
    if let Some(newest) = runtime.newest(container.name) {
        return newest.summary.attempt + 1;
    }
    // The runtime has forgotten it; Kubernetes counts its log files.
    let mut all = shown.init_containers.iter().chain(&shown.containers);
    match all.find(|status| status.name == container.name) {
        Some(status) if matches!(status.state, ContainerState::Terminated(_)) && status.container_id != 0 => {
            status.restart_count + 1
        }
        Some(status) => status.restart_count,
        None => 0,
    }
}

impl Environment {
    fn wanted(pod: &Pod, container: &Container) -> Environment {
        let mut wanted: Vec<(Key, bool)> = Vec::new();
        let mut want = |kind, name: Name, optional| {
            let key = Key { kind, namespace: pod.meta.namespace, name };
            match wanted.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known &= optional,
                None => wanted.push((key, optional)),
            }
        };
        for from in &container.env_from {
            match from.from {
                ConfigSource::ConfigMap(name) => want(Kind::ConfigMap, name, from.optional),
                ConfigSource::Secret(name) => want(Kind::Secret, name, from.optional),
            }
        }
        for variable in &container.env {
            match &variable.value {
                EnvValue::ConfigMapKey { config_map, optional, .. } => want(Kind::ConfigMap, *config_map, *optional),
                EnvValue::SecretKey { secret, optional, .. } => want(Kind::Secret, *secret, *optional),
                _ => {}
            }
        }
        wanted.reverse();
        Environment { wanted, found: Vec::new() }
    }

    fn find(&self, kind: Kind, name: Name) -> Option<&ConfigData> {
        self.found.iter().find(|(key, _)| key.kind == kind && key.name == name).map(|(_, data)| &**data)
    }
}

/// Every key that a variable needs is there.
fn check_environment(pod: &Pod, container: &Container, environment: &Environment) -> Result<(), Text> {
    for variable in &container.env {
        let (kind, name, key, optional, text) = match &variable.value {
            EnvValue::ConfigMapKey { config_map, key, optional } => {
                (Kind::ConfigMap, *config_map, *key, *optional, "ConfigMap")
            }
            EnvValue::SecretKey { secret, key, optional } => (Kind::Secret, *secret, *key, *optional, "Secret"),
            _ => continue,
        };
        if !optional && environment.find(kind, name).is_some_and(|data| !data.has_key(key)) {
            let full = format!("{}/{name}", pod.meta.namespace);
            return Err(format!("couldn't find key {key} in {text} {full}").into());
        }
    }
    Ok(())
}

/// What a container's configuration is made from.
struct Facts<'a> {
    pod: &'a Pod,
    environment: &'a Environment,
    pod_ip: Option<std::net::Ipv4Addr>,
    config: &'a super::config::Config,
}

impl Facts<'_> {
    fn container_config(&self, container: &Container, attempt: u32) -> ContainerConfig {
        let log_path = match self.config.log_root {
            Some(_) => Name::from(format!("{}/{attempt}.log", container.name)),
            None => Name::default(),
        };
        ContainerConfig {
            name: container.name,
            attempt,
            image: images::with_default_tag(container.image),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir,
            envs: self.variables(container),
            mounts: container
                .volume_mounts
                .iter()
                .map(|mount| Mount {
                    container_path: mount.path,
                    host_path: mount.volume,
                    read_only: mount.read_only,
                    propagation: mount.propagation,
                })
                .collect(),
            log_path,
            resources: self.resources(container),
            run_as_user: container.security.run_as_user.or(self.pod.spec.security.run_as_user),
            privileged: container.security.privileged,
            read_only_root: container.security.read_only_root_filesystem,
            annotations: self.annotations(container),
            ..ContainerConfig::default()
        }
    }

    fn annotations(&self, container: &Container) -> Labels {
        let is_init = self.pod.spec.init_containers.iter().any(|init| init.name == container.name);
        let kind = match (is_init, container.is_sidecar()) {
            (true, true) => "sidecar",
            (true, false) => "init",
            (false, _) => "regular",
        };
        let policy = match container.restart_policy.unwrap_or(self.pod.spec.restart_policy) {
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never => "Never",
        };
        Labels::new([
            (Name::new(HASH_ANNOTATION), container_hash(container)),
            (Name::new(CONTAINER_TYPE), Name::new(kind)),
            (Name::new(RESTART_POLICY), Name::new(policy)),
        ])
    }

    fn variables(&self, container: &Container) -> Vec<(Name, Text)> {
        let mut made = Vec::with_capacity(container.env.len());
        for from in &container.env_from {
            let (kind, name) = match from.from {
                ConfigSource::ConfigMap(name) => (Kind::ConfigMap, name),
                ConfigSource::Secret(name) => (Kind::Secret, name),
            };
            for (key, value) in self.environment.find(kind, name).map(|data| &data.data[..]).unwrap_or_default() {
                let name = if from.prefix.is_empty() { *key } else { Name::from(format!("{}{key}", from.prefix)) };
                made.push((name, text(value)));
            }
        }
        for variable in &container.env {
            let value = match &variable.value {
                EnvValue::Literal(value) => Some(value.clone()),
                EnvValue::ConfigMapKey { config_map, key, .. } => self.value(Kind::ConfigMap, *config_map, *key),
                EnvValue::SecretKey { secret, key, .. } => self.value(Kind::Secret, *secret, *key),
                EnvValue::Field(path) => Some(self.field(path)),
                EnvValue::ResourceField { container: of, resource, .. } => {
                    Some(self.resource_field(container, *of, resource))
                }
            };
            made.extend(value.map(|value| (variable.name, value)));
        }
        made
    }

    fn value(&self, kind: Kind, name: Name, key: Name) -> Option<Text> {
        let data = self.environment.find(kind, name)?;
        data.data.iter().find(|(known, _)| *known == key).map(|(_, value)| text(value))
    }

    fn field(&self, path: &str) -> Text {
        let meta = &self.pod.meta;
        match path {
            "metadata.name" => meta.name.as_str().into(),
            "metadata.namespace" => meta.namespace.as_str().into(),
            "metadata.uid" => meta.uid.to_string().into(),
            "spec.nodeName" => self.config.name().as_str().into(),
            "spec.serviceAccountName" => self.pod.spec.service_account.as_str().into(),
            "status.hostIP" | "status.hostIPs" => self.config.node_ip.to_string().into(),
            "status.podIP" | "status.podIPs" => self.pod_ip.map(|ip| ip.to_string()).unwrap_or_default().into(),
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

    fn resource_field(&self, own: &Container, of: Name, resource: &str) -> Text {
        let spec = &self.pod.spec;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter());
        let container = if of.is_empty() { Some(own) } else { all.find(|one| one.name == of) };
        let Some(container) = container else { return Text::default() };
        let (limits, requests) = (&container.resources.limits, &container.resources.requests);
        let allocatable = self.config.allocatable();
        let cores = |millis: i64| (millis + 999).div_euclid(1000);
        let value = match resource {
            "limits.cpu" => cores(limits.cpu.unwrap_or(allocatable.cpu).0),
            "requests.cpu" => cores(requests.cpu.unwrap_or_default().0),
            "limits.memory" => limits.memory.unwrap_or(allocatable.memory).0,
            "requests.memory" => requests.memory.unwrap_or_default().0,
            "limits.ephemeral-storage" => limits.ephemeral_storage.unwrap_or(allocatable.ephemeral_storage).0,
            "requests.ephemeral-storage" => requests.ephemeral_storage.unwrap_or_default().0,
            _ => 0,
        };
        value.to_string().into()
    }

    /// Shares, quota, memory limit and OOM score (pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go).
    fn resources(&self, container: &Container) -> LinuxResources {
        let (limits, requests) = (&container.resources.limits, &container.resources.requests);
        let request = requests.cpu.or(limits.cpu).unwrap_or_default().0;
        let quota = limits.cpu.map_or(0, |limit| if limit.0 > 0 { (limit.0 * 100).max(1000) } else { 0 });
        let memory_request = requests.memory.or(limits.memory).unwrap_or_default().0;
        let capacity = self.config.node.status.capacity.memory.0.max(1);
        let oom_score_adj = match self.pod.spec.qos() {
            _ if self.pod.spec.priority >= super::admission::CRITICAL_PRIORITY => -997,
            QosClass::Guaranteed => -997,
            QosClass::BestEffort => 1000,
            QosClass::Burstable => {
                let share = (i128::from(memory_request) * 1000 / i128::from(capacity)) as i64;
                (1000 - share).clamp(3, 999)
            }
        };
        LinuxResources {
            cpu_period: 100_000,
            cpu_quota: quota,
            cpu_shares: if request == 0 { 2 } else { (request * 1024 / 1000).clamp(2, 262_144) },
            memory_limit_in_bytes: limits.memory.unwrap_or_default().0,
            oom_score_adj,
        }
    }
}

fn text(value: &[u8]) -> Text {
    String::from_utf8_lossy(value).into_owned().into()
}

/// The sandbox of a pod.
pub fn sandbox_config(pod: &Pod, attempt: u32, log_root: Option<Name>) -> PodSandboxConfig {
    let meta = &pod.meta;
    let class = match pod.spec.qos() {
        QosClass::Guaranteed => "/kubepods",
        QosClass::Burstable => "/kubepods/burstable",
        QosClass::BestEffort => "/kubepods/besteffort",
    };
    let (log_directory, cgroup_parent) = match log_root {
        Some(root) => (
            Name::from(format!("{root}/{}_{}_{}", meta.namespace, meta.name, meta.uid)),
            Name::from(format!("{class}/pod{}", meta.uid)),
        ),
        None => (Name::default(), Name::new(class)),
    };
    PodSandboxConfig {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        attempt,
        hostname: if pod.spec.hostname.is_empty() { meta.name } else { pod.spec.hostname },
        labels: meta.labels.clone(),
        annotations: meta.annotations.clone(),
        log_directory,
        cgroup_parent,
        host_network: pod.spec.host_network,
        runtime_handler: pod.spec.runtime_class,
        ..PodSandboxConfig::default()
    }
}
