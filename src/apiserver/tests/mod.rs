//! Tests of the API server, called directly.
//!
//! `Play` hands requests over, fires timers when their time comes, and keeps what was answered and delivered.

mod admission;
mod deletion;
mod leases;
mod pods;
mod validation;
mod watches;
mod writes;

use std::sync::Arc;

use super::{ApiServer, Config, In, Out};
use crate::kernel::{Cause, Distribution, Duration, Effect, Recorded, Streams, Time};
use crate::model::pod::{Container, PodSpec};
use crate::model::workload::{Deployment, DeploymentStatus, DeploymentStrategy, IntOrPercent, PodTemplate};
use crate::model::{Key, Kind, Labels, Meta, Name, Node, Object, Pod, Selector};
use crate::protocol::api::{Answer, Call, ClientId, DeleteOptions, Patch, Request, Status, Tag, Watch, WatchEvent};
use crate::trace::{Effects, Record};

pub(super) const CLIENT: ClientId = ClientId(1);

pub(super) struct Play {
    pub(super) api: ApiServer,
    fx: Effects<In, Out>,
    now: Time,
    next_record: u32,
    timers: Vec<(Time, In)>,
    /// What was said, with the time at which it leaves.
    said: Vec<(Time, Out)>,
    pub(super) records: Vec<Recorded<Record>>,
}

impl Play {
    /// An API server that needs no time.
    pub(super) fn new() -> Play {
        Play::with(Play::at_once())
    }

    /// The settings of a server that needs no time.
    pub(super) fn at_once() -> Config {
        let none = Distribution::Constant(Duration::ZERO);
        Config { write_latency: none.clone(), read_latency: none.clone(), watch_latency: none, ..Config::default() }
    }

    pub(super) fn with(config: Config) -> Play {
        Play {
            api: ApiServer::new(config, &Streams::new(1)),
            fx: Effects::default(),
            now: Time::ZERO,
            next_record: 1,
            timers: Vec::new(),
            said: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Goes on to this moment.
    pub(super) fn at(&mut self, time: Time) -> &mut Play {
        loop {
            self.timers.sort_by_key(|(at, _)| *at);
            match self.timers.first() {
                Some((at, _)) if *at <= time => {
                    let (at, message) = self.timers.remove(0);
                    self.now = at;
                    self.hand(message);
                }
                _ => break,
            }
        }
        self.now = time;
        self
    }

    pub(super) fn hand(&mut self, message: In) {
        self.fx.begin(self.now, Cause::NONE, self.next_record);
        self.api.handle(message, &mut self.fx);
        self.next_record = self.fx.next_record();
        for (_, effect) in self.fx.drain_effects() {
            match effect {
                Effect::Send { delay, message } => self.said.push((self.now + delay, message)),
                Effect::Wake { at, message } => self.timers.push((at, message)),
            }
        }
        self.records.extend(self.fx.drain_records());
        assert_eq!(self.api.store().check(), Vec::<String>::new());
    }

    /// Hands a request over as `client`; nothing comes back but by [`Play::heard`].
    pub(super) fn send(&mut self, client: ClientId, tag: Tag, call: Call) {
        self.hand(In::Request { from: client, request: Box::new(Request { tag, call }) });
    }

    /// The answer to a request of [`CLIENT`].
    pub(super) fn call(&mut self, call: Call) -> Result<Answer, Status> {
        self.send(CLIENT, Tag(7), call);
        let answers = self.said.iter().rposition(|(_, out)| matches!(out, Out::Respond { .. }));
        let (_, out) = self.said.remove(answers.expect("a request is answered"));
        match out {
            Out::Respond { to, response } => {
                assert_eq!((to, response.tag), (CLIENT, Tag(7)));
                response.result
            }
            Out::Deliver { .. } => unreachable!("it was found as an answer"),
        }
    }

    /// The object that a request answers with.
    pub(super) fn ok(&mut self, call: Call) -> Object {
        match self.call(call) {
            Ok(Answer::Object(object)) => object,
            other => panic!("{other:?}"),
        }
    }

    /// The error that a request answers with: `409 …`.
    pub(super) fn error(&mut self, call: Call) -> String {
        match self.call(call) {
            Err(status) => format!("{} {}", status.reason.code(), status.message),
            Ok(answer) => panic!("{answer:?}"),
        }
    }

    pub(super) fn create(&mut self, object: impl Into<Object>) -> Object {
        self.ok(Call::Create(object.into()))
    }

    pub(super) fn patch(&mut self, key: Key, patch: Patch) -> Object {
        self.ok(Call::Patch(key, patch))
    }

    pub(super) fn bind(&mut self, pod: &str, node: &str) {
        let call = Call::Bind { pod: pod_key(pod), uid: Default::default(), node: Name::new(node) };
        assert_eq!(self.call(call), Ok(Answer::Done));
    }

    pub(super) fn delete(&mut self, key: Key, grace: Option<u64>) -> Object {
        let grace = grace.map(Duration::from_secs);
        self.ok(Call::Delete(key, DeleteOptions { grace, ..DeleteOptions::default() }))
    }

    pub(super) fn pod(&self, name: &str) -> Option<Pod> {
        self.api.store().pod(Name::new("default"), Name::new(name)).map(|pod| Pod::clone(pod))
    }

    pub(super) fn watch(&mut self, client: ClientId, kind: Kind, node: Option<&str>) {
        self.send(client, Tag(9), Call::Watch(Watch { kind, node: node.map(Name::new) }));
    }

    /// What `client` was told since it was last asked, in the order in which it leaves: `ADDED web @12`.
    pub(super) fn heard(&mut self, client: ClientId) -> Vec<String> {
        self.events(client).iter().map(|(_, event)| shown(event)).collect()
    }

    /// The same as events with their times.
    pub(super) fn events(&mut self, client: ClientId) -> Vec<(Time, Arc<WatchEvent>)> {
        let mut events = Vec::new();
        self.said.retain(|(at, out)| match out {
            Out::Deliver { to, event } if *to == client => {
                events.push((*at, event.clone()));
                false
            }
            _ => true,
        });
        events.sort_by_key(|(at, _)| *at);
        events
    }
}

fn shown(event: &WatchEvent) -> String {
    let (word, object) = match event {
        WatchEvent::Listed(_, objects) => {
            let names: Vec<&str> = objects.iter().map(|object| object.meta().name.as_str()).collect();
            return format!("LISTED {}", names.join(","));
        }
        WatchEvent::Broken(watch) => return format!("BROKEN {}", watch.kind.plural()),
        WatchEvent::Added(object) => ("ADDED", object),
        WatchEvent::Modified(object) => ("MODIFIED", object),
        WatchEvent::Deleted(object) => ("DELETED", object),
    };
    format!("{word} {}", object.meta().name)
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Object {
        Object::Pod(Arc::new(pod))
    }
}

impl From<Node> for Object {
    fn from(node: Node) -> Object {
        Object::Node(Arc::new(node))
    }
}

impl From<Deployment> for Object {
    fn from(deployment: Deployment) -> Object {
        Object::Deployment(Arc::new(deployment))
    }
}

pub(super) fn second(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

pub(super) fn names(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().map(|(key, value)| (Name::new(key), Name::new(value))))
}

pub(super) fn container(name: &str) -> Container {
    Container { name: Name::new(name), image: Name::new("app:1"), ..Container::default() }
}

pub(super) fn spec() -> PodSpec {
    PodSpec { containers: Arc::new([container("main")]), ..PodSpec::default() }
}

pub(super) fn pod(name: &str) -> Pod {
    Pod { meta: Meta::named("default", name), spec: Arc::new(spec()), ..Pod::default() }
}

pub(super) fn pod_key(name: &str) -> Key {
    Key::new(Kind::Pod, "default", name)
}

pub(super) fn node(name: &str, labels: &[(&str, &str)]) -> Node {
    Node { meta: Meta { labels: names(labels), ..Meta::named("", name) }, ..Node::default() }
}

pub(super) fn deployment(name: &str) -> Deployment {
    let labels = names(&[("app", "web")]);
    Deployment {
        meta: Meta::named("default", name),
        replicas: 3,
        selector: Selector::from_labels(&labels),
        template: Arc::new(PodTemplate { labels, annotations: Labels::default(), spec: Arc::new(spec()) }),
        strategy: DeploymentStrategy::RollingUpdate {
            max_unavailable: IntOrPercent::Percent(25),
            max_surge: IntOrPercent::Percent(25),
        },
        min_ready: Duration::ZERO,
        revision_history_limit: 10,
        progress_deadline: Duration::from_secs(600),
        paused: false,
        status: DeploymentStatus::default(),
    }
}
