//! The cluster's state as conditions see it: each object with its plain Kubernetes fields and a few short ones.
//!
//! It is fed with the records of the run, change by change, and keeps only the collections that some condition uses.

use std::sync::{Arc, Mutex, MutexGuard};

use cel::extractors::Arguments;
use cel::objects::{Key as CelKey, Map};
use cel::{Context, ExecutionError, Value};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::manifest::{Epoch, print};
use crate::model::{Key, Kind, Labels, Name, Object, Pod, Selector, Uid};
use crate::trace::{Change, Entry, Record, Sink};

use super::placement::Preemptions;

/// A collection that expressions can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collection(pub(super) Kind);

/// The collections by their names.
pub(super) const COLLECTIONS: &[(&str, Collection)] = &[
    ("pods", Collection(Kind::Pod)),
    ("nodes", Collection(Kind::Node)),
    ("events", Collection(Kind::Event)),
    ("deployments", Collection(Kind::Deployment)),
    ("replicasets", Collection(Kind::ReplicaSet)),
    ("statefulsets", Collection(Kind::StatefulSet)),
    ("daemonsets", Collection(Kind::DaemonSet)),
    ("jobs", Collection(Kind::Job)),
    ("cronjobs", Collection(Kind::CronJob)),
    ("services", Collection(Kind::Service)),
    ("pdbs", Collection(Kind::PodDisruptionBudget)),
    ("pvcs", Collection(Kind::PersistentVolumeClaim)),
];

/// Our functions that are no collections.
pub(super) const FUNCTIONS: &[&str] = &["endpoints", "latency", "object", "now"];

impl Collection {
    /// The collection of this name.
    pub(super) fn named(name: &str) -> Option<Collection> {
        COLLECTIONS.iter().find(|(known, _)| *known == name).map(|(_, collection)| *collection)
    }

    /// The collection of this kind.
    pub(super) fn of(kind: Kind) -> Option<Collection> {
        COLLECTIONS.iter().find(|(_, collection)| collection.0 == kind).map(|(_, collection)| *collection)
    }
}

/// The state; shared between the run, which feeds it, and the functions of the expressions, which read it.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

struct State {
    epoch: Epoch,
    /// Kinds that some condition uses.
    wanted: Vec<Kind>,
    ages: bool,
    objects: FxHashMap<Kind, IndexMap<Key, Held>>,
    zones: FxHashMap<Name, Name>,
    endpoints: IndexMap<(Name, Name), Endpoints>,
    latencies: Option<Latencies>,
    /// Kept only if some expectation is about placements.
    preemptions: Option<Preemptions>,
    now: Time,
    /// What has changed since the last look.
    changed: Vec<(Kind, Labels)>,
    endpoints_changed: bool,
    latency_changed: bool,
}

struct Held {
    labels: Labels,
    created: Time,
    value: Value,
}

#[derive(Clone, Copy, Default)]
struct Endpoints {
    total: i64,
    ready: i64,
    serving: i64,
    terminating: i64,
}

/// When each pod reached what.
#[derive(Default)]
struct Latencies {
    pods: IndexMap<Uid, Milestones>,
}

struct Milestones {
    labels: Labels,
    created: Time,
    scheduled: Option<Time>,
    running: Option<Time>,
    ready: Option<Time>,
}

/// The milestones that `latency` measures, from the pod's creation.
const MEASURES: &[&str] = &["pod_scheduled", "pod_running", "pod_ready"];

/// A sink that feeds a world and hands every record on.
pub(super) struct Observer {
    pub(super) world: World,
    pub(super) next: Box<dyn Sink>,
}

impl Sink for Observer {
    fn take(&mut self, entry: &Entry) {
        self.world.observe(entry);
        self.next.take(entry);
    }
}

impl World {
    /// An empty world for conditions that use these kinds.
    pub(super) fn new(
        epoch: Epoch,
        wanted: Vec<Kind>,
        ages: bool,
        endpoints: bool,
        latency: bool,
        preemptions: bool,
    ) -> World {
        let mut wanted = wanted;
        if endpoints {
            wanted.push(Kind::EndpointSlice);
        }
        World(Arc::new(Mutex::new(State {
            epoch,
            wanted,
            ages,
            objects: FxHashMap::default(),
            zones: FxHashMap::default(),
            endpoints: IndexMap::new(),
            latencies: latency.then(Latencies::default),
            preemptions: preemptions.then(Preemptions::default),
            now: Time::ZERO,
            changed: Vec::new(),
            endpoints_changed: false,
            latency_changed: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Calls `f` with the preemptions so far.
    pub(super) fn with_preemptions<T>(&self, f: impl FnOnce(&Preemptions) -> T) -> T {
        match &self.state().preemptions {
            Some(preemptions) => f(preemptions),
            None => f(&Preemptions::default()),
        }
    }

    fn observe(&self, entry: &Entry) {
        let (change, event);
        let object = match &entry.what {
            Record::Written(how, object) => {
                change = *how;
                object
            }
            Record::Event(new) => {
                change = Change::Modified;
                event = Object::Event(Arc::clone(new));
                &event
            }
            _ => return,
        };
        let mut state = self.state();
        if let Some(preemptions) = &mut state.preemptions {
            preemptions.observe(change, object);
        }
        state.written(entry.time, change, object);
    }

    /// Makes it `now` for `age` and `now`.
    pub(super) fn set_now(&self, now: Time) {
        self.state().now = now;
    }

    /// Takes out what has changed since the last call: kinds with the labels of the changed objects, and whether
    /// endpoints and latencies did.
    pub(super) fn take_changes(&self, changed: &mut Vec<(Kind, Labels)>) -> (bool, bool) {
        let mut state = self.state();
        changed.clear();
        changed.append(&mut state.changed);
        (std::mem::take(&mut state.endpoints_changed), std::mem::take(&mut state.latency_changed))
    }

    /// A context in which expressions see this world.
    pub(super) fn context(&self) -> Context<'static, 'static> {
        let mut context = Context::default();
        for &(name, Collection(kind)) in COLLECTIONS {
            let world = self.clone();
            let function = move |Arguments(arguments): Arguments| world.collection(kind, &arguments);
            declared(context.add_function(name, function));
        }
        let world = self.clone();
        declared(context.add_function("endpoints", move |Arguments(arguments): Arguments| world.endpoints(&arguments)));
        let world = self.clone();
        declared(context.add_function("latency", move |Arguments(arguments): Arguments| world.latency(&arguments)));
        let world = self.clone();
        declared(context.add_function("object", move |Arguments(arguments): Arguments| world.object(&arguments)));
        let world = self.clone();
        let now = move |Arguments(_): Arguments| -> Result<Value, ExecutionError> {
            Ok(duration(world.state().now.since(Time::ZERO)))
        };
        declared(context.add_function("now", now));
        context
    }

    fn collection(&self, kind: Kind, arguments: &[Value]) -> Result<Value, ExecutionError> {
        let selector = match arguments.first() {
            None => None,
            Some(text) => {
                let text = string(text, "a label selector")?;
                Some(Selector::parse(text).map_err(|error| ExecutionError::function_error(kind.plural(), error))?)
            }
        };
        let state = self.state();
        let Some(objects) = state.objects.get(&kind) else { return Ok(Value::List(Arc::default())) };
        let matching = objects.values().filter(|held| selector.as_ref().is_none_or(|s| s.matches(&held.labels)));
        let values = if state.ages {
            matching.map(|held| with_age(held, state.now)).collect()
        } else {
            matching.map(|held| held.value.clone()).collect()
        };
        Ok(Value::List(Arc::new(values)))
    }

    fn endpoints(&self, arguments: &[Value]) -> Result<Value, ExecutionError> {
        let service = match arguments.first() {
            Some(text) => string(text, "a Service's name")?,
            None => return Err(ExecutionError::invalid_argument_count(1, 0)),
        };
        let (namespace, service) = service.split_once('/').unwrap_or(("default", service));
        let state = self.state();
        let counts = state.endpoints.get(&(Name::new(namespace), Name::new(service))).copied().unwrap_or_default();
        let fields = [
            ("total", counts.total),
            ("ready", counts.ready),
            ("serving", counts.serving),
            ("terminating", counts.terminating),
        ];
        Ok(map(fields.into_iter().map(|(name, count)| (name, Value::Int(count)))))
    }

    fn latency(&self, arguments: &[Value]) -> Result<Value, ExecutionError> {
        let measure = match arguments.first() {
            Some(text) => string(text, "a milestone")?,
            None => return Err(ExecutionError::invalid_argument_count(1, 0)),
        };
        if !MEASURES.contains(&measure) {
            let known = MEASURES.join(", ");
            return Err(ExecutionError::function_error("latency", format!("no `{measure}`; known: {known}")));
        }
        let selector = match arguments.get(1) {
            Some(text) => {
                let text = string(text, "a label selector")?;
                Selector::parse(text).map_err(|error| ExecutionError::function_error("latency", error))?
            }
            None => Selector::default(),
        };
        let state = self.state();
        let mut lengths: Vec<Duration> = Vec::new();
        for pod in state.latencies.iter().flat_map(|latencies| latencies.pods.values()) {
            let reached = match measure {
                "pod_scheduled" => pod.scheduled,
                "pod_running" => pod.running,
                _ => pod.ready,
            };
            if let (true, Some(at)) = (selector.matches(&pod.labels), reached) {
                lengths.push(at.since(pod.created));
            }
        }
        lengths.sort();
        let percentile = |percent: usize| {
            let rank = (lengths.len() * percent).div_ceil(100).max(1) - 1;
            duration(lengths.get(rank).copied().unwrap_or_default())
        };
        let fields = [
            ("p50", percentile(50)),
            ("p90", percentile(90)),
            ("p99", percentile(99)),
            ("max", percentile(100)),
            ("count", Value::Int(lengths.len() as i64)),
        ];
        Ok(map(fields.into_iter()))
    }

    /// `object("deployment/web")`, `object("deployment/shop/web")`: one object, or null.
    fn object(&self, arguments: &[Value]) -> Result<Value, ExecutionError> {
        let text = match arguments.first() {
            Some(text) => string(text, "an object such as deployment/web")?,
            None => return Err(ExecutionError::invalid_argument_count(1, 0)),
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, "default", *name),
            [kind, namespace, name] => (*kind, *namespace, *name),
            _ => return Err(ExecutionError::function_error("object", format!("`{text}` is not kind/name"))),
        };
        let Some(kind) = Kind::parse(kind) else {
            return Err(ExecutionError::function_error("object", format!("unknown kind `{kind}`")));
        };
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        let state = self.state();
        let held = state.objects.get(&kind).and_then(|objects| objects.get(&Key::new(kind, namespace, name)));
        Ok(held.map_or(Value::Null, |held| if state.ages { with_age(held, state.now) } else { held.value.clone() }))
    }
}

impl State {
    fn written(&mut self, now: Time, change: Change, object: &Object) {
        self.now = now;
        if let (Object::Node(node), true) = (object, change != Change::Deleted)
            && let Some(zone) = node.zone()
        {
            self.zones.insert(node.meta.name, zone);
        }
        if let Object::Pod(pod) = object
            && let Some(latencies) = &mut self.latencies
        {
            self.latency_changed |= latencies.observe(now, pod);
        }
        let kind = object.kind();
        if !self.wanted.contains(&kind) {
            return;
        }
        if let Object::EndpointSlice(slice) = object {
            let key = (slice.meta.namespace, slice.service);
            let mut counts = Endpoints::default();
            if change != Change::Deleted {
                for endpoint in &slice.endpoints {
                    counts.total += 1;
                    counts.ready += i64::from(endpoint.ready);
                    counts.serving += i64::from(endpoint.serving);
                    counts.terminating += i64::from(endpoint.terminating);
                }
            }
            self.endpoints.insert(key, counts);
            self.endpoints_changed = true;
            return;
        }
        let labels = object.meta().labels.clone();
        let objects = self.objects.entry(kind).or_default();
        let key = object.key();
        if change == Change::Deleted {
            objects.shift_remove(&key);
        } else {
            let value = short_fields(object, &self.zones, print::json(object, self.epoch));
            let held = Held { labels: labels.clone(), created: object.meta().created, value };
            if let Some(before) = objects.insert(key, held)
                && before.labels != labels
            {
                self.changed.push((kind, before.labels));
            }
        }
        self.changed.push((kind, labels));
    }
}

impl Latencies {
    /// True if the pod reached something for the first time.
    fn observe(&mut self, now: Time, pod: &Pod) -> bool {
        let milestones = self.pods.entry(pod.meta.uid).or_insert_with(|| Milestones {
            labels: pod.meta.labels.clone(),
            created: now,
            scheduled: None,
            running: None,
            ready: None,
        });
        let mut reached = false;
        let mut note = |milestone: &mut Option<Time>, is_there: bool| {
            if is_there && milestone.is_none() {
                *milestone = Some(now);
                reached = true;
            }
        };
        note(&mut milestones.scheduled, pod.node.is_some());
        note(&mut milestones.running, pod.status.phase == crate::model::Phase::Running);
        note(&mut milestones.ready, pod.is_ready());
        reached
    }
}

/// The object's Kubernetes fields, and the short ones: `name`, `namespace`, `labels` for all; `ready`, `phase`, `node`,
/// `zone`, `restarts` for pods; `ready`, `zone` for nodes; `object` for events.
fn short_fields(object: &Object, zones: &FxHashMap<Name, Name>, json: serde_json::Value) -> Value {
    let mut fields: FxHashMap<&'static str, Value> = FxHashMap::default();
    let meta = object.meta();
    fields.insert("name", text(&meta.name));
    fields.insert("namespace", text(&meta.namespace));
    let labels = meta.labels.iter().map(|(key, value)| (key.as_str(), text(&value)));
    fields.insert("labels", map(labels));
    match object {
        Object::Pod(pod) => {
            fields.insert("ready", Value::Bool(pod.is_ready()));
            fields.insert("phase", text(pod.status.phase.as_str()));
            fields.insert("node", text(pod.node.as_deref().unwrap_or("")));
            let zone = pod.node.and_then(|node| zones.get(&node)).map_or("", |zone| zone.as_str());
            fields.insert("zone", text(zone));
            fields.insert("restarts", Value::Int(i64::from(pod.restarts())));
            fields.insert("terminating", Value::Bool(pod.is_terminating()));
        }
        Object::Node(node) => {
            fields.insert("ready", Value::Bool(node.is_ready()));
            fields.insert("zone", text(node.zone().as_deref().unwrap_or("")));
        }
        Object::Event(event) => {
            let about = format!("{}/{}", event.involved.kind.as_str(), event.involved.name);
            fields.insert("object", text(&about));
        }
        _ => {}
    }
    let mut entries = match value_of(json) {
        Value::Map(map) => Arc::unwrap_or_clone(map.map),
        other => return other,
    };
    for (name, value) in fields_in_order(fields) {
        entries.insert(key(name), value);
    }
    Value::Map(Map { map: Arc::new(entries) })
}

/// Hash maps are not iterated; the order of insertion into another map would not show, but the habit is worth keeping.
fn fields_in_order(mut fields: FxHashMap<&'static str, Value>) -> Vec<(&'static str, Value)> {
    const ORDER: &[&str] =
        &["name", "namespace", "labels", "ready", "phase", "node", "zone", "restarts", "terminating", "object"];
    ORDER.iter().filter_map(|name| fields.remove(name).map(|value| (*name, value))).collect()
}

fn with_age(held: &Held, now: Time) -> Value {
    match &held.value {
        Value::Map(map) => {
            let mut entries = (*map.map).clone();
            entries.insert(key("age"), duration(now.since(held.created)));
            Value::Map(Map { map: Arc::new(entries) })
        }
        other => other.clone(),
    }
}

fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int(integer),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.into_iter().map(value_of).collect())),
        serde_json::Value::Object(entries) => {
            Value::Map(Map { map: Arc::new(entries.into_iter().map(|(name, v)| (key(&name), value_of(v))).collect()) })
        }
    }
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(Map { map: Arc::new(entries.map(|(name, value)| (key(name), value)).collect()) })
}

fn key(name: &str) -> CelKey {
    CelKey::String(Arc::new(name.to_owned()))
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn duration(length: Duration) -> Value {
    Value::Duration(chrono::Duration::nanoseconds(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)))
}

fn string<'v>(value: &'v Value, wanted: &str) -> Result<&'v str, ExecutionError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(ExecutionError::function_error("argument", format!("{wanted} is expected as a string"))),
    }
}

/// Our functions' names are none of CEL's own.
fn declared<E: std::fmt::Debug>(result: Result<(), E>) {
    debug_assert!(result.is_ok(), "{result:?}");
}
