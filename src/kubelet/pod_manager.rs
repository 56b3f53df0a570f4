//! The pods of this node: what the watch says of them, told apart into additions, updates, deletions and removals.
//!
//! Kubernetes: pkg/kubelet/config/config.go for the classes of changes, HandlePodAdditions and its siblings in
//! pkg/kubelet/kubelet.go, pkg/kubelet/pod/pod_manager.go.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::{ContainerState, EventType, Name, Object, Pod, Uid};
use crate::protocol::api::WatchEvent;
use crate::protocol::probe::Purpose;
use crate::trace::{Record, Stage, StageEdge};

use super::backoff::Backoff;
use super::pod_actions::ContainerRef;
use super::pod_worker::{Update, Worker};
use super::probes::PodProbes;
use super::resize::Resize;
use super::static_pods::is_static;
use super::status::Reasons;
use super::status_manager::StatusEntry;
use super::volumes::PodVolumes;
use super::{Fx, Kubelet, pod_ref};

/// Everything that the kubelet keeps of one pod.
#[derive(Debug)]
pub struct PodEntry {
    /// As the API server has it. Of a pod that only the runtime knows, a name and a uid.
    pub pod: Arc<Pod>,
    /// False once the API server has it no more.
    pub desired: bool,
    /// True while it counts against the node's resources.
    pub admitted: bool,
    pub worker: Worker,
    pub status: StatusEntry,
    pub reasons: Reasons,
    /// Back-offs of restarts, by container and image.
    pub backoffs: SmallVec<[(ContainerRef, Name, Backoff); 0]>,
    /// Back-offs of pulls, by image, with the last error.
    pub pull_backoffs: SmallVec<[(Name, Backoff, crate::model::Text); 0]>,
    pub probes: PodProbes,
    pub volumes: PodVolumes,
    /// While a resize is under way.
    pub resize: Option<Box<Resize>>,
}

impl PodEntry {
    fn new(pod: Arc<Pod>, desired: bool) -> Box<PodEntry> {
        Box::new(PodEntry {
            pod,
            desired,
            admitted: false,
            worker: Worker::default(),
            status: StatusEntry::default(),
            reasons: Reasons::new(),
            backoffs: SmallVec::new(),
            pull_backoffs: SmallVec::new(),
            probes: PodProbes::default(),
            volumes: PodVolumes::default(),
            resize: None,
        })
    }
}

impl Kubelet {
    /// The watch of pods says something.
    pub(super) fn pods_watched(&mut self, event: &WatchEvent, fx: &mut Fx) {
        match event {
            WatchEvent::Listed(_, objects) => {
                let pods = objects.iter().filter_map(Object::as_pod);
                self.mirrors_listed(objects, fx);
                let gone: Vec<Uid> = {
                    let listed: std::collections::BTreeSet<Uid> = pods.clone().map(|pod| pod.meta.uid).collect();
                    let known = self.pods.iter().filter(|(_, entry)| entry.desired && !is_static(&entry.pod));
                    known.map(|(uid, _)| *uid).filter(|uid| !listed.contains(uid)).collect()
                };
                for uid in gone {
                    self.pod_removed(uid, fx);
                }
                let mut pods: Vec<&Arc<Pod>> = pods.collect();
                pods.sort_by_key(|pod| (pod.meta.created, pod.meta.namespace, pod.meta.name));
                for pod in pods {
                    self.pod_seen(pod, fx);
                }
                self.sources_ready = true;
                self.arm_housekeeping(fx);
            }
            WatchEvent::Added(Object::Pod(pod)) | WatchEvent::Modified(Object::Pod(pod)) => self.pod_seen(pod, fx),
            WatchEvent::Deleted(Object::Pod(pod)) if self.shows_static(pod) => self.mirror_gone(pod, fx),
            WatchEvent::Deleted(Object::Pod(pod)) => self.pod_removed(pod.meta.uid, fx),
            _ => {}
        }
    }

    fn pod_seen(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let uid = pod.meta.uid;
        if self.shows_static(pod) {
            return self.mirror_seen(pod, fx);
        }
        let cause = fx.cause();
        match self.pods.get_mut(&uid) {
            None => self.pod_added(pod, fx),
            Some(entry) if !entry.desired => {
                // The runtime had it, and the API server has it again.
                entry.pod = pod.clone();
                entry.desired = true;
            }
            Some(entry) => {
                let before = std::mem::replace(&mut entry.pod, pod.clone());
                let gates = !pod.spec.readiness_gates.is_empty() && before.status.conditions != pod.status.conditions;
                let mut changed = before.meta.deletion != pod.meta.deletion
                    || (!Arc::ptr_eq(&before.spec, &pod.spec) && before.spec != pod.spec)
                    || before.meta.labels != pod.meta.labels
                    || before.meta.annotations != pod.meta.annotations;
                let others = before.status != pod.status;
                let spec = before.spec.clone();
                if changed && !Arc::ptr_eq(&spec, &pod.spec) && self.resize_asked(uid, &spec, fx) {
                    changed = before.meta.deletion != pod.meta.deletion;
                }
                if changed || gates {
                    self.update_pod(uid, Update::Sync, fx);
                }
                if others {
                    self.reconcile_later(uid, fx);
                }
            }
        }
        fx.because(cause);
    }

    pub(super) fn pod_added(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let uid = pod.meta.uid;
        if self.waits_for_preemption(pod) {
            return;
        }
        self.watch_services_for(Some(pod), fx);
        let stage = Stage::Watch;
        fx.record(Record::Stage { pod: pod_ref(pod), container: Name::default(), stage, edge: StageEdge::End });
        let mut allocated = pod.clone();
        let resize = self.restore_resize(&mut allocated);
        let pod = &allocated;
        let mut entry = PodEntry::new(pod.clone(), true);
        entry.resize = resize;
        entry.status.adopt(pod);
        let ended = pod.status.phase.is_terminal();
        if pod.meta.deletion.is_none() && !ended {
            if let Err(rejection) = self.admit(pod) {
                let rejection = match self.preempt_for(pod, rejection, fx) {
                    Ok(()) => return,
                    Err(rejection) => rejection,
                };
                entry.worker.reject();
                self.pods.insert(uid, entry);
                self.pod_event(pod, None, EventType::Warning, &rejection.reason, rejection.message.clone(), fx);
                self.reject(uid, rejection, fx);
                self.arm_housekeeping(fx);
                return;
            }
            entry.admitted = true;
            self.admission.add(pod);
        }
        if ended && !self.pleg.cached(uid).is_some_and(|runtime| runtime.is_alive()) && self.pleg.has_observed() {
            entry.worker.begin_terminated();
        }
        self.pods.insert(uid, entry);
        self.update_pod(uid, Update::Sync, fx);
    }

    /// The object is gone from the API server.
    pub(super) fn pod_removed(&mut self, uid: Uid, fx: &mut Fx) {
        self.forget_preemptor(uid);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        entry.desired = false;
        if entry.worker.is_finished() {
            self.forget_pod(uid, fx);
        } else {
            self.update_pod(uid, Update::Kill, fx);
        }
    }

    /// Drops all that is known of a pod whose object is gone and whose worker has ended.
    pub(super) fn forget_pod(&mut self, uid: Uid, fx: &mut Fx) {
        self.release(uid);
        if self.pods.remove(&uid).is_some() {
            self.status_queue.shift_remove(&uid);
            self.queue.remove(&uid);
            self.events.forget(uid);
            self.arm_garbage(fx);
            self.pending_resizes.remove(&uid);
            self.retry_resizes(fx);
            if self.has_mirrors() {
                self.arm_housekeeping(fx);
            }
            self.static_pod_may_begin(fx);
        }
    }

    /// The pod no longer counts against the node's resources.
    pub(super) fn release(&mut self, uid: Uid) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if std::mem::take(&mut entry.admitted) {
            let pod = entry.pod.clone();
            self.admission.remove(&pod);
        }
    }

    /// A pod that only the runtime knows is terminated (housekeeping).
    pub(super) fn adopt_orphan(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(runtime) = self.pleg.cached(uid) else { return };
        let Some(sandbox) = runtime.sandboxes.first() else { return };
        let mut pod = Pod::default();
        pod.meta.namespace = sandbox.summary.namespace;
        pod.meta.name = sandbox.summary.name;
        pod.meta.uid = uid;
        self.pods.insert(uid, PodEntry::new(Arc::new(pod), false));
        self.update_pod(uid, Update::Orphan, fx);
    }

    /// Sets `ready` or `started` of a running container in the published status (SetContainerReadiness and
    /// SetContainerStartup in pkg/kubelet/status/status_manager.go).
    pub(super) fn set_container_flag(&mut self, uid: Uid, one: ContainerRef, purpose: Purpose, on: bool, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let mut status = entry.status.status.clone();
        let list = if one.is_init() { &mut status.init_containers } else { &mut status.containers };
        let Some(found) = list.iter_mut().find(|status| status.name == container.name) else { return };
        if !matches!(found.state, ContainerState::Running { .. }) && on {
            return;
        }
        match purpose {
            Purpose::Startup => found.started = Some(on),
            _ => found.ready = on,
        }
        if purpose == Purpose::Readiness {
            super::status::refresh_ready(&entry.pod, &mut status, fx.now());
        }
        self.set_status(uid, status, fx);
    }
}
