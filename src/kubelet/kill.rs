//! Killing containers: hooks, the order of sidecars, what is left of the grace period, StopContainer, and then the sandbox.
//!
//! Kubernetes: killContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go, killPodWithSyncResult in
//! kuberuntime_manager.go, kuberuntime_termination_order.go.

use crate::kernel::{Duration, Time};
use crate::model::pod::Handler;
use crate::model::{EventType, Name, Text, Uid};
use crate::protocol::cri::{Answer, Call, Code, ContainerId, Error, SandboxId};
use crate::protocol::probe::{Outcome, Purpose, Request};

use super::calls::{CriOwner, ProbeOwner};
use super::pod_actions::{ContainerRef, ContainerType};
use super::pod_worker::Task;
use super::{Fx, In, Kubelet, Out, Timer};

/// A container that is to be killed.
#[derive(Clone, Debug)]
pub struct KillTarget {
    pub id: ContainerId,
    pub name: Name,
    /// None: the pod's spec doesn't have it (any more).
    pub container: Option<ContainerRef>,
    /// The event's text; empty: `Stopping container <name>`.
    pub message: Text,
    /// The probe whose grace period counts.
    pub probe: Option<Purpose>,
}

/// A kill under way.
#[derive(Debug)]
pub struct Kill {
    items: Vec<Item>,
    /// Sidecars wait for the others.
    ordered: bool,
    /// Sandboxes to be stopped afterwards, the last first.
    sandboxes: Vec<SandboxId>,
    failed: Option<Text>,
}

#[derive(Debug)]
struct Item {
    id: ContainerId,
    container: Option<ContainerRef>,
    sidecar: bool,
    /// What is left of the grace period.
    grace: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The hook runs since then.
    PreStop(Time),
    /// It waits for others since then.
    Waiting(Time),
    Stopping,
    Done,
}

/// The least time that StopContainer gets (`minimumGracePeriodInSeconds`).
const MINIMUM_GRACE: Duration = Duration::from_secs(2);
/// The number in [`CriOwner::Kill`] that stands for a sandbox.
const SANDBOX: u16 = u16::MAX;

impl Kubelet {
    /// Kills these containers at the same time, then stops these sandboxes; the worker's task hears of the end.
    /// `grace` overrides what the pod says.
    pub(super) fn kill(
        &mut self,
        uid: Uid,
        targets: Vec<KillTarget>,
        grace: Option<Duration>,
        ordered: bool,
        mut sandboxes: Vec<SandboxId>,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        sandboxes.reverse();
        let mut items = Vec::with_capacity(targets.len());
        let mut hooks: Vec<(usize, &Handler)> = Vec::new();
        for target in &targets {
            let spec = target.container.and_then(|one| one.of(&pod.spec));
            let probe = spec.and_then(|container| match target.probe {
                Some(Purpose::Liveness) => container.liveness.as_deref(),
                Some(Purpose::Startup) => container.startup.as_deref(),
                _ => None,
            });
            let own = match pod.meta.deletion {
                Some(deletion) => deletion.grace,
                None => probe.and_then(|probe| probe.termination_grace).unwrap_or(pod.spec.termination_grace),
            };
            let item = Item {
                id: target.id,
                container: target.container,
                sidecar: target.container.is_some_and(|one| one.is_init()) && spec.is_some_and(|one| one.is_sidecar()),
                grace: grace.unwrap_or(own),
                state: State::Waiting(fx.now()),
            };
            if let Some(hook) = spec.and_then(|one| one.pre_stop.as_deref()).filter(|_| !item.grace.is_zero()) {
                hooks.push((items.len(), hook));
            }
            items.push(item);
        }
        for target in &targets {
            if target.container.is_some() {
                let message = match target.message.is_empty() {
                    true => format!("Stopping container {}", target.name).into(),
                    false => target.message.clone(),
                };
                self.pod_event(&pod, target.container, EventType::Normal, "Killing", message, fx);
            }
        }
        for &(number, hook) in &hooks {
            let item = &mut items[number];
            item.state = State::PreStop(fx.now());
            let wait = match hook {
                Handler::Sleep(length) => (*length).min(item.grace),
                _ => item.grace,
            };
            fx.wake_after(wait, In::Timer(Timer::Kill { pod: uid, item: number as u16 }));
            if let (Some(one), false) = (item.container, matches!(hook, Handler::Sleep(_))) {
                let owner = ProbeOwner::PreStop { pod: uid, kill: number as u16, container: one };
                self.ask_hook(uid, one, item.id, Purpose::PreStop, owner, fx);
            }
        }
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.worker.kill = Some(Box::new(Kill { items, ordered, sandboxes, failed: None }));
        }
        self.kill_on(uid, fx);
    }

    /// Asks for a hook to be run.
    pub(super) fn ask_hook(
        &mut self,
        uid: Uid,
        one: ContainerRef,
        id: ContainerId,
        purpose: Purpose,
        owner: ProbeOwner,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let spec = &entry.pod.spec;
        let list = if one.is_init() { &spec.init_containers } else { &spec.containers };
        let known = self.pleg.cached(uid).and_then(|runtime| runtime.ip());
        let probe = self.calls.probe(owner);
        fx.send(Out::Probe(Box::new(Request {
            id: probe,
            container: id,
            ip: known.or(entry.status.status.pod_ip).unwrap_or(self.config.node_ip),
            purpose,
            spec: list.clone(),
            index: u32::from(one.index),
            timeout: Duration::ZERO,
        })));
    }

    /// Stops every container whose turn it is; when none is left, the sandboxes.
    fn kill_on(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(kill) = entry.worker.kill.as_mut() else { return };
        let now = fx.now();
        for number in 0..kill.items.len() {
            let State::Waiting(since) = kill.items[number].state else { continue };
            let blocked = kill.is_blocked(number);
            let item = &mut kill.items[number];
            let waited = now.since(since);
            if blocked && waited < item.grace {
                if waited.is_zero() {
                    fx.wake_after(item.grace, In::Timer(Timer::Kill { pod: uid, item: number as u16 }));
                }
                continue;
            }
            item.grace = item.grace.saturating_sub(Duration::from_secs(waited.as_secs()));
            item.state = State::Stopping;
            // StopContainer takes whole seconds.
            let timeout = Duration::from_secs(item.grace.as_secs()).max(MINIMUM_GRACE);
            let call = Call::StopContainer { container: item.id, timeout };
            self.calls.cri(CriOwner::Kill(uid, number as u16), call, fx);
        }
        if kill.items.iter().any(|item| item.state != State::Done) {
            return;
        }
        match kill.sandboxes.last() {
            Some(sandbox) => {
                let call = Call::StopPodSandbox(*sandbox);
                self.calls.cri(CriOwner::Kill(uid, SANDBOX), call, fx);
            }
            None => {
                let failed = entry.worker.kill.take().and_then(|kill| kill.failed);
                self.killed(uid, failed, fx);
            }
        }
    }

    fn killed(&mut self, uid: Uid, failed: Option<Text>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        match &entry.worker.task {
            Some(Task::Killing) => self.terminating_killed(uid, failed, fx),
            Some(Task::Sync(_)) => self.sync_killed(uid, failed, fx),
            _ => {}
        }
    }

    /// The runtime answered a StopContainer or StopPodSandbox.
    pub(super) fn kill_answered(&mut self, uid: Uid, number: u16, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(kill) = entry.worker.kill.as_mut() else { return };
        match result {
            Ok(_) => {}
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => kill.failed = Some(error.to_string().into()),
        }
        if number == SANDBOX {
            kill.sandboxes.pop();
        } else if let Some(item) = kill.items.get_mut(usize::from(number)) {
            if item.state != State::Stopping {
                return;
            }
            item.state = State::Done;
        }
        self.kill_on(uid, fx);
    }

    /// A preStop hook has ended.
    pub(super) fn pre_stop_answered(
        &mut self,
        uid: Uid,
        number: u16,
        container: ContainerRef,
        outcome: Outcome,
        fx: &mut Fx,
    ) {
        if let Some(entry) = self.pods.get(&uid) {
            // Also if nobody waits for the hook any more: it ends with its container.
            let pod = entry.pod.clone();
            let told = match outcome {
                Outcome::Success => None,
                Outcome::Warning(text) => Some(("LifecycleHTTPFallback", text)),
                Outcome::Failure(_) | Outcome::Error(_) => Some(("FailedPreStopHook", Text::new("PreStopHook failed"))),
            };
            if let Some((reason, message)) = told {
                self.pod_event(&pod, Some(container), EventType::Warning, reason, message, fx);
            }
        }
        self.pre_stop_over(uid, number, fx);
    }

    /// The hook took its part of the grace period, in whole seconds.
    fn pre_stop_over(&mut self, uid: Uid, number: u16, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(kill) = entry.worker.kill.as_mut() else { return };
        let Some(item) = kill.items.get_mut(usize::from(number)) else { return };
        let State::PreStop(since) = item.state else { return };
        let used = Duration::from_secs(fx.now().since(since).as_secs());
        item.grace = item.grace.saturating_sub(used);
        item.state = State::Waiting(fx.now());
        self.kill_on(uid, fx);
    }

    /// The timer of a hook's or a wait's end.
    pub(super) fn kill_tick(&mut self, uid: Uid, number: u16, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(kill) = entry.worker.kill.as_mut() else { return };
        let Some(item) = kill.items.get(usize::from(number)) else { return };
        match item.state {
            State::PreStop(since) => {
                let hook = item.container.and_then(|one| one.of(&entry.pod.spec)).and_then(|one| one.pre_stop.clone());
                let elapsed = fx.now().since(since);
                match hook.as_deref() {
                    Some(Handler::Sleep(length)) if elapsed >= (*length).min(item.grace) => {
                        self.pre_stop_over(uid, number, fx);
                    }
                    // Kubernetes no longer waits for a hook that outlives the grace period.
                    Some(_) if elapsed >= item.grace => self.pre_stop_over(uid, number, fx),
                    _ => {}
                }
            }
            State::Waiting(_) => self.kill_on(uid, fx),
            State::Stopping | State::Done => {}
        }
    }
}

impl Kill {
    /// True if the container has to wait for others: sidecars for all regular containers and for the sidecars after them.
    fn is_blocked(&self, number: usize) -> bool {
        let item = &self.items[number];
        self.ordered
            && item.sidecar
            && self.items.iter().any(|other| {
                other.state != State::Done
                    && match (item.container, other.container) {
                        (Some(one), Some(other_one)) => {
                            other_one.of == ContainerType::Regular || (other.sidecar && other_one.index > one.index)
                        }
                        _ => false,
                    }
            })
    }
}
