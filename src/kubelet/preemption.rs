//! Preemption at the node: pods that make room for a critical one.
//!
//! Kubernetes: pkg/kubelet/preemption/preemption.go. The kubelet kills one victim after another and admits nothing before the
//! last is gone; here only the critical pod itself waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::pod_resources::QosClass;
use crate::model::{EventType, Name, Pod, Resources, Text, Uid};

use super::admission::{CRITICAL_PRIORITY, Rejection, Shortage};
use super::pod_worker::Ending;
use super::static_pods::{is_mirror, is_static};
use super::{Fx, Kubelet};

/// A critical pod that waits for room.
#[derive(Debug, Default)]
pub struct Preemption {
    pod: Option<Arc<Pod>>,
    victims: VecDeque<Uid>,
}

/// True for static pods, their mirrors, and pods of the two system priority classes.
pub fn is_critical(pod: &Pod) -> bool {
    pod.spec.priority >= CRITICAL_PRIORITY || is_static(pod) || is_mirror(pod)
}

/// A pod that may have to go.
#[derive(Clone, Debug)]
struct Candidate {
    uid: Uid,
    qos: QosClass,
    requests: Resources,
}

const MESSAGE: &str = "Preempted in order to admit critical pod";

impl Kubelet {
    /// The pod waits already until others are gone.
    pub(super) fn waits_for_preemption(&mut self, pod: &Arc<Pod>) -> bool {
        match &mut self.preemption.pod {
            Some(waiting) if waiting.meta.uid == pod.meta.uid => {
                *waiting = pod.clone();
                true
            }
            _ => false,
        }
    }

    /// The pod is gone before it could be admitted.
    pub(super) fn forget_preemptor(&mut self, uid: Uid) {
        if self.preemption.pod.as_ref().is_some_and(|pod| pod.meta.uid == uid) {
            self.preemption.pod = None;
            self.preemption.victims.clear();
        }
    }

    /// Admission refused a pod. If it is critical and only resources are short, others begin to make room, and it is
    /// admitted when they are gone; else the error says why it is refused.
    pub(super) fn preempt_for(&mut self, pod: &Arc<Pod>, rejection: Rejection, fx: &mut Fx) -> Result<(), Rejection> {
        if !is_critical(pod) || self.preemption.pod.is_some() {
            return Err(rejection);
        }
        let short = self.shortages(pod);
        if short.is_empty() {
            return Err(rejection);
        }
        self.check_but_resources(pod)?;
        let Some(victims) = victims(&self.candidates(pod), &short) else {
            let listed: Vec<String> =
                short.iter().map(|one| format!("(res: {}, q: {}), ", one.name, one.missing())).collect();
            return Err(Rejection {
                reason: Text::new("UnexpectedAdmissionError"),
                message: format!(
                    "Unexpected error while attempting to recover from admission failure: preemption: error finding a \
                     set of pods to preempt: no set of running pods found to reclaim resources: [{}]",
                    listed.concat()
                )
                .into(),
            });
        };
        self.preemption = Preemption { pod: Some(pod.clone()), victims: victims.into() };
        self.preemption_goes_on(fx);
        Ok(())
    }

    /// Kills the next victim when the one before is gone; then the critical pod is admitted.
    pub(super) fn preemption_goes_on(&mut self, fx: &mut Fx) {
        while self.preemption.pod.is_some() {
            let Some(&victim) = self.preemption.victims.front() else {
                if let Some(pod) = self.preemption.pod.take() {
                    self.pod_added(&pod, fx);
                }
                return;
            };
            let Some(entry) = self.pods.get(&victim).filter(|entry| entry.admitted) else {
                self.preemption.victims.pop_front();
                continue;
            };
            if !entry.worker.is_syncing() {
                return;
            }
            let pod = entry.pod.clone();
            self.pod_event(&pod, None, EventType::Warning, "Preempting", Text::new(MESSAGE), fx);
            let ending = Ending {
                reason: Name::new("Preempting"),
                message: Text::new(MESSAGE),
                disruption: Some(Text::new("Pod was preempted by Kubelet to accommodate a critical pod.")),
                grace: None,
            };
            self.end_for(victim, ending, fx);
            return;
        }
    }

    /// The pods that a critical one may push out, those that came first in front.
    fn candidates(&self, pod: &Pod) -> Vec<Candidate> {
        self.pods
            .iter()
            .filter(|(_, entry)| entry.admitted && !entry.worker.is_ending())
            .filter(|(_, entry)| !is_critical(&entry.pod) || entry.pod.spec.priority < pod.spec.priority)
            .map(|(uid, entry)| Candidate { uid: *uid, qos: entry.pod.spec.qos(), requests: entry.pod.spec.requests() })
            .collect()
    }
}

/// What is still missing after `taken` are gone.
fn left(short: &[Shortage], taken: &[&Candidate]) -> Vec<(Name, i64)> {
    let missing = short.iter().map(|one| {
        let freed: i64 = taken.iter().map(|candidate| amount(&candidate.requests, one.name)).sum();
        (one.name, one.missing() - freed)
    });
    missing.filter(|(_, amount)| *amount > 0).collect()
}

fn amount(requests: &Resources, name: Name) -> i64 {
    match name.as_str() {
        "cpu" => requests.cpu.0,
        "memory" => requests.memory.0,
        "ephemeral-storage" => requests.ephemeral_storage.0,
        "pods" => 1,
        _ => requests.extended(name),
    }
}

/// Those that have to go, of the better classes only what the lesser ones don't free (`getPodsToPreempt`).
fn victims(candidates: &[Candidate], short: &[Shortage]) -> Option<Vec<Uid>> {
    let of = |qos: QosClass| -> Vec<&Candidate> { candidates.iter().filter(|one| one.qos == qos).collect() };
    let (best_effort, burstable) = (of(QosClass::BestEffort), of(QosClass::Burstable));
    let guaranteed = of(QosClass::Guaranteed);
    let lesser: Vec<&Candidate> = best_effort.iter().chain(&burstable).copied().collect();
    let mut chosen = by_distance(guaranteed, left(short, &lesser))?;
    let freed: Vec<&Candidate> = best_effort.iter().chain(&chosen).copied().collect();
    chosen.extend(by_distance(burstable, left(short, &freed))?);
    let wanted = left(short, &chosen);
    chosen.extend(by_distance(best_effort, wanted)?);
    Some(chosen.into_iter().map(|one| one.uid).collect())
}

/// Takes the pod that is nearest to what is missing, until nothing is (`getPodsToPreemptByDistance`).
fn by_distance(mut pods: Vec<&Candidate>, mut missing: Vec<(Name, i64)>) -> Option<Vec<&Candidate>> {
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let key = |one: &&Candidate| {
            // In millionths, so that no float decides.
            let distance: i128 = missing
                .iter()
                .map(|(name, wanted)| {
                    let short = (*wanted - amount(&one.requests, *name)).max(0);
                    let part = i128::from(short) * 1_000_000 / i128::from((*wanted).max(1));
                    part * part
                })
                .sum();
            (distance, one.requests.memory.0, one.requests.cpu.0)
        };
        let best = (0..pods.len()).min_by_key(|at| key(&pods[*at]))?;
        let taken = pods.remove(best);
        for (name, wanted) in &mut missing {
            *wanted -= amount(&taken.requests, *name);
        }
        missing.retain(|(_, wanted)| *wanted > 0);
        chosen.push(taken);
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, MilliCpu};

    fn candidate(uid: u64, qos: QosClass, cpu: i64, memory: i64) -> Candidate {
        let requests = Resources { cpu: MilliCpu(cpu), memory: Bytes(memory), ..Resources::default() };
        Candidate { uid: Uid(uid), qos, requests }
    }

    #[test]
    fn lesser_classes_go_first_and_of_a_class_the_nearest() {
        use QosClass::{BestEffort, Burstable, Guaranteed};
        let all = [
            candidate(1, Guaranteed, 1000, 100),
            candidate(2, Burstable, 300, 100),
            candidate(3, Burstable, 500, 100),
            candidate(4, BestEffort, 0, 0),
        ];
        let short = |cpu: i64| [Shortage { name: Name::new("cpu"), requested: cpu, used: 0, has: 0 }];
        for (missing, expected) in [
            (300, Some(vec![2])),
            (400, Some(vec![3])),
            (800, Some(vec![3, 2])),
            (1500, Some(vec![1, 3])),
            (1900, None),
        ] {
            let found = victims(&all, &short(missing));
            let found = found.map(|uids| uids.into_iter().map(|uid| uid.0).collect::<Vec<_>>());
            assert_eq!(found, expected, "{missing}");
        }
        let pods = [Shortage { name: Name::new("pods"), requested: 1, used: 4, has: 4 }];
        assert_eq!(victims(&all, &pods), Some(vec![Uid(4)]));
    }
}
