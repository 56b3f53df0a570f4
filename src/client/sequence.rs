//! The verbs that do one thing to each of their objects: scale, delete, cordon, taint, label, annotate.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/{scale,delete,drain,taint,label,annotate}.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::{Container, Key, Object, Selector, Text};
use crate::protocol::api::{Answer, Call, DeleteOptions, Patch, Status};

use super::debug::Debug;
use super::{FieldRequirement, Hands, Progress, Target, Verb, list_of, object_of, shown};

/// One thing for each of some objects, one after the other.
#[derive(Debug)]
pub(super) struct Sequence {
    target: Target,
    each: Each,
    /// Of what is listed, only what they select.
    fields: Vec<FieldRequirement>,
    left: VecDeque<Key>,
    now: Step,
}

/// What is done to each object.
#[derive(Clone, Debug)]
enum Each {
    Delete(DeleteOptions),
    /// With this grace period; None: the pod's own.
    Evict(Option<Duration>),
    /// `spec.unschedulable`.
    Cordon(bool),
    /// Replicas, and how many there have to be before.
    Scale(i32, Option<i32>),
    Patch(Patch),
    Put(Box<Result<Object, Text>>),
    Debug(Box<Debug>),
    EphemeralContainers(Result<Arc<[Container]>, Text>),
}

/// Which answer is awaited.
#[derive(Clone, Copy, Debug)]
enum Step {
    Listing,
    Reading(Key),
    Writing(Key),
}

impl Sequence {
    /// The sequence for a verb; None for the verbs that are more than that.
    pub(super) fn new(verb: Verb) -> Option<Sequence> {
        let mut fields = Vec::new();
        let (target, each) = match verb {
            Verb::Scale { target, replicas, current } => (Target::Names(vec![target]), Each::Scale(replicas, current)),
            Verb::Delete { target, grace, force, propagation, fields: of } => {
                fields = of;
                // kubectl asks for --force before it takes 0 seconds at their word.
                let grace = match grace {
                    None if force => Some(Duration::ZERO),
                    Some(grace) if grace.is_zero() && !force => Some(Duration::from_secs(1)),
                    grace => grace,
                };
                (target, Each::Delete(DeleteOptions { grace, propagation, uid: None }))
            }
            Verb::Evict { pods, grace } => (pods, Each::Evict(grace)),
            Verb::Cordon { nodes } => (nodes, Each::Cordon(true)),
            Verb::Uncordon { nodes } => (nodes, Each::Cordon(false)),
            Verb::Taint { nodes, taints } => {
                let of = |wanted: bool| {
                    let some = taints.iter().filter(|(_, add)| *add == wanted);
                    some.map(|(taint, _)| taint.clone()).collect()
                };
                (nodes, Each::Patch(Patch::Taints { add: of(true), remove: of(false) }))
            }
            Verb::Resize { target, changes } => (Target::Names(vec![target]), Each::Patch(Patch::Resize(changes))),
            Verb::Debug { target, debug } => (Target::Names(vec![target]), Each::Debug(debug)),
            Verb::EphemeralContainers { target, containers } => {
                (Target::Names(vec![target]), Each::EphemeralContainers(containers))
            }
            Verb::Put { target, object } => (Target::Names(vec![target]), Each::Put(Box::new(object))),
            Verb::Label { target, labels } => (target, Each::Patch(Patch::Labels(labels))),
            Verb::Annotate { target, annotations } => (target, Each::Patch(Patch::Annotations(annotations))),
            _ => return None,
        };
        Some(Sequence { target, each, fields, left: VecDeque::new(), now: Step::Listing })
    }

    pub(super) fn begin(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        let (kind, namespace, selector) = match &self.target {
            Target::Names(keys) => {
                self.left = keys.iter().copied().collect();
                return self.next(hands);
            }
            Target::Matching { kind, namespace, selector } => (*kind, *namespace, selector.clone()),
            Target::All { kind, namespace } => (*kind, *namespace, Selector::default()),
        };
        self.now = Step::Listing;
        hands.ask(0, Call::List { kind, namespace, selector });
        Progress::Waiting
    }

    pub(super) fn answered(&mut self, result: Result<Answer, Status>, hands: &mut Hands<'_, '_>) -> Progress {
        match self.now {
            Step::Listing => {
                let (Target::Matching { kind, namespace, .. } | Target::All { kind, namespace }) = &self.target else {
                    return Progress::Done;
                };
                let about = Key::new(*kind, *namespace, "");
                let selected = |object: &Object| self.fields.iter().all(|field| field.holds(object));
                let listed = list_of(result).map(|objects| objects.into_iter().filter(selected).collect::<Vec<_>>());
                match listed {
                    Ok(objects) if objects.is_empty() => {
                        hands.say(about, "No resources found");
                    }
                    Ok(objects) => self.left = objects.iter().map(Object::key).collect(),
                    Err(status) => hands.say_error(about, &status),
                }
                self.next(hands)
            }
            Step::Reading(key) => {
                let object = match object_of(result) {
                    Ok(object) => object,
                    Err(status) => {
                        hands.say_error(key, &status);
                        return self.next(hands);
                    }
                };
                match self.after_reading(&object) {
                    Ok(call) => {
                        self.now = Step::Writing(key);
                        hands.ask(0, call);
                        Progress::Waiting
                    }
                    Err(said) => {
                        hands.say(key, said);
                        self.next(hands)
                    }
                }
            }
            Step::Writing(key) => {
                if let Err(status) = result {
                    hands.say_error(key, &status);
                }
                self.next(hands)
            }
        }
    }

    fn next(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        let Some(key) = self.left.pop_front() else { return Progress::Done };
        let call = match &self.each {
            Each::Put(object) => match &**object {
                Ok(object) => Call::Update(object.clone()),
                Err(said) => {
                    hands.say(key, said.clone());
                    return self.next(hands);
                }
            },
            Each::EphemeralContainers(containers) => match containers {
                Ok(containers) => Call::Patch(key, Patch::EphemeralContainers(containers.clone())),
                Err(said) => {
                    hands.say(key, said.clone());
                    return self.next(hands);
                }
            },
            Each::Delete(options) => Call::Delete(key, *options),
            Each::Evict(grace) => Call::Evict { pod: key, grace: *grace, dry_run: false },
            Each::Patch(patch) => Call::Patch(key, patch.clone()),
            Each::Scale(replicas, None) => Call::Patch(key, Patch::Replicas(*replicas)),
            Each::Cordon(_) | Each::Scale(_, Some(_)) | Each::Debug(_) => {
                self.now = Step::Reading(key);
                hands.ask(0, Call::Get(key));
                return Progress::Waiting;
            }
        };
        self.now = Step::Writing(key);
        hands.ask(0, call);
        Progress::Waiting
    }

    /// The write that follows from what was read, or what kubectl says instead.
    fn after_reading(&self, object: &Object) -> Result<Call, String> {
        let key = object.key();
        match (&self.each, object) {
            (Each::Cordon(wanted), Object::Node(node)) => {
                if node.spec.unschedulable == *wanted {
                    let already = if *wanted { "already cordoned" } else { "already uncordoned" };
                    return Err(format!("{} {already}", shown(&key)));
                }
                Ok(Call::Patch(key, Patch::Unschedulable(*wanted)))
            }
            (Each::Scale(replicas, current), object) => {
                let there = replicas_of(object);
                match (current, there) {
                    (Some(wanted), Some(there)) if *wanted != there => {
                        Err(format!("error: Expected replicas to be {wanted}, was {there}"))
                    }
                    _ => Ok(Call::Patch(key, Patch::Replicas(*replicas))),
                }
            }
            (Each::Debug(debug), Object::Pod(pod)) => {
                let there = pod.spec.ephemeral_containers.iter().cloned();
                let containers = there.chain([debug.container(pod)]).collect();
                Ok(Call::Patch(key, Patch::EphemeralContainers(containers)))
            }
            _ => Err(format!("error: unable to do this to {}", shown(&key))),
        }
    }
}

fn replicas_of(object: &Object) -> Option<i32> {
    match object {
        Object::Deployment(one) => Some(one.replicas),
        Object::ReplicaSet(one) | Object::ReplicationController(one) => Some(one.replicas),
        Object::StatefulSet(one) => Some(one.replicas),
        Object::Job(one) => Some(one.parallelism),
        _ => None,
    }
}
