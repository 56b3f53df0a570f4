//! The kubelet: sync loop, admission, pod workers, pod actions, PLEG, images, probes, status, lease.
//!
//! The same code drives a simulated runtime in virtual time and a real one in wall time: it speaks CRI messages only. It
//! schedules nothing periodic while nothing changes ([`config::Observe::Sleeping`]); a polling kubelet is the reference.
//!
//! Read `pod_manager` (what the watch says), `pod_worker` (what becomes of it), `pod_actions` and `sync_pod` (what a sync
//! does), `containers` and `kill`, then `status` and `status_manager`; `pleg` and `probes` for how it observes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexSet;

use crate::kernel::{Cause, Duration, Stream, Streams, Time};
use crate::model::{Kind, Name, Pod, Resources, Text, Uid};
use crate::protocol::api::{Call, Status, StatusReason, Watch, WatchEvent};
use crate::protocol::{api, cri, probe, stats, volume};
use crate::trace::PodRef;

mod admission;
mod backoff;
mod calls;
mod claims;
pub mod config;
pub mod configuration;
mod container_config;
mod containers;
mod credentials;
mod env_file;
mod environment;
mod events;
pub mod eviction;
mod expansion;
mod garbage;
mod grid;
mod host;
mod image_gc;
mod images;
mod kill;
mod node_status;
mod pleg;
mod pod_actions;
mod pod_manager;
mod pod_worker;
mod preemption;
mod probes;
mod pull_secrets;
mod resize;
mod runtime_status;
mod sandbox_config;
mod services;
mod shutdown;
mod static_pods;
mod status;
mod status_manager;
mod sync_pod;
#[cfg(test)]
mod tests;
mod volume_content;
mod volumes;

use calls::{ApiOwner, Calls, CriOwner, ProbeOwner};
pub use config::{Config, KubeletConfiguration, Observe, StartKind};
use grid::Grid;
use pod_manager::PodEntry;
use pod_worker::Task;

/// What the kubelet hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts: at the machine's boot, or again over running containers.
    Start,
    Watch(Arc<api::WatchEvent>),
    Api(Box<api::Response>),
    Cri(Box<cri::Response>),
    /// GetContainerEvents, where the runtime has it.
    CriEvent(Box<cri::ContainerEvent>),
    /// The connection to the runtime (the stream of its events) broke, or works again: its process stopped, hangs, was
    /// restored. A sleeping kubelet learns of it only so, or from a call that fails.
    CriStream {
        up: bool,
    },
    Probe(Box<probe::Answer>),
    ProbeChanged(probe::Changed),
    Volume(Box<volume::Answer>),
    /// The machine is asked to shut down (systemd's PrepareForShutdown).
    Shutdown,
    /// The machine was measured.
    Stats(Box<stats::Summary>),
    /// What is used grows otherwise from now on. A sleeping kubelet measures only when it was told so.
    UsageChanged,
    /// The kernel killed a process because all memory of the machine was used.
    SystemOom {
        process: Name,
        pid: u32,
    },
    /// The pods of the node's manifest folder: all that it holds, at the start and whenever it changes.
    StaticPods(Arc<[Arc<Pod>]>),
    Timer(Timer),
}

/// The kubelet's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The PLEG's grid of 1 s.
    Relist,
    /// A relist that was left out would be complete now.
    Observed {
        pod: Uid,
    },
    /// The sync loop's tick of 1 s.
    SyncTick,
    /// A pod's activeDeadlineSeconds are over.
    Deadline {
        pod: Uid,
    },
    /// A pod's volumes: the next try, the next look, the end of the wait.
    Volumes {
        pod: Uid,
    },
    /// The devices of a pod's claims are prepared.
    Prepared {
        pod: Uid,
    },
    /// Probe workers tick.
    Probes,
    /// A container that is being killed: its hook or its wait for others has taken all of the grace period.
    Kill {
        pod: Uid,
        item: u16,
    },
    /// A postStart hook that only sleeps.
    PostStart {
        pod: Uid,
    },
    /// Statuses that could not be written are written again.
    StatusRetry,
    /// A mirror that could not be made or deleted is looked at again.
    Mirror {
        pod: Uid,
    },
    /// A deferred resize is tried again.
    Resize {
        pod: Uid,
    },
    NodeStatus,
    /// The node is new: is it ready?
    FirstReady,
    Register,
    Lease,
    /// The runtime's status is asked for.
    Health,
    /// The sync loop looks whether the runtime's last success is too long ago.
    RuntimeDown,
    /// The sync loop looks whether the runtime works again.
    Resume,
    Garbage,
    /// Container or (true) image collection, while the runtime may not work.
    Collector {
        images: bool,
    },
    /// A pod that the kubelet itself ends should be gone.
    GracePeriod {
        pod: Uid,
    },
    /// The eviction manager looks.
    Eviction,
    /// Image garbage collection looks.
    ImageGc,
    /// A group of a graceful shutdown has had its time.
    Shutdown,
    Housekeeping,
    /// Calls of the runtime are overdue.
    CriDeadline,
    /// Requests to the API server are overdue.
    ApiDeadline,
    /// The pods' source starts.
    WatchPods,
    /// A watch that broke is begun again.
    Rewatch(Kind),
}

/// What the kubelet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<api::Request>),
    Cri(Box<cri::Request>),
    Probe(Box<probe::Request>),
    /// Where the machine is real, and where a simulated program can look at what a volume holds.
    Volume(Box<volume::Request>),
    Stats(stats::Request),
    /// Nothing keeps the machine from going off any more.
    ShutDown,
}

type Fx = crate::trace::Effects<In, Out>;

/// A kubelet.
#[derive(Debug)]
pub struct Kubelet {
    config: Config,
    allocatable: Resources,
    streams: KubeletStreams,
    /// When the process started.
    started: Time,
    calls: Calls,
    events: events::Events,
    pods: BTreeMap<Uid, Box<PodEntry>>,
    admission: admission::Admission,
    /// The watch of pods has delivered its list.
    sources_ready: bool,
    watches_pods: bool,
    services: services::Services,
    /// How often each watch has failed in a row: of the node, of pods, of services.
    watch_tries: [u32; 3],
    pleg: pleg::Pleg,
    /// Workers that wait for a newer observation.
    awaiting: BTreeSet<Uid>,
    /// The work queue: when a pod is looked at again, and why.
    queue: BTreeMap<Uid, (Time, Cause)>,
    /// The sync tick that is set.
    tick: Option<Time>,
    /// Pods with a status to be written.
    status_queue: IndexSet<Uid>,
    status_under_way: Option<(Uid, u32)>,
    /// Nothing is written before the next round.
    status_waits: bool,
    status_tick: Option<Time>,
    deletes_due: BTreeSet<Uid>,
    static_pods: static_pods::StaticPods,
    preemption: preemption::Preemption,
    eviction: eviction::Eviction,
    shutdown: shutdown::Shutdown,
    image_gc: image_gc::ImageGc,
    /// The measurement under way is the image collector's.
    image_gc_asks: bool,
    /// Pods whose resize is deferred.
    pending_resizes: BTreeSet<Uid>,
    /// Pods of which the API server shows another status than the kubelet has written.
    reconciles_due: BTreeSet<Uid>,
    probe_ticks: probes::Ticks,
    puller: images::Puller,
    garbage: garbage::Garbage,
    node: node_status::NodeState,
    network_ready: bool,
    network_problem: Text,
    /// What came while the sync loop paused.
    deferred_watch: Vec<Arc<WatchEvent>>,
    deferred_syncs: BTreeSet<Uid>,
    relist_grid: Grid,
    sync_grid: Grid,
    status_grid: Grid,
    node_grid: Grid,
    health_grid: Grid,
    housekeeping_grid: Grid,
    garbage_grid: Grid,
    eviction_grid: Grid,
    disk_grid: Grid,
    volumes_grid: Grid,
    image_grid: Grid,
}

/// The kubelet's random numbers, by purpose.
#[derive(Clone, Debug)]
struct KubeletStreams {
    phase: Stream,
    requeue: Stream,
    remount: Stream,
    probes: Stream,
    watch: Stream,
    services: Stream,
}

impl Kubelet {
    /// A kubelet that has not started yet: [`In::Start`] is its first message. After a crash of its process the cluster
    /// makes a new one.
    pub fn new(config: Config, streams: &Streams) -> Kubelet {
        let owner = format!("kubelet/{}", config.name());
        let stream = |purpose| streams.stream(&owner, purpose);
        let streams = KubeletStreams {
            phase: stream("phase"),
            requeue: stream("requeue-jitter"),
            remount: stream("remount-jitter"),
            probes: stream("probe-spread"),
            watch: stream("watch-backoff"),
            services: stream("service-watch-backoff"),
        };
        let grid = Grid::new(Time::ZERO, Duration::from_secs(1));
        Kubelet {
            allocatable: config.allocatable(),
            events: events::Events::new(config.name()),
            calls: Calls::new(config.records_calls().then(|| config.name())),
            config,
            streams,
            started: Time::ZERO,
            pods: BTreeMap::new(),
            admission: <_>::default(),
            sources_ready: false,
            watches_pods: false,
            services: <_>::default(),
            watch_tries: [0; 3],
            pleg: <_>::default(),
            awaiting: BTreeSet::new(),
            queue: BTreeMap::new(),
            tick: None,
            status_queue: IndexSet::new(),
            status_under_way: None,
            status_waits: false,
            status_tick: None,
            deletes_due: BTreeSet::new(),
            static_pods: <_>::default(),
            preemption: <_>::default(),
            eviction: <_>::default(),
            shutdown: <_>::default(),
            image_gc: <_>::default(),
            image_gc_asks: false,
            pending_resizes: BTreeSet::new(),
            reconciles_due: BTreeSet::new(),
            probe_ticks: <_>::default(),
            puller: <_>::default(),
            garbage: <_>::default(),
            node: <_>::default(),
            network_ready: true,
            network_problem: Text::default(),
            deferred_watch: Vec::new(),
            deferred_syncs: BTreeSet::new(),
            relist_grid: grid,
            sync_grid: grid,
            status_grid: grid,
            node_grid: grid,
            health_grid: grid,
            housekeeping_grid: grid,
            garbage_grid: grid,
            eviction_grid: grid,
            disk_grid: grid,
            volumes_grid: grid,
            image_grid: grid,
        }
    }

    /// Takes a message.
    pub fn handle(&mut self, message: In, fx: &mut Fx) {
        match message {
            In::Start => self.start(fx),
            In::Watch(event) => self.watched(event, fx),
            In::Api(response) => {
                if let Some(owner) = self.calls.api_answered(response.tag) {
                    self.api_answered(owner, response.result, fx);
                }
            }
            In::Cri(response) => {
                if let Some(owner) = self.calls.cri_answered(&response, fx) {
                    self.cri_answered(owner, response.result, fx);
                }
            }
            In::CriEvent(event) => self.container_event(&event, fx),
            In::CriStream { up } => self.cri_stream(up, fx),
            In::Probe(answer) => match self.calls.probe_answered(answer.id) {
                Some(ProbeOwner::Worker { pod, worker }) => self.probe_answered(pod, worker, *answer, fx),
                Some(ProbeOwner::PostStart(pod)) => self.post_start_answered(pod, answer.outcome, fx),
                Some(ProbeOwner::PreStop { pod, kill, container }) => {
                    self.pre_stop_answered(pod, kill, container, answer.outcome, fx);
                }
                None => {}
            },
            In::ProbeChanged(changed) => self.probe_changed(changed.container, fx),
            In::Volume(answer) => self.volume_set_up(*answer, fx),
            In::Stats(summary) => {
                if !self.images_measured(&summary, fx) {
                    self.measured(&summary, fx);
                }
            }
            In::UsageChanged => self.usage_changed(fx),
            In::SystemOom { process, pid } => {
                // pkg/kubelet/oom/oom_watcher_linux.go.
                let message = format!("System OOM encountered, victim process: {process}, pid: {pid}");
                self.node_event(crate::model::EventType::Warning, "SystemOOM", message, fx);
            }
            In::Shutdown => self.prepare_for_shutdown(fx),
            In::StaticPods(pods) => self.static_pods_read(pods, fx),
            In::Timer(timer) => self.timer(timer, fx),
        }
    }

    fn start(&mut self, fx: &mut Fx) {
        let now = fx.now();
        self.started = now;
        self.calls.start(now, self.config.kubelet.runtime_request_timeout);
        // Tickers of a process that has run for a while have any phase; the others begin with it, one after another.
        let was_running = self.config.start == StartKind::WasRunning;
        let mut grid = |period: Duration, offset: Duration| {
            let phase = Duration::from_nanos(self.streams.phase.below(period.as_nanos()));
            // A process takes some time to get there: no tick falls on the round moment at which it was started.
            let start_up = Duration::from_nanos(phase.as_nanos() % 1_000_000);
            Grid::new(now + if was_running { phase } else { offset + start_up }, period)
        };
        let (second, none) = (Duration::from_secs(1), Duration::ZERO);
        self.relist_grid = grid(second, none);
        self.sync_grid = grid(second, Duration::from_millis(210));
        self.status_grid = grid(status_manager::RETRY_PERIOD, none);
        self.node_grid = grid(self.config.kubelet.node_status_update_frequency, none);
        self.health_grid = grid(second * 5, none);
        self.housekeeping_grid = grid(second * 2, Duration::from_millis(230));
        self.garbage_grid = grid(second * 60, none);
        self.eviction_grid = grid(eviction::PERIOD, none);
        self.disk_grid = grid(eviction::DISK_PERIOD, none);
        self.volumes_grid = grid(self.config.kubelet.volume_stats_agg_period, none);
        self.image_grid = grid(image_gc::PERIOD, none);
        self.start_eviction(fx);
        self.start_image_gc(fx);
        self.watch_services_for(None, fx);
        self.start_node(fx);
    }

    /// Containers that run for more than 10 s at this moment are another process's: what that one has said of them holds until
    /// a probe says otherwise. Before Kubernetes 1.35 they began anew.
    fn adopts_before(&self) -> Time {
        match self.config.kubelet.feature_gates.change_container_status_on_kubelet_restart {
            true => Time::ZERO,
            false => self.started,
        }
    }

    /// The grid on which a starting process looks whether its informers have synced.
    fn relist_grid_of_start(&self) -> Grid {
        Grid::new(self.started, Duration::from_secs(1))
    }

    fn timer(&mut self, timer: Timer, fx: &mut Fx) {
        match timer {
            Timer::Relist => self.relist_tick(fx),
            Timer::Observed { pod } => self.observed_unseen(pod, fx),
            Timer::SyncTick => self.sync_tick(fx),
            Timer::Deadline { pod } => self.deadline_tick(pod, fx),
            Timer::Prepared { pod } => self.prepared(pod, fx),
            Timer::Volumes { pod } => self.volumes_tick(pod, fx),
            Timer::Probes => self.probe_ticks(fx),
            Timer::Kill { pod, item } => self.kill_tick(pod, item, fx),
            Timer::PostStart { pod } => self.post_start_tick(pod, fx),
            Timer::StatusRetry => self.status_retry(fx),
            Timer::Mirror { pod } => self.look_at_mirrors(Some(pod), fx),
            Timer::Resize { pod } => self.resize_tick(pod, fx),
            Timer::NodeStatus => self.node_round(fx),
            Timer::FirstReady => self.first_ready(fx),
            Timer::Register => self.register(fx),
            Timer::Lease => self.renew_lease(fx),
            Timer::Health => self.health_tick(fx),
            Timer::RuntimeDown => self.look_at_runtime(fx),
            Timer::Resume => self.resume_tick(fx),
            Timer::Garbage => self.garbage_tick(fx),
            Timer::Collector { images } => self.collector_tick(images, fx),
            Timer::GracePeriod { pod } => self.grace_is_over(pod, fx),
            Timer::Eviction => self.eviction_tick(fx),
            Timer::ImageGc => self.image_gc_tick(fx),
            Timer::Shutdown => self.shutdown_goes_on(fx),
            Timer::Housekeeping => self.housekeeping_tick(fx),
            Timer::WatchPods | Timer::Rewatch(Kind::Pod) => self.watch_pods(fx),
            Timer::Rewatch(Kind::Service) => self.watch_services(fx),
            Timer::Rewatch(_) => self.watch_node(fx),
            Timer::CriDeadline => {
                for owner in self.calls.cri_overdue(fx) {
                    let error = cri::Error::new(cri::Code::DeadlineExceeded, "context deadline exceeded");
                    self.give_cri(owner, Err(error), fx);
                }
            }
            Timer::ApiDeadline => {
                for owner in self.calls.api_overdue(false, fx) {
                    self.api_answered(owner, Err(no_answer()), fx);
                }
            }
        }
    }

    fn cri_answered(&mut self, owner: CriOwner, result: Result<cri::Answer, cri::Error>, fx: &mut Fx) {
        if let Err(error) = &result
            && error.code == cri::Code::Unavailable
            && owner != CriOwner::Health
        {
            self.runtime_lost(fx);
        }
        self.give_cri(owner, result, fx);
    }

    /// Gives an answer of the runtime, or what stands for one, to who waits for it.
    fn give_cri(&mut self, owner: CriOwner, result: Result<cri::Answer, cri::Error>, fx: &mut Fx) {
        match owner {
            CriOwner::Pleg => self.relist_answered(result, fx),
            CriOwner::Kill(pod, number) => self.kill_answered(pod, number, result, fx),
            CriOwner::Puller(number) => self.pull_answered(number, result, fx),
            CriOwner::Garbage => self.collected(fx),
            CriOwner::Collector { images } => self.collector_answered(images, &result, fx),
            CriOwner::Health => self.health_answered(result, fx),
            CriOwner::Images => self.images_listed(result, fx),
            CriOwner::ImageGc => self.images_freed(result, fx),
            CriOwner::Worker(pod) => {
                let Some(entry) = self.pods.get_mut(&pod) else { return };
                match entry.worker.task.take() {
                    Some(Task::Inspecting(inspect)) => {
                        // The worker stays busy meanwhile.
                        entry.worker.task = Some(Task::Killing);
                        self.terminating_inspected(pod, inspect, result, fx);
                    }
                    task => {
                        entry.worker.task = task;
                        self.sync_answered(pod, result, fx);
                    }
                }
            }
        }
    }

    fn api_answered(&mut self, owner: ApiOwner, result: Result<api::Answer, Status>, fx: &mut Fx) {
        match owner {
            ApiOwner::PodStatus(pod) => self.status_written(pod, result, fx),
            ApiOwner::PodDelete(pod) => self.pod_deleted(pod, result, fx),
            ApiOwner::Volumes(pod) => self.volume_answered(pod, result, fx),
            ApiOwner::Environment(pod) => self.environment_answered(pod, result, fx),
            ApiOwner::Mirror(pod) => self.mirror_answered(pod, &result, fx),
            ApiOwner::PullSecret(pod) => self.pull_secret_answered(pod, result, fx),
            ApiOwner::Claim(pod) => self.claim_answered(pod, result, fx),
            ApiOwner::Register => self.register_answered(result, fx),
            ApiOwner::NodeStatus => self.node_status_written(result, fx),
            ApiOwner::Lease => self.lease_answered(result, fx),
            ApiOwner::WatchPods | ApiOwner::WatchNode | ApiOwner::WatchServices => {
                if result.is_err() {
                    let kind = match owner {
                        ApiOwner::WatchPods => Kind::Pod,
                        ApiOwner::WatchServices => Kind::Service,
                        _ => Kind::Node,
                    };
                    self.watch_again(kind, fx);
                }
            }
        }
    }

    fn watch_pods(&mut self, fx: &mut Fx) {
        self.watches_pods = true;
        let watch = Watch { kind: Kind::Pod, node: Some(self.config.name()) };
        self.calls.api(ApiOwner::WatchPods, Call::Watch(watch), fx);
    }

    fn watch_node(&mut self, fx: &mut Fx) {
        let watch = Watch { kind: Kind::Node, node: Some(self.config.name()) };
        self.calls.api(ApiOwner::WatchNode, Call::Watch(watch), fx);
    }

    /// A watch could not be had, or broke: again after a back-off of 0.8 s, doubled up to 30 s, each up to twice as long
    /// (staging/src/k8s.io/client-go/tools/cache/reflector.go).
    fn watch_again(&mut self, kind: Kind, fx: &mut Fx) {
        self.events.cut = true;
        let tries = &mut self.watch_tries[tries_of(kind)];
        let wait = (Duration::from_millis(800) * (1 << (*tries).min(10))).min(Duration::from_secs(30));
        *tries += 1;
        let stream = if kind == Kind::Service { &mut self.streams.services } else { &mut self.streams.watch };
        let wait = stream.jitter(wait, 1.0);
        fx.wake_after(wait, In::Timer(Timer::Rewatch(kind)));
    }

    fn watched(&mut self, event: Arc<WatchEvent>, fx: &mut Fx) {
        let kind = match &*event {
            WatchEvent::Broken(watch) => {
                for owner in self.calls.api_overdue(true, fx) {
                    self.api_answered(owner, Err(no_answer()), fx);
                }
                return self.watch_again(watch.kind, fx);
            }
            WatchEvent::Listed(watch, _) => {
                self.watch_tries[tries_of(watch.kind)] = 0;
                if self.events.cut {
                    self.events.reconnected(fx);
                    self.renew_lease(fx);
                    self.status_waits = false;
                    self.write_status(fx);
                }
                watch.kind
            }
            other => other.object().map_or(Kind::Pod, |object| object.kind()),
        };
        match kind {
            Kind::Node => self.node_watched(&event, fx),
            Kind::Service => self.services.watched(&event),
            _ if self.is_paused() => self.deferred_watch.push(event),
            _ => self.pods_watched(&event, fx),
        }
    }

    /// The sync loop goes on: it handles what has come meanwhile.
    fn resume(&mut self, fx: &mut Fx) {
        self.read_static_pods(fx);
        for event in std::mem::take(&mut self.deferred_watch) {
            self.pods_watched(&event, fx);
        }
        for uid in std::mem::take(&mut self.deferred_syncs) {
            self.sync_soon(uid, fx);
        }
    }
}

/// Where the failures of a watch are counted.
fn tries_of(kind: Kind) -> usize {
    match kind {
        Kind::Pod => 1,
        Kind::Service => 2,
        _ => 0,
    }
}

fn no_answer() -> Status {
    Status::new(StatusReason::Timeout, "context deadline exceeded")
}

/// The pod in the trace's records.
fn pod_ref(pod: &Pod) -> PodRef {
    PodRef { namespace: pod.meta.namespace, name: pod.meta.name, uid: pod.meta.uid }
}

/// Who decides, in the trace's records.
fn component() -> Name {
    Name::new("kubelet")
}
