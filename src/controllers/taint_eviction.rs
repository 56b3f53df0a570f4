//! Taint eviction: deletes the pods of a node whose `NoExecute` taints they do not, or no longer, tolerate.
//!
//! A user meets it five minutes after a node has died: `Marking for deletion Pod default/web-0`. Example:
//! `kubectl taint node n1 maintenance=now:NoExecute`.
//!
//! Kubernetes: pkg/controller/tainteviction/taint_eviction.go. Its worker sharding is not modelled, because with one event
//! at a time it cannot be observed.

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::{
    Condition, ConditionStatus, EventType, Key, Kind, Name, ObjectReference, Pod, Taint, TaintEffect, Toleration, Uid,
};
use crate::protocol::api::{Call, DeleteOptions, Patch, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;

/// The evictions to come and those that were, by pod. A pod that tolerates its node has no entry.
#[derive(Debug, Default)]
pub struct TaintEviction {
    scheduled: FxHashMap<Key, Work>,
    /// Pods whose condition is being written before their deletion.
    marked: FxHashMap<Key, Uid>,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Waits {
        noticed: Time,
        due: Time,
    },
    /// The pod was deleted and isn't gone yet: what its node gets besides doesn't begin anew, unless the pod bears none of it.
    Done,
}

/// How long a pod bears all `NoExecute` taints of its node: the shortest `tolerationSeconds` that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tolerates {
    Never,
    For(Duration),
    Forever,
}

impl Tolerates {
    fn of<'a>(taints: impl Iterator<Item = &'a Taint>, tolerations: &[Toleration]) -> Tolerates {
        let mut shortest: Option<Duration> = None;
        for taint in taints {
            let Some(toleration) = tolerations.iter().find(|toleration| toleration.tolerates(taint)) else {
                return Tolerates::Never;
            };
            if let Some(seconds) = toleration.seconds {
                shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
            }
        }
        shortest.map_or(Tolerates::Forever, Tolerates::For)
    }
}

fn no_execute(taints: &[Taint]) -> impl Iterator<Item = &Taint> + Clone {
    taints.iter().filter(|taint| taint.effect == TaintEffect::NoExecute)
}

fn about(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Kind::Pod,
        namespace: pod.meta.namespace,
        name: pod.meta.name,
        uid: pod.meta.uid,
        field_path: Name::default(),
    }
}

impl TaintEviction {
    /// Looks at a pod of a node with these taints.
    fn consider(&mut self, pod: &Pod, taints: &[Taint], cx: &mut Context<'_>) {
        let key = pod.meta.key(Kind::Pod);
        if no_execute(taints).next().is_none() {
            return self.reprieve(pod, cx);
        }
        let wait = match Tolerates::of(no_execute(taints), &pod.spec.tolerations) {
            Tolerates::Never => {
                self.reprieve(pod, cx);
                self.scheduled.insert(key, Work::Waits { noticed: cx.now, due: cx.now });
                return cx.enqueue(key);
            }
            Tolerates::For(wait) => wait,
            Tolerates::Forever => return self.reprieve(pod, cx),
        };
        // Kubernetes keeps an eviction that it scheduled earlier, even where the new taint is tolerated for less long:
        // processPodOnNode compares when the two were noticed, not when they end.
        match self.scheduled.get(&key) {
            Some(Work::Waits { noticed, .. }) if *noticed < cx.now => return,
            Some(Work::Done) => return,
            _ => {}
        }
        let due = cx.now + wait;
        self.scheduled.insert(key, Work::Waits { noticed: cx.now, due });
        cx.enqueue_at(key, due);
    }

    /// The pod's eviction, if it waits for one, is called off.
    fn reprieve(&mut self, pod: &Pod, cx: &mut Context<'_>) {
        if let Some(Work::Waits { .. }) = self.scheduled.remove(&pod.meta.key(Kind::Pod)) {
            let text = format!("Cancelling deletion of Pod {}", pod.full_name());
            cx.event(about(pod), EventType::Normal, "TaintManagerEviction", text);
        }
    }

    fn observe_node(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, Some(new)) = change.nodes() else { return };
        let before = old.map_or(&[][..], |node| &node.spec.taints);
        if no_execute(before)
            .map(|taint| (taint.key, taint.value))
            .eq(no_execute(&new.spec.taints).map(|taint| (taint.key, taint.value)))
        {
            return;
        }
        let mut pods: Vec<_> = cx.cache.pods_on(new.meta.name).cloned().collect();
        pods.sort_by_key(|pod| (pod.meta.namespace, pod.meta.name));
        for pod in pods {
            self.consider(&pod, &new.spec.taints, cx);
        }
    }

    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new else {
            // Somebody else was faster.
            return old.into_iter().for_each(|pod| self.reprieve(pod, cx));
        };
        let same = old.is_some_and(|old| {
            old.node == pod.node
                && (std::sync::Arc::ptr_eq(&old.spec, &pod.spec) || old.spec.tolerations == pod.spec.tolerations)
        });
        if same {
            return;
        }
        let Some(node) = pod.node.and_then(|node| cx.cache.node(node).cloned()) else { return };
        if no_execute(&node.spec.taints).next().is_some() {
            self.consider(pod, &node.spec.taints, cx);
        }
    }
}

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn component(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Node]
    }

    fn workers(&self) -> usize {
        8
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            _ => self.observe_node(change, cx),
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        let Some(&Work::Waits { due, .. }) = self.scheduled.get(&key) else { return Progress::Done };
        if due > cx.now {
            cx.enqueue_at(key, due);
            return Progress::Done;
        }
        self.scheduled.insert(key, Work::Done);
        let Some(pod) = cx.cache.pod(key.namespace, key.name).cloned() else { return Progress::Done };
        let text = format!("Marking for deletion Pod {}", pod.full_name());
        cx.event(about(&pod), EventType::Normal, "TaintManagerEviction", text);
        self.marked.insert(key, pod.meta.uid);
        cx.request(Call::Patch(
            key,
            Patch::Condition(disruption_target(
                cx.now,
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
            )),
        ));
        Progress::Wait
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some(uid) = self.marked.remove(&key) else { return Progress::Done };
        match replies.into_iter().next() {
            Some(Err(status)) if status.reason != StatusReason::NotFound => {
                self.scheduled.insert(key, Work::Waits { noticed: cx.now, due: cx.now });
                Progress::Retry
            }
            Some(Ok(_)) => {
                cx.request(Call::Delete(key, DeleteOptions { uid: Some(uid), ..DeleteOptions::default() }));
                Progress::Wait
            }
            _ => Progress::Done,
        }
    }
}

/// The condition of a pod that is about to be deleted for a reason outside it.
pub fn disruption_target(now: Time, reason: &str, message: &str) -> Condition {
    Condition {
        kind: Name::new("DisruptionTarget"),
        status: ConditionStatus::True,
        reason: Name::new(reason),
        message: message.into(),
        last_transition: now,
        last_update: now,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Config;
    use super::super::fake_api::{World, node};
    use super::*;
    use crate::model::taint::TolerationOperator;
    use crate::model::{Meta, Object, PodSpec};

    /// A pod on node n1 that bears each taint in `bears` for so many seconds, and what happens when the taints in `plan`
    /// are put on (or with a `-` taken off) at these times. Only what concerns the eviction is shown.
    fn check(bears: &[(&str, u64)], plan: &[(f64, &str)], expected: &[&str]) {
        let toleration = |&(key, seconds): &(&str, u64)| Toleration {
            key: Name::new(key),
            operator: TolerationOperator::Exists,
            value: Name::default(),
            effect: None,
            seconds: (seconds > 0).then_some(Duration::from_secs(seconds)),
        };
        let spec = PodSpec { tolerations: bears.iter().map(toleration).collect(), ..PodSpec::default() };
        let pod = Pod { meta: Meta::named("default", "web"), spec: Arc::new(spec), ..Pod::default() };
        let mut world = World::new(Config::default(), vec![node("n1", "a"), Object::Pod(pod.into())]);
        for &(at, taint) in plan {
            world.run_until(at);
            let (add, key) = taint.strip_prefix('-').map_or((true, taint), |key| (false, key));
            let taint = vec![Taint::new(key, TaintEffect::NoExecute)];
            let (add, remove) = if add { (taint, vec![]) } else { (vec![], taint) };
            world.call(Call::Patch(Key::new(Kind::Node, "", "n1"), Patch::Taints { add, remove }));
        }
        world.run_until(1000.0);
        let mut shown = world.log("TaintManagerEviction");
        shown.extend(world.log("condition web DisruptionTarget"));
        shown.extend(world.log("~Pod"));
        let shown: Vec<_> = shown.iter().map(|line| line.replace("TaintManagerEviction ", "")).collect();
        assert_eq!(shown, expected);
    }

    const EVICTED: [&str; 2] = ["condition web DisruptionTarget=True", "~Pod web"];

    #[test]
    fn a_pod_without_toleration_goes_at_once() {
        let [condition, deleted] = EVICTED.map(|text| format!("20.0 {text}"));
        check(&[], &[(20.0, "x")], &["20.0 Marking for deletion Pod default/web", &condition, &deleted]);
    }

    #[test]
    fn a_pod_goes_exactly_its_toleration_after_the_taint() {
        let [condition, deleted] = EVICTED.map(|text| format!("320.0 {text}"));
        check(&[("x", 300)], &[(20.0, "x")], &["320.0 Marking for deletion Pod default/web", &condition, &deleted]);
        check(&[("x", 0)], &[(20.0, "x")], &[]);
    }

    #[test]
    fn a_second_taint_with_a_shorter_toleration_changes_nothing() {
        let [condition, deleted] = EVICTED.map(|text| format!("320.0 {text}"));
        let expected = ["320.0 Marking for deletion Pod default/web", &condition, &deleted];
        check(&[("x", 300), ("y", 10)], &[(20.0, "x"), (120.0, "y")], &expected);
    }

    #[test]
    fn a_second_taint_that_is_not_tolerated_cancels_and_marks_at_once() {
        let [condition, deleted] = EVICTED.map(|text| format!("120.0 {text}"));
        let cancelled = "120.0 Cancelling deletion of Pod default/web";
        let expected = [cancelled, "120.0 Marking for deletion Pod default/web", &condition, &deleted];
        check(&[("x", 300)], &[(20.0, "x"), (120.0, "y")], &expected);
    }

    #[test]
    fn a_pod_that_somebody_deletes_meanwhile_is_spoken_of_as_spared() {
        let pod = Object::Pod(Pod { meta: Meta::named("default", "web"), ..tolerant(300) }.into());
        let mut world = World::new(Config::default(), vec![node("n1", "a"), pod]);
        world.run_until(20.0);
        let add = vec![Taint::new("x", TaintEffect::NoExecute)];
        world.call(Call::Patch(Key::new(Kind::Node, "", "n1"), Patch::Taints { add, remove: vec![] }));
        world.run_until(50.0);
        world.call(Call::Delete(Key::new(Kind::Pod, "default", "web"), DeleteOptions::default()));
        world.run_until(1000.0);
        assert_eq!(
            world.log("TaintManagerEviction"),
            ["51.3 TaintManagerEviction Cancelling deletion of Pod default/web"]
        );
    }

    /// A pod that bears the taint x for so long.
    fn tolerant(seconds: u64) -> Pod {
        let toleration = Toleration {
            key: Name::new("x"),
            operator: TolerationOperator::Exists,
            value: Name::default(),
            effect: None,
            seconds: Some(Duration::from_secs(seconds)),
        };
        let spec = PodSpec { tolerations: [toleration].into(), ..PodSpec::default() };
        Pod { spec: Arc::new(spec), ..Pod::default() }
    }

    #[test]
    fn a_taint_that_goes_in_time_cancels_and_the_next_one_starts_anew() {
        let [condition, deleted] = EVICTED.map(|text| format!("70.0 {text}"));
        check(
            &[("x", 10)],
            &[(20.0, "x"), (25.0, "-x"), (60.0, "x")],
            &[
                "25.0 Cancelling deletion of Pod default/web",
                "70.0 Marking for deletion Pod default/web",
                &condition,
                &deleted,
            ],
        );
    }
}
