//! In-place resize: what a pod asks for, what the kubelet has set aside for it, and what its containers run with.
//!
//! Kubernetes: pkg/kubelet/allocation/allocation_manager.go, doPodResizeAction and computePodResizeAction in
//! pkg/kubelet/kuberuntime/kuberuntime_manager.go. [`PodEntry::pod`](super::pod_manager::PodEntry::pod) has the resources
//! that are set aside; what is asked for beyond that waits here. Of the checkpoint files, the pod's status takes the place.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::pod::{ContainerResize, ResourceRequirements};
use crate::model::pod_resources::QosClass;
use crate::model::quantity::{Format, Quantity};
use crate::model::resources::ResourceList;
use crate::model::{Container, EventType, Name, Pod, PodSpec, Text, Uid};
use crate::protocol::cri::{Answer, Call, ContainerId, ContainerState, Error, LinuxResources, SandboxId};

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
    /// The same for the pod as a whole.
    actual_pod: Option<Box<ResourceRequirements>>,
}

/// What gets other resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeTarget {
    Container(ContainerRef, ContainerId),
    Pod(SandboxId),
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
        self.pending.is_none() && !self.in_progress && self.actual.is_empty() && self.actual_pod.is_none()
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
        let of_pod = || {
            let allocated = spec.resources.as_deref().cloned().unwrap_or_default();
            let wanted = self.pending.as_ref().and_then(|pending| pending.spec.resources.as_deref());
            let differs = wanted.is_some_and(|wanted| *wanted != allocated);
            (differs || self.actual_pod.is_some()).then(|| ContainerResize {
                name: Name::default(),
                actual: self.actual_pod.as_deref().unwrap_or(&allocated).clone(),
                allocated,
            })
        };
        let shown: Vec<ContainerResize> = ContainerRef::all(spec).filter_map(of).chain(of_pod()).collect();
        (!shown.is_empty()).then(|| shown.into())
    }
}

/// True if nothing but resources of containers, or of the pod as a whole, differs.
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
        Some(PodSpec { containers, init_containers, resources: from.resources.clone(), ..spec.clone() })
    };
    one != other && with(one, other).is_some_and(|same| same == *other)
}

/// True if two specs differ in ephemeral containers only.
fn differs_in_nothing_else(one: &PodSpec, other: &PodSpec) -> bool {
    one.ephemeral_containers != other.ephemeral_containers
        && PodSpec { ephemeral_containers: Arc::clone(&other.ephemeral_containers), ..one.clone() } == *other
}

impl Kubelet {
    /// The API server shows the pod with another spec than `before`, which is what was set aside. Takes from it what can be
    /// had. False if it is no resize.
    pub(super) fn resize_asked(&mut self, uid: Uid, before: &Arc<PodSpec>, fx: &mut Fx) -> bool {
        let Some(entry) = self.pods.get_mut(&uid) else { return false };
        let desired = entry.pod.spec.clone();
        // Ephemeral containers may come while a resize waits: they are no part of it.
        let has_more = before.ephemeral_containers != desired.ephemeral_containers;
        let before = match has_more {
            true => &Arc::new(PodSpec {
                ephemeral_containers: Arc::clone(&desired.ephemeral_containers),
                ..PodSpec::clone(before)
            }),
            false => before,
        };
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
        let pending = entry.resize.as_mut().and_then(|resize| resize.pending.as_mut());
        match pending
            .filter(|known| !has_more && known.spec == desired || differs_in_nothing_else(&known.spec, &desired))
        {
            Some(known) => known.spec = desired,
            None => self.try_resize(uid, desired, fx),
        }
        if has_more {
            self.update_pod(uid, Update::Sync, fx);
        }
        true
    }

    /// Sets aside what a pod asks for, or says why not.
    fn try_resize(&mut self, uid: Uid, desired: Arc<PodSpec>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let old = entry.pod.clone();
        if let Some(message) = self.infeasible(&old.spec, &desired) {
            return self.resize_waits(uid, &old, desired, "Infeasible", message.into(), fx);
        }
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
        let wait = if self.pending_resizes.insert(uid) { FIRST_RETRY } else { RETRY };
        fx.wake_after(wait, In::Timer(Timer::Resize { pod: uid }));
        self.resize_waits(uid, &old, desired, "Deferred", message, fx);
    }

    /// What is asked for can't be had now (`Deferred`) or ever (`Infeasible`).
    fn resize_waits(
        &mut self,
        uid: Uid,
        old: &Arc<Pod>,
        desired: Arc<PodSpec>,
        reason: &'static str,
        message: Text,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let resize = entry.resize.get_or_insert_default();
        let known = resize.pending.take();
        let is_news = known.as_ref().is_none_or(|known| known.message != message || known.spec != desired);
        let since = known.filter(|known| known.spec == desired).map_or(fx.now(), |known| known.since);
        resize.pending = Some(Pending { spec: desired.clone(), reason, message: message.clone(), since });
        if is_news {
            let text = format!("Pod resize {reason}: {}", described(old, &desired, Some(&message)));
            self.pod_event(old, None, EventType::Warning, &format!("Resize{reason}"), text.into(), fx);
            self.update_pod(uid, Update::Sync, fx);
        }
    }

    /// Why the node's managers of exclusive CPUs and memory never let this be.
    fn infeasible(&self, has: &PodSpec, wants: &PodSpec) -> Option<String> {
        if has.qos() != QosClass::Guaranteed {
            return None;
        }
        let (had, wants) = (has.requests(), wants.requests());
        let settings = &self.config.kubelet;
        let managers = [
            (settings.static_cpu_manager && had.cpu != wants.cpu, "CPU Manager policy \"static\""),
            (settings.static_memory_manager && had.memory != wants.memory, "Memory Manager policy \"Static\""),
        ];
        let (_, manager) = managers.into_iter().find(|(refuses, _)| *refuses)?;
        Some(format!("Resize is infeasible for Guaranteed Pods alongside {manager}"))
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
            // Without a limit of its own a container has the pod's.
            let inherits = old.spec.memory_limit(was) != desired.memory_limit(is)
                || old.spec.cpu_limit(was) != desired.cpu_limit(is);
            if (was.resources != is.resources || inherits) && !known {
                resize.actual.push((one, was.resources.clone()));
            }
        }
        let pod_changes = old.spec.resources != desired.resources;
        resize.actual.retain(|(one, actual)| {
            one.of(&desired).is_some_and(|container| container.resources != *actual || pod_changes)
        });
        if pod_changes && resize.actual_pod.is_none() {
            resize.actual_pod = Some(old.spec.resources.clone().unwrap_or_default());
        }
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
                if pending.reason != "Deferred" {
                    return None;
                }
                let (had, wants) = (entry.pod.spec.requests(), pending.spec.requests());
                // Those that ask for no more first.
                let grows = wants.cpu > had.cpu || wants.memory > had.memory;
                let (priority, qos) = (entry.pod.spec.priority, entry.pod.spec.qos());
                Some(((grows, Reverse((priority, qos))), pending.since, *uid, pending.spec.clone()))
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
        if runtime.sandboxes.is_empty() {
            resize.actual_pod = None;
        }
        if resize.in_progress && resize.actual.is_empty() && resize.actual_pod.is_none() {
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
                sync.updates.push(ResizeTarget::Container(*one, id));
            }
        }
        if let (Some(actual), Some(sandbox)) = (&resize.actual_pod, sync.sandbox) {
            let spec = &entry.pod.spec;
            let wanted = spec.resources.as_deref().cloned().unwrap_or_default();
            // Its limits are raised before those of its containers, and lowered after them.
            let grows = wanted.limits.memory > actual.limits.memory || wanted.limits.cpu > actual.limits.cpu;
            let at = if grows { 0 } else { sync.updates.len() };
            sync.updates.insert(at, ResizeTarget::Pod(sandbox));
        }
        sync.updates.reverse();
    }

    /// The memory limits that this sync makes lower: container (None: the pod as a whole) and the new limit.
    fn lowered(&self, uid: Uid, sync: &Sync) -> SmallVec<[(Option<Name>, ContainerId, i64); 1]> {
        let mut lowered = SmallVec::new();
        let Some(entry) = self.pods.get(&uid) else { return lowered };
        let (Some(resize), spec) = (entry.resize.as_ref(), &entry.pod.spec) else { return lowered };
        let less = |new: i64, old: i64| new != 0 && (old == 0 || new < old);
        for target in &sync.updates {
            match target {
                ResizeTarget::Container(one, id) => {
                    let Some(container) = one.of(spec) else { continue };
                    let actual = resize.actual.iter().find(|(known, _)| known == one).map(|(_, actual)| actual);
                    let old = actual.and_then(|actual| actual.limits.memory).map_or(0, |limit| limit.0);
                    let new = container.resources.limits.memory.map_or(0, |limit| limit.0);
                    if less(new, old) {
                        lowered.push((Some(container.name), *id, new));
                    }
                }
                ResizeTarget::Pod(_) => {
                    let limit = |of: Option<&ResourceRequirements>| {
                        of.and_then(|resources| resources.limits.memory).map_or(0, |limit| limit.0)
                    };
                    let new = limit(spec.resources.as_deref());
                    if less(new, limit(resize.actual_pod.as_deref())) {
                        lowered.push((None, ContainerId(0), new));
                    }
                }
            }
        }
        lowered
    }

    /// What the pod's containers use: a memory limit is not set below that (validateMemoryResizeAction).
    pub(super) fn usage_told(&mut self, uid: Uid, mut sync: Box<Sync>, result: Result<Answer, Error>, fx: &mut Fx) {
        let stats = match result {
            Ok(Answer::Stats(stats)) => Ok(stats),
            Ok(_) => Err("unexpected answer of the runtime".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let errors: Vec<String> = match stats {
            Err(error) => {
                let name = self.pods.get(&uid).map(|entry| entry.pod.meta.name).unwrap_or_default();
                vec![format!("unable to read memory usage for pod \"{name}\": {error}")]
            }
            Ok(stats) => {
                let own = || stats.iter().filter(|one| one.pod == uid);
                let too_low = |(name, id, limit): (Option<Name>, ContainerId, i64)| {
                    match name {
                    None => {
                        let used: i64 = own().map(|one| one.memory_working_set_bytes).sum();
                        let text = format!("attempting to set pod memory limit ({limit}) below current usage ({used})");
                        (used >= limit).then_some(text)
                    }
                    Some(name) => match own().find(|one| one.container == id) {
                        None => Some(format!("missing container \"{name}\" memory usage")),
                        Some(one) => (one.memory_working_set_bytes >= limit).then(|| {
                            let used = one.memory_working_set_bytes;
                            format!(
                                "attempting to set container \"{name}\" memory limit ({limit}) below current usage ({used})"
                            )
                        }),
                    },
                }
                };
                self.lowered(uid, &sync).into_iter().filter_map(too_low).collect()
            }
        };
        let error = match errors.as_slice() {
            [] => return self.sync_on(uid, sync, fx),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        sync.updates.clear();
        sync.update_failed();
        self.resize_failed(uid, error.into(), fx);
        self.sync_on(uid, sync, fx);
    }

    /// A resize that was begun could not be done; told once for each reason.
    fn resize_failed(&mut self, uid: Uid, message: Text, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(resize) = entry.resize.as_mut() else { return };
        if resize.error.replace(message.clone()).is_some_and(|before| before == message) {
            return;
        }
        let text = format!("Pod resize error: {}", described(&pod, &pod.spec, Some(&message)));
        self.pod_event(&pod, None, EventType::Warning, "ResizeError", text.into(), fx);
        // The condition says it with the next status.
        let runtime = self.pleg.cached(uid).unwrap_or_default();
        if let Some(made) = self.make_status(uid, &runtime, false, fx) {
            self.set_status(uid, made, fx);
        }
    }

    /// Tells the runtime of a container's new resources.
    pub(super) fn update_container(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(&target) = sync.updates.last() else { return self.sync_on(uid, sync, fx) };
        sync.acted = true;
        if !std::mem::replace(&mut sync.usage_is_checked, true) && !self.lowered(uid, &sync).is_empty() {
            sync.step = Step::Usage;
            self.put_sync(uid, sync);
            return self.calls.cri(CriOwner::Worker(uid), Call::ListContainerStats, fx);
        }
        let call = match target {
            ResizeTarget::Container(one, container) => {
                self.resources_of(uid, one).map(|resources| Call::UpdateContainerResources { container, resources })
            }
            ResizeTarget::Pod(sandbox) => self.pods.get(&uid).map(|entry| {
                let facts = Facts { pod: &entry.pod, pod_ip: None, config: &self.config };
                Call::UpdatePodSandboxResources { sandbox, resources: facts.pod_resources() }
            }),
        };
        sync.step = Step::Update;
        self.put_sync(uid, sync);
        if let Some(call) = call {
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
        let Some(target) = sync.updates.pop() else { return self.sync_on(uid, sync, fx) };
        // A runtime may not know the call for pods: their cgroups are the kubelet's own.
        let unknown = matches!(
            (target, &result),
            (ResizeTarget::Pod(_), Err(error)) if error.code == crate::protocol::cri::Code::Unimplemented
        );
        let is_done = result.is_ok() || unknown;
        match result {
            Err(error) if !unknown => {
                sync.update_failed();
                self.resize_failed(uid, error.to_string().into(), fx);
            }
            _ => {
                match target {
                    ResizeTarget::Container(one, _) => self.resized(uid, one),
                    ResizeTarget::Pod(_) => {
                        if let Some(resize) = self.pods.get_mut(&uid).and_then(|entry| entry.resize.as_mut()) {
                            resize.actual_pod = None;
                        }
                    }
                }
                if let Some(resize) = self.pods.get_mut(&uid).and_then(|entry| entry.resize.as_mut()) {
                    resize.error = None;
                }
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
        if let Some(of_pod) = known(Name::default()) {
            spec.resources = Some(Box::new(of_pod.allocated.clone()));
            if of_pod.actual != of_pod.allocated {
                resize.actual_pod = Some(Box::new(of_pod.actual.clone()));
                resize.in_progress = true;
            }
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
    let what = if one.is_init() { "Init container" } else { "Container" };
    let message = format!("{what} {name} resize requires restart").into();
    actions.kill.push(KillOrder { id, container: one, message, probe: None });
    if !actions.start.contains(&one) {
        actions.start.push(one);
        actions.start.sort();
    }
}

/// A resize as events tell it.
fn described(pod: &Pod, spec: &PodSpec, error: Option<&str>) -> Value {
    let container = |container: &Container| json!({"name": container.name.as_str(), "resources": resources_json(&container.resources)});
    let mut told = Map::new();
    let sidecars: Vec<Value> = spec.init_containers.iter().filter(|one| one.is_sidecar()).map(container).collect();
    if !sidecars.is_empty() {
        told.insert("initContainers".to_owned(), sidecars.into());
    }
    let containers: Vec<Value> = spec.containers.iter().map(container).collect();
    told.insert("containers".to_owned(), containers.into());
    if let Some(of_pod) = spec.resources.as_deref() {
        told.insert("resources".to_owned(), resources_json(of_pod).into());
    }
    told.insert("generation".to_owned(), pod.meta.generation.into());
    if let Some(error) = error {
        told.insert("error".to_owned(), error.into());
    }
    told.into()
}

fn resources_json(of: &ResourceRequirements) -> Map<String, Value> {
    let mut resources = Map::new();
    for (name, list) in [("limits", &of.limits), ("requests", &of.requests)] {
        let amounts = amounts(list);
        if !amounts.is_empty() {
            resources.insert(name.to_owned(), amounts.into());
        }
    }
    resources
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
