//! `kubectl drain`: cordons all its nodes, then empties one after the other by evictions.
//!
//! A pod is filtered as kubectl does it: DaemonSet-managed, mirror, with an emptyDir, without a controller; one pod that may
//! not go keeps the whole node. Evictions run side by side; a refused one (429) is tried again after 5 s, a granted one is
//! looked after each second until the pod is gone. kubectl's look at whether the DaemonSet still exists is not modelled.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/drain/{drain,filters,cordon}.go, …/pkg/cmd/drain/drain.go.

use std::collections::VecDeque;

use crate::kernel::{Duration, Time};
use crate::model::pod::VolumeSource;
use crate::model::{Key, Kind, Name, Object, Pod, Selector, Uid};
use crate::protocol::api::{Answer, Call, DeleteOptions, Patch, Status, StatusReason};

use super::{Drain, Hands, In, Progress, Target, Timer, list_of, object_of};

/// kubectl waits so long after a refused eviction.
const RETRY: Duration = Duration::from_secs(5);
/// And looks this often whether a pod is gone.
const LOOK: Duration = Duration::from_secs(1);

/// A drain under way.
#[derive(Debug)]
pub(super) struct Draining {
    options: Drain,
    /// Nodes that are not drained yet; the first is at work.
    nodes: VecDeque<Name>,
    now: Step,
    /// Since when the node at work is being emptied; the timeout counts from here.
    since: Time,
    pods: Vec<Evicted>,
    errors: Vec<String>,
    /// Nodes that could not be drained.
    failed: Vec<Name>,
}

/// Which answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ListingNodes,
    /// Reading, then writing this one of the nodes.
    ReadingNode(usize),
    Cordoning(usize),
    ListingPods,
    Evicting,
}

/// A pod on its way.
#[derive(Clone, Debug)]
struct Evicted {
    key: Key,
    uid: Uid,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Evicting,
    WaitingToRetry,
    Looking,
    Gone,
}

impl Draining {
    pub(super) fn new(options: Drain) -> Draining {
        Draining {
            options,
            nodes: VecDeque::new(),
            now: Step::ListingNodes,
            since: Time::ZERO,
            pods: Vec::new(),
            errors: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        let selector = match &self.options.nodes {
            Target::Names(keys) => {
                self.nodes = keys.iter().map(|key| key.name).collect();
                return self.cordon(0, hands);
            }
            Target::Matching { selector, .. } => selector.clone(),
            Target::All { .. } => Selector::default(),
        };
        hands.ask(0, Call::List { kind: Kind::Node, namespace: Name::default(), selector });
        Progress::Waiting
    }

    pub(super) fn answered(
        &mut self,
        mark: u32,
        result: Result<Answer, Status>,
        hands: &mut Hands<'_, '_>,
    ) -> Progress {
        match self.now {
            Step::ListingNodes => match list_of(result) {
                Ok(nodes) => {
                    self.nodes = nodes.iter().map(|node| node.meta().name).collect();
                    self.cordon(0, hands)
                }
                Err(status) => {
                    hands.say_error(node_key(Name::default()), &status);
                    Progress::Done
                }
            },
            Step::ReadingNode(index) => self.node_read(index, result, hands),
            Step::Cordoning(index) => {
                if let Err(status) = result {
                    let node = self.nodes.get(index).copied().unwrap_or_default();
                    let text = format!("error: unable to cordon node \"{node}\": {}", status.message);
                    hands.say(node_key(node), text);
                }
                self.cordon(index + 1, hands)
            }
            Step::ListingPods => match list_of(result) {
                Ok(pods) => self.filter(&pods, hands),
                Err(status) => {
                    self.errors.push(status.message.to_string());
                    self.node_ended(hands)
                }
            },
            Step::Evicting => self.pod_answered(mark, result, hands),
        }
    }

    /// Cordons the node at this place in the list, or begins to empty the first when all are cordoned.
    fn cordon(&mut self, index: usize, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(&node) = self.nodes.get(index) else { return self.list_pods(hands) };
        self.now = Step::ReadingNode(index);
        hands.ask(0, Call::Get(node_key(node)));
        Progress::Waiting
    }

    fn node_read(&mut self, index: usize, result: Result<Answer, Status>, hands: &mut Hands<'_, '_>) -> Progress {
        let name = self.nodes.get(index).copied().unwrap_or_default();
        match object_of(result) {
            Ok(Object::Node(node)) if node.spec.unschedulable => {
                hands.say(node_key(name), format!("node/{name} already cordoned"));
                self.cordon(index + 1, hands)
            }
            Ok(_) => {
                self.now = Step::Cordoning(index);
                hands.ask(0, Call::Patch(node_key(name), Patch::Unschedulable(true)));
                Progress::Waiting
            }
            // A node that is not there ends kubectl before anything is done to those that follow.
            Err(status) => {
                hands.say_error(node_key(name), &status);
                Progress::Done
            }
        }
    }

    fn list_pods(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        if self.nodes.is_empty() {
            return Progress::Done;
        }
        self.now = Step::ListingPods;
        self.pods.clear();
        self.errors.clear();
        let selector = self.options.pod_selector.clone().unwrap_or_default();
        hands.ask(0, Call::List { kind: Kind::Pod, namespace: Name::default(), selector });
        Progress::Waiting
    }

    fn filter(&mut self, pods: &[Object], hands: &mut Hands<'_, '_>) -> Progress {
        let Some(&node) = self.nodes.front() else { return Progress::Done };
        let mut refused: Vec<(Refusal, Vec<String>)> = Vec::new();
        let mut warned: Vec<(Warning, Vec<String>)> = Vec::new();
        for pod in pods.iter().filter_map(Object::as_pod).filter(|pod| pod.node == Some(node)) {
            match judge(pod, &self.options) {
                Judgement::Stays(warning) => warned.extend(warning.map(|warning| (warning, vec![pod.full_name()]))),
                Judgement::Refused(refusal) => match refused.iter_mut().find(|(other, _)| *other == refusal) {
                    Some((_, pods)) => pods.push(pod.full_name()),
                    None => refused.push((refusal, vec![pod.full_name()])),
                },
                Judgement::Goes(warning) => {
                    warned.extend(warning.map(|warning| (warning, vec![pod.full_name()])));
                    let key = pod.meta.key(Kind::Pod);
                    self.pods.push(Evicted { key, uid: pod.meta.uid, state: State::Evicting });
                }
            }
        }
        if !refused.is_empty() {
            refused.sort_by_key(|(refusal, _)| *refusal);
            let texts =
                refused.iter().map(|(refusal, pods)| format!("cannot delete {}: {}", refusal.words(), pods.join(", ")));
            self.errors = texts.collect();
            self.pods.clear();
            return self.node_ended(hands);
        }
        warned.sort_by_key(|(warning, _)| *warning);
        let mut texts: Vec<String> = Vec::new();
        for chunk in warned.chunk_by(|(a, _), (b, _)| a == b) {
            let pods: Vec<&str> = chunk.iter().flat_map(|(_, pods)| pods).map(String::as_str).collect();
            texts.extend(chunk.first().map(|(warning, _)| format!("{}: {}", warning.words(), pods.join(", "))));
        }
        if !texts.is_empty() {
            hands.say(node_key(node), format!("Warning: {}", texts.join("; ")));
        }
        self.now = Step::Evicting;
        self.since = hands.fx.now();
        for index in 0..self.pods.len() {
            self.evict(index as u32, hands);
        }
        self.ended_if_all_gone(hands)
    }

    fn evict(&mut self, index: u32, hands: &mut Hands<'_, '_>) {
        let Some(pod) = self.pods.get_mut(index as usize) else { return };
        pod.state = State::Evicting;
        let key = pod.key;
        let action = hands.fx.cause();
        let said = hands.say(key, format!("evicting pod {}/{}", key.namespace, key.name));
        hands.fx.because(said);
        let grace = self.options.grace;
        let call = if self.options.disable_eviction {
            Call::Delete(key, DeleteOptions { grace, ..DeleteOptions::default() })
        } else {
            Call::Evict { pod: key, grace, dry_run: false }
        };
        hands.ask(index, call);
        hands.fx.because(action);
    }

    fn pod_answered(&mut self, index: u32, result: Result<Answer, Status>, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(pod) = self.pods.get_mut(index as usize) else { return Progress::Waiting };
        let key = pod.key;
        match (pod.state, result) {
            (State::Evicting, Ok(_)) => {
                pod.state = State::Looking;
                hands.ask(index, Call::Get(key));
            }
            (State::Evicting, Err(status)) => match status.reason {
                StatusReason::NotFound => pod.state = State::Gone,
                _ if may_retry(&status) && !self.options.disable_eviction => {
                    pod.state = State::WaitingToRetry;
                    let text = format!(
                        "error when evicting pods/\"{}\" -n \"{}\" (will retry after 5s): {}",
                        key.name, key.namespace, status.message
                    );
                    hands.say(key, text);
                    hands.fx.wake_after(RETRY, In::Timer(Timer::RetryEviction { task: hands.task, pod: index }));
                }
                _ => {
                    let text = format!(
                        "error when evicting pods/\"{}\" -n \"{}\": {}",
                        key.name, key.namespace, status.message
                    );
                    self.give_up(index, text, hands);
                }
            },
            (State::Looking, result) => {
                let uid = pod.uid;
                match object_of(result) {
                    Ok(object) if object.meta().uid == uid => {
                        let next = hands.fx.now() + LOOK;
                        let at = self.deadline().map_or(next, |deadline| deadline.min(next));
                        hands.fx.wake_at(at, In::Timer(Timer::LookForPod { task: hands.task, pod: index }));
                    }
                    Err(status) if status.reason != StatusReason::NotFound => {
                        let text = format!(
                            "error when waiting for pod \"{}\" in namespace \"{}\" to terminate: {}",
                            key.name, key.namespace, status.message
                        );
                        self.give_up(index, text, hands);
                    }
                    _ => {
                        pod.state = State::Gone;
                        let done = if self.options.disable_eviction { "deleted" } else { "evicted" };
                        hands.say(key, format!("pod/{} {done}", key.name));
                    }
                }
            }
            (State::WaitingToRetry | State::Gone, _) => {}
        }
        self.ended_if_all_gone(hands)
    }

    /// The 5 s after a refusal are over.
    pub(super) fn retry(&mut self, index: u32, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(pod) = self.pods.get(index as usize) else { return Progress::Waiting };
        if self.now != Step::Evicting || pod.state != State::WaitingToRetry {
            return Progress::Waiting;
        }
        let key = pod.key;
        if self.is_late(hands.fx.now()) {
            let text = format!(
                "error when evicting pods/\"{}\" -n \"{}\": global timeout reached: {}",
                key.name, key.namespace, self.options.timeout
            );
            self.give_up(index, text, hands);
        } else {
            self.evict(index, hands);
        }
        self.ended_if_all_gone(hands)
    }

    /// Time to look whether a pod is gone.
    pub(super) fn look(&mut self, index: u32, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(pod) = self.pods.get(index as usize) else { return Progress::Waiting };
        if self.now != Step::Evicting || pod.state != State::Looking {
            return Progress::Waiting;
        }
        let key = pod.key;
        if self.is_late(hands.fx.now()) {
            let text = format!(
                "error when waiting for pod \"{}\" in namespace \"{}\" to terminate: global timeout reached: {}",
                key.name, key.namespace, self.options.timeout
            );
            self.give_up(index, text, hands);
        } else {
            hands.ask(index, Call::Get(key));
        }
        self.ended_if_all_gone(hands)
    }

    fn give_up(&mut self, index: u32, text: String, hands: &mut Hands<'_, '_>) {
        if let Some(pod) = self.pods.get_mut(index as usize) {
            pod.state = State::Gone;
            hands.say(pod.key, text.clone());
        }
        self.errors.push(text);
    }

    fn deadline(&self) -> Option<Time> {
        (!self.options.timeout.is_zero()).then(|| self.since + self.options.timeout)
    }

    fn is_late(&self, now: Time) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }

    fn ended_if_all_gone(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        if self.now == Step::Evicting && self.pods.iter().all(|pod| pod.state == State::Gone) {
            return self.node_ended(hands);
        }
        Progress::Waiting
    }

    /// The node at work is drained, or could not be; then it is the next one's turn.
    fn node_ended(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(node) = self.nodes.pop_front() else { return Progress::Done };
        match self.errors.as_slice() {
            [] => {
                hands.say(node_key(node), format!("node/{node} drained"));
            }
            errors => {
                let errors = if let [only] = errors { only.clone() } else { format!("[{}]", errors.join(", ")) };
                let text =
                    format!("error: unable to drain node \"{node}\" due to error: {errors}, continuing command...");
                hands.say(node_key(node), text);
                self.failed.push(node);
            }
        }
        if !self.nodes.is_empty() {
            return self.list_pods(hands);
        }
        if let Some(&first) = self.failed.first() {
            let failed: Vec<&str> = self.failed.iter().map(|node| node.as_str()).collect();
            hands.say(node_key(first), format!("There are pending nodes to be drained: {}", failed.join(" ")));
        }
        Progress::Done
    }
}

/// 429, and a namespace that is going away: its pods go without help.
fn may_retry(status: &Status) -> bool {
    status.reason == StatusReason::TooManyRequests
        || (status.reason == StatusReason::Forbidden && status.message.contains("because it is being terminated"))
}

fn node_key(node: Name) -> Key {
    Key { kind: Kind::Node, namespace: Name::default(), name: node }
}

/// Why a pod keeps its node from being drained, in the order of kubectl's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    DaemonSet,
    LocalStorage,
    Unmanaged,
}

impl Refusal {
    fn words(self) -> &'static str {
        match self {
            Refusal::DaemonSet => "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
            Refusal::LocalStorage => "Pods with local storage (use --delete-emptydir-data to override)",
            Refusal::Unmanaged => "Pods that declare no controller (use --force to override)",
        }
    }
}

/// What kubectl warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Warning {
    DaemonSet,
    LocalStorage,
    Unmanaged,
}

impl Warning {
    fn words(self) -> &'static str {
        match self {
            Warning::DaemonSet => "ignoring DaemonSet-managed Pods",
            Warning::LocalStorage => "deleting Pods with local storage",
            Warning::Unmanaged => "deleting Pods that declare no controller",
        }
    }
}

enum Judgement {
    Goes(Option<Warning>),
    Stays(Option<Warning>),
    Refused(Refusal),
}

/// The annotation of a static pod's mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// kubectl's filters, in their order; the first that keeps the pod decides.
fn judge(pod: &Pod, options: &Drain) -> Judgement {
    let finished = pod.status.phase.is_terminal();
    let owner = pod.meta.owner.map(|owner| owner.kind);
    if owner == Some(Kind::DaemonSet) && !finished {
        return if options.ignore_daemonsets {
            Judgement::Stays(Some(Warning::DaemonSet))
        } else {
            Judgement::Refused(Refusal::DaemonSet)
        };
    }
    if pod.meta.annotations.get(Name::new(MIRROR)).is_some() {
        return Judgement::Stays(None);
    }
    let local = pod.spec.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::EmptyDir { .. }));
    let mut warning = None;
    if local && !finished {
        if !options.delete_emptydir_data {
            return Judgement::Refused(Refusal::LocalStorage);
        }
        warning = Some(Warning::LocalStorage);
    }
    if owner.is_none() && !finished {
        if !options.force {
            return Judgement::Refused(Refusal::Unmanaged);
        }
        warning = Some(Warning::Unmanaged);
    }
    Judgement::Goes(warning)
}
