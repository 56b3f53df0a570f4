//! Pod workers: one a pod, with one slot for what is to be done next, walking from syncing over terminating to terminated.
//! And the work queue, which says when a worker looks again.
//!
//! Kubernetes: pkg/kubelet/pod_workers.go, pkg/kubelet/util/queue/work_queue.go; SyncTerminatingPod and SyncTerminatedPod
//! in pkg/kubelet/kubelet.go. The resync of healthy pods each 60 to 90 s changes nothing and is left out.

use smallvec::SmallVec;

use crate::kernel::{Cause, Duration, Time};
use crate::model::{
    Condition, ConditionStatus, ContainerState, EventType, Name, Object, Phase, PodStatus, Text, Uid, condition,
};
use crate::protocol::probe::Purpose;
use crate::protocol::{cri, volume};
use crate::trace::Record;

use super::calls::CriOwner;
use super::kill::{Kill, KillTarget};
use super::pod_actions::ContainerRef;
use super::runtime_status::{Inspect, RuntimeStatus};
use super::status;
use super::sync_pod::Sync;
use super::{Fx, In, Kubelet, Out, Timer};

/// Why a worker is told to look at its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    Sync,
    /// The object is gone.
    Kill,
    /// There never was an object.
    Orphan,
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Sync,
    Terminating,
    Terminated,
    Finished,
    /// Admission refused it: no worker.
    Rejected,
}

/// A pod's worker.
#[derive(Debug, Default)]
pub struct Worker {
    state: State,
    /// The slot: an update that nobody has taken yet.
    pending: bool,
    pub task: Option<Task>,
    /// The kill under way, of whichever task.
    pub kill: Option<Box<Kill>>,
    /// When the last sync ended, on the kubelet's count of observations; 0: never.
    ended: u64,
    ended_at: Time,
    /// What woke it last.
    cause: Cause,
    /// The grace period of the termination.
    grace: Option<Duration>,
    orphan: bool,
    /// The kubelet itself ends the pod, and why.
    ending: Option<Box<Ending>>,
    /// The timer of the active deadline is set.
    pub deadline_set: bool,
    /// When termination had killed everything.
    terminated_at: Time,
}

/// Why the kubelet ends a pod that nobody asked it to end: eviction, preemption, the node's shutdown.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// `Evicted`, `Preempting`, `Terminated`.
    pub reason: Name,
    pub message: Text,
    /// The message of its condition DisruptionTarget; None: it gets none.
    pub disruption: Option<Text>,
    /// The grace period that it gets at most.
    pub grace: Option<Duration>,
}

impl Ending {
    /// What the pod's last status says of it. An app that ends well when it is told to has succeeded all the same.
    pub fn show(&self, status: &mut PodStatus, now: Time) {
        if status.phase == Phase::Failed {
            (status.reason, status.message) = (self.reason, self.message.clone());
        }
        let Some(message) = &self.disruption else { return };
        if condition::find(&status.conditions, "DisruptionTarget").is_none() {
            let target = Condition {
                kind: Name::new("DisruptionTarget"),
                status: ConditionStatus::True,
                reason: Name::new("TerminationByKubelet"),
                message: message.clone(),
                last_transition: now,
                last_update: Time::ZERO,
            };
            status.conditions.insert(0, target);
        }
    }
}

/// What a worker is doing.
#[derive(Debug)]
pub enum Task {
    /// It waits until the runtime has been observed after its last sync (`GetNewerThan`).
    AwaitStatus,
    Sync(Box<Sync>),
    /// SyncTerminatingPod: everything is being killed.
    Killing,
    /// SyncTerminatingPod: what is left is read from the runtime.
    Inspecting(Box<Inspect>),
    /// SyncTerminatedPod: volumes are unmounted.
    Unmounting,
}

/// How a worker's iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// On to the next state, at once.
    Transition,
    /// Again after the network is ready.
    NetworkNotReady,
    /// Containers wait for the end of their back-off, the first at this moment.
    BackOff(Time),
    Failed,
}

/// `backOffPeriod`.
const BACKOFF_PERIOD: Duration = Duration::from_secs(10);
/// `backOffOnTransientErrorPeriod`.
const TRANSIENT_PERIOD: Duration = Duration::from_secs(1);
/// In seconds: who ends a pod waits so long at least, and else half as long again as its grace period.
const SHORTEST_KILL_TIMEOUT: u64 = 10;
/// The longest hop of a wait for a back-off's end.
const LONGEST_HOP: Duration = Duration::from_secs(60);
/// After this long the volume manager's loops have unmounted what a dead pod had.
const UNMOUNTED_AFTER: Duration = Duration::from_millis(200);

impl Worker {
    /// No worker will ever run.
    pub fn reject(&mut self) {
        self.state = State::Rejected;
    }

    /// The pod had ended before this kubelet saw it.
    pub fn begin_terminated(&mut self) {
        self.state = State::Terminated;
    }

    /// True once nothing more will be done.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Rejected)
    }

    /// True once the pod's containers are known to be dead.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated | State::Finished | State::Rejected)
    }

    /// When its last sync ended, on the kubelet's count of observations and on the clock.
    pub fn ended(&self) -> (u64, Time) {
        (self.ended, self.ended_at)
    }

    /// True if admission refused the pod.
    pub fn is_rejected(&self) -> bool {
        self.state == State::Rejected
    }

    /// True if the kubelet has evicted the pod: nothing of it is kept.
    pub fn is_evicted(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.reason == *"Evicted")
    }

    /// True once the pod is on its way out.
    pub fn is_ending(&self) -> bool {
        self.state != State::Sync
    }

    /// True while the pod is (to be) run.
    pub fn is_syncing(&self) -> bool {
        self.state == State::Sync
    }
}

impl Kubelet {
    /// Something happened to the pod: `UpdatePod`.
    pub(super) fn update_pod(&mut self, uid: Uid, update: Update, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.worker;
        match worker.state {
            State::Rejected => return,
            State::Finished => return self.delete_if_done(uid, fx),
            _ => {}
        }
        worker.cause = fx.cause();
        worker.orphan |= update == Update::Orphan;
        let ends = worker.orphan
            || update == Update::Kill
            || worker.ending.is_some()
            || entry.pod.meta.deletion.is_some()
            || entry.pod.status.phase.is_terminal()
            || entry.status.status.phase.is_terminal();
        if ends {
            self.begin_termination(uid, fx);
        }
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.pending = true;
        }
        self.try_work(uid, fx);
    }

    /// The pod is to be terminated, or terminated sooner.
    fn begin_termination(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.worker;
        let asked = entry.pod.meta.deletion.map(|deletion| deletion.grace);
        let grace = match (worker.grace, asked, worker.orphan) {
            (_, _, true) => Duration::from_secs(1),
            (Some(grace), Some(asked), _) => grace.min(asked),
            (Some(grace), None, _) => grace,
            (None, Some(asked), _) => asked,
            (None, None, _) => entry.pod.spec.termination_grace,
        };
        let limit = worker.ending.as_ref().and_then(|ending| ending.grace);
        let grace = limit.map_or(grace, |limit| grace.min(limit)).max(Duration::from_secs(1));
        let shorter = worker.grace.is_some_and(|before| grace < before);
        worker.grace = Some(grace);
        match (worker.state, &worker.task) {
            (State::Sync, task) => {
                let waits_for_volumes = matches!(task, Some(Task::Sync(sync)) if sync.waits_for_volumes());
                worker.state = State::Terminating;
                if waits_for_volumes {
                    self.complete(uid, Outcome::Failed, fx);
                }
            }
            (State::Terminating, Some(Task::Killing)) if shorter => {
                worker.kill = None;
                self.complete(uid, Outcome::Failed, fx);
            }
            _ => {}
        }
    }

    /// Ends a pod for a reason of the node's own (`killPodNow`). False if it is on its way out already.
    pub(super) fn end_for(&mut self, uid: Uid, ending: Ending, fx: &mut Fx) -> bool {
        let Some(entry) = self.pods.get_mut(&uid).filter(|entry| entry.worker.is_syncing()) else { return false };
        let seconds = ending.grace.unwrap_or(entry.pod.spec.termination_grace).as_secs();
        entry.worker.ending = Some(Box::new(ending));
        let timeout = Duration::from_secs((seconds + seconds / 2).max(SHORTEST_KILL_TIMEOUT));
        fx.wake_after(timeout, In::Timer(Timer::GracePeriod { pod: uid }));
        self.update_pod(uid, Update::Sync, fx);
        true
    }

    /// Who ended the pod waits no longer for its containers to be dead.
    pub(super) fn grace_is_over(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        if entry.worker.is_terminated() {
            return;
        }
        let pod = entry.pod.clone();
        let message = Text::new("Container runtime did not kill the pod within specified grace period.");
        self.pod_event(&pod, None, EventType::Warning, "ExceededGracePeriod", message, fx);
    }

    /// Something of a pod that admission refused runs, since before this kubelet's start.
    pub(super) fn terminate_rejected(&mut self, uid: Uid, fx: &mut Fx) {
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.state = State::Terminating;
            self.update_pod(uid, Update::Orphan, fx);
        }
    }

    /// SyncPod found that the pod has come to its end: on to termination.
    pub(super) fn end_pod(&mut self, uid: Uid, fx: &mut Fx) {
        self.begin_termination(uid, fx);
        self.complete(uid, Outcome::Transition, fx);
    }

    /// Takes the update out of the slot, if the worker is free.
    fn try_work(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.worker;
        if worker.task.is_some() || !worker.pending || worker.is_finished() {
            return;
        }
        worker.pending = false;
        worker.task = Some(Task::AwaitStatus);
        if self.has_newer(uid, fx.now()) {
            self.begin_work(uid, fx);
        } else {
            self.awaiting.insert(uid);
            self.await_observation(uid, fx);
        }
    }

    /// The runtime was observed: workers that waited for it go on.
    pub(super) fn observed(&mut self, only: Option<Uid>, fx: &mut Fx) {
        if self.awaiting.is_empty() {
            return;
        }
        let waiting: SmallVec<[Uid; 8]> = match only {
            Some(uid) => self.awaiting.iter().copied().filter(|one| *one == uid).collect(),
            None => self.awaiting.iter().copied().collect(),
        };
        for uid in waiting {
            if !self.pods.contains_key(&uid) {
                self.awaiting.remove(&uid);
            } else if self.has_newer(uid, fx.now()) {
                self.awaiting.remove(&uid);
                self.begin_work(uid, fx);
            }
        }
        if !self.awaiting.is_empty() {
            self.arm_relist(fx);
        }
    }

    fn begin_work(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let cause = fx.cause();
        fx.because(entry.worker.cause);
        match entry.worker.state {
            State::Sync => self.sync_pod(uid, fx),
            State::Terminating => self.sync_terminating(uid, fx),
            State::Terminated => self.sync_terminated(uid, fx),
            State::Finished | State::Rejected => {}
        }
        fx.because(cause);
    }

    /// The worker's iteration ended (`completeWork`).
    pub(super) fn complete(&mut self, uid: Uid, outcome: Outcome, fx: &mut Fx) {
        let ended = self.pleg.count();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.worker;
        worker.task = None;
        worker.kill = None;
        (worker.ended, worker.ended_at) = (ended, fx.now());
        let wait = match outcome {
            Outcome::Done => {
                self.queue.remove(&uid);
                None
            }
            Outcome::Transition => {
                self.queue.remove(&uid);
                worker.pending = true;
                None
            }
            Outcome::NetworkNotReady => Some(TRANSIENT_PERIOD),
            Outcome::BackOff(until) => Some(until.since(fx.now()).min(LONGEST_HOP)),
            Outcome::Failed => Some(BACKOFF_PERIOD),
        };
        if let Some(wait) = wait {
            let wait = self.streams.requeue.jitter(wait, 0.5);
            self.queue.insert(uid, (fx.now() + wait, fx.cause()));
            self.arm_tick(fx);
        }
        self.try_work(uid, fx);
    }

    /// Sets the timer of the sync tick that the earliest entry of the work queue needs.
    fn arm_tick(&mut self, fx: &mut Fx) {
        let Some(due) = self.queue.values().map(|(due, _)| *due).min() else { return };
        let at = self.sync_grid.after(due.max(fx.now()));
        if self.tick.is_none_or(|tick| at < tick || tick <= fx.now()) {
            self.tick = Some(at);
            fx.wake_at(at, In::Timer(Timer::SyncTick));
        }
    }

    /// The sync tick: pods that are due are looked at.
    pub(super) fn sync_tick(&mut self, fx: &mut Fx) {
        if self.tick != Some(fx.now()) {
            return;
        }
        self.tick = None;
        if self.is_paused() {
            return self.arm_tick(fx);
        }
        let now = fx.now();
        let due: SmallVec<[(Uid, Cause); 4]> =
            self.queue.iter().filter(|(_, (due, _))| *due < now).map(|(uid, (_, cause))| (*uid, *cause)).collect();
        for (uid, cause) in due {
            self.queue.remove(&uid);
            fx.because(cause);
            self.update_pod(uid, Update::Sync, fx);
        }
        self.arm_tick(fx);
    }

    /// A pod's active deadline may be over.
    pub(super) fn deadline_tick(&mut self, uid: Uid, fx: &mut Fx) {
        self.sync_soon(uid, fx);
    }

    fn sync_terminating(&mut self, uid: Uid, fx: &mut Fx) {
        let runtime = self.pleg.cached(uid).unwrap_or_default();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let orphan = entry.worker.orphan;
        let grace = entry.worker.grace;
        entry.worker.task = Some(Task::Killing);
        if !orphan {
            let made = self.make_status(uid, &runtime, false, fx);
            if let Some(made) = made {
                self.set_status(uid, made, fx);
            }
            self.stop_probes(uid, &[Purpose::Liveness, Purpose::Startup]);
        }
        let Some(entry) = self.pods.get(&uid) else { return };
        let targets = kill_targets(&entry.pod, &runtime);
        let sandboxes = runtime.sandboxes.iter().map(|sandbox| sandbox.summary.id).collect();
        self.kill(uid, targets, grace, true, sandboxes, fx);
    }

    /// Everything that ran was killed, or could not be.
    pub(super) fn terminating_killed(&mut self, uid: Uid, failed: Option<Text>, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if let Some(error) = failed {
            let pod = entry.pod.clone();
            let message = Text::from(format!("error killing pod: {error}"));
            self.pod_event(&pod, None, EventType::Warning, "FailedKillPod", message, fx);
            return self.complete(uid, Outcome::Failed, fx);
        }
        if entry.worker.orphan {
            return self.finish(uid, fx);
        }
        self.stop_probes(uid, &[Purpose::Readiness, Purpose::Liveness, Purpose::Startup]);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let mut inspect = Box::new(Inspect::listing(uid));
        let call = inspect.call();
        entry.worker.task = Some(Task::Inspecting(inspect));
        if let Some(call) = call {
            self.calls.cri(CriOwner::Worker(uid), call, fx);
        }
    }

    /// An answer while a terminating pod's remains are read.
    pub(super) fn terminating_inspected(
        &mut self,
        uid: Uid,
        mut inspect: Box<Inspect>,
        result: Result<cri::Answer, cri::Error>,
        fx: &mut Fx,
    ) {
        if inspect.answer(result).is_err() {
            return self.complete(uid, Outcome::Failed, fx);
        }
        if let Some(call) = inspect.call() {
            if let Some(entry) = self.pods.get_mut(&uid) {
                entry.worker.task = Some(Task::Inspecting(inspect));
            }
            return self.calls.cri(CriOwner::Worker(uid), call, fx);
        }
        let runtime = inspect.finish();
        if runtime.running().next().is_some() {
            return self.complete(uid, Outcome::Failed, fx);
        }
        self.note_exits(uid, &runtime, fx);
        // The worker is past termination when the status is written, so the write carries the terminal phase.
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.state = State::Terminated;
            entry.worker.terminated_at = fx.now();
        }
        // Whoever hears of the terminal phase may send another pod at once, which must find the room
        // (filterOutInactivePods in pkg/kubelet/kubelet_pods.go leaves out what IsPodKnownTerminated).
        self.release(uid);
        if let Some(made) = self.make_status(uid, &runtime, true, fx) {
            self.set_status(uid, made, fx);
        }
        self.shutdown_goes_on(fx);
        self.complete(uid, Outcome::Transition, fx);
    }

    /// SyncTerminatedPod.
    fn sync_terminated(&mut self, uid: Uid, fx: &mut Fx) {
        let runtime = self.pleg.cached(uid).unwrap_or_default();
        if let Some(made) = self.make_status(uid, &runtime, true, fx) {
            self.set_status(uid, made, fx);
        }
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        entry.worker.task = Some(Task::Unmounting);
        let mounted = entry.volumes.is_mounted();
        if mounted && fx.now().since(entry.worker.terminated_at) < UNMOUNTED_AFTER {
            fx.wake_after(super::volumes::POLL, In::Timer(Timer::Volumes { pod: uid }));
        } else {
            self.finish(uid, fx);
        }
    }

    /// The worker ends: nothing of the pod is left on the node but dead containers.
    pub(super) fn finish(&mut self, uid: Uid, fx: &mut Fx) {
        let is_set_up = self.pods.get(&uid).is_some_and(|entry| entry.volumes.is_set_up());
        if self.config.host.is_some() || is_set_up {
            fx.send(Out::Volume(Box::new(volume::Request::TearDown { pod: uid })));
        }
        self.release(uid);
        self.preemption_goes_on(fx);
        self.retry_resizes(fx);
        self.queue.remove(&uid);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.worker;
        (worker.task, worker.kill, worker.pending, worker.state) = (None, None, false, State::Finished);
        entry.reasons.clear();
        entry.backoffs.clear();
        entry.pull_backoffs.clear();
        entry.probes = Default::default();
        self.arm_garbage(fx);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if !entry.desired {
            return self.forget_pod(uid, fx);
        }
        if entry.worker.orphan {
            return;
        }
        let mut status = entry.status.status.clone();
        status::give_up_unknown(&entry.pod, &mut status);
        if let Some(ending) = &entry.worker.ending {
            ending.show(&mut status, fx.now());
        }
        self.set_status(uid, status, fx);
        self.publish_phase(uid, fx);
        self.delete_if_done(uid, fx);
    }

    /// Makes the status of a pod from what the runtime has, with the deadline and readiness probes at once as they follow
    /// from it (`generateAPIPodStatus`).
    pub(super) fn make_status(
        &mut self,
        uid: Uid,
        runtime: &RuntimeStatus,
        is_terminal: bool,
        fx: &mut Fx,
    ) -> Option<crate::model::PodStatus> {
        let entry = self.pods.get(&uid)?;
        let mut trigger = SmallVec::new();
        let input = status::Input {
            pod: &entry.pod,
            runtime,
            old: &entry.status.status,
            reasons: &entry.reasons,
            probes: &entry.probes,
            now: fx.now(),
            host_ip: self.config.node_ip,
            kubelet_started: self.adopts_before(),
            resize: entry.resize.as_deref(),
            is_terminal,
        };
        let mut made = status::generate(&input, &mut trigger);
        if !trigger.is_empty() {
            self.trigger_readiness(uid, &trigger, fx);
        }
        let entry = self.pods.get(&uid)?;
        if let (Some(limit), Some(start)) = (entry.pod.spec.active_deadline, made.start_time)
            && fx.now() >= start.truncated_to_second() + limit
            && !made.phase.is_terminal()
        {
            let message = Text::new("Pod was active on the node longer than the specified deadline");
            made.phase = crate::model::Phase::Failed;
            made.reason = crate::model::Name::new("DeadlineExceeded");
            made.message = message.clone();
            status::refresh_ready(&entry.pod, &mut made, fx.now());
            let pod = entry.pod.clone();
            self.pod_event(&pod, None, EventType::Normal, "DeadlineExceeded", message, fx);
        }
        if let Some(ending) = self.pods.get(&uid)?.worker.ending.as_ref().filter(|_| is_terminal) {
            ending.show(&mut made, fx.now());
        }
        Some(made)
    }

    /// Writes the exits to the trace that the published status doesn't show yet.
    pub(super) fn note_exits(&mut self, uid: Uid, runtime: &RuntimeStatus, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let shown = &entry.status.status;
        for one in &runtime.containers {
            if one.summary.state != cri::ContainerState::Exited {
                continue;
            }
            let mut all = shown.init_containers.iter().chain(&shown.containers).chain(&shown.ephemeral_containers);
            let known = all.any(|status| {
                let ended = |end: &crate::model::pod::Terminated| end.container_id == one.summary.id.0;
                matches!(&status.state, ContainerState::Terminated(end) if ended(end))
                    || status.last_terminated.as_deref().is_some_and(ended)
            });
            if !known && ContainerRef::find(&entry.pod.spec, one.summary.name).is_some() {
                fx.record(Record::Exited {
                    pod: super::pod_ref(&entry.pod),
                    container: one.summary.name,
                    exit_code: one.exit_code,
                    reason: one.reason,
                    after: one.finished_at.since(one.started_at),
                });
            }
        }
    }

    /// Writes a decision about a pod to the trace.
    pub(super) fn decided(&self, uid: Uid, text: String, fx: &mut Fx) {
        if let Some(entry) = self.pods.get(&uid) {
            let object = Object::Pod(entry.pod.clone()).key();
            fx.record(Record::Decided { object, by: super::component(), text: text.into() });
        }
    }
}

/// The containers of a pod that run or may run, for a kill of the whole pod.
pub fn kill_targets(pod: &crate::model::Pod, runtime: &RuntimeStatus) -> Vec<KillTarget> {
    let alive = |status: &&cri::ContainerStatus| {
        matches!(status.summary.state, cri::ContainerState::Running | cri::ContainerState::Unknown)
    };
    let mut targets: Vec<KillTarget> = runtime
        .containers
        .iter()
        .filter(alive)
        .map(|status| KillTarget {
            id: status.summary.id,
            name: status.summary.name,
            container: ContainerRef::find(&pod.spec, status.summary.name),
            message: Text::default(),
            probe: None,
        })
        .collect();
    targets.reverse();
    targets
}
