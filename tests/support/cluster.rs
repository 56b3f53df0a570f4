//! The scheduler with a little API server around it: nodes and pods, bindings, patches, deletions; each answer takes 2 ms.

use std::collections::BTreeMap;
use std::sync::Arc;

use simlet::kernel::{Cause, Duration, Effect, Streams, Time};
use simlet::model::{
    Condition, Container, Kind, Labels, Meta, MilliCpu, Name, Node, Object, OwnerReference, Pod, PodSpec, Uid,
    condition,
};
use simlet::protocol::api::{Answer, Call, Patch, Request, Response, Status, StatusReason, Tag, Watch, WatchEvent};
use simlet::scheduler::{Config, Fx, In, Out, Scheduler};
use simlet::trace::Record;

const LATENCY: Duration = Duration::from_millis(2);

enum Happens {
    ToScheduler(In),
    ToServer(Request),
}

/// The cluster.
pub struct Cluster {
    pub scheduler: Scheduler,
    pub now: Time,
    fx: Fx,
    queue: BTreeMap<(Time, u64), Happens>,
    serial: u64,
    pub pods: BTreeMap<Name, Arc<Pod>>,
    pub nodes: BTreeMap<Name, Arc<Node>>,
    /// `1.002 bind web-1 n1`, and the like.
    pub log: Vec<String>,
    pub keep_log: bool,
    /// The next bindings fail.
    pub refuse_bindings: u32,
    pub bound: usize,
    /// The owner and the labels of pods that are added.
    pub owner: Option<OwnerReference>,
    pub labels: Labels,
    pub records: usize,
}

pub fn node(name: &str, milli_cpu: i64) -> Node {
    let mut node = Node { meta: Meta::named("", name), ..Node::default() };
    node.status.allocatable.cpu = MilliCpu(milli_cpu);
    node.status.allocatable.memory.0 = 64 << 30;
    node.status.allocatable.pods = 110;
    node
}

pub fn spec(milli_cpu: i64) -> PodSpec {
    let mut container = Container { name: Name::new("app"), image: Name::new("app"), ..Container::default() };
    container.resources.requests.cpu = Some(MilliCpu(milli_cpu));
    container.resources.requests.memory = Some(simlet::model::Bytes(1 << 29));
    PodSpec { containers: Arc::new([container]), ..PodSpec::default() }
}

impl Cluster {
    /// A cluster whose scheduler has just started and has heard the empty lists.
    pub fn new(config: Config) -> Cluster {
        let mut cluster = Cluster {
            scheduler: Scheduler::new(config, &Streams::new(7)),
            now: Time::ZERO,
            fx: Fx::default(),
            queue: BTreeMap::new(),
            serial: 0,
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            log: Vec::new(),
            keep_log: true,
            refuse_bindings: 0,
            bound: 0,
            owner: None,
            labels: Labels::default(),
            records: 0,
        };
        cluster.push(Time::ZERO, Happens::ToScheduler(In::Start));
        cluster.run_until(Time::from_secs(0) + LATENCY);
        cluster
    }

    /// The scheduler's process starts again.
    pub fn restart(&mut self) {
        self.push(self.now, Happens::ToScheduler(In::Start));
    }

    pub fn add_node(&mut self, node: Node) {
        let node = Arc::new(node);
        let known = self.nodes.insert(node.meta.name, node.clone()).is_some();
        self.tell(if known { WatchEvent::Modified(Object::Node(node)) } else { WatchEvent::Added(Object::Node(node)) });
    }

    pub fn add_pod(&mut self, name: &str, spec: &Arc<PodSpec>) {
        let mut meta = Meta::named("default", name);
        meta.uid = Uid(self.pods.len() as u64 + 1);
        meta.resource_version = 1;
        meta.owner = self.owner;
        meta.labels = self.labels.clone();
        let pod = Arc::new(Pod { meta, spec: spec.clone(), ..Pod::default() });
        self.pods.insert(pod.meta.name, pod.clone());
        self.tell(WatchEvent::Added(Object::Pod(pod)));
    }

    pub fn delete_pod(&mut self, name: &str) {
        if let Some(pod) = self.pods.remove(&Name::new(name)) {
            self.tell(WatchEvent::Deleted(Object::Pod(pod)));
        }
    }

    pub fn change_pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let Some(pod) = self.pods.get_mut(&Name::new(name)) else { return };
        let pod = Arc::make_mut(pod);
        change(pod);
        pod.meta.resource_version += 1;
        let pod = Arc::new(pod.clone());
        self.tell(WatchEvent::Modified(Object::Pod(pod)));
    }

    pub fn node_of(&self, pod: &str) -> Option<&'static str> {
        self.pods.get(&Name::new(pod)).and_then(|pod| pod.node).map(Name::as_str)
    }

    /// How many timers and messages are still to come.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    fn push(&mut self, at: Time, what: Happens) {
        self.serial += 1;
        self.queue.insert((at, self.serial), what);
    }

    pub fn tell(&mut self, event: WatchEvent) {
        self.push(self.now, Happens::ToScheduler(In::Watch(Arc::new(event))));
    }

    /// Runs everything up to and at `end`.
    pub fn run_until(&mut self, end: Time) {
        while let Some(entry) = self.queue.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            self.now = at;
            match entry.remove() {
                Happens::ToServer(request) => self.serve(request),
                Happens::ToScheduler(message) => {
                    self.fx.begin(at, Cause::NONE, 1);
                    self.scheduler.handle(message, &mut self.fx);
                    let records: Vec<_> = self.fx.drain_records().collect();
                    self.records += records.len();
                    for record in records {
                        if let (true, Record::Attempt { pod, outcome, .. }) = (self.keep_log, record.what) {
                            let what = match outcome {
                                simlet::trace::Outcome::Scheduled { node } => format!("on {node}"),
                                simlet::trace::Outcome::Unschedulable { .. } => "unschedulable".to_owned(),
                                simlet::trace::Outcome::Error { .. } => "error".to_owned(),
                            };
                            self.log.push(format!("{} attempt {} {what}", seconds(at), pod.name));
                        }
                    }
                    let effects: Vec<_> = self.fx.drain_effects().collect();
                    for (_, effect) in effects {
                        match effect {
                            Effect::Wake { at, message } => self.push(at, Happens::ToScheduler(message)),
                            Effect::Send { delay, message: Out::Api(request) } => {
                                self.push(at + delay + LATENCY / 2, Happens::ToServer(*request));
                            }
                        }
                    }
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn serve(&mut self, Request { tag, call }: Request) {
        let result = match call {
            Call::Watch(watch) => {
                let objects = self.list(watch);
                self.tell(WatchEvent::Listed(watch, objects));
                Ok(Answer::Watching)
            }
            Call::Bind { .. } if self.refuse_bindings > 0 => {
                self.refuse_bindings -= 1;
                Err(Status::new(StatusReason::InternalError, "refused"))
            }
            Call::Bind { pod, node, .. } => {
                self.bound += 1;
                self.note(format!("bind {} {node}", pod.name));
                self.change_pod(&pod.name, |pod| {
                    pod.node = Some(node);
                    pod.status.nominated_node = None;
                });
                Ok(Answer::Done)
            }
            Call::Patch(key, Patch::Condition(Condition { kind, status, reason, message, .. })) => {
                self.note(format!("{} {kind}={} {reason}: {message}", key.name, status.as_str()));
                let now = self.now;
                self.change_pod(&key.name, |pod| {
                    condition::set(&mut pod.status.conditions, now, kind, status, reason, message);
                });
                Ok(Answer::Done)
            }
            Call::Patch(key, Patch::NominatedNode(node)) => {
                self.note(format!("{} nominated {}", key.name, node.unwrap_or_default()));
                self.change_pod(&key.name, |pod| pod.status.nominated_node = node);
                Ok(Answer::Done)
            }
            Call::Delete(key, _) => {
                self.note(format!("delete {}", key.name));
                self.delete_pod(&key.name);
                Ok(Answer::Done)
            }
            Call::Create(Object::Event(event)) => {
                self.note(format!("event {} x{} {}", event.reason, event.count, event.message));
                Ok(Answer::Done)
            }
            _ => Ok(Answer::Done),
        };
        if tag != Tag::NONE {
            let answer = In::Api(Box::new(Response { tag, result }));
            self.push(self.now + LATENCY / 2, Happens::ToScheduler(answer));
        }
    }

    fn list(&self, watch: Watch) -> Box<[Object]> {
        match watch.kind {
            Kind::Pod => self.pods.values().cloned().map(Object::Pod).collect(),
            Kind::Node => self.nodes.values().cloned().map(Object::Node).collect(),
            _ => Box::new([]),
        }
    }

    fn note(&mut self, text: String) {
        if self.keep_log {
            self.log.push(format!("{} {text}", seconds(self.now)));
        }
    }
}

fn seconds(time: Time) -> String {
    format!("{:.3}", time.as_nanos() as f64 / 1e9)
}
