//! The API server and the scheduler, and nothing else, as scheduler_perf has them: no kubelet, so a bound pod stays as it is
//! and is gone as soon as it is deleted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashMap;

use crate::apiserver::{self, ApiServer};
use crate::kernel::{Cause, Distribution, Duration, Effect, Streams, Time};
use crate::model::{Labels, Name, Object, Uid};
use crate::protocol::api::{Call, ClientId, DeleteOptions, Request, Tag};
use crate::scheduler::{self, Config, Scheduler};
use crate::trace::{Change, Effects, Record};

const SCHEDULER: ClientId = ClientId(1);
const CLIENT: ClientId = ClientId(2);
/// One way between the two.
const LINK: Duration = Duration::from_micros(100);

enum Message {
    ToServer(ClientId, Box<Request>),
    Server(apiserver::In),
    Scheduler(scheduler::In),
}

struct Due {
    at: Time,
    serial: u64,
    message: Message,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// What is known of a pod.
#[derive(Clone, Debug)]
pub struct Known {
    pub namespace: Name,
    pub name: Name,
    pub labels: Labels,
    pub bound: bool,
    pub attempted: bool,
}

/// The two parts in virtual time.
pub struct Bench {
    pub now: Time,
    api: ApiServer,
    scheduler: Scheduler,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    server_fx: Effects<apiserver::In, apiserver::Out>,
    scheduler_fx: scheduler::Fx,
    next_record: u32,
    pub pods: FxHashMap<Uid, Known>,
    /// Pods with a node, by namespace: all that there ever were.
    pub bound: BTreeMap<Name, usize>,
    /// Requests of the client that the API server refused; the first of them.
    pub refused: Option<String>,
}

impl Bench {
    /// An empty cluster with a scheduler that has just started.
    pub fn new(config: Config) -> Bench {
        let streams = Streams::new(1);
        let latency = |micros| Distribution::Constant(Duration::from_micros(micros));
        let server =
            apiserver::Config { write_latency: latency(500), read_latency: latency(200), watch_latency: latency(100) };
        let mut bench = Bench {
            now: Time::ZERO,
            api: ApiServer::new(server, &streams),
            scheduler: Scheduler::new(config, &streams),
            queue: BinaryHeap::new(),
            serial: 0,
            server_fx: Effects::default(),
            scheduler_fx: Effects::default(),
            next_record: 1,
            pods: FxHashMap::default(),
            bound: BTreeMap::new(),
            refused: None,
        };
        bench.push(Time::ZERO, Message::Scheduler(scheduler::In::Start));
        bench.run_until(Time::from_secs(1));
        bench
    }

    /// What the API server holds.
    pub fn store(&self) -> &apiserver::Store {
        self.api.store()
    }

    /// Makes a request at `at`.
    pub fn ask(&mut self, at: Time, call: Call) {
        // The tag asks for an answer, so that a refusal is seen.
        self.push(at.max(self.now), Message::ToServer(CLIENT, Box::new(Request { tag: Tag(1), call })));
    }

    /// Makes a request now.
    pub fn ask_now(&mut self, call: Call) {
        self.ask(self.now, call);
    }

    fn push(&mut self, at: Time, message: Message) {
        self.serial += 1;
        self.queue.push(Reverse(Due { at, serial: self.serial, message }));
    }

    /// Runs everything up to and at `end`.
    pub fn run_until(&mut self, end: Time) {
        while let Some(Reverse(due)) = self.queue.peek() {
            if due.at > end {
                break;
            }
            let Some(Reverse(Due { at, message, .. })) = self.queue.pop() else { break };
            self.now = at;
            match message {
                Message::ToServer(from, mut request) => {
                    // There is no kubelet that would end a pod.
                    if let Call::Delete(key, options) = &mut request.call
                        && key.kind == crate::model::Kind::Pod
                    {
                        *options = DeleteOptions { grace: Some(Duration::ZERO), ..*options };
                    }
                    self.server(apiserver::In::Request { from, request });
                }
                Message::Server(message) => self.server(message),
                Message::Scheduler(message) => self.scheduler(message),
            }
        }
        self.now = self.now.max(end);
    }

    fn server(&mut self, message: apiserver::In) {
        let mut fx = std::mem::take(&mut self.server_fx);
        fx.begin(self.now, Cause::NONE, self.next_record);
        self.api.handle(message, &mut fx);
        self.next_record = fx.next_record();
        for record in fx.drain_records() {
            if let Record::Written(change, Object::Pod(pod)) = record.what {
                if change == Change::Deleted {
                    self.pods.remove(&pod.meta.uid);
                    continue;
                }
                let known = self.pods.entry(pod.meta.uid).or_insert_with(|| Known {
                    namespace: pod.meta.namespace,
                    name: pod.meta.name,
                    labels: pod.meta.labels.clone(),
                    bound: false,
                    // A gated pod is never tried; its condition says so from the start.
                    attempted: !pod.spec.scheduling_gates.is_empty(),
                });
                if pod.node.is_some() && !known.bound {
                    known.bound = true;
                    *self.bound.entry(pod.meta.namespace).or_default() += 1;
                }
            }
        }
        for (_, effect) in fx.drain_effects() {
            match effect {
                Effect::Wake { at, message } => self.push(at, Message::Server(message)),
                Effect::Send { delay, message } => self.from_server(delay, message),
            }
        }
        self.server_fx = fx;
    }

    fn from_server(&mut self, delay: Duration, message: apiserver::Out) {
        let at = self.now + delay + LINK;
        match message {
            apiserver::Out::Respond { to: SCHEDULER, response } => {
                self.push(at, Message::Scheduler(scheduler::In::Api(response)));
            }
            apiserver::Out::Respond { response, .. } => {
                if let Err(status) = response.result {
                    self.refused.get_or_insert_with(|| status.to_string());
                }
            }
            apiserver::Out::Deliver { to: SCHEDULER, event } => {
                self.push(at, Message::Scheduler(scheduler::In::Watch(event)));
            }
            apiserver::Out::Deliver { .. } => {}
        }
    }

    fn scheduler(&mut self, message: scheduler::In) {
        let mut fx = std::mem::take(&mut self.scheduler_fx);
        fx.begin(self.now, Cause::NONE, self.next_record);
        self.scheduler.handle(message, &mut fx);
        self.next_record = fx.next_record();
        for record in fx.drain_records() {
            if let Record::Attempt { pod, .. } = record.what
                && let Some(known) = self.pods.get_mut(&pod.uid)
            {
                known.attempted = true;
            }
        }
        for (_, effect) in fx.drain_effects() {
            match effect {
                Effect::Wake { at, message } => self.push(at, Message::Scheduler(message)),
                Effect::Send { delay, message: scheduler::Out::Api(request) } => {
                    self.push(self.now + delay + LINK, Message::ToServer(SCHEDULER, request));
                }
            }
        }
        self.scheduler_fx = fx;
    }
}
