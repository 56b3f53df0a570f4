//! Deployment: replaces the pods of an application step by step, through ReplicaSets.
//!
//! A user meets it as a rollout that proceeds (`ScalingReplicaSet` Events), stands still (`ProgressDeadlineExceeded`), or
//! is paused. Example: `kubectl set image deployment/web web=web:2`.
//!
//! Kubernetes: pkg/controller/deployment. A sync runs to its end before the next begins, and begins only when the cache
//! has seen its own writes; Kubernetes gets there through conflicts. Where Kubernetes scales an old ReplicaSet twice in a
//! sync (first its unhealthy pods, then others), it is scaled once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::workload::{Deployment, DeploymentStrategy, ReplicaSet};
use crate::model::{Key, Kind, Name, Object, Uid};
use crate::protocol::api::{Answer, Call, DeleteOptions, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::deployment_sets::{self as sets, Limits};
use super::deployment_status as status;
use super::informer::Change;
use super::replica_set::failed_other_than_gone;
use super::template::template_hash;

/// The Deployment controller.
#[derive(Debug, Default)]
pub struct DeploymentController {
    syncs: FxHashMap<Key, (Sync, Waiting)>,
}

/// What a sync knows.
#[derive(Debug)]
struct Sync {
    deployment: Arc<Deployment>,
    /// All ReplicaSets, oldest first.
    sets: Vec<Arc<ReplicaSet>>,
    /// Which of them has the Deployment's template.
    new: Option<usize>,
    goal: Goal,
}

/// What a sync is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The Deployment is paused, or its size was changed: ReplicaSets are resized, the rollout waits.
    Scale,
    RollingUpdate,
    Recreate,
}

/// The steps of a sync, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new ReplicaSet, if there is one, gets its revision.
    Find,
    /// It is created with this size.
    Create(i32),
    /// The Deployment gets the revision.
    Revise,
    /// ReplicaSets are resized, once a sync.
    Act,
    CleanUp,
    Status,
}

/// What the requests under way are for.
#[derive(Debug)]
enum Waiting {
    Found,
    Created(i32),
    Revised,
    Scaled { changes: Vec<(usize, i32, i32)>, then: Step },
    Written,
}

/// How a step ends.
enum Flow {
    Next(Step),
    Wait(Waiting),
    End(Progress),
}

impl DeploymentController {
    fn run(&mut self, key: Key, mut sync: Sync, mut step: Step, cx: &mut Context<'_>) -> Progress {
        loop {
            let flow = match step {
                Step::Find => find(&sync, cx),
                Step::Create(size) => create(&sync, size, cx),
                Step::Revise => revise(&sync, cx),
                Step::Act => act(&mut sync, cx),
                Step::CleanUp => clean_up(&sync, cx),
                Step::Status => write_status(key, &sync, cx),
            };
            match flow {
                Flow::Next(next) => step = next,
                Flow::End(progress) => return progress,
                Flow::Wait(waiting) => {
                    self.syncs.insert(key, (sync, waiting));
                    return Progress::Wait;
                }
            }
        }
    }

    fn enqueue_owner(&self, owner: Option<Uid>, cx: &mut Context<'_>) {
        if let Some(key) = owner.and_then(|uid| cx.cache.key_of(uid))
            && key.kind == Kind::Deployment
        {
            cx.enqueue(key);
        }
    }

    /// Recreate: the last pod of the old ReplicaSets may have gone.
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (Some(pod), None) = change.pods() else { return };
        let Some(owner) = pod.meta.owner.filter(|owner| owner.kind == Kind::ReplicaSet) else { return };
        let set = cx.cache.key_of(owner.uid).and_then(|key| cx.cache.replica_set(key));
        let Some(owner) = set.and_then(|set| set.meta.owner) else { return };
        let deployment = cx.cache.deployment(pod.meta.namespace, owner.name);
        if deployment.is_some_and(|deployment| deployment.strategy == DeploymentStrategy::Recreate) {
            self.enqueue_owner(Some(owner.uid), cx);
        }
    }

    fn created(&mut self, key: Key, mut sync: Sync, size: i32, reply: Reply, cx: &mut Context<'_>) -> Progress {
        let object = Object::Deployment(sync.deployment.clone());
        let name = name_of_new(&sync.deployment);
        let error = match reply {
            Ok(Answer::Object(Object::ReplicaSet(set))) => {
                if size > 0 {
                    let text = format!("Scaled up replica set {name} from 0 to {size}");
                    cx.normal(&object, "ScalingReplicaSet", text);
                }
                status::new_set_created(&mut sync.deployment, set.meta.name, cx.now);
                sync.new = Some(sync.sets.len());
                sync.sets.push(set);
                return self.run(key, sync, Step::Revise, cx);
            }
            Ok(_) => return Progress::Retry,
            Err(error) => error,
        };
        if error.reason == StatusReason::AlreadyExists {
            // Another template has the same hash, or the cache is behind.
            let there = cx.cache.replica_set(Key { kind: Kind::ReplicaSet, namespace: key.namespace, name });
            if there.is_some() {
                let mut deployment = (*sync.deployment).clone();
                deployment.status.collision_count += 1;
                cx.request(Call::UpdateStatus(Object::Deployment(deployment.into())));
                self.syncs.insert(key, (sync, Waiting::Written));
                return Progress::Wait;
            }
            return Progress::Retry;
        }
        let text = format!("Failed to create new replica set \"{name}\": {}", error.message);
        cx.warning(&object, "ReplicaSetCreateError", text.clone());
        if let Some(updated) = status::create_failed(&sync.deployment, text, cx.now) {
            cx.post(Call::UpdateStatus(Object::Deployment(updated.into())));
        }
        Progress::Retry
    }
}

fn name_of_new(deployment: &Deployment) -> Name {
    let hash = template_hash(&deployment.template, deployment.status.collision_count);
    Name::from(format!("{}-{hash}", deployment.meta.name))
}

/// The new ReplicaSet gets the revision after that of the old ones, if it hasn't a later one.
fn find(sync: &Sync, cx: &mut Context<'_>) -> Flow {
    let Some(new) = sync.new else {
        return Flow::Next(match sync.goal {
            Goal::RollingUpdate => Step::Create(sets::size_of_new(&sync.deployment, &sync.sets, 0)),
            Goal::Scale | Goal::Recreate => Step::Act,
        });
    };
    match sets::with_revision(&sync.sets[new], sets::next_revision(&sync.sets, Some(new))) {
        Some(updated) => {
            cx.request(Call::Update(Object::ReplicaSet(updated.into())));
            Flow::Wait(Waiting::Found)
        }
        None => Flow::Next(Step::Revise),
    }
}

fn create(sync: &Sync, size: i32, cx: &mut Context<'_>) -> Flow {
    let hash = template_hash(&sync.deployment.template, sync.deployment.status.collision_count);
    let set = sets::new_set(&sync.deployment, &hash, size, sets::next_revision(&sync.sets, None));
    cx.request(Call::Create(Object::ReplicaSet(set.into())));
    Flow::Wait(Waiting::Created(size))
}

/// The Deployment gets the new ReplicaSet's revision, and its first Progressing condition.
fn revise(sync: &Sync, cx: &mut Context<'_>) -> Flow {
    let Some(new) = sync.new else { return Flow::Next(Step::Act) };
    let stored = cx.cache.deployment(sync.deployment.meta.namespace, sync.deployment.meta.name);
    let mut deployment = (*sync.deployment).clone();
    sets::copy_revision(&sync.sets[new], &mut deployment);
    status::found_new_set(&mut deployment, sync.sets[new].meta.name, cx.now);
    if stored.is_some_and(|stored| **stored == deployment) {
        return Flow::Next(Step::Act);
    }
    cx.request(Call::UpdateStatus(Object::Deployment(deployment.into())));
    Flow::Wait(Waiting::Revised)
}

/// The one resizing of this sync.
fn act(sync: &mut Sync, cx: &mut Context<'_>) -> Flow {
    let limits = Limits::of(&sync.deployment);
    let (sizes, otherwise) = match (sync.goal, sync.new) {
        (Goal::Scale, _) => {
            let then = if sync.deployment.paused { Step::CleanUp } else { Step::Status };
            (sets::scale(&sync.deployment, &sync.sets, sync.new, limits), then)
        }
        (Goal::RollingUpdate, Some(new)) => {
            let size = sets::reconcile_new(&sync.deployment, &sync.sets, new);
            if size != sync.sets[new].replicas {
                (vec![(new, size)], Step::Status)
            } else {
                (sets::reconcile_old(&sync.deployment, &sync.sets, new, limits), Step::CleanUp)
            }
        }
        (Goal::RollingUpdate, None) => (Vec::new(), Step::Status),
        (Goal::Recreate, new) => {
            let old = || (0..sync.sets.len()).filter(|&at| Some(at) != new);
            let down: Vec<(usize, i32)> = old().filter(|&at| sync.sets[at].replicas > 0).map(|at| (at, 0)).collect();
            let running = old().any(|at| {
                let tally = cx.cache.tally(sync.sets[at].meta.uid);
                tally.active + tally.terminating > 0
            });
            match new {
                _ if !down.is_empty() => (down, Step::Status),
                _ if running => (Vec::new(), Step::Status),
                Some(new) => (vec![(new, sync.deployment.replicas)], Step::CleanUp),
                None => return Flow::Next(Step::Create(sync.deployment.replicas)),
            }
        }
    };
    let mut changes = Vec::new();
    for (at, size) in sizes {
        let set = &sync.sets[at];
        let Some(updated) = sets::resized(&sync.deployment, set, size, limits) else { continue };
        changes.push((at, set.replicas, size));
        cx.request(Call::Update(Object::ReplicaSet(updated.into())));
    }
    if changes.is_empty() {
        return Flow::Next(otherwise);
    }
    let then = if sync.goal == Goal::RollingUpdate { Step::Status } else { otherwise };
    Flow::Wait(Waiting::Scaled { changes, then })
}

/// Takes the resized ReplicaSets over and tells of them; false if one could not be resized.
fn scaled(sync: &mut Sync, changes: &[(usize, i32, i32)], replies: Vec<Reply>, cx: &mut Context<'_>) -> bool {
    let object = Object::Deployment(sync.deployment.clone());
    let mut all = true;
    for (&(at, from, to), reply) in changes.iter().zip(replies) {
        let Ok(Answer::Object(Object::ReplicaSet(set))) = reply else {
            all = false;
            continue;
        };
        if from != to {
            let way = if to > from { "up" } else { "down" };
            let text = format!("Scaled {way} replica set {} from {from} to {to}", set.meta.name);
            cx.normal(&object, "ScalingReplicaSet", text);
        }
        sync.sets[at] = set;
    }
    all
}

/// Deletes old ReplicaSets beyond the history limit, once the rollout is complete.
fn clean_up(sync: &Sync, cx: &mut Context<'_>) -> Flow {
    if sync.deployment.paused || status::is_complete(&sync.deployment, &sync.deployment.status) {
        for at in sets::beyond_history(&sync.deployment, &sync.sets, sync.new) {
            let meta = &sync.sets[at].meta;
            let options = DeleteOptions { uid: Some(meta.uid), ..DeleteOptions::default() };
            cx.post(Call::Delete(meta.key(Kind::ReplicaSet), options));
        }
    }
    Flow::Next(Step::Status)
}

fn write_status(key: Key, sync: &Sync, cx: &mut Context<'_>) -> Flow {
    let with_progress = sync.goal != Goal::Scale;
    let status = status::calculate(&sync.deployment, &sync.sets, sync.new, with_progress, cx.now);
    if status == sync.deployment.status {
        if with_progress && let Some(at) = status::next_deadline(&sync.deployment, &status, cx.now) {
            cx.enqueue_at(key, at);
        }
        return Flow::End(Progress::Done);
    }
    let updated = Deployment { status, ..(*sync.deployment).clone() };
    cx.request(Call::UpdateStatus(Object::Deployment(updated.into())));
    Flow::Wait(Waiting::Written)
}

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn component(&self) -> &'static str {
        "deployment-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::ReplicaSet, Kind::Deployment]
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            Kind::ReplicaSet => self.enqueue_owner(change.object().meta().owner.map(|owner| owner.uid), cx),
            _ => cx.enqueue(change.key()),
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        let Some(deployment) = cx.cache.deployment(key.namespace, key.name).cloned() else { return Progress::Done };
        let mut sets: Vec<Arc<ReplicaSet>> = cx.cache.replica_sets_of(deployment.meta.uid).cloned().collect();
        if cx.cache.is_stale(key) || sets.iter().any(|set| cx.cache.is_stale(set.meta.key(Kind::ReplicaSet))) {
            return Progress::Done;
        }
        sets.sort_by_key(|set| (set.meta.created, set.meta.uid));
        let new = sets::find_new(&deployment, &sets);
        let mut sync = Sync { goal: Goal::Scale, deployment, sets, new };
        if sync.deployment.meta.deletion.is_some() {
            return self.run(key, sync, Step::Status, cx);
        }
        if let Some(paused) = status::paused_changed(&sync.deployment, cx.now) {
            cx.request(Call::UpdateStatus(Object::Deployment(paused.into())));
            self.syncs.insert(key, (sync, Waiting::Written));
            return Progress::Wait;
        }
        if !sync.deployment.paused && !sets::was_resized(&sync.deployment, &sync.sets) {
            sync.goal = match sync.deployment.strategy {
                DeploymentStrategy::Recreate => Goal::Recreate,
                DeploymentStrategy::RollingUpdate { .. } => Goal::RollingUpdate,
            };
        }
        self.run(key, sync, Step::Find, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some((mut sync, waiting)) = self.syncs.remove(&key) else { return Progress::Done };
        match waiting {
            Waiting::Created(size) => {
                let reply = replies.into_iter().next();
                reply.map_or(Progress::Done, |reply| self.created(key, sync, size, reply, cx))
            }
            Waiting::Found => match (replies.into_iter().next(), sync.new) {
                (Some(Ok(Answer::Object(Object::ReplicaSet(set)))), Some(new)) => {
                    sync.sets[new] = set;
                    self.run(key, sync, Step::Revise, cx)
                }
                _ => Progress::Retry,
            },
            Waiting::Revised => match replies.into_iter().next() {
                Some(Ok(Answer::Object(Object::Deployment(deployment)))) => {
                    sync.deployment = deployment;
                    self.run(key, sync, Step::Act, cx)
                }
                _ => Progress::Retry,
            },
            Waiting::Scaled { changes, then } => {
                if scaled(&mut sync, &changes, replies, cx) {
                    self.run(key, sync, then, cx)
                } else {
                    Progress::Retry
                }
            }
            Waiting::Written if failed_other_than_gone(&replies) => Progress::Retry,
            Waiting::Written => Progress::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::kernel::Duration;
    use crate::model::workload::{DeploymentStatus, IntOrPercent};
    use crate::model::{Meta, condition};

    fn deployment(replicas: i32) -> Object {
        let (selector, template) = app("app:1");
        let quarter = IntOrPercent::Percent(25);
        Object::Deployment(
            Deployment {
                meta: Meta::named("default", "web"),
                replicas,
                selector,
                template,
                strategy: DeploymentStrategy::RollingUpdate { max_unavailable: quarter, max_surge: quarter },
                min_ready: Duration::ZERO,
                revision_history_limit: 10,
                progress_deadline: Duration::from_secs(600),
                paused: false,
                status: DeploymentStatus::default(),
            }
            .into(),
        )
    }

    fn change(world: &mut World, change: impl FnOnce(&mut Deployment)) {
        world.change(Key::new(Kind::Deployment, "default", "web"), |object| {
            let Object::Deployment(deployment) = object else { panic!("it is a Deployment") };
            change(Arc::make_mut(deployment));
        });
    }

    fn status(world: &World) -> DeploymentStatus {
        match &world.objects[&Key::new(Kind::Deployment, "default", "web")] {
            Object::Deployment(deployment) => deployment.status.clone(),
            _ => panic!("it is a Deployment"),
        }
    }

    /// The scaling events since `from` seconds, with `old` and `new` for the ReplicaSets' names.
    fn scaling(world: &World, from: f64) -> Vec<String> {
        let lines = world.texts("ScalingReplicaSet").into_iter().zip(world.times("ScalingReplicaSet"));
        let template = |image| template_hash(&app(image).1, 0);
        let name = |line: String| line.replace(&template("app:1"), "old").replace(&template("app:2"), "new");
        let short = |line: String| line.replace("ScalingReplicaSet Scaled ", "").replace(" replica set web-", " ");
        lines.filter(|&(_, at)| at >= from).map(|(line, _)| short(name(line))).collect()
    }

    /// A world whose Deployment of this size is ready, and gets a new image at 30 s.
    fn rolled(replicas: i32, prepare: impl FnOnce(&mut World), until: f64) -> World {
        let mut world = World::new(Config::default(), vec![deployment(replicas)]);
        world.run_until(30.0);
        assert_eq!(status(&world).available, replicas);
        assert!(world.waiting() <= 1, "only the progress deadline's timer is left");
        prepare(&mut world);
        change(&mut world, |deployment| deployment.template = app("app:2").1);
        world.run_until(until);
        world
    }

    #[test]
    fn four_replicas_are_replaced_in_the_order_that_a_real_cluster_showed() {
        let world = rolled(4, |_| {}, 90.0);
        let steps = scaling(&world, 30.0);
        assert_eq!(steps[..3], ["up new from 0 to 1", "down old from 4 to 3", "up new from 1 to 2"]);
        assert!(steps.contains(&"down old from 1 to 0".into()), "{steps:?}");
        let status = status(&world);
        assert_eq!((status.replicas, status.updated, status.available, status.terminating), (4, 4, 4, 0));
        let progressing = condition::find(&status.conditions, "Progressing").unwrap();
        assert_eq!(progressing.reason.as_str(), "NewReplicaSetAvailable");
        assert_eq!(status.observed_generation, 2);
        assert!(world.waiting() <= 2, "only the progress deadlines' timers are left");
    }

    #[test]
    fn availability_is_rounded_down_and_surge_up() {
        for (replicas, available, surge) in [(1, 1, 1), (5, 4, 2), (6, 5, 2), (10, 8, 3)] {
            let Object::Deployment(deployment) = deployment(replicas) else { unreachable!() };
            let limits = Limits::of(&deployment);
            assert_eq!((replicas - limits.unavailable, limits.surge), (available, surge), "{replicas} replicas");
        }
    }

    #[test]
    fn of_15_three_terminate_and_seven_are_created_at_first() {
        let never_dies = |world: &mut World| {
            world.kubelet.dies_after = Some(Duration::from_secs(60));
            world.kubelet.ready_after = None;
        };
        let world = rolled(15, never_dies, 31.5);
        let steps = scaling(&world, 30.0);
        assert_eq!(steps, ["up new from 0 to 4", "down old from 15 to 12", "up new from 4 to 7"]);
        assert_eq!(world.pods().len(), 22);
    }

    #[test]
    fn a_rollout_without_progress_is_reported_after_its_deadline() {
        let world = rolled(3, |world| world.kubelet.ready_after = None, 800.0);
        let status = status(&world);
        assert_eq!(scaling(&world, 30.0), ["up new from 0 to 1"]);
        let progressing = condition::find(&status.conditions, "Progressing").unwrap();
        assert_eq!(progressing.reason.as_str(), "ProgressDeadlineExceeded");
        let after = progressing.last_transition.as_secs_f64() - 30.0;
        assert!((600.0..602.0).contains(&after), "{after}");
    }

    #[test]
    fn scaling_in_the_middle_of_a_rollout_shares_in_proportion() {
        let mut world = rolled(10, |world| world.kubelet.ready_after = None, 40.0);
        assert_eq!(scaling(&world, 30.0).last().unwrap(), "up new from 3 to 5");
        change(&mut world, |deployment| deployment.replicas = 15);
        world.run_until(50.0);
        let mut steps = scaling(&world, 40.0);
        steps.sort();
        assert_eq!(steps, ["up new from 5 to 7", "up old from 8 to 12"]);
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_terminal() {
        let recreate = |world: &mut World| change(world, |d| d.strategy = DeploymentStrategy::Recreate);
        let world = rolled(3, recreate, 60.0);
        assert_eq!(scaling(&world, 30.0), ["down old from 3 to 0", "up new from 0 to 3"]);
        let ups = world.times("ScalingReplicaSet Scaled up");
        assert!(ups[1] > 31.0 && ups[1] < 31.2, "terminal at 31.0, gone at 31.3: {ups:?}");
        assert_eq!(status(&world).available, 3);
    }

    #[test]
    fn a_paused_deployment_does_not_roll() {
        let mut world = rolled(2, |world| change(world, |d| d.paused = true), 60.0);
        assert!(scaling(&world, 30.0).is_empty());
        let progressing = condition::find(&status(&world).conditions, "Progressing").unwrap().reason;
        assert_eq!(progressing.as_str(), "DeploymentPaused");
        change(&mut world, |deployment| deployment.paused = false);
        world.run_until(90.0);
        assert_eq!(status(&world).updated, 2);
    }
}
