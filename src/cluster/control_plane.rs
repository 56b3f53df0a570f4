//! API server and scheduler without nodes behind the Node objects: what decides where pods go, and nothing else.
//!
//! As the scheduler's own integration tests run them: Node objects are created like any other, no kubelet starts pods, no
//! controller acts. Whoever runs it makes the requests and hears everything; there is no other client.

use crate::apiserver::{self, ApiServer, Store};
use crate::client;
use crate::controllers::{self, ControllerManager};
use crate::kernel::{ActorId, Cause, Delivery, Effect, Effects, Kernel, Recorded, Time};
use crate::model::Object;
use crate::protocol::api::{Call, ClientId, Request, Response, Tag};
use crate::scheduler::{self, Scheduler};
use crate::trace::{Entry, Record};

use super::message::{Incarnation, Message};
use super::wiring::{API_SERVER, CLIENT, CONTROLLERS, Connection, LOCAL, SCHEDULER};

/// The two parts under simulation.
pub struct ControlPlane {
    kernel: Kernel<Message>,
    api: ApiServer,
    scheduler: Scheduler,
    to_scheduler: Connection,
    to_client: Connection,
    /// What of the controller manager runs beside, if anything.
    manager: Option<Manager>,
    api_effects: Effects<apiserver::In, apiserver::Out, Record>,
    scheduler_effects: Effects<scheduler::In, scheduler::Out, Record>,
    next_record: u32,
}

/// A controller manager with its connection.
struct Manager {
    controllers: ControllerManager,
    connection: Connection,
    effects: Effects<controllers::In, controllers::Out, Record>,
}

/// What whoever runs it hears.
#[derive(Debug)]
pub enum Heard<'e> {
    /// One of the parts wrote to the trace.
    Record(&'e Entry),
    /// An answer to a request that wanted one.
    Answer(Response),
}

impl ControlPlane {
    /// A control plane at its start. `initial` is there from the beginning, as it is.
    pub fn new(
        seed: u64,
        apiserver: apiserver::Config,
        scheduler: scheduler::Config,
        initial: Vec<Object>,
    ) -> ControlPlane {
        let mut kernel: Kernel<Message> = Kernel::new(seed);
        let streams = kernel.streams();
        let mut api = ApiServer::new(apiserver, &streams);
        let mut api_effects = Effects::default();
        api.preload(initial, &mut api_effects);
        api_effects.drain_records().for_each(drop);
        let next_record = api_effects.next_record();
        kernel.schedule(Time::ZERO, SCHEDULER, Cause::NONE, Message::Scheduler(Incarnation(0), scheduler::In::Start));
        ControlPlane {
            api,
            scheduler: Scheduler::new(scheduler, &streams),
            to_scheduler: Connection::local(&streams, "scheduler"),
            to_client: Connection::local(&streams, "client"),
            manager: None,
            api_effects,
            scheduler_effects: Effects::default(),
            next_record,
            kernel,
        }
    }

    /// Starts controllers.
    pub fn start_controllers(&mut self, config: controllers::Config) {
        let streams = self.kernel.streams();
        self.manager = Some(Manager {
            controllers: ControllerManager::new(config, &streams),
            connection: Connection::local(&streams, "controllers"),
            effects: Effects::default(),
        });
        let start = Message::Controllers(Incarnation(0), controllers::In::Start { settled: false });
        self.kernel.schedule(self.kernel.now(), CONTROLLERS, Cause::NONE, start);
    }

    /// The time of the last event, or what [`ControlPlane::run_until`] made it.
    pub fn now(&self) -> Time {
        self.kernel.now()
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

    /// Makes a request that leaves at `at`, or now if `at` is past.
    pub fn request(&mut self, at: Time, tag: Tag, call: Call) {
        // Not over a link: requests that leave later may be made before some that leave sooner.
        let arrives = at.max(self.now()) + LOCAL;
        let request = Box::new(Request { tag, call });
        let message = apiserver::In::Request { from: ClientId(CLIENT.0), request };
        self.kernel.schedule(arrives, API_SERVER, Cause::NONE, Message::ApiServer(message));
    }

    /// All events up to `limit`; afterwards it is `limit`.
    pub fn run_until(&mut self, limit: Time, hear: &mut impl FnMut(Heard<'_>)) {
        while let Some(event) = self.kernel.pop(limit) {
            match event.message {
                Message::ApiServer(message) => self.tell_api(event.cause, message, hear),
                Message::Scheduler(_, message) => self.tell_scheduler(event.cause, message, hear),
                Message::Controllers(_, message) => self.tell_controllers(event.cause, message, hear),
                Message::Client(client::In::Api(response)) => hear(Heard::Answer(*response)),
                _ => {}
            }
        }
        self.kernel.advance_to(limit);
    }

    fn tell_api(&mut self, cause: Cause, message: apiserver::In, hear: &mut impl FnMut(Heard<'_>)) {
        let now = self.kernel.now();
        self.api_effects.begin(now, cause, self.next_record);
        self.api.handle(message, &mut self.api_effects);
        self.next_record = self.api_effects.next_record();
        self.api_effects.drain_records().for_each(|entry: Recorded<Record>| hear(Heard::Record(&entry)));
        for (cause, effect) in self.api_effects.drain_effects() {
            let (delay, message) = match effect {
                Effect::Wake { at, message } => {
                    self.kernel.schedule(at, API_SERVER, cause, Message::ApiServer(message));
                    continue;
                }
                Effect::Send { delay, message } => (delay, message),
            };
            let (to, message) = match message {
                apiserver::Out::Respond { to, response } => {
                    let to = ActorId(to.0);
                    let message = if to == SCHEDULER {
                        Message::Scheduler(Incarnation(0), scheduler::In::Api(response))
                    } else if to == CONTROLLERS {
                        Message::Controllers(Incarnation(0), controllers::In::Api(response))
                    } else {
                        Message::Client(client::In::Api(response))
                    };
                    (to, message)
                }
                apiserver::Out::Deliver { to, event } => {
                    let to = ActorId(to.0);
                    let message = if to == CONTROLLERS {
                        Message::Controllers(Incarnation(0), controllers::In::Watch(event))
                    } else {
                        Message::Scheduler(Incarnation(0), scheduler::In::Watch(event))
                    };
                    (to, message)
                }
            };
            let connection = match &mut self.manager {
                Some(manager) if to == CONTROLLERS => &mut manager.connection,
                _ if to == SCHEDULER => &mut self.to_scheduler,
                _ => &mut self.to_client,
            };
            if let Delivery::At(at) = connection.from_server.deliver_at(now + delay, &mut connection.stream) {
                self.kernel.schedule(at, to, cause, message);
            }
        }
    }

    fn tell_controllers(&mut self, cause: Cause, message: controllers::In, hear: &mut impl FnMut(Heard<'_>)) {
        let Some(Manager { controllers, connection, effects }) = &mut self.manager else { return };
        let now = self.kernel.now();
        effects.begin(now, cause, self.next_record);
        controllers.handle(message, effects);
        self.next_record = effects.next_record();
        effects.drain_records().for_each(|entry: Recorded<Record>| hear(Heard::Record(&entry)));
        for (cause, effect) in effects.drain_effects() {
            match effect {
                Effect::Wake { at, message } => {
                    self.kernel.schedule(at, CONTROLLERS, cause, Message::Controllers(Incarnation(0), message));
                }
                Effect::Send { delay, message: controllers::Out::Api(request) } => {
                    if let Delivery::At(at) = connection.to_server.deliver_at(now + delay, &mut connection.stream) {
                        let message = apiserver::In::Request { from: ClientId(CONTROLLERS.0), request };
                        self.kernel.schedule(at, API_SERVER, cause, Message::ApiServer(message));
                    }
                }
            }
        }
    }

    fn tell_scheduler(&mut self, cause: Cause, message: scheduler::In, hear: &mut impl FnMut(Heard<'_>)) {
        let now = self.kernel.now();
        self.scheduler_effects.begin(now, cause, self.next_record);
        self.scheduler.handle(message, &mut self.scheduler_effects);
        self.next_record = self.scheduler_effects.next_record();
        self.scheduler_effects.drain_records().for_each(|entry: Recorded<Record>| hear(Heard::Record(&entry)));
        for (cause, effect) in self.scheduler_effects.drain_effects() {
            match effect {
                Effect::Wake { at, message } => {
                    self.kernel.schedule(at, SCHEDULER, cause, Message::Scheduler(Incarnation(0), message));
                }
                Effect::Send { delay, message: scheduler::Out::Api(request) } => {
                    let connection = &mut self.to_scheduler;
                    if let Delivery::At(at) = connection.to_server.deliver_at(now + delay, &mut connection.stream) {
                        let message = apiserver::In::Request { from: ClientId(SCHEDULER.0), request };
                        self.kernel.schedule(at, API_SERVER, cause, Message::ApiServer(message));
                    }
                }
            }
        }
    }
}
