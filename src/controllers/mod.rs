//! kube-controller-manager: one file a controller, and the work queue and the informer's cache that they share.
//!
//! [`ControllerManager`] is the actor. It lists and watches, keeps the cache (`informer`), hands each change to the
//! controllers that watch its kind, and lets them work on the keys in their queues (`workqueue`) one after another, each
//! after a small cost. What a controller is stands in `controller`. Read these three, then `replica_set` as the simplest
//! whole controller, then the others in any order.
//!
//! Periodic work sleeps: the node monitor's 5 s, the pod garbage collector's 20 s and the like are grids that fire only
//! when something that was observed may make them act. Resyncs, leader election and the worker count's effect on
//! contention are not modelled; nor are the horizontal pod autoscaler, the namespace, quota, service account, attach-detach
//! and IPAM controllers. A lost answer is noticed when the watches break, as a lost connection is.

mod controller;
mod cron_job;
mod cron_schedule;
mod daemon_set;
mod deployment;
mod deployment_sets;
mod deployment_status;
mod disruption;
mod endpoint_slice;
mod garbage_collector;
mod informer;
mod revisions;
mod stateful_set;
mod taint_eviction;
mod template;
mod ttl;
mod workqueue;

mod job;
mod job_rules;
mod node_lifecycle;
mod node_zones;
mod persistent_volume;
mod pod_control;
mod pod_gc;
mod replica_set;
mod resource_claim;

#[cfg(test)]
mod fake_api;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::{Distribution, Duration, Stream, Streams, Time};
use crate::model::{EventRecorder, Key, Kind, Name, Object};
use crate::protocol::api::{Answer, Call, Request, Response, Status, StatusReason, Tag, Watch, WatchEvent};
use crate::trace::Effects;

use controller::{Context, Controller, Hub, Pending, Progress, Reply, Requests, work_timer};
use informer::{Cache, Change};
use workqueue::TokenBucket;

/// What the controller manager hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts (again): it lists and watches, and knows nothing of before. One that is settled has been running
    /// since long before: what it finds is no news, and its periodic work is anywhere in its period.
    Start {
        settled: bool,
    },
    Watch(Arc<WatchEvent>),
    Api(Box<Response>),
    Timer(Timer),
}

/// The controller manager's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The controller of this number has keys to work on.
    Work(u8),
    /// The back-off after a watch of this kind has broken is over.
    Relist(Kind),
}

/// What the controller manager says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}

/// Settings of the controller manager; fields are named like its flags.
#[derive(Clone, Debug)]
pub struct Config {
    pub node_monitor_period: Duration,
    pub node_monitor_grace_period: Duration,
    pub node_startup_grace_period: Duration,
    /// Nodes a second.
    pub node_eviction_rate: f64,
    /// Nodes a second, in a large zone that is partly disrupted.
    pub secondary_node_eviction_rate: f64,
    /// A share of a zone's nodes.
    pub unhealthy_zone_threshold: f64,
    /// Nodes; a zone is large if it has more.
    pub large_cluster_size_threshold: usize,
    /// Pods; zero or less: none are collected.
    pub terminated_pod_gc_threshold: i64,
    /// Requests a second of each controller's client.
    pub kube_api_qps: f64,
    pub kube_api_burst: u64,
    /// From an event until a worker has done the sync that it leads to, without the API server's answers.
    pub sync_latency: Duration,
    /// How long an external provisioner takes to make a volume.
    pub provisioning: Distribution,
    /// The wall clock at the scenario's start, in seconds since 1970: CronJobs follow it.
    pub start_unix_seconds: i64,
    /// The controllers that run, by name; None: all.
    pub controllers: Option<&'static [&'static str]>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            node_monitor_period: Duration::from_secs(5),
            node_monitor_grace_period: Duration::from_secs(50),
            node_startup_grace_period: Duration::from_secs(60),
            node_eviction_rate: 0.1,
            secondary_node_eviction_rate: 0.01,
            unhealthy_zone_threshold: 0.55,
            large_cluster_size_threshold: 50,
            terminated_pod_gc_threshold: 12_500,
            kube_api_qps: 20.0,
            kube_api_burst: 30,
            sync_latency: Duration::from_micros(500),
            provisioning: Distribution::Constant(Duration::from_secs(1)),
            start_unix_seconds: 1_767_225_600,
            controllers: None,
        }
    }
}

/// All controllers, in the order in which they hear of changes.
fn all(config: &Config) -> Vec<Box<dyn Controller>> {
    let mut all: Vec<Box<dyn Controller>> = vec![
        Box::new(replica_set::ReplicaSetController::new(Kind::ReplicaSet)),
        Box::new(replica_set::ReplicaSetController::new(Kind::ReplicationController)),
        Box::<deployment::DeploymentController>::default(),
        Box::<stateful_set::StatefulSetController>::default(),
        Box::<daemon_set::DaemonSetController>::default(),
        Box::<job::JobController>::default(),
        Box::<cron_job::CronJobController>::default(),
        Box::<ttl::TtlAfterFinished>::default(),
        Box::<persistent_volume::PersistentVolumes>::default(),
        Box::<endpoint_slice::EndpointSliceController>::default(),
        Box::<disruption::Disruption>::default(),
        Box::<node_lifecycle::NodeLifecycle>::default(),
        Box::<taint_eviction::TaintEviction>::default(),
        Box::<pod_gc::PodGc>::default(),
        Box::<garbage_collector::GarbageCollector>::default(),
        Box::<resource_claim::ResourceClaims>::default(),
    ];
    if let Some(names) = config.controllers {
        all.retain(|controller| names.contains(&controller.name()));
    }
    all
}

/// The controller manager.
#[derive(Debug)]
pub struct ControllerManager {
    config: Config,
    streams: Streams,
    cache: Cache,
    controllers: Vec<Box<dyn Controller>>,
    hubs: Vec<Hub>,
    /// By kind, the controllers that watch it.
    watchers: Vec<Vec<u8>>,
    requests: Requests,
    reflectors: FxHashMap<Kind, Reflector>,
    backoff: Stream,
    /// Kinds that have not been listed since the start.
    unlisted: usize,
    /// It was running before the run began.
    settled: bool,
}

/// The state of one kind's watch.
#[derive(Clone, Copy, Debug, Default)]
struct Reflector {
    listed: bool,
    /// Listed or asked for; false while it waits for its back-off.
    asked: bool,
    failures: u32,
    broke: Time,
}

/// The reflectors' back-off: 800 ms, doubled up to 30 s, each times 1 to 2; anew after two minutes without failure.
const RELIST_FIRST: Duration = Duration::from_millis(800);
const RELIST_LONGEST: Duration = Duration::from_secs(30);
const RELIST_RESET: Duration = Duration::from_secs(120);

impl ControllerManager {
    /// A controller manager that has not been started.
    pub fn new(config: Config, streams: &Streams) -> ControllerManager {
        let mut manager = ControllerManager {
            config,
            streams: *streams,
            cache: Cache::default(),
            controllers: Vec::new(),
            hubs: Vec::new(),
            watchers: Vec::new(),
            requests: Requests::default(),
            reflectors: FxHashMap::default(),
            backoff: streams.stream("controller-manager", "relist-backoff"),
            unlisted: 0,
            settled: false,
        };
        manager.reset();
        manager
    }

    /// The kinds that it watches, in order.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.iter().copied().filter(|&kind| !self.watchers[kind as usize].is_empty())
    }

    /// Handles one message.
    pub fn handle(&mut self, message: In, fx: &mut Effects<In, Out>) {
        match message {
            In::Start { settled } => self.start(settled, fx),
            In::Watch(event) => self.watched(&event, fx),
            In::Api(response) => self.answered(*response, fx),
            In::Timer(Timer::Work(index)) => self.work(index, fx),
            In::Timer(Timer::Relist(kind)) => self.relist(kind, fx),
        }
    }

    /// Forgets everything, as a new process has.
    fn reset(&mut self) {
        self.cache = Cache::default();
        self.requests.pending.clear();
        self.controllers = all(&self.config);
        self.watchers = vec![Vec::new(); Kind::ALL.len()];
        self.hubs.clear();
        for (index, controller) in (0u8..).zip(&self.controllers) {
            for &kind in controller.kinds() {
                self.watchers[kind as usize].push(index);
            }
            self.hubs.push(Hub {
                index,
                queue: controller.queue(),
                limiter: TokenBucket::per_second(
                    self.config.kube_api_qps * controller.qps_factor(),
                    self.config.kube_api_burst,
                ),
                recorder: EventRecorder::new(controller.component(), Name::default()),
                stream: self.streams.stream("controller-manager", controller.name()),
                running: FxHashMap::default(),
                wakes: BTreeSet::new(),
            });
        }
        self.reflectors.clear();
    }

    fn start(&mut self, settled: bool, fx: &mut Effects<In, Out>) {
        self.reset();
        self.settled = settled;
        let kinds: Vec<Kind> = self.kinds().collect();
        self.unlisted = kinds.len();
        for kind in kinds {
            self.reflectors.insert(kind, Reflector { asked: true, ..Reflector::default() });
            watch(kind, fx);
        }
    }

    fn relist(&mut self, kind: Kind, fx: &mut Effects<In, Out>) {
        if let Some(reflector) = self.reflectors.get_mut(&kind)
            && !reflector.asked
        {
            reflector.asked = true;
            watch(kind, fx);
        }
    }

    /// The watch of a kind broke or was refused.
    fn broken(&mut self, kind: Kind, fx: &mut Effects<In, Out>) {
        let now = fx.now();
        let Some(reflector) = self.reflectors.get_mut(&kind) else { return };
        if !reflector.asked {
            return;
        }
        reflector.asked = false;
        if now.since(reflector.broke) > RELIST_RESET {
            reflector.failures = 0;
        }
        reflector.broke = now;
        let delay = Duration::from_nanos(RELIST_FIRST.as_nanos() << reflector.failures.min(6)).min(RELIST_LONGEST);
        reflector.failures += 1;
        let delay = self.backoff.jitter(delay, 1.0);
        fx.wake_after(delay, In::Timer(Timer::Relist(kind)));
    }

    fn watched(&mut self, event: &WatchEvent, fx: &mut Effects<In, Out>) {
        match event {
            WatchEvent::Listed(watch, objects) => self.listed(watch.kind, objects, fx),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.changed(object.clone(), fx),
            WatchEvent::Deleted(object) => self.deleted(object.clone(), fx),
            WatchEvent::Broken(watch) => {
                self.broken(watch.kind, fx);
                self.lose_requests(fx, |_| true);
            }
        }
    }

    fn listed(&mut self, kind: Kind, objects: &[Object], fx: &mut Effects<In, Out>) {
        let Some(reflector) = self.reflectors.get_mut(&kind) else { return };
        let first = !std::mem::replace(&mut reflector.listed, true);
        reflector.asked = true;
        if !first {
            // What was sent while the API server was away got lost with it.
            let now = fx.now();
            self.lose_requests(fx, |sent| sent + Duration::from_secs(1) < now);
        }
        for key in self.cache.missing_from(kind, objects) {
            if let Some(old) = self.cache.get(key).cloned() {
                self.deleted(old, fx);
            }
        }
        for object in objects {
            let known = self.cache.get(object.key());
            if known.is_none_or(|known| known.meta().resource_version != object.meta().resource_version) {
                self.changed(object.clone(), fx);
            }
        }
        if first {
            self.unlisted -= 1;
            if self.unlisted == 0 {
                self.caches_synced(fx);
            }
        }
    }

    /// Every kind is listed: the controllers see all objects, and begin.
    fn caches_synced(&mut self, fx: &mut Effects<In, Out>) {
        for index in 0..self.controllers.len() {
            self.with(index, None, fx, |controller, cx| controller.begins(cx));
        }
        for &kind in Kind::ALL {
            let mut keys: Vec<Key> = self.cache.keys(kind).collect();
            keys.sort();
            for key in keys {
                if let Some(object) = self.cache.get(key).cloned() {
                    self.dispatch(&Change { old: None, new: Some(&object) }, fx);
                }
            }
        }
        for index in 0..self.controllers.len() {
            self.with(index, None, fx, |controller, cx| controller.started(cx));
        }
    }

    fn changed(&mut self, object: Object, fx: &mut Effects<In, Out>) {
        let old = self.cache.put(object.clone());
        if self.unlisted > 0 {
            return;
        }
        match &old {
            // A new object under the name of one whose deletion the watch has not shown.
            Some(old) if old.meta().uid != object.meta().uid => {
                self.dispatch(&Change { old: Some(old), new: None }, fx);
                self.dispatch(&Change { old: None, new: Some(&object) }, fx);
            }
            old => self.dispatch(&Change { old: old.as_ref(), new: Some(&object) }, fx),
        }
    }

    fn deleted(&mut self, last: Object, fx: &mut Effects<In, Out>) {
        let known = self.cache.remove(last.key());
        if self.unlisted > 0 || known.is_none() {
            return;
        }
        self.dispatch(&Change { old: Some(&last), new: None }, fx);
        for &index in &self.watchers[last.kind() as usize] {
            self.hubs[index as usize].recorder.forget(last.meta().uid);
        }
    }

    fn dispatch(&mut self, change: &Change<'_>, fx: &mut Effects<In, Out>) {
        let cause = fx.cause();
        for at in 0..self.watchers[change.kind() as usize].len() {
            let index = self.watchers[change.kind() as usize][at];
            self.with(index as usize, None, fx, |controller, cx| controller.observe(change, cx));
            fx.because(cause);
        }
    }

    /// Lets a controller act, then sets its work timer.
    fn with<R>(
        &mut self,
        index: usize,
        key: Option<Key>,
        fx: &mut Effects<In, Out>,
        act: impl FnOnce(&mut dyn Controller, &mut Context<'_>) -> R,
    ) -> R {
        let hub = &mut self.hubs[index];
        let mut cx = Context {
            now: fx.now(),
            cache: &self.cache,
            config: &self.config,
            hub,
            requests: &mut self.requests,
            fx,
            key,
            settled: self.settled,
        };
        let result = act(self.controllers[index].as_mut(), &mut cx);
        self.schedule(index, fx);
        result
    }

    /// Makes sure that the controller wakes when its queue has something for it.
    fn schedule(&mut self, index: usize, fx: &mut Effects<In, Out>) {
        let workers = self.controllers[index].workers();
        let hub = &mut self.hubs[index];
        if hub.running.len() >= workers {
            return;
        }
        let next = if hub.queue.is_ready() {
            fx.now() + self.config.sync_latency
        } else {
            match hub.queue.next_delayed() {
                Some(at) => at.max(fx.now()),
                None => return,
            }
        };
        // An earlier timer sets the next one when it fires.
        if hub.wakes.first().is_none_or(|&at| next < at) {
            hub.wakes.insert(next);
            fx.wake_at(next, work_timer(hub.index));
        }
    }

    fn work(&mut self, index: u8, fx: &mut Effects<In, Out>) {
        let index = usize::from(index);
        let Some(hub) = self.hubs.get_mut(index) else { return };
        if !hub.wakes.remove(&fx.now()) {
            return;
        }
        let workers = self.controllers[index].workers();
        for _ in 0..workers {
            let hub = &mut self.hubs[index];
            if hub.running.len() >= workers {
                break;
            }
            let Some((key, cause)) = hub.queue.take(fx.now()) else { break };
            fx.because(cause);
            let progress = self.with(index, Some(key), fx, |controller, cx| controller.sync(key, cx));
            self.ended(index, key, progress, fx);
        }
        self.schedule(index, fx);
    }

    /// The work on a key has ended or waits for answers.
    fn ended(&mut self, index: usize, key: Key, progress: Progress, fx: &mut Effects<In, Out>) {
        let hub = &mut self.hubs[index];
        if hub.running.contains_key(&key) {
            return;
        }
        match progress {
            Progress::Retry => hub.queue.add_rate_limited(key, fx.now(), fx.cause()),
            Progress::Done | Progress::Wait => hub.queue.forget(key),
        }
        hub.queue.done(key);
        self.schedule(index, fx);
    }

    fn answered(&mut self, response: Response, fx: &mut Effects<In, Out>) {
        if let Some(kind) = watch_of(response.tag) {
            if response.result.is_err() {
                self.broken(kind, fx);
            }
            return;
        }
        let Some(pending) = self.requests.pending.remove(&response.tag) else { return };
        if let Ok(Answer::Object(object)) = &response.result
            && !self.watchers[object.kind() as usize].is_empty()
        {
            self.cache.wrote(object, pending.creates);
        }
        self.replied(pending, response.result, fx);
    }

    fn replied(&mut self, pending: Pending, reply: Reply, fx: &mut Effects<In, Out>) {
        let index = usize::from(pending.controller);
        let hub = &mut self.hubs[index];
        let Some(running) = hub.running.get_mut(&pending.key) else { return };
        running.replies[pending.index] = Some(reply);
        running.outstanding -= 1;
        if running.outstanding > 0 {
            return;
        }
        let running = hub.running.remove(&pending.key).expect("it was there above");
        let replies: Vec<Reply> = running.replies.into_iter().flatten().collect();
        let key = pending.key;
        let progress = self.with(index, Some(key), fx, |controller, cx| controller.resume(key, replies, cx));
        self.ended(index, key, progress, fx);
    }

    /// The connection to the API server is gone: what was asked will not be answered.
    fn lose_requests(&mut self, fx: &mut Effects<In, Out>, is_lost: impl Fn(Time) -> bool) {
        let lost = self.requests.pending.iter().filter(|(_, pending)| is_lost(pending.sent));
        let mut lost: Vec<Tag> = lost.map(|(&tag, _)| tag).collect();
        lost.sort();
        for tag in lost {
            let Some(pending) = self.requests.pending.remove(&tag) else { continue };
            let status = Status::new(StatusReason::ServiceUnavailable, "http2: client connection lost");
            self.replied(pending, Err(status), fx);
        }
    }
}

/// Tags of watches have this bit; the kind's number is below it.
const WATCH_TAG: u64 = 1 << 63;

fn watch(kind: Kind, fx: &mut Effects<In, Out>) {
    let tag = Tag(WATCH_TAG | kind as u64);
    let call = Call::Watch(Watch { kind, node: None });
    fx.send(Out::Api(Box::new(Request { tag, call })));
}

fn watch_of(tag: Tag) -> Option<Kind> {
    if tag.0 & WATCH_TAG == 0 {
        return None;
    }
    Kind::ALL.get((tag.0 & !WATCH_TAG) as usize).copied()
}
