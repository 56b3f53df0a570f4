//! What is taken away: dead containers beyond the newest of each name, all that is left of pods that are gone, and pods
//! that only the runtime knows.
//!
//! Kubernetes: pkg/kubelet/pod_container_deletor.go, pkg/kubelet/kuberuntime/kuberuntime_gc.go (each minute),
//! HandlePodCleanups in pkg/kubelet/kubelet_pods.go (each 2 s). Both rounds take place only where there is something to do.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use crate::model::{EventType, Name, Uid};
use crate::protocol::cri::{Answer, Call, ContainerId, ContainerState, Error, SandboxState};

use super::calls::CriOwner;
use super::{Fx, In, Kubelet, Timer};

/// What the garbage collectors have to do.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Calls to be made, one after another.
    calls: VecDeque<Call>,
    is_busy: bool,
    collects: bool,
    /// Containers of gone pods that were removed since the last round, whatever the cache still shows of them.
    removed: FxHashSet<ContainerId>,
    cleans: bool,
}

impl Kubelet {
    /// Containers of these names were seen to have ended: only the newest dead one of each stays, and nothing of a pod that
    /// was deleted.
    pub(super) fn remove_surplus(&mut self, uid: Uid, names: &[Name], fx: &mut Fx) {
        let Some(runtime) = self.pleg.cached(uid) else { return };
        // Of a pod that is not known nothing is needed, once all pods are (`ShouldPodContentBeRemoved`): a kubelet that has
        // just started keeps what its pods will show of their containers' ends.
        let gone = self.pods.get(&uid).map_or(self.sources_ready, |entry| {
            entry.worker.is_terminated()
                && (entry.pod.meta.deletion.is_some() || !entry.desired || entry.worker.is_evicted())
        });
        if gone {
            // All of the pod, the newest first.
            let dead = runtime.containers.iter().filter(|one| one.summary.state == ContainerState::Exited);
            for id in dead.map(|one| one.summary.id) {
                if self.garbage.removed.insert(id) {
                    self.garbage.calls.push_back(Call::RemoveContainer(id));
                }
            }
            self.arm_garbage(fx);
            return self.collect_next(fx);
        }
        for name in names {
            let dead = runtime
                .containers
                .iter()
                .filter(|one| one.summary.name == *name && one.summary.state == ContainerState::Exited);
            for one in dead.skip(1) {
                self.garbage.calls.push_back(Call::RemoveContainer(one.summary.id));
            }
        }
        self.collect_next(fx);
    }

    /// Something may be collected at the next round.
    pub(super) fn arm_garbage(&mut self, fx: &mut Fx) {
        if !std::mem::replace(&mut self.garbage.collects, true) {
            fx.wake_at(self.garbage_grid.after(fx.now()), In::Timer(Timer::Garbage));
        }
    }

    /// The round of a minute: what is left of pods that are gone.
    pub(super) fn garbage_tick(&mut self, fx: &mut Fx) {
        self.garbage.collects = false;
        for uid in self.pleg.pods() {
            let entry = self.pods.get(&uid);
            let gone = entry.is_none_or(|entry| {
                entry.worker.is_finished()
                    && (entry.pod.meta.deletion.is_some() || !entry.desired || entry.worker.is_evicted())
            });
            let Some(runtime) = self.pleg.cached(uid).filter(|_| gone) else { continue };
            if runtime.running().next().is_some() {
                continue;
            }
            let Garbage { calls, removed, .. } = &mut self.garbage;
            let left = runtime.containers.iter().filter(|one| !removed.contains(&one.summary.id));
            calls.extend(left.map(|one| Call::RemoveContainer(one.summary.id)));
            for sandbox in runtime.sandboxes.iter().filter(|one| one.summary.state == SandboxState::NotReady) {
                calls.push_back(Call::StopPodSandbox(sandbox.summary.id));
                calls.push_back(Call::RemovePodSandbox(sandbox.summary.id));
            }
        }
        self.garbage.removed.clear();
        self.collect_next(fx);
    }

    /// The runtime may not work from now on: each round of a collector fails. While it works, rounds that find nothing are
    /// left out.
    pub(super) fn collectors_may_fail(&mut self, fx: &mut Fx) {
        for (images, grid) in [(false, self.garbage_grid), (true, self.image_grid)] {
            fx.wake_at(grid.after(fx.now()), In::Timer(Timer::Collector { images }));
        }
    }

    /// A round of container or image collection (`StartGarbageCollection` in pkg/kubelet/kubelet.go).
    pub(super) fn collector_tick(&mut self, images: bool, fx: &mut Fx) {
        if !self.runtime_is_lost() {
            if images {
                self.image_gc_succeeded();
            }
            return;
        }
        let (call, grid) = match images {
            true => (Call::ListImages, self.image_grid),
            false => (Call::ListContainers { pod: None }, self.garbage_grid),
        };
        self.calls.cri(CriOwner::Collector { images }, call, fx);
        fx.wake_at(grid.after(fx.now()), In::Timer(Timer::Collector { images }));
    }

    /// The runtime answered a collector, or not.
    pub(super) fn collector_answered(&mut self, images: bool, result: &Result<Answer, Error>, fx: &mut Fx) {
        match (result, images) {
            (Ok(_), true) => self.image_gc_succeeded(),
            (Ok(_), false) => {}
            (Err(error), true) => self.image_gc_failed(error.to_string(), fx),
            (Err(error), false) => {
                self.node_event(EventType::Warning, "ContainerGCFailed", error.to_string(), fx);
            }
        }
    }

    /// Takes something away when its turn comes.
    pub(super) fn collect(&mut self, call: Call, fx: &mut Fx) {
        self.garbage.calls.push_back(call);
        self.collect_next(fx);
    }

    fn collect_next(&mut self, fx: &mut Fx) {
        if self.garbage.is_busy {
            return;
        }
        let Some(call) = self.garbage.calls.pop_front() else { return };
        self.garbage.is_busy = true;
        self.calls.cri(CriOwner::Garbage, call, fx);
    }

    /// The runtime took something away, or could not.
    pub(super) fn collected(&mut self, fx: &mut Fx) {
        self.garbage.is_busy = false;
        self.collect_next(fx);
    }

    /// Housekeeping at its next round.
    pub(super) fn arm_housekeeping(&mut self, fx: &mut Fx) {
        if self.sources_ready && !std::mem::replace(&mut self.garbage.cleans, true) {
            fx.wake_at(self.housekeeping_grid.after(fx.now()), In::Timer(Timer::Housekeeping));
        }
    }

    /// Housekeeping: running pods that nobody wants are terminated.
    pub(super) fn housekeeping_tick(&mut self, fx: &mut Fx) {
        self.garbage.cleans = false;
        if self.is_paused() || !self.pleg.has_observed() {
            return self.arm_housekeeping(fx);
        }
        for uid in self.pleg.pods() {
            if !self.pleg.cached(uid).is_some_and(|runtime| runtime.is_alive()) {
                continue;
            }
            match self.pods.get_mut(&uid) {
                None => self.adopt_orphan(uid, fx),
                Some(entry) if entry.worker.is_rejected() => self.terminate_rejected(uid, fx),
                Some(_) => {}
            }
        }
        if self.has_mirrors() {
            self.delete_orphaned_mirrors(fx);
        }
        self.arm_garbage(fx);
    }
}
