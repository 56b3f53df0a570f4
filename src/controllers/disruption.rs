//! Disruption: says how many pods of a PodDisruptionBudget may be evicted now.
//!
//! A user meets it when `kubectl drain` waits: `disruptionsAllowed` is 0. Example: `minAvailable: 2` over 3 pods.
//!
//! Kubernetes: pkg/controller/disruption/disruption.go. Each budget's pods are counted as they change. The reset of a stale
//! `DisruptionTarget` condition after two minutes and the Events about unmanaged pods are not modelled.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::policy::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use crate::model::workload::IntOrPercent;
use crate::model::{Key, Kind, Name, Object, Pod, Uid, condition};
use crate::protocol::api::Call;

use super::controller::{Context, Controller, Progress};
use super::informer::Change;

/// An evicted pod counts as disrupted for this long, if it does not go.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The disruption controller.
#[derive(Debug, Default)]
pub struct Disruption {
    budgets: FxHashMap<Key, Members>,
}

/// The pods of a budget, counted.
#[derive(Debug, Default)]
struct Members {
    pods: FxHashMap<Name, Member>,
    healthy: i32,
    /// How many of them each controller has.
    owners: BTreeMap<Uid, i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    healthy: bool,
    owner: Option<Uid>,
}

impl Members {
    /// Takes a pod's new state in (None: it is no member any more); true if that changed anything.
    fn set(&mut self, name: Name, member: Option<Member>) -> bool {
        let old = match member {
            Some(member) => self.pods.insert(name, member),
            None => self.pods.remove(&name),
        };
        if old == member {
            return false;
        }
        for (member, by) in [(old, -1), (member, 1)] {
            let Some(member) = member else { continue };
            self.healthy += if member.healthy { by } else { 0 };
            if let Some(owner) = member.owner {
                let count = self.owners.entry(owner).or_insert(0);
                *count += by;
                if *count == 0 {
                    self.owners.remove(&owner);
                }
            }
        }
        true
    }
}

fn member(pod: &Pod) -> Member {
    Member { healthy: pod.is_ready() && !pod.is_terminating(), owner: pod.meta.owner.map(|owner| owner.uid) }
}

/// The number of pods that a pod's controller, or the Deployment behind it, wants.
fn scale_of(owner: Uid, cx: &Context<'_>) -> Option<(Uid, i32)> {
    let object = cx.cache.get(cx.cache.key_of(owner)?)?;
    match object {
        Object::ReplicaSet(set) => {
            let behind = set.meta.owner.filter(|owner| owner.kind == Kind::Deployment);
            let behind = behind.and_then(|owner| cx.cache.get(cx.cache.key_of(owner.uid)?));
            match behind {
                Some(Object::Deployment(deployment)) => Some((deployment.meta.uid, deployment.replicas)),
                _ => Some((owner, set.replicas)),
            }
        }
        Object::ReplicationController(set) => Some((owner, set.replicas)),
        Object::StatefulSet(set) => Some((owner, set.replicas)),
        _ => None,
    }
}

impl Disruption {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        if let (Some(old), Some(new)) = (old, new)
            && member(old) == member(new)
            && old.meta.labels == new.meta.labels
        {
            return;
        }
        let pod_key = change.key();
        let mut changed = Vec::new();
        for object in cx.cache.list(Kind::PodDisruptionBudget, pod_key.namespace) {
            let Object::PodDisruptionBudget(budget) = object else { continue };
            let key = budget.meta.key(Kind::PodDisruptionBudget);
            let matches = |pod: &&std::sync::Arc<Pod>| {
                budget.selector.as_ref().is_some_and(|selector| selector.matches(&pod.meta.labels))
            };
            let member = new.filter(matches).map(|pod| member(pod));
            if self.budgets.entry(key).or_default().set(pod_key.name, member) {
                changed.push(key);
            }
        }
        changed.into_iter().for_each(|key| cx.enqueue(key));
    }

    fn observe_budget(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let key = change.key();
        let Some(Object::PodDisruptionBudget(budget)) = change.new else {
            self.budgets.remove(&key);
            return;
        };
        let same = change
            .old
            .is_some_and(|old| matches!(old, Object::PodDisruptionBudget(old) if old.selector == budget.selector));
        if !same {
            let mut members = Members::default();
            if let Some(selector) = &budget.selector {
                for pod in cx.cache.list(Kind::Pod, key.namespace).filter_map(Object::as_pod) {
                    if selector.matches(&pod.meta.labels) {
                        members.set(pod.meta.name, Some(member(pod)));
                    }
                }
            }
            self.budgets.insert(key, members);
        }
        cx.enqueue(key);
    }

    /// Expected and desired numbers of pods.
    fn wanted(&self, budget: &PodDisruptionBudget, members: &Members, cx: &Context<'_>) -> (i32, i32) {
        if let Some(IntOrPercent::Int(least)) = budget.min_available {
            return (members.pods.len() as i32, least);
        }
        let scales: BTreeSet<(Uid, i32)> = members.owners.keys().filter_map(|&owner| scale_of(owner, cx)).collect();
        let expected: i32 = scales.iter().map(|(_, scale)| scale).sum();
        match (budget.min_available, budget.max_unavailable) {
            (Some(share), _) => (expected, share.rounded_up(expected)),
            (None, Some(most)) => (expected, (expected - most.rounded_up(expected)).max(0)),
            (None, None) => (expected, expected),
        }
    }
}

impl Controller for Disruption {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn component(&self) -> &'static str {
        "controllermanager"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::Pod,
            Kind::PodDisruptionBudget,
            Kind::ReplicaSet,
            Kind::ReplicationController,
            Kind::Deployment,
            Kind::StatefulSet,
        ]
    }

    fn workers(&self) -> usize {
        1
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            Kind::PodDisruptionBudget => self.observe_budget(change, cx),
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(budget) = cx.cache.budget(key.namespace, key.name).cloned() else { return Progress::Done };
        let Some(members) = self.budgets.get(&key) else { return Progress::Done };
        if members.pods.is_empty() {
            cx.normal(&Object::PodDisruptionBudget(budget.clone()), "NoPods", "No matching pods found");
        }
        let (expected, desired) = self.wanted(&budget, members, cx);
        let mut healthy = members.healthy;
        let mut disrupted: Vec<(Name, Time)> = Vec::new();
        for &(name, since) in &budget.status.disrupted_pods {
            let there = cx.cache.pod(key.namespace, name).is_some_and(|pod| !pod.is_terminating());
            let until = since.truncated_to_second() + DELETION_TIMEOUT;
            if !there || until <= cx.now {
                continue;
            }
            if members.pods.get(&name).is_some_and(|member| member.healthy) {
                healthy -= 1;
            }
            disrupted.push((name, since));
            cx.enqueue_at(key, until);
        }
        let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
        let mut status = PodDisruptionBudgetStatus {
            disruptions_allowed: allowed,
            current_healthy: healthy,
            desired_healthy: desired,
            expected_pods: expected,
            observed_generation: budget.meta.generation,
            disrupted_pods: disrupted,
            conditions: budget.status.conditions.clone(),
        };
        let reason = Name::new(if allowed > 0 { "SufficientPods" } else { "InsufficientPods" });
        let kind = Name::new("DisruptionAllowed");
        condition::set(&mut status.conditions, cx.now, kind, (allowed > 0).into(), reason, "".into());
        if status == budget.status {
            return Progress::Done;
        }
        let updated = PodDisruptionBudget { status, ..(*budget).clone() };
        cx.request(Call::UpdateStatus(Object::PodDisruptionBudget(updated.into())));
        Progress::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::model::Meta;
    use crate::model::workload::ReplicaSet;
    use crate::protocol::api::DeleteOptions;

    /// The budget's numbers over a ReplicaSet of 7, when all are ready and when two are being deleted: allowed, healthy,
    /// desired, expected.
    fn check(min: Option<IntOrPercent>, max: Option<IntOrPercent>, all: [i32; 4], fewer: [i32; 4]) {
        let (selector, template) = app("app:1");
        let meta = Meta::named("default", "rs");
        let set = ReplicaSet { meta, replicas: 7, selector: selector.clone(), template, ..ReplicaSet::default() };
        let budget = PodDisruptionBudget {
            meta: Meta::named("default", "pdb"),
            selector: Some(selector),
            min_available: min,
            max_unavailable: max,
            ..PodDisruptionBudget::default()
        };
        let objects = vec![Object::ReplicaSet(set.into()), Object::PodDisruptionBudget(budget.into())];
        let mut world = World::new(Config::default(), objects);
        let numbers = |world: &World| match &world.objects[&Key::new(Kind::PodDisruptionBudget, "default", "pdb")] {
            Object::PodDisruptionBudget(budget) => {
                let status = &budget.status;
                [status.disruptions_allowed, status.current_healthy, status.desired_healthy, status.expected_pods]
            }
            _ => panic!("it is a budget"),
        };
        world.run_until(10.0);
        assert_eq!(numbers(&world), all);
        for pod in &world.pods()[..2] {
            world.call(Call::Delete(pod.meta.key(Kind::Pod), DeleteOptions::default()));
        }
        world.run_until(10.5);
        assert_eq!(numbers(&world), fewer);
        world.run_until(20.0);
        assert_eq!(numbers(&world), all);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn a_budget_counts_its_ready_pods() {
        let (int, percent) = (|n| Some(IntOrPercent::Int(n)), |n| Some(IntOrPercent::Percent(n)));
        // Terminating pods still count as existing ones: 7 and their 2 successors.
        check(int(5), None, [2, 7, 5, 7], [0, 5, 5, 9]);
        check(percent(50), None, [3, 7, 4, 7], [1, 5, 4, 7]);
        check(None, int(1), [1, 7, 6, 7], [0, 5, 6, 7]);
        check(None, percent(30), [3, 7, 4, 7], [1, 5, 4, 7]);
    }
}
