//! Walks through a scenario: the cluster's events, what the timeline does to it, what is expected of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::Context;

use crate::client::{Action, Verb};
use crate::cluster::{Cluster, Fault, Message, Nobody, Outside};
use crate::kernel::{Clock, Duration, Stream, Time, Virtual};
use crate::model::{Key, Kind, Labels, Name, Object, Selector, Text};
use crate::protocol::api;
use crate::trace::{Expectation, Footer, Placement, Sink};

use super::condition::{Condition, Uses};
use super::expect::Tracker;
use super::file::{Scenario, Until};
use super::placement::of_store;
use super::timeline::{Happening, What, When};
use super::world::{Observer, World};

/// How to run a scenario, beside what it says itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The seed; None: the scenario's own.
    pub seed: Option<u64>,
    /// When to end; None: as the scenario says.
    pub until: Option<Duration>,
    /// Record every node's verdict of every scheduling attempt.
    pub explain: bool,
    /// Record what each call of a container runtime takes.
    pub calls: bool,
    /// Periodic work is done at every point of its grid instead of sleeping: slow, for comparison only.
    pub polling: bool,
    /// Never ends by itself: [`Message::Interrupt`] ends it, unless `until` does.
    pub endless: bool,
    /// Keep what kubelets and runtimes say to each other, see [`Cluster::cri`].
    pub keep_cri: bool,
}

/// How a run ended, with the cluster as it was then.
pub struct End {
    pub footer: Footer,
    pub cluster: Cluster,
    /// For each baseline of the scenario, what came in its stead.
    pub placements: Vec<Measured>,
}

/// A placement that is held against a baseline.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The baseline's file, relative to the scenario's.
    pub file: String,
    pub is: Placement,
}

/// Runs a scenario in virtual time. Records go to `sink`.
pub fn run(scenario: &Scenario, options: &Options, sink: Box<dyn Sink>) -> End {
    run_with(scenario, options, sink, &mut Virtual, Box::new(Nobody))
}

/// Runs a scenario under any clock: by the wall with real nodes behind `outside`, or in virtual time again what was recorded
/// then. Ends as [`run`] does, or when the clock brings [`Message::Interrupt`].
pub fn run_with(
    scenario: &Scenario,
    options: &Options,
    sink: Box<dyn Sink>,
    clock: &mut impl Clock<Message>,
    outside: Box<dyn Outside>,
) -> End {
    let seed = options.seed.unwrap_or(scenario.seed);
    let mut config = scenario.config.clone();
    config.seed = seed;
    config.scheduler.explain = options.explain;
    for node in config.nodes.iter_mut().filter(|_| options.calls) {
        node.kubelet.record_calls = true;
    }
    if options.polling {
        config.set_polling();
    }
    let until = match options.until {
        Some(length) => Until::Time(Time::ZERO + length),
        None if options.endless => Until::Time(Time::MAX),
        None => scenario.until.clone(),
    };
    let world = world_of(scenario, &until);
    let observer = Observer { world: world.clone(), next: sink };
    let mut cluster = Cluster::with_outside(config, Box::new(observer), outside);
    if options.keep_cri {
        cluster.keep_cri();
    }
    Walk::new(scenario, until, cluster, world).walk(clock)
}

/// A world that holds what the scenario's conditions use.
fn world_of(scenario: &Scenario, until: &Until) -> World {
    let mut kinds = Vec::new();
    let (mut time, mut endpoints, mut latency) = (false, false, false);
    let mut add = |uses: &Uses| {
        kinds.extend(uses.collections.iter().map(|(collection, _)| collection.0));
        time |= uses.time;
        endpoints |= !uses.endpoints.is_empty();
        latency |= uses.latency;
    };
    scenario.expectations.iter().for_each(|expected| add(&expected.condition.uses));
    for happening in &scenario.timeline {
        if let When::Condition { condition, .. } = &happening.when {
            add(&condition.uses);
        }
    }
    if let Until::Condition(condition) = until {
        add(&condition.uses);
    }
    kinds.sort();
    kinds.dedup();
    let preemptions = !scenario.baselines.is_empty();
    World::new(scenario.epoch, kinds, time, endpoints, latency, preemptions)
}

/// What is to be done at a moment, beside the cluster's own events.
enum Item {
    Happens(usize),
    Undo {
        faults: Vec<Fault>,
        happening: usize,
    },
    /// The expectation begins to count, or is decided.
    Expectation(usize),
    /// The placement that this baseline is about is taken.
    Baseline(usize),
    /// Conditions that depend on the time are looked at each second.
    Tick,
}

struct Walk<'s> {
    scenario: &'s Scenario,
    cluster: Cluster,
    world: World,
    context: Context<'static, 'static>,
    agenda: BTreeMap<(Time, u64), Item>,
    serial: u64,
    trackers: Vec<Tracker<'s>>,
    /// Happenings that wait for a condition.
    waiting: Vec<usize>,
    until: Until,
    faults: Stream,
    periods: Stream,
    changed: Vec<(Kind, Labels)>,
    /// For each baseline, when it was looked at, and what there was.
    placements: Vec<Option<(Time, Placement)>>,
}

const TICK: Duration = Duration::from_secs(1);

impl<'s> Walk<'s> {
    fn new(scenario: &'s Scenario, until: Until, cluster: Cluster, world: World) -> Walk<'s> {
        let streams = cluster.streams();
        let mut walk = Walk {
            scenario,
            context: world.context(),
            world,
            agenda: BTreeMap::new(),
            serial: 0,
            trackers: scenario.expectations.iter().map(Tracker::new).collect(),
            waiting: Vec::new(),
            until,
            faults: streams.stream("timeline", "faults"),
            periods: streams.stream("timeline", "periods"),
            changed: Vec::new(),
            placements: vec![None; scenario.baselines.len()],
            cluster,
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        for (index, happening) in self.scenario.timeline.iter().enumerate() {
            match &happening.when {
                When::At(at) => self.plan(*at, Item::Happens(index)),
                When::Every { from, period, .. } => {
                    // A random period begins with a wait; a regular one at its beginning.
                    let first = match period {
                        crate::kernel::Distribution::Constant(_) => *from,
                        _ => *from + self.periods.draw(period),
                    };
                    self.plan(first, Item::Happens(index));
                }
                When::Condition { .. } => self.waiting.push(index),
            }
        }
        for index in 0..self.scenario.expectations.len() {
            let expected = &self.scenario.expectations[index];
            if expected.begins() != Time::MAX {
                self.plan(expected.begins(), Item::Expectation(index));
            }
            if let Some(end) = expected.ends().filter(|&end| end != expected.begins()) {
                self.plan(end, Item::Expectation(index));
            }
        }
        for (index, (_, baseline)) in self.scenario.baselines.iter().enumerate() {
            if let Some(at) = baseline.at {
                self.plan(at, Item::Baseline(index));
            }
        }
        if self.conditions().any(|condition| condition.uses.time) {
            self.plan(Time::ZERO + TICK, Item::Tick);
        }
        for (text, objects) in &self.scenario.applied {
            let verb = crate::client::Verb::Apply(std::sync::Arc::clone(objects));
            let source = objects.first().and_then(|object| object.meta().source);
            self.cluster.act(Action { text: Text::new(text), source, verb });
        }
    }

    /// The conditions that are still looked at.
    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let tracked = self.trackers.iter().filter(|tracker| !tracker.decided).map(|t| &t.expected.condition);
        let waiting = self.waiting.iter().filter_map(|&index| match &self.scenario.timeline[index].when {
            When::Condition { condition, .. } => Some(&**condition),
            _ => None,
        });
        let until = match &self.until {
            Until::Condition(condition) => Some(&**condition),
            Until::Time(_) | Until::Default(_) => None,
        };
        tracked.chain(waiting).chain(until)
    }

    fn plan(&mut self, at: Time, item: Item) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), item);
    }

    fn walk(mut self, clock: &mut impl Clock<Message>) -> End {
        let last = match &self.until {
            Until::Time(at) | Until::Default(at) => *at,
            Until::Condition(_) => Time::ZERO + crate::kernel::Duration::from_secs(LONGEST_WAIT_SECONDS),
        };
        let reason = loop {
            let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let limit = planned.unwrap_or(last).min(last);
            if self.run_cluster(clock, limit) {
                break "the condition of `until` holds";
            }
            if self.cluster.is_interrupted() {
                break "it was interrupted";
            }
            let nothing_left = self.cluster.next_time().is_none() && !self.more_planned();
            if nothing_left && matches!(self.until, Until::Default(_)) {
                break "nothing is left to happen";
            }
            self.cluster.advance_to(limit);
            match self.agenda.pop_first() {
                Some(((at, _), item)) if at <= last => self.carry_out(item),
                _ if matches!(self.until, Until::Condition(_)) => break "the condition of `until` never held",
                _ => break "the time was up",
            }
        };
        self.finish(reason)
    }

    /// True if something planned can still change anything.
    fn more_planned(&self) -> bool {
        self.agenda.values().any(|item| !matches!(item, Item::Tick))
    }

    /// Runs the cluster up to `limit`, or until it is interrupted. True if the condition that ends the run came to hold.
    fn run_cluster(&mut self, clock: &mut impl Clock<Message>, limit: Time) -> bool {
        while !self.cluster.is_interrupted() && self.cluster.step_with(clock, limit) {
            let (endpoints, latency) = self.world.take_changes(&mut self.changed);
            if self.changed.is_empty() && !endpoints && !latency {
                continue;
            }
            let changed = std::mem::take(&mut self.changed);
            let ended = self.look(|uses| {
                endpoints && !uses.endpoints.is_empty()
                    || latency && uses.latency
                    || changed.iter().any(|(kind, labels)| uses.concerns(*kind, labels))
            });
            self.changed = changed;
            if ended {
                return true;
            }
        }
        false
    }

    /// Looks at the conditions that `concerned` picks. True if the one that ends the run holds.
    fn look(&mut self, concerned: impl Fn(&Uses) -> bool) -> bool {
        let now = self.cluster.now();
        self.world.set_now(now);
        for index in 0..self.trackers.len() {
            if !self.trackers[index].decided && concerned(&self.trackers[index].expected.condition.uses) {
                self.look_at(index, now);
            }
        }
        let mut at = 0;
        while at < self.waiting.len() {
            let index = self.waiting[at];
            let When::Condition { condition, from } = &self.scenario.timeline[index].when else { break };
            let due = now >= *from && concerned(&condition.uses) && condition.holds(&self.context) == Ok(true);
            if due {
                self.waiting.remove(at);
                self.happen(index);
            } else {
                at += 1;
            }
        }
        match &self.until {
            Until::Condition(condition) => concerned(&condition.uses) && condition.holds(&self.context) == Ok(true),
            Until::Time(_) | Until::Default(_) => false,
        }
    }

    fn look_at(&mut self, index: usize, now: Time) {
        let tracker = &mut self.trackers[index];
        if tracker.look(now, &self.context) && tracker.objects.is_empty() {
            tracker.objects = telling_pods(&self.cluster, &tracker.expected.condition.uses);
        }
    }

    fn carry_out(&mut self, item: Item) {
        let now = self.cluster.now();
        match item {
            Item::Happens(index) => {
                if let When::Every { period, until, .. } = &self.scenario.timeline[index].when {
                    let next = now + self.periods.draw(period);
                    if until.is_none_or(|until| next <= until) {
                        self.plan(next, Item::Happens(index));
                    }
                }
                self.happen(index);
            }
            Item::Undo { faults, happening } => {
                let happening = &self.scenario.timeline[happening];
                let What::Fault(spec) = &happening.what else { return };
                self.cluster.inject(&faults, &spec.text, Some(happening.source), true);
            }
            Item::Expectation(index) => {
                self.world.set_now(now);
                self.look_at(index, now);
                if self.scenario.expectations[index].ends() == Some(now) {
                    self.trackers[index].end(now);
                }
            }
            Item::Baseline(index) => self.take_placement(index),
            Item::Tick => {
                self.look(|uses| uses.time);
                if self.conditions().any(|condition| condition.uses.time) {
                    self.plan(now + TICK, Item::Tick);
                }
            }
        }
    }

    fn happen(&mut self, index: usize) {
        let happening: &Happening = &self.scenario.timeline[index];
        match &happening.what {
            What::Client { text, verb } => {
                let verb = self.reckoned(verb);
                self.cluster.act(Action { text: Text::new(text), source: Some(happening.source), verb });
            }
            What::StaticPods(change) => {
                let source = Some(happening.source);
                self.cluster.write_static_pods(change.node, &change.write, &change.remove, &change.text, source);
            }
            What::Fault(spec) => {
                let faults = spec.resolve(&self.cluster, &mut self.faults);
                self.cluster.inject(&faults, &spec.text, Some(happening.source), false);
                if let Some(length) = happening.lasts {
                    let undone = faults.iter().filter_map(Fault::undone).collect();
                    let at = self.cluster.now() + length;
                    self.plan(at, Item::Undo { faults: undone, happening: index });
                }
            }
        }
    }

    fn take_placement(&mut self, index: usize) {
        let placement = self.world.with_preemptions(|preemptions| of_store(self.cluster.store(), preemptions));
        self.placements[index] = Some((self.cluster.now(), placement));
    }

    /// What kubectl is told: of a patch, what comes of it now.
    fn reckoned(&self, verb: &Verb) -> Verb {
        let Verb::Patch { target, ephemeral_containers, kind, patch } = verb else { return verb.clone() };
        let object = match self.cluster.store().get(target) {
            Some(live) => super::patch::patched(live, *kind, patch, self.scenario.epoch).map_err(Text::from),
            None => Err(format!("Error from server (NotFound): {}", api::Status::not_found(target)).into()),
        };
        if *ephemeral_containers {
            let containers = object.map(|object| match object.as_pod() {
                Some(pod) => Arc::clone(&pod.spec.ephemeral_containers),
                None => Arc::default(),
            });
            return Verb::EphemeralContainers { target: *target, containers };
        }
        Verb::Put { target: *target, object }
    }

    fn finish(mut self, reason: &str) -> End {
        let now = self.cluster.now();
        self.world.set_now(now);
        for index in 0..self.trackers.len() {
            let tracker = &mut self.trackers[index];
            if tracker.look_at_the_end(now, &self.context) {
                tracker.objects = telling_pods(&self.cluster, &tracker.expected.condition.uses);
            }
        }
        for index in 0..self.placements.len() {
            if self.placements[index].is_none() {
                self.take_placement(index);
            }
        }
        self.cluster.check_all();
        let mut expectations: Vec<Expectation> = self.trackers.into_iter().map(|tracker| tracker.result(now)).collect();
        let mut placements = Vec::new();
        for ((place, baseline), (at, is)) in self.scenario.baselines.iter().zip(self.placements.into_iter().flatten()) {
            expectations.insert((*place).min(expectations.len()), baseline.result(at, &is, &self.scenario.header));
            placements.push(Measured { file: baseline.file.clone(), is });
        }
        let footer = Footer {
            end: now,
            reason: reason.to_owned(),
            events: self.cluster.events(),
            digest: self.cluster.digest(),
            expectations,
            invariants: self.cluster.broken_invariants().to_vec(),
        };
        End { footer, cluster: self.cluster, placements }
    }
}

/// A run that waits for a condition gives up after a week.
const LONGEST_WAIT_SECONDS: u64 = 7 * 24 * 3600;

/// The pods that a broken expectation is about, those that are not ready first: where to ask "why".
fn telling_pods(cluster: &Cluster, uses: &Uses) -> Vec<String> {
    let mut selectors: Vec<Selector> = Vec::new();
    for (collection, selector) in &uses.collections {
        if collection.0 == Kind::Pod {
            selectors.push(selector.clone().unwrap_or_default());
        }
    }
    for service in uses.endpoints.iter().flatten() {
        let (namespace, name) = service.split_once('/').unwrap_or(("default", service));
        if let Some(Object::Service(service)) = cluster.store().get(&Key::new(Kind::Service, namespace, name)) {
            selectors.extend(service.selector.clone());
        }
    }
    let mut found: Vec<(bool, Name, Name)> = Vec::new();
    for object in cluster.store().sorted(Kind::Pod) {
        let Object::Pod(pod) = object else { continue };
        if selectors.iter().any(|selector| selector.matches(&pod.meta.labels)) {
            found.push((pod.is_ready(), pod.meta.namespace, pod.meta.name));
        }
    }
    found.sort();
    let shown = |(_, namespace, name): &(bool, Name, Name)| {
        if *namespace == *"default" { format!("pod/{name}") } else { format!("pod/{name} -n {namespace}") }
    };
    found.iter().take(3).map(shown).collect()
}
