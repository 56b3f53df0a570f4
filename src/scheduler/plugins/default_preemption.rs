//! DefaultPreemption: makes room for a pod by deleting pods of lower priority.
//!
//! *When you meet it:* a pod with a PriorityClass that finds no room: the event `Preempted` on its victims, and
//! `status.nominatedNodeName` on itself. Else the second half of a failure message: "preemption: 0/3 nodes are available: …".
//!
//! Kubernetes: pkg/scheduler/framework/plugins/defaultpreemption/default_preemption.go,
//! pkg/scheduler/framework/preemption/preemption.go. Among candidates that no rule separates the first is taken, where
//! Kubernetes takes any.

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::condition;
use crate::model::{ConditionStatus, Pod};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::fit_error::FitError;
use crate::scheduler::framework::{
    Code, EnqueueExtensions, Failed, Hint, Nomination, Plugin, PostFilter, PreEnqueue, Status,
};
use crate::scheduler::listers::{Listers, World};
use crate::scheduler::node_table::NodeId;
use crate::scheduler::pod_info::PodInfo;

/// The reason of the condition `DisruptionTarget` that victims get.
pub const PREEMPTION_BY_SCHEDULER: &str = "PreemptionByScheduler";

/// See the module.
#[derive(Debug)]
pub struct DefaultPreemption {
    /// `minCandidateNodesPercentage`.
    pub min_candidate_nodes_percentage: usize,
    /// `minCandidateNodesAbsolute`.
    pub min_candidate_nodes_absolute: usize,
}

impl Default for DefaultPreemption {
    fn default() -> Self {
        DefaultPreemption { min_candidate_nodes_percentage: 10, min_candidate_nodes_absolute: 100 }
    }
}

/// A node on which the pod would fit without these pods.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub node: NodeId,
    /// The most important first.
    pub victims: Vec<PodInfo>,
    pub pdb_violations: usize,
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreEnqueue for DefaultPreemption {
    fn pre_enqueue(&self, pod: &PodInfo, world: &World) -> Result<(), Status> {
        if world.preemptions.keeps_out(pod.uid(), &world.nodes) {
            return Err(Status::unresolvable("waiting for the preemption for this pod to be finished"));
        }
        Ok(())
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(&self, failed: &Failed<'_>) -> Result<Nomination, Status> {
        if let Some(reason) = not_eligible(failed) {
            return Err(Status::unschedulable(format!("preemption: {reason}")));
        }
        let nodes = helpful_nodes(failed);
        let (candidates, rejected) = self.candidates(failed, &nodes);
        let best = best_candidates(&candidates);
        let Some(best) = best.first() else {
            let rejected: Vec<(NodeId, &Status)> = rejected.iter().map(|(node, status)| (*node, status)).collect();
            let mut error = FitError::new(failed.world.nodes.len());
            let absent = Status::unresolvable("Preemption is not helpful for scheduling");
            error.reject(&rejected, &absent, |_| None);
            let mut status = Status::unschedulable(format!("preemption: {}", error.text("")));
            status.ends_nomination = true;
            return Err(status);
        };
        Ok(Nomination {
            node: failed.world.nodes.get(best.node).name,
            victims: best.victims.iter().map(PodInfo::uid).collect(),
        })
    }
}

/// Why the pod may not preempt (`PodEligibleToPreemptOthers`).
fn not_eligible(failed: &Failed<'_>) -> Option<&'static str> {
    let pod = &failed.pod.pod;
    if pod.spec.preempts_never {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let node = failed.world.nodes.find(pod.status.nominated_node?)?;
    let status = failed.nodes.iter().find(|(tried, _)| *tried == node).map_or(failed.absent, |(_, status)| status);
    if status.code == Code::UnschedulableAndUnresolvable {
        return None;
    }
    let going = |other: &PodInfo| {
        other.priority() < failed.pod.priority() && other.pod.is_terminating() && is_preempted(&other.pod)
    };
    let any = failed.world.nodes.get(node).pods.iter().any(going);
    any.then_some("not eligible due to a terminating pod on the nominated node.")
}

fn is_preempted(pod: &Pod) -> bool {
    condition::find(&pod.status.conditions, "DisruptionTarget").is_some_and(|condition| {
        condition.status == ConditionStatus::True && condition.reason == *PREEMPTION_BY_SCHEDULER
    })
}

/// The nodes that rejected the pod for something that fewer pods could cure, in the order of all nodes.
pub fn helpful_nodes(failed: &Failed<'_>) -> Vec<NodeId> {
    let tried: FxHashMap<NodeId, Code> = failed.nodes.iter().map(|(node, status)| (*node, status.code)).collect();
    let helps = |node: &&NodeId| *tried.get(node).unwrap_or(&failed.absent.code) == Code::Unschedulable;
    failed.world.nodes.order().iter().filter(helps).copied().collect()
}

impl DefaultPreemption {
    /// Of how many nodes the search for candidates looks.
    pub fn candidate_limit(&self, nodes: usize) -> usize {
        (nodes * self.min_candidate_nodes_percentage / 100).max(self.min_candidate_nodes_absolute).min(nodes)
    }

    /// The candidates among `nodes`, those that violate no budget first, and why the others are none.
    pub fn candidates(&self, failed: &Failed<'_>, nodes: &[NodeId]) -> (Vec<Candidate>, Vec<(NodeId, Status)>) {
        let (mut clean, mut violating, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        let limit = self.candidate_limit(nodes.len());
        let offset = ((u128::from(failed.random) * nodes.len() as u128) >> 64) as usize;
        for at in 0..nodes.len() {
            if !clean.is_empty() && clean.len() + violating.len() >= limit {
                break;
            }
            let node = nodes[(offset + at) % nodes.len()];
            match victims_on(failed, node) {
                Ok(candidate) if candidate.pdb_violations == 0 => clean.push(candidate),
                Ok(candidate) => violating.push(candidate),
                Err(status) => rejected.push((node, status)),
            }
        }
        clean.append(&mut violating);
        (clean, rejected)
    }
}

/// The pods that would have to go from `node` (`SelectVictimsOnNode`).
fn victims_on(failed: &Failed<'_>, node: NodeId) -> Result<Candidate, Status> {
    let row = failed.world.nodes.get(node);
    let lower = |pod: &&PodInfo| pod.priority() < failed.pod.priority();
    let mut potential: Vec<PodInfo> = row.pods.iter().filter(lower).cloned().collect();
    if potential.is_empty() {
        return Err(Status::unresolvable("No preemption victims found for incoming pod"));
    }
    let mut trial = failed.attempt.trial(node);
    potential.iter().for_each(|pod| trial.remove(pod.uid()));
    trial.filter()?;
    sort_by_importance(&mut potential);
    let violating = violate_budgets(&potential, &failed.world.listers);
    let mut victims: Vec<PodInfo> = Vec::new();
    let mut pdb_violations = 0;
    // Those whose loss would violate a budget are spared first, each group from the most important on.
    for group in [true, false] {
        for (pod, _) in potential.iter().zip(&violating).filter(|(_, violates)| **violates == group) {
            trial.add(pod);
            if trial.filter().is_ok() {
                continue;
            }
            trial.remove(pod.uid());
            victims.push(pod.clone());
            pdb_violations += usize::from(group);
        }
    }
    if violating.contains(&true) && violating.contains(&false) {
        sort_by_importance(&mut victims);
    }
    if victims.is_empty() {
        return Err(Status::error(format!("expected at least one victim pod on node \"{}\"", row.name)));
    }
    Ok(Candidate { node, victims, pdb_violations })
}

/// The most important first. Two pods that have not started both count as starting now, the one that is asked about first a
/// moment earlier, so Kubernetes' sort turns them round.
fn sort_by_importance(pods: &mut [PodInfo]) {
    pods.sort_by_key(importance);
    let mut from = 0;
    while from < pods.len() {
        let same = |pod: &&PodInfo| importance(pod) == importance(&pods[from]);
        let to = from + pods[from..].iter().take_while(same).count();
        if pods[from].pod.status.start_time.is_none() {
            pods[from..to].reverse();
        }
        from = to;
    }
}

/// Higher priority first, then the earlier start; a pod that has not started counts as starting now.
fn importance(pod: &PodInfo) -> (i64, Time) {
    (-i64::from(pod.priority()), start_of(pod))
}

fn start_of(pod: &PodInfo) -> Time {
    pod.pod.status.start_time.unwrap_or(Time::MAX)
}

/// For each pod, whether its loss after those before it would violate a budget.
fn violate_budgets(pods: &[PodInfo], listers: &Listers) -> Vec<bool> {
    let mut allowed: Vec<i32> =
        listers.disruption_budgets.values().map(|budget| budget.status.disruptions_allowed).collect();
    let mut violates = |pod: &Pod| {
        if pod.meta.labels.is_empty() {
            return false;
        }
        let mut any = false;
        for (budget, allowed) in listers.disruption_budgets.values().zip(&mut allowed) {
            let covers = budget.meta.namespace == pod.meta.namespace
                && budget
                    .selector
                    .as_ref()
                    .is_some_and(|selector| !selector.is_empty() && selector.matches(&pod.meta.labels));
            let already_gone = budget.status.disrupted_pods.iter().any(|(name, _)| *name == pod.meta.name);
            if covers && !already_gone {
                *allowed -= 1;
                any |= *allowed < 0;
            }
        }
        any
    };
    pods.iter().map(|pod| violates(&pod.pod)).collect()
}

/// The candidates that no rule separates (`pickOneNodeForPreemption`).
pub fn best_candidates(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    keep_least(&mut left, |candidate| candidate.pdb_violations as i64);
    keep_least(&mut left, |candidate| candidate.victims.first().map_or(0, |pod| i64::from(pod.priority())));
    keep_least(&mut left, |candidate| {
        candidate.victims.iter().map(|pod| i64::from(pod.priority()) + (1 << 31)).sum::<i64>()
    });
    keep_least(&mut left, |candidate| candidate.victims.len() as i64);
    // The latest of the earliest starts among the victims of the highest priority.
    keep_least(&mut left, |candidate| {
        let highest = candidate.victims.iter().map(PodInfo::priority).max();
        let earliest = candidate.victims.iter().filter(|pod| Some(pod.priority()) == highest).map(start_of).min();
        -i128::from(earliest.unwrap_or(Time::MAX).as_nanos())
    });
    left
}

fn keep_least<K: Ord + Copy>(left: &mut Vec<&Candidate>, key: impl Fn(&Candidate) -> K) {
    if let Some(least) = left.iter().map(|candidate| key(candidate)).min() {
        left.retain(|candidate| key(candidate) == least);
    }
}

impl EnqueueExtensions for DefaultPreemption {
    fn events(&self) -> Vec<ClusterEvent> {
        vec![ClusterEvent::new(Resource::Pod, Action::DELETE)]
    }

    /// Registered only so that a pod that waits for its victims is looked at.
    fn hint(&self, _: &PodInfo, _: ClusterEvent, _: &Change<'_>, _: &World) -> Hint {
        Hint::Skip
    }
}
