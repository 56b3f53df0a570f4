//! One sync of a pod, step by step: status, volumes, probes; then kills, the sandbox, and the start of each container, one
//! after another.
//!
//! Kubernetes: SyncPod in pkg/kubelet/kubelet.go and in pkg/kubelet/kuberuntime/kuberuntime_manager.go.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::kernel::{Cause, Duration, Time};
use crate::model::{EventType, Name, Text, Uid};
use crate::protocol::cri::{Answer, Call, Error, PodSandboxConfig, SandboxId};
use crate::trace::{Record, Stage, StageEdge};

use super::backoff;
use super::calls::CriOwner;
use super::claims::PodClaims;
use super::containers::StartStep;
use super::environment::Facts;
use super::kill::KillTarget;
use super::pod_actions::{self, ContainerRef, ContainerType, PodActions};
use super::pod_worker::{Outcome, Task, kill_targets};
use super::pull_secrets::PullSecrets;
use super::resize::ResizeTarget;
use super::runtime_status::RuntimeStatus;
use super::status::StartFailure;
use super::{Fx, In, Kubelet, Timer, pod_ref};

/// A sync under way.
#[derive(Debug)]
pub struct Sync {
    pub(super) step: Step,
    /// What the runtime had when the sync began.
    pub(super) runtime: Arc<RuntimeStatus>,
    pub(super) actions: PodActions,
    /// Positions in the lists of `actions`.
    kill: usize,
    reset: usize,
    /// Running containers, and the pod as a whole, that get other resources, the last first.
    pub(super) updates: SmallVec<[ResizeTarget; 0]>,
    /// Limits of memory that become less than they were are held against what is used, once.
    pub(super) usage_is_checked: bool,
    pub(super) start: usize,
    pub(super) sandbox: Option<SandboxId>,
    pub(super) sandbox_config: Option<Arc<PodSandboxConfig>>,
    pub(super) secrets: PullSecrets,
    pub(super) claims: PodClaims,
    /// Something was done, well or not.
    pub(super) acted: bool,
    /// The end of the shortest back-off that refused a start.
    refused_until: Option<Time>,
    /// Something failed for another reason.
    failed: bool,
    /// A container was started.
    started: bool,
}

/// Where a sync stands: what it waits for.
#[derive(Debug)]
pub enum Step {
    Volumes,
    /// A pull secret is read.
    PullSecrets,
    /// A resource claim is read, or its devices are prepared.
    Claims,
    /// The kill of the whole pod or of one container.
    Kill,
    Reset,
    /// What containers use is asked for, before their memory limits are lowered.
    Usage,
    Update,
    RunSandbox,
    SandboxStatus,
    Start(StartStep),
}

impl Sync {
    fn new(runtime: Arc<RuntimeStatus>) -> Sync {
        Sync {
            step: Step::Volumes,
            runtime,
            actions: PodActions::default(),
            kill: 0,
            reset: 0,
            updates: SmallVec::new(),
            usage_is_checked: false,
            start: 0,
            sandbox: None,
            sandbox_config: None,
            secrets: PullSecrets::default(),
            claims: PodClaims::default(),
            acted: false,
            refused_until: None,
            failed: false,
            started: false,
        }
    }

    /// A container could not be given its resources.
    pub fn update_failed(&mut self) {
        self.failed = true;
    }

    /// True while it only waits for volumes.
    pub fn waits_for_volumes(&self) -> bool {
        matches!(self.step, Step::Volumes)
    }
}

impl Kubelet {
    /// Begins a sync.
    pub(super) fn sync_pod(&mut self, uid: Uid, fx: &mut Fx) {
        let runtime = self.pleg.cached(uid).unwrap_or_default();
        self.check_resize(uid, &runtime, fx);
        let Some(made) = self.make_status(uid, &runtime, false, fx) else { return };
        let ended = made.phase.is_terminal();
        self.set_status(uid, made, fx);
        if ended {
            return self.end_syncing(uid, fx);
        }
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let start = entry.status.status.start_time;
        if let (Some(limit), Some(start)) = (entry.pod.spec.active_deadline, start)
            && !std::mem::replace(&mut entry.worker.deadline_set, true)
        {
            let at = self.sync_grid.at_or_after(start.truncated_to_second() + limit);
            fx.wake_at(at, In::Timer(Timer::Deadline { pod: uid }));
        }
        if !self.network_ready && !entry.pod.spec.host_network {
            let pod = entry.pod.clone();
            let message = Text::from(format!("network is not ready: {}", self.network_problem));
            self.pod_event(&pod, None, EventType::Warning, "NetworkNotReady", message, fx);
            return self.complete(uid, Outcome::NetworkNotReady, fx);
        }
        entry.worker.task = Some(Task::Sync(Box::new(Sync::new(runtime))));
        if super::static_pods::is_static(&entry.pod) {
            self.sync_mirror(uid, fx);
        }
        if self.volumes_ready(uid, fx) {
            self.sync_mounted(uid, fx);
        }
    }

    /// The pod has reached its end: on to termination.
    fn end_syncing(&mut self, uid: Uid, fx: &mut Fx) {
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.task = None;
        }
        self.end_pod(uid, fx);
    }

    /// The pod's volumes are there.
    pub(super) fn sync_mounted(&mut self, uid: Uid, fx: &mut Fx) {
        self.add_probes(uid, fx);
        let Some(mut sync) = self.take_sync(uid) else { return };
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        sync.actions = pod_actions::compute(&pod, &sync.runtime, &entry.probes);
        sync.sandbox = sync.actions.sandbox;
        self.resize_actions(uid, &mut sync);
        if !pod.spec.image_pull_secrets.is_empty() && (sync.actions.create_sandbox || !sync.actions.start.is_empty()) {
            return self.read_pull_secrets(uid, sync, fx);
        }
        self.sync_actions(uid, sync, fx);
    }

    /// What is to be done is known, and all that it needs.
    pub(super) fn sync_actions(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        if sync.actions.kill_pod {
            sync.acted = true;
            if sync.actions.create_sandbox && sync.actions.sandbox.is_some() {
                let message = "Pod sandbox changed, it will be killed and re-created.";
                self.pod_event(&pod, None, EventType::Normal, "SandboxChanged", Text::new(message), fx);
            }
            let targets = kill_targets(&pod, &sync.runtime);
            let sandboxes: Vec<_> = sync.runtime.sandboxes.iter().map(|one| one.summary.id).collect();
            if !targets.is_empty() || !sandboxes.is_empty() {
                sync.step = Step::Kill;
                self.put_sync(uid, sync);
                return self.kill(uid, targets, None, true, sandboxes, fx);
            }
        }
        self.sync_on(uid, sync, fx);
    }

    /// The next thing that the sync has to do.
    pub(super) fn sync_on(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        if sync.actions.kill_pod && !sync.actions.create_sandbox {
            return self.sync_done(uid, &sync, fx);
        }
        if let Some(order) = sync.actions.kill.get(sync.kill).cloned() {
            sync.kill += 1;
            sync.acted = true;
            sync.step = Step::Kill;
            let Some(entry) = self.pods.get(&uid) else { return };
            let name = order.container.of(&entry.pod.spec).map(|one| one.name).unwrap_or_default();
            let container = Some(order.container);
            let target = KillTarget { id: order.id, name, container, message: order.message, probe: order.probe };
            self.put_sync(uid, sync);
            return self.kill(uid, vec![target], None, false, Vec::new(), fx);
        }
        if !sync.actions.reset.is_empty() {
            return self.reset_on(uid, sync, fx);
        }
        if sync.actions.create_sandbox && sync.sandbox_config.is_none() {
            let has_claims = self.pods.get(&uid).is_some_and(|entry| {
                !entry.pod.spec.resource_claims.is_empty() || entry.pod.status.extended_claim.is_some()
            });
            if has_claims && !sync.claims.prepared {
                return self.prepare_claims(uid, sync, fx);
            }
            return self.create_sandbox(uid, sync, fx);
        }
        if !sync.updates.is_empty() {
            return self.update_container(uid, sync, fx);
        }
        match sync.actions.start.get(sync.start).copied() {
            Some(one) => self.start_container(uid, sync, one, fx),
            None => self.sync_done(uid, &sync, fx),
        }
    }

    /// RestartAllContainers: all are killed at once, then removed in order.
    fn reset_on(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let first = !sync.acted;
        sync.acted = true;
        sync.step = Step::Reset;
        if first {
            let mut targets = kill_targets(&entry.pod, &sync.runtime);
            for target in &mut targets {
                target.message = Text::new("killing");
            }
            if !targets.is_empty() {
                sync.step = Step::Kill;
                self.put_sync(uid, sync);
                return self.kill(uid, targets, Some(Duration::ZERO), false, Vec::new(), fx);
            }
        }
        match sync.actions.reset.get(sync.reset).copied() {
            Some(id) => {
                sync.reset += 1;
                self.put_sync(uid, sync);
                self.calls.cri(CriOwner::Worker(uid), Call::RemoveContainer(id), fx);
            }
            None => self.sync_done(uid, &sync, fx),
        }
    }

    fn create_sandbox(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        // Initialisation begins anew in a new sandbox: the old init containers go.
        for container in pod.spec.init_containers.iter() {
            for old in sync.runtime.containers.iter().filter(|one| one.summary.name == container.name) {
                self.collect(Call::RemoveContainer(old.summary.id), fx);
            }
        }
        let config =
            Arc::new(Facts { pod: &pod, pod_ip: None, config: &self.config }.sandbox_config(sync.actions.attempt));
        sync.sandbox_config = Some(config.clone());
        sync.acted = true;
        sync.step = Step::RunSandbox;
        self.put_sync(uid, sync);
        self.stage(uid, Name::default(), Stage::Sandbox, StageEdge::Begin, fx);
        self.calls.cri(CriOwner::Worker(uid), Call::RunPodSandbox(config), fx);
    }

    /// The kill that the sync waited for has ended.
    pub(super) fn sync_killed(&mut self, uid: Uid, failed: Option<Text>, fx: &mut Fx) {
        let Some(sync) = self.take_sync(uid) else { return };
        if matches!(sync.step, Step::Start(_)) {
            return self.hook_kill_done(uid, sync, fx);
        }
        if failed.is_some() {
            return self.complete(uid, Outcome::Failed, fx);
        }
        self.sync_on(uid, sync, fx);
    }

    /// The runtime answered the sync's call.
    pub(super) fn sync_answered(&mut self, uid: Uid, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        match (&sync.step, result) {
            (Step::Start(_), result) => self.start_answered(uid, sync, result, fx),
            (Step::RunSandbox, Ok(Answer::Sandbox(id))) => {
                sync.sandbox = Some(id);
                sync.step = Step::SandboxStatus;
                self.put_sync(uid, sync);
                self.stage(uid, Name::default(), Stage::Sandbox, StageEdge::End, fx);
                self.calls.cri(CriOwner::Worker(uid), Call::PodSandboxStatus(id), fx);
            }
            (Step::RunSandbox, result) => {
                let error = Text::from(result.err().map(|error| error.to_string()).unwrap_or_default());
                self.stage(uid, Name::default(), Stage::Sandbox, StageEdge::Failed(error.clone()), fx);
                self.sandbox_failed(
                    uid,
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {error}"),
                    fx,
                );
            }
            (Step::SandboxStatus, Ok(_)) => {
                self.sandbox_is_up(uid, fx);
                self.sync_on(uid, sync, fx);
            }
            (Step::SandboxStatus, Err(error)) => {
                let message = format!("Unable to get pod sandbox status: {error}");
                self.sandbox_failed(uid, "FailedPodSandBoxStatus", message, fx);
            }
            (Step::Reset, _) => self.sync_on(uid, sync, fx),
            (Step::Usage, result) => self.usage_told(uid, sync, result, fx),
            (Step::Update, result) => self.container_updated(uid, sync, result, fx),
            (Step::Volumes | Step::PullSecrets | Step::Claims | Step::Kill, _) => self.put_sync(uid, sync),
        }
    }

    fn sandbox_failed(&mut self, uid: Uid, reason: &str, message: String, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        self.pod_event(&pod, None, EventType::Warning, reason, message.into(), fx);
        self.complete(uid, Outcome::Failed, fx);
    }

    /// PodReadyToStartContainers is published without waiting for the end of the sync.
    fn sandbox_is_up(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let mut status = entry.status.status.clone();
        crate::model::condition::set(
            &mut status.conditions,
            fx.now(),
            Name::new("PodReadyToStartContainers"),
            crate::model::ConditionStatus::True,
            Name::default(),
            Text::default(),
        );
        for condition in &mut status.conditions {
            condition.last_update = Time::ZERO;
        }
        self.set_status(uid, status, fx);
    }

    /// Begins with a container, unless its back-off refuses (`doBackOff`).
    fn start_container(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else {
            sync.start += 1;
            return self.sync_on(uid, sync, fx);
        };
        sync.acted = true;
        // The newest that has ended: a container that this very sync has killed doesn't count yet.
        let exited = sync.runtime.containers.iter().find(|status| {
            status.summary.name == container.name
                && status.summary.state == crate::protocol::cri::ContainerState::Exited
        });
        if let Some(exited) = exited {
            let settings = &self.config.kubelet;
            let (initial, max) = (settings.initial_container_restart_period, settings.max_container_restart_period);
            let image = container.image;
            let at = entry.backoffs.iter().position(|(known, of, _)| *known == one && *of == image);
            let known = at.map(|at| entry.backoffs[at].2);
            let until = backoff::blocked_until(known, exited.finished_at.time(), fx.now(), max);
            if let (Some(until), Some(known)) = (until, known) {
                let full = format!("{}_{}({uid})", pod.meta.name, pod.meta.namespace);
                let event = format!("Back-off restarting failed container {} in pod {full}", container.name);
                let wait = known.wait;
                let message = format!("back-off {wait} restarting failed container={} pod={full}", container.name);
                self.pod_event(&pod, Some(one), EventType::Warning, "BackOff", event.into(), fx);
                self.decided(uid, format!("back-off {wait} before {} is started again", container.name), fx);
                sync.refused_until = Some(sync.refused_until.map_or(until, |other| other.min(until)));
                return self.start_refused(uid, sync, one, "CrashLoopBackOff", message.into(), fx);
            }
            let next = backoff::next(known, exited.finished_at.time(), fx.now(), initial, max);
            match at {
                Some(at) => entry.backoffs[at].2 = next,
                None => entry.backoffs.push((one, image, next)),
            }
        }
        self.ensure_image(uid, sync, one, fx);
    }

    /// The container was not started; the rest of the sync goes on, but for what comes after an init container.
    fn start_refused(
        &mut self,
        uid: Uid,
        mut sync: Box<Sync>,
        one: ContainerRef,
        reason: &str,
        message: Text,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        entry.reasons.retain(|failure| failure.container != one);
        entry.reasons.push(StartFailure { container: one, reason: Name::new(reason), message });
        let sidecar = one.of(&entry.pod.spec).is_some_and(|container| container.is_sidecar());
        if one.is_init() && !sidecar {
            return self.sync_done(uid, &sync, fx);
        }
        sync.start += 1;
        self.sync_on(uid, sync, fx);
    }

    /// The start of a container failed.
    pub(super) fn start_failed(&mut self, uid: Uid, mut sync: Box<Sync>, reason: &str, message: Text, fx: &mut Fx) {
        sync.failed = true;
        match sync.actions.start.get(sync.start).copied() {
            Some(one) => self.start_refused(uid, sync, one, reason, message, fx),
            None => self.sync_done(uid, &sync, fx),
        }
    }

    /// The container runs and its hook is done: on to the next.
    pub(super) fn start_succeeded(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if let Some(one) = sync.actions.start.get(sync.start).copied() {
            entry.reasons.retain(|failure| failure.container != one);
        }
        sync.started = true;
        sync.start += 1;
        self.sync_on(uid, sync, fx);
    }

    fn sync_done(&mut self, uid: Uid, sync: &Sync, fx: &mut Fx) {
        let outcome = match (sync.failed, sync.refused_until) {
            (true, _) => Outcome::Failed,
            (false, Some(until)) => Outcome::BackOff(until),
            (false, None) => Outcome::Done,
        };
        if sync.started && sync.actions.start.iter().any(|one| one.of == ContainerType::Regular) {
            self.stage(uid, Name::default(), Stage::Ready, StageEdge::Begin, fx);
        }
        self.complete(uid, outcome, fx);
        if outcome == Outcome::Done && sync.acted {
            self.relist_pod(uid, fx);
        }
    }

    /// Takes the sync out of the worker, to go on with it.
    pub(super) fn take_sync(&mut self, uid: Uid) -> Option<Box<Sync>> {
        let worker = &mut self.pods.get_mut(&uid)?.worker;
        match worker.task.take() {
            Some(Task::Sync(sync)) => {
                // The worker stays busy meanwhile.
                worker.task = Some(Task::AwaitStatus);
                Some(sync)
            }
            other => {
                worker.task = other;
                None
            }
        }
    }

    /// Puts the sync back: it waits for something.
    pub(super) fn put_sync(&mut self, uid: Uid, sync: Box<Sync>) {
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.task = Some(Task::Sync(sync));
        }
    }

    /// Writes the edge of a stage to the trace.
    pub(super) fn stage(&mut self, uid: Uid, container: Name, stage: Stage, edge: StageEdge, fx: &mut Fx) -> Cause {
        match self.pods.get(&uid) {
            Some(entry) => fx.record(Record::Stage { pod: pod_ref(&entry.pod), container, stage, edge }),
            None => fx.cause(),
        }
    }
}
