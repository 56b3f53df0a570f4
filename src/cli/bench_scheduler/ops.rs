//! The operations of a workload, one after the other, and the stretches in which they are measured.
//!
//! Kubernetes: test/integration/scheduler_perf/scheduler_perf.go (runWorkload).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::config::Namespace;
use crate::model::{Key, Kind, Labels, Meta, Name, Object, Uid};
use crate::protocol::api::{Call, DeleteOptions};
use crate::scenario::scheduler_config;
use crate::scheduler::{Config, FeatureGates};

use super::super::{files, terminal};
use super::bench::{Bench, Known};
use super::config::{Case, LabelNodes, Op, Workload};
use super::objects::{NODE, POD, Templates, allocatable, finish_node, name_it, with_volume};
use super::template::Numbers;

/// Why a workload did not come to its end.
pub enum Stopped {
    /// It needs this.
    NotSimulated(String),
    /// Pods were not scheduled in time, or the API server refused something.
    Failed(String),
    /// The file is wrong.
    BadInput(String),
}

/// A measured stretch.
pub struct Span {
    pub name: String,
    /// Pods that got their node in it.
    pub pods: usize,
    /// CPU time of the API server and the scheduler.
    pub cpu: std::time::Duration,
}

/// What came out.
pub struct Measured {
    pub spans: Vec<Span>,
    pub notes: Vec<String>,
}

/// Objects of the background that are made, and perhaps taken away, again and again.
struct Churn {
    op: Op,
    next: Time,
    tick: i64,
    made: VecDeque<Key>,
}

/// A stretch that is being measured.
struct Open {
    name: String,
    namespaces: Vec<Name>,
    labels: BTreeMap<String, String>,
    bound: usize,
    clock: terminal::CpuClock,
}

/// A workload on its way.
pub struct Run<'c> {
    case: &'c Case,
    workload: &'c Workload,
    templates: Templates<'c>,
    bench: Bench,
    /// For names and uids that nobody else has.
    number: usize,
    churns: Vec<Churn>,
    open: Option<Open>,
    spans: Vec<Span>,
    notes: Vec<String>,
    used: RefCell<BTreeSet<String>>,
}

/// The client's limit: 5,000 requests a second.
const BETWEEN_REQUESTS: Duration = Duration::from_micros(200);
/// How long pods may take.
const PATIENCE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

impl<'c> Run<'c> {
    /// A cluster for this workload. `folder` is the one of the file.
    pub fn new(folder: &'c Path, case: &'c Case, workload: &'c Workload) -> Result<Run<'c>, Stopped> {
        for op in &case.workload_template {
            if matches!(op.opcode.as_str(), "createResourceDriver" | "createResourceClaims" | "allocResourceClaims") {
                let what = format!("`{}` needs Dynamic Resource Allocation, which is not simulated", op.opcode);
                return Err(Stopped::NotSimulated(what));
            }
        }
        let mut gates: BTreeMap<&str, bool> = BTreeMap::new();
        for (gate, on) in case.feature_gates.iter().chain(&workload.feature_gates) {
            gates.insert(gate, *on);
        }
        let mut notes = Vec::new();
        // As they are by default in 1.36, and here.
        let alike = |gate: &str, on: bool| match gate {
            "SchedulerQueueingHints" | "NodeDeclaredFeatures" | "PodLevelResources" => on,
            "TaintTolerationComparisonOperators" => true,
            _ => false,
        };
        let without: Vec<String> =
            gates.iter().filter(|(gate, on)| !alike(gate, **on)).map(|(gate, on)| format!("{gate}={on}")).collect();
        if !without.is_empty() {
            notes.push(format!("feature gates without effect here: {}", without.join(", ")));
        }
        let comparing = gates.get("TaintTolerationComparisonOperators").copied().unwrap_or(false);
        let base = Config {
            client_qps: 5000,
            client_burst: 5000,
            feature_gates: FeatureGates { taint_toleration_comparison_operators: comparing },
            ..Config::default()
        };
        let config = match &case.scheduler_config_path {
            None => base,
            Some(path) => {
                let source = files::read(&folder.join(path).to_string_lossy()).map_err(Stopped::BadInput)?;
                let source = source.first().ok_or_else(|| Stopped::BadInput(format!("{path}: nothing to read")))?;
                let (config, problems) = scheduler_config::read(source, base, &[]);
                config.ok_or_else(|| Stopped::BadInput(crate::manifest::render_all(source, &problems, false)))?
            }
        };
        Ok(Run {
            case,
            workload,
            templates: Templates::new(folder),
            bench: Bench::new(config),
            number: 0,
            churns: Vec::new(),
            open: None,
            spans: Vec::new(),
            notes,
            used: RefCell::default(),
        })
    }

    /// Carries out all operations.
    pub fn carry_out(mut self) -> Result<Measured, Stopped> {
        let ops = &self.case.workload_template;
        for (index, op) in ops.iter().enumerate() {
            self.op(index, op)?;
            if self.churns.is_empty()
                && let Some(refused) = self.bench.refused.take()
            {
                return Err(Stopped::Failed(format!("`{}`: the API server refused: {refused}", op.opcode)));
            }
        }
        let unused = self.workload.params.keys().find(|name| !self.used.borrow().contains(name.as_str()));
        if let Some(unused) = unused {
            return Err(Stopped::BadInput(format!("the parameter `{unused}` is never used")));
        }
        Ok(Measured { spans: self.spans, notes: self.notes })
    }

    fn op(&mut self, index: usize, op: &Op) -> Result<(), Stopped> {
        match op.opcode.as_str() {
            "createNodes" => self.create_nodes(index, op),
            "createNamespaces" => self.create_namespaces(op),
            "createPods" => {
                let namespace = op.namespace.clone().unwrap_or_else(|| format!("namespace-{index}"));
                self.create_pods(&namespace, op)
            }
            "createPodSets" => {
                let count = self.count(op)?;
                let inner = op.create_pods_op.as_deref().ok_or_else(|| bad("createPodSets has no createPodsOp"))?;
                (0..count).try_for_each(|at| self.create_pods(&format!("{}-{at}", op.namespace_prefix), inner))
            }
            "deletePods" => self.delete_pods(op),
            "churn" => {
                let next = self.bench.now;
                self.churns.push(Churn { op: op.clone(), next, tick: 0, made: VecDeque::new() });
                Ok(())
            }
            "barrier" => self.barrier(op),
            "sleep" => {
                let length = self.duration(op)?;
                self.run_for(length)
            }
            "createAny" => self.create_any(op),
            "updateAny" => self.update_any(op),
            "startCollectingMetrics" => {
                let namespaces = op.namespaces.iter().map(|name| Name::new(name)).collect();
                self.start(op.name.clone(), namespaces, op.label_selector.clone());
                Ok(())
            }
            "stopCollectingMetrics" => {
                self.stop();
                Ok(())
            }
            other => Err(Stopped::NotSimulated(format!("the opcode `{other}` is not known"))),
        }
    }

    /// `count`, or the parameter that `countParam` names.
    fn count(&self, op: &Op) -> Result<i64, Stopped> {
        match op.count_param.strip_prefix('$') {
            None => Ok(op.count),
            Some(name) => {
                let value = self.param(name)?;
                value.as_i64().ok_or_else(|| bad(format!("the parameter `{name}` is no number of things")))
            }
        }
    }

    fn param(&self, name: &str) -> Result<&'c serde_json::Value, Stopped> {
        self.used.borrow_mut().insert(name.to_owned());
        self.workload.params.get(name).ok_or_else(|| bad(format!("there is no parameter `{name}`")))
    }

    fn duration(&self, op: &Op) -> Result<Duration, Stopped> {
        let text = match op.duration_param.strip_prefix('$') {
            None => op.duration.as_str(),
            Some(name) => self.param(name)?.as_str().unwrap_or_default(),
        };
        Duration::parse_go(text).ok_or_else(|| bad(format!("`{text}` is no duration")))
    }

    fn next_number(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    fn create_nodes(&mut self, index: usize, op: &Op) -> Result<(), Stopped> {
        let count = self.count(op)?;
        let mut nodes = Vec::new();
        for at in 0..count {
            let numbers = Numbers { index: at, count };
            let object = match &op.node_template_path {
                Some(path) => self.templates.object(path, numbers).map_err(Stopped::BadInput)?,
                None => {
                    let mut object = self.templates.built_in("a node", NODE).map_err(Stopped::BadInput)?;
                    object.meta_mut().generate_name = Name::from(format!("node-{index}-"));
                    object
                }
            };
            let number = self.next_number();
            let Object::Node(node) = finish_node(object, number) else {
                return Err(bad("a node's template is something else"));
            };
            nodes.push(node);
        }
        // In the order of their names, as a list returns them.
        nodes.sort_by_key(|node| node.meta.name);
        let mut others = Vec::new();
        for (at, node) in nodes.iter_mut().enumerate() {
            let own = Arc::make_mut(node);
            if let Some(LabelNodes { label_key, label_values }) = &op.label_node_prepare_strategy
                && let Some(value) = label_values.get(at % label_values.len().max(1))
            {
                own.meta.labels = own.meta.labels.with(Name::new(label_key), Name::new(value));
            }
            if let Some(LabelNodes { label_key, .. }) = &op.unique_node_label_strategy {
                let value = Name::from(format!("unique-{}-{at}", own.meta.name));
                own.meta.labels = own.meta.labels.with(Name::new(label_key), value);
            }
            if let Some(strategy) = &op.node_allocatable_strategy {
                let csi_node = allocatable(own, strategy).map_err(Stopped::BadInput)?;
                others.push(Object::CSINode(Arc::new(csi_node)));
            }
        }
        let calls = nodes.into_iter().map(Object::Node).chain(others).map(Call::Create).collect();
        self.ask_all(calls);
        self.run_for(SECOND)
    }

    fn create_namespaces(&mut self, op: &Op) -> Result<(), Stopped> {
        let count = self.count(op)?;
        let mut calls = Vec::new();
        for at in 0..count {
            let mut object = match &op.namespace_template_path {
                Some(path) => self.templates.object(path, Numbers { index: at, count }).map_err(Stopped::BadInput)?,
                None => Object::Namespace(Arc::new(Namespace { meta: Meta::default() })),
            };
            object.meta_mut().name = Name::from(format!("{}-{at}", op.prefix));
            object.meta_mut().generate_name = Name::default();
            calls.push(Call::Create(object));
        }
        self.ask_all(calls);
        self.run_for(SECOND)
    }

    fn need_namespace(&mut self, name: Name) -> Result<(), Stopped> {
        if self.bench.store().get(&Key::new(Kind::Namespace, "", name)).is_none() {
            let meta = Meta::named("", name);
            self.bench.ask_now(Call::Create(Object::Namespace(Arc::new(Namespace { meta }))));
            self.run_for(SECOND)?;
        }
        Ok(())
    }

    /// The pods of an operation, with their volumes before them.
    fn pods(&mut self, namespace: Name, count: i64, op: &Op) -> Result<Vec<Call>, Stopped> {
        let template = op.pod_template_path.as_ref().or(self.case.default_pod_template_path.as_ref());
        let mut calls = Vec::new();
        for at in 0..count {
            let numbers = Numbers { index: at, count };
            let object = match template {
                Some(path) => self.templates.object(path, numbers),
                None => self.templates.built_in("a pod", POD),
            };
            let Object::Pod(mut pod) = object.map_err(Stopped::BadInput)? else {
                return Err(bad("a pod's template is something else"));
            };
            let number = self.next_number();
            let own = Arc::make_mut(&mut pod);
            own.meta.namespace = namespace;
            name_it(&mut own.meta, number);
            if let (Some(volume), Some(claim)) =
                (&op.persistent_volume_template_path, &op.persistent_volume_claim_template_path)
            {
                let volume = self.templates.object(volume, numbers).map_err(Stopped::BadInput)?;
                let claim = self.templates.object(claim, numbers).map_err(Stopped::BadInput)?;
                let made = with_volume(volume, claim, own, number);
                let made = made.ok_or_else(|| bad("a volume's template is something else"))?;
                calls.extend(made.map(Call::Create));
            }
            calls.push(Call::Create(Object::Pod(pod)));
        }
        Ok(calls)
    }

    fn create_pods(&mut self, namespace: &str, op: &Op) -> Result<(), Stopped> {
        let namespace = Name::new(namespace);
        let count = self.count(op)?;
        self.need_namespace(namespace)?;
        let steady = op.steady_state
            || match op.steady_state_param.strip_prefix('$') {
                Some(name) => self.param(name)?.as_bool().unwrap_or(false),
                None => false,
            };
        let until = if steady { Some(self.bench.now + self.duration(op)?) } else { None };
        let mut calls = self.pods(namespace, count, op)?;
        if op.collect_metrics {
            self.start(String::new(), vec![namespace], BTreeMap::new());
        }
        loop {
            let before = self.bound_in(namespace);
            self.ask_all(calls);
            if op.skip_wait_to_completion {
                return Ok(());
            }
            let wanted = before + count as usize;
            self.wait(&format!("{count} pods in {namespace}"), |run| run.bound_in(namespace) >= wanted)?;
            match until {
                Some(until) if self.bench.now < until => {
                    let keys = self.keys_of(|pod| pod.namespace == namespace);
                    let options = DeleteOptions { grace: Some(Duration::ZERO), ..DeleteOptions::default() };
                    self.ask_all(keys.into_iter().map(|key| Call::Delete(key, options)).collect());
                    calls = self.pods(namespace, count, op)?;
                }
                _ => break,
            }
        }
        if op.collect_metrics {
            self.stop();
        }
        Ok(())
    }

    fn bound_in(&self, namespace: Name) -> usize {
        self.bench.bound.get(&namespace).copied().unwrap_or(0)
    }

    /// The pods that fit, in the order of their names.
    fn keys_of(&self, fits: impl Fn(&Known) -> bool) -> Vec<Key> {
        let mut uids: Vec<(Name, Name, Uid)> = Vec::new();
        for (uid, pod) in sorted(&self.bench.pods) {
            if fits(pod) {
                uids.push((pod.namespace, pod.name, uid));
            }
        }
        uids.sort();
        uids.into_iter().map(|(namespace, name, _)| Key::new(Kind::Pod, namespace, name)).collect()
    }

    fn delete_pods(&mut self, op: &Op) -> Result<(), Stopped> {
        let namespace = op.namespace.as_deref().map(Name::new);
        let keys = self.keys_of(|pod| {
            namespace.is_none_or(|namespace| pod.namespace == namespace) && selects(&op.label_selector, &pod.labels)
        });
        let calls = keys.into_iter().map(|key| Call::Delete(key, DeleteOptions::default())).collect();
        let last = self.ask_at_rate(calls, op.delete_pods_per_second);
        if op.skip_wait_to_completion { Ok(()) } else { self.run_for(last.since(self.bench.now) + SECOND) }
    }

    fn barrier(&mut self, op: &Op) -> Result<(), Stopped> {
        let namespaces: Vec<Name> = op.namespaces.iter().map(|name| Name::new(name)).collect();
        let attempted = op.stage_requirement == "Attempted";
        let labels = op.label_selector.clone();
        // What was asked for has to be there first.
        self.run_for(SECOND)?;
        self.wait("a barrier", |run| {
            run.bench.pods.values().all(|pod| {
                let concerned =
                    (namespaces.is_empty() || namespaces.contains(&pod.namespace)) && selects(&labels, &pod.labels);
                !concerned || pod.bound || attempted && pod.attempted
            })
        })
    }

    fn create_any(&mut self, op: &Op) -> Result<(), Stopped> {
        let count = if op.count == 0 && op.count_param.is_empty() { 1 } else { self.count(op)? };
        if let Some(namespace) = &op.namespace {
            self.need_namespace(Name::new(namespace))?;
        }
        let mut calls = Vec::new();
        for at in 0..count {
            let object = self.templates.object(&op.template_path, Numbers { index: at, count });
            let mut object = object.map_err(Stopped::NotSimulated)?;
            let number = self.next_number();
            let meta = object.meta_mut();
            name_it(meta, number);
            if let Some(namespace) = &op.namespace {
                meta.namespace = Name::new(namespace);
            }
            calls.push(Call::Create(object));
        }
        self.ask_all(calls);
        self.run_for(SECOND)
    }

    fn update_any(&mut self, op: &Op) -> Result<(), Stopped> {
        let count = if op.count == 0 && op.count_param.is_empty() { 1 } else { self.count(op)? };
        let mut calls = Vec::new();
        for at in 0..count {
            let object = self.templates.object(&op.template_path, Numbers { index: at, count });
            let mut object = object.map_err(Stopped::NotSimulated)?;
            if object.kind().is_namespaced() {
                object.meta_mut().namespace = Name::new(op.namespace.as_deref().unwrap_or("default"));
            }
            let Some(old) = self.bench.store().get(&object.key()) else {
                return Err(Stopped::Failed(format!("`updateAny`: there is no {}", object.meta().name)));
            };
            let both = (old.clone(), object);
            calls.extend(updates(both));
        }
        let last = self.ask_at_rate(calls, op.update_per_second);
        self.run_for(last.since(self.bench.now) + SECOND)
    }

    fn start(&mut self, name: String, namespaces: Vec<Name>, labels: BTreeMap<String, String>) {
        let bound = self.bound_pods(&namespaces, &labels);
        self.open = Some(Open { name, namespaces, labels, bound, clock: terminal::CpuClock::start() });
    }

    fn stop(&mut self) {
        if let Some(open) = self.open.take() {
            let cpu = open.clock.elapsed();
            let pods = self.bound_pods(&open.namespaces, &open.labels) - open.bound;
            self.spans.push(Span { name: open.name, pods, cpu });
        }
    }

    /// How many pods have got a node so far. With labels only of those that are still there.
    fn bound_pods(&self, namespaces: &[Name], labels: &BTreeMap<String, String>) -> usize {
        let concerned = |namespace: &Name| namespaces.is_empty() || namespaces.contains(namespace);
        if labels.is_empty() {
            return self.bench.bound.iter().filter(|(namespace, _)| concerned(namespace)).map(|(_, count)| count).sum();
        }
        let bound = |pod: &&Known| pod.bound && concerned(&pod.namespace) && selects(labels, &pod.labels);
        self.bench.pods.values().filter(bound).count()
    }

    fn ask_all(&mut self, calls: Vec<Call>) {
        let from = self.bench.now;
        for (at, call) in (0..).zip(calls) {
            self.bench.ask(from + BETWEEN_REQUESTS * at, call);
        }
    }

    /// So many a second; 0: all at once. When the last is made.
    fn ask_at_rate(&mut self, calls: Vec<Call>, per_second: i64) -> Time {
        let between =
            if per_second > 0 { Duration::from_nanos(1_000_000_000 / per_second as u64) } else { BETWEEN_REQUESTS };
        let mut at = self.bench.now;
        for call in calls {
            self.bench.ask(at, call);
            at = at + between;
        }
        at
    }

    fn run_for(&mut self, length: Duration) -> Result<(), Stopped> {
        let end = self.bench.now + length;
        while self.bench.now < end {
            let until = (self.bench.now + SECOND).min(end);
            self.churn(until)?;
            self.bench.run_until(until);
        }
        Ok(())
    }

    /// Runs until the condition holds; it is looked at every second.
    fn wait(&mut self, what: &str, holds: impl Fn(&Run<'_>) -> bool) -> Result<(), Stopped> {
        let limit = self.bench.now + PATIENCE;
        loop {
            self.run_for(SECOND)?;
            if holds(self) {
                return Ok(());
            }
            if self.bench.now >= limit {
                let refused = self.bench.refused.take().map(|why| format!("; refused: {why}")).unwrap_or_default();
                return Err(Stopped::Failed(format!("{what}: not scheduled within {PATIENCE}{refused}")));
            }
        }
    }

    /// What the churns do until then.
    fn churn(&mut self, until: Time) -> Result<(), Stopped> {
        let mut churns = std::mem::take(&mut self.churns);
        for churn in &mut churns {
            let interval = if churn.op.interval_milliseconds > 0 { churn.op.interval_milliseconds as u64 } else { 500 };
            while churn.next < until {
                self.churn_tick(churn)?;
                churn.next = churn.next + Duration::from_millis(interval);
                churn.tick += 1;
            }
        }
        self.churns = churns;
        Ok(())
    }

    fn churn_tick(&mut self, churn: &mut Churn) -> Result<(), Stopped> {
        let number = churn.op.number;
        let creates = match churn.op.mode.as_str() {
            "recreate" => number <= 0 || churn.tick / number % 2 == 0,
            "create" => number <= 0 || churn.tick < number,
            other => return Err(bad(format!("churn: the mode `{other}` is not known"))),
        };
        for path in churn.op.template_paths.clone() {
            if !creates {
                if churn.op.mode == "recreate"
                    && let Some(key) = churn.made.pop_front()
                {
                    self.bench.ask(churn.next, Call::Delete(key, DeleteOptions::default()));
                }
                continue;
            }
            let numbers = Numbers { index: churn.tick, count: number };
            let object = self.templates.object(&path, numbers).map_err(Stopped::NotSimulated)?;
            let unique = self.next_number();
            let mut object = if object.kind() == Kind::Node { finish_node(object, unique) } else { object };
            let namespaced = object.kind().is_namespaced();
            let meta = object.meta_mut();
            name_it(meta, unique);
            if namespaced {
                meta.namespace = Name::new(churn.op.namespace.as_deref().unwrap_or("default"));
            }
            churn.made.push_back(object.key());
            self.bench.ask(churn.next, Call::Create(object));
        }
        Ok(())
    }
}

fn bad(what: impl Into<String>) -> Stopped {
    Stopped::BadInput(what.into())
}

fn selects(labels: &BTreeMap<String, String>, of: &Labels) -> bool {
    labels.iter().all(|(key, value)| of.get(Name::new(key)).is_some_and(|own| own == *value.as_str()))
}

/// The pods in the order of their uids.
fn sorted(pods: &rustc_hash::FxHashMap<Uid, Known>) -> Vec<(Uid, &Known)> {
    #[expect(clippy::iter_over_hash_type, reason = "they are sorted")]
    let mut all: Vec<(Uid, &Known)> = pods.iter().map(|(uid, pod)| (*uid, pod)).collect();
    all.sort_by_key(|(uid, _)| *uid);
    all
}

/// The requests that make `old` what `new` says: labels, annotations, and the fields that may change.
fn updates((old, new): (Object, Object)) -> Vec<Call> {
    let mut changed = old.clone();
    let meta = changed.meta_mut();
    meta.labels = new.meta().labels.clone();
    meta.annotations = new.meta().annotations.clone();
    meta.resource_version = 0;
    match (&mut changed, new) {
        (Object::Node(node), Object::Node(new)) => {
            let hostname = Name::new(crate::model::node::HOSTNAME_LABEL);
            let own = Arc::make_mut(node);
            own.meta.labels = own.meta.labels.with(hostname, own.meta.name);
            own.spec = new.spec.clone();
            let mut status = own.clone();
            status.status.capacity = new.status.capacity.clone();
            status.status.allocatable = new.status.allocatable.clone();
            vec![Call::Update(changed.clone()), Call::UpdateStatus(Object::Node(Arc::new(status)))]
        }
        (Object::Pod(pod), Object::Pod(new)) => {
            let own = Arc::make_mut(pod);
            let spec = Arc::make_mut(&mut own.spec);
            spec.tolerations = new.spec.tolerations.clone();
            spec.scheduling_gates = new.spec.scheduling_gates.clone();
            let mut containers = spec.containers.to_vec();
            for (own, new) in containers.iter_mut().zip(new.spec.containers.iter()) {
                own.resources = new.resources.clone();
            }
            spec.containers = containers.into();
            vec![Call::Update(changed)]
        }
        (_, new) => vec![Call::Update(new)],
    }
}
