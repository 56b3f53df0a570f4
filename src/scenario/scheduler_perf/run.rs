//! Runs a workload: one operation after another, against scheduler and API server.
//!
//! As there, requests leave at 5,000 a second at most, what is waited for is looked at each second and for ten minutes at
//! most, admission neither taints new nodes nor computes priorities, and no controller and no kubelet runs.
//!
//! Kubernetes: test/integration/scheduler_perf/scheduler_perf.go (runWorkload and the operations' run), test/integration/util.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::FxHashSet;

use crate::apiserver;
use crate::cluster::ControlPlane;
use crate::controllers;
use crate::kernel::{Duration, Stream, Streams, Time};
use crate::model::feature_gates::FeatureGates;
use crate::model::{Container, Key, Kind, Name, Object, Pod, Selector, glob};
use crate::protocol::api::{Call, DeleteOptions, Patch, ResizeRequest, Tag};
use crate::scheduler;

use super::super::file::Files;
use super::super::scheduler_config;
use super::devices;
use super::file::{CreatePods, Op, Prepare, TestCase, Workload};
use super::measure::average_throughput;
use super::objects::{Named, Templates, Trouble};
use super::support;
use super::tasks::{Churning, Collecting, Seen, Turn};
use super::template::Place;

/// How a workload ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Measured(Measured),
    /// It needs what is not simulated.
    NotSimulated(Vec<String>),
    /// It could not be run to its end.
    Failed(String),
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Nodes at the end.
    pub nodes: usize,
    /// Pods that were scheduled while it was measured.
    pub pods: usize,
    /// Scheduling attempts in that time, those of other pods included.
    pub attempts: u64,
    /// Events in that time.
    pub events: u64,
    /// CPU time that it took.
    pub cpu: Duration,
    /// SchedulingThroughput's average in simulated time, pods a second; None if it was too short for a sample.
    pub simulated: Option<f64>,
    /// Stands for all events of the workload.
    pub digest: u64,
    /// What is simulated otherwise than the workload asks.
    pub remarks: Vec<String>,
}

impl Measured {
    /// Pods scheduled a second of CPU time; None if too little time passed to tell.
    pub fn rate(&self) -> Option<f64> {
        (self.cpu >= SHORTEST && self.pods > 0).then(|| self.pods as f64 / self.cpu.as_secs_f64())
    }
}

/// Less CPU time than this says nothing.
const SHORTEST: Duration = Duration::from_millis(2);
/// The client's `qps`.
const REQUESTS_PER_SECOND: u32 = 5000;
const POLL: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How often what is asked for is looked at where nobody measures.
const STEP: Duration = Duration::from_millis(10);

/// Runs a workload of a case of the file `beside`. `cpu` tells how much CPU time was used so far.
pub fn run(
    case: &TestCase,
    workload: &Workload,
    beside: &str,
    files: &dyn Files,
    seed: u64,
    cpu: &mut dyn FnMut() -> Duration,
) -> Outcome {
    let mut templates = Templates::new(files, beside);
    let gates = FeatureGates(workload.feature_gates.iter().cloned().collect());
    let config = match scheduler_of(case, &gates, &mut templates) {
        Ok(config) => config,
        Err(trouble) => return outcome_of(trouble),
    };
    let disabled = apiserver::DisabledPlugins { priority: true, taint_nodes_by_condition: true };
    let feature_gates = apiserver::FeatureGates::of(&gates);
    let api = apiserver::Config { disabled, feature_gates, ..apiserver::Config::default() };
    let mut bench = Bench {
        plane: ControlPlane::new(seed, api, config, Vec::new()),
        seen: Seen::default(),
        templates,
        pod_template: case.pod_template.as_deref(),
        cpu,
        next_tag: 1,
        serials: IndexMap::new(),
        namespaces: FxHashSet::default(),
        to_wait_for: BTreeMap::new(),
        churns: Vec::new(),
        features: (0..workload.declared_features).map(|number| Name::from(format!("Feature{number:05}"))).collect(),
        measured: Measured::default(),
        draws: Streams::new(seed).stream("scheduler-perf", "claims"),
    };
    // As there, what makes and removes claims runs where the gate is named.
    if workload.feature_gates.iter().any(|(gate, on)| gate == "DynamicResourceAllocation" && *on) {
        bench.plane.start_controllers(controllers::Config {
            kube_api_qps: f64::from(REQUESTS_PER_SECOND),
            kube_api_burst: u64::from(REQUESTS_PER_SECOND),
            controllers: Some(&["resourceclaim-controller", "garbage-collector-controller"]),
            ..controllers::Config::default()
        });
    }
    bench.advance(Time::ZERO + POLL);
    for (index, op) in workload.ops.iter().enumerate() {
        if let Err(trouble) = bench.op(index, op) {
            return match trouble {
                Trouble::Failed(why) => Outcome::Failed(format!("operation {index}: {why}")),
                trouble => outcome_of(trouble),
            };
        }
    }
    let mut measured = bench.measured;
    measured.nodes = bench.plane.store().iter(Kind::Node).count();
    measured.digest = bench.plane.digest();
    measured.remarks = support::remarks(workload);
    Outcome::Measured(measured)
}

fn outcome_of(trouble: Trouble) -> Outcome {
    match trouble {
        Trouble::NotSimulated(what) => Outcome::NotSimulated(vec![what]),
        Trouble::Failed(why) => Outcome::Failed(why),
    }
}

/// The scheduler's settings: those of the case's file, with the test's client.
fn scheduler_of(
    case: &TestCase,
    gates: &FeatureGates,
    templates: &mut Templates<'_>,
) -> Result<scheduler::Config, Trouble> {
    let base = scheduler::Config::with_gates(scheduler::FeatureGates::of(gates));
    let config = match &case.scheduler_config {
        None => base,
        Some(path) => {
            let source = templates.source(path)?;
            let (config, problems) = scheduler_config::read(&source, base, &[]);
            config.ok_or_else(|| Trouble::Failed(crate::manifest::render_all(&source, &problems, false)))?
        }
    };
    Ok(scheduler::Config { client_qps: REQUESTS_PER_SECOND, client_burst: REQUESTS_PER_SECOND, ..config })
}

struct Bench<'f> {
    plane: ControlPlane,
    seen: Seen,
    templates: Templates<'f>,
    pod_template: Option<&'f str>,
    cpu: &'f mut dyn FnMut() -> Duration,
    next_tag: u64,
    /// How many names were made of each `generateName`.
    serials: IndexMap<Name, u32>,
    namespaces: FxHashSet<Name>,
    /// Pods that no operation has waited for yet, by namespace.
    to_wait_for: BTreeMap<Name, usize>,
    churns: Vec<Churning>,
    /// What each node declares, in the order of the alphabet.
    features: Vec<Name>,
    measured: Measured,
    draws: Stream,
}

impl Bench<'_> {
    fn op(&mut self, index: usize, op: &Op) -> Result<(), Trouble> {
        match op {
            Op::CreateNodes { count, template, prepare } => {
                self.create_nodes(index, *count, template.as_deref(), prepare)
            }
            Op::CreateNamespaces { count, prefix, template } => {
                for number in 0..*count {
                    let named = Named::or(template.as_deref(), Named::Namespace);
                    self.create_namespace(&format!("{prefix}-{number}"), named, place(number, *count))?;
                }
                self.settle()
            }
            Op::CreatePods(pods) => self.create_pods(index, pods),
            Op::CreatePodSets { count, prefix, pods } => {
                for number in 0..*count {
                    let namespace = Some(format!("{prefix}-{number}"));
                    self.create_pods(index, &CreatePods { namespace, ..pods.clone() })?;
                }
                Ok(())
            }
            Op::DeletePods { namespace, selector, per_second, wait } => {
                let keys = self.seen.of(Name::new(namespace), selector);
                let calls: Vec<Call> =
                    keys.into_iter().map(|key| Call::Delete(key, DeleteOptions::default())).collect();
                let rate = if *per_second == 0 { REQUESTS_PER_SECOND } else { *per_second };
                let end = self.send(calls, rate, *wait);
                if *wait {
                    self.advance(end);
                    self.settle()?;
                }
                Ok(())
            }
            Op::Churn(churn) => {
                let name = churn.namespace.clone().unwrap_or_else(|| format!("namespace-{index}"));
                self.create_namespace(&name, Named::Namespace, place(0, 1))?;
                self.settle()?;
                let (namespace, next) = (Name::from(name), self.plane.now() + churn.interval);
                let churn = Churning { churn: churn.clone(), namespace, next, tick: 0, there: IndexMap::new() };
                self.churns.push(churn);
                Ok(())
            }
            Op::Barrier { namespaces, selector, attempted } => self.barrier(namespaces, selector, *attempted),
            Op::Sleep(length) => {
                self.advance(self.plane.now() + *length);
                Ok(())
            }
            Op::CreateAny { count, template, namespace } => {
                if let Some(namespace) = namespace {
                    self.create_namespace(namespace, Named::Namespace, place(0, 1))?;
                }
                if devices::is_without_effect(&self.templates.source(template)?) {
                    return Ok(());
                }
                let mut calls = Vec::new();
                for number in 0..*count {
                    let object = self.any(template, namespace.as_deref(), place(number, *count))?;
                    calls.push(Call::Create(self.named(object)));
                }
                let end = self.send(calls, REQUESTS_PER_SECOND, true);
                self.advance(end);
                self.settle()
            }
            Op::UpdateAny { count, template, namespace, per_second, subresources } => {
                let known = |name: &String| ["status", "resize"].contains(&name.as_str());
                if let Some(subresource) = subresources.iter().find(|name| !known(name)) {
                    return Err(Trouble::NotSimulated(format!("updateAny of {subresource}: it is not simulated")));
                }
                let mut calls = Vec::new();
                for number in 0..*count {
                    let object = self.any(template, namespace.as_deref(), place(number, *count))?;
                    if let (Object::Pod(pod), true) = (&object, subresources.iter().any(|name| name == "resize")) {
                        calls.push(Call::Patch(object.key(), Patch::Resize(resize_to(pod))));
                        continue;
                    }
                    // A node's allocatable is status: without it an update of capacity would change nothing.
                    if subresources.is_empty() {
                        calls.push(Call::Update(object.clone()));
                    }
                    if !subresources.is_empty() || object.kind() == Kind::Node {
                        calls.push(Call::UpdateStatus(object));
                    }
                }
                let rate = if *per_second == 0 { REQUESTS_PER_SECOND } else { *per_second };
                let end = self.send(calls, rate, true);
                self.advance(end);
                self.settle()
            }
            Op::StartCollecting { namespaces, selector } => {
                self.start_collecting(namespaces.iter().map(Name::from).collect(), selector.clone());
                Ok(())
            }
            Op::StopCollecting => {
                self.stop_collecting();
                Ok(())
            }
            Op::CreateResourceDriver { driver, nodes, devices } => self.create_driver(driver, nodes, *devices),
            Op::AllocClaims { namespace } => self.allocate_claims(Name::new(namespace)),
        }
    }

    fn create_nodes(
        &mut self,
        index: usize,
        count: u32,
        template: Option<&str>,
        prepare: &Prepare,
    ) -> Result<(), Trouble> {
        let mut calls = Vec::new();
        for number in 0..count {
            let (named, place) = (Named::or(template, Named::Node), place(number, count));
            let (mut node, csi_node) = match prepare {
                Prepare::Allocatable(given) => {
                    let (node, csi_node) = self.templates.node(named, place, given)?;
                    (node, Some(csi_node))
                }
                _ => (self.templates.object(named, place)?, None),
            };
            if template.is_none() {
                node.meta_mut().generate_name = Name::from(format!("node-{index}-"));
            }
            let mut node = self.named(node);
            if let (Object::Node(node), false) = (&mut node, self.features.is_empty()) {
                std::sync::Arc::make_mut(node).status.declared_features.clone_from(&self.features);
            }
            let meta = node.meta_mut();
            let mut labels = meta.labels.clone();
            let hostname = Name::new(crate::model::node::HOSTNAME_LABEL);
            if labels.get(hostname).is_none() {
                labels = labels.with(hostname, meta.name);
            }
            match prepare {
                Prepare::Label { key, values } => {
                    let value = values.get(number as usize % values.len().max(1)).map_or("", String::as_str);
                    labels = labels.with(Name::new(key), Name::new(value));
                }
                // Any text will do that no other node has.
                Prepare::UniqueLabel { key } => labels = labels.with(Name::new(key), meta.name),
                Prepare::Nothing | Prepare::Allocatable(_) => {}
            }
            meta.labels = labels;
            let name = meta.name;
            calls.push(Call::Create(node));
            if let Some(mut csi_node) = csi_node {
                csi_node.meta_mut().name = name;
                calls.push(Call::Create(csi_node));
            }
        }
        let end = self.send(calls, REQUESTS_PER_SECOND, true);
        self.advance(end);
        self.settle()
    }

    fn create_driver(&mut self, driver: &str, nodes: &str, most: u32) -> Result<(), Trouble> {
        let names: Vec<Name> = self.plane.store().iter(Kind::Node).map(|node| node.meta().name).collect();
        let mut matching: Vec<Name> = names.into_iter().filter(|name| glob::matches(nodes, name)).collect();
        matching.sort_unstable();
        let slices = matching.into_iter().map(|node| Call::Create(devices::slice(driver, node, most)));
        let end = self.send(slices.collect(), REQUESTS_PER_SECOND, true);
        self.advance(end);
        self.settle()
    }

    fn allocate_claims(&mut self, namespace: Name) -> Result<(), Trouble> {
        let allocated = devices::allocate(self.plane.store(), namespace, &mut self.draws).map_err(Trouble::Failed)?;
        let calls = allocated.into_iter().map(|claim| Call::UpdateStatus(Object::ResourceClaim(claim))).collect();
        let end = self.send(calls, REQUESTS_PER_SECOND, true);
        self.advance(end);
        self.settle()
    }

    fn create_namespace(&mut self, name: &str, named: Named<'_>, place: Place) -> Result<(), Trouble> {
        let name = Name::new(name);
        if self.namespaces.insert(name) {
            let mut object = self.templates.object(named, place)?;
            object.meta_mut().name = name;
            let now = self.plane.now();
            self.request(now, Call::Create(object));
        }
        Ok(())
    }

    fn create_pods(&mut self, index: usize, pods: &CreatePods) -> Result<(), Trouble> {
        let namespace = pods.namespace.clone().unwrap_or_else(|| format!("namespace-{index}"));
        self.create_namespace(&namespace, Named::Namespace, place(0, 1))?;
        self.settle()?;
        let mut calls = self.pods(pods, &namespace)?;
        let namespace = Name::from(namespace);
        if pods.collect {
            self.start_collecting(vec![namespace], Selector::default());
        }
        let (count, end) = (pods.count as usize, self.plane.now() + pods.steady.unwrap_or_default());
        loop {
            let sent = self.send(calls, REQUESTS_PER_SECOND, true);
            self.advance(sent);
            self.settle()?;
            if !pods.wait {
                *self.to_wait_for.entry(namespace).or_default() += count;
                return Ok(());
            }
            self.wait_for(&[(namespace, count)], &Selector::default(), false)?;
            if pods.steady.is_none() || self.plane.now() >= end {
                break;
            }
            let at_once = DeleteOptions { grace: Some(Duration::ZERO), ..DeleteOptions::default() };
            let keys = self.seen.of(namespace, &Selector::default());
            let deletions = keys.into_iter().map(|key| Call::Delete(key, at_once)).collect();
            let sent = self.send(deletions, REQUESTS_PER_SECOND, true);
            self.advance(sent);
            self.settle()?;
            calls = self.pods(pods, namespace.as_str())?;
        }
        if pods.collect {
            self.stop_collecting();
        }
        Ok(())
    }

    /// The creations of the pods of an operation, with their volumes.
    fn pods(&mut self, pods: &CreatePods, namespace: &str) -> Result<Vec<Call>, Trouble> {
        let named = Named::or(pods.template.as_deref().or(self.pod_template), Named::Pod);
        let mut calls = Vec::new();
        for number in 0..pods.count {
            let place = place(number, pods.count);
            let mut pod = match &pods.volumes {
                None => self.templates.object(named, place)?,
                Some((volume, claim)) => {
                    let [volume, claim, pod] =
                        self.templates.pod_with_volume(named, (volume, claim), namespace, place)?;
                    calls.extend([Call::Create(volume), Call::Create(claim)]);
                    pod
                }
            };
            pod.meta_mut().namespace = Name::new(namespace);
            calls.push(Call::Create(self.named(pod)));
        }
        Ok(calls)
    }

    fn any(&mut self, template: &str, namespace: Option<&str>, place: Place) -> Result<Object, Trouble> {
        let mut object = self.templates.object(Named::File(template), place)?;
        let refuse = |why: &str| Err(Trouble::Failed(format!("{template}: {why}")));
        match (object.kind().is_namespaced(), namespace) {
            (true, Some(namespace)) => object.meta_mut().namespace = Name::new(namespace),
            (true, None) => return refuse("a namespace is needed for this kind"),
            (false, Some(_)) => return refuse("this kind is in no namespace"),
            (false, None) => {}
        }
        Ok(object)
    }

    /// The object with a name: a number after its `generateName` where it has none, so that a list of all is in the order of creation.
    fn named(&mut self, mut object: Object) -> Object {
        let meta = object.meta_mut();
        if meta.name.is_empty() {
            let serial = self.serials.entry(meta.generate_name).or_default();
            meta.name = Name::from(format!("{}{serial:05}", meta.generate_name));
            *serial += 1;
        }
        object
    }

    fn barrier(&mut self, namespaces: &[String], selector: &Selector, attempted: bool) -> Result<(), Trouble> {
        let namespaces: Vec<Name> = namespaces.iter().map(Name::from).collect();
        if let Some(unknown) = namespaces.iter().find(|name| !self.to_wait_for.contains_key(*name)) {
            return Err(Trouble::Failed(format!("unknown namespace {unknown}")));
        }
        let is_meant = |name: &Name| namespaces.is_empty() || namespaces.contains(name);
        let wanted: Vec<(Name, usize)> =
            self.to_wait_for.iter().filter(|(name, _)| is_meant(name)).map(|(name, count)| (*name, *count)).collect();
        self.wait_for(&wanted, selector, attempted)?;
        if !attempted {
            self.to_wait_for.retain(|name, _| !is_meant(name));
        }
        Ok(())
    }

    /// Looks each second whether in each namespace so many pods are scheduled.
    fn wait_for(&mut self, wanted: &[(Name, usize)], selector: &Selector, attempted: bool) -> Result<(), Trouble> {
        let end = self.plane.now() + LONGEST_WAIT;
        loop {
            let missing = wanted.iter().find_map(|&(namespace, count)| {
                let there = self.seen.count(namespace, selector, attempted);
                (there < count).then_some((namespace, there, count))
            });
            let Some((namespace, there, count)) = missing else { return Ok(()) };
            if self.plane.now() >= end {
                let stage = if attempted { "were tried" } else { "are scheduled" };
                let why = format!("after ten minutes {there} of {count} pods in namespace {namespace} {stage}");
                return Err(Trouble::Failed(why));
            }
            self.advance(self.plane.now() + POLL);
        }
    }

    /// Makes requests at a rate, from now on. When the last leaves.
    fn send(&mut self, calls: Vec<Call>, per_second: u32, awaited: bool) -> Time {
        let period = 1_000_000_000 / u64::from(per_second.max(1));
        let (start, mut at) = (self.plane.now(), self.plane.now());
        for (number, call) in (0u64..).zip(calls) {
            at = start + Duration::from_nanos(number * period);
            if awaited {
                self.request(at, call);
            } else {
                self.plane.request(at, Tag::NONE, call);
            }
        }
        at
    }

    fn request(&mut self, at: Time, call: Call) {
        self.plane.request(at, Tag(self.next_tag), call);
        self.next_tag += 1;
        self.seen.unanswered += 1;
    }

    /// Waits for all answers.
    fn settle(&mut self) -> Result<(), Trouble> {
        while self.seen.unanswered > 0 {
            self.advance(self.plane.now() + STEP);
        }
        match self.seen.refused.is_empty() {
            true => Ok(()),
            false => Err(Trouble::Failed(std::mem::take(&mut self.seen.refused).join("; "))),
        }
    }

    /// Lets the time pass to `time`, with all churn up to then.
    fn advance(&mut self, time: Time) {
        loop {
            let next = self.churns.iter().map(|churn| churn.next).min().filter(|next| *next <= time);
            let until = next.unwrap_or(time).max(self.plane.now());
            let seen = &mut self.seen;
            self.plane.run_until(until, &mut |heard| seen.hear(heard));
            let Some(next) = next else { return };
            for index in 0..self.churns.len() {
                if self.churns.get(index).is_some_and(|churn| churn.next == next) {
                    self.churn(index);
                }
            }
            self.churns.retain(|churn| churn.next > next);
        }
    }

    /// A tick of a churn. What can't be created is passed over, as there.
    fn churn(&mut self, index: usize) {
        let Some(churn) = self.churns.get_mut(index) else { return };
        let (turn, now, namespace) = (churn.turn(), self.plane.now(), churn.namespace);
        let templates = churn.churn.templates.clone();
        for (which, template) in templates.iter().enumerate() {
            match turn {
                Turn::Create(slot) => {
                    let Ok(mut object) = self.templates.object(Named::File(template), place(slot, 1)) else { continue };
                    if object.kind().is_namespaced() {
                        object.meta_mut().namespace = namespace;
                    }
                    let object = self.named(object);
                    let key = object.key();
                    self.plane.request(now, Tag::NONE, Call::Create(object));
                    self.remember(index, (which, slot), key);
                }
                Turn::Delete(slot) => {
                    let there = self.churns.get_mut(index).and_then(|churn| churn.there.shift_remove(&(which, slot)));
                    if let Some(key) = there {
                        self.plane.request(now, Tag::NONE, Call::Delete(key, DeleteOptions::default()));
                    }
                }
                Turn::Over => {
                    if let Some(churn) = self.churns.get_mut(index) {
                        churn.next = Time::ZERO;
                    }
                }
            }
        }
    }

    fn remember(&mut self, churn: usize, slot: (usize, u32), key: Key) {
        if let Some(churn) = self.churns.get_mut(churn)
            && churn.churn.recreate
        {
            churn.there.insert(slot, key);
        }
    }

    fn start_collecting(&mut self, namespaces: Vec<Name>, selector: Selector) {
        self.seen.collecting = Some(Collecting {
            namespaces,
            selector,
            start: self.plane.now(),
            times: Vec::new(),
            attempts: self.seen.attempts,
            events: self.plane.events(),
            cpu: (self.cpu)(),
        });
    }

    fn stop_collecting(&mut self) {
        let cpu = (self.cpu)();
        let Some(collecting) = self.seen.collecting.take() else { return };
        let measured = &mut self.measured;
        measured.pods += collecting.times.len();
        measured.attempts += self.seen.attempts - collecting.attempts;
        measured.events += self.plane.events() - collecting.events;
        measured.cpu += Duration::from_nanos(cpu.as_nanos().saturating_sub(collecting.cpu.as_nanos()));
        measured.simulated = average_throughput(collecting.start, self.plane.now(), &collecting.times);
    }
}

fn place(index: u32, count: u32) -> Place {
    Place { index: i64::from(index), count: i64::from(count) }
}

/// A resize of a pod's containers to what this one asks for.
fn resize_to(pod: &Pod) -> std::sync::Arc<[ResizeRequest]> {
    let change = |one: &Container| ResizeRequest {
        container: one.name,
        requests: one.resources.requests.clone(),
        limits: one.resources.limits.clone(),
    };
    pod.spec.containers.iter().map(change).collect()
}
