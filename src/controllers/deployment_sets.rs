//! A Deployment's ReplicaSets: which is the new one, how large each should be, their revisions and history.
//!
//! Kubernetes: pkg/controller/deployment/{rolling,sync,recreate}.go, …/util/deployment_util.go. Everything here is
//! arithmetic over the objects; what is sent stands in `deployment`.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::workload::{Deployment, DeploymentStrategy, PodTemplate, ReplicaSet};
use crate::model::{Kind, Labels, Meta, Name, Requirement, Selector};

use super::pod_control::controller_reference;
use super::template::same_template;

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many pods there may be more, or fewer ready, than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub surge: i32,
    pub unavailable: i32,
}

impl Limits {
    /// Surge is rounded up, unavailability down; if both are 0, one pod may be unavailable.
    pub fn of(deployment: &Deployment) -> Limits {
        let DeploymentStrategy::RollingUpdate { max_unavailable, max_surge } = deployment.strategy else {
            return Limits { surge: 0, unavailable: 0 };
        };
        let surge = max_surge.rounded_up(deployment.replicas);
        let mut unavailable = max_unavailable.rounded_down(deployment.replicas);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Limits { surge, unavailable: unavailable.min(deployment.replicas) }
    }
}

/// The oldest ReplicaSet with the Deployment's template; `sets` is sorted by age.
pub fn find_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<usize> {
    let hash = Name::new(HASH_LABEL);
    sets.iter().position(|set| {
        set.template.labels.without(hash) == deployment.template.labels.without(hash)
            && same_template(
                &PodTemplate { labels: Labels::default(), ..(*set.template).clone() },
                &PodTemplate { labels: Labels::default(), ..(*deployment.template).clone() },
            )
    })
}

fn total(sets: &[Arc<ReplicaSet>]) -> i32 {
    sets.iter().map(|set| set.replicas).sum()
}

/// The size that the new ReplicaSet may have while it has `present` replicas.
pub fn size_of_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>], present: i32) -> i32 {
    if deployment.strategy == DeploymentStrategy::Recreate {
        return deployment.replicas;
    }
    let room = deployment.replicas + Limits::of(deployment).surge - total(sets);
    if room <= 0 { present } else { present + room.min(deployment.replicas - present) }
}

/// The size that the new ReplicaSet should have now.
pub fn reconcile_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>], new: usize) -> i32 {
    let present = sets[new].replicas;
    if present >= deployment.replicas { deployment.replicas } else { size_of_new(deployment, sets, present) }
}

/// The old ReplicaSets that should shrink now, with their sizes: first their unhealthy pods go, then as many as the new
/// one has made superfluous.
pub fn reconcile_old(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    new: usize,
    limits: Limits,
) -> Vec<(usize, i32)> {
    let min_available = deployment.replicas - limits.unavailable;
    let new_unavailable = sets[new].replicas - sets[new].status.available;
    let mut removable = total(sets) - min_available - new_unavailable;
    let old: Vec<usize> = (0..sets.len()).filter(|&at| at != new && sets[at].replicas > 0).collect();
    if removable <= 0 || old.is_empty() {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.iter().map(|set| set.replicas).collect();
    for &at in &old {
        let unhealthy = (sizes[at] - sets[at].status.available).max(0).min(removable);
        sizes[at] -= unhealthy;
        removable -= unhealthy;
    }
    let available: i32 = sets.iter().map(|set| set.status.available).sum();
    let mut surplus = (available - min_available).max(0);
    for &at in &old {
        let fewer = sizes[at].min(surplus);
        sizes[at] -= fewer;
        surplus -= fewer;
    }
    old.into_iter().filter(|&at| sizes[at] != sets[at].replicas).map(|at| (at, sizes[at])).collect()
}

/// True if an active ReplicaSet was sized for another number of replicas.
pub fn was_resized(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    let active = sets.iter().filter(|set| set.replicas > 0);
    active.filter_map(|set| number(&set.meta, DESIRED)).any(|desired| desired != i64::from(deployment.replicas))
}

/// The sizes after the Deployment's own size has changed, or while it is paused: one active ReplicaSet takes all, several
/// share in proportion.
pub fn scale(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    new: Option<usize>,
    limits: Limits,
) -> Vec<(usize, i32)> {
    let mut active: Vec<usize> = (0..sets.len()).filter(|&at| sets[at].replicas > 0).collect();
    let only = match active[..] {
        [] => new.or(sets.len().checked_sub(1)),
        [one] => Some(one),
        _ => None,
    };
    if let Some(only) = only {
        return if sets[only].replicas == deployment.replicas { Vec::new() } else { vec![(only, deployment.replicas)] };
    }
    if let Some(new) = new {
        let set = &sets[new];
        let saturated = number(&set.meta, DESIRED) == Some(i64::from(deployment.replicas))
            && set.replicas == deployment.replicas
            && set.status.available == deployment.replicas;
        if saturated {
            return active.into_iter().filter(|&at| at != new).map(|at| (at, 0)).collect();
        }
    }
    if deployment.strategy == DeploymentStrategy::Recreate {
        return Vec::new();
    }
    let allowed = if deployment.replicas > 0 { deployment.replicas + limits.surge } else { 0 };
    let to_add = allowed - total(sets);
    if to_add >= 0 {
        active.sort_by_key(|&at| Reverse((sets[at].replicas, at)));
    } else {
        active.sort_by_key(|&at| (Reverse(sets[at].replicas), at));
    }
    let mut added = 0;
    let mut sizes: Vec<(usize, i32)> = Vec::with_capacity(active.len());
    for at in active {
        let share = share_of(deployment, &sets[at], limits, to_add - added);
        sizes.push((at, sets[at].replicas + share));
        added += share;
    }
    if let Some((_, largest)) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    sizes
}

/// By how much this ReplicaSet changes so that it keeps its share; not more than `left`.
fn share_of(deployment: &Deployment, set: &ReplicaSet, limits: Limits, left: i32) -> i32 {
    if left == 0 {
        return 0;
    }
    let fraction = if deployment.replicas == 0 {
        -set.replicas
    } else {
        let before = number(&set.meta, MAXIMUM).unwrap_or(i64::from(deployment.status.replicas)).max(1);
        let wanted = i64::from(set.replicas) * i64::from(deployment.replicas + limits.surge);
        // Rounded to the nearest, halves up, as both are positive.
        ((2 * wanted + before) / (2 * before)) as i32 - set.replicas
    };
    if left > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// The ReplicaSet with this size and with the annotations that remember it; None if both are there already.
pub fn resized(deployment: &Deployment, set: &ReplicaSet, size: i32, limits: Limits) -> Option<ReplicaSet> {
    let mut updated = set.clone();
    updated.replicas = size;
    set_sizes(&mut updated.meta, deployment, limits);
    (updated != *set).then_some(updated)
}

fn set_sizes(meta: &mut Meta, deployment: &Deployment, limits: Limits) {
    let maximum = deployment.replicas + limits.surge;
    for (key, value) in [(DESIRED, deployment.replicas), (MAXIMUM, maximum)] {
        if number(meta, key) != Some(i64::from(value)) {
            meta.annotations = meta.annotations.with(Name::new(key), Name::from(value.to_string()));
        }
    }
}

fn number(meta: &Meta, annotation: &str) -> Option<i64> {
    meta.annotations.get(Name::new(annotation))?.parse().ok()
}

/// The revision after the greatest one of the ReplicaSets other than `new`.
pub fn next_revision(sets: &[Arc<ReplicaSet>], new: Option<usize>) -> i64 {
    let old = sets.iter().enumerate().filter(|&(at, _)| Some(at) != new);
    old.filter_map(|(_, set)| number(&set.meta, REVISION)).max().unwrap_or(0) + 1
}

/// The ReplicaSet with at least this revision; None if it has it.
pub fn with_revision(set: &ReplicaSet, revision: i64) -> Option<ReplicaSet> {
    let present = number(&set.meta, REVISION).unwrap_or(0);
    if present >= revision {
        return None;
    }
    let mut updated = set.clone();
    let annotations = &mut updated.meta.annotations;
    if present > 0 {
        let history = Name::new(REVISION_HISTORY);
        let past = match annotations.get(history) {
            Some(earlier) if !earlier.is_empty() => format!("{earlier},{present}"),
            _ => present.to_string(),
        };
        *annotations = annotations.with(history, Name::from(past));
    }
    *annotations = annotations.with(Name::new(REVISION), Name::from(revision.to_string()));
    Some(updated)
}

/// Gives the Deployment the revision of its new ReplicaSet.
pub fn copy_revision(new: &ReplicaSet, deployment: &mut Deployment) {
    let key = Name::new(REVISION);
    if let Some(revision) = new.meta.annotations.get(key)
        && deployment.meta.annotations.get(key) != Some(revision)
    {
        deployment.meta.annotations = deployment.meta.annotations.with(key, revision);
    }
}

/// The new ReplicaSet of a Deployment.
pub fn new_set(deployment: &Deployment, hash: &str, replicas: i32, revision: i64) -> ReplicaSet {
    let label = Name::new(HASH_LABEL);
    let hash = Name::new(hash);
    let template =
        PodTemplate { labels: deployment.template.labels.with(label, hash), ..(*deployment.template).clone() };
    let mut requirements = deployment.selector.requirements.to_vec();
    requirements.push(Requirement::In(label, vec![hash]));
    let not_copied = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAXIMUM];
    let copied = deployment.meta.annotations.iter().filter(|(key, _)| !not_copied.contains(&key.as_str()));
    let mut meta = Meta {
        namespace: deployment.meta.namespace,
        name: Name::from(format!("{}-{hash}", deployment.meta.name)),
        labels: template.labels.clone(),
        annotations: Labels::new(copied).with(Name::new(REVISION), Name::from(revision.to_string())),
        owner: Some(controller_reference(Kind::Deployment, &deployment.meta)),
        source: deployment.meta.source,
        ..Meta::default()
    };
    set_sizes(&mut meta, deployment, Limits::of(deployment));
    ReplicaSet {
        meta,
        replicas,
        min_ready: deployment.min_ready,
        selector: Selector::new(requirements),
        template: template.into(),
        ..ReplicaSet::default()
    }
}

/// The old, empty ReplicaSets to delete, the lowest revision first.
pub fn beyond_history(deployment: &Deployment, sets: &[Arc<ReplicaSet>], new: Option<usize>) -> Vec<usize> {
    let mut old: Vec<usize> =
        (0..sets.len()).filter(|&at| Some(at) != new && sets[at].meta.deletion.is_none()).collect();
    let surplus = old.len().saturating_sub(deployment.revision_history_limit.max(0) as usize);
    old.sort_by_key(|&at| (number(&sets[at].meta, REVISION).unwrap_or(0), at));
    old.truncate(surplus);
    old.retain(|&at| {
        let set = &sets[at];
        set.replicas == 0 && set.status.replicas == 0 && set.meta.generation <= set.status.observed_generation
    });
    old
}
