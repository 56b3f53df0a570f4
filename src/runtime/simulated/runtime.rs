//! The runtime's state, and how its calls are answered.
//!
//! Kubernetes: the server's side of staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::kernel::{Cause, Distribution, Duration, Stream, Streams, Time};
use crate::model::{Bytes, MilliCpu, Name, Node, Text, Uid};
use crate::protocol::cri::{
    Answer, Call, CallId, Code, ContainerEvent, ContainerEventType, ContainerId, Error, Request, Response, SandboxId,
};
use crate::trace::Effects;

use super::behavior::Rule;
use super::containers::{Container, Exec};
use super::contention::Contention;
use super::images::{Images, PresentImage};
use super::network::{Network, Subnet};
use super::profile::Profile;
use super::sandboxes::{Operation, Sandbox, SandboxJob};
use super::usage::Machine;
use super::{In, Out, Timer};

/// What a cluster says of a node's runtime.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: Name,
    pub profile: Arc<Profile>,
    /// What programs do; the first rule that matches counts.
    pub behaviors: Arc<[Rule]>,
    /// The node's pod subnet. Without one the network is not ready until UpdateRuntimeConfig brings one.
    pub pod_subnet: Option<Subnet>,
    /// Images that the node has from the beginning.
    pub present_images: Arc<[PresentImage]>,
    /// Mirrors of registries, in the order in which they are asked.
    pub mirrors: Arc<[Mirror]>,
    /// The machine's.
    pub cpu: MilliCpu,
    /// The machine's; a program without a limit that grows to it is killed.
    pub memory: Bytes,
    /// The machine's disks and the like.
    pub machine: Machine,
    /// The kubelet's `runtimeRequestTimeout`, from which the deadlines of its calls follow: an answer after it reaches nobody.
    pub request_timeout: Duration,
}

/// A host that is asked before the registry itself, as the runtime's configuration says it (`hosts.toml`, `registries.conf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub of: Name,
    pub host: Name,
}

impl Config {
    /// The runtime of a node: its capacity, the images that it reports, and a pod subnet of its own. `index` is the node's
    /// number in the cluster; pods get addresses from 10.64.0.0 on, 512 a node.
    pub fn for_node(index: u32, node: &Node, profile: Profile, behaviors: Arc<[Rule]>) -> Config {
        let first = u32::from(std::net::Ipv4Addr::new(10, 64, 0, 0)).wrapping_add(index.wrapping_mul(512));
        let subnet = format!("{}/23", std::net::Ipv4Addr::from(first));
        let images = node
            .status
            .images
            .iter()
            .flat_map(|image| image.names.iter().map(|&name| PresentImage::of_size(name, image.size_bytes)));
        Config {
            node: node.meta.name,
            profile: Arc::new(profile),
            behaviors,
            pod_subnet: Subnet::parse(&subnet),
            present_images: images.collect(),
            cpu: node.status.capacity.cpu,
            memory: node.status.capacity.memory,
            machine: Machine::of(&node.status.capacity),
            ..Config::default()
        }
    }
}

impl Default for Config {
    /// containerd on a node with 8 cores and 32 GiB, without a subnet.
    fn default() -> Config {
        Config {
            node: Name::default(),
            profile: Arc::new(Profile::containerd()),
            behaviors: Arc::new([]),
            pod_subnet: None,
            present_images: Arc::new([]),
            mirrors: Arc::new([]),
            cpu: MilliCpu(8000),
            memory: Bytes(32 << 30),
            machine: Machine::default(),
            request_timeout: Duration::from_secs(120),
        }
    }
}

/// A call and what led to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub id: CallId,
    pub cause: Cause,
    pub since: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Runs,
    Stopped,
    Hung,
    /// The machine is off.
    Off,
}

/// A stream a purpose, so that more calls of one kind move no number of another.
#[derive(Clone, Debug)]
pub(super) struct Random {
    pub sandbox: Stream,
    pub create: Stream,
    pub start: Stream,
    pub stop: Stream,
    pub read: Stream,
    pub pull: Stream,
    pub exec: Stream,
}

/// A node's container runtime and the containers that it runs.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(super) config: Config,
    pub(super) streams: Streams,
    pub(super) random: Random,
    pub(super) process: Process,
    pub(super) boot: u32,
    /// What came while the process hung.
    pub(super) held: Vec<(Cause, Time, In)>,
    /// Events of while the process was away.
    pub(super) unsent: Vec<ContainerEvent>,
    pub(super) network: Network,
    pub(super) images: Images,
    pub(super) operations: Contention<Operation>,
    /// Sandboxes whose network hangs.
    pub(super) stalled: Vec<SandboxJob>,
    pub(super) sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    /// The sandboxes of each pod, for look-up only.
    pub(super) pods: FxHashMap<Uid, SmallVec<[SandboxId; 2]>>,
    pub(super) execs: BTreeMap<u64, Exec>,
    pub(super) volumes: super::volumes::Volumes,
    pub(super) left: super::volumes::Left,
    /// When memory is full, or its use bends: the wake-up under way.
    pub(super) memory_full: Option<Time>,
    /// What others use without a fault.
    pub(super) used_before: super::usage::Others,
    id_base: u64,
    last_id: u64,
}

impl Runtime {
    /// A runtime that works and has no sandboxes.
    pub fn new(config: Config, streams: &Streams) -> Runtime {
        let owner = format!("runtime/{}", config.node);
        let stream = |purpose: &str| streams.stream(&owner, purpose);
        Runtime {
            random: Random {
                sandbox: stream("RunPodSandbox"),
                create: stream("CreateContainer"),
                start: stream("StartContainer"),
                stop: stream("stop"),
                read: stream("read"),
                pull: stream("PullImage"),
                exec: stream("ExecSync"),
            },
            streams: *streams,
            process: Process::Runs,
            boot: 0,
            held: Vec::new(),
            unsent: Vec::new(),
            network: Network::new(config.pod_subnet),
            images: Images::new(&config.present_images),
            operations: Contention::new(config.profile.contention_per_thousand, config.profile.contention_cap),
            stalled: Vec::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            pods: FxHashMap::default(),
            execs: BTreeMap::new(),
            volumes: Default::default(),
            left: Default::default(),
            memory_full: None,
            used_before: config.machine.used,
            // Ids of different nodes differ, as random ones would.
            id_base: xxh3_64(config.node.as_bytes()) << 32,
            last_id: 0,
            config,
        }
    }

    /// Handles one message.
    pub fn handle(&mut self, message: In, fx: &mut Effects<In, Out>) {
        match message {
            In::Fault(fault) => self.fault(*fault, fx),
            In::Probe(request) => self.probe(*request, fx),
            In::Volume(request) => self.volume(*request, fx),
            In::Stats(request) => self.measure(request, fx),
            // The kernel ends programs, whatever the runtime's process does.
            In::Timer(Timer::Program { container, at }) => self.program_woken(container, at, fx),
            message if self.process == Process::Hung => self.held.push((fx.cause(), fx.now(), message)),
            In::Cri(request) => self.call(*request, fx),
            In::Pull(response) => self.fetched(*response, fx),
            In::Timer(Timer::Operation { boot, at }) if boot == self.boot => {
                self.operations.woken(at);
                self.operations_end(fx);
            }
            In::Timer(Timer::Unpacked { boot, pull }) if boot == self.boot => self.unpacked(pull, fx),
            In::Timer(Timer::Exec { boot, exec }) if boot == self.boot => self.exec_ends(exec, fx),
            In::Timer(Timer::MemoryFull { boot, at }) if boot == self.boot => self.memory_may_be_full(at, fx),
            In::Timer(_) => {}
        }
    }

    fn call(&mut self, request: Request, fx: &mut Effects<In, Out>) {
        match self.process {
            Process::Off => return,
            Process::Stopped => {
                let text = self.config.profile.dialect.unreachable();
                return reply(request.id, Err(Error::new(Code::Unavailable, text)), fx);
            }
            Process::Runs | Process::Hung => {}
        }
        let caller = Caller { id: request.id, cause: fx.cause(), since: fx.now() };
        match request.call {
            Call::RunPodSandbox(config) => self.run_pod_sandbox(caller, config, fx),
            Call::StopPodSandbox(sandbox) => self.stop_pod_sandbox(caller, sandbox, fx),
            Call::RemovePodSandbox(sandbox) => self.remove_pod_sandbox(caller, sandbox, fx),
            Call::CreateContainer { sandbox, config } => self.create_container(caller, sandbox, config, fx),
            Call::StartContainer(container) => self.start_container(caller, container, fx),
            Call::StopContainer { container, timeout } => self.stop_container(caller, container, timeout, fx),
            Call::RemoveContainer(container) => self.remove_container(caller, container, fx),
            Call::ExecSync { container, command, timeout } => self.exec_sync(caller, container, &command, timeout, fx),
            Call::PullImage { image, auth, .. } => self.pull_image(caller, image, auth, fx),
            call => self.answer(request.id, call, fx),
        }
    }

    /// Calls that are answered from the state as it is.
    fn answer(&mut self, id: CallId, call: Call, fx: &mut Effects<In, Out>) {
        let profile = Arc::clone(&self.config.profile);
        let latency = &profile.latency;
        let is_periodic = matches!(
            call,
            Call::Status | Call::ListPodSandbox { .. } | Call::ListContainers { .. } | Call::ListContainerStats
        );
        let (result, takes) = match call {
            Call::Version => (
                Ok(Answer::Version { runtime_name: profile.runtime_name, runtime_version: profile.runtime_version }),
                &latency.status,
            ),
            Call::Status => (Ok(self.status()), &latency.status),
            Call::ListPodSandbox { pod } => (Ok(Answer::Sandboxes(self.list_sandboxes(pod))), &latency.list),
            Call::ListContainers { pod } => (Ok(Answer::Containers(self.list_containers(pod))), &latency.list),
            Call::ListContainerStats => (Ok(Answer::Stats(self.stats(fx.now()))), &latency.list),
            Call::PodSandboxStatus(sandbox) => (self.sandbox_status(sandbox), &latency.inspect),
            Call::ContainerStatus(container) => (self.container_status(container), &latency.inspect),
            Call::UpdateContainerResources { container, resources } => {
                (self.update_resources(container, resources, fx), &latency.inspect)
            }
            Call::UpdatePodSandboxResources { sandbox, resources } => {
                (self.update_sandbox(sandbox, resources, fx), &latency.inspect)
            }
            Call::ImageStatus { image } => (Ok(self.images.status(image, &profile)), &latency.image_status),
            Call::ListImages => (Ok(Answer::Images(self.images.list(&profile))), &latency.list),
            Call::ImageFsInfo => (Ok(self.images.fs_info()), &latency.status),
            Call::RemoveImage { image } => {
                let removed = self.images.remove(image).map(|()| Answer::Done);
                self.images_changed(fx);
                (removed, &latency.remove)
            }
            Call::UpdateRuntimeConfig { pod_cidr } => {
                if let Some(subnet) = Subnet::parse(&pod_cidr) {
                    self.network.configure(subnet);
                    self.network_works(fx);
                }
                (Ok(Answer::Done), &latency.status)
            }
            other => {
                (Err(Error::new(Code::Unimplemented, format!("unknown method {}", other.name()))), &latency.status)
            }
        };
        // What a kubelet asks again and again takes its usual time: one that asks less often must see the same.
        let delay = if is_periodic { takes.median() } else { self.random.read.draw(takes) };
        reply_after(delay, id, result, fx);
    }

    fn status(&self) -> Answer {
        let network = if self.network.is_ready() {
            Ok(())
        } else {
            Err(Text::new(self.config.profile.network_uninitialized().0))
        };
        Answer::Status { runtime_ready: Ok(()), network_ready: network }
    }

    /// Does the operations that have ended, and wakes up for the next.
    pub(super) fn operations_end(&mut self, fx: &mut Effects<In, Out>) {
        let cause = fx.cause();
        while let Some(operation) = self.operations.pop(fx.now()) {
            match operation {
                Operation::Sandbox(job) => self.sandbox_set_up(job, fx),
                Operation::Create { caller, sandbox, config } => {
                    fx.because(caller.cause);
                    let result = self.created(sandbox, config, fx);
                    reply(caller.id, result, fx);
                }
                Operation::Start { caller, container } => {
                    fx.because(caller.cause);
                    let result = self.started(container, fx);
                    reply(caller.id, result, fx);
                }
            }
        }
        fx.because(cause);
        self.arm_operations(fx);
    }

    /// Begins an operation that contends with others.
    pub(super) fn begin(&mut self, work: Duration, operation: Operation, fx: &mut Effects<In, Out>) {
        self.operations.begin(fx.now(), work, operation);
        self.arm_operations(fx);
    }

    fn arm_operations(&mut self, fx: &mut Effects<In, Out>) {
        if let Some(at) = self.operations.arm() {
            fx.wake_at(at, In::Timer(Timer::Operation { boot: self.boot, at }));
        }
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.id_base | self.last_id
    }

    /// Tells the kubelet, now or when the process is back.
    pub(super) fn event(
        &mut self,
        pod: Uid,
        container: Option<ContainerId>,
        kind: ContainerEventType,
        fx: &mut Effects<In, Out>,
    ) {
        let event = ContainerEvent { pod, container, kind, created_at: fx.now() };
        match self.process {
            Process::Runs => fx.send(Out::Event(Box::new(event))),
            Process::Stopped | Process::Hung => self.unsent.push(event),
            Process::Off => {}
        }
    }

    /// Draws how long an operation of stopping or removing takes.
    pub(super) fn stop_latency(&mut self, latency: fn(&super::Latencies) -> &Distribution) -> Duration {
        self.random.stop.draw(latency(&self.config.profile.latency))
    }
}

/// Answers a call now.
pub(super) fn reply(id: CallId, result: Result<Answer, Error>, fx: &mut Effects<In, Out>) {
    reply_after(Duration::ZERO, id, result, fx);
}

/// Answers a call `delay` from now.
pub(super) fn reply_after(delay: Duration, id: CallId, result: Result<Answer, Error>, fx: &mut Effects<In, Out>) {
    fx.send_after(delay, Out::Cri(Box::new(Response { id, result })));
}

/// An id as runtimes write it: 64 hexadecimal digits.
pub(super) fn hex(id: u64) -> String {
    format!("{id:064x}")
}
