//! What follows from a preemption: the victims are deleted, all but the last at once, then the last, while the pod that they make
//! room for stays out of the queue.
//!
//! A victim that is still at PreBind is not deleted: its binding is given up, and it is tried again.
//!
//! Kubernetes: pkg/scheduler/framework/preemption/executor.go (prepareCandidateAsync, IsPodRunningPreemption). With the gate
//! SchedulerAsyncPreemption off the requests leave together, and the pod is not kept out; the scheduling loop, which then
//! waits for them in Kubernetes, goes on.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{Condition, ConditionStatus, EventType, Key, Kind, Name, Pod, Text, Uid};
use crate::protocol::api::{Call, DeleteOptions, Patch, Status as ApiStatus, StatusReason};

use super::cycle::PendingCall;
use super::framework::Nomination;
use super::node_table::NodeTable;
use super::plugins::default_preemption::PREEMPTION_BY_SCHEDULER;
use super::{Fx, Known, Place, Scheduler};

/// The preemptions under way, by the pod that they make room for.
#[derive(Clone, Debug, Default)]
pub struct Preemptions(FxHashMap<Uid, Preemption>);

#[derive(Clone, Debug)]
struct Preemption {
    pod: Arc<Pod>,
    node: Name,
    /// Victims that are being deleted, before the last.
    running: usize,
    /// One was not to be deleted.
    failed: bool,
    last: Uid,
    /// It is the last one's turn.
    at_last: bool,
}

impl Preemptions {
    /// True while `pod` has to wait: until the last victim is seen to go.
    pub fn keeps_out(&self, pod: Uid, nodes: &NodeTable) -> bool {
        let Some(preemption) = self.0.get(&pod) else { return false };
        let stays = |node| {
            let pods = &nodes.get(node).pods;
            pods.iter().any(|other| other.uid() == preemption.last && !other.pod.is_terminating())
        };
        !preemption.at_last || nodes.find(preemption.node).is_some_and(stays)
    }

    /// The pod is gone; what was begun goes on.
    pub fn forget(&mut self, pod: Uid) {
        self.0.remove(&pod);
    }
}

/// A request about a victim.
#[derive(Clone, Debug)]
pub(super) struct Step {
    preemptor: Arc<Pod>,
    victim: Arc<Pod>,
    node: Name,
    is_delete: bool,
}

impl Scheduler {
    /// Deletes the victims of a preemption, and ends the nominations of lesser pods for the node.
    pub(super) fn preempt(&mut self, pod: &Arc<Pod>, nomination: &Nomination, fx: &mut Fx) {
        let alive = |uid: &Uid| self.pods.get(uid).filter(|known| !known.info.pod.is_terminating()).cloned();
        let victims: Vec<Known> = nomination.victims.iter().filter_map(alive).collect();
        let Some((last, others)) = victims.split_last() else { return };
        let lesser: Vec<Key> = self
            .nominator
            .on(nomination.node)
            .iter()
            .filter(|other| other.priority() < pod.spec.priority)
            .map(|other| other.pod.meta.key(Kind::Pod))
            .collect();
        for key in lesser {
            self.fire(Call::Patch(key, Patch::NominatedNode(None)), fx);
        }
        let is_async = self.config.feature_gates.async_preemption;
        if is_async {
            let preemption = Preemption {
                pod: pod.clone(),
                node: nomination.node,
                running: others.len(),
                failed: false,
                last: last.info.uid(),
                at_last: false,
            };
            self.world.preemptions.0.insert(pod.meta.uid, preemption);
        }
        for victim in others {
            self.strike(pod, victim, nomination.node, fx);
        }
        if !is_async {
            self.strike(pod, last, nomination.node, fx);
        } else if others.is_empty() {
            self.go_on(pod.meta.uid, fx);
        }
    }

    /// Begins to take a victim away.
    fn strike(&mut self, pod: &Arc<Pod>, victim: &Known, node: Name, fx: &mut Fx) {
        let (preemptor, uid) = (pod.clone(), victim.info.uid());
        let victim_pod = &victim.info.pod;
        if matches!(victim.place, Place::Assumed(_)) && self.cancel_binding(uid, fx) {
            let text = format!("Preempted by pod {} on node {node} (in kube-scheduler memory).", pod.meta.uid);
            self.event(victim_pod, EventType::Normal, "Preempted", &text, fx);
            return self.struck(pod.meta.uid, false, fx);
        }
        let key = victim_pod.meta.key(Kind::Pod);
        let text = format!("{}: preempting to accommodate a higher priority pod", pod.spec.scheduler_name);
        let condition = Condition {
            kind: Name::new("DisruptionTarget"),
            status: ConditionStatus::True,
            reason: Name::new(PREEMPTION_BY_SCHEDULER),
            message: Text::new(text),
            last_transition: fx.now(),
            last_update: fx.now(),
        };
        let step = Step { preemptor, victim: victim_pod.clone(), node, is_delete: false };
        self.call(Call::Patch(key, Patch::Condition(condition)), PendingCall::Victim(step), fx);
    }

    pub(super) fn victim_answered(&mut self, step: Step, error: Option<ApiStatus>, fx: &mut Fx) {
        let is_gone = error.as_ref().is_some_and(|error| error.reason == StatusReason::NotFound);
        if error.is_some() && !is_gone {
            return self.struck(step.preemptor.meta.uid, true, fx);
        }
        if !step.is_delete && !is_gone {
            let key = step.victim.meta.key(Kind::Pod);
            let options = DeleteOptions { uid: Some(step.victim.meta.uid), ..DeleteOptions::default() };
            return self.call(Call::Delete(key, options), PendingCall::Victim(Step { is_delete: true, ..step }), fx);
        }
        let text = format!("Preempted by pod {} on node {}", step.preemptor.meta.uid, step.node);
        self.event(&step.victim, EventType::Normal, "Preempted", &text, fx);
        self.struck(step.preemptor.meta.uid, false, fx);
    }

    /// A victim is done with.
    fn struck(&mut self, preemptor: Uid, failed: bool, fx: &mut Fx) {
        let Some(preemption) = self.world.preemptions.0.get_mut(&preemptor) else { return };
        preemption.failed |= failed;
        if preemption.at_last || (preemption.running <= 1 && preemption.failed) {
            let failed = preemption.failed;
            self.world.preemptions.0.remove(&preemptor);
            // Without this the pod could wait for a deletion that never comes.
            if failed {
                self.queue.activate_now(preemptor, fx.cause(), queue_context!(self, fx));
            }
            return;
        }
        preemption.running = preemption.running.saturating_sub(1);
        if preemption.running == 0 {
            self.go_on(preemptor, fx);
        }
    }

    /// It is the last victim's turn.
    fn go_on(&mut self, preemptor: Uid, fx: &mut Fx) {
        let Some(preemption) = self.world.preemptions.0.get_mut(&preemptor) else { return };
        preemption.at_last = true;
        let (pod, node, last) = (preemption.pod.clone(), preemption.node, preemption.last);
        match self.pods.get(&last).cloned() {
            Some(victim) => self.strike(&pod, &victim, node, fx),
            None => self.struck(preemptor, false, fx),
        }
    }
}
