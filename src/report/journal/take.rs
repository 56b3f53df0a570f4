//! From records to lives and facts.

use std::sync::Arc;

use crate::kernel::{Cause, Time};
use crate::model::condition;
use crate::model::service::EndpointSlice;
use crate::model::{
    ConditionStatus, ContainerState, ContainerStatus, Event, EventType, Key, Kind, Name, Node, Object, Pod, PodStatus,
    TaintEffect, Text,
};
use crate::trace::{Change, Entry, Outcome, PodRef, Record};

use super::fact::{Fact, Happened, Loss};
use super::life::{Done, Happening, NodeLife, Note, PodLife, Replicas, Rollout, WorkloadLife};
use super::{Call, Journal, Link, LinkText, describe_happening};

/// Warning Events that other records tell better, or that follow from them.
const TOLD_OTHERWISE: &[&str] = &[
    "FailedScheduling",
    "BackOff",
    "Failed",
    "Unhealthy",
    "NodeNotReady",
    "Evicted",
    "InspectFailed",
    "ErrImageNeverPull",
    "Preempted",
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "Rebooted",
    "OOMKilling",
    "SystemOOM",
];

impl Journal {
    pub(super) fn take_entry(&mut self, entry: &Entry) {
        let Entry { id, cause, time, what } = entry;
        let (id, time) = (*id, *time);
        self.records += 1;
        let (subject, text) = match what {
            Record::Action { text, by } => {
                let index = self.actions.len();
                self.actions.push(Done { id, time, text: text.clone(), source: by.source, undone: false });
                self.fact(time, id, Happened::Action { index });
                (None, LinkText::Action(index as u32))
            }
            Record::Fault { text, undone, by } => {
                let index = self.faults.len();
                self.faults.push(Done { id, time, text: text.clone(), source: by.source, undone: *undone });
                self.fact(time, id, Happened::Fault { index });
                (None, LinkText::Fault(index as u32))
            }
            Record::Written(change, object) => {
                // Its cause is looked up while it is taken, so the link has to be there before.
                self.add_link(id, *cause, time, Some(object.key()), LinkText::None);
                let text = self.written(time, id, *change, object);
                (Some(object.key()), self.text(&text))
            }
            Record::Event(event) => {
                self.event(time, id, event);
                (Some(about(event)), LinkText::None)
            }
            Record::Attempt { pod, outcome, attempt, diagnosis } => {
                self.attempt(time, id, pod, *attempt, outcome, diagnosis);
                let happening =
                    Happening::Attempt { attempt: *attempt, outcome: outcome.clone(), diagnosis: diagnosis.clone() };
                (Some(key(pod)), self.text(&describe_happening(&happening)))
            }
            Record::Stage { pod, container, stage, edge } => {
                let happening = Happening::Stage { container: *container, stage: *stage, edge: edge.clone() };
                let text = self.text(&describe_happening(&happening));
                self.happened(pod, time, id, happening);
                (Some(key(pod)), text)
            }
            Record::Exited { pod, container, exit_code, reason, after } => {
                let happening =
                    Happening::Exited { container: *container, exit_code: *exit_code, reason: *reason, after: *after };
                let text = self.text(&describe_happening(&happening));
                self.exited(time, id, pod, *container, *exit_code, *reason);
                self.happened(pod, time, id, happening);
                (Some(key(pod)), text)
            }
            Record::Probed { pod, container, purpose, success, message } => {
                let happening =
                    Happening::ProbeFailed { container: *container, purpose: *purpose, message: message.clone() };
                let text = if *success {
                    self.text(&format!("{} probe of {container} succeeded", purpose.as_str().to_ascii_lowercase()))
                } else {
                    let text = self.text(&describe_happening(&happening));
                    self.happened(pod, time, id, happening);
                    text
                };
                (Some(key(pod)), text)
            }
            Record::Decided { object, by, text } => {
                self.decided(time, id, object, *by, text);
                (Some(*object), self.text(&format!("{by}: {text}")))
            }
            Record::Called { node, method, took, failed } => {
                let begin = Time::from_nanos(time.as_nanos().saturating_sub(took.as_nanos()));
                self.calls.push(Call { node: *node, method: *method, begin, end: time, failed: *failed });
                (Some(Key::new(Kind::Node, "", *node)), LinkText::None)
            }
            Record::NodeFault { node, what } => {
                let life = self.node_life(*node);
                life.faults.push(Note { time, id, text: what.clone() });
                life.notes.push(Note { time, id, text: what.clone() });
                (Some(Key::new(Kind::Node, "", *node)), self.text(what))
            }
            Record::Invariant { text } => {
                self.invariants.push((time, text.clone()));
                self.fact(time, id, Happened::Invariant { text: text.clone() });
                (None, self.text(text))
            }
        };
        self.add_link(id, *cause, time, subject, text);
    }

    fn fact(&mut self, time: Time, id: Cause, what: Happened) {
        self.facts.push(Fact { time, id, what });
    }

    fn text(&mut self, text: &str) -> LinkText {
        if text.is_empty() {
            return LinkText::None;
        }
        LinkText::Text(self.texts.insert_full(Text::new(text)).0 as u32)
    }

    fn add_link(&mut self, id: Cause, cause: Cause, time: Time, subject: Option<Key>, text: LinkText) {
        let Some(at) = (id.raw() as usize).checked_sub(1) else { return };
        let subject = subject.map_or(0, |key| self.subjects.insert_full(key).0 as u32 + 1);
        // Ids are dense. A trace that was cut or filtered has holes, which have no cause; but not more of them than records.
        let none = Link { cause: 0, subject: 0, text: LinkText::None, time };
        if at >= self.links.len() {
            if at > self.links.len() + 10_000_000 {
                return;
            }
            self.links.resize(at + 1, none);
        }
        self.links[at] = Link { cause: cause.raw(), subject, text, time };
    }

    fn happened(&mut self, pod: &PodRef, time: Time, id: Cause, what: Happening) {
        if let Some(life) = self.pods.get_mut(&pod.uid) {
            life.push(time, id, what);
        }
    }

    fn node_life(&mut self, name: Name) -> &mut NodeLife {
        self.nodes.entry(name).or_insert_with(|| NodeLife { name, ..NodeLife::default() })
    }

    fn attempt(
        &mut self,
        time: Time,
        id: Cause,
        pod: &PodRef,
        attempt: u32,
        outcome: &Outcome,
        diagnosis: &Option<Arc<crate::trace::Diagnosis>>,
    ) {
        let which = match outcome {
            Outcome::Scheduled { .. } => 0,
            Outcome::Unschedulable { .. } => 1,
            Outcome::Error { .. } => 2,
        };
        self.attempts[which] += 1;
        let Some(life) = self.pods.get_mut(&pod.uid) else { return };
        life.attempts = life.attempts.max(attempt);
        life.first_attempt.get_or_insert(time);
        let mut first_failure = None;
        match outcome {
            Outcome::Scheduled { .. } => life.placed = Some(time),
            Outcome::Unschedulable { message } => {
                let before = life.moments.iter().any(|moment| {
                    matches!(&moment.what, Happening::Attempt { outcome: Outcome::Unschedulable { .. }, .. })
                });
                first_failure = (!before).then(|| message.clone());
            }
            Outcome::Error { .. } => {}
        }
        let what = Happening::Attempt { attempt, outcome: outcome.clone(), diagnosis: diagnosis.clone() };
        life.push(time, id, what);
        if let Some(message) = first_failure {
            self.fact(time, id, Happened::Unschedulable { pod: pod.uid, message });
        }
    }

    fn exited(&mut self, time: Time, id: Cause, pod: &PodRef, container: Name, exit_code: i32, reason: Name) {
        let Some(life) = self.pods.get_mut(&pod.uid) else { return };
        life.exits += 1;
        // What is stopped on purpose, by a deletion or a failed probe, is told by that.
        let asked_for = life.deleting.is_some()
            || life.moments.iter().rev().take(12).any(|moment| match &moment.what {
                Happening::Event { reason, message } => *reason == "Killing" && message.contains(container.as_str()),
                _ => false,
            });
        if exit_code != 0 && !asked_for {
            self.fact(time, id, Happened::Crashed { pod: pod.uid, container, exit_code, reason });
        }
    }

    fn decided(&mut self, time: Time, id: Cause, object: &Key, by: Name, text: &Text) {
        if object.kind == Kind::Pod {
            let found = self
                .pods
                .values_mut()
                .rev()
                .find(|life| life.last.meta.name == object.name && life.last.meta.namespace == object.namespace);
            if let Some(life) = found {
                life.push(time, id, Happening::Decided { by, text: text.clone() });
            }
            return;
        }
        self.note(object, time, id, Text::new(format!("{by}: {text}")));
    }

    fn note(&mut self, object: &Key, time: Time, id: Cause, text: Text) {
        if object.kind == Kind::Node {
            self.node_life(object.name).notes.push(Note { time, id, text });
            return;
        }
        let uid = self.workload_by_key.get(object).copied();
        if let Some(life) = uid.and_then(|uid| self.workloads.get_mut(&uid)) {
            life.notes.push(Note { time, id, text });
        }
    }

    fn event(&mut self, time: Time, id: Cause, event: &Arc<Event>) {
        let object = about(event);
        let killing = event.reason == "Killing";
        if event.kind == EventType::Warning || killing {
            if object.kind == Kind::Pod
                && let Some(life) = self.pods.get_mut(&event.involved.uid)
            {
                let happening = Happening::Event { reason: event.reason, message: event.message.clone() };
                if !matches!(event.reason.as_str(), "FailedScheduling" | "BackOff" | "Unhealthy" | "Failed") {
                    life.push(time, id, happening);
                }
            }
            let probe = ["failed liveness probe", "failed startup probe"];
            if killing && probe.iter().any(|words| event.message.contains(words)) {
                let container = container_of(event.involved.field_path);
                let fact = Happened::ProbeKilled { pod: event.involved.uid, container, message: event.message.clone() };
                self.fact(time, id, fact);
            } else if event.kind == EventType::Warning && !TOLD_OTHERWISE.contains(&event.reason.as_str()) {
                let fact = Happened::Warning { reason: event.reason, about: object, message: event.message.clone() };
                self.fact(time, id, fact);
            }
        }
        self.events.insert((event.meta.namespace, event.meta.name), Arc::clone(event));
    }

    /// Takes a write; what was new about it, in a few words.
    fn written(&mut self, time: Time, id: Cause, change: Change, object: &Object) -> String {
        match object {
            Object::Pod(pod) => self.pod(time, id, change, pod),
            Object::Node(node) => self.node(time, id, change, node),
            Object::Deployment(_)
            | Object::ReplicaSet(_)
            | Object::ReplicationController(_)
            | Object::StatefulSet(_)
            | Object::DaemonSet(_)
            | Object::Job(_)
            | Object::CronJob(_) => self.workload(time, id, change, object),
            Object::EndpointSlice(slice) => self.slice(time, id, change, slice),
            Object::Event(_) | Object::Lease(_) => String::new(),
            _ => {
                if change == Change::Created && object.meta().owner.is_none() {
                    let meta = object.meta();
                    if object.kind() == Kind::Service {
                        self.services.entry((meta.namespace, meta.name)).or_default();
                    }
                }
                if change == Change::Deleted {
                    self.others.remove(&object.key());
                } else {
                    self.others.insert(object.key(), object.clone());
                }
                change.as_str().to_owned()
            }
        }
    }

    fn pod(&mut self, time: Time, id: Cause, change: Change, pod: &Arc<Pod>) -> String {
        let uid = pod.meta.uid;
        let mut news: Vec<Happening> = Vec::new();
        let mut facts: Vec<Happened> = Vec::new();
        let is_new = !self.pods.contains_key(&uid);
        if is_new {
            self.pods.insert(uid, PodLife::new(Arc::clone(pod), time, id));
            self.namespaces.insert(pod.meta.namespace);
            self.pod_by_name.insert((pod.meta.namespace, pod.meta.name), uid);
            news.push(Happening::Created);
            if pod.meta.owner.is_none() {
                facts.push(Happened::Applied { key: Key::new(Kind::Pod, pod.meta.namespace, pod.meta.name) });
            } else if self.replaces(pod) {
                facts.push(Happened::Replacement { pod: uid });
            }
        }
        // Looked up only where a deletion begins: the chain of causes may be long.
        let leaves = (pod.meta.deletion.is_some() || change == Change::Deleted)
            && self.pods.get(&uid).is_none_or(|life| life.deleting.is_none());
        let user_deletes = leaves && self.direct_root_is_delete(id);
        let taint_since = pod.node.filter(|_| leaves).and_then(|node| self.taint_since(node, pod));
        let Some(life) = self.pods.get_mut(&uid) else { return String::new() };
        let old = std::mem::replace(&mut life.last, Arc::clone(pod));
        life.replacement |= facts.iter().any(|fact| matches!(fact, Happened::Replacement { .. }));
        let blank;
        let old = if is_new {
            blank = Pod::default();
            &blank
        } else {
            &*old
        };

        if let (None, Some(node)) = (old.node, pod.node) {
            life.bound = Some(time);
            news.push(Happening::Bound { node });
        }
        if old.status.phase != pod.status.phase {
            if pod.status.phase == crate::model::Phase::Running {
                life.running.get_or_insert(time);
            }
            news.push(Happening::Phase(pod.status.phase));
        }
        containers(old, pod, &mut news, &mut facts);
        if old.status.reason != pod.status.reason && !pod.status.reason.is_empty() {
            let (reason, message) = (pod.status.reason, pod.status.message.clone());
            news.push(Happening::Status { reason, message: message.clone() });
            if pod.status.phase == crate::model::Phase::Failed {
                facts.push(Happened::Lost { pod: uid, loss: Loss::Kubelet { reason, message } });
            }
        }
        let (was_ready, ready) = (old.is_ready(), pod.is_ready());
        if !was_ready && ready {
            life.ready.push((time, None));
            news.push(Happening::Ready(true));
        } else if was_ready && !ready {
            end_ready(life, time);
            news.push(Happening::Ready(false));
        }
        let disrupted = |pod: &Pod| {
            condition::find(&pod.status.conditions, "DisruptionTarget")
                .filter(|found| found.status == ConditionStatus::True)
                .map(|found| (found.reason, found.message.clone()))
        };
        if disrupted(old).is_none()
            && let Some((reason, message)) = disrupted(pod)
        {
            news.push(Happening::Disrupted { reason, message });
        }
        if life.deleting.is_none()
            && let Some(deletion) = pod.meta.deletion
        {
            life.deleting = Some(time);
            news.push(Happening::Deleting { grace: deletion.grace });
        }
        if change == Change::Deleted {
            end_ready(life, time);
            life.gone = Some(time);
            news.push(Happening::Gone);
        }
        // It is lost when its deletion begins, or when it is removed without one.
        let begins = news.iter().any(|news| matches!(news, Happening::Deleting { .. }));
        let vanishes = change == Change::Deleted && !life.moments.iter().any(is_deleting);
        if (begins || vanishes)
            && !life.moments.iter().any(|moment| matches!(moment.what, Happening::Status { .. }))
            && let Some(loss) = loss_of(pod, disrupted(pod), user_deletes, taint_since)
        {
            facts.push(Happened::Lost { pod: uid, loss });
        }
        let text = news.iter().map(describe_happening).collect::<Vec<_>>().join("; ");
        for what in news {
            life.push(time, id, what);
        }
        for what in facts {
            if matches!(what, Happened::Lost { .. }) {
                self.count_loss(pod);
            }
            self.fact(time, id, what);
        }
        text
    }

    /// True if the pod's owner has lost one that this pod replaces.
    fn replaces(&mut self, pod: &Pod) -> bool {
        let Some(owner) = pod.meta.owner else { return false };
        match self.workloads.get_mut(&owner.uid) {
            Some(workload) if workload.lost > 0 => {
                workload.lost -= 1;
                true
            }
            _ => false,
        }
    }

    fn count_loss(&mut self, pod: &Pod) {
        if let Some(workload) = pod.meta.owner.and_then(|owner| self.workloads.get_mut(&owner.uid)) {
            workload.lost += 1;
        }
    }

    /// True if the nearest action among the causes is a user's `delete`.
    fn direct_root_is_delete(&self, id: Cause) -> bool {
        self.root(id).is_some_and(|done| {
            let mut words = done.text.split_whitespace().skip_while(|word| *word == "kubectl");
            words.next() == Some("delete") && words.next().is_some_and(|word| word.starts_with("po"))
        })
    }

    /// Since when the pod's node has a `NoExecute` taint that drives the pod away.
    fn taint_since(&self, node: Name, pod: &Pod) -> Option<Time> {
        let node = self.nodes.get(&node)?.last.as_ref()?;
        node.spec
            .taints
            .iter()
            .filter(|taint| taint.effect == TaintEffect::NoExecute)
            .filter(|taint| !pod.spec.tolerations.iter().any(|each| each.seconds.is_none() && each.tolerates(taint)))
            .filter_map(|taint| taint.added)
            .min()
    }

    fn node(&mut self, time: Time, id: Cause, change: Change, node: &Arc<Node>) -> String {
        let name = node.meta.name;
        let life = self.node_life(name);
        let old = life.last.replace(Arc::clone(node));
        let mut news: Vec<String> = Vec::new();
        let mut facts = Vec::new();
        if old.is_none() {
            life.created = Some(time);
            news.push("registered".to_owned());
        }
        if change == Change::Deleted {
            life.gone = Some(time);
            news.push("deleted".to_owned());
        }
        let status = |node: &Node| condition::find(&node.status.conditions, "Ready").map(|found| found.status);
        let before = old.as_deref().and_then(status);
        if let Some(ready) = condition::find(&node.status.conditions, "Ready")
            && before != Some(ready.status)
        {
            // A node that registers begins as not ready; that is no news.
            let first = life.ready.is_empty();
            let was_up = life.ready.iter().any(|(_, status)| *status == ConditionStatus::True);
            life.ready.push((time, ready.status));
            news.push(match ready.status {
                ConditionStatus::True => "Ready".to_owned(),
                status => format!("Ready is {}: {}", status.as_str(), ready.message),
            });
            if !first && was_up {
                facts.push(Happened::NodeReady {
                    node: name,
                    ready: ready.status,
                    heard: ready.last_update,
                    message: ready.message.clone(),
                });
            }
        }
        let none = Vec::new();
        let taints = old.as_deref().map_or(&none, |old| &old.spec.taints);
        for taint in node.spec.taints.iter().filter(|taint| !taints.iter().any(|each| each.is_same(taint))) {
            news.push(format!("tainted {}:{}", taint.key, taint.effect.as_str()));
            if taint.effect == TaintEffect::NoExecute {
                facts.push(Happened::Tainted { node: name, key: taint.key, on: true });
            }
        }
        for taint in taints.iter().filter(|taint| !node.spec.taints.iter().any(|each| each.is_same(taint))) {
            news.push(format!("taint {}:{} taken away", taint.key, taint.effect.as_str()));
            if taint.effect == TaintEffect::NoExecute {
                facts.push(Happened::Tainted { node: name, key: taint.key, on: false });
            }
        }
        let was_cordoned = old.as_deref().is_some_and(|old| old.spec.unschedulable);
        if was_cordoned != node.spec.unschedulable {
            news.push(if node.spec.unschedulable { "cordoned".to_owned() } else { "uncordoned".to_owned() });
            facts.push(Happened::Cordoned { node: name, on: node.spec.unschedulable });
        }
        let text = news.join("; ");
        if !text.is_empty() {
            life.notes.push(Note { time, id, text: Text::new(&text) });
        }
        for what in facts {
            self.fact(time, id, what);
        }
        text
    }

    fn workload(&mut self, time: Time, id: Cause, change: Change, object: &Object) -> String {
        let meta = object.meta();
        let key = object.key();
        let mut news: Vec<String> = Vec::new();
        let mut facts = Vec::new();
        let uid = meta.uid;
        let is_new = !self.workloads.contains_key(&uid);
        if is_new {
            self.workload_by_key.insert(key, uid);
            news.push("created".to_owned());
            if meta.owner.is_none() {
                facts.push(Happened::Applied { key });
            }
        }
        let life = self.workloads.entry(uid).or_insert_with(|| WorkloadLife {
            key,
            uid,
            owner: meta.owner.map(|owner| owner.uid),
            source: meta.source,
            last: object.clone(),
            created: time,
            gone: None,
            replicas: Vec::new(),
            rollouts: Vec::new(),
            notes: Vec::new(),
            lost: 0,
        });
        let old = std::mem::replace(&mut life.last, object.clone());
        life.source = meta.source.or(life.source);
        let before = life.now();
        let now = replicas(object);
        if is_new || before != now {
            life.replicas.push((time, now));
        }
        if !is_new && before.wanted != now.wanted {
            news.push(format!("replicas {} → {}", before.wanted, now.wanted));
            let scalable = matches!(object, Object::Deployment(_) | Object::StatefulSet(_));
            let by_itself = matches!(object, Object::ReplicaSet(_)) && life.owner.is_none();
            if scalable || by_itself {
                facts.push(Happened::Scaled { workload: uid, from: before.wanted, to: now.wanted });
            }
        } else if !is_new && before != now {
            news.push(format!("{} of {} ready", now.ready, now.wanted));
        }
        rollouts(life, &old, is_new, time, id, now, &mut news, &mut facts);
        if let (Object::Job(old), Object::Job(job)) = (&old, object) {
            for kind in ["Complete", "Failed"] {
                let done = condition::is_true(&job.status.conditions, kind);
                if done && (is_new || !condition::is_true(&old.status.conditions, kind)) {
                    let found = condition::find(&job.status.conditions, kind);
                    let message = found.map_or(Text::default(), |found| {
                        if found.message.is_empty() { Text::new(found.reason.as_str()) } else { found.message.clone() }
                    });
                    news.push(kind.to_ascii_lowercase());
                    facts.push(Happened::JobEnded { workload: uid, complete: kind == "Complete", message });
                }
            }
        }
        if change == Change::Deleted {
            life.gone = Some(time);
            news.push("deleted".to_owned());
        }
        let text = news.join("; ");
        if !text.is_empty() {
            life.notes.push(Note { time, id, text: Text::new(&text) });
        }
        for what in facts {
            self.fact(time, id, what);
        }
        text
    }

    fn slice(&mut self, time: Time, id: Cause, change: Change, slice: &EndpointSlice) -> String {
        let (namespace, service) = (slice.meta.namespace, slice.service);
        let life = self.services.entry((namespace, service)).or_default();
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready).count() as i32;
        if change == Change::Deleted {
            life.slices.remove(&slice.meta.name);
        } else {
            life.slices.insert(slice.meta.name, ready);
        }
        let from = life.ready.last().map_or(0, |(_, ready, _)| *ready);
        let to = life.slices.values().sum();
        if from == to && !life.ready.is_empty() {
            return String::new();
        }
        life.ready.push((time, to, id));
        if from != to {
            self.fact(time, id, Happened::Endpoints { namespace, service, from, to });
        }
        format!("{to} ready endpoints of {service}")
    }
}

fn key(pod: &PodRef) -> Key {
    Key { kind: Kind::Pod, namespace: pod.namespace, name: pod.name }
}

fn about(event: &Event) -> Key {
    let involved = &event.involved;
    Key { kind: involved.kind, namespace: involved.namespace, name: involved.name }
}

/// The container in `spec.containers{app}`.
fn container_of(field_path: Name) -> Name {
    field_path.as_str().split_once('{').map_or(Name::default(), |(_, rest)| Name::new(rest.trim_end_matches('}')))
}

fn is_deleting(moment: &super::life::Moment) -> bool {
    matches!(moment.what, Happening::Deleting { .. })
}

fn end_ready(life: &mut PodLife, time: Time) {
    if let Some((_, until @ None)) = life.ready.last_mut() {
        *until = Some(time);
    }
}

/// How the pod was lost, by what is written on it; None if its owner wanted it gone.
fn loss_of(pod: &Pod, disrupted: Option<(Name, Text)>, user: bool, taint: Option<Time>) -> Option<Loss> {
    if let Some((reason, message)) = disrupted {
        return Some(match reason.as_str() {
            "DeletionByTaintManager" => Loss::Taint { since: taint },
            "EvictionByEvictionAPI" => Loss::Evicted,
            "PreemptionByScheduler" => Loss::Preempted { message },
            "DeletionByPodGC" => Loss::Collected,
            _ => Loss::Kubelet { reason, message },
        });
    }
    (user && !pod.status.phase.is_terminal()).then_some(Loss::User)
}

/// What is new about a pod's containers.
fn containers(old: &Pod, pod: &Pod, news: &mut Vec<Happening>, facts: &mut Vec<Happened>) {
    fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
        status.init_containers.iter().chain(&status.containers).chain(&status.ephemeral_containers)
    }
    for status in all(&pod.status) {
        let mut before = all(&old.status);
        let before = before.find(|each| each.name == status.name).map(|each| &each.state);
        let container = status.name;
        match (&status.state, before) {
            (ContainerState::Waiting { reason, .. }, Some(ContainerState::Waiting { reason: old, .. }))
                if reason == old => {}
            (ContainerState::Running { started_at }, Some(ContainerState::Running { started_at: old }))
                if started_at == old => {}
            (ContainerState::Terminated(_), Some(ContainerState::Terminated(_))) => {}
            (ContainerState::Waiting { reason, message }, _) => {
                news.push(Happening::Waiting { container, reason: *reason, message: message.clone() });
                if matches!(
                    reason.as_str(),
                    "ErrImagePull"
                        | "ErrImageNeverPull"
                        | "InvalidImageName"
                        | "ImageInspectError"
                        | "ImagePullBackOff"
                ) {
                    let (pod, message) = (pod.meta.uid, message.clone());
                    facts.push(Happened::ImageFailed { pod, image: status.image, message });
                }
            }
            (ContainerState::Running { .. }, _) => news.push(Happening::Running { container }),
            (ContainerState::Terminated(ended), _) => {
                news.push(Happening::Terminated { container, exit_code: ended.exit_code, reason: ended.reason })
            }
        }
    }
}

fn replicas(object: &Object) -> Replicas {
    match object {
        Object::Deployment(object) => {
            let status = &object.status;
            let (ready, updated, available) = (status.ready, status.updated, status.available);
            Replicas { wanted: object.replicas, ready, updated, available }
        }
        Object::ReplicaSet(object) | Object::ReplicationController(object) => {
            let status = &object.status;
            let (ready, updated) = (status.ready, status.replicas);
            Replicas { wanted: object.replicas, ready, updated, available: status.available }
        }
        Object::StatefulSet(object) => {
            let status = &object.status;
            let (ready, updated, available) = (status.ready, status.updated, status.available);
            Replicas { wanted: object.replicas, ready, updated, available }
        }
        Object::DaemonSet(object) => {
            let status = &object.status;
            let (ready, updated, available) = (status.ready, status.updated_scheduled, status.available);
            Replicas { wanted: status.desired_scheduled, ready, updated, available }
        }
        Object::Job(object) => {
            let wanted = object.completions.unwrap_or(object.parallelism);
            let status = &object.status;
            Replicas { wanted, ready: status.ready, updated: status.active, available: status.succeeded }
        }
        _ => Replicas::default(),
    }
}

/// Follows the roll-outs of a Deployment, StatefulSet or DaemonSet.
#[expect(clippy::too_many_arguments, reason = "one step of `workload`, cut out for its length")]
fn rollouts(
    life: &mut WorkloadLife,
    old: &Object,
    is_new: bool,
    time: Time,
    id: Cause,
    now: Replicas,
    news: &mut Vec<String>,
    facts: &mut Vec<Happened>,
) {
    let (changed, observed, current) = match (old, &life.last) {
        (Object::Deployment(old), Object::Deployment(new)) => (
            !same(&old.template, &new.template),
            new.status.observed_generation >= new.meta.generation,
            new.status.replicas,
        ),
        (Object::StatefulSet(old), Object::StatefulSet(new)) => (
            !same(&old.template, &new.template),
            new.status.observed_generation >= new.meta.generation,
            new.status.replicas,
        ),
        (Object::DaemonSet(old), Object::DaemonSet(new)) => {
            (!same(&old.template, &new.template), new.status.observed_generation >= new.meta.generation, now.wanted)
        }
        _ => return,
    };
    if changed && !is_new {
        life.rollouts.push(Rollout { begun: time, begun_by: id, done: None });
        news.push("its template changed".to_owned());
        facts.push(Happened::RolloutBegun { workload: life.uid });
    }
    if let Some(rollout) = life.rollouts.last_mut() {
        let complete =
            observed && !changed && now.updated == now.wanted && current == now.wanted && now.available == now.wanted;
        if rollout.done.is_none() && complete {
            rollout.done = Some(time);
            news.push("rolled out".to_owned());
            facts.push(Happened::RolloutDone { workload: life.uid });
        }
    }
    if let (Object::Deployment(old), Object::Deployment(new)) = (old, &life.last) {
        let stuck = |object: &crate::model::workload::Deployment| {
            condition::find(&object.status.conditions, "Progressing")
                .filter(|found| found.status == ConditionStatus::False && found.reason == "ProgressDeadlineExceeded")
                .map(|found| found.message.clone())
        };
        if let (None, Some(message)) = (stuck(old), stuck(new)) {
            news.push("exceeded its progress deadline".to_owned());
            facts.push(Happened::RolloutStuck { workload: life.uid, message });
        }
    }
}

/// True if pods of both templates are alike, as far as a trace tells.
fn same(a: &Arc<crate::model::workload::PodTemplate>, b: &Arc<crate::model::workload::PodTemplate>) -> bool {
    // Labels and annotations of a template change it too (`rollout restart`), but a trace that was read back has only the
    // spec; there every template of its own has a spec line of its own.
    Arc::ptr_eq(a, b) || Arc::ptr_eq(&a.spec, &b.spec) && a.annotations == b.annotations && a.labels == b.labels
}
