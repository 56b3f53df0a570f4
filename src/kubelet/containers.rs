//! The start of one container: its image, its configuration, CreateContainer, StartContainer, its postStart hook.
//!
//! Kubernetes: startContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go. What the configuration says stands in
//! `container_config.rs`, the environment in `environment.rs`.

use std::sync::Arc;

use crate::kernel::Time;
use crate::model::pod::Handler;
use crate::model::{Container, ContainerState, EventType, Kind, Object, PodStatus, Text, Uid};
use crate::protocol::api::{self, StatusReason};
use crate::protocol::cri::{Answer, Call, ContainerConfig, ContainerId, Error};
use crate::protocol::probe::{Outcome as ProbeOutcome, Purpose};
use crate::protocol::volume::Request;
use crate::trace::{Stage, StageEdge};

use super::calls::{ApiOwner, CriOwner, ProbeOwner};
use super::env_file::EnvFile;
use super::environment::{Environment, Facts};
use super::kill::KillTarget;
use super::pod_actions::ContainerRef;
use super::runtime_status::RuntimeStatus;
use super::static_pods::is_static;
use super::sync_pod::{Step, Sync};
use super::{Fx, In, Kubelet, Out, Timer, images};

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
    /// Its `/etc/hosts` and the like are put in place, where that matters.
    Files(Arc<ContainerConfig>),
    Create,
    Start(ContainerId),
    /// The hook runs, since then.
    PostStart(ContainerId, Time),
    /// The hook failed with this message, and the container is killed.
    HookFailed(Text),
}

impl Kubelet {
    /// The image is there: on with the container's configuration.
    pub(super) fn image_is_there(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let name = container.name;
        let mut environment = Box::new(Environment::wanted(&entry.pod, container));
        let files = environment.want_files(&entry.pod, container, &self.config);
        self.stage(uid, name, Stage::Pull, StageEdge::End, fx);
        if let Err(message) = files {
            return self.config_failed(uid, sync, one, message, fx);
        }
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
        if let Some(file) = environment.files_wanted.last() {
            let path = file.host_path;
            self.put_sync(uid, sync);
            return fx.send(Out::Volume(Box::new(Request::Read { pod: uid, path })));
        }
        let mut environment = std::mem::take(environment);
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let services = self.service_variables(&entry.pod, is_static(&entry.pod));
        let services = services.and_then(|services| environment.check(&entry.pod, container).map(|()| services));
        match services {
            Ok(services) => environment.services = services,
            Err(message) => return self.config_failed(uid, sync, one, message, fx),
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

    /// The machine has read a file of variables.
    pub(super) fn environment_read(&mut self, uid: Uid, content: Option<Text>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        let one = sync.actions.start.get(sync.start).copied();
        let (Some(one), Step::Start(StartStep::Environment(environment))) = (one, &mut sync.step) else {
            return self.put_sync(uid, sync);
        };
        if let Some(file) = environment.files_wanted.pop() {
            environment.files.push(EnvFile { content, ..file });
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
        let target = match container.target {
            name if name.is_empty() => None,
            name => match sync.runtime.newest(name) {
                Some(found) => Some(found.summary.id),
                None => {
                    let message = format!("unable to find target container {name}");
                    return self.config_failed(uid, sync, one, message.into(), fx);
                }
            },
        };
        let Some(sandbox) = sync.sandbox else {
            return self.start_failed(uid, sync, "CreateContainerError", Text::default(), fx);
        };
        let shown = &entry.status.status;
        let ip = self.pleg.cached(uid).and_then(|runtime| runtime.ip()).or(shown.pod_ip);
        let facts = Facts { pod: &pod, pod_ip: ip, config: &self.config };
        let config = match facts.container_config(container, attempt, &environment, target) {
            Ok(config) => Arc::new(config),
            Err(message) => return self.config_failed(uid, sync, one, message, fx),
        };
        self.image_used(config.image, fx.now());
        self.resized(uid, one);
        self.stage(uid, container.name, Stage::Create, StageEdge::Begin, fx);
        if let Some(host) = self.config.host.clone() {
            let facts = Facts { pod: &pod, pod_ip: ip, config: &self.config };
            let files = facts.container_files(&host, container, &config);
            sync.step = Step::Start(StartStep::Files(config));
            self.put_sync(uid, sync);
            return fx.send(Out::Volume(Box::new(Request::PlaceFiles { pod: uid, files })));
        }
        sync.step = Step::Start(StartStep::Create);
        self.put_sync(uid, sync);
        self.calls.cri(CriOwner::Worker(uid), Call::CreateContainer { sandbox, config }, fx);
    }

    /// The container's files are in place, or why they aren't.
    pub(super) fn files_placed(&mut self, uid: Uid, failed: Option<Text>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        let one = sync.actions.start.get(sync.start).copied();
        let (Some(one), Some(sandbox), Step::Start(StartStep::Files(config))) = (one, sync.sandbox, &sync.step) else {
            return self.put_sync(uid, sync);
        };
        if let Some(message) = failed {
            let name = config.name;
            self.stage(uid, name, Stage::Create, StageEdge::Failed(message.clone()), fx);
            return self.config_failed(uid, sync, one, message, fx);
        }
        let config = config.clone();
        sync.step = Step::Start(StartStep::Create);
        self.put_sync(uid, sync);
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
        if let ProbeOutcome::Warning(text) = &outcome {
            self.pod_event(&pod, Some(one), EventType::Warning, "LifecycleHTTPFallback", text.clone(), fx);
        }
        let text = match outcome {
            ProbeOutcome::Success | ProbeOutcome::Warning(_) => {
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
    let mut all = shown.init_containers.iter().chain(&shown.containers).chain(&shown.ephemeral_containers);
    match all.find(|status| status.name == container.name) {
        Some(status) if matches!(status.state, ContainerState::Terminated(_)) && status.container_id != 0 => {
            status.restart_count + 1
        }
        Some(status) => status.restart_count,
        None => 0,
    }
}
