//! Publishes the pods' statuses: one write at a time, the newest wins; holds back a terminal phase until nothing of the pod
//! runs; deletes the object of a pod that was asked to go and is gone.
//!
//! Kubernetes: pkg/kubelet/status/status_manager.go. The GET before each PATCH is left out, because the PATCH here says
//! which uid it is for.

use crate::kernel::{Duration, Moment, Time};
use crate::model::pod::Terminated;
use crate::model::{ContainerState, Key, Kind, Name, Phase, Pod, PodStatus, Text, Uid, condition};
use crate::protocol::api::{Answer, Call, DeleteOptions, Patch, Propagation, Status, StatusReason};
use crate::trace::{Stage, StageEdge};

use super::admission::Rejection;
use super::calls::ApiOwner;
use super::pod_manager::PodEntry;
use super::{Fx, In, Kubelet, Timer};

/// The status of one pod, as the kubelet has it and as it has been published.
#[derive(Debug, Default)]
pub struct StatusEntry {
    pub status: PodStatus,
    /// Counts changes; 0: none was made by this kubelet.
    version: u32,
    /// The version that the API server has.
    delivered: u32,
    /// The status came from the API server.
    adopted: bool,
    /// The phase and its words that were published last.
    phase: (Phase, Name, Text),
    deleting: bool,
}

impl StatusEntry {
    /// Begins with what the API server has, which an earlier kubelet may have written.
    pub fn adopt(&mut self, pod: &Pod) {
        self.phase = (pod.status.phase, pod.status.reason, pod.status.message.clone());
        if pod.status.start_time.is_some() {
            self.status = pod.status.clone();
            self.adopted = true;
        }
    }

    /// Nobody shows the status any more, so it is written again when somebody does.
    pub fn undelivered(&mut self) {
        self.delivered = 0;
        self.phase = (Phase::Pending, Name::default(), Text::default());
    }

    /// True if there is a status to look at.
    pub fn is_known(&self) -> bool {
        self.version > 0 || self.adopted
    }
}

/// The period in which what failed is written again.
pub const RETRY_PERIOD: Duration = Duration::from_secs(10);

impl Kubelet {
    /// Stores a pod's status, and writes it if it changed.
    pub(super) fn set_status(&mut self, uid: Uid, mut status: PodStatus, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let known = &entry.status;
        status.start_time = status.start_time.or(known.status.start_time).or(Some(fx.now()));
        cut_times(&mut status);
        let spec = &entry.pod.spec;
        let count = spec.containers.len() + spec.init_containers.len() + spec.ephemeral_containers.len();
        cut_messages(&mut status, LONGEST_MESSAGES / count.max(1));
        if known.version > 0 && known.status == status {
            return;
        }
        let became_ready = condition::is_true(&status.conditions, "Ready")
            && !condition::is_true(&known.status.conditions, "Ready")
            && known.version > 0;
        // It is kept for as long as the pod is.
        status.conditions.shrink_to_fit();
        entry.status.status = status;
        entry.status.version += 1;
        if became_ready {
            self.stage(uid, Name::default(), Stage::Ready, StageEdge::End, fx);
        }
        self.rouse_probes(uid, fx);
        self.status_queue.insert(uid);
        self.status_waits = false;
        self.write_status(fx);
    }

    /// The worker has ended: a terminal phase that was held back is written even if nothing else changed (`TerminatePod`).
    pub(super) fn publish_phase(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if entry.status.phase.0 != entry.status.status.phase {
            entry.status.version += 1;
            self.status_queue.insert(uid);
            self.write_status(fx);
        }
    }

    /// Admission refused the pod.
    pub(super) fn reject(&mut self, uid: Uid, rejection: Rejection, fx: &mut Fx) {
        let status = PodStatus {
            phase: Phase::Failed,
            reason: Name::new(&rejection.reason),
            message: format!("Pod was rejected: {}", rejection.message).into(),
            ..PodStatus::default()
        };
        self.set_status(uid, status, fx);
    }

    /// Writes the next status, if none is under way.
    pub(super) fn write_status(&mut self, fx: &mut Fx) {
        while self.status_under_way.is_none() && !self.status_waits {
            let Some(uid) = self.status_queue.shift_remove_index(0) else { return };
            let Some(shown) = self.shown_pod(uid) else { continue };
            let Some(entry) = self.pods.get_mut(&uid) else { continue };
            if !entry.desired || entry.status.delivered == entry.status.version {
                continue;
            }
            let status = publishable(entry);
            entry.status.phase = (status.phase, status.reason, status.message.clone());
            let version = entry.status.version;
            if is_published(&status, &shown.status) {
                entry.status.delivered = version;
                self.delete_if_done(uid, fx);
                continue;
            }
            let key = shown.meta.key(Kind::Pod);
            self.status_under_way = Some((uid, version));
            let patch = Patch::PodStatus { uid: shown.meta.uid, status: Box::new(status) };
            self.calls.api(ApiOwner::PodStatus(uid), Call::Patch(key, patch), fx);
        }
    }

    /// The API server answered the write.
    pub(super) fn status_written(&mut self, uid: Uid, result: Result<Answer, Status>, fx: &mut Fx) {
        let Some((of, version)) = self.status_under_way.filter(|(of, _)| *of == uid) else { return };
        self.status_under_way = None;
        let lost = matches!(&result, Err(error) if error.reason != StatusReason::NotFound && error.reason != StatusReason::Conflict);
        if let Some(entry) = self.pods.get_mut(&of) {
            if lost {
                self.status_queue.insert(of);
                self.wait_to_write(fx);
            } else {
                entry.status.delivered = version;
                if entry.status.version != version {
                    self.status_queue.insert(of);
                }
                self.delete_if_done(of, fx);
            }
        }
        self.write_status(fx);
    }

    /// The API server shows a status that is not the kubelet's: somebody else, such as the node controller, has written
    /// it. The next round looks at it (`needsReconcile`).
    pub(super) fn reconcile_later(&mut self, uid: Uid, fx: &mut Fx) {
        if self.needs_reconcile(uid) {
            self.reconciles_due.insert(uid);
            self.arm_status_round(fx);
        }
    }

    /// True if what was written is no longer what the API server shows.
    fn needs_reconcile(&self, uid: Uid) -> bool {
        let (Some(entry), Some(shown)) = (self.pods.get(&uid), self.shown_pod(uid)) else { return false };
        let status = &entry.status;
        let written = status.delivered == status.version || shown.meta.uid != uid;
        entry.desired && status.version > 0 && written && !is_published(&publishable(entry), &shown.status)
    }

    /// Nothing is written before the next round.
    fn wait_to_write(&mut self, fx: &mut Fx) {
        self.status_waits = true;
        self.arm_status_round(fx);
    }

    fn arm_status_round(&mut self, fx: &mut Fx) {
        let at = self.status_grid.after(fx.now());
        if self.status_tick.is_none_or(|tick| tick <= fx.now()) {
            self.status_tick = Some(at);
            fx.wake_at(at, In::Timer(Timer::StatusRetry));
        }
    }

    /// The round in which everything is reconciled.
    pub(super) fn status_retry(&mut self, fx: &mut Fx) {
        self.status_tick = None;
        self.status_waits = false;
        for uid in std::mem::take(&mut self.reconciles_due) {
            if !self.needs_reconcile(uid) {
                continue;
            }
            if let Some(entry) = self.pods.get_mut(&uid) {
                entry.status.version += 1;
                self.status_queue.insert(uid);
            }
        }
        self.write_status(fx);
        for uid in std::mem::take(&mut self.deletes_due) {
            self.delete_if_done(uid, fx);
        }
    }

    /// Deletes the object of a pod that was asked to go, once its last status is published.
    pub(super) fn delete_if_done(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let status = &mut entry.status;
        let done = entry.desired
            && entry.worker.is_finished()
            && entry.pod.meta.deletion.is_some()
            && status.delivered == status.version
            && status.phase.0.is_terminal()
            && !status.deleting;
        if !done {
            return;
        }
        status.deleting = true;
        let options =
            DeleteOptions { grace: Some(Duration::ZERO), propagation: Propagation::Background, uid: Some(uid) };
        let key: Key = entry.pod.meta.key(Kind::Pod);
        self.calls.api(ApiOwner::PodDelete(uid), Call::Delete(key, options), fx);
    }

    /// The API server answered the deletion.
    pub(super) fn pod_deleted(&mut self, uid: Uid, result: Result<Answer, Status>, fx: &mut Fx) {
        let Err(error) = result else { return };
        if error.reason == StatusReason::NotFound {
            return;
        }
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.status.deleting = false;
            self.deletes_due.insert(uid);
            self.wait_to_write(fx);
        }
    }
}

/// The termination messages of a pod's containers together, in bytes (`MaxPodTerminationMessageLogLength`).
const LONGEST_MESSAGES: usize = 12 << 10;

/// Each termination message gets no more than its share.
fn cut_messages(status: &mut PodStatus, most: usize) {
    let cut = |end: &mut Terminated| {
        if end.message.len() > most {
            let at = (0..=most).rev().find(|at| end.message.is_char_boundary(*at)).unwrap_or(0);
            end.message = Text::new(&end.message[..at]);
        }
    };
    let regular = status.init_containers.iter_mut().chain(&mut status.containers);
    for one in regular.chain(&mut status.ephemeral_containers) {
        if let ContainerState::Terminated(end) = &mut one.state {
            cut(end);
        }
        one.last_terminated.as_deref_mut().into_iter().for_each(cut);
    }
}

/// Cuts all times to whole seconds, as they are written, so that what was written and read back is the same
/// (`normalizeStatus`).
fn cut_times(status: &mut PodStatus) {
    let cut = |time: &mut Time| *time = time.truncated_to_second();
    let cut_moment = |moment: &mut Moment| *moment = moment.truncated_to_second();
    let cut_end = |end: &mut Terminated| {
        cut_moment(&mut end.started_at);
        cut_moment(&mut end.finished_at);
    };
    status.start_time.iter_mut().for_each(cut);
    status.conditions.iter_mut().for_each(|condition| cut(&mut condition.last_transition));
    let regular = status.init_containers.iter_mut().chain(&mut status.containers);
    for one in regular.chain(&mut status.ephemeral_containers) {
        match &mut one.state {
            ContainerState::Running { started_at } => cut_moment(started_at),
            ContainerState::Terminated(end) => cut_end(end),
            ContainerState::Waiting { .. } => {}
        }
        one.last_terminated.as_deref_mut().into_iter().for_each(cut_end);
    }
}

/// The status as it may be shown: while something of the pod may still run, a terminal phase is held back, and with it the
/// reason of its end (`mergePodStatus`).
fn publishable(entry: &PodEntry) -> PodStatus {
    let mut status = entry.status.status.clone();
    if status.phase.is_terminal() && !entry.worker.is_terminated() {
        (status.phase, status.reason, status.message) = entry.status.phase.clone();
        status.conditions.retain(|condition| condition.kind != *"DisruptionTarget");
    }
    status
}

/// True if the API server shows all of this already.
fn is_published(status: &PodStatus, shown: &PodStatus) -> bool {
    status.phase == shown.phase
        && status.reason == shown.reason
        && status.message == shown.message
        && status.containers == shown.containers
        && status.init_containers == shown.init_containers
        && status.ephemeral_containers == shown.ephemeral_containers
        && status.resizing == shown.resizing
        && (status.start_time, status.pod_ip, status.host_ip) == (shown.start_time, shown.pod_ip, shown.host_ip)
        && status.conditions.iter().all(|one| {
            condition::find(&shown.conditions, &one.kind).is_some_and(|other| {
                (other.status, other.reason, &other.message) == (one.status, one.reason, &one.message)
            })
        })
        && !shown
            .conditions
            .iter()
            .any(|one| one.kind.starts_with("PodResize") && condition::find(&status.conditions, &one.kind).is_none())
}
