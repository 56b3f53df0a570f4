//! For tests: a small API server and obedient kubelets around a controller manager, and the clock that drives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::{Cause, Duration, Effect, Streams, Time};
use crate::model::config::Lease;
use crate::model::labels::{Labels, Selector};
use crate::model::workload::PodTemplate;
use crate::model::{
    Condition, ConditionStatus, Deletion, Key, Kind, Meta, Name, Node, Object, Phase, Pod, PodSpec, Uid, condition,
};
use crate::protocol::api::{
    Answer, Call, ClaimChange, DeleteOptions, Patch, Propagation, Response, Status, StatusReason, Tag, WatchEvent,
};
use crate::trace::Effects;

use super::{Config, ControllerManager, In, Out};

/// What tests look at: everything the controllers asked for, with its time.
pub struct World {
    pub now: Time,
    manager: ControllerManager,
    fx: Effects<In, Out>,
    pub objects: BTreeMap<Key, Object>,
    queue: BTreeMap<(Time, u64), What>,
    sequence: u64,
    version: u64,
    pub kubelet: Kubelet,
    /// Pods beyond this number are refused by a quota.
    pub quota: Option<usize>,
    log: Vec<(Time, String)>,
    pub handled: usize,
}

/// How pods behave. A pod without a node is bound to the first node at once.
#[derive(Clone, Copy)]
pub struct Kubelet {
    /// From creation until Ready; None: never ready.
    pub ready_after: Option<Duration>,
    /// From Running until the containers exit with this code.
    pub exits: Option<(Duration, i32)>,
    /// From the deletion's request until the pod is gone.
    pub dies_after: Option<Duration>,
}

enum What {
    Manager(In),
    Server(Tag, Box<Call>),
    Pod(Uid, Key, Step),
}

#[derive(Clone, Copy)]
enum Step {
    Run,
    Ready,
    Exit(i32),
    Gone,
}

const LATENCY: Duration = Duration::from_millis(2);

impl World {
    /// A world with these objects (and a node n0 if there is none among them), in which the controllers have just started.
    pub fn new(config: Config, objects: Vec<Object>) -> World {
        let kubelet = Kubelet {
            ready_after: Some(Duration::from_secs(5)),
            exits: None,
            dies_after: Some(Duration::from_secs(1)),
        };
        let mut world = World {
            now: Time::ZERO,
            manager: ControllerManager::new(config, &Streams::new(1)),
            fx: Effects::default(),
            objects: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            version: 0,
            kubelet,
            quota: None,
            log: Vec::new(),
            handled: 0,
        };
        if !objects.iter().any(|object| object.kind() == Kind::Node) {
            world.create(node("n0", "a")).expect("the object is new");
        }
        for object in objects {
            world.create(object).expect("the object is new");
        }
        world.push(Time::ZERO, What::Manager(In::Start { settled: false }));
        world
    }

    /// Runs until nothing is left to do, or until `seconds` after the start.
    pub fn run_until(&mut self, seconds: f64) {
        let end = Time::from_nanos((seconds * 1e9) as u64);
        while let Some((&(at, _), _)) = self.queue.first_key_value()
            && at <= end
        {
            let (_, what) = self.queue.pop_first().expect("there is a first");
            self.now = at;
            match what {
                What::Manager(message) => self.tell(message),
                What::Server(tag, call) => self.serve(tag, *call),
                What::Pod(uid, key, step) => self.step(uid, key, step),
            }
        }
        self.now = end;
    }

    /// How many messages wait; 0 means that the cluster sleeps.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A user's call, now.
    pub fn call(&mut self, call: Call) {
        self.serve(Tag::NONE, call);
    }

    /// Says that a node's lease is renewed, or that it was renewed last at `renewed` and no more.
    pub fn lease(&mut self, node: &str, renewing: bool) {
        let meta = Meta::named("kube-node-lease", node);
        let renewed = (!renewing).then_some(self.now);
        let object = Object::Lease(Lease { meta, renewing, renewed, ..Lease::default() }.into());
        self.upsert(object);
    }

    /// Creates, or replaces, an object.
    pub fn upsert(&mut self, object: Object) {
        if self.objects.contains_key(&object.key()) {
            self.store(object);
        } else {
            self.create(object).expect("it was not there");
        }
    }

    /// Changes an object.
    pub fn change<T>(&mut self, key: Key, change: impl FnOnce(&mut Object) -> T) {
        let mut object = self.objects.get(&key).expect("the object exists").clone();
        change(&mut object);
        object.meta_mut().generation += 1;
        self.store(object);
    }

    /// What was logged of these first words, as `1.2s text`, seconds with a tenth.
    pub fn log(&self, starts: &str) -> Vec<String> {
        let lines = self.log.iter().filter(|(_, line)| line.starts_with(starts));
        lines.map(|(at, line)| format!("{:.1} {line}", at.as_secs_f64())).collect()
    }

    /// The texts of the log, without times, that begin with `starts`.
    pub fn texts(&self, starts: &str) -> Vec<String> {
        self.log.iter().filter(|(_, line)| line.starts_with(starts)).map(|(_, line)| line.clone()).collect()
    }

    /// When lines with this beginning were logged, in seconds.
    pub fn times(&self, starts: &str) -> Vec<f64> {
        self.log.iter().filter(|(_, line)| line.starts_with(starts)).map(|(at, _)| at.as_secs_f64()).collect()
    }

    /// The pods, in the order of their names.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.objects.values().filter_map(Object::as_pod).cloned().collect()
    }

    fn push(&mut self, at: Time, what: What) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), what);
    }

    fn tell(&mut self, message: In) {
        self.handled += 1;
        self.fx.begin(self.now, Cause::NONE, 1);
        self.manager.handle(message, &mut self.fx);
        self.fx.drain_records();
        let effects: Vec<_> = self.fx.drain_effects().map(|(_, effect)| effect).collect();
        for effect in effects {
            match effect {
                Effect::Wake { at, message } => self.push(at, What::Manager(message)),
                Effect::Send { delay, message: Out::Api(request) } => {
                    self.push(self.now + delay + LATENCY, What::Server(request.tag, request.call.into()));
                }
            }
        }
    }

    fn serve(&mut self, tag: Tag, call: Call) {
        let result = self.perform(call);
        if tag != Tag::NONE {
            let response = Response { tag, result };
            self.push(self.now + LATENCY, What::Manager(In::Api(response.into())));
        }
    }

    fn perform(&mut self, call: Call) -> Result<Answer, Status> {
        match call {
            Call::Create(object) => self.create(object).map(Answer::Object),
            Call::Update(object) => self.update(object, false),
            Call::UpdateStatus(object) => self.update(object, true),
            Call::Patch(key, patch) => self.patch(key, patch),
            Call::Delete(key, options) => self.delete(key, options),
            Call::Watch(watch) => {
                let listed: Vec<Object> = self.objects.values().filter(|o| o.kind() == watch.kind).cloned().collect();
                self.deliver(WatchEvent::Listed(watch, listed.into()));
                Ok(Answer::Watching)
            }
            _ => Ok(Answer::Done),
        }
    }

    fn deliver(&mut self, event: WatchEvent) {
        self.push(self.now + LATENCY, What::Manager(In::Watch(event.into())));
    }

    fn create(&mut self, mut object: Object) -> Result<Object, Status> {
        if let Object::Event(event) = &object {
            self.log.push((self.now, format!("{} {}", event.reason, event.message)));
            return Ok(object);
        }
        let pods = || self.objects.values().filter(|o| o.as_pod().is_some_and(|pod| pod.is_active())).count();
        let is_full = object.kind() == Kind::Pod && self.quota.is_some_and(|quota| pods() >= quota);
        self.version += 1;
        let (version, now) = (self.version, self.now);
        let kind = object.kind();
        if is_full {
            return Err(Status::new(StatusReason::Forbidden, "exceeded quota"));
        }
        let meta = object.meta_mut();
        if meta.name.is_empty() {
            meta.name = Name::from(format!("{}{version:05}", meta.generate_name));
        }
        if meta.uid == Uid::NONE {
            meta.uid = Uid(version);
        }
        meta.resource_version = version;
        meta.generation = 1;
        meta.created = now.truncated_to_second();
        let key = object.key();
        if self.objects.contains_key(&key) {
            return Err(Status::already_exists(&key));
        }
        if kind == Kind::Pod {
            let first_node = self.objects.range(Key::new(Kind::Node, "", "")..).next();
            let first_node = first_node.and_then(|(_, object)| object.as_node()).map(|node| node.meta.name);
            let Object::Pod(pod) = &mut object else { unreachable!("it is a pod") };
            let pod = Arc::make_mut(pod);
            // The scheduler would follow the affinity of a DaemonSet's pod.
            let meant = pod.spec.affinity.as_ref().and_then(|affinity| affinity.node_required.as_ref());
            let meant = meant.and_then(|required| required.terms.first()?.fields.first()?.values.first().copied());
            pod.node = pod.node.or(meant).or(first_node);
            let uid = pod.meta.uid;
            if let Some(ready_after) = self.kubelet.ready_after {
                self.push(now + ready_after, What::Pod(uid, key, Step::Ready));
            }
            self.push(now + Duration::from_millis(500), What::Pod(uid, key, Step::Run));
        }
        self.log.push((now, format!("+{kind:?} {}", key.name)));
        self.objects.insert(key, object.clone());
        self.deliver(WatchEvent::Added(object.clone()));
        if kind == Kind::Node {
            self.lease(key.name.as_str(), true);
        }
        Ok(object)
    }

    fn store(&mut self, mut object: Object) -> Object {
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        self.objects.insert(object.key(), object.clone());
        self.deliver(WatchEvent::Modified(object.clone()));
        object
    }

    fn update(&mut self, object: Object, status: bool) -> Result<Answer, Status> {
        let key = object.key();
        let Some(stored) = self.objects.get(&key) else { return Err(Status::not_found(&key)) };
        let version = object.meta().resource_version;
        if version != 0 && version != stored.meta().resource_version {
            return Err(Status::conflict(&key));
        }
        if *stored == object {
            return Ok(Answer::Object(object));
        }
        let generation = stored.meta().generation;
        let mut object = object;
        object.meta_mut().generation = if status { generation } else { generation + 1 };
        if let (Object::ReplicaSet(old), Object::ReplicaSet(new)) = (stored, &object)
            && old.replicas != new.replicas
        {
            self.log.push((self.now, format!("scale {} {}", key.name, new.replicas)));
        }
        Ok(Answer::Object(self.store(object)))
    }

    fn patch(&mut self, key: Key, patch: Patch) -> Result<Answer, Status> {
        let Some(stored) = self.objects.get(&key) else { return Err(Status::not_found(&key)) };
        let mut object = stored.clone();
        match patch {
            Patch::Condition(new) => {
                self.log.push((self.now, format!("condition {} {}={}", key.name, new.kind, new.status.as_str())));
                let conditions = match &mut object {
                    Object::Pod(pod) => &mut Arc::make_mut(pod).status.conditions,
                    Object::Node(node) => &mut Arc::make_mut(node).status.conditions,
                    other => panic!("no conditions of {}", other.key()),
                };
                condition::set(conditions, self.now, new.kind, new.status, new.reason, new.message);
            }
            Patch::Taints { add, remove } => {
                let Object::Node(node) = &mut object else { panic!("only nodes have taints") };
                let taints = &mut Arc::make_mut(node).spec.taints;
                taints.retain(|taint| !remove.iter().any(|gone| gone.is_same(taint)));
                for taint in add {
                    let text = format!("taint {} {}:{}", key.name, taint.key, taint.effect.as_str());
                    self.log.push((self.now, text));
                    taints.push(taint);
                }
                for taint in remove {
                    let text = format!("untaint {} {}:{}", key.name, taint.key, taint.effect.as_str());
                    self.log.push((self.now, text));
                }
            }
            Patch::Owner(owner) => object.meta_mut().owner = owner,
            Patch::RemoveFinalizer(name) => {
                object.meta_mut().finalizers.retain(|finalizer| *finalizer != name);
                if object.meta().finalizers.is_empty() && object.meta().deletion.is_some() {
                    let pod_lives =
                        object.as_pod().is_some_and(|pod| pod.meta.deletion.is_some_and(|d| !d.grace.is_zero()));
                    if !pod_lives {
                        self.remove(key);
                        return Ok(Answer::Object(object));
                    }
                }
            }
            Patch::Unschedulable(unschedulable) => {
                let Object::Node(node) = &mut object else { panic!("only nodes are cordoned") };
                Arc::make_mut(node).spec.unschedulable = unschedulable;
            }
            Patch::Annotations(pairs) => {
                for (name, value) in pairs {
                    let meta = object.meta_mut();
                    meta.annotations = match value {
                        Some(value) => meta.annotations.with(name, value),
                        None => meta.annotations.without(name),
                    };
                }
            }
            Patch::PodClaims(claims) => {
                let Object::Pod(pod) = &mut object else { panic!("only pods have claims") };
                let texts: Vec<String> =
                    claims.iter().map(|(name, claim)| format!("{name}={}", claim.unwrap_or_default())).collect();
                self.log.push((self.now, format!("claims of {}: {}", key.name, texts.join(" "))));
                Arc::make_mut(pod).status.claims = claims;
            }
            Patch::Claim(change) => {
                let Object::ResourceClaim(claim) = &mut object else { panic!("it is no claim") };
                let claim = Arc::make_mut(claim);
                let what = match change {
                    ClaimChange::Release(gone) => {
                        claim.status.reserved_for.retain(|consumer| !gone.contains(&consumer.uid));
                        "release"
                    }
                    ClaimChange::Unallocate => {
                        claim.status.allocation = None;
                        claim.meta.finalizers.clear();
                        "unallocate"
                    }
                    ClaimChange::Reserve(consumer) => {
                        claim.status.reserved_for.push(consumer);
                        "reserve"
                    }
                    other => panic!("a controller does not ask for {other:?}"),
                };
                self.log.push((self.now, format!("{what} {}", key.name)));
            }
            other => panic!("the fake does not know {other:?}"),
        }
        Ok(Answer::Object(self.store(object)))
    }

    fn delete(&mut self, key: Key, options: DeleteOptions) -> Result<Answer, Status> {
        let Some(stored) = self.objects.get(&key) else { return Err(Status::not_found(&key)) };
        let mut object = stored.clone();
        if options.uid.is_some_and(|uid| uid != object.meta().uid) {
            return Err(Status::conflict(&key));
        }
        match options.propagation {
            Propagation::Background => {}
            Propagation::Foreground => object.meta_mut().finalizers.push(Name::new("foregroundDeletion")),
            Propagation::Orphan => object.meta_mut().finalizers.push(Name::new("orphan")),
        }
        let mut grace = Duration::ZERO;
        if let Some(pod) = object.as_pod() {
            let running = pod.node.is_some() && !pod.status.phase.is_terminal();
            grace = options.grace.unwrap_or(if running { pod.spec.termination_grace } else { Duration::ZERO });
        }
        if grace.is_zero() && object.meta().finalizers.is_empty() {
            self.remove(key);
            return Ok(Answer::Object(object));
        }
        if object.meta().deletion.is_none() {
            self.log.push((self.now, format!("~{:?} {}", key.kind, key.name)));
            object.meta_mut().deletion = Some(Deletion { at: self.now + grace, grace });
            object.meta_mut().generation += 1;
            if key.kind == Kind::Pod
                && let Some(dies_after) = self.kubelet.dies_after
            {
                self.push(self.now + dies_after, What::Pod(object.meta().uid, key, Step::Gone));
            }
            object = self.store(object);
        }
        Ok(Answer::Object(object))
    }

    fn remove(&mut self, key: Key) {
        self.version += 1;
        if let Some(mut object) = self.objects.remove(&key) {
            self.log.push((self.now, format!("-{:?} {}", key.kind, key.name)));
            object.meta_mut().resource_version = self.version;
            self.deliver(WatchEvent::Deleted(object));
        }
    }

    fn step(&mut self, uid: Uid, key: Key, step: Step) {
        let Some(Object::Pod(pod)) = self.objects.get(&key) else { return };
        if pod.meta.uid != uid {
            return;
        }
        let mut pod = (**pod).clone();
        let now = self.now;
        match step {
            Step::Run if pod.status.phase == Phase::Pending => {
                pod.status.phase = Phase::Running;
                pod.status.pod_ip = Some(std::net::Ipv4Addr::from(0x0a00_0000 + uid.0 as u32));
                if let Some((after, code)) = self.kubelet.exits {
                    self.push(now + after, What::Pod(uid, key, Step::Exit(code)));
                }
            }
            Step::Ready if pod.is_active() => set_ready(&mut pod, now, true),
            Step::Exit(code) if !pod.status.phase.is_terminal() => {
                pod.status.phase = if code == 0 { Phase::Succeeded } else { Phase::Failed };
                let terminated = crate::model::pod::Terminated {
                    exit_code: code,
                    finished_at: now.into(),
                    ..crate::model::pod::Terminated::default()
                };
                pod.status.containers = vec![crate::model::ContainerStatus {
                    name: Name::new("main"),
                    state: crate::model::ContainerState::Terminated(terminated.into()),
                    last_terminated: None,
                    ready: false,
                    started: None,
                    restart_count: 0,
                    image: Name::default(),
                    container_id: 0,
                    runtime_id: Name::default(),
                    image_id: Name::default(),
                }];
                set_ready(&mut pod, now, false);
            }
            Step::Gone => {
                if !pod.status.phase.is_terminal() {
                    pod.status.phase = Phase::Succeeded;
                    set_ready(&mut pod, now, false);
                    self.store(Object::Pod(pod.into()));
                    self.push(now + Duration::from_millis(300), What::Pod(uid, key, Step::Gone));
                } else if pod.meta.finalizers.is_empty() {
                    self.remove(key);
                } else {
                    pod.meta.deletion = Some(Deletion { at: now, grace: Duration::ZERO });
                    self.store(Object::Pod(pod.into()));
                }
                return;
            }
            _ => return,
        }
        self.store(Object::Pod(pod.into()));
    }
}

/// Sets the Ready condition.
pub fn set_ready(pod: &mut Pod, now: Time, ready: bool) {
    let status = ConditionStatus::from(ready);
    condition::set(&mut pod.status.conditions, now, Name::new("Ready"), status, Name::default(), "".into());
}

/// Labels with one pair.
pub fn labels(key: &str, value: &str) -> Labels {
    Labels::new([(Name::new(key), Name::new(value))])
}

/// The selector `app=web` and the template that fits it, of this image.
pub fn app(image: &str) -> (Selector, Arc<PodTemplate>) {
    let labels = labels("app", "web");
    let container = crate::model::Container {
        name: Name::new("main"),
        image: Name::new(image),
        ..crate::model::Container::default()
    };
    let spec = PodSpec { containers: Arc::new([container]), ..PodSpec::default() };
    let template = PodTemplate { labels: labels.clone(), annotations: Labels::default(), spec: spec.into() };
    (Selector::from_labels(&labels), template.into())
}

/// A Ready node in a zone.
pub fn node(name: &str, zone: &str) -> Object {
    let meta = Meta { labels: labels("topology.kubernetes.io/zone", zone), ..Meta::named("", name) };
    let mut node = Node { meta, ..Node::default() };
    for (kind, status) in [
        ("MemoryPressure", ConditionStatus::False),
        ("DiskPressure", ConditionStatus::False),
        ("PIDPressure", ConditionStatus::False),
        ("Ready", ConditionStatus::True),
    ] {
        node.status.conditions.push(Condition {
            kind: Name::new(kind),
            status,
            reason: Name::default(),
            message: "".into(),
            last_transition: Time::ZERO,
            last_update: Time::ZERO,
        });
    }
    Object::Node(node.into())
}
