//! StatefulSet: pods with names and volumes of their own, made and replaced in order.
//!
//! A user meets it as `db-0`, `db-1`, …: each is started when the one before is ready, and an update goes from the highest
//! ordinal down. Example: `kubectl rollout restart statefulset/db`.
//!
//! Kubernetes: pkg/controller/statefulset/stateful_set_control.go. `maxUnavailable` is read only for Parallel sets to stop
//! at one, as its gate is off; the retention policy of claims and hostnames are not modelled; an owner's labels that drift
//! are not repaired.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::pod::{PodSpec, Volume, VolumeSource};
use crate::model::storage::PersistentVolumeClaim;
use crate::model::workload::{ControllerRevision, StatefulSet, StatefulSetStatus, StatefulSetUpdate};
use crate::model::{Key, Kind, Labels, Meta, Name, Object, Phase, Pod, condition};
use crate::protocol::api::{Answer, Call, DeleteOptions, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::{SlowStart, delete_pod, pod_from_template};
use super::replica_set::{failed_other_than_gone, namespace_terminates};
use super::revisions::{self, REVISION_LABEL};

/// The StatefulSet controller.
#[derive(Debug, Default)]
pub struct StatefulSetController {
    syncs: FxHashMap<Key, Sync>,
}

/// A sync that waits for answers.
#[derive(Debug)]
struct Sync {
    set: Arc<StatefulSet>,
    status: StatefulSetStatus,
    /// What is to be done, in order; taken from the front in batches.
    actions: Vec<Action>,
    batches: SlowStart,
    stage: Stage,
    failed: bool,
}

#[derive(Clone, Debug)]
enum Action {
    Create { ordinal: i32, revision: Arc<ControllerRevision> },
    Delete(Arc<Pod>),
}

#[derive(Debug)]
enum Stage {
    Revision,
    /// The claims of the pods of this batch.
    Claims(Vec<Name>, Vec<Action>),
    Acting(Vec<Action>),
    Status,
}

fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    pod.meta.name.strip_prefix(set.meta.name.as_str())?.strip_prefix('-')?.parse().ok()
}

fn is_running_and_ready(pod: &Pod) -> bool {
    pod.status.phase == Phase::Running && pod.is_ready()
}

fn revision_of(pod: &Pod) -> Option<Name> {
    pod.meta.labels.get(Name::new(REVISION_LABEL))
}

fn pod_name(set: &StatefulSet, ordinal: i32) -> Name {
    Name::from(format!("{}-{ordinal}", set.meta.name))
}

fn claim_name(set: &StatefulSet, template: Name, ordinal: i32) -> Name {
    Name::from(format!("{template}-{}-{ordinal}", set.meta.name))
}

/// The numbers of the pods as they are.
fn count(set: &StatefulSet, pods: &[Arc<Pod>], current: Name, update: Name, now: Time) -> StatefulSetStatus {
    let mut status = StatefulSetStatus {
        current_revision: current,
        update_revision: update,
        observed_generation: set.meta.generation,
        collision_count: set.status.collision_count,
        conditions: set.status.conditions.clone(),
        ..StatefulSetStatus::default()
    };
    for pod in pods {
        status.replicas += 1;
        if is_running_and_ready(pod) {
            status.ready += 1;
            status.available += i32::from(pod.is_available(now, set.min_ready));
        }
        if !pod.is_terminating() {
            status.current += i32::from(revision_of(pod) == Some(current));
            status.updated += i32::from(revision_of(pod) == Some(update));
        }
    }
    status
}

/// What this sync does to the pods.
fn plan(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    current: &Arc<ControllerRevision>,
    update: &Arc<ControllerRevision>,
    status: &mut StatefulSetStatus,
    now: Time,
) -> Vec<Action> {
    let ordered = !set.parallel;
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> = pods.iter().filter_map(|pod| Some((ordinal(set, pod)?, pod))).collect();
    let range = set.start_ordinal..set.start_ordinal + set.replicas;
    let is_healthy = |pod: &Pod| is_running_and_ready(pod) && !pod.is_terminating();
    let is_available = |pod: &Pod| is_healthy(pod) && pod.is_available(now, set.min_ready);
    let first_unhealthy = range
        .clone()
        .find(|ordinal| by_ordinal.get(ordinal).is_none_or(|pod| !is_healthy(pod)))
        .or_else(|| by_ordinal.iter().find(|(o, pod)| !range.contains(o) && !is_healthy(pod)).map(|(&o, _)| o));
    let partition = match set.update {
        StatefulSetUpdate::RollingUpdate { partition, .. } => partition,
        StatefulSetUpdate::OnDelete => 0,
    };
    let mut actions = Vec::new();
    let mut settled = true;
    for ordinal in range.clone() {
        match by_ordinal.get(&ordinal) {
            None => {
                let old = ordinal < set.start_ordinal + partition;
                let revision = if old { current.clone() } else { update.clone() };
                actions.push(Action::Create { ordinal, revision });
                if ordered {
                    return actions;
                }
            }
            Some(pod) if pod.status.phase.is_terminal() => {
                if !pod.is_terminating() {
                    actions.push(Action::Delete((*pod).clone()));
                }
                settled = false;
                if ordered {
                    return actions;
                }
            }
            Some(pod) if ordered && !is_available(pod) => return actions,
            Some(_) => {}
        }
    }
    for (&ordinal, pod) in by_ordinal.iter().rev().filter(|(ordinal, _)| !range.contains(ordinal)) {
        let blocked = ordered
            && (pod.is_terminating() || (!pod.is_available(now, set.min_ready) && first_unhealthy != Some(ordinal)));
        if blocked {
            return actions;
        }
        if !pod.is_terminating() {
            actions.push(Action::Delete((*pod).clone()));
            if ordered {
                return actions;
            }
        }
    }
    if set.update == StatefulSetUpdate::OnDelete || !settled {
        return actions;
    }
    for ordinal in (set.start_ordinal + partition..range.end).rev() {
        let Some(pod) = by_ordinal.get(&ordinal) else {
            // It is being created; Kubernetes sees a pod that is not available.
            return actions;
        };
        if revision_of(pod) != Some(update.meta.name) && !pod.is_terminating() {
            if revision_of(pod) == Some(current.meta.name) {
                status.current -= 1;
            }
            actions.push(Action::Delete((*pod).clone()));
            return actions;
        }
        if !is_available(pod) {
            return actions;
        }
    }
    actions
}

fn new_pod(set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Pod {
    let mut pod = pod_from_template(Kind::StatefulSet, &set.meta, &revision.template);
    let name = pod_name(set, ordinal);
    pod.meta.name = name;
    pod.meta.generate_name = Name::default();
    let own = [
        ("statefulset.kubernetes.io/pod-name", name),
        ("apps.kubernetes.io/pod-index", Name::from(ordinal.to_string())),
        (REVISION_LABEL, revision.meta.name),
    ];
    pod.meta.labels = Labels::new(pod.meta.labels.iter().chain(own.map(|(key, value)| (Name::new(key), value))));
    if !set.claim_templates.is_empty() {
        let is_claimed = |volume: &&Volume| set.claim_templates.iter().any(|claim| claim.name == volume.name);
        let others = pod.spec.volumes.iter().filter(|volume| !is_claimed(volume)).cloned();
        let claims = set.claim_templates.iter().map(|claim| Volume {
            name: claim.name,
            source: VolumeSource::Claim { name: claim_name(set, claim.name, ordinal), read_only: false },
        });
        let volumes = claims.chain(others).collect();
        pod.spec = Arc::new(PodSpec { volumes, ..(*pod.spec).clone() });
    }
    pod
}

impl StatefulSetController {
    fn begin(&mut self, key: Key, set: Arc<StatefulSet>, cx: &mut Context<'_>) -> Progress {
        let revisions = revisions::of(cx.cache, set.meta.uid);
        let collisions = set.status.collision_count;
        let (update, call) =
            revisions::of_template(&revisions, Kind::StatefulSet, &set.meta, &set.template, collisions);
        let status = set.status.clone();
        if let Some(call) = call {
            cx.request(call);
            let (actions, batches) = (Vec::new(), SlowStart::new(0));
            self.syncs.insert(key, Sync { set, status, actions, batches, stage: Stage::Revision, failed: false });
            return Progress::Wait;
        }
        let current = revisions.iter().find(|revision| revision.meta.name == status.current_revision);
        let current = current.unwrap_or(&update).clone();
        let mut pods: Vec<Arc<Pod>> = cx.cache.pods_of(set.meta.uid).cloned().collect();
        pods.sort_by_key(|pod| pod.meta.name);
        if pods.iter().any(|pod| cx.cache.is_stale(pod.meta.key(Kind::Pod))) {
            return Progress::Done;
        }
        let range = set.start_ordinal..set.start_ordinal + set.replicas;
        let awaited = |ordinal| Key { kind: Kind::Pod, namespace: key.namespace, name: pod_name(&set, ordinal) };
        if pods.len() < set.replicas as usize && range.into_iter().any(|ordinal| cx.cache.is_stale(awaited(ordinal))) {
            return Progress::Done;
        }
        let is_live = |name| {
            name == current.meta.name
                || name == update.meta.name
                || pods.iter().any(|pod| revision_of(pod) == Some(name))
        };
        for (old, uid) in revisions::beyond_history(&revisions, set.revision_history_limit, is_live) {
            cx.post(Call::Delete(old, DeleteOptions { uid: Some(uid), ..DeleteOptions::default() }));
        }
        let mut status = count(&set, &pods, current.meta.name, update.meta.name, cx.now);
        let actions = match set.meta.deletion {
            Some(_) => Vec::new(),
            None => plan(&set, &pods, &current, &update, &mut status, cx.now),
        };
        if !set.min_ready.is_zero() {
            let waiting = pods.iter().filter(|pod| pod.is_ready() && !pod.is_available(cx.now, set.min_ready));
            let ready = waiting.filter_map(|pod| condition::find(&pod.status.conditions, "Ready"));
            let next = ready.map(|ready| ready.last_transition.truncated_to_second() + set.min_ready).min();
            if let Some(at) = next {
                cx.enqueue_at(key, at);
            }
        }
        if status.updated == set.replicas && status.replicas == set.replicas && status.ready == set.replicas {
            status.current = status.updated;
            status.current_revision = status.update_revision;
        }
        let batches = SlowStart::new(actions.len());
        self.act(key, Sync { set, status, actions, batches, stage: Stage::Status, failed: false }, cx)
    }

    /// The next batch of actions; the status when there are none left.
    fn act(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        let size = sync.batches.next_batch();
        if size == 0 || sync.failed {
            return self.write_status(key, sync, cx);
        }
        let batch: Vec<Action> = sync.actions.drain(..size).collect();
        let mut pods = Vec::new();
        for action in &batch {
            let Action::Create { ordinal, .. } = action else { continue };
            for template in sync.set.claim_templates.iter() {
                let name = claim_name(&sync.set, template.name, *ordinal);
                if cx.cache.claim(key.namespace, name).is_some() {
                    continue;
                }
                let mut labels = template.labels.clone();
                for requirement in sync.set.selector.requirements.iter() {
                    if let crate::model::Requirement::In(key, values) = requirement
                        && let [value] = values[..]
                    {
                        labels = labels.with(*key, value);
                    }
                }
                let meta = Meta {
                    namespace: key.namespace,
                    name,
                    labels,
                    annotations: template.annotations.clone(),
                    source: sync.set.meta.source,
                    ..Meta::default()
                };
                let claim = PersistentVolumeClaim { meta, spec: template.spec.clone(), ..Default::default() };
                pods.push(pod_name(&sync.set, *ordinal));
                cx.request(Call::Create(Object::PersistentVolumeClaim(claim.into())));
            }
        }
        if pods.is_empty() {
            return self.act_on_pods(key, sync, batch, cx);
        }
        sync.stage = Stage::Claims(pods, batch);
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    fn act_on_pods(&mut self, key: Key, mut sync: Sync, batch: Vec<Action>, cx: &mut Context<'_>) -> Progress {
        for action in &batch {
            match action {
                Action::Create { ordinal, revision } => {
                    cx.request(Call::Create(Object::Pod(new_pod(&sync.set, *ordinal, revision).into())));
                }
                Action::Delete(pod) => cx.request(delete_pod(pod)),
            }
        }
        sync.stage = Stage::Acting(batch);
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    fn claimed(&mut self, sync: &mut Sync, pods: &[Name], replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = Object::StatefulSet(sync.set.clone());
        let set = sync.set.meta.name;
        for (pod, reply) in pods.iter().zip(replies) {
            match reply {
                Ok(Answer::Object(claim)) => {
                    let text = format!("Create Claim {} Pod {pod} in StatefulSet {set} success", claim.meta().name);
                    cx.normal(&object, "SuccessfulCreate", text);
                }
                Err(error) if error.reason != StatusReason::AlreadyExists => {
                    let text =
                        format!("Create Claim for Pod {pod} in StatefulSet {set} failed error: {}", error.message);
                    cx.warning(&object, "FailedCreate", text);
                    sync.failed = true;
                }
                _ => {}
            }
        }
    }

    fn acted(&mut self, sync: &mut Sync, actions: &[Action], replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = Object::StatefulSet(sync.set.clone());
        let set = sync.set.meta.name;
        for (action, reply) in actions.iter().zip(replies) {
            let (verb, pod) = match action {
                Action::Create { ordinal, .. } => ("Create", pod_name(&sync.set, *ordinal)),
                Action::Delete(pod) => ("Delete", pod.meta.name),
            };
            match reply {
                Ok(_) => {
                    let text = format!("{verb} Pod {pod} in StatefulSet {set} successful");
                    cx.normal(&object, &format!("Successful{verb}"), text);
                }
                Err(error) if verb == "Delete" && error.reason == StatusReason::NotFound => {}
                Err(error) => {
                    if error.reason != StatusReason::AlreadyExists && !namespace_terminates(&error) {
                        let text = format!("{verb} Pod {pod} in StatefulSet {set} failed error: {}", error.message);
                        cx.warning(&object, &format!("Failed{verb}"), text);
                    }
                    sync.failed = true;
                }
            }
        }
    }

    fn write_status(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        if sync.status == sync.set.status {
            return if sync.failed { Progress::Retry } else { Progress::Done };
        }
        let updated = StatefulSet { status: sync.status.clone(), ..(*sync.set).clone() };
        cx.request(Call::UpdateStatus(Object::StatefulSet(updated.into())));
        sync.stage = Stage::Status;
        self.syncs.insert(key, sync);
        Progress::Wait
    }
}

impl Controller for StatefulSetController {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn component(&self) -> &'static str {
        "statefulset-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::StatefulSet, Kind::ControllerRevision, Kind::PersistentVolumeClaim]
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::StatefulSet => cx.enqueue(change.key()),
            Kind::Pod => {
                let owner = change.object().meta().owner.filter(|owner| owner.kind == Kind::StatefulSet);
                if let Some(key) = owner.and_then(|owner| cx.cache.key_of(owner.uid)) {
                    cx.enqueue(key);
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(set) = cx.cache.stateful_set(key.namespace, key.name).cloned() else { return Progress::Done };
        self.begin(key, set, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some(mut sync) = self.syncs.remove(&key) else { return Progress::Done };
        match std::mem::replace(&mut sync.stage, Stage::Status) {
            // The watch of revisions brings it into the cache; then the sync begins anew.
            Stage::Revision => Progress::Retry,
            Stage::Claims(pods, batch) => {
                self.claimed(&mut sync, &pods, replies, cx);
                if sync.failed { self.write_status(key, sync, cx) } else { self.act_on_pods(key, sync, batch, cx) }
            }
            Stage::Acting(batch) => {
                self.acted(&mut sync, &batch, replies, cx);
                self.act(key, sync, cx)
            }
            Stage::Status if sync.failed || failed_other_than_gone(&replies) => Progress::Retry,
            Stage::Status => Progress::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::kernel::Duration;
    use crate::model::storage::ClaimTemplate;

    fn set(replicas: i32, change: impl FnOnce(&mut StatefulSet)) -> Object {
        let (selector, template) = app("app:1");
        let mut set = StatefulSet {
            meta: Meta::named("default", "db"),
            replicas,
            selector,
            template,
            service_name: Name::new("db"),
            parallel: false,
            update: StatefulSetUpdate::RollingUpdate { partition: 0, max_unavailable: None },
            min_ready: Duration::ZERO,
            start_ordinal: 0,
            claim_templates: Arc::new([]),
            revision_history_limit: 10,
            status: StatefulSetStatus::default(),
        };
        change(&mut set);
        Object::StatefulSet(set.into())
    }

    fn change(world: &mut World, change: impl FnOnce(&mut StatefulSet)) {
        world.change(Key::new(Kind::StatefulSet, "default", "db"), |object| {
            let Object::StatefulSet(set) = object else { panic!("it is a StatefulSet") };
            change(Arc::make_mut(set));
        });
    }

    fn status(world: &World) -> StatefulSetStatus {
        match &world.objects[&Key::new(Kind::StatefulSet, "default", "db")] {
            Object::StatefulSet(set) => set.status.clone(),
            _ => panic!("it is a StatefulSet"),
        }
    }

    /// What happened to pods, such as `+db-0`, since so many lines.
    fn steps(world: &World, from: usize) -> Vec<String> {
        let lines = world.texts("").split_off(from);
        lines
            .iter()
            .filter(|line| line.contains("Pod db"))
            .filter(|line| !line.contains("StatefulSet"))
            .map(|line| line.replace("Pod ", ""))
            .collect()
    }

    #[test]
    fn pods_start_in_order_and_go_in_reverse_each_after_the_other() {
        let mut world = World::new(Config::default(), vec![set(3, |_| {})]);
        world.run_until(4.9);
        assert_eq!(steps(&world, 0), ["+db-0"]);
        world.run_until(30.0);
        assert_eq!(steps(&world, 0), ["+db-0", "+db-1", "+db-2"]);
        let texts = world.texts("SuccessfulCreate");
        assert_eq!(texts[0], "SuccessfulCreate Create Pod db-0 in StatefulSet db successful");
        let from = world.texts("").len();
        change(&mut world, |set| set.replicas = 1);
        world.run_until(60.0);
        assert_eq!(steps(&world, from), ["~db-2", "-db-2", "~db-1", "-db-1"]);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn an_update_goes_from_the_highest_ordinal_down_to_the_partition() {
        let mut world = World::new(Config::default(), vec![set(3, |_| {})]);
        world.run_until(30.0);
        let old = status(&world).current_revision;
        let from = world.texts("").len();
        change(&mut world, |set| {
            set.template = app("app:2").1;
            set.update = StatefulSetUpdate::RollingUpdate { partition: 1, max_unavailable: None };
        });
        world.run_until(60.0);
        assert_eq!(steps(&world, from), ["~db-2", "-db-2", "+db-2", "~db-1", "-db-1", "+db-1"]);
        let now = status(&world);
        assert_eq!((now.current, now.updated, now.current_revision), (1, 2, old));
        change(&mut world, |set| set.update = StatefulSetUpdate::RollingUpdate { partition: 0, max_unavailable: None });
        world.run_until(90.0);
        let now = status(&world);
        assert_eq!((now.current, now.updated, now.ready), (3, 3, 3));
        assert_ne!(now.current_revision, old);
    }

    #[test]
    fn a_broken_pod_blocks_the_update_even_after_the_template_is_mended() {
        let mut world = World::new(Config::default(), vec![set(3, |_| {})]);
        world.run_until(30.0);
        let from = world.texts("").len();
        world.kubelet.ready_after = None;
        change(&mut world, |set| set.template = app("broken").1);
        world.run_until(60.0);
        world.kubelet.ready_after = Some(Duration::from_secs(2));
        change(&mut world, |set| set.template = app("app:2").1);
        world.run_until(120.0);
        assert_eq!(steps(&world, from), ["~db-2", "-db-2", "+db-2"]);
        world.call(Call::Delete(Key::new(Kind::Pod, "default", "db-2"), DeleteOptions::default()));
        world.run_until(180.0);
        assert_eq!(
            steps(&world, from)[3..],
            ["~db-2", "-db-2", "+db-2", "~db-1", "-db-1", "+db-1", "~db-0", "-db-0", "+db-0"]
        );
    }

    #[test]
    fn parallel_sets_do_not_wait_and_claims_come_before_pods() {
        let claims = [ClaimTemplate { name: Name::new("data"), ..ClaimTemplate::default() }];
        let parallel = set(3, |set| {
            set.parallel = true;
            set.claim_templates = Arc::new(claims);
        });
        let mut world = World::new(Config::default(), vec![parallel]);
        world.run_until(1.0);
        assert_eq!(steps(&world, 0), ["+db-0", "+db-1", "+db-2"]);
        let claims = world.texts("+PersistentVolumeClaim");
        assert_eq!(claims[0], "+PersistentVolumeClaim data-db-0");
        assert_eq!(claims.len(), 3);
        let pod = &world.pods()[1];
        let claim = VolumeSource::Claim { name: Name::new("data-db-1"), read_only: false };
        assert_eq!(pod.spec.volumes[0].source, claim);
    }
}
