//! The scheduling queue: pods to try now, pods that back off, pods that wait for something to change.
//!
//! A pod that failed waits until an event comes that one of the plug-ins that rejected it says may help (its queueing hint),
//! or until 5 minutes are over. Waiting pods stand in groups by their rejectors, so that an event costs nothing for pods
//! that it can't concern.
//!
//! Kubernetes: pkg/scheduler/backend/queue (scheduling_queue.go, active_queue.go, backoff_queue.go). Where it walks a map,
//! pods here are moved in the order in which they came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::kernel::{Cause, Duration, Time};
use crate::model::Uid;

use super::events::{Change, ClusterEvent, OwnedChange, Resource};
use super::framework::{Hint, SortKey};
use super::listers::World;
use super::pod_info::PodInfo;
use super::profile::{PluginIdx, PluginSet, Point, Profile};

/// Back-offs and ages.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// `podInitialBackoffSeconds`.
    pub initial_backoff: Duration,
    /// `podMaxBackoffSeconds`.
    pub max_backoff: Duration,
    /// How long a pod waits for an event before it is tried all the same.
    pub max_in_unschedulable: Duration,
    /// The gate SchedulerPopFromBackoffQ: when nothing else is to do, pods that back off are tried; back-offs end with full
    /// seconds.
    pub pop_from_backoff: bool,
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
            max_in_unschedulable: Duration::from_secs(300),
            pop_from_backoff: true,
        }
    }
}

/// A pod in the queue or in flight.
#[derive(Clone, Debug)]
pub struct Queued {
    pub info: PodInfo,
    /// The number of its profile.
    pub profile: usize,
    /// Attempts begun.
    pub attempts: u32,
    /// What led to its being tried (next).
    pub cause: Cause,
    /// When it came, or failed last.
    queued: Time,
    /// Where it came among all pods.
    serial: u64,
    unschedulable_count: u32,
    consecutive_errors: u32,
    rejectors: PluginSet,
    pending: PluginSet,
    gate: Option<PluginIdx>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active(SortKey),
    Backoff(Time, SortKey),
    ErrorBackoff(Time),
    Unschedulable,
    InFlight,
}

/// What an event means for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// It stays where it is.
    Skip,
    /// It is tried, but not before its back-off is over.
    AfterBackoff,
    /// It is tried at once.
    Immediately,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    config: QueueConfig,
    pods: FxHashMap<Uid, Queued>,
    active: BTreeSet<(SortKey, u64, Uid)>,
    backoff: BTreeSet<(Time, SortKey, u64, Uid)>,
    error_backoff: BTreeSet<(Time, u64, Uid)>,
    /// Waiting pods by profile and rejectors.
    unschedulable: BTreeMap<(usize, PluginSet), BTreeSet<(u64, Uid)>>,
    /// Waiting pods that are not gated, the oldest first.
    by_age: BTreeSet<(Time, u64, Uid)>,
    /// Pods in flight, with the number of the first event after they were popped.
    in_flight: Vec<(Uid, u64)>,
    log: VecDeque<OwnedChange>,
    log_start: u64,
    serial: u64,
}

/// What the queue asks about pods.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub profiles: &'a [Profile],
    pub world: &'a World,
    pub now: Time,
}

impl Queue {
    /// An empty queue.
    pub fn new(config: QueueConfig) -> Queue {
        Queue { config, ..Queue::default() }
    }

    /// How many pods are in it, those in flight included.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// A pod of the queue.
    pub fn get(&self, pod: Uid) -> Option<&Queued> {
        self.pods.get(&pod)
    }

    /// `pending_pods`: active, backing off, waiting (gated ones included).
    pub fn counts(&self) -> (usize, usize, usize) {
        let waiting = self.unschedulable.values().map(BTreeSet::len).sum();
        (self.active.len(), self.backoff.len() + self.error_backoff.len(), waiting)
    }

    /// A pod is to be scheduled.
    pub fn add(&mut self, info: PodInfo, profile: usize, cause: Cause, cx: Context<'_>) {
        let uid = info.uid();
        self.serial += 1;
        let pod = Queued {
            info,
            profile,
            attempts: 0,
            cause,
            queued: cx.now,
            serial: self.serial,
            unschedulable_count: 0,
            consecutive_errors: 0,
            rejectors: PluginSet::default(),
            pending: PluginSet::default(),
            gate: None,
            place: Place::InFlight,
        };
        self.delete(uid);
        self.pods.insert(uid, pod);
        self.enter(uid, Strategy::Immediately, cx);
    }

    /// The next pod to try; it is in flight until [`Queue::failed`] or [`Queue::done`]. When nothing else is to do, pods
    /// that back off after a rejection are taken early.
    pub fn pop(&mut self) -> Option<Uid> {
        let uid = match self.active.first() {
            Some(&(_, _, uid)) => uid,
            None if self.config.pop_from_backoff => self.backoff.first()?.3,
            None => return None,
        };
        self.leave(uid);
        let pod = self.pods.get_mut(&uid)?;
        pod.attempts += 1;
        pod.place = Place::InFlight;
        self.in_flight.push((uid, self.log_start + self.log.len() as u64));
        Some(uid)
    }

    /// An attempt failed. `current` is the pod as it is now. It goes to back off if it failed by an error, or if something
    /// happened meanwhile that may help; else it waits.
    pub fn failed(&mut self, current: PodInfo, rejectors: PluginSet, pending: PluginSet, cx: Context<'_>) {
        let uid = current.uid();
        let since = self.in_flight.iter().find(|(pod, _)| *pod == uid).map_or(u64::MAX, |(_, since)| *since);
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        pod.info = current;
        pod.queued = cx.now;
        pod.rejectors = rejectors;
        pod.pending = pending;
        let mut strategy = Strategy::Skip;
        if rejectors.is_empty() && pending.is_empty() {
            pod.consecutive_errors += 1;
            strategy = Strategy::AfterBackoff;
        } else {
            pod.consecutive_errors = 0;
            pod.unschedulable_count += 1;
            let missed = since.saturating_sub(self.log_start) as usize;
            for event in self.log.iter().skip(missed) {
                strategy = worth_requeuing(&cx.profiles[pod.profile], pod, event.event, &event.change(), cx.world);
                if strategy != Strategy::Skip {
                    break;
                }
            }
        }
        self.no_longer_in_flight(uid);
        match strategy {
            Strategy::Skip => self.wait(uid),
            other => self.enter(uid, other, cx),
        }
    }

    /// The pod is on its way to a node, or gone: events no longer concern it.
    pub fn done(&mut self, pod: Uid) -> Option<Queued> {
        self.no_longer_in_flight(pod);
        self.pods.remove(&pod)
    }

    /// A pod that was [`Queue::done`] could not be bound: it is in flight again, to fail.
    pub fn resume(&mut self, mut pod: Queued) {
        pod.place = Place::InFlight;
        self.pods.insert(pod.info.uid(), pod);
    }

    /// The pod needs no scheduling any more.
    pub fn delete(&mut self, pod: Uid) {
        self.leave(pod);
        // A pod in flight is forgotten when its attempt ends.
        if self.pods.get(&pod).is_some_and(|pod| pod.place != Place::InFlight) {
            self.pods.remove(&pod);
        }
    }

    /// The pod's object changed; `events` says how.
    pub fn update(&mut self, info: PodInfo, events: &[OwnedChange], cause: Cause, cx: Context<'_>) {
        let uid = info.uid();
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        match pod.place {
            Place::InFlight => self.log.extend(events.iter().cloned()),
            Place::Unschedulable => {
                pod.info = info;
                let profile = &cx.profiles[pod.profile];
                let strategy = events.iter().map(|event| {
                    let concerns = pod.gate.is_none_or(|gate| profile.interested_in(event.event).contains(gate));
                    if concerns {
                        worth_requeuing(profile, pod, event.event, &event.change(), cx.world)
                    } else {
                        Strategy::Skip
                    }
                });
                if let Some(strategy) = strategy.into_iter().find(|strategy| *strategy != Strategy::Skip) {
                    pod.cause = cause;
                    self.leave(uid);
                    self.enter(uid, strategy, cx);
                }
            }
            place => {
                // Its priority may have changed, and with it its place among the others.
                self.leave(uid);
                let Some(pod) = self.pods.get_mut(&uid) else { return };
                pod.info = info;
                let key = sort_key(&cx.profiles[pod.profile], pod);
                let place = match place {
                    Place::Active(_) => Place::Active(key),
                    Place::Backoff(expires, _) => Place::Backoff(expires, key),
                    other => other,
                };
                self.put(uid, place);
            }
        }
    }

    /// Something changed in the cluster: waiting pods that it may help are queued, and it is remembered for those in flight.
    pub fn event(&mut self, event: OwnedChange, cause: Cause, cx: Context<'_>) {
        self.event_for(event, i32::MAX, cause, cx);
    }

    /// The same, for waiting pods of at most this priority.
    pub fn event_for(&mut self, event: OwnedChange, most: i32, cause: Cause, cx: Context<'_>) {
        if !self.unschedulable.is_empty() {
            self.wake_waiting(&event, most, cause, cx);
        }
        if !self.in_flight.is_empty() {
            self.log.push_back(event);
        }
    }

    fn wake_waiting(&mut self, event: &OwnedChange, most: i32, cause: Cause, cx: Context<'_>) {
        let interested: Vec<PluginSet> = cx.profiles.iter().map(|profile| profile.interested_in(event.event)).collect();
        let mut moved: Vec<(Uid, Strategy)> = Vec::new();
        for (&(profile, rejectors), pods) in &self.unschedulable {
            if !rejectors.is_empty() && !interested[profile].meets(rejectors) {
                continue;
            }
            for (_, uid) in pods {
                let Some(pod) = self.pods.get(uid) else { continue };
                let gated = pod.gate.is_some_and(|gate| !interested[profile].contains(gate));
                if gated || pod.info.priority() > most {
                    continue;
                }
                let strategy = worth_requeuing(&cx.profiles[profile], pod, event.event, &event.change(), cx.world);
                if strategy != Strategy::Skip {
                    moved.push((*uid, strategy));
                }
            }
        }
        for (uid, strategy) in moved {
            self.leave(uid);
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.cause = cause;
            }
            self.enter(uid, strategy, cx);
        }
    }

    /// A pod that waits or backs off is tried now, whatever may have happened.
    pub fn activate_now(&mut self, uid: Uid, cause: Cause, cx: Context<'_>) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        if matches!(pod.place, Place::Unschedulable | Place::Backoff(..) | Place::ErrorBackoff(_)) {
            pod.cause = cause;
            self.leave(uid);
            self.enter(uid, Strategy::Immediately, cx);
        }
    }

    /// Moves the pods whose back-off is over to the active queue (each full second).
    pub fn flush_backoff(&mut self, cx: Context<'_>) {
        let over = |expires: Time| !self.config.is_backing_off(expires, cx.now);
        let first = self.backoff.iter().take_while(|(expires, ..)| over(*expires)).map(|(.., uid)| *uid);
        let errors = self.error_backoff.iter().take_while(|(expires, ..)| over(*expires)).map(|(.., uid)| *uid);
        let pods: Vec<Uid> = first.chain(errors).collect();
        for uid in pods {
            self.leave(uid);
            if self.config.pop_from_backoff {
                self.activate(uid, cx);
            } else {
                self.enter(uid, Strategy::Immediately, cx);
            }
        }
    }

    /// When [`Queue::flush_backoff`] next has something to do: a full second after now.
    pub fn next_backoff_flush(&self) -> Option<Time> {
        let first = self.backoff.first().map(|(expires, ..)| *expires);
        let error = self.error_backoff.first().map(|(expires, ..)| *expires);
        let expires = first.into_iter().chain(error).min()?;
        let second = expires.truncated_to_second();
        let is_full = second == expires && !self.config.pop_from_backoff;
        Some(if is_full { second } else { second + Duration::from_secs(1) })
    }

    /// Queues the pods that have waited for too long (each 30 seconds).
    pub fn flush_unschedulable(&mut self, cx: Context<'_>) {
        let limit = self.config.max_in_unschedulable;
        let old = self.by_age.iter().take_while(|(queued, ..)| cx.now.since(*queued) > limit);
        let pods: Vec<Uid> = old.map(|(.., uid)| *uid).collect();
        for uid in pods {
            self.leave(uid);
            self.enter(uid, Strategy::AfterBackoff, cx);
        }
    }

    /// From when on [`Queue::flush_unschedulable`] has something to do: after this moment, not at it.
    pub fn next_unschedulable_flush(&self) -> Option<Time> {
        self.by_age.first().map(|(queued, ..)| *queued + self.config.max_in_unschedulable)
    }

    /// Puts a pod that is in no queue into the active or the back-off queue, unless a PreEnqueue plug-in keeps it out.
    fn enter(&mut self, uid: Uid, strategy: Strategy, cx: Context<'_>) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        let profile = &cx.profiles[pod.profile];
        // The plug-in that kept it out before is asked first.
        let before = pod.gate.take();
        let others = profile.at(Point::PreEnqueue).iter().copied().filter(|idx| Some(*idx) != before);
        for idx in before.into_iter().chain(others) {
            let Some(plugin) = profile.plugins[idx].as_pre_enqueue() else { continue };
            if plugin.pre_enqueue(&pod.info, cx.world).is_err() {
                pod.rejectors.insert(idx);
                pod.gate = Some(idx);
                self.wait(uid);
                return;
            }
        }
        let expires = self.config.backoff_expires(pod);
        let backing_off = expires.is_some_and(|expires| self.config.is_backing_off(expires, cx.now));
        match expires {
            Some(expires) if strategy == Strategy::AfterBackoff && backing_off => {
                let place = if pod.rejectors.is_empty() && pod.pending.is_empty() {
                    Place::ErrorBackoff(expires)
                } else {
                    Place::Backoff(expires, sort_key(profile, pod))
                };
                self.put(uid, place);
            }
            _ => self.activate(uid, cx),
        }
    }

    fn activate(&mut self, uid: Uid, cx: Context<'_>) {
        let Some(pod) = self.pods.get(&uid) else { return };
        self.put(uid, Place::Active(sort_key(&cx.profiles[pod.profile], pod)));
    }

    /// Puts a pod that is in no queue where `place` says: the active one or one of those that back off.
    fn put(&mut self, uid: Uid, place: Place) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        pod.place = place;
        match place {
            Place::Active(key) => self.active.insert((key, pod.serial, uid)),
            Place::Backoff(expires, key) => self.backoff.insert((expires, key, pod.serial, uid)),
            Place::ErrorBackoff(expires) => self.error_backoff.insert((expires, pod.serial, uid)),
            Place::Unschedulable | Place::InFlight => false,
        };
    }

    fn wait(&mut self, uid: Uid) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        pod.place = Place::Unschedulable;
        self.unschedulable.entry((pod.profile, pod.rejectors)).or_default().insert((pod.serial, uid));
        if pod.gate.is_none() {
            self.by_age.insert((pod.queued, pod.serial, uid));
        }
    }

    /// Takes a pod out of the structure that it is in.
    fn leave(&mut self, uid: Uid) {
        let Some(pod) = self.pods.get(&uid) else { return };
        let serial = pod.serial;
        match pod.place {
            Place::Active(key) => {
                self.active.remove(&(key, serial, uid));
            }
            Place::Backoff(expires, key) => {
                self.backoff.remove(&(expires, key, serial, uid));
            }
            Place::ErrorBackoff(expires) => {
                self.error_backoff.remove(&(expires, serial, uid));
            }
            Place::Unschedulable => {
                let group = (pod.profile, pod.rejectors);
                if let Some(pods) = self.unschedulable.get_mut(&group) {
                    pods.remove(&(serial, uid));
                    if pods.is_empty() {
                        self.unschedulable.remove(&group);
                    }
                }
                self.by_age.remove(&(pod.queued, serial, uid));
            }
            Place::InFlight => {}
        }
    }

    /// The pod sees no further events; those that nobody in flight has to see are dropped.
    fn no_longer_in_flight(&mut self, uid: Uid) {
        self.in_flight.retain(|(pod, _)| *pod != uid);
        let end = self.log_start + self.log.len() as u64;
        let needed = self.in_flight.iter().map(|(_, since)| *since).min().unwrap_or(end);
        self.log.drain(..(needed - self.log_start) as usize);
        self.log_start = needed;
    }
}

impl QueueConfig {
    /// When the pod's back-off is over, to the second as Kubernetes has it; None: it has none.
    fn backoff_expires(&self, pod: &Queued) -> Option<Time> {
        let failures = if pod.consecutive_errors > 0 { pod.consecutive_errors } else { pod.unschedulable_count };
        let doublings = failures.checked_sub(1)?;
        let mut length = self.initial_backoff;
        for _ in 0..doublings {
            if length >= self.max_backoff {
                break;
            }
            length = length * 2;
        }
        let expires = pod.queued + length.min(self.max_backoff);
        Some(if self.pop_from_backoff { expires.truncated_to_second() } else { expires })
    }

    /// True if a back-off that ends at `expires` is not over.
    fn is_backing_off(self, expires: Time, now: Time) -> bool {
        if self.pop_from_backoff { expires >= now.truncated_to_second() } else { expires > now }
    }
}

fn sort_key(profile: &Profile, pod: &Queued) -> SortKey {
    let sort = profile.at(Point::QueueSort).first().and_then(|idx| profile.plugins[*idx].as_queue_sort());
    match sort {
        Some(sort) => sort.key(&pod.info, pod.queued),
        None => SortKey { rank: 0, time: pod.queued },
    }
}

fn worth_requeuing(
    profile: &Profile,
    pod: &Queued,
    event: ClusterEvent,
    change: &Change<'_>,
    world: &World,
) -> Strategy {
    strategy(profile, &pod.info, (pod.rejectors, pod.pending), event, change, world)
}

/// What the event means for a pod that these plug-ins rejected (`isPodWorthRequeuing`): the rejectors, and those among
/// them that said `Pending`.
pub fn strategy(
    profile: &Profile,
    pod: &PodInfo,
    (rejectors, pending): (PluginSet, PluginSet),
    event: ClusterEvent,
    change: &Change<'_>,
    world: &World,
) -> Strategy {
    if (rejectors.is_empty() && pending.is_empty()) || event.resource == Resource::Wildcard {
        return Strategy::AfterBackoff;
    }
    let mut strategy = Strategy::Skip;
    for registration in profile.registrations() {
        let idx = registration.plugin;
        let rejected = rejectors.contains(idx) || pending.contains(idx);
        if !rejected || !registration.event.hears(event) {
            continue;
        }
        let hint = match profile.plugins[idx].as_enqueue_extensions() {
            Some(extensions) if registration.has_hint => extensions.hint(pod, event, change, world),
            _ => Hint::Queue,
        };
        if hint == Hint::Skip {
            continue;
        }
        if pending.contains(idx) {
            return Strategy::Immediately;
        }
        strategy = Strategy::AfterBackoff;
        if pending.is_empty() {
            break;
        }
    }
    strategy
}
