//! The cluster itself: its parts, and one event after another.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::apiserver::{ApiServer, Store};
use crate::client::{self, Client};
use crate::controllers::{self, ControllerManager};
use crate::kernel::{ActorId, Cause, Clock, Effect, Effects, Event, Kernel, Recorded, Streams, Time};
use crate::kubelet::{self, Kubelet};
use crate::model::{Key, Kind, Name, Object, Pod, Source, Text};
use crate::registry::Registry;
use crate::runtime::simulated::{self as runtime, Runtime};
use crate::scheduler::{self, Scheduler};
use crate::trace::{CausedBy, Entry, Record, Sink};

use super::config::{Config, NodeRuntime};
use super::invariants::Invariants;
use super::message::{Incarnation, Message};
use super::outside::{Answerer, Nobody, Outside, Said};
use super::wiring::{API_SERVER, Actor, CLIENT, CONTROLLERS, Connection, SCHEDULER};
use crate::{apiserver, registry};

/// A cluster under simulation. One thread, one cluster.
pub struct Cluster {
    pub(super) config: Config,
    kernel: Kernel<Message>,
    pub(super) api: ApiServer,
    scheduler: Scheduler,
    pub(super) scheduler_up: bool,
    pub(super) scheduler_incarnation: Incarnation,
    controllers: ControllerManager,
    pub(super) controllers_up: bool,
    pub(super) controllers_incarnation: Incarnation,
    client: Client,
    pub(super) registries: Vec<Registry>,
    pub(super) registry_by_host: FxHashMap<Name, usize>,
    pub(super) nodes: Vec<NodeParts>,
    node_by_name: FxHashMap<Name, usize>,
    /// The connections of scheduler, controllers and client, which are on the control plane's machine.
    pub(super) local: [Connection; 3],
    buffers: Buffers,
    next_record: u32,
    sink: Box<dyn Sink>,
    outside: Box<dyn Outside>,
    interrupted: bool,
    pub(super) invariants: Invariants,
    pub(super) cri_log: super::cri_log::CriLog,
}

/// What a node consists of.
pub(super) struct NodeParts {
    pub(super) name: Name,
    pub(super) kubelet: Kubelet,
    pub(super) incarnation: Incarnation,
    /// None: it is outside.
    pub(super) runtime: Option<Runtime>,
    pub(super) connection: Connection,
    pub(super) powered: bool,
    pub(super) kubelet_running: bool,
    pub(super) network_open: bool,
    /// The pods of its manifest folder.
    pub(super) static_pods: Arc<[Arc<Pod>]>,
}

/// One buffer of effects a part, used again for each event.
#[derive(Default)]
struct Buffers {
    apiserver: Effects<apiserver::In, apiserver::Out, Record>,
    scheduler: Effects<scheduler::In, scheduler::Out, Record>,
    controllers: Effects<controllers::In, controllers::Out, Record>,
    client: Effects<client::In, client::Out, Record>,
    kubelet: Effects<kubelet::In, kubelet::Out, Record>,
    runtime: Effects<runtime::In, runtime::Out, Record>,
    registry: Effects<registry::In, registry::Out, Record>,
}

/// Lets a part handle a message, then takes its records and effects out of the buffer. A macro, because what is borrowed
/// differs for each part.
macro_rules! handle {
    ($self:ident, $event:ident, $buffer:ident, $part:expr, $message:expr, $route:expr) => {{
        let now = $event.time;
        $self.buffers.$buffer.begin(now, $event.cause, $self.next_record);
        $part.handle($message, &mut $self.buffers.$buffer);
        $self.next_record = $self.buffers.$buffer.next_record();
        // Taken out and put back, so that the routes may use the whole cluster; neither allocates.
        let mut buffer = std::mem::take(&mut $self.buffers.$buffer);
        for entry in buffer.drain_records() {
            $self.take(entry);
        }
        for (cause, effect) in buffer.drain_effects() {
            #[allow(clippy::redundant_closure_call)]
            ($route)(&mut *$self, now, cause, effect);
        }
        $self.buffers.$buffer = buffer;
    }};
}

impl Cluster {
    /// A cluster at its start, with nobody behind runtimes that are outside. Records go to `sink`.
    pub fn new(config: Config, sink: Box<dyn Sink>) -> Cluster {
        Cluster::with_outside(config, sink, Box::new(Nobody))
    }

    /// As [`Cluster::new`]; what kubelets say to runtimes outside goes to `outside`.
    pub fn with_outside(config: Config, sink: Box<dyn Sink>, outside: Box<dyn Outside>) -> Cluster {
        let kernel: Kernel<Message> = Kernel::new(config.seed);
        let streams = kernel.streams();
        let registries: Vec<Registry> =
            config.registries.iter().map(|registry| Registry::new(registry.clone(), &streams)).collect();
        assert!(!registries.is_empty(), "a cluster has at least the registry for all other hosts");
        let registry_by_host =
            config.registries.iter().enumerate().map(|(index, registry)| (registry.host, index)).collect();
        let mirrors: Arc<[runtime::Mirror]> = config
            .registries
            .iter()
            .flat_map(|mirror| mirror.mirrors.iter().map(|&of| runtime::Mirror { of, host: mirror.host }))
            .collect();
        let mut nodes = Vec::with_capacity(config.nodes.len());
        let mut node_by_name = FxHashMap::default();
        for (index, node) in config.nodes.iter().enumerate() {
            let name = node.kubelet.node.meta.name;
            node_by_name.insert(name, index);
            let runtime = match &node.runtime {
                NodeRuntime::Simulated(profile) => {
                    let behaviors = Arc::clone(&config.behaviors);
                    let mut config =
                        runtime::Config::for_node(index as u32, &node.kubelet.node, profile.clone(), behaviors);
                    config.machine = node.machine;
                    config.mirrors = Arc::clone(&mirrors);
                    Some(Runtime::new(config, &streams))
                }
                NodeRuntime::Outside => None,
            };
            nodes.push(NodeParts {
                name,
                kubelet: Kubelet::new(node.kubelet.clone(), &streams),
                incarnation: Incarnation(0),
                runtime,
                connection: Connection::remote(&streams, name, &config.api_latency),
                powered: true,
                kubelet_running: true,
                network_open: true,
                static_pods: node.static_pods.clone(),
            });
        }
        let mut cluster = Cluster {
            api: ApiServer::new(config.apiserver.clone(), &streams),
            scheduler: Scheduler::new(config.scheduler.clone(), &streams),
            scheduler_up: true,
            scheduler_incarnation: Incarnation(0),
            controllers: ControllerManager::new(config.controllers.clone(), &streams),
            controllers_up: true,
            controllers_incarnation: Incarnation(0),
            client: Client::new(config.controllers.start_unix_seconds),
            registries,
            registry_by_host,
            nodes,
            node_by_name,
            local: ["scheduler", "controller-manager", "client"].map(|name| Connection::local(&streams, name)),
            buffers: Buffers::default(),
            next_record: 1,
            sink,
            outside,
            interrupted: false,
            invariants: Invariants::default(),
            cri_log: Default::default(),
            kernel,
            config,
        };
        cluster.begin();
        cluster
    }

    /// Fills the API server and the runtimes with what is there at the start, and starts every process.
    fn begin(&mut self) {
        let initial = std::mem::take(&mut self.config.initial);
        self.buffers.apiserver.begin(Time::ZERO, Cause::NONE, self.next_record);
        self.api.preload(initial, &mut self.buffers.apiserver);
        self.next_record = self.buffers.apiserver.next_record();
        let mut buffer = std::mem::take(&mut self.buffers.apiserver);
        for entry in buffer.drain_records() {
            self.take(entry);
        }
        self.buffers.apiserver = buffer;
        for index in 0..self.nodes.len() {
            let pods: Vec<_> = self.api.store().pods_of(self.nodes[index].name).cloned().collect();
            for pod in pods {
                let Some(runtime) = &mut self.nodes[index].runtime else { break };
                self.buffers.runtime.begin(Time::ZERO, Cause::NONE, self.next_record);
                runtime.preload(&pod, &mut self.buffers.runtime);
                let mut buffer = std::mem::take(&mut self.buffers.runtime);
                for (cause, effect) in buffer.drain_effects() {
                    // Nobody listens yet: the kubelet will look for itself, but for what it measures.
                    let is_kept = matches!(
                        effect,
                        Effect::Wake { .. } | Effect::Send { message: runtime::Out::UsageChanged, .. }
                    );
                    if is_kept {
                        self.route_runtime(index, Time::ZERO, cause, effect);
                    }
                }
                self.buffers.runtime = buffer;
            }
        }
        self.schedule_now(SCHEDULER, Cause::NONE, Message::Scheduler(Incarnation(0), scheduler::In::Start));
        self.schedule_now(
            CONTROLLERS,
            Cause::NONE,
            Message::Controllers(Incarnation(0), controllers::In::Start { settled: true }),
        );
        for index in 0..self.nodes.len() {
            let to = self.kubelet_actor(index);
            let joins = self.config.nodes[index].kubelet.joins;
            self.schedule(joins, to, Cause::NONE, Message::Kubelet(Incarnation(0), kubelet::In::Start));
            self.tell_static_pods(index, joins, Cause::NONE);
            self.tell_outside(index, Said::Started);
        }
    }

    /// True if a node's runtime is outside.
    pub(super) fn is_outside(&self, index: usize) -> bool {
        self.nodes[index].runtime.is_none()
    }

    /// Says something to a node's runtime, if it is outside.
    pub(super) fn tell_outside(&mut self, index: usize, said: Said) {
        if self.is_outside(index) {
            let answerer = Answerer { to: self.kubelet_actor(index), incarnation: self.nodes[index].incarnation };
            self.outside.hear(index, self.kernel.now(), answerer, said);
        }
    }

    /// True once [`Message::Interrupt`] has come.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// From now on keeps what kubelets and runtimes say to each other.
    pub fn keep_cri(&mut self) {
        self.cri_log.0.get_or_insert_default();
    }

    /// What kubelets and runtimes said to each other, since [`Cluster::keep_cri`]. In the order in which it was sent.
    pub fn cri(&self) -> &[super::CriEntry] {
        self.cri_log.0.as_deref().unwrap_or_default()
    }

    /// The time of the last event.
    pub fn now(&self) -> Time {
        self.kernel.now()
    }

    /// When something happens next; None if nothing ever will.
    pub fn next_time(&self) -> Option<Time> {
        self.kernel.next_time()
    }

    /// How many events have happened.
    pub fn events(&self) -> u64 {
        self.kernel.events()
    }

    /// Stands for all events so far.
    pub fn digest(&self) -> u64 {
        self.kernel.digest()
    }

    /// What the API server holds.
    pub fn store(&self) -> &Store {
        self.api.store()
    }

    /// The leases of nodes, as a client would read them now.
    pub fn leases(&self) -> Vec<Object> {
        self.api.leases(self.now())
    }

    /// Nodes as a client would read them now, with their heartbeats.
    pub fn nodes_read(&self) -> Vec<Object> {
        self.api.nodes(self.now())
    }

    /// The run's random streams, for what is decided outside the parts (random faults).
    pub fn streams(&self) -> Streams {
        self.kernel.streams()
    }

    /// The names of all nodes that the cluster has machines for, in the order of the configuration.
    pub fn nodes(&self) -> impl Iterator<Item = Name> + '_ {
        self.nodes.iter().map(|node| node.name)
    }

    /// The next event, if it happens at `limit` or before. False if there is none.
    pub fn step(&mut self, limit: Time) -> bool {
        match self.kernel.pop(limit) {
            Some(event) => {
                self.dispatch(event);
                true
            }
            None => false,
        }
    }

    /// All events up to `limit`; afterwards it is `limit`.
    pub fn run_until(&mut self, limit: Time) {
        while self.step(limit) {}
        self.kernel.advance_to(limit);
    }

    /// As [`Cluster::step`] under any clock: with the wall clock it waits until the event's time has come.
    pub fn step_with(&mut self, clock: &mut impl Clock<Message>, limit: Time) -> bool {
        match self.kernel.next(clock, limit) {
            Some(event) => {
                self.dispatch(event);
                true
            }
            None => false,
        }
    }

    /// As [`Cluster::run_until`] under any clock.
    pub fn run_with(&mut self, clock: &mut impl Clock<Message>, limit: Time) {
        while self.step_with(clock, limit) {}
        self.kernel.advance_to(limit);
    }

    /// Lets the time pass to `time`, before which nothing happens.
    pub fn advance_to(&mut self, time: Time) {
        self.kernel.advance_to(time);
    }

    /// A user acts, now.
    pub fn act(&mut self, action: client::Action) {
        self.schedule_now(CLIENT, Cause::NONE, Message::Client(client::In::Do(Box::new(action))));
    }

    /// Somebody writes pods into a node's manifest folder, under their names, and removes those of these names. `text` is what
    /// the user wrote, `source` where.
    pub fn write_static_pods(
        &mut self,
        node: Name,
        write: &[Arc<Pod>],
        remove: &[Name],
        text: &str,
        source: Option<Source>,
    ) {
        let Some(index) = self.node_index(node) else { return };
        let what = Record::Fault { text: Text::new(text), undone: false, by: CausedBy { source } };
        let cause = self.record(Cause::NONE, what);
        let gone =
            |pod: &Arc<Pod>| remove.contains(&pod.meta.name) || write.iter().any(|new| new.meta.name == pod.meta.name);
        let kept = self.nodes[index].static_pods.iter().filter(|pod| !gone(pod));
        self.nodes[index].static_pods = kept.chain(write).cloned().collect();
        let now = self.now();
        let incarnation = self.nodes[index].incarnation;
        if self.nodes[index].kubelet_running {
            let message = kubelet::In::StaticPods(self.nodes[index].static_pods.clone());
            self.schedule(now, self.kubelet_actor(index), cause, Message::Kubelet(incarnation, message));
        }
    }

    /// A kubelet that starts reads its manifest folder.
    pub(super) fn tell_static_pods(&mut self, index: usize, at: Time, cause: Cause) {
        let node = &self.nodes[index];
        if !node.static_pods.is_empty() {
            let message = kubelet::In::StaticPods(node.static_pods.clone());
            let incarnation = node.incarnation;
            self.schedule(at, self.kubelet_actor(index), cause, Message::Kubelet(incarnation, message));
        }
    }

    /// The invariants that were broken so far, each with its moment and the digest then. Empty in a sound run.
    pub fn broken_invariants(&self) -> &[String] {
        self.invariants.broken()
    }

    /// Checks what is too dear to check at every event: that indexes agree with what they index.
    pub fn check_all(&mut self) {
        let found = self.api.store().check();
        let (now, digest) = (self.now(), self.digest());
        for text in found {
            self.invariants.report(now, digest, text);
        }
    }

    /// Writes to the trace from outside the parts.
    pub(super) fn record(&mut self, cause: Cause, what: Record) -> Cause {
        let id = Cause::from_raw(self.next_record);
        self.next_record += 1;
        self.take(Recorded { id, cause, time: self.now(), what });
        id
    }

    fn take(&mut self, entry: Entry) {
        let digest = self.kernel.digest();
        self.invariants.observe(&entry, digest);
        self.sink.take(&entry);
    }

    pub(super) fn schedule(&mut self, at: Time, to: ActorId, cause: Cause, message: Message) {
        self.kernel.schedule(at, to, cause, message);
    }

    pub(super) fn schedule_now(&mut self, to: ActorId, cause: Cause, message: Message) {
        self.kernel.schedule(self.kernel.now(), to, cause, message);
    }

    pub(super) fn node_index(&self, name: Name) -> Option<usize> {
        self.node_by_name.get(&name).copied()
    }

    /// The node on which a pod is, by the API server.
    pub(super) fn node_of_pod(&self, namespace: Name, pod: Name) -> Option<usize> {
        match self.api.store().get(&Key { kind: Kind::Pod, namespace, name: pod }) {
            Some(Object::Pod(pod)) => self.node_index(pod.node?),
            _ => None,
        }
    }

    pub(super) fn switch_scheduler(&mut self, up: bool, cause: Cause) {
        if self.scheduler_up == up {
            return;
        }
        self.scheduler_up = up;
        self.scheduler_incarnation.0 += 1;
        if up {
            self.scheduler = Scheduler::new(self.config.scheduler.clone(), &self.kernel.streams());
            let start = Message::Scheduler(self.scheduler_incarnation, scheduler::In::Start);
            self.schedule_now(SCHEDULER, cause, start);
        } else {
            self.disconnect(SCHEDULER, cause);
        }
    }

    pub(super) fn switch_controllers(&mut self, up: bool, cause: Cause) {
        if self.controllers_up == up {
            return;
        }
        self.controllers_up = up;
        self.controllers_incarnation.0 += 1;
        if up {
            self.controllers = ControllerManager::new(self.config.controllers.clone(), &self.kernel.streams());
            let start = Message::Controllers(self.controllers_incarnation, controllers::In::Start { settled: false });
            self.schedule_now(CONTROLLERS, cause, start);
        } else {
            self.disconnect(CONTROLLERS, cause);
        }
    }

    fn disconnect(&mut self, actor: ActorId, cause: Cause) {
        let message = apiserver::In::Disconnected(self.client_id(actor));
        self.schedule_now(API_SERVER, cause, Message::ApiServer(message));
    }

    fn dispatch(&mut self, event: Event<Message>) {
        match event.message {
            Message::ApiServer(message) => {
                handle!(self, event, apiserver, self.api, message, Cluster::route_apiserver);
            }
            Message::Scheduler(incarnation, message) => {
                if self.scheduler_up && incarnation == self.scheduler_incarnation {
                    handle!(self, event, scheduler, self.scheduler, message, Cluster::route_scheduler);
                }
            }
            Message::Controllers(incarnation, message) => {
                if self.controllers_up && incarnation == self.controllers_incarnation {
                    handle!(self, event, controllers, self.controllers, message, Cluster::route_controllers);
                }
            }
            Message::Client(message) => handle!(self, event, client, self.client, message, Cluster::route_client),
            Message::Kubelet(incarnation, message) => {
                let Actor::Kubelet(index) = self.actor(event.to) else { return };
                let node = &mut self.nodes[index];
                if node.kubelet_running && incarnation == node.incarnation {
                    handle!(
                        self,
                        event,
                        kubelet,
                        self.nodes[index].kubelet,
                        message,
                        |cluster: &mut Cluster, now, cause, effect| cluster.route_kubelet(index, now, cause, effect)
                    );
                }
            }
            Message::Runtime(message) => {
                let Actor::Runtime(index) = self.actor(event.to) else { return };
                if !self.nodes[index].powered && message == runtime::In::Fault(Box::new(runtime::Fault::PowerOn)) {
                    return; // Power was lost again before the machine was up.
                }
                if self.is_outside(index) {
                    let said = match message {
                        runtime::In::Cri(request) => Said::Cri(request),
                        runtime::In::Probe(request) => Said::Probe(request),
                        runtime::In::Volume(request) => Said::Volume(request),
                        runtime::In::Fault(fault) => Said::Fault(fault),
                        runtime::In::Stats(_) | runtime::In::Pull(_) | runtime::In::Timer(_) => return,
                    };
                    return self.tell_outside(index, said);
                }
                handle!(
                    self,
                    event,
                    runtime,
                    self.nodes[index].runtime.as_mut().expect("it is not outside"),
                    message,
                    |cluster: &mut Cluster, now, cause, effect| cluster.route_runtime(index, now, cause, effect)
                );
            }
            Message::Interrupt => self.interrupted = true,
            Message::Registry(message) => {
                let Actor::Registry(index) = self.actor(event.to) else { return };
                handle!(
                    self,
                    event,
                    registry,
                    self.registries[index],
                    message,
                    |cluster: &mut Cluster, now, cause, effect| cluster.route_registry(index, now, cause, effect)
                );
            }
        }
    }
}
