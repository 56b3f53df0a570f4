//! Who hears what. Each part says things without knowing to whom; here each is given to the part that hears it, over the
//! link between their machines.

use std::sync::Arc;

use crate::kernel::{ActorId, Cause, Delivery, Duration, Effect, Link, Stream, Streams, Time};
use crate::model::Name;
use crate::protocol::api::{ClientId, Response, Status, StatusReason, WatchEvent};
use crate::protocol::cri::Call;
use crate::registry::RuntimeId;
use crate::{apiserver, client, controllers, kubelet, registry, runtime::simulated as runtime, scheduler};

use super::Cluster;
use super::cri_log::CriSaid;
use super::message::Message;

pub(super) const API_SERVER: ActorId = ActorId(0);
pub(super) const SCHEDULER: ActorId = ActorId(1);
pub(super) const CONTROLLERS: ActorId = ActorId(2);
pub(super) const CLIENT: ActorId = ActorId(3);
const FIRST_REGISTRY: u32 = 4;

/// One way between processes on the control plane's machine.
pub(super) const LOCAL: Duration = Duration::from_micros(100);
/// From the kubelet to the runtime: gRPC over a unix socket. An odd number of nanoseconds, so that what follows whole
/// seconds after a tick of the kubelet never falls on one of its later ticks: which of two that meet comes first would
/// depend on whether the kubelet polls. Lists and probes see the moment of their tick, for a kubelet that has left them out
/// knows by the moment of a change whether they would have seen it.
pub const TO_RUNTIME: Duration = Duration::from_nanos(130_007);
/// After which a client gives up a request that nobody answers (the kubelet's heartbeat client: cmd/kubelet/app/server.go).
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection of one client to the API server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) to_server: Link,
    pub(super) from_server: Link,
    pub(super) stream: Stream,
}

impl Connection {
    pub(super) fn local(streams: &Streams, name: &str) -> Connection {
        let link = Link::new(crate::kernel::Distribution::Constant(LOCAL));
        Connection { to_server: link.clone(), from_server: link, stream: streams.stream(name, "link") }
    }

    pub(super) fn remote(streams: &Streams, name: Name, latency: &crate::kernel::Distribution) -> Connection {
        let link = Link::new(latency.clone());
        let stream = streams.stream(&format!("kubelet/{name}"), "link");
        Connection { to_server: link.clone(), from_server: link, stream }
    }
}

/// What an actor's address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    ApiServer,
    Scheduler,
    Controllers,
    Client,
    Registry(usize),
    Kubelet(usize),
    Runtime(usize),
}

impl Cluster {
    fn first_node(&self) -> u32 {
        FIRST_REGISTRY + self.registries.len() as u32
    }

    pub(super) fn actor(&self, id: ActorId) -> Actor {
        match id {
            API_SERVER => Actor::ApiServer,
            SCHEDULER => Actor::Scheduler,
            CONTROLLERS => Actor::Controllers,
            CLIENT => Actor::Client,
            ActorId(number) if number < self.first_node() => Actor::Registry((number - FIRST_REGISTRY) as usize),
            ActorId(number) => {
                let offset = number - self.first_node();
                let index = (offset / 2) as usize;
                if offset.is_multiple_of(2) { Actor::Kubelet(index) } else { Actor::Runtime(index) }
            }
        }
    }

    pub(super) fn kubelet_actor(&self, index: usize) -> ActorId {
        ActorId(self.first_node() + 2 * index as u32)
    }

    pub(super) fn runtime_actor(&self, index: usize) -> ActorId {
        ActorId(self.first_node() + 2 * index as u32 + 1)
    }

    pub(super) fn registry_actors(&self) -> impl Iterator<Item = ActorId> + use<> {
        (FIRST_REGISTRY..self.first_node()).map(ActorId)
    }

    /// The registry that serves `host`: its own, or the last for all hosts that have none.
    pub(super) fn registry_actor(&self, host: Name) -> ActorId {
        let index = self.registry_by_host.get(&host).copied().unwrap_or(self.registries.len() - 1);
        ActorId(FIRST_REGISTRY + index as u32)
    }

    /// The API server knows its clients by their actors' numbers.
    pub(super) fn client_id(&self, actor: ActorId) -> ClientId {
        ClientId(actor.0)
    }

    fn connection(&mut self, actor: ActorId) -> &mut Connection {
        match self.actor(actor) {
            Actor::Kubelet(index) => &mut self.nodes[index].connection,
            Actor::Scheduler => &mut self.local[0],
            Actor::Controllers => &mut self.local[1],
            _ => &mut self.local[2],
        }
    }

    /// True if the process behind `actor` is there to hear and its network is open.
    fn reachable(&self, actor: ActorId) -> bool {
        match self.actor(actor) {
            Actor::Kubelet(index) => self.nodes[index].kubelet_running && self.nodes[index].network_open,
            Actor::Scheduler => self.scheduler_up,
            Actor::Controllers => self.controllers_up,
            _ => true,
        }
    }

    pub(super) fn route_apiserver(&mut self, now: Time, cause: Cause, effect: Effect<apiserver::In, apiserver::Out>) {
        match effect {
            Effect::Wake { at, message } => self.schedule(at, API_SERVER, cause, Message::ApiServer(message)),
            Effect::Send { delay, message: apiserver::Out::Respond { to, response } } => {
                let to = ActorId(to.0);
                if self.reachable(to) {
                    if let Some(at) = self.arrival_from_server(to, now + delay) {
                        self.deliver_response(at, to, cause, response);
                    }
                } else {
                    self.time_out(now + delay, to, cause, response.tag);
                }
            }
            Effect::Send { delay, message: apiserver::Out::Deliver { to, event } } => {
                let to = ActorId(to.0);
                if self.reachable(to)
                    && let Some(at) = self.arrival_from_server(to, now + delay)
                {
                    self.deliver_watch(at, to, cause, event);
                }
            }
        }
    }

    fn arrival_from_server(&mut self, to: ActorId, sent: Time) -> Option<Time> {
        let connection = self.connection(to);
        match connection.from_server.deliver_at(sent, &mut connection.stream) {
            Delivery::At(at) => Some(at),
            Delivery::Lost => None,
        }
    }

    fn deliver_response(&mut self, at: Time, to: ActorId, cause: Cause, response: Box<Response>) {
        let message = match self.actor(to) {
            Actor::Scheduler => Message::Scheduler(self.scheduler_incarnation, scheduler::In::Api(response)),
            Actor::Controllers => Message::Controllers(self.controllers_incarnation, controllers::In::Api(response)),
            Actor::Client => Message::Client(client::In::Api(response)),
            Actor::Kubelet(index) => Message::Kubelet(self.nodes[index].incarnation, kubelet::In::Api(response)),
            Actor::ApiServer | Actor::Registry(_) | Actor::Runtime(_) => return,
        };
        self.schedule(at, to, cause, message);
    }

    fn deliver_watch(&mut self, at: Time, to: ActorId, cause: Cause, event: Arc<WatchEvent>) {
        let message = match self.actor(to) {
            Actor::Scheduler => Message::Scheduler(self.scheduler_incarnation, scheduler::In::Watch(event)),
            Actor::Controllers => Message::Controllers(self.controllers_incarnation, controllers::In::Watch(event)),
            Actor::Kubelet(index) => Message::Kubelet(self.nodes[index].incarnation, kubelet::In::Watch(event)),
            Actor::ApiServer | Actor::Client | Actor::Registry(_) | Actor::Runtime(_) => return,
        };
        self.schedule(at, to, cause, message);
    }

    /// A client that is cut off gives its request up after a while.
    fn time_out(&mut self, sent: Time, to: ActorId, cause: Cause, tag: crate::protocol::api::Tag) {
        if tag == crate::protocol::api::Tag::NONE {
            return;
        }
        let status = Status::new(StatusReason::Timeout, "context deadline exceeded");
        self.deliver_response(sent + CLIENT_TIMEOUT, to, cause, Box::new(Response { tag, result: Err(status) }));
    }

    fn request(&mut self, from: ActorId, sent: Time, cause: Cause, request: Box<crate::protocol::api::Request>) {
        if !self.reachable(from) {
            self.time_out(sent, from, cause, request.tag);
            return;
        }
        let client = self.client_id(from);
        let connection = self.connection(from);
        if let Delivery::At(at) = connection.to_server.deliver_at(sent, &mut connection.stream) {
            let message = Message::ApiServer(apiserver::In::Request { from: client, request });
            self.schedule(at, API_SERVER, cause, message);
        }
    }

    pub(super) fn route_scheduler(&mut self, now: Time, cause: Cause, effect: Effect<scheduler::In, scheduler::Out>) {
        match effect {
            Effect::Wake { at, message } => {
                let message = Message::Scheduler(self.scheduler_incarnation, message);
                self.schedule(at, SCHEDULER, cause, message);
            }
            Effect::Send { delay, message: scheduler::Out::Api(request) } => {
                self.request(SCHEDULER, now + delay, cause, request);
            }
        }
    }

    pub(super) fn route_controllers(
        &mut self,
        now: Time,
        cause: Cause,
        effect: Effect<controllers::In, controllers::Out>,
    ) {
        match effect {
            Effect::Wake { at, message } => {
                let message = Message::Controllers(self.controllers_incarnation, message);
                self.schedule(at, CONTROLLERS, cause, message);
            }
            Effect::Send { delay, message: controllers::Out::Api(request) } => {
                self.request(CONTROLLERS, now + delay, cause, request);
            }
        }
    }

    pub(super) fn route_client(&mut self, now: Time, cause: Cause, effect: Effect<client::In, client::Out>) {
        match effect {
            Effect::Wake { at, message } => self.schedule(at, CLIENT, cause, Message::Client(message)),
            Effect::Send { delay, message: client::Out::Api(request) } => {
                self.request(CLIENT, now + delay, cause, request);
            }
        }
    }

    pub(super) fn route_kubelet(
        &mut self,
        index: usize,
        now: Time,
        cause: Cause,
        effect: Effect<kubelet::In, kubelet::Out>,
    ) {
        let (kubelet, runtime) = (self.kubelet_actor(index), self.runtime_actor(index));
        match effect {
            Effect::Wake { at, message } => {
                let message = Message::Kubelet(self.nodes[index].incarnation, message);
                self.schedule(at, kubelet, cause, message);
            }
            Effect::Send { delay, message: kubelet::Out::Api(request) } => {
                self.check_kubelet_request(index, &request);
                self.request(kubelet, now + delay, cause, request);
            }
            Effect::Send { delay, message: kubelet::Out::Cri(request) } => {
                let delay = match request.call {
                    // The way to a real runtime takes the time that it takes.
                    _ if self.is_outside(index) => delay,
                    Call::ListPodSandbox { .. } | Call::ListContainers { .. } => delay,
                    _ => delay + TO_RUNTIME,
                };
                let name = self.nodes[index].name;
                self.cri_log.note(now + delay, name, || CriSaid::Request((*request).clone()));
                self.schedule(now + delay, runtime, cause, Message::Runtime(runtime::In::Cri(request)));
            }
            Effect::Send { delay, message: kubelet::Out::Probe(request) } => {
                self.schedule(now + delay, runtime, cause, Message::Runtime(runtime::In::Probe(request)));
            }
            Effect::Send { message: kubelet::Out::ShutDown, .. } => self.power_off(index, cause),
            Effect::Send { delay, message: kubelet::Out::Stats(request) } => {
                self.schedule(now + delay, runtime, cause, Message::Runtime(runtime::In::Stats(request)));
            }
            Effect::Send { delay, message: kubelet::Out::Volume(request) } => {
                self.schedule(now + delay, runtime, cause, Message::Runtime(runtime::In::Volume(request)));
            }
        }
    }

    pub(super) fn route_runtime(
        &mut self,
        index: usize,
        now: Time,
        cause: Cause,
        effect: Effect<runtime::In, runtime::Out>,
    ) {
        let (kubelet, runtime) = (self.kubelet_actor(index), self.runtime_actor(index));
        let incarnation = self.nodes[index].incarnation;
        let (delay, message) = match effect {
            Effect::Wake { at, message } => return self.schedule(at, runtime, cause, Message::Runtime(message)),
            Effect::Send { delay, message } => (delay, message),
        };
        if let runtime::Out::Cri(response) = &message {
            let name = self.nodes[index].name;
            self.cri_log.note(now + delay, name, || CriSaid::Response((**response).clone()));
        }
        let to_kubelet = match message {
            runtime::Out::Cri(response) => kubelet::In::Cri(response),
            runtime::Out::Event(event) => kubelet::In::CriEvent(event),
            runtime::Out::Probe(answer) => kubelet::In::Probe(answer),
            runtime::Out::ProbeChanged(changed) => kubelet::In::ProbeChanged(changed),
            runtime::Out::Volume(answer) => kubelet::In::Volume(answer),
            runtime::Out::Stats(summary) => kubelet::In::Stats(summary),
            runtime::Out::UsageChanged => kubelet::In::UsageChanged,
            runtime::Out::SystemOom { process, pid } => kubelet::In::SystemOom { process, pid },
            runtime::Out::Pull { host, request } => {
                let to = self.registry_actor(host);
                let message = registry::In::Request { from: RuntimeId(runtime.0), request };
                return self.schedule(now + delay, to, cause, Message::Registry(message));
            }
        };
        if self.nodes[index].kubelet_running {
            self.schedule(now + delay, kubelet, cause, Message::Kubelet(incarnation, to_kubelet));
        }
    }

    pub(super) fn route_registry(
        &mut self,
        index: usize,
        now: Time,
        cause: Cause,
        effect: Effect<registry::In, registry::Out>,
    ) {
        match effect {
            Effect::Wake { at, message } => {
                self.schedule(at, ActorId(FIRST_REGISTRY + index as u32), cause, Message::Registry(message));
            }
            Effect::Send { delay, message: registry::Out::Respond { to, response } } => {
                self.schedule(now + delay, ActorId(to.0), cause, Message::Runtime(runtime::In::Pull(response)));
            }
        }
    }
}
