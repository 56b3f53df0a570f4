//! The pod lifecycle event generator: lists what the runtime has, compares it with the list before, reads anew what has
//! changed, and says so to the sync loop. Also the pod cache, on which pod workers wait for an observation.
//!
//! Kubernetes: pkg/kubelet/pleg/generic.go, pkg/kubelet/container/cache.go. Two differences: relists begin on a grid of
//! 1 s instead of 1 s after the end of the one before, and both lists are asked for at once instead of one after the other.
//!
//! A sleeping kubelet leaves out a relist of which it knows that it would find what the one before has found. It does at
//! the same nanosecond what a polling one does, because
//! - both lists are of the relist's beginning, so that a change during a relist that was left out waits for the next one;
//! - a relist that finds nothing takes the same time always, so that who would have to wait for its end, waits;
//! - relists are left out only after a whole period in which nothing happened, so none that others could meet is missing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::kernel::{Cause, Duration, Time};
use crate::model::{Name, Uid};
use crate::protocol::cri::{
    Answer, Call, ContainerEvent, ContainerEventType, ContainerId, ContainerState, ContainerSummary, Error,
    SandboxState, SandboxSummary,
};

use super::calls::CriOwner;
use super::config::Observe;
use super::pod_worker::Update;
use super::runtime_status::{Inspect, RuntimeStatus};
use super::{Fx, In, Kubelet, Timer};

/// What the last relist has seen of one sandbox or container. Sandboxes come before the containers of their pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    pod: Uid,
    is_container: bool,
    id: u64,
    state: SeenState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SeenState {
    Running,
    Exited,
    /// Created, or unknown to the runtime.
    Unknown,
}

/// What is known of a pod, and by which observation.
#[derive(Clone, Debug)]
struct Cached {
    status: Arc<RuntimeStatus>,
    observed: u64,
}

/// A relist under way.
#[derive(Debug)]
struct Relist {
    /// None: of all pods.
    only: Option<Uid>,
    /// When it began, on the count of observations.
    began: u64,
    /// Once the runtime has listed them.
    sandboxes: Option<Vec<SandboxSummary>>,
    containers: Option<Vec<ContainerSummary>>,
    /// The new list, in order.
    seen: Vec<Seen>,
    /// Pods that changed and are still to be read, the last first.
    changed: Vec<Uid>,
    inspecting: Option<Inspect>,
}

/// The generator's state.
#[derive(Debug, Default)]
pub struct Pleg {
    /// Grows with each beginning of an observation and each end of a sync.
    count: u64,
    /// The beginning of the last complete relist of all pods; 0: none yet.
    observed: u64,
    seen: Vec<Seen>,
    cache: FxHashMap<Uid, Cached>,
    relist: Option<Relist>,
    /// Relists of single pods that were asked for, with the moment on the count.
    asked: VecDeque<(Uid, u64)>,
    /// Pods of which the runtime has said that they changed, and why.
    dirty: BTreeSet<Uid>,
    causes: FxHashMap<Uid, Cause>,
    /// Everything may have changed: events may have been lost.
    all_dirty: bool,
    armed: Option<Time>,
    /// The last moment on the grid at which the timer fired: no relist begins there again.
    last: Option<Time>,
    /// When the last relist of all pods began, and how long one takes that finds nothing changed.
    began_at: Time,
    length: Duration,
    /// The relist that was due found another one still under way.
    due: bool,
    /// When something last happened that relists see or wait for.
    active: Time,
    /// The last relist that was left out before the runtime was lost began then.
    left_out: Time,
    /// A relist that was left out would be under way until then.
    busy_until: Option<Time>,
}

impl Pleg {
    /// The next moment on the count of observations.
    pub fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// What is known of the pod.
    pub fn cached(&self, pod: Uid) -> Option<Arc<RuntimeStatus>> {
        self.cache.get(&pod).map(|cached| cached.status.clone())
    }

    /// True once a relist of all pods is complete.
    pub fn has_observed(&self) -> bool {
        self.observed > 0
    }

    /// True if the pod was observed after the moment `ended` on the count.
    fn has_newer(&self, pod: Uid, ended: u64) -> bool {
        self.observed > ended || self.cache.get(&pod).is_some_and(|cached| cached.observed > ended)
    }

    /// The pod of a container.
    pub fn pod_of(&self, container: ContainerId) -> Option<Uid> {
        self.seen.iter().find(|one| one.is_container && one.id == container.0).map(|one| one.pod)
    }

    /// All pods that the runtime has, in the order of their uids.
    pub fn pods(&self) -> Vec<Uid> {
        let mut pods: Vec<Uid> = self.seen.iter().map(|one| one.pod).collect();
        pods.dedup();
        pods
    }

    /// What was heard from before the connection to the runtime broke counts no more.
    pub fn lost_events(&mut self) {
        self.all_dirty = true;
    }
}

impl Kubelet {
    /// The runtime says that something changed.
    pub(super) fn container_event(&mut self, event: &ContainerEvent, fx: &mut Fx) {
        self.pleg.dirty.insert(event.pod);
        self.pleg.causes.insert(event.pod, fx.cause());
        self.pleg.active = fx.now();
        if let (Some(container), ContainerEventType::Stopped) = (event.container, event.kind) {
            // Probes of a dead container fail, until a relist has told the kubelet why.
            self.probe_changed(container, fx);
        }
        self.arm_relist(fx);
    }

    /// True if the pod was observed after its worker's last sync ended (`GetNewerThan`). A sleeping kubelet has left out
    /// relists that would have found nothing; they count from when they would have been complete.
    pub(super) fn has_newer(&self, uid: Uid, now: Time) -> bool {
        let Some(entry) = self.pods.get(&uid) else { return false };
        let (ended, ended_at) = entry.worker.ended();
        // The relists that would be complete by now.
        let by = now.saturating_sub(self.pleg.length);
        self.pleg.has_newer(uid, ended) || self.pleg.left_out > ended_at || self.left_out(ended_at, by).is_some()
    }

    /// The runtime is about to be lost: what relists that were left out would have seen by now still counts.
    pub(super) fn relists_pause(&mut self, now: Time) {
        if let Some(relist) = self.left_out(Time::ZERO, now.saturating_sub(self.pleg.length)) {
            self.pleg.left_out = relist;
        }
    }

    /// The last relist up to `by` that was left out, if it would have begun after `since`.
    fn left_out(&self, since: Time, by: Time) -> Option<Time> {
        let relist = self.relist_grid.at_or_before(by);
        let sleeping = self.config.observe == Observe::Sleeping && !self.runtime_is_lost();
        let idle = self.pleg.has_observed() && !self.pleg.all_dirty && relist > self.pleg.began_at;
        (sleeping && idle && relist > since && relist <= by && self.pleg.armed != Some(relist)).then_some(relist)
    }

    /// Sets the timer of the observation for which a worker waits.
    pub(super) fn await_observation(&mut self, uid: Uid, fx: &mut Fx) {
        let ended_at = self.pods.get(&uid).map_or(Time::ZERO, |entry| entry.worker.ended().1);
        match self.left_out(ended_at, fx.now()) {
            Some(relist) => fx.wake_at(relist + self.pleg.length, In::Timer(Timer::Observed { pod: uid })),
            None => self.arm_relist(fx),
        }
    }

    /// Sets the timer of the next relist, if there is a reason for one.
    pub(super) fn arm_relist(&mut self, fx: &mut Fx) {
        let mut at = self.relist_grid.at_or_after(fx.now());
        if self.pleg.last == Some(at) {
            at = self.relist_grid.after(at);
        }
        if self.pleg.armed.is_none_or(|armed| armed < fx.now() || armed > at) {
            self.pleg.armed = Some(at);
            fx.wake_at(at, In::Timer(Timer::Relist));
        }
    }

    /// The relist's timer.
    pub(super) fn relist_tick(&mut self, fx: &mut Fx) {
        if self.pleg.armed != Some(fx.now()) {
            return;
        }
        self.pleg.armed = None;
        self.pleg.last = Some(fx.now());
        let polling = self.config.observe == Observe::Polling;
        if polling {
            self.pleg.armed = Some(self.relist_grid.after(fx.now()));
            fx.wake_at(self.relist_grid.after(fx.now()), In::Timer(Timer::Relist));
        } else if self.runtime_is_lost() {
            return;
        }
        let needed = polling
            || self.pleg.all_dirty
            || !self.pleg.has_observed()
            || !self.pleg.dirty.is_empty()
            || !self.awaiting.is_empty()
            || self.pleg.relist.is_some()
            || fx.now().since(self.pleg.active) <= self.relist_grid.period;
        if !needed {
            return;
        }
        if !polling {
            self.pleg.armed = Some(self.relist_grid.after(fx.now()));
            fx.wake_at(self.relist_grid.after(fx.now()), In::Timer(Timer::Relist));
        }
        if self.pleg.relist.is_some() {
            self.pleg.due = true;
            return;
        }
        self.begin_relist(None, fx);
    }

    /// The runtime works: the first relist is made at once.
    pub(super) fn first_relist(&mut self, fx: &mut Fx) {
        if self.pleg.relist.is_none() {
            self.begin_relist(None, fx);
        }
    }

    /// Asks for a relist of one pod as soon as possible (PLEGOnDemandRelist).
    pub(super) fn relist_pod(&mut self, uid: Uid, fx: &mut Fx) {
        let count = self.pleg.count();
        self.pleg.asked.push_back((uid, count));
        self.pleg.active = fx.now();
        self.arm_relist(fx);
        if let Some(relist) = self.left_out(Time::ZERO, fx.now()).filter(|_| self.pleg.relist.is_none())
            && fx.now() < relist + self.pleg.length
        {
            // The polling original would be in the middle of it.
            if self.pleg.busy_until.is_none_or(|until| until <= fx.now()) {
                self.pleg.busy_until = Some(relist + self.pleg.length);
                fx.wake_at(relist + self.pleg.length, In::Timer(Timer::Observed { pod: uid }));
            }
            return;
        }
        self.next_relist(fx);
    }

    /// A relist that was left out would be complete now.
    pub(super) fn observed_unseen(&mut self, pod: Uid, fx: &mut Fx) {
        self.observed(Some(pod), fx);
        if self.pleg.busy_until.is_some_and(|until| until <= fx.now()) {
            self.pleg.busy_until = None;
            self.next_relist(fx);
        }
    }

    fn next_relist(&mut self, fx: &mut Fx) {
        if self.pleg.relist.is_some() {
            return;
        }
        if std::mem::take(&mut self.pleg.due) {
            return self.begin_relist(None, fx);
        }
        while let Some((uid, asked)) = self.pleg.asked.pop_front() {
            if self.pleg.observed < asked {
                return self.begin_relist(Some(uid), fx);
            }
        }
    }

    fn begin_relist(&mut self, only: Option<Uid>, fx: &mut Fx) {
        let began = self.pleg.count();
        match only {
            Some(uid) => {
                self.pleg.dirty.remove(&uid);
            }
            None => {
                self.pleg.dirty.clear();
                self.pleg.all_dirty = false;
                self.pleg.began_at = fx.now();
            }
        }
        self.pleg.relist = Some(Relist {
            only,
            began,
            sandboxes: None,
            containers: None,
            seen: Vec::new(),
            changed: Vec::new(),
            inspecting: None,
        });
        self.calls.cri(CriOwner::Pleg, Call::ListPodSandbox { pod: only }, fx);
        self.calls.cri(CriOwner::Pleg, Call::ListContainers { pod: only }, fx);
    }

    /// The runtime answered a call of the relist.
    pub(super) fn relist_answered(&mut self, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(relist) = self.pleg.relist.as_mut() else { return };
        if let Some(inspect) = relist.inspecting.as_mut() {
            if inspect.answer(result).is_err() {
                // Not recorded, so that the next relist finds it changed again.
                let pod = inspect.pod;
                relist.inspecting = None;
                self.pleg.dirty.insert(pod);
                self.arm_relist(fx);
            }
            return self.inspect_next(fx);
        }
        match result {
            Ok(Answer::Sandboxes(list)) => relist.sandboxes = Some(list),
            Ok(Answer::Containers(list)) => relist.containers = Some(list),
            Ok(_) | Err(_) => {
                // The other list's answer is nobody's.
                self.calls.forget_pleg();
                self.pleg.all_dirty = true;
                self.pleg.relist = None;
                self.pleg.due = false;
                self.arm_relist(fx);
                return self.next_relist(fx);
            }
        }
        if relist.sandboxes.is_some() && relist.containers.is_some() {
            if relist.only.is_none() {
                self.pleg.length = fx.now().since(self.pleg.began_at);
            }
            self.compare();
            self.inspect_next(fx);
        }
    }

    /// Finds the pods of which something changed.
    fn compare(&mut self) {
        let Pleg { relist, seen: before, .. } = &mut self.pleg;
        let Some(relist) = relist.as_mut() else { return };
        relist.seen.extend(relist.sandboxes.iter().flatten().map(|one| Seen {
            pod: one.pod,
            is_container: false,
            id: one.id.0,
            state: if one.state == SandboxState::Ready { SeenState::Running } else { SeenState::Exited },
        }));
        relist.seen.extend(relist.containers.iter().flatten().map(|one| Seen {
            pod: one.pod,
            is_container: true,
            id: one.id.0,
            state: match one.state {
                ContainerState::Running => SeenState::Running,
                ContainerState::Exited => SeenState::Exited,
                ContainerState::Created | ContainerState::Unknown => SeenState::Unknown,
            },
        }));
        // Stable, because it is quick where both lists are nearly in order already.
        relist.seen.sort();
        // Both lists are sorted: walk them side by side.
        let (mut old, mut new) = (before.iter().peekable(), relist.seen.iter().peekable());
        let mut changed: SmallVec<[Uid; 8]> = SmallVec::new();
        let mut note = |pod: Uid| {
            if changed.last() != Some(&pod) {
                changed.push(pod);
            }
        };
        loop {
            let (a, b) = (old.peek().copied(), new.peek().copied());
            match (a, b) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => {
                    old.next();
                    new.next();
                }
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    if relist.only.is_none_or(|only| only == a.pod) {
                        note(a.pod);
                    }
                    old.next();
                }
                (_, Some(b)) => {
                    note(b.pod);
                    new.next();
                }
                (Some(_), None) => break,
            }
        }
        changed.sort_unstable();
        changed.dedup();
        relist.changed.extend(changed.into_iter().rev());
    }

    /// Reads the next pod that changed, or ends the relist.
    fn inspect_next(&mut self, fx: &mut Fx) {
        loop {
            let Some(relist) = self.pleg.relist.as_mut() else { return };
            if relist.inspecting.is_none() {
                let Some(pod) = relist.changed.pop() else { break };
                let sandboxes: Vec<_> =
                    relist.sandboxes.iter().flatten().filter(|one| one.pod == pod).copied().collect();
                let containers: Vec<_> =
                    relist.containers.iter().flatten().filter(|one| one.pod == pod).copied().collect();
                relist.inspecting = Some(Inspect::listed(pod, sandboxes, containers));
            }
            let Some(inspect) = relist.inspecting.as_mut() else { return };
            if let Some(call) = inspect.call() {
                return self.calls.cri(CriOwner::Pleg, call, fx);
            }
            let Some(inspect) = relist.inspecting.take() else { return };
            let (pod, began) = (inspect.pod, relist.began);
            self.inspected(pod, began, inspect.finish(), fx);
        }
        self.end_relist(fx);
    }

    /// A pod was read: the cache is renewed, and the sync loop hears what happened.
    fn inspected(&mut self, pod: Uid, began: u64, status: RuntimeStatus, fx: &mut Fx) {
        let Pleg { seen: before, relist, cache, causes, .. } = &mut self.pleg;
        let Some(relist) = relist.as_ref() else { return };
        let of_pod = |list: &[Seen]| -> SmallVec<[Seen; 4]> {
            let from = list.partition_point(|one| one.pod < pod);
            list[from..].iter().take_while(|one| one.pod == pod).copied().collect()
        };
        let (old, new) = (of_pod(before), of_pod(&relist.seen));
        let mut died: SmallVec<[ContainerId; 2]> = SmallVec::new();
        let mut told = false;
        for one in &new {
            let was = old.iter().find(|old| (old.is_container, old.id) == (one.is_container, one.id));
            if was.map(|was| was.state) == Some(one.state) {
                continue;
            }
            // Unknown states are never told.
            told |= one.state != SeenState::Unknown;
            if one.state == SeenState::Exited && one.is_container {
                died.push(ContainerId(one.id));
            }
        }
        for one in &old {
            let is_gone = !new.iter().any(|new| (new.is_container, new.id) == (one.is_container, one.id));
            // What had exited is only removed, of which nobody hears.
            told |= is_gone && one.state != SeenState::Exited;
        }
        let from = before.partition_point(|one| one.pod < pod);
        before.splice(from..from + old.len(), new.iter().copied());
        let cause = fx.cause();
        if let Some(heard) = causes.remove(&pod) {
            fx.because(heard);
        }
        if status.is_empty() {
            cache.remove(&pod);
        } else {
            cache.insert(pod, Cached { status: Arc::new(status), observed: began });
        }
        if !died.is_empty() {
            self.containers_died(pod, &died, fx);
        }
        if told {
            self.sync_soon(pod, fx);
        }
        if self.sources_ready && self.pods.get(&pod).is_none_or(|entry| entry.worker.is_finished()) {
            self.arm_housekeeping(fx);
        }
        self.observed(Some(pod), fx);
        fx.because(cause);
    }

    fn end_relist(&mut self, fx: &mut Fx) {
        let Some(relist) = self.pleg.relist.take() else { return };
        match relist.only {
            None => {
                let first = !self.pleg.has_observed();
                self.pleg.observed = relist.began;
                if first {
                    if self.config.observe == Observe::Polling {
                        // From now on; a tick during the first relist would make another one at once.
                        self.arm_relist(fx);
                    }
                    self.first_relist_done(fx);
                }
                self.observed(None, fx);
            }
            Some(uid) => {
                if let Some(cached) = self.pleg.cache.get_mut(&uid) {
                    cached.observed = relist.began;
                }
                self.observed(Some(uid), fx);
            }
        }
        self.next_relist(fx);
    }

    /// Containers were seen to have ended.
    fn containers_died(&mut self, uid: Uid, died: &[ContainerId], fx: &mut Fx) {
        let Some(runtime) = self.pleg.cached(uid) else { return };
        let of: Vec<_> = runtime.containers.iter().filter(|one| died.contains(&one.summary.id)).cloned().collect();
        let names: SmallVec<[Name; 2]> = of.iter().map(|one| one.summary.name).collect();
        self.note_exits(uid, &RuntimeStatus { sandboxes: Vec::new(), containers: of }, fx);
        self.remove_surplus(uid, &names, fx);
    }

    /// The pod is looked at by its worker, unless the sync loop pauses.
    pub(super) fn sync_soon(&mut self, uid: Uid, fx: &mut Fx) {
        if self.is_paused() {
            self.deferred_syncs.insert(uid);
        } else {
            self.update_pod(uid, Update::Sync, fx);
        }
    }
}
