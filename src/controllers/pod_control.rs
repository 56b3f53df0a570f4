//! What the controllers that own pods share: making pods of a template, slow start, the order of deletion, adoption.
//!
//! Kubernetes: pkg/controller/controller_utils.go, pkg/controller/controller_ref_manager.go.

use std::cmp::Ordering;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::condition;
use crate::model::workload::PodTemplate;
use crate::model::{Kind, Meta, Name, OwnerReference, Pod, Selector};
use crate::protocol::api::{Call, DeleteOptions, Patch};

use super::informer::{Cache, phase_rank};

/// At most so many pods are created or deleted in one sync.
pub const BURST_REPLICAS: usize = 500;

/// The reference by which `owner` controls what it makes.
pub fn controller_reference(kind: Kind, owner: &Meta) -> OwnerReference {
    OwnerReference { kind, name: owner.name, uid: owner.uid, block_deletion: true }
}

/// A pod of this template, owned by `owner`, whose name the API server makes of the owner's.
pub fn pod_from_template(kind: Kind, owner: &Meta, template: &PodTemplate) -> Pod {
    Pod {
        meta: Meta {
            namespace: owner.namespace,
            generate_name: Name::from(format!("{}-", owner.name)),
            labels: template.labels.clone(),
            annotations: template.annotations.clone(),
            owner: Some(controller_reference(kind, owner)),
            source: template.spec.source.or(owner.source),
            ..Meta::default()
        },
        spec: template.spec.clone(),
        ..Pod::default()
    }
}

/// The deletion of exactly this pod, with its own grace period.
pub fn delete_pod(pod: &Pod) -> Call {
    Call::Delete(pod.meta.key(Kind::Pod), DeleteOptions { uid: Some(pod.meta.uid), ..DeleteOptions::default() })
}

/// Creates in batches of 1, 2, 4, …, so that what can't be created fails once and not 500 times.
#[derive(Clone, Copy, Debug)]
pub struct SlowStart {
    left: usize,
    batch: usize,
}

impl SlowStart {
    /// For `count` creations.
    pub fn new(count: usize) -> SlowStart {
        SlowStart { left: count, batch: 1 }
    }

    /// How many to create now; 0 when all are made.
    pub fn next_batch(&mut self) -> usize {
        let batch = self.batch.min(self.left);
        self.left -= batch;
        self.batch *= 2;
        batch
    }

    /// Gives up the rest and says how many that are.
    pub fn abort(&mut self) -> usize {
        std::mem::take(&mut self.left)
    }
}

/// The pods in the order in which Kubernetes deletes them when there are too many (`ActivePodsWithRanks`). `rank` says
/// how many related pods there are on the pod's node.
pub fn in_deletion_order(mut pods: Vec<Arc<Pod>>, now: Time, rank: impl Fn(&Pod) -> usize) -> Vec<Arc<Pod>> {
    // Kubernetes' comparison is no order in the strict sense: pods of one log bucket are told apart by uid, those of the
    // same second by what comes after. So it must not go to the standard sort, which may panic.
    pods.sort_by_key(|pod| pod.meta.uid);
    let mut ranked: Vec<(usize, Arc<Pod>)> = pods.into_iter().map(|pod| (rank(&pod), pod)).collect();
    merge_sort(&mut ranked, &|a, b| compare(a, b, now));
    ranked.into_iter().map(|(_, pod)| pod).collect()
}

fn compare(a: &(usize, Arc<Pod>), b: &(usize, Arc<Pod>), now: Time) -> Ordering {
    let ((rank_a, a), (rank_b, b)) = (a, b);
    let by_state = (a.node.is_some().cmp(&b.node.is_some()))
        .then(phase_rank(a.status.phase).cmp(&phase_rank(b.status.phase)))
        .then(a.is_ready().cmp(&b.is_ready()))
        .then(deletion_cost(a).cmp(&deletion_cost(b)))
        .then(rank_b.cmp(rank_a));
    if by_state != Ordering::Equal {
        return by_state;
    }
    let ready_since = |pod: &Pod| {
        let ready = condition::find(&pod.status.conditions, "Ready");
        ready.map_or(Time::ZERO, |ready| ready.last_transition.truncated_to_second())
    };
    if a.is_ready() && b.is_ready() && ready_since(a) != ready_since(b) {
        return younger_first(ready_since(a), ready_since(b), now).then(a.meta.uid.cmp(&b.meta.uid));
    }
    let (sidecars_a, restarts_a) = most_restarts(a);
    let (sidecars_b, restarts_b) = most_restarts(b);
    let by_restarts = restarts_b.cmp(&restarts_a).then(sidecars_b.cmp(&sidecars_a));
    if by_restarts != Ordering::Equal {
        return by_restarts;
    }
    let (created_a, created_b) = (a.meta.created.truncated_to_second(), b.meta.created.truncated_to_second());
    if created_a != created_b {
        return younger_first(created_a, created_b, now).then(a.meta.uid.cmp(&b.meta.uid));
    }
    Ordering::Equal
}

/// Compares ages by their logarithm to base 2, in nanoseconds; the younger one comes first.
fn younger_first(a: Time, b: Time, now: Time) -> Ordering {
    let bucket = |since: Time| now.since(since).as_nanos().max(1).ilog2();
    bucket(a).cmp(&bucket(b))
}

fn most_restarts(pod: &Pod) -> (u32, u32) {
    let most = |statuses: &[crate::model::ContainerStatus]| statuses.iter().map(|s| s.restart_count).max().unwrap_or(0);
    (most(&pod.status.init_containers), most(&pod.status.containers))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.meta.annotations.get(Name::new("controller.kubernetes.io/pod-deletion-cost"));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn merge_sort<T: Clone>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let middle = items.len() / 2;
    merge_sort(&mut items[..middle], compare);
    merge_sort(&mut items[middle..], compare);
    let mut merged = Vec::with_capacity(items.len());
    let (mut left, mut right) = (0, middle);
    while left < middle || right < items.len() {
        let take_left =
            right == items.len() || (left < middle && compare(&items[left], &items[right]) != Ordering::Greater);
        let from = if take_left { &mut left } else { &mut right };
        merged.push(items[*from].clone());
        *from += 1;
    }
    items.clone_from_slice(&merged);
}

/// How many active pods of these there are on each node.
pub fn count_by_node<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> FxHashMap<Name, usize> {
    let mut counts = FxHashMap::default();
    for pod in pods.filter(|pod| pod.is_active()) {
        if let Some(node) = pod.node {
            *counts.entry(node).or_insert(0) += 1;
        }
    }
    counts
}

/// The requests that make `owner` the controller of the ownerless pods of its namespace that match.
pub fn adoptions(cache: &Cache, kind: Kind, owner: &Meta, selector: &Selector) -> Vec<Call> {
    if owner.deletion.is_some() || selector.is_empty() {
        return Vec::new();
    }
    let matching = cache.orphans(owner.namespace).filter(|pod| pod.is_active() && selector.matches(&pod.meta.labels));
    let mut pods: Vec<Name> = matching.map(|pod| pod.meta.name).collect();
    pods.sort();
    let reference = controller_reference(kind, owner);
    let adopt =
        |name| Call::Patch(crate::model::Key::new(Kind::Pod, owner.namespace, name), Patch::Owner(Some(reference)));
    pods.into_iter().map(adopt).collect()
}
