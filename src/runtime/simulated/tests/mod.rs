//! The runtime as its callers see it: a world of one runtime and a registry that answers at once, in virtual time.

mod any;
mod faults;
mod life;
mod probing;
mod pulling;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::kernel::{Cause, Distribution, Duration, Effect, Streams, Time};
use crate::model::{Bytes, Container as Spec, Labels, Name, Text, Uid};
use crate::protocol::cri::{
    Answer, Call, CallId, ContainerConfig, ContainerEvent, ContainerId, ContainerStatus, Error, ImageId,
    LinuxResources, PodSandboxConfig, Request, SandboxId,
};
use crate::protocol::probe;
use crate::protocol::pull::{self, Fetch, Fetched, Layer, Manifest};
use crate::trace::{Effects, Record};

use super::behavior::{Behavior, Match, Rule};
use super::{Config, Fault, In, Latencies, Out, PresentImage, Profile, Runtime, Subnet};

/// How the world's registry answers: a manifest at once, a layer after as many seconds as it has bytes.
type Registry = fn(Name) -> Result<Arc<Manifest>, pull::Error>;

pub(super) struct World {
    runtime: Runtime,
    now: Time,
    queue: BTreeMap<(Time, u64), Heard>,
    sequence: u64,
    calls: u64,
    answers: BTreeMap<CallId, (Time, Result<Answer, Error>)>,
    probes: Vec<(Time, probe::Answer)>,
    changes: Vec<(Time, ContainerId)>,
    events: Vec<ContainerEvent>,
    event_causes: Vec<Cause>,
    causes: BTreeMap<CallId, Cause>,
    fetches: Vec<(Time, String)>,
    records: Vec<Record>,
    handled: u64,
    registry: Registry,
    cancelled: Vec<pull::FetchId>,
    /// The last measurement.
    measured: Option<Box<crate::protocol::stats::Summary>>,
    /// Processes that the kernel killed because all memory was used.
    victims: Vec<Name>,
}

enum Heard {
    Runtime(In, Cause),
    Said(Out, Cause),
}

/// A profile whose operations always take their median, and alone.
fn steady(profile: Profile) -> Profile {
    let Latencies {
        status,
        list,
        inspect,
        image_status,
        sandbox,
        cni_add,
        create,
        start,
        exec,
        stop,
        stop_sandbox,
        remove,
        resolve,
    } = profile.latency;
    let constant = |distribution: Distribution| Distribution::Constant(distribution.median());
    let latency = Latencies {
        status: constant(status),
        list: constant(list),
        inspect: constant(inspect),
        image_status: constant(image_status),
        sandbox: constant(sandbox),
        cni_add: constant(cni_add),
        create: constant(create),
        start: constant(start),
        exec: constant(exec),
        stop: constant(stop),
        stop_sandbox: constant(stop_sandbox),
        remove: constant(remove),
        resolve: constant(resolve),
    };
    Profile { latency, contention_per_thousand: 0, ..profile }
}

/// The behaviour of every container.
fn all(behavior: Behavior) -> Vec<Rule> {
    vec![Rule { matcher: Match::default(), behavior: Arc::new(behavior) }]
}

fn constant(seconds: u64) -> Distribution {
    Distribution::Constant(Duration::from_secs(seconds))
}

impl World {
    fn new(behaviors: Vec<Rule>) -> World {
        World::of(Profile::containerd(), behaviors)
    }

    fn of(profile: Profile, behaviors: Vec<Rule>) -> World {
        World::with(Config { profile: Arc::new(steady(profile)), behaviors: behaviors.into(), ..World::config() })
    }

    fn config() -> Config {
        Config {
            node: "n1".into(),
            pod_subnet: Subnet::parse("10.244.1.0/24"),
            present_images: Arc::new([PresentImage::of_size("app:1".into(), 1000)]),
            memory: Bytes(1 << 30),
            ..Config::default()
        }
    }

    fn with(config: Config) -> World {
        World {
            runtime: Runtime::new(config, &Streams::new(7)),
            now: Time::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            calls: 0,
            answers: BTreeMap::new(),
            probes: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            event_causes: Vec::new(),
            causes: BTreeMap::new(),
            fetches: Vec::new(),
            records: Vec::new(),
            handled: 0,
            registry: |_| Err(pull::Error::NotFound),
            cancelled: Vec::new(),
            measured: None,
            victims: Vec::new(),
        }
    }

    fn push(&mut self, at: Time, heard: Heard) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), heard);
    }

    fn hear(&mut self, message: In) {
        self.hear_because(message, Cause::NONE);
    }

    fn hear_because(&mut self, message: In, cause: Cause) {
        self.handled += 1;
        let mut fx: Effects<In, Out> = Effects::default();
        fx.begin(self.now, cause, 1_000_000);
        self.runtime.handle(message, &mut fx);
        self.records.extend(fx.drain_records().map(|record| record.what));
        let effects: Vec<_> = fx.drain_effects().collect();
        for (cause, effect) in effects {
            match effect {
                Effect::Wake { at, message } => self.push(at, Heard::Runtime(message, cause)),
                Effect::Send { delay, message } => self.push(self.now + delay, Heard::Said(message, cause)),
            }
        }
    }

    fn say(&mut self, out: Out, cause: Cause) {
        match out {
            Out::Stats(summary) => self.measured = Some(summary),
            Out::UsageChanged => {}
            Out::SystemOom { process, .. } => self.victims.push(process),
            Out::Cri(response) => {
                let before = self.answers.insert(response.id, (self.now, response.result));
                assert!(before.is_none(), "call {:?} was answered twice", response.id);
                self.causes.insert(response.id, cause);
            }
            Out::Event(event) => {
                self.events.push(*event);
                self.event_causes.push(cause);
            }
            // These tests ask for no volumes.
            Out::Volume(answer) => panic!("{answer:?}"),
            Out::Probe(answer) => self.probes.push((self.now, *answer)),
            Out::ProbeChanged(changed) => self.changes.push((self.now, changed.container)),
            Out::Pull { host, request } => {
                self.fetches.push((self.now, format!("{host} {}", fetch_text(&request.what))));
                let (delay, result) = match request.what {
                    Fetch::Manifest { image, .. } => (0, (self.registry)(image).map(Fetched::Manifest)),
                    Fetch::Layer { layer, .. } if layer.bytes == 666 => (1, Err(pull::Error::ConnectionReset)),
                    Fetch::Layer { layer, .. } => (layer.bytes, Ok(Fetched::Layer)),
                    Fetch::Cancel => return self.cancelled.push(request.id),
                };
                let response = Box::new(pull::Response { id: request.id, result });
                self.push(self.now + Duration::from_secs(delay), Heard::Runtime(In::Pull(response), cause));
            }
        }
    }

    /// Plays everything up to and including `end`.
    fn play_to(&mut self, end: Time) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), heard) = entry.remove_entry();
            self.now = at;
            match heard {
                Heard::Runtime(message, cause) => self.hear_because(message, cause),
                Heard::Said(out, cause) => self.say(out, cause),
            }
        }
        self.now = end;
    }

    fn play(&mut self, millis: u64) {
        self.play_to(self.now + Duration::from_millis(millis));
    }

    fn send(&mut self, call: Call) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        // Each call is its own cause.
        self.hear_because(In::Cri(Box::new(Request { id, call })), Cause::from_raw(self.calls as u32));
        id
    }

    fn fault(&mut self, fault: Fault) {
        self.hear(In::Fault(Box::new(fault)));
    }

    /// The answer to a call, if it came yet, and when.
    fn answer(&mut self, id: CallId) -> Option<(Time, Result<Answer, Error>)> {
        self.answers.get(&id).cloned()
    }

    /// Calls and plays until the answer comes, for an hour at the most.
    fn ask(&mut self, call: Call) -> Result<Answer, Error> {
        let id = self.send(call);
        let deadline = self.now + Duration::from_secs(3600);
        while !self.answers.contains_key(&id) {
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = next.filter(|at| *at <= deadline).expect("the call is answered within an hour");
            self.play_to(next);
        }
        self.answers[&id].1.clone()
    }

    fn sandbox(&mut self, pod: u64) -> SandboxId {
        match self.ask(Call::RunPodSandbox(pod_config(pod, 0))) {
            Ok(Answer::Sandbox(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn start_in(&mut self, sandbox: SandboxId, config: ContainerConfig) -> ContainerId {
        let id = match self.ask(Call::CreateContainer { sandbox, config: Arc::new(config) }) {
            Ok(Answer::Container(id)) => id,
            other => panic!("{other:?}"),
        };
        self.ask(Call::StartContainer(id)).expect("it starts");
        id
    }

    /// A pod with one container that runs, started just now.
    fn start(&mut self, config: ContainerConfig) -> ContainerId {
        let sandbox = self.sandbox(1);
        self.start_in(sandbox, config)
    }

    fn status(&mut self, id: ContainerId) -> ContainerStatus {
        match self.ask(Call::ContainerStatus(id)) {
            Ok(Answer::ContainerStatus(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// `Exited 137 OOMKilled after 30s`, `Running`.
    fn state(&mut self, id: ContainerId) -> String {
        let status = self.status(id);
        if status.reason.is_empty() {
            return format!("{:?}", status.summary.state);
        }
        let ran = status.finished_at.since(status.started_at);
        format!("{:?} {} {} after {ran}", status.summary.state, status.exit_code, status.reason)
    }
}

fn fetch_text(what: &Fetch) -> String {
    match what {
        Fetch::Manifest { image, .. } => format!("manifest {image}"),
        Fetch::Layer { layer, .. } => format!("layer {}", layer.digest),
        Fetch::Cancel => "cancel".to_owned(),
    }
}

fn pod_config(pod: u64, attempt: u32) -> Arc<PodSandboxConfig> {
    Arc::new(PodSandboxConfig {
        name: Name::new(&format!("pod-{pod}")),
        namespace: "shop".into(),
        uid: Uid(pod),
        attempt,
        hostname: Name::default(),
        labels: Labels::default(),
        annotations: Labels::default(),
        log_directory: Name::default(),
        cgroup_parent: Name::default(),
        host_network: false,
        ..PodSandboxConfig::default()
    })
}

fn container(command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        name: "main".into(),
        attempt: 0,
        image: "app:1".into(),
        command: command.iter().copied().map(Text::new).collect(),
        args: Arc::new([]),
        working_dir: Name::default(),
        envs: Vec::new(),
        mounts: Vec::new(),
        log_path: Name::default(),
        resources: LinuxResources::default(),
        run_as_user: None,
        privileged: false,
        ..ContainerConfig::default()
    }
}

fn annotated(container_type: &str, restart_policy: &str) -> ContainerConfig {
    let annotations = Labels::new([
        (super::behavior::CONTAINER_TYPE.into(), container_type.into()),
        (super::behavior::RESTART_POLICY.into(), restart_policy.into()),
    ]);
    ContainerConfig { annotations, ..container(&[]) }
}

fn manifest(name: &str, layers: &[(u64, u64)]) -> Arc<Manifest> {
    let layers: Arc<[Layer]> = layers.iter().map(|&(digest, bytes)| Layer { digest, bytes }).collect();
    let digest = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    let size: u64 = layers.iter().map(|layer| layer.bytes).sum();
    Arc::new(Manifest { id: ImageId(digest), digest, layers, unpacked_bytes: 2 * size as i64, user: None })
}

fn probe_request(id: u64, container: ContainerId, purpose: probe::Purpose, spec: &Spec, timeout: u64) -> In {
    In::Probe(Box::new(probe::Request {
        id: probe::ProbeId(id),
        container,
        ip: Ipv4Addr::new(10, 244, 1, 2),
        purpose,
        spec: Arc::new([spec.clone()]),
        index: 0,
        timeout: Duration::from_secs(timeout),
    }))
}
