//! In-place resize: what a pod asks for, what the kubelet has set aside for it, and what its containers run with.
//!
//! Kubernetes: pkg/kubelet/allocation/allocation_manager.go, doPodResizeAction and computePodResizeAction in
//! pkg/kubelet/kuberuntime/kuberuntime_manager.go. [`PodEntry::pod`](super::pod_manager::PodEntry::pod) has the resources
//! that are set aside; what is asked for beyond that waits here. Of the checkpoint files, the pod's status takes the place.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::pod::{ContainerResize, ResourceRequirements};
use crate::model::quantity::{Format, Quantity};
use crate::model::resources::ResourceList;
use crate::model::{Container, EventType, Name, Pod, PodSpec, Text, Uid};
use crate::protocol::cri::{Answer, Call, ContainerId, ContainerState, Error, LinuxResources};

use super::admission::Rejection;
use super::calls::CriOwner;
use super::environment::Facts;
use super::pod_actions::{ContainerRef, KillOrder, PodActions};
use super::pod_worker::Update;
use super::runtime_status::RuntimeStatus;
use super::sync_pod::{Step, Sync};
use super::{Fx, In, Kubelet, Timer};

/// The resize of one pod.
#[derive(Debug, Default)]
pub struct Resize {
    /// What is asked for and can't be had yet.
    pub pending: Option<Pending>,
    /// Something was set aside and the containers don't all run with it yet.
    pub in_progress: bool,
    /// The last attempt failed.
    pub error: Option<Text>,
    /// Containers that run with other resources than are set aside.
    actual: SmallVec<[(ContainerRef, ResourceRequirements); 1]>,
}

/// A resize that waits.
#[derive(Debug)]
pub struct Pending {
    spec: Arc<PodSpec>,
    /// `Deferred` or `Infeasible`.
    pub reason: &'static str,
    pub message: Text,
    since: Time,
}

/// A deferred resize is tried again after this time, …
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// … and then this often, beside whenever a pod goes or comes.
const RETRY: Duration = Duration::from_secs(180);

impl Resize {
    /// True if nothing is under way.
    fn is_idle(&self) -> bool {
        self.pending.is_none() && !self.in_progress && self.actual.is_empty()
    }

    /// What the pod's status shows of its containers' resources.
    pub fn shown(&self, spec: &PodSpec) -> Option<Arc<[ContainerResize]>> {
        let of = |one: ContainerRef| {
            let container = one.of(spec)?;
            let desired = self.pending.as_ref().and_then(|pending| one.of(&pending.spec));
            let actual = self.actual.iter().find(|(known, _)| *known == one).map(|(_, actual)| actual);
            let differs = desired.is_some_and(|desired| desired.resources != container.resources);
            (differs || actual.is_some()).then(|| ContainerResize {
                name: container.name,
                allocated: container.resources.clone(),
                actual: actual.unwrap_or(&container.resources).clone(),
            })
        };
        let shown: Vec<ContainerResize> = ContainerRef::all(spec).filter_map(of).collect();
        (!shown.is_empty()).then(|| shown.into())
    }
}

/// True if nothing but resources of containers differs.
fn differs_in_resources(one: &PodSpec, other: &PodSpec) -> bool {
    let with = |spec: &PodSpec, from: &PodSpec| {
        let list = |own: &[Container], from: &[Container]| -> Option<Arc<[Container]>> {
            (own.len() == from.len()).then(|| {
                let pairs = own.iter().zip(from);
                pairs.map(|(own, from)| Container { resources: from.resources.clone(), ..own.clone() }).collect()
            })
        };
        let containers = list(&spec.containers, &from.containers)?;
        let init_containers = list(&spec.init_containers, &from.init_containers)?;
        Some(PodSpec { containers, init_containers, ..spec.clone() })
    };
    one != other && with(one, other).is_some_and(|same| same == *other)
}

impl Kubelet {
    /// The API server shows the pod with another spec than `before`, which is what was set aside. Takes from it what can be
    /// had. False if it is no resize.
    pub(super) fn resize_asked(&mut self, uid: Uid, before: &Arc<PodSpec>, fx: &mut Fx) -> bool {
        let Some(entry) = self.pods.get_mut(&uid) else { return false };
        let desired = entry.pod.spec.clone();
        if !entry.admitted || !entry.worker.is_syncing() || !differs_in_resources(before, &desired) {
            if let Some(resize) = entry.resize.as_mut().filter(|resize| resize.pending.is_some()) {
                // It asks for what it has again.
                resize.pending = None;
                self.pending_resizes.remove(&uid);
                self.update_pod(uid, Update::Sync, fx);
                return true;
            }
            return false;
        }
        Arc::make_mut(&mut entry.pod).spec = before.clone();
        let known = entry.resize.as_ref().and_then(|resize| resize.pending.as_ref());
        if known.is_some_and(|known| known.spec == desired) {
            return true;
        }
        self.try_resize(uid, desired, fx);
        true
    }

    /// Sets aside what a pod asks for, or says why not.
    fn try_resize(&mut self, uid: Uid, desired: Arc<PodSpec>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let old = entry.pod.clone();
        let (had, wants) = (old.spec.requests(), desired.requests());
        self.admission.remove(&old);
        let grows = |name: Name| match name.as_str() {
            "cpu" => wants.cpu > had.cpu,
            "memory" => wants.memory > had.memory,
            _ => false,
        };
        let short = self.admission.shortages(&wants, &self.allocatable).find(|short| grows(short.name));
        let Some(short) = short else { return self.resize_admitted(uid, &old, desired, fx) };
        self.admission.add(&old);
        let Rejection { message, .. } = short.rejection();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let resize = entry.resize.get_or_insert_default();
        let known = resize.pending.take();
        let is_news = known.as_ref().is_none_or(|known| known.message != message || known.spec != desired);
        let since = known.filter(|known| known.spec == desired).map_or(fx.now(), |known| known.since);
        resize.pending = Some(Pending { spec: desired.clone(), reason: "Deferred", message: message.clone(), since });
        let wait = if self.pending_resizes.insert(uid) { FIRST_RETRY } else { RETRY };
        fx.wake_after(wait, In::Timer(Timer::Resize { pod: uid }));
        if is_news {
            let text = format!("Pod resize Deferred: {}", described(&old, &desired, Some(&message)));
            self.pod_event(&old, None, EventType::Warning, "ResizeDeferred", text.into(), fx);
            self.update_pod(uid, Update::Sync, fx);
        }
    }

    fn resize_admitted(&mut self, uid: Uid, old: &Arc<Pod>, desired: Arc<PodSpec>, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = Pod { spec: desired.clone(), ..Pod::clone(old) };
        self.admission.add(&pod);
        let resize = entry.resize.get_or_insert_default();
        resize.pending = None;
        resize.in_progress = true;
        resize.error = None;
        for one in ContainerRef::all(&desired) {
            let (Some(was), Some(is)) = (one.of(&old.spec), one.of(&desired)) else { continue };
            let known = resize.actual.iter().any(|(known, _)| *known == one);
            if was.resources != is.resources && !known {
                resize.actual.push((one, was.resources.clone()));
            }
        }
        resize.actual.retain(|(one, actual)| one.of(&desired).is_some_and(|container| container.resources != *actual));
        entry.pod = Arc::new(pod);
        self.pending_resizes.remove(&uid);
        let text = format!("Pod resize started: {}", described(old, &desired, None));
        self.pod_event(old, None, EventType::Normal, "ResizeStarted", text.into(), fx);
        self.update_pod(uid, Update::Sync, fx);
        self.retry_resizes(fx);
    }

    /// The timer of a deferred resize.
    pub(super) fn resize_tick(&mut self, uid: Uid, fx: &mut Fx) {
        let pending = self.pods.get(&uid).and_then(|entry| entry.resize.as_ref()?.pending.as_ref());
        match pending.map(|pending| pending.spec.clone()) {
            Some(spec) => self.try_resize(uid, spec, fx),
            None => {
                self.pending_resizes.remove(&uid);
            }
        }
    }

    /// A pod has gone or become smaller: deferred resizes may fit now, those of the highest priority first.
    pub(super) fn retry_resizes(&mut self, fx: &mut Fx) {
        if self.pending_resizes.is_empty() {
            return;
        }
        let mut waiting: Vec<_> = self
            .pending_resizes
            .iter()
            .filter_map(|uid| {
                let entry = self.pods.get(uid)?;
                let pending = entry.resize.as_ref()?.pending.as_ref()?;
                let (priority, qos) = (entry.pod.spec.priority, entry.pod.spec.qos());
                Some((std::cmp::Reverse((priority, qos)), pending.since, *uid, pending.spec.clone()))
            })
            .collect();
        waiting.sort_by_key(|(rank, since, uid, _)| (*rank, *since, *uid));
        for (_, _, uid, spec) in waiting {
            self.try_resize(uid, spec, fx);
        }
    }

    /// The beginning of a sync: a resize whose containers all run with what was set aside is done.
    pub(super) fn check_resize(&mut self, uid: Uid, runtime: &RuntimeStatus, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(resize) = &mut entry.resize else { return };
        let pod = entry.pod.clone();
        // A container that doesn't run begins with what is set aside.
        resize.actual.retain(|(one, _)| {
            let newest = one.of(&pod.spec).and_then(|container| runtime.newest(container.name));
            newest.is_some_and(|status| status.summary.state == ContainerState::Running)
        });
        if resize.in_progress && resize.actual.is_empty() {
            resize.in_progress = false;
            let text = format!("Pod resize completed: {}", described(&pod, &pod.spec, None));
            self.pod_event(&pod, None, EventType::Normal, "ResizeCompleted", text.into(), fx);
        }
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if entry.resize.as_ref().is_some_and(|resize| resize.is_idle()) {
            entry.resize = None;
        }
    }

    /// What a sync has to do for a resize, beside what `actions` say already.
    pub(super) fn resize_actions(&mut self, uid: Uid, sync: &mut Sync) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(resize) = entry.resize.as_ref().filter(|_| !sync.actions.kill_pod) else { return };
        for (one, actual) in &resize.actual {
            let Some(container) = one.of(&entry.pod.spec) else { continue };
            let running = sync.runtime.newest(container.name);
            let Some(running) = running.filter(|status| status.summary.state == ContainerState::Running) else {
                continue;
            };
            let id = running.summary.id;
            if sync.actions.kill.iter().any(|order| order.id == id) {
                continue;
            }
            if restarts(container, actual) {
                restart(&mut sync.actions, *one, id, container.name);
            } else {
                sync.updates.push((*one, id));
            }
        }
        sync.updates.reverse();
    }

    /// Tells the runtime of a container's new resources.
    pub(super) fn update_container(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(&(one, id)) = sync.updates.last() else { return self.sync_on(uid, sync, fx) };
        let resources = self.resources_of(uid, one);
        sync.acted = true;
        sync.step = Step::Update;
        self.put_sync(uid, sync);
        if let Some(resources) = resources {
            let call = Call::UpdateContainerResources { container: id, resources };
            self.calls.cri(CriOwner::Worker(uid), call, fx);
        }
    }

    fn resources_of(&self, uid: Uid, one: ContainerRef) -> Option<LinuxResources> {
        let entry = self.pods.get(&uid)?;
        let facts = Facts { pod: &entry.pod, pod_ip: None, config: &self.config };
        Some(facts.resources(one.of(&entry.pod.spec)?))
    }

    /// The runtime has given a container its new resources, or could not.
    pub(super) fn container_updated(
        &mut self,
        uid: Uid,
        mut sync: Box<Sync>,
        result: Result<Answer, Error>,
        fx: &mut Fx,
    ) {
        let Some((one, _)) = sync.updates.pop() else { return self.sync_on(uid, sync, fx) };
        let is_done = result.is_ok();
        match result {
            Ok(_) => self.resized(uid, one),
            Err(error) => {
                sync.update_failed();
                let Some(entry) = self.pods.get_mut(&uid) else { return };
                let message = Text::from(error.to_string());
                if let Some(resize) = &mut entry.resize {
                    resize.error = Some(message.clone());
                }
                let pod = entry.pod.clone();
                let text = format!("Pod resize error: {}", described(&pod, &pod.spec, Some(&message)));
                self.pod_event(&pod, None, EventType::Warning, "ResizeError", text.into(), fx);
            }
        }
        self.sync_on(uid, sync, fx);
        // The runtime's next status of the container shows it (SetPodWatchCondition).
        if is_done {
            self.update_pod(uid, Update::Sync, fx);
        }
    }

    /// A container has, or begins with, the resources that are set aside for it.
    pub(super) fn resized(&mut self, uid: Uid, one: ContainerRef) {
        if let Some(resize) = self.pods.get_mut(&uid).and_then(|entry| entry.resize.as_mut()) {
            resize.actual.retain(|(known, _)| *known != one);
        }
    }

    /// A kubelet that has just started takes from the pod's status what an earlier one had set aside, and what containers
    /// ran with.
    pub(super) fn restore_resize(&mut self, pod: &mut Arc<Pod>) -> Option<Box<Resize>> {
        let shown = pod.status.resizing.clone()?;
        let desired = pod.spec.clone();
        let mut spec = PodSpec::clone(&desired);
        let mut resize = Resize::default();
        let known = |name: Name| shown.iter().find(|one| one.name == name);
        for list in [&mut spec.containers, &mut spec.init_containers] {
            let allocated = list.iter().map(|container| match known(container.name) {
                Some(one) => Container { resources: one.allocated.clone(), ..container.clone() },
                None => container.clone(),
            });
            *list = allocated.collect();
        }
        for one in ContainerRef::all(&spec) {
            if let Some(found) = one.of(&spec).and_then(|container| known(container.name))
                && found.actual != found.allocated
            {
                resize.actual.push((one, found.actual.clone()));
                resize.in_progress = true;
            }
        }
        if spec != *desired {
            let (reason, message) = ("Deferred", Text::default());
            resize.pending = Some(Pending { spec: desired, reason, message, since: Time::ZERO });
            self.pending_resizes.insert(pod.meta.uid);
        }
        Arc::make_mut(pod).spec = Arc::new(spec);
        Some(Box::new(resize))
    }
}

/// Whether the change from `actual` to what the container has now restarts it.
fn restarts(container: &Container, actual: &ResourceRequirements) -> bool {
    let (is, was) = (&container.resources, actual);
    container.resize_policy.iter().any(|(resource, restarts)| {
        let changed = match resource.as_str() {
            "cpu" => (is.requests.cpu, is.limits.cpu) != (was.requests.cpu, was.limits.cpu),
            "memory" => (is.requests.memory, is.limits.memory) != (was.requests.memory, was.limits.memory),
            _ => false,
        };
        *restarts && changed
    })
}

/// The container is killed and started again in this sync.
fn restart(actions: &mut PodActions, one: ContainerRef, id: ContainerId, name: Name) {
    let what = if one.init { "Init container" } else { "Container" };
    let message = format!("{what} {name} resize requires restart").into();
    actions.kill.push(KillOrder { id, container: one, message, probe: None });
    if !actions.start.contains(&one) {
        actions.start.push(one);
        actions.start.sort_by_key(|one| (!one.init, one.index));
    }
}

/// A resize as events tell it.
fn described(pod: &Pod, spec: &PodSpec, error: Option<&str>) -> Value {
    let container = |container: &Container| {
        let mut resources = Map::new();
        for (name, list) in [("limits", &container.resources.limits), ("requests", &container.resources.requests)] {
            let amounts = amounts(list);
            if !amounts.is_empty() {
                resources.insert(name.to_owned(), amounts.into());
            }
        }
        json!({"name": container.name.as_str(), "resources": resources})
    };
    let mut told = Map::new();
    let sidecars: Vec<Value> = spec.init_containers.iter().filter(|one| one.is_sidecar()).map(container).collect();
    if !sidecars.is_empty() {
        told.insert("initContainers".to_owned(), sidecars.into());
    }
    let containers: Vec<Value> = spec.containers.iter().map(container).collect();
    told.insert("containers".to_owned(), containers.into());
    told.insert("generation".to_owned(), pod.meta.generation.into());
    if let Some(error) = error {
        told.insert("error".to_owned(), error.into());
    }
    told.into()
}

fn amounts(list: &ResourceList) -> Map<String, Value> {
    let mut amounts = Map::new();
    if let Some(cpu) = list.cpu {
        amounts.insert("cpu".to_owned(), Quantity::from_milli(cpu.0).to_string().into());
    }
    if let Some(memory) = list.memory {
        amounts.insert("memory".to_owned(), Quantity::from_units(memory.0, Format::BinarySI).to_string().into());
    }
    amounts
}
