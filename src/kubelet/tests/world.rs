//! A small world around one kubelet, for tests: a runtime with fixed latencies whose programs follow a script, and an API
//! server that stores pods. Everything that the kubelet says is logged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::kernel::{Cause, Duration, Effect, Effects, Moment, Streams, Time};
use crate::model::config::ConfigData;
use crate::model::pod::{PodSpec, RestartPolicy};
use crate::model::{
    Bytes, Container, ContainerState, ContainerStatus, Deletion, Key, Kind, Meta, MilliCpu, Name, Node, Object, Pod,
    PodStatus, Resources, Text, Uid, condition,
};
use crate::protocol::api::{self, Patch, Status, StatusReason, WatchEvent};
use crate::protocol::cri::{self, ContainerId, SandboxId, SandboxState};
use crate::protocol::probe::{self, Holds, Outcome, Purpose};
use crate::protocol::stats;

use super::super::{Config, In, Kubelet, Observe, Out, StartKind};

/// What the containers of one name do.
#[derive(Clone, Debug)]
pub struct Program {
    /// For each run how long it takes and its exit code; the last one goes for all later runs. Empty: for ever.
    pub runs: Vec<(u64, i32)>,
    /// Milliseconds from SIGTERM to the exit and the code; None ignores it.
    pub on_sigterm: Option<(u64, i32)>,
    /// For each kind of probe: from these milliseconds after the start on it succeeds or fails.
    pub probes: Vec<(Purpose, Vec<(u64, bool)>)>,
    /// Milliseconds that each hook takes.
    pub hook_millis: u64,
    pub hook_fails: bool,
}

impl Default for Program {
    fn default() -> Program {
        Program { runs: Vec::new(), on_sigterm: Some((0, 0)), probes: Vec::new(), hook_millis: 0, hook_fails: false }
    }
}

enum Event {
    Kubelet(In, Cause),
    Exit(ContainerId, i32),
    Act(Box<dyn FnOnce(&mut World)>),
}

pub struct World {
    pub now: Time,
    pub kubelet: Kubelet,
    pub config: Config,
    seed: u64,
    fx: Effects<In, Out, crate::trace::Record>,
    records: u32,
    queue: BTreeMap<(Time, u64), Event>,
    seq: u64,
    pub programs: BTreeMap<&'static str, Program>,
    /// Images that are there; others are pulled from `registry`.
    pub images: BTreeSet<Name>,
    /// For each image the milliseconds of a pull, or the error.
    pub registry: BTreeMap<&'static str, Result<u64, &'static str>>,
    sandboxes: BTreeMap<SandboxId, cri::SandboxStatus>,
    containers: BTreeMap<ContainerId, Run>,
    stops: Vec<(ContainerId, cri::CallId)>,
    next_id: u64,
    pub pods: BTreeMap<Uid, Arc<Pod>>,
    pub objects: BTreeMap<Key, Object>,
    /// What was said, with its time.
    pub log: Vec<(Time, String)>,
    /// Messages that the kubelet has heard.
    pub messages: u64,
    pub runtime_down: bool,
    pub api_down: bool,
    /// How long a list of sandboxes or containers takes.
    pub list_millis: u64,
    /// Bytes that running containers of these names use.
    pub memory: BTreeMap<&'static str, i64>,
    /// What is measured of the machine.
    pub measures: Option<fn(&World) -> stats::Summary>,
}

struct Run {
    status: cri::ContainerStatus,
}

const API_LATENCY: Duration = Duration::from_millis(2);

pub fn millis(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

/// A container that only has a name and the image `app:1`.
pub fn container(name: &'static str) -> Container {
    Container { name: Name::new(name), image: Name::new("app:1"), ..Container::default() }
}

/// A pod of these containers, bound to the node.
pub fn pod(name: &str, containers: Vec<Container>, change: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = PodSpec { containers: containers.into(), ..PodSpec::default() };
    change(&mut spec);
    let mut meta = Meta::named("default", name);
    meta.uid = Uid(name.bytes().fold(7, |uid, byte| uid * 31 + u64::from(byte)));
    Pod { meta, spec: Arc::new(spec), node: Some(Name::new("n1")), status: PodStatus::default() }
}

pub fn never(spec: &mut PodSpec) {
    spec.restart_policy = RestartPolicy::Never;
}

impl World {
    pub fn new() -> World {
        World::with(Observe::Sleeping, StartKind::WasRunning, 1)
    }

    pub fn with(observe: Observe, start: StartKind, seed: u64) -> World {
        let mut node = Node { meta: Meta::named("", "n1"), ..Node::default() };
        node.status.capacity =
            Resources { cpu: MilliCpu(4000), memory: Bytes(8 << 30), pods: 110, ..Resources::default() };
        let mut config = Config::new(node);
        (config.observe, config.start) = (observe, start);
        World::with_config(config, seed)
    }

    pub fn with_config(config: Config, seed: u64) -> World {
        let mut world = World {
            now: Time::ZERO,
            kubelet: Kubelet::new(config.clone(), &Streams::new(seed)),
            config,
            seed,
            fx: Effects::default(),
            records: 1,
            queue: BTreeMap::new(),
            seq: 0,
            programs: BTreeMap::new(),
            images: ["app:1"].into_iter().map(Name::new).collect(),
            registry: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            stops: Vec::new(),
            next_id: 0,
            pods: BTreeMap::new(),
            objects: BTreeMap::new(),
            log: Vec::new(),
            messages: 0,
            runtime_down: false,
            api_down: false,
            list_millis: 1,
            memory: BTreeMap::new(),
            measures: None,
        };
        world.tell(Duration::ZERO, In::Start);
        world
    }

    fn push(&mut self, at: Time, event: Event) {
        self.seq += 1;
        self.queue.insert((at, self.seq), event);
    }

    pub fn tell(&mut self, after: Duration, message: In) {
        let at = self.now + after;
        self.push(at, Event::Kubelet(message, Cause::NONE));
    }

    /// Does something at a moment.
    pub fn at(&mut self, at_millis: u64, act: impl FnOnce(&mut World) + 'static) {
        self.push(millis(at_millis), Event::Act(Box::new(act)));
    }

    /// The API server gets a pod.
    pub fn create(&mut self, mut pod: Pod) {
        pod.meta.created = self.now;
        let pod = Arc::new(pod);
        self.pods.insert(pod.meta.uid, pod.clone());
        self.watch(WatchEvent::Added(Object::Pod(pod)));
    }

    /// A user deletes a pod.
    pub fn delete(&mut self, name: &str, grace_secs: u64) {
        let Some(mut pod) = self.pods.values().find(|pod| pod.meta.name == name).cloned() else { return };
        if grace_secs == 0 {
            self.pods.remove(&pod.meta.uid);
            return self.watch(WatchEvent::Deleted(Object::Pod(pod)));
        }
        let grace = Duration::from_secs(grace_secs);
        Arc::make_mut(&mut pod).meta.deletion = Some(Deletion { at: self.now + grace, grace });
        self.pods.insert(pod.meta.uid, pod.clone());
        self.watch(WatchEvent::Modified(Object::Pod(pod)));
    }

    fn watch(&mut self, event: WatchEvent) {
        if !self.api_down {
            self.tell(API_LATENCY, In::Watch(Arc::new(event)));
        }
    }

    /// A user changes a pod.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let Some(mut pod) = self.pods.values().find(|pod| pod.meta.name == name).cloned() else { return };
        change(Arc::make_mut(&mut pod));
        self.pods.insert(pod.meta.uid, pod.clone());
        self.watch(WatchEvent::Modified(Object::Pod(pod)));
    }

    /// The memory that running containers of this name use together, if each uses so much.
    pub fn running(&self, name: &str) -> Vec<(Uid, ContainerId)> {
        let running = self.containers.values().map(|run| run.status.summary);
        running
            .filter(|one| one.state == cri::ContainerState::Running && one.name == *name)
            .map(|one| (one.pod, one.id))
            .collect()
    }

    /// The kubelet's process dies, and a new one starts now.
    pub fn restart_kubelet(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Kubelet(..)));
        self.config.start = StartKind::Restarts;
        self.kubelet = Kubelet::new(self.config.clone(), &Streams::new(self.seed + 100));
        self.tell(Duration::ZERO, In::Start);
    }

    /// The kubelet's process dies.
    pub fn stop_kubelet(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Kubelet(..)));
        self.kubelet = Kubelet::new(self.config.clone(), &Streams::new(self.seed + 200));
    }

    /// Runs until this moment.
    pub fn run(&mut self, until_millis: u64) {
        while let Some(first) = self.queue.first_entry() {
            if first.key().0 > millis(until_millis) {
                break;
            }
            let ((at, _), event) = first.remove_entry();
            self.now = at;
            match event {
                Event::Act(act) => act(self),
                Event::Exit(id, code) => self.exit(id, code),
                Event::Kubelet(message, cause) => self.handle(message, cause),
            }
        }
        self.now = millis(until_millis);
    }

    /// How many events are to come.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    fn handle(&mut self, message: In, cause: Cause) {
        self.messages += 1;
        assert!(self.messages < 2_000_000, "the kubelet never rests");
        let mut fx = std::mem::take(&mut self.fx);
        fx.begin(self.now, cause, self.records);
        self.kubelet.handle(message, &mut fx);
        self.records = fx.next_record();
        fx.drain_records().for_each(drop);
        let effects: Vec<_> = fx.drain_effects().collect();
        self.fx = fx;
        for (cause, effect) in effects {
            match effect {
                Effect::Send { message: Out::Stats(_), .. } => {
                    let measured = self.measures.map(|measure| measure(self));
                    self.tell(Duration::ZERO, In::Stats(Box::new(measured.unwrap_or_else(|| self.at_ease()))));
                }
                Effect::Send { message: Out::ShutDown, .. } => self.say("shut down".to_owned()),
                Effect::Wake { at, message } => self.push(at, Event::Kubelet(message, cause)),
                Effect::Send { message: Out::Cri(request), .. } => self.cri(*request),
                Effect::Send { message: Out::Api(request), .. } => self.api(*request),
                Effect::Send { message: Out::Probe(request), .. } => self.probe(*request),
                // No machine is known here: volumes have no files.
                Effect::Send { message: Out::Volume(request), .. } => panic!("{request:?}"),
            }
        }
    }

    /// A machine on which nothing is scarce.
    fn at_ease(&self) -> stats::Summary {
        let (few, many) = (stats::Line::constant(1000), 1_000_000);
        let nodefs = stats::FileSystem { capacity: 100 << 30, used: few, inodes: many, inodes_used: few };
        stats::Summary {
            at: self.now,
            memory_capacity: 16 << 30,
            memory: stats::Line::constant(1 << 30),
            nodefs,
            pid_limit: many,
            processes: few,
            ..stats::Summary::default()
        }
    }

    fn say(&mut self, text: String) {
        self.log.push((self.now, text));
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn event(&mut self, pod: Uid, container: Option<ContainerId>, kind: cri::ContainerEventType) {
        if !self.runtime_down {
            let event = cri::ContainerEvent { pod, container, kind, created_at: self.now };
            self.tell(Duration::ZERO, In::CriEvent(Box::new(event)));
        }
    }

    fn named(&self, id: ContainerId) -> String {
        let Some(run) = self.containers.get(&id) else { return "?".into() };
        let summary = &run.status.summary;
        let pod = self.sandboxes.get(&summary.sandbox).map(|sandbox| sandbox.summary.name).unwrap_or_default();
        format!("{pod}/{}#{}", summary.name, summary.attempt)
    }

    fn program(&self, name: Name) -> Program {
        self.programs.get(name.as_str()).cloned().unwrap_or_default()
    }

    fn cri(&mut self, request: cri::Request) {
        use cri::{Answer, Call};
        let id = request.id;
        let answer = move |world: &mut World, millis: u64, result| {
            let response = cri::Response { id, result };
            world.tell(Duration::from_millis(millis), In::Cri(Box::new(response)));
        };
        if self.runtime_down {
            let error = cri::Error::new(cri::Code::Unavailable, "connection error");
            return answer(self, 1, Err(error));
        }
        let not_found = || Err(cri::Error::new(cri::Code::NotFound, "not found"));
        match request.call {
            Call::Status => answer(self, 1, Ok(Answer::Status { runtime_ready: Ok(()), network_ready: Ok(()) })),
            Call::RunPodSandbox(config) => {
                self.say(format!("RunPodSandbox {}#{}", config.name, config.attempt));
                let new = SandboxId(self.id());
                let summary = cri::SandboxSummary {
                    id: new,
                    pod: config.uid,
                    namespace: config.namespace,
                    name: config.name,
                    attempt: config.attempt,
                    state: SandboxState::Ready,
                    created_at: self.now,
                };
                let at = self.now + Duration::from_millis(100);
                let ip = Some(Ipv4Addr::new(10, 0, 0, new.0 as u8));
                self.push(
                    at,
                    Event::Act(Box::new(move |world| {
                        world.sandboxes.insert(
                            new,
                            cri::SandboxStatus { summary, ip, host_network: false, runtime_id: Name::default() },
                        );
                        world.event(summary.pod, None, cri::ContainerEventType::Started);
                        answer(world, 0, Ok(Answer::Sandbox(new)));
                    })),
                );
            }
            Call::PodSandboxStatus(sandbox) => match self.sandboxes.get(&sandbox) {
                Some(found) => {
                    let found = Ok(Answer::SandboxStatus(Box::new(found.clone())));
                    answer(self, 1, found);
                }
                None => answer(self, 1, not_found()),
            },
            Call::ListPodSandbox { pod } => {
                let all = self.sandboxes.values().map(|one| one.summary);
                let list = all.filter(|one| pod.is_none_or(|pod| pod == one.pod)).collect();
                answer(self, self.list_millis, Ok(Answer::Sandboxes(list)));
            }
            Call::ListContainers { pod } => {
                let all = self.containers.values().map(|one| one.status.summary);
                let list = all.filter(|one| pod.is_none_or(|pod| pod == one.pod)).collect();
                answer(self, self.list_millis, Ok(Answer::Containers(list)));
            }
            Call::ContainerStatus(container) => match self.containers.get(&container) {
                Some(run) => {
                    let found = Ok(Answer::ContainerStatus(Box::new(run.status.clone())));
                    answer(self, 1, found);
                }
                None => answer(self, 1, not_found()),
            },
            Call::ImageStatus { image } => {
                self.say(format!("ImageStatus {image}"));
                let found = self.images.contains(&image).then(|| cri::Image {
                    id: cri::ImageId(1),
                    names: vec![image],
                    size_bytes: 5_000,
                    user: None,
                    pinned: false,
                });
                answer(self, 1, Ok(Answer::ImageStatus(found)));
            }
            Call::ListImages => answer(self, 1, Ok(Answer::Images(Vec::new()))),
            Call::PullImage { image, .. } => {
                self.say(format!("PullImage {image}"));
                match self.registry.get(image.as_str()).copied() {
                    Some(Ok(length)) => {
                        self.images.insert(image);
                        answer(self, length, Ok(Answer::Image(cri::ImageId(1))));
                    }
                    Some(Err(message)) => answer(self, 10, Err(cri::Error::new(cri::Code::NotFound, message))),
                    None => answer(self, 10, not_found()),
                }
            }
            Call::CreateContainer { sandbox, config } => {
                let new = ContainerId(self.id());
                let pod = self.sandboxes.get(&sandbox).map(|one| one.summary.pod).unwrap_or_default();
                let summary = cri::ContainerSummary {
                    id: new,
                    sandbox,
                    pod,
                    name: config.name,
                    attempt: config.attempt,
                    image: config.image,
                    state: cri::ContainerState::Created,
                    created_at: self.now,
                };
                let status = cri::ContainerStatus {
                    summary,
                    started_at: Moment::ZERO,
                    finished_at: Moment::ZERO,
                    exit_code: 0,
                    reason: Name::default(),
                    message: Text::default(),
                    annotations: config.annotations.clone(),
                    runtime_id: Name::default(),
                    image_ref: Name::default(),
                };
                self.containers.insert(new, Run { status });
                self.say(format!("CreateContainer {}", self.named(new)));
                answer(self, 10, Ok(Answer::Container(new)));
            }
            Call::StartContainer(container) => {
                self.say(format!("StartContainer {}", self.named(container)));
                let at = self.now + Duration::from_millis(50);
                self.push(
                    at,
                    Event::Act(Box::new(move |world| {
                        world.start(container);
                        answer(world, 0, Ok(Answer::Done));
                    })),
                );
            }
            Call::StopContainer { container, timeout } => {
                self.say(format!("StopContainer {} {}", self.named(container), timeout.as_secs()));
                let Some(run) = self.containers.get(&container) else { return answer(self, 1, not_found()) };
                if run.status.summary.state != cri::ContainerState::Running {
                    return answer(self, 1, Ok(Answer::Done));
                }
                self.stops.push((container, id));
                let program = self.program(run.status.summary.name);
                if let Some((after, code)) = program.on_sigterm {
                    let at = self.now + Duration::from_millis(after);
                    self.push(at, Event::Exit(container, code));
                }
                let at = self.now + timeout;
                self.push(at, Event::Exit(container, 137));
            }
            Call::StopPodSandbox(sandbox) => {
                if let Some(found) = self.sandboxes.get_mut(&sandbox) {
                    let (pod, name) = (found.summary.pod, found.summary.name);
                    let was_ready = std::mem::replace(&mut found.summary.state, SandboxState::NotReady);
                    found.ip = None;
                    if was_ready == SandboxState::Ready {
                        self.event(pod, None, cri::ContainerEventType::Stopped);
                    }
                    self.say(format!("StopPodSandbox {name}"));
                    let all: Vec<_> = self.containers.values().map(|run| run.status.summary).collect();
                    for one in all {
                        if one.sandbox == sandbox && one.state == cri::ContainerState::Running {
                            self.exit(one.id, 137);
                        }
                    }
                }
                answer(self, 50, Ok(Answer::Done));
            }
            Call::RemoveContainer(container) => {
                self.say(format!("RemoveContainer {}", self.named(container)));
                if let Some(run) = self.containers.remove(&container) {
                    self.event(run.status.summary.pod, Some(container), cri::ContainerEventType::Deleted);
                }
                answer(self, 5, Ok(Answer::Done));
            }
            Call::UpdateContainerResources { container, resources } => {
                let (named, quota) = (self.named(container), resources.cpu_quota);
                let memory = resources.memory_limit_in_bytes >> 20;
                self.say(format!("Update {named} {quota} {memory}Mi"));
                answer(self, 1, Ok(Answer::Done));
            }
            Call::UpdatePodSandboxResources { sandbox, resources } => {
                let name = self.sandboxes.get(&sandbox).map(|found| found.summary.name).unwrap_or_default();
                let memory = resources.memory_limit_in_bytes >> 20;
                self.say(format!("UpdateSandbox {name} {} {memory}Mi", resources.cpu_quota));
                answer(self, 1, Ok(Answer::Done));
            }
            Call::ListContainerStats => {
                let running =
                    self.containers.iter().filter(|(_, run)| run.status.summary.state == cri::ContainerState::Running);
                let used = |(id, run): (&ContainerId, &Run)| cri::ContainerStats {
                    container: *id,
                    pod: run.status.summary.pod,
                    cpu_usage_core_nanos: 0,
                    memory_working_set_bytes: self.memory.get(run.status.summary.name.as_str()).copied().unwrap_or(0),
                    filesystem_used_bytes: 0,
                };
                let stats = running.map(used).collect();
                answer(self, 1, Ok(Answer::Stats(stats)));
            }
            Call::RemovePodSandbox(sandbox) => {
                if let Some(found) = self.sandboxes.remove(&sandbox) {
                    self.event(found.summary.pod, None, cri::ContainerEventType::Deleted);
                    self.say(format!("RemovePodSandbox {}", found.summary.name));
                }
                answer(self, 5, Ok(Answer::Done));
            }
            other => panic!("the kubelet calls {}", other.name()),
        }
    }

    fn start(&mut self, id: ContainerId) {
        let now = self.now;
        let Some(run) = self.containers.get_mut(&id) else { return };
        run.status.summary.state = cri::ContainerState::Running;
        run.status.started_at = now.into();
        let summary = run.status.summary;
        let program = self.program(summary.name);
        if let Some((after, code)) = program.runs.get(summary.attempt as usize).or_else(|| program.runs.last()).copied()
        {
            self.push(now + Duration::from_millis(after), Event::Exit(id, code));
        }
        self.event(summary.pod, Some(id), cri::ContainerEventType::Started);
    }

    fn exit(&mut self, id: ContainerId, code: i32) {
        let now = self.now;
        let Some(run) = self.containers.get_mut(&id) else { return };
        if run.status.summary.state != cri::ContainerState::Running {
            return;
        }
        run.status.summary.state = cri::ContainerState::Exited;
        run.status.finished_at = now.into();
        run.status.exit_code = code;
        run.status.reason = Name::new(if code == 0 { "Completed" } else { "Error" });
        let pod = run.status.summary.pod;
        self.event(pod, Some(id), cri::ContainerEventType::Stopped);
        for (_, call) in self.stops.extract_if(.., |(stopped, _)| *stopped == id).collect::<Vec<_>>() {
            let response = cri::Response { id: call, result: Ok(cri::Answer::Done) };
            self.tell(Duration::from_millis(20), In::Cri(Box::new(response)));
        }
    }

    fn probe(&mut self, request: probe::Request) {
        let Some(run) = self.containers.get(&request.container) else { return };
        let program = self.program(run.status.summary.name);
        if matches!(request.purpose, Purpose::PostStart | Purpose::PreStop) {
            self.say(format!("{} {}", request.purpose.as_str(), self.named(request.container)));
            let outcome = if program.hook_fails { Outcome::Failure(Text::new("exit 1")) } else { Outcome::Success };
            let answer = probe::Answer { id: request.id, outcome, holds: Holds::Once };
            return self.tell(Duration::from_millis(program.hook_millis), In::Probe(Box::new(answer)));
        }
        let started = run.status.started_at.time();
        let since = self.now.since(started).as_millis();
        let empty = Vec::new();
        let script = program.probes.iter().find(|(of, _)| *of == request.purpose).map_or(&empty, |(_, script)| script);
        let success = script.iter().rfind(|(from, _)| *from <= since).is_none_or(|(_, success)| *success);
        let next = script.iter().find(|(from, _)| *from > since);
        let holds = match next {
            Some((from, _)) => Holds::Until(started + Duration::from_millis(*from)),
            None => Holds::UntilChanged,
        };
        let alive = run.status.summary.state == cri::ContainerState::Running;
        let outcome = match (alive, success) {
            (true, true) => Outcome::Success,
            _ => Outcome::Failure(Text::new("no")),
        };
        let answer = probe::Answer { id: request.id, outcome, holds };
        self.tell(Duration::from_millis(1), In::Probe(Box::new(answer)));
    }

    fn api(&mut self, request: api::Request) {
        use api::{Answer, Call};
        if self.api_down {
            return;
        }
        let result = match request.call {
            Call::Watch(watch) => {
                let objects: Vec<Object> = match watch.kind {
                    Kind::Pod => self.pods.values().cloned().map(Object::Pod).collect(),
                    Kind::Service => Vec::new(),
                    _ => vec![Object::Node(Arc::new(self.config.node.clone()))],
                };
                self.watch(WatchEvent::Listed(watch, objects.into()));
                Ok(Answer::Watching)
            }
            Call::RenewLease { .. } => Ok(Answer::Done),
            Call::Create(Object::Event(event)) => {
                let kind = event.kind.as_str();
                let about = event.involved.name;
                self.say(format!("event {about} {kind} {}: {} x{}", event.reason, event.message, event.count));
                return;
            }
            Call::Create(Object::Pod(pod)) => {
                self.say(format!("created {}", pod.meta.name));
                let mut pod = Pod::clone(&pod);
                pod.meta.uid = Uid(1000 + self.id());
                self.create(pod.clone());
                Ok(Answer::Object(Object::Pod(Arc::new(pod))))
            }
            Call::Create(Object::Node(node)) | Call::UpdateStatus(Object::Node(node)) => {
                let ready = condition::find(&node.status.conditions, "Ready");
                let ready = ready.map(|ready| format!("{} {}", ready.status.as_str(), ready.message));
                self.say(format!("node {}", ready.unwrap_or_default()));
                self.config.node = (*node).clone();
                Ok(Answer::Object(Object::Node(node)))
            }
            Call::Patch(key, Patch::PodStatus { uid, status }) => match self.pods.get(&uid).cloned() {
                None => Err(Status::not_found(&key)),
                Some(mut pod) => {
                    self.say(format!("status {} {}", pod.meta.name, show(&status)));
                    Arc::make_mut(&mut pod).status = *status;
                    self.pods.insert(uid, pod.clone());
                    self.watch(WatchEvent::Modified(Object::Pod(pod.clone())));
                    Ok(Answer::Object(Object::Pod(pod)))
                }
            },
            Call::Delete(key, options) => {
                let uid = options.uid.unwrap_or_default();
                match self.pods.remove(&uid) {
                    None => Err(Status::not_found(&key)),
                    Some(pod) => {
                        self.say(format!("deleted {}", pod.meta.name));
                        self.watch(WatchEvent::Deleted(Object::Pod(pod.clone())));
                        Ok(Answer::Object(Object::Pod(pod)))
                    }
                }
            }
            Call::Get(key) => match self.objects.get(&key) {
                Some(object) => Ok(Answer::Object(object.clone())),
                None => Err(Status::not_found(&key)),
            },
            other => Err(Status::new(StatusReason::InternalError, format!("{other:?}"))),
        };
        let response = api::Response { tag: request.tag, result };
        self.tell(API_LATENCY, In::Api(Box::new(response)));
    }

    pub fn add_config_map(&mut self, name: &str) {
        let data = ConfigData { meta: Meta::named("default", name), ..ConfigData::default() };
        self.objects.insert(Key::new(Kind::ConfigMap, "default", name), Object::ConfigMap(Arc::new(data)));
    }

    /// What was said with one of these words at its beginning, without times.
    pub fn said(&self, beginnings: &[&str]) -> Vec<String> {
        let of = |text: &&String| beginnings.iter().any(|beginning| text.starts_with(beginning));
        self.log.iter().map(|(_, text)| text).filter(of).cloned().collect()
    }

    /// The milliseconds at which something with these words was said.
    pub fn times(&self, words: &str) -> Vec<u64> {
        let of = self.log.iter().filter(|(_, text)| text.contains(words));
        of.map(|(at, _)| at.as_nanos() / 1_000_000).collect()
    }
}

/// A status in a line: `Running PRI main=running!#2`: the conditions PodReadyToStartContainers, Initialized and Ready that
/// are True, and for each container its state, whether it is ready (!), and its restarts.
fn show(status: &PodStatus) -> String {
    let mut text = status.phase.as_str().to_owned();
    if !status.reason.is_empty() {
        text += &format!("/{}", status.reason);
    }
    let letters = [("PodReadyToStartContainers", 'P'), ("Initialized", 'I'), ("Ready", 'R')];
    let on: String =
        letters.iter().filter(|(kind, _)| condition::is_true(&status.conditions, kind)).map(|(_, on)| on).collect();
    text += &format!(" {on}");
    for one in status.init_containers.iter().chain(&status.containers) {
        text += &format!(" {}={}", one.name, show_container(one));
    }
    for one in &status.ephemeral_containers {
        text += &format!(" ~{}={}", one.name, show_container(one));
    }
    text
}

fn show_container(one: &ContainerStatus) -> String {
    let state = match &one.state {
        ContainerState::Waiting { reason, .. } => reason.to_string(),
        ContainerState::Running { .. } => "running".to_owned(),
        ContainerState::Terminated(end) if end.reason == *"ContainerStatusUnknown" => "unknown".to_owned(),
        ContainerState::Terminated(end) => format!("exit-{}", end.exit_code),
    };
    let ready = if one.ready { "!" } else { "" };
    let restarts = if one.restart_count > 0 { format!("#{}", one.restart_count) } else { String::new() };
    format!("{state}{ready}{restarts}")
}

/// Compares lines; uids are replaced.
pub fn check(found: Vec<String>, expected: &str) {
    let without_uid = |line: &String| match (line.find('('), line.find(')')) {
        (Some(from), Some(to)) if to - from == 37 => format!("{}(<uid>){}", &line[..from], &line[to + 1..]),
        _ => line.clone(),
    };
    let found: Vec<String> = found.iter().map(without_uid).collect();
    let expected: Vec<&str> = expected.lines().map(|line| line.trim_start()).collect();
    assert_eq!(found, expected, "\nfound:\n{}", found.join("\n"));
}
