//! kube-scheduler 1.36: queue, scheduling and binding cycle, plug-ins at Kubernetes' extension points.
//!
//! It hears of the cluster through watches and acts through API requests only. Read `framework` (what plug-ins are), then
//! `queue`, `cycle`, `search`; `node_table`, `classes`, `pod_counts` and `pod_groups` are what makes it fast; `plugins` has one
//! file a plug-in; `configuration` is its file.
//!
//! Left out: extenders, gangs, leader election (a fault `down` stands for it).

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::{Cause, Distribution, Duration, Stream, Streams, Time};
use crate::model::{Kind, Name, Uid, feature_gates};
use crate::protocol::api::{Request, Response, Watch, WatchEvent};
use crate::trace::Effects;

/// What the queue asks about pods, while the queue itself is borrowed.
macro_rules! queue_context {
    ($scheduler:ident, $fx:ident) => {
        $crate::scheduler::queue::Context {
            profiles: &$scheduler.config.profiles,
            world: &$scheduler.world,
            now: $fx.now(),
        }
    };
}

pub mod classes;
pub mod configuration;
pub mod cycle;
pub mod event_series;
pub mod events;
pub mod explain;
pub mod fit_error;
pub mod framework;
pub mod informers;
pub mod limiter;
pub mod listers;
pub mod node_order;
pub mod node_table;
pub mod nominator;
pub mod plugins;
pub mod pod_counts;
pub mod pod_groups;
pub mod pod_info;
pub mod preemption;
pub mod profile;
pub mod queue;
pub mod race;
pub mod remedy;
pub mod search;
pub mod states;

use cycle::{Busy, PendingCall};
use event_series::EventSeries;
use limiter::Limiter;
use listers::{Listers, World};
use nominator::Nominator;
use pod_info::{PodInfo, SpecCache};
use profile::Profile;
use queue::{Queue, QueueConfig};
use search::Search;

/// Settings of the scheduler: KubeSchedulerConfiguration, and what simlet adds.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one; the first is for pods that name no scheduler.
    pub profiles: Vec<Profile>,
    pub queue: QueueConfig,
    /// `clientConnection.qps` and `burst`, of the client for bindings and statuses and of the one for events each. A qps of
    /// 0 is no limit.
    pub client_qps: u32,
    pub client_burst: u32,
    /// How long one scheduling cycle takes, from the pop until the binding cycle begins.
    pub cycle_time: Distribution,
    /// How long the scheduler waits before it lists and watches again after a watch broke.
    pub rewatch_after: Duration,
    /// Record every node's verdict with each attempt.
    pub explain: bool,
    pub feature_gates: FeatureGates,
    /// `parallelism`: how many workers look at nodes.
    pub parallelism: usize,
}

/// Feature gates of kube-scheduler by which something changes here. Profiles are made with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    /// `TaintTolerationComparisonOperators` (alpha, off): tolerations with `Gt` and `Lt`.
    pub taint_toleration_comparison_operators: bool,
    /// `NodeDeclaredFeatures` (beta, on): the plug-in of this name.
    pub node_declared_features: bool,
    /// `SchedulerAsyncPreemption` (beta, on): the pod that preempts is kept out of the queue while its victims are deleted.
    pub async_preemption: bool,
    /// `SchedulerPopFromBackoffQ` (beta, on): an idle scheduler tries pods that back off.
    pub pop_from_backoff_q: bool,
    /// `SchedulerAsyncAPICalls` (beta, off): a failed cycle does not wait for its status to be written.
    pub async_api_calls: bool,
    /// `NominatedNodeNameForExpectation` (beta, on): a binding that takes a while is told of by `nominatedNodeName`.
    pub nominated_node_name_for_expectation: bool,
}

impl FeatureGates {
    /// The names of the gates by which something changes here.
    pub const NAMES: [&str; 6] = [
        "TaintTolerationComparisonOperators",
        "NodeDeclaredFeatures",
        "SchedulerAsyncPreemption",
        "SchedulerPopFromBackoffQ",
        "SchedulerAsyncAPICalls",
        "NominatedNodeNameForExpectation",
    ];

    /// As `gates` has them.
    pub fn of(gates: &feature_gates::FeatureGates) -> FeatureGates {
        let [comparing, declared, preemption, pop, calls, expectation] = FeatureGates::NAMES.map(|name| gates.on(name));
        FeatureGates {
            taint_toleration_comparison_operators: comparing,
            node_declared_features: declared,
            async_preemption: preemption,
            pop_from_backoff_q: pop,
            async_api_calls: calls,
            nominated_node_name_for_expectation: expectation,
        }
    }
}

impl Default for FeatureGates {
    fn default() -> FeatureGates {
        FeatureGates::of(&feature_gates::FeatureGates::default())
    }
}

impl Config {
    /// The default settings with these feature gates.
    pub fn with_gates(feature_gates: FeatureGates) -> Config {
        Config {
            profiles: vec![plugins::profile_with(feature_gates)],
            queue: QueueConfig { pop_from_backoff: feature_gates.pop_from_backoff_q, ..QueueConfig::default() },
            client_qps: 50,
            client_burst: 100,
            cycle_time: Distribution::LogNormal { p50: Duration::from_micros(700), p99: Duration::from_millis(4) },
            rewatch_after: Duration::from_millis(800),
            explain: false,
            feature_gates,
            parallelism: race::DEFAULT_PARALLELISM,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::with_gates(FeatureGates::default())
    }
}

/// What the scheduler hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts (again): it lists and watches.
    Start,
    Watch(Arc<WatchEvent>),
    Api(Box<Response>),
    Timer(Timer),
}

/// The scheduler's timers. Each carries the number of the process's start that set it; after a restart it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The scheduling cycle under way has taken its time.
    CycleEnds { start: u32 },
    /// A full second at which a back-off may be over.
    FlushBackoff { start: u32 },
    /// A tick of the 30 seconds at which a pod may have waited for too long.
    FlushUnschedulable { start: u32 },
    /// A binding waits for what its PreBind plug-ins wrote: time to look again.
    PreBind { start: u32, pod: Uid },
    /// Time to list and watch again.
    Rewatch { start: u32, watch: Watch },
}

/// What the scheduler says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}

/// The effects of a call.
pub type Fx = Effects<In, Out>;

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    streams: Streams,
    /// How often the process has started.
    start: u32,
    started: Time,
    world: World,
    queue: Queue,
    nominator: Nominator,
    search: Search,
    specs: SpecCache,
    /// All pods that are neither terminal nor another scheduler's to place.
    pods: FxHashMap<Uid, Known>,
    /// The kinds whose first list has come; scheduling begins when all have.
    listed: Vec<Kind>,
    busy: Busy,
    calls: FxHashMap<u64, PendingCall>,
    /// Binding cycles that wait in PreBind, and since when.
    waiting: FxHashMap<Uid, (Box<cycle::Binding>, Time)>,
    next_tag: u64,
    limiter: Limiter,
    event_limiter: Limiter,
    events: EventSeries,
    cycle_times: Stream,
    /// What stands for the seed where an attempt draws.
    luck: u64,
    backoff_timer: Option<Time>,
    unschedulable_timer: Option<Time>,
    /// What was told last of a pod that fits nowhere.
    remedies: remedy::Memo,
}

/// A pod that the scheduler knows.
#[derive(Clone, Debug)]
struct Known {
    info: PodInfo,
    place: Place,
}

/// Where a pod is, as the scheduler believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To be scheduled.
    Unassigned,
    /// The scheduler chose this node, but has not yet seen the binding.
    Assumed(Name),
    Assigned(Name),
}

/// Every kind that the scheduler watches.
fn watched() -> impl Iterator<Item = Kind> {
    [Kind::Node, Kind::Pod].into_iter().chain(Listers::KINDS)
}

impl Scheduler {
    /// A scheduler that has not started yet.
    pub fn new(config: Config, streams: &Streams) -> Scheduler {
        Scheduler {
            streams: *streams,
            start: 0,
            started: Time::ZERO,
            world: World::default(),
            queue: Queue::new(config.queue),
            nominator: Nominator::default(),
            search: Search::parallel(config.parallelism),
            specs: SpecCache::default(),
            pods: FxHashMap::default(),
            listed: Vec::new(),
            busy: Busy::No,
            calls: FxHashMap::default(),
            waiting: FxHashMap::default(),
            next_tag: 1,
            limiter: Limiter::new(config.client_qps, config.client_burst),
            event_limiter: Limiter::new(config.client_qps, config.client_burst),
            events: EventSeries::default(),
            cycle_times: streams.stream("scheduler", "cycle-time"),
            luck: streams.stream("scheduler", "search").next_u64(),
            backoff_timer: None,
            unschedulable_timer: None,
            remedies: remedy::Memo::default(),
            config,
        }
    }

    /// Hears a message and does what follows from it.
    pub fn handle(&mut self, message: In, fx: &mut Fx) {
        match message {
            In::Start => self.restart(fx),
            In::Watch(event) => self.watch_event(&event, fx),
            In::Api(response) => self.answered(*response, fx),
            In::Timer(timer) => self.fired(timer, fx),
        }
        if self.start > 0 {
            self.schedule(fx);
            self.arm_timers(fx);
        }
    }

    /// The picture of the cluster that decisions are made on.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A process that starts knows nothing; the streams of random numbers and the tags go on.
    fn restart(&mut self, fx: &mut Fx) {
        let mut fresh = Scheduler::new(self.config.clone(), &self.streams);
        fresh.start = self.start + 1;
        fresh.started = fx.now();
        fresh.next_tag = self.next_tag;
        std::mem::swap(&mut fresh.cycle_times, &mut self.cycle_times);
        *self = fresh;
        for kind in watched() {
            self.watch(Watch { kind, node: None }, fx);
        }
    }

    fn fired(&mut self, timer: Timer, fx: &mut Fx) {
        match timer {
            Timer::CycleEnds { start } if start == self.start => self.cycle_ends(fx),
            Timer::FlushBackoff { start } if start == self.start => {
                self.backoff_timer = None;
                self.queue.flush_backoff(queue_context!(self, fx));
            }
            Timer::FlushUnschedulable { start } if start == self.start => {
                self.unschedulable_timer = None;
                self.queue.flush_unschedulable(queue_context!(self, fx));
            }
            Timer::PreBind { start, pod } if start == self.start => self.look_again(pod, fx),
            Timer::Rewatch { start, watch } if start == self.start => self.watch(watch, fx),
            _ => {}
        }
    }

    /// Sets the timers for the next ticks at which a flush has something to do; without waiting pods there are none.
    fn arm_timers(&mut self, fx: &mut Fx) {
        const TICK: u64 = 30;
        if let Some(at) = self.queue.next_backoff_flush() {
            let at = at.max(fx.now().truncated_to_second() + Duration::from_secs(1));
            if self.backoff_timer.is_none_or(|armed| at < armed) {
                self.backoff_timer = Some(at);
                fx.wake_at(at, In::Timer(Timer::FlushBackoff { start: self.start }));
            }
        }
        if let Some(after) = self.queue.next_unschedulable_flush() {
            let ticks = after.max(fx.now()).since(self.started).as_secs() / TICK + 1;
            let at = self.started + Duration::from_secs(ticks * TICK);
            if self.unschedulable_timer.is_none_or(|armed| at < armed) {
                self.unschedulable_timer = Some(at);
                fx.wake_at(at, In::Timer(Timer::FlushUnschedulable { start: self.start }));
            }
        }
    }

    fn cause_of(&self, pod: Uid) -> Cause {
        self.queue.get(pod).map_or(Cause::NONE, |pod| pod.cause)
    }
}
