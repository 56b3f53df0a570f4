//! The lives of pods, nodes, workloads and services.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::kernel::{Cause, Duration, Time};
use crate::model::{ConditionStatus, Key, Name, Node, Object, Phase, Pod, PodSpec, Source, Text, Uid};
use crate::protocol::probe::Purpose;
use crate::trace::{Diagnosis, Outcome, Stage, StageEdge};

/// The life of a pod.
#[derive(Clone, Debug)]
pub struct PodLife {
    /// Its last known state: the final one, or the one in which it was deleted.
    pub last: Arc<Pod>,
    pub created: Time,
    pub created_by: Cause,
    /// When its node was stored.
    pub bound: Option<Time>,
    pub first_attempt: Option<Time>,
    /// The attempt that placed it.
    pub placed: Option<Time>,
    /// Scheduling attempts so far.
    pub attempts: u32,
    /// When its phase first was Running.
    pub running: Option<Time>,
    /// When it was Ready: from, and until (None: still).
    pub ready: SmallVec<[(Time, Option<Time>); 1]>,
    /// When its deletion was asked for.
    pub deleting: Option<Time>,
    /// When it was no more.
    pub gone: Option<Time>,
    /// Exits of its containers.
    pub exits: u32,
    /// True if it was made in place of a pod that was lost.
    pub replacement: bool,
    /// What happened to it, in order; of a very long life the first and the latest.
    pub moments: Vec<Moment>,
}

/// Something that happened to a pod, with the record that told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    pub time: Time,
    pub id: Cause,
    pub what: Happening,
}

/// What can happen to a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Created,
    Attempt {
        attempt: u32,
        outcome: Outcome,
        diagnosis: Option<Arc<Diagnosis>>,
    },
    Bound {
        node: Name,
    },
    Phase(Phase),
    Ready(bool),
    Waiting {
        container: Name,
        reason: Name,
        message: Text,
    },
    Running {
        container: Name,
    },
    Terminated {
        container: Name,
        exit_code: i32,
        reason: Name,
    },
    Stage {
        container: Name,
        stage: Stage,
        edge: StageEdge,
    },
    Exited {
        container: Name,
        exit_code: i32,
        reason: Name,
        after: Duration,
    },
    ProbeFailed {
        container: Name,
        purpose: Purpose,
        message: Text,
    },
    Decided {
        by: Name,
        text: Text,
    },
    /// A Warning Event, or one that tells of a killing.
    Event {
        reason: Name,
        message: Text,
    },
    /// The condition DisruptionTarget became True.
    Disrupted {
        reason: Name,
        message: Text,
    },
    /// `status.reason` was set: `Evicted`, `DeadlineExceeded`, …
    Status {
        reason: Name,
        message: Text,
    },
    Deleting {
        grace: Duration,
    },
    Gone,
}

/// In a few words.
pub fn describe(what: &Happening) -> String {
    use super::super::style::length;
    match what {
        Happening::Created => "created".to_owned(),
        Happening::Attempt { attempt, outcome, .. } => match outcome {
            Outcome::Scheduled { node } => format!("scheduled to {node}"),
            Outcome::Unschedulable { message } => format!("attempt {attempt} found no node: {message}"),
            Outcome::Error { message } => format!("attempt {attempt} failed: {message}"),
        },
        Happening::Bound { node } => format!("bound to {node}"),
        Happening::Phase(phase) => format!("is {}", phase.as_str()),
        Happening::Ready(true) => "is Ready".to_owned(),
        Happening::Ready(false) => "is no longer Ready".to_owned(),
        Happening::Waiting { container, reason, .. } => format!("{container} waits: {reason}"),
        Happening::Running { container } => format!("{container} runs"),
        Happening::Terminated { container, exit_code, reason } => {
            format!("{container} ended with {exit_code}{}", in_brackets(reason))
        }
        Happening::Stage { container, stage, edge } => {
            let container = if container.is_empty() { String::new() } else { format!(" of {container}") };
            match edge {
                StageEdge::Begin => format!("{}{container} begins", stage.as_str()),
                StageEdge::End => format!("{}{container} done", stage.as_str()),
                StageEdge::Failed(message) => format!("{}{container} failed: {message}", stage.as_str()),
            }
        }
        Happening::Exited { container, exit_code, reason, after } => {
            format!("{container} exited with {exit_code}{} after {}", in_brackets(reason), length(*after))
        }
        Happening::ProbeFailed { container, purpose, message } => {
            format!("{} probe of {container} failed: {message}", purpose.as_str().to_ascii_lowercase())
        }
        Happening::Decided { by, text } => format!("{by}: {text}"),
        Happening::Event { reason, message } => format!("{reason}: {message}"),
        Happening::Disrupted { reason, message } => format!("{reason}: {message}"),
        Happening::Status { reason, message } if message.is_empty() => reason.as_str().to_owned(),
        Happening::Status { reason, message } => format!("{reason}: {message}"),
        Happening::Deleting { grace } => format!("deletion was asked for, grace {}", length(*grace)),
        Happening::Gone => "is gone".to_owned(),
    }
}

fn in_brackets(reason: &Name) -> String {
    if reason.is_empty() || *reason == "Error" { String::new() } else { format!(" ({reason})") }
}

/// The first so many moments of a long life are kept, …
const KEPT_FIRST: usize = 60;
/// … and beyond so many in all, the oldest of the others go.
const KEPT: usize = 400;

impl PodLife {
    pub(super) fn new(last: Arc<Pod>, time: Time, id: Cause) -> PodLife {
        PodLife {
            last,
            created: time,
            created_by: id,
            bound: None,
            first_attempt: None,
            placed: None,
            attempts: 0,
            running: None,
            ready: SmallVec::new(),
            deleting: None,
            gone: None,
            exits: 0,
            replacement: false,
            moments: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, time: Time, id: Cause, what: Happening) {
        if self.moments.len() >= KEPT {
            self.moments.drain(KEPT_FIRST..KEPT_FIRST + 100);
        }
        self.moments.push(Moment { time, id, what });
    }

    /// When it was first Ready.
    pub fn first_ready(&self) -> Option<Time> {
        self.ready.first().map(|(from, _)| *from)
    }

    /// True if it is Ready at the end of the run.
    pub fn is_ready(&self) -> bool {
        self.gone.is_none() && matches!(self.ready.last(), Some((_, None)))
    }

    /// True if it was Ready at this moment.
    pub fn was_ready(&self, at: Time) -> bool {
        self.ready.iter().any(|(from, until)| *from <= at && until.is_none_or(|until| at < until))
    }

    /// True if it was there, with whatever phase, at this moment.
    pub fn existed(&self, at: Time) -> bool {
        self.created <= at && self.gone.is_none_or(|gone| at < gone)
    }

    /// Its phases with the moments at which they began.
    pub fn phases(&self) -> impl Iterator<Item = (Time, Phase)> + '_ {
        let begin = std::iter::once((self.created, Phase::Pending));
        begin.chain(self.moments.iter().filter_map(|moment| match moment.what {
            Happening::Phase(phase) => Some((moment.time, phase)),
            _ => None,
        }))
    }

    /// Why it is where it is, as kubectl's STATUS column says it, from its last state.
    ///
    /// Kubernetes: pkg/printers/internalversion/printers.go (printPod).
    pub fn status_word(&self) -> String {
        status_word(&self.last)
    }
}

/// kubectl's STATUS column.
pub(super) fn status_word(pod: &Pod) -> String {
    use crate::model::{ContainerState, condition};
    let status = &pod.status;
    let mut word = if status.reason.is_empty() { status.phase.as_str().to_owned() } else { status.reason.to_string() };
    if condition::find(&status.conditions, "PodScheduled").is_some_and(|found| found.reason == "SchedulingGated") {
        word = "SchedulingGated".to_owned();
    }
    let total = pod.spec.init_containers.len();
    let mut initializing = false;
    for (at, container) in status.init_containers.iter().enumerate() {
        let sidecar = pod.spec.init_containers.get(at).is_some_and(|spec| spec.is_sidecar());
        match &container.state {
            ContainerState::Terminated(ended) if ended.exit_code == 0 => continue,
            _ if sidecar && container.started == Some(true) => continue,
            ContainerState::Terminated(ended) if !ended.reason.is_empty() => word = format!("Init:{}", ended.reason),
            ContainerState::Terminated(ended) if ended.signal != 0 => word = format!("Init:Signal:{}", ended.signal),
            ContainerState::Terminated(ended) => word = format!("Init:ExitCode:{}", ended.exit_code),
            ContainerState::Waiting { reason, .. } if !reason.is_empty() && *reason != "PodInitializing" => {
                word = format!("Init:{reason}");
            }
            _ => word = format!("Init:{at}/{total}"),
        }
        initializing = true;
        break;
    }
    if !initializing || condition::is_true(&status.conditions, "Initialized") {
        let mut running = false;
        let mut failed = None;
        for container in status.containers.iter().rev() {
            match &container.state {
                ContainerState::Waiting { reason, .. } if !reason.is_empty() => word = reason.to_string(),
                ContainerState::Waiting { .. } => {}
                ContainerState::Terminated(ended) => {
                    word = match (ended.reason.is_empty(), ended.signal) {
                        (false, _) => ended.reason.to_string(),
                        (true, 0) => format!("ExitCode:{}", ended.exit_code),
                        (true, signal) => format!("Signal:{signal}"),
                    };
                    if ended.exit_code != 0 {
                        failed = Some(word.clone());
                    }
                }
                ContainerState::Running { .. } => running |= container.ready,
            }
        }
        if word == "Completed" {
            word = match (running, failed) {
                (true, _) if pod.is_ready() => "Running".to_owned(),
                (_, Some(failed)) => failed,
                (true, None) => "NotReady".to_owned(),
                (false, None) => word,
            };
        }
    }
    if pod.meta.deletion.is_some() && !status.phase.is_terminal() {
        word = if status.reason == "NodeLost" { "Unknown".to_owned() } else { "Terminating".to_owned() };
    }
    word
}

/// A moment of an object that is not a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub time: Time,
    pub id: Cause,
    pub text: Text,
}

/// The life of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeLife {
    pub name: Name,
    /// None: only faults spoke of it.
    pub last: Option<Arc<Node>>,
    pub created: Option<Time>,
    pub gone: Option<Time>,
    /// Its Ready condition, from when on.
    pub ready: Vec<(Time, ConditionStatus)>,
    /// What faults did to it.
    pub faults: Vec<Note>,
    pub notes: Vec<Note>,
}

impl NodeLife {
    /// Its Ready condition at this moment.
    pub fn ready_at(&self, at: Time) -> Option<ConditionStatus> {
        self.ready.iter().rev().find(|(from, _)| *from <= at).map(|(_, status)| *status)
    }
}

/// The life of a workload.
#[derive(Clone, Debug)]
pub struct WorkloadLife {
    pub key: Key,
    pub uid: Uid,
    pub owner: Option<Uid>,
    pub source: Option<Source>,
    pub last: Object,
    pub created: Time,
    pub gone: Option<Time>,
    /// Wanted, ready and available replicas from when on. Of a Job: completions wanted, ready, succeeded.
    pub replicas: Vec<(Time, Replicas)>,
    pub rollouts: Vec<Rollout>,
    pub notes: Vec<Note>,
    /// Pods that were lost and not yet replaced.
    pub(super) lost: u32,
}

/// Replicas of a workload at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    pub wanted: i32,
    pub ready: i32,
    pub updated: i32,
    pub available: i32,
}

/// A change of a workload's template that its pods follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollout {
    pub begun: Time,
    pub begun_by: Cause,
    pub done: Option<Time>,
}

impl WorkloadLife {
    /// The spec of its template's pods.
    pub fn template(&self) -> Option<&Arc<PodSpec>> {
        Some(match &self.last {
            Object::Deployment(object) => &object.template.spec,
            Object::ReplicaSet(object) | Object::ReplicationController(object) => &object.template.spec,
            Object::StatefulSet(object) => &object.template.spec,
            Object::DaemonSet(object) => &object.template.spec,
            Object::Job(object) => &object.template.spec,
            _ => return None,
        })
    }

    /// `deployment/checkout`.
    pub fn display(&self) -> String {
        format!("{}/{}", self.key.kind.as_str().to_ascii_lowercase(), self.key.name)
    }

    /// Wanted, ready and available at the end.
    pub fn now(&self) -> Replicas {
        self.replicas.last().map(|(_, replicas)| *replicas).unwrap_or_default()
    }
}

/// The endpoints of a Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceLife {
    /// Ready endpoints from when on, with the record that told it.
    pub ready: Vec<(Time, i32, Cause)>,
    /// Ready endpoints of each slice.
    pub(super) slices: std::collections::BTreeMap<Name, i32>,
}

/// An action, or a fault or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub id: Cause,
    pub time: Time,
    pub text: Text,
    pub source: Option<Source>,
    pub undone: bool,
}
