//! Probe workers: one a container and kind of probe. Each ticks on a grid from its start, asks for a probe, counts results
//! against the thresholds and publishes what changes.
//!
//! Kubernetes: pkg/kubelet/prober/worker.go, prober_manager.go, prober.go. A worker that has nothing to learn sleeps: it
//! has no timer while its container cannot be probed, and none while the answer's `Holds` says that success goes on.
//! Failing probes are repeated each period, because each failure is an event that users see. The three immediate retries
//! of a probe that could not be done are left out.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::pod::Probe;
use crate::model::{Container, ContainerState, EventType, Pod, Text, Uid};
use crate::protocol::cri::ContainerId;
use crate::protocol::probe::{Answer, Holds, Outcome, ProbeId, Purpose, Request};
use crate::trace::Record;

use super::calls::ProbeOwner;
use super::config::Observe;
use super::grid::Grid;
use super::pod_actions::{ContainerRef, may_run_again};
use super::pod_manager::PodEntry;
use super::{Fx, In, Kubelet, Out, Timer};

/// The probe workers of a pod.
#[derive(Debug, Default)]
pub struct PodProbes {
    workers: SmallVec<[Box<Worker>; 0]>,
}

/// When which workers tick. Workers that tick at the same moment do so in the order of their pods' uids and their numbers,
/// however long each has slept.
#[derive(Debug, Default)]
pub struct Ticks(BTreeMap<Time, SmallVec<[(Uid, u16); 2]>>);

impl Ticks {
    fn add(&mut self, at: Time, pod: Uid, number: u16, fx: &mut Fx) {
        let ticks = self.0.entry(at).or_insert_with(|| {
            fx.wake_at(at, In::Timer(Timer::Probes));
            SmallVec::new()
        });
        ticks.push((pod, number));
    }
}

/// One worker.
#[derive(Debug)]
struct Worker {
    pod: Uid,
    /// Its place among the pod's workers.
    number: u16,
    purpose: Purpose,
    container: ContainerRef,
    /// Its ticks.
    grid: Grid,
    /// The timer that is set; a timer that fires at another moment means nothing any more.
    wakes: Option<Time>,
    /// A probe under way.
    asked: Option<ProbeId>,
    /// Somebody wants a probe as soon as the one under way has ended.
    triggered: bool,
    ended: bool,
    /// The container that the rest is about.
    id: ContainerId,
    /// The published result; None: unknown.
    result: Option<bool>,
    /// How often the last outcome came in a row.
    last: Option<bool>,
    run: u32,
    on_hold: bool,
    /// Further probes come out as the last one.
    holds: Holds,
}

impl PodProbes {
    /// The published result of this kind of probe for this instance of a container.
    pub fn result(&self, purpose: Purpose, container: ContainerRef, id: ContainerId) -> Option<bool> {
        let worker = self.workers.iter().find(|one| one.purpose == purpose && one.container == container)?;
        worker.result.filter(|_| worker.id == id)
    }

    /// True if a worker of this kind exists.
    pub fn has(&self, purpose: Purpose, container: ContainerRef) -> bool {
        self.workers.iter().any(|one| one.purpose == purpose && one.container == container)
    }

    /// Probes with these results, for tables of tests.
    #[cfg(test)]
    pub fn with_results(results: &[(Purpose, ContainerRef, ContainerId, bool)]) -> PodProbes {
        let workers = results.iter().map(|&(purpose, container, id, result)| {
            let mut worker = Worker::new(Uid(1), 0, purpose, container, Grid::new(Time::ZERO, Duration::from_secs(10)));
            (worker.id, worker.result) = (id, Some(result));
            Box::new(worker)
        });
        PodProbes { workers: workers.collect() }
    }
}

impl Worker {
    fn new(pod: Uid, number: u16, purpose: Purpose, container: ContainerRef, grid: Grid) -> Worker {
        Worker {
            pod,
            number,
            purpose,
            container,
            grid,
            wakes: None,
            asked: None,
            triggered: false,
            ended: false,
            id: ContainerId::default(),
            result: None,
            last: None,
            run: 0,
            on_hold: false,
            holds: Holds::Once,
        }
    }

    fn wake_at(&mut self, at: Time, ticks: &mut Ticks, fx: &mut Fx) {
        if self.wakes.is_none_or(|wakes| at < wakes || wakes < fx.now()) {
            self.wakes = Some(at);
            ticks.add(at, self.pod, self.number, fx);
        }
    }

    /// The result may change nothing as long as probes succeed as the last one did.
    fn is_settled(&self, probe: &Probe) -> bool {
        self.last == Some(true) && self.result == Some(true) && self.run >= probe.success_threshold
    }
}

/// The probe of this kind in a container's spec.
fn probe_of(container: &Container, purpose: Purpose) -> Option<&Probe> {
    match purpose {
        Purpose::Startup => container.startup.as_deref(),
        Purpose::Readiness => container.readiness.as_deref(),
        Purpose::Liveness => container.liveness.as_deref(),
        Purpose::PostStart | Purpose::PreStop => None,
    }
}

/// What an iteration comes to before any probe is made.
enum Turn {
    /// Nothing to do until the pod's status changes.
    Wait,
    /// Nothing to do before this moment.
    Until(Time),
    Probe,
    End,
}

impl Kubelet {
    /// Makes the workers of a pod that has none yet (`AddPod`).
    pub(super) fn add_probes(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        for one in ContainerRef::all(&pod.spec) {
            let Some(container) = one.of(&pod.spec) else { continue };
            if one.is_init() && !container.is_sidecar() {
                continue;
            }
            for purpose in [Purpose::Startup, Purpose::Readiness, Purpose::Liveness] {
                let Some(probe) = probe_of(container, purpose) else { continue };
                if entry.probes.has(purpose, one) {
                    continue;
                }
                // A kubelet that has just started spreads the probes of its pods.
                let spread = if fx.now().since(self.started) < probe.period {
                    Duration::from_nanos(self.streams.probes.below(probe.period.as_nanos()))
                } else {
                    Duration::ZERO
                };
                let start = fx.now() + spread;
                let number = entry.probes.workers.len() as u16;
                let mut worker = Worker::new(uid, number, purpose, one, Grid::new(start, probe.period));
                worker.wake_at(start, &mut self.probe_ticks, fx);
                entry.probes.workers.push(Box::new(worker));
            }
        }
    }

    /// Ends the workers of these kinds.
    pub(super) fn stop_probes(&mut self, uid: Uid, purposes: &[Purpose]) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        for worker in entry.probes.workers.iter_mut().filter(|one| purposes.contains(&one.purpose)) {
            worker.ended = true;
        }
    }

    /// Lets readiness workers probe at once, and their grids begin anew (`manualTriggerCh`).
    pub(super) fn trigger_readiness(&mut self, uid: Uid, containers: &[ContainerRef], fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        for worker in &mut entry.probes.workers {
            if worker.purpose != Purpose::Readiness || worker.ended || !containers.contains(&worker.container) {
                continue;
            }
            if worker.asked.is_some() {
                worker.triggered = true;
            } else {
                worker.grid.anchor = fx.now();
                worker.wakes = None;
                worker.wake_at(fx.now(), &mut self.probe_ticks, fx);
            }
        }
    }

    /// The pod's published status changed: sleeping workers look at it at their next tick.
    pub(super) fn rouse_probes(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        for number in 0..entry.probes.workers.len() {
            let worker = &mut entry.probes.workers[number];
            if worker.asked.is_some() {
                worker.holds = Holds::Once;
            }
            if worker.ended || worker.asked.is_some() {
                continue;
            }
            let settled = worker.id != ContainerId::default()
                && current(&entry.pod, &entry.status.status, worker.container)
                    .is_some_and(|(id, running)| running && id == worker.id)
                && (worker.on_hold || is_settled(&entry.pod, worker));
            if !settled {
                let at = worker.grid.at_or_after(fx.now());
                worker.wake_at(at, &mut self.probe_ticks, fx);
            }
        }
    }

    /// Probes of this container may come out differently from now on.
    pub(super) fn probe_changed(&mut self, container: ContainerId, fx: &mut Fx) {
        let Some(uid) = self.pleg.pod_of(container) else { return };
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        for worker in &mut entry.probes.workers {
            if worker.id != container || worker.ended {
                continue;
            }
            worker.holds = Holds::Once;
            if worker.asked.is_none() && !worker.on_hold {
                let at = worker.grid.at_or_after(fx.now());
                worker.wake_at(at, &mut self.probe_ticks, fx);
            }
        }
    }

    /// Workers tick.
    pub(super) fn probe_ticks(&mut self, fx: &mut Fx) {
        let Some(mut ticks) = self.probe_ticks.0.remove(&fx.now()) else { return };
        ticks.sort_unstable();
        for (uid, number) in ticks {
            let worker = self.pods.get_mut(&uid).and_then(|entry| entry.probes.workers.get_mut(usize::from(number)));
            let Some(worker) = worker.filter(|one| one.wakes == Some(fx.now())) else { continue };
            if !worker.ended && worker.asked.is_none() {
                worker.wakes = None;
                self.worker_tick(uid, number, fx);
            }
        }
    }

    fn worker_tick(&mut self, uid: Uid, number: u16, fx: &mut Fx) {
        let polling = self.config.observe == Observe::Polling;
        let probed = |kubelet: &Kubelet| {
            let worker = kubelet.pods.get(&uid).and_then(|entry| entry.probes.workers.get(usize::from(number)));
            worker.map(|worker| worker.id)
        };
        let before = probed(self);
        let turn = self.probe_turn(uid, number, self.adopts_before(), fx);
        let is_new = probed(self) != before;
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(worker) = entry.probes.workers.get_mut(usize::from(number)) else { return };
        // The result that a new container begins with is one that changed: the pod is synced, after the next relist, and its
        // readiness probed once more then.
        let begins = match worker.purpose {
            Purpose::Readiness => worker.result == Some(false),
            Purpose::Startup => worker.result.is_none(),
            _ => false,
        };
        match turn {
            Turn::End => worker.ended = true,
            Turn::Wait if polling => {
                let at = worker.grid.after(fx.now());
                worker.wake_at(at, &mut self.probe_ticks, fx);
            }
            Turn::Wait => {}
            Turn::Until(moment) => {
                let at = if polling { worker.grid.after(fx.now()) } else { worker.grid.at_or_after(moment) };
                worker.wake_at(at.max(worker.grid.after(fx.now())), &mut self.probe_ticks, fx);
            }
            Turn::Probe => self.ask_probe(uid, number, fx),
        }
        if is_new && begins {
            // What an earlier process has said of the container holds since 1.35.
            if self.is_shown_ready(uid, number) {
                self.publish_probe(uid, number, fx);
            }
            self.sync_soon(uid, fx);
        }
    }

    /// The first half of `doProbe`: whether there is something to probe.
    fn probe_turn(&mut self, uid: Uid, number: u16, kubelet_started: Time, fx: &mut Fx) -> Turn {
        let Some(entry) = self.pods.get_mut(&uid) else { return Turn::End };
        let PodEntry { pod, status, probes, .. } = &mut **entry;
        let worker = &mut probes.workers[usize::from(number)];
        let Some(container) = worker.container.of(&pod.spec) else { return Turn::End };
        let Some(probe) = probe_of(container, worker.purpose) else { return Turn::End };
        if !status.is_known() {
            return Turn::Wait;
        }
        if status.status.phase.is_terminal() {
            return Turn::End;
        }
        let list = worker.container.statuses(&status.status);
        let Some(reported) = list.iter().find(|one| one.name == container.name) else { return Turn::Wait };
        if reported.container_id == 0 {
            return Turn::Wait;
        }
        let mut published = false;
        if worker.id.0 != reported.container_id {
            worker.id = ContainerId(reported.container_id);
            (worker.last, worker.run, worker.on_hold, worker.holds) = (None, 0, false, Holds::Once);
            worker.result = match worker.purpose {
                Purpose::Liveness => Some(true),
                Purpose::Readiness => Some(false),
                _ => None,
            };
            if let ContainerState::Running { started_at } = reported.state
                && started_at + Duration::from_secs(10) < kubelet_started.into()
            {
                // A container that an earlier kubelet has started keeps what that one has reported of it
                // (ChangeContainerStatusOnKubeletRestart is off since 1.35).
                match worker.purpose {
                    Purpose::Readiness => worker.result = None,
                    Purpose::Startup if reported.started == Some(true) => {
                        worker.result = Some(true);
                        worker.on_hold = true;
                    }
                    _ => {}
                }
            }
        }
        if worker.on_hold {
            return Turn::Wait;
        }
        let ContainerState::Running { started_at } = reported.state else {
            published |= worker.result != Some(false) && worker.purpose != Purpose::Startup;
            worker.result = Some(false);
            let ends = match &reported.state {
                ContainerState::Terminated(end) => !may_run_again(pod, container, end.exit_code),
                _ => false,
            };
            if published {
                self.publish_probe(uid, number, fx);
            }
            return if ends { Turn::End } else { Turn::Wait };
        };
        if pod.meta.deletion.is_some() && worker.purpose != Purpose::Readiness {
            worker.result = Some(true);
            return Turn::End;
        }
        let due = (started_at.truncated_to_second() + probe.initial_delay).time();
        if fx.now() < due {
            return Turn::Until(due);
        }
        let has_started = reported.started == Some(true);
        if has_started == (worker.purpose == Purpose::Startup) {
            return Turn::Wait;
        }
        Turn::Probe
    }

    fn ask_probe(&mut self, uid: Uid, number: u16, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let worker = &mut entry.probes.workers[usize::from(number)];
        let spec = &entry.pod.spec;
        let list = if worker.container.is_init() { &spec.init_containers } else { &spec.containers };
        let Some(probe) = worker.container.of(spec).and_then(|one| probe_of(one, worker.purpose)) else { return };
        let ip = if spec.host_network { Some(self.config.node_ip) } else { entry.status.status.pod_ip };
        let id = self.calls.probe(ProbeOwner::Worker { pod: uid, worker: number });
        worker.asked = Some(id);
        fx.send(Out::Probe(Box::new(Request {
            id,
            container: worker.id,
            ip: ip.unwrap_or(self.config.node_ip),
            purpose: worker.purpose,
            spec: list.clone(),
            index: u32::from(worker.container.index),
            timeout: probe.timeout,
        })));
    }

    /// The second half of `doProbe`: what the answer changes.
    pub(super) fn probe_answered(&mut self, uid: Uid, number: u16, answer: Answer, fx: &mut Fx) {
        let polling = self.config.observe == Observe::Polling;
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(worker) = entry.probes.workers.get_mut(usize::from(number)) else { return };
        if worker.asked != Some(answer.id) {
            return;
        }
        worker.asked = None;
        if worker.ended {
            return;
        }
        let purpose = worker.purpose;
        let pod = entry.pod.clone();
        let Some(container) = worker.container.of(&pod.spec) else { return };
        let Some(probe) = probe_of(container, purpose) else { return };
        let one = worker.container;
        worker.holds = answer.holds;
        let warned = match &answer.outcome {
            Outcome::Warning(text) => Some(Text::from(format!("{} probe warning: {text}", purpose.as_str()))),
            _ => None,
        };
        let (success, text) = match answer.outcome {
            Outcome::Warning(_) => (Some(true), Text::default()),
            Outcome::Success => (Some(true), Text::default()),
            Outcome::Failure(text) => (Some(false), Text::from(format!("{} probe failed: {text}", purpose.as_str()))),
            Outcome::Error(text) => {
                let name = purpose.as_str();
                (None, Text::from(format!("{name} probe errored and resulted in unknown state: {text}")))
            }
        };
        let mut changed = false;
        if let Some(success) = success {
            if worker.last == Some(success) {
                worker.run = worker.run.saturating_add(1);
            } else {
                (worker.last, worker.run) = (Some(success), 1);
            }
            let threshold = if success { probe.success_threshold } else { probe.failure_threshold };
            if worker.run >= threshold {
                changed = worker.result != Some(success);
                worker.result = Some(success);
                if purpose == Purpose::Startup || (purpose == Purpose::Liveness && !success) {
                    worker.on_hold = true;
                    worker.run = 0;
                }
            }
        }
        if success == Some(false) || changed {
            fx.record(Record::Probed {
                pod: super::pod_ref(&pod),
                container: container.name,
                purpose,
                success: success == Some(true),
                message: text.clone(),
            });
        }
        if success != Some(true) {
            self.pod_event(&pod, Some(one), EventType::Warning, "Unhealthy", text, fx);
        }
        if let Some(text) = warned {
            self.pod_event(&pod, Some(one), EventType::Warning, "ProbeWarning", text, fx);
        }
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(worker) = entry.probes.workers.get_mut(usize::from(number)) else { return };
        if std::mem::take(&mut worker.triggered) {
            worker.grid.anchor = fx.now();
            worker.wake_at(fx.now(), &mut self.probe_ticks, fx);
        } else {
            let next = worker.grid.after(fx.now());
            let settled = worker.is_settled(probe);
            match worker.holds {
                _ if polling => worker.wake_at(next, &mut self.probe_ticks, fx),
                _ if worker.on_hold => {}
                Holds::UntilChanged if settled => {}
                Holds::Until(moment) if settled => {
                    let at = worker.grid.at_or_after(moment).max(next);
                    worker.wake_at(at, &mut self.probe_ticks, fx);
                }
                _ => worker.wake_at(next, &mut self.probe_ticks, fx),
            }
        }
        if changed {
            self.publish_probe(uid, number, fx);
        }
    }

    /// A stored result changed: the sync loop hears of it.
    /// True if the status shows the container of a readiness probe as ready.
    fn is_shown_ready(&self, uid: Uid, number: u16) -> bool {
        let Some(entry) = self.pods.get(&uid) else { return false };
        let Some(worker) = entry.probes.workers.get(usize::from(number)) else { return false };
        let name = worker.container.of(&entry.pod.spec).map(|container| container.name);
        let status = &entry.status.status;
        let list = worker.container.statuses(status);
        worker.purpose == Purpose::Readiness && list.iter().any(|one| Some(one.name) == name && one.ready)
    }

    fn publish_probe(&mut self, uid: Uid, number: u16, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(worker) = entry.probes.workers.get(usize::from(number)) else { return };
        let (purpose, container, success) = (worker.purpose, worker.container, worker.result == Some(true));
        match purpose {
            Purpose::Liveness if success => return,
            Purpose::Readiness => self.set_container_flag(uid, container, purpose, success, fx),
            Purpose::Startup => self.set_container_flag(uid, container, purpose, success, fx),
            _ => {}
        }
        self.sync_soon(uid, fx);
    }
}

fn is_settled(pod: &Pod, worker: &Worker) -> bool {
    let probe = worker.container.of(&pod.spec).and_then(|one| probe_of(one, worker.purpose));
    let settled = probe.is_some_and(|probe| worker.is_settled(probe));
    settled && worker.holds == Holds::UntilChanged
}

/// The instance of a container that the status shows, and whether it runs.
fn current(pod: &Pod, status: &crate::model::PodStatus, one: ContainerRef) -> Option<(ContainerId, bool)> {
    let name = one.of(&pod.spec)?.name;
    let reported = one.statuses(status).iter().find(|status| status.name == name)?;
    let running = matches!(reported.state, ContainerState::Running { .. });
    Some((ContainerId(reported.container_id), running))
}
