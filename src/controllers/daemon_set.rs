//! DaemonSet: one pod on each node that is fit for it.
//!
//! A user meets it as the log collector or network agent that is on every node, and stays there when `kubectl drain` comes.
//! Example: `kubectl rollout restart daemonset/agent`.
//!
//! Kubernetes: pkg/controller/daemon/daemon_controller.go, update.go. Nodes are taken in the order of their names, where
//! Kubernetes takes them in a map's. Only nodes about which something has changed are looked at, but for a rolling update.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::taint::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NOT_READY, PID_PRESSURE, TolerationOperator, UNREACHABLE,
    UNSCHEDULABLE,
};
use crate::model::workload::{ControllerRevision, DaemonSet, DaemonSetStatus, DaemonSetUpdate};
use crate::model::{
    Affinity, Key, Kind, Labels, Name, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Object, Phase,
    Pod, PodSpec, TaintEffect, Toleration, condition, taint,
};
use crate::protocol::api::{Answer, Call, DeleteOptions, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::{SlowStart, delete_pod, pod_from_template};
use super::replica_set::{failed_other_than_gone, namespace_terminates};
use super::revisions::{self, REVISION_LABEL};
use super::workqueue::Expectations;

/// At most so many pods are created or deleted in one sync.
const BURST_REPLICAS: usize = 250;
const FAILED_POD_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);

/// The DaemonSet controller.
#[derive(Debug, Default)]
pub struct DaemonSetController {
    expectations: Expectations,
    sets: FxHashMap<Key, Known>,
    syncs: FxHashMap<Key, Sync>,
}

/// What is remembered of a DaemonSet between syncs.
#[derive(Debug, Default)]
struct Known {
    tolerations: Vec<Toleration>,
    nodes: BTreeMap<Name, View>,
    /// Nodes to look at.
    changed: BTreeSet<Name>,
    /// Nodes where pods may have to be made or deleted.
    unmanaged: BTreeSet<Name>,
    totals: Totals,
    hash: Name,
    /// By node, how often a pod has failed there and when it may be deleted again.
    failures: FxHashMap<Name, (u32, Time)>,
}

/// One node, as the DaemonSet sees it.
#[derive(Debug, Default)]
struct View {
    pods: BTreeSet<Name>,
    counted: Totals,
}

/// What a node adds to the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    desired: i32,
    current: i32,
    misscheduled: i32,
    ready: i32,
    available: i32,
    updated: i32,
    /// Pods of an older template that are not being deleted.
    old: i32,
}

impl Totals {
    fn add(&mut self, other: Totals, sign: i32) {
        self.desired += sign * other.desired;
        self.current += sign * other.current;
        self.misscheduled += sign * other.misscheduled;
        self.ready += sign * other.ready;
        self.available += sign * other.available;
        self.updated += sign * other.updated;
        self.old += sign * other.old;
    }
}

/// A sync that waits for answers.
#[derive(Debug)]
struct Sync {
    set: Arc<DaemonSet>,
    revision: Arc<ControllerRevision>,
    batches: SlowStart,
    create_on: Vec<Name>,
    stage: Stage,
    failed: bool,
}

#[derive(Debug)]
enum Stage {
    Revision,
    /// Deletions stand first among the requests under way, then a batch of creations.
    Managing(Vec<Arc<Pod>>),
    Updating(Vec<Arc<Pod>>),
    Status,
}

/// What a sync does.
#[derive(Debug, Default)]
struct Plan {
    create_on: Vec<Name>,
    delete: Vec<Arc<Pod>>,
}

fn tolerations_of(set: &DaemonSet) -> Vec<Toleration> {
    let tolerate = |key: &str, effect| Toleration {
        key: Name::new(key),
        operator: TolerationOperator::Exists,
        value: Name::default(),
        effect: Some(effect),
        seconds: None,
    };
    let mut tolerations = set.template.spec.tolerations.to_vec();
    let mut add = |toleration: Toleration| {
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    };
    for key in [NOT_READY, UNREACHABLE] {
        add(tolerate(key, TaintEffect::NoExecute));
    }
    for key in [DISK_PRESSURE, MEMORY_PRESSURE, PID_PRESSURE, UNSCHEDULABLE] {
        add(tolerate(key, TaintEffect::NoSchedule));
    }
    if set.template.spec.host_network {
        add(tolerate(NETWORK_UNAVAILABLE, TaintEffect::NoSchedule));
    }
    tolerations
}

/// Whether a pod should be started on the node, and whether one that is there should stay.
fn node_should_run(set: &DaemonSet, tolerations: &[Toleration], node: &Node) -> (bool, bool) {
    let spec = &set.template.spec;
    let labels = &node.meta.labels;
    let selected = spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec.affinity.as_ref().and_then(|affinity| affinity.node_required.as_ref());
    if !selected || required.is_some_and(|required| !required.matches(node.meta.name, labels)) {
        return (false, false);
    }
    let bears = |effects: &[TaintEffect]| taint::first_untolerated(&node.spec.taints, tolerations, effects).is_none();
    (bears(&[TaintEffect::NoSchedule, TaintEffect::NoExecute]), bears(&[TaintEffect::NoExecute]))
}

/// The node that a pod is on, or is meant for.
fn node_of(pod: &Pod) -> Option<Name> {
    pod.node.or_else(|| {
        let affinity = pod.spec.affinity.as_ref()?;
        let term = affinity.node_required.as_ref()?.terms.first()?;
        term.fields.iter().find(|field| field.key == *"metadata.name")?.values.first().copied()
    })
}

fn is_updated(pod: &Pod, hash: Name) -> bool {
    pod.meta.labels.get(Name::new(REVISION_LABEL)) == Some(hash)
}

fn new_pod(set: &DaemonSet, tolerations: &[Toleration], node: Name, revision: &ControllerRevision) -> Pod {
    let mut pod = pod_from_template(Kind::DaemonSet, &set.meta, &set.template);
    let hash = hash_of(revision);
    pod.meta.labels = Labels::new(pod.meta.labels.iter().chain([(Name::new(REVISION_LABEL), hash)]));
    let only = NodeSelectorRequirement {
        key: Name::new("metadata.name"),
        operator: crate::model::affinity::NodeSelectorOperator::In,
        values: vec![node],
    };
    let term = NodeSelectorTerm { expressions: Vec::new(), fields: vec![only] };
    let template = pod.spec.affinity.as_deref().cloned().unwrap_or_default();
    let affinity = Affinity { node_required: Some(NodeSelector { terms: vec![term] }), ..template };
    pod.spec =
        Arc::new(PodSpec { affinity: Some(affinity.into()), tolerations: tolerations.into(), ..(*pod.spec).clone() });
    pod
}

/// The value of the pods' hash label: the revision's name without the DaemonSet's.
fn hash_of(revision: &ControllerRevision) -> Name {
    revision.meta.labels.get(Name::new(REVISION_LABEL)).unwrap_or(revision.meta.name)
}

impl Known {
    /// The pods on a node that matter; those that are being deleted and have ended don't.
    fn pods<'a>(&'a self, namespace: Name, node: Name, cx: &'a Context<'_>) -> impl Iterator<Item = &'a Arc<Pod>> {
        let names = self.nodes.get(&node).into_iter().flat_map(|view| &view.pods);
        let pods = names.filter_map(move |&name| cx.cache.pod(namespace, name));
        pods.filter(|pod| !(pod.is_terminating() && pod.status.phase.is_terminal()))
    }

    /// Looks at the changed nodes and brings the totals up to date.
    fn refresh(&mut self, set: &DaemonSet, cx: &mut Context<'_>) {
        let key = set.meta.key(Kind::DaemonSet);
        for name in std::mem::take(&mut self.changed) {
            let node = cx.cache.node(name);
            let (runs, _) = node.map_or((false, false), |node| node_should_run(set, &self.tolerations, node));
            let mut counted = Totals { desired: i32::from(runs), ..Totals::default() };
            let oldest =
                self.pods(set.meta.namespace, name, cx).min_by_key(|pod| (pod.meta.created, pod.meta.uid)).cloned();
            counted.old = self
                .pods(set.meta.namespace, name, cx)
                .filter(|pod| !pod.is_terminating() && !is_updated(pod, self.hash))
                .count() as i32;
            if let Some(pod) = oldest {
                if runs {
                    counted.current = 1;
                    counted.ready = i32::from(pod.is_ready());
                    counted.available = i32::from(pod.is_available(cx.now, set.min_ready));
                    counted.updated = i32::from(is_updated(&pod, self.hash));
                    if counted.ready > counted.available
                        && let Some(ready) = condition::find(&pod.status.conditions, "Ready")
                    {
                        self.unmanaged.insert(name);
                        cx.enqueue_at(key, ready.last_transition.truncated_to_second() + set.min_ready);
                    }
                } else if node.is_some() {
                    counted.misscheduled = 1;
                }
            }
            let view = self.nodes.entry(name).or_default();
            self.totals.add(view.counted, -1);
            self.totals.add(counted, 1);
            view.counted = counted;
            if node.is_none() && view.pods.is_empty() {
                self.nodes.remove(&name);
            }
            self.unmanaged.insert(name);
        }
    }

    /// What is to be made and deleted so that each node has what it should.
    fn manage(&mut self, set: &Arc<DaemonSet>, cx: &mut Context<'_>) -> Plan {
        let mut plan = Plan::default();
        let surges =
            matches!(set.update, DaemonSetUpdate::RollingUpdate { max_surge, .. } if max_surge.rounded_up(100) > 0);
        for name in std::mem::take(&mut self.unmanaged) {
            let Some(node) = cx.cache.node(name).cloned() else { continue };
            let (runs, stays) = node_should_run(set, &self.tolerations, &node);
            let mut pods: Vec<Arc<Pod>> = self.pods(set.meta.namespace, name, cx).cloned().collect();
            pods.sort_by_key(|pod| (pod.node.is_none(), pod.meta.created, pod.meta.uid));
            if runs && pods.is_empty() {
                plan.create_on.push(name);
            } else if !stays {
                plan.delete.extend(pods.into_iter().filter(|pod| !pod.is_terminating()));
            } else {
                let (ended, running): (Vec<_>, Vec<_>) = pods
                    .into_iter()
                    .filter(|pod| !pod.is_terminating())
                    .partition(|pod| pod.status.phase.is_terminal());
                for pod in ended {
                    if self.may_delete(set, &pod, name, cx) {
                        plan.delete.push(pod);
                    }
                }
                let (updated, old): (Vec<_>, Vec<_>) =
                    running.into_iter().partition(|pod| surges && is_updated(pod, self.hash));
                plan.delete.extend(updated.into_iter().skip(1));
                plan.delete.extend(old.into_iter().skip(1));
            }
        }
        for name in plan.create_on.split_off(plan.create_on.len().min(BURST_REPLICAS)) {
            self.unmanaged.insert(name);
        }
        plan
    }

    /// Says that a pod has ended, and whether it may be deleted yet.
    fn may_delete(&mut self, set: &Arc<DaemonSet>, pod: &Pod, node: Name, cx: &mut Context<'_>) -> bool {
        let object = Object::DaemonSet(set.clone());
        let full_name = pod.full_name();
        if pod.status.phase == Phase::Succeeded {
            let text = format!("Found succeeded daemon pod {full_name} on node {node}, will try to delete it");
            cx.normal(&object, "SucceededDaemonPod", text);
            return true;
        }
        let (failures, until) = self.failures.get(&node).copied().unwrap_or_default();
        if cx.now < until {
            self.changed.insert(node);
            cx.enqueue_at(set.meta.key(Kind::DaemonSet), until);
            return false;
        }
        let wait = Duration::from_nanos(FAILED_POD_BACKOFF.as_nanos() << failures.min(10)).min(LONGEST_BACKOFF);
        self.failures.insert(node, (failures + 1, cx.now + wait));
        let text = format!("Found failed daemon pod {full_name} on node {node}, will try to kill it");
        cx.warning(&object, "FailedDaemonPod", text);
        true
    }

    /// The next step of a rolling update.
    fn update(&self, set: &DaemonSet, cx: &Context<'_>) -> Plan {
        let mut plan = Plan::default();
        let DaemonSetUpdate::RollingUpdate { max_unavailable, max_surge } = set.update else { return plan };
        if self.totals.old == 0 {
            return plan;
        }
        let surge = max_surge.rounded_up(self.totals.desired);
        let unavailable = max_unavailable.rounded_up(self.totals.desired);
        let available = |pod: &Pod| pod.is_available(cx.now, set.min_ready);
        let (mut used, mut candidates, mut spare_nodes) = (0, Vec::new(), Vec::new());
        for (&name, view) in &self.nodes {
            let mut pods = self.pods(set.meta.namespace, name, cx).peekable();
            if view.counted.desired == 0 && pods.peek().is_none() {
                continue;
            }
            let (new, old): (Vec<_>, Vec<_>) =
                pods.filter(|pod| !pod.is_terminating()).partition(|pod| is_updated(pod, self.hash));
            match (&new[..], &old[..], surge > 0) {
                ([new], [], false) => used += i32::from(!available(new)),
                ([], [old], false) if !available(old) => {
                    used += 1;
                    plan.delete.push((*old).clone());
                }
                ([], [old], false) => candidates.push((*old).clone()),
                (_, _, false) => used += 1,
                (_, [], true) => {}
                ([], [old], true) if !available(old) => plan.create_on.push(name),
                ([], [_], true) => spare_nodes.push(name),
                ([new], [old], true) if available(new) => plan.delete.push((*old).clone()),
                (_, _, true) => used += 1,
            }
        }
        let budget = if surge > 0 { surge } else { unavailable };
        let left = (budget - used).max(0) as usize;
        candidates.truncate(left);
        spare_nodes.truncate(left);
        plan.delete.extend(candidates);
        plan.create_on.extend(spare_nodes);
        plan
    }

    fn status(&self, set: &DaemonSet) -> DaemonSetStatus {
        let totals = self.totals;
        DaemonSetStatus {
            current_scheduled: totals.current,
            misscheduled: totals.misscheduled,
            desired_scheduled: totals.desired,
            ready: totals.ready,
            updated_scheduled: totals.updated,
            available: totals.available,
            unavailable: totals.desired - totals.available,
            observed_generation: set.meta.generation,
            collision_count: set.status.collision_count,
            conditions: set.status.conditions.clone(),
        }
    }
}

impl DaemonSetController {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new.or(old) else { return };
        let Some(owner) = pod.meta.owner.filter(|owner| owner.kind == Kind::DaemonSet) else { return };
        if change.deletion_begins() {
            self.expectations.deleted(owner.uid, pod.meta.uid);
        } else if old.is_none() {
            self.expectations.created(owner.uid);
        }
        let Some(key) = cx.cache.key_of(owner.uid) else { return };
        let known = self.sets.entry(key).or_default();
        if let Some(node) = node_of(pod) {
            let pods = &mut known.nodes.entry(node).or_default().pods;
            if new.is_some() {
                pods.insert(pod.meta.name);
            } else {
                pods.remove(&pod.meta.name);
            }
            known.changed.insert(node);
        }
        cx.enqueue(key);
    }

    fn observe_node(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.nodes();
        if let (Some(old), Some(new)) = (old, new)
            && old.meta.labels == new.meta.labels
            && old.spec.taints == new.spec.taints
        {
            return;
        }
        let name = change.key().name;
        let mut keys: Vec<Key> = cx.cache.keys(Kind::DaemonSet).collect();
        keys.sort();
        for key in keys {
            let Some(set) = cx.cache.daemon_set(key.namespace, key.name).cloned() else { continue };
            let known = self.sets.entry(key).or_default();
            let verdict = |node: Option<&Arc<Node>>| node.map(|node| node_should_run(&set, &known.tolerations, node));
            if verdict(old) != verdict(new) {
                known.changed.insert(name);
                cx.enqueue(key);
            }
        }
    }

    fn observe_set(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let key = change.key();
        let Some(Object::DaemonSet(set)) = change.new else {
            self.sets.remove(&key);
            self.expectations.forget(change.object().meta().uid);
            return;
        };
        if change.old.is_none_or(|old| old.meta().generation != set.meta.generation) {
            let known = self.sets.entry(key).or_default();
            known.tolerations = tolerations_of(set);
            known.failures.clear();
            known.changed = cx.cache.nodes().map(|node| node.meta.name).chain(known.nodes.keys().copied()).collect();
        }
        cx.enqueue(key);
    }

    fn begin(&mut self, key: Key, set: Arc<DaemonSet>, cx: &mut Context<'_>) -> Progress {
        let revisions = revisions::of(cx.cache, set.meta.uid);
        let collisions = set.status.collision_count;
        let (revision, call) =
            revisions::of_template(&revisions, Kind::DaemonSet, &set.meta, &set.template, collisions);
        let mut sync = Sync {
            set: set.clone(),
            revision: revision.clone(),
            batches: SlowStart::new(0),
            create_on: Vec::new(),
            stage: Stage::Revision,
            failed: false,
        };
        if let Some(call) = call {
            cx.request(call);
            self.syncs.insert(key, sync);
            return Progress::Wait;
        }
        let known = self.sets.entry(key).or_default();
        let hash = hash_of(&revision);
        if known.hash != hash {
            known.hash = hash;
            known.changed.extend(known.nodes.keys().copied());
        }
        known.refresh(&set, cx);
        if !self.expectations.are_met(set.meta.uid, cx.now) || set.meta.deletion.is_some() {
            return self.write_status(key, sync, cx);
        }
        let plan = known.manage(&set, cx);
        if plan.create_on.is_empty() && plan.delete.is_empty() {
            return self.update(key, sync, cx);
        }
        sync.stage = Stage::Managing(Vec::new());
        self.act(key, sync, plan, cx)
    }

    fn update(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        let known = self.sets.entry(key).or_default();
        let plan = known.update(&sync.set, cx);
        if plan.create_on.is_empty() && plan.delete.is_empty() {
            return self.write_status(key, sync, cx);
        }
        sync.stage = Stage::Updating(Vec::new());
        self.act(key, sync, plan, cx)
    }

    /// Sends the deletions and the first batch of creations.
    fn act(&mut self, key: Key, mut sync: Sync, mut plan: Plan, cx: &mut Context<'_>) -> Progress {
        plan.delete.truncate(BURST_REPLICAS);
        let uid = sync.set.meta.uid;
        self.expectations.expect_deletions(uid, plan.delete.iter().map(|pod| pod.meta.uid).collect(), cx.now);
        self.expectations.creations_fell(uid, -(plan.create_on.len() as i32));
        plan.delete.iter().for_each(|pod| cx.request(delete_pod(pod)));
        sync.batches = SlowStart::new(plan.create_on.len());
        sync.create_on = plan.create_on;
        sync.stage = match sync.stage {
            Stage::Updating(_) => Stage::Updating(plan.delete),
            _ => Stage::Managing(plan.delete),
        };
        self.create_batch(&mut sync, cx);
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    fn create_batch(&mut self, sync: &mut Sync, cx: &mut Context<'_>) -> bool {
        let batch = sync.batches.next_batch();
        let tolerations = tolerations_of(&sync.set);
        for node in sync.create_on.drain(..batch) {
            let pod = new_pod(&sync.set, &tolerations, node, &sync.revision);
            cx.request(Call::Create(Object::Pod(pod.into())));
        }
        batch > 0
    }

    /// Tells of what was done; the nodes where it failed are looked at again.
    fn acted(&mut self, key: Key, sync: &mut Sync, deleted: &[Arc<Pod>], replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = Object::DaemonSet(sync.set.clone());
        let uid = sync.set.meta.uid;
        for (at, reply) in replies.into_iter().enumerate() {
            match (deleted.get(at), reply) {
                (Some(pod), Ok(_)) => cx.normal(&object, "SuccessfulDelete", format!("Deleted pod: {}", pod.meta.name)),
                (Some(pod), Err(error)) => {
                    self.expectations.deleted(uid, pod.meta.uid);
                    sync.failed |= error.reason != StatusReason::NotFound;
                }
                (None, Ok(Answer::Object(pod))) => {
                    cx.normal(&object, "SuccessfulCreate", format!("Created pod: {}", pod.meta().name));
                }
                (None, Ok(_)) => {}
                (None, Err(error)) => {
                    self.expectations.created(uid);
                    sync.failed = true;
                    if !namespace_terminates(&error) {
                        cx.warning(&object, "FailedCreate", format!("Error creating: {}", error.message));
                    }
                }
            }
        }
        if sync.failed {
            self.expectations.creations_fell(uid, sync.batches.abort() as i32);
            let known = self.sets.entry(key).or_default();
            known.changed.extend(known.nodes.keys().copied());
        }
    }

    fn write_status(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        let known = self.sets.entry(key).or_default();
        // What the cache has heard of meanwhile counts: pods that were just made.
        known.refresh(&sync.set, cx);
        let status = known.status(&sync.set);
        if status == sync.set.status {
            return if sync.failed { Progress::Retry } else { Progress::Done };
        }
        let updated = DaemonSet { status, ..(*sync.set).clone() };
        cx.request(Call::UpdateStatus(Object::DaemonSet(updated.into())));
        sync.stage = Stage::Status;
        self.syncs.insert(key, sync);
        Progress::Wait
    }
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn component(&self) -> &'static str {
        "daemonset-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Node, Kind::DaemonSet, Kind::ControllerRevision]
    }

    fn workers(&self) -> usize {
        2
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            Kind::Node => self.observe_node(change, cx),
            Kind::DaemonSet => self.observe_set(change, cx),
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(set) = cx.cache.daemon_set(key.namespace, key.name).cloned() else { return Progress::Done };
        self.begin(key, set, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some(mut sync) = self.syncs.remove(&key) else { return Progress::Done };
        match std::mem::replace(&mut sync.stage, Stage::Status) {
            // The watch of revisions brings it into the cache; then the sync begins anew.
            Stage::Revision => Progress::Retry,
            Stage::Managing(deleted) => {
                self.acted(key, &mut sync, &deleted, replies, cx);
                sync.stage = Stage::Managing(Vec::new());
                if !sync.failed && self.create_batch(&mut sync, cx) {
                    self.syncs.insert(key, sync);
                    return Progress::Wait;
                }
                // What was just made or deleted is awaited before the rolling update goes on.
                self.write_status(key, sync, cx)
            }
            Stage::Updating(deleted) => {
                self.acted(key, &mut sync, &deleted, replies, cx);
                sync.stage = Stage::Updating(Vec::new());
                if !sync.failed && self.create_batch(&mut sync, cx) {
                    self.syncs.insert(key, sync);
                    return Progress::Wait;
                }
                let live = sync.revision.meta.name;
                let revisions = revisions::of(cx.cache, sync.set.meta.uid);
                for (old, uid) in
                    revisions::beyond_history(&revisions, sync.set.revision_history_limit, |name| name == live)
                {
                    cx.post(Call::Delete(old, DeleteOptions { uid: Some(uid), ..DeleteOptions::default() }));
                }
                self.write_status(key, sync, cx)
            }
            Stage::Status if sync.failed || failed_other_than_gone(&replies) => Progress::Retry,
            Stage::Status => Progress::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app, node};
    use super::*;
    use crate::model::workload::IntOrPercent;
    use crate::model::{Meta, Taint};
    use crate::protocol::api::Patch;

    fn set(surge: i32) -> Object {
        let (selector, template) = app("app:1");
        let (max_unavailable, max_surge) = (IntOrPercent::Int(1 - surge), IntOrPercent::Int(surge));
        let set = DaemonSet {
            meta: Meta::named("default", "agent"),
            selector,
            template,
            update: DaemonSetUpdate::RollingUpdate { max_unavailable, max_surge },
            min_ready: Duration::ZERO,
            revision_history_limit: 10,
            status: DaemonSetStatus::default(),
        };
        Object::DaemonSet(set.into())
    }

    fn status(world: &World) -> DaemonSetStatus {
        match &world.objects[&Key::new(Kind::DaemonSet, "default", "agent")] {
            Object::DaemonSet(set) => set.status.clone(),
            _ => panic!("it is a DaemonSet"),
        }
    }

    fn nodes(world: &World) -> Vec<&'static str> {
        let mut nodes: Vec<&str> = world.pods().iter().filter_map(|pod| pod.node).map(Name::as_str).collect();
        nodes.sort();
        nodes
    }

    #[test]
    fn each_node_that_is_fit_gets_a_pod() {
        let objects = vec![node("n1", "a"), node("n2", "a"), node("n3", "a"), set(0)];
        let mut world = World::new(Config::default(), objects);
        let taint = Taint::new("dedicated", TaintEffect::NoSchedule);
        let patch = Patch::Taints { add: vec![taint.clone()], remove: vec![] };
        world.call(Call::Patch(Key::new(Kind::Node, "", "n2"), patch));
        world.run_until(10.0);
        assert_eq!(nodes(&world), ["n1", "n3"]);
        assert_eq!((status(&world).desired_scheduled, status(&world).ready), (2, 2));
        // A cordoned node and a new one are fit, and a taint that goes makes one fit.
        world.call(Call::Patch(Key::new(Kind::Node, "", "n3"), Patch::Unschedulable(true)));
        world.upsert(node("n4", "a"));
        world.call(Call::Patch(Key::new(Kind::Node, "", "n2"), Patch::Taints { add: vec![], remove: vec![taint] }));
        world.run_until(20.0);
        assert_eq!(nodes(&world), ["n1", "n2", "n3", "n4"]);
        assert_eq!(status(&world).desired_scheduled, 4);
        // NoSchedule leaves a pod where it is, misscheduled; NoExecute removes it.
        let add = |effect| Patch::Taints { add: vec![Taint::new("x", effect)], remove: vec![] };
        world.call(Call::Patch(Key::new(Kind::Node, "", "n1"), add(TaintEffect::NoSchedule)));
        world.call(Call::Patch(Key::new(Kind::Node, "", "n4"), add(TaintEffect::NoExecute)));
        world.run_until(30.0);
        assert_eq!(nodes(&world), ["n1", "n2", "n3"]);
        assert_eq!((status(&world).misscheduled, status(&world).desired_scheduled), (1, 2));
        world.run_until(100.0);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    fn roll(surge: i32) -> World {
        let mut world = World::new(Config::default(), vec![node("n1", "a"), node("n2", "a"), set(surge)]);
        world.run_until(10.0);
        assert_eq!(status(&world).available, 2);
        world.change(Key::new(Kind::DaemonSet, "default", "agent"), |object| {
            let Object::DaemonSet(set) = object else { panic!("it is a DaemonSet") };
            Arc::make_mut(set).template = app("app:2").1;
        });
        world.run_until(50.0);
        assert_eq!((status(&world).updated_scheduled, status(&world).available), (2, 2));
        world
    }

    /// The pods made (+) and deleted (~) by the update.
    fn signs(world: &World) -> String {
        let lines = world.texts("").into_iter().filter(|line| line.starts_with("+Pod") || line.starts_with("~Pod"));
        lines.skip(2).map(|line| line.chars().next().unwrap_or(' ')).collect()
    }

    #[test]
    fn an_update_replaces_one_node_after_the_other() {
        let world = roll(0);
        assert_eq!(signs(&world), "~+~+");
        let (deleted, made) = (world.times("~Pod"), world.times("+Pod"));
        assert!(made[2] - deleted[0] > 0.9 && made[2] - deleted[0] < 1.2, "when the old pod is terminal");
        assert!(deleted[1] - made[2] > 4.9, "when the new pod is ready");
    }

    #[test]
    fn an_update_with_surge_makes_the_new_pod_first() {
        assert_eq!(signs(&roll(1)), "+~+~");
    }
}
