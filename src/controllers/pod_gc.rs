//! Pod garbage collector: removes pods that nobody else will: of nodes that are gone, of nodes out of service, too many
//! terminated ones, and terminating ones that never had a node.
//!
//! A user meets it when a node is deleted and its pods vanish 40 to 60 s later. Example: `kubectl delete node n1`.
//!
//! Kubernetes: pkg/controller/podgc/gc_controller.go. Its sweep each 20 s happens only when it would find something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::taint::OUT_OF_SERVICE;
use crate::model::{ConditionStatus, Key, Kind, Name, Node, Object, Phase, Pod, condition};
use crate::protocol::api::{Call, DeleteOptions};

use super::controller::{Context, Controller, Progress, grid_after};
use super::informer::Change;
use super::replica_set::failed_other_than_gone;
use super::taint_eviction::disruption_target;

const PERIOD: Duration = Duration::from_secs(20);
/// A node that is missing is looked for again after this long before its pods are removed.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The pod garbage collector.
#[derive(Debug, Default)]
pub struct PodGc {
    /// Where the sweeps' grid begins.
    grid: Time,
    /// Nodes that pods name and that are not there, and (once a sweep has noticed) since when.
    missing: BTreeMap<Name, Option<Time>>,
    /// Terminating pods without a node.
    unscheduled: BTreeSet<Key>,
    /// Terminated pods, those that go first in front.
    terminated: BTreeSet<Rank>,
}

/// Where a terminated pod stands among those that may be too many: evicted ones first, then the oldest.
type Rank = (bool, Time, Name, Name);

/// None for a pod that has not terminated.
fn rank(pod: &Arc<Pod>) -> Option<Rank> {
    let evicted = pod.status.phase == Phase::Failed && pod.status.reason == *"Evicted";
    let rank = (!evicted, pod.meta.created.truncated_to_second(), pod.meta.name, pod.meta.namespace);
    pod.status.phase.is_terminal().then_some(rank)
}

/// The key of the sweep, which is about no object.
fn sweep() -> Key {
    Key { kind: Kind::Pod, namespace: Name::default(), name: Name::default() }
}

fn is_out_of_service(node: &Node) -> bool {
    node.spec.taints.iter().any(|taint| taint.key == *OUT_OF_SERVICE)
        && condition::find(&node.status.conditions, "Ready").is_none_or(|ready| ready.status != ConditionStatus::True)
}

impl PodGc {
    /// Sweeps at the next point of the grid.
    fn wake(&self, cx: &mut Context<'_>) {
        cx.enqueue_at(sweep(), grid_after(self.grid, PERIOD, cx.now));
    }

    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let (was, is) = (old.and_then(rank), new.and_then(rank));
        if was != is {
            was.inspect(|was| _ = self.terminated.remove(was));
            self.terminated.extend(is);
        }
        let Some(pod) = new else {
            self.unscheduled.remove(&change.key());
            return;
        };
        match pod.node {
            None if pod.is_terminating() => {
                self.unscheduled.insert(change.key());
                self.wake(cx);
            }
            None => {}
            Some(node) => {
                self.unscheduled.remove(&change.key());
                let is_new = old.is_none_or(|old| old.node.is_none());
                match cx.cache.node(node) {
                    None if is_new => {
                        self.missing.entry(node).or_insert(None);
                        self.wake(cx);
                    }
                    Some(node) if change.deletion_begins() && is_out_of_service(node) => self.wake(cx),
                    _ => {}
                }
            }
        }
        let threshold = cx.config.terminated_pod_gc_threshold;
        if threshold > 0 && pod.status.phase.is_terminal() && self.terminated.len() as i64 > threshold {
            self.wake(cx);
        }
    }

    fn observe_node(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let name = change.key().name;
        match change.nodes() {
            (_, Some(node)) => {
                self.missing.remove(&name);
                if is_out_of_service(node) {
                    self.wake(cx);
                }
            }
            (_, None) => {
                if cx.cache.pods_on(name).next().is_some() {
                    self.missing.insert(name, None);
                    self.wake(cx);
                }
            }
        }
    }

    /// The surplus of terminated pods: evicted ones first, then the oldest.
    fn surplus(&self, cx: &Context<'_>) -> Vec<Arc<Pod>> {
        let threshold = cx.config.terminated_pod_gc_threshold;
        let surplus = self.terminated.len() as i64 - threshold;
        if threshold <= 0 || surplus <= 0 {
            return Vec::new();
        }
        let first = self.terminated.iter().take(surplus as usize);
        first.filter_map(|&(_, _, name, namespace)| cx.cache.pod(namespace, name).cloned()).collect()
    }

    fn out_of_service(&self, cx: &Context<'_>) -> Vec<Arc<Pod>> {
        let mut nodes: Vec<Name> =
            cx.cache.nodes().filter(|node| is_out_of_service(node)).map(|node| node.meta.name).collect();
        nodes.sort();
        let pods = nodes.into_iter().flat_map(|node| cx.cache.pods_on(node));
        sorted(pods.filter(|pod| pod.is_terminating()).cloned().collect())
    }

    fn orphans(&mut self, cx: &mut Context<'_>) -> Vec<Arc<Pod>> {
        let mut pods = Vec::new();
        self.missing.retain(|&node, _| cx.cache.pods_on(node).next().is_some());
        for (&node, noticed) in &mut self.missing {
            match *noticed {
                None => *noticed = Some(cx.now),
                Some(since) if cx.now >= since + QUARANTINE => pods.extend(cx.cache.pods_on(node).cloned()),
                Some(_) => {}
            }
        }
        if !self.missing.is_empty() {
            self.wake(cx);
        }
        sorted(pods)
    }

    /// Marks a pod as Failed unless it is terminal, then removes it.
    fn remove(&self, pod: &Arc<Pod>, orphaned: bool, cx: &mut Context<'_>) {
        let key = pod.meta.key(Kind::Pod);
        if !pod.status.phase.is_terminal() {
            let mut failed = (**pod).clone();
            failed.meta.resource_version = 0;
            failed.status.phase = Phase::Failed;
            if orphaned {
                let target = disruption_target(cx.now, "DeletionByPodGC", "PodGC: node no longer exists");
                let (kind, status, reason, message) = (target.kind, target.status, target.reason, target.message);
                condition::set(&mut failed.status.conditions, cx.now, kind, status, reason, message);
            }
            cx.request(Call::UpdateStatus(Object::Pod(failed.into())));
        }
        let options =
            DeleteOptions { grace: Some(Duration::ZERO), uid: Some(pod.meta.uid), ..DeleteOptions::default() };
        cx.request(Call::Delete(key, options));
    }
}

fn sorted(mut pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    pods.sort_by_key(|pod| (pod.meta.namespace, pod.meta.name));
    pods
}

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn component(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Node]
    }

    fn begins(&mut self, cx: &mut Context<'_>) {
        self.grid = cx.grid(PERIOD);
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            _ => self.observe_node(change, cx),
        }
    }

    fn sync(&mut self, _key: Key, cx: &mut Context<'_>) -> Progress {
        for pod in self.surplus(cx) {
            self.remove(&pod, false, cx);
        }
        for pod in self.out_of_service(cx) {
            self.remove(&pod, false, cx);
        }
        for pod in self.orphans(cx) {
            self.remove(&pod, true, cx);
        }
        for key in std::mem::take(&mut self.unscheduled) {
            if let Some(pod) = cx.cache.pod(key.namespace, key.name).cloned()
                && pod.node.is_none()
            {
                self.remove(&pod, false, cx);
            }
        }
        Progress::Wait
    }

    fn resume(&mut self, _key: Key, replies: Vec<super::controller::Reply>, cx: &mut Context<'_>) -> Progress {
        if failed_other_than_gone(&replies) {
            self.wake(cx);
        }
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app, node};
    use super::*;
    use crate::model::{Meta, Taint, TaintEffect};
    use crate::protocol::api::Patch;

    fn pod(name: &str, node: &str) -> Object {
        let spec = app("app:1").1.spec.clone();
        let meta = Meta::named("default", name);
        Object::Pod(Pod { meta, spec, node: Some(Name::new(node)), ..Pod::default() }.into())
    }

    #[test]
    fn pods_of_a_deleted_node_vanish_40_to_60_seconds_later() {
        let mut world = World::new(Config::default(), vec![node("n1", "a"), node("n2", "a"), pod("web", "n1")]);
        world.run_until(33.0);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
        world.call(Call::Delete(Key::new(Kind::Node, "", "n1"), DeleteOptions::default()));
        world.run_until(200.0);
        assert_eq!(world.log("-Pod"), ["80.0 -Pod web"]);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn terminating_pods_of_a_node_out_of_service_go_at_the_next_sweep() {
        let mut world = World::new(Config::default(), vec![node("n1", "a"), pod("web", "n1")]);
        world.kubelet.dies_after = None;
        world.run_until(25.0);
        world.call(Call::Delete(Key::new(Kind::Pod, "default", "web"), DeleteOptions::default()));
        world.change(Key::new(Kind::Node, "", "n1"), |object| {
            let Object::Node(node) = object else { panic!("it is a node") };
            let ready = &mut Arc::make_mut(node).status.conditions[3];
            ready.status = ConditionStatus::Unknown;
        });
        world.run_until(31.0);
        let taint = Taint::new(OUT_OF_SERVICE, TaintEffect::NoSchedule);
        let patch = Patch::Taints { add: vec![taint], remove: vec![] };
        world.call(Call::Patch(Key::new(Kind::Node, "", "n1"), patch));
        world.run_until(39.0);
        assert_eq!(world.pods().len(), 1);
        world.run_until(41.0);
        assert_eq!(world.pods().len(), 0);
    }

    #[test]
    fn only_so_many_terminated_pods_are_kept() {
        let config = Config { terminated_pod_gc_threshold: 2, ..Config::default() };
        let mut world = World::new(config, vec![node("n1", "a")]);
        world.kubelet.exits = Some((Duration::from_secs(3), 0));
        for index in 0..5 {
            world.upsert(pod(&format!("p{index}"), "n1"));
        }
        world.run_until(30.0);
        assert_eq!(world.texts("-Pod"), ["-Pod p0", "-Pod p1", "-Pod p2"]);
    }
}
