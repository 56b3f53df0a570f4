//! Node lifecycle: notices that a node's kubelet is silent, and taints nodes by their conditions.
//!
//! A user meets it when a node dies: Ready turns Unknown 50 to 55 s after the last lease renewal, its pods turn unready,
//! `unreachable:NoSchedule` comes at once and `unreachable:NoExecute` at most one node each 10 s in a zone. Example:
//! `fault: {node: n1, power: off}`.
//!
//! Kubernetes: pkg/controller/nodelifecycle/node_lifecycle_controller.go. The monitor's pass each 5 s looks only at the
//! nodes about which something has changed or whose grace period ends; others it would leave as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::condition;
use crate::model::taint::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NOT_READY, PID_PRESSURE, UNREACHABLE, UNSCHEDULABLE,
};
use crate::model::{
    Condition, ConditionStatus, EventType, Key, Kind, Name, Node, Object, ObjectReference, Pod, Taint, TaintEffect,
};
use crate::protocol::api::{Call, Patch};

use super::controller::{Context, Controller, Progress, Reply, grid_after, reference};
use super::informer::Change;
use super::node_zones::{Change as ZoneChange, Zones};
use super::replica_set::failed_other_than_gone;

/// The node lifecycle controller.
#[derive(Debug, Default)]
pub struct NodeLifecycle {
    begun: Time,
    /// Where the monitor's grid begins.
    grid: Time,
    /// What is seen was there before the process began.
    is_listing: bool,
    nodes: BTreeMap<Name, Watched>,
    zones: Zones,
    /// Nodes to look at in the next pass.
    changed: BTreeSet<Name>,
    /// When the grace periods of silent nodes end.
    deadlines: BTreeSet<(Time, Name)>,
    removed: Vec<ObjectReference>,
}

/// What the monitor knows of a node.
#[derive(Clone, Copy, Debug)]
struct Watched {
    zone: Name,
    /// Not counted in its zone.
    excluded: bool,
    /// When its kubelet was last heard of.
    probe: Time,
    /// Ready, as the last pass saw it; None before the first.
    ready: Option<ConditionStatus>,
    /// A controller that began before the run had seen it.
    is_registered: bool,
}

/// The keys of the monitor's pass and of the tainting pass, which are about no object.
fn monitor() -> Key {
    Key { kind: Kind::Node, namespace: Name::default(), name: Name::default() }
}

fn tainting() -> Key {
    Key { kind: Kind::Lease, namespace: Name::default(), name: Name::default() }
}

/// The tainting pass runs each 100 ms.
const TAINTING_PERIOD: Duration = Duration::from_millis(100);

/// The conditions that a silent kubelet leaves unknown.
const PROBED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn ready_of(node: &Node) -> Option<ConditionStatus> {
    condition::find(&node.status.conditions, "Ready").map(|ready| ready.status)
}

fn heartbeat(node: &Node) -> Option<Time> {
    condition::find(&node.status.conditions, "Ready").map(|ready| ready.last_update)
}

fn zone_of(node: &Node) -> Name {
    let region = node.meta.labels.get(Name::new(crate::model::node::REGION_LABEL)).unwrap_or_default();
    Name::from(format!("{region}:{}", node.zone().unwrap_or_default()))
}

fn has_no_execute(node: &Node, key: &str) -> bool {
    node.spec.taints.iter().any(|taint| taint.effect == TaintEffect::NoExecute && taint.key == *key)
}

fn no_execute(key: &str, now: Time) -> Taint {
    Taint { added: Some(now), ..Taint::new(key, TaintEffect::NoExecute) }
}

/// The `NoSchedule` taints to add and to take away so that they say what the node's conditions say.
fn no_schedule_changes(node: &Node) -> (Vec<Taint>, Vec<Taint>) {
    let is = |kind: &str, status| condition::find(&node.status.conditions, kind).is_some_and(|c| c.status == status);
    let wanted = [
        (NOT_READY, is("Ready", ConditionStatus::False)),
        (UNREACHABLE, is("Ready", ConditionStatus::Unknown)),
        (MEMORY_PRESSURE, is("MemoryPressure", ConditionStatus::True)),
        (DISK_PRESSURE, is("DiskPressure", ConditionStatus::True)),
        (PID_PRESSURE, is("PIDPressure", ConditionStatus::True)),
        (NETWORK_UNAVAILABLE, is("NetworkUnavailable", ConditionStatus::True)),
        (UNSCHEDULABLE, node.spec.unschedulable),
    ];
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for (key, wanted) in wanted {
        let has = |taint: &&Taint| taint.effect == TaintEffect::NoSchedule && taint.key == *key;
        match (wanted, node.spec.taints.iter().find(has)) {
            (true, None) => add.push(Taint::new(key, TaintEffect::NoSchedule)),
            (false, Some(taint)) => remove.push(taint.clone()),
            _ => {}
        }
    }
    (add, remove)
}

impl NodeLifecycle {
    /// The monitor looks at this node in its next pass.
    fn check(&mut self, node: Name, cx: &mut Context<'_>) {
        self.changed.insert(node);
        cx.enqueue_at(monitor(), grid_after(self.grid, cx.config.node_monitor_period, cx.now));
    }

    /// The kubelet was heard of at `at` and is silent since.
    fn silent_since(&mut self, node: Name, at: Time, cx: &mut Context<'_>) {
        let Some(watched) = self.nodes.get_mut(&node) else { return };
        watched.probe = watched.probe.max(at);
        let has_status = cx.cache.node(node).is_some_and(|node| ready_of(node).is_some());
        let grace = if has_status { cx.config.node_monitor_grace_period } else { cx.config.node_startup_grace_period };
        let pass = grid_after(self.grid, cx.config.node_monitor_period, watched.probe + grace);
        self.deadlines.insert((pass, node));
        cx.enqueue_at(monitor(), pass);
    }

    fn is_renewing(node: Name, cx: &Context<'_>) -> bool {
        let key = Key { kind: Kind::Lease, namespace: Name::new("kube-node-lease"), name: node };
        matches!(cx.cache.get(key), Some(Object::Lease(lease)) if lease.renewing)
    }

    fn observe_lease(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let Some(Object::Lease(lease)) = change.new else { return };
        let node = lease.meta.name;
        if !self.nodes.contains_key(&node) {
            return;
        }
        if lease.renewing {
            if let Some(watched) = self.nodes.get_mut(&node) {
                watched.probe = cx.now;
            }
        } else {
            // What was renewed before the controller began, it sees for the first time now.
            self.silent_since(node, lease.renewed.unwrap_or(cx.now).max(self.begun), cx);
        }
    }

    fn observe_node(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let key = change.key();
        let (old, Some(node)) = change.nodes() else {
            if let Some(watched) = self.nodes.remove(&key.name) {
                self.count(watched, -1, cx);
                self.zones.remove(watched.zone, key.name);
                self.removed.push(reference(change.object()));
                self.check(key.name, cx);
            }
            return;
        };
        let (add, remove) = no_schedule_changes(node);
        if !add.is_empty() || !remove.is_empty() {
            cx.enqueue(key);
        }
        let is_new = !self.nodes.contains_key(&key.name);
        if is_new {
            let probe = if ready_of(node).is_some() { cx.now } else { node.meta.created };
            let is_registered = self.is_listing && cx.settled;
            let watched = Watched { zone: Name::default(), excluded: true, probe, ready: None, is_registered };
            self.nodes.insert(key.name, watched);
            self.check(key.name, cx);
        }
        let beats = old.is_none_or(|old| heartbeat(old) != heartbeat(node));
        if beats && !Self::is_renewing(key.name, cx) {
            self.silent_since(key.name, if is_new { Time::ZERO } else { cx.now }, cx);
        }
        // What the monitor's pass has written; one that could not write, as the API server was away, says nothing. A kubelet
        // that says itself that its node isn't ready speaks for its pods, too.
        let was_ready = old.is_some_and(|old| ready_of(old) == Some(ConditionStatus::True));
        if was_ready && ready_of(node) == Some(ConditionStatus::Unknown) {
            let text = format!("Node {} status is now: NodeNotReady", key.name);
            cx.normal(&Object::Node(node.clone()), "NodeNotReady", text);
            self.mark_pods(key.name, cx);
        }
        // A taint that came too late is seen by the next pass.
        let spared = ready_of(node) == Some(ConditionStatus::True)
            && (has_no_execute(node, NOT_READY) || has_no_execute(node, UNREACHABLE));
        if spared || old.is_none_or(|old| ready_of(old) != ready_of(node) || old.meta.labels != node.meta.labels) {
            self.check(key.name, cx);
        }
    }

    /// Adds a node to the numbers of its zone (1), or takes it out (-1).
    fn count(&mut self, watched: Watched, by: i32, cx: &Context<'_>) {
        if watched.excluded {
            return;
        }
        let zone = self.zones.zone(watched.zone, cx.config);
        zone.nodes = zone.nodes.wrapping_add_signed(by as isize);
        if watched.ready != Some(ConditionStatus::True) {
            zone.not_ready = zone.not_ready.wrapping_add_signed(by as isize);
        }
    }

    /// The monitor's pass.
    fn monitor(&mut self, cx: &mut Context<'_>) {
        for node in std::mem::take(&mut self.removed) {
            let text = format!("Node {0} event: Removing Node {0} from Controller", node.name);
            cx.event(node, EventType::Normal, "RemovingNode", text);
        }
        let mut nodes = std::mem::take(&mut self.changed);
        while let Some(&(at, node)) = self.deadlines.first()
            && at <= cx.now
        {
            self.deadlines.pop_first();
            nodes.insert(node);
        }
        let mut writes = false;
        for name in nodes {
            if let Some(node) = cx.cache.node(name).cloned() {
                writes |= self.look_at(&node, cx);
            }
        }
        match self.zones.update(cx.config, cx.now) {
            ZoneChange::None => {}
            ZoneChange::AllDisrupted => self.spare_all(cx),
            ZoneChange::Recovered => self.renew_all(cx),
        }
        // A node is marked for its taint once its status is written.
        if !writes {
            self.plan_tainting(cx);
        }
        if let Some(&(at, _)) = self.deadlines.first() {
            cx.enqueue_at(monitor(), at);
        }
    }

    /// True if a status was written.
    fn look_at(&mut self, node: &Arc<Node>, cx: &mut Context<'_>) -> bool {
        let name = node.meta.name;
        let Some(mut watched) = self.nodes.get(&name).copied() else { return false };
        let before = watched.ready;
        if before.is_none() && !watched.is_registered {
            let text = format!("Node {name} event: Registered Node {name} in Controller");
            cx.normal(&Object::Node(node.clone()), "RegisteredNode", text);
        }
        if before.is_some() {
            self.count(watched, -1, cx);
        }
        watched.zone = zone_of(node);
        watched.excluded = node.meta.labels.get(Name::new("node.kubernetes.io/exclude-disruption")).is_some();
        let stored = ready_of(node);
        let grace =
            if stored.is_some() { cx.config.node_monitor_grace_period } else { cx.config.node_startup_grace_period };
        let silent = !Self::is_renewing(name, cx) && cx.now > watched.probe + grace;
        let ready = if silent { ConditionStatus::Unknown } else { stored.unwrap_or(ConditionStatus::Unknown) };
        let writes = silent && stored != Some(ConditionStatus::Unknown);
        if writes {
            cx.request(Call::UpdateStatus(Object::Node(unknown(node, cx.now).into())));
        }
        watched.ready = Some(ready);
        self.nodes.insert(name, watched);
        self.count(watched, 1, cx);
        let (wanted, other) = match ready {
            ConditionStatus::False => (NOT_READY, UNREACHABLE),
            ConditionStatus::Unknown => (UNREACHABLE, NOT_READY),
            ConditionStatus::True => {
                self.spare(node, cx);
                return writes;
            }
        };
        if has_no_execute(node, other) {
            let (add, remove) = (vec![no_execute(wanted, cx.now)], vec![no_execute(other, cx.now)]);
            cx.request(Call::Patch(node.meta.key(Kind::Node), Patch::Taints { add, remove }));
        } else if !has_no_execute(node, wanted) {
            self.zones.add(watched.zone, name, cx.config);
        }
        writes
    }

    /// The pods of a node that is not ready are not ready either.
    fn mark_pods(&self, node: Name, cx: &mut Context<'_>) {
        let mut pods: Vec<Arc<Pod>> = cx.cache.pods_on(node).filter(|pod| pod.is_ready()).cloned().collect();
        pods.sort_by_key(|pod| (pod.meta.namespace, pod.meta.name));
        for pod in pods {
            self.mark_pod(&pod, cx);
        }
    }

    fn mark_pod(&self, pod: &Arc<Pod>, cx: &mut Context<'_>) {
        let Some(ready) = condition::find(&pod.status.conditions, "Ready") else { return };
        let not_ready =
            Condition { status: ConditionStatus::False, last_transition: cx.now, last_update: cx.now, ..ready.clone() };
        cx.request(Call::Patch(pod.meta.key(Kind::Pod), Patch::Condition(not_ready)));
        cx.warning(&Object::Pod(pod.clone()), "NodeNotReady", "Node is not ready");
    }

    /// A ready node loses its `NoExecute` taints.
    fn spare(&mut self, node: &Arc<Node>, cx: &mut Context<'_>) {
        let name = node.meta.name;
        if let Some(watched) = self.nodes.get(&name) {
            self.zones.remove(watched.zone, name);
        }
        let remove: Vec<Taint> = [NOT_READY, UNREACHABLE]
            .into_iter()
            .filter(|key| has_no_execute(node, key))
            .map(|key| no_execute(key, cx.now))
            .collect();
        if !remove.is_empty() {
            let add = Vec::new();
            cx.request(Call::Patch(node.meta.key(Kind::Node), Patch::Taints { add, remove }));
        }
    }

    fn spare_all(&mut self, cx: &mut Context<'_>) {
        let names: Vec<Name> = self.nodes.keys().copied().collect();
        for name in names {
            if let Some(node) = cx.cache.node(name).cloned() {
                self.spare(&node, cx);
            }
        }
    }

    /// Every silent node gets a new grace period; those that are not ready are queued for their taints.
    fn renew_all(&mut self, cx: &mut Context<'_>) {
        let names: Vec<Name> = self.nodes.keys().copied().collect();
        for name in names {
            if !Self::is_renewing(name, cx) {
                self.silent_since(name, cx.now, cx);
            }
            let watched = self.nodes[&name];
            if watched.ready.is_some_and(|ready| ready != ConditionStatus::True) {
                self.zones.add(watched.zone, name, cx.config);
            }
        }
    }

    fn plan_tainting(&self, cx: &mut Context<'_>) {
        if let Some(next) = self.zones.next() {
            let now = grid_after(self.begun, TAINTING_PERIOD, cx.now);
            let due = next.as_nanos().saturating_sub(self.begun.as_nanos()).div_ceil(TAINTING_PERIOD.as_nanos());
            cx.enqueue_at(tainting(), now.max(self.begun + TAINTING_PERIOD * due));
        }
    }

    /// The tainting pass.
    fn taint(&mut self, cx: &mut Context<'_>) {
        for name in self.zones.take(cx.now) {
            // As it is now, not as the monitor's last pass saw it: who is ready again meanwhile is passed over.
            let key = match cx.cache.node(name).and_then(|node| ready_of(node)) {
                Some(ConditionStatus::False) => NOT_READY,
                Some(ConditionStatus::Unknown) => UNREACHABLE,
                _ => {
                    // The next pass asks for its taint again if what the last one wrote was only not seen yet.
                    if self.nodes.get(&name).is_some_and(|watched| watched.ready != Some(ConditionStatus::True)) {
                        self.check(name, cx);
                    }
                    continue;
                }
            };
            let other = if key == NOT_READY { UNREACHABLE } else { NOT_READY };
            let remove = match cx.cache.node(name) {
                Some(node) if has_no_execute(node, other) => vec![no_execute(other, cx.now)],
                Some(_) => Vec::new(),
                None => continue,
            };
            let add = vec![no_execute(key, cx.now)];
            cx.request(Call::Patch(Key::new(Kind::Node, "", name), Patch::Taints { add, remove }));
        }
        self.plan_tainting(cx);
    }
}

/// The node as it is when its kubelet is silent.
fn unknown(node: &Node, now: Time) -> Node {
    let mut node = node.clone();
    for kind in PROBED {
        let found = node.status.conditions.iter_mut().find(|condition| condition.kind == *kind);
        let Some(condition) = found else {
            node.status.conditions.push(Condition {
                kind: Name::new(kind),
                status: ConditionStatus::Unknown,
                reason: Name::new("NodeStatusNeverUpdated"),
                message: "Kubelet never posted node status.".into(),
                last_transition: now,
                last_update: node.meta.created,
            });
            continue;
        };
        if condition.status != ConditionStatus::Unknown {
            condition.status = ConditionStatus::Unknown;
            condition.reason = Name::new("NodeStatusUnknown");
            condition.message = "Kubelet stopped posting node status.".into();
            condition.last_transition = now;
        }
    }
    node
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn component(&self) -> &'static str {
        "node-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Node, Kind::Lease, Kind::Pod]
    }

    fn workers(&self) -> usize {
        8
    }

    fn begins(&mut self, cx: &mut Context<'_>) {
        self.begun = cx.now;
        self.grid = cx.grid(cx.config.node_monitor_period);
        self.is_listing = true;
    }

    fn started(&mut self, cx: &mut Context<'_>) {
        self.is_listing = false;
        // The first pass is at once.
        cx.enqueue(monitor());
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Node => self.observe_node(change, cx),
            Kind::Lease => self.observe_lease(change, cx),
            _ => {
                // A pod that comes to a node that is not ready, and says that it is.
                let (old, Some(pod)) = change.pods() else { return };
                let Some(node) = pod.node.filter(|&node| old.is_none_or(|old| old.node != Some(node))) else { return };
                let ready = self.nodes.get(&node).and_then(|watched| watched.ready);
                if pod.is_ready() && ready.is_some_and(|ready| ready != ConditionStatus::True) {
                    self.mark_pod(pod, cx);
                }
            }
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if key == monitor() {
            self.monitor(cx);
            return Progress::Wait;
        }
        if key == tainting() {
            self.taint(cx);
            return Progress::Wait;
        }
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(node) = cx.cache.node(key.name) else { return Progress::Done };
        let (add, remove) = no_schedule_changes(node);
        if add.is_empty() && remove.is_empty() {
            return Progress::Done;
        }
        cx.request(Call::Patch(key, Patch::Taints { add, remove }));
        Progress::Wait
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        if key == monitor() {
            self.plan_tainting(cx);
        }
        if !failed_other_than_gone(&replies) {
            return Progress::Done;
        }
        if key != monitor() {
            return if key == tainting() { Progress::Done } else { Progress::Retry };
        }
        // Some write failed: nodes whose stored state is not what the pass has seen are looked at again.
        let nodes: Vec<Name> = self.nodes.keys().copied().collect();
        for name in nodes {
            let stored = cx.cache.node(name).and_then(|node| ready_of(node));
            if self.nodes[&name].ready != stored {
                self.check(name, cx);
            }
        }
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, labels, node};
    use super::*;
    use crate::model::Meta;

    /// A world with so many nodes in each zone, whose leases are renewed, and a ready pod on each node.
    fn world(zones: &[(&str, usize)]) -> World {
        let nodes = zones.iter().flat_map(|&(zone, count)| (0..count).map(move |n| node(&format!("{zone}{n}"), zone)));
        let nodes: Vec<Object> = nodes.collect();
        let names: Vec<Name> = nodes.iter().map(|node| node.meta().name).collect();
        let mut world = World::new(Config::default(), nodes);
        for name in names {
            world.lease(name.as_str(), true);
            let meta = Meta { labels: labels("app", "web"), ..Meta::named("default", format!("pod-{name}")) };
            world.upsert(Object::Pod(Pod { meta, node: Some(name), ..Pod::default() }.into()));
        }
        world
    }

    fn fail(world: &mut World, zone: &str, nodes: impl Iterator<Item = usize>) {
        nodes.for_each(|n| world.lease(&format!("{zone}{n}"), false));
    }

    #[test]
    fn an_idle_cluster_schedules_nothing() {
        let mut world = world(&[("a", 5)]);
        world.run_until(60.0);
        let handled = world.handled;
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
        world.run_until(36_000.0);
        assert_eq!(world.handled, handled);
        assert_eq!(world.texts("RegisteredNode").len(), 5);
    }

    #[test]
    fn a_silent_node_is_unknown_at_the_first_pass_after_50_seconds_and_evicted_300_later() {
        let mut world = world(&[("a", 3)]);
        world.run_until(62.0);
        fail(&mut world, "a", 0..1);
        world.run_until(114.9);
        assert!(world.texts("NodeNotReady").is_empty());
        world.run_until(500.0);
        let noticed = world.times("NodeNotReady Node a0 status is now: NodeNotReady")[0];
        assert!((115.0..115.1).contains(&noticed), "{noticed}");
        assert_eq!(world.texts("condition pod-a0 Ready"), ["condition pod-a0 Ready=False"]);
        assert_eq!(world.texts("NodeNotReady Node is not ready").len(), 1);
        let taints = world.times("taint a0 node.kubernetes.io/unreachable:NoSchedule");
        assert!(taints[0] - noticed < 0.05, "{taints:?}");
        let taints = world.times("taint a0 node.kubernetes.io/unreachable:NoExecute");
        assert!(taints[0] - noticed < 0.15, "{taints:?}");
        // The fake's pods have no tolerations: they go with the taint.
        let gone = world.times("~Pod pod-a0")[0];
        assert!(gone - taints[0] < 0.05, "{gone}");
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn a_node_that_returns_loses_no_schedule_at_once_and_no_execute_at_the_next_pass() {
        let mut world = world(&[("a", 3)]);
        world.run_until(62.0);
        fail(&mut world, "a", 0..1);
        world.run_until(202.0);
        world.lease("a0", true);
        world.change(Key::new(Kind::Node, "", "a0"), |object| {
            let Object::Node(node) = object else { panic!("it is a node") };
            for condition in &mut Arc::make_mut(node).status.conditions {
                condition.status = ConditionStatus::from(condition.kind == *"Ready");
            }
        });
        world.run_until(300.0);
        let untaints = world.log("untaint");
        assert_eq!(
            untaints,
            [
                "202.0 untaint a0 node.kubernetes.io/unreachable:NoSchedule",
                "205.0 untaint a0 node.kubernetes.io/unreachable:NoExecute"
            ]
        );
    }

    #[test]
    fn a_node_that_is_ready_again_between_the_passes_is_not_tainted() {
        let mut world = world(&[("a", 10), ("b", 10)]);
        world.run_until(60.0);
        fail(&mut world, "a", 0..10);
        world.run_until(200.0);
        let tainted = |world: &World| -> Vec<(f64, String)> {
            let lines = world.log("taint").into_iter().filter(|line| line.ends_with("NoExecute"));
            lines
                .filter_map(|line| {
                    let (at, rest) = line.split_once(' ')?;
                    Some((at.parse().ok()?, rest.split(' ').nth(1)?.to_owned()))
                })
                .collect()
        };
        let before = tainted(&world);
        let (last, _) = before.last().expect("some are tainted").clone();
        let next = (0..10).map(|n| format!("a{n}")).find(|name| before.iter().all(|(_, other)| other != name));
        let next = next.expect("one is left");
        // After the monitor's pass, which is at most one tainting period before the next taint.
        world.run_until(last + 9.99);
        world.lease(&next, true);
        world.change(Key::new(Kind::Node, "", next.as_str()), |object| {
            let Object::Node(node) = object else { panic!("it is a node") };
            for condition in &mut Arc::make_mut(node).status.conditions {
                condition.status = ConditionStatus::from(condition.kind == *"Ready");
            }
        });
        world.run_until(600.0);
        // With a node that is ready the small zone is in partial disruption, so that no other is tainted either.
        assert_eq!(tainted(&world), before, "{next}");
    }

    #[test]
    fn a_node_that_says_itself_that_it_is_not_ready_keeps_its_pods_ready_and_is_tainted() {
        let mut world = world(&[("a", 3)]);
        world.run_until(62.0);
        world.change(Key::new(Kind::Node, "", "a0"), |object| {
            let Object::Node(node) = object else { panic!("it is a node") };
            for condition in &mut Arc::make_mut(node).status.conditions {
                condition.status = ConditionStatus::False;
            }
        });
        world.run_until(100.0);
        assert_eq!(world.texts("NodeNotReady").len(), 0);
        assert_eq!(world.texts("condition pod-a0 Ready").len(), 0);
        assert_eq!(world.texts("taint a0 node.kubernetes.io/not-ready:NoExecute").len(), 1);
    }

    /// The seconds at which nodes got their NoExecute taint, after the first.
    fn taints(world: &World) -> Vec<i64> {
        let times: Vec<f64> = world
            .log("taint")
            .iter()
            .filter(|line| line.ends_with("NoExecute"))
            .map(|line| line.split_once(' ').expect("a time stands first").0.parse().expect("it is a number"))
            .collect();
        times.iter().map(|at| (at - times[0]).round() as i64).collect()
    }

    #[test]
    fn a_dead_zone_beside_living_ones_is_tainted_one_node_each_10_seconds() {
        let mut world = world(&[("a", 10), ("b", 10), ("c", 10)]);
        world.run_until(60.0);
        fail(&mut world, "a", 0..10);
        world.run_until(400.0);
        assert_eq!(taints(&world), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn a_small_zone_of_which_55_percent_are_silent_is_not_tainted() {
        let mut world = world(&[("a", 10), ("b", 4)]);
        world.run_until(60.0);
        fail(&mut world, "a", 0..6);
        world.run_until(400.0);
        assert_eq!(taints(&world), [0i64; 0]);
        assert_eq!(world.texts("taint").len(), 6, "NoSchedule is not limited");
    }

    #[test]
    fn a_large_zone_of_which_55_percent_are_silent_is_tainted_each_100_seconds() {
        let mut world = world(&[("a", 60), ("b", 4)]);
        world.run_until(60.0);
        fail(&mut world, "a", 0..40);
        world.run_until(500.0);
        assert_eq!(taints(&world), [0, 100, 200, 300]);
    }

    #[test]
    fn nothing_is_evicted_when_all_zones_are_silent() {
        let mut world = world(&[("a", 3), ("b", 3)]);
        world.run_until(60.0);
        fail(&mut world, "a", 0..3);
        fail(&mut world, "b", 0..3);
        world.run_until(800.0);
        assert_eq!(taints(&world), [0i64; 0]);
        assert_eq!(world.texts("condition pod-").len(), 6);
        assert_eq!(world.texts("~Pod").len(), 0);
    }
}
