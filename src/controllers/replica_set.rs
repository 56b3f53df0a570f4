//! ReplicaSet and ReplicationController: keeps as many pods of a template as are wanted.
//!
//! A user meets it as the thing under a Deployment that makes and deletes pods: `SuccessfulCreate`, `SuccessfulDelete`,
//! and `FailedCreate` when a quota or an admission refuses them. Example: `kubectl scale rs/web --replicas=5`.
//!
//! Kubernetes: pkg/controller/replicaset/replica_set.go, replica_set_utils.go. `fullyLabeledReplicas` is taken to be the
//! number of replicas: adopted pods without some label of the template are counted too.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::kernel::Time;
use crate::model::workload::{ReplicaSet, ReplicaSetStatus};
use crate::model::{Condition, ConditionStatus, Key, Kind, Name, Object, Pod, Text, Uid, condition};
use crate::protocol::api::{Answer, Call, Patch, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::{
    BURST_REPLICAS, SlowStart, adoptions, count_by_node, delete_pod, in_deletion_order, pod_from_template,
};
use super::workqueue::Expectations;

/// The controller of ReplicaSets, or of ReplicationControllers.
#[derive(Debug)]
pub struct ReplicaSetController {
    kind: Kind,
    expectations: Expectations,
    /// Sets that may have ownerless pods to adopt.
    may_adopt: FxHashSet<Key>,
    /// Pods whose labels the set's selector does not match any more.
    to_release: FxHashMap<Key, Vec<Key>>,
    syncs: FxHashMap<Key, Sync>,
}

/// A sync that waits for answers.
#[derive(Debug)]
struct Sync {
    set: Arc<ReplicaSet>,
    /// As counted at the sync's start.
    status: ReplicaSetStatus,
    stage: Stage,
    failure: Option<(&'static str, Text)>,
}

#[derive(Debug)]
enum Stage {
    /// Labels and owners are being put right; the sync begins anew afterwards.
    Claiming,
    Creating(SlowStart),
    Deleting(Vec<Arc<Pod>>),
    Status,
    /// The status was refused, because the set has changed; it is read, and the status written once more.
    Reading,
    LastStatus,
}

impl ReplicaSetController {
    /// The controller for `kind`, one of the two.
    pub fn new(kind: Kind) -> ReplicaSetController {
        ReplicaSetController {
            kind,
            expectations: Expectations::default(),
            may_adopt: FxHashSet::default(),
            to_release: FxHashMap::default(),
            syncs: FxHashMap::default(),
        }
    }

    fn object(&self, set: &Arc<ReplicaSet>) -> Object {
        match self.kind {
            Kind::ReplicationController => Object::ReplicationController(set.clone()),
            _ => Object::ReplicaSet(set.clone()),
        }
    }

    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new.or(old) else { return };
        let Some(owner) = pod.meta.owner else {
            if let Some(pod) = new {
                self.observe_orphan(pod, cx);
            }
            return;
        };
        if owner.kind != self.kind {
            return;
        }
        if change.deletion_begins() {
            self.expectations.deleted(owner.uid, pod.meta.uid);
        } else if old.is_none() {
            self.expectations.created(owner.uid);
        }
        let Some(key) = cx.cache.key_of(owner.uid) else { return };
        if let (Some(old), Some(new)) = (old, new)
            && old.meta.labels != new.meta.labels
            && cx.cache.replica_set(key).is_some_and(|set| !set.selector.matches(&new.meta.labels))
        {
            self.to_release.entry(key).or_default().push(new.meta.key(Kind::Pod));
        }
        cx.enqueue(key);
    }

    fn observe_orphan(&mut self, pod: &Pod, cx: &mut Context<'_>) {
        if !pod.is_active() || pod.meta.labels.is_empty() {
            return;
        }
        let sets = cx.cache.list(self.kind, pod.meta.namespace).map(Object::key);
        let matching = |key: &Key| {
            let set = cx.cache.replica_set(*key);
            set.is_some_and(|set| !set.selector.is_empty() && set.selector.matches(&pod.meta.labels))
        };
        let sets: Vec<Key> = sets.filter(matching).collect();
        for key in sets {
            self.may_adopt.insert(key);
            cx.enqueue(key);
        }
    }

    /// Adopts and releases pods; true if that needs requests.
    fn claim(&mut self, key: Key, set: &ReplicaSet, cx: &mut Context<'_>) -> bool {
        let mut calls = Vec::new();
        if self.may_adopt.remove(&key) {
            calls = adoptions(cx.cache, self.kind, &set.meta, &set.selector);
        }
        for pod in self.to_release.remove(&key).unwrap_or_default() {
            let released = cx
                .cache
                .get(pod)
                .is_some_and(|pod| pod.meta().is_owned_by(set.meta.uid) && !set.selector.matches(&pod.meta().labels));
            if released {
                calls.push(Call::Patch(pod, Patch::Owner(None)));
            }
        }
        let any = !calls.is_empty();
        calls.into_iter().for_each(|call| cx.request(call));
        any
    }

    /// Counts the set's pods, and has the set looked at again when the next pod becomes available.
    fn count(&self, key: Key, set: &ReplicaSet, cx: &mut Context<'_>) -> ReplicaSetStatus {
        let tally = cx.cache.tally(set.meta.uid);
        let mut available = tally.ready;
        if !set.min_ready.is_zero() {
            let mut next: Option<Time> = None;
            available = 0;
            for pod in cx.cache.pods_of(set.meta.uid).filter(|pod| pod.is_active() && pod.is_ready()) {
                if pod.is_available(cx.now, set.min_ready) {
                    available += 1;
                } else if let Some(ready) = condition::find(&pod.status.conditions, "Ready") {
                    let at = ready.last_transition.truncated_to_second() + set.min_ready;
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
            if let Some(at) = next {
                cx.enqueue_at(key, at);
            }
        }
        ReplicaSetStatus {
            replicas: tally.active,
            fully_labeled: tally.active,
            ready: tally.ready,
            available,
            terminating: tally.terminating,
            observed_generation: set.meta.generation,
            conditions: set.status.conditions.clone(),
        }
    }

    fn create_batch(&mut self, sync: &mut Sync, cx: &mut Context<'_>) -> bool {
        let Stage::Creating(slow_start) = &mut sync.stage else { return false };
        let batch = slow_start.next_batch();
        for _ in 0..batch {
            let pod = pod_from_template(self.kind, &sync.set.meta, &sync.set.template);
            cx.request(Call::Create(Object::Pod(pod.into())));
        }
        batch > 0
    }

    fn delete_surplus(&mut self, set: &Arc<ReplicaSet>, count: usize, cx: &mut Context<'_>) -> Stage {
        let active: Vec<Arc<Pod>> = cx.cache.pods_of(set.meta.uid).filter(|pod| pod.is_active()).cloned().collect();
        let mut victims = if count >= active.len() {
            let mut all = active;
            all.sort_by_key(|pod| pod.meta.uid);
            all
        } else {
            let related = related_pods_by_node(set, cx);
            let rank = |pod: &Pod| pod.node.and_then(|node| related.get(&node).copied()).unwrap_or(0);
            in_deletion_order(active, cx.now, rank)
        };
        victims.truncate(count);
        let uids: Vec<Uid> = victims.iter().map(|pod| pod.meta.uid).collect();
        self.expectations.expect_deletions(set.meta.uid, uids, cx.now);
        victims.iter().for_each(|pod| cx.request(delete_pod(pod)));
        Stage::Deleting(victims)
    }

    fn created(&mut self, sync: &mut Sync, replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = self.object(&sync.set);
        for reply in replies {
            match reply {
                Ok(Answer::Object(pod)) => {
                    cx.normal(&object, "SuccessfulCreate", format!("Created pod: {}", pod.meta().name));
                }
                Ok(_) => {}
                Err(status) => {
                    self.expectations.created(sync.set.meta.uid);
                    if !namespace_terminates(&status) {
                        cx.warning(&object, "FailedCreate", format!("Error creating: {}", status.message));
                    }
                    sync.failure = Some(("FailedCreate", status.message));
                }
            }
        }
        if sync.failure.is_some()
            && let Stage::Creating(slow_start) = &mut sync.stage
        {
            self.expectations.creations_fell(sync.set.meta.uid, slow_start.abort() as i32);
        }
    }

    fn deleted(&mut self, sync: &mut Sync, victims: &[Arc<Pod>], replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = self.object(&sync.set);
        for (pod, reply) in victims.iter().zip(replies) {
            match reply {
                Ok(_) => cx.normal(&object, "SuccessfulDelete", format!("Deleted pod: {}", pod.meta.name)),
                Err(status) => {
                    self.expectations.deleted(sync.set.meta.uid, pod.meta.uid);
                    if status.reason != StatusReason::NotFound {
                        cx.warning(&object, "FailedDelete", format!("Error deleting: {}", status.message));
                        sync.failure = Some(("FailedDelete", status.message));
                    }
                }
            }
        }
    }

    /// Writes the status, if it is not what is stored.
    fn write_status(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        let conditions = &mut sync.status.conditions;
        match &sync.failure {
            Some((reason, message)) => {
                if !condition::is_true(conditions, "ReplicaFailure") {
                    conditions.push(Condition {
                        kind: Name::new("ReplicaFailure"),
                        status: ConditionStatus::True,
                        reason: Name::new(reason),
                        message: message.clone(),
                        last_transition: cx.now,
                        last_update: cx.now,
                    });
                }
            }
            None => conditions.retain(|condition| condition.kind != *"ReplicaFailure"),
        }
        let Some(current) = cx.cache.replica_set(key) else { return Progress::Done };
        if current.meta.uid != sync.set.meta.uid || current.status == sync.status {
            return if sync.failure.is_some() { Progress::Retry } else { Progress::Done };
        }
        let updated = ReplicaSet { status: sync.status.clone(), ..(**current).clone() };
        let object = self.object(&Arc::new(updated));
        sync.stage = Stage::Status;
        cx.request(Call::UpdateStatus(object));
        self.syncs.insert(key, sync);
        Progress::Wait
    }
}

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::ReplicationController => "replicationcontroller-controller",
            _ => "replicaset-controller",
        }
    }

    fn component(&self) -> &'static str {
        match self.kind {
            Kind::ReplicationController => "replication-controller",
            _ => "replicaset-controller",
        }
    }

    fn kinds(&self) -> &'static [Kind] {
        match self.kind {
            Kind::ReplicationController => &[Kind::Pod, Kind::ReplicationController],
            _ => &[Kind::Pod, Kind::ReplicaSet],
        }
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        if change.kind() == Kind::Pod {
            return self.observe_pod(change, cx);
        }
        let key = change.key();
        let meta = change.object().meta();
        if change.new.is_none() {
            self.expectations.forget(meta.uid);
            self.may_adopt.remove(&key);
            self.to_release.remove(&key);
        } else if change.old.is_none_or(|old| old.meta().generation != meta.generation) {
            self.may_adopt.insert(key);
        }
        cx.enqueue(key);
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        // A stale set comes again with the event that makes it fresh.
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(set) = cx.cache.replica_set(key).cloned() else { return Progress::Done };
        let may_manage = self.expectations.are_met(set.meta.uid, cx.now);
        let status = self.count(key, &set, cx);
        let mut sync = Sync { set: set.clone(), status, stage: Stage::Claiming, failure: None };
        if self.claim(key, &set, cx) {
            self.syncs.insert(key, sync);
            return Progress::Wait;
        }
        let surplus = sync.status.replicas - set.replicas;
        if may_manage && set.meta.deletion.is_none() && surplus != 0 {
            let count = (surplus.unsigned_abs() as usize).min(BURST_REPLICAS);
            if surplus < 0 {
                self.expectations.expect_creations(set.meta.uid, count as i32, cx.now);
                sync.stage = Stage::Creating(SlowStart::new(count));
                self.create_batch(&mut sync, cx);
            } else {
                sync.stage = self.delete_surplus(&set, count, cx);
            }
            self.syncs.insert(key, sync);
            return Progress::Wait;
        }
        self.write_status(key, sync, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some(mut sync) = self.syncs.remove(&key) else { return Progress::Done };
        match &sync.stage {
            Stage::Claiming => {
                cx.enqueue(key);
                Progress::Done
            }
            Stage::Creating(_) => {
                self.created(&mut sync, replies, cx);
                if self.create_batch(&mut sync, cx) {
                    self.syncs.insert(key, sync);
                    return Progress::Wait;
                }
                self.write_status(key, sync, cx)
            }
            Stage::Deleting(victims) => {
                let victims = victims.clone();
                self.deleted(&mut sync, &victims, replies, cx);
                self.write_status(key, sync, cx)
            }
            Stage::Status if is_conflict(&replies) => {
                // As it is now; the numbers are those of this sync (`statusUpdateRetries` is 1).
                sync.stage = Stage::Reading;
                cx.request(Call::Get(key));
                self.syncs.insert(key, sync);
                Progress::Wait
            }
            Stage::Reading => {
                let set = match (self.kind, replies.into_iter().next()) {
                    (Kind::ReplicaSet, Some(Ok(Answer::Object(Object::ReplicaSet(set))))) => set,
                    (_, Some(Ok(Answer::Object(Object::ReplicationController(set))))) => set,
                    _ => return Progress::Retry,
                };
                if set.meta.uid != sync.set.meta.uid {
                    return Progress::Done;
                }
                let updated = ReplicaSet { status: sync.status.clone(), ..(*set).clone() };
                sync.stage = Stage::LastStatus;
                cx.request(Call::UpdateStatus(self.object(&Arc::new(updated))));
                self.syncs.insert(key, sync);
                Progress::Wait
            }
            Stage::Status | Stage::LastStatus => {
                if sync.failure.is_some() || failed_other_than_gone(&replies) {
                    Progress::Retry
                } else {
                    Progress::Done
                }
            }
        }
    }
}

/// True if the object had changed meanwhile.
fn is_conflict(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| reply.as_ref().is_err_and(|status| status.reason == StatusReason::Conflict))
}

/// True if a reply is an error, other than that the object is gone.
pub fn failed_other_than_gone(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| reply.as_ref().is_err_and(|status| status.reason != StatusReason::NotFound))
}

/// True for the refusal to create in a namespace that is being deleted, of which no Event is made.
pub fn namespace_terminates(status: &crate::protocol::api::Status) -> bool {
    status.reason == StatusReason::Forbidden && status.message.contains("because it is being terminated")
}

/// The active pods of all ReplicaSets with the same owner, by node.
fn related_pods_by_node(set: &ReplicaSet, cx: &Context<'_>) -> FxHashMap<Name, usize> {
    match set.meta.owner {
        None => count_by_node(cx.cache.pods_of(set.meta.uid)),
        Some(owner) => {
            let siblings = cx.cache.replica_sets_of(owner.uid);
            count_by_node(siblings.flat_map(|sibling| cx.cache.pods_of(sibling.meta.uid)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app, set_ready};
    use super::*;
    use crate::kernel::Duration;
    use crate::model::Meta;
    use crate::model::pod::ContainerStatus;

    fn set(replicas: i32) -> Object {
        let (selector, template) = app("app:1");
        let meta = Meta::named("default", "rs");
        Object::ReplicaSet(ReplicaSet { meta, replicas, selector, template, ..ReplicaSet::default() }.into())
    }

    fn scale(world: &mut World, replicas: i32) {
        world.change(Key::new(Kind::ReplicaSet, "default", "rs"), |object| {
            let Object::ReplicaSet(set) = object else { panic!("it is a ReplicaSet") };
            Arc::make_mut(set).replicas = replicas;
        });
    }

    fn status(world: &World) -> ReplicaSetStatus {
        match &world.objects[&Key::new(Kind::ReplicaSet, "default", "rs")] {
            Object::ReplicaSet(set) => set.status.clone(),
            _ => panic!("it is a ReplicaSet"),
        }
    }

    #[test]
    fn sixty_pods_are_made_in_a_burst_of_30_and_then_20_a_second() {
        let mut world = World::new(Config::default(), vec![set(60)]);
        world.run_until(10.0);
        let times = world.times("+Pod");
        assert_eq!(times.len(), 60);
        assert!(times[29] < 0.3, "{times:?}");
        assert!(times[30] > times[29] && times[59] > 1.4 && times[59] < 1.9, "{times:?}");
        assert_eq!((status(&world).replicas, status(&world).ready), (60, 60));
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
        scale(&mut world, 10);
        world.run_until(20.0);
        let deletions = world.times("~Pod");
        assert_eq!(deletions.len(), 50);
        assert!(deletions[28] < 10.1 && deletions[49] > 10.9 && deletions[49] < 11.3, "{deletions:?}");
    }

    #[test]
    fn pods_are_made_in_batches_of_1_2_4_and_a_refusal_ends_it() {
        let mut world = World::new(Config::default(), vec![set(7)]);
        world.run_until(1.0);
        let mut times = world.times("+Pod");
        assert_eq!(times.len(), 7);
        times.dedup();
        assert_eq!(times.len(), 3, "three batches");
        let mut world = World::new(Config::default(), vec![set(100)]);
        world.quota = Some(2);
        world.run_until(0.02);
        assert_eq!(world.texts("+Pod").len(), 2);
        assert_eq!(world.texts("FailedCreate"), ["FailedCreate Error creating: exceeded quota"]);
        world.run_until(2.0);
        assert!(condition::is_true(&status(&world).conditions, "ReplicaFailure"));
        world.quota = None;
        world.run_until(60.0);
        assert_eq!(status(&world).ready, 100);
        assert!(!condition::is_true(&status(&world).conditions, "ReplicaFailure"));
    }

    #[test]
    fn the_cost_of_a_pod_does_not_grow_with_the_set() {
        let per_pod = |replicas: i32| {
            let mut world = World::new(Config::default(), vec![set(replicas)]);
            world.run_until(1000.0);
            assert_eq!(status(&world).ready, replicas);
            world.handled / replicas as usize
        };
        let (small, large) = (per_pod(100), per_pod(5000));
        assert!(large <= small + 1 && large < 15, "{small} messages a pod, then {large}");
    }

    #[test]
    fn a_failed_pod_is_replaced_and_stays() {
        let mut world = World::new(Config::default(), vec![set(1)]);
        world.kubelet.exits = Some((Duration::from_secs(20), 1));
        world.run_until(25.0);
        let phases: Vec<_> = world.pods().iter().map(|pod| pod.status.phase.as_str()).collect();
        assert_eq!(phases, ["Failed", "Running"]);
    }

    #[test]
    fn a_matching_pod_without_owner_is_adopted() {
        let (_, template) = app("app:1");
        let meta = Meta { labels: template.labels.clone(), ..Meta::named("default", "bare") };
        let bare = Object::Pod(Pod { meta, spec: template.spec.clone(), ..Pod::default() }.into());
        let mut world = World::new(Config::default(), vec![bare, set(2)]);
        world.run_until(10.0);
        let owners: Vec<_> = world.pods().iter().map(|pod| pod.meta.owner.map(|owner| owner.name.as_str())).collect();
        assert_eq!(owners, [Some("rs"), Some("rs")]);
    }

    /// A pod with this name, node, readiness (since when), restarts and cost.
    fn pod(name: &str, node: &str, ready: Option<u64>, restarts: u32, cost: &str, created: u64) -> Arc<Pod> {
        let mut pod = Pod { meta: Meta::named("default", name), ..Pod::default() };
        pod.meta.uid = Uid(created + 1);
        pod.meta.created = Time::from_secs(created);
        pod.node = (!node.is_empty()).then(|| Name::new(node));
        pod.status.phase = if node.is_empty() { crate::model::Phase::Pending } else { crate::model::Phase::Running };
        if let Some(since) = ready {
            set_ready(&mut pod, Time::from_secs(since), true);
        }
        pod.status.containers.push(ContainerStatus {
            name: Name::new("main"),
            state: crate::model::ContainerState::Running { started_at: crate::kernel::Moment::ZERO },
            last_terminated: None,
            ready: true,
            started: None,
            restart_count: restarts,
            image: Name::default(),
            container_id: 0,
            runtime_id: Name::default(),
            image_id: Name::default(),
        });
        if !cost.is_empty() {
            let key = Name::new("controller.kubernetes.io/pod-deletion-cost");
            pod.meta.annotations = pod.meta.annotations.with(key, Name::new(cost));
        }
        pod.into()
    }

    #[test]
    fn deletion_ranks_unassigned_unready_cheap_crowded_young_restarted() {
        let pods = vec![
            pod("old", "a", Some(10), 0, "", 5),
            pod("restarted", "a", Some(10), 3, "", 6),
            pod("young", "a", Some(900), 0, "", 890),
            pod("crowded", "b", Some(10), 0, "", 7),
            pod("cheap", "a", Some(10), 0, "-5", 8),
            pod("unready", "a", None, 0, "", 9),
            pod("unassigned", "", None, 0, "", 10),
        ];
        let rank = |pod: &Pod| usize::from(pod.node == Some(Name::new("b"))) * 5;
        let order = in_deletion_order(pods, Time::from_secs(1000), rank);
        let names: Vec<&str> = order.iter().map(|pod| pod.meta.name.as_str()).collect();
        assert_eq!(names, ["unassigned", "unready", "cheap", "crowded", "young", "restarted", "old"]);
    }
}
