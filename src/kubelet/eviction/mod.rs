//! The eviction manager: looks whether memory, disk, inodes or processes run out, says so in the node's conditions, frees what
//! the node can free itself, and ends one pod after another until there is enough again; and ends pods that write more
//! than they may.
//!
//! Kubernetes: pkg/kubelet/eviction/eviction_manager.go. It looks each 10 s; one that sleeps looks on the same grid, but only
//! when something can have crossed a threshold since, which follows from how what is used grows
//! ([`stats`](crate::protocol::stats)).

use std::collections::BTreeMap;

use crate::kernel::{Duration, Time};
use crate::model::pod::VolumeSource;
use crate::model::pod_resources::QosClass;
use crate::model::quantity::{Format, Quantity};
use crate::model::taint::{MEMORY_PRESSURE, Taint, TaintEffect};
use crate::model::{EventType, Name, Pod, Text, Uid};
use crate::protocol::stats::{FileSystem, Line, Request, Summary};

use super::admission::Rejection;
use super::config::{Observe, StartKind};
use super::image_gc::Freeing;
use super::pod_worker::Ending;
use super::preemption::is_critical;
use super::{Fx, In, Kubelet, Out, Timer};

pub mod rank;
pub mod thresholds;

use rank::Usage;
use thresholds::{Observation, Observations, Pressure, Signal, Threshold};

/// How often it looks.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How often what containers have on disk is measured.
pub const DISK_PERIOD: Duration = Duration::from_secs(10);
/// After an eviction it waits so long at most until nothing of the pod is left, and looks this often.
const CLEANUP: Duration = Duration::from_secs(30);
const CLEANUP_LOOK: Duration = Duration::from_secs(1);
/// The grace period of those that are evicted at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The manager's state.
#[derive(Debug, Default)]
pub struct Eviction {
    tick: Option<Time>,
    /// A measurement was asked for.
    asked: bool,
    /// For each threshold that is met, since when.
    met: BTreeMap<usize, Time>,
    /// When each pressure was last seen.
    seen: BTreeMap<Pressure, Time>,
    /// What the node's conditions say.
    conditions: Vec<Pressure>,
    /// Pods whose remains are waited for, and until when.
    waiting: Vec<Uid>,
    waits_until: Time,
    /// What the disk has to be looked at for again, once images and dead containers are gone.
    reclaimed: bool,
}

impl Eviction {
    /// The pressures that the node tells of.
    pub fn conditions(&self) -> &[Pressure] {
        &self.conditions
    }
}

/// What there is and how it shrinks, of each signal.
#[derive(Debug)]
struct Sight {
    observations: Observations,
    /// What is used of each signal, which grows.
    used: BTreeMap<Signal, (Line, i64)>,
    separate_images: bool,
}

impl Kubelet {
    /// What is used grows otherwise from now on.
    pub(super) fn usage_changed(&mut self, fx: &mut Fx) {
        let at = self.eviction_grid.after(fx.now());
        self.arm_eviction(at, fx);
    }

    fn arm_eviction(&mut self, at: Time, fx: &mut Fx) {
        if self.eviction.tick.is_none_or(|tick| tick <= fx.now() || at < tick) {
            self.eviction.tick = Some(at);
            fx.wake_at(at, In::Timer(Timer::Eviction));
        }
    }

    /// A kubelet that polls looks whether anything happened or not; one that starts again has heard of nothing.
    pub(super) fn start_eviction(&mut self, fx: &mut Fx) {
        let looks = self.config.observe == Observe::Polling || self.config.start == StartKind::Restarts;
        if looks && self.config.host.is_none() {
            self.usage_changed(fx);
        }
    }

    /// It is time to look.
    pub(super) fn eviction_tick(&mut self, fx: &mut Fx) {
        if self.eviction.tick != Some(fx.now()) {
            return;
        }
        self.eviction.tick = None;
        if !self.eviction.waiting.is_empty() {
            let left = self
                .eviction
                .waiting
                .iter()
                .any(|uid| self.pods.get(uid).is_some_and(|entry| !entry.worker.is_finished()));
            if left && fx.now() < self.eviction.waits_until {
                return self.arm_eviction(fx.now() + CLEANUP_LOOK, fx);
            }
            self.eviction.waiting.clear();
        }
        self.measure(fx);
    }

    fn measure(&mut self, fx: &mut Fx) {
        if !std::mem::replace(&mut self.eviction.asked, true) {
            let now = fx.now();
            let disk_at = self.disk_grid.at_or_before(now).min(now);
            let volumes_at = self.volumes_grid.at_or_before(now).min(now);
            fx.send(Out::Stats(Request { disk_at, volumes_at }));
        }
    }

    /// The machine was measured.
    pub(super) fn measured(&mut self, summary: &Summary, fx: &mut Fx) {
        if !std::mem::take(&mut self.eviction.asked) {
            return;
        }
        let sight = self.sight(summary);
        self.observe_pressure(&sight, fx);
        let evicted = self.act(&sight, summary, fx);
        self.look_at_images(summary, fx);
        if self.config.observe == Observe::Polling {
            self.arm_eviction(self.eviction_grid.after(fx.now()), fx);
        }
        if evicted.is_empty() {
            self.arm_next_look(&sight, summary, fx);
        } else {
            self.eviction.waits_until = fx.now() + CLEANUP;
            self.eviction.waiting = evicted;
            self.arm_eviction(fx.now() + CLEANUP_LOOK, fx);
        }
    }

    /// What there is of each signal.
    fn sight(&self, summary: &Summary) -> Sight {
        let mut sight = Sight {
            observations: Observations::new(),
            used: BTreeMap::new(),
            separate_images: summary.imagefs.is_some(),
        };
        let pods: Vec<Usage> = self.usages(summary);
        let in_memory = |usage: &Usage| {
            summary.volumes.iter().filter(|volume| volume.pod == usage.uid).fold(Line::default(), |sum, volume| {
                match rank::source(&usage.pod, volume.volume) {
                    Some(VolumeSource::EmptyDir { memory: true, .. }) => sum.plus(volume.used),
                    _ => sum,
                }
            })
        };
        let tmpfs = pods.iter().map(in_memory).fold(Line::default(), Line::plus);
        let of_pods = pods.iter().map(|usage| usage.memory).fold(Line::default(), Line::plus);
        sight.see(Signal::MemoryAvailable, summary.memory.plus(tmpfs), summary.memory_capacity);
        let reserved = self.config.kubelet.system_reserved.memory.0 + self.config.kubelet.kube_reserved.memory.0;
        sight.see(Signal::AllocatableMemoryAvailable, of_pods, summary.memory_capacity - reserved);
        let mut fs = |available, inodes, fs: &FileSystem| {
            sight.see(available, fs.used, fs.capacity);
            sight.see(inodes, fs.inodes_used, fs.inodes);
        };
        fs(Signal::NodeFsAvailable, Signal::NodeFsInodesFree, &summary.nodefs);
        let images = summary.imagefs.as_ref().unwrap_or(&summary.nodefs);
        fs(Signal::ImageFsAvailable, Signal::ImageFsInodesFree, images);
        sight.see(Signal::PidAvailable, summary.processes, summary.pid_limit);
        sight
    }

    /// What the configuration says.
    fn thresholds(&self) -> Vec<Threshold> {
        self.config.kubelet.eviction.thresholds.iter().map(Threshold::of).collect()
    }

    /// What the active pods use.
    fn usages(&self, summary: &Summary) -> Vec<Usage> {
        let active = self.pods.iter().filter(|(_, entry)| entry.admitted && entry.worker.is_syncing());
        active.map(|(uid, entry)| Usage::of(*uid, &entry.pod, summary)).collect()
    }

    /// Finds which thresholds are met, and what the node's conditions say.
    fn observe_pressure(&mut self, sight: &Sight, fx: &mut Fx) {
        let now = fx.now();
        for (index, threshold) in self.thresholds().iter().enumerate() {
            let was_met = self.eviction.met.contains_key(&index);
            let observed = |signal: Signal| Threshold { signal, ..*threshold }.is_met(&sight.observations, was_met);
            // The node's memory and what pods may have of it share one threshold.
            let is_met = observed(threshold.signal)
                || (threshold.signal == Signal::MemoryAvailable
                    && threshold.grace.is_none()
                    && observed(Signal::AllocatableMemoryAvailable));
            if is_met {
                self.eviction.met.entry(index).or_insert(now);
                self.eviction.seen.insert(threshold.signal.pressure(), now);
            } else {
                self.eviction.met.remove(&index);
            }
        }
        let transition = self.config.kubelet.eviction.pressure_transition_period;
        self.eviction.seen.retain(|_, seen| *seen == now || now.since(*seen) < transition);
        let conditions: Vec<Pressure> = self.eviction.seen.keys().copied().collect();
        if conditions != self.eviction.conditions {
            self.eviction.conditions = conditions;
            self.arm_round(fx);
        }
    }

    /// Ends pods that write more than they may, or reclaims what is scarce. Those that were evicted.
    fn act(&mut self, sight: &Sight, summary: &Summary, fx: &mut Fx) -> Vec<Uid> {
        let now = fx.now();
        let over = self.evict_over_limits(summary, sight.separate_images, fx);
        if !over.is_empty() {
            return over;
        }
        let settings = self.thresholds();
        let longest = self.config.kubelet.eviction.max_pod_grace_period;
        let due = |index: &usize, since: &Time| {
            settings.get(*index).is_some_and(|one| one.grace.is_none_or(|grace| now.since(*since) >= grace))
        };
        let mut thresholds: Vec<Threshold> = self
            .eviction
            .met
            .iter()
            .filter(|(index, since)| due(index, since))
            .filter_map(|(index, _)| settings.get(*index).copied())
            .collect();
        // Memory first.
        thresholds.sort_by_key(|threshold| threshold.signal.pressure() != Pressure::Memory);
        let Some(mut threshold) = thresholds.first().copied() else {
            self.eviction.reclaimed = false;
            return Vec::new();
        };
        if threshold.signal == Signal::MemoryAvailable && !threshold.is_met(&sight.observations, true) {
            threshold.signal = Signal::AllocatableMemoryAvailable;
        }
        let is_disk = threshold.signal.pressure() == Pressure::Disk;
        if !self.eviction.reclaimed {
            let message = format!("Attempting to reclaim {}", threshold.signal.resource());
            self.node_event(EventType::Warning, "EvictionThresholdMet", message, fx);
        }
        if is_disk && !std::mem::replace(&mut self.eviction.reclaimed, true) {
            // What nobody uses goes first; then it is looked at again.
            self.free_images(Freeing::All, fx);
            return Vec::new();
        }
        self.eviction.reclaimed = false;
        let Some(&seen) = sight.observations.get(&threshold.signal) else { return Vec::new() };
        let mut pods = self.usages(summary);
        rank::rank(&mut pods, threshold.signal, sight.separate_images);
        let grace = match threshold.grace {
            None => AT_ONCE,
            Some(_) => longest,
        };
        for usage in pods {
            let message = Text::from(rank::message(&usage, &threshold, seen, sight.separate_images));
            if self.evict(&usage, message.clone(), grace, Some(message), fx) {
                return vec![usage.uid];
            }
        }
        Vec::new()
    }

    /// Evicts a pod, unless it is critical.
    fn evict(&mut self, usage: &Usage, message: Text, grace: Duration, disruption: Option<Text>, fx: &mut Fx) -> bool {
        if is_critical(&usage.pod) {
            return false;
        }
        self.pod_event(&usage.pod, None, EventType::Warning, "Evicted", message.clone(), fx);
        let ending = Ending { reason: Name::new("Evicted"), message, disruption, grace: Some(grace) };
        self.end_for(usage.uid, ending, fx)
    }

    /// Limits of emptyDir volumes and of ephemeral storage (`localStorageEviction`).
    fn evict_over_limits(&mut self, summary: &Summary, separate_images: bool, fx: &mut Fx) -> Vec<Uid> {
        let mut evicted = Vec::new();
        for usage in self.usages(summary) {
            if let Some(message) = over_limit(&usage, summary, separate_images)
                && self.evict(&usage, message.into(), AT_ONCE, None, fx)
            {
                evicted.push(usage.uid);
            }
        }
        evicted
    }

    /// Images and dead containers are gone as far as they could be: it is looked again at once.
    pub(super) fn disk_reclaimed(&mut self, fx: &mut Fx) {
        if self.eviction.reclaimed {
            self.measure(fx);
        }
    }

    /// Looks again when something can have changed.
    fn arm_next_look(&mut self, sight: &Sight, summary: &Summary, fx: &mut Fx) {
        let now = fx.now();
        let later = self.eviction_grid.after(now);
        if !self.eviction.met.is_empty() {
            return self.arm_eviction(later, fx);
        }
        let mut next: Option<Time> = None;
        let mut at = |moment: Time| next = Some(next.map_or(moment, |next| next.min(moment)));
        for threshold in &self.thresholds() {
            let signals: &[Signal] = match threshold.signal {
                Signal::MemoryAvailable => &[Signal::MemoryAvailable, Signal::AllocatableMemoryAvailable],
                _ => &[threshold.signal],
            };
            for signal in signals {
                let Some((used, capacity)) = sight.used.get(signal) else { continue };
                if let Some(after) = used.reaches(capacity - threshold.value.of(*capacity) + 1) {
                    at(now + after);
                }
            }
        }
        // The conditions end after their transition period.
        let transition = self.config.kubelet.eviction.pressure_transition_period;
        self.eviction.seen.values().for_each(|seen| at(*seen + transition));
        if let Some(bends) = summary.bends_at {
            // What was measured some time ago may have bent since.
            at(if bends > now { bends } else { self.volumes_grid.after(now) });
        }
        for usage in self.usages(summary) {
            if let Some(moment) = self.over_limit_at(&usage, summary, sight.separate_images, now) {
                at(moment);
            }
        }
        if let Some(next) = next {
            self.arm_eviction(self.eviction_grid.at_or_after(next).max(later), fx);
        }
    }

    /// When a pod will be measured to have more than it may.
    fn over_limit_at(&self, usage: &Usage, summary: &Summary, separate_images: bool, now: Time) -> Option<Time> {
        let mut next: Option<Time> = None;
        let mut at = |moment: Time| next = Some(next.map_or(moment, |next| next.min(moment)));
        let disk = |after: Duration| self.disk_grid.at_or_after(self.disk_grid.at_or_before(now).min(now) + after);
        for volume in summary.volumes.iter().filter(|volume| volume.pod == usage.uid) {
            if let Some(VolumeSource::EmptyDir { size_limit: Some(limit), .. }) =
                rank::source(&usage.pod, volume.volume)
                && let Some(after) = volume.used.reaches(limit.0 + 1)
            {
                let measured = self.volumes_grid.at_or_before(now).min(now);
                at(self.volumes_grid.at_or_after(measured + after));
            }
        }
        if let Some(after) = pod_limit(&usage.pod).and_then(|limit| usage.ephemeral(separate_images).reaches(limit + 1))
        {
            at(disk(after));
        }
        for (_, limit, used) in container_limits(usage, separate_images) {
            if let Some(after) = used.reaches(limit + 1) {
                at(disk(after));
            }
        }
        next
    }

    /// Whether the node's pressures let the pod in.
    pub(super) fn admit_under_pressure(&self, pod: &Pod) -> Result<(), Rejection> {
        let conditions = &self.eviction.conditions;
        if conditions.is_empty() || is_critical(pod) {
            return Ok(());
        }
        if conditions[..] == [Pressure::Memory] {
            let taint = Taint::new(MEMORY_PRESSURE, TaintEffect::NoSchedule);
            let tolerated = pod.spec.tolerations.iter().any(|toleration| toleration.tolerates(&taint));
            if pod.spec.qos() != QosClass::BestEffort || tolerated {
                return Ok(());
            }
        }
        let listed: Vec<&str> = conditions.iter().map(|pressure| pressure.condition()).collect();
        Err(Rejection {
            reason: Text::new("Evicted"),
            message: format!("The node had condition: [{}]. ", listed.join(" ")).into(),
        })
    }
}

impl Sight {
    fn see(&mut self, signal: Signal, used: Line, capacity: i64) {
        let available = (capacity - used.amount).max(0);
        self.observations.insert(signal, Observation { available, capacity });
        self.used.insert(signal, (used, capacity));
    }
}

/// The most that a pod's containers together may have on disk.
fn pod_limit(pod: &Pod) -> Option<i64> {
    let limits = |container: &crate::model::Container| container.resources.limits.ephemeral_storage;
    let any = pod.spec.containers.iter().chain(pod.spec.init_containers.iter()).any(|one| limits(one).is_some());
    any.then(|| pod.spec.aggregate(|container| container.resources.limits.amounts()).ephemeral_storage.0)
}

/// Containers with a limit of their own: its name, the limit, what it has.
fn container_limits(usage: &Usage, separate_images: bool) -> impl Iterator<Item = (Name, i64, Line)> + '_ {
    usage.containers.iter().filter_map(move |container| {
        let spec = usage.pod.spec.containers.iter().chain(usage.pod.spec.init_containers.iter());
        let limit = spec.into_iter().find(|spec| spec.name == container.name)?.resources.limits.ephemeral_storage?;
        let used = if separate_images { container.logs } else { container.logs.plus(container.rootfs) };
        Some((container.name, limit.0, used))
    })
}

/// What a pod says that has more than it may; None if it hasn't.
fn over_limit(usage: &Usage, summary: &Summary, separate_images: bool) -> Option<String> {
    let shown = |amount: i64| Quantity::from_units(amount, Format::BinarySI);
    for volume in summary.volumes.iter().filter(|volume| volume.pod == usage.uid) {
        if let Some(VolumeSource::EmptyDir { size_limit: Some(limit), .. }) = rank::source(&usage.pod, volume.volume)
            && volume.used.amount > limit.0
        {
            let name = volume.volume;
            return Some(format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", shown(limit.0)));
        }
    }
    if let Some(limit) = pod_limit(&usage.pod)
        && usage.ephemeral(separate_images).amount > limit
    {
        let limit = shown(limit);
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    container_limits(usage, separate_images).find(|(_, limit, used)| used.amount > *limit).map(|(name, limit, _)| {
        format!("Container {name} exceeded its local ephemeral storage limit \"{}\". ", shown(limit))
    })
}
