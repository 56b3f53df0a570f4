//! The node: its registration, its status, its lease; and the health of the runtime, on which Ready depends.
//!
//! Kubernetes: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus/setters.go, pkg/kubelet/runtime.go,
//! updateRuntimeUp in pkg/kubelet/kubelet.go. The lease is renewed, and a status that stays is reported again and again, by
//! one request that stands for all: both have a known effect.

use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::condition::{self, Conditions};
use crate::model::{ConditionStatus, EventType, Name, Node, NodeImage, Object, Text};
use crate::protocol::api::{Answer, Call, Status, StatusReason, WatchEvent};
use crate::protocol::cri;

use super::calls::{ApiOwner, CriOwner};
use super::config::{Config, Observe, StartKind};
use super::eviction::thresholds::Pressure;
use super::{Fx, In, Kubelet, Timer};

/// What the kubelet knows of its node and of its runtime's health.
#[derive(Debug, Default)]
pub struct NodeState {
    /// As the API server has it.
    seen: Option<Arc<Node>>,
    /// `spec.unschedulable` as it was last told by an event.
    is_cordoned: bool,
    images: Option<Arc<[NodeImage]>>,
    is_registered: bool,
    register_tries: u32,
    lease_tries: u32,
    /// A status is being written.
    under_way: bool,
    /// The timer of the next round.
    round: Option<Time>,
    list_images: bool,
    health: Health,
}

#[derive(Debug, Default)]
struct Health {
    /// The runtime was seen to work at least once.
    is_known: bool,
    last_ok: Time,
    /// The connection is broken, or a call said so.
    is_lost: bool,
    asked: bool,
    /// When it was last asked, and how long the runtime takes to answer.
    asked_at: Time,
    takes: Duration,
    tick: Option<Time>,
    /// When the connection broke.
    lost_at: Time,
    /// When the sync loop looks whether the last success is too long ago.
    looks: Option<Time>,
    /// The sync loop pauses since then.
    down_since: Option<Time>,
    /// What the PLEG's health check said in the last round, if no relist has succeeded for too long.
    pleg_problem: Option<String>,
}

/// `runtimeHealthy` counts so long from the last success.
const DOWN_AFTER: Duration = Duration::from_secs(30);
/// The PLEG is not healthy when its last relist is longer ago.
const PLEG_THRESHOLD: Duration = Duration::from_secs(180);
/// The first wait of the registration's retries; doubled up to the last.
const REGISTER_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(7);
/// From the registration to the first look that can find the node ready.
const FIRST_READY: Duration = Duration::from_millis(200);
/// So long a node that is not ready looks each 100 ms whether it is (`fastStatusUpdateOnce`).
const FAST_FOR: Duration = Duration::from_secs(120);

impl Kubelet {
    /// The node as the API server has it, or as it is to be registered.
    pub(super) fn known_node(&self) -> &Node {
        self.node.seen.as_deref().unwrap_or(&self.config.node)
    }

    /// True while the sync loop handles nothing, because the runtime doesn't work.
    pub(super) fn is_paused(&self) -> bool {
        !self.node.health.is_known || self.node.health.down_since.is_some()
    }

    /// True while it is known that the runtime cannot be reached.
    pub(super) fn runtime_is_lost(&self) -> bool {
        self.node.health.is_lost
    }

    /// The node's part of the process's start.
    pub(super) fn start_node(&mut self, fx: &mut Fx) {
        self.node.health.last_ok = fx.now();
        self.ask_health(fx);
        if self.config.observe == Observe::Polling {
            self.arm_health(fx);
        }
        if self.config.start != StartKind::WasRunning {
            self.node_event(EventType::Normal, "Starting", "Starting kubelet.".into(), fx);
            if self.config.start == StartKind::Registers {
                // Nothing was measured yet.
                let message = "invalid capacity 0 on image filesystem".into();
                self.node_event(EventType::Warning, "InvalidDiskCapacity", message, fx);
                // Who wants the node before it is there makes it up (getNodeAnyWay): the container manager, twice.
                self.initial_node_events(fx);
                self.initial_node_events(fx);
            }
            let message = "Updated Node Allocatable limit across pods".into();
            self.node_event(EventType::Normal, "NodeAllocatableEnforced", message, fx);
        }
        match self.config.start {
            StartKind::Registers => fx.wake_after(REGISTER_RETRY, In::Timer(Timer::Register)),
            StartKind::Restarts => {
                self.initial_node_events(fx);
                self.registered(fx);
            }
            StartKind::WasRunning => self.registered(fx),
        }
        if self.config.start == StartKind::WasRunning {
            self.watch_pods(fx);
        }
    }

    /// A node that is made up is without pressure for the first time, each time (`initialNode`).
    fn initial_node_events(&mut self, fx: &mut Fx) {
        let name = self.config.name();
        for what in ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"] {
            self.node_event(EventType::Normal, what, format!("Node {name} status is now: {what}"), fx);
        }
    }

    /// Registers the node.
    pub(super) fn register(&mut self, fx: &mut Fx) {
        self.initial_node_events(fx);
        let node = self.node_object(fx.now());
        self.calls.api(ApiOwner::Register, Call::Create(Object::Node(Arc::new(node))), fx);
    }

    /// The API server answered the registration.
    pub(super) fn register_answered(&mut self, result: Result<Answer, Status>, fx: &mut Fx) {
        match result {
            Ok(answer) => {
                if let Answer::Object(Object::Node(node)) = answer {
                    self.node.seen = Some(node);
                }
                self.registered(fx);
                fx.wake_after(FIRST_READY, In::Timer(Timer::FirstReady));
            }
            Err(error) if error.reason == StatusReason::AlreadyExists => {
                self.registered(fx);
                fx.wake_after(FIRST_READY, In::Timer(Timer::FirstReady));
            }
            Err(_) => {
                let wait = (REGISTER_RETRY * (1 << self.node.register_tries.min(10))).min(LONGEST_RETRY);
                self.node.register_tries += 1;
                fx.wake_after(wait, In::Timer(Timer::Register));
            }
        }
    }

    fn registered(&mut self, fx: &mut Fx) {
        self.node.is_registered = true;
        self.watch_node(fx);
        self.renew_lease(fx);
    }

    /// Says that from now on the lease is renewed.
    pub(super) fn renew_lease(&mut self, fx: &mut Fx) {
        let settings = &self.config.kubelet;
        let (node, every) = (self.config.name(), settings.node_lease_duration / 4);
        let reports = settings.node_status_report_frequency;
        self.calls.api(ApiOwner::Lease, Call::RenewLease { node, every, reports }, fx);
    }

    /// The API server answered about the lease.
    pub(super) fn lease_answered(&mut self, result: Result<Answer, Status>, fx: &mut Fx) {
        match result {
            Ok(_) => self.node.lease_tries = 0,
            Err(_) => {
                let wait = (Duration::from_millis(200) * (1 << self.node.lease_tries.min(10))).min(LONGEST_RETRY);
                self.node.lease_tries += 1;
                fx.wake_after(wait, In::Timer(Timer::Lease));
            }
        }
    }

    /// The watch of the node says something.
    pub(super) fn node_watched(&mut self, event: &WatchEvent, fx: &mut Fx) {
        let node = match event {
            WatchEvent::Listed(_, objects) => objects.iter().find_map(Object::as_node),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => object.as_node(),
            _ => None,
        };
        let Some(node) = node else { return };
        let first = self.node.seen.is_none();
        self.node.seen = Some(node.clone());
        if first && self.config.start == StartKind::WasRunning {
            self.node.is_cordoned = node.spec.unschedulable;
        } else if node.spec.unschedulable != self.node.is_cordoned {
            self.arm_round(fx);
        }
        let listed = matches!(event, WatchEvent::Listed(..));
        if listed && first {
            let ours = self.config.node.status.boot_id;
            if self.config.start == StartKind::Restarts && ours != 0 && ours != node.status.boot_id {
                let message = format!("Node {} has been rebooted, boot id: {ours}", self.config.name());
                self.node_event(EventType::Warning, "Rebooted", message, fx);
            }
        }
        if listed && !self.watches_pods {
            // The pods' source waits until the node's informer has synced, which it looks at each second.
            self.watches_pods = true;
            fx.wake_at(self.relist_grid_of_start().after(fx.now()), In::Timer(Timer::WatchPods));
        }
        if first {
            self.look_at_mirrors(None, fx);
        }
        if first && self.config.start != StartKind::Registers {
            self.refresh_node(fx);
        } else if self.node.is_registered && !self.node.under_way && self.differs() {
            self.arm_round(fx);
        }
    }

    /// Ready, and why not.
    fn readiness(&self) -> (bool, Text) {
        let health = &self.node.health;
        // A node that was ready before stays so while the kubelet has not looked yet.
        let is_new = self.config.start == StartKind::Registers;
        let mut errors: Vec<String> = Vec::new();
        if health.down_since.is_some() {
            errors.push("container runtime is down".into());
        } else if !health.is_known && is_new {
            errors.push("container runtime status check may not have completed yet".into());
        }
        if let Some(problem) = health.pleg_problem.as_ref().filter(|_| health.down_since.is_some()) {
            errors.push(problem.clone());
        }
        if !self.pleg.has_observed() && is_new {
            errors.push("PLEG is not healthy: pleg has yet to be successful".into());
        }
        if !self.network_ready {
            errors.push(format!("container runtime network not ready: {}", self.network_problem));
        }
        if self.shuts_down() {
            errors.push("node is shutting down".into());
        }
        if is_new && !self.node.is_registered {
            errors.clear();
            errors.push("CSINode is not yet initialized".into());
        }
        match errors.as_slice() {
            [] => (true, Text::default()),
            [one] => (false, Text::from(one.clone())),
            many => (false, format!("[{}]", many.join(", ")).into()),
        }
    }

    /// The node with the status that it has now.
    fn node_object(&self, now: Time) -> Node {
        let mut node = self.known_node().clone();
        node.meta.resource_version = 0;
        let ours = &self.config.node.status;
        let status = &mut node.status;
        status.capacity = self.config.capacity();
        status.allocatable = self.allocatable.clone();
        status.internal_ip = Some(self.config.node_ip);
        (status.runtime_version, status.kubelet_version) = (ours.runtime_version, ours.kubelet_version);
        (status.os_image, status.boot_id) = (ours.os_image, ours.boot_id);
        if let Some(images) = &self.node.images {
            status.images = images.clone();
        }
        self.set_conditions(&mut status.conditions, now);
        node
    }

    fn set_conditions(&self, conditions: &mut Conditions, now: Time) {
        let (ready, message) = self.readiness();
        set_conditions(conditions, now, self.eviction.conditions(), (!ready).then_some(message));
    }

    /// True if what the API server has differs from what the node is.
    fn differs(&self) -> bool {
        let Some(seen) = &self.node.seen else { return true };
        let mut conditions = seen.status.conditions.clone();
        let changed = {
            let before = conditions.clone();
            self.set_conditions(&mut conditions, Time::ZERO);
            before.len() != conditions.len()
                || before
                    .iter()
                    .zip(&conditions)
                    .any(|(a, b)| (a.status, a.reason, &a.message) != (b.status, b.reason, &b.message))
        };
        changed
            || seen.status.allocatable != self.allocatable
            || self.node.images.as_ref().is_some_and(|images| *images != seen.status.images)
    }

    /// Writes the node's status if it changed.
    pub(super) fn refresh_node(&mut self, fx: &mut Fx) {
        if !self.node.is_registered || self.node.under_way || self.node.seen.is_none() || !self.differs() {
            return;
        }
        let shown = self.node.seen.as_ref().and_then(|seen| condition::find(&seen.status.conditions, "Ready"));
        let shown = shown.map(|ready| ready.status);
        let ready = self.readiness().0;
        self.pressure_events(fx);
        if shown != Some(ready.into()) && (shown.is_some() || self.config.start != StartKind::WasRunning) {
            let what = if ready { "NodeReady" } else { "NodeNotReady" };
            let message = format!("Node {} status is now: {what}", self.config.name());
            self.node_event(EventType::Normal, what, message, fx);
        }
        self.node.under_way = true;
        let node = self.node_object(fx.now());
        self.calls.api(ApiOwner::NodeStatus, Call::UpdateStatus(Object::Node(Arc::new(node))), fx);
    }

    /// Events for pressures that have come or gone since the node's status was written last.
    fn pressure_events(&mut self, fx: &mut Fx) {
        let name = self.config.name();
        for (pressure, has, has_not) in [
            (Pressure::Memory, "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
            (Pressure::Disk, "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
            (Pressure::Pid, "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ] {
            let on = self.eviction.conditions().contains(&pressure);
            let Some(seen) = &self.node.seen else { continue };
            let shown = condition::find(&seen.status.conditions, pressure.condition());
            if shown.is_some_and(|shown| shown.status != ConditionStatus::from(on)) {
                let what = if on { has } else { has_not };
                self.node_event(EventType::Normal, what, format!("Node {name} status is now: {what}"), fx);
            }
        }
    }

    /// The API server answered the node's status.
    pub(super) fn node_status_written(&mut self, result: Result<Answer, Status>, fx: &mut Fx) {
        self.node.under_way = false;
        match result {
            Ok(Answer::Object(Object::Node(node))) => self.node.seen = Some(node),
            Ok(_) => {}
            Err(_) => return self.arm_round(fx),
        }
        if self.differs() {
            self.arm_round(fx);
        }
    }

    /// Something of the node's status may have changed: it is looked at in the next round.
    pub(super) fn arm_round(&mut self, fx: &mut Fx) {
        if self.node.round.is_none_or(|round| round < fx.now()) {
            let at = self.node_grid.after(fx.now());
            self.node.round = Some(at);
            fx.wake_at(at, In::Timer(Timer::NodeStatus));
        }
    }

    /// A round of the node's status.
    pub(super) fn node_round(&mut self, fx: &mut Fx) {
        self.node.round = None;
        self.tell_cordon(fx);
        self.look_at_pleg(fx);
        if std::mem::take(&mut self.node.list_images) {
            return self.calls.cri(CriOwner::Images, cri::Call::ListImages, fx);
        }
        self.refresh_node(fx);
    }

    /// While the runtime is down, no relist succeeds: after a while that is told of, too, with the time that it lasts, so that
    /// each round says something else (`Healthy` in pkg/kubelet/pleg/generic.go).
    fn look_at_pleg(&mut self, fx: &mut Fx) {
        let relist = self.relist_grid.at_or_before(self.node.health.lost_at);
        let ago = fx.now().since(relist);
        let is_stale = self.node.health.down_since.is_some() && self.node.health.is_lost && ago > PLEG_THRESHOLD;
        self.node.health.pleg_problem = is_stale.then(|| {
            format!("PLEG is not healthy: pleg was last seen active {ago} ago; threshold is {PLEG_THRESHOLD}")
        });
        if self.node.health.down_since.is_some() {
            self.arm_round(fx);
        }
    }

    /// An event says that the node was cordoned or uncordoned, in the round after (recordNodeSchedulableEvent).
    fn tell_cordon(&mut self, fx: &mut Fx) {
        let cordoned = self.known_node().spec.unschedulable;
        if std::mem::replace(&mut self.node.is_cordoned, cordoned) != cordoned {
            let what = if cordoned { "NodeNotSchedulable" } else { "NodeSchedulable" };
            let message = format!("Node {} status is now: {what}", self.config.name());
            self.node_event(EventType::Normal, what, message, fx);
        }
    }

    /// The first looks of a new node: each 100 ms until it is ready.
    pub(super) fn first_ready(&mut self, fx: &mut Fx) {
        let ready = self.readiness().0;
        if ready {
            return self.refresh_node(fx);
        }
        self.ask_health(fx);
        if fx.now().since(self.started) < FAST_FOR {
            fx.wake_after(REGISTER_RETRY, In::Timer(Timer::FirstReady));
        } else {
            self.arm_round(fx);
        }
    }

    /// An image came or went.
    pub(super) fn images_changed(&mut self, fx: &mut Fx) {
        self.node.list_images = true;
        self.arm_round(fx);
    }

    /// The first relist is complete.
    pub(super) fn first_relist_done(&mut self, fx: &mut Fx) {
        self.calls.cri(CriOwner::Images, cri::Call::ListImages, fx);
        self.arm_housekeeping(fx);
        if self.config.start == StartKind::Restarts {
            self.refresh_node(fx);
        }
    }

    /// The runtime listed its images: the greatest first, as many as `nodeStatusMaxImages` allows (-1: all).
    pub(super) fn images_listed(&mut self, result: Result<cri::Answer, cri::Error>, fx: &mut Fx) {
        let Ok(cri::Answer::Images(mut images)) = result else { return };
        images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
        images.truncate(usize::try_from(self.config.kubelet.node_status_max_images).unwrap_or(usize::MAX));
        let images: Vec<NodeImage> =
            images.into_iter().map(|image| NodeImage { names: image.names, size_bytes: image.size_bytes }).collect();
        self.node.images = Some(images.into());
        self.refresh_node(fx);
    }

    /// Asks the runtime for its status.
    fn ask_health(&mut self, fx: &mut Fx) {
        if !std::mem::replace(&mut self.node.health.asked, true) {
            self.node.health.asked_at = fx.now();
            self.calls.cri(CriOwner::Health, cri::Call::Status, fx);
        }
    }

    fn arm_health(&mut self, fx: &mut Fx) {
        if self.node.health.tick.is_none_or(|tick| tick <= fx.now()) {
            let at = self.health_grid.after(fx.now());
            self.node.health.tick = Some(at);
            fx.wake_at(at, In::Timer(Timer::Health));
        }
    }

    /// The connection to the runtime broke, or works again.
    pub(super) fn cri_stream(&mut self, up: bool, fx: &mut Fx) {
        if up {
            self.node.health.is_lost = false;
            // What was asked on the old connection is not answered any more.
            for owner in self.calls.cri_lost() {
                let error = cri::Error::new(cri::Code::Unavailable, "error reading from server: EOF");
                self.give_cri(owner, Err(error), fx);
            }
            self.pleg.lost_events();
            self.arm_relist(fx);
        } else {
            self.runtime_lost(fx);
        }
        self.arm_health(fx);
    }

    /// A call found that the runtime cannot be reached.
    pub(super) fn runtime_lost(&mut self, fx: &mut Fx) {
        self.relists_pause(fx.now());
        let health = &mut self.node.health;
        if !std::mem::replace(&mut health.is_lost, true) {
            health.lost_at = fx.now();
            if self.config.observe == Observe::Sleeping && fx.now() >= self.health_grid.anchor {
                // Until now each check on the grid would have succeeded.
                let last = self.health_grid.at_or_before(fx.now()) + health.takes;
                health.last_ok = health.last_ok.max(last);
            }
            self.collectors_may_fail(fx);
        }
        self.arm_health(fx);
        self.arm_look(fx);
        self.arm_garbage(fx);
    }

    /// The sync loop looks each second whether the last success is too long ago; it need not before that.
    fn arm_look(&mut self, fx: &mut Fx) {
        let at = self.sync_grid.at_or_after((self.node.health.last_ok + DOWN_AFTER).max(fx.now()));
        if self.node.health.looks.is_none_or(|looks| looks < fx.now() || looks > at) {
            self.node.health.looks = Some(at);
            fx.wake_at(at, In::Timer(Timer::RuntimeDown));
        }
    }

    /// The sync loop's look at the runtime's last success (`runtimeState.runtimeErrors`).
    pub(super) fn look_at_runtime(&mut self, fx: &mut Fx) {
        if self.node.health.looks != Some(fx.now()) {
            return;
        }
        self.node.health.looks = None;
        let polls = self.config.observe == Observe::Polling;
        if self.node.health.down_since.is_some() || !(polls || self.is_in_doubt()) {
            return;
        }
        if fx.now() >= self.node.health.last_ok + DOWN_AFTER {
            self.node.health.down_since = Some(fx.now());
            self.arm_round(fx);
        } else if self.is_in_doubt() {
            self.arm_look(fx);
        }
    }

    /// The check each 5 s (`updateRuntimeUp`).
    pub(super) fn health_tick(&mut self, fx: &mut Fx) {
        if self.node.health.tick != Some(fx.now()) {
            return;
        }
        self.node.health.tick = None;
        self.ask_health(fx);
        let polls = self.config.observe == Observe::Polling;
        if polls {
            // A runtime that hangs answers nothing, and nothing else may tell of it.
            self.arm_look(fx);
        }
        if self.is_checking() || polls {
            self.arm_health(fx);
        }
    }

    /// True while the runtime is to be asked again.
    fn is_checking(&self) -> bool {
        let health = &self.node.health;
        self.is_in_doubt() || health.down_since.is_some() || !self.network_ready || health.asked
    }

    /// True while the runtime may not work.
    fn is_in_doubt(&self) -> bool {
        self.node.health.is_lost || !self.node.health.is_known
    }

    /// The runtime answered about its status.
    pub(super) fn health_answered(&mut self, result: Result<cri::Answer, cri::Error>, fx: &mut Fx) {
        self.node.health.asked = false;
        let Ok(cri::Answer::Status { runtime_ready: Ok(()), network_ready }) = result else {
            if !std::mem::replace(&mut self.node.health.is_lost, true) {
                // It hangs since it was asked, or before.
                self.node.health.lost_at = self.node.health.asked_at;
                self.collectors_may_fail(fx);
            }
            self.arm_health(fx);
            return self.arm_look(fx);
        };
        let was_ready = self.network_ready;
        self.network_ready = network_ready.is_ok();
        self.network_problem = network_ready.err().unwrap_or_default();
        let health = &mut self.node.health;
        health.last_ok = health.last_ok.max(fx.now());
        health.takes = fx.now().since(health.asked_at);
        let first = !std::mem::replace(&mut health.is_known, true);
        // An answer from before the connection broke says nothing of how it is now.
        if health.is_lost && health.asked_at >= health.lost_at {
            health.is_lost = false;
            self.pleg.lost_events();
            self.arm_relist(fx);
        }
        if !self.network_ready {
            self.arm_health(fx);
        }
        if was_ready != self.network_ready {
            self.arm_round(fx);
        }
        if first {
            self.node.health.down_since = None;
            self.first_relist(fx);
            self.resume(fx);
        } else if let Some(since) = self.node.health.down_since {
            fx.wake_at(next_look(since, fx.now()), In::Timer(Timer::Resume));
        }
    }

    /// The sync loop wakes from its sleep, and looks whether the runtime works.
    pub(super) fn resume_tick(&mut self, fx: &mut Fx) {
        if self.node.health.is_lost || self.node.health.down_since.take().is_none() {
            return;
        }
        self.arm_round(fx);
        self.resume(fx);
    }
}

/// The conditions that the kubelet writes, all well but for `problem`.
fn set_conditions(conditions: &mut Conditions, now: Time, pressures: &[Pressure], problem: Option<Text>) {
    let mut set = |kind: &str, status: ConditionStatus, reason: &str, message: Text| {
        condition::set(conditions, now, Name::new(kind), status, Name::new(reason), message);
    };
    for pressure in [Pressure::Memory, Pressure::Disk, Pressure::Pid] {
        let on = pressures.contains(&pressure);
        let (reason, message) = match (pressure, on) {
            (Pressure::Memory, false) => ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            (Pressure::Memory, true) => ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            (Pressure::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            (Pressure::Disk, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            (Pressure::Pid, false) => ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            (Pressure::Pid, true) => ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        };
        set(pressure.condition(), ConditionStatus::from(on), reason, Text::new(message));
    }
    match problem {
        None => {
            let message = Text::new("kubelet is posting ready status");
            set("Ready", ConditionStatus::True, "KubeletReady", message);
        }
        Some(message) => set("Ready", ConditionStatus::False, "KubeletNotReady", message),
    }
}

impl Config {
    /// The Node as the API server shows it while this kubelet runs and all is well: what there is of a node that has been
    /// running since before the scenario.
    pub fn running_node(&self) -> Node {
        let mut node = self.node.clone();
        node.status.capacity = self.capacity();
        node.status.allocatable = self.allocatable();
        node.status.internal_ip = Some(self.node_ip);
        set_conditions(&mut node.status.conditions, Time::ZERO, &[], None);
        node
    }
}

/// When a loop that sleeps 100 ms, then twice as long each time up to 5 s, since `since`, wakes next.
fn next_look(since: Time, now: Time) -> Time {
    let (mut at, mut sleep) = (since, Duration::from_millis(100));
    while at < now {
        at += sleep;
        sleep = (sleep * 2).min(Duration::from_secs(5));
    }
    at
}
